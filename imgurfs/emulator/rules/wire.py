"""How things are written as JSON, in both dialects. Pure.

The two back-ends of Imgur write the same image with different keys, nulls and slashes.
Answers are compact, one line: shell clients cut them apart with sed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Container
from dataclasses import dataclass, field
from http import HTTPStatus

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.config import Dialect, EmulatorConfig
from imgurfs.emulator.rules.errors import ApiError, Shape
from imgurfs.emulator.world.world import Account, Album, Image, World

Json = dict[str, object]

_JSON_TYPE = "application/json"
_ERRORS_TYPE = "application/vnd.imgur.v1+json"

#: Animations above this are linked as a still, in the model too.
LARGE_GIF_BYTES = 20_000_000

NOT_FOUND_PAGE = (
    "<!doctype html><html><head><title>imgur: the simple 404 page</title></head>"
    "<body><h1>404</h1><p>Nothing to see here.</p></body></html>"
)
OVER_CAPACITY_PAGE = (
    "<!doctype html><html><head><title>Imgur is over capacity!</title></head>"
    "<body><h1>Imgur is over capacity!</h1><p>Please try again.</p></body></html>"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. ``headers`` are lower-case names."""

    status: int
    body: bytes
    content_type: str = _JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict)


def dumps(value: object, dialect: Dialect) -> bytes:
    """Return compact JSON; the legacy back-end escapes slashes and non-ASCII."""
    if dialect is Dialect.NEW:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "replace")
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


def success(data: object, dialect: Dialect) -> Reply:
    """Return the usual envelope around ``data``."""
    return Reply(200, dumps({"data": data, "success": True, "status": 200}, dialect))


def error_reply(error: ApiError, dialect: Dialect, *, path: str, method: str) -> Reply:
    """Return a refusal in its shape."""
    request: Json = {"request": path, "method": method}
    data: Json
    match error.shape:
        case Shape.HTML:
            return Reply(error.status, error.message.encode(), "text/html")
        case Shape.ERRORS:
            body = dumps({"errors": [_error_item(error)]}, dialect)
            return Reply(error.status, body, _ERRORS_TYPE)
        case Shape.MESSAGE:
            return Reply(error.status, dumps({"message": error.message}, dialect))
        case Shape.OBJECT:
            detail: Json = {
                "code": error.code,
                "message": error.message,
                "type": error.exception,
                "exception": [] if _has_list(error, dialect) else {},
            }
            data = {"error": detail, **request}
        case Shape.NESTED:
            data = {"error": {**_error_item(error), "code": error.code}, **request}
        case Shape.EDGE:
            data = {"error": error.message}
        case Shape.STRING:
            data = {"error": error.message, **request}
    envelope = {"data": data, "success": False, "status": error.body_status}
    return Reply(error.status, dumps(envelope, dialect))


def _has_list(error: ApiError, dialect: Dialect) -> bool:
    # PHP writes an empty object as a list; one kind of exception escapes that.
    return dialect is Dialect.LEGACY and error.exception == "ImgurException"


