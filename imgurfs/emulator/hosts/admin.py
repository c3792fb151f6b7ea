"""``/_emulator/…`` on the API port: what tests and demos look at and turn.

Not part of Imgur: no authorization, no credits, no dialect. Plain JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import ClassVar

from starlette.types import Receive, Scope, Send

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import ClientGoneError
from imgurfs.emulator.hosts.sending import send_reply
from imgurfs.emulator.rules.wire import Json, Reply
from imgurfs.emulator.trouble.faultrules import FaultFileError, parse_rules
from imgurfs.emulator.trouble.faults import FaultBook
from imgurfs.emulator.world.sample import SAMPLE_ID
from imgurfs.emulator.world.world import Account

_BODY_BYTES_MAX = 10_000_000
#: The sample account after it was deleted.
_NOBODY: Json = {"username": None, "albums": [], "images": []}


class Admin:
    """ASGI application of the admin view."""

    PREFIX: ClassVar[str] = "/_emulator"

    def __init__(self, context: Context, faults: FaultBook) -> None:
        self._context = context
        self._faults = faults
        self._routes: dict[tuple[str, str], Callable[[bytes], object]] = {
            ("GET", "/counters"): lambda _: context.observations.counters(),
            ("DELETE", "/counters"): self._reset_counters,
            ("GET", "/log"): lambda _: context.observations.log_entries(),
            ("GET", "/state"): lambda _: self.state(),
            ("GET", "/stranger"): lambda _: self.stranger(),
            ("GET", "/faults"): lambda _: faults.describe(),
            ("POST", "/faults"): self._set_faults,
            ("DELETE", "/faults"): lambda _: self._set_faults(b"[]"),
            ("DELETE", "/access_tokens"): self._revoke_access_tokens,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one admin request: 200, 400 with a reason, or 404."""
        path = scope["path"].removeprefix(self.PREFIX).removesuffix("/")
        handler = self._routes.get((scope["method"], path))
        try:
            body = await _read_body(receive)
        except ClientGoneError:
            return
        if handler is None:
            known = sorted(f"{m} {self.PREFIX}{p}" for m, p in self._routes)
            reply = _json_reply(404, {"error": "no such route", "routes": known})
        else:
            try:
                reply = _json_reply(200, handler(body))
            except FaultFileError as exc:
                reply = _json_reply(400, {"error": str(exc)})
        await send_reply(send, reply)

    def state(self) -> Json:
        """Return what exists: the sample account's things, and other people's."""
        world = self._context.world
        me = world.account_by_id(SAMPLE_ID)
        others = [it for it in world.accounts.values() if it is not me]
        anonymous_images = [it.id for it in world.images.values() if not it.owner]
        anonymous_albums = [it.id for it in world.albums.values() if not it.owner]
        return {
            **(self._account_state(me) if me else _NOBODY),
            "others": [self._account_state(it) for it in others],
            "anonymous": {
                "albums": [self._album_state(it) for it in anonymous_albums],
                "images": [self._image_state(it) for it in anonymous_images],
            },
        }

    def stranger(self) -> Json:
        """Return what somebody without the account is told about its things.

        The same objects that the API answers to them; None where it refuses. ``names``
        lists the file names that are in there: what should have stayed private.
        """
        world, writer = self._context.world, self._context.writer
        me = world.account_by_id(SAMPLE_ID)
        images, albums = [], []
        if me is not None:
            images = [world.images[it] for it in me.images]
            albums = [world.albums[it] for it in me.albums]
        shown = {it.id: writer.image(it, is_owner=False) for it in images}
        names = {str(it.get("name") or "") for it in shown.values()}
        return {
            "images": shown,
            "albums": {
                it.id: None
                if it.privacy == "secret"
                else writer.album(it, is_owner=False, with_images=True)
                for it in albums
            },
            "listed_albums": [it.id for it in albums if it.privacy == "public"],
            "names": sorted(names - {""}),
        }

    def _account_state(self, account: Account) -> Json:
        return {
            "username": account.url,
            "albums": [self._album_state(it) for it in account.albums],
            "images": [self._image_state(it) for it in account.images],
        }

    def _album_state(self, album_id: str) -> Json:
        album = self._context.world.albums[album_id]
        return {
            "id": album.id,
            "title": album.title,
            "description": album.description,
            "privacy": album.privacy,
            "cover": album.shown_cover,
            "images": list(album.images),
        }

    def _image_state(self, image_id: str) -> Json:
        image = self._context.world.images[image_id]
        return {
            "id": image.id,
            "name": image.name,
            "title": image.title,
            "description": image.description,
            "type": image.type,
            "size": image.content.size_bytes,
            "md5": image.content.md5,
            "datetime": image.datetime_s,
            "link": self._context.writer.link(image),
        }

    def _reset_counters(self, _body: bytes) -> Json:
        self._context.observations.reset()
        return {"reset": True}

    def _set_faults(self, body: bytes) -> object:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise FaultFileError(f"not JSON: {exc}") from exc
        self._faults.replace(parse_rules(data, source="request"))
        return self._faults.describe()

    def _revoke_access_tokens(self, _body: bytes) -> Json:
        tokens = self._context.world.access_tokens
        revoked = len(tokens)
        tokens.clear()
        return {"revoked": revoked}


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body += message.get("body", b"")
        if not message.get("more_body", False) or len(body) > _BODY_BYTES_MAX:
            return bytes(body)


def _json_reply(status: int, value: object) -> Reply:
    return Reply(status, json.dumps(value, separators=(",", ":")).encode())
