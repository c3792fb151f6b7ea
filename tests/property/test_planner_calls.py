"""The number of album calls of a plan, against every sequence of calls there is.

On accounts with at most four albums a breadth-first search over add, remove, create and
retitle finds the fewest calls after which every album holds what it should, with no
image ever in no album that is in one before and after.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from imgurfs.jobs import album_calls
from imgurfs.model import ImageId
from imgurfs_daemon import planner
from imgurfs_daemon.planner import Policy, plan
from imgurfs_daemon.snapshot import parent_of
from tests.support.planner_changes import Case, converge
from tests.support.planner_disk import Disk, snapshot_of
from tests.support.planner_model import Account, verdicts_of

SEED = 4
CASES = 2_000
POLICY = Policy(mirrors_deletes=True)
DIRECTORIES = [b"a", b"b", b"c"]
NEW_DIRECTORIES = [b"d", b"e"]

#: Albums as (title, images), by number; None: not created yet.
State = tuple[tuple[str, frozenset[str]] | None, ...]


@dataclass(frozen=True)
class Goal:
    """What each album is to be called and to hold; ``may_retitle`` by number."""

    albums: State
    may_retitle: frozenset[int]


def fewest_calls(start: State, goal: Goal) -> int:
    """Return the length of the shortest sequence of calls from one to the other."""
    stay = _images(start) & _images(goal.albums)
    seen, frontier, calls = {start}, [start], 0
    while True:
        if any(_is_reached(state, goal) for state in frontier):
            return calls
        calls += 1
        reached = set()
        for state in frontier:
            for after in _successors(state, goal):
                if after not in seen and stay <= _images(after):
                    reached.add(after)
        seen |= reached
        frontier = list(reached)
        assert frontier, "the goal cannot be reached"


def _images(state: State) -> frozenset[str]:
    return frozenset().union(*(album[1] for album in state if album))


def _is_reached(state: State, goal: Goal) -> bool:
    return all(
        want is None or have == want
        for have, want in zip(state, goal.albums, strict=True)
    )


def _successors(state: State, goal: Goal) -> Iterator[State]:
    """Yield what one sensible call makes of an account.

    Calls that put in what does not belong there, or take out what does, only have to be
    undone: an album is never the better for it.
    """
    for number, (album, want) in enumerate(zip(state, goal.albums, strict=True)):
        if want is None:
            continue
        if album is None:
            for images in _subsets(want[1]):
                yield _with(state, number, (want[0], images))
            continue
        title, images = album
        for more in _subsets(want[1] - images):
            yield _with(state, number, (title, images | more))
        for fewer in _subsets(images - want[1]):
            yield _with(state, number, (title, images - fewer))
        if title != want[0] and number in goal.may_retitle:
            yield _with(state, number, (want[0], images))


def _with(state: State, number: int, album: tuple[str, frozenset[str]]) -> State:
    return (*state[:number], album, *state[number + 1 :])


def _subsets(images: frozenset[str]) -> Iterator[frozenset[str]]:
    for count in range(1, len(images) + 1):
        for some in itertools.combinations(sorted(images), count):
            yield frozenset(some)


def synced_case(rng: random.Random) -> Case:
    """Return at most three albums with at most five pictures, in sync."""
    disk, account = Disk(), Account()
    for content in range(1, rng.randint(2, 6)):
        disk.write(rng.choice(DIRECTORIES) + b"/%d.jpg" % content, content)
    case = Case(disk, account, POLICY, set())
    converge(case, what="first sync")
    account.calls.clear()
    return case


def change(case: Case, rng: random.Random) -> dict[bytes, bytes]:
    """Move files and directories; return which directory each old one became."""
    disk = case.disk
    became = {directory: directory for directory in case.account.synced.directories}
    for _ in range(rng.randint(0, 2)):
        directories = sorted(set(map(parent_of, disk.files)))
        old, new = rng.choice(directories), rng.choice(DIRECTORIES + NEW_DIRECTORIES)
        if rng.random() < 0.3 and new in directories:
            if old != new and disk.swap_directories(old, new):
                names = {old: new, new: old}
                became = {k: names.get(v, v) for k, v in became.items()}
        elif len(directories) < 4 and disk.rename_directory(old, new):
            became = {k: new if v == old else v for k, v in became.items()}
    goes_to = {d: rng.choice(NEW_DIRECTORIES) for d in DIRECTORIES}
    for _ in range(rng.randint(0, 4)):
        path = rng.choice(sorted(disk.files))
        used = sorted(set(map(parent_of, disk.files)))
        directory = rng.choice(used)
        if rng.random() < 0.5 and len(used) < 4:
            directory = goes_to.get(parent_of(path), rng.choice(NEW_DIRECTORIES))
        disk.rename(path, directory + b"/" + path.rpartition(b"/")[2])
    if rng.random() < 0.7:
        for directory in set(disk.directories) - set(map(parent_of, disk.files)):
            if directory:
                disk.remove_directory(directory)
    return became


def possible_renames(
    case: Case, became: dict[bytes, bytes]
) -> Iterator[dict[bytes, bytes]]:
    """Yield which directories' albums may get which other directories' names.

    A directory that was renamed keeps its album as long as one of its files is there,
    and its new name is not another album's; one that is gone may leave its album to
    the new one that all its files went to.
    """
    account, disk = case.account, case.disk
    bound = account.synced.directories
    went: dict[bytes, list[bytes]] = {}
    paths = {file.number: path for path, file in disk.files.items()}
    for row in account.synced.files.values():
        if row.directory is not None:
            new = parent_of(paths[row.stat.inode])
            went.setdefault(row.directory, []).append(new)
    forced = {d: n for d, n in became.items() if d != n and n in went.get(d, ())}
    while clashes := [d for d, n in forced.items() if n in bound and n not in forced]:
        for directory in clashes:
            del forced[directory]
    optional = [
        (directory, new[0])
        for directory, new in went.items()
        if directory not in forced
        and directory not in disk.directories
        and len(set(new)) == 1
        and new[0] not in bound
        and new[0] not in forced.values()
    ]
    for count in range(len(optional) + 1):
        for some in itertools.combinations(optional, count):
            if len({new for _, new in some}) == count:
                yield {**forced, **dict(some)}


def problem_of(case: Case, renamed: dict[bytes, bytes]) -> tuple[State, Goal]:
    """Return the account as it is, and as it is to be with these renames."""
    account = case.account
    image_of = {content: image for image, content in account.images.items()}
    wanted: dict[bytes, frozenset[str]] = {}
    for path, file in case.disk.files.items():
        directory = parent_of(path)
        image = image_of[file.content]
        wanted[directory] = wanted.get(directory, frozenset()) | {image}
    start: list[tuple[str, frozenset[str]] | None] = []
    goal: list[tuple[str, frozenset[str]] | None] = []
    retitled = set()
    for number, (old, bound) in enumerate(sorted(account.synced.directories.items())):
        album = account.albums[bound.album_id]
        new = renamed.get(old, old)
        is_left = new == old and old in renamed.values()
        start.append((album.title, frozenset(album.images)))
        images = frozenset() if is_left else wanted.pop(new, frozenset())
        goal.append((planner.title_of(new), images))
        if new != old:
            retitled.add(number)
    for directory, images in sorted(wanted.items()):
        start.append(None)
        goal.append((planner.title_of(directory), images))
    return tuple(start), Goal(tuple(goal), frozenset(retitled))


def test_album_calls_are_as_few_as_possible() -> None:
    """No sequence of calls is shorter than the plan's, on up to four albums."""
    seen: Counter[str] = Counter()
    for number in range(CASES):
        rng = random.Random(f"{SEED}:{number}")
        case = synced_case(rng)
        became = change(case, rng)
        local, account = snapshot_of(case.disk), case.account
        verdicts = verdicts_of(case.disk, local, account, POLICY)
        actions = plan(
            local, account.synced, account.remote(), POLICY, verdicts=verdicts
        ).actions
        cost = planner.cost_of(actions, account.synced, members=account.members())
        assert cost.uploads == cost.deletes == 0, (number, actions)
        options = list(possible_renames(case, became))
        least = min(fewest_calls(*problem_of(case, one)) for one in options)
        calls = cost.albums + cost.album_calls
        assert calls == least, (number, calls, least, actions)
        seen[f"{calls} calls"] += 1
        seen["several ways to rename"] += len(options) > 1
        renames = sum(isinstance(a, planner.RenameAlbum) for a in actions)
        seen[f"{renames} renames"] += 1
    assert seen["several ways to rename"] > CASES / 20, seen
    assert seen["1 renames"] > CASES / 10, seen
    assert seen["3 renames"] > CASES / 100, seen
    assert len([kind for kind in seen if kind.endswith("calls")]) >= 6, seen


