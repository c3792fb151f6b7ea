"""The planner in named situations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imgurfs.model import AlbumId, ImageId
from imgurfs_daemon import planner
from imgurfs_daemon.planner import (
    Action,
    AlbumMode,
    BoundAlbum,
    KnownFile,
    Policy,
    Remote,
    Slot,
    Synced,
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
from tests.support.planner_disk import ROOT, Disk, snapshot_of
from tests.support.planner_model import Account, verdicts_of

MIRROR = Policy(mirrors_deletes=True)


class Folder:
    """A folder with its account, planned and applied step by step."""

    def __init__(self, policy: Policy = MIRROR) -> None:
        self.disk = Disk()
        self.account = Account()
        self.policy = policy
        self.actions: tuple[Action, ...] = ()

    def put(self, **contents: int) -> None:
        """Write files; ``a_x`` is the file x.jpg in the directory a."""
        for name, content in contents.items():
            self.disk.write(name.replace("_", "/").encode() + b".jpg", content)

    def sync(self) -> list[str]:
        """Plan and apply until nothing is left; return the first plan's kinds."""
        kinds: list[str] = []
        for turn in range(4):
            local = snapshot_of(self.disk)
            synced, remote = self.account.synced, self.account.remote()
            verdicts = verdicts_of(self.disk, local, self.account, self.policy)
            found = plan(local, synced, remote, self.policy, verdicts=verdicts)
            actions = found.actions
            if turn == 0:
                self.actions = actions
                self.cost = cost_of(actions, synced, members=self.account.members())
                kinds = [type(action).__name__ for action in actions]
            if not actions:
                break
            self.account.apply(actions, local, self.disk, self.policy)
        return kinds

    def images_of(self, title: str) -> set[ImageId]:
        """Return the images of the only album with this title."""
        (album,) = [a for a in self.account.albums.values() if a.title == title]
        return album.images

    def row(self, path: bytes) -> KnownFile:
        """Return what is recorded about a file."""
        return self.account.synced.files[path]


def test_a_moved_file_is_not_sent_again() -> None:
    """S5: A file in another directory is the same image, in the other album."""
    folder = Folder()
    folder.put(a_x=1, a_y=2, b_z=3)
    folder.sync()
    image = folder.row(b"a/x.jpg").image_id
    folder.disk.rename(b"a/x.jpg", b"b/new.jpg")
    assert folder.sync() == ["Move"]
    assert (folder.cost.uploads, folder.cost.album_calls, folder.cost.posts) == (
        0,
        2,
        2,
    )
    assert folder.row(b"b/new.jpg").image_id == image
    assert image in folder.images_of("b")
    assert image not in folder.images_of("a")


def test_a_renamed_directory_is_one_call() -> None:
    """S5: however many pictures it holds, and its subdirectories one call each."""
    folder = Folder()
    for number in range(150):
        folder.disk.write(b"a/%03d.jpg" % number, 1000 + number)
    folder.put(a_deep_x=1)
    folder.sync()
    assert folder.disk.rename_directory(b"a", b"2024")
    kinds = folder.sync()
    assert kinds.count("RenameAlbum") == 2
    assert set(kinds) == {"RenameAlbum", "Move"}
    assert folder.cost == planner.PlanCost(album_calls=2, credits=2)
    assert len(folder.images_of("2024")) == 150
    assert len(folder.images_of("2024/deep")) == 1


def test_swapped_directories_are_two_calls() -> None:
    """Two directories that exchange their names exchange their albums' titles."""
    folder = Folder()
    folder.put(a_x=1, b_y=2)
    folder.sync()
    image = folder.row(b"a/x.jpg").image_id
    assert folder.disk.swap_directories(b"a", b"b")
    assert folder.sync().count("RenameAlbum") == 3  # one of them steps aside
    assert (folder.cost.album_calls, folder.cost.uploads) == (2, 0)
    assert folder.images_of("b") == {image}


def test_500_photos_moved_among_10_albums() -> None:
    """S14: takes at most 20 calls and no upload."""
    folder = Folder()
    for number in range(500):
        folder.disk.write(b"album%d/%03d.jpg" % (number % 10, number), 1000 + number)
    folder.sync()
    images = set(folder.account.images)
    folder.account.calls.clear()
    for number in range(500):
        old = b"album%d/%03d.jpg" % (number % 10, number)
        folder.disk.rename(old, b"album%d/%03d.jpg" % ((number * 7 + 3) % 10, number))
    folder.sync()
    assert folder.cost.uploads == folder.cost.deletes == folder.cost.albums == 0
    assert 0 < folder.cost.album_calls <= 20
    assert sum(folder.account.calls.values()) == folder.cost.album_calls
    assert set(folder.account.images) == images


