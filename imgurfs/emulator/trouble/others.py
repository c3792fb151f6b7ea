"""What other people do meanwhile: spend the application's credits, edit the account.

The other device is a client like any: it asks the API, with a token of its own, and
pays with the account's credits. Its chance is seeded and its times are on the
emulator's clock, so that a run can be had again. Rules: ``faultrules``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from random import Random
from typing import Final
from urllib.parse import quote, urlencode

import anyio
from starlette.types import ASGIApp, Message

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.hosts.connection import ConnectionDropped
from imgurfs.emulator.rules.accounting import DAY_S, Accounting
from imgurfs.emulator.trouble.agenda import Agenda, Event
from imgurfs.emulator.trouble.faultrules import Edit, Happening, Spending
from imgurfs.emulator.world.keeping import TRANSIENT
from imgurfs.emulator.world.sample import SAMPLE_ID
from imgurfs.emulator.world.world import AccessToken, Account, World

#: Where the other device is, as far as limits by address are concerned.
ADDRESS: Final = "192.0.2.7"
_TOKEN: Final = TRANSIENT + "another-device"
_HOUR_S: Final = 3600.0
_REFERENCE = re.compile(r"\{(album|image):([^{}]*)\}")


class OtherDevice:
    """Somebody else who is logged in as the sample account."""

    def __init__(self, api: ASGIApp, world: World, *, client_id: str) -> None:
        self._api = api
        self._world = world
        self._client_id = client_id

    async def ask(self, edit: Edit) -> int:
        """Make one request; return its status, 0 when it was not answered."""
        account = self.account()
        if account is None:
            return 0
        fields = {key: self._resolve(text) for key, text in edit.fields.items()}
        path = self._resolve(edit.path)
        statuses: list[int] = []
        body = urlencode(fields).encode()
        inbox = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if inbox:
                return inbox.pop()
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await anyio.lowlevel.checkpoint()

        token = AccessToken(_TOKEN, account.url, self._client_id, float("inf"))
        self._world.access_tokens[_TOKEN] = token
        try:
            await self._api(_scope(edit.method, path), receive, send)
        except ConnectionDropped:
            return 0
        finally:
            # An edit may have deleted the account and all of its tokens.
            self._world.access_tokens.pop(_TOKEN, None)
        return statuses[0] if statuses else 0

    def account(self) -> Account | None:
        """Return the account, None when it is no more."""
        return self._world.account_by_id(SAMPLE_ID)

    def _resolve(self, text: str) -> str:
        return _REFERENCE.sub(lambda it: self._id_of(it[1], it[2]), text)

    def _id_of(self, kind: str, title: str) -> str:
        world, account = self._world, self.account()
        if account is None:
            return "unknown"
        if kind == "album":
            titles = {it: world.albums[it].title for it in account.albums}
        else:
            titles = {it: world.images[it].title for it in account.images}
        return next((it for it, known in titles.items() if known == title), "unknown")

    def think_of(self, chance: Random) -> Edit:
        """Return some edit that makes sense in the world as it is."""
        account = self.account()
        albums = list(account.albums) if account else []
        images = list(account.images) if account else []
        title = f"Other device {chance.randrange(1000)}"
        if not albums or not images:
            return _edit("POST", "/3/album", title=title)
        album, image = chance.choice(albums), chance.choice(images)
        members = list(self._world.albums[album].images)
        member = chance.choice(members) if members else image
        chance.shuffle(members)
        choices = (
            _edit("POST", "/3/album", title=title, ids=image),
            _edit("PUT", f"/3/album/{album}", title=title),
            _edit("PUT", f"/3/album/{album}", ids=",".join(members)),
            _edit("POST", f"/3/album/{album}/add", ids=image),
            _edit("DELETE", f"/3/album/{album}/remove_images", ids=member),
            _edit("POST", f"/3/image/{image}", title=title),
            _edit("DELETE", f"/3/image/{image}"),
            _edit("DELETE", f"/3/album/{album}"),
        )
        # Deleting is rarer than the rest, or nothing would be left.
        return chance.choices(choices, weights=(3, 3, 2, 4, 3, 4, 1, 1))[0]


def _edit(method: str, path: str, **values: str) -> Edit:
    return Edit(at_s=0, method=method, path=path, fields=values)


def _scope(method: str, path: str) -> dict[str, object]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": b"",
        "headers": [
            (b"authorization", f"Bearer {_TOKEN}".encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ],
        "client": (ADDRESS, 50_000),
        "server": ("127.0.0.1", 80),
    }


class _Counted:
    """A happening with how often it happened, and how often it was refused."""

    def __init__(self, rule: Happening, *, now: float) -> None:
        self.rule = rule
        self.acted = 0
        self.refused = 0
        seed = 0 if isinstance(rule, Edit) else rule.seed
        self.chance = Random(seed)  # noqa: S311 - replayable on purpose
        self.next_at = now + (rule.at_s if isinstance(rule, Edit) else self.pause())

    def pause(self) -> float:
        """Return seconds to the next time, by chance."""
        assert not isinstance(self.rule, Edit)
        return self.chance.expovariate(self.rule.per_hour / _HOUR_S)


class Others:
    """The happenings in force."""

    def __init__(
        self,
        *,
        clock: Clock,
        agenda: Agenda,
        accounting: Accounting,
        device: OtherDevice,
        client_id: str,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._accounting = accounting
        self._device = device
        self._client_id = client_id
        self._happenings: list[_Counted] = []

    def replace(self, rules: Sequence[Happening]) -> None:
        """Put these in place of all others; their time begins now."""
        now = self._clock.now()
        self._happenings = [_Counted(rule, now=now) for rule in rules]
        for happening in self._happenings:
            if not isinstance(happening.rule, Spending):
                self._agenda.put(happening.next_at, self._editing(happening))

    def describe(self) -> list[dict[str, object]]:
        """Return the rules and what they have counted, as JSON values."""
        return [
            {**asdict(it.rule), "acted": it.acted, "refused": it.refused}
            for it in self._happenings
        ]

    def spend(self) -> None:
        """Take the credits that others have spent up to now."""
        now = self._clock.now()
        for happening in self._happenings:
            if not isinstance(happening.rule, Spending):
                continue
            # Before yesterday's window nothing is counted any more.
            happening.next_at = max(happening.next_at, now - DAY_S)
            while happening.next_at <= now:
                self._spend_one(happening)
                happening.next_at += happening.pause()

    def _spend_one(self, happening: _Counted) -> None:
        accounting, at = self._accounting, happening.next_at
        if accounting.client.is_exhausted(self._client_id, at):
            # Theirs is the request that is refused, and the strike is everybody's.
            accounting.charge(user=ADDRESS, client=self._client_id, cost=0, now=at)
            happening.refused += 1
            return
        accounting.client.spend(self._client_id, at, 1)
        happening.acted += 1

    def _editing(self, happening: _Counted) -> Event:
        rule = happening.rule
        assert not isinstance(rule, Spending)

        async def edit() -> None:
            if happening not in self._happenings:
                return
            if isinstance(rule, Edit):
                wish = rule
            else:
                wish = self._device.think_of(happening.chance)
            status = await self._device.ask(wish)
            happening.acted += 1
            happening.refused += status != 200
            if not isinstance(rule, Edit) and happening.acted != rule.count:
                happening.next_at += happening.pause()
                self._agenda.put(happening.next_at, edit)

        return edit
