"""The guard: deletions that look like a mistake are held until the user decides.

A disk that is not mounted, an emptied folder and a slip of the hand all look like many
deletions at once. The guard stands where jobs are claimed, so it does not matter who
asked for them; uploads and album calls go on. :func:`suspicion` is the rule and pure,
the rest counts, marks and tells. It reads no disk: what keeps a folder from being read
completely is the folder's notice (``folder:PATH``), put by whoever looks at it.

What was held together is one batch: later deletions of the same folder join it,
approving lets through what is in it at that moment, rejecting withdraws it and keeps
the images. Deletions the user approved or rejected, and those of replaced files and of
twins of our own making, count for nothing. All functions belong inside
``Database.write``, except :func:`report`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from imgurfs import limits
from imgurfs.jobs import drive, queueing
from imgurfs.jobs.queueing import DRIVE, DeleteImagePayload
from imgurfs.model import ROOT_INODE, ImageId, Inode
from imgurfs.store import deletions, entries, meta, notices, outbox, synced
from imgurfs.store.database import Connection
from imgurfs.store.outbox import Job, JobState
from imgurfs.store.synced import FolderId

#: Paths that a report names.
_SAMPLES = 5
#: Albums that a reason names.
_TITLES = 3
_HELD, _APPROVED = "held", "approved"


@dataclass(frozen=True, slots=True)
class Losses:
    """What would go from one place (a folder, the account) within the window.

    ``staying`` is exact where it decides something. ``albums`` are titles and sizes of
    albums that would lose all of their several images.
    """

    place: str
    going: int
    staying: int
    albums: tuple[tuple[str, int], ...] = ()
    is_emptied: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class GuardReport:
    """What is held: how many deletions, why, and some of the paths or image ids.

    ``since_at`` is an epoch. ``in_doubt`` were sent, and may have happened.
    """

    count: int
    reasons: tuple[str, ...]
    samples: tuple[str, ...]
    since_at: float
    in_doubt: int

    @property
    def text(self) -> str:
        """All of it in one line."""
        named = ", ".join(self.samples)
        more = ", …" if self.count > len(self.samples) else ""
        return (
            f"{self.count} deletion(s) are held: {'; '.join(self.reasons)}"
            f" ({named}{more})"
        )


class _Hold(msgspec.Struct, frozen=True):
    """Why one place's deletions are held. A passing reason ends by itself."""

    reason: str
    since_at: float
    is_passing: bool = False


@dataclass
class _Place:
    """The deletions of one folder, of the drive, or (None) those nobody asked for.

    ``homes`` are the directories of the drive that the images were in.
    """

    folder: FolderId | None
    waiting: list[Job] = field(default_factory=list)
    going: set[ImageId] = field(default_factory=set)
    approved: set[ImageId] = field(default_factory=set)
    homes: dict[Inode, set[ImageId]] = field(default_factory=dict)


_ACCOUNT = "account"
_Holds = dict[str, _Hold]


def suspicion(losses: Losses) -> str:
    """Return why these deletions look like a mistake, "" when they do not."""
    total = losses.going + losses.staying
    if not losses.going:
        return ""
    if losses.problem:
        return losses.problem
    # A single picture is nobody's slip of the hand, not even a folder's last.
    if losses.is_emptied and losses.going > 1:
        return f"{losses.place} has no pictures left"
    if losses.going > limits.GUARD_COUNT_MAX and (
        losses.going > limits.GUARD_SHARE_MAX * total
    ):
        return f"{losses.going} of {total} images of {losses.place} would go at once"
    if losses.albums:
        named = ", ".join(f"{title!r} ({n})" for title, n in losses.albums[:_TITLES])
        more = len(losses.albums) - _TITLES
        others = f" and {more} more" if more > 0 else ""
        return f"the whole album {named}{others} of {losses.place} would go"
    return ""


