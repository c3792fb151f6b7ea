"""sd_notify: the datagrams a service manager gets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from imgurfs.notify import Notifier


def listen(address: str) -> socket.socket:
    """Return a socket bound where a service manager would listen."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(address)
    server.settimeout(5)
    return server


def test_states_arrive_as_datagrams(tmp_path: Path) -> None:
    """Each state arrives, a status always in one line."""
    with listen(str(tmp_path / "n")) as server:
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
        notifier.ready()
        notifier.status("two\nlines")
        notifier.watchdog()
        notifier.reloading(12.5)
        notifier.stopping()
        got = [server.recv(100) for _ in range(5)]
    assert got == [
        b"READY=1",
        b"STATUS=two lines",
        b"WATCHDOG=1",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"STOPPING=1",
    ]


def test_abstract_address() -> None:
    """A leading @ means the abstract namespace."""
    name = f"imgurfs-test-{os.getpid()}"
    with listen("\0" + name) as server:
        Notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert server.recv(100) == b"READY=1"


def test_manager_that_went_away_is_no_error(tmp_path: Path) -> None:
    """A dead socket is tried once and then left alone."""
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready()
    notifier.status("still here")


def test_watchdog_interval_is_half_the_limit_and_only_for_us() -> None:
    """Pings come twice as often as asked; another process's watchdog is not ours."""
    ours = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier(ours).watchdog_interval_s == 15.0
    assert Notifier({**ours, "WATCHDOG_PID": "1"}).watchdog_interval_s is None
    assert Notifier({}).watchdog_interval_s is None
