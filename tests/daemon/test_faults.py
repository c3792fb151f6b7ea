"""What the real daemon does when uploads go wrong, judged by the emulator."""

from __future__ import annotations

import json
import time
from pathlib import Path

from imgurfs import limits
from tests.support.processes import fill, mirrored, place, process, sync, wait_until


def test_lost_reply_makes_no_second_image(tmp_path: Path) -> None:
    """An upload that happened but was not answered is held, however often we sync."""
    folder = tmp_path / "folder"
    fill(folder, "a.png")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="reset_after", count=1)
        for _ in range(3):
            code, said = sync(at, folder)
            assert code == 75, said
            assert "nobody knows whether it happened" in said
        assert len(at.images()) == 3


def test_page_instead_of_json_is_held(tmp_path: Path) -> None:
    """A page in answer to an upload proves nothing: held, and the others go on."""
    folder = tmp_path / "folder"
    fill(folder, "a.png", "b.png", "c.png")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="html", count=1)
        code, said = sync(at, folder)
        assert code == 75, said
        assert "2 done, 1 waiting" in said
        assert "Traceback" not in said


def test_kill_while_sending_is_held(tmp_path: Path) -> None:
    """kill -9 in the middle of an upload: the next start holds it, and goes on."""
    folder = tmp_path / "folder"
    fill(folder, "a.png")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="hang")
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log) as daemon:
            wait_until(lambda: "1 being sent" in at.run("status").stdout, log=log)
            daemon.kill()
            daemon.wait(10)
        fill(folder, "b.png")
        at.mend_uploads()
        code, said = sync(at, folder)
        assert code == 75, said
        assert "waits: upload a.png: held" in said
        assert "done: upload b.png" in said
        assert len(at.images()) == 3


def test_stop_while_the_api_hangs(tmp_path: Path) -> None:
    """SIGTERM ends a daemon whose upload hangs within the grace; the upload is held."""
    folder = tmp_path / "folder"
    fill(folder, "a.png")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(action="hang")
        log = tmp_path / "daemon.log"
        arguments = ("imgurfs_daemon", "--config", str(at.config))
        with process(*arguments, environ=at.environ, log=log) as daemon:
            wait_until(lambda: "1 being sent" in at.run("status").stdout, log=log)
            began_s = time.monotonic()
            daemon.terminate()
            assert daemon.wait(limits.STOP_GRACE_S + 5) == 0
            assert time.monotonic() - began_s < limits.STOP_GRACE_S
        code, said = sync(at, folder)
        assert code == 75, said
        assert "waits: upload a.png: held" in said


def test_an_album_nobody_knows_of_holds_its_folder_only(tmp_path: Path) -> None:
    """A lost answer to a creation: no second album, the folder waits, others go on."""
    folder = tmp_path / "folder"
    fill(folder, "trip/a.png", "trip/b.png", "c.png")
    with place(tmp_path, settings=mirrored(folder)) as at:
        at.break_uploads(path="/3/album", action="reset_after", count=1)
        for _ in range(2):
            code, said = sync(at, folder)
            assert code == 75, said
            assert "waits: create album 'trip': held" in said
            assert "it waits for its folder's album" in said
        assert list(at.albums()).count("trip") == 1
        # Two were there; one of the folder, and the one outside.
        assert len(at.images()) == 4


def test_credits_are_learned_by_the_budget(tmp_path: Path) -> None:
    """What ``imgurfs credits`` is told, every process here knows from then on."""
    with place(tmp_path) as at:
        told = json.loads(at.run("credits", "--json").stdout)
        budget = json.loads(at.run("status", "--json").stdout)["budget"]
        assert budget["windows"]["user"]["limit"] == told["user_limit"]
        assert budget["windows"]["client"]["spendable"] == told["client_remaining"]
