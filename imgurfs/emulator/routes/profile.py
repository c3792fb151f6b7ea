"""``/3/account/{user}…``: who one is, settings, avatar, favourites, blocks, the end.

What one has stored is in ``account``. Comments, notifications and whatever needs the
gallery are not here.
"""

from __future__ import annotations

import re
import string
from dataclasses import fields

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import Call
from imgurfs.emulator.routes.paging import page_of
from imgurfs.emulator.rules.errors import ApiError
from imgurfs.emulator.rules.wire import Json, Reply, dumps
from imgurfs.emulator.world.world import PRIVACIES, Account, Settings

_USERNAME = re.compile(r"[A-Za-z0-9]{4,63}")
_AVATARS = (
    *(f"default/{letter}" for letter in string.ascii_uppercase),
    "flavor/taco",
    "flavor/giraffe",
)
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0", ""})


# --- Who one is ---


async def base(context: Context, call: Call) -> object:
    """Return the public side of an account, found by name or ``account_id``."""
    number = call.get("account_id")
    if number is not None:
        is_number = re.fullmatch(r"[0-9]{1,18}", number)
        account = context.world.account_by_id(int(number)) if is_number else None
        if account is None:
            raise ApiError(404, "Unable to find an account with that id")
    elif "user" in call.parameters:
        account = context.account_named(call)
    else:
        account = context.require_account(call)
    caller = context.caller_account(call)
    shown = context.writer.account(account)
    shown["is_blocked"] = caller is not None and account.url in caller.blocked
    return shown


async def email_verified(context: Context, call: Call) -> object:
    """Return whether the account's address was verified."""
    return context.own_account(call).is_email_verified


async def verify_email(context: Context, call: Call) -> object:
    """Say that a letter was sent; nobody here reads one, so it verifies at once."""
    context.own_account(call).is_email_verified = True
    return True


# --- Settings ---


async def settings(context: Context, call: Call) -> object:
    """Return what the owner has switched; ``high_quality`` is gone from it."""
    account = context.own_account(call)
    email = f"{account.url}@example.com"
    switched = account.settings
    return {
        "account_url": account.url,
        "email": email,
        "avatar": None,
        "cover": None,
        "public_images": switched.public_images,
        "album_privacy": switched.album_privacy,
        "pro_expiration": False,
        "accepted_gallery_terms": switched.accepted_gallery_terms,
        "active_emails": [email] if account.is_email_verified else [],
        "messaging_enabled": switched.messaging_enabled,
        "comment_replies": switched.comment_replies,
        "blocked_users": list(account.blocked),
        "show_mature": switched.show_mature,
        "newsletter_subscribed": switched.newsletter_subscribed,
        "first_party": True,
    }


async def change_settings(context: Context, call: Call) -> object:
    """Change what is sent, all or nothing; values that mean nothing are not sent."""
    account = context.own_account(call)
    username, avatar = call.get("username"), call.get("avatar")
    if username is not None:
        _check_username(context, account, username)
    if avatar is not None and avatar not in _AVATARS:
        raise ApiError(400, "Invalid avatar")
    if username is not None:
        context.world.rename_account(account, username)
    if avatar is not None:
        account.avatar_name = avatar
    bio = call.get("bio")
    if bio is not None:
        account.bio = bio if bio.strip() else None
    _switch(account.settings, call)
    return True


def _check_username(context: Context, account: Account, username: str) -> None:
    if not _USERNAME.fullmatch(username):
        raise ApiError(400, "Invalid username")
    if context.world.account(username) not in (None, account):
        raise ApiError(409, "That username is taken")


def _switch(settings: Settings, call: Call) -> None:
    privacy = call.get("album_privacy")
    if privacy in PRIVACIES:
        settings.album_privacy = privacy
    for switch in fields(Settings):
        text = (call.get(switch.name) or "").lower()
        if switch.name != "album_privacy" and call.has(switch.name):
            if text in _TRUE:
                setattr(settings, switch.name, True)
            elif text in _FALSE:
                setattr(settings, switch.name, False)


def _avatar_url(name: str) -> str:
    return f"https://imgur.com/avatars/{name}.png"


