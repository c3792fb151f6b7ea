"""What holds for every test, and what tests of several rooms begin with."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgurfs import paths
from imgurfs.model import Account
from imgurfs.store import meta
from tests.support.commands import Home
from tests.support.queued import Queue, queue_at

# A shell lets what it runs in the background ignore Ctrl-C, and so would all our
# programs, which inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Home:
    """A home of its own."""
    return Home(tmp_path, monkeypatch, capfd)


@pytest.fixture
def queue(home: Home) -> Iterator[Queue]:
    """The default account's outbox, logged in, with a watched folder."""
    state_db = paths.account_paths("default").state_db
    with queue_at(state_db, home.directory / "folder") as found:
        found.db.write_blocking(lambda c: meta.bind_account(c, Account(id=1, url="me")))
        home.log_in()
        yield found
