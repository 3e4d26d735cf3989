//! The engine against a second, plain implementation of the same rules, on random histories: equal outcome by outcome.
//!
//! `FLORIN_MODEL_COMMANDS=10000000 cargo test --release -p florin-engine --test model` runs it for longer, and
//! `FLORIN_MODEL_SEED=7` runs the history of one seed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod against;
mod history;
mod rules;
mod shrink;

use std::env;

use florin_engine::Rejection;

use crate::against::Counts;

/// The least number of commands of a run, unless the environment says otherwise.
const COMMANDS: usize = 240_000;
/// Statuses that no command of a history comes to: accounts that open with a balance, reversals and conditions are not among them yet.
const UNREACHED: [&str; 7] = [
    "exists_with_different_balance",
    "exists_with_different_reversal",
    "reversed_transfer_not_found",
    "transfer_not_reversible",
    "already_reversed",
    "condition_failed",
    "condition_account_not_found",
];

#[test]
fn the_engine_decides_as_the_rules_do() {
    let number = |name| env::var(name).ok().map(|text| text.parse::<usize>().unwrap());
    if let Some(seed) = number("FLORIN_MODEL_SEED") {
        live(seed as u64);
        return;
    }
    let commands = number("FLORIN_MODEL_COMMANDS").unwrap_or(COMMANDS);
    let mut counts = Counts::new();
    let mut lived = 0;
    let mut seeds = 0..;
    while lived < commands {
        let (length, of_seed) = live(seeds.next().unwrap());
        lived += length;
        for (status, count) in of_seed {
            *counts.entry(status).or_default() += count;
        }
    }
    let events: u64 = counts.values().sum();
    println!("{lived} commands in {} histories, {events} statuses: {counts:#?}", seeds.start);
    let mut expected = vec!["created", "exists", "(expired)", "(unreadable)", "(key known)"];
    expected.extend(Rejection::CATALOGUE.iter().map(|(code, _)| *code));
    expected.retain(|status| !UNREACHED.contains(status));
    expected.retain(|status| !counts.contains_key(status));
    assert!(expected.is_empty(), "never reached: {expected:?}");
}

/// Lives the history of a seed; how long it is, and what was reached in it.
fn live(seed: u64) -> (usize, Counts) {
    let history = history::of_seed(seed);
    match shrink::lived(&history) {
        Ok(counts) => (history.len(), counts),
        Err(text) => {
            let (least, text_of_least) = shrink::least(history, text.clone());
            panic!(
                "seed {seed}: {text}\n{} commands show it: {text_of_least}\n{least:#?}",
                least.len()
            )
        }
    }
}
