//! Benchmarks of Florin. `benches/http.sh` compares the server with a handler that does nothing; `florin bench` measures the
//! ledger without HTTP.
