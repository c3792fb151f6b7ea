"""Random edits, late calls and lagging listings: the drive shows what was done."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgurfs import limits
from imgurfs.model import AlbumId
from imgurfs.store import entries
from tests.support.overlay_user import Drive

USER = (
    "create", "create", "overwrite", "make_directory", "remove_directory", "retitle",
    "rename", "move", "move", "link", "remove", "remove",
)  # fmt: skip
STRANGERS = (
    "appear", "appear", "appear_album", "vanish", "vanish_album", "put_in", "take_out",
    "call_otherwise",
)  # fmt: skip
WORLD = (
    "apply", "apply", "apply", "answer", "answer", "answer", "wait", "images", "albums",
    "album", "album", "fold", "fold", "fold",
)  # fmt: skip
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)
LAGS_S = (0.0, 0.5, 1.5, limits.LISTING_LAG_S)


def _steps(*names: str) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    numbers = st.integers(0, 11)
    step = st.tuples(st.sampled_from(("nothing", *names)), numbers, numbers)
    # Long from the start: few things happen in few steps.
    return st.lists(step, min_size=40, max_size=80)


@contextmanager
def _drive() -> Iterator[Drive]:
    with tempfile.TemporaryDirectory() as directory:
        drive = Drive(Path(directory) / "state.db")
        try:
            yield drive
        finally:
            drive.db.close()


def _step_world(drive: Drive, name: str, p: int, q: int) -> None:
    albums = list(drive.world.albums)
    lag_s = LAGS_S[q % len(LAGS_S)]
    if name == "wait":
        drive.wait(1.0 + p)
    elif name == "images":
        drive.list_images(lag_s)
    elif name == "albums":
        drive.list_albums(lag_s)
    elif name == "album" and albums:
        drive.list_album(albums[p % len(albums)], lag_s)
    elif name == "fold" and drive.folds:
        drive.fold_one(p % len(drive.folds))
    elif name == "apply" and any(not one.is_applied for one in drive.calls):
        drive.apply(p)
    elif name == "answer" and any(one.is_applied for one in drive.calls):
        drive.answer(p)


def _come_to_rest(drive: Drive) -> None:
    """Carry everything out, answer it, and read listings until nothing is left."""
    while drive.folds:
        drive.fold_one(0)
    for _ in range(6):
        for number in range(400):
            if not drive.calls:
                break
            if any(one.is_applied for one in drive.calls):
                drive.answer(number)
            else:
                drive.apply(number)
        assert not drive.calls, "some call is never carried out"
        drive.wait(limits.LISTING_LAG_S + 1.0)
        drive.list_images(0.0)
        drive.fold_one(0)
        drive.list_albums(0.0)
        drive.fold_one(0)
        for album_id in drive.world.albums:
            drive.list_album(album_id, 0.0)
            drive.fold_one(0)
        for album_id in {*drive.world.albums, *_wished(drive)}:
            drive.verify(album_id)
        drive.check_rows()


def _wished(drive: Drive) -> list[AlbumId]:
    rows = drive.db.reader.execute("SELECT DISTINCT album_id FROM membership")
    return [row[0] for row in rows]


def _assert_account_is_shown(drive: Drive) -> None:
    """The drive and the account hold the same pictures in the same places."""
    shown: dict[str, set[str]] = {}
    for directory in drive.directories():
        node = entries.node(drive.db.reader, directory)
        assert node is not None
        key = node.album.id if node.album else "root"
        children = entries.children(drive.db.reader, directory)
        shown[key] = {one.node.image.id for one in children if one.node.image}
    there: dict[str, set[str]] = {"root": {*drive.world.images}}
    for album_id, content in drive.world.contents.items():
        there[album_id] = {*content}
        there["root"] -= there[album_id]
    assert shown == there
    leaked = set(entries.image_inodes(drive.db.reader)) - set(drive.world.images)
    assert leaked == set(), "rows of images that are no more"
    count = drive.db.reader.execute("SELECT count(*) FROM image").fetchone()[0]
    assert count == len(drive.world.images), "rows of files that are no more"
    nodes = drive.db.reader.execute("SELECT count(*) FROM node").fetchone()[0]
    assert nodes == 1 + count + len(drive.world.albums)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(_steps(*USER, *WORLD))
def test_nothing_but_the_user_changes_what_the_drive_shows(
    steps: list[tuple[str, int, int]],
) -> None:
    """However late calls and listings are: same names, same inodes; then the same."""
    with _drive() as drive:
        drive.is_careful = True
        for name, p, q in steps:
            drive.wait(0.01)
            if name in USER:
                getattr(drive, name)(p, q)
                shown = drive.without_twins()
            else:
                shown = drive.without_twins()
                _step_world(drive, name, p, q)
            drive.check_rows()
            assert drive.without_twins() == shown, name
        shown = drive.without_twins()
        _come_to_rest(drive)
        assert drive.without_twins() == shown
        _assert_account_is_shown(drive)


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(_steps(*USER, *WORLD, *STRANGERS))
def test_what_others_do_comes_in_besides(steps: list[tuple[str, int, int]]) -> None:
    """In the end the drive shows the account, and no row of what is no more."""
    with _drive() as drive:
        for name, p, q in steps:
            drive.wait(0.01)
            if name in USER or name in STRANGERS:
                getattr(drive, name)(p, q)
            else:
                _step_world(drive, name, p, q)
            drive.check_rows()
        _come_to_rest(drive)
        _assert_account_is_shown(drive)
