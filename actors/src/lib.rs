//! The running ledger.
