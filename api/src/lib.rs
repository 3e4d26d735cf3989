//! The florin binary: HTTP, configuration, telemetry and command line of the Florin ledger. A library only so that the fuzzer and the
//! benchmarks can reach what reads what callers send.

mod command;
mod config;
mod http;
mod keys;
mod telemetry;
mod tls;

pub use command::main;
#[cfg(feature = "fuzzing")]
pub use http::fuzzing;
#[cfg(any(test, feature = "measured"))]
pub use http::measured;
