"""One method per endpoint the program uses, and one generic call for the rest.

What it is not: it decides nothing. It neither retries (but once, after a token
refresh) nor sleeps nor caches; callers do. Requests are built by ``api.wire``, answers
read by ``api.parse``, refusals by ``api.refusals``; the ``http`` passed in must be
``metered.make_http_client``'s, which puts the budget around it.

Every call ends within a bound: ``API_CALL_TIMEOUT_S``, an upload within
``UPLOAD_TIMEOUT_S``. Besides what each method names, every one can raise BudgetError,
NotSentError, ThrottledError, LoginNeededError, TokenRejectedError, ForbiddenError,
RejectedError, and for what came back OutageError (reads) or OutcomeUnknownError
(changes: it may have happened).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import trio

from imgurfs import limits
from imgurfs.api import parse, refusals, source, wire
from imgurfs.api.auth import Auth
from imgurfs.budget import Grant
from imgurfs.clock import Clock
from imgurfs.errors import (
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    RemoteError,
    TokenRejectedError,
)
from imgurfs.executor import Executor
from imgurfs.model import Account, Album, AlbumId, Credits, Image, ImageId, Lane

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """A local file for :meth:`Client.call` to send as the form's part ``name``."""

    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Upload:
    """The file an upload sends, and the frame around it."""

    path: Path
    size_bytes: int
    frame: wire.Multipart
    on_sent: Callable[[int], None] | None = None


