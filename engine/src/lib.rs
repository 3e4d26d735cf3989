//! The pure rules of the ledger.
pub mod ids;
