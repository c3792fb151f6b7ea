"""What ``imgurfs status`` knows: gathered from the databases, as JSON can carry it.

Not a command and prints nothing. Asks nobody, so it works when nothing runs and when
there is no network.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from imgurfs import limits
from imgurfs.cli.words import finite
from imgurfs.jobs import drive_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imgurfs.cli.opened import Opened
    from imgurfs.control import Waiting
    from imgurfs.paths import AccountPaths
    from imgurfs.store.database import Connection
    from imgurfs.store.drafts import Draft
    from imgurfs.store.ledger import SqliteLedger
    from imgurfs.store.outbox import Job
    from imgurfs.store.outbox_lists import Tally

#: Rows of each list that are shown; the numbers count all.
SHOWN_MAX = 10
#: What of the key "left" somebody has to send.
_LEFT = ("files", "album_calls", "titles", "deletions")


def gather(state: Opened) -> dict[str, Any]:
    """Return everything about one account; docs/COMMANDS.md tells every key."""
    from imgurfs import control
    from imgurfs.cli.forecast import of_queue
    from imgurfs.store import meta, nodes, notices, outbox_lists

    c, now = state.reader, state.clock.now()
    totals = nodes.totals(c)
    account = meta.account_of(c)
    paused = control.paused_until(c, now=now)
    tell = state.waiting_teller()
    waits = [(one, tell(one)) for one in outbox_lists.tallies(c, now=now)]
    facts: dict[str, Any] = {
        "account": {
            "name": account.url if account else "",
            "id": account.id if account else None,
        },
        "processes": _processes(state.places),
        "tree": {
            "albums": totals.albums,
            "images": totals.images,
            "albums_listed_at": meta.get_time(c, "albums_listed_at"),
            "images_listed_at": meta.get_time(c, "images_listed_at"),
            "brake": meta.get(c, "brake"),
        },
        "queue": _queue(c),
        "sending": _sending(c),
        "left": _left(waits),
        "waits": [_wait(*one) for one in waits],
        "eta": of_queue(state, [one for one, _ in waits]),
        "paused": None if paused is None else {"until": finite(paused)},
        "deletions": _deletions(c),
        "guard": _guard(c),
        "notices": notices.everything(c),
        "skipped": _skipped(c),
        "drive": _drive(c, state.places, now),
        "budget": None if state.ledger is None else _budget(state.ledger),
    }
    return {**facts, "attention": _attention(facts)}


def _processes(places: AccountPaths) -> dict[str, Any]:
    from imgurfs.locks import FileLock

    daemon, drain = FileLock(places.daemon_lock), FileLock(places.drain_lock)
    return {
        "daemon": None if daemon.is_free() else int(daemon.holder() or 0),
        "sending": None if drain.is_free() else int(drain.holder() or 0),
    }


def _queue(c: Connection) -> dict[str, Any]:
    from imgurfs.store import outbox, outbox_lists

    numbers = outbox.statistics(c)
    unknown = outbox_lists.listed(c, states=[outbox.JobState.UNKNOWN], limit=SHOWN_MAX)
    dead = outbox_lists.rejected(c)
    return {
        "queued": numbers.queued,
        "sending": numbers.sending,
        "unknown": numbers.unknown,
        "done": numbers.done,
        "dead": len(dead),
        "next_due_at": finite(numbers.next_due_at),
        "outcome_unknown": [_job(c, job) for job in unknown],
        "rejected": [_job(c, job) for job in dead[:SHOWN_MAX]],
    }


def _job(c: Connection, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "key": job.key,
        "what": drive_names.what(c, job),
        "error": job.error,
    }


def _sending(c: Connection) -> list[dict[str, Any]]:
    from imgurfs.store import outbox_lists
    from imgurfs.store.outbox import JobState

    jobs = outbox_lists.listed(c, states=[JobState.SENDING])
    return [
        {**_job(c, job), "sent_at": job.sent_at, "size_bytes": job.size_bytes}
        for job in jobs
    ]


def _left(waits: list[tuple[Tally, Waiting]]) -> dict[str, int]:
    from imgurfs.jobs import queueing

    def count(*kinds: str) -> int:
        return sum(one.count for one, _ in waits if one.kind in kinds)

    uploads = [one for one, _ in waits if one.kind == queueing.UPLOAD]
    return {
        "files": count(queueing.UPLOAD),
        "bytes": sum(one.size_bytes for one in uploads),
        "album_calls": count(
            queueing.CREATE_ALBUM,
            queueing.MEMBERS,
            queueing.UPDATE_ALBUM,
            queueing.DELETE_ALBUM,
        ),
        "titles": count(queueing.UPDATE_IMAGE),
        "deletions": count(queueing.DELETE_IMAGE),
    }


def _wait(one: Tally, waiting: Waiting) -> dict[str, Any]:
    return {
        "waits_for": waiting.cause.value,
        "until": finite(waiting.until),
        "reason": waiting.reason,
        "kind": one.kind,
        "count": one.count,
        "bytes": one.size_bytes,
        "needs_user": waiting.needs_user,
    }


def _deletions(c: Connection) -> dict[str, Any]:
    from imgurfs.jobs import queueing
    from imgurfs.store import outbox_lists, synced
    from imgurfs.store.outbox import JobState

    kind = queueing.DELETE_IMAGE
    states = [JobState.QUEUED]
    jobs = []
    for job in outbox_lists.listed(c, states=states, kind=kind, limit=SHOWN_MAX):
        payload = queueing.decode(job, queueing.DeleteImagePayload)
        files = [
            path.decode("utf-8", "backslashreplace")
            for _, path in synced.paths_of(c, payload.image_id)
        ]
        jobs.append(
            {
                "id": job.id,
                "image_id": payload.image_id,
                "files": files + drive_names.paths_at(c, payload.places),
                "at": finite(job.not_before),
                "guard": job.guard,
            }
        )
    return {"count": outbox_lists.count(c, states=states, kind=kind), "jobs": jobs}


def _guard(c: Connection) -> dict[str, Any] | None:
    from imgurfs.jobs import guard

    found = guard.report(c)
    if found is None:
        return None
    return {
        "count": found.count,
        "reasons": list(found.reasons),
        "samples": list(found.samples),
        "since_at": found.since_at,
    }


def _skipped(c: Connection) -> dict[str, Any]:
    from imgurfs.store import synced

    rows = [
        {"path": os.fsdecode(folder.path + b"/" + path), "reason": file.reason}
        for folder in synced.folders(c)
        for path, file in sorted(synced.skipped(c, folder.id).items())
    ]
    return {"count": len(rows), "files": rows[:SHOWN_MAX]}


def _drive(c: Connection, places: AccountPaths, now: float) -> dict[str, Any]:
    """Return what was written to the drive and stays on this machine, and why."""
    from imgurfs.store import drafts
    from imgurfs.store.drafts import DraftState

    known = drafts.everything(c)
    old_at = now - limits.SCRATCH_OLD_S

    def listed(chosen: list[Draft]) -> list[dict[str, Any]]:
        return [
            {
                "path": drive_names.path_of(c, draft.inode),
                "size_bytes": draft.size_bytes,
                "since_at": draft.changed_at,
                "error": draft.error,
            }
            for draft in chosen[:SHOWN_MAX]
        ]

    def in_state(*states: DraftState) -> list[Draft]:
        return [draft for draft in known if draft.state in states]

    scratch = in_state(DraftState.SCRATCH)
    old = [draft for draft in scratch if draft.changed_at < old_at]
    refused, kept = in_state(DraftState.REFUSED), in_state(DraftState.KEPT)
    files, size_bytes = _spool(places.spool_dir)
    return {
        "spool": {"files": files, "bytes": size_bytes},
        "writing": len(in_state(DraftState.WRITING)),
        "waiting": len(in_state(DraftState.WAITING)),
        "local": len(in_state(DraftState.LOCAL)),
        "scratch": {"count": len(scratch), "old": len(old), "files": listed(old)},
        "refused": {"count": len(refused), "files": listed(refused)},
        "kept": {"count": len(kept), "bytes": sum(one.size_bytes for one in kept)},
    }


def _spool(directory: Path) -> tuple[int, int]:
    """Return how many contents are in the spool, and their bytes."""
    from imgurfs.content import spool_disk

    try:
        found = spool_disk.scan(directory)
    except OSError:
        # Nothing was ever written, or it cannot be looked at.
        return 0, 0
    return len(found), sum(found.values())


def _budget(ledger: SqliteLedger) -> dict[str, Any]:
    from imgurfs.budget import needs_consent

    state = ledger.state()
    windows = {
        scope.value: {
            "limit": window.limit,
            "spendable": window.spendable,
            "reserved": window.reserved,
            "reset_at": window.reset_at,
        }
        for scope, window in state.windows.items()
    }
    # JSON knows no infinity: null is "until somebody decides".
    pauses = {s: u if math.isfinite(u) else None for s, u in state.pauses.items()}
    return {
        "windows": windows,
        "pauses": pauses,
        "strikes": state.strikes,
        "needs_consent": needs_consent(state),
    }


def _attention(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Return what is stuck or needs a decision, and what to do about it."""
    found = [*_stopped(facts), *_asked(facts)]
    texts = [facts["notices"][topic] for topic in sorted(facts["notices"])]
    if facts["tree"]["brake"]:
        texts.append(facts["tree"]["brake"])
    found += [(text, "") for text in texts]
    return [{"what": what, "do": do} for what, do in found]


