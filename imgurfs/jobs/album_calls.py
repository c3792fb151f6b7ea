"""The fewest calls that turn an album's images into the wanted ones. Pure.

Imgur knows three: add, remove and *set*, which replaces everything. Set is for an
album whose images are known for certain, because it takes out what nobody named.
Images are added before any is removed, so that one call that fails leaves too much
rather than too little. Used by ``album_work`` when it sends, and by the daemon when it
says beforehand what a plan costs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from imgurfs import limits
from imgurfs.model import ImageId


@dataclass(frozen=True, slots=True)
class AddImages:
    """Put these into the album, after what is there."""

    images: tuple[ImageId, ...]


@dataclass(frozen=True, slots=True)
class RemoveImages:
    """Take these out of the album."""

    images: tuple[ImageId, ...]


@dataclass(frozen=True, slots=True)
class SetImages:
    """Let the album hold exactly these, in this order."""

    images: tuple[ImageId, ...]


Call = AddImages | RemoveImages | SetImages


def cheapest(
    adds: Collection[ImageId],
    removes: Collection[ImageId],
    members: Sequence[ImageId] | None,
    *,
    chunk: int = limits.ALBUM_CALL_IMAGES_MAX,
) -> tuple[Call, ...]:
    """Return the calls, in the order of sending; () only when nothing is asked for.

    ``adds`` and ``removes`` have nothing in common. ``members`` is what the album holds
    now, in its order, or None when that is not known for certain; then there is no
    set. ``chunk`` is the most images that one call names. An album is never set to
    hold nothing: that is what removing is for.
    """
    wanted_in, wanted_out = tuple(dict.fromkeys(adds)), tuple(dict.fromkeys(removes))
    assert chunk > 0
    assert not set(wanted_in) & set(wanted_out), "an image both added and removed"
    apart: tuple[Call, ...] = (
        *(AddImages(part) for part in _parts(wanted_in, chunk)),
        *(RemoveImages(part) for part in _parts(wanted_out, chunk)),
    )
    if members is None or len(apart) <= 1:
        return apart
    out = set(wanted_out)
    final = tuple(i for i in dict.fromkeys((*members, *wanted_in)) if i not in out)
    if 0 < len(final) <= chunk:
        return (SetImages(final),)
    return apart


def count(adds: int, removes: int, *, chunk: int = limits.ALBUM_CALL_IMAGES_MAX) -> int:
    """Return how many calls that many images take without a set."""
    return -(-adds // chunk) + -(-removes // chunk)


def _parts(images: tuple[ImageId, ...], chunk: int) -> list[tuple[ImageId, ...]]:
    return [images[start : start + chunk] for start in range(0, len(images), chunk)]
