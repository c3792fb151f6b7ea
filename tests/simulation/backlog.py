"""A backlog of 2,000 photos in 40 new albums, in virtual time: calls, credits, hours.

    python -m tests.simulation.backlog [--photos 2000] [--albums 40]

The real folder, drainer, client and ledger over the emulator in this process, once for
each limit of credits per hour: 500 (with 50 uploads an hour, as observed), 2,000 and
none. What counts is what the emulator counted. The optimum is arithmetic: every window
spent to the last call the moment it opens, the floor of the client's day kept, no
margin and no lane's share. It is told for the uploads and albums alone, and with the
reads that verifying took, which are bounded themselves: an hour's window more or less
may hang on a few of them, and that is what the time is measured against.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
import trio.testing

from imgurfs import config, paths
from imgurfs.api.tokens import Token, TokenStore
from imgurfs.assembly import open_account
from imgurfs.budget import kept_from_uploads
from imgurfs.clock import TrioClock
from imgurfs.emulator.app import Emulator, build
from imgurfs.emulator.clock import LoopClock
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.rules.limits import Limits
from imgurfs.executor import InlineExecutor
from imgurfs.limits import DRAIN_CONCURRENCY_MAX, UPLOAD_CREDITS
from imgurfs_daemon.service import Daemon
from tests.support.connected import API_URL, CDN_URL, EPOCH_S
from tests.support.pictures import small_picture
from tests.support.simtransport import SimTransport

#: Seconds from a request to its answer.
LATENCY_S = 2.0
#: Credits and POSTs beyond the bound, for verifying; and time beyond the optimum.
MORE_SHARE = 0.01

SETTINGS = (
    Limits(),
    Limits(user_credits_per_hour=2000, uploads_per_hour=None),
    Limits(user_credits_per_hour=None, uploads_per_hour=None),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the emulator counted, beside the bounds; times in hours."""

    limits: Limits
    posts: int
    posts_bound: int
    credits: int
    credits_bound: int
    hours: float
    hours_bound: float
    hours_bound_read: float
    refusals: int
    is_complete: bool

    @property
    def is_good(self) -> bool:
        """Whether everything arrived within the bounds."""
        return (
            self.is_complete
            and self.refusals == 0
            and self.posts == self.posts_bound
            and self.credits <= self.credits_bound * (1 + MORE_SHARE)
            and self.hours <= self.hours_bound_read * (1 + MORE_SHARE)
        )

    def __str__(self) -> str:
        user = self.limits.user_credits_per_hour or "none"
        return (
            f"user limit {user}: {self.posts} POSTs (bound {self.posts_bound}),"
            f" {self.credits} credits (bound {self.credits_bound},"
            f" {self.credits / self.credits_bound - 1:+.2%}), {self.hours:.2f} h"
            f" (x {self.hours / self.hours_bound_read:.4f} of"
            f" {self.hours_bound_read:.2f}; without reads"
            f" x {self.hours / self.hours_bound:.4f} of {self.hours_bound:.2f}),"
            f" {self.refusals} refusals,"
            f" {'complete' if self.is_complete else 'NOT COMPLETE'}"
        )


def optimum_h(limits: Limits, *, photos: int, albums: int, reads: int = 0) -> float:
    """Return the hours that nobody can do it in less than, with so many reads."""
    rate = DRAIN_CONCURRENCY_MAX / LATENCY_S
    day = limits.client_credits_per_day or 0
    wholes = {
        "posts": (limits.posts_per_hour, 3600.0),
        "user": (limits.user_credits_per_hour, 3600.0),
        "uploads": (limits.uploads_per_hour, 3600.0),
        "client": (day - kept_from_uploads(day, 0), 86_400.0),
    }
    # An album's share of the calls goes with each photo.
    each = UPLOAD_CREDITS + (albums + reads) / photos
    prices = {
        "posts": 1 + albums / photos,
        "user": each,
        "uploads": 1.0,
        "client": each,
    }
    left = {name: float(whole or math.inf) for name, (whole, _) in wholes.items()}
    ends = dict.fromkeys(wholes, math.inf)
    now, waiting = 0.0, float(photos)
    while waiting > 1e-6:
        for name, (whole, length_s) in wholes.items():
            if now >= ends[name]:
                left[name], ends[name] = float(whole or math.inf), math.inf
            if ends[name] == math.inf:
                ends[name] = now + length_s
        room = min(left[name] / prices[name] for name in wholes)
        sent = min(waiting, room)
        waiting -= sent
        for name, price in prices.items():
            left[name] -= sent * price
        now += sent / rate
        if waiting > 1e-6:
            short = [name for name in wholes if left[name] < prices[name]]
            now = max(now, *(ends[name] for name in short))
    return now / 3600


