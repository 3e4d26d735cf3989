//! Interleavings: the real admission, arrivals, shard and journal thread on real steps of several threads, where a scheduler decides at each use of
//! what they share (`crate::sync`) which of them goes on. Each schedule is one of very many; the same seed brings about the same ones.
//!
//! # What is real
//!
//! Callers go through [`Intake`](crate::intake::Intake), the shard through [`Shard::arrive`](crate::shard::Shard::arrive), the journal thread through
//! [`Committer::run`](crate::commit::Committer::run), onto a journal on a simulated disk, whose syncs others can overtake; the ledger starts again from what
//! that disk holds after a power cut. The mailbox and the channels are stand-ins. Weak memory is not modelled: every step is seen by all.
//!
//! # What must be true in each of them
//!
//! What is in flight stays within its bounds and comes back to nothing. Every caller gets one answer, none before its frame is synced, those of
//! commands in the order of their positions, each after all that anybody had been shown when it was asked. After a failed sync nothing is answered any more.
//! A stop answers all that was accepted. Nobody waits for ever: a schedule that ends with a thread that waits is a violation too.

mod callers;
mod disk;
mod ledger;
mod scenarios;

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use shuttle::scheduler::{
    PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler,
};
use shuttle::{Config, Runner};

pub use scenarios::Scenario;

/// Schedules of each kind in a round.
const SCHEDULES: usize = 50;
/// How many forced changes of threads a schedule of the second kind has, one less than each of these.
const DEPTHS: [usize; 3] = [2, 3, 5];
/// Decoding records and deciding take some room, more so in a debug build.
const STACK_BYTES: usize = 1 << 20;

/// How often things happened, over all schedules.
#[derive(Debug, Default)]
pub struct Happened {
    /// Schedules.
    pub schedules: AtomicU64,
    /// Commands that were answered with a position of their own.
    pub answers: AtomicU64,
    /// Answers that came while others of the same caller were on their way.
    pub overlapping: AtomicU64,
    /// Reads that were answered.
    pub reads: AtomicU64,
    /// Refusals because too much was in flight.
    pub overloaded: AtomicU64,
    /// Refusals for want of room.
    pub storage_full: AtomicU64,
    /// Refusals because the ledger stops.
    pub stopping: AtomicU64,
    /// Callers whose outcome is unknown.
    pub unknown: AtomicU64,
    /// Syncs of frames.
    pub syncs: AtomicU64,
    /// Syncs of more than one record.
    pub groups: AtomicU64,
    /// Schedules in which pending transfers expired.
    pub expired: AtomicU64,
}

impl Happened {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [
            ("schedules", &self.schedules),
            ("answers", &self.answers),
            ("overlapping", &self.overlapping),
            ("reads", &self.reads),
            ("overloaded", &self.overloaded),
            ("storage full", &self.storage_full),
            ("stopping", &self.stopping),
            ("unknown", &self.unknown),
            ("syncs", &self.syncs),
            ("of groups", &self.groups),
            ("expired", &self.expired),
        ];
        for (name, count) in told {
            match count.load(Ordering::Relaxed) {
                0 => {}
                count => write!(f, "{count} {name}, ")?,
            }
        }
        Ok(())
    }
}

/// Runs a scenario under so many rounds of schedules, each of which begins with a seed of its own.
///
/// # Panics
/// At the first schedule in which something that must be true is not; says how to run it again.
pub fn explore(scenario: Scenario, seed: u64, rounds: u64) -> Happened {
    let happened = Arc::new(Happened::default());
    for seed in seed..seed + rounds {
        run(scenario, seed, &happened, RandomScheduler::new_from_seed(seed, SCHEDULES));
        for depth in DEPTHS {
            // Its first schedule only counts the steps of one.
            let scheduler = PctScheduler::new_from_seed(seed, depth, SCHEDULES + 1);
            run(scenario, seed, &happened, scheduler);
        }
    }
    Arc::into_inner(happened).expect("what ran has ended")
}

/// Runs each of a few schedules twice, and compares the steps.
///
/// # Panics
/// They differ, so that a seed would not bring about the same again.
pub fn repeat(scenario: Scenario, seed: u64) {
    let schedules = RandomScheduler::new_from_seed(seed, SCHEDULES);
    let scheduler = UncontrolledNondeterminismCheckScheduler::new(schedules);
    run(scenario, seed, &Arc::default(), scheduler);
}

fn run(
    scenario: Scenario,
    seed: u64,
    happened: &Arc<Happened>,
    scheduler: impl Scheduler + 'static,
) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    config.failure_persistence = shuttle::FailurePersistence::None;
    let again = format!("again with: ./tests/concurrency --seed {seed} --rounds 1 {scenario}");
    tell_when_panicking(again);
    let counted = Arc::clone(happened);
    let runner = Runner::new(scheduler, config);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runner.run(move || {
            Happened::count(&counted.schedules);
            scenario.run(&counted);
        })
    }));
    tell_when_panicking(String::new());
    if let Err(violation) = ran {
        resume_unwind(violation);
    }
}

thread_local! {
    static AGAIN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A test that fails amid many threads may not get as far as its end, so the seed is told at the panic itself.
fn tell_when_panicking(again: String) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            before(panic);
            AGAIN.with_borrow(|again| {
                if !again.is_empty() {
                    eprintln!("{again}");
                }
            });
        }));
    });
    AGAIN.set(again);
}
