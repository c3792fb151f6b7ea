"""The real programs against a real emulator: imgurfs-daemon and imgurfs sync."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

from tests.support.processes import (
    environment,
    fill,
    mirrored,
    place,
    process,
    sync,
    wait_until,
)


def test_daemon_mirrors_a_folder_and_tells_systemd(tmp_path: Path) -> None:
    """READY, uploads, an album, a delete, STATUS and STOPPING: the whole life."""
    folder = tmp_path / "folder"
    fill(folder, "before.gif")
    address = tmp_path / "notify"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
        place(tmp_path, settings=mirrored(folder)) as at,
    ):
        notify.bind(str(address))
        notify.settimeout(20)
        environ = environment(
            tmp_path, NOTIFY_SOCKET=str(address), WATCHDOG_USEC="1000000"
        )
        log = tmp_path / "daemon.log"
        with process(
            "imgurfs_daemon", "--config", str(at.config), environ=environ, log=log
        ) as daemon:
            assert notify.recv(4096) == b"READY=1"
            fill(folder, "trip/a.gif", "trip/b.gif")
            wait_until(lambda: at.albums().get("trip") == 2, log=log)
            wait_until(lambda: len(at.images()) == 5, log=log)
            (folder / "before.gif").unlink()
            wait_until(lambda: len(at.images()) == 4, log=log)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(20) == 0
        said = []
        notify.setblocking(False)
        while b"STOPPING=1" not in said:
            said.append(notify.recv(4096))
        assert b"WATCHDOG=1" in said
        assert any(line.startswith(b"STATUS=") for line in said)
        assert at.emulator["refresh_token"] not in log.read_text()


def test_hangup_reads_the_configuration_again(tmp_path: Path) -> None:
    """New folders are served, an account to log in to is told, nonsense is refused."""
    one, two = tmp_path / "one", tmp_path / "two"
    fill(one, "a.gif")
    fill(two, "b.gif")
    address, log = tmp_path / "notify", tmp_path / "daemon.log"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
        place(tmp_path, settings=mirrored(one)) as at,
    ):
        notify.bind(str(address))
        notify.settimeout(20)
        environ = environment(tmp_path, NOTIFY_SOCKET=str(address))
        with process(
            "imgurfs_daemon", "--config", str(at.config), environ=environ, log=log
        ) as daemon:
            assert notify.recv(4096) == b"READY=1"
            wait_until(lambda: len(at.images()) == 3, log=log)
            good = at.config.read_text() + (
                f'[[folder]]\npath = "{two}"\n'
                f'[[folder]]\npath = "{one}"\naccount = "second"\n[accounts.second]\n'
            )
            at.config.write_text(good)
            daemon.send_signal(signal.SIGHUP)
            wait_until(lambda: len(at.images()) == 4, log=log)
            wait_until(lambda: "second: there is no token" in log.read_text(), log=log)
            at.config.write_text(good + "nonsense\n")
            daemon.send_signal(signal.SIGHUP)
            wait_until(lambda: "is not used" in log.read_text(), log=log)
            fill(two, "c.gif")
            wait_until(lambda: len(at.images()) == 5, log=log)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(20) == 0
        notify.setblocking(False)
        said = []
        while b"STOPPING=1" not in said:
            said.append(notify.recv(4096))
    told = [line for line in said if not line.startswith(b"STATUS=")]
    assert [line.partition(b"\n")[0] for line in told] == [
        *([b"RELOADING=1", b"READY=1"] * 2),
        b"STOPPING=1",
    ]
    assert any(b"second: there is no token" in line for line in said)
    assert any(b"the new configuration is not used" in line for line in said)


def test_nobody_who_reads_the_messages_is_waited_for(tmp_path: Path) -> None:
    """The daemon works and stops although the pipe of its messages is full."""
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    fill(folder, "a.gif")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x")
    with (
        place(tmp_path, settings=mirrored(folder)) as at,
        process(
            "imgurfs_daemon",
            *("-vv", "--config", str(at.config)),
            environ=at.environ,
            log=pipe,
        ) as daemon,
    ):
        log = tmp_path / "emulator.log"
        wait_until(lambda: len(at.images()) == 3, log=log)
        fill(folder, "b.gif")
        wait_until(lambda: len(at.images()) == 4, log=log)
        assert set(os.read(reader, 1 << 20)) == set(b"x")
        fill(folder, "c.gif")
        wait_until(lambda: len(at.images()) == 5, log=log)
        assert b"c.gif" in os.read(reader, 1 << 20)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    os.close(writer)
    os.close(reader)


def test_it_ends_when_nobody_is_logged_in(tmp_path: Path) -> None:
    """Exit code 77: the service manager need not try again."""
    folder, log = tmp_path / "folder", tmp_path / "daemon.log"
    folder.mkdir()
    config = tmp_path / "config.toml"
    config.write_text(mirrored(folder))
    with process(
        "imgurfs_daemon",
        *("--config", str(config)),
        environ=environment(tmp_path),
        log=log,
    ) as daemon:
        assert daemon.wait(20) == 77
    assert "imgurfs login" in log.read_text()


def test_sync_once(tmp_path: Path) -> None:
    """Plan, upload, then nothing to do; a graced delete waits and says so."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif", "trip/b.gif", "trip/c.gif")
    with place(tmp_path, settings=mirrored(folder, grace_s=600)) as at:
        plan = at.run("sync", str(folder), "--dry-run")
        # Files of this very moment count: a plan is about what is there.
        assert "3 upload(s), 1 album(s)" in plan.stdout, plan.stderr
        assert len(at.images()) == 2
        code, said = sync(at, folder)
        assert code == 0, said
        assert (len(at.images()), at.albums()["trip"]) == (5, 2)
        assert sync(at, folder) == (0, "0 done, 0 waiting, 0 failed\n")
        (folder / "a.gif").unlink()
        code, said = sync(at, folder)
        assert code == 75
        assert "until" in said
        assert len(at.images()) == 5


