//! `benches/expiry.sh`: how long other transfers wait while a great many pending ones expire at one moment.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, io};

use florin_actors::{Clock, Florin, Options, SystemClock};
use florin_benches::figures::{median, percentile, thousands};
use florin_engine::{
    AccountId, Amount, AmountInput, Command, CreateAccount, CreateTransfer, JournalSeq, Timestamp,
    TransferFlags, TransferId,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

const ACCOUNTS: u64 = 10_000;
/// The two accounts of the transfers that are measured: no pending transfer touches them.
const PROBES: [AccountId; 2] = [AccountId(1_000_001), AccountId(1_000_002)];
const BATCH: u64 = 8_190;
/// Seconds until they expire, which the clock then skips.
const TIMEOUT: u32 = 3_600;
const QUIET: Duration = Duration::from_secs(3);
/// What takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// The machine's clock, and how many nanoseconds it was put forward.
struct SkippingClock {
    machine: SystemClock,
    ahead: AtomicU64,
}

impl Clock for SkippingClock {
    fn now(&self) -> Timestamp {
        self.machine.now().plus(self.ahead.load(Ordering::Relaxed))
    }
}

/// Transfers one by one at a steady rate, and how long each waited from the moment at which it was due, in milliseconds.
async fn probe(florin: Florin, rate: u64, first_id: u128, over: Arc<AtomicU64>) -> Vec<f64> {
    let mut due = interval(Duration::from_secs_f64(1.0 / rate as f64));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut waiting = JoinSet::new();
    let mut id = first_id;
    while over.load(Ordering::Relaxed) == 0 {
        let at = due.tick().await;
        let transfer = transfer(id, PROBES[0], PROBES[1]);
        let florin = florin.clone();
        waiting.spawn(async move {
            submit(&florin, Command::CreateTransfers(vec![transfer])).await;
            at.elapsed().as_secs_f64() * 1e3
        });
        id += 1;
    }
    waiting.join_all().await
}

fn transfer(id: u128, debit: AccountId, credit: AccountId) -> CreateTransfer {
    let amount = AmountInput::Minor(Amount::from_minor(1));
    CreateTransfer::new(TransferId(id), debit, credit, amount)
}

/// Nothing of it may be refused.
async fn submit(florin: &Florin, command: Command) -> JournalSeq {
    let answer = florin.submit(command, None).await.expect("a command is answered");
    assert!(answer.exceptions.is_empty(), "refused: {:?}", answer.exceptions[0]);
    answer.seq
}

fn place(number: u64) -> AccountId {
    AccountId(u128::from(1 + number % ACCOUNTS))
}

/// Makes so many pending transfers, and waits until the store has them.
async fn make_pending(florin: &Florin, first_id: u128, count: u64) {
    let mut last = JournalSeq::NONE;
    for start in (0..count).step_by(BATCH as usize) {
        let transfers = (start..count.min(start + BATCH)).map(|number| {
            let pair = (place(number), place(number * 7 + 1));
            let credit = if pair.1 == pair.0 { place(number + 1) } else { pair.1 };
            CreateTransfer {
                flags: TransferFlags::PENDING,
                timeout: TIMEOUT,
                ..transfer(first_id + u128::from(number), pair.0, credit)
            }
        });
        last = submit(florin, Command::CreateTransfers(transfers.collect())).await;
    }
    assert!(florin.wait_stored(last, PATIENCE).await, "the store is late");
}

/// Waits until nothing is pending on any account.
async fn wait_expired(florin: &Florin) {
    let deadline = Instant::now() + PATIENCE;
    for number in 0..ACCOUNTS {
        loop {
            let found = florin.account(place(number)).await.expect("an account can be read");
            let balances = found.value.expect("it was created").account.balances;
            if balances.debits_pending == Amount::ZERO && balances.credits_pending == Amount::ZERO {
                break;
            }
            assert!(Instant::now() < deadline, "transfers are still pending");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What one round saw.
struct Round {
    quiet: Vec<f64>,
    during: Vec<f64>,
    took: Duration,
}

async fn round(
    florin: &Florin,
    clock: &SkippingClock,
    number: u64,
    count: u64,
    rate: u64,
) -> Round {
    let first_id = u128::from(number) << 64;
    make_pending(florin, first_id + 1, count).await;
    let measure = |phase: u128| {
        let over = Arc::new(AtomicU64::new(0));
        let ids = first_id + (phase << 32);
        (over.clone(), tokio::spawn(probe(florin.clone(), rate, ids, over)))
    };
    let (over, probing) = measure(1);
    sleep_until(Instant::now() + QUIET).await;
    over.store(1, Ordering::Relaxed);
    let quiet = probing.await.expect("probes are answered");
    let (over, probing) = measure(2);
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    clock.ahead.fetch_add(2 * u64::from(TIMEOUT) * 1_000_000_000, Ordering::Relaxed);
    wait_expired(florin).await;
    let took = began.elapsed();
    over.store(1, Ordering::Relaxed);
    let during = probing.await.expect("probes are answered");
    Round { quiet, during, took }
}

async fn run(count: u64, rounds: u64, rate: u64) -> io::Result<()> {
    let directory = TempDir::with_prefix_in("florin-bench-", env::current_dir()?)?;
    let clock = Arc::new(SkippingClock { machine: SystemClock::start(), ahead: AtomicU64::new(0) });
    let options = Options { clock: clock.clone(), ..Options::new(directory.path()) };
    let florin = Florin::open(options).map_err(io::Error::other)?;
    let accounts = (1..=ACCOUNTS).map(|id| AccountId(u128::from(id))).chain(PROBES);
    let accounts: Vec<_> = accounts.map(CreateAccount::new).collect();
    for accounts in accounts.chunks(BATCH as usize) {
        submit(&florin, Command::CreateAccounts(accounts.to_vec())).await;
    }
    println!(
        "{} pending transfers over {ACCOUNTS} accounts are due at one moment; {rate} other transfers/s",
        thousands(count as f64)
    );
    let at = |of: &[f64], part: f64| percentile(of.iter().copied(), part);
    let mut seen = Vec::new();
    for number in 1..=rounds {
        let found = round(&florin, &clock, number, count, rate).await;
        println!(
            "  before p50 {:.1} p99 {:.1} max {:.1} ms; meanwhile p50 {:.1} p99 {:.1} max {:.1} ms; all expired after {:.2} s",
            at(&found.quiet, 0.5),
            at(&found.quiet, 0.99),
            at(&found.quiet, 1.0),
            at(&found.during, 0.5),
            at(&found.during, 0.99),
            at(&found.during, 1.0),
            found.took.as_secs_f64()
        );
        seen.push(found);
    }
    florin.stop().await;
    let of = |figure: &dyn Fn(&Round) -> f64| median(seen.iter().map(figure));
    println!();
    println!("medians of {rounds} rounds");
    println!("longest wait before     {:>8.1} ms", of(&|it| at(&it.quiet, 1.0)));
    println!("longest wait meanwhile  {:>8.1} ms", of(&|it| at(&it.during, 1.0)));
    println!(
        "p99 before, meanwhile   {:>8.1} ms, {:.1} ms",
        of(&|it| at(&it.quiet, 0.99)),
        of(&|it| at(&it.during, 0.99))
    );
    println!(
        "expired                 {:>8}/s",
        thousands(count as f64 / of(&|it| it.took.as_secs_f64()))
    );
    Ok(())
}

fn main() -> ExitCode {
    let words: Result<Vec<u64>, _> = env::args().skip(1).map(|word| word.parse()).collect();
    let Ok(words) = words else {
        eprintln!("usage: expiry [PENDING] [ROUNDS] [TRANSFERS_A_SECOND], all numbers");
        return ExitCode::from(2);
    };
    let word = |at: usize, otherwise: u64| words.get(at).copied().unwrap_or(otherwise).max(1);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime
        .and_then(|runtime| runtime.block_on(run(word(0, 1_000_000), word(1, 5), word(2, 1_000))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("expiry: {error}");
            ExitCode::FAILURE
        }
    }
}
