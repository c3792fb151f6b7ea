"""The stage of the demo: an emulator, a mount and a daemon as real processes.

Everything lives below one directory and under its own XDG directories, so a demo never
touches the state of a real account. The processes are the programs a user would start;
nothing is simulated here. Used by ``tour`` and by the command ``imgurfs demo``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from imgurfs.errors import DeadlineError, UnavailableError, UsageError
from imgurfs.locks import FileLock

#: Time for a program of ours to say that it is ready.
START_TIMEOUT_S = 30.0
#: Time for a program of ours to stop after SIGTERM, before SIGKILL.
STOP_TIMEOUT_S = 20.0
#: How often a condition is looked at.
POLL_S = 0.05

_CONFIG = """\
[account]
client_id = "{client_id}"
client_secret = "{client_secret}"
api_url = "{api_url}"
cdn_url = "{cdn_url}"

[sync]
settle_s = 0.5
delete_grace_s = 0.0

[[folder]]
path = {folder}
deletes = "mirror"
"""


class EmulatorAddress(msgspec.Struct, frozen=True):
    """The emulator's first line: where it is and how to get in."""

    api_url: str
    cdn_url: str
    client_id: str
    client_secret: str
    refresh_token: str
    access_token: str
    username: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo. ``environment`` is what its programs were started with."""

    drive: Path
    folder: Path
    config: Path
    emulator: EmulatorAddress
    environment: dict[str, str]
    processes: dict[str, trio.Process]


@asynccontextmanager
async def open_stage(directory: Path) -> AsyncIterator[Stage]:
    """Start everything below ``directory``; stop and clean up on the way out.

    Files a user put into the watched folder stay; everything else that was made here
    is removed. Raises UsageError when another demo runs there, UnavailableError when
    a program does not start.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    private = directory / ".imgurfs-demo"
    lock = FileLock(directory / ".imgurfs-demo.lock")
    if not lock.acquire_nowait():
        raise UsageError(f"another demo is running in {directory}", hint="use --dir")
    async with AsyncExitStack() as stack:
        stack.callback(_tidy, directory, private, lock)
        # What a demo that was killed left behind describes an account that is gone.
        shutil.rmtree(private, ignore_errors=True)
        drive, folder = directory / "drive", directory / "folder"
        for path in (private, folder):
            path.mkdir(mode=0o700, exist_ok=True)
        # A killed demo leaves its dead mount behind. The lock says it is ours.
        await _detach(drive)
        with contextlib.suppress(FileExistsError):
            drive.mkdir()
        environment = _environment(private)
        processes: dict[str, trio.Process] = {}
        address = await _start_emulator(stack, environment, processes, private)
        config = private / "config.toml"
        _write_config(config, address, folder)
        environment["IMGURFS_CONFIG"] = str(config)
        _write_env(private / "env", environment)
        stage = Stage(drive, folder, config, address, environment, processes)
        await _log_in(stage)
        await _start(
            stack,
            stage,
            "mount",
            ["-m", "imgurfs", "mount", "--foreground", str(drive)],
        )
        stack.push_async_callback(_detach, drive, "-u", "-uz")
        await wait_until(
            lambda: is_mounted(drive) or _has_ended(stage, "mount"),
            "the drive to be mounted",
            START_TIMEOUT_S,
        )
        await _start(stack, stage, "daemon", ["-m", "imgurfs_daemon"])
        check_alive(stage)
        yield stage


