"""What becomes of calls whose answers were lost, and of pictures that are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import control
from imgurfs.errors import OutageError, OutcomeUnknownError, RejectedError
from imgurfs.jobs import queueing
from imgurfs.jobs.sweep import sweep
from imgurfs.marker import DEVICE_ID_BYTES, device_part, make_marker, parse_marker
from imgurfs.model import AlbumId, Image, ImageId
from imgurfs.store import entries, meta, outbox, synced
from imgurfs.store.outbox import JobState
from tests.support.jobbing import EPOCH_S, Bench, bench, drain_for

DEVICE = b"d" * DEVICE_ID_BYTES


def uploads(b: Bench) -> list[str]:
    """Return the uploads that were sent."""
    return [call for call in b.imgur.calls if call.startswith("upload")]


async def test_lost_answer_is_found_after_the_quarantine(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: an upload that happened is adopted, not earlier than Imgur is done with
    it.
    """
    async with bench(tmp_path) as b:
        b.write_file("trip/a.gif")
        await b.queue("trip/a.gif")
        b.imgur.lost_answers = 1
        await drain_for(b, 100)
        assert b.albums.looks == 0
        assert outbox.statistics(b.db.reader).unknown == 1
        await drain_for(b, 100)
        assert len(uploads(b)) == 1
        assert len(b.imgur.images) == 1
        known = synced.file(b.db.reader, b.folder.id, b"trip/a.gif")
        assert known is not None
        assert known.image_id in b.imgur.images
        assert known.digest
        ((_, members),) = b.imgur.albums.items()
        assert members == [known.image_id]