class Client:
    """Imgur's API for one account."""

    def __init__(
        self,
        *,
        http: httpx.AsyncClient,
        api_url: str,
        auth: Auth,
        clock: Clock,
        executor: Executor,
    ) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")
        self._auth = auth
        self._clock = clock
        self._executor = executor
        self._calls = 0

    def __repr__(self) -> str:
        return f"<Client {self._api_url} calls={self._calls}>"

    # --- Reading --------------------------------------------------------------

    async def account(self, lane: Lane = Lane.CONTROL) -> Account:
        """Return whose token this is."""
        return await self._value(wire.account(lane), parse.account)

    async def credits(self) -> Credits:
        """Return the remaining credits as Imgur counts them."""
        now = self._clock.now()
        return await self._value(wire.credit(), lambda data: parse.credit(data, now))

    async def albums_page(self, page: int, lane: Lane) -> list[Album]:
        """Return a page of the account's albums; an empty one is the end."""
        return await self._value(wire.albums_page(page, lane), parse.albums)

    async def images_page(self, page: int, lane: Lane) -> list[Image]:
        """Return a page of all the account's images; an empty one is the end."""
        return await self._value(wire.images_page(page, lane), parse.images)

    async def images_count(self, lane: Lane) -> int:
        """Return how many images the account has."""
        return await self._value(wire.images_count(lane), parse.count)

    async def album(self, album_id: AlbumId, lane: Lane) -> tuple[Album, list[Image]]:
        """Return an album and its images in order. Raises NotFoundError."""
        return await self._value(wire.album(album_id, lane), parse.album_with_images)

    async def image(self, image_id: ImageId, lane: Lane) -> Image:
        """Return one image. Raises NotFoundError."""
        return await self._value(wire.image(image_id, lane), parse.image)

    # --- Changing -------------------------------------------------------------

    async def upload(
        self,
        path: Path,
        *,
        size_bytes: int,
        name: str,
        album: AlbumId | None,
        title: str = "",
        lane: Lane,
        grant: Grant | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Image:
        """Upload the file and return the image it became. Not idempotent.

        ``name`` carries the marker; ``on_sent`` is told of the bytes on their way.
        Raises SourceChangedError (nothing happened) when the file is not
        ``size_bytes`` long or cannot be read to its end, and OutcomeUnknownError when
        it may be on Imgur.
        """
        request, frame = wire.upload(
            name=name,
            album_id=album,
            title=title,
            boundary=f"imgurfs{secrets.token_hex(16)}",
            lane=lane,
        )
        source_file = _Upload(path, size_bytes, frame, on_sent)
        return await self._value(request, parse.image, upload=source_file, grant=grant)

    async def create_album(
        self,
        *,
        title: str,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> Album:
        """Make an album of these images. Not idempotent.

        ``datetime_s`` of the result is this machine's idea of now, and
        ``images_count`` what was asked for: a listing tells the truth.
        """
        request = wire.create_album(title=title, images=images, lane=lane)
        album_id, deletehash = await self._value(
            request, parse.created_album, grant=grant
        )
        return Album(
            id=album_id,
            title=title,
            datetime_s=int(self._clock.now()),
            images_count=len(images),
            deletehash=deletehash,
        )

    async def add_to_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Put images into an album. Idempotent. Raises NotFoundError."""
        await self._done(wire.add_to_album(album_id, images, lane), grant)

    async def remove_from_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Take images out of an album. Idempotent. Raises NotFoundError."""
        await self._done(wire.remove_from_album(album_id, images, lane), grant)

    async def set_album(
        self,
        album_id: AlbumId,
        images: Sequence[ImageId],
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Replace an album's images by exactly these. Idempotent."""
        await self._done(wire.set_album(album_id, images, lane), grant)

    async def update_album(
        self,
        album_id: AlbumId,
        *,
        title: str | None = None,
        description: str | None = None,
        cover: ImageId | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Change an album's texts or cover; None leaves a field as it is."""
        request = wire.update_album(
            album_id, title=title, description=description, cover=cover, lane=lane
        )
        await self._done(request, grant)

    async def delete_album(
        self, album_id: AlbumId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an album; its images stay in the account."""
        await self._done(wire.delete_album(album_id, lane), grant)

    async def update_image(
        self,
        image_id: ImageId,
        *,
        title: str | None = None,
        description: str | None = None,
        lane: Lane,
        grant: Grant | None = None,
    ) -> None:
        """Change an image's texts; None leaves a field as it is."""
        request = wire.update_image(
            image_id, title=title, description=description, lane=lane
        )
        await self._done(request, grant)

    async def delete_image(
        self, image_id: ImageId, lane: Lane, grant: Grant | None = None
    ) -> None:
        """Delete an image for good. Raises NotFoundError when it is gone already."""
        await self._done(wire.delete_image(image_id, lane), grant)

    async def call(
        self,
        method: str,
        route: str,
        *,
        fields: Iterable[tuple[str, str]] = (),
        file: FilePart | None = None,
        lane: Lane,
    ) -> object:
        """Call any endpoint and return its whole answer as decoded JSON.

        A ``file`` is sent with the fields as a multipart body: only where pictures
        are uploaded (RejectedError elsewhere).
        """
        request = wire.any_call(method, route, fields=fields, lane=lane)
        upload = None
        if file is not None:
            if not request.is_upload:
                raise RejectedError(f"{method} {route} does not take a file")
            boundary = f"imgurfs{secrets.token_hex(16)}"
            frame = wire.multipart(request.fields, part=file.name, boundary=boundary)
            upload = _Upload(file.path, file.size_bytes, frame)
        raw = await self._raw(request, upload=upload)
        return self._read(request, raw, parse.json_value)

    # --- The way there and back -----------------------------------------------

    async def _done(self, request: wire.Request, grant: Grant | None) -> None:
        """Make a change whose answer carries nothing but its success."""
        await self._value(request, lambda data: data, grant=grant)

    async def _value(
        self,
        request: wire.Request,
        read: Callable[[object], T],
        *,
        upload: _Upload | None = None,
        grant: Grant | None = None,
    ) -> T:
        """Send, and read the data."""
        raw = await self._raw(request, upload=upload, grant=grant)
        return self._read(request, raw, lambda body: read(parse.data(body)))

    async def _raw(
        self,
        request: wire.Request,
        *,
        upload: _Upload | None = None,
        grant: Grant | None = None,
    ) -> bytes:
        """Send, once more after a token refresh; return the body of a success."""
        authorization = await self._auth.authorization(request.cost.lane)
        try:
            return await self._attempt(
                request, upload=upload, authorization=authorization, grant=grant
            )
        except TokenRejectedError:
            await self._auth.refresh(authorization.removeprefix("Bearer "))
            authorization = await self._auth.authorization(request.cost.lane)
            # The grant is spent: this attempt is reserved anew.
            return await self._attempt(
                request, upload=upload, authorization=authorization, grant=None
            )

    def _read(self, request: wire.Request, raw: bytes, read: Callable[[bytes], T]) -> T:
        try:
            return read(raw)
        except parse.Malformed as finding:
            raise refusals.malformed(request, str(finding)) from None

    async def _attempt(
        self,
        request: wire.Request,
        *,
        upload: _Upload | None,
        authorization: str,
        grant: Grant | None,
    ) -> bytes:
        """Send once within the deadline; raise what a refusal means."""
        is_upload = request.is_upload
        limit_s = limits.UPLOAD_TIMEOUT_S if is_upload else limits.API_CALL_TIMEOUT_S
        self._calls += 1
        try:
            with trio.fail_after(limit_s):
                status, headers, raw = await self._exchange(
                    request, upload=upload, authorization=authorization, grant=grant
                )
        except trio.TooSlowError:
            what = f"{request.method} {request.path}: no answer within {limit_s:.0f} s"
            raise _unclear(request, what) from None
        now = self._clock.now()
        refused = refusals.refusal(
            request,
            status=status,
            body=raw,
            headers=parse.rate_headers(headers.multi_items(), now),
            now=now,
        )
        if refused is not None:
            raise refused
        return raw

    async def _exchange(
        self,
        request: wire.Request,
        *,
        upload: _Upload | None,
        authorization: str,
        grant: Grant | None,
    ) -> tuple[int, httpx.Headers, bytes]:
        head = {"Authorization": authorization}
        async with contextlib.AsyncExitStack() as stack:
            body: source.FileBody | None = None
            if upload is not None:
                # Before anything is sent: a file that changed already costs nothing.
                body = await stack.enter_async_context(
                    source.opened(
                        upload.path,
                        size_bytes=upload.size_bytes,
                        frame=upload.frame,
                        executor=self._executor,
                        on_sent=upload.on_sent,
                    )
                )
                length = upload.frame.length(upload.size_bytes)
                head["Content-Length"] = str(length)
                head["Content-Type"] = upload.frame.content_type
            elif request.fields:
                head["Content-Type"] = "application/x-www-form-urlencoded"
            extensions: dict[str, object] = {"imgurfs": request.cost}
            if grant is not None:
                extensions["imgurfs_grant"] = grant
            sent = self._http.build_request(
                request.method,
                self._api_url + request.target,
                content=request.body if request.fields and body is None else None,
                headers=head,
                extensions=extensions,
            )
            if body is not None:
                # Not as content=: httpx would wrap it in a generator, which complains
                # when a send is broken off.
                sent.stream = body
            response = await self._http.send(sent, stream=True)
            stack.push_async_callback(response.aclose)
            try:
                raw = await response.aread()
            except httpx.DecodingError as error:
                raise _unclear(request, f"{request.path}: {error}") from error
            return response.status_code, response.headers, raw


def _unclear(request: wire.Request, what: str) -> RemoteError:
    return OutcomeUnknownError(what) if request.is_change else OutageError(what)
