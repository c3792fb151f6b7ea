"""The only way out of this machine: asks the budget before, records headers after.

An httpx transport around the real one (or the simulated one). Every request carries
``extensions={"imgurfs": RequestClass}`` and, when its budget was reserved already,
``"imgurfs_grant": Grant``. What it refuses never reaches the network: a request
without a class, to a host that is not Imgur's, in plain text to anything but this
machine, or to the CDN with a token. It never sleeps: no budget is a BudgetError.

httpx's exceptions are translated here and nowhere else. What matters is whether
anything can have happened: nothing before the connection stands (NotSentError),
anything after it (OutcomeUnknownError for a change, OutageError for a read).
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import httpx
import trio

from imgurfs import __version__, crashpoints, limits
from imgurfs.api import parse, refusals, wire
from imgurfs.budget import Grant, Ledger
from imgurfs.clock import Clock
from imgurfs.errors import (
    NotSentError,
    OutageError,
    OutcomeUnknownError,
    RejectedError,
    RemoteError,
    SourceChangedError,
    ThrottledError,
)
from imgurfs.model import RateHeaders, RequestClass, RequestKind

#: What went wrong before a connection stood.
_BEFORE = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class MeteredTransport(httpx.AsyncBaseTransport):
    """Puts the budget and the borders around another transport."""

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        ledger: Ledger,
        clock: Clock,
        api_url: str,
        cdn_hosts: frozenset[str],
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._clock = clock
        self._api_origin = _origin(httpx.URL(api_url))
        self._cdn_hosts = cdn_hosts
        self._counts = dict.fromkeys(RequestKind, 0)

    def __repr__(self) -> str:
        return f"<MeteredTransport api={self._api_origin[1]} {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        """Return the number of requests sent, by kind."""
        return {kind.value: count for kind, count in self._counts.items()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request if it may leave and the budget covers it.

        Raises BudgetError, NotSentError, OutcomeUnknownError, OutageError and, for a
        destination that is not Imgur's, RejectedError.
        """
        cost = request.extensions.get("imgurfs")
        if not isinstance(cost, RequestClass):
            raise TypeError(f"{request.method} {request.url}: no RequestClass")
        self._check_destination(request, cost)
        if cost.kind is RequestKind.CDN:
            return await self._send(request, cost)
        grant = request.extensions.get("imgurfs_grant")
        if not isinstance(grant, Grant):
            grant = await self._ledger.reserve(cost)
        if crashpoints.is_armed():
            request.extensions["trace"] = _reach_sent
        try:
            response = await self._send(request, cost)
        except (OutcomeUnknownError, OutageError, SourceChangedError):
            # It may have been counted; the reservation stays.
            await self._ledger.record(grant, None)
            raise
        except NotSentError:
            await self._ledger.release(grant)
            raise
        crashpoints.reach("answer-arrived")
        return await self._learn(request, response, grant)

    async def aclose(self) -> None:
        """Close the transport inside."""
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._inner.__aexit__(exc_type, exc_value, traceback)

    # --- Before ---------------------------------------------------------------

    def _check_destination(self, request: httpx.Request, cost: RequestClass) -> None:
        url = request.url
        if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(url)):
            raise RejectedError(f"{_shown(url)} is not https; nothing was sent")
        if cost.kind is RequestKind.CDN:
            if not is_cdn(url, self._cdn_hosts):
                raise RejectedError(f"{_shown(url)} is not a host of Imgur's pictures")
            if request.method not in ("GET", "HEAD"):
                raise TypeError(f"{request.method} to the CDN")
            if "authorization" in request.headers:
                raise TypeError("a token must never go to the CDN")
        elif _origin(url) != self._api_origin:
            raise RejectedError(f"{_shown(url)} is not the API of this account")

    async def _send(self, request: httpx.Request, cost: RequestClass) -> httpx.Response:
        self._counts[cost.kind] += 1
        try:
            response = await self._inner.handle_async_request(request)
        except httpx.HTTPError as error:
            raise _translated(request, error, is_connecting=True) from error
        assert isinstance(response.stream, httpx.AsyncByteStream)
        is_cdn_body = cost.kind is RequestKind.CDN
        response.stream = _TranslatedStream(
            response.stream,
            request,
            size_bytes_max=None if is_cdn_body else limits.REPLY_BYTES_MAX,
        )
        return response

    # --- After ----------------------------------------------------------------

    async def _learn(
        self, request: httpx.Request, response: httpx.Response, grant: Grant
    ) -> httpx.Response:
        """Record the headers; read a refusal's body to learn what it means."""
        now = _server_now(response) or self._clock.now()
        try:
            headers = parse.rate_headers(response.headers.multi_items(), now)
            await self._ledger.record(grant, headers)
            if response.status_code < 400:
                return response
            return await self._learn_refusal(request, response, grant, headers)
        except BaseException:
            # A broken connection must not go back into the pool; this does not wait.
            with trio.CancelScope(shield=True):
                await response.aclose()
            raise

    async def _learn_refusal(
        self,
        request: httpx.Request,
        response: httpx.Response,
        grant: Grant,
        headers: RateHeaders | None,
    ) -> httpx.Response:
        raw = await _raw_body(response)
        try:
            whole = httpx.Response(
                response.status_code,
                headers=response.headers,
                content=raw,
                extensions=response.extensions,
            )
        except httpx.DecodingError as error:
            raise OutageError(f"{_shown(request.url)}: {error}") from error
        known = wire.Request(request.method, request.url.path, grant.request)
        refused = refusals.refusal(
            known,
            status=whole.status_code,
            body=whole.content,
            headers=headers,
            now=self._clock.now(),
        )
        if isinstance(refused, ThrottledError):
            await self._ledger.throttled(
                grant, scope=refused.scope, until=refused.retry_at
            )
        return whole


