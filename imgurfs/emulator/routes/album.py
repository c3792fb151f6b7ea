"""``/3/album``: albums and what is in them.

An album is changed by its owner by id, by anybody by its deletehash. Images are named
by ids, which must be the caller's, or by deletehashes, which are proof enough.
"""

from __future__ import annotations

from imgurfs.emulator.context import Context, Handler
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.routes.image import mark_favorite, missing_image, text_or_none
from imgurfs.emulator.rules.errors import ApiError, Shape, must_own, not_found_album
from imgurfs.emulator.world.world import PRIVACIES, Album

_LAYOUTS = frozenset({"blog", "grid", "horizontal", "vertical"})


# --- Reading ---


def _readable(context: Context, call: Call) -> Album:
    if call.caller is None:
        raise ApiError(
            401,
            "The requester is not authorized to access the resource.",
            shape=Shape.ERRORS,
        )
    album = context.world.albums.get(call.parameters["album"])
    if album is None:
        raise not_found_album(call.parameters["album"])
    if not context.may_read(call, album):
        raise ApiError(403, "Unauthorized")
    return album


async def show(context: Context, call: Call) -> object:
    """Return an album with its images."""
    album = _readable(context, call)
    is_owner = context.is_owner(call, album)
    return context.writer_for(call).album(album, is_owner=is_owner, with_images=True)


async def images(context: Context, call: Call) -> object:
    """Return all images of an album; never paged."""
    album = _readable(context, call)
    is_owner = context.is_owner(call, album)
    return context.writer_for(call).album_images(album, is_owner=is_owner)


async def image(context: Context, call: Call) -> object:
    """Return one image of an album; a missing one is an error inside success."""
    album = _readable(context, call)
    image_id = call.parameters["image"]
    if image_id not in album.images:
        return missing_image(call)
    found = context.world.images[image_id]
    is_owner = context.is_owner(call, found)
    return context.writer_for(call).image(found, is_owner=is_owner, in_album=True)


def image_of_album(handler: Handler) -> Handler:
    """Return a route of single images that knows only those of the album named."""

    async def checked(context: Context, call: Call) -> object:
        album = _readable(context, call)
        key = call.parameters["image"]
        by_deletehash = context.world.image_by_deletehash(key)
        if (by_deletehash.id if by_deletehash else key) not in album.images:
            return missing_image(call)
        return await handler(context, call)

    return checked


# --- Changing ---


def _usable(context: Context, call: Call, ids: list[str]) -> list[str]:
    """Return the ids, of those sent, that are the caller's."""
    known = context.world.images
    return [it for it in ids if it in known and context.is_owner(call, known[it])]


def _by_deletehashes(context: Context, call: Call) -> list[str]:
    hashes = call.ids("deletehashes")
    found = (context.world.image_by_deletehash(it) for it in hashes)
    return [image.id for image in found if image is not None]


def _has_images(call: Call) -> bool:
    return call.has("ids") or call.has("deletehashes")


def _checked_images(context: Context, call: Call, album: Album) -> list[str]:
    """Return the images sent. Raises ApiError 403 unless all ids are the caller's."""
    ids = call.ids("ids")
    usable = _usable(context, call, ids)
    if len(usable) != len(ids) and context.config.quirks.foreign_images == "refused":
        raise must_own(album.id)
    return usable + _by_deletehashes(context, call)


def _set_metadata(album: Album, call: Call) -> None:
    title, description = call.get("title"), call.get("description")
    if title is not None:
        album.title = text_or_none(title)
    if description is not None:
        album.description = text_or_none(description)
    privacy, layout = call.get("privacy"), call.get("layout")
    if privacy in PRIVACIES:
        album.privacy = privacy
    if layout in _LAYOUTS:
        album.layout = layout
    album.cover = call.get("cover") or album.cover


async def create(context: Context, call: Call) -> object:
    """Create an album; ids that are not the caller's are left out silently.

    Its privacy is what the account's settings say unless it is sent.
    """
    if call.caller is None:
        raise ApiError(401, "Authentication required")
    account = context.caller_account(call)
    album = context.world.add_album(
        owner=account.url if account else "",
        now=int(context.clock.now()),
        privacy=account.settings.album_privacy if account else "hidden",
        images=_usable(context, call, call.ids("ids"))
        + _by_deletehashes(context, call),
    )
    _set_metadata(album, call)
    return {"id": album.id, "deletehash": album.deletehash}


async def update(context: Context, call: Call) -> object:
    """Change an album: with ids they become its images, without them they stay."""
    album = context.album_to_change(call)
    if _has_images(call):
        album.images = dict.fromkeys(_checked_images(context, call, album))
    _set_metadata(album, call)
    return True


async def update_or_set(context: Context, call: Call) -> object:
    """Do what ``update`` does, unless the quirk says that ids are not heard."""
    quirk = context.config.quirks.set_images
    kind = call.headers.get("content-type", "").lower()
    is_deaf = quirk == "ignored" or (
        quirk == "multipart_ignored" and kind.startswith("multipart/")
    )
    if not (is_deaf and _has_images(call)):
        return await update(context, call)
    album = context.album_to_change(call)
    _checked_images(context, call, album)
    _set_metadata(album, call)
    return True


async def add(context: Context, call: Call) -> object:
    """Append images; those already there keep their place. All or nothing."""
    album = context.album_to_change(call)
    album.images |= dict.fromkeys(_checked_images(context, call, album))
    return True


async def remove_images(context: Context, call: Call) -> object:
    """Take images out of the album; ids that are not in it are ignored."""
    album = context.album_to_change(call)
    for image_id in call.ids("ids") + _by_deletehashes(context, call):
        album.images.pop(image_id, None)
    return True


async def delete(context: Context, call: Call) -> object:
    """Delete the album, its images stay; with ids, only take these out of it.

    The second is how images were removed in 2013; a client that means it must not
    lose the album, also when its list is empty.
    """
    if _has_images(call):
        return await remove_images(context, call)
    context.world.remove_album(context.album_to_change(call))
    return True


async def favorite(context: Context, call: Call) -> object:
    """Toggle the caller's favourite mark."""
    context.require_account(call)
    return mark_favorite(context, call, _readable(context, call).id)
