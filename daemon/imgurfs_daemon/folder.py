"""One watched folder: watch it, look at what changed, put into the outbox what follows.

What it is not: it reads no directory (``scanner``), plans nothing (``look``,
``planner``), writes no row but notices (``apply``) and does not decide when something
is looked at again (``timetable``). One instance and one task for each folder.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import trio

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.errors import MountpointError
from imgurfs.executor import Executor, ThreadLane
from imgurfs.store import notices, synced, synced_reads
from imgurfs.store.database import Connection, Database
from imgurfs_daemon import apply, inotify_limits, planner
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.look import KnowsAlbums, Look, Looker
from imgurfs_daemon.mounts import read_mountinfo, refuse_mounts
from imgurfs_daemon.planner import Action, Policy
from imgurfs_daemon.scanner import portion, portions, scan
from imgurfs_daemon.snapshot import Problem, RootIdentity, Snapshot, parent_of
from imgurfs_daemon.timetable import Timetable
from imgurfs_daemon.watcher import Watcher

log = logging.getLogger(__name__)

#: Events of one save or copy come in bursts; they are looked at together. A share of
#: the time that files need to settle anyway, and this at least.
_DEBOUNCE_SHARE = 0.25
_DEBOUNCE_MIN_S = 0.1
#: Actions of one look that are told one by one.
_TOLD_ACTIONS_MAX = 20

_INDEPENDENT = (planner.Upload, planner.Skip, planner.ForgetSkip)


class FolderSync:
    """Keeps the outbox up to date with one folder."""

    def __init__(
        self,
        *,
        path: bytes,
        policy: Policy,
        filters: Filters,
        db: Database,
        albums: KnowsAlbums,
        clock: Clock,
        executor: Executor,
        settle_s: float = limits.SETTLE_S,
        delete_grace_s: float = limits.DELETE_GRACE_S,
        look_files_max: int = limits.LOOK_FILES_MAX,
        on_queued: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self.path = path
        self._policy = policy
        self._filters = filters
        self._db = db
        self._clock = clock
        self._executor = executor
        self._settle_s = settle_s
        self._delete_grace_s = delete_grace_s
        self._look_files_max = look_files_max
        self._on_queued = on_queued
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._looker = Looker(
            path=path,
            policy=policy,
            db=db,
            albums=albums,
            clock=clock,
            executor=executor,
            scan=self._scan,
            settle_s=settle_s,
        )
        self._watcher: Watcher | None = None
        #: What was scanned already, while it is looked at.
        self._seen: Snapshot | None = None
        self._problems: dict[bytes, Problem] = {}
        self._told = {"folder": "", "watch": ""}
        self._beyond_limits = 0
        self._is_resting = False

    def __repr__(self) -> str:
        return f"<FolderSync {self.text} {self._looker!r} {self._watcher!r}>"

    @property
    def text(self) -> str:
        """The path for messages."""
        return self.path.decode("utf-8", "backslashreplace")

    @property
    def is_resting(self) -> bool:
        """Whether no look is under way."""
        return self._is_resting

    def statistics(self) -> dict[str, int]:
        """Return how often the folder was read, and what the watcher was told."""
        watcher = {} if self._watcher is None else self._watcher.statistics()
        return {**self._looker.statistics(), **watcher}

    def mark_dirty(self, directory: bytes) -> None:
        """Look at a directory again: something about its files has changed."""
        if self._watcher is not None:
            self._watcher.mark([directory])

    def mark_all(self) -> None:
        """Look at everything again."""
        if self._watcher is not None:
            self._watcher.mark_all()

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Follow the folder for ever. Started when it is watched, or known missing."""
        while True:
            with Watcher(self.path) as watcher:
                self._watcher = watcher
                try:
                    is_there = await self._follow(watcher, task_status)
                finally:
                    self._watcher = None
            task_status = trio.TASK_STATUS_IGNORED
            while not is_there:
                await trio.sleep(limits.MISSING_POLL_S)
                look = await self._sync(frozenset())
                is_there = look.snapshot.root is not None

    async def _follow(
        self, watcher: Watcher, task_status: trio.TaskStatus[None]
    ) -> bool:
        """Look whenever something is dirty, until the folder is another directory.

        Returns whether there is one: a new watcher is to follow it.
        """
        timetable = Timetable(
            path=self.path,
            watcher=watcher,
            waiting=lambda: self._looker.waiting,
            clock=self._clock,
            rng=self._rng,
            debounce_s=max(_DEBOUNCE_MIN_S, self._settle_s * _DEBOUNCE_SHARE),
        )
        followed: RootIdentity | None = None
        while True:
            dirty = watcher.take()
            if followed is not None and dirty.scope is None and watcher.is_deaf:
                return True
            self._looker.settling.note_closed(dirty.closed)
            began_s = self._clock.monotonic()
            if dirty.scope is None:
                seen = await self._executor.run(ThreadLane.DISK, self._scan, None)
                if seen.root is not None:
                    # Every directory is watched; what is in them may take a while.
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                look = await self._sync_seen(seen)
            else:
                look = await self._sync(dirty.scope)
            root = look.snapshot.root
            if root is None:
                task_status.started()
                return False
            if followed is not None and root != followed:
                return True
            followed = root
            await self._tell_unwatched(watcher)
            took_s = self._clock.monotonic() - began_s
            timetable.looked(
                at_everything=dirty.scope is None,
                settles_in_s=look.settles_in_s,
                pause_s=min(took_s / limits.SCAN_SHARE_MAX, limits.SCAN_PAUSE_MAX_S),
            )
            self._is_resting = True
            await timetable.wait_due()
            self._is_resting = False

    async def sync(self) -> Look:
        """Look once at everything and put what follows into the outbox."""
        return await self._sync(None)

    async def look(self) -> Look:
        """Look at everything and plan; change nothing."""
        return await self._looker.look(None)

    async def _sync_seen(self, seen: Snapshot) -> Look:
        """Do what :meth:`sync` does about a scan that was made; return the last look.

        Much that is new, and nothing gone that it could be, is looked at in portions:
        each takes a few hundred bytes for every new file.
        """
        try:
            self._seen = seen
            scopes: Iterable[frozenset[bytes] | None] = [None]
            if seen.root is not None and await self._is_only_more(seen):
                scopes = portions(seen, files_max=self._look_files_max)
            look = None
            for scope in scopes:
                look = await self._sync(scope)
            assert look is not None, "there is the folder itself"
            return look
        finally:
            self._seen = None

    async def _is_only_more(self, seen: Snapshot) -> bool:
        """Whether there is much that has no row, and a file for every row."""
        reader = self._db.reader
        folder = synced.folder_at(reader, self.path)
        count = 0 if folder is None else synced_reads.file_count(reader, folder.id)
        if len(seen.files) - count <= self._look_files_max:
            return False
        if folder is not None:
            for rows in synced_reads.file_slices(reader, folder.id):
                if not all(row.path in seen.files for row in rows):
                    return False
                await trio.lowlevel.checkpoint()
        return True

    async def _sync(self, scope: frozenset[bytes] | None) -> Look:
        if scope is None and not self._policy.mirrors_deletes:
            now = self._clock.now()
            await self._db.write(partial(apply.keep_images, path=self.path, now=now))
        look = await self._looker.look(scope)
        await self._tell_problems(look.snapshot)
        root = look.snapshot.root
        if root is None:
            return look
        together, others = _split(look.actions)
        known = synced.folder_at(self._db.reader, self.path)
        if known is None or together or look.unreadable:
            try:
                await self._db.write(partial(self._apply, root, look, together))
            except apply.OvertakenError as error:
                log.info("%s: %s; looked at again", self.text, error)
                self.mark_all()
                return replace(look, actions=(), settles_in_s=limits.SETTLE_S)
        for start in range(0, len(others), limits.QUEUE_SLICE):
            part = others[start : start + limits.QUEUE_SLICE]
            await self._db.write(partial(self._apply, root, look, part))
        self._hold_back(look)
        for action in look.actions[:_TOLD_ACTIONS_MAX]:
            log.info("%s", describe(action))
        if len(look.actions) > _TOLD_ACTIONS_MAX:
            more = len(look.actions) - _TOLD_ACTIONS_MAX
            log.info("%s: and %d more of such", self.text, more)
        if look.actions:
            self._on_queued()
        return look

    def _apply(
        self, root: RootIdentity, look: Look, actions: Sequence[Action], c: Connection
    ) -> None:
        folder = apply.apply(
            c,
            self.path,
            root,
            look.snapshot,
            tuple(actions),
            now=self._clock.now(),
            grace_s=self._delete_grace_s,
            dedupe=self._policy.dedupe,
        )
        for skip in look.unreadable:
            synced.put_skipped(c, folder, skip)

    def _hold_back(self, look: Look) -> None:
        """Let files that are sent now rest a while before they are sent once more."""
        hold_s = self._settle_s * limits.RESEND_FACTOR
        now, until_s = self._clock.now(), self._clock.monotonic() + hold_s
        for action in look.actions:
            if isinstance(action, (planner.Upload, planner.Replace)):
                file = look.snapshot.files[action.path]
                # Of a file that was not touched for long no saves are to come.
                if now - file.mtime_ns / 1e9 < hold_s:
                    self._looker.settling.hold(action.path, until_monotonic_s=until_s)

    def _scan(self, scope: frozenset[bytes] | None) -> Snapshot:
        """Read the folder, unless a drive of ours was mounted in it or around it."""
        if self._seen is not None:
            return self._seen if scope is None else portion(self._seen, scope)
        try:
            refuse_mounts(self.path, mountinfo=read_mountinfo())
        except MountpointError as error:
            return Snapshot(None, problems=(Problem(b"", error.message),))
        watcher = self._watcher
        snapshot = scan(self.path, self._filters, scope, follower=watcher)
        if watcher is not None and scope is None and snapshot.root is not None:
            unread = [problem.path for problem in snapshot.problems]
            watcher.keep_only([*snapshot.directories, *unread])
        return snapshot

    async def _tell_problems(self, snapshot: Snapshot) -> None:
        """Say what cannot be read, once, and drop it when it can."""
        scope = snapshot.scope
        kept = {
            path: problem
            for path, problem in self._problems.items()
            if scope is not None and not {path, parent_of(path)} & scope
        }
        self._problems = kept | {found.path: found for found in snapshot.problems}
        folder = synced.folder_at(self._db.reader, self.path)
        base = planner.Synced(
            root=None if folder is None else RootIdentity(folder.device, folder.inode)
        )
        all_problems = tuple(self._problems[path] for path in sorted(self._problems))
        text = planner.absence_problem(
            Snapshot(snapshot.root, problems=all_problems), base
        )
        await self._tell(
            "folder", f"{self.text}: {text}; nothing is deleted" if text else ""
        )

    async def _tell_unwatched(self, watcher: Watcher) -> None:
        """Say what the kernel's limits keep from being watched, and what to do."""
        count = watcher.beyond_limits()
        if count == self._beyond_limits and (count == 0) == (not self._told["watch"]):
            return
        self._beyond_limits = count
        text = ""
        if count:
            command = await self._executor.run(
                ThreadLane.DISK, lambda: inotify_limits.advice(missing=count)
            )
            text = (
                f"{self.text}: {count} directories are beyond what the kernel may"
                f" watch; they are read every {limits.WATCH_POLL_S:.0f} s instead."
                f" To change that: {command}"
            )
        await self._tell("watch", text)

    async def _tell(self, topic: str, text: str) -> None:
        """Keep the notice of a topic as it should be, and log it when it changes."""
        key = f"{topic}:{self.text}"
        if text and text != self._told[topic]:
            log.warning("%s", text)
        self._told[topic] = text
        if notices.everything(self._db.reader).get(key, "") == text:
            return
        if text:
            await self._db.write(lambda c: notices.put(c, key, text))
        else:
            await self._db.write(lambda c: notices.drop(c, key))


