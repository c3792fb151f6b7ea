"""What is in budget.db: the DDL, and the meaning of every column.

budget.db is shared by every account and process of this user on this machine. What it
holds can be learned again from Imgur's headers; losing it costs caution, not data. A
change of the tables is a new migration, never an edit of a released one.
"""

from __future__ import annotations

from typing import Final

from imgurfs.store.database import Schema

_LEDGER = """
-- What is known of one of Imgur's counters (imgurfs.budget.Window).
CREATE TABLE ledger (
    scope      TEXT NOT NULL CHECK (scope IN ('posts', 'user', 'upload', 'client')),
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
    kind       TEXT NOT NULL,        -- imgurfs.model.RequestKind
    lane       TEXT NOT NULL,        -- imgurfs.model.Lane
    created_at REAL NOT NULL
);

-- What a permission may cost in one ledger and no header has confirmed yet. A row
-- outlives the process that made it: it goes when a header covers it, when it is
-- given back, or with its window.
CREATE TABLE reservation (
    granted    INTEGER NOT NULL REFERENCES granted (id) ON DELETE CASCADE,
    scope      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount > 0),
    created_at REAL NOT NULL,
    PRIMARY KEY (granted, scope)
) WITHOUT ROWID;
CREATE INDEX reservation_owner ON reservation (scope, owner, created_at);

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
"""

MIGRATIONS: Final = (_LEDGER,)

#: "imgb" in ASCII.
BUDGET_SCHEMA: Final = Schema(
    name="budget", application_id=0x696D6762, migrations=MIGRATIONS
)
