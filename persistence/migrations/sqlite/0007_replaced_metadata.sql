-- Metadata of accounts that was replaced.

-- What stood there before each replacement. What stands there now is in accounts; what replaced it, in the next row of the account or there.
CREATE TABLE replaced_metadata (
    seq INTEGER PRIMARY KEY,         -- the position of the command that replaced it
    account_id ANY NOT NULL,
    timestamp INTEGER NOT NULL,      -- when
    metadata TEXT,                   -- NULL: there was none
    metadata_digest INTEGER
) STRICT;
CREATE INDEX replaced_metadata_by_account ON replaced_metadata (account_id);

CREATE VIEW v_replaced_metadata AS
SELECT
    CASE typeof(r.account_id) WHEN 'integer' THEN CAST(r.account_id AS TEXT) WHEN 'text' THEN ltrim(r.account_id, '0')
        ELSE lower(substr(hex(r.account_id), 1, 8) || '-' || substr(hex(r.account_id), 9, 4) || '-' || substr(hex(r.account_id), 13, 4) || '-'
            || substr(hex(r.account_id), 17, 4) || '-' || substr(hex(r.account_id), 21)) END AS account_id,
    strftime('%Y-%m-%dT%H:%M:%S', r.timestamp / 1000000000, 'unixepoch') || printf('.%09dZ', r.timestamp % 1000000000) AS time,
    r.metadata AS before,
    CASE WHEN lead(r.seq) OVER later IS NULL THEN a.metadata ELSE lead(r.metadata) OVER later END AS after,
    r.timestamp, r.seq
FROM replaced_metadata r JOIN accounts a ON a.id = r.account_id
WINDOW later AS (PARTITION BY r.account_id ORDER BY r.seq);
