-- A store that was lost is made anew by `florin rebuild-store`.

ALTER TABLE checkpoint
    ADD COLUMN history_from bigint NOT NULL DEFAULT 1,
    ADD COLUMN rebuilding boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN checkpoint.history_from IS 'Transfers, transactions and history are here from this journal position on: 1, unless the store was lost and what came before could not be brought back. Accounts made before have their balances; where they had metadata it is the JSON null.';
COMMENT ON COLUMN checkpoint.rebuilding IS 'A rebuild was begun and has not ended: then nothing here means anything yet.';