def test_sync_while_the_api_is_away(tmp_path: Path) -> None:
    """Without a network everything is planned, kept, and done later."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif")
    with place(tmp_path, settings=mirrored(folder)) as at:
        working = at.config.read_text()
        at.config.write_text(
            working.replace(at.emulator["api_url"], "http://127.0.0.1:1")
        )
        code, said = sync(at, folder)
        assert code == 75, said
        assert "waits: upload a.gif" in said
        at.config.write_text(working)
        code, said = sync(at, folder)
        assert code == 0, said
        assert len(at.images()) == 3


def test_bad_use_is_one_clear_line(tmp_path: Path) -> None:
    """A folder that is not there, no folder at all, and a second daemon."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with place(tmp_path, settings=mirrored(folder)) as at:
        missing = at.run("sync", str(tmp_path / "none"), "--once")
        assert missing.returncode == 2
        assert missing.stderr.count("\n") <= 2
        around = at.run("sync", str(tmp_path), "--once")
        assert around.returncode == 78
        assert "its own files" in around.stderr
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log):
            wait_until(lambda: "watching" in log.read_text(), log=log)
            second_log = tmp_path / "second.log"
            with process(*arguments, environ=at.environ, log=second_log) as second:
                assert second.wait(20) == 69
            assert "already running" in second_log.read_text()
        at.config.write_text("[account]\n")
        with process(*arguments, environ=at.environ, log=log) as nothing:
            assert nothing.wait(20) == 78
        assert "no folder is watched" in log.read_text()


def test_dry_run_counts_files_that_have_not_settled(tmp_path: Path) -> None:
    """A plan is about what is there, however long files would have to hold still."""
    folder = tmp_path / "folder"
    fill(folder, "a.gif", "trip/b.gif")
    with place(tmp_path, settings="[sync]\nsettle_s = 3600.0\n") as at:
        plan = at.run("sync", str(folder), "--dry-run")
        assert "2 upload(s), 1 album(s)" in plan.stdout, plan.stderr
        assert len(at.images()) == 2
