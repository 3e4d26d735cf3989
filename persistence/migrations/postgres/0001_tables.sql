-- The SQL read model of one ledger directory: filled from durable journal records only, by one writer, exactly once.
--
-- Amounts count minor units, times count nanoseconds since 1970-01-01 UTC, ids are 128-bit numbers kept as uuid (big-endian, so
-- that they sort as the numbers do). The views show all three as the API does.

CREATE TABLE checkpoint (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    ledger_uuid uuid NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL,
    frame_hash bytea NOT NULL CHECK (length(frame_hash) = 16),
    "timestamp" bigint NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE checkpoint IS 'Where the store stands: all rows of all tables together are those of the journal up to seq. Moved in the transaction that writes the rows. Changing it by hand loses or doubles history.';
COMMENT ON COLUMN checkpoint.one IS 'There is one row.';
COMMENT ON COLUMN checkpoint.ledger_uuid IS 'The data directory that this store belongs to.';
COMMENT ON COLUMN checkpoint.epoch IS 'Which claim of writing is in force: a writer of an earlier one can not write.';
COMMENT ON COLUMN checkpoint.seq IS 'The journal position that all rows together stand at.';
COMMENT ON COLUMN checkpoint.frame_hash IS 'The hash of the journal frame that ends at seq: tells whether journal and store belong together.';
COMMENT ON COLUMN checkpoint."timestamp" IS 'The time of the command at seq, in nanoseconds since 1970-01-01 UTC.';

CREATE TABLE ledgers (
    id bigint PRIMARY KEY,
    "timestamp" bigint NOT NULL,
    seq bigint NOT NULL,
    accounts bigint NOT NULL,
    scale integer NOT NULL,
    currency text NOT NULL,
    name text NOT NULL,
    name_exact bytea,
    posted numeric(39,0) NOT NULL,
    pending numeric(39,0) NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE ledgers IS 'Currencies or asset books, with the totals of their accounts. Read them as money in v_ledgers.';
COMMENT ON COLUMN ledgers.id IS 'Its number, 1 to 2^32-1.';
COMMENT ON COLUMN ledgers."timestamp" IS 'When it was created, in nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN ledgers.seq IS 'The journal position of the command that created it.';
COMMENT ON COLUMN ledgers.accounts IS 'How many accounts it has.';
COMMENT ON COLUMN ledgers.scale IS 'Digits after the point: an amount of 1 is 10^-scale of the currency.';
COMMENT ON COLUMN ledgers.currency IS 'ISO 4217 or free code.';
COMMENT ON COLUMN ledgers.name IS 'What people call it. The character U+0000, which a text can not hold here, is shown as U+2400.';
COMMENT ON COLUMN ledgers.name_exact IS 'The name in UTF-8, only where it has the character U+0000.';
COMMENT ON COLUMN ledgers.posted IS 'The sum of debits posted over its accounts, which is also that of credits posted, in minor units.';
COMMENT ON COLUMN ledgers.pending IS 'The sum of debits pending over its accounts, which is also that of credits pending, in minor units.';

CREATE TABLE accounts (
    "timestamp" bigint PRIMARY KEY,
    seq bigint NOT NULL,
    ledger bigint NOT NULL,
    code integer NOT NULL,
    id uuid NOT NULL,
    user_data_128 uuid,
    user_data_64 numeric(20,0),
    user_data_32 bigint,
    metadata_digest bigint,
    metadata_text text,
    metadata jsonb
);
CREATE UNIQUE INDEX accounts_by_id ON accounts (id);
CREATE INDEX accounts_by_ledger ON accounts (ledger, "timestamp");
CREATE INDEX accounts_by_code ON accounts (code, "timestamp");
CREATE INDEX accounts_by_user_data_128 ON accounts (user_data_128, "timestamp") WHERE user_data_128 IS NOT NULL;
CREATE INDEX accounts_by_user_data_64 ON accounts (user_data_64, "timestamp") WHERE user_data_64 IS NOT NULL;
CREATE INDEX accounts_by_user_data_32 ON accounts (user_data_32, "timestamp") WHERE user_data_32 IS NOT NULL;
COMMENT ON TABLE accounts IS 'What accounts were created as; never updated. Read them with their balances in v_accounts.';
COMMENT ON COLUMN accounts."timestamp" IS 'When it was created, in nanoseconds since 1970-01-01 UTC; unique.';
COMMENT ON COLUMN accounts.seq IS 'The journal position of the command that created it.';
COMMENT ON COLUMN accounts.ledger IS 'Its ledger.';
COMMENT ON COLUMN accounts.code IS 'What kind of account it is, to the caller.';
COMMENT ON COLUMN accounts.id IS 'Its 128-bit id. show_id(id) is how the API shows it, id(''…'') reads that back.';
COMMENT ON COLUMN accounts.user_data_128 IS 'The caller''s own reference; NULL for 0.';
COMMENT ON COLUMN accounts.user_data_64 IS 'The caller''s own reference; NULL for 0.';
COMMENT ON COLUMN accounts.user_data_32 IS 'The caller''s own reference; NULL for 0.';
COMMENT ON COLUMN accounts.metadata_digest IS 'The 64 bits of the digest of what the metadata means, as a signed number.';
COMMENT ON COLUMN accounts.metadata_text IS 'The metadata exactly as the API shows it.';
COMMENT ON COLUMN accounts.metadata IS 'The metadata for queries; NULL also where jsonb can not hold it (U+0000 in a string, exponents of four and more digits).';

CREATE TABLE balances (
    account_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    flags integer NOT NULL,
    overdraft_limit numeric(29,0) NOT NULL,
    debits_pending numeric(29,0) NOT NULL,
    debits_posted numeric(29,0) NOT NULL,
    credits_pending numeric(29,0) NOT NULL,
    credits_posted numeric(29,0) NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE balances IS 'What commands change of an account, as of the checkpoint. Apart from accounts, so that an update moves no metadata. Amounts are in minor units.';
COMMENT ON COLUMN balances.account_id IS 'Which account.';
COMMENT ON COLUMN balances.version IS 'How many commands have changed it.';
COMMENT ON COLUMN balances.flags IS 'A sum of: 1 linked, 2 debits_must_not_exceed_credits, 4 credits_must_not_exceed_debits, 8 history, 32 closed.';
COMMENT ON COLUMN balances.overdraft_limit IS 'By how much its limited side may exceed the other.';
COMMENT ON COLUMN balances.debits_pending IS 'Debits that are reserved.';
COMMENT ON COLUMN balances.debits_posted IS 'Debits that happened.';
COMMENT ON COLUMN balances.credits_pending IS 'Credits that are reserved.';
COMMENT ON COLUMN balances.credits_posted IS 'Credits that happened.';

CREATE TABLE runs (
    run integer PRIMARY KEY,
    first_timestamp bigint NOT NULL,
    last_timestamp bigint NOT NULL,
    transfers bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE runs IS 'The order of decisions is cut into runs of some million transfers. Indexes on ids and accounts, which come in no order, begin with the run: rows go only into the part of an index that belongs to the newest one, which stays in memory. A lookup asks the runs one after another.';
COMMENT ON COLUMN runs.run IS 'Counted from 1 in the order of time.';
COMMENT ON COLUMN runs.first_timestamp IS 'The first time of a transfer in it.';
COMMENT ON COLUMN runs.last_timestamp IS 'The last time of a transfer in it.';
COMMENT ON COLUMN runs.transfers IS 'How many transfers it has.';

CREATE TABLE transfers (
    "timestamp" bigint PRIMARY KEY,
    seq bigint NOT NULL,
    ledger bigint NOT NULL,
    run integer NOT NULL,
    code integer NOT NULL,
    flags integer NOT NULL,
    id uuid NOT NULL,
    debit_account_id uuid NOT NULL,
    credit_account_id uuid NOT NULL,
    amount numeric(29,0) NOT NULL,
    effective_at bigint,
    transaction_id uuid,
    user_data_128 uuid,
    user_data_64 numeric(20,0),
    user_data_32 bigint,
    metadata_digest bigint,
    metadata_text text,
    metadata jsonb
);
CREATE UNIQUE INDEX transfers_by_id ON transfers (run, id);
CREATE INDEX transfers_by_debit_account ON transfers (run, debit_account_id, "timestamp");
CREATE INDEX transfers_by_credit_account ON transfers (run, credit_account_id, "timestamp");
CREATE INDEX transfers_by_ledger ON transfers (ledger, "timestamp");
CREATE INDEX transfers_by_code ON transfers (code, "timestamp");
CREATE INDEX transfers_by_user_data_128 ON transfers (run, user_data_128, "timestamp") WHERE user_data_128 IS NOT NULL;
CREATE INDEX transfers_by_user_data_64 ON transfers (run, user_data_64, "timestamp") WHERE user_data_64 IS NOT NULL;
CREATE INDEX transfers_by_user_data_32 ON transfers (run, user_data_32, "timestamp") WHERE user_data_32 IS NOT NULL;
COMMENT ON TABLE transfers IS 'Every transfer, in the order of decisions; never updated. Read them as money in v_transfers.';
COMMENT ON COLUMN transfers."timestamp" IS 'When it was decided, in nanoseconds since 1970-01-01 UTC; unique. nanoseconds(''2026-11-21 12:00Z'') gives the number for a time.';
COMMENT ON COLUMN transfers.seq IS 'The journal position of its command.';
COMMENT ON COLUMN transfers.ledger IS 'The ledger of both accounts.';
COMMENT ON COLUMN transfers.run IS 'Which run it belongs to: see runs.';
COMMENT ON COLUMN transfers.code IS 'What kind of transfer it is, to the caller.';
COMMENT ON COLUMN transfers.flags IS 'A sum of: 1 linked.';
COMMENT ON COLUMN transfers.id IS 'Its 128-bit id, used once for ever. show_id(id) is how the API shows it, id(''…'') reads that back.';
COMMENT ON COLUMN transfers.debit_account_id IS 'The account that gave.';
COMMENT ON COLUMN transfers.credit_account_id IS 'The account that received.';
COMMENT ON COLUMN transfers.amount IS 'How much moved, in minor units of the ledger.';
COMMENT ON COLUMN transfers.effective_at IS 'When it took effect outside, if the caller said so, in nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN transfers.transaction_id IS 'The transaction that it is a leg of.';
COMMENT ON COLUMN transfers.user_data_128 IS 'The caller''s own reference; NULL for 0.';
COMMENT ON COLUMN transfers.user_data_64 IS 'The caller''s own reference; NULL for 0.';
COMMENT ON COLUMN transfers.user_data_32 IS 'The caller''s own reference; NULL for 0.';
COMMENT ON COLUMN transfers.metadata_digest IS 'The 64 bits of the digest of what the metadata means, as a signed number.';
COMMENT ON COLUMN transfers.metadata_text IS 'The metadata exactly as the API shows it.';
COMMENT ON COLUMN transfers.metadata IS 'The metadata for queries; NULL also where jsonb can not hold it (U+0000 in a string, exponents of four and more digits).';

CREATE TABLE amount_blocks (
    ledger bigint NOT NULL,
    first_timestamp bigint NOT NULL,
    last_timestamp bigint NOT NULL,
    transfers bigint NOT NULL,
    min_amount numeric(29,0) NOT NULL,
    max_amount numeric(29,0) NOT NULL,
    PRIMARY KEY (ledger, first_timestamp)
);
COMMENT ON TABLE amount_blocks IS 'The least and the largest amount of each few thousand transfers of a ledger: where an amount can not be, nobody looks.';
COMMENT ON COLUMN amount_blocks.ledger IS 'Of which ledger.';
COMMENT ON COLUMN amount_blocks.first_timestamp IS 'The time of its first transfer.';
COMMENT ON COLUMN amount_blocks.last_timestamp IS 'The time of its last transfer.';
COMMENT ON COLUMN amount_blocks.transfers IS 'How many transfers it speaks for.';
COMMENT ON COLUMN amount_blocks.min_amount IS 'The least amount, in minor units.';
COMMENT ON COLUMN amount_blocks.max_amount IS 'The largest amount, in minor units.';

CREATE TABLE balance_history (
    "timestamp" bigint NOT NULL,
    seq bigint NOT NULL,
    version bigint NOT NULL,
    run integer NOT NULL,
    flags integer NOT NULL,
    account_id uuid NOT NULL,
    overdraft_limit numeric(29,0) NOT NULL,
    debits_pending numeric(29,0) NOT NULL,
    debits_posted numeric(29,0) NOT NULL,
    credits_pending numeric(29,0) NOT NULL,
    credits_posted numeric(29,0) NOT NULL,
    PRIMARY KEY (run, account_id, "timestamp")
);
COMMENT ON TABLE balance_history IS 'Accounts with the flag history, as they were after each command that changed them. Amounts are in minor units; read them as money in v_balance_history.';
COMMENT ON COLUMN balance_history."timestamp" IS 'The time of the command, in nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN balance_history.seq IS 'The journal position of the command.';
COMMENT ON COLUMN balance_history.version IS 'How many commands had changed the account then.';
COMMENT ON COLUMN balance_history.run IS 'Which run it belongs to: see runs.';
COMMENT ON COLUMN balance_history.flags IS 'The account''s flags then: see balances.';
COMMENT ON COLUMN balance_history.account_id IS 'Which account.';
COMMENT ON COLUMN balance_history.overdraft_limit IS 'Its overdraft limit then.';
COMMENT ON COLUMN balance_history.debits_pending IS 'Debits that were reserved.';
COMMENT ON COLUMN balance_history.debits_posted IS 'Debits that had happened.';
COMMENT ON COLUMN balance_history.credits_pending IS 'Credits that were reserved.';
COMMENT ON COLUMN balance_history.credits_posted IS 'Credits that had happened.';

CREATE TABLE transactions (
    "timestamp" bigint PRIMARY KEY,
    last_timestamp bigint NOT NULL,
    seq bigint NOT NULL,
    transfers bigint NOT NULL,
    run integer NOT NULL,
    id uuid NOT NULL,
    metadata_digest bigint,
    metadata_text text,
    metadata jsonb
);
CREATE UNIQUE INDEX transactions_by_id ON transactions (run, id);
COMMENT ON TABLE transactions IS 'Transfers that were decided together, all or none.';
COMMENT ON COLUMN transactions."timestamp" IS 'When it was decided, in nanoseconds since 1970-01-01 UTC; that of its first leg.';
COMMENT ON COLUMN transactions.last_timestamp IS 'Its legs stand at timestamp .. last_timestamp in transfers.';
COMMENT ON COLUMN transactions.seq IS 'The journal position of its command.';
COMMENT ON COLUMN transactions.transfers IS 'How many legs it has.';
COMMENT ON COLUMN transactions.run IS 'Which run it belongs to: see runs.';
COMMENT ON COLUMN transactions.id IS 'Its 128-bit id, out of the same space as those of transfers.';
COMMENT ON COLUMN transactions.metadata_digest IS 'The 64 bits of the digest of what the metadata means, as a signed number.';
COMMENT ON COLUMN transactions.metadata_text IS 'The metadata exactly as the API shows it.';
COMMENT ON COLUMN transactions.metadata IS 'The metadata for queries; NULL also where jsonb can not hold it (U+0000 in a string, exponents of four and more digits).';

CREATE TABLE keyed_records (
    seq bigint PRIMARY KEY,
    record bytea NOT NULL
);
COMMENT ON TABLE keyed_records IS 'The journal records of commands that came with an Idempotency-Key, byte for byte: what their first answer is made of.';
COMMENT ON COLUMN keyed_records.seq IS 'The journal position of the command.';
COMMENT ON COLUMN keyed_records.record IS 'The record as it stands in the journal.';
