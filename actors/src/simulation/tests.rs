use super::{Report, Violated, simulate};

/// Seeds whose universes found something once; they stay.
const FOUND: [u64; 0] = [];

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

#[test]
fn a_seed_brings_about_the_same_again() {
    for seed in [2, 11] {
        let (first, second) = (simulate(seed), simulate(seed));
        assert!(first.is_ok(), "{first:?}");
        assert_eq!(first, second);
    }
    assert_ne!(simulate_all([2]).trace, simulate_all([3]).trace);
}
