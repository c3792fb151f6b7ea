"""The rules of what goes wrong, as checked values, and reading them from JSON.

Two kinds share one list. A :class:`FaultRule` picks requests and spoils them; the
happenings (:class:`Spending`, :class:`Edit`, :class:`Edits`) are what other people do
meanwhile. Only values and their checks: ``faults`` and ``others`` act on them.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from imgurfs.emulator.rules.errors import Shape


class FaultFileError(ValueError):
    """A list of rules cannot be used; the text says which rule and why."""


class Action(enum.StrEnum):
    """What goes wrong with a request."""

    STATUS = "status"  # an error answer of the given status and body
    STATUS_AFTER = "status_after"  # it is done, and answered as if it were not
    HTML = "html"  # a page instead of JSON or of a picture
    TRUNCATE = "truncate"  # the full content-length, less of the body, then the end
    STALL = "stall"  # the full content-length, less of the body, then silence
    SLOW = "slow"  # the right body, so many bytes per second
    HANG = "hang"  # no answer, ever
    DELAY = "delay"  # the right answer, later
    RESET_BEFORE = "reset_before"  # nothing is done, the connection breaks
    RESET_AFTER = "reset_after"  # it is done, the connection breaks, no answer
    LATE_COMMIT = "late_commit"  # refused or no answer, and later it is done
    LAG = "lag"  # lists show the state of some seconds ago
    REMOVED = "removed"  # the CDN has no such picture
    PLACEHOLDER = "placeholder"  # the CDN shows one and the same picture
    WRONG_SIZE = "wrong_size"  # a whole answer of another length than promised


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """One rule; docs/EMULATOR.md explains each field."""

    action: Action
    host: str = "any"
    method: str = ""
    path: str = ""
    nth: int = 0
    after: int = 0
    count: int = 0
    probability: float = 1.0
    seed: int = 0
    delay_s: float = 0.0
    status: int = 500
    shape: Shape = Shape.STRING
    message: str = "Internal Server Error"
    code: int = 0
    body: str | None = None
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    after_bytes: int | None = None
    fraction: float | None = None
    bytes_per_s: float = 0.0
    lag_s: float = 0.0
    commit_after_s: float = 0.0
    answer: str = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Other users of the same application: its daily credits go down by themselves.

    Requests come at random, ``per_hour`` of them on average.
    """

    per_hour: float
    action: Literal["spend"] = "spend"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One request of the account's other device, ``at_s`` after the rules came.

    ``{album:TITLE}`` and ``{image:TITLE}`` in ``path`` and in the values of ``fields``
    stand for the id of the account's first album or image with that title.
    """

    at_s: float
    method: str
    path: str
    action: Literal["edit"] = "edit"
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """The account's other device changes things at random, ``per_hour`` on average.

    ``count`` edits altogether; 0 is without end.
    """

    per_hour: float
    action: Literal["edits"] = "edits"
    seed: int = 0
    count: int = 0


Happening = Spending | Edit | Edits
Rule = FaultRule | Happening

_HAPPENINGS: dict[str, type[Happening]] = {
    "spend": Spending,
    "edit": Edit,
    "edits": Edits,
}
ACTIONS: tuple[str, ...] = (*Action, *_HAPPENINGS)
_HOSTS = ("any", "api", "cdn")
_ANSWERS = ("reset", "status", "hang")
_METHODS = ("POST", "PUT", "DELETE")
#: What is more than this is a mistake rather than a wish.
_PER_HOUR_MAX = 100_000
#: Actions that are about pictures only.
_ONLY_CDN = frozenset({Action.REMOVED, Action.PLACEHOLDER, Action.WRONG_SIZE})


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Return the rules in a JSON file. Raises FaultFileError."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as exc:
        raise FaultFileError(f"{path}: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise FaultFileError(f"{path}: not JSON: {exc}") from exc
    return parse_rules(data, source=str(path))


def parse_rules(data: object, *, source: str) -> tuple[Rule, ...]:
    """Return checked rules from a decoded list. Raises FaultFileError."""
    if not isinstance(data, list):
        raise FaultFileError(f"{source}: expected a list of rules")
    rules = []
    for number, item in enumerate(data, 1):
        try:
            rules.append(_parse_rule(item))
        except ValueError as exc:
            raise FaultFileError(f"{source}: rule {number}: {exc}") from exc
    return tuple(rules)


def _parse_rule(item: object) -> Rule:
    if not isinstance(item, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - one kind of error
    action = item.get("action")
    if action is None:
        raise ValueError(f"action is missing; one of {', '.join(ACTIONS)}")
    if action not in ACTIONS:
        raise ValueError(f"unknown action {action!r}; one of {', '.join(ACTIONS)}")
    kind: type[Rule] = _HAPPENINGS.get(action, FaultRule)
    known = {it.name for it in fields(kind)}
    unknown = sorted(set(item) - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {sorted(known)}")
    for key, value in item.items():
        check = _CHECKS.get(key)
        if check is not None and not check[0](value):
            raise ValueError(f"{key} must be {check[1]}")
    if kind is not FaultRule:
        return _parse_happening(kind, item)
    rule = FaultRule(
        **{
            **item,
            "action": Action(action),
            "shape": Shape(item.get("shape", "A")),
            "method": item.get("method", "").upper(),
        }
    )
    _check_combination(rule)
    return rule


def _parse_happening(kind: type[Rule], item: dict[str, Any]) -> Rule:
    needed = {"edit": ("at_s", "method", "path")}.get(item["action"], ("per_hour",))
    for key in needed:
        if key not in item:
            raise ValueError(f"action {item['action']} needs {key}")
    if kind is Edit:
        item = {**item, "method": item["method"].upper()}
        if item["method"] not in _METHODS:
            raise ValueError(f"method of an edit must be one of {', '.join(_METHODS)}")
        if not item["path"].startswith("/3/"):
            raise ValueError("path of an edit must begin with /3/")
    return kind(**item)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and isinstance(value, int) and value >= 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_duration(value: Any) -> bool:
    return _is_number(value) and 0 <= value < float("inf")


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 < value < float("inf")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_header(value: object) -> bool:
    return (
        isinstance(value, str)
        and all(ord(c) < 256 for c in value)
        and not set(value) & set("\r\n\0")
    )


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_header(name) and _is_header(text) for name, text in value.items()
    )


def _is_fields(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(it) for it in value.values())


_COUNT = (_is_count, "a whole number ≥ 0")
_SHARE = (_is_share, "a number from 0 to 1")
_DURATION = (_is_duration, "a number of seconds ≥ 0")
_TEXT = (_is_text, "text")
#: What a key's value must be, whatever the action.
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("nth", "after", "count", "code", "seed", "after_bytes"), _COUNT),
    **dict.fromkeys(("probability", "fraction"), _SHARE),
    **dict.fromkeys(("delay_s", "lag_s", "commit_after_s", "at_s"), _DURATION),
    **dict.fromkeys(("method", "path", "message", "body", "host"), _TEXT),
    "bytes_per_s": (_is_rate, "a number > 0"),
    "per_hour": (
        lambda it: _is_rate(it) and it <= _PER_HOUR_MAX,
        f"a number > 0 and ≤ {_PER_HOUR_MAX}",
    ),
    "status": (lambda it: _is_count(it) and 200 <= it <= 599, "an HTTP status"),
    "headers": (_is_headers, "an object of one-line Latin-1 text"),
    "content_type": (_is_header, "one line of Latin-1 text"),
    "fields": (_is_fields, "an object of text"),
    "answer": (lambda it: it in _ANSWERS, f"one of {', '.join(_ANSWERS)}"),
}

#: What an action cannot do without.
_NEEDED = {
    Action.DELAY: "delay_s",
    Action.SLOW: "bytes_per_s",
    Action.LAG: "lag_s",
    Action.LATE_COMMIT: "commit_after_s",
}


def _check_combination(rule: FaultRule) -> None:
    if rule.host not in _HOSTS:
        raise ValueError(f"host must be one of {', '.join(_HOSTS)}")
    try:
        re.compile(rule.path)
    except re.error as exc:
        raise ValueError(f"path is not a regular expression: {exc}") from exc
    needed = _NEEDED.get(rule.action)
    if needed is not None and getattr(rule, needed) == 0:
        raise ValueError(f"action {rule.action} needs {needed}")
    is_cut = rule.action in {Action.TRUNCATE, Action.STALL, Action.WRONG_SIZE}
    if is_cut and (rule.after_bytes is None) == (rule.fraction is None):
        raise ValueError(
            f"action {rule.action} needs after_bytes or fraction, not both"
        )
    if rule.action in _ONLY_CDN and rule.host != "cdn":
        raise ValueError(f'action {rule.action} needs host "cdn"')
    is_api = {Action.LAG, Action.LATE_COMMIT}
    if rule.action in is_api and rule.host != "api":
        raise ValueError(f'action {rule.action} needs host "api"')
