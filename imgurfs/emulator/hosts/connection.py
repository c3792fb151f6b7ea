"""The one thing ASGI has no words for: a connection that breaks.

Raised out of an application on purpose. Whatever runs the application must turn it
into a broken connection: ``server`` closes the socket; an in-process transport raises
its read error (before an answer has begun, and equally in the middle of a body).
"""

from __future__ import annotations


class ConnectionDropped(Exception):  # noqa: N818 - an event, not an error
    """The connection must break now.

    ``is_flushed``: what was sent so far still arrives (a cut body); otherwise the peer
    gets a reset.
    """

    def __init__(self, *, is_flushed: bool) -> None:
        super().__init__("connection dropped on purpose")
        self.is_flushed = is_flushed
