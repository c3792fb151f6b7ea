"""The program ``imgurfs mount`` from outside: start, stop, crash, refusals."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trio

from imgurfs.store import entries
from tests.support.account import album as an_album
from tests.support.account import open_state
from tests.support.mounted import ROOT, EmulatorProcess, Machine, emulator_process

pytestmark = pytest.mark.mount


async def until(is_so: Callable[[], bool], timeout_s: float = 15) -> None:
    """Look at a condition until it holds."""
    with trio.fail_after(timeout_s):
        while not is_so():  # noqa: ASYNC110 - another process
            await trio.sleep(0.02)


def tree(top: Path) -> list[tuple[str, int, int]]:
    """Return every path with inode and size."""
    found = sorted(top.rglob("*"))
    return [
        (str(path.relative_to(top)), path.stat().st_ino, path.stat().st_size)
        for path in found
    ]


def is_complete(top: Path) -> bool:
    """Whether images without an album are shown, which comes last."""
    return any(path.name.startswith("Without an album") for path in top.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(machine: Machine, number: signal.Signals) -> None:
    """R20: told to stop, the mount unmounts and exits 0, without a word."""
    machine.log_in()
    process = machine.mount()
    assert machine.is_mounted()
    process.send_signal(number)
    assert process.wait(15) == 0
    assert not machine.is_mounted()
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_a_signal_to_a_mount_that_ends_changes_nothing(machine: Machine) -> None:
    """R20: told to stop while it does, again and again, it ends as it would have."""
    machine.log_in()
    process = machine.mount()
    subprocess.run(["fusermount3", "-u", machine.mountpoint], check=True)
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


@pytest.mark.parametrize("how", ["imgurfs", "fusermount3"])
def test_unmounting_ends_the_process(machine: Machine, how: str) -> None:
    """R20: unmounted from outside, the process ends with exit code 0."""
    machine.log_in()
    process = machine.mount()
    if how == "imgurfs":
        done = machine.run("unmount", str(machine.mountpoint))
        assert (done.returncode, done.stderr) == (0, "")
    else:
        subprocess.run(["fusermount3", "-u", machine.mountpoint], check=True)
    assert process.wait(15) == 0
    assert not machine.is_mounted()


def test_in_the_background_it_returns_when_the_drive_answers(machine: Machine) -> None:
    """R20: without --foreground the command returns with the drive ready."""
    machine.log_in()
    done = machine.run("mount", str(machine.mountpoint))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Cats" in os.listdir(machine.mountpoint)  # noqa: PTH208
    log = machine.state_dir / "mount.log"
    assert log.stat().st_mode & 0o777 == 0o600
    assert machine.run("unmount", str(machine.mountpoint)).returncode == 0
    assert not machine.is_mounted()


async def test_a_killed_mount_is_replaced(machine: Machine) -> None:
    """R21: after kill -9 the next start detaches the dead mount and works."""
    machine.log_in()
    process = machine.mount()
    process.kill()
    process.wait(10)
    with pytest.raises(OSError, match="endpoint is not connected"):
        os.statvfs(machine.mountpoint)
    machine.mount()
    assert "Cats" in [path.name for path in machine.mountpoint.iterdir()]
    mounts = Path("/proc/self/mountinfo").read_text()
    assert mounts.count(f" {machine.mountpoint} ") == 1


async def test_after_a_restart_the_tree_is_there_without_imgur(tmp_path: Path) -> None:
    """R2, R3, R25: with Imgur gone, a second mount has the same tree and content."""
    with emulator_process() as emulator:
        machine = Machine(tmp_path, emulator)
        try:
            machine.log_in()
            process = machine.mount()
            await until(lambda: is_complete(machine.mountpoint))
            before = tree(machine.mountpoint)
            paw = (machine.mountpoint / "Cats" / "Paw.gif").read_bytes()
            process.terminate()
            assert process.wait(15) == 0
            emulator.stop()
            machine.mount()
            assert tree(machine.mountpoint) == before
            assert (machine.mountpoint / "Cats" / "Paw.gif").read_bytes() == paw
            with pytest.raises(OSError) as caught:  # noqa: PT011 - errno is checked
                (machine.mountpoint / "Cats" / "Minka awake.jpg").read_bytes()
            assert caught.value.errno == errno.ENETUNREACH
        finally:
            machine.clean_up()


async def test_a_restart_costs_no_call(
    machine: Machine, emulator: EmulatorProcess
) -> None:
    """R3: a mount of a known, fresh account asks Imgur for nothing."""
    machine.log_in()
    process = machine.mount()
    await until(lambda: is_complete(machine.mountpoint))
    process.terminate()
    process.wait(15)
    async with httpx.AsyncClient(base_url=emulator.address["api_url"]) as http:
        await http.delete("/_emulator/counters")
        machine.mount()
        assert tree(machine.mountpoint)
        counters = (await http.get("/_emulator/counters")).json()
    assert counters["api_requests"] == 0
    assert counters["cdn_requests"] == 0


async def test_a_change_of_another_process_is_seen(machine: Machine) -> None:
    """R19: what another process commits is seen at once, however long the kernel keeps.

    The name was looked up before, so the kernel remembers that it is not there.
    """
    machine.log_in()
    machine.mount()
    await until(lambda: is_complete(machine.mountpoint))
    new = machine.mountpoint / "Brand new"
    assert not new.exists()
    db = open_state(machine.state_dir / "state.db")
    try:
        from imgurfs.tree import changes

        made = an_album(7777, "Brand new")
        db.write_blocking(lambda c: changes.album_created(c, made, images=[], now=0.0))
        await until(new.exists, timeout_s=5)
        found = entries.node_of_album(db.reader, made.id)
        assert found is not None
        assert new.stat().st_ino == found.inode
        db.write_blocking(lambda c: changes.album_deleted(c, made.id))
        await until(lambda: not new.exists(), timeout_s=5)
    finally:
        db.close()


async def test_a_file_of_unknown_size_is_read_whole(machine: Machine) -> None:
    """R18: the kernel does not take "unknown" for "empty"; opening learns the size."""
    machine.log_in()
    process = machine.mount()
    await until(lambda: is_complete(machine.mountpoint))
    paw = machine.mountpoint / "Cats" / "Paw.gif"
    size_bytes, inode = paw.stat().st_size, paw.stat().st_ino
    process.terminate()
    assert process.wait(15) == 0
    db = open_state(machine.state_dir / "state.db")
    db.write_blocking(
        lambda c: c.execute(
            "UPDATE image SET size_bytes = 0, is_size_known = 0 WHERE inode = ?",
            (inode,),
        )
    )
    db.close()
    machine.mount()
    assert paw.stat().st_size == 0
    assert len(paw.read_bytes()) == size_bytes
    assert paw.stat().st_size == size_bytes


def test_a_reader_that_waits_can_be_killed(
    machine: Machine, emulator: EmulatorProcess
) -> None:
    """R12: nobody is stuck in a read that gets no answer; the rest keeps working."""
    machine.log_in()
    machine.mount()
    rule = {"host": "cdn", "action": "hang", "count": 1}
    with httpx.Client(base_url=emulator.address["api_url"]) as http:
        http.delete("/_emulator/counters")
        http.post("/_emulator/faults", json=[rule])
        cats = machine.mountpoint / "Cats"
        with subprocess.Popen(
            ["cat", cats / "Paw.gif"], stdout=subprocess.DEVNULL
        ) as cat:
            while http.get("/_emulator/faults").json()[0]["acted"] == 0:
                assert cat.poll() is None
            cat.kill()
            assert cat.wait(5) == -signal.SIGKILL
        assert (cats / "Minka awake.jpg").read_bytes()
        http.delete("/_emulator/faults")


@pytest.fixture
def broken(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """Return a mount whose handlers are broken on purpose."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.broken_drive", str(machine.mountpoint)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    machine.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdout.close()


