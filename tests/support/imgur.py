"""The emulator's own view of the account, by its admin pages."""

from __future__ import annotations

from typing import Any, cast

import httpx


class Imgur:
    """The emulator's own view of things, by its admin pages."""

    def __init__(self, http: httpx.AsyncClient, access_token: str) -> None:
        self._http = http
        self._access_token = access_token

    async def counters(self) -> dict[str, Any]:
        """Return the counters."""
        return cast("dict[str, Any]", await self._ask("GET", "/_emulator/counters"))

    async def state(self) -> dict[str, Any]:
        """Return what exists."""
        return cast("dict[str, Any]", await self._ask("GET", "/_emulator/state"))

    async def image(self, title: str) -> dict[str, Any]:
        """Return the first image of a title."""
        images = (await self.state())["images"]
        return next(each for each in images if each["title"] == title)

    async def fail(self, *rules: dict[str, Any]) -> None:
        """Make these rules the faults in force."""
        await self._ask("POST", "/_emulator/faults", json=list(rules))

    async def reset(self) -> None:
        """Forget counters and faults."""
        await self._ask("DELETE", "/_emulator/counters")
        await self._ask("DELETE", "/_emulator/faults")

    async def delete_image(self, image_id: str) -> None:
        """Delete an image, as another device of the same account."""
        await self._ask("DELETE", f"/3/image/{image_id}")

    async def _ask(self, method: str, path: str, **options: Any) -> object:
        answer = await self._http.request(
            method,
            path,
            headers={"Authorization": f"Bearer {self._access_token}"},
            **options,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()
