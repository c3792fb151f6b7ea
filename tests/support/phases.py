"""Catches what a drive sends at a moment: waiting, in the air, or perhaps lost."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from imgurfs.content import disk
from imgurfs.emulator.trouble.faultrules import parse_rules
from imgurfs.jobs import queueing
from imgurfs.store import drafts, outbox
from imgurfs.store.drafts import Draft
from imgurfs.store.outbox import JobState
from tests.support.placed import Placed, placed

UPLOADS = {"host": "api", "method": "POST", "path": "^/3/(image|upload)$"}
ALBUMS = {"host": "api", "method": "POST", "path": "^/3/album$"}
#: Longer than quarantine, looks and grace together.
LONG_S = 4_000.0


class Phase(enum.Enum):
    """Where an upload is when something happens to its file."""

    QUEUED = JobState.QUEUED
    SENDING = JobState.SENDING
    UNKNOWN = JobState.UNKNOWN


def trouble(d: Placed, *rules: dict[str, object]) -> None:
    """Let these things go wrong from now on, and nothing else."""
    d.there.emulator.faults.replace(parse_rules(list(rules), source="test"))


async def until_job(d: Placed, kind: str, state: JobState) -> None:
    """Wait until some job of a kind is in a state."""
    with trio.fail_after(LONG_S):
        while not outbox.unfinished(d.db.reader, kind=kind, state=state):  # noqa: ASYNC110
            await trio.sleep(0.1)


@asynccontextmanager
async def caught(
    d: Placed, phase: Phase, *, kind: str = queueing.UPLOAD
) -> AsyncIterator[None]:
    """Drain, and run the body when the first job of a kind is in that phase."""
    target = UPLOADS if kind == queueing.UPLOAD else ALBUMS
    if phase is Phase.SENDING:
        trouble(d, {"action": "delay", "delay_s": 10.0, "nth": 1, **target})
    if phase is Phase.UNKNOWN:
        trouble(d, {"action": "reset_after", "nth": 1, **target})
    if phase is Phase.QUEUED:
        yield
        await d.drain(LONG_S)
        return
    async with trio.open_nursery() as nursery:
        drainer = d.drainer()
        nursery.start_soon(drainer.run)
        await until_job(d, kind, phase.value)
        yield
        await trio.sleep(LONG_S)
        drainer.stop()


@asynccontextmanager
async def drive(tmp_path: Path) -> AsyncIterator[Placed]:
    """Open a drive, and see to it that the account is what it shows at the end."""
    async with placed(tmp_path) as d:
        yield d
        trouble(d)
        assert d.kinds() == []
        d.assert_same_as_imgur()
        shown = d.everything()
        await trio.sleep(60)
        await d.refresh()
        assert d.everything() == shown, "a listing changed what was done here"


def uploads(d: Placed) -> int:
    """Return how many uploads were sent since the mark."""
    made = d.calls()
    return sum(one in ("POST image", "POST upload") for one in made)


def draft_of(d: Placed, path: str) -> Draft | None:
    """Return the row of a file's bytes."""
    return drafts.get(d.db.reader, d.node(path).inode)


def bytes_of(d: Placed, image_id: str) -> bytes:
    """Return the bytes of an image, as the emulator has them."""
    (found,) = (one for one in d.images() if one.id == image_id)
    return bytes(found.content.read(0, found.content.size_bytes))


def put_in_cache(d: Placed, path: str, data: bytes) -> None:
    """Let the content cache have an image whole, as after reading it."""
    image_id = d.image(path)
    file = d.state_dir.parent / "cache" / image_id[:2] / image_id
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    with file.open("rb") as opened:
        sidecar = disk.Sidecar(len(data), "", ((0, len(data)),))
        disk.persist(opened.fileno(), file, sidecar)
