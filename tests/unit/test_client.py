"""The API client over the emulator in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from imgurfs import limits
from imgurfs.budget import Scope
from imgurfs.emulator.config import Dialect
from imgurfs.emulator.rules.limits import Limits
from imgurfs.emulator.trouble.faults import Action, FaultRule
from imgurfs.errors import (
    BudgetError,
    LoginNeededError,
    NotFoundError,
    OutageError,
    RejectedError,
    ThrottledError,
)
from imgurfs.model import AlbumId, ImageId, Lane, RequestClass, RequestKind
from tests.support.connected import Connected, config, connected
from tests.support.uploading import UPLOAD, png, upload


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_listings(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, dialect: Dialect
) -> None:
    """Pages, albums and images read the same in both dialects."""
    async with connected(tmp_path, config(dialect=dialect)) as side:
        account = await side.api.account()
        assert account.url == "sample"
        albums = await side.api.albums_page(0, Lane.REFRESH)
        images = await side.api.images_page(0, Lane.REFRESH)
        assert await side.api.albums_page(1, Lane.REFRESH) == []
        own = [a for a in side.emulator.world.albums.values() if a.owner == "sample"]
        assert {a.id for a in albums} == {a.id for a in own}
        for listed in albums:
            album, content = await side.api.album(listed.id, Lane.INTERACTIVE)
            assert album.title == listed.title
            assert len(content) == listed.images_count
        for image in images:
            known = side.emulator.world.images[image.id]
            assert image.size_bytes == known.content.size_bytes
            assert image.link.startswith("https://i.imgur.test/")
            assert image.deletehash
        one = await side.api.image(images[0].id, Lane.INTERACTIVE)
        assert one == images[0]


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_changes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, dialect: Dialect
) -> None:
    """Upload, create, add, remove, set, update and delete do what they say."""
    async with connected(tmp_path, config(dialect=dialect)) as side:
        api = side.api
        name = 'Sonne "rot"\\ am See\n~abc.png'
        first = await upload(side, png(tmp_path, noise=1), name)
        second = await upload(side, png(tmp_path, noise=2))
        assert side.emulator.world.images[first].name == name
        made = await api.create_album(title="Rôme", images=[first], lane=Lane.FRESH)
        assert made.deletehash
        await api.add_to_album(made.id, [second], Lane.FRESH)
        assert await content(side, made.id) == [first, second]
        await api.remove_from_album(made.id, [first], Lane.FRESH)
        assert await content(side, made.id) == [second]
        await api.set_album(made.id, [second, first], Lane.FRESH)
        assert await content(side, made.id) == [second, first]
        await api.update_album(
            made.id, title="Neu & mehr", cover=first, lane=Lane.FRESH
        )
        album, _ = await api.album(made.id, Lane.FRESH)
        assert (album.title, album.cover) == ("Neu & mehr", first)
        await api.update_image(first, title="T", description="D", lane=Lane.FRESH)
        image = await api.image(first, Lane.FRESH)
        assert (image.title, image.description) == ("T", "D")
        await api.delete_album(made.id, Lane.FRESH)
        with pytest.raises(NotFoundError):
            await api.album(made.id, Lane.FRESH)
        await api.delete_image(first, Lane.FRESH)
        with pytest.raises(NotFoundError):
            await api.image(first, Lane.FRESH)
        route = "/3/account/me/images/count"
        assert await api.call("GET", route, fields=(), lane=Lane.CONTROL)


async def content(side: Connected, album_id: AlbumId) -> list[ImageId]:
    """Return the ids an album holds."""
    _, images = await side.api.album(album_id, Lane.INTERACTIVE)
    return [image.id for image in images]


async def test_upload_bytes_arrive(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """What the CDN serves for the link is what was uploaded, in several pieces."""
    path = png(tmp_path)
    path.write_bytes(path.read_bytes() + b"\x07" * (3 * limits.UPLOAD_CHUNK_BYTES + 5))
    async with connected(tmp_path) as side:
        image = await side.api.upload(
            path,
            size_bytes=path.stat().st_size,
            name="big.png",
            album=None,
            lane=Lane.FRESH,
        )
        cost = RequestClass(RequestKind.CDN, Lane.INTERACTIVE)
        answer = await side.http.get(image.link, extensions={"imgurfs": cost})
        assert answer.content == path.read_bytes()
        assert image.size_bytes == len(answer.content)


async def test_ledger_follows_the_headers(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """After any call the ledger shows what Imgur counts, with nothing reserved."""
    async with connected(tmp_path) as side:
        await side.api.account()
        await upload(side, png(tmp_path))
        windows = side.ledger.state().windows
        counted = await side.api.credits()
        assert windows[Scope.USER].remaining - 1 == counted.user_remaining
        assert windows[Scope.CLIENT].remaining - 1 == counted.client_remaining
        assert windows[Scope.POSTS].remaining == limits.POSTS_PER_HOUR - 1
        assert [windows[s].reserved for s in Scope] == [0, 0, 1, 0]


async def test_rejected_token_is_refreshed_once_for_all(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Many calls with a dead token cost one refresh, and then succeed."""
    async with connected(tmp_path, access_token="0" * 40) as side:
        async with trio.open_nursery() as nursery:
            for page in range(5):
                nursery.start_soon(side.api.images_page, page, Lane.REFRESH)
        assert side.sent("POST", "/oauth2/token") == 1
        assert side.store.load().access_token != "0" * 40


