//! The florin binary; all of it is in the library beside it.

use std::process::ExitCode;

/// Batches are allocated by one thread and freed by another, which this allocator does without a shared lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    florin::main()
}
