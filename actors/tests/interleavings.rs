//! Schedules of the ledger's threads: `./tests/concurrency`.

use std::sync::atomic::{AtomicU64, Ordering};

use florin_actors::interleavings::{Happened, Scenario, explore, repeat};

/// A number that `./tests/concurrency` was told.
fn told(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

fn seed() -> u64 {
    told("FLORIN_INTERLEAVINGS_SEED", 1)
}

/// Explores, and makes sure that what the scenario is about has happened.
fn check(scenario: Scenario, must_happen: &[fn(&Happened) -> &AtomicU64]) {
    let happened = explore(scenario, seed(), told("FLORIN_INTERLEAVINGS_ROUNDS", 10));
    println!("{scenario}: {happened}");
    for (number, counter) in must_happen.iter().enumerate() {
        let count = counter(&happened).load(Ordering::Relaxed);
        assert!(count > 0, "{scenario}: the {number}th thing never happened: {happened}");
    }
}

#[test]
fn admission() {
    check(Scenario::Admission, &[|it| &it.answers, |it| &it.overloaded, |it| &it.storage_full]);
}

#[test]
fn answers() {
    check(
        Scenario::Answers,
        &[|it| &it.answers, |it| &it.overlapping, |it| &it.reads, |it| &it.groups],
    );
}

#[test]
fn overload() {
    check(Scenario::Overload, &[|it| &it.answers, |it| &it.overloaded, |it| &it.reads]);
}

#[test]
fn turns() {
    check(Scenario::Turns, &[|it| &it.answers, |it| &it.reads]);
}

#[test]
fn stop() {
    check(Scenario::Stop, &[|it| &it.answers, |it| &it.stopping]);
}

#[test]
fn failed_sync() {
    check(Scenario::FailedSync, &[|it| &it.answers, |it| &it.unknown]);
}

#[test]
fn room() {
    check(Scenario::Room, &[|it| &it.answers, |it| &it.storage_full]);
}

#[test]
fn expiry() {
    check(Scenario::Expiry, &[|it| &it.answers, |it| &it.expired]);
}

#[test]
fn a_seed_brings_about_the_same_again() {
    for scenario in [Scenario::Answers, Scenario::FailedSync, Scenario::Stop] {
        repeat(scenario, seed());
    }
}
