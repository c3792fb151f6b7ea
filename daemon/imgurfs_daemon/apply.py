"""Writes what follows from a look at a folder: rows, and jobs in the outbox.

The only place where the planner's actions become rows; everything in the one
transaction that :func:`apply` is called in. Nothing is sent here.
"""

from __future__ import annotations

from dataclasses import replace

from imgurfs.jobs import guard, placing, queueing, settle
from imgurfs.jobs.queueing import (
    DeleteImagePayload,
    UpdateAlbumPayload,
    UploadPayload,
)
from imgurfs.model import ImageId, Lane
from imgurfs.store import outbox, synced, synced_reads
from imgurfs.store.database import Connection
from imgurfs.store.synced import FolderId, SkippedFile, SyncedFile
from imgurfs_daemon import planner
from imgurfs_daemon.planner import Action, Slot
from imgurfs_daemon.snapshot import FileStat, RootIdentity, Snapshot

#: Files modified less than this ago are what the user is waiting for.
_FRESH_S = 600.0
_LOST = "its image was deleted meanwhile"


class OvertakenError(Exception):
    """A plan does not hold any more, as a whole: look again. Nothing was written."""


def apply(
    c: Connection,
    path: bytes,
    root: RootIdentity,
    snapshot: Snapshot,
    actions: tuple[Action, ...],
    *,
    now: float,
    grace_s: float,
    dedupe: bool,
) -> FolderId:
    """Apply a plan for the folder at ``path``, in its order; return the folder's id.

    Raises OvertakenError.
    """
    folder = synced.bind_folder(c, path, device=root.device, inode=root.inode).id
    writer = _Writer(c, folder, snapshot, now=now, grace_s=grace_s, dedupe=dedupe)
    for action in actions:
        writer.apply(action)
    writer.finish()
    return folder


def keep_images(c: Connection, path: bytes, *, now: float) -> None:
    """Withdraw the deletions of a folder that keeps, by now, what is gone from it."""
    folder = synced.folder_at(c, path)
    for job in outbox.unfinished(c, kind=queueing.DELETE_IMAGE):
        payload = queueing.decode(job, DeleteImagePayload)
        if folder is not None and payload.folder == folder.id:
            guard.withdraw(c, job, now=now, reason="the folder keeps images")


