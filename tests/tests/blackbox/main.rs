//! Florin from outside: every test starts the real program and holds it against the HTTP contract, line by line.

mod access;
mod accounts;
mod bad_input;
mod batches;
mod command_line;
mod concurrency;
mod deploy;
mod documents;
mod durability;
mod extremes;
mod headers;
mod keys;
mod ledgers;
mod limits;
mod lists;
mod operations;
mod outages;
mod problems;
mod readers;
mod rebuild;
mod refusals_at_start;
mod short_forms;
mod structure;
mod tls;
mod transactions;
mod transfers;
