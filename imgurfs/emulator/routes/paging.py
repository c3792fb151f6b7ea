"""Cutting a listing into pages, as all plural routes do.

Not for ``/album/{id}/images``, which is never paged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.call import Call

T = TypeVar("T")

PAGE_DEFAULT = 50
PAGE_MAX = 100


def page_of(context: Context, call: Call, items: Sequence[T]) -> Sequence[T]:
    """Return one page; beyond the last there is an empty one.

    The page is in the path, body or query, from 0; ``perPage`` is at most 100. With
    the quirk ``short_pages`` a page holds fewer items than was asked for, though more
    follow: only an empty page is the end.
    """
    size = call.integer("perPage", PAGE_DEFAULT)
    size = PAGE_DEFAULT if size < 1 else min(size, PAGE_MAX)
    size = max(1, size - context.config.quirks.short_pages)
    start = max(0, call.integer("page", 0)) * size
    return items[start : start + size]
