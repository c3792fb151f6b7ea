"""What is in state.db: the DDL, and the meaning of every column.

This module is the authoritative description: sentinels and invariants are written
beside the columns. Times are epochs in seconds; ``_s`` and ``_at`` say so. A change of
the tables is a new migration at the end of :data:`MIGRATIONS`, never an edit of an old
one once it has been released.
"""

from __future__ import annotations

from typing import Final

from imgurfs.store.database import Schema

_META = """
-- Facts about this state as a whole. Keys in use:
--   account_id      the account this state belongs to; set once, never changed
--   account_name    its user name, for messages
--   albums_listed_at  when the album list was last read completely; absent = never
--   images_listed_at  when the image list was last read completely; absent = never
--   brake           why removals seen on Imgur are not believed yet; absent = they are
--   recent_listed_at  when the newest images were last read
--   paused_until    nothing is sent before this epoch; "inf" = until resumed
--   synced_at       when a program last asked for a directory to be durable (fsync)
--   names_lost      an upload's name that Imgur did not keep: outcomes stay unknown
--   guard           why deletions are held, for the user
--   guard_holds     the same for each folder, with since when (jobs.guard)
--   notice:TOPIC    what the user should know (store.notices)
--   spool           which spool belongs to this state; its file "owner" says the same
--   spool_tidied_at when the spool was last tidied
--   discarded:NAME  a content in the spool that is to be removed (store.drafts)
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
"""

_TREE = """
-- Everything that has an inode number. AUTOINCREMENT: a number is never used twice,
-- so the kernel can never mistake a new file for an old one. Inode 1 is the root.
CREATE TABLE node (
    inode INTEGER PRIMARY KEY AUTOINCREMENT,
    kind  TEXT NOT NULL CHECK (kind IN ('root', 'album', 'image'))
);
INSERT INTO node (inode, kind) VALUES (1, 'root');

-- One album = one directory.
CREATE TABLE album (
    inode        INTEGER PRIMARY KEY REFERENCES node (inode),
    -- Imgur's id. NULL: made on this machine, Imgur does not know it yet.
    id           TEXT UNIQUE,
    title        TEXT NOT NULL,      -- as Imgur has it, "" when it has none
    description  TEXT NOT NULL DEFAULT '',
    datetime_s   INTEGER NOT NULL,   -- creation on Imgur
    images_count INTEGER NOT NULL DEFAULT -1,  -- -1: the listing did not say
    cover        TEXT NOT NULL DEFAULT '',     -- image id, "" = none
    privacy      TEXT NOT NULL DEFAULT '',
    link         TEXT NOT NULL DEFAULT '',
    deletehash   TEXT NOT NULL DEFAULT '',     -- secret; "" = not ours
    sort_order   INTEGER NOT NULL DEFAULT 0,   -- place in the account's album list
    -- When the album's images were last read; NULL = never.
    listed_at    REAL,
    -- 1: a later album list showed another count or cover, so the entries are old.
    is_stale     INTEGER NOT NULL DEFAULT 0 CHECK (is_stale IN (0, 1))
);

-- One image = one regular file, whatever number of albums hold it.
CREATE TABLE image (
    inode         INTEGER PRIMARY KEY REFERENCES node (inode),
    id            TEXT UNIQUE,       -- NULL: accepted here, not uploaded yet
    title         TEXT NOT NULL DEFAULT '',
    description   TEXT NOT NULL DEFAULT '',
    name          TEXT NOT NULL DEFAULT '',    -- uploaded name, marker included
    type          TEXT NOT NULL,     -- MIME type as Imgur tells it
    link          TEXT NOT NULL,     -- where the CDN serves the bytes
    -- Bytes the CDN serves for link; 0 with is_size_known = 0 means unknown.
    size_bytes    INTEGER NOT NULL,
    is_size_known INTEGER NOT NULL CHECK (is_size_known IN (0, 1)),
    datetime_s    INTEGER NOT NULL,  -- upload on Imgur
    mtime_s       REAL,              -- set by a user here; NULL = datetime_s
    deletehash    TEXT NOT NULL DEFAULT '',    -- secret; "" = not ours
    width         INTEGER NOT NULL DEFAULT 0,
    height        INTEGER NOT NULL DEFAULT 0,
    is_animated   INTEGER NOT NULL DEFAULT 0 CHECK (is_animated IN (0, 1)),
    is_favorite   INTEGER NOT NULL DEFAULT 0 CHECK (is_favorite IN (0, 1)),
    views         INTEGER NOT NULL DEFAULT 0,
    etag          TEXT NOT NULL DEFAULT '',    -- the CDN's, "" = not fetched yet
    -- 1: the account's image list, or our own upload, has shown it since it last left
    -- an album on Imgur. 0: only an album shows it (somebody else's, or not listed
    -- yet); 0 and no entry: the next complete image list decides whether it exists.
    is_in_account INTEGER NOT NULL DEFAULT 0 CHECK (is_in_account IN (0, 1)),
    -- When a listing or our own upload first showed it. It is shown in the root once
    -- every album is known as of a later moment (listed since, or unchanged in a later
    -- album list) and none holds it.
    first_seen_at REAL NOT NULL
);

-- One name in one directory: an album in the root, an image in an album (a
-- membership), or an image in the root (it is in no album).
CREATE TABLE entry (
    -- Where readdir goes on after this entry; never used twice.
    cookie   INTEGER PRIMARY KEY AUTOINCREMENT,
    parent   INTEGER NOT NULL REFERENCES node (inode),
    name     TEXT NOT NULL,          -- as shown: legal, unique in the directory
    -- The name it would have alone in the world. When this changes on Imgur the
    -- entry is renamed; when a neighbour comes or goes it is not. "": the name was
    -- given on the drive; it stays until the thing is called otherwise on Imgur.
    bare     TEXT NOT NULL,
    inode    INTEGER NOT NULL REFERENCES node (inode),
    position INTEGER NOT NULL DEFAULT 0,       -- order in the album
    UNIQUE (parent, name),
    UNIQUE (parent, inode)           -- membership is a set
);
CREATE INDEX entry_inode ON entry (inode);

-- What changed in the tree, in the order of commits, written in the transaction of
-- the change. The mount turns rows it has not seen into kernel invalidations.
CREATE TABLE change (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    parent INTEGER NOT NULL,         -- 0: concerns the inode only
    name   TEXT NOT NULL,            -- "" when parent is 0
    inode  INTEGER NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN ('added', 'removed', 'attributes'))
);
"""