def _server_now(response: httpx.Response) -> float | None:
    """Return Imgur's idea of the time: a reset told as an epoch is on its clock."""
    try:
        at = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        return None
    return at.timestamp() if at.tzinfo is not None else None


class _TranslatedStream(httpx.AsyncByteStream):
    """A response body whose network errors are ours, and whose length is bounded."""

    def __init__(
        self,
        inner: httpx.AsyncByteStream,
        request: httpx.Request,
        *,
        size_bytes_max: int | None,
    ) -> None:
        self._inner = inner
        self._request = request
        self._left = size_bytes_max
        self._iterator: AsyncIterator[bytes] | None = None

    # An iterator and not a generator: one abandoned halfway leaves nothing to finalize.
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._iterator is None:
            self._iterator = aiter(self._inner)
        try:
            piece = await anext(self._iterator)
        except httpx.HTTPError as error:
            raise _translated(self._request, error, is_connecting=False) from error
        if self._left is not None:
            self._left -= len(piece)
            if self._left < 0:
                raise _unclear(
                    self._request, f"{_shown(self._request.url)}: an endless answer"
                )
        return piece

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _reach_sent(event: str, info: object) -> None:
    """Tell the moment when a request has left and nothing has come back yet."""
    del info
    if event.endswith(".send_request_body.complete"):
        crashpoints.reach("request-sent")


def _translated(
    request: httpx.Request, error: httpx.HTTPError, *, is_connecting: bool
) -> RemoteError:
    why = f"{request.method} {_shown(request.url)}: {_why(error)}"
    if is_connecting and isinstance(error, _BEFORE):
        return NotSentError(why)
    return _unclear(request, why)


def _unclear(request: httpx.Request, why: str) -> RemoteError:
    is_read = request.method in ("GET", "HEAD")
    return OutageError(why) if is_read else OutcomeUnknownError(why)


async def _raw_body(response: httpx.Response) -> bytes:
    """Read the raw body of a refusal and let the connection go."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    pieces = [piece async for piece in response.stream]
    await response.stream.aclose()
    return b"".join(pieces)


def is_cdn(url: httpx.URL, cdn_hosts: frozenset[str]) -> bool:
    """Whether ``url`` is on one of the hosts ("host" or "host:port").

    A host without a port stands for the scheme's own port.
    """
    _, host, port = _origin(url)
    is_default = port == _DEFAULT_PORTS.get(url.scheme)
    return f"{host}:{port}" in cdn_hosts or (is_default and host in cdn_hosts)


def make_http_client(
    *,
    ledger: Ledger,
    clock: Clock,
    api_url: str,
    cdn_hosts: frozenset[str],
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Return the program's HTTP client; ``transport`` replaces the real network.

    Bodies come as they are (``identity``) unless a request asks otherwise, pictures
    never as WebP (docs/IMGUR.md, Pictures). The environment is not asked for proxies or
    certificates.
    """
    inner = transport or httpx.AsyncHTTPTransport(
        trust_env=False,
        limits=httpx.Limits(
            max_connections=limits.DOWNLOADS_MAX + 8,
            max_keepalive_connections=limits.DOWNLOADS_MAX + 8,
            keepalive_expiry=limits.KEEPALIVE_S,
        ),
    )
    metered = MeteredTransport(
        inner, ledger=ledger, clock=clock, api_url=api_url, cdn_hosts=cdn_hosts
    )
    return httpx.AsyncClient(
        transport=metered,
        timeout=httpx.Timeout(
            connect=limits.CONNECT_TIMEOUT_S,
            read=limits.SOCKET_TIMEOUT_S,
            write=limits.SOCKET_TIMEOUT_S,
            pool=limits.POOL_TIMEOUT_S,
        ),
        follow_redirects=False,
        trust_env=False,
        headers={
            "User-Agent": f"imgurfs/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        },
    )


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return (url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme, 0))


def _is_loopback(url: httpx.URL) -> bool:
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def _shown(url: httpx.URL) -> str:
    """Return the address without user, query and fragment: they may hold secrets."""
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}{url.path}"


def _why(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectTimeout():
            return f"no connection within {limits.CONNECT_TIMEOUT_S:.0f} s"
        case httpx.PoolTimeout():
            return "all connections were busy"
        case httpx.TimeoutException():
            return f"silence for {limits.SOCKET_TIMEOUT_S:.0f} s"
        case _:
            return parse.excerpt(str(error)) or type(error).__name__
