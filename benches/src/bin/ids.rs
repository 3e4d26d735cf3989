//! `benches/ids.sh`: what ids that are remembered for ever cost, when there are many.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs, io};

use florin_actors::{Durability, Florin, Options, WriteBehind};
use florin_benches::figures::{median, percentile, thousands};
use florin_engine::{
    ASKED_AHEAD, AccountId, Amount, AmountInput, Command, CreateAccount, CreateTransfer,
    ItemOutcome, JournalSeq, TransferId,
};
use florin_persistence::decided::{
    Decided, DecidedIndex, Entry, IndexOptions, IndexReader, Namespace,
};
use tempfile::TempDir;

const ACCOUNTS: u64 = 10_000;
const BATCH: u64 = 8_190;
/// Ids that the index takes at once.
const INDEX_BATCH: u64 = 500_000;
/// Ids asked for in one measurement.
const ASKED: u64 = 1_000_000;
/// Retries of old transfers that are measured.
const RETRIES: u64 = 2_000;
const ROUNDS: usize = 5;

/// The id of a number: all 128 bits look random, and no two are the same.
fn id(number: u64) -> u128 {
    let mix = |mut bits: u64| {
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    (u128::from(mix(number.wrapping_add(1))) << 64) | u128::from(mix(!number))
}

/// Numbers from here on name nothing.
const NEW: u64 = 1 << 40;

/// What is resident, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

fn disk_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", thousands((bytes >> 20) as f64))
}

/// Nanoseconds for each of `count`.
fn nanos_each(began: Instant, count: u64) -> f64 {
    began.elapsed().as_nanos() as f64 / count as f64
}

/// The index alone.
fn index(ids: u64) -> io::Result<()> {
    let directory = TempDir::with_prefix_in("florin-bench-", env::current_dir()?)?;
    let open =
        || DecidedIndex::open(directory.path(), IndexOptions::SMALL).map_err(io::Error::other);
    let index = Arc::new(open()?);
    let began = Instant::now();
    for start in (0..ids).step_by(INDEX_BATCH as usize) {
        let end = ids.min(start + INDEX_BATCH);
        let decided =
            |number| Decided { seq: number + 1, digest: number, timestamp: number, kind: 1 };
        let mut batch: Vec<Entry> =
            (start..end).map(|number| (Namespace::Transfer, id(number), decided(number))).collect();
        index.insert_batch(&mut batch, end).map_err(io::Error::other)?;
    }
    let filled = began.elapsed();
    println!("the index alone, {} ids of random bits", thousands(ids as f64));
    println!("  filled at               {:>12}/s", thousands(ids as f64 / filled.as_secs_f64()));
    println!(
        "  filter                  {:>12}, {:.2} B an id",
        mib(index.filter_bytes()),
        index.filter_bytes() as f64 / ids as f64
    );
    println!(
        "  on disk                 {:>12}, {:.1} B an id",
        mib(disk_bytes(directory.path())),
        disk_bytes(directory.path()) as f64 / ids as f64
    );
    println!("  process                 {:>12}", mib(resident()));
    let mut reader = index.reader();
    let get = |reader: &mut IndexReader, number: u64| {
        reader.get(Namespace::Transfer, id(number)).map_err(io::Error::other)
    };
    let (mut new, mut expected, mut old) = (Vec::new(), Vec::new(), Vec::new());
    let before = index.lookups().disk;
    for round in 0..ROUNDS as u64 {
        let first = NEW + 2 * round * ASKED;
        let began = Instant::now();
        for number in first..first + ASKED {
            assert!(get(&mut reader, number)?.is_none(), "it is new");
        }
        new.push(nanos_each(began, ASKED));
        let numbers: Vec<u64> = (first + ASKED..first + 2 * ASKED).collect();
        let began = Instant::now();
        for numbers in numbers.chunks(ASKED_AHEAD) {
            let ids = numbers.iter().map(|number| id(*number));
            let absent = reader.absent(Namespace::Transfer, ids);
            for (number, at) in numbers.iter().zip(0..) {
                if absent & (1 << at) == 0 {
                    assert!(get(&mut reader, *number)?.is_none(), "it is new");
                }
            }
        }
        expected.push(nanos_each(began, ASKED));
        // Spread over all of them.
        let asked = RETRIES;
        let began = Instant::now();
        for step in 0..asked {
            let number = (step * (ids / asked).max(1) + round) % ids;
            assert_eq!(get(&mut reader, number)?.map(|found| found.seq), Some(number + 1));
        }
        old.push(nanos_each(began, asked));
    }
    let through = index.lookups().disk - before - ROUNDS as u64 * RETRIES;
    let asked = 2 * ROUNDS as u64 * ASKED;
    println!("  a new id, alone         {:>12.0} ns", median(new));
    println!("  a new id, of a batch    {:>12.0} ns", median(expected));
    println!("  looked up in vain       {:>12.6} of the new", through as f64 / asked as f64);
    println!("  an old id               {:>12.1} us", median(old) / 1e3);
    drop((reader, index));
    let began = Instant::now();
    let index = open()?;
    println!("  opened again in         {:>12.2} s", began.elapsed().as_secs_f64());
    assert_eq!((index.len(), index.covered_seq()), (ids, ids));
    Ok(())
}

