//! Durable state of the ledger.
pub mod record;
pub mod snapshot;
