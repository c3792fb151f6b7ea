"""Waiting for the files of ``imgurfs upload``: queues, sends if nobody does, and looks.

Not a command; it prints nothing but what its caller is to show.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from imgurfs.cli.upload_files import (
    ROOM_POLL_S,
    Item,
    Queuer,
    find_album,
    give_link,
)

if TYPE_CHECKING:
    import trio

    from imgurfs.assembly import Services
    from imgurfs.cli.context import Context
    from imgurfs.config import Config
    from imgurfs.draining import Draining
    from imgurfs.jobs.by_hand import Album
    from imgurfs.store.outbox import Job

log = logging.getLogger(__name__)

#: How often the tables are looked at; asking whether they changed costs microseconds.
_LOOK_S = 0.1
#: Nothing changes by itself but time: jobs are looked at this often anyway.
_LOOK_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for beside the files; "" for nothing."""

    album: str
    title: str
    is_patient: bool


@dataclass(slots=True)
class Ended:
    """How it ended. ``reason`` is why files wait, ``who`` who sends them."""

    album: dict[str, str] | None = None
    is_interrupted: bool = False
    is_album_open: bool = False
    reason: str = ""
    who: str = "the next mount, daemon, sync or upload sends them"
    strays: list[bytes] = field(default_factory=list)
    directory: str = ""


async def run(
    context: Context,
    settings: Config,
    items: list[Item],
    wish: Wish,
    show: Callable[[list[Item]], None],
) -> Ended:
    """Queue the files; wait until they are uploaded, if that is wished for.

    Raises LoginNeededError, DatabaseError, UsageError.
    """
    from imgurfs.assembly import open_account

    async with open_account(settings, context.account) as services:
        album = await _album(services, wish.album) if wish.album else None
        run = _Run(context, services, items, wish=wish, album=album, show=show)
        return await run.run()


async def _album(services: Services, wanted: str) -> Album:
    """Return the album a user means; ask Imgur before a new one is made."""
    from imgurfs.errors import RemoteError
    from imgurfs.model import Lane
    from imgurfs.tree.refresh import Refresher

    found = find_album(services.db.reader, wanted)
    if found.id is not None:
        return found
    refresher = Refresher(db=services.db, api=services.api, clock=services.clock)
    try:
        await refresher.refresh_albums(Lane.INTERACTIVE)
    except RemoteError as error:
        # Whoever sends looks once more: it is made only if nobody has made it.
        log.info("the albums cannot be listed now: %s", error.message)
    return find_album(services.db.reader, wanted)


