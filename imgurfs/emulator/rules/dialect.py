"""The two back-ends of Imgur, by name. What they do differently is elsewhere."""

from __future__ import annotations

import enum


class Dialect(enum.StrEnum):
    """Which of Imgur's two back-ends answers: their JSON and errors differ."""

    LEGACY = "legacy"
    NEW = "new"
