"""Reading a large merge base in slices: everything once, nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.marker import content_part, make_marker, name_with_marker
from imgurfs.model import Image, ImageId, Lane
from imgurfs.store import outbox, records, synced, synced_reads
from imgurfs.store.database import Connection, Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import FolderId, SkippedFile, SyncedFile

NAMES = [b"a", b"a.png", b"a/", b"aa.png", b"az", b"b\xff", b"\x01", b"0", b"-"]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Return an empty state database."""
    found = Database.open(
        tmp_path / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )
    with closing(found):
        yield found


def some_paths(seed: int, count: int) -> list[bytes]:
    """Return paths whose names sort around each other's separators."""
    rng = random.Random(seed)
    names = [name.strip(b"/") for name in NAMES]
    paths = {
        b"/".join(rng.choice(names) for _ in range(rng.randint(1, 4)))
        for _ in range(count)
    }
    return sorted({*paths, *(b"many/%04d" % n for n in range(count))})


def fill(c: Connection, paths: list[bytes]) -> FolderId:
    """Record these files, and one of another folder."""
    folder = synced.bind_folder(c, b"/f", device=1, inode=2).id
    other = synced.bind_folder(c, b"/g", device=1, inode=3).id
    for number, path in enumerate(paths):
        row = SyncedFile(path, 1, number, 100 + number, 4, b"d", ImageId("image"))
        synced.put_file(c, folder, row)
        synced.put_skipped(c, folder, SkippedFile(path, 5, 6, "why"))
    synced.put_file(c, other, SyncedFile(b"a", 1, 0, 1, 4, b"d", ImageId("image")))
    return folder


def test_every_row_is_read_once(db: Database) -> None:
    """Whole folders come in slices, in the order of paths."""
    paths = some_paths(1, 700)
    folder = db.write_blocking(lambda c: fill(c, paths))
    slices = list(synced_reads.file_slices(db.reader, folder))
    assert [row.path for rows in slices for row in rows] == paths
    assert len(slices) > 2
    skips = list(synced_reads.skipped_slices(db.reader, folder))
    assert [row.path for rows in skips for row in rows] == paths


@pytest.mark.parametrize("seed", range(5))
def test_directly_in_a_directory(db: Database, seed: int) -> None:
    """What is below subdirectories is left out, and nothing else is."""
    paths = some_paths(seed, 600)
    folder = db.write_blocking(lambda c: fill(c, paths))
    directories = {path.rpartition(b"/")[0] for path in paths} | {b"", b"nowhere"}
    for directory in directories:
        want = [path for path in paths if path.rpartition(b"/")[0] == directory]
        for table in ("synced_file", "skipped_file"):
            found = synced_reads.paths_directly_in(
                db.reader, folder, directory, table=table
            )
            assert [path for part in found for path in part] == want
        below = {other for other in directories if other.startswith(directory + b"/")}
        if directory:
            parts = synced_reads.directories_below(db.reader, folder, directory)
            assert set().union(*parts) == below


def test_questions_about_some(db: Database) -> None:
    """Only what was asked for is answered, of this folder or of any."""
    folder = db.write_blocking(lambda c: fill(c, [b"a", b"b/c"]))
    reader = db.reader
    assert synced_reads.known_paths(reader, folder, [b"a", b"x"]) == {b"a"}
    assert [r.path for r in synced_reads.files_at(reader, folder, [b"b/c"])] == [b"b/c"]
    assert [s.path for s in synced_reads.skipped_at(reader, folder, [b"a"])] == [b"a"]
    assert len(synced_reads.files_with_inode(reader, 1, 0)) == 2
    assert len(synced_reads.files_with_digest(reader, b"d")) == 3
    assert synced_reads.files_with_digest(reader, b"") == []
    assert len(synced_reads.files_of_images(reader, [ImageId("image")])) == 3
    assert synced_reads.sizes_of_files(reader, [100, 7]) == {100}


def test_keys_of_unfinished_jobs(db: Database) -> None:
    """A job that is over has no key any more."""

    def check(c: Connection) -> None:
        for key in ("one", "two"):
            outbox.put(c, kind="k", lane=Lane.BULK, payload="", now=0.0, key=key)
        assert synced_reads.has_queued(c, "k")
        assert not synced_reads.has_queued(c, "other")
        job = outbox.by_key(c, "two")
        assert job is not None
        outbox.claim(c, job.id, now=1.0)
        ask = synced_reads.unfinished_keys
        assert ask(c, ["one", "two", "three"]) == {"one", "two"}
        assert ask(c, ["one", "two"], state="queued") == {"one"}
        outbox.finish(c, job.id, now=2.0)
        assert ask(c, ["one", "two"]) == {"one"}

    db.write_blocking(check)


def test_marked_images_that_no_file_is(db: Database) -> None:
    """Only the account's own, with a valid marker, and unbound."""

    def check(c: Connection) -> None:
        digests = [bytes([n]) * 32 for n in range(4)]
        for number, digest in enumerate(digests):
            name = name_with_marker("x.png", make_marker(digest, b"d" * 10))
            image = Image(ImageId(f"i{number}"), "image/png", "", 1, 1, name=name)
            inode = records.put_image(c, image, now=1.0)
            if number != 2:
                records.mark_in_account(c, [inode])
        plain = Image(ImageId("plain"), "image/png", "", 1, 1, name="x~y.png")
        records.mark_in_account(c, [records.put_image(c, plain, now=1.0)])
        folder = synced.bind_folder(c, b"/f", device=1, inode=2).id
        row = SyncedFile(b"a", 1, 1, 1, 1, digests[1], ImageId("i1"))
        synced.put_file(c, folder, row)
        found = [one for part in synced_reads.unbound_marked(c) for one in part]
        assert [(marker.content, image_id) for marker, image_id in found] == [
            (content_part(digests[0]), ImageId("i0")),
            (content_part(digests[3]), ImageId("i3")),
        ]
        asked = [ImageId("i0"), ImageId("nobody")]
        assert synced_reads.unknown_images(c, asked) == {ImageId("nobody")}

    db.write_blocking(check)