async def wait_until(is_so: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Look at a condition until it holds. Raises DeadlineError naming it."""
    with trio.move_on_after(timeout_s):
        # Other processes set no Event.
        while not is_so():  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        return
    raise DeadlineError(f"waited {timeout_s:.0f} s in vain for {what}")


def is_mounted(path: Path) -> bool:
    """Whether something is mounted exactly at ``path``; never touches the mount."""
    wanted = str(path).replace("\\", "\\134").replace(" ", "\\040")
    mounts = Path("/proc/self/mountinfo").read_text()
    return any(line.split()[4] == wanted for line in mounts.splitlines())


def check_alive(stage: Stage) -> None:
    """Raise UnavailableError, with its last words, when a program has ended."""
    for name in stage.processes:
        if _has_ended(stage, name):
            log = stage.config.parent / f"{name}.log"
            words = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise UnavailableError(
                f"the {name} ended with code {stage.processes[name].returncode}",
                hint="\n  ".join(words),
            )


def _has_ended(stage: Stage, name: str) -> bool:
    return stage.processes[name].poll() is not None


def _environment(private: Path) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IMGURFS_")}
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        environment[variable] = str(private / variable.removeprefix("XDG_").lower())
    # The daemon must not report to whoever supervises the demo.
    environment.pop("NOTIFY_SOCKET", None)
    return environment


def _write_config(path: Path, address: EmulatorAddress, folder: Path) -> None:
    fields: dict[str, Any] = msgspec.structs.asdict(address)
    # A JSON string is a TOML string.
    fields["folder"] = msgspec.json.encode(str(folder)).decode()
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
    ) as f:
        f.write(_CONFIG.format(**fields))


def _write_env(path: Path, environment: dict[str, str]) -> None:
    """Write a file to source in a shell that wants to look at the demo's account."""
    names = [n for n in environment if n.startswith(("XDG_", "IMGURFS_"))]
    path.write_text(
        "".join(f"export {n}={shlex.quote(environment[n])}\n" for n in sorted(names))
    )


async def _start_emulator(
    stack: AsyncExitStack,
    environment: dict[str, str],
    processes: dict[str, trio.Process],
    private: Path,
) -> EmulatorAddress:
    arguments = ["-m", "imgurfs", "emulator", "--port", "0", "--cdn-port", "0"]
    with (private / "emulator.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    processes["emulator"] = process
    stack.push_async_callback(_stop, process)
    line = b""
    with trio.move_on_after(START_TIMEOUT_S):
        assert process.stdout is not None
        while not line.endswith(b"\n"):
            if not (part := await process.stdout.receive_some()):
                break
            line += part
    try:
        return msgspec.json.decode(line, type=EmulatorAddress)
    except msgspec.DecodeError as error:
        words = (private / "emulator.log").read_text(errors="replace").strip()
        raise UnavailableError("the emulator did not start", hint=words) from error


async def _log_in(stage: Stage) -> None:
    result = await trio.run_process(  # noqa: TID251 - our own program, no shell
        [sys.executable, "-m", "imgurfs", "login", "--refresh-token-stdin"],
        stdin=stage.emulator.refresh_token.encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=stage.environment,
    )
    if result.returncode:
        raise UnavailableError(
            "the demo could not log in", hint=result.stderr.decode(errors="replace")
        )


async def _start(
    stack: AsyncExitStack, stage: Stage, name: str, arguments: list[str]
) -> None:
    """Start one of our programs in a session of its own: Ctrl-C is ours to handle."""
    with (stage.config.parent / f"{name}.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=stage.environment,
            start_new_session=True,
        )
    stage.processes[name] = process
    stack.push_async_callback(_stop, process)


async def _stop(process: trio.Process) -> None:
    """Ask a program to stop; after a bound, make it."""
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            process.terminate()
        with trio.move_on_after(STOP_TIMEOUT_S) as bound:
            await process.wait()
        if bound.cancelled_caught:
            process.kill()
            await process.wait()


async def _detach(drive: Path, *attempts: str) -> None:
    """Unmount what is mounted at ``drive``, even if somebody still stands in it."""
    with trio.CancelScope(shield=True):
        for flags in attempts or ("-uz",):
            if is_mounted(drive):
                await trio.run_process(  # noqa: TID251 - no shell
                    ["fusermount3", flags, str(drive)],
                    check=False,
                    capture_stderr=True,
                )


def _tidy(directory: Path, private: Path, lock: FileLock) -> None:
    """Remove what the demo made; a folder the user filled stays."""
    shutil.rmtree(private, ignore_errors=True)
    lock.path.unlink(missing_ok=True)
    lock.release()
    for path in (directory / "drive", directory / "folder", directory):
        try:
            path.rmdir()
        except OSError:
            # Not empty (the user's files), or not ours to remove.
            continue
