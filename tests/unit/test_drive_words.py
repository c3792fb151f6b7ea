"""What log lines and reports call the drive's files: the paths that people know."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from trio.testing import MockClock

from imgurfs import control
from imgurfs.errors import UserError
from imgurfs.jobs import queueing
from imgurfs.store import outbox
from tests.support.phases import LONG_S, UPLOADS, trouble
from tests.support.pictures import small_picture
from tests.support.placed import placed

#: A file in the spool.
SPOOLED = re.compile(r"upload \d+\.\d+")


@pytest.mark.parametrize("is_name_title", [True, False])
async def test_lines_name_paths_and_no_file_in_the_spool(
    tmp_path: Path,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
    is_name_title: bool,
) -> None:
    """Done, refused, needless, lost, found again: each line says which file it is."""
    caplog.set_level(logging.DEBUG, logger="imgurfs")
    async with placed(tmp_path) as d:
        d.is_name_title = is_name_title
        await d.account("A/")
        await d.refresh()
        await d.write("A/done.png", small_picture("done"))
        report = await d.drainer().run_until_idle(patience_s=60)
        assert "upload A/done.png" in report.done
        trouble(d, {"action": "status", "status": 400, "nth": 1, **UPLOADS})
        await d.write("bad.png", small_picture("bad"))
        report = await d.drainer().run_until_idle(patience_s=60)
        assert report.failed[0].startswith("upload bad.png: ")
        trouble(d, {"action": "reset_after", "nth": 1, **UPLOADS})
        await d.write("lost.png", small_picture("lost"))
        await d.drain(LONG_S)
        await d.write("copy.png", small_picture("done"))
        await d.remove("copy.png")
        await d.drain(60)
    lines = [record.getMessage() for record in caplog.records]
    assert "done: upload A/done.png" in lines
    assert any(line.startswith("found: upload lost.png is image ") for line in lines)
    assert any(line.startswith("upload lost.png: ") for line in lines)
    assert [line for line in lines if SPOOLED.search(line)] == []


async def test_messages_about_a_job_name_its_path(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Who asks for something else than a job is, is told which file it is about."""
    async with placed(tmp_path) as d:
        await d.write("x.png")
        (job,) = outbox.unfinished(d.db.reader, kind=queueing.UPLOAD)
        with pytest.raises(UserError, match=r"\(upload x\.png\)"):
            control.undo(d.db.reader, job.id, now=d.there.clock.now())
