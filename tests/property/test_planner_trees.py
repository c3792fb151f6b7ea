"""The planner over trees that fit together nowhere, as no program would leave them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon import planner
from imgurfs_daemon.planner import (
    Action,
    AlbumMode,
    BoundAlbum,
    KnownFile,
    Policy,
    Remote,
    Synced,
    Verdicts,
    cost_of,
    plan,
)
from imgurfs_daemon.snapshot import (
    DirectoryStat,
    FileStat,
    Problem,
    RootIdentity,
    Snapshot,
)
from tests.support.planner_disk import ROOT

PATHS = [b"a", b"b", b"x/a", b"x/b", b"x/y/a", b"z/a", b"z/\xff"]
paths = st.sampled_from(PATHS)
stats = st.builds(
    FileStat,
    path=paths,
    device=st.integers(1, 2),
    inode=st.integers(1, 3),
    size_bytes=st.integers(0, 2),
    mtime_ns=st.integers(0, 2),
)
files = st.lists(stats).map(lambda found: {s.path: s for s in found})
images = st.sampled_from([ImageId(f"image{n}") for n in range(6)])
digests = st.sampled_from([b"", b"digest one", b"digest two", b"digest three"])
slots = st.sampled_from([None, b"x", b"x/y", b"z", b"\0one:All"])
albums = st.sampled_from([AlbumId("one"), AlbumId("two"), AlbumId("three")])
directory_stats = st.builds(DirectoryStat, st.integers(1, 2), st.integers(1, 4))
snapshots = st.builds(
    Snapshot,
    root=st.sampled_from([ROOT, ROOT, ROOT, RootIdentity(7, 7), None]),
    files=files,
    directories=st.dictionaries(
        st.sampled_from([b"", b"x", b"x/y", b"z", b"new"]), directory_stats
    ),
    others=st.frozensets(paths, max_size=2),
    problems=st.sampled_from([(), (), (Problem(b"x", "unreadable"),)]),
    scope=st.sampled_from([None, None, frozenset({b"x"}), frozenset({b"", b"z"})]),
)
bases = st.builds(
    Synced,
    root=st.just(ROOT),
    files=st.lists(
        st.builds(
            KnownFile, stat=stats, image_id=images, digest=digests, directory=slots
        )
    ).map(lambda known: {k.stat.path: k for k in known}),
    directories=st.dictionaries(
        st.sampled_from([b"x", b"z", b"x/y"]),
        st.builds(BoundAlbum, albums, st.integers(0, 2), st.integers(0, 4)),
    ),
    skipped=st.dictionaries(paths, st.tuples(st.integers(0, 2), st.integers(0, 2))),
    pending_uploads=st.frozensets(paths, max_size=2),
    pending_deletes=st.frozensets(images, max_size=2),
    elsewhere=st.frozensets(images, max_size=2),
    contents_elsewhere=st.dictionaries(digests, images, max_size=1),
)
policies = st.builds(
    Policy,
    albums=st.sampled_from(AlbumMode),
    album_title=st.just("All"),
    mirrors_deletes=st.booleans(),
    dedupe=st.booleans(),
)
remotes = st.builds(
    Remote,
    st.none()
    | st.dictionaries(
        st.sampled_from(["x", "z", "x/y", "All"]),
        st.lists(albums, max_size=2, unique=True).map(tuple),
    ),
    gone=st.frozensets(images, max_size=1),
)
verdicts = st.builds(
    Verdicts,
    unsettled=st.frozensets(paths, max_size=1),
    unreadable=st.frozensets(paths, max_size=1),
    refused=st.dictionaries(paths, st.just("not a picture"), max_size=2),
    digests=st.dictionaries(paths, digests),
)
cases = st.tuples(snapshots, bases, remotes, policies, verdicts)
Case = tuple[Snapshot, Synced, Remote, Policy, Verdicts]


def plan_of(case: Case) -> tuple[Action, ...]:
    """Return the plan of a case."""
    local, synced, remote, policy, found = case
    return plan(local, synced, remote, policy, verdicts=found).actions


@given(cases)
@settings(max_examples=500, deadline=None)
def test_plan_is_deterministic_and_gives_reasons(case: Case) -> None:
    """S4: the same trees give the same plan, whatever the order they were built in."""
    local, synced, remote, policy, found = case
    turned = (
        replace(local, files=dict(reversed(list(local.files.items())))),
        replace(
            synced,
            files=dict(reversed(list(synced.files.items()))),
            directories=dict(reversed(list(synced.directories.items()))),
        ),
        remote,
        policy,
        found,
    )
    actions = plan_of(case)
    assert plan_of(turned) == actions
    assert all(action.reason for action in actions)
    assert cost_of(actions, synced).credits >= 0


@given(cases)
@settings(max_examples=1000, deadline=None)
def test_nothing_is_deleted_without_evidence(case: Case) -> None:
    """S20: whatever the trees are: no delete from a folder that is missing,
    replaced or partly read, of an image that is used, or where the policy keeps
    images.
    """
    local, synced, remote, policy, _ = case
    for action in plan_of(case):
        deletes = isinstance(action, planner.DeleteImage) or (
            isinstance(action, planner.Replace) and action.deletes_old
        )
        is_absent = isinstance(action, planner.Forget) and (
            action.path not in local.files
        )
        if deletes or is_absent:
            assert local.is_complete
            assert local.root == synced.root
        if deletes:
            assert isinstance(action, planner.DeleteImage | planner.Replace)
            assert policy.mirrors_deletes
            assert action.image_id not in remote.gone
        if isinstance(action, planner.DeleteImage):
            assert action.image_id not in synced.elsewhere
            for path, known in synced.files.items():
                file = local.files.get(path)
                if known.image_id == action.image_id and file is not None:
                    assert file.identity != known.stat.identity
        if isinstance(action, planner.DeleteImage) and is_absent:
            assert action.path not in local.others


@given(cases)
@settings(max_examples=500, deadline=None)
def test_every_file_is_decided_about(case: Case) -> None:
    """No settled file that is neither recorded, pending nor skipped is passed over,
    and what was refused is not sent.
    """
    local, synced, _, _, found = case
    actions = plan_of(case)
    acted = {a.new_path if isinstance(a, planner.Move) else a.path for a in actions
             if not isinstance(a, planner.AdoptAlbum | planner.RenameAlbum
                               | planner.IdentifyDirectory)}  # fmt: skip
    for path in local.files.keys() - synced.files.keys():
        if path in found.unsettled | found.unreadable | synced.pending_uploads:
            continue
        if path not in synced.skipped:
            assert path in acted
    sent = {a.path for a in actions if isinstance(a, planner.Upload | planner.Replace)}
    assert sent.isdisjoint(found.refused.keys() | found.unsettled)


def test_a_changed_copy_leaves_the_image_to_the_other() -> None:
    """It is said to go all the same, should the other go before the new one arrives."""
    was = [
        FileStat(path, 1, inode, 5, 5) for inode, path in enumerate([b"a/x", b"b/x"])
    ]
    now = [replace(file, mtime_ns=9) for file in was]
    image = ImageId("shared")
    synced = Synced(
        root=ROOT, files={file.path: KnownFile(file, image, b"old") for file in was}
    )
    policy = Policy(mirrors_deletes=True)
    for files, deletes in (([now[0], was[1]], 0), (now, 1)):
        directories = {path: DirectoryStat(1, 2) for path in (b"", b"a", b"b")}
        local = Snapshot(ROOT, {file.path: file for file in files}, directories)
        actions = plan(local, synced, Remote(), policy).actions
        sent = [action for action in actions if isinstance(action, planner.Replace)]
        assert len(sent) == max(deletes * 2, 1)
        assert all(action.deletes_old for action in sent)
        assert cost_of(actions, synced).deletes == deletes
        assert (
            cost_of(actions, replace(synced, elsewhere=frozenset({image}))).deletes == 0
        )
        keeping = plan(local, synced, Remote(), Policy()).actions
        assert not any(getattr(action, "deletes_old", False) for action in keeping)
