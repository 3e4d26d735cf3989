//! Measures the index of decided ids: `decided_index [count] [random|ordered] [directory]`.
//!
//! Fills it with `count` ids (5 million unless told) in batches of 500 thousand, opens it again, and
//! prints the rate of filling, what a new and an old id cost, and what the filter takes. Build it
//! with `--release`; a temporary directory is used and removed unless one is named.

use florin_persistence::decided::{Decided, DecidedIndex, Entry, IndexOptions, Namespace};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

const BATCH: u64 = 500_000;
const LOOKUPS: u64 = 2_000_000;

#[derive(Clone, Copy)]
enum Ids {
    Random,
    Ordered,
}

fn scattered(n: u64) -> u64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn id(ids: Ids, n: u64) -> u128 {
    let low = u128::from(scattered(n ^ 0x5555));
    match ids {
        Ids::Random => u128::from(scattered(n)) << 64 | low,
        // As UUIDv7: milliseconds in front, 200 ids in each, the rest random.
        Ids::Ordered => u128::from(1_700_000_000_000 + n / 200) << 80 | low,
    }
}

fn decided(n: u64) -> Decided {
    Decided { seq: n + 1, digest: scattered(n ^ 0xaaaa), timestamp: n, kind: 1 }
}

fn batch(ids: Ids, start: u64, end: u64) -> Vec<Entry> {
    (start..end).map(|n| (Namespace::Transfer, id(ids, n), decided(n))).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let count: u64 = args.next().map_or(Ok(5_000_000), |count| count.parse())?;
    let ids = match args.next().as_deref() {
        None | Some("random") => Ids::Random,
        Some("ordered") => Ids::Ordered,
        Some(other) => return Err(format!("no such kind of ids: {other}").into()),
    };
    let temporary = tempfile::tempdir()?;
    let dir = args.next().map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    let index = DecidedIndex::open(&dir, IndexOptions::SMALL)?;
    fill(&index, ids, count)?;
    println!("memory      {}", memory()?);
    drop(index);
    println!("disk        {:.1} bytes an id", disk(&dir)? as f64 / count as f64);

    let start = Instant::now();
    let index = DecidedIndex::open(&dir, IndexOptions::SMALL)?;
    println!("open        {:.0?}", start.elapsed());
    println!("filter      {:.2} bytes an id", index.filter_bytes() as f64 / index.len() as f64);
    look_up(&index, ids, count)?;
    println!("memory      {}", memory()?);
    look_up_while_filling(&index, ids, count)?;
    drop(index);

    fs::remove_file(dir.join("filter.bits"))?;
    let start = Instant::now();
    drop(DecidedIndex::open(&dir, IndexOptions::SMALL)?);
    println!("open        {:.0?} from the log alone", start.elapsed());
    fs::remove_file(dir.join("filter.bits"))?;
    fs::remove_file(dir.join("filter.log"))?;
    let start = Instant::now();
    DecidedIndex::open(&dir, IndexOptions::SMALL)?;
    println!("open        {:.0?} from the exact index alone", start.elapsed());
    Ok(())
}

fn fill(index: &DecidedIndex, ids: Ids, count: u64) -> Result<(), Box<dyn Error>> {
    let (mut took, mut worst) = (Duration::ZERO, Duration::ZERO);
    for start in (0..count).step_by(BATCH as usize) {
        let end = (start + BATCH).min(count);
        let mut entries = batch(ids, start, end);
        let begin = Instant::now();
        index.insert_batch(&mut entries, end)?;
        took += begin.elapsed();
        worst = worst.max(begin.elapsed());
    }
    let rate = count as f64 / took.as_secs_f64() / 1e6;
    println!("fill        {rate:.2} million a second, slowest batch {worst:.0?}");
    Ok(())
}

fn look_up(index: &DecidedIndex, ids: Ids, count: u64) -> Result<(), Box<dyn Error>> {
    let absent: Vec<u128> = (0..LOOKUPS).map(|n| id(ids, (1 << 40) + n)).collect();
    let begin = Instant::now();
    for &id in &absent {
        assert!(index.get(Namespace::Transfer, id)?.is_none());
    }
    let each = begin.elapsed().as_nanos() as f64 / LOOKUPS as f64;
    let passed = index.lookups().disk as f64 / LOOKUPS as f64;
    println!("new id      {each:.0} ns, false positives {passed:.6}");

    // Others than before, because the store has cached what the filter let through.
    let absent: Vec<u128> = (0..LOOKUPS).map(|n| id(ids, (1 << 42) + n)).collect();
    let begin = Instant::now();
    for ids in absent.chunks(32) {
        index.warm(Namespace::Transfer, ids.iter().copied());
        for &id in ids {
            assert!(index.get(Namespace::Transfer, id)?.is_none());
        }
    }
    let each = begin.elapsed().as_nanos() as f64 / LOOKUPS as f64;
    println!("new id      {each:.0} ns when 32 are warmed together");

    let lookups = LOOKUPS / 10;
    let begin = Instant::now();
    for n in 0..lookups {
        let n = scattered(n) % count;
        assert_eq!(index.get(Namespace::Transfer, id(ids, n))?, Some(decided(n)));
    }
    let each = begin.elapsed().as_nanos() as f64 / lookups as f64 / 1e3;
    println!("old id      {each:.1} µs");
    Ok(())
}

/// What a reader sees while one more batch after another goes in.
fn look_up_while_filling(index: &DecidedIndex, ids: Ids, count: u64) -> Result<(), Box<dyn Error>> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut slowest = [Duration::ZERO; 2];
            let mut n = 0;
            while !done.load(Ordering::Acquire) {
                n += 1;
                for (slowest, n) in slowest.iter_mut().zip([(1 << 41) + n, scattered(n) % count]) {
                    let begin = Instant::now();
                    let found = index.get(Namespace::Transfer, id(ids, n));
                    *slowest = begin.elapsed().max(*slowest);
                    assert_eq!(found.is_ok_and(|found| found.is_some()), n < count);
                }
            }
            slowest
        });
        let filled = (0..6).try_for_each(|n| {
            let start = count + n * BATCH;
            index.insert_batch(&mut batch(ids, start, start + BATCH), start + BATCH)
        });
        done.store(true, Ordering::Release);
        let [new, old] = reader.join().map_err(|_| "the reader failed")?;
        println!("meanwhile   slowest new id {new:.0?}, slowest old id {old:.0?}");
        Ok(filled?)
    })
}

fn disk(dir: &Path) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => disk(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

fn memory() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let lines =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    Ok(lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", "))
}
