"""``/3/image`` and ``/3/upload``: single images."""

from __future__ import annotations

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.rules import uploads
from imgurfs.emulator.rules.errors import (
    ApiError,
    not_album_owner,
    not_found_image,
    too_fast,
)
from imgurfs.emulator.world.world import Album


def text_or_none(text: str) -> str | None:
    """Return a title or description as Imgur keeps it: blank is null."""
    return text if text.strip() else None


def missing_image(call: Call) -> object:
    """Return what some routes say of an image that is not there: inside a 200."""
    return {
        "error": f"Unable to find an image with the id, {call.parameters['image']}",
        "request": call.path,
        "method": call.method,
    }


def mark_favorite(context: Context, call: Call, thing_id: str) -> str:
    """Toggle the caller's mark on an image or album; with the quirk, only set it.

    Raises ApiError 401 without an account.
    """
    marks = context.require_account(call).favorites
    if thing_id in marks and context.config.quirks.favorite == "toggles":
        del marks[thing_id]
        return "unfavorited"
    marks[thing_id] = None
    return "favorited"


async def show(context: Context, call: Call) -> object:
    """Return an image to anybody who knows its id."""
    image_id = call.parameters["image"]
    image = context.world.images.get(image_id)
    if image is None:
        raise not_found_image(image_id)
    is_owner = context.is_owner(call, image)
    return context.writer_for(call).image(image, is_owner=is_owner)


async def update(context: Context, call: Call) -> object:
    """Change title or description; the file name cannot be changed."""
    image = context.image_to_change(call, refusal="Permission denied")
    title, description = call.get("title"), call.get("description")
    if title is not None:
        image.title = text_or_none(title)
    if description is not None:
        image.description = text_or_none(description)
    return True


async def delete(context: Context, call: Call) -> object:
    """Delete an image: own by id, any by deletehash."""
    context.world.remove_image(context.image_to_change(call, refusal="Unauthorized"))
    return True


async def favorite(context: Context, call: Call) -> object:
    """Toggle the caller's favourite mark."""
    context.require_account(call)
    image = context.world.images.get(call.parameters["image"])
    if image is None:
        raise not_found_image(call.parameters["image"])
    return mark_favorite(context, call, image.id)


async def upload(context: Context, call: Call) -> object:
    """Store a new image, and put it into an album when one is named."""
    if call.caller is None:
        raise ApiError(401, "Authentication required")
    now = context.clock.now()
    user = context.user_key(call)
    minutes = context.accounting.upload_wait_minutes(user, now)
    if minutes:
        raise too_fast(minutes)
    album = _target_album(context, call)
    source = await uploads.find_source(context, call)
    account, quirks = context.caller_account(call), context.config.quirks
    is_anonymous = account is None
    picture = uploads.inspect(source.data, quirks=quirks, is_anonymous=is_anonymous)
    context.accounting.uploads.spend(user, now, 1)
    context.observations.uploads += 1
    name = call.get("name")
    image = context.world.add_image(
        picture.content,
        owner=account.url if account else "",
        mime=picture.mime,
        now=int(now),
        title=text_or_none(call.get("title") or ""),
        description=text_or_none(call.get("description") or ""),
        name=uploads.kept_name(source.name if name is None else name, quirks=quirks),
        width=picture.width,
        height=picture.height,
        animated=picture.animated,
    )
    if album is not None and quirks.album_on_upload == "honoured":
        album.images[image.id] = None
    return context.writer.uploaded(image)


def _target_album(context: Context, call: Call) -> Album | None:
    # "album_id" is the older name; clients still send it.
    key = call.get("album") or call.get("album_id")
    if not key:
        return None
    album = context.world.album_by_deletehash(key)
    if album is None:
        album = context.world.albums.get(key)
        if album is None or not context.is_owner(call, album):
            raise not_album_owner(key)
    return album
