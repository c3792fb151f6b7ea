"""Random folders, accounts and mishaps for the planner: what it promises, case by case.

    python -m tests.simulation.planner_cases --cases 1000000 --seed 1

Each case syncs a random folder, changes it at random (moves, copies, edits, hard links,
renamed and swapped directories, other settings, images deleted on Imgur), looks at it
through a more or less reliable walk, plans, applies the plan to a model account and
checks everything the planner promises. The number of a case and the seed give the same
case again; a failure names both. Says at the end how often each action occurred.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

from imgurfs import limits
from imgurfs.model import ImageId
from imgurfs_daemon import planner
from imgurfs_daemon.planner import (
    Action,
    Synced,
    Verdicts,
    needs_look,
    plan,
    slot_of,
)
from imgurfs_daemon.snapshot import RootIdentity, Snapshot
from tests.support.planner_changes import (
    CHANGES,
    MORE_DIRECTORIES,
    Case,
    change_on_imgur,
    converge,
    new_case,
    write_file,
)
from tests.support.planner_disk import snapshot_of, stat_of
from tests.support.planner_model import Account, verdicts_of

# --- What is promised ----------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What a look saw, and what the account was like before the plan."""

    local: Snapshot
    verdicts: Verdicts
    before: Synced
    images: dict[ImageId, int]
    flavour: str


def look(case: Case, rng: random.Random) -> Seen:
    """Look at the folder through a walk that sees it well or badly."""
    disk = case.disk
    flavour = rng.choice(
        ["complete"] * 10 + ["scoped"] * 4 + ["unsettled"] * 2
        + ["unread", "refused", "problem", "hidden", "gone", "other"]
    )  # fmt: skip
    unsettled = unreadable = frozenset[bytes]()
    refused: dict[bytes, str] = {}
    local = snapshot_of(disk)
    match flavour:
        case "scoped":
            local = snapshot_of(disk, scope=frozenset(case.dirty))
        case "problem":
            local = snapshot_of(disk, unreadable=[rng.choice(MORE_DIRECTORIES)])
        case "hidden":
            hidden = rng.choice([*MORE_DIRECTORIES, *disk.files])
            local = snapshot_of(disk, others=[hidden])
        case "gone":
            local = Snapshot(None)
        case "other":
            root = RootIdentity(7, 7)
            local = rng.choice([Snapshot(root), replace(local, root=root)])
        case "unsettled":
            unsettled = frozenset(p for p in disk.files if rng.random() < 0.4)
        case "unread":
            unreadable = frozenset(p for p in disk.files if rng.random() < 0.3)
        case "refused":
            refused = {p: "not a picture" for p in disk.files if rng.random() < 0.3}
        case _:
            pass
    before = case.account.synced
    verdicts = verdicts_of(
        disk,
        local,
        case.account,
        case.policy,
        unsettled=frozenset(p for p in unsettled if needs_look(local.files[p], before)),
        unreadable=frozenset(
            p for p in unreadable if needs_look(local.files[p], before)
        ),
        refused=refused,
    )
    return Seen(local, verdicts, before, dict(case.account.images), flavour)


def check_case(rng: random.Random) -> tuple[Counter[str], str]:
    """Run one case; return how often each action occurred. Raises AssertionError."""
    case = new_case(rng)
    for _ in range(rng.randint(1, 6)):
        if case.disk.files:
            rng.choice(CHANGES)(case, rng)
        else:
            write_file(case, rng)
    change_on_imgur(case, rng)
    seen = look(case, rng)
    account, policy = case.account, case.policy
    remote = account.remote()
    found = plan(seen.local, seen.before, remote, policy, verdicts=seen.verdicts)
    actions = found.actions
    assert all(action.reason for action in actions)
    cost = planner.cost_of(
        actions, seen.before, gone=remote.gone, members=account.members()
    )
    check_evidence(case, seen, actions)
    check_naive(case, seen, cost)
    account.apply(actions, seen.local, case.disk, policy)
    check_cost(account, cost)
    check_nothing_lost(case, seen)
    if seen.flavour in ("complete", "scoped"):
        check_uploads(case, seen, actions)
        check_places(case)
    check_convergence(case, seen)
    converge(case, what="in the end")
    check_places(case)
    return Counter(type(action).__name__ for action in actions), seen.flavour


