-- Transfers in two phases: what was asked for beside what moved, and what became of those that were pending.

ALTER TABLE transfers
    ADD COLUMN amount_requested numeric(29,0),
    ADD COLUMN pending_id uuid,
    ADD COLUMN reverses uuid,
    ADD COLUMN inherited integer,
    ADD COLUMN timeout bigint;
COMMENT ON COLUMN transfers.flags IS 'A sum of: 1 linked, 2 pending, 4 post_pending_transfer, 8 void_pending_transfer, 16 balancing_debit, 32 balancing_credit, 64 closing_debit, 128 closing_credit, 256 imported.';
COMMENT ON COLUMN transfers.amount IS 'How much moved, is reserved, or was released by a void, in minor units of the ledger.';
COMMENT ON COLUMN transfers.amount_requested IS 'The most that was to move, where that is not the amount.';
COMMENT ON COLUMN transfers.pending_id IS 'The pending transfer that it posts or voids.';
COMMENT ON COLUMN transfers.reverses IS 'The transfer that it takes back.';
COMMENT ON COLUMN transfers.inherited IS 'Which of its fields it took over from that one, as a sum of bits; NULL for none.';
COMMENT ON COLUMN transfers.timeout IS 'Seconds until a pending transfer expires; NULL for never.';

CREATE TABLE settlements (
    "timestamp" bigint NOT NULL,
    seq bigint NOT NULL,
    run integer NOT NULL,
    kind integer NOT NULL CHECK (kind BETWEEN 1 AND 3),
    pending_id uuid NOT NULL,
    PRIMARY KEY (run, pending_id)
);
COMMENT ON TABLE settlements IS 'What became of pending transfers. One that is not here is open.';
COMMENT ON COLUMN settlements."timestamp" IS 'When, in nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN settlements.seq IS 'The journal position of the command that settled it.';
COMMENT ON COLUMN settlements.run IS 'Which run it belongs to: see runs.';
COMMENT ON COLUMN settlements.kind IS '1: posted, 2: voided, 3: expired.';
COMMENT ON COLUMN settlements.pending_id IS 'The pending transfer.';

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
    show_time(t."timestamp" + t.timeout * 1000000000) AS expires_at
FROM transfers t LEFT JOIN ledgers l ON l.id = t.ledger;
