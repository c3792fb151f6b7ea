"""What is in budget.db: the DDL, and the meaning of every column.

budget.db is shared by every account and process of this user on this machine. What it
holds can be learned again from Imgur's headers; losing it costs caution, not data. A
change of the tables is a new migration, never an edit of a released one.

All times are ledger time (table ``era``), which is the wall clock's as long as nobody
sets that.
"""

from __future__ import annotations

from typing import Final

from imgurfs.store.database import Schema

_LEDGER = """
-- How ledger time comes from the clock that counts since boot: ledger = since boot +
-- ahead_s. Set once a boot, so that a wall clock set forward does not end windows that
-- go on at Imgur, and one set back does not keep them for ever. One row.
CREATE TABLE era (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    boot    TEXT NOT NULL,           -- which boot of the machine
    ahead_s REAL NOT NULL
);

-- What is known of one of Imgur's counters (imgurfs.windows.Window). Uploads are not
-- here: no header tells them (see reservation and upload_lesson).
CREATE TABLE ledger (
    scope      TEXT NOT NULL CHECK (scope IN ('posts', 'user', 'client')),
    -- Whose counter: the machine, a client id, or a client id and an account.
    owner      TEXT NOT NULL,
    ceiling    INTEGER NOT NULL,     -- the limit, as last told
    remaining  INTEGER NOT NULL,     -- as last told; reservations are not deducted
    started_at REAL NOT NULL,        -- when we first saw this window
    reset_at   REAL,                 -- its end; NULL = no window has begun
    is_learned INTEGER NOT NULL CHECK (is_learned IN (0, 1)),  -- 0: end is a guess
    PRIMARY KEY (scope, owner)
) WITHOUT ROWID;

-- One permission to send one request. AUTOINCREMENT: an id is never used twice, so a
-- late answer cannot settle somebody else's reservation.
CREATE TABLE granted (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at REAL NOT NULL
);

-- What a permission may cost in one ledger and no header has confirmed yet. A row
-- outlives the process that made it: it goes when a header covers it, when it is
-- given back, or with its window. Uploads are never confirmed: they are counted by
-- these rows, each for an hour.
CREATE TABLE reservation (
    granted    INTEGER NOT NULL REFERENCES granted (id) ON DELETE CASCADE,
    scope      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    created_at REAL NOT NULL,
    -- From when it counts at Imgur at the latest: the answer; before that, the longest
    -- that a request may take.
    counted_at REAL NOT NULL,
    -- The credits Imgur had last told, when nothing else was on its way; else NULL.
    quiet      INTEGER,
    PRIMARY KEY (granted, scope)
) WITHOUT ROWID;
CREATE INDEX reservation_owner ON reservation (scope, owner, created_at);

-- What a lane with a share of its own has had of a window; a row of another window
-- than the current one means nothing.
CREATE TABLE lane_use (
    scope      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    lane       TEXT NOT NULL,        -- imgurfs.model.Lane
    started_at REAL NOT NULL,        -- as in ledger: which window
    amount     INTEGER NOT NULL,
    PRIMARY KEY (scope, owner, lane)
) WITHOUT ROWID;

-- Imgur asked to wait. scope is that of a ledger, or 'capacity' for everything.
CREATE TABLE pause (
    scope    TEXT NOT NULL,
    owner    TEXT NOT NULL,
    until_at REAL NOT NULL,
    PRIMARY KEY (scope, owner)
) WITHOUT ROWID;

-- A day on which the client id's limit was hit.
CREATE TABLE strike (
    client_id TEXT NOT NULL,
    at        REAL NOT NULL
);
CREATE INDEX strike_client ON strike (client_id, at);

-- The user's word that uploads may go on after four strikes. Another strike ends it.
CREATE TABLE consent (
    client_id TEXT PRIMARY KEY,
    until_at  REAL NOT NULL
) WITHOUT ROWID;

-- What answers taught about the uploads of an account.
CREATE TABLE upload_lesson (
    owner      TEXT PRIMARY KEY,
    -- Uploads an hour that Imgur let through before it refused one; NULL = no refusal.
    ceiling    INTEGER,
    -- The setting it was learned under; another setting starts afresh.
    configured INTEGER NOT NULL,
    seen_cost  INTEGER,              -- credits that the last upload seen alone took
    cost       INTEGER               -- what two in a row agreed on
) WITHOUT ROWID;

-- How fast uploads follow each other (imgurfs.pacing.Bucket).
CREATE TABLE bucket (
    owner  TEXT PRIMARY KEY,
    tokens REAL NOT NULL,
    at     REAL NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS: Final = (_LEDGER,)

#: "imgb" in ASCII.
BUDGET_SCHEMA: Final = Schema(
    name="budget", application_id=0x696D6762, migrations=MIGRATIONS
)