async def avatar(context: Context, call: Call) -> object:
    """Return the name and address of the caller's avatar."""
    name = context.own_account(call).avatar_name
    return {"avatar": _avatar_url(name), "avatar_name": name}


async def available_avatars(context: Context, call: Call) -> object:
    """Return the avatars one may choose; the name need not be anybody's."""
    del context, call
    listed = [{"name": name, "location": _avatar_url(name)} for name in _AVATARS]
    return {"available_avatars": listed, "available_avatars_count": len(listed)}


# --- Marks: favourites, blocks, tags ---


async def favorites(context: Context, call: Call) -> object:
    """Return a page of what the caller has marked, newest mark first.

    Nothing here was ever shared with the gallery, so votes are null. What was deleted
    or is not shown to the caller is left out.
    """
    account = context.own_account(call)
    ids = list(account.favorites)
    sort = call.parameters.get("sort") or call.get("sort") or "newest"
    if sort != "oldest":
        ids.reverse()
    shown = (_favorite(context, call, it) for it in ids)
    return page_of(context, call, [it for it in shown if it is not None])


def _favorite(context: Context, call: Call, thing_id: str) -> Json | None:
    writer = context.writer_for(call)
    votes = dict.fromkeys(("ups", "downs", "points", "score", "comment_count"))
    image = context.world.images.get(thing_id)
    if image is not None:
        item = writer.image(image, is_owner=context.is_owner(call, image))
        if context.is_new:
            # The new back-end tells no sizes in this one listing.
            item["size"] = 0
        return {**item, **votes, "is_album": False}
    album = context.world.albums.get(thing_id)
    if album is None or not context.may_read(call, album):
        return None
    cover = context.world.images.get(album.shown_cover or "")
    item = writer.album(
        album, is_owner=context.is_owner(call, album), with_images=False
    )
    return {
        **item,
        **votes,
        "link": f"https://imgur.com/gallery/{album.id}",
        "type": cover.type if cover else None,
        "width": cover.width if cover else None,
        "height": cover.height if cover else None,
        "size": 0,
    }


def _blocked(context: Context, *, is_blocked: bool) -> Reply:
    # This older version of the interface has no envelope but ``data``.
    return Reply(200, dumps({"data": {"blocked": is_blocked}}, context.dialect))


async def block_status(context: Context, call: Call) -> object:
    """Return whether the caller has blocked somebody."""
    caller = context.require_account(call)
    other = context.account_named(call)
    return _blocked(context, is_blocked=other.url in caller.blocked)


async def block(context: Context, call: Call) -> object:
    """Block somebody; a second time changes nothing."""
    caller = context.require_account(call)
    other = context.account_named(call)
    caller.blocked[other.url] = None
    return _blocked(context, is_blocked=True)


async def unblock(context: Context, call: Call) -> object:
    """Unblock somebody; a second time changes nothing."""
    caller = context.require_account(call)
    other = context.account_named(call)
    caller.blocked.pop(other.url, None)
    return _blocked(context, is_blocked=False)


async def blocks(context: Context, call: Call) -> object:
    """Return everybody the caller has blocked, on one page."""
    account = context.own_account(call)
    return {"items": [{"url": url} for url in account.blocked], "next": None}


async def follow_tag(context: Context, call: Call) -> object:
    """Follow a tag; a second time changes nothing."""
    context.own_account(call).tags[call.parameters["tag"].lower()] = None
    return True


async def unfollow_tag(context: Context, call: Call) -> object:
    """Stop following a tag. Raises ApiError 409 when it was not followed."""
    tags = context.own_account(call).tags
    name = call.parameters["tag"].lower()
    if name not in tags:
        raise ApiError(409, "Not following tag")
    del tags[name]
    return True


# --- The end ---


async def delete(context: Context, call: Call) -> object:
    """Delete the caller's account, its albums, images and tokens, for good."""
    context.world.remove_account(context.own_account(call))
    return True


async def delete_with_password(context: Context, call: Call) -> object:
    """Delete the caller's account; without its password nothing happens."""
    account = context.own_account(call)
    if call.get("password") != account.password:
        raise ApiError(403, "Unauthorized")
    context.world.remove_account(account)
    return True
