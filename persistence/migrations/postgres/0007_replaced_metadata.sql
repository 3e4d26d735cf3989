-- Metadata of accounts that was replaced.

CREATE TABLE replaced_metadata (
    seq bigint PRIMARY KEY,
    "timestamp" bigint NOT NULL,
    account_id uuid NOT NULL,
    metadata_digest bigint,
    metadata_text text,
    metadata jsonb
);
CREATE INDEX replaced_metadata_by_account ON replaced_metadata (account_id, seq);
COMMENT ON TABLE replaced_metadata IS 'What stood as the metadata of an account before each replacement. What stands there now is in accounts; what replaced it, in the next row of the account or there.';
COMMENT ON COLUMN replaced_metadata.seq IS 'The journal position of the command that replaced it.';
COMMENT ON COLUMN replaced_metadata."timestamp" IS 'When, in nanoseconds since 1970-01-01 UTC.';
COMMENT ON COLUMN replaced_metadata.account_id IS 'The account.';
COMMENT ON COLUMN replaced_metadata.metadata_digest IS 'The digest of its meaning; NULL where there was none.';
COMMENT ON COLUMN replaced_metadata.metadata_text IS 'The JSON as it was given; NULL where there was none.';
COMMENT ON COLUMN replaced_metadata.metadata IS 'The same for queries; NULL where jsonb can not hold it.';

CREATE VIEW v_replaced_metadata AS
SELECT show_id(r.account_id) AS account_id, to_time(r."timestamp") AS "time", show_time(r."timestamp") AS time_text,
    r.metadata_text AS before,
    CASE WHEN lead(r.seq) OVER later IS NULL THEN a.metadata_text ELSE lead(r.metadata_text) OVER later END AS after,
    r."timestamp", r.seq
FROM replaced_metadata r JOIN accounts a ON a.id = r.account_id
WINDOW later AS (PARTITION BY r.account_id ORDER BY r.seq);
COMMENT ON VIEW v_replaced_metadata IS 'Metadata of accounts that was replaced, with what it was before and after. One account: WHERE account_id = ''42'' ORDER BY seq.';
