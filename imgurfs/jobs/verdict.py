"""What an error means for the job that met it. Pure; used by ``drain``.

One table: was it sent, may it be sent again, when, and does the attempt count.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from imgurfs import limits
from imgurfs.errors import (
    BudgetError,
    DeadlineError,
    ImgurfsError,
    LoginNeededError,
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RemoteError,
    SourceChangedError,
    ThrottledError,
    TokenRejectedError,
)

_BACKOFF_BASE_S = 2.0
#: A network that is not there is asked again this often at the longest.
_OFFLINE_PAUSE_MAX_S = 60.0
#: A look for lost outcomes that failed is repeated after about this.
_LOOK_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Requeue:
    """Send it (again) at ``not_before``; ``is_counted`` if it reached Imgur."""

    not_before: float
    is_counted: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """It may have happened: never send it again by itself."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Imgur will never take it."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No job can be sent until the user logs in again."""


Verdict = Requeue | Hold | Bury | GiveUp


def judge(
    error: ImgurfsError,
    *,
    is_repeatable: bool,
    attempts: int,
    now: float,
    rng: random.Random,
) -> Verdict:
    """Return what becomes of a job whose ``attempts``-th attempt met ``error``."""
    match error:
        case LoginNeededError() | TokenRejectedError():
            return GiveUp()
        case ThrottledError():
            return Requeue(max(error.retry_at, now + 1.0), is_counted=False)
        case BudgetError():
            retry_at = error.retry_at
            if retry_at is None:
                # Waiting does not help, but the user's consent may come.
                retry_at = now + limits.JOB_BACKOFF_MAX_S
            return Requeue(max(retry_at, now + 0.1), is_counted=False)
        case SourceChangedError():
            # Nothing happened; the next look says what became of the file.
            return Requeue(now + limits.SETTLE_S, is_counted=False)
        case NotSentError():
            return Requeue(now, is_counted=False)
        case OutcomeUnknownError() | OutageError() | DeadlineError():
            if not is_repeatable:
                return Hold()
            if attempts >= limits.JOB_ATTEMPTS_MAX:
                return Bury()
            return Requeue(now + backoff_s(attempts, rng), is_counted=True)
        case _:
            return Bury()


def backoff_s(attempts: int, rng: random.Random) -> float:
    """Return a pause with full jitter that doubles with every attempt."""
    longest = min(limits.JOB_BACKOFF_MAX_S, _BACKOFF_BASE_S * 2.0 ** min(attempts, 20))
    return rng.uniform(longest / 10, longest)


def offline_pause_s(failures: int, rng: random.Random) -> float:
    """Return how long nothing is sent after that many sends that never left here."""
    longest = min(_OFFLINE_PAUSE_MAX_S, 2.0 ** min(failures, 10))
    return rng.uniform(longest / 2, longest)


def look_pause_s(error: RemoteError, now: float, rng: random.Random) -> float:
    """Return how long lost outcomes are not looked for after a failed look."""
    if isinstance(error, BudgetError | ThrottledError):
        ahead_s = (error.retry_at or math.inf) - now
        return min(max(ahead_s, 1.0), limits.JOB_BACKOFF_MAX_S)
    return rng.uniform(_LOOK_PAUSE_S / 2, _LOOK_PAUSE_S)
