"""What users, time and other people do to a folder that was in sync, at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from imgurfs_daemon import planner
from imgurfs_daemon.planner import (
    Action,
    AlbumMode,
    Policy,
    Synced,
    plan,
)
from imgurfs_daemon.snapshot import parent_of
from tests.support.planner_disk import Disk, snapshot_of
from tests.support.planner_model import Account, Album, verdicts_of

DIRECTORIES = [b"a", b"b", b"b/c", b"d"]
MORE_DIRECTORIES = [*DIRECTORIES, b"e", b"b/f", b"g\xff"]
NAMES = [b"1.jpg", b"2.jpg", b"3.jpg", b"4.jpg"]


@dataclass(slots=True)
class Case:
    """A folder that was in sync, and what became of it."""

    disk: Disk
    account: Account
    policy: Policy
    #: Directories in which something happened, as a watcher would say.
    dirty: set[bytes]


def some_path(rng: random.Random) -> bytes:
    """Return a path that may or may not exist."""
    directory = rng.choice([b"", *MORE_DIRECTORIES])
    return directory + b"/" + rng.choice(NAMES) if directory else rng.choice(NAMES)


def random_policy(rng: random.Random) -> Policy:
    """Return a policy; mostly subfolders and mirrored."""
    mode = rng.choice([AlbumMode.SUBFOLDERS] * 6 + [AlbumMode.ONE, AlbumMode.NONE])
    return Policy(
        albums=mode,
        album_title=rng.choice(["All", "Other"]) if mode is AlbumMode.ONE else "",
        mirrors_deletes=rng.random() < 0.7,
        dedupe=rng.random() < 0.7,
    )


def converge(case: Case, *, what: str) -> None:
    """Look, plan and apply until nothing is left; the third plan has to be empty."""
    account, policy, local = case.account, case.policy, snapshot_of(case.disk)
    actions: tuple[Action, ...] = ()
    for _ in range(3):
        verdicts = verdicts_of(case.disk, local, account, policy)
        actions = plan(
            local, account.synced, account.remote(), policy, verdicts=verdicts
        ).actions
        if not actions:
            return
        account.apply(actions, local, case.disk, policy)
    raise AssertionError((what, actions))


def new_case(rng: random.Random) -> Case:
    """Return a folder in sync with its account."""
    disk, account = Disk(), Account()
    for directory in rng.sample(DIRECTORIES, rng.randint(1, 4)):
        disk.make_directories(directory)
    for _ in range(rng.randint(1, 8)):
        directory = rng.choice(list(disk.directories))
        name = rng.choice(NAMES)
        path = directory + b"/" + name if directory else name
        disk.write(path, rng.randint(1, 9))
    if rng.random() < 0.3:
        album_id = planner.AdoptAlbum.__name__ + "1"
        account.albums[album_id] = Album(rng.choice(["a", "e", "All"]))  # type: ignore[index]
    rubbish = some_path(rng)
    if rng.random() < 0.2 and rubbish not in disk.files:
        disk.write(rubbish, rng.randint(1, 9))
        file = disk.files[rubbish]
        skipped = {rubbish: (file.size_bytes, file.mtime_ns)}
        account.synced = replace(account.synced, skipped=skipped)
    case = Case(disk, account, random_policy(rng), set())
    converge(case, what="first sync")
    account.calls.clear()
    account.kept.clear()
    return case


# --- What happens ----------------------------------------------------------------


def write_file(case: Case, rng: random.Random) -> None:
    """Put a file somewhere."""
    path = some_path(rng)
    case.disk.write(path, rng.randint(1, 14))
    case.dirty.add(parent_of(path))


def _edit(case: Case, rng: random.Random) -> None:
    path = rng.choice(list(case.disk.files))
    _dirty_links(case, path)
    case.disk.edit(path, rng.randint(1, 14))


def _touch(case: Case, rng: random.Random) -> None:
    path = rng.choice(list(case.disk.files))
    _dirty_links(case, path)
    case.disk.touch(path)


def _dirty_links(case: Case, path: bytes) -> None:
    file = case.disk.files[path]
    case.dirty.update(parent_of(p) for p, f in case.disk.files.items() if f is file)


def _copy(case: Case, rng: random.Random) -> None:
    content = case.disk.files[rng.choice(list(case.disk.files))].content
    path = some_path(rng)
    case.disk.write(path, content)
    case.dirty.add(parent_of(path))


def _link(case: Case, rng: random.Random) -> None:
    path, new = rng.choice(list(case.disk.files)), some_path(rng)
    case.disk.link(path, new)
    case.dirty.update((parent_of(path), parent_of(new)))


def _move(case: Case, rng: random.Random) -> None:
    path, new = rng.choice(list(case.disk.files)), some_path(rng)
    case.disk.rename(path, new)
    case.dirty.update((parent_of(path), parent_of(new)))


def _move_and_edit(case: Case, rng: random.Random) -> None:
    path, new = rng.choice(list(case.disk.files)), some_path(rng)
    case.disk.rename(path, new)
    _dirty_links(case, new)
    case.disk.edit(new, rng.randint(1, 14))
    case.dirty.update((parent_of(path), parent_of(new)))


def _swap(case: Case, rng: random.Random) -> None:
    one, other = rng.choice(list(case.disk.files)), rng.choice(list(case.disk.files))
    case.disk.swap(one, other)
    case.dirty.update((parent_of(one), parent_of(other)))


def _remove(case: Case, rng: random.Random) -> None:
    path = rng.choice(list(case.disk.files))
    case.disk.unlink(path)
    case.dirty.add(parent_of(path))


def _some_directory(case: Case, rng: random.Random) -> bytes:
    return rng.choice([d for d in case.disk.directories if d] or [b""])


def _below(case: Case, directory: bytes) -> set[bytes]:
    found = {d for d in case.disk.directories if d.startswith(directory + b"/")}
    return {*found, directory, parent_of(directory)}


def _remove_directory(case: Case, rng: random.Random) -> None:
    if directory := _some_directory(case, rng):
        case.dirty |= _below(case, directory)
        case.disk.remove_directory(directory)


def _rename_directory(case: Case, rng: random.Random) -> None:
    directory, new = _some_directory(case, rng), rng.choice(MORE_DIRECTORIES)
    if directory:
        before = _below(case, directory)
        if case.disk.rename_directory(directory, new):
            case.dirty |= before | _below(case, new)


def _swap_directories(case: Case, rng: random.Random) -> None:
    one, other = _some_directory(case, rng), _some_directory(case, rng)
    if one and other and one != other:
        case.dirty |= _below(case, one) | _below(case, other)
        case.disk.swap_directories(one, other)
        case.dirty |= _below(case, one) | _below(case, other)


def _copy_directory(case: Case, rng: random.Random) -> None:
    """Move a directory to another disk and back: new files with the old content."""
    directory, new = _some_directory(case, rng), rng.choice(MORE_DIRECTORIES)
    if not directory or new in case.disk.directories or new.startswith(directory):
        return
    case.dirty |= _below(case, directory)
    for path, file in list(case.disk.files.items()):
        if parent_of(path) == directory:
            case.disk.write(new + path[len(directory) :], file.content)
    case.disk.remove_directory(directory)
    case.dirty |= _below(case, new)


CHANGES: list[Callable[[Case, random.Random], None]] = [
    write_file, write_file, _edit, _touch, _copy, _copy, _link, _move, _move, _move,
    _move_and_edit, _swap, _remove, _remove, _remove_directory, _rename_directory,
    _rename_directory, _swap_directories, _copy_directory,
]  # fmt: skip


def change_on_imgur(case: Case, rng: random.Random) -> None:
    """Let somebody delete an image, or the state be lost, or a delete be waiting."""
    account = case.account
    choice = rng.random()
    if choice < 0.04 and account.images:
        image = rng.choice(sorted(account.images))
        del account.images[image]
        for album in account.albums.values():
            album.images.discard(image)
    elif choice < 0.08:
        account.synced = Synced(root=account.synced.root)
        account.kept.update(account.images)  # nobody knows whose idea the albums were
        case.dirty.update(case.disk.directories)
    elif choice < 0.14 and account.images:
        waiting = rng.sample(sorted(account.images), 1)
        account.synced = replace(account.synced, pending_deletes=frozenset(waiting))
    if rng.random() < 0.1:
        case.policy = random_policy(rng)
        case.dirty.update(case.disk.directories)
