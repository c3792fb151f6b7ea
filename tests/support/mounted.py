"""Real processes: an emulator, and a machine with its own XDG directories that mounts.

Everything that is started here is stopped by its process id, and whatever is still
mounted at the end is detached.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 30


@dataclass
class EmulatorProcess:
    """A running ``imgurfs emulator``; ``address`` is its first line."""

    process: subprocess.Popen[bytes]
    address: dict[str, str]

    def stop(self) -> None:
        """Stop it and wait."""
        self.process.kill()
        self.process.wait(START_TIMEOUT_S)


@contextlib.contextmanager
def emulator_process(*options: str) -> Iterator[EmulatorProcess]:
    """Run the emulator without limits on free ports."""
    command = [sys.executable, "-m", "imgurfs", "emulator", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--cdn-port", "0", "--limits", "off", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        address = json.loads(process.stdout.readline())
        yield EmulatorProcess(process, address)
    finally:
        process.kill()
        process.wait(START_TIMEOUT_S)
        process.stdout.close()


@dataclass
class Machine:
    """One user's directories and mountpoint; the commands run as processes."""

    directory: Path
    emulator: EmulatorProcess
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    path: str = os.environ["PATH"]
    #: What the configuration says besides the account.
    settings: str = ""

    @property
    def mountpoint(self) -> Path:
        """Where it mounts."""
        return self.directory / "drive"

    @property
    def state_dir(self) -> Path:
        """The account's state."""
        return self.directory / "state" / "imgurfs" / "default"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the commands."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("IMGURFS_")}
        own = {
            f"XDG_{name}_HOME": str(self.directory / name.lower())
            for name in ("STATE", "CACHE", "CONFIG")
        }
        return {**kept, **own, "PYTHONPATH": str(ROOT), "PATH": self.path}

    def configure(self, extra: str = "") -> None:
        """Write the configuration and make the mountpoint."""
        self.mountpoint.mkdir(exist_ok=True)
        keys = ("client_id", "client_secret", "api_url", "cdn_url")
        address = self.emulator.address
        lines = [f"{key} = {json.dumps(address[key])}" for key in keys]
        path = self.directory / "config.toml"
        path.write_text("\n".join(["[account]", *lines, self.settings, extra]))
        path.chmod(0o600)

    def command(self, *arguments: str) -> list[str]:
        """Return a command line."""
        config = str(self.directory / "config.toml")
        return [sys.executable, "-m", "imgurfs", "--config", config, *arguments]

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            env=self.environment,
            cwd=self.directory,
            check=False,
        )

    def log_in(self) -> None:
        """Store the emulator's token."""
        self.configure()
        token = self.emulator.address["refresh_token"]
        done = self.run("login", "--refresh-token-stdin", stdin=token)
        assert done.returncode == 0, done.stderr

    def queue(self) -> list[dict[str, Any]]:
        """Return the jobs that wait, as the command tells them."""
        done = self.run("queue", "--json")
        assert done.returncode == 0, done.stderr
        return cast("list[dict[str, Any]]", json.loads(done.stdout)["jobs"])

    def mount(self, *options: str) -> subprocess.Popen[str]:
        """Mount in the foreground; return when the drive is mounted."""
        read_fd, write_fd = os.pipe()
        arguments = ["--foreground", "--ready-fd", str(write_fd), *options]
        process = subprocess.Popen(
            self.command("mount", *arguments, str(self.mountpoint)),
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(write_fd,),
            env=self.environment,
            cwd=self.directory,
        )
        self.processes.append(process)
        os.close(write_fd)
        with os.fdopen(read_fd) as pipe:
            line = pipe.readline()
        assert line == "ready\n", line
        return process

    def remount(self) -> None:
        """Unmount, which waits for nothing, and mount again."""
        done = self.run("unmount", str(self.mountpoint))
        assert done.returncode == 0, done.stderr
        before = self.processes[-1]
        assert before.wait(START_TIMEOUT_S) == 0
        self.processes.remove(before)
        if before.stderr is not None:
            before.stderr.close()
        self.mount()

    def is_mounted(self) -> bool:
        """Whether the kernel's table has the mountpoint; touches no mount."""
        mounts = Path("/proc/self/mountinfo").read_text()
        return f" {self.mountpoint} " in mounts

    def clean_up(self) -> None:
        """Unmount and end everything, whatever a test did."""
        for process in self.processes:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            if process.stderr is not None:
                process.stderr.close()
        if self.is_mounted():
            subprocess.run(
                ["fusermount3", "-u", "-z", str(self.mountpoint)], check=True
            )
