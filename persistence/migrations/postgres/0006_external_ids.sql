-- Ids that callers named by a text of their own, and what reversed a transfer.

ALTER TABLE accounts ADD COLUMN external_id text;
ALTER TABLE transfers ADD COLUMN external_id text;
ALTER TABLE transactions ADD COLUMN external_id text;
COMMENT ON COLUMN accounts.external_id IS 'The text that it was created by: its id is the UUIDv5 of it in the namespace eca5d0dc-b315-5162-9531-fd9f8dcbd0ed. NULL where it was created by a number or a UUID.';
COMMENT ON COLUMN transfers.external_id IS 'The text that it was created by, of which its id is the UUIDv5: see accounts.';
COMMENT ON COLUMN transactions.external_id IS 'The text that it was created by, of which its id is the UUIDv5: see accounts.';

-- Not led by the run: reversals are few, and each transfer that is shown is looked up here.
CREATE UNIQUE INDEX transfers_by_reverses ON transfers (reverses) WHERE reverses IS NOT NULL;

CREATE OR REPLACE VIEW v_accounts AS
SELECT show_id(a.id) AS id, l.currency, a.ledger, a.code,
    concat_ws(' ',
        CASE WHEN b.flags & 1 <> 0 THEN 'linked' END,
        CASE WHEN b.flags & 2 <> 0 THEN 'debits_must_not_exceed_credits' END,
        CASE WHEN b.flags & 4 <> 0 THEN 'credits_must_not_exceed_debits' END,
        CASE WHEN b.flags & 8 <> 0 THEN 'history' END,
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

CREATE OR REPLACE VIEW v_transfers AS
SELECT show_id(t.id) AS id, show_id(t.debit_account_id) AS debit_account_id, show_id(t.credit_account_id) AS credit_account_id,
    major_units(t.amount, l.scale) AS amount, l.currency, t.ledger, t.code,
    concat_ws(', ', CASE WHEN t.flags & 1 <> 0 THEN 'linked' END, CASE WHEN t.flags & 2 <> 0 THEN 'pending' END,
        CASE WHEN t.flags & 4 <> 0 THEN 'post_pending_transfer' END, CASE WHEN t.flags & 8 <> 0 THEN 'void_pending_transfer' END,
        CASE WHEN t.flags & 16 <> 0 THEN 'balancing_debit' END, CASE WHEN t.flags & 32 <> 0 THEN 'balancing_credit' END,
        CASE WHEN t.flags & 64 <> 0 THEN 'closing_debit' END, CASE WHEN t.flags & 128 <> 0 THEN 'closing_credit' END,
        CASE WHEN t.flags & 256 <> 0 THEN 'imported' END) AS flags,
    CASE WHEN t.flags & 8 <> 0 THEN 'voided' WHEN t.flags & 2 = 0 THEN 'posted'
        ELSE coalesce((ARRAY['posted', 'voided', 'expired'])[(
            SELECT s.kind FROM runs r CROSS JOIN LATERAL (
                SELECT kind FROM settlements WHERE run = r.run AND pending_id = t.id LIMIT 1) s
            ORDER BY r.run DESC LIMIT 1)], 'pending') END AS status,
    to_time(t."timestamp") AS "time", show_time(t."timestamp") AS time_text,
    show_time(t.effective_at) AS effective_at,
    show_id(t.transaction_id) AS transaction_id,
    coalesce(show_id(t.user_data_128), '0') AS user_data_128,
    coalesce(t.user_data_64, 0) AS user_data_64,
    coalesce(t.user_data_32, 0) AS user_data_32,
    t.metadata, t."timestamp", t.seq,
    show_id(t.pending_id) AS pending_id,
    show_time(t."timestamp" + t.timeout * 1000000000) AS expires_at,
    t.external_id,
    show_id(t.reverses) AS reverses,
    (SELECT show_id(o.id) FROM transfers o WHERE o.reverses = t.id) AS reversed_by
FROM transfers t LEFT JOIN ledgers l ON l.id = t.ledger;

CREATE OR REPLACE VIEW v_account_transfers AS
SELECT k.debit_account_id AS account, 'debit'::text AS side, t.*
FROM runs r JOIN transfers k ON k.run = r.run JOIN v_transfers t ON t."timestamp" = k."timestamp"
UNION ALL
SELECT k.credit_account_id, 'credit', t.*
FROM runs r JOIN transfers k ON k.run = r.run JOIN v_transfers t ON t."timestamp" = k."timestamp";

CREATE OR REPLACE VIEW v_transactions AS
SELECT show_id(id) AS id, transfers, 'posted'::text AS status,
    to_time("timestamp") AS "time", show_time("timestamp") AS time_text, metadata, "timestamp", seq, external_id
FROM transactions;
