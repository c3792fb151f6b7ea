"""Uploads without an account, over the emulator: jobs, listings and the register."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import control
from imgurfs.api.anonymous import AnonymousClient
from imgurfs.config import MountConfig
from imgurfs.emulator.config import Dialect
from imgurfs.errors import NotSentError, TooLargeError
from imgurfs.jobs import queueing
from imgurfs.jobs.queueing import UpdateAlbumPayload, UpdateImagePayload
from imgurfs.model import ROOT_INODE, ImageId, Lane
from imgurfs.store import entries, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.drafts import DraftState
from imgurfs.store.outbox import JobState
from imgurfs.tree.refresh import Refresher
from tests.support.anonymous import Nobody, another, nobody
from tests.support.connected import config
from tests.support.programs import picture
from tests.support.writing import a_desk

#: A deletehash that only an answer has that cannot be read.
NEW = "Qw3rTyUiOp12345"


@pytest.mark.parametrize("dialect", Dialect)
async def test_a_folder_goes_up_into_its_albums(
    tmp_path: Path, autojump_clock: MockClock, dialect: Dialect
) -> None:
    """Pictures of two directories and of none: each once, in albums of nobody's."""
    async with nobody(tmp_path, dialect=dialect) as n:
        for path in ("a/1.gif", "a/2.gif", "b/3.gif", "4.gif"):
            await n.queue(path)
        await n.drain()
        assert {title: len(ids) for title, ids in n.albums().items()} == {
            "a": 2,
            "b": 1,
        }
        assert len(n.images()) == 4
        assert not n.jobs(JobState.DEAD)
        rows = n.db.reader.execute("SELECT state FROM membership").fetchall()
        assert [row[0] for row in rows] == ["there"] * 3


