"""Puts an emulator together: two ASGI applications over one world.

Runs nothing and opens nothing but the data directory, if there is one; ``server`` or an
in-process transport does the rest. Both applications work on asyncio and on trio.

A request passes, from the outside: the faults, what is due by now (``agenda``), lists
of the past (``lag``), the keeping of what it changes, and the host itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from imgurfs.emulator.clock import Clock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.context import Context
from imgurfs.emulator.hosts.admin import Admin
from imgurfs.emulator.hosts.api import ApiHost
from imgurfs.emulator.hosts.cdn import CdnHost
from imgurfs.emulator.hosts.observations import Observations
from imgurfs.emulator.rules.accounting import Accounting
from imgurfs.emulator.rules.wire import Writer
from imgurfs.emulator.trouble.agenda import Agenda, EventClock, TimelyHost
from imgurfs.emulator.trouble.faultrules import Action, Rule
from imgurfs.emulator.trouble.faults import FaultBook, FaultyHost
from imgurfs.emulator.trouble.lag import History, LaggingHost
from imgurfs.emulator.trouble.others import OtherDevice, Others
from imgurfs.emulator.world.keeping import ChangingHost
from imgurfs.emulator.world.persistence import Archive
from imgurfs.emulator.world.sample import SAMPLE_ID, Credentials, populate
from imgurfs.emulator.world.world import World

#: What the world at the beginning is made from.
_BEGINNING = ("albums", "images", "seed", "username", "large_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """One Imgur. ``api`` and ``cdn`` are ASGI applications; the rest is for tests."""

    api: ASGIApp
    cdn: ASGIApp
    credentials: Credentials
    config: EmulatorConfig
    context: Context
    faults: FaultBook
    agenda: Agenda
    history: History
    admin: Admin
    archive: Archive | None

    @property
    def world(self) -> World:
        """Everything that exists."""
        return self.context.world

    @property
    def observations(self) -> Observations:
        """Counters and the request log."""
        return self.context.observations

    def close(self) -> None:
        """Let go of the data directory, if there is one. Nothing is lost without."""
        if self.archive is not None:
            self.archive.close()


def build(
    config: EmulatorConfig,
    clock: Clock,
    *,
    faults: tuple[Rule, ...] = (),
    data: Path | None = None,
) -> Emulator:
    """Return an emulator with the world that the configuration describes.

    With ``data`` its state is kept in that directory, and what was kept there before
    goes on: options about the beginning that are left at their defaults are those of
    the first time. Raises PersistenceError.
    """
    if data is None:
        return _build(config, clock, faults=faults, archive=None)
    with contextlib.ExitStack() as on_failure:
        archive = Archive(data)
        on_failure.callback(archive.close)
        config = _as_begun(config, archive)
        emulator = _build(config, clock, faults=faults, archive=archive)
        on_failure.pop_all()
        return emulator


def _as_begun(config: EmulatorConfig, archive: Archive) -> EmulatorConfig:
    usual: Mapping[str, Any] = {
        it.name: it.default for it in fields(config) if it.default is not MISSING
    }
    numbers = {name: getattr(config, name) for name in _BEGINNING}
    begun = archive.begin(numbers, usual=usual)
    return replace(config, **begun)


def _build(
    config: EmulatorConfig,
    clock: Clock,
    *,
    faults: tuple[Rule, ...],
    archive: Archive | None,
) -> Emulator:
    world = World(config.seed)
    credentials = populate(world, config)
    if archive is not None:
        archive.restore(world)
        credentials = _still_valid(world, credentials, now=clock.now())
    inside = EventClock(clock)
    context = Context(
        config=config,
        clock=inside,
        world=world,
        writer=Writer(world, config, inside),
        accounting=Accounting(config.limits),
        observations=Observations(),
    )
    emulator = _connect(context, clock, credentials=credentials, archive=archive)
    emulator.faults.replace(faults)
    return emulator


def _connect(
    context: Context,
    clock: Clock,
    *,
    credentials: Credentials,
    archive: Archive | None,
) -> Emulator:
    """Put the layers around the hosts."""
    config = context.config

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        # The other device asks behind the faults and behind the agenda it is in.
        await changing(scope, receive, send)

    agenda = Agenda(clock)
    device = OtherDevice(inside, context.world, client_id=credentials.client_id)
    others = Others(
        clock=clock,
        agenda=agenda,
        accounting=context.accounting,
        device=device,
        client_id=credentials.client_id,
    )
    book = FaultBook(others)
    admin = Admin(context, book)
    usual_lag_s = config.quirks.listing_lag_s
    history = History(
        context.world,
        context.clock,
        window=lambda: max(usual_lag_s, book.lag_s_max),
    )
    changing = ChangingHost(
        ApiHost(context, admin),
        before=history.remember,
        keep=archive.keep if archive else None,
    )
    lagging = LaggingHost(
        changing,
        history,
        clock=context.clock,
        usual_s=usual_lag_s,
        view=lambda past: ApiHost(_seen_in(context, past), admin),
    )

    outside = _Outside(
        context=context, clock=clock, agenda=agenda, others=others, book=book
    )
    return Emulator(
        api=outside.of(lagging, "api"),
        cdn=outside.of(CdnHost(context), "cdn"),
        credentials=credentials,
        config=config,
        context=context,
        faults=book,
        agenda=agenda,
        history=history,
        admin=admin,
        archive=archive,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outside:
    """The two outermost layers, the same around both hosts."""

    context: Context
    clock: Clock
    agenda: Agenda
    others: Others
    book: FaultBook

    def of(self, inner: ASGIApp, host: str) -> ASGIApp:
        """Return a host as its callers see it."""
        return FaultyHost(
            TimelyHost(inner, self.agenda, before=self.others.spend),
            late=inner,
            host=host,
            book=self.book,
            clock=self.clock,
            dialect=self.context.dialect,
            agenda=self.agenda,
            observations=self.context.observations,
            instead=_pretences(self.context),
        )


def _seen_in(context: Context, world: World) -> Context:
    """Return what answers about another world with the same callers and credits."""
    return replace(context, world=world, writer=replace(context.writer, world=world))


def _pretences(context: Context) -> dict[Action, ASGIApp]:
    """Return the CDN as it is where everything is gone, and where nothing is shown."""
    blocked = {**context.config.quirk_changes, "region_block": "on"}
    config = replace(context.config, quirk_changes=blocked)
    return {
        Action.REMOVED: CdnHost(_seen_in(context, World(seed=0))),
        Action.PLACEHOLDER: CdnHost(replace(context, config=config)),
    }


def _still_valid(world: World, begun: Credentials, *, now: float) -> Credentials:
    """Return credentials that work; those of the beginning may have been replaced."""
    account = world.account_by_id(SAMPLE_ID)
    username = account.url if account else begun.username
    mine = (username, begun.client_id)
    refresh = [text for text, owner in world.refresh_tokens.items() if owner == mine]
    access = [
        it.text
        for it in world.access_tokens.values()
        if (it.account, it.client_id) == mine and it.expires_at > now
    ]
    return replace(
        begun,
        username=username,
        refresh_token=_last(refresh, begun.refresh_token),
        access_token=_last(access, begun.access_token),
    )


def _last(texts: list[str], usual: str) -> str:
    return usual if usual in texts or not texts else texts[-1]
