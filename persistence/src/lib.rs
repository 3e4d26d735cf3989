//! Durable state of the ledger.

pub mod store;