async def test_lost_state_is_made_again_from_the_register(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Without state.db: the same tree, nothing is sent again, all can be deleted."""
    async with nobody(tmp_path) as n:
        for path in ("a/1.gif", "a/2.gif", "3.gif"):
            await n.queue(path)
        await n.drain()
        n.db.close()
        for file in tmp_path.glob("state.db*"):
            file.unlink()
        async with another(tmp_path, n.there) as again:
            for path in ("a/1.gif", "a/2.gif", "3.gif"):
                await again.queue_again(path)
            await again.drain()
            refresher = Refresher(
                db=again.db, api=again.there.api, clock=again.there.clock
            )
            await refresher.refresh_all(Lane.INTERACTIVE)
            assert len(again.images()) == 3
            assert len(again.albums()["a"]) == 2
            assert len(entries.account_images(again.db.reader)) == 3
            await again.delete("a/1.gif", "a/2.gif", "3.gif")
            await again.drain()
            assert again.images() == []


async def test_lost_register_is_made_again_from_the_state(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Without the file: it is written again, and what it tells of can be deleted."""
    async with nobody(tmp_path) as n:
        for path in ("a/1.gif", "2.gif"):
            await n.queue(path)
        await n.drain()
        before = n.secrets()
        assert len(before) == 3
        n.register.unlink()
        async with another(tmp_path, n.there) as again:
            written = n.register.read_text()
            assert [secret for secret in before if secret in written] == list(before)
            await again.delete("a/1.gif", "2.gif")
            await again.drain()
            assert again.images() == []


async def test_lost_answer_is_left_to_the_user(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """An upload whose answer is lost is held, told of, and never sent again."""
    async with nobody(tmp_path) as n:
        n.fail(action="reset_after")
        await n.queue("1.gif")
        await n.drain(3600)
        assert len(n.images()) == 1
        (job,) = n.jobs(JobState.UNKNOWN)
        assert "--did-not-happen" in job.error


async def test_image_that_is_gone_is_believed_the_second_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What Imgur has deleted leaves the drive, but not at one answer's word."""
    async with nobody(tmp_path) as n:
        for number in range(3):
            await n.queue(f"{number}.gif")
        await n.drain()
        world = n.there.emulator.world
        lost = n.images()[0]
        world.remove_image(lost)
        refresher = Refresher(db=n.db, api=n.there.api, clock=n.there.clock)
        autojump_clock.jump(300)
        await refresher.refresh_images(Lane.REFRESH)
        assert len(entries.account_images(n.db.reader)) == 3
        autojump_clock.jump(300)
        await refresher.refresh_images(Lane.REFRESH)
        assert ImageId(lost.id) not in entries.account_images(n.db.reader)
        assert len(entries.account_images(n.db.reader)) == 2
        assert lost.deletehash in n.register.read_text()


async def test_what_was_changed_stays_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Titles and deletions outlive the listings, and the loss of the state."""
    async with nobody(tmp_path) as n:
        for path in ("a/1.gif", "a/2.gif", "3.gif"):
            await n.queue(path)
        await n.drain()
        named = synced.file(n.db.reader, n.folder, b"a/2.gif")
        (album,) = entries.account_albums(n.db.reader)
        assert named is not None
        texts = UpdateImagePayload(named.image_id, title="two", description="second")
        await n.db.write(partial(queue_texts, texts))
        journey = UpdateAlbumPayload(album, title="journey")
        await n.db.write(partial(queue_titles, journey))
        await n.delete("a/1.gif", "3.gif")
        await n.drain()
        n.db.close()
        for lost in (False, True):
            for file in tmp_path.glob("state.db*") if lost else ():
                file.unlink()
            async with another(tmp_path, n.there) as again:
                autojump_clock.jump(300)
                api, clock = again.there.api, again.there.clock
                refresher = Refresher(db=again.db, api=api, clock=clock)
                await refresher.refresh_all(Lane.INTERACTIVE)
                reader = again.db.reader
                assert list(entries.account_images(reader)) == [named.image_id]
                node = entries.node_of_image(reader, named.image_id)
                assert node is not None
                assert node.image is not None
                assert (node.image.title, node.image.description) == ("two", "second")
                shown = entries.children(reader, ROOT_INODE)
                assert [entry.name for entry in shown] == ["journey"]
        assert list(n.albums()) == ["journey"]


async def test_outage_that_looks_like_the_end_is_survived(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Imgur knows nothing for an hour: what was taken for gone is shown again."""
    async with nobody(tmp_path) as n:
        await n.queue("a/1.gif")
        await n.queue("2.gif")
        await n.drain()
        refresher = Refresher(db=n.db, api=n.there.api, clock=n.there.clock)

        async def look() -> None:
            for _ in range(4):
                autojump_clock.jump(3600)
                await refresher.refresh_all(Lane.REFRESH)

        n.fail(method="GET", path="/3/(image|album)", action="status", status=404)
        await look()
        assert entries.account_images(n.db.reader) == {}
        assert entries.account_albums(n.db.reader) == {}
        n.fail()
        await look()
        assert len(entries.account_images(n.db.reader)) == 2
        (album,) = entries.account_albums(n.db.reader).values()
        assert len(entries.members(n.db.reader, album)) == 1


async def test_lost_answer_is_sent_again_when_the_user_says_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The user decides: sent again, it is done, and the album's others never waited."""
    async with nobody(tmp_path) as n:
        n.fail(action="reset_after", count=1)
        await n.queue("a/1.gif")
        await n.queue("a/2.gif")
        await n.drain(3600)
        (held,) = n.jobs(JobState.UNKNOWN)
        assert len(n.albums()["a"]) == 1
        # Not even the album's check waits for the user.
        assert not n.jobs(JobState.QUEUED)
        await n.db.write(lambda c: control.did_not_happen(c, held.id, now=0.0))
        await n.drain()
        assert not n.jobs(JobState.UNKNOWN)
        assert len(n.albums()["a"]) == 2


async def test_image_without_a_deletehash_is_shown_and_stays(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """What the user found is theirs; deleting it is refused with the reason."""
    async with nobody(tmp_path) as n:
        await n.queue("0.gif")
        await n.drain()
        n.fail(action="reset_after")
        await n.queue("1.gif")
        await n.drain(3600)
        n.fail()
        (held,) = n.jobs(JobState.UNKNOWN)
        api, (_, there) = n.there.api, n.images()
        made = await api.image(ImageId(there.id), Lane.INTERACTIVE)
        await n.db.write(lambda c: control.happened(c, held.id, made, now=0.0))
        assert isinstance(api, AnonymousClient)
        await api.adopt(made)
        refresher = Refresher(db=n.db, api=api, clock=n.there.clock)
        autojump_clock.jump(300)
        await refresher.refresh_all(Lane.INTERACTIVE)
        assert ImageId(there.id) in entries.account_images(n.db.reader)
        await n.delete("1.gif")
        await n.drain()
        (dead,) = n.jobs(JobState.DEAD)
        assert "deletehash" in dead.error
        assert len(n.images()) == 2


async def test_album_whose_answer_is_lost_is_made_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nobody could change the first one: the directory gets one that can be."""
    async with nobody(tmp_path) as n:
        n.fail(path="/3/album", action="reset_after", count=1)
        await n.queue("a/1.gif")
        await n.queue("a/2.gif")
        await n.drain(3600)
        assert outbox.unfinished(n.db.reader) == []
        world = n.there.emulator.world
        ours = [a for a in world.albums.values() if a.deletehash in register_of(n)]
        assert [len(album.images) for album in ours] == [2]
        assert len(n.images()) == 2


def register_of(n: Nobody) -> str:
    """Return what the file with the deletehashes holds."""
    return n.register.read_text()


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "status", "status": 404},
        {"action": "status", "status": 400},
        {"action": "status_after", "status": 503},
        {"action": "reset_after"},
        {"action": "reset_before"},
        {"action": "html"},
        {"action": "truncate", "fraction": 0.9},
        {"action": "status", "status": 200, "body": f'{{"deletehash":"{NEW}",'},
    ],
    ids=["gone", "refused", "done but 503", "lost", "cut", "page", "short", "half"],
)
async def test_no_deletehash_is_told(
    tmp_path: Path,
    autojump_clock: MockClock,
    rule: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever goes wrong, no deletehash is in a log, an error or a notice."""
    caplog.set_level(logging.DEBUG, logger="imgurfs")
    async with nobody(tmp_path) as n:
        for path in ("a/1.gif", "a/2.gif", "3.gif"):
            await n.queue(path)
        await n.drain()
        secrets = n.secrets()
        assert len(secrets) == 4
        n.fail(method="", path="/3/", host="api", **rule)
        (album,) = n.albums()
        for image in n.images():
            texts = UpdateImagePayload(ImageId(image.id), title="other")
            await n.db.write(partial(queue_texts, texts))
        await n.delete("3.gif")
        await n.queue("a/4.gif")
        await n.drain(60)
        secrets |= n.secrets() | {NEW}
        kept = "".join(str(row) for row in n.db.reader.execute("SELECT * FROM job"))
        kept += "".join(str(row) for row in n.db.reader.execute("SELECT * FROM meta"))
        said = [r.getMessage() for r in caplog.records if r.name.startswith("imgurfs")]
        assert album == "a"
        assert any("again later" in one or "given up" in one for one in said)
        found = kept + caplog.handler.format(caplog.records[0]) + "".join(said)
        assert not [secret for secret in secrets if secret in found]


def queue_titles(texts: UpdateAlbumPayload, c: Connection) -> None:
    """Queue another title of an album."""
    queueing.queue_update_album(c, texts, now=0.0)


def queue_texts(texts: UpdateImagePayload, c: Connection) -> None:
    """Queue another title."""
    queueing.queue_update_image(c, texts, now=0.0)


async def test_register_that_others_can_read_stops_sending(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nothing is sent or given up while it is so, and all goes on afterwards."""
    async with nobody(tmp_path) as n:
        await n.queue("1.gif")
        await n.drain()
        n.register.chmod(0o644)
        await n.queue("2.gif")
        await n.drain(600)
        assert len(n.images()) == 1
        assert "can be read by others" in n.jobs(JobState.QUEUED)[0].error
        with pytest.raises(NotSentError, match="can be read by others"):
            await n.there.api.images_page(0, Lane.REFRESH)
        n.register.chmod(0o600)
        await n.drain(600)
        assert len(n.images()) == 2


async def test_disk_that_says_no_loses_no_deletehash(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written to the register is in the state, and written later."""
    async with nobody(tmp_path) as n:
        n.register.parent.rmdir()
        await n.queue("1.gif")
        await n.drain(600)
        assert not n.jobs(JobState.UNKNOWN)
        assert "is not up to date: No such file" in caplog.text
        (first,) = n.secrets()
        assert first not in caplog.text
        n.register.parent.mkdir()
        await n.queue("2.gif")
        await n.drain(600)
        written = n.register.read_text()
        assert len(n.secrets()) == 2
        assert all(secret in written for secret in n.secrets())


async def test_what_was_refused_for_its_size_is_sent_when_it_is_accepted(
    tmp_path: Path,
) -> None:
    """W15: without an account stills over 1 MB are kept here until they may change."""
    strict, large = MountConfig().without_account(), picture("large", side=700)
    accepting = MountConfig(lossy="accept").without_account()
    nothing = config(albums=0, images=0)
    async with a_desk(tmp_path, nothing, settings=strict) as desk:
        with pytest.raises(TooLargeError):
            await desk.put("large.png", large)
        found = entries.child(desk.db.reader, ROOT_INODE, "large.png")
        assert found is not None
        inode = found.node.inode
        assert desk.draft(inode).state is DraftState.REFUSED
    async with a_desk(tmp_path, nothing, settings=accepting) as desk:
        assert desk.draft(inode).state is DraftState.WAITING
        assert len(desk.uploads()) == 1
