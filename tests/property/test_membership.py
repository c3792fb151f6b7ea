"""Memberships as wishes: whatever is asked for in which order, the last one counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.model import AlbumId, ImageId
from imgurfs.store import membership
from imgurfs.store.database import Connection, Database
from imgurfs.store.membership import Place
from imgurfs.store.schema import STATE_SCHEMA

ALBUM = AlbumId("album")
images = st.sampled_from([ImageId(name) for name in "abc"])
steps = st.lists(
    st.tuples(st.sampled_from(["want", "unwant", "send", "lose", "list"]), images),
    max_size=25,
)


@contextmanager
def connection() -> Iterator[Connection]:
    """Yield a connection to a fresh state, in one transaction."""
    with tempfile.TemporaryDirectory() as place:
        db = Database.open(
            Path(place) / "state.db",
            schema=STATE_SCHEMA,
            executor=InlineExecutor(),
            lane=ThreadLane.WRITER,
        )
        try:
            db._writer.execute("BEGIN")
            yield db._writer
        finally:
            db.close()


def send(c: Connection, album: set[ImageId], *, is_answered: bool) -> int:
    """Do what the rows ask for; return how many images were named."""
    rows = membership.of_album(c, ALBUM)
    adds = [m.image_id for m in rows if m.state is Place.ADDING]
    removes = [m.image_id for m in rows if m.state is Place.REMOVING]
    membership.tried(c, ALBUM, [*adds, *removes])
    album |= set(adds)
    album -= set(removes)
    if is_answered:
        membership.there(c, ALBUM, adds, now=1.0)
        membership.gone(c, ALBUM, removes, now=1.0)
    return len(adds) + len(removes)


def compare(c: Connection, album: set[ImageId]) -> None:
    """Compare the rows with a listing, as a check of the album does."""
    membership.seen(c, ALBUM, album)
    for one in membership.of_album(c, ALBUM):
        if one.state is Place.GONE and one.image_id not in album:
            membership.drop(c, ALBUM, [one.image_id])
        elif one.state is Place.GONE or (
            one.state is Place.THERE and one.image_id not in album
        ):
            membership.repeat(c, one, now=1.0)


@given(steps)
@settings(max_examples=300, deadline=None)
def test_the_last_wish_counts(done: list[tuple[str, ImageId]]) -> None:
    """After everything was sent and listed, the album is what was asked for last."""
    with connection() as c:
        album: set[ImageId] = set()
        wanted: dict[ImageId, bool] = {}
        for step, image in done:
            match step:
                case "want":
                    membership.want(c, ALBUM, image, now=1.0)
                    wanted[image] = True
                case "unwant":
                    membership.unwant(c, ALBUM, image, now=1.0)
                    wanted[image] = False
                case "list":
                    compare(c, album)
                case _:
                    send(c, album, is_answered=step == "send")
        for _ in range(3):
            send(c, album, is_answered=True)
            compare(c, album)
        assert album == {image for image, is_wanted in wanted.items() if is_wanted}
        assert send(c, album, is_answered=True) == 0


@given(st.lists(images, max_size=10))
@settings(max_examples=100, deadline=None)
def test_there_and_back_sends_nothing(moved: list[ImageId]) -> None:
    """What is asked for and withdrawn before anything was sent costs no call."""
    with connection() as c:
        album: set[ImageId] = set()
        for image in moved:
            membership.want(c, ALBUM, image, now=1.0)
            membership.unwant(c, ALBUM, image, now=1.0)
        assert send(c, album, is_answered=True) == 0
