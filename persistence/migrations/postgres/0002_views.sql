-- The tables as people read them: money in major units with the ledger's digits, ids as the API shows them, times both as
-- timestamptz and, since that ends at microseconds, as the exact text. The bodies of the functions are bound when they are made,
-- so that the views work whatever the search_path of who reads them.

CREATE FUNCTION show_id(id uuid) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN id < '00000000-0000-0001-0000-000000000000'::uuid
    THEN (mod(('x' || translate(right(id::text, 17), '-', ''))::bit(64)::bigint::numeric + 18446744073709551616, 18446744073709551616))::text
    ELSE id::text END;
COMMENT ON FUNCTION show_id(uuid) IS 'An id as the API shows it: decimal below 2^64, else a lower-case UUID.';

CREATE FUNCTION id(shown text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN shown ~ '^[0-9]{1,20}$' AND (CASE WHEN shown ~ '^[0-9]{1,20}$' THEN shown::numeric END) < 18446744073709551616
    THEN lpad(to_hex((CASE WHEN shown::numeric < 9223372036854775808 THEN shown::numeric
        ELSE shown::numeric - 18446744073709551616 END)::bigint), 32, '0')::uuid
    ELSE shown::uuid END;
COMMENT ON FUNCTION id(text) IS 'The stored form of an id as the API shows it, to search with: WHERE account = florin.id(''42'').';

CREATE FUNCTION major_units(minor_units numeric, scale integer) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN minor_units * ('1e-' || scale)::numeric;
COMMENT ON FUNCTION major_units(numeric, integer) IS 'An amount in major units, exact, with as many digits after the point as the ledger has.';

CREATE FUNCTION to_time(nanoseconds bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN to_timestamp((nanoseconds / 1000000000)::double precision) + ((nanoseconds % 1000000000) / 1000)::double precision * interval '1 microsecond';
COMMENT ON FUNCTION to_time(bigint) IS 'A time in nanoseconds since 1970-01-01 UTC as a timestamptz, cut to microseconds.';

CREATE FUNCTION show_time(nanoseconds bigint) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN to_char(to_timestamp((nanoseconds / 1000000000)::double precision) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
    || '.' || lpad((nanoseconds % 1000000000)::text, 9, '0') || 'Z';
COMMENT ON FUNCTION show_time(bigint) IS 'A time in nanoseconds since 1970-01-01 UTC as the API shows it: RFC 3339 with nine digits of the second.';

CREATE FUNCTION nanoseconds(moment timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (extract(epoch FROM moment) * 1000000000)::bigint;
COMMENT ON FUNCTION nanoseconds(timestamptz) IS 'A time as nanoseconds since 1970-01-01 UTC, to search with: WHERE timestamp >= florin.nanoseconds(''2026-11-21 12:00Z'').';

CREATE VIEW v_ledgers AS
SELECT id, currency, scale, name, accounts,
    major_units(posted, scale) AS posted,
    major_units(pending, scale) AS pending,
    to_time("timestamp") AS "time", show_time("timestamp") AS time_text, "timestamp", seq
FROM ledgers;
COMMENT ON VIEW v_ledgers IS 'Ledgers with their totals in major units.';

CREATE VIEW v_accounts AS
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
    to_time(a."timestamp") AS "time", show_time(a."timestamp") AS time_text, a."timestamp", a.seq, a.id AS account
FROM accounts a
JOIN balances b ON b.account_id = a.id
LEFT JOIN ledgers l ON l.id = a.ledger;
COMMENT ON VIEW v_accounts IS 'Accounts with their balances in major units. One account: WHERE account = florin.id(''42'').';

CREATE VIEW v_transfers AS
SELECT show_id(t.id) AS id, show_id(t.debit_account_id) AS debit_account_id, show_id(t.credit_account_id) AS credit_account_id,
    major_units(t.amount, l.scale) AS amount, l.currency, t.ledger, t.code,
    CASE WHEN t.flags & 1 <> 0 THEN 'linked' ELSE '' END AS flags,
    'posted'::text AS status,
    to_time(t."timestamp") AS "time", show_time(t."timestamp") AS time_text,
    show_time(t.effective_at) AS effective_at,
    show_id(t.transaction_id) AS transaction_id,
    coalesce(show_id(t.user_data_128), '0') AS user_data_128,
    coalesce(t.user_data_64, 0) AS user_data_64,
    coalesce(t.user_data_32, 0) AS user_data_32,
    t.metadata, t."timestamp", t.seq
FROM transfers t LEFT JOIN ledgers l ON l.id = t.ledger;
COMMENT ON VIEW v_transfers IS 'Transfers in major units. A range of time: WHERE timestamp >= florin.nanoseconds(''2026-11-21 12:00Z'').';

CREATE VIEW v_account_transfers AS
SELECT k.debit_account_id AS account, 'debit'::text AS side, t.*
FROM runs r JOIN transfers k ON k.run = r.run JOIN v_transfers t ON t."timestamp" = k."timestamp"
UNION ALL
SELECT k.credit_account_id, 'credit', t.*
FROM runs r JOIN transfers k ON k.run = r.run JOIN v_transfers t ON t."timestamp" = k."timestamp";
COMMENT ON VIEW v_account_transfers IS 'The transfers of an account: WHERE account = florin.id(''42'') ORDER BY timestamp DESC.';

CREATE VIEW v_balance_history AS
SELECT h.account_id AS account, show_id(h.account_id) AS account_id,
    to_time(h."timestamp") AS "time", show_time(h."timestamp") AS time_text, h.version,
    major_units(h.debits_pending, l.scale) AS debits_pending,
    major_units(h.debits_posted, l.scale) AS debits_posted,
    major_units(h.credits_pending, l.scale) AS credits_pending,
    major_units(h.credits_posted, l.scale) AS credits_posted,
    h."timestamp", h.seq
FROM runs r
JOIN balance_history h ON h.run = r.run
JOIN accounts a ON a.id = h.account_id
JOIN ledgers l ON l.id = a.ledger;
COMMENT ON VIEW v_balance_history IS 'The history of an account in major units: WHERE account = florin.id(''42'') ORDER BY timestamp DESC.';

CREATE VIEW v_transactions AS
SELECT show_id(id) AS id, transfers, 'posted'::text AS status,
    to_time("timestamp") AS "time", show_time("timestamp") AS time_text, metadata, "timestamp", seq
FROM transactions;
COMMENT ON VIEW v_transactions IS 'Transactions; their legs are the transfers with their id as transaction_id.';