_OUTBOX = """
-- The durable queue: everything this machine still has to tell Imgur, and what came
-- of it. docs/ARCHITECTURE.md draws the states.
CREATE TABLE job (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,        -- a name in imgurfs.jobs
    lane       TEXT NOT NULL,        -- imgurfs.model.Lane
    -- queued   waits for its time, its group and the budget
    -- sending  the intent: committed before the first byte leaves
    -- unknown  it may have happened; held, never resent, until it is resolved
    -- done     it happened, and its results are in the tables
    -- dead     Imgur will never take it; kept with the reason, for the user
    -- cancelled  withdrawn before it was sent
    state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'sending', 'unknown', 'done', 'dead', 'cancelled')),
    -- What to do, as JSON; its shape belongs to the kind.
    payload    TEXT NOT NULL,
    -- Jobs of one group run one after the other ("" = none): two uploads into an
    -- album that does not exist yet must not both create it.
    grouping   TEXT NOT NULL DEFAULT '',
    -- At most one unfinished job has a key ("" = none): a rescan queues nothing twice.
    key        TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,   -- backoff and grace
    attempts   INTEGER NOT NULL DEFAULT 0,
    sent_at    REAL,                 -- start of the last attempt; NULL = never sent
    settled_at REAL,                 -- when it became done, dead or cancelled
    marker     TEXT NOT NULL DEFAULT '',  -- of an upload; the same in every attempt
    result     TEXT NOT NULL DEFAULT '',  -- JSON; e.g. the new image's id
    error      TEXT NOT NULL DEFAULT ''   -- the last one, for the user
);
CREATE INDEX job_due ON job (state, not_before, id);
CREATE INDEX job_grouping ON job (grouping, state, lane, id, not_before);
CREATE UNIQUE INDEX job_key ON job (key)
    WHERE key <> '' AND state IN ('queued', 'sending', 'unknown');
"""

