"""What the user should know and do something about: one line per topic, in state.db.

A process that meets a lasting condition (a folder only partly watched, a name Imgur
does not keep) puts a notice, and drops it when the condition is over; ``imgurfs
status`` shows them all. Kept in the table ``meta``, under ``notice:<topic>``.
"""

from __future__ import annotations

from imgurfs.store import meta
from imgurfs.store.database import Connection

#: The topic of what there is to say about a token that Imgur does not accept.
LOGIN = "login"

_PREFIX = "notice:"


def put(c: Connection, topic: str, text: str) -> None:
    """Say something about a topic, instead of what was said before."""
    meta.put(c, _PREFIX + topic, text)


def drop(c: Connection, topic: str) -> None:
    """Say nothing about a topic any more."""
    meta.drop(c, _PREFIX + topic)


def everything(c: Connection) -> dict[str, str]:
    """Return all notices by topic."""
    rows = c.execute(
        "SELECT key, value FROM meta WHERE key >= ? AND key < ? ORDER BY key",
        (_PREFIX, _PREFIX + "\U0010ffff"),
    )
    return {row[0].removeprefix(_PREFIX): row[1] for row in rows}
