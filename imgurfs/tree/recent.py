"""The newest images of the account, without reading the whole list.

One page shows what a hundred uploads made: enough to find what became of a call whose
answer was lost, or that another machine has sent the same picture meanwhile. Such a
part of a list proves presence only, so nothing is ever removed because of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from imgurfs import limits
from imgurfs.errors import OutageError
from imgurfs.model import Image, ImageId, Lane
from imgurfs.store import entries, meta
from imgurfs.store.database import Connection
from imgurfs.tree import placing


async def read_newest(
    read_page: Callable[[int, Lane], Awaitable[list[Image]]],
    *,
    since: float,
    lane: Lane,
) -> list[Image]:
    """Return all images not older than the epoch ``since``, newest first.

    Imgur lists the newest first (docs/IMGUR.md, Paging); reading ends with the first
    page that has an older one. Raises RemoteError, OutageError when pages do not end.
    """
    found: dict[ImageId, Image] = {}
    for page in range(limits.PAGES_MAX):
        batch = await read_page(page, lane)
        found |= {i.id: i for i in batch if i.datetime_s >= since and i.id not in found}
        if not batch or min(image.datetime_s for image in batch) < since:
            return list(found.values())
    raise OutageError("Imgur's list of images does not end")


def fold_newest(c: Connection, images: list[Image], *, now: float) -> None:
    """Show images that are new to the store; ``now`` is when reading them began."""
    puts = entries.put_images(c, images, now=now)
    for put in puts.values():
        placing.rename_image(c, put)
    entries.mark_in_account(c, [put.inode for put in puts.values()])
    placing.show_in_root(c)
    meta.put_time(c, "recent_listed_at", now)