_SYNCED = """
-- One watched folder. Bound to the directory it was when first seen: the same path on
-- another device or inode (a disk that is not mounted) is not the same folder.
CREATE TABLE folder (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    path   BLOB NOT NULL UNIQUE,     -- absolute, as bytes
    device INTEGER NOT NULL,         -- st_dev
    inode  INTEGER NOT NULL          -- st_ino
);

-- A directory of a watched folder and the album it stands for.
CREATE TABLE synced_directory (
    folder   INTEGER NOT NULL REFERENCES folder (id),
    path     BLOB NOT NULL,          -- relative to the folder
    album_id TEXT NOT NULL,          -- Imgur's id
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;

-- A file as it was when folder and account last agreed about it: the merge base.
CREATE TABLE synced_file (
    folder     INTEGER NOT NULL REFERENCES folder (id),
    path       BLOB NOT NULL,        -- relative to the folder
    device     INTEGER NOT NULL,
    inode      INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns   INTEGER NOT NULL,
    digest     BLOB NOT NULL,        -- BLAKE2b of the content that was sent
    image_id   TEXT NOT NULL,        -- what it became on Imgur
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;
CREATE INDEX synced_file_image ON synced_file (image_id);

-- A file that will not be uploaded, and why, for `imgurfs status`. Forgotten when the
-- file changes or goes.
CREATE TABLE skipped_file (
    folder     INTEGER NOT NULL REFERENCES folder (id),
    path       BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns   INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;
"""

_PROMISES = """
-- Whose turn it is: jobs of the same folder and directory share one text ("" = none),
-- and those that were served longest ago go first.
ALTER TABLE job ADD COLUMN turn TEXT NOT NULL DEFAULT '';
-- Bytes an upload has to send, for progress and estimates; 0 = none.
ALTER TABLE job ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
-- Start of the first attempt: what it may have made on Imgur is no older than this.
ALTER TABLE job ADD COLUMN first_sent_at REAL;
-- Of an unknown job: how many listings have been read without finding its effect.
-- Its not_before is when it may be looked for (again): the quarantine.
ALTER TABLE job ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;
-- Of a deletion: '' nobody objects, 'held' by the guard until the user decides,
-- 'approved' by the user.
ALTER TABLE job ADD COLUMN guard TEXT NOT NULL DEFAULT ''
    CHECK (guard IN ('', 'held', 'approved'));
-- What decides whose job is next is read from these two alone, job by job if need be.
CREATE INDEX job_turn ON job
    (state, kind, lane, turn, id, grouping, not_before, guard);
CREATE INDEX job_of_turn ON job (turn, state) WHERE turn <> '';
CREATE INDEX job_marker ON job (marker) WHERE marker <> '';

-- The directory whose album the file's image belongs into; NULL: into none. It says
-- what was agreed, whatever the configuration says now. A name that no directory can
-- have (it begins with a NUL) stands for the album of a folder that has only one.
ALTER TABLE synced_file ADD COLUMN directory BLOB;
CREATE INDEX synced_file_digest ON synced_file (digest);
CREATE INDEX synced_file_inode ON synced_file (inode, device);
CREATE INDEX synced_file_size ON synced_file (size_bytes);
CREATE INDEX synced_file_directory ON synced_file (folder, directory);
CREATE INDEX synced_directory_album ON synced_directory (album_id);

-- Which directory stood for the album, so that it is known again under another name;
-- 0, 0: not known. The title is the one the album was given for it.
ALTER TABLE synced_directory ADD COLUMN device INTEGER NOT NULL DEFAULT 0;
ALTER TABLE synced_directory ADD COLUMN inode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE synced_directory ADD COLUMN title TEXT NOT NULL DEFAULT '';

-- An image's place in an album, as far as it is our business: what a file or the user
-- asked for. What others put into the album has no row.
CREATE TABLE membership (
    album_id   TEXT NOT NULL,
    image_id   TEXT NOT NULL,
    -- adding    it belongs there; no call has said yes
    -- there     a call has said yes
    -- removing  it does not belong there any more; no call has said yes
    -- gone      a call has said yes; the row waits for a listing to agree
    state      TEXT NOT NULL CHECK (state IN ('adding', 'there', 'removing', 'gone')),
    changed_at REAL NOT NULL,        -- when it came into this state
    -- 1: a listing has shown it there since. Only then does its absence from a later
    -- listing mean that somebody else took it out. Of one that is to be removed: that
    -- was so before.
    is_seen    INTEGER NOT NULL DEFAULT 0 CHECK (is_seen IN (0, 1)),
    tries      INTEGER NOT NULL DEFAULT 0,   -- calls that were to bring the state about
    PRIMARY KEY (album_id, image_id)
) WITHOUT ROWID;
CREATE INDEX membership_image ON membership (image_id);
CREATE INDEX membership_state ON membership (state, album_id);
"""

