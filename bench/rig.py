"""An emulator, an account and a mount as real processes, for the benchmarks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

IMGURFS = (sys.executable, "-m", "imgurfs")


@dataclass
class Rig:
    """One account on one emulator below a private directory."""

    directory: Path
    address: dict[str, str]
    emulator: subprocess.Popen[bytes]
    environment: dict[str, str]
    mountpoint: Path = field(init=False)

    def __post_init__(self) -> None:
        self.mountpoint = self.directory / "drive"
        self.mountpoint.mkdir()

    def imgurfs(self, *arguments: str, stdin: str = "") -> str:
        """Run a command that must succeed; return what it printed."""
        return subprocess.run(
            [*IMGURFS, *arguments],
            env=self.environment,
            input=stdin,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mount for the length of a with-block."""
        self.imgurfs("mount", str(self.mountpoint))
        try:
            yield self.mountpoint
        finally:
            self.imgurfs("unmount", str(self.mountpoint))

    def status(self) -> dict[str, Any]:
        """Return ``imgurfs status --json``."""
        facts: dict[str, Any] = json.loads(self.imgurfs("status", "--json"))
        return facts

    def stop_emulator(self) -> None:
        """Stop the emulator; its ports are free afterwards."""
        self.emulator.terminate()
        self.emulator.wait(timeout=20)


@contextmanager
def rig(*emulator_arguments: str) -> Iterator[Rig]:
    """Start an emulator with these arguments and log in to its account."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = subprocess.Popen(
            [
                *IMGURFS,
                "emulator",
                "--port",
                "0",
                "--cdn-port",
                "0",
                *emulator_arguments,
            ],
            stdout=subprocess.PIPE,
        )
        stack.callback(emulator.wait)
        stack.callback(emulator.terminate)
        assert emulator.stdout is not None
        address = json.loads(emulator.stdout.readline())
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("IMGURFS")},
            "XDG_STATE_HOME": str(directory / "state"),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "IMGURFS_CONFIG": str(directory / "c.toml"),
        }
        keys = ("client_id", "client_secret", "api_url", "cdn_url")
        text = "[account]\n" + "".join(f'{k} = "{address[k]}"\n' for k in keys)
        path = directory / "c.toml"
        path.touch(mode=0o600)
        path.write_text(text)
        made = Rig(directory, address, emulator, environment)
        made.imgurfs("login", "--refresh-token-stdin", stdin=address["refresh_token"])
        yield made


@contextmanager
def counting_listeners(*urls: str) -> Iterator[list[str]]:
    """Listen where a stopped emulator was; yield the list of connections that came."""
    seen: list[str] = []
    with ExitStack() as stack:
        for url in urls:
            parts = urlsplit(url)
            assert parts.hostname is not None
            server = socket.create_server((parts.hostname, parts.port or 80))
            stack.callback(server.close)
            stack.callback(server.shutdown, socket.SHUT_RDWR)

            def serve(server: socket.socket = server, url: str = url) -> None:
                while True:
                    try:
                        connection, _ = server.accept()
                    except OSError:
                        return
                    seen.append(url)
                    connection.close()

            threading.Thread(target=serve, daemon=True).start()
        yield seen
