-- Legs that were imported stand at times of their own, not at that of their transaction.

-- Its legs stand at first_timestamp .. last_timestamp. NULL: timestamp.
ALTER TABLE transactions ADD COLUMN first_timestamp INTEGER;

UPDATE transactions SET first_timestamp = l.first, last_timestamp = l.last
FROM (SELECT transaction_id, min(timestamp) AS first, max(timestamp) AS last FROM transfers
      WHERE flags & 256 AND transaction_id IS NOT NULL GROUP BY transaction_id) l
WHERE transactions.id = l.transaction_id;
