-- Transactions stand as their legs do, and accounts that were imported say so.

COMMENT ON COLUMN balances.flags IS 'A sum of: 1 linked, 2 debits_must_not_exceed_credits, 4 credits_must_not_exceed_debits, 8 history, 16 imported, 32 closed.';

CREATE OR REPLACE VIEW v_accounts AS
SELECT show_id(a.id) AS id, l.currency, a.ledger, a.code,
    concat_ws(' ',
        CASE WHEN b.flags & 1 <> 0 THEN 'linked' END,
        CASE WHEN b.flags & 2 <> 0 THEN 'debits_must_not_exceed_credits' END,
        CASE WHEN b.flags & 4 <> 0 THEN 'credits_must_not_exceed_debits' END,
        CASE WHEN b.flags & 8 <> 0 THEN 'history' END,
        CASE WHEN b.flags & 16 <> 0 THEN 'imported' END,
        CASE WHEN b.flags & 32 <> 0 THEN 'closed' END) AS flags,
    major_units(CASE WHEN b.flags & 4 <> 0 THEN b.debits_posted - b.credits_posted
        ELSE b.credits_posted - b.debits_posted END, l.scale) AS balance,
    major_units(CASE WHEN b.flags & 4 <> 0 THEN b.debits_posted + b.overdraft_limit - b.credits_posted - b.credits_pending
        ELSE b.credits_posted + b.overdraft_limit - b.debits_posted - b.debits_pending END, l.scale) AS available,
    major_units(b.debits_pending, l.scale) AS debits_pending,
    major_units(b.debits_posted, l.scale) AS debits_posted,
    major_units(b.credits_pending, l.scale) AS credits_pending,
    major_units(b.credits_posted, l.scale) AS credits_posted,
    major_units(b.overdraft_limit, l.scale) AS overdraft_limit,
    b.version,
    coalesce(show_id(a.user_data_128), '0') AS user_data_128,
    coalesce(a.user_data_64, 0) AS user_data_64,
    coalesce(a.user_data_32, 0) AS user_data_32,
    a.metadata,
    to_time(a."timestamp") AS "time", show_time(a."timestamp") AS time_text, a."timestamp", a.seq, a.id AS account,
    a.external_id
FROM accounts a
JOIN balances b ON b.account_id = a.id
LEFT JOIN ledgers l ON l.id = a.ledger;

CREATE OR REPLACE VIEW v_transactions AS
SELECT show_id(x.id) AS id, x.transfers,
    (SELECT CASE WHEN bool_or(t.status = 'pending') THEN 'pending' WHEN bool_or(t.status = 'posted') THEN 'posted'
            WHEN bool_or(t.status = 'expired') THEN 'expired' ELSE 'voided' END
        FROM v_transfers t WHERE t."timestamp" BETWEEN coalesce(x.first_timestamp, x."timestamp") AND x.last_timestamp
            AND t.seq = x.seq) AS status,
    to_time(x."timestamp") AS "time", show_time(x."timestamp") AS time_text, x.metadata, x."timestamp", x.seq, x.external_id
FROM transactions x;
COMMENT ON VIEW v_transactions IS 'Transactions; their legs are the transfers with their id as transaction_id. One is pending while one of its legs is, and posted when one of them moved money.';
