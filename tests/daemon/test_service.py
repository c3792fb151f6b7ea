"""One daemon for several accounts: started, told apart, reloaded, watched, stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits, paths
from imgurfs.errors import (
    AlreadyRunningError,
    ConfigError,
    ImgurfsError,
    LoginNeededError,
)
from imgurfs.locks import FileLock
from imgurfs.store import outbox
from imgurfs.store.outbox import JobState
from imgurfs_daemon.supervisor import leaves
from tests.support.serving import HangingExecutor, Served, put, served


async def test_accounts_and_folders_are_served_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Three folders of two accounts: every picture goes where it belongs."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        s.add_account("second")
        put(s.add_folder("one"), "a")
        put(s.add_folder("two"), "b")
        put(s.add_folder("three", account="second"), "c")
        async with s.running() as supervisor:
            await s.until(lambda: s.holds("default", "a", "b"))
            await s.until(lambda: s.holds("second", "c"))
            await s.until(lambda: supervisor.status().count("up to date") == 2)
            assert supervisor.status().startswith("default: up to date")
        said = s.said()
        assert said[0] == "READY=1"
        assert said[-1] == "STOPPING=1"
        assert "WATCHDOG=1" in said


async def test_one_account_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Asked for one account, the daemon does not even open the other."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        s.add_account("second")
        put(s.add_folder("one"), "a")
        put(s.add_folder("three", account="second"), "c")
        s.only = "second"
        async with s.running():
            await s.until(lambda: s.holds("second", "c"))
        assert s.opened == ["second"]


@pytest.mark.parametrize("only", [None, "default"])
async def test_without_a_folder_there_is_nothing_to_serve(
    tmp_path: Path, only: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the configuration's fault, and said so."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        s.only = only
        assert await error_of(s) == (ConfigError, 78)


async def error_of(s: Served) -> tuple[type[ImgurfsError], int]:
    """Return with which error the daemon ends by itself."""
    try:
        with trio.fail_after(60):
            async with s.running():
                await trio.sleep_forever()
    except (ImgurfsError, ExceptionGroup) as error:
        (leaf,) = leaves(error)
        assert isinstance(leaf, ImgurfsError)
        return type(leaf), leaf.exit_code
    raise AssertionError("it did not end")


async def test_an_account_to_log_in_to_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S24: it is told in the status, and served as soon as there is another token."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        s.add_account("second", is_logged_in=False)
        put(s.add_folder("one"), "a")
        put(s.add_folder("two", account="second"), "b")
        async with s.running() as supervisor:
            await s.until(lambda: s.holds("default", "a"))
            assert "second: " in supervisor.status()
            assert "imgurfs login" in supervisor.status().partition("second: ")[2]
            await trio.sleep(3 * limits.ACCOUNT_RETRY_S)
            assert s.opened.count("second") == 1, "the same token is not tried again"
            s.log_in("second")
            await s.until(lambda: s.holds("second", "b"))


async def test_the_last_account_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """With nobody left to serve, the exit code says what the user has to do."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        for name in ("default", "second"):
            s.add_account(name, is_logged_in=False)
            s.add_folder(f"of-{name}", account=name)
        assert await error_of(s) == (LoginNeededError, 77)


async def test_what_may_pass_is_tried_again_by_the_service_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """One account to log in to, one that another process serves: not a final code."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default", is_logged_in=False)
        s.add_account("second")
        s.add_folder("one")
        s.add_folder("two", account="second")
        with FileLock(paths.account_paths("second").daemon_lock).require("another"):
            assert await error_of(s) == (AlreadyRunningError, 69)


async def test_it_stops_in_time_and_knows_what_it_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S24: an upload that gets no answer is abandoned as unknown, within the bound."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        put(s.add_folder("one"), "a")
        gate = s.gates["default"]
        gate.is_shut = True
        async with s.running():
            await s.until(lambda: gate.waiting == 1)
            began_s = trio.current_time()
        assert trio.current_time() - began_s <= limits.STOP_GRACE_S
        assert s.said()[-1] == "STOPPING=1"
        async with s.open(s.load(), "default") as services:
            lost = outbox.unfinished(services.db.reader, state=JobState.UNKNOWN.value)
            assert len(lost) == 1


async def test_the_watchdog_is_fed_while_idle_and_not_while_something_hangs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Waiting for a rescan or a folder is no hang; a disk that never answers is."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.executor = executor = HangingExecutor()
        s.add_account("default")
        folder = s.add_folder("one")
        s.add_folder("absent").rmdir()
        async with s.running() as supervisor:
            await trio.sleep(2 * limits.RESCAN_INTERVAL_S)
            assert supervisor.late_workers() == []
            executor.hangs = True
            put(folder, "a")
            await s.until(lambda: len(supervisor.late_workers()) == 2)
            assert f"default: folder {folder}" in supervisor.late_workers()
            await trio.sleep(120.0)
            s.said()
            await trio.sleep(600.0)
            assert "WATCHDOG=1" not in s.said()
            assert 1 <= caplog.text.count("not heard of for too long") <= 2
