//! The load itself: accounts first, then transfers from many tasks, then the wait for the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use florin_actors::{Answer, Florin, SubmitError};
use florin_engine::{Command, CreateAccount, ItemOutcome, JournalSeq};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::distribution::{Distribution, Generator, Ids, Pairs, account_id};
use super::report::Memory;
use super::{BenchError, StoreFilling};
use crate::command::progress::{Progress, Standing};
use crate::command::text;
use crate::telemetry::process;

/// Accounts in one command of the preparation: few enough that what passes through does not count as what stays.
const ACCOUNTS_BATCH: u64 = 1_000;

/// How long the store may stand still before the wait for it is given up.
const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// Histograms that tasks share, so that a thousand tasks neither meet at one lock nor hold a thousand histograms.
const HISTOGRAMS: usize = 8;

/// What is asked of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) accounts: u32,
    pub(super) transfers: u64,
    /// Transfers in a command.
    pub(super) batch: u64,
    /// Commands in flight.
    pub(super) concurrency: u32,
    pub(super) distribution: Distribution,
    pub(super) ids: Ids,
    /// How many of a hundred new transfers are pending.
    pub(super) two_phase: u8,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Measured {
    pub(super) plan: Plan,
    /// From the first command to the last answer.
    pub(super) elapsed: Duration,
    /// Nanoseconds from a command to its answer.
    pub(super) latency: Histogram<u64>,
    /// From the first command until the store had everything, and from the last answer.
    pub(super) stored: Option<Stored>,
    /// What the journal grew by, where it can be told.
    pub(super) journal_bytes: Option<u64>,
    pub(super) peak_resident_bytes: Option<u64>,
}

/// When the store had caught up.
pub(super) struct Stored {
    pub(super) elapsed: Duration,
    pub(super) after_last_answer: Duration,
}

/// What the tasks share.
struct Shared {
    florin: Florin,
    plan: Plan,
    pairs: Pairs,
    /// Transfers that a task has taken on.
    taken: AtomicU64,
    acknowledged: AtomicU64,
    last_seq: AtomicU64,
    began: Instant,
    /// Nanoseconds from there to the newest answer.
    last_answer: AtomicU64,
    latency: [Mutex<Histogram<u64>>; HISTOGRAMS],
}

