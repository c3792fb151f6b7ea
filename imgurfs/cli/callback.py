"""Where a browser comes back to after a login: a tiny server on this machine.

What it is not: it does not know what an answer means (``judge`` does), nor what to do
with one (``keep`` does). It listens on 127.0.0.1 only, serves one page, and takes one
answer: what is no answer to this login is refused and waiting goes on, so that a stray
tab cannot end it; after the answer everybody else is told that it was used.

Against other pages in the same browser: requests must name this server as their host
(a name that was rebound to 127.0.0.1 does not), posts must come from this origin and
carry the ticket of a page served here. Against other users of the machine: the address
that is handed to the browser as an argument, visible in the process list, works once
and does not hold the login's state. Nothing of a request is ever logged.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import h11
import trio
from trio.abc import Stream

from imgurfs import limits
from imgurfs.api.authorize import ANSWER_CHARS_MAX, Answer
from imgurfs.cli import callback_page
from imgurfs.errors import (
    DeadlineError,
    ForeignAnswerError,
    ImgurfsError,
    UnavailableError,
)

_ANSWER_PATH: Final = "/answer"
_START_PATH: Final = "/start/"
#: Pages that may still post; a person has a tab or two.
_TICKETS_MAX: Final = 32
_READ_BYTES: Final = 16_384
_HEAD_BYTES_MAX: Final = 65_536
_USED: Final = "This login was used already. You can close this tab."
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    is_last: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _RefusedError(Exception):
    """A request that gets no more than a status and a line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.reply = _Reply(status, text.encode())


