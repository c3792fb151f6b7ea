"""How fast uploads may follow each other: a token bucket, as values.

Pure; ``budget`` asks it, ``store.ledger`` keeps the bucket, so that all processes of
the machine share one. The hour's budget is spent greedily, but not in one blow: what
sends a thousand pictures in a minute looks like an attack, and is answered like one
(docs/IMGUR.md, Refusals). The burst is as large as the hour's usual allowance, so an
ordinary hour is never slowed; the rate is several times what one line can upload.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from imgurfs import limits


@dataclass(frozen=True, slots=True)
class Bucket:
    """``tokens`` were left at the epoch ``at``; one upload takes one."""

    tokens: float = float(limits.UPLOAD_BURST_MAX)
    at: float = 0.0


FULL_BUCKET: Final = Bucket()


def filled(bucket: Bucket, now: float) -> Bucket:
    """Return the bucket at ``now``; time that ran backwards fills nothing."""
    grown = max(0.0, now - bucket.at) * limits.UPLOADS_PER_S_MAX
    return Bucket(min(float(limits.UPLOAD_BURST_MAX), bucket.tokens + grown), now)


def ready_at(bucket: Bucket, now: float) -> float:
    """Return when the next upload may go, ``now`` when it may at once."""
    missing = 1.0 - filled(bucket, now).tokens
    return now if missing <= 1e-6 else now + missing / limits.UPLOADS_PER_S_MAX


def taken(bucket: Bucket, now: float) -> Bucket:
    """Return the bucket after an upload was let through at ``now``."""
    full = filled(bucket, now)
    return Bucket(max(0.0, full.tokens - 1.0), now)