def describe(action: Action) -> str:
    """Return an action in one line, with its reason."""
    match action:
        case planner.AdoptAlbum() | planner.RenameAlbum():
            where = repr(action.slot.title)
        case planner.IdentifyDirectory():
            where = _text(action.directory)
        case planner.Move():
            where = f"{_text(action.path)} to {_text(action.new_path)}"
        case _:
            where = _text(action.path)
    return f"{_VERBS[type(action)]} {where}: {action.reason}"


_VERBS: dict[type[Action], str] = {
    planner.RenameAlbum: "rename the album to",
    planner.AdoptAlbum: "use the album",
    planner.IdentifyDirectory: "note",
    planner.CancelDelete: "keep",
    planner.Move: "move",
    planner.Bind: "recognise",
    planner.Touch: "note",
    planner.Upload: "upload",
    planner.Replace: "replace",
    planner.Skip: "skip",
    planner.ForgetSkip: "forget",
    planner.Forget: "forget",
    planner.DeleteImage: "delete",
}


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _split(actions: Sequence[Action]) -> tuple[list[Action], list[Action]]:
    """Return what belongs into one transaction, and what depends on nothing else.

    A first look at a large folder is hundreds of thousands of uploads: in one
    transaction they would keep every other process from writing.
    """
    together: list[Action] = []
    others: list[Action] = []
    for action in actions:
        (others if isinstance(action, _INDEPENDENT) else together).append(action)
    return together, others