/// Measures the plan on an empty ledger.
///
/// # Errors
/// A command was refused or not answered, or the store stopped.
pub(super) async fn measure(
    florin: &Florin,
    plan: Plan,
    filling: StoreFilling,
) -> Result<Measured, BenchError> {
    let prepared = create_accounts(florin, u64::from(plan.accounts)).await?;
    if filling == StoreFilling::On {
        wait_stored(florin, prepared).await?;
    }
    let journal_before = florin.positions().journal_bytes;
    let shared = Arc::new(Shared {
        florin: florin.clone(),
        plan,
        pairs: Pairs::new(plan.distribution, plan.accounts),
        taken: AtomicU64::new(0),
        acknowledged: AtomicU64::new(0),
        last_seq: AtomicU64::new(0),
        began: Instant::now(),
        last_answer: AtomicU64::new(0),
        latency: std::array::from_fn(|_| Mutex::new(histogram())),
    });
    submit_all(&shared).await?;
    let elapsed = Duration::from_nanos(shared.last_answer.load(Ordering::Acquire));
    let peak_resident_bytes = process::peak_bytes();
    let last_seq = JournalSeq(shared.last_seq.load(Ordering::Acquire));
    let stored = match filling {
        StoreFilling::On => {
            wait_stored(florin, last_seq).await?;
            let whole = shared.began.elapsed();
            Some(Stored { elapsed: whole, after_last_answer: whole - elapsed })
        }
        StoreFilling::Paused => None,
    };
    let journal_bytes = Some(florin.positions().journal_bytes - journal_before);
    let mut latency = histogram();
    for part in &shared.latency {
        latency += &*part.lock().unwrap_or_else(PoisonError::into_inner);
    }
    Ok(Measured { plan, elapsed, latency, stored, journal_bytes, peak_resident_bytes })
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

async fn submit_all(shared: &Arc<Shared>) -> Result<(), BenchError> {
    let watched = Arc::clone(shared);
    let progress = Progress::watch("transfers", shared.plan.transfers, move || {
        let position = watched.acknowledged.load(Ordering::Relaxed);
        let rate = text::rate(position, watched.began.elapsed());
        Standing { position, message: format!("{}/s", text::grouped(rate)) }
    });
    let mut tasks = JoinSet::new();
    for task in 0..shared.plan.concurrency {
        tasks.spawn(submit_some(Arc::clone(shared), u64::from(task)));
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(outcome) => outcome?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    drop(progress);
    Ok(())
}

/// One caller: makes a command, submits it, waits for the answer, and again, until all transfers are taken.
async fn submit_some(shared: Arc<Shared>, task: u64) -> Result<(), BenchError> {
    let Plan { transfers, batch, seed, ids, two_phase, .. } = shared.plan;
    let mut generator = Generator::new(seed, task, ids, two_phase);
    let latency = &shared.latency[task as usize % HISTOGRAMS];
    loop {
        let taken = shared.taken.fetch_add(batch, Ordering::Relaxed);
        let Some(left) = transfers.checked_sub(taken).filter(|left| *left > 0) else {
            return Ok(());
        };
        let count = left.min(batch);
        let command = Command::CreateTransfers(generator.transfers(count, &shared.pairs));
        let submitted = Instant::now();
        let answer = shared.florin.submit(command, None).await?;
        let waited = nanos(submitted.elapsed());
        let mut latency = latency.lock().unwrap_or_else(PoisonError::into_inner);
        latency.record(waited).expect("the histogram grows as it must");
        drop(latency);
        shared.last_answer.fetch_max(nanos(shared.began.elapsed()), Ordering::AcqRel);
        shared.acknowledged.fetch_add(count, Ordering::Relaxed);
        shared.last_seq.fetch_max(accepted(&answer)?.0, Ordering::AcqRel);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The position of a command of which nothing was refused.
fn accepted(answer: &Answer) -> Result<JournalSeq, BenchError> {
    let Some((_, first)) = answer.exceptions.first() else { return Ok(answer.seq) };
    let code = match first {
        ItemOutcome::Exists { .. } => "exists",
        ItemOutcome::Differs { .. } => "exists_with_different_content",
        ItemOutcome::Settled { settlement, .. } => settlement.rejection().code(),
        ItemOutcome::Rejected(rejection) => rejection.code(),
    };
    Err(BenchError::Refused { count: answer.exceptions.len() as u64, code })
}

/// Creates accounts without limits, two commands in flight.
async fn create_accounts(florin: &Florin, count: u64) -> Result<JournalSeq, BenchError> {
    let created = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&created);
    let progress = Progress::watch("accounts", count, move || Standing {
        position: watched.load(Ordering::Relaxed),
        message: String::new(),
    });
    let mut tasks = JoinSet::<Result<Answer, SubmitError>>::new();
    let mut starts = (0..count).step_by(ACCOUNTS_BATCH as usize);
    let mut newest = JournalSeq::NONE;
    loop {
        while tasks.len() < 2
            && let Some(start) = starts.next()
        {
            let florin = florin.clone();
            tasks.spawn(async move {
                let places = start..count.min(start + ACCOUNTS_BATCH);
                let accounts = places.map(|place| CreateAccount::new(account_id(place)));
                florin.submit(Command::CreateAccounts(accounts.collect()), None).await
            });
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok(answer)) => {
                let answer = answer?;
                created.fetch_add(u64::from(answer.items), Ordering::Relaxed);
                newest = newest.max(accepted(&answer)?);
            }
            Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    drop(progress);
    Ok(newest)
}

/// Waits until the store has everything up to `seq`, as long as it gets on.
async fn wait_stored(florin: &Florin, seq: JournalSeq) -> Result<(), BenchError> {
    let before = florin.positions().stored.0;
    let watched = florin.clone();
    let _progress = Progress::watch("store", seq.0.saturating_sub(before), move || Standing {
        position: watched.positions().stored.0.saturating_sub(before),
        message: String::new(),
    });
    loop {
        let stored = florin.positions().stored;
        if florin.wait_stored(seq, STORE_PATIENCE).await {
            return Ok(());
        }
        if florin.positions().stored == stored {
            return Err(BenchError::StoreStuck { stored: stored.0, wanted: seq.0 });
        }
    }
}

/// Measures the memory that accounts take, beyond the process with an empty ledger.
///
/// # Errors
/// A command was refused or not answered, or the store stopped.
pub(super) async fn measure_memory(
    florin: &Florin,
    accounts: u64,
    filling: StoreFilling,
    resident_at_start: Option<u64>,
) -> Result<Memory, BenchError> {
    let resident_empty = process::resident_bytes();
    let newest = create_accounts(florin, accounts).await?;
    if filling == StoreFilling::On {
        wait_stored(florin, newest).await?;
    }
    let resident_full = settled().await;
    Ok(Memory { accounts, resident_at_start, resident_empty, resident_full })
}

/// What is resident once the allocator has given back what passed through: it does so with a delay, and bit by bit.
async fn settled() -> Option<u64> {
    let mut least = process::resident_bytes()?;
    let mut unchanged = 0;
    while unchanged < 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = process::resident_bytes()?;
        unchanged = if now < least { 0 } else { unchanged + 1 };
        least = least.min(now);
    }
    Some(least)
}
