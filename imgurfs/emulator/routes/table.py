"""The table of routes, and finding the one a path means.

A trailing slash and ``.json`` are accepted everywhere, as by Imgur.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imgurfs.emulator.context import Handler
from imgurfs.emulator.routes import account, album, image, login, oauth, profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method and path template; ``{page}`` may be left out with its slash.

    ``is_free``: costs no credits. ``is_upload``: costs what an upload costs.
    ``is_open``: answers callers that name no application. ``is_identified``: the
    caller is asked for although it is free.
    """

    method: str
    template: str
    handler: Handler
    is_free: bool = False
    is_upload: bool = False
    is_open: bool = False
    is_identified: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def _routes(methods: str, template: str, handler: Handler) -> list[Route]:
    return [
        Route(method=method, template=template, handler=handler)
        for method in methods.split()
    ]


def _under(prefix: str, within: Callable[[Handler], Handler]) -> list[Route]:
    """Return what can be done with an image wherever its path begins."""
    return [
        *_routes("POST PUT", prefix, within(image.update)),
        *_routes("POST", prefix + "/favorite", within(image.favorite)),
    ]


def _album_routes(
    prefix: str, within: Callable[[Handler], Handler] = lambda it: it
) -> list[Route]:
    """Return what can be done with an album wherever its path begins."""
    one = prefix + "/image/{image}"

    def both(handler: Handler) -> Handler:
        return within(album.image_of_album(handler))

    return [
        *_routes("GET", prefix, within(album.show)),
        *_routes("POST", prefix, within(album.update_or_set)),
        *_routes("PUT", prefix, within(album.update)),
        *_routes("DELETE", prefix, within(album.delete)),
        *_routes("GET", prefix + "/images", within(album.images)),
        *_routes("POST PUT", prefix + "/add", within(album.add)),
        *_routes("POST DELETE", prefix + "/remove_images", within(album.remove_images)),
        *_routes("POST", prefix + "/favorite", within(album.favorite)),
        *_routes("GET", one, within(album.image)),
        *_routes("DELETE", one, both(image.delete)),
        *_under(one, both),
    ]


def _account_routes(user: str) -> list[Route]:
    """Return the routes of one account."""
    favorites = user + "/favorites"
    return [
        *_routes("GET", user, profile.base),
        *_routes("DELETE", user, profile.delete),
        *_routes("POST", user + "/delete", profile.delete_with_password),
        *_routes("GET", user + "/settings", profile.settings),
        *_routes("POST PUT", user + "/settings", profile.change_settings),
        *_routes("GET", user + "/verifyemail", profile.email_verified),
        *_routes("POST", user + "/verifyemail", profile.verify_email),
        *_routes("GET", user + "/avatar", profile.avatar),
        *_routes("GET", user + "/available_avatars", profile.available_avatars),
        *_routes("GET", favorites, profile.favorites),
        *_routes("GET", favorites + "/{page}", profile.favorites),
        *_routes("GET", favorites + "/{page}/{sort}", profile.favorites),
        *_routes("GET", user + "/block", profile.blocks),
        *_routes("POST", user + "/follow/tag/{tag}", profile.follow_tag),
        *_routes("DELETE", user + "/follow/tag/{tag}", profile.unfollow_tag),
        *_routes("GET", user + "/images", account.images),
        *_routes("GET", user + "/images/{page}", account.images),
        *_routes("GET", user + "/images/count", account.image_count),
        *_routes("GET", user + "/images/ids", account.image_ids),
        *_routes("GET", user + "/images/ids/{page}", account.image_ids),
        *_routes("GET", user + "/image/{image}", account.image),
        *_routes("DELETE", user + "/image/{image}", account.delete_image),
        *_under(user + "/image/{image}", account.image_of_account),
        *_routes("GET", user + "/albums", account.albums),
        *_routes("GET", user + "/albums/{page}", account.albums),
        *_routes("GET", user + "/albums/count", account.album_count),
        *_routes("GET", user + "/albums/ids", account.album_ids),
        *_routes("GET", user + "/albums/ids/{page}", account.album_ids),
        *_album_routes(user + "/album/{album}", account.album_of_account),
    ]


def _free(method: str, template: str, handler: Handler) -> Route:
    return Route(method=method, template=template, handler=handler, is_free=True)


ROUTES: tuple[Route, ...] = (
    _free("POST", "/oauth2/token", oauth.token),
    _free("GET", "/oauth2/authorize", login.page),
    _free("POST", "/oauth2/authorize", login.decide),
    _free("GET", "/oauth2/addclient", login.add_client),
    Route(
        method="GET",
        template="/oauth2/secret",
        handler=oauth.secret,
        is_free=True,
        is_identified=True,
    ),
    *_routes("GET", "/3/credits", account.credits_left),
    *_routes("GET", "/3/account", profile.base),
    *_account_routes("/3/account/{user}"),
    *_routes("GET", "/account/v1/{user}/block", profile.block_status),
    *_routes("POST", "/account/v1/{user}/block", profile.block),
    *_routes("DELETE", "/account/v1/{user}/block", profile.unblock),
    *_routes("POST", "/3/album", album.create),
    *_album_routes("/3/album/{album}"),
    Route(method="POST", template="/3/image", handler=image.upload, is_upload=True),
    Route(method="POST", template="/3/upload", handler=image.upload, is_upload=True),
    Route(method="GET", template="/3/image/{image}", handler=image.show, is_open=True),
    *_routes("DELETE", "/3/image/{image}", image.delete),
    *_under("/3/image/{image}", lambda it: it),
)


def _segments(path: str) -> list[str]:
    return path.removesuffix("/").removesuffix(".json").split("/")[1:]


class Table:
    """Finds routes by method and path; words win over ``{names}``."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._by_shape: dict[tuple[str, int], list[tuple[list[str], Route]]] = {}
        for route in routes:
            parts = route.template.split("/")[1:]
            self._by_shape.setdefault((route.method, len(parts)), []).append(
                (parts, route)
            )
        for candidates in self._by_shape.values():
            candidates.sort(key=lambda it: [part.startswith("{") for part in it[0]])

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route and the values of its names, or None."""
        segments = _segments(path)
        for parts, route in self._by_shape.get((method, len(segments)), ()):
            values: dict[str, str] = {}
            for part, segment in zip(parts, segments, strict=True):
                if part.startswith("{"):
                    values[part[1:-1]] = segment
                elif part != segment:
                    break
            else:
                return route, values
        return None