def _stopped(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what keeps everything from being sent."""
    from imgurfs.store import notices

    processes, left = facts["processes"], facts["left"]
    is_idle = not processes["daemon"] and not processes["sending"]
    # Whoever would send waits for a login, and the notice says so.
    is_logged_out = notices.LOGIN in facts["notices"]
    if is_idle and not is_logged_out and any(left[key] for key in _LEFT):
        yield "nobody is sending what waits", "imgurfs-daemon, or imgurfs sync FOLDER"
    if facts["paused"] is not None and facts["paused"]["until"] is None:
        yield "sending is paused", "imgurfs resume"
    if facts["budget"] is not None and facts["budget"]["needs_consent"]:
        text = "uploads wait for your consent: Imgur's daily limit was hit too often"
        yield text, "imgurfs resume --consent"


def _asked(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what single jobs wait for the user to decide."""
    if facts["guard"] is not None:
        count = facts["guard"]["count"]
        yield f"{count} deletion(s) look like a mistake and are held", "imgurfs guard"
    count = sum(w["count"] for w in facts["waits"] if w["waits_for"] == "decision")
    if count:
        yield f"nobody can tell whether {count} job(s) happened", "imgurfs queue"
    if facts["queue"]["dead"]:
        count = facts["queue"]["dead"]
        yield f"Imgur rejected {count} job(s)", "imgurfs queue --dead"
    drive = facts["drive"]
    if drive["refused"]["count"]:
        count = drive["refused"]["count"]
        yield f"{count} file(s) of the drive are not uploaded, see above", ""
    if drive["scratch"]["old"]:
        count = drive["scratch"]["old"]
        text = f"{count} file(s) of the drive have had temporary names for long"
        yield text, "rename or remove them"
