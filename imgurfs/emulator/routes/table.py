"""The table of routes, and finding the one a path means.

A trailing slash and ``.json`` are accepted everywhere, as by Imgur.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from imgurfs.emulator.call import Call
from imgurfs.emulator.context import Context
from imgurfs.emulator.routes import account, album, image, oauth

Handler = Callable[[Context, Call], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method and path template; ``{page}`` may be left out with its slash.

    ``is_free``: costs no credits. ``is_upload``: costs what an upload costs.
    ``is_open``: answers callers that name no application.
    """

    method: str
    template: str
    handler: Handler
    is_free: bool = False
    is_upload: bool = False
    is_open: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.template}"


def _routes(methods: str, template: str, handler: Handler) -> list[Route]:
    return [
        Route(method=method, template=template, handler=handler)
        for method in methods.split()
    ]


ROUTES: tuple[Route, ...] = (
    Route(method="POST", template="/oauth2/token", handler=oauth.token, is_free=True),
    *_routes("GET", "/3/credits", account.credits_left),
    *_routes("GET", "/3/account/{user}", account.base),
    *_routes("GET", "/3/account/{user}/images", account.images),
    *_routes("GET", "/3/account/{user}/images/{page}", account.images),
    *_routes("GET", "/3/account/{user}/images/count", account.image_count),
    *_routes("GET", "/3/account/{user}/images/ids", account.image_ids),
    *_routes("GET", "/3/account/{user}/images/ids/{page}", account.image_ids),
    *_routes("GET", "/3/account/{user}/image/{image}", account.image),
    *_routes("DELETE", "/3/account/{user}/image/{image}", account.delete_image),
    *_routes("GET", "/3/account/{user}/albums", account.albums),
    *_routes("GET", "/3/account/{user}/albums/{page}", account.albums),
    *_routes("GET", "/3/account/{user}/albums/count", account.album_count),
    *_routes("GET", "/3/account/{user}/albums/ids", account.album_ids),
    *_routes("GET", "/3/account/{user}/albums/ids/{page}", account.album_ids),
    *_routes("GET", "/3/account/{user}/album/{album}", account.album),
    *_routes("POST", "/3/album", album.create),
    *_routes("GET", "/3/album/{album}", album.show),
    *_routes("POST PUT", "/3/album/{album}", album.update_or_set),
    *_routes("DELETE", "/3/album/{album}", album.delete),
    *_routes("GET", "/3/album/{album}/images", album.images),
    *_routes("GET", "/3/album/{album}/image/{image}", album.image),
    *_routes("POST PUT", "/3/album/{album}/add", album.add),
    *_routes("POST DELETE", "/3/album/{album}/remove_images", album.remove_images),
    *_routes("POST", "/3/album/{album}/favorite", album.favorite),
    Route(method="POST", template="/3/image", handler=image.upload, is_upload=True),
    Route(method="POST", template="/3/upload", handler=image.upload, is_upload=True),
    Route(method="GET", template="/3/image/{image}", handler=image.show, is_open=True),
    *_routes("POST PUT", "/3/image/{image}", image.update),
    *_routes("DELETE", "/3/image/{image}", image.delete),
    *_routes("POST", "/3/image/{image}/favorite", image.favorite),
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