class Callback:
    """Takes the one answer to one login. Used once."""

    def __init__(
        self,
        *,
        authorize_url: str,
        judge: Callable[[str], Answer],
        keep: Callable[[Answer], Awaitable[str]],
        on_foreign: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare for a login at ``authorize_url``.

        ``judge`` reads what the browser brought or raises; ``keep`` makes a login of it
        and returns what the page then says; ``on_foreign`` hears why something that
        came was no answer.
        """
        self._authorize_url = authorize_url
        self._judge = judge
        self._keep = keep
        self._on_foreign = on_foreign
        self._start_key = secrets.token_urlsafe(16)
        self._is_started = False
        self._tickets: deque[str] = deque(maxlen=_TICKETS_MAX)
        self._error: ImgurfsError | None = None
        self._is_taken = trio.Event()
        self._is_over = trio.Event()
        self._connections = 0
        self._listener: trio.SocketListener | None = None
        #: The port it listens on.
        self.port = 0

    def __repr__(self) -> str:
        is_taken = self._is_taken.is_set()
        return f"<Callback taken={is_taken} connections={self._connections}>"

    @property
    def start_url(self) -> str:
        """An address that leads to Imgur's page, once."""
        return f"http://127.0.0.1:{self.port}{_START_PATH}{self._start_key}"

    async def listen(self, port: int) -> None:
        """Listen on this machine only; port 0 takes a free one.

        Raises UnavailableError.
        """
        try:
            (self._listener,) = await trio.open_tcp_listeners(port, host="127.0.0.1")
        except OSError as error:
            raise UnavailableError(
                f"port {port} of this machine cannot be used: {error.strerror}",
                hint="choose another with --port (the application's redirect address"
                " must name it), or use --paste",
            ) from error
        self.port = int(self._listener.socket.getsockname()[1])

    async def run(self, timeout_s: float) -> None:
        """Serve until the answer was taken. Raises what came of it.

        Raises DeadlineError when none came within ``timeout_s``; one that came is seen
        to its end, however long that takes.
        """
        assert self._listener is not None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self.serve, [self._listener])
                with trio.move_on_after(timeout_s):
                    await self._is_taken.wait()
                if self._is_taken.is_set():
                    await self._is_over.wait()
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(self._listener)
        if self._error is not None:
            raise self._error
        if not self._is_taken.is_set():
            raise DeadlineError(
                f"no answer came from the browser within {timeout_s:.0f} s",
                hint="try again with a longer --timeout, or with --paste",
            )

    # --- One connection --------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Answer one request. Whatever a peer does ends its own connection only."""
        self._connections += 1
        try:
            if self._connections <= limits.CALLBACK_CONNECTIONS_MAX:
                await self._answer(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _answer(self, stream: Stream) -> None:
        connection = h11.Connection(
            h11.SERVER, max_incomplete_event_size=_HEAD_BYTES_MAX
        )
        try:
            with trio.fail_after(limits.CALLBACK_REQUEST_S):
                request = await _read(connection, stream)
            reply = await self._reply_to(request)
        except _RefusedError as refusal:
            reply = refusal.reply
        except (h11.RemoteProtocolError, trio.TooSlowError):
            reply = _Reply(400, b"This was no request of a browser.")
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise trio.BrokenResourceError
        try:
            with trio.move_on_after(limits.CALLBACK_REQUEST_S):
                await _send(connection, stream, reply)
        finally:
            if reply.is_last:
                self._is_over.set()

    # --- What is said ----------------------------------------------------------------

    async def _reply_to(self, request: _Request) -> _Reply:
        self._check_host(request)
        if request.method == "POST" and request.path == _ANSWER_PATH:
            self._check_page(request)
            return await self._take(request.body)
        if request.method != "GET":
            raise _RefusedError(405, "Only the page of this server posts.")
        if request.path.startswith(_START_PATH):
            return self._start(request.path.removeprefix(_START_PATH))
        if request.path == "/favicon.ico":
            raise _RefusedError(404, "There is no icon.")
        # Any other path: the registered address may have one.
        return self._page()

    def _check_host(self, request: _Request) -> None:
        hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        if request.headers.get("host") not in hosts:
            raise _RefusedError(421, "This server has another name.")

    def _check_page(self, request: _Request) -> None:
        """Raise for a post that no page of ours made; each page posts once."""
        origins = {f"http://{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        ticket = request.headers.get("x-imgurfs-ticket", "")
        if request.headers.get("origin") not in origins or ticket not in self._tickets:
            raise _RefusedError(403, "Only the page of this server posts, and once.")
        self._tickets.remove(ticket)

    def _start(self, key: str) -> _Reply:
        """Lead to Imgur; the key is public after its first use."""
        is_right = hmac.compare_digest(key.encode(), self._start_key.encode())
        if self._is_started or not is_right:
            text = "This address was used already. The terminal shows another one."
            raise _RefusedError(410, text)
        self._is_started = True
        return _Reply(302, headers=(("Location", self._authorize_url),))

    def _page(self) -> _Reply:
        ticket, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(16)
        self._tickets.append(ticket)
        body = callback_page.page(answer_path=_ANSWER_PATH, nonce=nonce, ticket=ticket)
        security = ("Content-Security-Policy", callback_page.policy(nonce))
        return _Reply(200, body, "text/html; charset=utf-8", (security,))

    async def _take(self, body: bytes) -> _Reply:
        if self._is_taken.is_set():
            raise _RefusedError(409, _USED)
        try:
            answer = self._judge(body.decode("utf-8", "replace"))
        except ForeignAnswerError as error:
            self._on_foreign(error.message)
            raise _RefusedError(400, _sentence(error)) from None
        except ImgurfsError as error:
            self._is_taken.set()
            return self._end(error)
        self._is_taken.set()
        try:
            said = await self._keep(answer)
        except ImgurfsError as error:
            return self._end(error)
        return _Reply(200, said.encode(), is_last=True)

    def _end(self, error: ImgurfsError) -> _Reply:
        self._error = error
        return _Reply(403, _sentence(error).encode(), is_last=True)


def _sentence(error: ImgurfsError) -> str:
    said = f"Not logged in: {error.message}."
    return f"{said} {error.hint[0].upper()}{error.hint[1:]}." if error.hint else said


async def _read(connection: h11.Connection, stream: Stream) -> _Request:
    """Read one request.

    Raises RemoteProtocolError, _RefusedError, BrokenResourceError.
    """
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(_READ_BYTES)))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > ANSWER_CHARS_MAX:
                raise _RefusedError(413, "This is too long to be an answer.")
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            raise trio.BrokenResourceError
    assert head is not None
    headers = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers
    }
    path = head.target.decode("latin-1").partition("?")[0]
    return _Request(head.method.decode("latin-1"), path, headers, bytes(body))


async def _send(connection: h11.Connection, stream: Stream, reply: _Reply) -> None:
    headers = {
        **_HEADERS,
        "Content-Type": reply.kind,
        "Content-Length": str(len(reply.body)),
        **dict(reply.headers),
    }
    head = h11.Response(status_code=reply.status, headers=list(headers.items()))
    for event in (head, h11.Data(data=reply.body), h11.EndOfMessage()):
        await stream.send_all(connection.send(event) or b"")
