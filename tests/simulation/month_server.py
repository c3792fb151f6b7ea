"""The server of a simulated month: the emulator's bookkeeping, and a judge beside it.

Asked as ``imgurfs.emulator.hosts.api`` asks it. The judge knows which header came last
and what arrived since, and says of every refusal whose fault it was; it shares no code
with the budget it judges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from imgurfs import limits
from imgurfs.budget import CAPACITY, Scope, charge
from imgurfs.emulator.rules.accounting import DAY_S, HOUR_S, Accounting, Reading
from imgurfs.emulator.rules.limits import Limits
from imgurfs.model import RateHeaders, RequestClass, RequestKind

CLIENT = "client"
ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Month:
    """One month: its seed and what the server allows. None = no such limit."""

    seed: int
    user_limit: int | None = 500
    upload_cost: int = 10
    uploads_limit: int | None = 50
    client_limit: int = 12_500
    accounts: int = 2

    def __str__(self) -> str:
        return (
            f"month {self.seed} (user {self.user_limit or 'none'},"
            f" day {self.client_limit}, cost {self.upload_cost},"
            f" uploads {self.uploads_limit or 'none'})"
        )

    @property
    def configured(self) -> int:
        """The setting for uploads an hour: as shipped, or none where there is none."""
        return limits.UPLOADS_PER_HOUR if self.uploads_limit is not None else 0

    def chance(self, purpose: str) -> Random:
        """Return a source of chance of its own for each purpose."""
        return Random(f"{self.seed} {purpose}")


#: For each counter: what was left by the last header, and since when to count.
Ticket: TypeAlias = dict[Scope, tuple[int, float]]


@dataclass(slots=True)
class Answer:
    """What came back. ``scope`` is "" for a success, else what has to rest."""

    account: str
    at: float
    headers: RateHeaders | None
    scope: str = ""
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused call and whose fault it was."""

    at: float
    scope: str
    request: RequestClass
    is_self_caused: bool
    is_taught: bool
    why: str


@dataclass(slots=True)
class _Told:
    """The newest header of a counter that came, and what of ours arrived since."""

    remaining: int
    at: float = -math.inf
    ends_at: float = math.inf
    arrived: list[tuple[float, int]] = field(default_factory=list)


class Server:
    """Answers calls at given moments. ``refusals``, ``strikes_at``: the record."""

    def __init__(self, month: Month) -> None:
        self.month = month
        self.accounting = Accounting(
            Limits(
                user_credits_per_hour=month.user_limit,
                client_credits_per_day=month.client_limit,
                uploads_per_hour=month.uploads_limit,
                upload_cost=month.upload_cost,
            )
        )
        self.refusals: list[Refusal] = []
        self.strikes_at: list[float] = []
        #: When a blocked client id was told to come back.
        self.blocked: list[tuple[float, float]] = []
        self._days_struck: set[float] = set()
        self._told: dict[tuple[Scope, str], _Told] = {}

    # --- Calls ------------------------------------------------------------------

    def answer(
        self, account: str, request: RequestClass, ticket: Ticket, now: float
    ) -> Answer:
        """Do what the emulator does with this call, and judge a refusal."""
        refused = self._refused(account, request, now)
        headers = self._headers(account, request, now, is_refused=bool(refused))
        if not refused:
            self._arrive(account, request, now)
            return Answer(account, now, headers)
        self._judge(account, request, ticket, refused, now)
        if refused == "client" and self.accounting.is_blocked(CLIENT, now):
            until = now + self.accounting.client.read(CLIENT, now).reset_s
            self.blocked.append((now, until))
        if refused == "upload":
            minutes = self.accounting.upload_wait_minutes(account, now)
            # The credits were taken all the same.
            self._arrive(account, request, now)
            return Answer(account, now, headers, refused, minutes * 60.0)
        return Answer(account, now, headers, *_rest(headers))

    def _refused(self, account: str, request: RequestClass, now: float) -> str:
        accounting = self.accounting
        if request.is_post and not accounting.charge_post(ADDRESS, now):
            return "posts"
        is_upload = request.kind is RequestKind.UPLOAD
        cost = self.month.upload_cost if is_upload else 1
        was_blocked = accounting.is_blocked(CLIENT, now)
        if not accounting.charge(user=account, client=CLIENT, cost=cost, now=now):
            is_empty = accounting.client.is_exhausted(CLIENT, now)
            day = accounting.client.opened_at(CLIENT, now)
            if is_empty and day not in self._days_struck and not was_blocked:
                self._days_struck.add(day)
                self.strikes_at.append(now)
            return "client" if is_empty or was_blocked else "user"
        if is_upload:
            if accounting.upload_wait_minutes(account, now):
                return "upload"
            accounting.uploads.spend(account, now, 1)
        return ""

    def _headers(
        self, account: str, request: RequestClass, now: float, *, is_refused: bool
    ) -> RateHeaders:
        user = self.accounting.user.read(account, now)
        client = self.accounting.client.read(CLIENT, now)
        posts = self.accounting.posts.read(ADDRESS, now) if request.is_post else None
        is_blocked = is_refused and self.accounting.is_blocked(CLIENT, now)
        return RateHeaders(
            user_limit=user.limit,
            user_remaining=user.remaining,
            user_reset_s=float(user.reset_s),
            client_limit=client.limit,
            client_remaining=0 if is_blocked else client.remaining,
            client_reset_s=float(client.reset_s),
            post_limit=posts.limit if posts else None,
            post_remaining=posts.remaining if posts else None,
            post_reset_s=float(posts.reset_s) if posts else None,
        )

    def spend_elsewhere(self, wish: int, now: float, *, leave: int | None) -> None:
        """Another program spends ``wish`` credits, or all but ``leave``.

        It stops at the limit: its own refusals are not ours to count.
        """
        client = self.accounting.client
        left = client.read(CLIENT, now).remaining
        amount = min(wish, left) if leave is None else max(0, left - leave)
        if amount:
            client.spend(CLIENT, now, amount)

    # --- The judge ----------------------------------------------------------------

    def came(self, answer: Answer) -> None:
        """Note that an answer with headers has reached us."""
        headers = answer.headers
        if headers is None:
            return
        for scope, reading in _readings(headers).items():
            told = self._book(scope, answer.account)
            if answer.at >= told.at:
                told.remaining, told.at = reading.remaining, answer.at
                told.ends_at = answer.at + reading.reset_s
                # Calls that are on their way have older tickets.
                oldest = answer.at - 2 * limits.UPLOAD_TIMEOUT_S
                if told.arrived and told.arrived[0][0] < oldest - HOUR_S:
                    told.arrived = [a for a in told.arrived if a[0] > oldest]

    def _book(self, scope: Scope, account: str) -> _Told:
        owner = {Scope.POSTS: ADDRESS, Scope.CLIENT: CLIENT}.get(scope, account)
        return self._told.setdefault((scope, owner), _Told(self._limit(scope)))

    def _limit(self, scope: Scope) -> int:
        meter = {
            Scope.POSTS: self.accounting.posts,
            Scope.USER: self.accounting.user,
            Scope.CLIENT: self.accounting.client,
            Scope.UPLOAD: self.accounting.uploads,
        }[scope]
        return meter.shown

    def _arrive(self, account: str, request: RequestClass, now: float) -> None:
        for scope, amount in charge(request).items():
            if scope is not Scope.UPLOAD:
                self._book(scope, account).arrived.append((now, amount))

    def sent(self, account: str, request: RequestClass, now: float) -> Ticket:
        """Return what the last headers had said when a call was sent."""
        ticket: Ticket = {}
        for scope in charge(request):
            told = self._book(scope, account)
            is_over = now >= told.ends_at
            left = self._limit(scope) if is_over else told.remaining
            ticket[scope] = (left, told.ends_at if is_over else told.at)
        return ticket

    def _judge(
        self,
        account: str,
        request: RequestClass,
        ticket: Ticket,
        refused: str,
        now: float,
    ) -> None:
        scope = Scope(refused)
        is_taught = is_mine = False
        why = "nobody else uploads"
        if scope is Scope.UPLOAD:
            is_taught = (self.month.uploads_limit or 0) < self.month.configured
            is_mine = not is_taught
        else:
            left, since = ticket[scope]
            arrived = self._book(scope, account).arrived
            reserved = sum(amount for at, amount in arrived if at > since)
            is_mine = left - reserved < charge(request)[scope]
            why = f"told {left}, reserved {reserved} since"
        self.refusals.append(Refusal(now, refused, request, is_mine, is_taught, why))


