-- The tables as people read them: money in major units with the ledger's digits, ids as the API shows them, times as RFC 3339.
-- All arithmetic is on integers and text. The views use nothing newer than SQLite 3.37.

CREATE VIEW v_ledgers AS
SELECT
    id, currency, scale, name, accounts,
    CASE scale WHEN 0 THEN posted_padded
        ELSE substr(posted_padded, 1, length(posted_padded) - scale) || '.' || substr(posted_padded, -scale) END AS posted,
    CASE scale WHEN 0 THEN pending_padded
        ELSE substr(pending_padded, 1, length(pending_padded) - scale) || '.' || substr(pending_padded, -scale) END AS pending,
    strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', timestamp % 1000000000) AS time,
    timestamp, seq
FROM (
    SELECT *,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(posted_digits))) || posted_digits AS posted_padded,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(pending_digits))) || pending_digits AS pending_padded
    FROM (
        SELECT *,
            CASE typeof(posted) WHEN 'integer' THEN CAST(posted AS TEXT) ELSE ltrim(posted, '0') END AS posted_digits,
            CASE typeof(pending) WHEN 'integer' THEN CAST(pending AS TEXT) ELSE ltrim(pending, '0') END AS pending_digits
        FROM ledgers
    )
);

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
    CASE WHEN flags & 1 THEN 'linked' ELSE '' END AS flags,
    'posted' AS status,
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
    user_data_32, metadata, timestamp, seq
FROM (
    SELECT *, substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(digits))) || digits AS padded
    FROM (
        SELECT t.*, l.scale, l.currency,
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

-- Balances are cut in two numbers of 15 digits, so that sums of them stay exact: value = high * 10^15 + low.
CREATE VIEW v_accounts AS
WITH padded AS (
    SELECT a.timestamp, a.id AS raw_id, a.ledger, a.code, a.user_data_128, a.user_data_64, a.user_data_32, a.metadata, a.seq,
        b.flags, b.version, l.scale, l.currency,
        substr('000000000000000000000000000000' || b.debits_pending, -30) AS dp,
        substr('000000000000000000000000000000' || b.debits_posted, -30) AS d,
        substr('000000000000000000000000000000' || b.credits_pending, -30) AS cp,
        substr('000000000000000000000000000000' || b.credits_posted, -30) AS c,
        substr('000000000000000000000000000000' || b.overdraft_limit, -30) AS o
    FROM accounts a JOIN balances b ON b.account_id = a.id LEFT JOIN ledgers l ON l.id = a.ledger
), sums AS (
    SELECT *,
        CASE WHEN flags & 4 THEN 1 ELSE -1 END
            * (CAST(substr(d, 1, 15) AS INTEGER) - CAST(substr(c, 1, 15) AS INTEGER)) AS balance_high,
        CASE WHEN flags & 4 THEN 1 ELSE -1 END
            * (CAST(substr(d, 16) AS INTEGER) - CAST(substr(c, 16) AS INTEGER)) AS balance_low,
        CAST(substr(o, 1, 15) AS INTEGER)
            - CAST(substr(CASE WHEN flags & 4 THEN cp ELSE dp END, 1, 15) AS INTEGER) AS spare_high,
        CAST(substr(o, 16) AS INTEGER)
            - CAST(substr(CASE WHEN flags & 4 THEN cp ELSE dp END, 16) AS INTEGER) AS spare_low
    FROM padded
), carried AS (
    -- The low part is brought into 0 .. 10^15 - 1, and what it carries goes to the high part, whose sign is then that of the whole.
    SELECT *,
        balance_high + (balance_low - ((balance_low % 1000000000000000) + 1000000000000000) % 1000000000000000) / 1000000000000000 AS bh,
        ((balance_low % 1000000000000000) + 1000000000000000) % 1000000000000000 AS bl,
        balance_high + spare_high
            + (balance_low + spare_low - (((balance_low + spare_low) % 1000000000000000) + 1000000000000000) % 1000000000000000) / 1000000000000000 AS ah,
        (((balance_low + spare_low) % 1000000000000000) + 1000000000000000) % 1000000000000000 AS al
    FROM sums
), digits AS (
    SELECT *,
        ltrim(dp, '0') AS dp_digits, ltrim(d, '0') AS d_digits, ltrim(cp, '0') AS cp_digits, ltrim(c, '0') AS c_digits,
        ltrim(o, '0') AS o_digits,
        CASE WHEN bh < 0 THEN '-' ELSE '' END AS b_sign,
        CASE WHEN ah < 0 THEN '-' ELSE '' END AS a_sign,
        ltrim(CASE WHEN bh < 0 AND bl > 0 THEN (-bh - 1) || printf('%015d', 1000000000000000 - bl)
            ELSE abs(bh) || printf('%015d', bl) END, '0') AS b_digits,
        ltrim(CASE WHEN ah < 0 AND al > 0 THEN (-ah - 1) || printf('%015d', 1000000000000000 - al)
            ELSE abs(ah) || printf('%015d', al) END, '0') AS a_digits
    FROM carried
), wide AS (
    SELECT *,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(dp_digits))) || dp_digits AS dp_wide,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(d_digits))) || d_digits AS d_wide,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(cp_digits))) || cp_digits AS cp_wide,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(c_digits))) || c_digits AS c_wide,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(o_digits))) || o_digits AS o_wide,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(b_digits))) || b_digits AS b_wide,
        substr('00000000000000000000000000000', 1, max(0, scale + 1 - length(a_digits))) || a_digits AS a_wide
    FROM digits
)
SELECT
    CASE typeof(raw_id) WHEN 'integer' THEN CAST(raw_id AS TEXT) WHEN 'text' THEN ltrim(raw_id, '0')
        ELSE lower(substr(hex(raw_id), 1, 8) || '-' || substr(hex(raw_id), 9, 4) || '-' || substr(hex(raw_id), 13, 4) || '-'
            || substr(hex(raw_id), 17, 4) || '-' || substr(hex(raw_id), 21)) END AS id,
    currency, ledger, code,
    trim(CASE WHEN flags & 1 THEN 'linked ' ELSE '' END
        || CASE WHEN flags & 2 THEN 'debits_must_not_exceed_credits ' ELSE '' END
        || CASE WHEN flags & 4 THEN 'credits_must_not_exceed_debits ' ELSE '' END
        || CASE WHEN flags & 8 THEN 'history ' ELSE '' END
        || CASE WHEN flags & 32 THEN 'closed ' ELSE '' END) AS flags,
    b_sign || CASE scale WHEN 0 THEN b_wide
        ELSE substr(b_wide, 1, length(b_wide) - scale) || '.' || substr(b_wide, -scale) END AS balance,
    a_sign || CASE scale WHEN 0 THEN a_wide
        ELSE substr(a_wide, 1, length(a_wide) - scale) || '.' || substr(a_wide, -scale) END AS available,
    CASE scale WHEN 0 THEN dp_wide ELSE substr(dp_wide, 1, length(dp_wide) - scale) || '.' || substr(dp_wide, -scale) END AS debits_pending,
    CASE scale WHEN 0 THEN d_wide ELSE substr(d_wide, 1, length(d_wide) - scale) || '.' || substr(d_wide, -scale) END AS debits_posted,
    CASE scale WHEN 0 THEN cp_wide ELSE substr(cp_wide, 1, length(cp_wide) - scale) || '.' || substr(cp_wide, -scale) END AS credits_pending,
    CASE scale WHEN 0 THEN c_wide ELSE substr(c_wide, 1, length(c_wide) - scale) || '.' || substr(c_wide, -scale) END AS credits_posted,
    CASE scale WHEN 0 THEN o_wide ELSE substr(o_wide, 1, length(o_wide) - scale) || '.' || substr(o_wide, -scale) END AS overdraft_limit,
    version,
    CASE typeof(user_data_128) WHEN 'integer' THEN CAST(user_data_128 AS TEXT) WHEN 'text' THEN ltrim(user_data_128, '0')
        ELSE lower(substr(hex(user_data_128), 1, 8) || '-' || substr(hex(user_data_128), 9, 4) || '-'
            || substr(hex(user_data_128), 13, 4) || '-' || substr(hex(user_data_128), 17, 4) || '-'
            || substr(hex(user_data_128), 21)) END AS user_data_128,
    CASE typeof(user_data_64) WHEN 'integer' THEN CAST(user_data_64 AS TEXT) ELSE ltrim(user_data_64, '0') END AS user_data_64,
    user_data_32, metadata,
    strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', timestamp % 1000000000) AS time,
    timestamp, seq
