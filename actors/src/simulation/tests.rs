use std::path::Path;

use florin_engine::AccountId;
use florin_persistence::disk::simulated::{Crash, Operation};
use florin_persistence::disk::{Disk, OpenMode};
use florin_persistence::store::simulated::Commits;
use tokio::sync::oneshot;

use super::machine::{Machine, Process};
use super::{Report, Violated, simulate};
use crate::options::ClockAcceptance;
use crate::shard::{Arrival, Look, LookAt};

/// Seeds whose universes found something once; they stay.
const FOUND: [u64; 1] = [100_146];

fn simulate_all(seeds: impl IntoIterator<Item = u64>) -> Report {
    let mut sum = Report::default();
    for seed in seeds {
        match simulate(seed) {
            Ok(report) => sum.add(&report),
            Err(violated @ Violated { .. }) => {
                let troubles = violated.troubles.join("\n");
                panic!(
                    "{troubles}\n{violated}\nreplay with: ./tests/simulate --seed {seed} --steps 1"
                );
            }
        }
    }
    sum
}

#[test]
fn nothing_is_violated_in_a_number_of_universes() {
    let sum = simulate_all((1..=24).chain(FOUND));
    // A simulation in which nothing happens violates nothing.
    let happened = [
        ("power losses amid an operation", sum.amid_operations),
        ("kills", sum.kills),
        ("stops after a failure", sum.fail_stops),
        ("starts from a snapshot", sum.snapshot_starts),
        ("torn tails", sum.torn_tails),
        ("segments removed", sum.removed),
        ("damages found", sum.damages_found),
        ("short reads", sum.short_reads),
        ("refusals for want of room", sum.refused),
        ("stores taken over", sum.take_overs),
        ("retries and duplicates", sum.repeated),
    ];
    for (what, count) in happened {
        assert!(count > 0, "there were no {what}: {sum}");
    }
    assert!(sum.acknowledged > 10 * sum.unknown, "{sum}");
    assert_eq!(sum.caught_up, sum.universes);
}

/// Seed 100,146 found it: a process died between the name of a snapshot and the sync of that name, the next one removed the segments that the snapshot
/// covers, and when the power went the name was gone.
#[test]
fn names_that_a_start_rests_on_are_durable() {
    for seed in 0..16 {
        let machine = Machine::new(seed, Commits::Durable, 64 << 10);
        let start = || drop(machine.start(ClockAcceptance::Strict).expect("nothing fails"));
        start();
        let names = ["/ledger/left", "/ledger/snapshots/left", "/ledger/journal/left"];
        for name in names {
            drop(machine.disk.open(Path::new(name), OpenMode::CreateNew).unwrap());
        }
        machine.disk.crash(Crash::Process);
        start();
        machine.disk.crash(Crash::Power);
        for name in names {
            let found = machine.disk.kind(Path::new(name)).unwrap();
            assert!(found.is_some(), "seed {seed}: {name} is gone");
        }
    }
}

#[test]
fn a_ledger_that_failed_while_idle_answers_no_more() {
    let machine = Machine::new(1, Commits::Durable, 64 << 10);
    let mut process = machine.start(ClockAcceptance::Strict).expect("nothing fails");
    let ask = |process: &mut Process| {
        let permit = process.wired.admission.admit(1, 0, || u64::MAX).unwrap();
        let (reply, mut released) = oneshot::channel();
        let look = Look { at: LookAt::Account(AccountId(1)), permit, reply };
        process.wired.shard.arrive(Arrival::Look(look));
        released.try_recv().is_ok()
    };
    assert!(ask(&mut process), "nothing has to be waited for");
    machine.fate().weather.failing[Operation::Sync as usize] = 1_000_000;
    assert!(!process.seal(), "there was a frame to seal");
    assert!(!ask(&mut process));
}

#[test]
fn a_seed_brings_about_the_same_again() {
    for seed in [2, 11] {
        let (first, second) = (simulate(seed), simulate(seed));
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(first, second);
    }
    assert_ne!(simulate_all([2]).trace, simulate_all([3]).trace);
}
