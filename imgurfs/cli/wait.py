"""``imgurfs wait``: returns when everything is uploaded.

Watched folders and the whole; what lies in the mounted drive is ``wait_drive``'s.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgurfs.cli.context import EXIT_TRY_LATER, Context, pass_context, run_trio
from imgurfs.cli.words import moment, number, parse_duration, printable
from imgurfs.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from imgurfs.cli.opened import Opened
    from imgurfs.config import Config, FolderConfig
    from imgurfs.control import Waiting
    from imgurfs.store.outbox import Job
    from imgurfs.store.outbox_lists import Tally
    from imgurfs.store.synced import SkippedFile

#: How often the tables are looked at.
POLL_S = 0.5
#: A daemon that is just starting, or restarted, gets this long to take its lock.
_NOBODY_S = 5.0
#: Files compared with the tables between two checkpoints.
_SLICE = 500


@dataclass(frozen=True, slots=True)
class _Place:
    """One folder, and the path within it that is waited for (b"" = all of it)."""

    config: FolderConfig
    root: bytes
    below: bytes


@dataclass(frozen=True, slots=True)
class Left:
    """What is not uploaded yet: files nobody has queued, and jobs with their causes."""

    files: list[bytes]
    jobs: int
    uploads: int
    size_bytes: int
    waiting: list[Waiting]
    eta: str


@click.command(short_help="Wait until files, or everything, are uploaded.")
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--timeout", metavar="TIME", help="Give up after e.g. 30s, 10m or 2h.")
@pass_context
def wait(context: Context, paths: tuple[Path, ...], timeout: str | None) -> int:
    """Wait until everything under each PATH is uploaded, or all there is to upload.

    A PATH lies in a watched folder or in the mounted drive. The daemon, the mount or
    'imgurfs sync' does the work; files that were not noticed yet count as well.
    Deletions are not waited for, nor files that only stay on this machine.

    Exit codes: 0 everything is uploaded; 75 the rest needs a decision of yours
    (rejected, held, paused without an end), or the time is over; 69 nobody is at work.
    """
    from imgurfs.cli import wait_drive
    from imgurfs.clock import SystemClock

    clock = SystemClock()
    limit_s = float("inf") if timeout is None else parse_duration(timeout)
    deadline_s = clock.monotonic() + limit_s
    settings = context.load_config()
    if not paths:
        everything = _places(settings, context, None)
        return run_trio(_wait, context, everything, deadline_s, None)
    found = [(path, wait_drive.find(path)) for path in paths]
    watched = [
        place
        for path, on_drive in found
        if on_drive is None
        for place in _places(settings, context, path)
    ]
    code = 0
    if watched:
        code = run_trio(_wait, context, watched, deadline_s, watched)
    on_drives = [on_drive for _, on_drive in found if on_drive is not None]
    if on_drives:
        code = run_trio(wait_drive.wait, context, on_drives, deadline_s) or code
    return code


def _places(settings: Config, context: Context, path: Path | None) -> list[_Place]:
    """Return the watched folders concerned. Raises UsageError."""
    folders = {
        folder: Path(folder.path).expanduser().resolve()
        for folder in settings.folders_of(context.account)
    }
    if path is None:
        return [_Place(f, bytes(real), b"") for f, real in folders.items()]
    # A link in the last place is a file that is not uploaded, not what it points to.
    absolute = path.expanduser().absolute()
    wanted = absolute.parent.resolve() / absolute.name
    for candidate in (wanted, wanted.resolve()):
        for folder, real in folders.items():
            if candidate.is_relative_to(real):
                below = bytes(candidate.relative_to(real))
                return [_Place(folder, bytes(real), b"" if below == b"." else below)]
    raise UsageError(
        f"{printable(bytes(path))} lies in no watched folder",
        hint="list them: imgurfs folder",
    )


async def _wait(
    context: Context,
    places: list[_Place],
    deadline_s: float,
    below: list[_Place] | None,
) -> int:
    """Wait for files in ``places``, and for the jobs ``below`` some of them or all."""
    import trio

    from imgurfs.cli.live import Course, ProgressView, pause_s
    from imgurfs.cli.opened import opened

    with opened(context) as state:
        course, alone_since_s = Course(), None
        view = ProgressView(state.clock, is_quiet=context.verbosity < 0)
        folders = _Files(state, places)
        files = await folders.unfinished()
        with view:
            while True:
                now_s = state.clock.monotonic()
                while files and folders.is_settled(files[-1]):
                    files.pop()
                left = _left(state, below, files)
                if not left.jobs and not left.files:
                    files = await folders.unfinished()
                    if not files:
                        break
                    continue
                course.see(max(left.uploads, len(left.files)), left.size_bytes)
                view.show(course, note=note(left))
                if needs_user(left) and folders.are_queued(files):
                    break
                alone_since_s = alone_since(state, left, alone_since_s, now_s)
                if now_s >= deadline_s:
                    break
                took_s = state.clock.monotonic() - now_s
                await trio.sleep(min(pause_s(POLL_S, took_s), deadline_s - now_s))
        return _report(state, places, left, is_everything=below is None)


def alone_since(
    state: Opened, left: Left, since_s: float | None, now_s: float
) -> float | None:
    """Return since when nobody is at work, None when somebody is.

    Raises UnavailableError when that is too long.
    """
    from imgurfs.locks import FileLock

    locks = (state.places.daemon_lock, state.places.drain_lock)
    if not all(FileLock(path).is_free() for path in locks):
        return None
    since_s = now_s if since_s is None else since_s
    if now_s - since_s >= _NOBODY_S:
        count = max(left.jobs, len(left.files))
        what = number(count, "file or change", "files or changes")
        raise UnavailableError(
            f"{what} left, and nobody is uploading",
            hint="start imgurfs-daemon, or run: imgurfs sync FOLDER --once",
        )
    return since_s


def _left(state: Opened, places: list[_Place] | None, files: list[bytes]) -> Left:
    """Return what is left now: the ``files``, and the jobs below some places or all."""
    from imgurfs.jobs import queueing
    from imgurfs.store import outbox_lists

    now = state.clock.now()
    if places is None:
        uploads = outbox_lists.tallies(state.reader, now=now, kinds=(queueing.UPLOAD,))
    else:
        uploads = [one for p in places for one in _uploads_below(state, p, now)]
    return left_of(state, files, uploads)


def left_of(state: Opened, files: list[bytes], uploads: list[Tally]) -> Left:
    """Return what is left: some files, their uploads, and every change of an album."""
    from imgurfs.cli.forecast import of_queue
    from imgurfs.jobs import queueing
    from imgurfs.store import outbox_lists

    found = uploads + outbox_lists.tallies(
        state.reader,
        now=state.clock.now(),
        kinds=(queueing.CREATE_ALBUM, queueing.MEMBERS, queueing.UPDATE_ALBUM),
    )
    tell = state.waiting_teller()
    eta = of_queue(state, found)
    return Left(
        files,
        jobs=sum(one.count for one in found),
        uploads=sum(one.count for one in uploads),
        size_bytes=sum(one.size_bytes for one in uploads),
        waiting=[tell(one) for one in found],
        eta="" if eta is None else eta["text"],
    )


def _uploads_below(state: Opened, place: _Place, now: float) -> list[Tally]:
    """Return the uploads of one file, or of everything in a directory."""
    from imgurfs.jobs import queueing
    from imgurfs.store import outbox_lists, synced

    folder = synced.folder_at(state.reader, place.root)
    if folder is None:
        return []
    inside = place.below + b"/" if place.below else b""
    is_file = not Path(os.fsdecode(place.root + b"/" + place.below)).is_dir()
    return outbox_lists.tallies(
        state.reader,
        now=now,
        key_prefix=queueing.upload_key(folder.id, place.below if is_file else inside),
    )


class _Files:
    """Compares files with what is recorded about them."""

    def __init__(self, state: Opened, places: list[_Place]) -> None:
        self._state = state
        self._places = places
        self._version = -1
        self._skipped: dict[bytes, dict[bytes, SkippedFile]] = {}

    async def unfinished(self) -> list[bytes]:
        """Walk the folders; return the files (absolute) that are not on Imgur as yet.

        What Imgur does not take is no such file.
        """
        import trio

        from imgurfs.executor import ThreadExecutor, ThreadLane
        from imgurfs_daemon.filters import Filters
        from imgurfs_daemon.scanner import scan

        executor = ThreadExecutor()
        found: list[bytes] = []
        for place in self._places:
            filters = Filters(place.config.include, place.config.exclude)
            seen = await executor.run(ThreadLane.DISK, scan, place.root, filters)
            for index, path in enumerate(seen.files):
                if index % _SLICE == 0:
                    await trio.lowlevel.checkpoint()
                whole = place.root + b"/" + path
                if _is_below(path, place.below) and not self.is_settled(whole):
                    found.append(whole)
        return found

    def is_settled(self, path: bytes) -> bool:
        """Whether nothing has to be sent for a file: it was, it cannot be, it went."""
        from imgurfs.store import synced

        c = self._state.reader
        root = next(p.root for p in self._places if path.startswith(p.root + b"/"))
        inner = path[len(root) + 1 :]
        folder = synced.folder_at(c, root)
        try:
            there = os.lstat(path)
        except OSError:
            return True
        known = None if folder is None else synced.file(c, folder.id, inner)
        if known is not None and (known.inode, known.size_bytes, known.mtime_ns) == (
            there.st_ino,
            there.st_size,
            there.st_mtime_ns,
        ):
            return True
        skip = self._skipped_of(root).get(inner)
        return skip is not None and (
            # -1: it could not even be read.
            skip.mtime_ns == -1
            or (skip.size_bytes, skip.mtime_ns) == (there.st_size, there.st_mtime_ns)
        )

    def are_queued(self, files: list[bytes]) -> bool:
        """Whether every one of these files has a job that waits."""
        from imgurfs.jobs import queueing
        from imgurfs.store import outbox, synced

        c = self._state.reader
        for path in files:
            root = next(p.root for p in self._places if path.startswith(p.root + b"/"))
            folder = synced.folder_at(c, root)
            inner = path[len(root) + 1 :]
            if folder is None or not outbox.by_key(
                c, queueing.upload_key(folder.id, inner)
            ):
                return False
        return True

    def _skipped_of(self, root: bytes) -> dict[bytes, SkippedFile]:
        """Return what is skipped in a folder, read again when something changed."""
        from imgurfs.store import synced

        version = self._state.db.data_version()
        if version != self._version:
            self._version = version
            self._skipped.clear()
        if root not in self._skipped:
            folder = synced.folder_at(self._state.reader, root)
            self._skipped[root] = (
                {} if folder is None else synced.skipped(self._state.reader, folder.id)
            )
        return self._skipped[root]


def _is_below(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")


def needs_user(left: Left) -> bool:
    """Whether there are jobs left, and none can go on by itself."""
    return bool(left.waiting) and all(one.needs_user for one in left.waiting)


def note(left: Left) -> str:
    """Return when it is over; when everything waits, for what and until when."""
    timed = [waiting for waiting in left.waiting if waiting.until is not None]
    if not timed or len(timed) < len(left.waiting):
        return left.eta
    first = min(timed, key=lambda waiting: waiting.until or 0.0)
    return f"{first.reason}, until {moment(first.until)}"


def _report(
    state: Opened, places: list[_Place], left: Left, *, is_everything: bool
) -> int:
    """Say how it ended; return the exit code."""
    problems = _problems(state, places, is_everything=is_everything)
    undone = max(left.jobs, len(left.files))
    if needs_user(left):
        reasons = sorted({waiting.reason for waiting in left.waiting})
        problems.insert(0, f"{number(undone, 'job')} left: {'; '.join(reasons)}")
    elif undone:
        what = number(undone, "file or change", "files or changes")
        problems.insert(0, f"the time is over; {what} left")
    if not problems:
        print("everything is uploaded")
        return 0
    for problem in problems:
        print(printable(problem))
    print("see: imgurfs status")
    return EXIT_TRY_LATER


def _problems(state: Opened, places: list[_Place], *, is_everything: bool) -> list[str]:
    """Return what is stuck although nothing is left to wait for."""
    from imgurfs.jobs import drive_names, guard, queueing
    from imgurfs.store import outbox_lists, synced

    c = state.reader
    found = []
    for job in outbox_lists.rejected(c):
        if is_everything and not _is_of_folder(job):
            found.append(f"rejected: {drive_names.what(c, job)}: {job.error}")
        if not _is_of_folder(job):
            continue
        payload = queueing.decode(job, queueing.UploadPayload)
        folder = synced.folder(c, payload.folder)
        whole = folder.path + b"/" + payload.path if folder else b""
        if any(
            place.root == folder.path and _is_below(payload.path, place.below)
            for place in places
            if folder is not None
        ) and os.path.lexists(whole):
            found.append(f"rejected: {drive_names.what(c, job)}: {job.error}")
    held = guard.report(c) if is_everything else None
    if held is not None:
        found.append(f"{held.text}: see imgurfs guard")
    return found


def _is_of_folder(job: Job) -> bool:
    """Whether a job uploads a file of a watched folder."""
    from imgurfs.jobs import queueing

    if job.kind != queueing.UPLOAD:
        return False
    payload = queueing.decode(job, queueing.UploadPayload)
    return payload.folder not in (queueing.DRIVE, queueing.BY_HAND)