class _Writer:
    """One plan being applied."""

    def __init__(
        self,
        c: Connection,
        folder: FolderId,
        snapshot: Snapshot,
        *,
        now: float,
        grace_s: float,
        dedupe: bool,
    ) -> None:
        self._c = c
        self._folder = folder
        self._snapshot = snapshot
        self._now = now
        self._grace_s = grace_s
        self._dedupe = dedupe
        self._forgotten: list[tuple[SyncedFile, planner.Forget]] = []

    def apply(self, action: Action) -> None:
        """Write what one action says."""
        match action:
            case planner.Upload() | planner.Replace():
                self._upload(action)
            case planner.Bind():
                self._bind(action)
            case planner.Move():
                self._move(action)
            case planner.Forget():
                self._forget(action)
            case planner.DeleteImage():
                self._delete(action)
            case planner.CancelDelete():
                queueing.cancel_delete(self._c, action.image_id, now=self._now)
            case _:
                self._note(action)

    def _note(self, action: Action) -> None:
        """Apply an action that sends nothing, or renames an album."""
        c, folder = self._c, self._folder
        match action:
            case planner.RenameAlbum():
                self._rename(action)
            case planner.AdoptAlbum():
                slot = action.slot
                queueing.bind_album(
                    c, folder, slot.directory, action.album_id, title=slot.title
                )
            case planner.IdentifyDirectory():
                synced.identify_directory(
                    c,
                    folder,
                    action.directory,
                    device=action.device,
                    inode=action.inode,
                )
            case planner.Touch():
                self._touch(action)
            case planner.Skip():
                skip = SkippedFile(
                    action.path, action.size_bytes, action.mtime_ns, action.reason
                )
                synced.put_skipped(c, folder, skip)
            case planner.ForgetSkip():
                synced.forget_skipped(c, folder, action.path)
            case _:  # pragma: no cover
                raise AssertionError(f"no rows follow from {action}")

    def _upload(self, action: planner.Upload | planner.Replace) -> None:
        file = self._snapshot.files[action.path]
        age_s = self._now - file.mtime_ns / 1e9
        replaces: ImageId | None = None
        deletes_old = leaves_album = False
        if isinstance(action, planner.Replace):
            replaces, deletes_old = action.image_id, action.deletes_old
            leaves_album = action.leaves_album
        payload = UploadPayload(
            folder=self._folder,
            path=action.path,
            directory=action.slot.directory if action.slot else None,
            title=action.slot.title if action.slot else "",
            replaces=replaces,
            deletes_old=deletes_old,
            leaves_album=leaves_album,
            grace_s=self._grace_s,
            dedupe=self._dedupe,
        )
        queueing.queue_upload(
            self._c,
            payload,
            lane=Lane.FRESH if age_s < _FRESH_S else Lane.BULK,
            size_bytes=file.size_bytes,
            now=self._now,
        )

    def _is_lost(self, image_id: ImageId) -> bool:
        """Whether an image was deleted since the look: no file is it any more."""
        c = self._c
        has_files = bool(synced.paths_of(c, image_id))
        return not has_files and bool(synced_reads.unknown_images(c, [image_id]))

    def _bind(self, action: planner.Bind) -> None:
        if self._is_lost(action.image_id):
            self._upload(planner.Upload(action.path, action.slot, None, _LOST))
            return
        digest = action.digest or self._digest_of(action.image_id)
        record = self._record(action.path, action.slot, action.image_id, digest)
        title = action.slot.title if action.slot else ""
        settle.bind_file(self._c, self._folder, record, title=title, now=self._now)

    def _move(self, action: planner.Move) -> None:
        c, folder, image_id = self._c, self._folder, action.image_id
        if self._is_lost(image_id):
            self._upload(planner.Upload(action.new_path, action.slot, None, _LOST))
            return
        digest = action.digest or self._digest_of(image_id)
        synced.forget_file(c, folder, action.path, image_id)
        record = self._record(action.new_path, action.slot, image_id, digest)
        synced.put_file(c, folder, record)
        queueing.cancel_delete(c, image_id, now=self._now)
        if record.directory == action.from_directory:
            return
        title = action.slot.title if action.slot else ""
        placing.place(c, folder, record.directory, title, image_id, now=self._now)
        placing.displace(c, folder, action.from_directory, image_id, now=self._now)

    def _forget(self, action: planner.Forget) -> None:
        known = synced.file(self._c, self._folder, action.path)
        synced.forget_file(self._c, self._folder, action.path, action.image_id)
        if known is None:
            return
        if action.deletes_last and known.image_id == action.image_id:
            self._forgotten.append((known, action))
        else:
            self._leave_album(known, action)

    def _leave_album(self, known: SyncedFile, action: planner.Forget) -> None:
        if action.leaves_album:
            c, folder, image_id = self._c, self._folder, action.image_id
            placing.displace(c, folder, known.directory, image_id, now=self._now)

    def finish(self) -> None:
        """Let images go that were kept for files which have ended since the look.

        Those of another folder were forgotten for the sake of these, perhaps. Until it
        happens the file is known as it is of any deletion: the guard counts it, and it
        is looked for once more.
        """
        for known, action in self._forgotten:
            if synced.paths_of(self._c, known.image_id):
                self._leave_album(known, action)
                continue
            if synced.file(self._c, self._folder, known.path) is None:
                synced.put_file(self._c, self._folder, known)
            else:
                self._leave_album(known, action)
            self._delete(planner.DeleteImage(known.path, known.image_id, action.reason))

    def _delete(self, action: planner.DeleteImage) -> None:
        payload = DeleteImagePayload(self._folder, action.image_id)
        queueing.queue_delete(self._c, payload, now=self._now, grace_s=self._grace_s)

    def _rename(self, action: planner.RenameAlbum) -> None:
        new = action.slot.directory
        create = outbox.by_key(self._c, queueing.create_key(self._folder, new))
        if create or synced.album_of(self._c, self._folder, new) is not None:
            text = new.decode("utf-8", "backslashreplace")
            raise OvertakenError(f"{text} has got an album of its own meanwhile")
        synced.rename_directory(
            self._c,
            self._folder,
            action.directory,
            action.slot.directory,
            title=action.slot.title,
        )
        update = UpdateAlbumPayload(action.album_id, action.slot.title)
        queueing.queue_update_album(self._c, update, now=self._now)

    def _touch(self, action: planner.Touch) -> None:
        known = synced.file(self._c, self._folder, action.path)
        if known is None:
            return
        file = self._snapshot.files[action.path]
        touched = replace(
            known,
            device=file.device,
            inode=file.inode,
            size_bytes=file.size_bytes,
            mtime_ns=file.mtime_ns,
        )
        synced.put_file(self._c, self._folder, touched)

    def _record(
        self, path: bytes, slot: Slot | None, image_id: ImageId, digest: bytes
    ) -> SyncedFile:
        file: FileStat = self._snapshot.files[path]
        return SyncedFile(
            path=path,
            device=file.device,
            inode=file.inode,
            size_bytes=file.size_bytes,
            mtime_ns=file.mtime_ns,
            digest=digest,
            image_id=image_id,
            directory=slot.directory if slot else None,
        )

    def _digest_of(self, image_id: ImageId) -> bytes:
        """Return the content of an image as another file of it has told."""
        for folder, path in synced.paths_of(self._c, image_id):
            file = synced.file(self._c, folder, path)
            if file is not None and file.digest:
                return file.digest
        return b""
