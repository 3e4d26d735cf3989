-- The SQL read model of one ledger directory: filled from durable journal records only, by one writer, exactly once.
--
-- Numbers keep every digit. A column declared ANY has no affinity (the tables are STRICT), so a value is kept as it was
-- bound, and a REAL never comes into being:
--   amounts   INTEGER below 2^63, else TEXT of 29 digits with leading zeros (up to 2^96-1);
--   totals    INTEGER below 2^63, else TEXT of 39 digits with leading zeros (up to 2^128-1);
--   ids and user_data_128, user_data_64
--             INTEGER below 2^63, else TEXT of 20 digits with leading zeros below 2^64, else BLOB of 16 bytes, big-endian.
-- SQLite sorts INTEGER before TEXT before BLOB, and TEXT and BLOB by their bytes, so comparing such values compares the numbers.
-- Amounts count minor units; timestamps count nanoseconds since 1970-01-01 UTC. The views show both as people write them.

CREATE TABLE checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ledger_uuid BLOB NOT NULL,       -- the data directory that this store belongs to
    epoch INTEGER NOT NULL,          -- which claim of writing it is held under
    seq INTEGER NOT NULL,            -- the journal position that all rows together stand at
    frame_hash BLOB NOT NULL,        -- the hash of the journal frame that ends at seq
    timestamp INTEGER NOT NULL       -- the time of the command at seq
) STRICT;

CREATE TABLE ledgers (
    id INTEGER PRIMARY KEY,
    currency TEXT NOT NULL,
    scale INTEGER NOT NULL,
    name TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    accounts INTEGER NOT NULL,       -- how many accounts it has
    posted ANY NOT NULL,             -- the sum of debits posted, and that of credits posted
    pending ANY NOT NULL             -- the sum of debits pending, and that of credits pending
) STRICT;

-- What an account was created as. Never updated.
CREATE TABLE accounts (
    timestamp INTEGER PRIMARY KEY,
    id ANY NOT NULL,
    ledger INTEGER NOT NULL,
    code INTEGER NOT NULL,
    user_data_128 ANY NOT NULL,
    user_data_64 ANY NOT NULL,
    user_data_32 INTEGER NOT NULL,
    metadata TEXT,
    metadata_digest INTEGER,         -- the 64 bits of the digest, as a signed number
    seq INTEGER NOT NULL             -- the position of the command that created it
) STRICT;
CREATE UNIQUE INDEX accounts_by_id ON accounts (id);
CREATE INDEX accounts_by_ledger ON accounts (ledger);
CREATE INDEX accounts_by_code ON accounts (code);
CREATE INDEX accounts_by_user_data_128 ON accounts (user_data_128) WHERE user_data_128 <> 0;
CREATE INDEX accounts_by_user_data_64 ON accounts (user_data_64) WHERE user_data_64 <> 0;
CREATE INDEX accounts_by_user_data_32 ON accounts (user_data_32) WHERE user_data_32 <> 0;

