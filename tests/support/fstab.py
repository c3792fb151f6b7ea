"""A mount namespace with our helper in /sbin, an /etc/fstab, and two users.

Nothing of it appears on this machine: /sbin is covered by one that has
``mount.fuse.imgurfs`` too, and everything else lies in ``/mnt``. Needs root, or sudo.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.mounted import ROOT, EmulatorProcess

ANNA, OTHER = 54_321, 54_399
PLACE = Path("/mnt/drive")
_SUDO = [] if os.getuid() == 0 else ["sudo", "-n"]
_TIMEOUT_S = 90
_CODE = f"{ROOT}:{ROOT / 'daemon'}"

#: $1 number of the user, $2 Python, $3 checkout; from $4 on what the user must reach.
#: Ends with its input.
_BOOT = r"""
set -eu
user=$1 python=$2 code=$3; shift 3
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/sbin /mnt/drive /mnt/root /mnt/anna /mnt/anna/drive /mnt/keep /mnt/covered
cat >/mnt/sbin/mount.fuse.imgurfs <<END
#!/bin/sh
PYTHONPATH=$code:$code/daemon exec $python -c \
    'from imgurfs.cli.mount_helper import main; main()' "\$@"
END
chmod 755 /mnt/sbin/mount.fuse.imgurfs
mount -t overlay overlay -o lowerdir=/mnt/sbin:"$(readlink -f /sbin)" /sbin
# mount(8) takes HOME away from its helper: root's too is where this says.
{ echo 'root:x:0:0::/mnt/root:/bin/sh'; echo "anna:x:$user:$user::/mnt/anna:/bin/sh"
  sed /^root:/d /etc/passwd; } >/mnt/passwd
mount --bind /mnt/passwd /etc/passwd
echo user_allow_other >/mnt/fuse.conf
mount --bind /mnt/fuse.conf /etc/fuse.conf
touch /mnt/fstab
mount --bind /mnt/fstab /etc/fstab
mknod -m 666 /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse
chown -R "$user:$user" /mnt/anna
# A checkout or an interpreter below a private home: bound beside an empty one.
for wanted; do
    ! setpriv --reuid "$user" --clear-groups test -x "$wanted/." || continue
    mount --bind "$wanted" /mnt/keep
    top=/$(echo "$wanted" | cut -d/ -f2)
    [ -e "/mnt/covered$top" ] || {
        mkdir -p "/mnt/covered$top"; mount -t tmpfs -o mode=755 tmpfs "$top"; }
    mkdir -p "$wanted"; mount --move /mnt/keep "$wanted"
done
echo ready
cat >/dev/null
"""


@dataclass
class Mounts:
    """The namespace; ``process`` is in it. Whoever is 0 is root."""

    process: int
    emulator: EmulatorProcess

    def run(
        self, *command: str, user: int = 0, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there to its end, with a bare environment."""
        home = "/mnt/anna" if user == ANNA else "/mnt/root"
        become = ["setpriv", "--reuid", str(user), "--regid", str(user)]
        return subprocess.run(
            [
                *_SUDO, "nsenter", "-t", str(self.process), "-m", "--wd=/",
                *([*become, "--clear-groups"] if user else []),
                "env", "-i", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin",
                f"HOME={home}", f"PYTHONPATH={_CODE}", *command,
            ],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )  # fmt: skip

    def call(self, *command: str, user: int = 0, text: str = "") -> str:
        """Run a command that must go well; return what it printed."""
        done = self.run(*command, user=user, text=text)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def python(self, code: str, *arguments: str, user: int = 0) -> str:
        """Run Python in there; return what it printed, or its last line of error."""
        done = self.run(sys.executable, "-c", code, *arguments, user=user)
        return (done.stdout or done.stderr.strip().splitlines()[-1]).strip()

    def seen(self, path: Path | str) -> Path:
        """Return where a path in there is found from out here."""
        return Path(f"/proc/{self.process}/root") / str(path).lstrip("/")

    def log_in(self, user: int) -> None:
        """Write a user's configuration and log in."""
        home = "/mnt/anna" if user == ANNA else "/mnt/root"
        keys = ("client_id", "client_secret", "api_url", "cdn_url")
        address = self.emulator.address
        lines = [f"{key} = {json.dumps(address[key])}" for key in keys]
        config = f"{home}/.config/imgurfs"
        script = f"umask 077; mkdir -p {config}; cat >{config}/config.toml"
        self.call("sh", "-c", script, user=user, text="\n".join(["[account]", *lines]))
        self.call(
            sys.executable, "-m", "imgurfs", "login", "--refresh-token-stdin",
            user=user, text=address["refresh_token"],
        )  # fmt: skip

    def fstab(self, options: str, source: str = "default", at: Path = PLACE) -> None:
        """Say what /etc/fstab's line is."""
        line = f"{source} {at} fuse.imgurfs {options} 0 0\n"
        self.call("sh", "-c", "cat >/mnt/fstab", text=line)

    def mount(self, *arguments: str, user: int = 0) -> subprocess.CompletedProcess[str]:
        """Have the line mounted."""
        return self.run("mount", *(arguments or (str(PLACE),)), user=user)

    def servers(self) -> list[int]:
        """Return the processes that serve a mount in there."""
        found = []
        here = self.seen("/").parent / "ns" / "mnt"
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                is_inside = process.name.isdigit() and os.path.samestat(
                    (process / "ns" / "mnt").stat(), here.stat()
                )
                words = (process / "cmdline").read_bytes().split(b"\0")
                if is_inside and b"--ready-fd" in words:
                    found.append(int(process.name))
        return found

    def is_mounted(self, at: Path = PLACE) -> bool:
        """Whether the kernel's table in there has it; touches no mount."""
        return f" {at} " in Path(f"/proc/{self.process}/mountinfo").read_text()

    def clean_up(self, places: Sequence[Path]) -> None:
        """Take away whatever a test has mounted; its processes end with it."""
        for place in places:
            while self.is_mounted(place):
                self.call("umount", "-l", str(place))


@contextlib.contextmanager
def mounts(emulator: EmulatorProcess) -> Iterator[Mounts]:
    """Make the namespace and log both users in; take it away at the end."""
    reached = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    arguments = [str(ANNA), sys.executable, str(ROOT), *map(str, reached)]
    with subprocess.Popen(
        [*_SUDO, "unshare", "-m", "sh", "-c", _BOOT, "sh", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            made = Mounts(process.pid, emulator)
            made.log_in(0)
            made.log_in(ANNA)
            yield made
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_TIMEOUT_S)