/// The transfer of a number; asked for again it is the same one.
fn transfer(number: u64) -> CreateTransfer {
    let account = |place: u64| AccountId(u128::from(1 + place % ACCOUNTS));
    let amount = AmountInput::Minor(Amount::from_minor(1 + number % 100));
    CreateTransfer::new(TransferId(id(number)), account(number), account(number + 1), amount)
}

async fn submit(florin: &Florin, transfers: Vec<CreateTransfer>) -> io::Result<Vec<ItemOutcome>> {
    let answer = florin.submit(Command::CreateTransfers(transfers), None).await;
    let answer = answer.map_err(io::Error::other)?;
    Ok(answer.exceptions.into_iter().map(|(_, outcome)| outcome).collect())
}

/// New transfers, so many batches of them after another; nanoseconds for each transfer.
async fn batches(florin: &Florin, first: u64, count: u64) -> io::Result<f64> {
    let began = Instant::now();
    for start in (first..first + count).step_by(BATCH as usize) {
        let end = (first + count).min(start + BATCH);
        let outcomes = submit(florin, (start..end).map(transfer).collect()).await?;
        assert!(outcomes.is_empty(), "a new transfer is refused: {:?}", outcomes[0]);
    }
    Ok(nanos_each(began, count))
}

/// The ledger with all these transfers, before and after a start.
async fn ledger(transfers: u64) -> io::Result<()> {
    let directory = TempDir::with_prefix_in("florin-bench-", env::current_dir()?)?;
    let options = || {
        let mut options = Options::new(directory.path());
        options.durability = Durability::Fsync;
        options.write_behind = WriteBehind::Running;
        options
    };
    let open = || Florin::open(options()).map_err(io::Error::other);
    let florin = open()?;
    for first in (1..=ACCOUNTS).step_by(5_000) {
        let ids = first..(first + 5_000).min(ACCOUNTS + 1);
        let accounts = ids.map(|id| CreateAccount::new(AccountId(u128::from(id)))).collect();
        let created = florin.submit(Command::CreateAccounts(accounts), None).await;
        assert!(created.map_err(io::Error::other)?.exceptions.is_empty());
    }
    println!("the ledger, {} transfers in its store and its index", thousands(transfers as f64));
    let sample = 100 * BATCH;
    let first = batches(&florin, 0, sample).await?;
    batches(&florin, sample, transfers - 2 * sample).await?;
    let last = batches(&florin, transfers - sample, sample).await?;
    println!("  a transfer, first {}   {first:>8.0} ns", thousands(sample as f64));
    println!("  a transfer, last {}    {last:>8.0} ns", thousands(sample as f64));
    let began = Instant::now();
    while florin.positions().stored < florin.positions().durable {
        let before = florin.positions().stored;
        let wait = std::time::Duration::from_secs(60);
        florin.wait_stored(florin.positions().durable, wait).await;
        assert!(florin.positions().stored > before, "the store stands still");
    }
    println!("  stored after another    {:>12.1} s", began.elapsed().as_secs_f64());
    florin.stop().await;
    let began = Instant::now();
    let florin = open()?;
    assert_ne!(florin.positions().durable, JournalSeq::NONE);
    println!("  started again in        {:>12.2} s", began.elapsed().as_secs_f64());
    println!("  process                 {:>12}", mib(resident()));
    println!("  on disk                 {:>12}", mib(disk_bytes(directory.path())));
    let mut waits = Vec::new();
    for step in 0..RETRIES {
        let again = transfer(step * (transfers / RETRIES));
        let began = Instant::now();
        let outcomes = submit(&florin, vec![again]).await?;
        waits.push(began.elapsed().as_secs_f64() * 1e6);
        assert!(matches!(outcomes[..], [ItemOutcome::Exists { .. }]), "{outcomes:?}");
    }
    let at = |part| percentile(waits.iter().copied(), part);
    println!("  an old id again         {:>12.0} us, p99 {:.0} us", at(0.5), at(0.99));
    let began = Instant::now();
    let again = submit(&florin, (0..BATCH).map(transfer).collect()).await?;
    println!("  {BATCH} old ids at once  {:>12.1} us each", nanos_each(began, BATCH) / 1e3);
    assert_eq!(again.len() as u64, BATCH);
    let fresh = batches(&florin, transfers, sample).await?;
    println!("  a new transfer          {fresh:>12.0} ns");
    florin.stop().await;
    Ok(())
}

fn main() -> ExitCode {
    let words: Result<Vec<u64>, _> = env::args().skip(1).map(|word| word.parse()).collect();
    let Ok(words) = words else {
        eprintln!("usage: ids [IDS_IN_THE_INDEX] [TRANSFERS_IN_THE_LEDGER], in millions");
        return ExitCode::from(2);
    };
    let million = |at: usize, otherwise: u64| {
        words.get(at).copied().unwrap_or(otherwise).clamp(2, 1_000) * 1_000_000
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = index(million(0, 100)).and_then(|()| runtime?.block_on(ledger(million(1, 20))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ids: {error}");
            ExitCode::FAILURE
        }
    }
}
