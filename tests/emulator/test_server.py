"""``imgurfs emulator`` as a process: first line, ports, faults on sockets, stopping."""

from __future__ import annotations

import concurrent.futures
import http.server
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from imgurfs.cli.emulator import emulator as command
from imgurfs.emulator.world import pictures
from imgurfs.errors import UnavailableError, UsageError
from tests.emulator.conftest import ServerProcess

Start = Callable[..., ServerProcess]
PNG = pictures.draw_picture("x", number=1, kind="png", width=16, height=16)


@contextmanager
def connect(server: ServerProcess) -> Iterator[httpx.Client]:
    """Open a client of the API with the account's token."""
    facts = server.facts
    headers = {"Authorization": "Bearer " + facts["access_token"]}
    with httpx.Client(
        base_url=facts["api_url"], headers=headers, timeout=10, trust_env=False
    ) as client:
        yield client


def collect(response: httpx.Response, received: bytearray) -> None:
    """Add what arrives, piece by piece."""
    for piece in response.iter_raw():
        received += piece


def set_faults(client: httpx.Client, *rules: dict[str, Any]) -> None:
    """Put these rules in force."""
    client.post("/_emulator/faults", json=list(rules)).raise_for_status()


def test_first_line_then_clean_stop(start_server: Start) -> None:
    """One compact JSON object with exactly the contract's keys; SIGTERM ends with 0."""
    server = start_server("--port", "0", "--albums", "1", "--images", "3")
    assert list(server.facts) == [
        "api_url",
        "cdn_url",
        "client_id",
        "client_secret",
        "refresh_token",
        "access_token",
        "username",
    ]
    assert server.first_line == json.dumps(server.facts, separators=(",", ":")) + "\n"
    with connect(server) as client:
        answer = client.get("/3/account/me/images")
        assert len(answer.json()["data"]) == 3
        assert answer.headers.get_list("server") == ["cat factory 1.0"]
        link = answer.json()["data"][0]["link"]
        assert link.startswith(server.facts["cdn_url"] + "/")
        assert len(httpx.get(link).content) == answer.json()["data"][0]["size"]
        # The connection stays open while the server is told to stop.
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        output, errors = server.process.communicate(timeout=10)
        assert time.monotonic() - started < 2
    assert (server.process.returncode, output, errors) == (0, "", "")