-- What commands change of an account, as it is now. Apart from accounts, so that an update moves no metadata.
CREATE TABLE balances (
    account_id ANY PRIMARY KEY NOT NULL,
    flags INTEGER NOT NULL,
    overdraft_limit ANY NOT NULL,
    version INTEGER NOT NULL,
    debits_pending ANY NOT NULL,
    debits_posted ANY NOT NULL,
    credits_pending ANY NOT NULL,
    credits_posted ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- In the order of decisions, so that rows are only ever appended.
CREATE TABLE transfers (
    timestamp INTEGER PRIMARY KEY,
    id ANY NOT NULL,
    debit_account_id ANY NOT NULL,
    credit_account_id ANY NOT NULL,
    amount ANY NOT NULL,
    ledger INTEGER NOT NULL,
    code INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    user_data_128 ANY NOT NULL DEFAULT 0,
    user_data_64 ANY NOT NULL DEFAULT 0,
    user_data_32 INTEGER NOT NULL DEFAULT 0,
    effective_at INTEGER,
    transaction_id ANY,
    metadata TEXT,
    metadata_digest INTEGER
) STRICT;
-- An index on a rowid table ends with the rowid, which is the timestamp here: equal ledgers come in order of time.
CREATE INDEX transfers_by_ledger ON transfers (ledger);
CREATE INDEX transfers_by_code ON transfers (code);

-- The order of decisions is cut into runs of about a million transfers. The lookups below are sorted inside a run, and only the
-- newest run is written to: so a batch touches as many pages after a billion transfers as it does after a million, where one
-- tree over all of them would write nearly a page for every row. A lookup asks the runs one after another, newest first.
CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    first_timestamp INTEGER NOT NULL,
    last_timestamp INTEGER NOT NULL,
    transfers INTEGER NOT NULL
) STRICT;
CREATE TABLE decided_ids (
    run INTEGER NOT NULL,
    id ANY NOT NULL,
    kind INTEGER NOT NULL,           -- 0: a transfer, 1: a transaction
    timestamp INTEGER NOT NULL,      -- its key in transfers or transactions
    PRIMARY KEY (run, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE account_transfers (
    run INTEGER NOT NULL,
    account_id ANY NOT NULL,
    timestamp INTEGER NOT NULL,
    side INTEGER NOT NULL,           -- 0: the account was debited, 1: it was credited
    PRIMARY KEY (run, account_id, timestamp)
) STRICT, WITHOUT ROWID;
CREATE TABLE transfers_by_user_data_128 (
    run INTEGER NOT NULL,
    user_data_128 ANY NOT NULL,      -- never 0
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (run, user_data_128, timestamp)
) STRICT, WITHOUT ROWID;
CREATE TABLE transfers_by_user_data_64 (
    run INTEGER NOT NULL,
    user_data_64 ANY NOT NULL,       -- never 0
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (run, user_data_64, timestamp)
) STRICT, WITHOUT ROWID;
CREATE TABLE transfers_by_user_data_32 (
    run INTEGER NOT NULL,
    user_data_32 INTEGER NOT NULL,   -- never 0
    timestamp INTEGER NOT NULL,
    PRIMARY KEY (run, user_data_32, timestamp)
) STRICT, WITHOUT ROWID;

-- The least and the largest amount of each few thousand transfers of a ledger: where an amount can not be, nobody looks.
CREATE TABLE amount_blocks (
    ledger INTEGER NOT NULL,
    first_timestamp INTEGER NOT NULL,
    last_timestamp INTEGER NOT NULL,
    transfers INTEGER NOT NULL,
    min_amount ANY NOT NULL,
    max_amount ANY NOT NULL,
    PRIMARY KEY (ledger, first_timestamp)
) STRICT, WITHOUT ROWID;

-- Accounts with the flag history, as they were after each command that changed them.
CREATE TABLE balance_history (
    run INTEGER NOT NULL,
    account_id ANY NOT NULL,
    timestamp INTEGER NOT NULL,      -- of the command
    seq INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    overdraft_limit ANY NOT NULL,
    version INTEGER NOT NULL,
    debits_pending ANY NOT NULL,
    debits_posted ANY NOT NULL,
    credits_pending ANY NOT NULL,
    credits_posted ANY NOT NULL,
    PRIMARY KEY (run, account_id, timestamp)
) STRICT, WITHOUT ROWID;

CREATE TABLE transactions (
    timestamp INTEGER PRIMARY KEY,
    id ANY NOT NULL,
    transfers INTEGER NOT NULL,      -- how many legs it has
    last_timestamp INTEGER NOT NULL, -- its legs stand at timestamp .. last_timestamp
    metadata TEXT,
    metadata_digest INTEGER,
    seq INTEGER NOT NULL
) STRICT;

-- The journal records of commands that came with an Idempotency-Key, byte for byte: what their first answer is made of.
CREATE TABLE keyed_records (
    seq INTEGER PRIMARY KEY,
    record BLOB NOT NULL
) STRICT;
