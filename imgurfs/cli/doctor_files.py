"""What the doctor looks at in files: configuration, folders, disks, databases.

Not a command; used by ``doctor``. Every function returns findings and changes nothing.
What needs a configuration finds nothing when there is none that can be read: the check
of the configuration says so.
"""

from __future__ import annotations

import itertools
import os
import shlex
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imgurfs import limits, paths
from imgurfs.cli.doctor_run import Check, Finding, run
from imgurfs.cli.words import number, size
from imgurfs.errors import ConfigError

if TYPE_CHECKING:
    from imgurfs.cli.context import Context
    from imgurfs.clock import Clock
    from imgurfs.config import Config
    from imgurfs.store.database import Connection, Schema


def readable_config(context: Context) -> Config | None:
    """Return the configuration, None when it is none."""
    try:
        return context.load_config()
    except ConfigError:
        return None


def configuration(context: Context) -> Iterator[Finding]:
    """Look whether the configuration can be read, and who else can change it."""
    settings = context.load_config()
    settings.account_named(context.account)
    asked = context.config_file or os.environ.get("IMGURFS_CONFIG")
    path = Path(asked) if asked else paths.config_path()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        yield Finding("config", "ok", f"{path} is not there; the defaults apply")
        return
    if mode & 0o022:
        what = f"{path} can be changed by others (mode {mode:04o})"
        fix = f"chmod go-w {shlex.quote(str(path))}"
        yield Finding("config", "warning", what, fix)
    else:
        yield Finding("config", "ok", f"{path} is in order")


# --- Watched folders -----------------------------------------------------------


def folders(context: Context, clock: Clock) -> Iterator[Finding]:
    """Look at each watched folder of the account, and at whether they overlap."""
    settings = readable_config(context)
    if settings is None:
        return
    watched = [_expanded(one.path) for one in settings.folders_of(context.account)]
    if not watched:
        yield Finding("folders", "ok", "no folder is watched")
    yield from run(
        [
            Check(
                name="folders",
                look=partial(_folder, path),
                fix_if_silent=f"is the disk with {path} there and well?",
            )
            for path in watched
        ],
        clock=clock,
    )
    every = [_expanded(one.path) for one in settings.folder]
    own = paths.account_paths(context.account).own_directories
    pairs = [*itertools.combinations(every, 2), *itertools.product(every, own)]
    for one, other in pairs:
        if one.is_relative_to(other) or other.is_relative_to(one):
            what = f"{one} and {other} lie in one another"
            fix = f"imgurfs folder remove {shlex.quote(str(one))}"
            yield Finding("folders", "problem", what, fix)


def _expanded(path: str) -> Path:
    # Not resolved: that asks a disk, which may hang.
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100


def _folder(path: Path) -> Iterator[Finding]:
    quoted = shlex.quote(str(path))
    if not path.exists():
        fix = f"mount its disk, mkdir -p {quoted}, or: imgurfs folder remove {quoted}"
        yield Finding("folders", "problem", f"{path} is not there", fix)
    elif not path.is_dir():
        fix = f"imgurfs folder remove {quoted}"
        yield Finding("folders", "problem", f"{path} is no directory", fix)
    elif not os.access(path, os.R_OK | os.X_OK):
        what = f"{path} cannot be read by you"
        yield Finding("folders", "problem", what, f"chmod u+rx {quoted}")
    else:
        yield Finding("folders", "ok", f"{path} can be read")


def watches(context: Context, clock: Clock) -> Iterator[Finding]:
    """Compare what the kernel lets us watch with what the account's folders need."""
    from imgurfs.locks import FileLock
    from imgurfs_daemon import inotify_limits

    settings = readable_config(context)
    if settings is None:
        return
    watched = [_expanded(one.path) for one in settings.folders_of(context.account)]
    needed, is_all = count_directories(watched, clock)
    lock = FileLock(paths.account_paths(context.account).daemon_lock)
    # What our daemon has already is not needed once more.
    daemon = 0 if lock.is_free() else int(lock.holder() or 0)
    used, allowed = inotify_limits.usage(without=daemon), inotify_limits.allowed()
    what = (
        f"the folders need {needed:,}{'' if is_all else ' or more'} watches;"
        f" {used.watches:,} of {allowed.watches:,} are taken,"
        f" and {used.instances:,} of {allowed.instances:,} instances"
    )
    is_short = used.watches + needed > allowed.watches
    if watched and (is_short or used.instances >= allowed.instances):
        fix = inotify_limits.advice(missing=needed, without=daemon)
        yield Finding("inotify", "problem", what, fix)
    else:
        yield Finding("inotify", "ok", what)


