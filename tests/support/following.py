"""A watcher and the scans it asks for, without planner or database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from imgurfs_daemon.filters import Filters
from imgurfs_daemon.scanner import scan
from imgurfs_daemon.snapshot import Snapshot
from imgurfs_daemon.watcher import Dirty, Watcher

#: Longest wait for the kernel to tell something.
_PATIENCE_S = 20.0


@dataclass
class Followed:
    """What the scans of a folder have found, put together."""

    root: Path
    watcher: Watcher
    files: set[bytes] = field(default_factory=set)
    closed: set[bytes] = field(default_factory=set)
    scopes: list[frozenset[bytes] | None] = field(default_factory=list)

    def read(self, dirty: Dirty) -> Snapshot:
        """Scan what is dirty."""
        seen = scan(bytes(self.root), Filters(), dirty.scope, follower=self.watcher)
        self.closed |= dirty.closed
        self.scopes.append(seen.scope)
        if seen.root is None:
            return seen
        if seen.scope is None:
            self.watcher.keep_only(seen.directories)
            self.files = set(seen.files)
        else:
            gone = {f for f in self.files if f.rpartition(b"/")[0] in seen.scope}
            self.files = self.files - gone | set(seen.files)
        return seen

    async def until(self, *files: str) -> None:
        """Follow until exactly these files are known."""
        await self.until_found({file.encode() for file in files})

    async def until_found(self, files: set[bytes]) -> None:
        """Follow until exactly these files are known."""
        with trio.fail_after(_PATIENCE_S):
            while self.files != files:
                await self.step()

    async def step(self) -> Snapshot:
        """Wait until something is dirty, and scan it."""
        await self.watcher.wait_changed()
        return self.read(self.watcher.take())

    async def rest(self) -> None:
        """Follow until the kernel has nothing more to tell."""
        quiet = False
        while not quiet:
            with trio.move_on_after(0.2) as waiting:
                await self.step()
            quiet = waiting.cancelled_caught


@contextmanager
def followed(root: Path) -> Iterator[Followed]:
    """Watch a folder; everything is dirty at first."""
    with Watcher(bytes(root)) as watcher:
        yield Followed(root, watcher)
