-- Transfers in two phases: what was asked for beside what moved, and what became of those that were pending.

ALTER TABLE transfers ADD COLUMN amount_requested ANY;          -- the most that was to move, where that is not the amount
ALTER TABLE transfers ADD COLUMN pending_id ANY;                -- the pending transfer that it posts or voids
ALTER TABLE transfers ADD COLUMN reverses ANY;                  -- the transfer that it takes back
ALTER TABLE transfers ADD COLUMN inherited INTEGER NOT NULL DEFAULT 0; -- which of its fields it took over from that one
ALTER TABLE transfers ADD COLUMN timeout INTEGER NOT NULL DEFAULT 0;   -- seconds until it expires; 0: never

-- What became of pending transfers. One that is not here is open.
CREATE TABLE settlements (
    run INTEGER NOT NULL,
    pending_id ANY NOT NULL,
    kind INTEGER NOT NULL,           -- 1: posted, 2: voided, 3: expired
    timestamp INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (run, pending_id)
) STRICT, WITHOUT ROWID;

DROP VIEW v_account_transfers;
DROP VIEW v_transfers;

CREATE VIEW v_transfers AS
SELECT
    CASE typeof(id) WHEN 'integer' THEN CAST(id AS TEXT) WHEN 'text' THEN ltrim(id, '0')
        ELSE lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-'
            || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21)) END AS id,
    CASE typeof(debit_account_id) WHEN 'integer' THEN CAST(debit_account_id AS TEXT) WHEN 'text' THEN ltrim(debit_account_id, '0')
        ELSE lower(substr(hex(debit_account_id), 1, 8) || '-' || substr(hex(debit_account_id), 9, 4) || '-'
            || substr(hex(debit_account_id), 13, 4) || '-' || substr(hex(debit_account_id), 17, 4) || '-'
            || substr(hex(debit_account_id), 21)) END AS debit_account_id,
    CASE typeof(credit_account_id) WHEN 'integer' THEN CAST(credit_account_id AS TEXT) WHEN 'text' THEN ltrim(credit_account_id, '0')
        ELSE lower(substr(hex(credit_account_id), 1, 8) || '-' || substr(hex(credit_account_id), 9, 4) || '-'
            || substr(hex(credit_account_id), 13, 4) || '-' || substr(hex(credit_account_id), 17, 4) || '-'
            || substr(hex(credit_account_id), 21)) END AS credit_account_id,
    CASE scale WHEN 0 THEN padded
        ELSE substr(padded, 1, length(padded) - scale) || '.' || substr(padded, -scale) END AS amount,
    currency, ledger, code,
    substr(
        CASE WHEN flags & 1 THEN ', linked' ELSE '' END || CASE WHEN flags & 2 THEN ', pending' ELSE '' END
        || CASE WHEN flags & 4 THEN ', post_pending_transfer' ELSE '' END || CASE WHEN flags & 8 THEN ', void_pending_transfer' ELSE '' END
        || CASE WHEN flags & 16 THEN ', balancing_debit' ELSE '' END || CASE WHEN flags & 32 THEN ', balancing_credit' ELSE '' END
        || CASE WHEN flags & 64 THEN ', closing_debit' ELSE '' END || CASE WHEN flags & 128 THEN ', closing_credit' ELSE '' END
        || CASE WHEN flags & 256 THEN ', imported' ELSE '' END, 3) AS flags,
    CASE WHEN flags & 8 THEN 'voided' WHEN NOT flags & 2 THEN 'posted'
        ELSE CASE (SELECT s.kind FROM runs r CROSS JOIN settlements s ON s.run = r.run AND s.pending_id = raw_id ORDER BY r.run DESC LIMIT 1)
            WHEN 1 THEN 'posted' WHEN 2 THEN 'voided' WHEN 3 THEN 'expired' ELSE 'pending' END END AS status,
    strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', timestamp % 1000000000) AS time,
    strftime('%Y-%m-%dT%H:%M:%S', effective_at / 1000000000, 'unixepoch')
        || printf('.%09dZ', effective_at % 1000000000) AS effective_at,
    CASE typeof(transaction_id) WHEN 'null' THEN NULL WHEN 'integer' THEN CAST(transaction_id AS TEXT)
        WHEN 'text' THEN ltrim(transaction_id, '0')
        ELSE lower(substr(hex(transaction_id), 1, 8) || '-' || substr(hex(transaction_id), 9, 4) || '-'
            || substr(hex(transaction_id), 13, 4) || '-' || substr(hex(transaction_id), 17, 4) || '-'
            || substr(hex(transaction_id), 21)) END AS transaction_id,
    CASE typeof(user_data_128) WHEN 'integer' THEN CAST(user_data_128 AS TEXT) WHEN 'text' THEN ltrim(user_data_128, '0')
        ELSE lower(substr(hex(user_data_128), 1, 8) || '-' || substr(hex(user_data_128), 9, 4) || '-'
            || substr(hex(user_data_128), 13, 4) || '-' || substr(hex(user_data_128), 17, 4) || '-'
            || substr(hex(user_data_128), 21)) END AS user_data_128,
    CASE typeof(user_data_64) WHEN 'integer' THEN CAST(user_data_64 AS TEXT) ELSE ltrim(user_data_64, '0') END AS user_data_64,
    user_data_32, metadata, timestamp, seq,
    CASE typeof(pending_id) WHEN 'null' THEN NULL WHEN 'integer' THEN CAST(pending_id AS TEXT) WHEN 'text' THEN ltrim(pending_id, '0')
        ELSE lower(substr(hex(pending_id), 1, 8) || '-' || substr(hex(pending_id), 9, 4) || '-' || substr(hex(pending_id), 13, 4) || '-'
            || substr(hex(pending_id), 17, 4) || '-' || substr(hex(pending_id), 21)) END AS pending_id,
    CASE WHEN timeout > 0 THEN strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000000 + timeout, 'unixepoch')
        || printf('.%09dZ', timestamp % 1000000000) END AS expires_at
FROM (
    SELECT *, substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(digits))) || digits AS padded
    FROM (
        SELECT t.*, t.id AS raw_id, l.scale, l.currency,
            CASE typeof(t.amount) WHEN 'integer' THEN CAST(t.amount AS TEXT) ELSE ltrim(t.amount, '0') END AS digits
        FROM transfers t LEFT JOIN ledgers l ON l.id = t.ledger
    )
);

-- The transfers of an account: SELECT * FROM v_account_transfers WHERE account = 1 ORDER BY timestamp DESC.
-- The column account is the stored form, so that the lookup by account is used: a number below 2^63 as it is, an id shown as
-- a UUID as x'…' with its 32 digits.
CREATE VIEW v_account_transfers AS
SELECT k.account_id AS account, CASE k.side WHEN 0 THEN 'debit' ELSE 'credit' END AS side, t.*
FROM runs r
CROSS JOIN account_transfers k ON k.run = r.run
CROSS JOIN v_transfers t ON t.timestamp = k.timestamp;