def count_directories(tops: list[Path], clock: Clock) -> tuple[int, bool]:
    """Return how many directories there are, and whether that is all of them.

    Ends within limits.DOCTOR_WALK_S; what cannot be read does not count.
    """
    give_up_at = clock.monotonic() + limits.DOCTOR_WALK_S
    count, left = 0, list(tops)
    while left:
        if clock.monotonic() > give_up_at:
            return count, False
        try:
            with os.scandir(left.pop()) as entries:
                count += 1
                left += [Path(e) for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError:
            continue
    return count, True


# --- Disks ---------------------------------------------------------------------


def disk(directory: Path, *, holds: str) -> Iterator[Finding]:
    """Look for room and rights where we write; the directory need not be there yet."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    free = os.statvfs(place)
    free_bytes = free.f_bavail * free.f_frsize
    what = f"{size(free_bytes)} free for {holds} in {directory}"
    if not place.is_dir():
        fix = f"mv {shlex.quote(str(place))} somewhere else"
        yield Finding("disk", "problem", f"{place} is no directory", fix)
    elif not os.access(place, os.W_OK | os.X_OK):
        fix = f"sudo chown -R {os.getuid()} {shlex.quote(str(place))}"
        yield Finding("disk", "problem", f"{place} cannot be written to", fix)
    elif free.f_files and not free.f_favail:
        what = f"no more files fit on the disk of {directory}"
        yield Finding("disk", "problem", what, "delete files from this disk")
    elif free_bytes < limits.SPOOL_RESERVE_BYTES:
        fix = "delete something from this disk; imgurfs cache clear"
        yield Finding("disk", "problem", f"only {what}", fix)
    elif free_bytes < limits.DISK_FREE_LOW_BYTES:
        fix = "make room, or lower [cache] size_max and [mount] spool_max"
        yield Finding("disk", "warning", f"only {what}", fix)
    else:
        yield Finding("disk", "ok", what)


# --- Databases -----------------------------------------------------------------


def databases(context: Context) -> Iterator[Finding]:
    """Read the databases to their end, and look for what damage has left behind."""
    from imgurfs.store.ledger_schema import BUDGET_SCHEMA
    from imgurfs.store.schema import STATE_SCHEMA

    places = paths.account_paths(context.account)
    for path, schema in (
        (places.state_db, STATE_SCHEMA),
        (places.budget_db, BUDGET_SCHEMA),
    ):
        if path.exists():
            yield _database(path, schema)
        for aside in sorted(path.parent.glob(f"{path.name}.damaged-*")):
            if not aside.name.endswith(("-wal", "-shm")):
                what = f"{aside} was damaged once, and replaced"
                fix = f"when it is not needed any more: rm {shlex.quote(str(aside))}*"
                yield Finding("databases", "warning", what, fix)
    if not places.state_db.exists():
        yield Finding("databases", "ok", "there are none yet")


def _database(path: Path, schema: Schema) -> Finding:
    from imgurfs.errors import DatabaseDamagedError
    from imgurfs.store.database import integrity, reading

    try:
        with reading(path, schema) as c:
            wrong = integrity(c)
    except DatabaseDamagedError as error:
        return Finding("databases", "problem", error.message, error.hint)
    if wrong:
        fix = "stop everything that uses it and start again: it is saved aside"
        return Finding("databases", "problem", f"{path} is damaged: {wrong}", fix)
    return Finding("databases", "ok", f"{path} is in order")


def trouble(context: Context) -> Iterator[Finding]:
    """Tell what the databases know of that is stuck or was told by others."""
    from imgurfs.store.database import reading
    from imgurfs.store.schema import STATE_SCHEMA

    places = paths.account_paths(context.account)
    if not places.state_db.exists():
        return
    with reading(places.state_db, STATE_SCHEMA) as c:
        yield from _stuck(c)


def _stuck(c: Connection) -> Iterator[Finding]:
    from imgurfs.store import notices, outbox_lists
    from imgurfs.store.outbox import JobState

    told = notices.everything(c)
    # Left behind by a damaged database: its own check tells it, with the files.
    told.pop("damaged", None)
    for topic, text in sorted(told.items()):
        is_login = topic == notices.LOGIN
        fix = "imgurfs login" if is_login else "imgurfs status"
        yield Finding("queue", "problem" if is_login else "warning", text, fix)
    dead = len(outbox_lists.rejected(c))
    unknown = outbox_lists.count(c, states=[JobState.UNKNOWN])
    if dead:
        what = f"{number(dead, 'job')} rejected by Imgur"
        yield Finding("queue", "warning", what, "imgurfs queue --dead")
    if unknown:
        what = f"nobody can tell yet whether {number(unknown, 'job')} happened"
        yield Finding("queue", "warning", what, "imgurfs queue")
    if not (told or dead or unknown):
        yield Finding("queue", "ok", "nothing is stuck")
