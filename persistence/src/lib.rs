//! Durable state of the ledger.
