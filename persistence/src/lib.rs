//! Durable state of the ledger.

pub mod backup;
pub mod cache;
pub mod data_dir;
pub mod decided;
pub mod disk;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod journal;
pub mod pace;
pub mod record;
pub mod snapshot;
pub mod store;
