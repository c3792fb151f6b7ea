"""``/3/album``: albums and what is in them."""

from __future__ import annotations

from imgurfs.emulator.call import Call
from imgurfs.emulator.context import Context
from imgurfs.emulator.errors import ApiError, Shape, must_own, not_found_album
from imgurfs.emulator.routes.image import text_or_none
from imgurfs.emulator.world import Album

_PRIVACIES = frozenset({"public", "hidden", "secret"})
_LAYOUTS = frozenset({"blog", "grid", "horizontal", "vertical"})


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
    if album.privacy == "secret" and not context.is_owner(call, album):
        raise ApiError(403, "Unauthorized")
    return album


async def show(context: Context, call: Call) -> object:
    """Return an album with its images."""
    album = _readable(context, call)
    is_owner = context.is_owner(call, album)
    return context.writer.album(album, is_owner=is_owner, with_images=True)


async def images(context: Context, call: Call) -> object:
    """Return all images of an album; never paged."""
    album = _readable(context, call)
    return context.writer.album_images(album, is_owner=context.is_owner(call, album))


async def image(context: Context, call: Call) -> object:
    """Return one image of an album; a missing one is an error inside success."""
    album = _readable(context, call)
    image_id = call.parameters["image"]
    if image_id not in album.images:
        return {
            "error": f"Unable to find an image with the id, {image_id}",
            "request": call.path,
            "method": call.method,
        }
    found = context.world.images[image_id]
    is_owner = context.is_owner(call, found)
    return context.writer.image(found, is_owner=is_owner, in_album=True)


def _usable(context: Context, call: Call, ids: list[str]) -> list[str]:
    """Return the ids, of those sent, that are the caller's."""
    known = context.world.images
    return [it for it in ids if it in known and context.is_owner(call, known[it])]


def _by_deletehashes(context: Context, call: Call) -> list[str]:
    hashes = call.ids("deletehashes")
    found = (context.world.image_by_deletehash(it) for it in hashes)
    return [image.id for image in found if image is not None]


def _set_metadata(album: Album, call: Call) -> None:
    title, description = call.get("title"), call.get("description")
    if title is not None:
        album.title = text_or_none(title)
    if description is not None:
        album.description = text_or_none(description)
    privacy, layout = call.get("privacy"), call.get("layout")
    if privacy in _PRIVACIES:
        album.privacy = privacy
    if layout in _LAYOUTS:
        album.layout = layout
    album.cover = call.get("cover") or album.cover


async def create(context: Context, call: Call) -> object:
    """Create an album; ids that are not the caller's are left out silently."""
    if call.caller is None:
        raise ApiError(401, "Authentication required")
    account = context.caller_account(call)
    album = context.world.add_album(
        owner=account.url if account else "",
        now=int(context.clock.now()),
        images=_usable(context, call, call.ids("ids"))
        + _by_deletehashes(context, call),
    )
    _set_metadata(album, call)
    return {"id": album.id, "deletehash": album.deletehash}


def _checked_images(context: Context, call: Call, album: Album) -> list[str]:
    ids = call.ids("ids")
    if len(_usable(context, call, ids)) != len(ids):
        raise must_own(album.id)
    return ids + _by_deletehashes(context, call)


async def update_or_set(context: Context, call: Call) -> object:
    """Change an album: with ids they become its images, without them they stay."""
    album = context.album_to_change(call)
    if call.has("ids") or call.has("deletehashes"):
        album.images = dict.fromkeys(_checked_images(context, call, album))
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
    """Delete the album; its images stay in the account."""
    context.world.remove_album(context.album_to_change(call))
    return True


async def favorite(context: Context, call: Call) -> object:
    """Toggle the favourite mark."""
    context.require_account(call)
    album = _readable(context, call)
    album.favorite = not album.favorite
    return "favorited" if album.favorite else "unfavorited"
