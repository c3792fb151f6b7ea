"""Runs the doctor's checks: side by side, each bounded, whatever becomes of them.

Not a command and knows no check. Each runs in a process of its own, because what the
doctor looks at may hang so that no thread ever comes back (a mount whose server does
not answer): such a process is left behind. Used by ``doctor`` and by checks that
consist of several, on a process that has no other threads at work.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

import msgspec

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import ImgurfsError

#: What a check that is late anyway gets to end its last sentence.
_GRACE_S: Final = 0.2


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's: ``what`` is so, and what mends it ("" for nothing)."""

    check: str
    state: Literal["ok", "warning", "problem"]
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at; ``fix_if_silent`` mends what makes it hang."""

    name: str
    look: Callable[[], Iterable[Finding]]
    timeout_s: float = limits.DOCTOR_CHECK_S
    fix_if_silent: str = "is a disk or a server that it needs not answering?"


@dataclass(slots=True)
class _Child:
    """A check that runs."""

    check: Check
    process: int
    pipe: int
    give_up_at: float


def run(checks: Sequence[Check], *, clock: Clock) -> list[Finding]:
    """Return what all checks found, in their order. Never raises what they raise."""
    children = [_started(check, clock) for check in checks]
    return [finding for child in children for finding in _answer(child, clock)]


def _started(check: Check, clock: Clock) -> _Child:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        _look(check, writing)
    os.close(writing)
    return _Child(check, process, reading, clock.monotonic() + check.timeout_s)


def _look(check: Check, pipe: int) -> NoReturn:
    """Be the child: look, tell, end. Nothing may come back from here."""
    try:
        os.setsid()
        # A child that hangs for good must not keep our reader waiting.
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        told = msgspec.json.encode(_found(check))
        while told:
            told = told[os.write(pipe, told) :]
    finally:
        os._exit(0)  # not through our caller's ends


def _found(check: Check) -> list[Finding]:
    try:
        return list(check.look())
    except ImgurfsError as error:
        return [Finding(check.name, "problem", error.message, error.hint)]
    except Exception as error:  # noqa: BLE001 - the outermost edge of this process
        return [_crashed(check, f"{type(error).__name__}: {error}")]


def _crashed(check: Check, how: str) -> Finding:
    return Finding(
        check.name,
        "problem",
        f"the check itself failed ({how})",
        "this is a bug, or this system is very unusual; report it",
    )


def _answer(child: _Child, clock: Clock) -> list[Finding]:
    """Wait for a child within its bound, and see that it ends."""
    told = b""
    with os.fdopen(child.pipe, "rb", buffering=0) as pipe:
        while True:
            remaining_s = max(child.give_up_at - clock.monotonic(), _GRACE_S)
            if not select.select([pipe], [], [], remaining_s)[0]:
                return [_gave_up(child)]
            part = os.read(pipe.fileno(), limits.MIB)
            if not part:
                break
            told += part
    _, status = os.waitpid(child.process, 0)
    try:
        return msgspec.json.decode(told, type=list[Finding])
    except msgspec.DecodeError:
        return [_crashed(child.check, f"it ended with status {status}")]


def _gave_up(child: _Child) -> Finding:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.process, signal.SIGKILL)
    # It may be waiting for a disk, where nothing ends it: then it is left behind.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child.process, os.WNOHANG)
    check = child.check
    what = f"no answer within {check.timeout_s:g} s"
    return Finding(check.name, "problem", what, check.fix_if_silent)
