"""HTTPS, Imgur's own names, and one port for everything."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from imgurfs.emulator.hosts.tls import make_tls, names_mapped_to
from tests.emulator.conftest import ServerProcess

Start = Callable[..., ServerProcess]
NAMES = (
    "api.imgur.com",
    "i.imgur.com",
    "imgur.com",
    "www.imgur.com",
    "imgur-apiv3.p.mashape.com",
    "imgur-apiv3.p.rapidapi.com",
    "localhost",
    "127.0.0.1",
    "::1",
)


def trusting(server: ServerProcess) -> httpx.Client:
    """Return a client that trusts this server's authority and no other."""
    context = ssl.create_default_context(cafile=server.facts["ca_file"])
    headers = {"Authorization": "Bearer " + server.facts["access_token"]}
    return httpx.Client(verify=context, headers=headers, timeout=10, trust_env=False)


def test_https_on_both_ports(start_server: Start) -> None:
    """The first line names the authority; API and pictures are under it."""
    server = start_server("--tls", "--albums", "1", "--images", "1")
    facts = server.facts
    assert list(facts)[-1] == "ca_file"
    assert facts["api_url"].startswith("https://127.0.0.1:")
    with trusting(server) as client:
        image = client.get(facts["api_url"] + "/3/account/me/images").json()["data"][0]
        assert image["link"].startswith(facts["cdn_url"] + "/")
        assert len(client.get(image["link"]).content) == image["size"]
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(facts["api_url"], trust_env=False)
    with pytest.raises(httpx.TransportError):
        httpx.get(facts["api_url"].replace("https", "http"), trust_env=False)


def test_stop_with_open_connections(start_server: Start) -> None:
    """Two seconds suffice, and the authority's certificate goes with the process."""
    server = start_server("--tls", "--albums", "0")
    ca_file = Path(server.facts["ca_file"])
    with trusting(server) as client:
        client.get(server.facts["api_url"] + "/3/account/me").raise_for_status()
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        _, errors = server.process.communicate(timeout=10)
        assert time.monotonic() - started < 2
    assert (server.process.returncode, errors) == (0, "")
    assert not ca_file.parent.exists()


def test_broken_connections(start_server: Start) -> None:
    """Resets and cut bodies are what they are without TLS."""
    server = start_server("--tls", "--albums", "1", "--images", "1")
    api, faults = server.facts["api_url"], "/_emulator/faults"
    with trusting(server) as client:
        link = client.get(api + "/3/account/me/images").json()["data"][0]["link"]
        rules = [
            {"action": "reset_after", "path": "^/3/album$"},
            {"action": "truncate", "host": "cdn", "fraction": 0.5},
        ]
        client.post(api + faults, content=json.dumps(rules)).raise_for_status()
        with pytest.raises(httpx.TransportError):
            client.post(api + "/3/album")
        with pytest.raises(httpx.TransportError):
            client.get(link)
        client.delete(api + faults)
        assert client.get(api + "/3/account/me/albums/count").json()["data"] == 2


def test_one_port_for_everything(start_server: Start) -> None:
    """Imgur's names choose the host; without them the path does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    arguments = ("--port", port, "--cdn-port", port, "--albums", "1", "--images", "1")
    server = start_server(*arguments)
    facts = server.facts
    assert facts["api_url"] == facts["cdn_url"] == f"http://127.0.0.1:{port}"
    headers = {"Authorization": "Bearer " + facts["access_token"]}
    url = facts["api_url"]

    def ask(path: str, name: str) -> httpx.Response:
        return httpx.get(url + path, headers={**headers, "Host": name})

    image = ask("/3/account/me/images", "127.0.0.1").json()["data"][0]
    assert len(httpx.get(image["link"]).content) == image["size"]
    picture = "/" + image["id"] + ".jpg"
    assert len(ask(picture, "I.Imgur.com:443").content) == image["size"]
    assert ask(picture, "api.imgur.com").status_code == 404
    assert ask("/3/account/me", "i.imgur.com").status_code == 302
    saved = ask(f"/download/{image['id']}/undefined", "imgur.com")
    assert len(saved.content) == image["size"]
    assert saved.headers["content-disposition"] == "attachment"
    nothing = ask("/a/nothing", "www.imgur.com")
    assert nothing.status_code == 404
    assert nothing.headers["content-type"] == "text/html; charset=utf-8"


def test_certificate_is_for_all_names_and_its_key_stays(tmp_path: Path) -> None:
    """One file is written, without a private key; every run has its own authority."""
    directory = tmp_path / "new" / "place"
    made = make_tls(directory, host="127.0.0.5")
    first = made.ca_file.read_bytes()
    assert [it.name for it in directory.iterdir()] == ["ca.pem"]
    assert b"PRIVATE" not in first
    shown = x509.load_der_x509_certificate(served_certificate(made.context))
    extensions = shown.extensions
    told = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(it.value) for it in told] == [*NAMES, "127.0.0.5"]
    make_tls(directory, host="127.0.0.1")
    assert made.ca_file.read_bytes() != first


def served_certificate(context: ssl.SSLContext) -> bytes:
    """Return the certificate that a server with this context shows."""
    asking = ssl.create_default_context()
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(here, there, server_side=True)
    client = asking.wrap_bio(there, here)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_hosts_file(tmp_path: Path) -> None:
    """Only names that lead to the given address count; nonsense is passed over."""
    hosts = tmp_path / "hosts"
    hosts.write_bytes(
        b"# 127.0.0.1 commented.example\n"
        b"127.0.0.1\tlocalhost API.imgur.com # i.imgur.com\n\n"
        b"127.0.0.2 i.imgur.com\n10.0.0.1 far.example\nrubbish \xff\n"
    )
    assert names_mapped_to("127.0.0.1", hosts_file=hosts) == {
        "localhost",
        "api.imgur.com",
    }
    assert names_mapped_to("0.0.0.0", hosts_file=hosts) == {
        "localhost",
        "api.imgur.com",
        "i.imgur.com",
    }
    assert names_mapped_to("127.0.0.1", hosts_file=tmp_path / "none") == set()
