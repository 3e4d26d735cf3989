//! Deterministic simulation: the real engine, shard, journal thread, recovery, housekeeping and write-behind, in one thread, on a simulated
//! clock, disk, index and store. A seed decides everything: what callers send, when each part takes a step, and what fails.
//!
//! # What is real
//!
//! Everything from admission to recovery: [`Shard::arrive`](crate::shard::Shard::arrive), [`Committer::commit_group`](crate::commit::Committer::commit_group),
//! [`Housekeeper::work`](crate::housekeeping::Housekeeper::work), the future of [`WriteBehindTask::run`](crate::write_behind::WriteBehindTask::run) and
//! [`recover_with`](crate::recovery::recover_with) are what the threads of a ledger call. Only the seams are simulated: [`Clock`](crate::clock::Clock) and
//! [`Pacing`](crate::clock::Pacing), [`Disk`](florin_persistence::disk::Disk), the entries of the index of decided ids, and the store as its writer sees it.
//!
//! # What must be true
//!
//! After each start everything is compared with a [`Model`](model::Model), which saw what was sent and answered: what was shown is there; each record that
//! was answered is the one in the journal; balances are the sums of what was decided; ids and keys were decided once; the state hash is what it was; the
//! store is the ledger as of its checkpoint, nothing twice. A universe ends with the store catching up and being the ledger.
//!
//! Faults that the design survives must be survived with nothing lost. Damage to what was synced (a bit, a lost or misdirected write) must keep a ledger from
//! starting, or change nothing; it is done only after a sealing frame, since before it the last frame counts as torn.

mod commands;
pub(crate) mod machine;
mod model;
mod report;
#[cfg(test)]
mod tests;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use report::Report;
use world::World;

/// Something that must always be true was not.
#[derive(Debug)]
pub(crate) struct Violation(String);

/// A seed whose universe violates what must be true.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, step {step}: {what}")]
pub struct Violated {
    /// The universe's seed, which brings it about again.
    pub seed: u64,
    /// The step at which it was noticed.
    pub step: u64,
    /// What was not true.
    pub what: String,
    /// What had gone wrong of late, oldest first.
    pub troubles: Vec<String>,
}

/// Simulates the universe of a seed, from the first start of a ledger to its end.
///
/// # Errors
/// Something that must always be true was not.
pub fn simulate(seed: u64) -> Result<Report, Violated> {
    let mut world = World::new(seed);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let (step, troubles) = (world.steps(), world.troubles());
    let violated = |what| Violated { seed, step, what, troubles };
    match result {
        Ok(Ok(())) => Ok(world.report()),
        Ok(Err(Violation(what))) => Err(violated(what)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
            Err(violated(format!("panicked: {}", text.unwrap_or_default())))
        }
    }
}
