"""queue, undo, guard, pause and resume: run in this process on a real database."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest

from imgurfs import paths
from imgurfs.clock import SystemClock
from imgurfs.jobs import guard
from imgurfs.model import JobId
from imgurfs.store import meta, outbox
from tests.support.commands import Home
from tests.support.queued import NOW_S, Queue

# --- queue -------------------------------------------------------------------


def test_list_says_what_waits_and_why(home: Home, queue: Queue) -> None:
    """One line a job: state, lane, what, tries and what it waits for."""
    queue.upload("a.gif")
    failed = queue.upload("b.gif")
    queue.fail(failed, until=NOW_S * 2, error="Imgur is over capacity")
    queue.reject(queue.upload("c.gif"), "too large")
    code, out, _ = home.run("queue").all
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["ID", "STATE", "LANE", "TRIES", "WHAT", "WAITS", "FOR"]
    assert lines[1].split()[:6] == ["1", "queued", "bulk", "0", "upload", "a.gif"]
    assert "due" in lines[1]
    assert "retry until 20" in lines[2]
    assert "over capacity" in lines[2]
    assert "2 jobs waiting, 1 rejected" in out
    assert home.run("queue", "list").out == out


def test_list_as_json_has_the_documented_keys(home: Home, queue: Queue) -> None:
    """The keys of the help text are the keys, and infinity never gets out."""
    queue.lose(queue.upload("a.gif"))
    home.run("pause")
    queue.upload("b.gif")
    code, out, _ = home.run("queue", "--json").all
    assert code == 0
    found = json.loads(out, parse_constant=pytest.fail)
    assert (found["total"], found["rejected"]) == (2, 0)
    help_text = " ".join(home.run("queue", "--help").out.split())
    for key in found["jobs"][0]:
        assert key in help_text, key
    told = {
        job["what"]: (job["waits_for"], job["waits_until"]) for job in found["jobs"]
    }
    assert told == {
        "upload a.gif": ("quarantine", NOW_S + 120),
        "upload b.gif": ("paused", None),
    }


def test_long_list_is_cut_and_says_so(home: Home, queue: Queue) -> None:
    """Fifty lines unless told otherwise; JSON has more, and the total."""
    for number in range(60):
        queue.upload(f"{number}.gif")
    assert "and 10 more" in home.run("queue").out
    assert home.run("queue", "--limit", "0").out.count("upload") == 60
    assert "and 55 more" in home.run("queue", "list", "--limit", "5").out
    assert len(json.loads(home.run("queue", "--json").out)["jobs"]) == 60


def test_dead_letter_has_reasons_and_can_be_retried(home: Home, queue: Queue) -> None:
    """What Imgur rejected is listed with its reason until somebody decides."""
    first, second = queue.upload("a.gif"), queue.upload("b.gif")
    for job_id in (first, second):
        queue.reject(job_id, "Imgur does not take it")
    out = home.run("queue", "--dead").out
    assert out.count("Imgur does not take it") == 2
    assert home.run("queue", "retry", str(first)).pair == (
        0, f"job {first} is sent again: upload a.gif\n",
    )  # fmt: skip
    assert f"job {second} is sent again" in home.run("queue", "retry", "--dead").out
    assert "nothing was rejected" in home.run("queue", "retry", "--dead").out
    assert (queue.state(first), queue.state(second)) == ("queued", "queued")


def test_show_tells_everything(home: Home, queue: Queue) -> None:
    """All fields of one job, for people and as JSON."""
    job_id = queue.upload("a\x1b[31m.gif", size_bytes=2_000_000)
    queue.reject(job_id, "no")
    out = home.run("queue", "show", str(job_id)).out
    assert "2 MB" in out
    assert "\x1b" not in out
    found = json.loads(home.run("queue", "show", str(job_id), "--json").out)
    assert (found["state"], found["error"], found["size_bytes"]) == (
        "dead", "no", 2_000_000,
    )  # fmt: skip


def test_cancel_withdraws_a_job(home: Home, queue: Queue) -> None:
    """The job is withdrawn and named."""
    job_id = queue.upload("a.gif")
    assert home.run("queue", "cancel", str(job_id)).pair == (
        0, f"job {job_id} is withdrawn: upload a.gif\n",
    )  # fmt: skip
    assert queue.state(job_id) == "cancelled"


def test_resolve_sends_again_only_when_told(home: Home, queue: Queue) -> None:
    """One of the two answers is needed, and only for a job that needs one."""
    lost, waiting = queue.upload("a.gif"), queue.upload("b.gif")
    queue.lose(lost)
    assert home.run("queue", "resolve", str(lost)).code == 2
    assert (
        home.run(
            "queue", "resolve", str(lost), "--happened", "x", "--did-not-happen"
        ).code
        == 2
    )
    code, _, err = home.run("queue", "resolve", str(waiting), "--did-not-happen").all
    assert (code, "nothing to resolve" in err) == (1, True)
    assert home.run("queue", "resolve", str(lost), "--did-not-happen").code == 0
    assert queue.state(lost) == "queued"


@pytest.mark.parametrize(
    "arguments",
    [("show", "7"), ("retry", "7"), ("cancel", "7"), ("retry",), ("show", "x"),
     ("resolve", "7", "--did-not-happen"), ("--dead", "show", "1")],
)  # fmt: skip
def test_wrong_ids_are_usage_errors(
    home: Home, queue: Queue, arguments: tuple[str, ...]
) -> None:
    """An id that is not there, none at all, or no number is exit code 2."""
    assert home.run("queue", *arguments).code == 2


def test_queue_works_without_a_token(home: Home, queue: Queue) -> None:
    """Who was logged out can still see and withdraw what waits; not before a login."""
    job_id = queue.delete("a.gif", "img1")
    paths.account_paths("default").token.unlink()
    assert home.run("queue").code == 0
    assert home.run("undo").code == 0
    assert queue.state(job_id) == "cancelled"
    assert home.run("--config", "/nowhere.toml", "queue").code == 78


def test_commands_without_any_state_say_to_log_in(home: Home) -> None:
    """Nobody has ever logged in: exit code 77, and no database appears."""
    for command in ("queue", "undo", "guard", "pause", "resume", "wait", "status"):
        code, _, err = home.run(command).all
        assert (code, "login" in err) == (77, True), command
    assert not paths.account_paths("default").state_db.exists()


# --- undo --------------------------------------------------------------------


def test_undo_prints_what_was_kept(home: Home, queue: Queue) -> None:
    """The images and the files that they were; a second time there is nothing."""
    queue.delete("trip/a.gif", "img1")
    queue.delete("b.gif", "img2")
    code, out, _ = home.run("undo").all
    assert code == 0
    assert out.splitlines() == [
        "kept: image img1 (trip/a.gif)",
        "kept: image img2 (b.gif)",
        "2 deletions called off; the images stay on Imgur",
    ]
    assert queue.paths() == set()
    code, out, _ = home.run("undo").all
    assert (code, out) == (1, "nothing to undo: no deletion waits\n")


def test_undo_says_that_nothing_comes_back(home: Home, queue: Queue) -> None:
    """What was sent is told with its time."""
    job_id = queue.delete("a.gif", "img1")
    queue.send(job_id)
    queue.db.write_blocking(lambda c: outbox.finish(c, job_id, now=NOW_S))
    code, out, _ = home.run("undo").all
    assert code == 1
    assert "Imgur brings nothing back" in out
    code, _, err = home.run("undo", str(job_id)).all
    assert (code, "brings nothing back" in err) == (1, True)


def test_undo_as_json(home: Home, queue: Queue) -> None:
    """One deletion by its id."""
    job_id = queue.delete("a.gif", "img1")
    found = json.loads(home.run("undo", str(job_id), "--json").out)
    assert found == {
        "kept": [{"job_id": job_id, "image_id": "img1", "files": ["a.gif"]}]
    }


# --- guard -------------------------------------------------------------------


def hold(queue: Queue, count: int) -> list[int]:
    """Let the guard hold the deletion of everything a folder had."""
    jobs = [queue.delete(f"{n}.gif", f"img{n}") for n in range(count)]
    queue.db.write_blocking(lambda c: guard.review(c, now=NOW_S))
    return [int(job_id) for job_id in jobs]


def test_guard_shows_how_many_which_and_why(home: Home, queue: Queue) -> None:
    """And what both answers would do."""
    hold(queue, 12)
    code, out, _ = home.run("guard").all
    assert code == 0
    assert "12 deletions held since" in out
    assert "has no pictures left" in out
    assert "0.gif" in out
    assert "guard approve" in out
    assert "guard reject" in out
    found = json.loads(home.run("guard", "show", "--json").out)
    assert (found["count"], len(found["reasons"])) == (12, 1)
    assert json.loads(home.run("guard", "--json").out) == found


def test_guard_reject_keeps_and_approve_lets_pass(home: Home, queue: Queue) -> None:
    """Rejecting withdraws the deletions, approving lets the drainer have them."""
    first = hold(queue, 12)
    assert home.run("guard", "reject").pair == (
        0, "12 deletions called off; the images stay on Imgur\n",
    )  # fmt: skip
    assert {queue.job(JobId(j)).state.value for j in first} == {"cancelled"}
    assert home.run("guard", "reject").pair == (1, "nothing is held\n")
    second = hold(queue, 12)
    assert home.run("guard", "approve").pair == (0, "12 deletions approved\n")
    assert {queue.job(JobId(j)).guard for j in second} == {"approved"}


def test_guard_reject_says_what_it_cannot_promise(home: Home, queue: Queue) -> None:
    """An attempt that was not answered may have deleted an image already."""
    (first, *_) = hold(queue, 12)
    queue.db.write_blocking(
        lambda c: outbox.requeue(
            c, JobId(first), not_before=NOW_S, error="503", is_counted=True,
            is_doubtful=True,
        )
    )  # fmt: skip
    code, out, _ = home.run("guard", "reject").all
    called_off, in_doubt = out.splitlines()
    assert code == 0
    assert called_off == "12 deletions called off; the images stay on Imgur"
    assert in_doubt.startswith("1 of them had been sent and may have happened")


def test_guard_without_anything_held(home: Home, queue: Queue) -> None:
    """Nothing to decide is no success for those who wanted to decide."""
    assert home.run("guard").pair == (0, "nothing is held\n")
    assert json.loads(home.run("guard", "--json").out)["count"] == 0
    assert home.run("guard", "approve").pair == (1, "nothing is held\n")
    assert home.run("guard", "reject").pair == (1, "nothing is held\n")


# --- pause and resume --------------------------------------------------------


def test_pause_for_a_time_and_without_end(home: Home, queue: Queue) -> None:
    """The time is printed, and kept where the drainer looks."""
    before = SystemClock().now()
    code, out, _ = home.run("pause", "--for", "1h30m").all
    assert (code, "until 20" in out) == (0, True)
    until = meta.get_time(queue.db.reader, "paused_until")
    assert until is not None
    assert 5400 <= until - before < 5460
    assert "imgurfs resume" in home.run("pause").out
    assert meta.get(queue.db.reader, "paused_until") == "inf"
    assert home.run("resume").pair == (0, "sending goes on\n")
    assert home.run("resume").pair == (0, "nothing was paused\n")


@pytest.mark.parametrize("text", ["", "0s", "2", "2x", "-1h", "h", "2h x", "400d"])
def test_pause_wants_a_real_time(home: Home, queue: Queue, text: str) -> None:
    """Anything else is refused in one line, and nothing is paused."""
    code, _, err = home.run("pause", "--for", text).all
    assert (code, "not a duration" in err) == (2, True)
    assert meta.get(queue.db.reader, "paused_until") is None


def test_consent_is_given_only_where_it_is_asked_for(home: Home, queue: Queue) -> None:
    """Without strikes there is nothing to consent to; after four there is."""
    code, out, _ = home.run("resume", "--consent").all
    assert (code, "no upload waits for your consent" in out) == (0, True)
    now = SystemClock().now()
    with contextlib.closing(
        sqlite3.connect(paths.account_paths("default").budget_db)
    ) as c:
        c.executemany(
            "INSERT INTO strike (client_id, at) VALUES (?, ?)",
            [("c" * 15, now - days * 86_400) for days in range(1, 5)],
        )
        c.commit()
    queue.upload("a.gif")
    assert "-> imgurfs resume --consent" in home.run("status").out
    (job,) = json.loads(home.run("queue", "--json").out)["jobs"]
    assert (job["waits_for"], job["waits_until"]) == ("budget", None)
    code, out, _ = home.run("resume", "--consent").all
    assert (code, "uploads are allowed until 20" in out) == (0, True)
    (job,) = json.loads(home.run("queue", "--json").out)["jobs"]
    assert job["waits_for"] == "due"
