"""A folder, a database and a looker, with plans that are carried out at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imgurfs.clock import SystemClock
from imgurfs.executor import InlineExecutor, ThreadLane
from imgurfs.jobs import disk
from imgurfs.marker import make_marker, name_with_marker
from imgurfs.model import AlbumId, Image, ImageId
from imgurfs.store import records, synced
from imgurfs.store.database import Connection, Database
from imgurfs.store.schema import STATE_SCHEMA
from imgurfs.store.synced import FolderId, SyncedFile
from imgurfs_daemon import planner
from imgurfs_daemon.apply import apply
from imgurfs_daemon.filters import Filters
from imgurfs_daemon.look import Look, Looker
from imgurfs_daemon.planner import Policy
from imgurfs_daemon.scanner import scan
from imgurfs_daemon.snapshot import Snapshot
from tests.support.pictures import small_picture

DEVICE = b"d" * 10
POLICY = Policy(mirrors_deletes=True)


class Albums:
    """An album list that can be believed."""

    is_known = True


@dataclass
class Rig:
    """A folder, a database, and what a drainer would have done with the plans."""

    root: Path
    db: Database
    policy: Policy = POLICY
    scopes: list[frozenset[bytes] | None] = field(default_factory=list)
    images: int = 0

    def __post_init__(self) -> None:
        self.looker = self.new_looker()

    def new_looker(self) -> Looker:
        """Return what a daemon that was just started has."""
        return Looker(
            path=bytes(self.root),
            policy=self.policy,
            db=self.db,
            albums=Albums(),
            clock=SystemClock(),
            executor=InlineExecutor(),
            scan=self._scan,
            settle_s=0.0,
        )

    def _scan(self, scope: frozenset[bytes] | None) -> Snapshot:
        self.scopes.append(scope)
        return scan(bytes(self.root), Filters(), scope)

    def write(self, path: str, text: str | None = None) -> Path:
        """Put a picture there that depends on the text, or on the path."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(small_picture(text or path))
        return file

    async def sync(self, *scope: bytes) -> list[str]:
        """Look at everything or at some directories, and let it all have happened."""
        look = await self.looker.look(frozenset(scope) if scope else None)
        await self.carry_out(look)
        return kinds(look)

    async def carry_out(self, look: Look) -> None:
        """Apply a plan; what it sends arrives at once."""
        root = look.snapshot.root
        assert root is not None
        sends = (planner.Upload, planner.Replace)
        others = tuple(a for a in look.actions if not isinstance(a, sends))

        def write(c: Connection) -> None:
            folder = apply(
                c, bytes(self.root), root, look.snapshot, others,
                now=0.0, grace_s=60.0, dedupe=self.policy.dedupe,
            )  # fmt: skip
            for action in look.actions:
                if isinstance(action, sends):
                    self._arrive(c, folder, action)

        await self.db.write(write)

    def _arrive(
        self,
        c: Connection,
        folder: FolderId,
        action: planner.Upload | planner.Replace,
    ) -> None:

        examined = disk.examine(bytes(self.root) + b"/" + action.path)
        assert isinstance(examined, disk.Examined)
        known = synced.with_digest(c, examined.digest)
        image_id = known[0][1].image_id if known else self.new_image(c, examined.digest)
        slot = action.slot
        if slot is not None and synced.album_of(c, folder, slot.directory) is None:
            album_id = AlbumId(f"album{self.images}")
            synced.put_directory(c, folder, slot.directory, album_id, title=slot.title)
        record = SyncedFile(
            path=action.path,
            device=examined.device,
            inode=examined.inode,
            size_bytes=examined.size_bytes,
            mtime_ns=examined.mtime_ns,
            digest=examined.digest,
            image_id=image_id,
            directory=None if slot is None else slot.directory,
        )
        synced.put_file(c, folder, record)

    def new_image(self, c: Connection, digest: bytes) -> ImageId:
        """Put an image into the account as an upload of this machine leaves it."""
        self.images += 1
        image_id = ImageId(f"image{self.images}")
        name = name_with_marker("x.png", make_marker(digest, DEVICE))
        image = Image(image_id, "image/png", "https://i.test/x.png", 9, 1, name=name)
        records.mark_in_account(c, [records.put_image(c, image, now=1.0)])
        return image_id

    def folder(self) -> FolderId:
        """Return the folder's number."""
        found = synced.folder_at(self.db.reader, bytes(self.root))
        assert found is not None
        return found.id

    def rows(self) -> dict[bytes, SyncedFile]:
        """Return the merge base."""
        return synced.files(self.db.reader, self.folder())


@contextmanager
def rig_in(directory: Path) -> Iterator[Rig]:
    """Open a rig with an empty folder in a directory."""
    db = Database.open(
        directory / "state.db",
        schema=STATE_SCHEMA,
        executor=InlineExecutor(),
        lane=ThreadLane.WRITER,
    )
    root = directory / "folder"
    root.mkdir()
    with closing(db):
        yield Rig(root, db)


def slow_looker(rig: Rig) -> Looker:
    """Return a looker for which files written now are not settled."""
    return Looker(
        path=bytes(rig.root),
        policy=POLICY,
        db=rig.db,
        albums=Albums(),
        clock=SystemClock(),
        executor=InlineExecutor(),
        scan=lambda scope: scan(bytes(rig.root), Filters(), scope),
        settle_s=30.0,
    )


def kinds(look: Look) -> list[str]:
    """Return the kinds of a look's actions, without what sends and tells nothing."""
    names = [type(action).__name__ for action in look.actions]
    return [name for name in names if name != "IdentifyDirectory"]
