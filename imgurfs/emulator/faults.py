"""Faults on demand: rules that say which request goes wrong, and how.

Theory of operation. :class:`FaultyHost` stands in front of a host's application and
asks the :class:`FaultBook` about each request. The rules are tried in order; the first
that matches and is due acts, the others do not see the request. A rule counts the
requests it matches: ``nth`` picks one of them, ``after`` lets the first ones pass,
``count`` bounds how often it acts, ``probability`` throws a seeded die.

Everything is said in ASGI, so that it is the same in process and over sockets. The one
thing ASGI has no words for is a connection that breaks: then :class:`ConnectionDropped`
leaves the application. Whatever runs the application must turn it into a broken
connection: ``server`` closes the socket; an in-process transport raises its read error
(before an answer has begun, and equally in the middle of a body).
"""

from __future__ import annotations

import enum
import json
import random
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.config import Dialect
from imgurfs.emulator.errors import ApiError, Shape
from imgurfs.emulator.sending import send_reply
from imgurfs.emulator.wire import OVER_CAPACITY_PAGE, Reply, error_reply


class ConnectionDropped(Exception):  # noqa: N818 - an event, not an error
    """The connection must break now.

    ``is_flushed``: what was sent so far still arrives (a cut body); otherwise the peer
    gets a reset.
    """

    def __init__(self, *, is_flushed: bool) -> None:
        super().__init__("connection dropped on purpose")
        self.is_flushed = is_flushed


class FaultFileError(ValueError):
    """A list of rules cannot be used; the text says which rule and why."""


class Action(enum.StrEnum):
    """What goes wrong."""

    STATUS = "status"  # an error answer of the given status and body
    HTML = "html"  # a page instead of JSON or of a picture
    TRUNCATE = "truncate"  # the full content-length, less of the body, then the end
    HANG = "hang"  # no answer, ever
    DELAY = "delay"  # the right answer, later
    RESET_BEFORE = "reset_before"  # nothing is done, the connection breaks
    RESET_AFTER = "reset_after"  # it is done, the connection breaks, no answer


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


_HOSTS = ("any", "api", "cdn")
_NUMBERS_MIN = {
    "nth": 0,
    "after": 0,
    "count": 0,
    "code": 0,
    "seed": 0,
    "after_bytes": 0,
}
_TEXTS = ("host", "method", "path", "message", "body", "content_type")


def load_rules(path: Path) -> tuple[FaultRule, ...]:
    """Return the rules in a JSON file. Raises FaultFileError."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as exc:
        raise FaultFileError(f"{path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise FaultFileError(f"{path}: not JSON: {exc}") from exc
    return parse_rules(data, source=str(path))


def parse_rules(data: object, *, source: str) -> tuple[FaultRule, ...]:
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


def _parse_rule(item: object) -> FaultRule:
    if not isinstance(item, dict):
        raise ValueError("expected an object")  # noqa: TRY004 - one kind of error
    known = {it.name for it in fields(FaultRule)}
    unknown = sorted(set(item) - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {sorted(known)}")
    if "action" not in item:
        raise ValueError(f"action is missing; one of {[str(it) for it in Action]}")
    for key, value in item.items():
        _check_value(key, value)
    rule = FaultRule(
        **{
            **item,
            "action": Action(item["action"]),
            "shape": Shape(item.get("shape", "A")),
            "method": item.get("method", "").upper(),
        }
    )
    _check_combination(rule)
    return rule


def _check_value(key: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if key in _TEXTS and not isinstance(value, str):
        raise ValueError(f"{key} must be text")
    if key in _NUMBERS_MIN and not (
        is_number and isinstance(value, int) and value >= _NUMBERS_MIN[key]
    ):
        raise ValueError(f"{key} must be a whole number ≥ {_NUMBERS_MIN[key]}")
    if key in {"probability", "fraction"} and not (
        isinstance(value, int | float) and is_number and 0 <= value <= 1
    ):
        raise ValueError(f"{key} must be a number from 0 to 1")
    if key == "delay_s" and not (
        isinstance(value, int | float) and is_number and value >= 0
    ):
        raise ValueError("delay_s must be a number of seconds ≥ 0")
    if key == "status" and not (isinstance(value, int) and 200 <= value <= 599):
        raise ValueError("status must be an HTTP status from 200 to 599")
    if key == "headers" and not (
        isinstance(value, dict)
        and all(_is_header(name) and _is_header(text) for name, text in value.items())
    ):
        raise ValueError("headers must be an object of one-line Latin-1 text")


def _is_header(value: object) -> bool:
    return (
        isinstance(value, str)
        and all(ord(c) < 256 for c in value)
        and not set(value) & set("\r\n\0")
    )


def _check_combination(rule: FaultRule) -> None:
    if rule.host not in _HOSTS:
        raise ValueError(f"host must be one of {', '.join(_HOSTS)}")
    try:
        re.compile(rule.path)
    except re.error as exc:
        raise ValueError(f"path is not a regular expression: {exc}") from exc
    if rule.action is Action.DELAY and rule.delay_s == 0:
        raise ValueError("action delay needs delay_s")
    if rule.action is Action.TRUNCATE and (
        (rule.after_bytes is None) == (rule.fraction is None)
    ):
        raise ValueError("action truncate needs after_bytes or fraction, not both")
    if not _is_header(rule.content_type):
        raise ValueError("content_type must be one line of Latin-1 text")


class _Counted:
    """A rule with what it has seen."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self.matched = 0
        self.acted = 0
        self._pattern = re.compile(rule.path)
        self._chance = random.Random(rule.seed)  # noqa: S311 - replayable on purpose

    def matches(self, *, host: str, method: str, path: str) -> bool:
        rule = self.rule
        return (
            rule.host in ("any", host)
            and rule.method in ("", method)
            and self._pattern.search(path) is not None
        )

    def is_due(self) -> bool:
        """Count a match and decide."""
        rule = self.rule
        self.matched += 1
        if rule.nth and self.matched != rule.nth:
            return False
        if self.matched <= rule.after or (rule.count and self.acted >= rule.count):
            return False
        if rule.probability < 1 and self._chance.random() >= rule.probability:
            return False
        self.acted += 1
        return True