def test_cheapest_form_for_one_album() -> None:
    """For one album no mix of add, remove and set is shorter than the one chosen."""
    images = [planner_image(n) for n in range(4)]
    for chunk in (1, 2, 3):
        for members in itertools.chain.from_iterable(
            itertools.combinations(images, n) for n in range(5)
        ):
            outside = [image for image in images if image not in members]
            for adds in _tuples(outside):
                for removes in _tuples(list(members)):
                    calls = album_calls.cheapest(adds, removes, members, chunk=chunk)
                    want = (set(members) | set(adds)) - set(removes)
                    assert _after(set(members), calls) == want
                    assert len(calls) == _least(set(members), want, chunk)


def planner_image(number: int) -> ImageId:
    """Return an image id."""
    return ImageId(f"image{number}")


def _tuples(images: list[ImageId]) -> Iterator[tuple[ImageId, ...]]:
    for count in range(len(images) + 1):
        yield from itertools.combinations(images, count)


def _after(have: set[ImageId], calls: tuple[album_calls.Call, ...]) -> set[ImageId]:
    for call in calls:
        match call:
            case album_calls.AddImages():
                have = have | set(call.images)
            case album_calls.RemoveImages():
                have = have - set(call.images)
            case album_calls.SetImages():
                have = set(call.images)
    return have


def _least(have: set[ImageId], want: set[ImageId], chunk: int) -> int:
    """Return the fewest calls, breadth first; a set names everything that is wanted."""
    frontier, calls = {frozenset(have)}, 0
    while want not in frontier:
        calls += 1
        reached = set()
        for state in frontier:
            for part in _up_to(want - state, chunk):
                reached.add(state | part)
            for part in _up_to(state - want, chunk):
                reached.add(state - part)
            if 0 < len(want) <= chunk:
                reached.add(frozenset(want))
        frontier = reached
    return calls


def _up_to(images: AbstractSet[ImageId], chunk: int) -> Iterator[frozenset[ImageId]]:
    for count in range(1, chunk + 1):
        yield from map(frozenset, itertools.combinations(sorted(images), count))