def _readings(headers: RateHeaders) -> Mapping[Scope, Reading]:
    found = {
        Scope.USER: (headers.user_remaining, headers.user_reset_s),
        Scope.CLIENT: (headers.client_remaining, headers.client_reset_s),
        Scope.POSTS: (headers.post_remaining, headers.post_reset_s),
    }
    return {
        scope: Reading(0, remaining, int(reset_s))
        for scope, (remaining, reset_s) in found.items()
        if remaining is not None and reset_s is not None
    }


def _rest(headers: RateHeaders) -> tuple[str, float]:
    """Return what a refusal with these headers is taken for, and for how long."""
    for scope, reading in sorted(_readings(headers).items()):
        if reading.remaining == 0:
            return str(scope), reading.reset_s + limits.RESET_MARGIN_S
    return CAPACITY, limits.CAPACITY_PAUSE_S


@dataclass(frozen=True, slots=True)
class Burst:
    """Credits that another program takes at a moment; ``leave`` = all but so many."""

    at: float
    wish: int
    leave: int | None = None


def others(month: Month, start: float, end: float) -> list[Burst]:
    """Return what other programs spend in a month, in order.

    Most days are quiet, some busy, some heavy; on a few almost nothing is left, and on
    at most two nothing at all. Every second month is rough.
    """
    weights = (55, 25, 12, 6, 2) if month.seed % 2 else (84, 10, 3, 2, 1)
    rng = month.chance("others")
    bursts: list[Burst] = []
    emptied = 0
    day = start
    while day < end:
        kind = rng.choices(("quiet", "busy", "heavy", "near", "whole"), weights)[0]
        if kind == "whole":
            emptied += 1
            kind = "whole" if emptied <= 2 else "near"
        at = day + rng.uniform(0, DAY_S)
        if kind in ("near", "whole"):
            leave = 0 if kind == "whole" else rng.randint(10, 400)
            bursts.append(Burst(at, 0, leave))
        else:
            part = {"quiet": 0.02, "busy": 0.4, "heavy": 0.92}[kind]
            total = int(month.client_limit * part)
            count = rng.randint(1, 200)
            length_s = rng.choice((300.0, HOUR_S, DAY_S))
            bursts += [
                Burst(at + rng.uniform(0, length_s), rng.randint(0, total) // count)
                for _ in range(count)
            ]
        day += DAY_S
    return sorted((b for b in bursts if b.at < end), key=lambda burst: burst.at)
