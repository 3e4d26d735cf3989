-- Legs that were imported stand at times of their own, not at that of their transaction.

ALTER TABLE transactions ADD COLUMN first_timestamp bigint;
COMMENT ON COLUMN transactions."timestamp" IS 'When it was decided, in nanoseconds since 1970-01-01 UTC; just before its first leg, unless they were imported.';
COMMENT ON COLUMN transactions.first_timestamp IS 'Its legs stand at first_timestamp .. last_timestamp in transfers. NULL for timestamp.';
COMMENT ON COLUMN transactions.last_timestamp IS 'Its legs stand at first_timestamp .. last_timestamp in transfers.';

UPDATE transactions x SET first_timestamp = l.first, last_timestamp = l.last
FROM (SELECT transaction_id, min("timestamp") AS first, max("timestamp") AS last FROM transfers
      WHERE flags & 256 <> 0 AND transaction_id IS NOT NULL GROUP BY transaction_id) l
WHERE x.id = l.transaction_id;
