"""Lists that lag: what a list shows is the world of some seconds ago.

:class:`History` keeps what the world was before each recent change, as long as anybody
wants to see it; :class:`LaggingHost` answers lists and albums from there. A thing asked
for by its own id, and what is changed, is always of now. Owned by one event loop.
"""

from __future__ import annotations

import copy
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.world.world import World

#: In a request's scope: the lag a fault wants for it (seconds).
LAG_KEY: Final = "imgurfs.emulator.lag_s"
#: Changes closer together than this are one step of the history, or a second of busy
#: writing into a large account would keep hundreds of copies.
STEP_S: Final = 0.05
_LISTS = re.compile(
    r"/3/account/[^/]+/(?:images|albums)(?:/.*)?"
    r"|/3/album/(?P<album>[^/.]+)(?:/images)?(?:\.json)?/?"
)


class History:
    """What the world was. ``window`` tells how far back anybody looks, in seconds."""

    def __init__(
        self, world: World, clock: Clock, *, window: Callable[[], float]
    ) -> None:
        self._world = world
        self._clock = clock
        self._window = window
        #: (until when it was so, what it was), oldest first
        self._past: deque[tuple[float, World]] = deque()

    def __repr__(self) -> str:
        return f"<History {len(self._past)} steps>"

    def remember(self) -> None:
        """Keep the present; call this just before it changes."""
        window_s, now = self._window(), self._clock.now()
        while self._past and self._past[0][0] <= now - window_s:
            self._past.popleft()
        if window_s and not (self._past and now - self._past[-1][0] < STEP_S):
            self._past.append((now, _copy(self._world)))

    def world_at(self, moment: float) -> World | None:
        """Return the world at a past time, None when it was as it is now."""
        return next((world for until, world in self._past if until > moment), None)


def _copy(world: World) -> World:
    """Return a world whose lists no longer change; the images in it still do."""
    past = copy.copy(world)
    past.images = dict(world.images)
    past.albums = {
        key: replace(album, images=dict(album.images))
        for key, album in world.albums.items()
    }
    past.accounts = {
        key: replace(it, images=dict(it.images), albums=dict(it.albums))
        for key, it in world.accounts.items()
    }
    return past


class LaggingHost:
    """ASGI application in front of the API; ``view`` makes an API of another world."""

    def __init__(
        self,
        inner: ASGIApp,
        history: History,
        *,
        clock: Clock,
        usual_s: float,
        view: Callable[[World], ASGIApp],
    ) -> None:
        self._inner = inner
        self._history = history
        self._clock = clock
        self._usual_s = usual_s
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a list from the past if it is to lag, anything else from now."""
        past = self._past(scope)
        app = self._inner if past is None else self._view(past)
        await app(scope, receive, send)

    def _past(self, scope: Scope) -> World | None:
        lag_s = scope.get(LAG_KEY, self._usual_s)
        if not lag_s or scope["method"] != "GET":
            return None
        match = _LISTS.fullmatch(scope["path"])
        if match is None:
            return None
        past = self._history.world_at(self._clock.now() - lag_s)
        if past is None or match["album"] is None or match["album"] in past.albums:
            return past
        # Whoever made the album knows its id and is not told that there is none.
        return None