def check_evidence(case: Case, seen: Seen, actions: tuple[Action, ...]) -> None:
    """Nothing is forgotten or deleted because a walk did not see it."""
    local, policy = seen.local, case.policy
    is_blind = seen.flavour in ("problem", "gone", "other")
    for action in actions:
        if isinstance(action, planner.DeleteImage):
            assert policy.mirrors_deletes, action
            assert not is_blind, action
        if isinstance(action, planner.Replace) and action.deletes_old:
            assert policy.mirrors_deletes, action
            assert not is_blind, action
        if isinstance(action, planner.Forget) and action.path not in local.files:
            assert action.path not in case.disk.files, action
            assert not is_blind, action


def check_nothing_lost(case: Case, seen: Seen) -> None:
    """No image is deleted of which the folder still has the file, seen or not."""
    deleted = case.account.deleted
    for path, row in seen.before.files.items():
        file = case.disk.files.get(path)
        if file is not None and stat_of(path, file).identity == row.stat.identity:
            assert row.image_id not in deleted, (path, row)
    for row in seen.before.files.values():
        for path, file in case.disk.files.items():
            if seen.flavour == "hidden" and path not in seen.local.files:
                continue  # it was moved to where nothing is uploaded from
            if stat_of(path, file).identity == row.stat.identity:
                assert row.image_id not in deleted, (path, row)
    for path, row in case.account.synced.files.items():
        assert row.image_id not in deleted, (path, row)


def check_uploads(case: Case, seen: Seen, actions: tuple[Action, ...]) -> None:
    """What the account has already, or has a moved file's name, is not uploaded."""
    before = seen.before
    sent = [
        action
        for action in actions
        if isinstance(action, planner.Upload | planner.Replace)
        and action.twin_of is None
    ]
    identities = {
        (row.stat.device, *row.stat.identity) for row in before.files.values()
    }
    for action in sent:
        file = seen.local.files[action.path]
        assert (file.device, *file.identity) not in identities or _is_gone_image(
            case, seen, action.path
        ), action
    if not case.policy.dedupe:
        return
    # Exactly the contents that the account does not have.
    asked = {
        case.disk.files[path].content
        for path, file in seen.local.files.items()
        if needs_look(file, before)
    }
    contents = [case.disk.files[action.path].content for action in sent]
    missing = asked - set(seen.images.values())
    assert len(contents) == len(set(contents)), contents
    gone = {
        case.disk.files[path].content
        for path in seen.local.files
        if _is_gone_image(case, seen, path)
    }
    assert missing - gone <= set(contents) <= missing, (contents, missing, gone)


def _is_gone_image(case: Case, seen: Seen, path: bytes) -> bool:
    """Whether somebody deleted the image that a file was: it is not sent again."""
    content = case.disk.files[path].content
    digest = case.disk.files[path].digest
    del content
    return any(
        row.image_id not in seen.images
        and (
            row.digest == digest or row.stat.identity == seen.local.files[path].identity
        )
        for row in seen.before.files.values()
    )


def check_naive(case: Case, seen: Seen, cost: planner.PlanCost) -> None:
    """A plan costs at most what sending and deleting everything anew would cost."""
    local, before = seen.local, seen.before
    new = [p for p, file in local.files.items() if needs_look(file, before)]
    moved = [
        path
        for path, row in before.files.items()
        if path not in local.files
        or row.directory != planner.directory_of(slot_of(path, case.policy))
    ]
    slots = {slot_of(p, case.policy) for p in local.files} - {None}
    albums = len({slot.directory for slot in slots if slot} - before.directories.keys())
    naive = (limits.UPLOAD_CREDITS + 1) * (len(new) + len(moved)) + albums
    assert cost.credits <= naive, (cost, naive)


