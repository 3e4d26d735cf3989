-- A store that was lost is made anew by `florin rebuild-store`.

-- Transfers, transactions and history are here from this journal position on: 1, unless the store was lost and what came before
-- could not be brought back. Accounts made before have their balances; where they had metadata it is the JSON null.
ALTER TABLE checkpoint ADD COLUMN history_from INTEGER NOT NULL DEFAULT 1;
-- 1: a rebuild was begun and has not ended; nothing here means anything yet.
ALTER TABLE checkpoint ADD COLUMN rebuilding INTEGER NOT NULL DEFAULT 0;
