//! What the cache costs and how late it is: transfers at a steady rate, with a private Redis.
//!
//! `cargo run --release -p florin-actors --example cache_updates [transfers a second] [seconds] [accounts]`
#![expect(clippy::unwrap_used, reason = "a measurement fails by panicking")]

use std::time::{Duration, Instant};

use florin_actors::{CacheOptions, Florin, Options};
use florin_engine::{
    AccountId, AmountInput, Command, CreateAccount, CreateTransfer, JournalSeq, TransferId,
};
use florin_tests::random::Random;
use florin_tests::redis::Redis;

/// Seconds of processor time that the cache's thread has used.
fn cache_thread_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let path = tasks
        .map(|task| task.unwrap().path())
        .find(|task| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "florin-cache")
        .unwrap();
    let stat = std::fs::read_to_string(path.join("schedstat")).unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let number = |at: usize, otherwise: u64| {
        std::env::args().nth(at).map_or(otherwise, |text| text.parse().unwrap())
    };
    let (rate, seconds, accounts) = (number(1, 20_000), number(2, 10), number(3, 10_000));
    let redis = Redis::start();
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path().join("ledger"));
    options.cache = Some(CacheOptions::new(redis.url()));
    let florin = Florin::open(options).unwrap();
    for first in (1..=accounts).step_by(1000) {
        let ids = (first..first + 1000).map(|id| CreateAccount::new(AccountId(id.into())));
        florin.submit(Command::CreateAccounts(ids.collect()), None).await.unwrap();
    }
    let durable = florin.positions().durable;
    assert!(florin.wait_cached(durable, Duration::from_secs(60)).await);
    assert!(florin.wait_stored(durable, Duration::from_secs(60)).await);

    let watcher = tokio::spawn(watch(florin.clone(), Duration::from_secs(seconds)));
    let (before, started) = (cache_thread_seconds(), Instant::now());
    let mut random = Random::new(1);
    let mut sent = 0;
    let (done, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    while started.elapsed() < Duration::from_secs(seconds) {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            sent += 1;
            let from = random.below(accounts);
            let to = (from + 1 + random.below(accounts - 1)) % accounts;
            let (from, to) = (AccountId(from as u128 + 1), AccountId(to as u128 + 1));
            let amount = AmountInput::parse("0.01").unwrap();
            let id = TransferId(u128::from(sent));
            let command = Command::CreateTransfers(vec![CreateTransfer::new(id, from, to, amount)]);
            let (florin, done) = (florin.clone(), done.clone());
            tokio::spawn(async move {
                florin.submit(command, None).await.unwrap();
                done.send(()).unwrap();
            });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..sent {
        waiting.recv().await.unwrap();
    }
    let mut late = watcher.await.unwrap();
    late.sort_unstable();
    let durable = florin.positions().durable;
    assert!(florin.wait_cached(durable, Duration::from_secs(60)).await);
    let used = cache_thread_seconds() - before;
    let part = |part: f64| late[((late.len() - 1) as f64 * part) as usize];
    println!(
        "{sent} transfers in {:.1} s: {:.2} µs of the cache's thread each; visible after p50 {:?}, p99 {:?}, at most {:?}",
        started.elapsed().as_secs_f64(),
        used * 1e6 / sent as f64,
        part(0.5),
        part(0.99),
        part(1.0),
    );
    florin.stop().await;
}

/// How long it takes from being durable, which is when it is acknowledged, to being covered by the cache; looked at twice in a millisecond.
async fn watch(florin: Florin, time: Duration) -> Vec<Duration> {
    let mut late = Vec::new();
    let started = Instant::now();
    let mut waiting: std::collections::VecDeque<(JournalSeq, Instant)> = Default::default();
    while started.elapsed() < time {
        let positions = florin.positions();
        let now = Instant::now();
        while waiting.front().is_some_and(|(seq, _)| *seq <= positions.cached) {
            late.extend(waiting.pop_front().map(|(_, since)| now - since));
        }
        if waiting.back().is_none_or(|(seq, _)| *seq < positions.durable) {
            waiting.push_back((positions.durable, now));
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    late
}
