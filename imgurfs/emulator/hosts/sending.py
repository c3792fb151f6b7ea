"""Sending a complete answer over ASGI. Shared by both hosts and the faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Send

from imgurfs.emulator.rules.wire import Reply

#: What Imgur's edge adds to everything.
EDGE_HEADERS: dict[str, str] = {
    "server": "cat factory 1.0",
    "access-control-allow-origin": "*",
    "x-cache": "MISS",
}


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as ASGI wants them."""
    return [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]


async def send_reply(
    send: Send,
    reply: Reply,
    *,
    headers: Mapping[str, str] | None = None,
    rest: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Send a reply whole. ``headers`` are added to its own.

    ``rest`` is done when all is sent, before the connection may be closed.
    """
    charset = "" if reply.content_type.startswith("image/") else "; charset=utf-8"
    described = {
        "content-type": reply.content_type + charset,
        "content-length": str(len(reply.body)),
    }
    merged = {
        **EDGE_HEADERS,
        **({} if reply.status == 304 else described),
        **(headers or {}),
        **reply.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": encode_headers(merged),
        }
    )
    is_more = rest is not None
    await send({"type": "http.response.body", "body": reply.body, "more_body": is_more})
    if rest is not None:
        await rest()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