_DRIVE = """
-- An attempt of this queued job may have happened: it cannot be withdrawn unseen.
ALTER TABLE job ADD COLUMN is_doubtful INTEGER NOT NULL DEFAULT 0;

-- When a program last changed or read something through the drive, in nanoseconds since
-- the epoch. NULL: what Imgur says counts.
ALTER TABLE node ADD COLUMN mtime_ns INTEGER;
ALTER TABLE node ADD COLUMN atime_ns INTEGER;
ALTER TABLE node ADD COLUMN ctime_ns INTEGER;
ALTER TABLE image DROP COLUMN mtime_s;

-- In it the entries of a directory are in the order of their cookies (it ends with the
-- rowid): for reading one page by page while names come and go.
CREATE INDEX entry_parent ON entry (parent);

-- BLAKE2b of the bytes that the CDN serves; x'' = not known.
ALTER TABLE image ADD COLUMN digest BLOB NOT NULL DEFAULT x'';
CREATE INDEX image_digest ON image (digest) WHERE digest <> x'';
CREATE INDEX image_size ON image (size_bytes) WHERE digest = x'';

-- The ten characters behind the last "~" of an uploaded name: if there is a marker, its
-- content's part. "" when there is no "~".
ALTER TABLE image ADD COLUMN mark TEXT GENERATED ALWAYS AS (
    CASE WHEN instr(name, '~') THEN
        substr(name, length(rtrim(name, replace(name, '~', ''))) + 1, 10)
    ELSE '' END) VIRTUAL;
CREATE INDEX image_mark ON image (mark) WHERE mark <> '';

-- NULL: it exists. Otherwise it was deleted through the drive and has no name any more;
-- the row keeps a listing from bringing it back. 9e999 (infinity) = Imgur has not said
-- yes yet, else when it did.
ALTER TABLE image ADD COLUMN gone_at REAL;
CREATE INDEX image_gone ON image (gone_at) WHERE gone_at IS NOT NULL;
ALTER TABLE album ADD COLUMN gone_at REAL;

-- When Imgur said that a call of ours made it; NULL: listings have shown it. One that
-- was read about then need not have it yet.
ALTER TABLE image ADD COLUMN made_at REAL;
ALTER TABLE album ADD COLUMN made_at REAL;

-- Title and description were set here: a listing that began before this epoch does not
-- change them. 9e999 (infinity) = Imgur has not said yes yet.
ALTER TABLE image ADD COLUMN title_held_until REAL NOT NULL DEFAULT 0;
ALTER TABLE album ADD COLUMN title_held_until REAL NOT NULL DEFAULT 0;

-- The bytes of a file that was written through the drive: spool/<inode>.<generation>.
CREATE TABLE draft (
    inode      INTEGER PRIMARY KEY REFERENCES node (inode),
    -- Counts the contents; one that an upload may be reading is never written to again.
    generation INTEGER NOT NULL,
    -- writing  not closed yet, or its writer died: neither durable nor sent
    -- scratch  it has a temporary name: stays here until it is renamed
    -- local    no media file (non_media = "keep-local"): stays here
    -- waiting  an upload job will send it
    -- sent     it is the inode's image; the bytes wait to be compared with the CDN's
    -- kept     Imgur changed the bytes (lossy = "accept"): the original stays here
    -- refused  it is not sent, and error says why: stays here
    state      TEXT NOT NULL CHECK (state IN
        ('writing', 'scratch', 'local', 'waiting', 'sent', 'kept', 'refused')),
    size_bytes INTEGER NOT NULL,
    -- An image whose name this file took over by a rename: it is deleted when this file
    -- has been uploaded. "" = none.
    replaces   TEXT NOT NULL DEFAULT '',
    error      TEXT NOT NULL DEFAULT '',
    changed_at REAL NOT NULL,        -- when it came into this state
    -- 1: written by appending alone, and this row became durable beside the bytes: a
    -- hole after a power cut is what the disk has lost. 0: the bytes came first.
    is_grown   INTEGER NOT NULL DEFAULT 0 CHECK (is_grown IN (0, 1))
);
CREATE INDEX draft_state ON draft (state);

-- What the user wants kept in the content cache: an image, or all that is in an album.
CREATE TABLE pin (
    inode     INTEGER PRIMARY KEY REFERENCES node (inode) ON DELETE CASCADE,
    pinned_at REAL NOT NULL
);
"""

MIGRATIONS: Final = (_META + _TREE + _OUTBOX + _SYNCED, _PROMISES, _DRIVE)

#: "imgu" in ASCII.
STATE_SCHEMA: Final = Schema(
    name="state", application_id=0x696D6775, migrations=MIGRATIONS
)
