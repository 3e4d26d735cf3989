//! Benchmarks of Florin over HTTP and with its stores; `benches/README.md` tells what each is for and what its figures mean.
//! `florin bench` measures the ledger without HTTP.
//!
//! What they share: [`bank`] is the server under load, [`programs`] are those that it is compared with, [`wrk`] sends the load, [`open_loop`] sends it at even distances, [`cpu`]
//! tells who used the processors, [`disk`] who wrote, [`figures`] makes one figure of several runs, [`machine`] tells where and
//! of what they were measured, [`results`] writes it down. [`micro`] has the cases of what is measured by itself.

pub mod bank;
pub mod cpu;
pub mod disk;
pub mod figures;
pub mod machine;
pub mod micro;
pub mod open_loop;
pub mod plot;
pub mod programs;
pub mod results;
pub mod wrk;

/// What the program is shipped with, so that benchmarks of the embedded ledger measure that, and those that it is compared with have the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