async def test_revoked_refresh_token(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A refresh token that Imgur refuses means log in again; it is asked once."""
    async with connected(
        tmp_path, access_token="0" * 40, refresh_token="1" * 40
    ) as side:
        for _ in range(3):
            with pytest.raises(LoginNeededError) as caught:
                await side.api.account()
            assert "1" * 40 not in str(caught.value)
        assert side.sent("POST", "/oauth2/token") == 1


async def upload_many(side: Connected, tmp_path: Path, count: int) -> None:
    """Upload different pictures one after the other."""
    for noise in range(count):
        await upload(side, png(tmp_path, noise=noise))


async def test_no_self_caused_refusals(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """With tiny limits the budget stops us before Imgur has to."""
    tiny = Limits(user_credits_per_hour=40, uploads_per_hour=50)
    async with connected(tmp_path, config(limits=tiny)) as side:
        await side.api.account()
        with pytest.raises(BudgetError) as caught:
            await upload_many(side, tmp_path, 50)
        assert caught.value.retry_at is not None
        assert side.ledger.state().pauses == {}
        await trio.sleep(caught.value.retry_at - side.clock.now())
        assert await upload(side, png(tmp_path))


async def test_too_fast_pauses_uploads_only(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """The refusal for haste stops uploads for the minutes it names; reads go on."""
    async with connected(tmp_path, config(limits=Limits(uploads_per_hour=1))) as side:
        await upload(side, png(tmp_path))
        with pytest.raises(ThrottledError) as caught:
            await upload(side, png(tmp_path))
        assert caught.value.scope == "upload"
        with pytest.raises(BudgetError):
            await upload(side, png(tmp_path))
        await side.api.account()
        assert side.ledger.peek(UPLOAD) is not None


async def test_hostile_ids_and_routes(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """An id or route that would name another endpoint is refused here."""
    async with connected(tmp_path) as side:
        with pytest.raises(RejectedError):
            await side.api.album(AlbumId("../account"), Lane.CONTROL)
        with pytest.raises(RejectedError):
            await side.api.delete_image(ImageId(""), Lane.CONTROL)
        with pytest.raises(RejectedError):
            await side.api.call("GET", "//evil.test/x", fields=(), lane=Lane.CONTROL)
        assert side.transport.requests == []


async def test_secrets_are_never_shown(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Tokens are in no repr and in no error, even when an answer quotes them."""
    async with connected(tmp_path) as side:
        token = side.store.load()
        body = f"Authorization: Bearer {token.access_token} failed"
        side.emulator.faults.replace(
            (FaultRule(action=Action.STATUS, status=500, body=body),)
        )
        with pytest.raises(OutageError) as caught:
            await side.api.account()
        shown = f"{caught.value!r} {token!r} {side.auth!r} {side.api!r} {side.store!r}"
        for secret in (token.access_token, token.refresh_token, token.client_secret):
            assert secret not in shown