def _error_item(error: ApiError) -> Json:
    return {
        "id": "legacy-api-7f9c4d5b68-emul8/Ab3dE5gH-1000001",
        "code": str(error.code),
        "status": HTTPStatus(error.status).phrase,
        "detail": error.message,
    }


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the things of a world as the dialect and its quirks do.

    ``favorites`` are the reader's: the mark is one of who looks, not of the thing.
    """

    world: World
    config: EmulatorConfig
    clock: Clock
    favorites: Container[str] = ()

    @property
    def dialect(self) -> Dialect:
        """Which back-end writes."""
        return self.config.dialect

    def is_processing(self, image: Image) -> bool:
        """Return whether a film is not ready yet: nothing of it can be fetched."""
        ready_at = image.datetime_s + self.config.quirks.video_processing_s
        return image.is_video and self.clock.now() < ready_at

    @property
    def _is_new(self) -> bool:
        return self.dialect is Dialect.NEW

    def link(self, image: Image) -> str:
        """Return where the CDN serves the image."""
        extension, suffix = image.extension, ""
        if image.animated and extension == "gif":
            # Of the largest animations the model links a still.
            suffix = "h" if image.content.size_bytes > LARGE_GIF_BYTES else ""
        if self._is_new and extension == "jpg":
            extension = "jpeg"
        return f"{self.config.cdn_url}/{image.id}{suffix}.{extension}"

    def image(self, image: Image, *, is_owner: bool, in_album: bool = False) -> Json:
        """Return an image as a listing or a single answer shows it.

        Nothing in it says which albums it is in. Inside an album even the owner's
        account is null.
        """
        size = image.content.size_bytes
        owner = None if in_album or not is_owner else self.world.account(image.owner)
        empty = None if self._is_new else ""
        data: Json = {
            "id": image.id,
            "title": image.title,
            "description": image.description,
            "datetime": image.datetime_s,
            "type": image.type,
            "animated": image.animated,
            "width": image.width,
            "height": image.height,
            "size": 0 if self._is_new and image.is_video else size,
            "views": image.views,
            "bandwidth": image.views * size,
            "vote": None,
            "favorite": image.id in self.favorites,
            "nsfw": None if is_owner or self._is_new else False,
            "section": None,
            "account_url": owner.url if owner else None,
            "account_id": owner.id if owner else None,
            "is_ad": False,
            "in_most_viral": False,
            "has_sound": False,
            "tags": [],
            "ad_type": None if self._is_new else 0,
            "ad_url": empty,
            "edited": "0",
            "in_gallery": False,
        }
        if self._is_new:
            # Strangers are told "" for the hash.
            data["deletehash"] = image.deletehash if is_owner else ""
            data["mp4"] = data["hls"] = ""
        elif is_owner:
            data["deletehash"] = image.deletehash
        if is_owner or self.config.quirks.name_to_strangers == "on":
            data["name"] = image.name
        data["link"] = self.link(image)
        if image.animated:
            self._add_animation(data, image)
        return data

    def _add_animation(self, data: Json, image: Image) -> None:
        base = f"{self.config.cdn_url}/{image.id}"
        data["mp4"] = f"{base}.mp4"
        is_processing = self.is_processing(image)
        # Zero while a film has not been made; from an animation none ever is, here.
        is_made = image.is_video and not is_processing
        data["mp4_size"] = image.content.size_bytes if is_made else 0
        if self._is_new or is_processing:
            status = "pending" if is_processing else "completed"
            data["processing"] = {"status": status}
        if self._is_new:
            return
        data["gifv"] = f"{base}.gifv"
        data["hls"] = f"{base}.m3u8"
        data["looping"] = True

    def uploaded(self, image: Image) -> Json:
        """Return an image as the answer to its upload shows it."""
        data = self.image(image, is_owner=True, in_album=True)
        if self.config.quirks.webm_link == "dot":
            data["link"] = self.link(image).removesuffix("webm")
        if not self._is_new:
            data["account_id"] = 0 if not image.owner else None
            return data
        for key in ("edited", "looping", "gifv"):
            data.pop(key, None)
        if not image.is_video:
            data["animated"] = False
        # The upload service writes its keys in a different order every time.
        keys = list(data)
        random.Random(image.id).shuffle(keys)  # noqa: S311 - not a secret
        return {key: data[key] for key in keys}

    def album(self, album: Album, *, is_owner: bool, with_images: bool) -> Json:
        """Return an album; listings come without its images."""
        absent = "" if self._is_new else None
        cover = self.world.images.get(album.shown_cover or "")
        owner = self.world.account(album.owner)
        data: Json = {
            "id": album.id,
            "title": album.title,
            "description": album.description,
            "datetime": album.datetime_s,
            "cover": cover.id if cover else absent,
            "cover_edited": None,
            "cover_width": cover.width if cover else (0 if self._is_new else None),
            "cover_height": cover.height if cover else (0 if self._is_new else None),
            "account_url": owner.url if owner else None,
            "account_id": owner.id if owner else None,
            "privacy": album.privacy,
            "layout": album.layout,
            "views": album.views,
            "link": f"https://imgur.com/a/{album.id}",
            "favorite": album.id in self.favorites,
            "nsfw": None if self._is_new else False,
            "section": absent,
            "images_count": len(album.images),
            "in_gallery": False,
            "is_ad": False,
            "include_album_ads": False,
            "is_album": True,
        }
        if is_owner:
            data["deletehash"] = album.deletehash
            data["order"] = album.order
        if with_images:
            data["images"] = self.album_images(album, is_owner=is_owner)
        return data

    def album_images(self, album: Album, *, is_owner: bool) -> list[Json]:
        """Return the images of an album in its order."""
        images = (self.world.images[image_id] for image_id in album.images)
        return [self.image(it, is_owner=is_owner, in_album=True) for it in images]

    def account(self, account: Account) -> Json:
        """Return the public side of an account."""
        home = f"https://imgur.com/user/{account.url}"
        return {
            "id": account.id,
            "url": account.url,
            "bio": account.bio,
            "avatar": f"{home}/avatar?maxwidth=290",
            "avatar_name": account.avatar_name,
            "cover": f"{home}/cover?maxwidth=2560",
            "cover_name": "default/1-space",
            "reputation": 14,
            "reputation_name": "Neutral",
            "created": account.created_s,
            "pro_expiration": False,
            "user_follow": {"status": False},
            "is_blocked": False,
        }
