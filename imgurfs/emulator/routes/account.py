"""``/3/account/{user}/images|albums…`` and ``/3/credits``: what one has.

Who one is and what one has switched is in ``profile``.
"""

from __future__ import annotations

from imgurfs.emulator.context import Context, Handler
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.routes.image import missing_image
from imgurfs.emulator.routes.paging import page_of
from imgurfs.emulator.rules.errors import not_found_album
from imgurfs.emulator.world.world import Album


async def images(context: Context, call: Call) -> object:
    """Return a page of the account's images, newest first."""
    account = context.own_account(call)
    ids = page_of(context, call, list(reversed(account.images)))
    known = context.world.images
    writer = context.writer_for(call)
    return [writer.image(known[it], is_owner=True) for it in ids]


async def image_ids(context: Context, call: Call) -> object:
    """Return a page of the account's image ids, newest first."""
    ids = list(reversed(context.own_account(call).images))
    return list(page_of(context, call, ids))


async def image_count(context: Context, call: Call) -> object:
    """Return how many images the account has."""
    return len(context.own_account(call).images)


async def image(context: Context, call: Call) -> object:
    """Return one of the account's images.

    A missing one is an error inside a successful answer, as it really is.
    """
    account = context.account_named(call)
    found = context.world.images.get(call.parameters["image"])
    if found is None or found.owner != account.url:
        return missing_image(call)
    is_owner = context.is_owner(call, found)
    return context.writer_for(call).image(found, is_owner=is_owner)


async def delete_image(context: Context, call: Call) -> object:
    """Delete one of the account's images by id or deletehash; twice is as good."""
    account = context.own_account(call)
    key = call.parameters["image"]
    found = context.world.image_by_deletehash(key) or context.world.images.get(key)
    if found is not None and found.owner == account.url:
        context.world.remove_image(found)
    return True


def _visible_albums(context: Context, call: Call) -> list[Album]:
    """Return the albums the caller may list, newest first: others' must be public."""
    account = context.account_named(call)
    is_owner = context.caller_account(call) is account
    known = (context.world.albums[it] for it in reversed(account.albums))
    return [it for it in known if is_owner or it.privacy == "public"]


async def albums(context: Context, call: Call) -> object:
    """Return a page of the account's albums, newest first, without their images."""
    writer = context.writer_for(call)
    return [
        writer.album(it, is_owner=context.is_owner(call, it), with_images=False)
        for it in page_of(context, call, _visible_albums(context, call))
    ]


async def album_ids(context: Context, call: Call) -> object:
    """Return a page of the account's album ids, newest first."""
    listed = _visible_albums(context, call)
    return [it.id for it in page_of(context, call, listed)]


async def album_count(context: Context, call: Call) -> object:
    """Return how many albums the account has; others are told of the public ones."""
    return len(_visible_albums(context, call))


def image_of_account(handler: Handler) -> Handler:
    """Return a route of single images that knows only those of the account named."""

    async def checked(context: Context, call: Call) -> object:
        account = context.account_named(call)
        key = call.parameters["image"]
        found = context.world.image_by_deletehash(key) or context.world.images.get(key)
        if found is None or found.owner != account.url:
            return missing_image(call)
        return await handler(context, call)

    return checked


def album_of_account(handler: Handler) -> Handler:
    """Return a route of single albums that knows only those of the account named."""

    async def checked(context: Context, call: Call) -> object:
        account = context.account_named(call)
        key = call.parameters["album"]
        found = context.world.album_by_deletehash(key) or context.world.albums.get(key)
        if found is None or found.owner != account.url:
            raise not_found_album(key)
        return await handler(context, call)

    return checked


async def credits_left(context: Context, call: Call) -> object:
    """Return the allowances; unlike the header, UserReset is an epoch."""
    now = context.clock.now()
    user = context.accounting.user.read(context.credit_key(call), now)
    client_id = call.caller.client_id if call.caller else ""
    client = context.accounting.client.read(client_id, now)
    return {
        "UserLimit": user.limit,
        "UserRemaining": user.remaining,
        "UserReset": int(now) + user.reset_s,
        "ClientLimit": client.limit,
        "ClientRemaining": client.remaining,
    }
