"""The world's objects as JSON and back, whatever fields they have.

Knows the classes of ``world`` by name. Bytes are not written here: a picture's content
is whatever the caller's ``pack`` and ``unpack`` make of it. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Final

from imgurfs.emulator.world import world
from imgurfs.emulator.world.content import Content

#: The key that marks an object as something else than itself.
_KIND: Final = "~"
#: What follows from the things themselves: everything knows whose it is.
_DERIVED: Final = {"Account": frozenset({"images", "albums"})}
_CLASSES: Final[dict[str, Any]] = {
    name: it
    for name, it in vars(world).items()
    if isinstance(it, type) and is_dataclass(it) and it.__module__ == world.__name__
}

Json = Any
Pack = Callable[[Content], Json]
Unpack = Callable[[Json], Content]


class CodecError(ValueError):
    """What was kept cannot be understood."""


def dumps(value: object, pack: Pack) -> str:
    """Return a value as compact JSON; ``pack`` returns a JSON value for a content."""
    return json.dumps(_encode(value, pack), separators=(",", ":"))


def loads(text: str, unpack: Unpack) -> Any:
    """Return what ``dumps`` was given. Raises CodecError."""
    try:
        return _decode(json.loads(text), unpack)
    except (ValueError, KeyError, TypeError) as exc:
        raise CodecError(f"not understood: {text[:80]!r}: {exc}") from exc


def _encode(value: Any, pack: Pack) -> Json:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list):
        return [_encode(it, pack) for it in value]
    if isinstance(value, tuple | set | frozenset):
        kind = "tuple" if isinstance(value, tuple) else "set"
        return {_KIND: kind, "of": [_encode(it, pack) for it in value]}
    if isinstance(value, dict):
        if value and all(it is None for it in value.values()):
            return {_KIND: "keys", "of": list(value)}
        pairs = [[key, _encode(it, pack)] for key, it in value.items()]
        return {_KIND: "dict", "of": pairs}
    name = type(value).__name__
    if name in _CLASSES:
        derived = _DERIVED.get(name, frozenset())
        return {_KIND: name} | {
            it.name: _encode(getattr(value, it.name), pack)
            for it in fields(value)
            if it.name not in derived
        }
    return {_KIND: "content", "of": pack(value)}


def _decode(value: Json, unpack: Unpack) -> Any:
    if isinstance(value, list):
        return [_decode(it, unpack) for it in value]
    if not isinstance(value, dict):
        return value
    kind = value.pop(_KIND)
    if kind in _CLASSES:
        known = {key: _decode(it, unpack) for key, it in value.items()}
        return _CLASSES[kind](**known)
    of = value["of"]
    if kind == "content":
        return unpack(of)
    if kind == "keys":
        return dict.fromkeys(of)
    if kind == "dict":
        return {key: _decode(it, unpack) for key, it in of}
    decoded = [_decode(it, unpack) for it in of]
    return tuple(decoded) if kind == "tuple" else set(decoded)
