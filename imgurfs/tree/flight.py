"""One flight for many callers: whoever asks for the same thing shares the answer.

With a nursery the work lives there, so that one caller's deadline does not end what
others wait for; without one the first caller does it, and when it is cancelled the
next takes over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable

import trio

from imgurfs.errors import BudgetError, ImgurfsError
from imgurfs.model import Lane

_LANES = tuple(Lane)


class _Flight:
    """Work in the air. Neither error nor success when its leader was cancelled."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.landed = trio.Event()
        self.is_abandoned = False
        self.error: ImgurfsError | None = None
        self.result: object = None


class SingleFlight:
    """Runs at most one piece of work per key at a time."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self.nursery: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<SingleFlight {len(self._flights)} in the air>"

    async def run(
        self, key: Hashable, lane: Lane, work: Callable[[Lane], Awaitable[object]]
    ) -> object:
        """Do ``work`` or join the flight that does it; return or raise what it does.

        A caller in a more urgent lane than the flight's does not accept the less
        urgent lane's BudgetError: it tries again for itself.
        """
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.is_abandoned:
                continue
            is_more_urgent = _LANES.index(lane) < _LANES.index(flight.lane)
            if isinstance(flight.error, BudgetError) and is_more_urgent:
                continue
            return _outcome(flight)
        flight = self._flights[key] = _Flight(lane)
        if self.nursery is None:
            await self._fly(key, flight, work)
        else:
            self.nursery.start_soon(self._fly, key, flight, work)
            await flight.landed.wait()
        assert not flight.is_abandoned, "cancelled, and yet here"
        return _outcome(flight)

    async def _fly(
        self,
        key: Hashable,
        flight: _Flight,
        work: Callable[[Lane], Awaitable[object]],
    ) -> None:
        try:
            flight.result = await work(flight.lane)
        except ImgurfsError as error:
            flight.error = error
        except BaseException:
            flight.is_abandoned = True
            raise
        finally:
            del self._flights[key]
            flight.landed.set()


def _outcome(flight: _Flight) -> object:
    if flight.error is not None:
        raise flight.error
    return flight.result
