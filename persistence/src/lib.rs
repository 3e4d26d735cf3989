//! Durable state of the ledger.

pub mod data_dir;
pub mod disk;
pub mod journal;