def test_a_bug_in_a_handler_does_not_end_the_mount(
    machine: Machine, broken: subprocess.Popen[str]
) -> None:
    """R12, R14: a bug is EIO, a hang ETIMEDOUT, and the mount answers on."""
    for name, number in [("bug", errno.EIO), ("hang", errno.ETIMEDOUT)]:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is checked
            (machine.mountpoint / name).stat()
        assert caught.value.errno == number
        assert machine.mountpoint.is_dir()
    broken.terminate()
    assert broken.wait(15) == 0
    assert broken.stderr is not None
    assert broken.stderr.read().count("Traceback") == 1


def test_without_a_token_it_says_how_to_log_in(machine: Machine) -> None:
    """R22: no token: exit 77, one message, nothing mounted."""
    for extra in ([], ["--foreground"]):
        done = machine.run("mount", *extra, str(machine.mountpoint))
        assert done.returncode == 77
        assert "log" in done.stderr
        assert "Traceback" not in done.stderr
        assert not machine.is_mounted()


def test_a_token_of_another_account_is_refused(machine: Machine) -> None:
    """R22: state of one account is never mixed with another's: exit 78."""
    machine.log_in()
    path = machine.state_dir / "token.json"
    token = json.loads(path.read_bytes())
    path.write_text(json.dumps({**token, "account_id": token["account_id"] + 1}))
    done = machine.run("mount", str(machine.mountpoint))
    assert done.returncode == 78
    assert "account" in done.stderr
    assert not machine.is_mounted()


