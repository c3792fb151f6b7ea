"""Faults on demand: which request goes wrong, and how. The rules are ``faultrules``.

Theory of operation. :class:`FaultyHost` stands in front of a host's application and
asks the :class:`FaultBook` about each request. The rules are tried in order; the first
that matches and is due acts, the others do not see the request. A rule counts the
requests it matches: ``nth`` picks one of them, ``after`` lets the first ones pass,
``count`` bounds how often it acts, ``probability`` throws a seeded die.

Everything is said in ASGI, so that it is the same in process and over sockets. The one
thing ASGI has no words for is a connection that breaks: then :class:`ConnectionDropped`
leaves the application (``connection``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import asdict

from starlette.types import ASGIApp, Receive, Scope, Send

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.config import Dialect
from imgurfs.emulator.hosts.connection import ConnectionDropped
from imgurfs.emulator.hosts.observations import FAULT, LogEntry, Observations
from imgurfs.emulator.hosts.sending import send_reply
from imgurfs.emulator.rules.errors import ApiError
from imgurfs.emulator.rules.wire import OVER_CAPACITY_PAGE, Reply, error_reply
from imgurfs.emulator.trouble import spoiled
from imgurfs.emulator.trouble.agenda import Agenda
from imgurfs.emulator.trouble.faultrules import (
    Action,
    FaultFileError,
    FaultRule,
    Rule,
    load_rules,
    parse_rules,
)
from imgurfs.emulator.trouble.lag import LAG_KEY
from imgurfs.emulator.trouble.others import Others

__all__ = [
    "Action",
    "ConnectionDropped",
    "FaultBook",
    "FaultFileError",
    "FaultRule",
    "FaultyHost",
    "load_rules",
    "parse_rules",
]


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
    """The rules in force; what other people do is passed on to ``others``."""

    def __init__(self, others: Others) -> None:
        self._others = others
        self._rules: list[_Counted] = []

    def replace(self, rules: tuple[Rule, ...]) -> None:
        """Put these rules in place of all others; counting starts anew."""
        faults = [it for it in rules if isinstance(it, FaultRule)]
        self._rules = [_Counted(rule) for rule in faults]
        self._others.replace([it for it in rules if not isinstance(it, FaultRule)])

    def describe(self) -> list[dict[str, object]]:
        """Return the rules and what they have counted, as JSON values."""
        return [
            {**asdict(it.rule), "matched": it.matched, "acted": it.acted}
            for it in self._rules
        ] + self._others.describe()

    @property
    def lag_s_max(self) -> float:
        """How far back a rule may want to look."""
        return max((it.rule.lag_s for it in self._rules), default=0.0)

    def choose(self, *, host: str, method: str, path: str) -> FaultRule | None:
        """Return the first rule that matches and is due, if any."""
        for counted in self._rules:
            is_match = counted.matches(host=host, method=method, path=path)
            if is_match and counted.is_due():
                return counted.rule
        return None


class FaultyHost:
    """ASGI application in front of another; ``/_emulator`` is left alone.

    ``late`` is ``inner`` without what looks at the agenda, for what is on it;
    ``instead`` are applications that some actions pass a request to instead.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        late: ASGIApp,
        host: str,
        book: FaultBook,
        clock: Clock,
        dialect: Dialect,
        agenda: Agenda,
        observations: Observations,
        instead: Mapping[Action, ASGIApp],
    ) -> None:
        self._inner = inner
        self._late = late
        self._host = host
        self._book = book
        self._clock = clock
        self._dialect = dialect
        self._agenda = agenda
        self._seen = observations
        self._instead = instead

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or let it go wrong."""
        path = scope["path"]
        is_exempt = self._host == "api" and path.startswith("/_emulator")
        rule = (
            None
            if is_exempt
            else self._book.choose(host=self._host, method=scope["method"], path=path)
        )
        if rule is None:
            await self._inner(scope, receive, send)
            return
        self._seen.faults[rule.action] += 1
        noting = FAULT.set(rule.action)
        try:
            if rule.delay_s:
                await self._clock.sleep(rule.delay_s)
            await self._spoil(rule, scope, receive, send)
        finally:
            FAULT.reset(noting)

    async def _spoil(
        self, rule: FaultRule, scope: Scope, receive: Receive, send: Send
    ) -> None:
        match rule.action:
            case Action.STATUS | Action.HTML | Action.HANG | Action.RESET_BEFORE:
                await spoiled.drain(receive)
                await self._refuse(rule, scope, receive, send)
            case Action.STATUS_AFTER:
                await self._inner(scope, receive, spoiled.swallow)
                await send_reply(send, self._reply(rule, scope), headers=rule.headers)
            case Action.RESET_AFTER:
                await self._inner(scope, receive, spoiled.swallow)
                raise ConnectionDropped(is_flushed=False)
            case Action.LATE_COMMIT:
                await self._commit_later(rule, scope, receive)
                await self._refuse(rule, scope, receive, send)
            case Action.WRONG_SIZE:
                whole = spoiled.asks_for_all(scope)
                await self._inner(whole, receive, spoiled.Resized(send, rule))
            case _:
                await self._pass_on(rule, scope, receive, send)

    async def _pass_on(
        self, rule: FaultRule, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let somebody answer, and do something to the answer at most."""
        app = self._instead.get(rule.action, self._inner)
        if rule.action is Action.TRUNCATE:
            send = spoiled.cut(send, rule)
        elif rule.action is Action.STALL:
            send = spoiled.stalled(send, rule, receive)
        elif rule.action is Action.SLOW:
            send = spoiled.Slowed(send, rule, self._clock)
        elif rule.action is Action.LAG:
            scope = {**scope, LAG_KEY: rule.lag_s}
        await app(scope, receive, send)

    async def _refuse(
        self, rule: FaultRule, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """End a request that was read to its end without asking the host."""
        manner = rule.answer if rule.action is Action.LATE_COMMIT else rule.action
        is_answered = manner in ("status", "html")
        reply = self._reply(rule, scope) if is_answered else None
        self._log(scope, reply)
        if reply is not None:
            await send_reply(send, reply, headers=rule.headers)
        elif manner == "hang":
            await spoiled.until_client_leaves(receive)
        else:
            raise ConnectionDropped(is_flushed=False)

    async def _commit_later(
        self, rule: FaultRule, scope: Scope, receive: Receive
    ) -> None:
        """Read the request and put it off."""
        arrived = await spoiled.drain(receive)
        scope = {**scope}
        action = rule.action

        async def commit() -> None:
            noting = FAULT.set(action)
            try:
                await self._late(scope, spoiled.replay(arrived), spoiled.swallow)
            except ConnectionDropped:
                # It could not be kept: nobody waits for the answer anyway.
                return
            finally:
                FAULT.reset(noting)

        self._agenda.put(self._clock.now() + rule.commit_after_s, commit)

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

    def _log(self, scope: Scope, reply: Reply | None) -> None:
        """Log a request that its host never sees; others are logged there."""
        self._seen.log.append(
            LogEntry(
                at=self._clock.now(),
                host=self._host,
                method=scope["method"],
                path=scope["path"],
                query="",
                status=reply.status if reply else 0,
                bytes_sent=len(reply.body) if reply else 0,
            )
        )