async def run(limits: Limits, directory: Path, *, photos: int, albums: int) -> Outcome:
    """Upload the backlog; ``directory`` is where everything is kept."""
    root = directory / "folder"
    for number in range(photos):
        file = root / f"album {number % albums:02}" / f"{number:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(small_picture(f"photo {number}"))
        os.utime(file, (EPOCH_S - 86_400, EPOCH_S - 86_400))
    async with _daemon(limits, directory, root) as (daemon, emulator):
        folder = daemon.folders[0]
        spent = _Spending(emulator)
        images, albums_before = set(emulator.world.images), set(emulator.world.albums)
        while True:
            look = await folder.sync()
            if look.settles_in_s is not None:
                await trio.sleep(look.settles_in_s)
                continue
            began = trio.current_time() if spent.began_at is None else spent.began_at
            spent.began_at = began
            if not look.actions:
                break
            await daemon.drainer.run_until_idle(patience_s=math.inf)
        seen = emulator.world
        sizes = [
            len(album.images)
            for album_id, album in seen.albums.items()
            if album_id not in albums_before
        ]
        observations = emulator.observations
        return Outcome(
            limits=limits,
            posts=observations.posts,
            posts_bound=photos + albums,
            credits=spent.credits(),
            credits_bound=photos * UPLOAD_CREDITS + albums,
            hours=(spent.last_at - EPOCH_S - began) / 3600,
            hours_bound=optimum_h(limits, photos=photos, albums=albums),
            hours_bound_read=optimum_h(
                limits, photos=photos, albums=albums, reads=spent.reads()
            ),
            refusals=sum(
                count
                for status, count in observations.api_statuses.items()
                if not status.startswith("2")
            ),
            is_complete=len(seen.images.keys() - images) == photos
            and sizes == [photos // albums] * albums,
        )


class _Spending:
    """What the emulator's meters took, and when an upload was last taken."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.began_at: float | None = None

    def credits(self) -> int:
        """Return the credits of all requests so far."""
        observations = self._emulator.observations
        requests = observations.api_routes.total()
        return requests + observations.uploads * (UPLOAD_CREDITS - 1)

    def reads(self) -> int:
        """Return the requests that were no POSTs."""
        observations = self._emulator.observations
        return observations.api_routes.total() - observations.posts

    @property
    def last_at(self) -> float:
        """When the newest image was made (an epoch)."""
        return max(image.datetime_s for image in self._emulator.world.images.values())


@asynccontextmanager
async def _daemon(
    limits: Limits, directory: Path, root: Path
) -> AsyncIterator[tuple[Daemon, Emulator]]:
    for name in ("STATE", "CACHE", "CONFIG"):
        os.environ[f"XDG_{name}_HOME"] = str(directory / name.lower())
    emulator = build(
        EmulatorConfig(
            api_url=API_URL, cdn_url=CDN_URL, albums=0, images=0, limits=limits
        ),
        LoopClock(EPOCH_S),
    )
    parsed = config.parse(
        f'[account]\napi_url = "{API_URL}"\ncdn_url = "{CDN_URL}"\n'
        f"[budget]\nuploads_per_hour = {limits.uploads_per_hour or 0}\n"
        f'[[folder]]\npath = "{root}"\n'
    )
    said = emulator.credentials
    account = emulator.world.account(said.username)
    assert account is not None
    TokenStore(paths.account_paths("default").token).save(
        Token(
            access_token=said.access_token,
            refresh_token=said.refresh_token,
            client_id=said.client_id,
            client_secret=said.client_secret,
            account_id=account.id,
            account_name=said.username,
            expires_at=EPOCH_S + 10**8,
        )
    )
    transport = SimTransport(emulator.api, emulator.cdn, latency_s=LATENCY_S)
    async with open_account(
        parsed,
        "default",
        clock=TrioClock(EPOCH_S),
        executor=InlineExecutor(),
        transport=transport,
    ) as services:
        yield Daemon(services, parsed.folder, rng=random.Random(1)), emulator


def main() -> int:
    """Run all limits; return 1 when one misses its bounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--albums", type=int, default=40)
    options = parser.parse_args()
    are_good = True
    for limits in SETTINGS:
        with tempfile.TemporaryDirectory(prefix="backlog-") as name:

            async def go(limits: Limits = limits, name: str = name) -> Outcome:
                return await run(
                    limits, Path(name), photos=options.photos, albums=options.albums
                )

            outcome = trio.run(go, clock=trio.testing.MockClock(autojump_threshold=0))
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()
        are_good = are_good and outcome.is_good
    return 0 if are_good else 1


if __name__ == "__main__":
    sys.exit(main())
