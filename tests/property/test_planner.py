"""The planner over random folders, merge bases and accounts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon import planner
from imgurfs_daemon.planner import (
    Action,
    AlbumMode,
    KnownFile,
    Policy,
    Remote,
    Synced,
    Verdicts,
    plan,
)
from imgurfs_daemon.snapshot import (
    FileStat,
    Problem,
    RootIdentity,
    Settling,
    Snapshot,
    difference,
    is_temporary_name,
    parent_of,
)

ROOT = RootIdentity(1, 2)
PATHS = [b"a", b"b", b"x/a", b"x/b", b"x/y/a", b"z/a", b"z/\xff"]
paths = st.sampled_from(PATHS)
stats = st.builds(
    FileStat,
    path=paths,
    device=st.just(1),
    inode=st.integers(1, 3),
    size_bytes=st.integers(0, 2),
    mtime_ns=st.integers(0, 2),
)
files = st.lists(stats).map(lambda found: {s.path: s for s in found})
images = st.sampled_from([ImageId(f"image{n}") for n in range(6)])
albums = st.sampled_from([AlbumId("one"), AlbumId("two")])


def directories_of(found: dict[bytes, FileStat]) -> dict[bytes, int]:
    """Return every directory the files need, all on one disk."""
    directories = {b"": 1}
    for path in found:
        directory = parent_of(path)
        while directory:
            directories[directory] = 1
            directory = parent_of(directory)
    return directories


snapshots = st.builds(
    lambda found, others, root, problems: Snapshot(
        root=root,
        files=found if root else {},
        directories=directories_of(found) if root else {},
        others=frozenset(others - found.keys()),
        problems=problems,
    ),
    files,
    st.frozensets(paths, max_size=2),
    st.sampled_from([ROOT, ROOT, ROOT, RootIdentity(7, 7), None]),
    st.sampled_from([(), (), (Problem(b"x", "unreadable"),)]),
)
bases = st.builds(
    Synced,
    root=st.just(ROOT),
    files=st.lists(st.builds(KnownFile, stat=stats, image_id=images)).map(
        lambda known: {k.stat.path: k for k in known}
    ),
    directories=st.dictionaries(st.sampled_from([b"x", b"z"]), albums),
    skipped=st.dictionaries(paths, st.tuples(st.integers(0, 2), st.integers(0, 2))),
    pending_uploads=st.frozensets(paths, max_size=2),
    pending_deletes=st.frozensets(images, max_size=2),
    elsewhere=st.frozensets(images, max_size=2),
)
policies = st.builds(
    Policy,
    albums=st.sampled_from(AlbumMode),
    album_title=st.just("All"),
    mirrors_deletes=st.booleans(),
)
remotes = st.one_of(
    st.just(Remote()),
    st.builds(
        Remote,
        st.dictionaries(
            st.sampled_from(["x", "z", "x/y", "All"]),
            st.lists(albums, max_size=2, unique=True).map(tuple),
        ),
    ),
)
verdicts = st.builds(
    Verdicts,
    refused=st.dictionaries(paths, st.just("not a picture"), max_size=2),
)


def apply(actions: tuple[Action, ...], local: Snapshot, synced: Synced) -> Synced:
    """Return the merge base after every action succeeded."""
    known, skipped = dict(synced.files), dict(synced.skipped)
    directories = dict(synced.directories)
    deletes = set(synced.pending_deletes)
    for number, action in enumerate(actions):
        match action:
            case planner.Upload() | planner.Replace():
                image = ImageId(f"new{number}")
                known[action.path] = KnownFile(local.files[action.path], image)
                skipped.pop(action.path, None)
                if action.slot is not None:
                    directories.setdefault(action.slot.directory, AlbumId("made"))
            case planner.DeleteImage():
                known = {
                    p: k for p, k in known.items() if k.image_id != action.image_id
                }
            case planner.Forget():
                del known[action.path]
            case planner.CancelDelete():
                deletes.discard(action.image_id)
            case planner.AdoptAlbum():
                directories[action.slot.directory] = action.album_id
            case planner.Skip():
                skipped[action.path] = (action.size_bytes, action.mtime_ns)
            case planner.ForgetSkip():
                del skipped[action.path]
    return replace(
        synced,
        files=known,
        skipped=skipped,
        directories=directories,
        pending_deletes=frozenset(deletes),
    )


cases = st.tuples(snapshots, bases, remotes, policies, verdicts)
Case = tuple[Snapshot, Synced, Remote, Policy, Verdicts]


def plan_of(case: Case) -> tuple[Action, ...]:
    """Return the plan of a case."""
    local, synced, remote, policy, found = case
    return plan(local, synced, remote, policy, verdicts=found)


@given(cases)
@settings(max_examples=1000, deadline=None)
def test_plan_after_apply_is_empty(case: Case) -> None:
    """When everything planned has happened there is nothing left to plan."""
    local, synced, remote, policy, found = case
    actions = plan_of(case)
    after = apply(actions, local, synced)
    assert plan(local, after, remote, policy, verdicts=found) == ()


@given(cases)
@settings(max_examples=300, deadline=None)
def test_plan_is_deterministic_and_gives_reasons(case: Case) -> None:
    """The same trees give the same plan, whatever the order they were built in."""
    local, synced, remote, policy, found = case
    turned = replace(local, files=dict(reversed(list(local.files.items()))))
    actions = plan_of(case)
    assert plan(turned, synced, remote, policy, verdicts=found) == actions
    assert all(action.reason for action in actions)


@given(cases)
@settings(max_examples=1000, deadline=None)
def test_nothing_is_deleted_without_evidence(case: Case) -> None:
    """No delete comes from a folder that is missing, replaced or partly read, from a
    path that exists as something else, or where the policy keeps images.
    """
    local, synced, _, policy, _ = case
    for action in plan_of(case):
        if isinstance(action, planner.DeleteImage | planner.Forget):
            assert local.is_complete
            assert local.root == synced.root
            assert action.path not in local.files
            assert action.path not in local.others
        if isinstance(action, planner.DeleteImage):
            assert policy.mirrors_deletes
            assert action.image_id not in synced.elsewhere
            left = {
                k.image_id for path, k in synced.files.items() if path in local.files
            }
            assert action.image_id not in left
        if isinstance(action, planner.Replace) and action.deletes_old:
            assert policy.mirrors_deletes
            assert local.is_complete
            assert local.root == synced.root


@given(cases)
@settings(max_examples=300, deadline=None)
def test_every_new_file_is_sent_or_refused(case: Case) -> None:
    """No file that is neither recorded, pending nor skipped is passed over."""
    local, synced, _, _, found = case
    acted = {a.path for a in plan_of(case) if not isinstance(a, planner.AdoptAlbum)}
    for path in local.files.keys() - synced.files.keys():
        if path not in synced.pending_uploads and path not in synced.skipped:
            assert path in acted
    assert found.refused.keys().isdisjoint(
        a.path for a in plan_of(case) if isinstance(a, planner.Upload)
    )


def test_unmounted_subdirectory_deletes_nothing() -> None:
    """Files of another disk that is not mounted now are not gone."""
    on_disk = KnownFile(FileStat(b"usb/a", 5, 1, 1, 1), ImageId("a"))
    beside = KnownFile(FileStat(b"b", 1, 2, 1, 1), ImageId("b"))
    local = Snapshot(ROOT, directories={b"": 1, b"usb": 1})
    base = Synced(root=ROOT, files={b"usb/a": on_disk, b"b": beside})
    actions = plan(local, base, Remote(), Policy(mirrors_deletes=True))
    assert [a.path for a in actions if isinstance(a, planner.DeleteImage)] == [b"b"]


def test_only_one_album_of_the_title_is_adopted() -> None:
    """Two albums of a title are ambiguous: none is adopted."""
    local = Snapshot(ROOT, files={b"x/a": FileStat(b"x/a", 1, 1, 1, 1)})
    for ids, adopted in ((("one",), 1), (("one", "two"), 0), ((), 0)):
        remote = Remote({"x": tuple(AlbumId(i) for i in ids)})
        actions = plan(local, Synced(), remote, Policy())
        assert sum(isinstance(a, planner.AdoptAlbum) for a in actions) == adopted
        assert sum(isinstance(a, planner.Upload) for a in actions) == 1


def test_a_file_settles_when_it_holds_still() -> None:
    """A file is ready after settle_s without a change, by observation or by mtime."""
    settling = Settling(settle_s=2.0)
    future = FileStat(b"a", 1, 1, 10, 2_000 * 10**9)
    assert settling.settled([future], now=1000.0, monotonic_s=0.0) == (frozenset(), 2.0)
    grown = replace(future, size_bytes=11)
    assert settling.settled([grown], now=1001.5, monotonic_s=1.5) == (frozenset(), 2.0)
    assert settling.settled([grown], now=1003.5, monotonic_s=3.5) == (
        frozenset({b"a"}),
        None,
    )
    old = FileStat(b"b", 1, 1, 10, 900 * 10**9)
    assert settling.settled([old], now=1000.0, monotonic_s=4.0) == (
        frozenset({b"b"}),
        None,
    )


def test_temporary_names() -> None:
    """Names of unfinished work are recognised; pictures' names are not."""
    for name in (
        b".hidden", b"x~", b"a.part", b"A.TMP", b"f.crdownload",
        b".goutputstream-X", b".photo.jpg.Ab12cd", b"~$x",
    ):  # fmt: skip
        assert is_temporary_name(name), name
    for name in (b"a.jpg", b"a.part.jpg", b"tmp", b"x~y.jpg", b"party"):
        assert not is_temporary_name(name), name


@given(files, files)
@settings(deadline=None)
def test_difference_accounts_for_every_file(
    old: dict[bytes, FileStat], new: dict[bytes, FileStat]
) -> None:
    """What was added, changed and removed turns one snapshot into the other."""
    found = difference(Snapshot(ROOT, files=old), Snapshot(ROOT, files=new))
    assert {*found.added} == new.keys() - old.keys()
    assert {*found.removed} == old.keys() - new.keys()
    same = (old.keys() & new.keys()) - {*found.changed}
    assert all(old[path].identity == new[path].identity for path in same)