def test_2000_new_photos_in_40_albums() -> None:
    """Cost 2,040 POSTs and 20,040 credits, said before anything is sent."""
    folder = Folder()
    for number in range(2_000):
        folder.disk.write(b"album%02d/%04d.jpg" % (number % 40, number), 1000 + number)
    folder.sync()
    assert (folder.cost.posts, folder.cost.credits) == (2_040, 20_040)
    assert (folder.cost.uploads, folder.cost.albums) == (2_000, 40)


def test_copies_are_one_image() -> None:
    """S6: with dedupe the same content is sent once; without, once for each file."""
    folder = Folder()
    folder.put(a_x=1, b_y=1)
    assert folder.sync() == ["Upload", "Upload"]
    assert folder.cost.uploads == len(folder.account.images) == 1
    assert folder.images_of("a") == folder.images_of("b")
    folder.put(c_z=1)
    assert folder.sync() == ["Bind"]
    apart = Folder(replace(MIRROR, dedupe=False))
    apart.put(a_x=1, b_y=1)
    apart.sync()
    assert apart.cost.uploads == len(apart.account.images) == 2


def test_a_hard_link_is_the_same_image() -> None:
    """Two names of one file are sent once, whatever dedupe says."""
    folder = Folder(replace(MIRROR, dedupe=False))
    folder.put(a_x=1)
    folder.disk.link(b"a/x.jpg", b"b/x.jpg")
    folder.sync()
    assert folder.cost.uploads == 1
    folder.disk.link(b"a/x.jpg", b"b/y.jpg")
    assert folder.sync() == ["Bind"]


def test_one_of_two_copies_goes() -> None:
    """The image stays, and leaves the album in which no file is it any more."""
    folder = Folder()
    folder.put(a_x=1, b_y=1)
    folder.sync()
    image = folder.row(b"a/x.jpg").image_id
    folder.disk.unlink(b"a/x.jpg")
    assert folder.sync() == ["Forget"]
    assert image in folder.account.images
    assert folder.images_of("a") == set()
    folder.disk.unlink(b"b/y.jpg")
    assert folder.sync() == ["DeleteImage"]


def test_swap_of_two_files() -> None:
    """Each image goes where its content is; nothing is sent or deleted."""
    folder = Folder()
    folder.put(a_x=1, b_y=2)
    folder.sync()
    one = folder.row(b"a/x.jpg").image_id
    folder.disk.swap(b"a/x.jpg", b"b/y.jpg")
    assert folder.sync() == ["Move", "Move"]
    assert folder.row(b"b/y.jpg").image_id == one
    assert folder.images_of("b") == {one}


def test_saved_by_renaming_a_new_file_into_place() -> None:
    """Temporary file and rename: one replacement, no delete by itself."""
    folder = Folder()
    folder.put(a_x=1)
    folder.sync()
    old = folder.row(b"a/x.jpg").image_id
    folder.disk.write(b"a/x.jpg", 2)
    assert folder.sync() == ["Replace"]
    assert folder.actions[0] == planner.Replace(
        path=b"a/x.jpg",
        slot=Slot(b"a", "a"),
        image_id=old,
        deletes_old=True,
        leaves_album=True,
        twin_of=None,
        reason="the file has changed",
    )


def test_moved_and_edited() -> None:
    """S7: the same file with another name and content replaces its old image."""
    folder = Folder()
    folder.put(a_x=1)
    folder.sync()
    old = folder.row(b"a/x.jpg").image_id
    folder.disk.rename(b"a/x.jpg", b"a/y.jpg")
    folder.disk.edit(b"a/y.jpg", 2)
    assert folder.sync() == ["Replace", "Forget"]
    assert isinstance(folder.actions[0], planner.Replace)
    assert folder.actions[0].image_id == old
    assert folder.cost.deletes == 1


def test_moved_onto_another_file() -> None:
    """The image of the file that was there is deleted; the moved one is not sent."""
    folder = Folder()
    folder.put(a_x=1, a_y=2)
    folder.sync()
    moved, other = (folder.row(b"a/%s.jpg" % name).image_id for name in (b"x", b"y"))
    folder.disk.rename(b"a/x.jpg", b"a/y.jpg")
    assert folder.sync() == ["Forget", "Move", "DeleteImage"]
    assert other not in folder.account.images
    assert folder.row(b"a/y.jpg").image_id == moved


def test_a_lost_state_is_rebuilt_without_an_upload() -> None:
    """Pictures of the account are known by their markers, albums by their titles."""
    folder = Folder()
    folder.put(a_x=1, a_y=2, z=3)
    folder.sync()
    images = dict(folder.account.images)
    folder.account.synced = Synced(root=ROOT)
    folder.account.calls.clear()
    assert sorted(set(folder.sync())) == ["AdoptAlbum", "Bind"]
    assert folder.account.images == images
    assert not folder.account.calls


