"""Which files of a watched folder belong to it: ``include`` and ``exclude``.

The patterns are those of ``.gitignore``. Pure; compiled once for each folder. What is
excluded stays where it is, unread: the scanner reports it among the snapshot's
``others``, so that excluding a file that became an image never deletes the image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import pathspec

from imgurfs.errors import ConfigError


class Filters:
    """The patterns of one folder. Equal when the patterns are."""

    def __init__(
        self, include: Iterable[str] = (), exclude: Iterable[str] = ()
    ) -> None:
        """Compile the patterns. Raises ConfigError for one that means nothing."""
        self._texts = (tuple(include), tuple(exclude))
        self._include = _compiled("include", self._texts[0])
        self._exclude = _compiled("exclude", self._texts[1])

    def __repr__(self) -> str:
        return f"<Filters include={self._texts[0]!r} exclude={self._texts[1]!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filters) and self._texts == other._texts

    def __hash__(self) -> int:
        return hash(self._texts)

    def excludes(self, path: bytes, *, is_directory: bool) -> bool:
        """Whether a path relative to the folder is left out.

        ``include`` decides about files only; a directory it does not match may hold
        files it does. An excluded directory takes everything below it along, so the
        caller need not descend into it.
        """
        if self._exclude is None and self._include is None:
            return False
        text = os.fsdecode(path)
        if self._exclude is not None and self._exclude.match_file(
            text + "/" if is_directory else text
        ):
            return True
        return (
            not is_directory
            and self._include is not None
            and not self._include.match_file(text)
        )


def _compiled(key: str, patterns: tuple[str, ...]) -> pathspec.GitIgnoreSpec | None:
    if not patterns:
        return None
    try:
        return pathspec.GitIgnoreSpec.from_lines(patterns)
    except (ValueError, re.error) as error:
        raise ConfigError(
            f"{key}: a pattern cannot be understood: {error}",
            hint="patterns are written as in .gitignore",
        ) from error
