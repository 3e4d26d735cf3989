//! The protocol against a real Redis.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod form;
mod model;
mod protocol;
mod trouble;
mod world;
