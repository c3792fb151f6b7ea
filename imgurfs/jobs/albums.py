"""The list of the account's albums, fresh enough to create one beside them.

An album is created only after the list was read in this session and lately: otherwise
a directory whose album exists already would get a second one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from imgurfs import limits
from imgurfs.clock import Clock
from imgurfs.model import Lane


class FreshAlbumList:
    """Reads the album list when somebody needs it; implements ``jobs.work.AlbumList``.

    ``refresh`` puts the list into the store (``Refresher.refresh_albums``).
    """

    def __init__(
        self,
        *,
        refresh: Callable[[Lane], Awaitable[None]],
        clock: Clock,
        ttl_s: float = limits.ALBUM_LIST_TTL_S,
    ) -> None:
        self._refresh = refresh
        self._clock = clock
        self._ttl_s = ttl_s
        self._read_at_s: float | None = None

    def __repr__(self) -> str:
        return f"<FreshAlbumList is_known={self.is_known}>"

    @property
    def is_known(self) -> bool:
        """Whether the list was read in this session and is fresh."""
        return (
            self._read_at_s is not None
            and self._clock.monotonic() - self._read_at_s < self._ttl_s
        )

    async def ensure_fresh(self) -> None:
        """Read the list unless it is fresh. Raises RemoteError."""
        if not self.is_known:
            started_at_s = self._clock.monotonic()
            await self._refresh(Lane.INTERACTIVE)
            self._read_at_s = started_at_s
