//! Benchmarks of Florin. `benches/http.sh` compares the server with a handler that does nothing, `benches/postgres.sh` what it
//! stores with a plain `COPY`, `benches/readers.sh` what readers answer with such a handler, `benches/batches.sh` JSON batches with binary ones; `florin bench` measures the ledger
//! without HTTP.
//!
//! What they share: [`bank`] is the server under load, [`wrk`] sends it, [`cpu`] tells who used the processors, [`figures`] makes
//! one figure of several runs.

pub mod bank;
pub mod cpu;
pub mod figures;
pub mod wrk;
