"""docs/JSON.md as a schema: what its tables say about a command's output."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.processes import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "JSON.md"
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: What each type of the document accepts.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "any": lambda _: True,
    "text": lambda value: isinstance(value, str),
    "count": _is_count,
    "bytes": lambda value: _is_count(value) and value >= 0,
    "number": _is_number,
    # An epoch, or 0 for at once; milliseconds would be far more.
    "time": lambda value: _is_number(value) and (value == 0 or 1e9 < value < 5e9),
    "flag": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
}


@dataclass
class Schema:
    """The fields of one command; ``seen`` are those that had a value."""

    fields: dict[str, str]
    seen: set[str] = field(default_factory=set)

    def check(self, found: Any) -> None:
        """Compare an output with the fields; AssertionError says where they differ."""
        assert isinstance(found, dict)
        self._object(found, "")

    @property
    def unseen(self) -> set[str]:
        """The fields that no output had a value for."""
        return {
            path
            for path, kind in self.fields.items()
            if path not in self.seen and not kind.startswith("any")
        }

    def _object(self, found: dict[str, Any], prefix: str) -> None:
        own = {
            path.removeprefix(prefix): path
            for path in self.fields
            if path.startswith(prefix)
            and not re.search(r"[.\[]", path.removeprefix(prefix))
        }
        for name, path in own.items():
            is_optional = "may be absent" in self.fields[path]
            assert name == "*" or is_optional or name in found, f"{path} is missing"
        for name, value in found.items():
            assert name in own or "*" in own, f"{prefix}{name} is not documented"
            self._value(value, own.get(name, prefix + "*"))

    def _value(self, value: Any, path: str) -> None:
        kind = self.fields[path]
        if value is None and kind != "any":
            assert "or null" in kind, f"{path} is null"
            return
        base = re.split(r" or |, ", kind)[0]
        assert _TYPES[base](value), f"{path} is {value!r} and no {base}"
        self.seen.add(path)
        if isinstance(value, dict) and base == "object":
            self._object(value, path + ".")
        elif base == "list":
            self._list(value, path + "[]")

    def _list(self, values: list[Any], path: str) -> None:
        for value in values:
            if path in self.fields:
                self._value(value, path)
            else:
                assert isinstance(value, dict), f"{path} is {value!r}"
                self._object(value, path + ".")


def schemas() -> dict[str, Schema]:
    """Return the schema of each command, as "imgurfs queue show"."""
    found = {}
    _, *sections = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    for section in sections:
        heading, _, body = section.partition("\n")
        fields = {path: kind for path, kind, _ in _ROW.findall(body)}
        assert fields, heading
        for name in heading.split(", "):
            found[name] = Schema(fields)
    return found