def check_cost(account: Account, cost: planner.PlanCost) -> None:
    """The cost said beforehand is what it came to."""
    calls = account.calls
    assert cost.uploads == calls["upload"], (cost, calls)
    assert cost.albums == calls["create"], (cost, calls)
    assert cost.album_calls == calls["album"] + calls["retitle"], (cost, calls)
    assert cost.deletes == calls["delete"], (cost, calls)
    assert cost.posts == calls["upload"] + calls["create"] + calls["album"]
    total = sum(calls.values()) + (limits.UPLOAD_CREDITS - 1) * calls["upload"]
    assert cost.credits == total


def check_places(case: Case) -> None:
    """Each album holds exactly the images of its directory's files, under its title."""
    account, policy = case.account, case.policy
    wanted: dict[str, set[ImageId]] = {}
    ours, allowed = set(), set(account.kept)
    for path, row in account.synced.files.items():
        if path not in case.disk.files:
            assert row.image_id in account.synced.pending_deletes, (path, row)
            continue
        if path in account.synced.skipped:
            allowed.add(row.image_id)
            continue  # the file became something that is no picture; its image stays
        slot = slot_of(path, policy)
        assert row.directory == planner.directory_of(slot), (path, row)
        if row.image_id not in account.images:
            continue
        ours.add(row.image_id)
        if slot is not None:
            bound = account.synced.directories[slot.directory]
            wanted.setdefault(bound.album_id, set()).add(row.image_id)
            assert account.albums[bound.album_id].title == slot.title
    for album_id, album in account.albums.items():
        want = wanted.get(album_id, set())
        assert want <= album.images, (album_id, album, want)
        extra = album.images - want - allowed
        assert not extra & ours, (album_id, album, want, extra)


def check_convergence(case: Case, seen: Seen) -> None:
    """After a plan was carried out the same look gives an empty one."""
    account, policy = case.account, case.policy
    again: tuple[Action, ...] = ()
    for _ in range(2):
        # Content that was read once need not be read again.
        again = plan(
            seen.local,
            account.synced,
            account.remote(),
            policy,
            verdicts=seen.verdicts,
        ).actions
        if not again:
            return
        assert all(isinstance(a, planner.IdentifyDirectory) for a in again), again
        account.apply(again, seen.local, case.disk, policy)
    raise AssertionError(again)


# --- Many of them -----------------------------------------------------------------


def run(seed: int, first: int, count: int) -> tuple[Counter[str], Counter[str]]:
    """Run cases; return how often each action and each kind of walk occurred."""
    actions: Counter[str] = Counter()
    flavours: Counter[str] = Counter()
    for number in range(first, first + count):
        try:
            found, flavour = check_case(random.Random(f"{seed}:{number}"))
        except Exception as error:
            raise AssertionError(f"seed {seed}, case {number}: {error!r}") from error
        actions += found
        flavours[flavour] += 1
    return actions, flavours


def main(arguments: list[str] | None = None) -> int:
    """Run as many cases as asked for on all processors, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}, cases {asked.first} to {asked.first + asked.cases - 1}")
    began_s = time.monotonic()
    size = 2_000
    parts = [
        (asked.seed, first, min(size, asked.first + asked.cases - first))
        for first in range(asked.first, asked.first + asked.cases, size)
    ]
    actions: Counter[str] = Counter()
    flavours: Counter[str] = Counter()
    with multiprocessing.Pool(asked.processes) as pool:
        for found, walked in pool.starmap(run, parts, chunksize=1):
            actions += found
            flavours += walked
    print(f"{asked.cases} cases kept every promise, {time.monotonic() - began_s:.0f} s")
    print("walks:   " + ", ".join(f"{k} {n}" for k, n in sorted(flavours.items())))
    print("actions: " + ", ".join(f"{k} {n}" for k, n in sorted(actions.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
