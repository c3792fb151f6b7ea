"""``/3/account/…`` and ``/3/credits``: who one is, and what one has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from imgurfs.emulator.call import Call
from imgurfs.emulator.context import Context
from imgurfs.emulator.errors import not_found_album

T = TypeVar("T")

PAGE_DEFAULT = 50
PAGE_MAX = 100


def page_of(call: Call, items: Sequence[T]) -> Sequence[T]:
    """Return one page; beyond the last there is an empty one.

    The page is in the path or the query, from 0; ``perPage`` is at most 100.
    """
    size = call.integer("perPage", PAGE_DEFAULT)
    size = PAGE_DEFAULT if size < 1 else min(size, PAGE_MAX)
    start = max(0, call.integer("page", 0)) * size
    return items[start : start + size]


async def base(context: Context, call: Call) -> object:
    """Return the public side of an account."""
    return context.writer.account(context.account_named(call))


async def images(context: Context, call: Call) -> object:
    """Return a page of the account's images, newest first."""
    account = context.own_account(call)
    ids = page_of(call, list(reversed(account.images)))
    known = context.world.images
    return [context.writer.image(known[it], is_owner=True) for it in ids]


async def image_ids(context: Context, call: Call) -> object:
    """Return a page of the account's image ids, newest first."""
    return list(page_of(call, list(reversed(context.own_account(call).images))))


async def image_count(context: Context, call: Call) -> object:
    """Return how many images the account has."""
    return len(context.own_account(call).images)


async def image(context: Context, call: Call) -> object:
    """Return one of the account's images.

    A missing one is an error inside a successful answer, as it really is.
    """
    account = context.account_named(call)
    image_id = call.parameters["image"]
    found = context.world.images.get(image_id)
    if found is None or found.owner != account.url:
        return {
            "error": f"Unable to find an image with the id, {image_id}",
            "request": call.path,
            "method": call.method,
        }
    return context.writer.image(found, is_owner=context.is_owner(call, found))


async def delete_image(context: Context, call: Call) -> object:
    """Delete one of the account's images; a second time succeeds as well."""
    account = context.own_account(call)
    key = call.parameters["image"]
    found = context.world.image_by_deletehash(key) or context.world.images.get(key)
    if found is not None and found.owner == account.url:
        context.world.remove_image(found)
    return True


async def albums(context: Context, call: Call) -> object:
    """Return a page of the account's albums, newest first, without their images."""
    account = context.account_named(call)
    is_owner = context.caller_account(call) is account
    known = context.world.albums
    visible = [
        known[it]
        for it in reversed(account.albums)
        if is_owner or known[it].privacy == "public"
    ]
    return [
        context.writer.album(it, is_owner=is_owner, with_images=False)
        for it in page_of(call, visible)
    ]


async def album_ids(context: Context, call: Call) -> object:
    """Return a page of the account's album ids, newest first."""
    return list(page_of(call, list(reversed(context.own_account(call).albums))))


async def album_count(context: Context, call: Call) -> object:
    """Return how many albums the account has."""
    return len(context.own_account(call).albums)


async def album(context: Context, call: Call) -> object:
    """Return one of the account's albums with its images."""
    account = context.own_account(call)
    found = context.world.albums.get(call.parameters["album"])
    if found is None or found.owner != account.url:
        raise not_found_album(call.parameters["album"])
    return context.writer.album(found, is_owner=True, with_images=True)


async def credits_left(context: Context, call: Call) -> object:
    """Return the allowances; unlike the header, UserReset is an epoch."""
    now = context.clock.now()
    user = context.accounting.user.read(context.user_key(call), now)
    client_id = call.caller.client_id if call.caller else ""
    client = context.accounting.client.read(client_id, now)
    return {
        "UserLimit": user.limit,
        "UserRemaining": user.remaining,
        "UserReset": int(now) + user.reset_s,
        "ClientLimit": client.limit,
        "ClientRemaining": client.remaining,
    }