class FaultBook:
    """The rules in force."""

    def __init__(self, rules: tuple[FaultRule, ...] = ()) -> None:
        self._rules: list[_Counted] = []
        self.replace(rules)

    def replace(self, rules: tuple[FaultRule, ...]) -> None:
        """Put these rules in place of all others; counting starts anew."""
        self._rules = [_Counted(rule) for rule in rules]

    def describe(self) -> list[dict[str, object]]:
        """Return the rules and what they have counted, as JSON values."""
        return [
            {**asdict(it.rule), "matched": it.matched, "acted": it.acted}
            for it in self._rules
        ]

    def choose(self, *, host: str, method: str, path: str) -> FaultRule | None:
        """Return the first rule that matches and is due, if any."""
        for counted in self._rules:
            is_match = counted.matches(host=host, method=method, path=path)
            if is_match and counted.is_due():
                return counted.rule
        return None


class FaultyHost:
    """ASGI application in front of another; ``/_emulator`` is left alone."""

    def __init__(
        self,
        inner: ASGIApp,
        *,
        host: str,
        book: FaultBook,
        clock: Clock,
        dialect: Dialect,
    ) -> None:
        self._inner = inner
        self._host = host
        self._book = book
        self._clock = clock
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or let it go wrong."""
        path = scope["path"]
        is_admin = self._host == "api" and path.startswith("/_emulator")
        rule = (
            None
            if is_admin
            else self._book.choose(host=self._host, method=scope["method"], path=path)
        )
        if rule is None:
            await self._inner(scope, receive, send)
            return
        if rule.delay_s:
            await self._clock.sleep(rule.delay_s)
        match rule.action:
            case Action.DELAY:
                await self._inner(scope, receive, send)
            case Action.STATUS | Action.HTML:
                await _drain(receive)
                await send_reply(send, self._reply(rule, scope), headers=rule.headers)
            case Action.TRUNCATE:
                await self._inner(scope, receive, _Cut(send, rule))
            case Action.HANG:
                await _drain(receive)
                await _until_client_leaves(receive)
            case Action.RESET_BEFORE:
                await _drain(receive)
                raise ConnectionDropped(is_flushed=False)
            case Action.RESET_AFTER:
                await self._inner(scope, receive, _swallow)
                raise ConnectionDropped(is_flushed=False)

    def _reply(self, rule: FaultRule, scope: Scope) -> Reply:
        if rule.action is Action.HTML:
            page = OVER_CAPACITY_PAGE if rule.body is None else rule.body
            return Reply(rule.status, page.encode(), "text/html")
        if rule.body is not None:
            return Reply(rule.status, rule.body.encode(), rule.content_type)
        error = ApiError(rule.status, rule.message, shape=rule.shape, code=rule.code)
        return error_reply(
            error, self._dialect, path=scope["path"], method=scope["method"]
        )


async def _drain(receive: Receive) -> None:
    """Read the request to its end: the client must have sent all of it."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


async def _until_client_leaves(receive: Receive) -> None:
    message = await receive()
    if message["type"] != "http.disconnect":
        # A caller without the notion of leaving: it will cancel us.
        await anyio.sleep_forever()


async def _swallow(message: Message) -> None:
    del message
    await anyio.lowlevel.checkpoint()


class _Cut:
    """A ``send`` that breaks the connection after some of the body."""

    def __init__(self, send: Send, rule: FaultRule) -> None:
        self._send = send
        self._rule = rule
        self._left = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._left = self._allowance(message)
            await self._send(message)
            return
        body = message.get("body", b"")
        if len(body) < self._left:
            self._left -= len(body)
            await self._send({**message, "more_body": True})
            if not message.get("more_body", False):
                raise ConnectionDropped(is_flushed=True)
            return
        if self._left:
            part = body[: self._left]
            await self._send(
                {"type": "http.response.body", "body": part, "more_body": True}
            )
        raise ConnectionDropped(is_flushed=True)

    def _allowance(self, start: Message) -> int:
        if self._rule.after_bytes is not None:
            return self._rule.after_bytes
        assert self._rule.fraction is not None
        length = dict(start["headers"]).get(b"content-length", b"0")
        return int(int(length) * self._rule.fraction)
