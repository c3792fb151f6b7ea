"""Drainers over the emulator, as a newly started process would have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from imgurfs import limits
from imgurfs.drain import Drainer
from imgurfs.executor import InlineExecutor
from imgurfs.jobs.listings import Listings
from imgurfs.locks import FileLock
from imgurfs.marker import DEVICE_ID_BYTES
from imgurfs.store.database import Database
from imgurfs.tree.refresh import Refresher
from tests.support.connected import Connected

#: This machine, in every test.
DEVICE_ID = b"d" * DEVICE_ID_BYTES


def drainer_over(
    world: Connected,
    db: Database,
    directory: Path,
    *,
    refresher: Refresher | None = None,
    cache_dir: Path | None = None,
    delete_grace_s: float = limits.DELETE_GRACE_S,
    is_name_title: bool = True,
    is_guarded: bool = True,
    may_send: Callable[[], bool] = lambda: True,
) -> Drainer:
    """Return one that has its lock and the spool in ``directory``.

    Without a ``refresher`` it reads the account's listings by one of its own.
    """
    clock = world.clock
    refresher = refresher or Refresher(db=db, api=world.api, clock=clock)
    return Drainer(
        db=db,
        api=world.api,
        ledger=world.ledger,
        account=Listings(db=db, api=world.api, refresher=refresher, clock=clock),
        clock=clock,
        executor=InlineExecutor(),
        device_id=DEVICE_ID,
        lock=FileLock(directory / "drain.lock"),
        spool_dir=directory / "spool",
        cache_dir=cache_dir,
        delete_grace_s=delete_grace_s,
        is_name_title=is_name_title,
        is_guarded=is_guarded,
        may_send=may_send,
    )
