//! The engine through its public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod external;
mod found;
mod imported;
mod properties;
mod script;
mod tables;
mod two_phase;
