"""Puts an emulator together: two ASGI applications over one world.

Runs nothing and opens nothing; ``server`` or an in-process transport does. Both
applications work on asyncio and on trio.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp

from imgurfs.emulator.accounting import Accounting
from imgurfs.emulator.admin import Admin
from imgurfs.emulator.api import ApiHost
from imgurfs.emulator.cdn import CdnHost
from imgurfs.emulator.clock import Clock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.context import Context
from imgurfs.emulator.faults import FaultBook, FaultRule, FaultyHost
from imgurfs.emulator.observations import Observations
from imgurfs.emulator.sample import Credentials, populate
from imgurfs.emulator.wire import Writer
from imgurfs.emulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """One Imgur. ``api`` and ``cdn`` are ASGI applications; the rest is for tests."""

    api: ASGIApp
    cdn: ASGIApp
    credentials: Credentials
    config: EmulatorConfig
    context: Context
    faults: FaultBook
    admin: Admin

    @property
    def world(self) -> World:
        """Everything that exists."""
        return self.context.world

    @property
    def observations(self) -> Observations:
        """Counters and the request log."""
        return self.context.observations


def build(
    config: EmulatorConfig, clock: Clock, *, faults: tuple[FaultRule, ...] = ()
) -> Emulator:
    """Return a new emulator with the world that the configuration describes."""
    world = World(config.seed)
    credentials = populate(world, config)
    context = Context(
        config=config,
        clock=clock,
        world=world,
        writer=Writer(world, config.dialect, config.cdn_url),
        accounting=Accounting(config.limits),
        observations=Observations(),
    )
    book = FaultBook(faults)
    admin = Admin(context, book)

    def faulty(inner: ASGIApp, host: str) -> FaultyHost:
        return FaultyHost(
            inner, host=host, book=book, clock=clock, dialect=config.dialect
        )

    return Emulator(
        api=faulty(ApiHost(context, admin), "api"),
        cdn=faulty(CdnHost(context), "cdn"),
        credentials=credentials,
        config=config,
        context=context,
        faults=book,
        admin=admin,
    )