def review(
    c: Connection,
    *,
    now: float,
    window_s: float = limits.GUARD_WINDOW_S,
    is_on: bool = True,
) -> GuardReport | None:
    """Hold what looks like a mistake; return what is held, None for nothing.

    To be called in the transaction that claims deletions, before one is claimed, and
    wherever the user should learn of it early. ``is_on`` False lets everything pass.
    """
    if not is_on or not deletions.is_waiting(c, kind=queueing.DELETE_IMAGE):
        _mark(c, _waiting(c), "")
        _keep(c, {})
        return None
    places = _places(c, since=now - window_s)
    before = _holds(c)
    holds: _Holds = {}
    for place in places:
        name = _name(place.folder)
        hold = _judge(before.get(name), place.waiting, _losses(c, place), now)
        if hold is not None:
            holds[name] = hold
    free = [place for place in places if _name(place.folder) not in holds]
    waiting = [job for place in free for job in place.waiting]
    hold = _judge(before.get(_ACCOUNT), waiting, _account_losses(c, free), now)
    if hold is not None:
        holds[_ACCOUNT] = hold
    for place in places:
        is_held = place not in free or hold is not None
        _mark(c, place.waiting, _HELD if is_held else "")
    _keep(c, holds)
    found = report(c) if holds else None
    if found is not None:
        meta.put(c, "guard", found.text)
    return found


def report(c: Connection) -> GuardReport | None:
    """Return what is held at this moment; for any connection."""
    held, holds = _held(c), _holds(c)
    if not held:
        return None
    return GuardReport(
        count=len(held),
        reasons=tuple(hold.reason for hold in holds.values()),
        samples=tuple(_path_of(c, job) for job in held[:_SAMPLES]),
        since_at=min((hold.since_at for hold in holds.values()), default=0.0),
        in_doubt=sum(job.is_doubtful for job in held),
    )


def approve(c: Connection) -> int:
    """Let exactly what is held now pass; return how many deletions that is."""
    held = _held(c)
    for job in held:
        outbox.set_guard(c, job.id, _APPROVED)
    _keep(c, {})
    return len(held)


def reject(c: Connection, *, now: float) -> int:
    """Withdraw what is held: the images stay. Return how many there were."""
    held = _held(c)
    reason = "the guard held it and it was rejected"
    count = sum(withdraw(c, job, now=now, reason=reason) for job in held)
    _keep(c, {})
    return count


def withdraw(c: Connection, job: Job, *, now: float, reason: str) -> bool:
    """Withdraw one deletion that was not sent, and forget the files it was about.

    Otherwise the next look at the folder would ask for it again. A file that is there
    after all is recognised by its content; the drive shows what was deleted there.
    Returns whether it was possible. When an attempt may have happened all that is left
    to ``jobs.work``, which asks Imgur for the image first and sends nothing.
    """
    if not outbox.cancel(c, job.id, now=now, reason=reason):
        return queueing.unwant_delete(c, job.id, now=now, reason=reason)
    payload = queueing.decode(job, DeleteImagePayload)
    for folder, path in synced.paths_of(c, payload.image_id):
        if payload.folder in (None, folder):
            synced.forget_file(c, folder, path, payload.image_id)
    drive.called_off(c, job, reason, now=now)
    return True


# --- Counting ------------------------------------------------------------------


def _places(c: Connection, *, since: float) -> list[_Place]:
    found: dict[FolderId | None, _Place] = {}
    jobs = deletions.recent_and_coming(c, kind=queueing.DELETE_IMAGE, since=since)
    for job in jobs:
        payload = queueing.decode(job, DeleteImagePayload)
        if not _is_judged(payload):
            continue
        place = found.setdefault(payload.folder, _Place(payload.folder))
        if job.guard == _APPROVED:
            place.approved.add(payload.image_id)
            continue
        place.going.add(payload.image_id)
        for parent, _ in payload.places:
            place.homes.setdefault(Inode(parent), set()).add(payload.image_id)
        if job.state is JobState.QUEUED:
            place.waiting.append(job)
    return list(found.values())


def _losses(c: Connection, place: _Place) -> Losses:
    if not place.waiting:
        return Losses(place="", going=0, staying=0)
    if place.folder is None or place.folder == DRIVE:
        return _other_losses(c, place)
    return _folder_losses(c, place, place.folder)


def _folder_losses(c: Connection, place: _Place, folder: FolderId) -> Losses:
    ignored = place.approved
    known = synced.folder(c, folder)
    text = "the folder" if known is None else _text(known.path)
    staying = deletions.folder_stays(
        c, folder, without=place.going | ignored, enough=_enough(len(place.going))
    )
    titles = {
        path: bound.title for path, bound in synced.directories(c, folder).items()
    }
    albums = [
        (titles.get(directory) or _title(directory), count)
        for directory in sorted(deletions.directories_of(c, folder, place.going))
        if (
            count := deletions.directory_loses(
                c, folder, directory, going=place.going, ignored=ignored
            )
        )
        > 1
    ]
    return Losses(
        place=text,
        going=len(place.going),
        staying=staying,
        albums=tuple(albums),
        is_emptied=not staying and not deletions.has_other_files(c, folder),
        problem=notices.everything(c).get(f"folder:{text}", ""),
    )