FROM wide;

CREATE VIEW v_balance_history AS
SELECT
    account_id AS account,
    strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', timestamp % 1000000000) AS time,
    version,
    CASE scale WHEN 0 THEN dp ELSE substr(dp, 1, length(dp) - scale) || '.' || substr(dp, -scale) END AS debits_pending,
    CASE scale WHEN 0 THEN d ELSE substr(d, 1, length(d) - scale) || '.' || substr(d, -scale) END AS debits_posted,
    CASE scale WHEN 0 THEN cp ELSE substr(cp, 1, length(cp) - scale) || '.' || substr(cp, -scale) END AS credits_pending,
    CASE scale WHEN 0 THEN c ELSE substr(c, 1, length(c) - scale) || '.' || substr(c, -scale) END AS credits_posted,
    timestamp, seq
FROM (
    SELECT h.account_id, h.timestamp, h.version, h.seq, l.scale,
        substr('00000000000000000000000000000', 1, max(0, l.scale + 1 - length(ltrim(h.debits_pending, '0'))))
            || ltrim(h.debits_pending, '0') AS dp,
        substr('00000000000000000000000000000', 1, max(0, l.scale + 1 - length(ltrim(h.debits_posted, '0'))))
            || ltrim(h.debits_posted, '0') AS d,
        substr('00000000000000000000000000000', 1, max(0, l.scale + 1 - length(ltrim(h.credits_pending, '0'))))
            || ltrim(h.credits_pending, '0') AS cp,
        substr('00000000000000000000000000000', 1, max(0, l.scale + 1 - length(ltrim(h.credits_posted, '0'))))
            || ltrim(h.credits_posted, '0') AS c
    FROM runs r
    CROSS JOIN balance_history h ON h.run = r.run
    CROSS JOIN accounts a ON a.id = h.account_id
    CROSS JOIN ledgers l ON l.id = a.ledger
);

CREATE VIEW v_transactions AS
SELECT
    CASE typeof(id) WHEN 'integer' THEN CAST(id AS TEXT) WHEN 'text' THEN ltrim(id, '0')
        ELSE lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-'
            || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21)) END AS id,
    transfers, 'posted' AS status,
    strftime('%Y-%m-%dT%H:%M:%S', timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', timestamp % 1000000000) AS time,
    metadata, timestamp, seq
FROM transactions;
