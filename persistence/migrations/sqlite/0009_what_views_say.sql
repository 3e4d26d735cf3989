-- Transactions stand as their legs do, and accounts that were imported say so.

DROP VIEW v_accounts;
DROP VIEW IF EXISTS v_transactions;

-- Balances are cut in two numbers of 15 digits, so that sums of them stay exact: value = high * 10^15 + low.
CREATE VIEW v_accounts AS
WITH padded AS (
    SELECT a.timestamp, a.id AS raw_id, a.ledger, a.code, a.user_data_128, a.user_data_64, a.user_data_32, a.metadata, a.external_id, a.seq,
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
        || CASE WHEN flags & 16 THEN 'imported ' ELSE '' END
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
    timestamp, seq, external_id
FROM wide;

-- Pending while one of its legs is, and posted when one of them moved money.
CREATE VIEW v_transactions AS
SELECT
    CASE typeof(x.id) WHEN 'integer' THEN CAST(x.id AS TEXT) WHEN 'text' THEN ltrim(x.id, '0')
        ELSE lower(substr(hex(x.id), 1, 8) || '-' || substr(hex(x.id), 9, 4) || '-' || substr(hex(x.id), 13, 4) || '-'
            || substr(hex(x.id), 17, 4) || '-' || substr(hex(x.id), 21)) END AS id,
    x.transfers,
    (SELECT CASE WHEN max(t.status = 'pending') THEN 'pending' WHEN max(t.status = 'posted') THEN 'posted'
            WHEN max(t.status = 'expired') THEN 'expired' ELSE 'voided' END
        FROM v_transfers t WHERE t.timestamp BETWEEN coalesce(x.first_timestamp, x.timestamp) AND x.last_timestamp
            AND t.seq = x.seq) AS status,
    strftime('%Y-%m-%dT%H:%M:%S', x.timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', x.timestamp % 1000000000) AS time,
    x.metadata, x.timestamp, x.seq, x.external_id
FROM transactions x;
