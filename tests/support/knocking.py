"""Asking an emulator with exact bytes, and what any answer has to look like."""

from __future__ import annotations

from starlette.types import ASGIApp, Message

from imgurfs.emulator.app import Emulator
from tests.support.emulated import Answer

FORM = "application/x-www-form-urlencoded"


async def knock(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: dict[str, bytes] | None = None,
    body: bytes = b"",
) -> Answer:
    """Ask with exactly these bytes; no client in between mends anything."""
    pieces = [body[at : at + 4096] for at in range(0, len(body), 4096)] or [b""]
    sent: list[Message] = []

    async def receive() -> Message:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(k.lower().encode(), v) for k, v in (headers or {}).items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    start, *rest = sent
    found = {k.decode("latin-1"): v.decode("latin-1") for k, v in start["headers"]}
    whole = b"".join(bytes(message.get("body", b"")) for message in rest)
    return Answer(start["status"], found, whole)


def check_shape(answer: Answer) -> None:
    """Whatever was asked, the answer is one that Imgur could have given."""
    assert 200 <= answer.status < 500, answer
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html"):
        assert answer.body.startswith(b"<") or answer.status < 400
    elif answer.body:
        assert "json" in kind
        told = answer.json
        assert answer.status < 400 or "errors" in told or told["success"] is False


async def form(
    emulator: Emulator, method: str, path: str, body: bytes, kind: str = FORM
) -> Answer:
    """Send a body as the owner."""
    token = emulator.credentials.access_token
    headers = {
        "authorization": f"Bearer {token}".encode(),
        "content-type": kind.encode(),
        "content-length": str(len(body)).encode(),
    }
    answer = await knock(emulator.api, method, path, headers=headers, body=body)
    check_shape(answer)
    return answer
