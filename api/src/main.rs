//! The florin binary: HTTP, configuration, telemetry and command line of the Florin ledger.

mod command;
mod config;
mod http;
mod keys;
mod telemetry;
mod tls;

use std::process::ExitCode;

/// Batches are allocated by one thread and freed by another, which this allocator does without a shared lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::main()
}
