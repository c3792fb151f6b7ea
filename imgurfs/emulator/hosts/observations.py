"""What was asked of the emulator: counters and a bounded log, for assertions.

Written by the two hosts, read by ``admin``. No judgement.
"""

from __future__ import annotations

from collections import Counter, deque
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field

LOG_ENTRIES_MAX = 2_000
#: The fault that acts on the request at hand, "" for none.
FAULT: ContextVar[str] = ContextVar("fault", default="")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request that was answered, or dropped (status 0).

    ``fault`` is the action of the rule that acted on it. One that is answered by its
    host and spoiled afterwards has the host's status.
    """

    at: float
    host: str
    method: str
    path: str
    query: str
    status: int
    bytes_sent: int
    fault: str = field(default_factory=FAULT.get)


class Observations:
    """Counters since the start or the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero and empty the log."""
        self.api_routes: Counter[str] = Counter()
        self.api_statuses: Counter[str] = Counter()
        self.cdn_statuses: Counter[str] = Counter()
        self.cdn_images: Counter[str] = Counter()
        self.posts = 0
        self.uploads = 0
        self.cdn_bytes_sent = 0
        self.faults: Counter[str] = Counter()
        self.log: deque[LogEntry] = deque(maxlen=LOG_ENTRIES_MAX)

    def counters(self) -> dict[str, object]:
        """Return the counters as JSON values."""
        return {
            "api_requests": self.api_routes.total(),
            "api_routes": dict(self.api_routes),
            "api_statuses": dict(self.api_statuses),
            "posts": self.posts,
            "uploads": self.uploads,
            "cdn_requests": self.cdn_statuses.total(),
            "cdn_statuses": dict(self.cdn_statuses),
            "cdn_images": dict(self.cdn_images),
            "cdn_bytes_sent": self.cdn_bytes_sent,
            "faults": dict(self.faults),
        }

    def log_entries(self) -> list[dict[str, object]]:
        """Return the log, oldest first, as JSON values."""
        return [asdict(entry) for entry in self.log]