def test_what_somebody_deleted_on_imgur_stays_deleted() -> None:
    """Its file is neither sent again nor, when it goes, deleted once more."""
    folder = Folder()
    folder.put(a_x=1)
    folder.sync()
    image = folder.row(b"a/x.jpg").image_id
    del folder.account.images[image]
    folder.images_of("a").clear()
    assert folder.sync() == []
    folder.disk.rename(b"a/x.jpg", b"a/y.jpg")
    assert folder.sync() == ["Move"]
    folder.disk.unlink(b"a/y.jpg")
    assert folder.sync() == ["Forget"]
    assert folder.cost == planner.PlanCost()


def test_the_only_album_gets_another_name() -> None:
    """Another configured title is another album, into which the images move."""
    folder = Folder(replace(MIRROR, albums=AlbumMode.ONE, album_title="A"))
    folder.put(x=1, d_y=2)
    folder.sync()
    folder.policy = replace(folder.policy, album_title="B")
    assert folder.sync() == ["Move", "Move"]
    assert folder.images_of("A") == set()
    assert len(folder.images_of("B")) == 2
    folder.policy = MIRROR
    folder.sync()
    assert len(folder.images_of("d")) == 1
    folder.policy = Policy(albums=AlbumMode.NONE)
    assert folder.sync() == ["Move"]
    assert folder.images_of("d") == set()


def test_inode_numbers_are_used_again() -> None:
    """A new directory with an old one's number does not get the old one's album."""
    folder = Folder(Policy(mirrors_deletes=False))
    folder.put(a_x=1)
    folder.sync()
    number = folder.disk.directories[b"a"]
    folder.disk.remove_directory(b"a")
    folder.put(other_y=2)
    folder.disk.directories[b"other"] = number
    assert "RenameAlbum" not in folder.sync()
    assert folder.cost.uploads == folder.cost.albums == 1
    assert len(folder.images_of("a")) == 1


@pytest.mark.parametrize(
    ("local", "is_gone"),
    [
        (Snapshot(ROOT, directories={b"": DirectoryStat(1, 2)}), True),
        (Snapshot(None), False),
        (Snapshot(RootIdentity(1, 9), directories={b"": DirectoryStat(1, 9)}), False),
        (Snapshot(ROOT, directories={b"": DirectoryStat(5, 2)}), False),
        (
            Snapshot(
                ROOT,
                directories={b"": DirectoryStat(1, 2)},
                problems=(Problem(b"z", "permission denied"),),
            ),
            False,
        ),
        (
            Snapshot(
                ROOT,
                directories={b"": DirectoryStat(1, 2)},
                others=frozenset({b"x"}),
            ),
            False,
        ),
        (
            Snapshot(
                ROOT,
                directories={b"": DirectoryStat(1, 2), b"x": DirectoryStat(8, 3)},
            ),
            False,
        ),
        (
            Snapshot(
                ROOT,
                directories={b"": DirectoryStat(1, 2)},
                scope=frozenset({b""}),
            ),
            False,
        ),
        (Snapshot(ROOT, scope=frozenset({b"x"})), False),
        (
            Snapshot(
                ROOT,
                directories={b"x": DirectoryStat(1, 3)},
                scope=frozenset({b"x"}),
            ),
            True,
        ),
        (
            Snapshot(
                ROOT,
                directories={b"": DirectoryStat(1, 2)},
                scope=frozenset({b"", b"x"}),
            ),
            True,
        ),
    ],
    ids=[
        "complete", "no folder", "another folder", "another disk", "a problem",
        "hidden directory", "another disk mounted", "not in scope", "parent not read",
        "in scope", "gone with its directory",
    ],
)  # fmt: skip
def test_absence_counts_with_evidence_only(local: Snapshot, is_gone: bool) -> None:
    """A file is gone when its directory was read, on the disk it was on."""
    row = KnownFile(FileStat(b"x/a", 1, 5, 1, 1), ImageId("a"), b"digest", b"x")
    base = Synced(
        root=ROOT, files={b"x/a": row}, directories={b"x": BoundAlbum(AlbumId("x"))}
    )
    actions = plan(local, base, Remote(), MIRROR).actions
    deleted = [a for a in actions if isinstance(a, planner.DeleteImage)]
    assert len(deleted) == is_gone


def test_only_one_album_of_the_title_is_adopted() -> None:
    """Two albums of a title are ambiguous: none is adopted."""
    local = Snapshot(ROOT, files={b"x/a": FileStat(b"x/a", 1, 1, 1, 1)})
    for ids, adopted in ((("one",), 1), (("one", "two"), 0), ((), 0)):
        remote = Remote({"x": tuple(AlbumId(i) for i in ids)})
        actions = plan(local, Synced(), remote, Policy()).actions
        assert sum(isinstance(a, planner.AdoptAlbum) for a in actions) == adopted
        assert sum(isinstance(a, planner.Upload) for a in actions) == 1
