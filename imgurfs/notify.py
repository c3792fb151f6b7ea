"""sd_notify: telling systemd how the service is doing.

The protocol is one datagram of ``KEY=value`` lines to the socket named in
``NOTIFY_SOCKET`` (sd_notify(3)). Without that variable every call is a no-op.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends states to the service manager that started this process."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # A leading "@" stands for the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_interval_s = (
            int(usec) / 2_000_000 if for_us and usec.isdigit() else None
        )

    def ready(self) -> None:
        """Say that everything this service offers is available."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``."""
        self._send("STATUS=" + text.replace("\n", " "))

    def reloading(self, monotonic_s: float) -> None:
        """Say that the configuration is read again; :meth:`ready` ends it.

        ``monotonic_s`` is now, on the kernel's monotonic clock.
        """
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1_000_000)}")

    def stopping(self) -> None:
        """Say that the service has begun to stop."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Say that every worker makes progress or waits for a known deadline."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(
            socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        ) as s:
            s.settimeout(1.0)
            try:
                s.sendto(message.encode(), self._address)
            except OSError:
                # The manager went away; the service is no worse for it.
                self._address = ""
