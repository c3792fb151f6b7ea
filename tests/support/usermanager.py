"""A real ``systemd --user``, as a user has it who has just logged in, for tests.

It runs as an unprivileged user (a manager of root's is allowed things that a user's is
not) in namespaces of its own: a mount namespace, so that nothing of it appears on this
machine, and a process namespace, which takes everything along when it ends. ``/run``
and ``/home`` in there are empty at first. The network is this machine's, so that
programs in there reach an emulator out here.

Needs root, or sudo; no systemd as process 1.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
HOME = Path("/home/imgur")
BIN = Path(sys.executable).parent
_UID = os.getuid() or 65_534
_RUNTIME = f"/run/user/{_UID}"
_SUDO = [] if os.getuid() == 0 else ["sudo", "-n"]
_CGROUPS = Path("/sys/fs/cgroup")
_WAIT_S = 60.0

#: $1 user, $2 name of the control group; then the directories the user must reach.
#: Ends, and everything with it, when its input does.
_BOOT = r"""
set -eu
user=$1 group=$2; shift 2
mount -t tmpfs -o mode=755 tmpfs /run
# The system's manager would have made these.
mkdir -p /run/systemd/system /run/systemd/unit-root /run/credentials "/run/user/$user"
chmod 700 "/run/user/$user"; chown "$user" "/run/user/$user"
mount -t tmpfs -o mode=755 tmpfs /home
mkdir -p /home/imgur/.config/systemd /var/lib/systemd
mount -t tmpfs -o mode=755 tmpfs /var/lib/systemd
printf '[Manager]\nDefaultStandardOutput=inherit\nDefaultStandardError=inherit\n' \
    >/home/imgur/.config/systemd/user.conf
chown -R "$user" /home/imgur
# Drives of other tests are not this user's, who could not even look at them.
grep -o ' /[^ ]* fuse' /proc/mounts | cut -d' ' -f2 | while read -r foreign; do
    umount -l "$foreign"
done
# As it is where people work, also on a machine that gives FUSE to root only.
mknod -m 666 /run/fuse c 10 229; mount --bind /run/fuse /dev/fuse
# A checkout or an interpreter below a private home: bound beside an empty one.
for wanted; do
    ! setpriv --reuid "$user" --clear-groups test -x "$wanted/." || continue
    mkdir -p /run/keep; mount --bind "$wanted" /run/keep
    top=/$(echo "$wanted" | cut -d/ -f2)
    [ -e "/run/covered$top" ] || {
        mkdir -p "/run/covered$top"; mount -t tmpfs -o mode=755 tmpfs "$top"; }
    mkdir -p "$wanted"; mount --move /run/keep "$wanted"
done
# A control group of its own: two managers in one would end each other's units.
for tree in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e "$tree/cgroup.procs" ] || continue
    mkdir "$tree/$group"; chown -R "$user" "$tree/$group"
    echo 0 >"$tree/$group/cgroup.procs"
done
cd /home/imgur
env -i HOME=/home/imgur PATH="$PATH" LANG=C.UTF-8 XDG_RUNTIME_DIR="/run/user/$user" \
    DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$user/bus" \
    setpriv --reuid "$user" --regid "$user" --clear-groups \
    /lib/systemd/systemd --user </dev/null &
cat >/dev/null
"""


@dataclass(frozen=True)
class UserManager:
    """A running manager. ``process`` is the first one of its namespaces."""

    process: int
    log: Path

    def run(
        self,
        *command: str,
        text: str = "",
        is_root: bool = False,
        timeout_s: float = 100,
        **environ: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as the user, to its end."""
        return subprocess.run(
            self.command(*command, is_root=is_root, **environ),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def command(
        self, *command: str, is_root: bool = False, **environ: str
    ) -> list[str]:
        """Return the command line that runs a command in there."""
        inside = {
            "HOME": str(HOME),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": _RUNTIME,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={_RUNTIME}/bus",
            **environ,
        }
        user = ["setpriv", "--reuid", str(_UID), "--regid", str(_UID), "--clear-groups"]
        return [
            *_SUDO, "nsenter", "-t", str(self.process), "-m", "-p", "--wd=/",
            "env", "-i", *(f"{key}={value}" for key, value in inside.items()),
            *([] if is_root else user), *command,
        ]  # fmt: skip

    def call(self, *command: str, text: str = "") -> str:
        """Run a command that must go well; return what it printed."""
        done = self.run(*command, text=text)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def systemctl(self, *arguments: str) -> str:
        """Tell the manager something that must go well."""
        return self.call("systemctl", "--user", "--no-pager", *arguments)

    def show(self, unit: str, key: str) -> str:
        """Return one property of a unit."""
        return self.systemctl("show", unit, f"--property={key}", "--value").strip()

    def seen(self, path: Path) -> Path:
        """Return where a path in there is found from out here."""
        return Path(f"/proc/{self.process}/root") / path.relative_to("/")

    def write(self, path: Path, text: str, *, mode: str = "600") -> None:
        """Write a file as the user."""
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1" && chmod "$2" "$1"'
        self.call("sh", "-c", script, "sh", str(path), mode, text=text)

    def said(self) -> str:
        """Return everything that the manager and its units wrote, for failures."""
        return self.log.read_text(errors="replace")[-6000:]


@contextlib.contextmanager
def user_manager(log: Path) -> Iterator[UserManager]:
    """Run a manager for a block."""
    group = f"imgurfs-test-{os.getpid()}"
    reached = sorted({str(REPOSITORY), sys.base_prefix, str(BIN)})
    with log.open("wb") as output:
        boot = subprocess.Popen(
            [
                *_SUDO, "unshare", "--mount", "--pid", "--fork", "--mount-proc",
                "--propagation", "private",
                "sh", "-c", _BOOT, "boot", str(_UID), group, *reached,
            ],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )  # fmt: skip
    assert boot.stdin is not None
    try:
        manager = UserManager(_first_process(boot.pid, log), log)
        wait_for(
            lambda: "running" in manager.run(
                "systemctl", "--user", "is-system-running"
            ).stdout,
            manager.said,
        )  # fmt: skip
        yield manager
    finally:
        boot.stdin.close()
        boot.wait(_WAIT_S)
        for tree in (_CGROUPS, _CGROUPS / "systemd", _CGROUPS / "unified"):
            if (tree / group).is_dir():
                _remove_groups(tree / group)


def wait_for(
    condition: Callable[[], bool],
    said: Callable[[], str],
    *,
    wait_s: float = _WAIT_S,
) -> None:
    """Wait until ``condition()`` is true; fail with what ``said()`` returns."""
    deadline = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < deadline, said()
        threading.Event().wait(0.05)


def _first_process(pid: int, log: Path) -> int:
    """Return the process that is number 1 in the namespace, by its number out here."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [child for child in _below(pid) if _is_first(child)]
        return bool(found)

    wait_for(look, log.read_text)
    return found[0]


def _below(pid: int) -> Iterator[int]:
    """Yield what a process has started, and what that has."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _below(int(child))


def _is_first(pid: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return line.split()[-1] == "1"
    return False


def _remove_groups(top: Path) -> None:
    command = ["find", str(top), "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]
    wait_for(
        lambda: (
            not subprocess.run([*_SUDO, *command], capture_output=True).returncode
            or not top.exists()
        ),
        lambda: f"{top} is still in use",
    )
