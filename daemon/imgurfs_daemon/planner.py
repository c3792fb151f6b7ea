"""Decides what to tell Imgur about a folder: a pure function of three trees.

**local** is what a walk saw, **synced** what folder and account last agreed about,
**remote** what the account lists. :func:`plan` gives actions, each with its reason;
it is deterministic, and after its actions have been applied it returns none. It knows
nothing about jobs, budgets or time; ``apply`` turns actions into rows. Its values and
rules live in ``planning``; other modules import them from here.

Nothing is derived from absence without evidence (``planning.evidence``). A missing
file that is nowhere else is forgotten (``deletes = "keep"``) or its image deleted
(``"mirror"``), unless another file is the same image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from imgurfs.model import ImageId
from imgurfs_daemon.planning import albums
from imgurfs_daemon.planning.actions import (
    Action,
    AdoptAlbum,
    Bind,
    CancelDelete,
    DeleteImage,
    Forget,
    ForgetSkip,
    IdentifyDirectory,
    Move,
    Plan,
    RenameAlbum,
    Replace,
    Skip,
    Touch,
    Upload,
)
from imgurfs_daemon.planning.cost import PlanCost, cost_of
from imgurfs_daemon.planning.evidence import absence_problem, is_hidden, was_read
from imgurfs_daemon.planning.matching import Matches, match
from imgurfs_daemon.planning.trees import (
    AlbumMode,
    BoundAlbum,
    KnownFile,
    Policy,
    Remote,
    Slot,
    Synced,
    Verdicts,
    directory_of,
    needs_look,
    slot_of,
    title_of,
)
from imgurfs_daemon.snapshot import Snapshot

__all__ = [
    "NO_VERDICTS",
    "Action",
    "AdoptAlbum",
    "AlbumMode",
    "Bind",
    "BoundAlbum",
    "CancelDelete",
    "DeleteImage",
    "Forget",
    "ForgetSkip",
    "IdentifyDirectory",
    "KnownFile",
    "Move",
    "Plan",
    "PlanCost",
    "Policy",
    "Remote",
    "RenameAlbum",
    "Replace",
    "Skip",
    "Slot",
    "Synced",
    "Touch",
    "Upload",
    "Verdicts",
    "absence_problem",
    "cost_of",
    "directory_of",
    "needs_look",
    "plan",
    "slot_of",
    "title_of",
]

#: Nothing was found out: every file is settled and fit to be sent.
NO_VERDICTS = Verdicts()


def plan(
    local: Snapshot,
    synced: Synced,
    remote: Remote,
    policy: Policy,
    *,
    verdicts: Verdicts = NO_VERDICTS,
) -> Plan:
    """Return what to do, in the order of doing.

    Albums first, then what is withdrawn, what is forgotten to make room, what moves,
    what is sent, what is forgotten and what is deleted; each in the order of paths.
    """
    planning = _Planning(local, synced, remote, policy, verdicts)
    return Plan(planning.actions(), planning.postponed)


class _Planning:
    """One plan in the making."""

    def __init__(
        self,
        local: Snapshot,
        synced: Synced,
        remote: Remote,
        policy: Policy,
        verdicts: Verdicts,
    ) -> None:
        self._local = local
        self._synced = synced
        self._remote = remote
        self._policy = policy
        self._verdicts = verdicts
        self._doubtful = self._find_doubtful()
        self._is_certain = not absence_problem(local, synced)
        self._found: Matches = match(local, synced, remote, policy, verdicts)
        self._moved_from = {old: new for new, old in self._found.moves.items()}
        self._edited_from = {old: new for new, old in self._found.edited.items()}
        renamed = albums.renames(local, synced, remote, policy, self._places())
        self._renames = albums.rename_actions(renamed, synced)
        self._renamed = renamed
        self._moves, self._placed = self._plan_moves()
        self._holders = self._find_holders()
        self._cancelled: set[ImageId] = set()

    @property
    def postponed(self) -> frozenset[bytes]:
        """The directories to read again, as :class:`Plan` has them."""
        return self._found.postponed

    def actions(self) -> tuple[Action, ...]:
        """Return the whole plan."""
        binds = [
            Bind(
                path, slot_of(path, self._policy), one.image_id, one.digest, one.reason
            )
            for path, one in sorted(self._found.binds.items())
        ]
        touches = [
            Touch(path, "only its time or its number has changed")
            for path in sorted(self._found.touches)
            if path not in self._placed
        ]
        sends, cancels = self._plan_sends(), self._plan_cancels()
        self._cancelled = {action.image_id for action in cancels}
        bound = albums.after_renames(self._synced, self._renames)
        slots = [action.slot for action in (*self._moves, *binds, *sends)]
        skips = [
            Skip(
                file.path,
                file.size_bytes,
                file.mtime_ns,
                self._verdicts.refused[file.path],
            )
            for file in self._found.refused
        ]
        return (
            *self._renames,
            *albums.adoptions(slots, bound, self._remote),
            *albums.identifications(bound, self._local),
            *cancels,
            *self._plan_displaced(),
            *self._moves,
            *binds,
            *touches,
            *sends,
            *skips,
            *self._plan_absent(),
        )

    # --- Where everything is -------------------------------------------------------

    def _places(self) -> dict[bytes, bytes]:
        """Return where the files of rows are, as far as that is known."""
        places = {
            path: path
            for path, known in self._synced.files.items()
            if path in self._found.touches or self._is_in_place(path, known)
        }
        return {**places, **self._moved_from}

    def _is_in_place(self, path: bytes, known: KnownFile) -> bool:
        file = self._local.files.get(path)
        return (
            file is not None
            and file.identity == known.stat.identity
            and path not in self._synced.pending_uploads
        )

    def _directory(self, known: KnownFile) -> bytes | None:
        """Return the directory whose album a row's image is in, by its new name."""
        if known.directory is None:
            return None
        return self._renamed.get(known.directory, known.directory)

    def _plan_moves(self) -> tuple[list[Move], set[bytes]]:
        """Return what moves, and the paths that thereby have a row as it should be."""
        moves = []
        for old, new in sorted(self._places().items()):
            known = self._synced.files[old]
            slot, directory = slot_of(new, self._policy), self._directory(known)
            if old == new and directory == directory_of(slot):
                continue
            why = "its folder's albums are arranged in another way now"
            reason = self._found.reasons[new] if old != new else why
            moves.append(
                Move(old, new, directory, slot, known.image_id, known.digest, reason)
            )
        return moves, {move.new_path for move in moves}

    def _find_holders(self) -> Mapping[ImageId, Mapping[bytes, bytes | None]]:
        """Return, by image, the paths that will be it and the directory of each."""
        holders: dict[ImageId, dict[bytes, bytes | None]] = defaultdict(dict)
        gone = set(self._found.gone)
        for path, known in self._synced.files.items():
            if path in self._moved_from or path in gone or path in self._edited_from:
                continue
            if path in self._found.moves or path in self._found.binds:
                continue
            if path in self._found.sends:
                continue
            holders[known.image_id][path] = self._directory(known)
        for new, old in self._found.moves.items():
            slot = slot_of(new, self._policy)
            holders[self._synced.files[old].image_id][new] = directory_of(slot)
        for move in self._moves:
            holders[move.image_id][move.new_path] = directory_of(move.slot)
        for path, one in self._found.binds.items():
            slot = slot_of(path, self._policy)
            holders[one.image_id][path] = directory_of(slot)
        return holders

    def _is_held(self, image_id: ImageId) -> bool:
        return image_id in self._holders or image_id in self._synced.elsewhere

    def _leaves_album(self, known: KnownFile) -> bool:
        """Whether a row's image has no file in the row's slot any more.

        Also when it is about to be deleted: until then it may turn up elsewhere.
        """
        directory = self._directory(known)
        return (
            self._policy.mirrors_deletes
            and directory is not None
            and (self._is_held(known.image_id) or self._goes(known))
            and directory not in self._holders.get(known.image_id, {}).values()
        )

    # --- What follows ----------------------------------------------------------------

    def _plan_cancels(self) -> list[CancelDelete]:
        """Withdraw deletes of images that a file on the disk is, or still was."""
        pending = self._synced.pending_deletes
        found: dict[ImageId, bytes] = {}
        for image_id in pending & self._holders.keys():
            for path in self._holders[image_id]:
                if path in self._local.files:
                    found[image_id] = min(path, found.get(image_id, path))
        for path in self._found.sends:
            known = self._synced.files.get(path)
            if path in self._moved_from or known is None:
                continue
            if known.image_id in pending:
                found[known.image_id] = min(path, found.get(known.image_id, path))
        return [
            CancelDelete(path, image_id, "a file is this image again")
            for image_id, path in sorted(found.items(), key=lambda item: item[1])
        ]

    def _plan_displaced(self) -> list[Forget]:
        """Forget the rows of paths that another image has taken."""
        forgotten = []
        for path in sorted(self._found.moves.keys() | self._found.binds.keys()):
            known = self._synced.files.get(path)
            if known is None or path in self._moved_from:
                continue
            forgotten.append(
                Forget(
                    path,
                    known.image_id,
                    self._leaves_album(known),
                    "another file has its name now",
                    deletes_last=self._goes_with_the_last(known),
                )
            )
        return forgotten

    def _plan_sends(self) -> list[Upload | Replace]:
        sends: list[Upload | Replace] = []
        for path, twin in sorted(self._found.sends.items()):
            slot = slot_of(path, self._policy)
            old = self._found.edited.get(path, path)
            known = self._synced.files.get(old)
            if known is None or old in self._moved_from:
                sends.append(Upload(path, slot, twin, "new file"))
                continue
            sends.append(
                Replace(
                    path,
                    slot,
                    known.image_id,
                    deletes_old=self._may_go(known),
                    leaves_album=old == path and self._leaves_album(known),
                    twin_of=twin,
                    reason="the file has changed"
                    if old == path
                    else "the file was moved and changed",
                )
            )
        return sends

    def _find_doubtful(self) -> set[ImageId]:
        """Return the images that a file which cannot be read may be."""
        inodes = {
            (file.device, file.inode)
            for path in self._verdicts.unreadable
            if (file := self._local.files.get(path)) is not None
        }
        return {
            known.image_id
            for known in self._synced.files.values()
            if (known.stat.device, known.stat.inode) in inodes
        }

    def _goes(self, known: KnownFile) -> bool:
        """Whether the image of a file that is no more is to be deleted."""
        return self._may_go(known) and not self._is_held(known.image_id)

    def _goes_with_the_last(self, known: KnownFile) -> bool:
        """Whether only other files that are the same image keep it from going."""
        return self._may_go(known) and self._is_held(known.image_id)

    def _may_go(self, known: KnownFile) -> bool:
        """Whether it is to be deleted once no other file is it."""
        return (
            self._policy.mirrors_deletes
            and self._is_certain
            and known.image_id not in self._remote.gone
            and known.image_id not in self._doubtful
        )

    def _plan_absent(self) -> list[Action]:
        """Return what follows from files that are not there any more."""
        if not self._is_certain:
            return []
        forgotten: list[Action] = [
            ForgetSkip(path, "the file is gone")
            for path in sorted(self._synced.skipped.keys() - self._local.files.keys())
            if not is_hidden(path, self._local) and was_read(path, self._local)
        ]
        deleted: list[Action] = []
        for path in sorted([*self._found.gone, *self._edited_from]):
            known = self._synced.files[path]
            if path not in self._edited_from and self._goes(known):
                deleted += self._delete(path, known, "the file is gone")
                continue
            leaves, why = self._leaves_album(known), self._why_forgotten(path, known)
            is_last = path not in self._edited_from and self._goes_with_the_last(known)
            forgotten.append(Forget(path, known.image_id, leaves, why, is_last))
        displaced = self._found.moves.keys() | self._found.binds.keys()
        for path in sorted(displaced - self._moved_from.keys()):
            row = self._synced.files.get(path)
            if row is not None and self._goes(row):
                deleted += self._delete(path, row, "another file has its name now")
        return [*forgotten, *deleted]

    def _delete(self, path: bytes, known: KnownFile, why: str) -> list[DeleteImage]:
        if known.image_id in self._synced.pending_deletes - self._cancelled:
            return []
        return [DeleteImage(path, known.image_id, why)]

    def _why_forgotten(self, path: bytes, known: KnownFile) -> str:
        if not self._policy.mirrors_deletes:
            return "the file is gone; the folder keeps images"
        if path in self._edited_from:
            return "the file has another name and other content now"
        if self._is_held(known.image_id):
            return "the file is gone; another file is the same image"
        return "the file is gone, and its image was deleted on Imgur"