def _other_losses(c: Connection, place: _Place) -> Losses:
    """Judge what no folder asked for by albums; its number by the whole account."""
    sizes: dict[Inode, int] = {}
    for image_id in place.going:
        node = entries.node_of_image(c, image_id)
        for album_id in entries.albums_of(c, node.inode) if node else ():
            album = entries.node_of_album(c, album_id)
            if album is None or album.inode in sizes:
                continue
            members = set(entries.members(c, album.inode)) - place.approved
            sizes[album.inode] = len(members) if members <= place.going else 0
    for parent, images in place.homes.items():
        # On the drive they have no name any more: what is left there stays.
        if parent != ROOT_INODE and not entries.children(c, parent, limit=1):
            sizes[parent] = max(len(images), sizes.get(parent, 0))
    staying = deletions.account_stays(
        c, without=place.going | place.approved, enough=_enough(len(place.going))
    )
    return Losses(
        place="the account",
        going=len(place.going),
        staying=staying,
        albums=tuple((_title_of(c, a), n) for a, n in sizes.items() if n > 1),
    )


def _title_of(c: Connection, album: Inode) -> str:
    node = entries.node(c, album)
    return node.album.title if node and node.album else ""


def _account_losses(c: Connection, places: Iterable[_Place]) -> Losses:
    going: set[ImageId] = set()
    approved: set[ImageId] = set()
    for place in places:
        going |= place.going
        approved |= place.approved
    staying = deletions.account_stays(
        c, without=going | approved, enough=_enough(len(going))
    )
    return Losses(place="the account", going=len(going), staying=staying)


def _enough(going: int) -> int:
    """Return from how many staying images on the share cannot be suspicious."""
    if going <= limits.GUARD_COUNT_MAX:
        return 1
    return math.ceil(going / limits.GUARD_SHARE_MAX)


# --- Holding -------------------------------------------------------------------


def _judge(
    before: _Hold | None, waiting: Iterable[Job], losses: Losses, now: float
) -> _Hold | None:
    """Return why a place's deletions are held from now on, None to let them pass."""
    reason = suspicion(losses)
    is_held = before is not None and any(job.guard == _HELD for job in waiting)
    if before is not None and is_held and not before.is_passing:
        # Only the user ends it: the window moves on, the mistake stays one.
        return before if not reason else _Hold(reason, before.since_at)
    if not reason:
        return None
    since_at = before.since_at if before is not None and is_held else now
    return _Hold(reason, since_at, is_passing=bool(losses.problem))


def _mark(c: Connection, jobs: Iterable[Job], guard: str) -> None:
    for job in jobs:
        if job.guard not in (guard, _APPROVED):
            outbox.set_guard(c, job.id, guard)


def _waiting(c: Connection) -> list[Job]:
    return outbox.unfinished(c, kind=queueing.DELETE_IMAGE, state=JobState.QUEUED.value)


def _held(c: Connection) -> list[Job]:
    return [job for job in _waiting(c) if job.guard == _HELD]


def _is_judged(payload: DeleteImagePayload) -> bool:
    return not (payload.is_replaced or payload.is_twin or payload.is_unwanted)


def _holds(c: Connection) -> _Holds:
    return msgspec.json.decode(meta.get(c, "guard_holds") or "{}", type=_Holds)


def _keep(c: Connection, holds: Mapping[str, _Hold]) -> None:
    if holds:
        meta.put(c, "guard_holds", msgspec.json.encode(holds).decode())
        return
    meta.drop(c, "guard_holds")
    meta.drop(c, "guard")


def _name(folder: FolderId | None) -> str:
    if folder == DRIVE:
        return "drive"
    return "others" if folder is None else f"folder {folder}"


def _path_of(c: Connection, job: Job) -> str:
    payload = queueing.decode(job, DeleteImagePayload)
    for folder_id, path in synced.paths_of(c, payload.image_id):
        folder = synced.folder(c, folder_id)
        if folder is not None and payload.folder in (None, folder_id):
            return _text(folder.path + b"/" + path)
    for parent, name in payload.places:
        title = _title_of(c, Inode(parent))
        return f"{title}/{name}" if title else name
    return f"image {payload.image_id}"


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _title(directory: bytes) -> str:
    return _text(directory.removeprefix(b"\0one:"))
