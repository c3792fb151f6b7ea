"""Reading a whole listing of Imgur's, page by page, and judging whether to believe it.

No store here: what is read is folded by :mod:`imgurfs.tree.fold`. Only
:mod:`imgurfs.tree.refresh` uses this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from imgurfs import limits
from imgurfs.errors import ImgurfsError, NotFoundError, OutageError
from imgurfs.model import Album, AlbumId, Image, ImageId, Lane

Id = TypeVar("Id", AlbumId, ImageId)
Item = TypeVar("Item", Album, Image)

#: Pages in a row that may bring nothing new (everything was shifted by uploads in
#: between) before the server is taken to ignore the page number.
_REPEATED_PAGES_MAX = 3
#: So many things may vanish without asking about one of them.
_VANISHED_MAX = 10
#: And such a part of what was known.
_VANISHED_PART_MAX = 0.2


class Listings(Protocol):
    """The part of ``imgurfs.api.client.Client`` that the tree is read with."""

    async def albums_page(self, page: int, lane: Lane) -> list[Album]:
        """Return one page of the account's albums, [] after the last."""
        ...

    async def images_page(self, page: int, lane: Lane) -> list[Image]:
        """Return one page of the account's images, [] after the last."""
        ...

    async def images_count(self, lane: Lane) -> int:
        """Return how many images the account has."""
        ...

    async def album(self, album_id: AlbumId, lane: Lane) -> tuple[Album, list[Image]]:
        """Return an album and everything in it, in its order."""
        ...

    async def image(self, image_id: ImageId, lane: Lane) -> Image:
        """Return one image."""
        ...


async def read_pages(
    read_page: Callable[[int, Lane], Awaitable[list[Item]]], lane: Lane, what: str
) -> tuple[dict[Any, Item], int]:
    """Return everything by id, in the order of the listing, and the number of pages.

    Only an empty page ends a listing: Imgur's pages can be short (docs/IMGUR.md,
    Paging). What an upload in between has shifted onto two pages counts once. Raises
    OutageError when the pages do not end, and whatever ``read_page`` raises: a
    listing is complete or it is none.
    """
    items: dict[Any, Item] = {}
    repeated = 0
    for page in range(limits.PAGES_MAX):
        batch = await read_page(page, lane)
        if not batch:
            return items, page
        known = len(items)
        for item in batch:
            items.setdefault(item.id, item)
        repeated = repeated + 1 if len(items) == known else 0
        if repeated == _REPEATED_PAGES_MAX:
            break
    raise OutageError(f"Imgur's list of {what} does not end")


def needs_proof(*, known: int, vanished: int) -> bool:
    """Whether so much vanished that one of the missing must be asked for itself.

    An emptied or mass-shrunk listing is more often a fault than a wish.
    """
    if vanished == 0:
        return False
    is_many = vanished > _VANISHED_MAX and vanished > known * _VANISHED_PART_MAX
    return vanished >= known or is_many


async def proof(
    ask: Callable[[Id, Lane], Awaitable[object]], missing: Id, lane: Lane
) -> str:
    """Ask for one missing thing; return "" when it is gone, else why to doubt it."""
    try:
        await ask(missing, lane)
    except NotFoundError:
        return ""
    except ImgurfsError as error:
        return f"whether {missing} is gone could not be found out: {error}"
    return f"{missing} is still there"
