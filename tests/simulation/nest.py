"""A process that has imported everything and forks emulators and daemons on request.

Starting a daemon costs half a second of imports; a kill campaign starts thousands. Here
they are paid once: every order forks this process, and the child becomes the real
program with a session, an environment and a log of its own. What the programs import,
and the emulator draws, only when they run is there as well (:func:`_warm`). Run by
``tests.simulation.stage``: orders come as JSON lines on standard input, an answer to
each goes to standard output. When the input ends the children are killed.

Time: with a ``rate`` above 1 emulator and daemon live that much faster than this
machine, both by the same clock, so that no period of the program has to be shortened
for a test. With rate 1 the daemon is ``imgurfs-daemon`` itself.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

import imgurfs_daemon.cli
from imgurfs import config as settings
from imgurfs import crashpoints
from imgurfs.assembly import open_account
from imgurfs.emulator import app
from imgurfs.emulator.config import EmulatorConfig
from imgurfs.emulator.hosts import server
from imgurfs.emulator.rules.limits import Limits
from imgurfs.emulator.rules.quirks import parse_quirks
from imgurfs.notify import Notifier
from imgurfs_daemon.supervisor import Supervisor
from tests.simulation.fastclock import FastClock

Order = dict[str, Any]

#: What the programs import when they first need it.
_LATE = (
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore",
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
)
#: Budgets are told in every answer, and never in the way.
_PLENTY = Limits(
    user_credits_per_hour=10_000_000,
    client_credits_per_day=100_000_000,
    posts_per_hour=1_000_000,
    uploads_per_hour=None,
)


def _emulator(order: Order, clock: FastClock) -> None:
    """Be an emulator; say where in the file ``address``."""
    listeners = server.open_listeners("127.0.0.1", api_port=0, cdn_port=0)
    emulator = app.build(
        EmulatorConfig(
            api_url=listeners.api_url,
            cdn_url=listeners.cdn_url,
            albums=order["albums"],
            images=order["images"],
            limits=_PLENTY,
            quirk_changes=parse_quirks(order["quirks"]),
        ),
        clock,
    )
    said = {"api_url": listeners.api_url, "cdn_url": listeners.cdn_url}
    said |= asdict(emulator.credentials)
    account = emulator.world.account(emulator.credentials.username)
    assert account is not None
    address = Path(order["address"])
    temporary = address.with_suffix(".new")
    temporary.write_text(json.dumps({**said, "account_id": account.id}))
    temporary.rename(address)
    server.serve(emulator, listeners)


def _daemon(order: Order, clock: FastClock) -> None:
    """Be the daemon."""
    if clock.rate == 1:
        sys.argv = ["imgurfs-daemon"]
        imgurfs_daemon.cli.main()
        return
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s"
    )
    for noisy in ("httpcore", "httpx", "watchdog"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    trio.run(_serve, clock, clock=MockClock(rate=clock.rate))


async def _serve(clock: FastClock) -> None:
    """Do what ``imgurfs_daemon.cli`` does, by another clock."""
    supervisor = Supervisor(
        settings.load,
        notifier=Notifier(),
        clock=clock,
        opener=functools.partial(open_account, clock=clock),
    )
    async with trio.open_nursery() as signals:
        await signals.start(imgurfs_daemon.cli._obey, supervisor)
        await supervisor.run()
        signals.cancel_scope.cancel()


def _mount(order: Order, _clock: FastClock) -> None:
    """Be ``imgurfs mount --foreground``, by the machine's clock."""
    import imgurfs.cli.main

    sys.argv = ["imgurfs", "mount", "--foreground", order["mountpoint"]]
    imgurfs.cli.main.main()


_ROLES: dict[str, Callable[[Order, FastClock], None]] = {
    "emulator": _emulator,
    "daemon": _daemon,
    "mount": _mount,
}


def _become(order: Order) -> None:
    """Turn this forked process into what is asked for; never returns."""
    code = 1
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(order["environ"])
        crashpoints.arm(os.environ)
        _ROLES[order["role"]](order, FastClock(**order["clock"]))
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # the end of a process: it must not become a second nest
        logging.getLogger(__name__).exception("the %s failed", order["role"])
    finally:
        os._exit(code)


def _warm() -> None:
    """Load and draw now what each child would load and draw for itself."""
    for name in _LATE:
        importlib.import_module(name)
    app.build(
        EmulatorConfig(api_url="http://a", cdn_url="http://b", albums=1, images=1),
        FastClock(rate=1, began_at=0, began_s=0),
    )
    gc.collect()
    gc.freeze()  # else the children's collections would copy all of it


def main() -> None:
    """Serve until the orders end."""
    _warm()
    children: set[int] = set()
    for line in sys.stdin:
        order: Order = json.loads(line)
        answer: Order = {}
        if order["do"] == "start":
            pid = os.fork()
            if pid == 0:
                _become(order)
            children.add(pid)
            answer["pid"] = pid
        else:
            _, status = os.waitpid(order["pid"], 0)
            children.discard(order["pid"])
            answer["code"] = os.waitstatus_to_exitcode(status)
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
