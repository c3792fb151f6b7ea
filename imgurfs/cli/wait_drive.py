"""The part of ``imgurfs wait`` that waits for files and albums of the mounted drive.

The paths are told by the drive itself (``drive_paths``); where each file stands, and
what its upload waits for, by the account's database.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imgurfs.cli.context import EXIT_TRY_LATER, Context
from imgurfs.cli.wait import POLL_S, Left, alone_since, left_of, needs_user, note
from imgurfs.cli.words import number, printable
from imgurfs.errors import UsageError
from imgurfs.jobs import drive_names

if TYPE_CHECKING:
    from pathlib import Path

    from imgurfs.cli.drive_paths import Found
    from imgurfs.cli.opened import Opened
    from imgurfs.model import Inode
    from imgurfs.store.database import Connection
    from imgurfs.store.entries import Node


@dataclass(slots=True)
class _Seen:
    """Where the files and albums stand that are waited for."""

    #: On their way, as bytes for messages; ``uploads`` are the keys of their jobs.
    coming: list[bytes] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    #: What only the user can let go on, in words.
    stuck: list[str] = field(default_factory=list)


def find(path: Path) -> Found | None:
    """Return what a path is on a mounted drive, None when it lies on none.

    Raises UsageError when nothing is there, and says so when the missing name is there
    with what makes it a temporary one; UnavailableError.
    """
    from imgurfs.cli import drive_paths
    from imgurfs.writing import judge

    place, name = path.absolute(), ""
    while not os.path.lexists(place):
        place, name = place.parent, place.name
    found = drive_paths.find(place)
    if found is None or not name:
        return found
    there = sorted(one.name for one in place.iterdir()) if found.is_directory else []
    alike = [one for one in there if name in one and judge.is_temporary(one)]
    raise UsageError(
        f"there is no {printable(str(path))}"
        + (f": {printable(name)} is called {printable(alike[0])} yet" if alike else ""),
        hint="a temporary name: wait for the program that gave it" if alike else "",
    )


async def wait(context: Context, wanted: list[Found], deadline_s: float) -> int:
    """Wait until everything below the paths is on Imgur; return the exit code.

    ``deadline_s`` is a moment of the monotonic clock. Raises UsageError when a path is
    not of this account's drive, UnavailableError when nobody is at work.
    """
    import trio

    from imgurfs.cli.live import Course, ProgressView, pause_s
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        inodes = [_checked(state.reader, found) for found in wanted]
        course, alone_since_s = Course(), None
        with ProgressView(state.clock, is_quiet=context.verbosity < 0) as view:
            while True:
                now_s = state.clock.monotonic()
                seen = _look(state.reader, inodes)
                left = _left(state, seen)
                if not left.jobs and not left.files:
                    break
                course.see(max(left.uploads, len(left.files)), left.size_bytes)
                view.show(course, note=note(left))
                if left.jobs >= len(left.files) and needs_user(left):
                    break
                if left.jobs:
                    # A file that is being written still is nobody's job.
                    alone_since_s = alone_since(state, left, alone_since_s, now_s)
                if now_s >= deadline_s:
                    break
                took_s = state.clock.monotonic() - now_s
                await trio.sleep(min(pause_s(POLL_S, took_s), deadline_s - now_s))
        return _report(seen, left)


def _checked(c: Connection, found: Found) -> Inode:
    """Return the inode of a path, if this account's drive has it."""
    from imgurfs.model import Inode
    from imgurfs.store import entries

    inode = Inode(found.inode)
    node = entries.node(c, inode)
    known = None if node is None else node.image or node.album
    if node is None or (known.id if known else "") != found.image_or_album_id:
        raise UsageError(
            f"{printable(str(found.path))} is on the drive of another account",
            hint="name it: --account NAME",
        )
    return inode


def _look(c: Connection, inodes: list[Inode]) -> _Seen:
    """Return where everything stands that is at, or below, some inodes."""
    from imgurfs.store import entries

    seen, known = _Seen(), set()
    waiting = list(inodes)
    while waiting:
        inode = waiting.pop()
        node = entries.node(c, inode)
        if node is None or inode in known:
            continue
        known.add(inode)
        _judge(c, node, seen)
        if node.image is None:
            waiting += [entry.node.inode for entry in entries.children(c, inode)]
    return seen


def _judge(c: Connection, node: Node, seen: _Seen) -> None:
    """Note where one file or album stands."""
    from imgurfs.jobs import queueing
    from imgurfs.store.drafts import DraftState
    from imgurfs.writing import judge

    path = drive_names.path_of(c, node.inode)
    name = path.rpartition("/")[2]
    if node.album is not None and not (node.album.id or judge.is_temporary(name)):
        seen.coming.append(path.encode())
    if node.draft is None or not path:
        return
    match node.draft.state:
        case DraftState.WAITING:
            seen.coming.append(path.encode())
            spooled = node.draft.spool_name.encode()
            seen.uploads.append(queueing.upload_key(queueing.DRIVE, spooled))
        case DraftState.WRITING:
            seen.coming.append(path.encode())
        case DraftState.REFUSED:
            seen.stuck.append(f"not uploaded: {path}: {node.draft.error}")
        case DraftState.SCRATCH:
            seen.stuck.append(f"not uploaded: {path}: {_why_scratch(path)}")
        case _:
            # It is there, or stays on this machine.
            pass


def _why_scratch(path: str) -> str:
    from imgurfs.writing import judge

    directory, _, name = path.rpartition("/")
    if directory and not judge.is_temporary(name):
        return f"its directory has a temporary name ({directory!r})"
    return "it has a temporary name"


def _left(state: Opened, seen: _Seen) -> Left:
    from imgurfs.store import outbox_lists

    now = state.clock.now()
    uploads = [
        one
        for key in seen.uploads
        for one in outbox_lists.tallies(state.reader, now=now, key_prefix=key)
    ]
    return left_of(state, seen.coming, uploads)


def _report(seen: _Seen, left: Left) -> int:
    """Say how it ended; return the exit code."""
    problems = list(seen.stuck)
    if left.jobs and needs_user(left):
        reasons = sorted({waiting.reason for waiting in left.waiting})
        problems.insert(0, f"{number(left.jobs, 'job')} left: {'; '.join(reasons)}")
    elif left.jobs or left.files:
        undone = max(left.jobs, len(left.files))
        what = number(undone, "file or change", "files or changes")
        problems.insert(0, f"the time is over; {what} left")
    if not problems:
        print("everything is uploaded")
        return 0
    for problem in problems:
        print(printable(problem))
    print("see: imgurfs status")
    return EXIT_TRY_LATER