class _Run:
    """One run of the command."""

    def __init__(
        self,
        context: Context,
        services: Services,
        items: list[Item],
        *,
        wish: Wish,
        album: Album | None,
        show: Callable[[list[Item]], None],
    ) -> None:
        import trio

        from imgurfs.assembly import make_draining
        from imgurfs.cli.opened import Opened
        from imgurfs.cli.sending import SendingView
        from imgurfs.jobs import queueing
        from imgurfs.tree.refresh import Refresher

        self._services = services
        self._items = items
        self._album = album
        self._is_patient = wish.is_patient
        self._show = show
        self._state = Opened(
            services.config,
            services.paths,
            services.db,
            services.ledger,
            services.clock,
        )
        self._view = SendingView(
            self._state,
            is_quiet=context.verbosity < 0,
            key_prefix=queueing.upload_key(queueing.BY_HAND, b""),
        )
        refresher = Refresher(db=services.db, api=services.api, clock=services.clock)
        self._draining: Draining = make_draining(
            services, refresher, on_progress=self._view.note
        )
        self._queuer = Queuer(services, album=album, image_title=wish.title)
        self._ended = Ended()
        self._ended.directory = str(services.paths.outgoing_dir)
        self._is_fed = False
        self._is_full = False
        self._is_stopping = False
        self._needed = trio.Event()

    async def run(self) -> Ended:
        """Queue, wait, and say how it ended."""
        import trio

        await self._queuer.tidy()
        with self._view:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_on_signal)
                sent, fed = trio.Event(), trio.Event()
                if self._is_patient:
                    nursery.start_soon(self._view.run)
                    nursery.start_soon(self._send, sent)
                nursery.start_soon(self._feed, fed)
                await self._watch()
                self._is_stopping = True
                self._draining.stop()
                self._needed.set()
                if self._is_patient:
                    await sent.wait()
                await fed.wait()
                nursery.cancel_scope.cancel()
        self._look()
        self._show(self._items)
        self._ended.strays = await self._queuer.tidy()
        self._conclude()
        return self._ended

    async def _send(self, sent: trio.Event) -> None:
        """Send while nobody else does, once there is something; say when that ended."""
        try:
            await self._needed.wait()
            await self._draining.run()
        finally:
            sent.set()

    async def _stop_on_signal(self) -> None:
        """Begin nothing new at the first Ctrl-C, abandon what is sent at the next."""
        import trio

        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                if self._ended.is_interrupted:
                    raise KeyboardInterrupt
                self._ended.is_interrupted = True
                click.echo("finishing what is in the air (again: abandon it)", err=True)

    # --- Queueing -----------------------------------------------------------------

    async def _feed(self, fed: trio.Event) -> None:
        """Queue the files in their order, as there is room."""
        import trio

        for one in self._items:
            while not self._is_stopping and not await self._queuer.put(one):
                if not self._is_patient or not self._pending():
                    one.error = self._queuer.no_room()
                    break
                self._is_full = True
                await trio.sleep(ROOM_POLL_S)
            self._is_full = False
            if one.job_id is not None:
                self._needed.set()
            self._draining.wake()
            self._show(self._items)
        self._is_fed = True
        fed.set()

    def _pending(self) -> list[Item]:
        """Return the files that are queued and not over."""
        return [one for one in self._items if one.job_id and not one.is_over]

    # --- Looking -------------------------------------------------------------------

    async def _watch(self) -> None:
        """Return when nothing is left that this command can wait for."""
        import trio

        version, looked_s = -1, -_LOOK_AGAIN_S
        while not self._ended.is_interrupted:
            await trio.sleep(_LOOK_S)
            now_s = self._services.clock.monotonic()
            known = self._services.db.data_version()
            is_old = now_s - looked_s >= _LOOK_AGAIN_S
            # Our own drainer's commits do not change the version that we see.
            if known != version or is_old or self._pending():
                version, looked_s = known, now_s
                self._look()
                self._show(self._items)
                if self._is_over():
                    return

    def _look(self) -> None:
        from imgurfs.store import outbox

        for one in self._pending():
            assert one.job_id is not None
            job = outbox.job(self._services.db.reader, one.job_id)
            assert job is not None
            self._settle(one, job)

    def _settle(self, one: Item, job: Job) -> None:
        """Note what has become of a file, if its job is over."""
        from imgurfs.jobs import by_hand
        from imgurfs.store.outbox import JobState

        c = self._services.db.reader
        if job.state is JobState.DEAD:
            one.error = f"Imgur refused it: {job.error}"
        if job.state not in (JobState.DONE, JobState.CANCELLED):
            return
        image_id = by_hand.image_of(c, job, one.digest)
        if image_id is None:
            one.error = f"it was not uploaded: {job.error}"
            return
        one.is_new = job.state is JobState.DONE
        give_link(c, one, image_id)

    def _is_over(self) -> bool:
        """Whether everything is over, or the rest needs somebody else."""
        from imgurfs.draining import LOGIN_NOTICE
        from imgurfs.errors import LoginNeededError
        from imgurfs.store import notices

        if not self._is_fed and not self._is_full:
            return False
        if not self._is_patient:
            return self._is_fed
        if not self._left():
            return self._is_fed
        told = notices.everything(self._services.db.reader).get(LOGIN_NOTICE)
        if told is not None:
            raise LoginNeededError(
                f"{told}; what is queued stays queued", hint="run: imgurfs login"
            )
        tell = self._state.waiting_teller()
        waits = [tell(job) for job in self._left()]
        if not all(one.needs_user for one in waits):
            return False
        self._ended.reason = waits[0].reason
        return True

    def _left(self) -> list[Job]:
        """Return the unfinished jobs of our files and their album."""
        from imgurfs.jobs import by_hand
        from imgurfs.store import outbox

        c = self._services.db.reader
        ids = [one.job_id for one in self._pending() if one.job_id]
        found = [job for i in ids if (job := outbox.job(c, i)) is not None]
        if self._album is not None:
            found += by_hand.album_work(c, self._album)
        return found

    def _conclude(self) -> None:
        """Note what there is to say at the end."""
        from imgurfs.jobs import by_hand, queueing
        from imgurfs.locks import FileLock
        from imgurfs.store import entries, synced

        places, c = self._services.paths, self._services.db.reader
        if not all(
            FileLock(path).is_free() for path in (places.daemon_lock, places.drain_lock)
        ):
            self._ended.who = "what is uploading for this account sends them"
        if self._album is None:
            return
        found = synced.album_of(c, queueing.BY_HAND, self._album.slot)
        node = entries.node_of_album(c, found) if found else None
        link = node.album.link if node and node.album else ""
        self._ended.album = {
            "id": found or "",
            "title": self._album.title,
            "link": link or (f"https://imgur.com/a/{found}" if found else ""),
        }
        self._ended.is_album_open = bool(by_hand.album_work(c, self._album))