def test_stop_with_a_hanging_request_within_two_seconds(start_server: Start) -> None:
    """SIGINT cancels what never ends."""
    server = start_server("--albums", "0")
    with (
        connect(server) as client,
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        set_faults(client, {"action": "hang", "path": "account"})
        hanging = pool.submit(client.get, "/3/account/me")
        while client.get("/_emulator/faults").json()[0]["acted"] == 0:
            continue
        started = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        _, errors = server.process.communicate(timeout=10)
        assert time.monotonic() - started < 2
        assert server.process.returncode == 0
        assert "Traceback" not in errors
        with pytest.raises(httpx.TransportError):
            hanging.result(timeout=10)


@pytest.mark.parametrize("option", ["--port", "--cdn-port"])
def test_taken_port_is_one_line_and_69(option: str) -> None:
    """A port in use is named; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(command, [option, str(port)])
    assert isinstance(result.exception, UnavailableError)
    assert result.exception.exit_code == 69
    assert f"127.0.0.1:{port}" in result.exception.message
    assert "\n" not in result.exception.message
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines"),
        (["--host", "example.com"], "can be reached from other machines"),
        (["--ca-dir", "/tmp"], "--ca-dir is of no use without --tls"),
        (["--tls", "--ca-dir", "/dev/null/x"], "cannot write to /dev/null/x"),
        (["--limits", "/nonexistent.toml"], "No such file"),
        (["--faults", "/nonexistent.json"], "No such file"),
    ],
)
def test_wrong_use_is_refused_with_2(arguments: list[str], message: str) -> None:
    """What cannot be done is said before anything is started."""
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert message in result.exception.message


@pytest.mark.parametrize("value", ["-1", "65536", "x"])
def test_bad_numbers_are_usage_errors(value: str) -> None:
    """click refuses what is no port."""
    assert CliRunner().invoke(command, ["--port", value]).exit_code == 2


def test_other_addresses_need_a_word(start_server: Start) -> None:
    """With the flag, all addresses are listened on."""
    server = start_server("--host", "0.0.0.0", "--allow-non-loopback", "--albums", "0")
    assert server.facts["api_url"].startswith("http://0.0.0.0:")


def test_options_reach_the_emulator(start_server: Start, tmp_path: Path) -> None:
    """Dialect, limits, faults and seed from the command line act."""
    limits, faults = tmp_path / "limits.toml", tmp_path / "faults.json"
    limits.write_text("user_credits_per_hour = 2\n")
    faults.write_text('[{"action": "status", "status": 418, "nth": 1}]')
    arguments = ["--albums", "1", "--images", "1", "--seed", "9", "--dialect", "new"]
    files = ["--limits", str(limits), "--faults", str(faults)]
    server = start_server(*arguments, *files)
    with connect(server) as client:
        statuses = [client.get("/3/account/me").status_code for _ in range(4)]
        assert statuses == [418, 200, 200, 429]
    other = start_server(*arguments)
    assert other.facts["access_token"] == server.facts["access_token"]


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    """One server for the tests of faults."""
    from tests.emulator.conftest import COMMAND

    process = subprocess.Popen(
        [*COMMAND, "--limits", "off"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield ServerProcess(process, process.stdout.readline())
    process.terminate()
    assert process.wait(timeout=10) == 0
    process.stdout.close()


@pytest.mark.parametrize(("action", "made"), [("reset_before", 0), ("reset_after", 1)])
def test_resets_over_sockets(shared: ServerProcess, action: str, made: int) -> None:
    """The connection breaks without an answer, before or after the change."""
    with connect(shared) as client:
        count = "/3/account/me/albums/count"
        before = client.get(count).json()["data"]
        set_faults(client, {"action": action, "path": "^/3/album$"})
        with pytest.raises(httpx.TransportError):
            client.post("/3/album", data={"title": "x"})
        set_faults(client)
        assert client.get(count).json()["data"] == before + made


def test_truncation_over_sockets(shared: ServerProcess) -> None:
    """Half a large body arrives, then the connection ends early."""
    with connect(shared) as client:
        images = client.get("/3/account/me/images").json()["data"]
        large = max(images, key=lambda it: int(it["size"]))
        half = large["size"] // 2
        set_faults(client, {"action": "truncate", "host": "cdn", "fraction": 0.5})
        received = bytearray()
        with httpx.stream("GET", large["link"]) as response:
            assert response.headers["content-length"] == str(large["size"])
            with pytest.raises(httpx.RemoteProtocolError):
                collect(response, received)
        set_faults(client)
        assert len(received) == half
        whole = httpx.get(large["link"]).content
        assert whole[:half] == received
        assert len(whole) == large["size"]


def test_pages_and_statuses_over_sockets(shared: ServerProcess) -> None:
    """An HTML page and a status leave the connection usable."""
    with connect(shared) as client:
        set_faults(
            client,
            {"action": "html", "status": 503, "count": 1},
            {"action": "status", "status": 429, "shape": "C", "count": 1},
            {"action": "delay", "delay_s": 0.01, "count": 1},
        )
        statuses = [client.get("/3/account/me").status_code for _ in range(4)]
        set_faults(client)
    assert statuses == [503, 429, 200, 200]


def test_large_upload_over_sockets(shared: ServerProcess) -> None:
    """Nine megabytes of a kind that is not recompressed come back the same."""
    gif = pictures.draw_picture("x", number=1, kind="gif", width=16, height=16)
    data = gif + bytes(range(256)) * 36_000
    with connect(shared) as client:
        answer = client.post("/3/image", files={"image": ("a.png", data)})
        made = answer.json()["data"]
        assert httpx.get(made["link"]).content == data


def test_upload_from_an_address_on_this_machine(shared: ServerProcess) -> None:
    """A loopback address is fetched; one that fails is an invalid URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/a.png" else 404)
            self.send_header("Content-Length", str(len(PNG)))
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web,
        connect(shared) as client,
    ):
        threading.Thread(target=web.serve_forever).start()
        base = f"http://127.0.0.1:{web.server_port}"
        good = client.post("/3/image", data={"image": base + "/a.png", "type": "url"})
        bad = client.post("/3/image", data={"image": base + "/b.png", "type": "url"})
        web.shutdown()
    assert good.json()["data"]["size"] == len(PNG)
    assert bad.json()["data"]["error"] == f"Invalid URL ({base}/b.png)"
