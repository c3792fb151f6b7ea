"""The configuration is read again while the daemon runs: what changes, what stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from imgurfs import limits
from imgurfs.assembly import Services
from imgurfs.config import Config
from imgurfs.emulator.trouble.faultrules import Action, FaultRule
from imgurfs.jobs import queueing
from imgurfs.store import outbox
from tests.support.serving import HangingExecutor, put, served


async def test_reloading_takes_over_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S24: A folder more, a folder less, an account more: the others go on
    undisturbed.
    """
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        stays = s.add_folder("stays")
        before = s.text
        goes = s.add_folder("goes")
        put(stays, "a")
        put(goes, "b")
        async with s.running() as supervisor:
            await s.until(lambda: s.holds("default", "a", "b"))
            s.said()
            s.text = before
            comes = s.add_folder("comes")
            s.add_account("second")
            other = s.add_folder("other", account="second")
            put(comes, "c")
            put(other, "d")
            await supervisor.reload()
            said = s.said()
            assert [line.partition("\n")[0] for line in said if "STATUS" not in line][
                -2:
            ] == ["RELOADING=1", "READY=1"]
            put(goes, "not watched any more")
            await s.until(lambda: s.holds("default", "a", "b", "c"))
            await s.until(lambda: s.holds("second", "d"))
            await trio.sleep(600.0)
            assert s.holds("default", "a", "b", "c")
        assert s.opened == ["default", "second"]


async def test_what_waits_of_a_folder_that_is_taken_out_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S24: Whoever takes a folder out wants nothing more of it on Imgur."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        before = s.text
        put(s.add_folder("goes"), "a", "b")
        faults = s.emulators["default"].faults
        faults.replace((FaultRule(action=Action.STATUS, method="GET", status=503),))
        async with s.running() as supervisor:
            await s.until(lambda: len(s.services) == 1)
            reader = s.services["default"].db.reader
            await s.until(
                lambda: len(outbox.unfinished(reader, kind=queueing.UPLOAD)) == 2
            )
            s.text = before
            comes = s.add_folder("comes")
            put(comes, "c")
            await supervisor.reload()
            faults.replace(())
            await s.until(lambda: s.holds("default", "c"))
            assert outbox.unfinished(reader, kind=queueing.UPLOAD) == []


@pytest.mark.parametrize("reloads", [1, 2])
async def test_reloading_while_an_account_starts_again(
    tmp_path: Path,
    reloads: int,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """S24: An account that is tried again watches what the configuration says that was
    read last, while it began to watch its folders or those of another reading.
    """
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.executor = executor = HangingExecutor()
        s.add_account("default")
        s.add_folder("one")
        s.add_account("second", is_logged_in=False)
        before = s.text
        folder = goes = s.add_folder("old", account="second")
        async with s.running() as supervisor:
            s.log_in("second")
            executor.hangs = True
            await s.until(lambda: "second" in s.services)
            await trio.sleep(1.0)
            for number in range(reloads):
                goes, s.text = folder, before
                folder = s.add_folder(f"new {number}", account="second")
                with trio.fail_after(60):
                    await supervisor.reload()
                go_on, executor.go_on = executor.go_on, trio.Event()
                go_on.set()
                await trio.sleep(1.0)
            executor.hangs = False
            executor.go_on.set()
            put(folder, "a")
            await s.until(lambda: s.holds("second", "a"))
            put(goes, "not watched any more")
            await trio.sleep(600.0)
            assert s.holds("second", "a")
            assert s.opened.count("second") == 2


async def test_a_folder_that_keeps_images_withdraws_its_deletions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S22: Those that wait out their grace were wanted by the settings as they were."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.text = "[sync]\ndelete_grace_s = 300.0\n"
        s.add_account("default")
        folder = s.add_folder("one")
        put(folder, "a", "b")
        async with s.running() as supervisor:
            await s.until(lambda: s.holds("default", "a", "b"))
            reader = s.services["default"].db.reader
            (folder / "a.png").unlink()
            await s.until(
                lambda: bool(outbox.unfinished(reader, kind=queueing.DELETE_IMAGE))
            )
            s.text += 'deletes = "keep"\n'
            await supervisor.reload()
            await trio.sleep(2 * limits.RESCAN_INTERVAL_S)
            assert s.holds("default", "a", "b")


async def test_reloading_while_an_account_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """S24: Folders that are added while an account comes to its end by an error end no
    other account, and are watched when it is served again.
    """
    async with served(tmp_path, monkeypatch.setenv) as s:
        ends, go_on, open_it = trio.Event(), trio.Event(), s.open

        @asynccontextmanager
        async def slow_to_close(settings: Config, name: str) -> AsyncIterator[Services]:
            async with open_it(settings, name) as services:
                try:
                    yield services
                finally:
                    if name == "second":
                        ends.set()
                        await go_on.wait()

        monkeypatch.setattr(s, "open", slow_to_close)
        for name in ("default", "second"):
            s.add_account(name)
        first, second = s.add_folder("one"), s.add_folder("two", account="second")
        async with s.running() as supervisor:
            put(second, "a")
            await s.until(lambda: s.holds("second", "a"))
            world, faults = s.emulators["second"].world, s.emulators["second"].faults
            tokens = dict(world.access_tokens)
            world.access_tokens.clear()
            rule = FaultRule(action=Action.STATUS, path="/oauth2/token", status=400)
            faults.replace((rule,))
            put(second, "b")
            with trio.fail_after(3600):
                await ends.wait()
            added = s.add_folder("three", account="second")
            await supervisor.reload()
            put(first, "c")
            await s.until(lambda: s.holds("default", "c"))
            faults.replace(())
            world.access_tokens.update(tokens)
            go_on.set()
            put(added, "d")
            await s.until(lambda: s.holds("second", "a", "b", "d"))


async def test_changed_settings_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Those of an account start it anew, those of a folder the folder alone."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        folder = s.add_folder("one")
        put(folder, "a", "b", "c")
        async with s.running() as supervisor:
            await s.until(lambda: s.holds("default", "a", "b", "c"))
            s.text += 'deletes = "keep"\n'
            await supervisor.reload()
            (folder / "a.png").unlink()
            await trio.sleep(600.0)
            assert s.holds("default", "a", "b", "c")
            assert s.opened == ["default"]
            s.text = s.text.replace('"keep"', '"mirror"')
            s.text = "[sync]\ndelete_grace_s = 5.0\n" + s.text
            await supervisor.reload()
            (folder / "b.png").unlink()
            await s.until(lambda: s.holds("default", "a", "c"))
            assert s.opened == ["default", "default"]


@pytest.mark.parametrize(
    "wrong",
    ["[sync]\nsettle = 1\n", "not TOML", "[[folder]]\npath = '/'\n", None],
)
async def test_a_wrong_configuration_is_refused_as_a_whole(
    tmp_path: Path,
    wrong: str | None,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    """The old one stays in force, and the status says why."""
    async with served(tmp_path, monkeypatch.setenv) as s:
        s.add_account("default")
        folder = s.add_folder("one")
        good = s.text
        async with s.running() as supervisor:
            s.text = "" if wrong is None else s.text + wrong
            s.said()
            await supervisor.reload()
            told = [line.partition("\n")[0] for line in s.said()]
            assert told[:2] == ["RELOADING=1", "READY=1"]
            assert "the new configuration is not used" in told[2]
            put(folder, "a")
            await s.until(lambda: s.holds("default", "a"))
            s.text = good
            await supervisor.reload()
            assert "configuration" not in supervisor.status()