async def test_what_did_not_happen_is_sent_again_after_two_looks(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: two looks a minute apart without finding it, then the same marker again."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.failures = [OutcomeUnknownError("cut")]
        await drain_for(b, 170)
        assert (len(uploads(b)), b.albums.looks) == (1, 1)
        (job,) = outbox.unfinished(b.db.reader)
        marker = job.marker
        await drain_for(b, 30)
        assert (len(uploads(b)), b.albums.looks) == (2, 2)
        (image,) = b.imgur.images.values()
        assert str(parse_marker(image.name)) == marker


@pytest.mark.parametrize("is_resent", [True, False])
async def test_a_look_that_was_overtaken_proves_nothing(
    tmp_path: Path, autojump_clock: MockClock, is_resent: bool
) -> None:
    """S10: What a look in the air did not find says nothing of an attempt that the
    user asked for meanwhile: it has its own quarantine, and what it made is found. A
    job that was given up meanwhile stays so.
    """
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.failures = [OutcomeUnknownError("cut")]
        read = b.albums.newest

        async def newest(*, since: float) -> list[Image]:
            found = await read(since=since)
            if b.albums.looks == 2:
                (job,) = outbox.unfinished(b.db.reader)
                b.imgur.lost_answers = int(is_resent)
                b.imgur.failures = [] if is_resent else [RejectedError("no")]
                await b.db.write(
                    lambda c: control.did_not_happen(c, job.id, now=b.clock.now())
                )
                await trio.sleep(20.0)
                assert len(uploads(b)) == 2
            return found

        b.albums.newest = newest  # type: ignore[method-assign]
        await drain_for(b, 900)
        assert len(uploads(b)) == 2
        assert len(b.imgur.images) == is_resent
        assert list(b.states().values()) == ["done" if is_resent else "dead"]


async def test_one_reading_resolves_all(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S10: however many answers were lost, the newest images are read once for all."""
    async with bench(tmp_path) as b:
        for n in range(60):
            b.write_file(f"{n}.gif")
            await b.queue(f"{n}.gif")
        b.imgur.lost_answers = 60
        await drain_for(b, 150)
        assert outbox.statistics(b.db.reader).done == 60
        assert len(b.imgur.images) == 60
        assert b.albums.looks <= 2


async def test_another_machines_image_is_not_ours(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An unknown upload is not resolved by another machine's marker."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.lost_answers = 1
        await drain_for(b, 10)
        (job,) = outbox.unfinished(b.db.reader, state=JobState.UNKNOWN)
        ((image_id, image),) = b.imgur.images.items()
        ours = parse_marker(image.name)
        assert ours is not None
        assert str(ours) == job.marker
        theirs = f"a~{replace(ours, device='aaaaa')}.gif"
        b.imgur.images[image_id] = replace(image, name=theirs)
        await drain_for(b, 300)
        assert len(uploads(b)) == 2


async def test_unknown_album_is_found(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S11: A creation whose answer was lost is recognised by title and image."""
    async with bench(tmp_path) as b:
        for n in range(4):
            b.write_file(f"trip/{n}.gif")
            await b.queue(f"trip/{n}.gif")

        def lose_the_next() -> None:
            b.imgur.before_answer = lambda: None
            b.imgur.is_next_lost = True

        b.imgur.before_answer = lose_the_next
        await drain_for(b, 600)
        creations = [c for c in b.imgur.calls if c.startswith("create")]
        assert len(creations) == 1
        ((_, members),) = b.imgur.albums.items()
        assert len(members) == len(set(members)) == 4
        left = outbox.unfinished(b.db.reader)
        assert [job.kind for job in left if job.kind != "verify"] == []


async def test_unknown_album_that_is_not_there_is_created(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A creation that did not happen is made after two looks, and holds all."""
    async with bench(tmp_path) as b:
        b.write_file("trip/a.gif")
        await b.queue("trip/a.gif")

        def fail_next() -> None:
            b.imgur.before_answer = lambda: None
            b.imgur.failures = [OutcomeUnknownError("cut")]

        b.imgur.before_answer = fail_next
        await drain_for(b, 600)
        assert [c for c in b.imgur.calls if c.startswith("create")] == [
            "create trip"
        ] * 2
        ((_, members),) = b.imgur.albums.items()
        assert members == list(b.imgur.images)


async def test_two_albums_ask_the_user(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S11: when two albums could be the one, none is chosen and none is created."""
    async with bench(tmp_path) as b:
        b.write_file("trip/a.gif")
        await b.queue("trip/a.gif")

        def lose_the_next() -> None:
            b.imgur.before_answer = lambda: None
            b.imgur.is_next_lost = True

        b.imgur.before_answer = lose_the_next
        await drain_for(b, 20)
        (album_id,) = b.imgur.albums
        b.imgur.albums[AlbumId("other")] = list(b.imgur.albums[album_id])
        b.imgur.titles[AlbumId("other")] = "trip"
        await drain_for(b, 600)
        (job,) = outbox.unfinished(b.db.reader, state=JobState.UNKNOWN)
        assert "imgurfs queue resolve" in job.error
        assert len([c for c in b.imgur.calls if c.startswith("create")]) == 1


async def test_a_failed_look_changes_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A listing that cannot be read proves nothing; it is read again later."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.lost_answers = 1
        b.albums.failures = [OutageError("page")] * 5
        await drain_for(b, 400)
        assert len(uploads(b)) == 1
        assert outbox.statistics(b.db.reader).done == 1


async def test_names_that_are_not_kept_are_said_loudly(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Where the marker does not come back an unknown outcome waits for the user."""
    async with bench(tmp_path) as b:
        await b.db.write(lambda c: meta.put(c, "names_lost", "Imgur lost a name"))
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.lost_answers = 1
        await drain_for(b, 1000)
        (job,) = outbox.unfinished(b.db.reader)
        assert (job.state, job.error) == (JobState.UNKNOWN, "Imgur lost a name")
        assert len(uploads(b)) == 1


async def test_same_content_is_sent_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S6: the same bytes in two albums are one upload and two memberships."""
    async with bench(tmp_path) as b:
        for path in ("x/a.gif", "y/b.gif", "x/c.gif"):
            b.write_file(path, b"GIF89a the same")
            await b.queue(path)
        await drain_for(b, 60)
        assert len(uploads(b)) == 1
        (image_id,) = b.imgur.images
        assert sorted(b.imgur.titles.values()) == ["x", "y"]
        assert all(members == [image_id] for members in b.imgur.albums.values())


async def test_without_dedupe_each_file_is_an_image(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S6: A folder that wants it so gets one image for each file, one after the
    other.
    """
    async with bench(tmp_path) as b:
        for path in ("a.gif", "b.gif"):
            b.write_file(path, b"GIF89a the same")
            await b.queue(path, dedupe=False)
        await drain_for(b, 60)
        assert len(b.imgur.images) == 2


async def test_content_of_the_account_is_adopted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A picture that any machine has sent before is not sent again."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        ((image_id, image),) = b.imgur.images.items()
        marker = parse_marker(image.name)
        assert marker is not None
        theirs = replace(image, name=f"z~{replace(marker, device='aaaaa')}.gif")

        def lose_the_state(c: object) -> None:
            b.db._writer.execute("DELETE FROM synced_file")
            entries.put_image(b.db._writer, theirs, now=EPOCH_S)

        await b.db.write(lose_the_state)
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        assert len(uploads(b)) == 1
        known = synced.file(b.db.reader, b.folder.id, b"a.gif")
        assert known is not None
        assert known.image_id == image_id


async def test_late_twin_is_swept(tmp_path: Path, autojump_clock: MockClock) -> None:
    """S12: A twin of ours, made by an upload that was sent twice, is deleted with
    grace.
    """
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        b.imgur.failures = [OutcomeUnknownError("cut")]
        await drain_for(b, 300)
        (image,) = b.imgur.images.values()
        twin = replace(image, id=ImageId("twin"))
        stranger = replace(
            image, id=ImageId("stranger"), name=image.name.replace("~", "x~")
        )
        marker = make_marker(b"0" * 32, b"o" * DEVICE_ID_BYTES)
        others = [
            replace(image, id=ImageId(f"other{n}"), name=f"o~{marker}.gif")
            for n in range(2)
        ]
        b.imgur.images |= {i.id: i for i in (twin, *others)}
        assert stranger.id not in b.imgur.images
        await b.db.write(lambda c: entries.put_images(c, [twin, *others], now=EPOCH_S))

        async def swept() -> int:
            return await b.db.write(
                lambda c: sweep(
                    c, device=device_part(DEVICE), now=b.clock.now(), grace_s=600
                )
            )

        assert await swept() == 1
        assert await swept() == 0
        await drain_for(b, 500)
        assert twin.id in b.imgur.images
        await drain_for(b, 200)
        assert twin.id not in b.imgur.images
        assert {image.id, *(o.id for o in others)} == set(b.imgur.images)


async def test_twin_of_a_single_attempt_is_left_alone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Without a second attempt an equal image is somebody's own doing."""
    async with bench(tmp_path) as b:
        b.write_file("a.gif")
        await b.queue("a.gif")
        await b.drainer().run_until_idle()
        (image,) = b.imgur.images.values()
        twin: Image = replace(image, id=ImageId("twin"))
        await b.db.write(lambda c: entries.put_image(c, twin, now=EPOCH_S))
        swept = await b.db.write(
            lambda c: sweep(c, device=device_part(DEVICE), now=EPOCH_S, grace_s=0)
        )
        assert swept == 0


async def test_an_album_of_another_directory_is_not_adopted(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """S11: a new directory with the old name of a renamed one gets its own album."""
    async with bench(tmp_path) as b:
        b.write_file("trip/a.gif")
        await b.queue("trip/a.gif")
        await drain_for(b, 30)
        await b.db.write(
            lambda c: synced.rename_directory(
                c, b.folder.id, b"trip", b"journey", title="journey"
            )
        )
        b.write_file("trip/b.gif")
        await b.queue("trip/b.gif")
        await drain_for(b, 30)
        assert len(b.imgur.albums) == 2
        assert all(len(members) == 1 for members in b.imgur.albums.values())


async def test_kills_do_not_wear_a_deletion_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What does no harm twice is repeated after each kill, however many there were."""
    async with bench(tmp_path) as b:
        image_id = await b.delete_of("a.gif")
        (b.root / "a.gif").unlink()
        (job,) = outbox.unfinished(b.db.reader, kind=queueing.DELETE_IMAGE)
        for _ in range(20):
            await b.db.write(lambda c: outbox.claim(c, job.id, now=EPOCH_S))
            await b.db.write(
                lambda c: queueing.recover(c, now=EPOCH_S, quarantine_s=120.0)
            )
        await drain_for(b, 30)
        assert image_id not in b.imgur.images


async def test_what_was_replaced_goes_even_if_the_file_vanishes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An image no file is any more does not outlive the upload that never came."""
    async with bench(tmp_path) as b:
        old = ImageId("old")
        b.imgur.images[old] = Image(old, "image/gif", "https://i/old.gif", 1, 1)
        b.write_file("a.gif")
        await b.queue("a.gif", replaces=old, deletes_old=True)
        (b.root / "a.gif").unlink()
        await drain_for(b, 30)
        assert b.imgur.images == {}
