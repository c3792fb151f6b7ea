"""The naming rules hold for every title anybody can type, and for every directory."""

from __future__ import annotations

import itertools
import tempfile
import unicodedata
from functools import partial
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgurfs.model import ROOT_INODE, Album, AlbumId
from imgurfs.store import entries
from imgurfs.store.database import Connection
from imgurfs.tree import fold, naming
from tests.support.account import album, image, open_state

_CHARACTERS = "/\\.@ \x00\n\t\x7f\x85\u202e\u2066\ufeff\u200b\u0301é\U0001f600\ud800~()"
_PIECES = ("..", ".jpg", ".imgurfs", "a" * 300, "\u0301" * 200, "x.png")
_NASTY = st.sampled_from([*_CHARACTERS, *_PIECES])
_TITLES = st.one_of(st.text(), st.lists(_NASTY, max_size=8).map("".join))
_TYPES = st.sampled_from(
    ["image/jpeg", "image/png", "image/gif", "video/mp4", "video/webm", "", "x/y", "a/"]
)
_BIDI = (
    set("\u061c\u200e\u200f")
    | set(map(chr, [*range(0x202A, 0x202F)]))
    | set(map(chr, range(0x2066, 0x206A)))
)


def _assert_legal(name: str) -> None:
    assert 1 <= len(name.encode("utf-8")) <= 255
    assert name == unicodedata.normalize("NFC", name)
    assert "/" not in name
    assert not any(unicodedata.category(one) == "Cc" for one in name)
    assert not _BIDI.intersection(name)
    assert name not in {".", "..", ".imgurfs"}
    assert not name.startswith("@")
    assert name == name.strip()


@given(title=_TITLES, name=_TITLES, image_id=_TITLES, mime_type=_TYPES)
def test_any_image_name_is_legal_and_deterministic(
    title: str, name: str, image_id: str, mime_type: str
) -> None:
    """Whatever Imgur sends, the file name is one that every tool accepts."""

    def bare() -> str:
        return naming.image_name(
            title=title, name=name, image_id=image_id, mime_type=mime_type
        )

    _assert_legal(bare())
    assert bare() == bare()


@given(title=_TITLES, album_id=_TITLES)
def test_any_album_name_is_legal(title: str, album_id: str) -> None:
    """Whatever the title, the directory name is one that every tool accepts."""
    _assert_legal(naming.album_name(title=title, album_id=album_id))


@given(title=_TITLES, mime_type=st.sampled_from(["image/jpeg", "video/mp4"]))
def test_a_known_type_always_shows_in_the_extension(title: str, mime_type: str) -> None:
    """However long or odd the title, the real type's extension ends the name."""
    name = naming.image_name(
        title=title, name="", image_id="abcdefg", mime_type=mime_type
    )
    fitting = {
        "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
        "video/mp4": ("mp4", "m4v"),
    }
    assert name.rpartition(".")[2].lower() in fitting[mime_type]


@given(title=_TITLES, unique=_TITLES, is_directory=st.booleans())
@example(title="...", unique="", is_directory=False)
def test_candidates_are_legal_and_all_different(
    title: str, unique: str, is_directory: bool
) -> None:
    """A crowded directory never runs out of legal names, and extensions stay."""
    bare = naming.image_name(
        title=title, name="", image_id="abcdefg", mime_type="image/png"
    )
    found = list(
        itertools.islice(naming.candidates(bare, unique, is_directory=is_directory), 20)
    )
    assert found[0] == bare
    assert len(set(found)) == len(found)
    for name in found:
        _assert_legal(name)
        assert is_directory or name.rpartition(".")[2] == bare.rpartition(".")[2]


@settings(max_examples=40, deadline=None)
@given(
    titles=st.lists(st.sampled_from(["A", "A (alb0001)", "a", "", "B/"]), max_size=8),
    steps=st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=4),
)
def test_arrivals_and_departures_rename_nobody(
    titles: list[str], steps: list[set[int]]
) -> None:
    """An album keeps its name while it exists, whoever comes and goes beside it."""
    everybody = [album(number, title) for number, title in enumerate(titles)]
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        db = open_state(Path(folder) / "state.db")
        for present in steps:
            listing = {one.id: one for n, one in enumerate(everybody) if n in present}
            db.write_blocking(partial(_fold_albums, listing=listing))
            shown = {
                entry.node.album.id: entry.name
                for entry in entries.children(db.reader, ROOT_INODE)
                if entry.node.album is not None
            }
            assert shown.keys() == listing.keys()
            assert len(set(shown.values())) == len(shown)
            assert all(shown[one] == names[one] for one in shown.keys() & names.keys())
            names = {str(one): name for one, name in shown.items()}
        db.close()


def _fold_albums(c: Connection, *, listing: dict[AlbumId, Album]) -> None:
    before = frozenset(entries.album_inodes(c))
    fold.fold_albums(c, before=before, listing=listing, began_at=1.0)


@settings(max_examples=24, deadline=None)
@given(order=st.permutations(range(4)))
def test_the_oldest_has_the_bare_name_at_first(order: list[int]) -> None:
    """At the first fold age decides, then the id; the listing's order does not."""
    made = [image(number, title="T", datetime_s=number // 2) for number in range(4)]
    listing = {made[number].id: made[number] for number in order}
    one = album(1, "A")
    with tempfile.TemporaryDirectory() as folder:
        db = open_state(Path(folder) / "state.db")
        db.write_blocking(partial(_fold_albums, listing={one.id: one}))
        inode = entries.album_inodes(db.reader)[one.id]
        db.write_blocking(
            lambda c: fold.fold_album(
                c, inode, before=set(), album=one, listing=listing, began_at=1.0
            )
        )
        names = [entry.name for entry in entries.children(db.reader, inode)]
        db.close()
    assert names == ["T.jpg", "T (img0001).jpg", "T (img0002).jpg", "T (img0003).jpg"]
