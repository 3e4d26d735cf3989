//! The running ledger through its embedded face, with real files and threads.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bank;
mod cache;
mod durability;
mod external_ids;
mod faults;
mod flow;
mod keys;
mod leisure;
mod rebuild;
