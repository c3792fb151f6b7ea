"""The third host, imgur.com itself: so far only its download links.

Clients that find the picture host unwilling take ``/download/{id}/…`` instead. It is
the same picture as an attachment. Everything else is the page Imgur shows for what it
does not have; the site is not emulated.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgurfs.emulator.hosts.sending import send_reply
from imgurfs.emulator.rules.wire import NOT_FOUND_PAGE, Reply

_DOWNLOAD: Final = re.compile(r"/download/([A-Za-z0-9]{5,8})(?:/[^/]*)?/?")


class WebHost:
    """ASGI application of the site; ``cdn`` has the pictures (and their faults)."""

    def __init__(self, cdn: ASGIApp) -> None:
        self._cdn = cdn

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = _DOWNLOAD.fullmatch(scope["path"])
        if found is None:
            await send_reply(send, Reply(404, NOT_FOUND_PAGE.encode(), "text/html"))
            return

        async def send_attachment(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                disposition = (b"content-disposition", b"attachment")
                message = {**message, "headers": [*message["headers"], disposition]}
            await send(message)

        await self._cdn({**scope, "path": f"/{found[1]}"}, receive, send_attachment)
