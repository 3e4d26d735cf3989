//! Durable state of the ledger.

pub mod cache;
pub mod data_dir;
pub mod decided;
pub mod disk;
pub mod journal;
mod pace;
pub mod record;
pub mod snapshot;
pub mod store;
