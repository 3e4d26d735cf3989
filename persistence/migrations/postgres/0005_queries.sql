-- What lists can be asked for beside references: how a transfer stands, and what metadata says.

CREATE INDEX transfers_two_phase ON transfers (((flags & 10) <> 0), "timestamp") WHERE (flags & 10) <> 0;

CREATE TABLE transfers_by_metadata (
    entry bigint NOT NULL,
    "timestamp" bigint NOT NULL,
    run integer NOT NULL,
    PRIMARY KEY (run, entry, "timestamp")
);
COMMENT ON TABLE transfers_by_metadata IS 'Where metadata of transfers is found: digests of the keys of its top level with their text, number, boolean or null.';
COMMENT ON COLUMN transfers_by_metadata.entry IS 'The digest of a key and its value.';
COMMENT ON COLUMN transfers_by_metadata."timestamp" IS 'The transfer.';
COMMENT ON COLUMN transfers_by_metadata.run IS 'Which run it belongs to: see runs.';

CREATE TABLE accounts_by_metadata (
    entry bigint NOT NULL,
    "timestamp" bigint NOT NULL,
    PRIMARY KEY (entry, "timestamp")
);
COMMENT ON TABLE accounts_by_metadata IS 'Where metadata of accounts is found: digests of the keys of its top level with their text, number, boolean or null.';
COMMENT ON COLUMN accounts_by_metadata.entry IS 'The digest of a key and its value.';
COMMENT ON COLUMN accounts_by_metadata."timestamp" IS 'The account.';

ALTER TABLE checkpoint ADD COLUMN metadata_indexed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN checkpoint.metadata_indexed IS 'Whether transfers_by_metadata and accounts_by_metadata hold the metadata of everything here, also of what was stored before they were.';
