-- What lists can be asked for beside references: how a transfer stands, and what metadata says.

-- Those in two phases, by time: pending ones, whatever became of them, and voids.
CREATE INDEX transfers_two_phase ON transfers (timestamp) WHERE flags & 10 <> 0;

-- Digests of the entries of metadata: a key of the top level with its text, number, boolean or null.
CREATE TABLE transfers_by_metadata (
    run INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (run, entry, timestamp)
) STRICT, WITHOUT ROWID;
CREATE TABLE accounts_by_metadata (
    entry INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (entry, timestamp)
) STRICT, WITHOUT ROWID;
-- 1: the two tables above hold the metadata of everything here, also of what was stored before they were.
ALTER TABLE checkpoint ADD COLUMN metadata_indexed INTEGER NOT NULL DEFAULT 0;