def test_without_fuse_it_says_what_to_install(machine: Machine) -> None:
    """R22: a machine that cannot mount is told the fix: exit 69."""
    machine.log_in()
    machine.path = "/nonexistent"
    done = machine.run("mount", str(machine.mountpoint))
    assert done.returncode == 69
    assert "fuse3" in done.stderr
    assert not machine.is_mounted()


def test_without_the_fuse_device_it_says_so(machine: Machine) -> None:
    """R22: without /dev/fuse (a container, say) it is exit 69 and the reason."""
    machine.log_in()
    devices = machine.directory / "dev"
    devices.mkdir()
    (devices / "null").touch()
    # A mount namespace of its own, in which /dev has no fuse.
    own_user = [] if os.geteuid() == 0 else ["--map-root-user"]
    hide = 'mount --bind "$1" /dev && shift && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", *own_user, "--mount"),
            *("sh", "-c", hide, "sh", str(devices)),
            *machine.command("mount", str(machine.mountpoint)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=machine.environment,
    )
    assert done.returncode == 69, done.stderr
    assert "/dev/fuse does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert not machine.is_mounted()


def make_missing(machine: Machine) -> None:
    """Take the mountpoint away."""
    machine.mountpoint.rmdir()


def make_a_file(machine: Machine) -> None:
    """Put a file in its place."""
    machine.mountpoint.rmdir()
    machine.mountpoint.write_text("")


def make_full(machine: Machine) -> None:
    """Put something into it."""
    (machine.mountpoint / "x").write_text("")


def make_mounted(machine: Machine) -> None:
    """Mount there."""
    machine.mount()


def watch(machine: Machine, folder: Path) -> None:
    """Configure a watched folder."""
    folder.mkdir(exist_ok=True)
    machine.configure(f'[[folder]]\npath = "{folder}"')


REFUSALS: dict[str, tuple[Callable[[Machine], None], str]] = {
    "missing": (make_missing, "does not exist"),
    "a file": (make_a_file, "is not a directory"),
    "not empty": (make_full, "is not empty"),
    "mounted already": (make_mounted, "is mounted already"),
    "inside a watched folder": (lambda m: watch(m, m.directory), "inside each other"),
    "around a watched folder": (
        lambda m: watch(m, m.mountpoint / "watched"),
        "inside each other",
    ),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_a_bad_mountpoint_is_refused(machine: Machine, how: str) -> None:
    """R22: a mountpoint that cannot be one is refused in one line, exit 1."""
    machine.log_in()
    prepare, message = REFUSALS[how]
    prepare(machine)
    was_mounted = machine.is_mounted()
    done = machine.run("mount", str(machine.mountpoint))
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[0]
    assert len(done.stderr.splitlines()) <= 2
    assert machine.is_mounted() == was_mounted


def test_our_own_state_cannot_be_mounted_on(machine: Machine) -> None:
    """R22: a mount over the state it lives from is refused."""
    machine.log_in()
    place = machine.state_dir / "inside"
    place.mkdir()
    done = machine.run("mount", str(place))
    assert done.returncode == 1
    assert "inside each other" in done.stderr


def test_unmounting_what_is_not_ours_is_refused(machine: Machine) -> None:
    """R22: unmount touches mounts of this program only."""
    for place in (machine.mountpoint, Path("/proc")):
        done = machine.run("unmount", str(place))
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
