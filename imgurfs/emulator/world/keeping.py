"""Noticing what a request changes, and keeping it before the request is answered.

Theory of operation. The world's objects are changed in place by whoever handles a
request, but only after they were looked up in one of the world's dictionaries. Those
are :class:`Watched` when the state is kept: during a request that may change something
they note every key that is looked up. What was noted is kept just before the answer
begins, so that an answered change is never lost, however the process ends. Requests are
told apart by a context variable; owned by one event loop.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgurfs.emulator.hosts.connection import ConnectionDropped

log = logging.getLogger(__name__)

#: Keys that begin so are the emulator's own and are not kept.
TRANSIENT: Final = "transient-"
Touched = set[tuple[str, str]]

_TOUCHED: ContextVar[Touched | None] = ContextVar("touched", default=None)
_MISSING: Any = object()


class Watched(dict[str, Any]):
    """A dictionary that notes which keys a changing request looks up."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._name = name

    def _note(self, *keys: str) -> None:
        touched = _TOUCHED.get()
        if touched is not None:
            touched.update((self._name, key) for key in keys)

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._note(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._note(key)
        super().__delitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """As of a dictionary."""
        self._note(key)
        return super().get(key, default)

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """As of a dictionary."""
        self._note(key)
        return super().pop(key) if default is _MISSING else super().pop(key, default)

    def popitem(self) -> tuple[str, Any]:
        """As of a dictionary."""
        key, value = super().popitem()
        self._note(key)
        return key, value

    def clear(self) -> None:
        """As of a dictionary."""
        self._note(*self)
        super().clear()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """As of a dictionary."""
        self._note(key)
        return super().setdefault(key, default)

    def update(self, *others: Any, **values: Any) -> None:
        """As of a dictionary."""
        new = dict(*others, **values)
        self._note(*new)
        super().update(new)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def values(self) -> Any:
        """As of a dictionary: all of them may be changed."""
        self._note(*self)
        return super().values()

    def items(self) -> Any:
        """As of a dictionary: all of them may be changed."""
        self._note(*self)
        return super().items()


def may_change(scope: Scope) -> bool:
    """Return whether a request is more than a look.

    A login leaves tokens whatever its method; ``_method`` says another one.
    """
    return (
        scope["method"] not in {"GET", "HEAD", "OPTIONS"}
        or scope["path"].startswith("/oauth2")
        or b"_method" in scope.get("query_string", b"")
    )


class ChangingHost:
    """ASGI application in front of the API, for requests that may change something.

    ``before`` is called when the request has arrived whole; ``keep`` just before its
    answer begins, with what it touched. When that fails the request is not answered:
    what the world says then is more than what is kept, until the next success.
    """

    def __init__(
        self,
        inner: ASGIApp,
        *,
        before: Callable[[], None],
        keep: Callable[[Touched], None] | None,
    ) -> None:
        self._inner = inner
        self._before = before
        self._keep = keep
        #: What could not be kept yet.
        self._owed: Touched = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and keep what it does."""
        if not may_change(scope):
            await self._inner(scope, receive, send)
            return

        async def receive_all() -> Message:
            message = await receive()
            if not message.get("more_body", False):
                self._before()
            return message

        if self._keep is None:
            await self._inner(scope, receive_all, send)
            return
        touched: Touched = set()

        async def keep_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._settle(touched)
            await send(message)

        noting = _TOUCHED.set(touched)
        try:
            await self._inner(scope, receive_all, keep_and_send)
        finally:
            _TOUCHED.reset(noting)
            # Without an answer (the client left) nothing may be forgotten either.
            self._owed |= touched

    def _settle(self, touched: Touched) -> None:
        assert self._keep is not None
        self._owed |= touched
        touched.clear()
        owed = {it for it in self._owed if not it[1].startswith(TRANSIENT)}
        try:
            self._keep(owed)
        except (OSError, sqlite3.Error) as exc:
            log.error("cannot keep the state: %s", exc)  # noqa: TRY400 - not our bug
            raise ConnectionDropped(is_flushed=False) from exc
        self._owed.clear()


def watched(tables: dict[str, dict[str, Any]]) -> Iterator[tuple[str, Watched]]:
    """Yield a watched copy of each dictionary, by its name."""
    for name, table in tables.items():
        yield name, Watched(name, table)
