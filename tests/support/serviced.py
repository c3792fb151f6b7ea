"""Accounts whose daemon and drive are services of a real ``systemd --user``.

Each :class:`Served` has an emulator of its own; all live in the home of one user, with
one configuration and one budget, as several accounts of one person do.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulation.campaign import picture
from tests.support.mounted import EmulatorProcess
from tests.support.usermanager import BIN, HOME, UserManager, wait_for

CONFIG = HOME / ".config/imgurfs/config.toml"
UNITS = HOME / ".config/systemd/user"
STATE = HOME / ".local/state/imgurfs"
IMGURFS = str(BIN / "imgurfs")
#: Restarted at once, and as often as a test likes.
IMPATIENT = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\n"


@dataclass
class Served:
    """One account: its emulator, its folder, its drive and its two units."""

    manager: UserManager
    emulator: EmulatorProcess
    account: str = "default"
    given: set[str] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """Its watched folder, as it is called in there."""
        return HOME / f"pictures-{self.account}"

    @property
    def drive(self) -> Path:
        """Where it is mounted."""
        return HOME / (
            "Imgur" if self.account == "default" else f"Imgur-{self.account}"
        )

    @property
    def sync(self) -> str:
        """The daemon's unit."""
        return f"imgurfs-sync@{self.account}.service"

    @property
    def mount(self) -> str:
        """The drive's unit."""
        return f"imgurfs-mount@{self.account}.service"

    def settings(self) -> str:
        """Return this account's part of the configuration."""
        table = "account" if self.account == "default" else f"accounts.{self.account}"
        keys = ("client_id", "client_secret", "api_url", "cdn_url")
        values = [f"{key} = {json.dumps(self.emulator.address[key])}" for key in keys]
        folder = [f'path = "{self.folder}"', f'account = "{self.account}"']
        return "\n".join([f"[{table}]", *values, "[[folder]]", *folder, ""])

    def log_in(self) -> None:
        """Make the folder, store the token, remember what is there already."""
        self.manager.call("mkdir", "-p", str(self.folder))
        self.imgurfs("login", "--refresh-token-stdin", text=self.refresh_token)
        self.given = {image["id"] for image in self.images()}

    @property
    def refresh_token(self) -> str:
        """The account's."""
        return self.emulator.address["refresh_token"]

    def imgurfs(self, *arguments: str, text: str = "") -> str:
        """Run a command of ours that must go well."""
        return self.manager.call(
            IMGURFS, "--account", self.account, *arguments, text=text
        )

    def put(self, *names: str) -> None:
        """Put pictures that nobody has seen before into the folder, each at once."""
        script = 'cat >"$1.part" && mv "$1.part" "$1"'
        for name in names:
            done = subprocess.run(
                self.manager.command("sh", "-c", script, "sh", str(self.folder / name)),
                input=picture(f"{self.account} {name}"),
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr

    def admin(self, what: str, body: object = None) -> Any:
        """Ask the emulator's admin view, or tell it something; costs nothing."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.emulator.address['api_url']}/_emulator/{what}"
        with urllib.request.urlopen(
            urllib.request.Request(url, data=data), timeout=10
        ) as answer:
            return json.load(answer)

    def images(self) -> list[dict[str, Any]]:
        """Return all images of the account that it did not have at first."""
        found: list[dict[str, Any]] = self.admin("state")["images"]
        return [image for image in found if image["id"] not in self.given]

    def wait_images(self, count: int, *, wait_s: float = 60) -> None:
        """Wait until there are so many."""
        wait_for(
            lambda: len(self.images()) >= count,
            lambda: f"{len(self.images())} of {count}: {self.manager.said()}",
            wait_s=wait_s,
        )

    def wait_state(self, unit: str, state: str, *, wait_s: float = 60) -> None:
        """Wait until a unit's ActiveState is that."""
        wait_for(
            lambda: self.manager.show(unit, "ActiveState") == state,
            self.manager.said,
            wait_s=wait_s,
        )

    def process(self, unit: str) -> int:
        """Return a unit's main process, by its number in there; 0 for none."""
        return int(self.manager.show(unit, "MainPID"))

    def kill(self, unit: str) -> int:
        """Send SIGKILL to a unit's main process; return which that was."""
        process = self.process(unit)
        self.manager.systemctl("kill", "--kill-whom=main", "--signal=KILL", unit)
        return process

    def wait_restarted(self, unit: str, before: int) -> None:
        """Wait until a unit runs again, with another process."""

        def is_back() -> bool:
            state = self.manager.systemctl(
                "show", unit, "--property=ActiveState,MainPID"
            )
            process = re.search(r"MainPID=(\d+)", state)
            assert process is not None
            return "=active" in state and int(process[1]) not in (0, before)

        wait_for(is_back, self.manager.said)

    def drop_in(self, unit: str, text: str) -> None:
        """Give a unit a drop-in of the test's, or take it away with ""."""
        file = UNITS / f"{unit}.d" / "90-test.conf"
        if text:
            self.manager.write(file, text, mode="644")
        else:
            self.manager.call("rm", "-f", str(file))
        self.manager.systemctl("daemon-reload")

    def mounts(self) -> int:
        """Return how often something is mounted where the drive goes."""
        table = self.manager.call("cat", "/proc/self/mountinfo")
        return table.count(f" {self.drive} ")

    def is_alive(self) -> bool:
        """Whether the drive answers."""
        done = self.manager.run("stat", "-f", str(self.drive))
        return self.mounts() == 1 and done.returncode == 0


def configure(manager: UserManager, *accounts: Served, more: str = "") -> None:
    """Write the configuration of these accounts, and ``more``."""
    general = "[sync]\nsettle_s = 0.1\nquarantine_s = 1.0\n"
    # The emulators here have no limits.
    general += "[budget]\nuploads_per_hour = 0\n"
    manager.write(CONFIG, "".join(one.settings() for one in accounts) + general + more)
