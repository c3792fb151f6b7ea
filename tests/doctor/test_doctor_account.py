"""Planted problems of the login and the clock: the doctor finds each, with its fix."""

from __future__ import annotations

import json
import threading
import urllib.request
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from imgurfs.cli.doctor_account import compare_clocks
from tests.support.doctored import Diagnosis, diagnose, run_doctor, without_drives
from tests.support.processes import Place, environment

_HOUR_S = 3600.0


def look(at: Place, *options: str) -> Diagnosis:
    """Run the doctor."""
    return diagnose(*options, environ=at.environ, config=str(at.config))


def admin(at: Place, method: str, route: str, body: object = None) -> None:
    """Ask the emulator's admin view for something."""
    data = None if body is None else json.dumps(body).encode()
    url = f"{at.emulator['api_url']}/_emulator/{route}"
    request = urllib.request.Request(url, data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def token_file(at: Place) -> Path:
    """Return where the token is."""
    return at.directory / "state" / "imgurfs" / "default" / "token.json"


def change_token(at: Place, **changes: Any) -> None:
    """Write other things into the token."""
    path = token_file(at)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without_secret(at: Place) -> None:
    """Take the client's secret away, wherever it is."""
    change_token(at, client_secret="")
    lines = at.config.read_text().splitlines(keepends=True)
    at.config.write_text("".join(x for x in lines if "client_secret" not in x))


def test_everything_is_well(at: Place) -> None:
    """In order: exit 0, no problem; Imgur was asked one thing."""
    admin(at, "DELETE", "counters")
    found = look(at)
    assert (found.code, found.problems) == (0, [])
    found.expect("token", "ok", "logged in as", "")
    found.expect("imgur", "ok", "credits are left", "")
    found.expect("clock", "ok", "agrees", "")
    url = f"{at.emulator['api_url']}/_emulator/counters"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert json.load(answer)["api_requests"] == 1


def test_text_for_people(at: Place) -> None:
    """Without --json there is a line for each finding, and one below for its fix."""
    token_file(at).unlink()
    done = run_doctor(
        "--offline",
        environ=at.environ,
        config=str(at.config),
        inside=without_drives(),
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("PROBLEM")]
    assert "there is no token" in lines[number]
    assert lines[number + 1] == "    -> log in with 'imgurfs login'"
    assert lines[-1].startswith("1 problem, ")


def test_nothing_is_set_up(tmp_path: Path) -> None:
    """On a machine that never saw the program only the login is missing."""
    found = diagnose(environ=environment(tmp_path))
    found.expect("token", "problem", "there is no token", "imgurfs login")
    assert len(found.problems) == 1
    assert not list(tmp_path.iterdir())


def test_a_token_that_others_can_read(at: Place) -> None:
    """A token file of mode 0644: chmod, and what if it was read."""
    token_file(at).chmod(0o644)
    found = look(at)
    fix = f"chmod 600 {token_file(at)}"
    found.expect("token", "problem", "can be read by others (mode 0644)", fix)
    found.expect("imgur", "warning", "not asked: first mend token", "")


def test_a_damaged_token(at: Place) -> None:
    """A token file that is none: log in."""
    token_file(at).write_text("{")
    look(at, "--offline").expect("token", "problem", "is damaged", "imgurfs login")


def test_a_token_of_somebody_else(at: Place) -> None:
    """A token that is not of the state's account is told with both names."""
    change_token(at, account_id=4711, account_name="stranger")
    found = look(at, "--offline")
    found.expect(
        "token", "problem", "the token belongs to 'stranger'", "log in as 'sample'"
    )


def test_another_application(at: Place) -> None:
    """A client_id that the login was not made with."""
    change_token(at, client_id="0123456789abcde")
    found = look(at, "--offline")
    found.expect("token", "problem", "client_id is not the one", "0123456789abcde")


def test_a_token_that_cannot_be_renewed(at: Place) -> None:
    """Without a secret a login ends: a warning before, a problem after."""
    without_secret(at)
    found = look(at, "--offline")
    found.expect("token", "warning", "no client secret to renew it", "client_secret")
    change_token(at, expires_at=1_700_000_000)
    found = look(at, "--offline")
    found.expect("token", "problem", "the login has ended", "put client_id and")
    change_token(at, refresh_token="")
    found = look(at, "--offline")
    found.expect("token", "problem", "without a refresh token", "imgurfs login")


def test_a_token_that_imgur_has_revoked(at: Place) -> None:
    """A refused token is renewed; when that is refused too: log in again."""
    admin(at, "DELETE", "access_tokens")
    found = look(at)
    found.expect("imgur", "ok", "credits are left", "")
    admin(at, "DELETE", "access_tokens")
    refusal = {
        "action": "status",
        "status": 400,
        "path": "/oauth2/token",
        "message": "Invalid refresh token",
    }
    admin(at, "POST", "faults", [refusal])
    found = look(at)
    assert found.code == 1
    found.expect("imgur", "problem", "does not accept", "imgurfs login")
    found.expect("clock", "ok", "agrees", "")


def test_imgur_cannot_be_reached(at: Place) -> None:
    """Without a network it is a warning, soon; also when nobody ever answers."""
    admin(at, "POST", "faults", [{"action": "hang", "host": "api"}])
    found = look(at)
    found.expect("imgur", "warning", "did not answer within 5 s", "network")
    environ = {**at.environ, "IMGURFS_API_URL": "http://127.0.0.1:9"}
    found = diagnose(environ=environ, config=str(at.config))
    assert (found.code, found.of("clock")) == (0, [])
    assert found.of("imgur")[0][0] == "warning"


@pytest.mark.parametrize(
    ("off_s", "state", "what"),
    [
        (2 * _HOUR_S, "problem", "2.0 h ahead of"),
        (-2 * _HOUR_S, "problem", "2.0 h behind"),
        (120.0, "warning", "min ahead of"),
        (20.0, "ok", "agrees"),
    ],
)
def test_clocks(off_s: float, state: str, what: str) -> None:
    """A clock that is off by more than a minute is told, and which way."""
    now = 1_800_000_000.0
    (found,) = compare_clocks(formatdate(now, usegmt=True), now=now + off_s)
    assert (found.check, found.state, what in found.what) == ("clock", state, True)
    assert bool(found.fix) == (state != "ok")
    assert compare_clocks("yesterday, perhaps", now=now) == []


class OldTimes(BaseHTTPRequestHandler):
    """A server that lives in 2020."""

    def do_GET(self) -> None:
        """Refuse, and say when."""
        self.send_error(503)

    def date_time_string(  # the names are the base class's
        self,
        timestamp: float | None = None,  # noqa: ARG002
    ) -> str:
        """Return the time it believes it is."""
        return formatdate(1_600_000_000, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def test_a_clock_that_is_off(at: Place) -> None:
    """An answer of Imgur's with another time than ours: set the clock."""
    with HTTPServer(("127.0.0.1", 0), OldTimes) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        environ = {**at.environ, "IMGURFS_API_URL": url}
        found = diagnose(environ=environ, config=str(at.config))
        server.shutdown()
        serving.join()
    found.expect("clock", "problem", "ahead of Imgur's", "timedatectl set-ntp true")
    assert found.of("imgur")[0][0] == "warning"
