//! `benches/readers.sh`: what a reader answers from a warm cache, against a handler that does nothing, and how soon it shows what
//! was acknowledged.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use florin_benches::bank::{ACCOUNTS, Bank};
use florin_benches::cpu;
use florin_benches::figures::{median, micros_each, percentile, thousands};
use florin_benches::programs::Program;
use florin_benches::wrk::{Answers, Load};
use florin_tests::bank::transfer;
use florin_tests::postgres::Postgres;
use florin_tests::random::Random;
use florin_tests::redis::Redis;
use serde_json::json;

const SETTINGS: &str = "fsync = on\nshared_buffers = 256MB\nmax_wal_size = 4GB";
const CONNECTIONS: u32 = 64;
/// For transfers at a steady rate: so many that how long an answer takes does not slow it down.
const STEADY_CONNECTIONS: u32 = 256;
/// The account whose changes are looked for, and the one that pays: no other transfer touches them.
const WATCHED: u128 = ACCOUNTS as u128 + 1;
const PAYER: u128 = ACCOUNTS as u128 + 2;
/// The longest pause between two changes that are looked for, in milliseconds.
const PAUSE_MS: u64 = 20;
/// What is not seen after so long never will be.
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    writer: Bank,
    reader: Bank,
    empty: Program,
    _redis: Redis,
    _postgres: Postgres,
}

impl Bench {
    fn start() -> Bench {
        let (postgres, redis) = (Postgres::start_with(SETTINGS), Redis::start());
        let (database, cache) = (postgres.url(&postgres.create_database()), redis.url());
        let urls = [("FLORIN_DATABASE_URL", &*database), ("FLORIN_REDIS_URL", &*cache)];
        let writer = Bank::start(&["--role", "write"], &urls);
        let reader = Bank::start(&["--role", "read", "--writer-url", &writer.server.base()], &urls);
        writer.create_accounts();
        let more = json!([{"id": WATCHED.to_string()}, {"id": PAYER.to_string()}]);
        assert_eq!(writer.client.request("POST /v1/accounts/batch").send(more).status, 200);
        writer.wait_stored();
        let answer = warm(&reader);
        Bench {
            writer,
            reader,
            empty: Program::empty_handler(&answer, &answer),
            _redis: redis,
            _postgres: postgres,
        }
    }

    fn reads(&self, base: &str, seconds: u64) -> Answers {
        let words = vec![ACCOUNTS.to_string()];
        Load { base, script: "reads.lua", words, connections: CONNECTIONS, seconds }.run()
    }

    /// Reads from the handler that does nothing, and from the cache, where each read must be a hit.
    fn round(&self, seconds: u64) -> [Answers; 2] {
        let empty = self.reads(self.empty.base(), seconds);
        let hits = || self.reader.metric("florin_cache_reads_total{result=\"hit\"}");
        let reader = self.reader.server.pid();
        let near = || self.reader.metric("florin_cache_near_hits_total");
        let (before, near_before, used) = (hits(), near(), cpu::of_process(reader));
        let cached = self.reads(&self.reader.server.base(), seconds);
        let used = cpu::of_process(reader) - used;
        let (hits, near) = (hits() - before, near() - near_before);
        assert!(hits >= cached.count, "{hits} hits in {} reads", cached.count);
        println!(
            "  empty {:>7}/s, p99 {:.2} ms; cached {:>7}/s, p99 {:.2} ms, {:.1} us of the reader each, {:.1} % without asking Redis",
            thousands(empty.rate),
            empty.p99_ms,
            thousands(cached.rate),
            cached.p99_ms,
            micros_each(used, cached.count as f64),
            100.0 * near as f64 / hits as f64
        );
        [empty, cached]
    }

    /// How long after its answer each of some transfers was seen in the cache, while others go on. In milliseconds.
    fn lateness(&self, seconds: u64, rate: u64) -> (Answers, Vec<f64>) {
        let base = self.writer.server.base();
        let words = vec![ACCOUNTS.to_string(), "uniform".to_owned(), (rate / 2).to_string()];
        let script = "transfers.lua";
        let sending =
            Load { base: &base, script, words, connections: STEADY_CONNECTIONS, seconds }.start();
        let mut random = Random::new(1);
        let began = Instant::now();
        let mut late = Vec::new();
        let watched = self.reader.client.request(&format!("GET /v1/accounts/{WATCHED}")).send(());
        let mut version = watched.json()["version"].as_u64().expect("an account has a version");
        // Not in its first second, while the connections are made.
        thread::sleep(Duration::from_secs(1));
        while began.elapsed() + Duration::from_millis(500) < Duration::from_secs(seconds) {
            late.push(self.seen_after(&mut version));
            thread::sleep(Duration::from_millis(random.below(PAUSE_MS)));
        }
        (sending.wait(), late)
    }

    fn seen_after(&self, version: &mut u64) -> f64 {
        let post = self.writer.client.request("POST /v1/transfers");
        let reply = post.send(transfer(PAYER, WATCHED, "0.01"));
        let acknowledged = Instant::now();
        assert_eq!(reply.status, 201, "{reply:?}");
        // Nobody else changes it, so it has one more version.
        *version += 1;
        loop {
            let read = self.reader.client.request(&format!("GET /v1/accounts/{WATCHED}")).send(());
            assert_eq!(read.status, 200, "{read:?}");
            let waited = acknowledged.elapsed();
            // From the cache: the store is later.
            let cached = read.header("florin-source") == Some("cache");
            if cached && read.json()["version"].as_u64() >= Some(*version) {
                return waited.as_secs_f64() * 1e3;
            }
            assert!(waited < PATIENCE, "version {version} is not seen: {read:?}");
        }
    }
}

/// Reads every account until all come from the cache; gives the last answer.
fn warm(reader: &Bank) -> String {
    let mut answer = String::new();
    for id in 1..=ACCOUNTS {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = reader.client.request(&format!("GET /v1/accounts/{id}")).send(());
            if reply.status == 200 && reply.header("florin-source") == Some("cache") {
                answer = reply.body;
                break;
            }
            assert!(Instant::now() < deadline, "account {id} is not cached: {reply:?}");
        }
    }
    answer
}

fn main() -> ExitCode {
    let words: Result<Vec<u64>, _> = env::args().skip(1).map(|word| word.parse()).collect();
    let Ok(words) = words else {
        eprintln!("usage: readers [SECONDS] [ROUNDS] [TRANSFERS_A_SECOND], all numbers");
        return ExitCode::from(2);
    };
    let word = |at: usize, otherwise: u64| words.get(at).copied().unwrap_or(otherwise).max(1);
    let (seconds, rounds, rate) = (word(0, 8), word(1, 5), word(2, 20_000));
    let bench = Bench::start();
    println!("reads of {ACCOUNTS} cached accounts, {CONNECTIONS} connections");
    let runs: Vec<[Answers; 2]> = (0..rounds).map(|_| bench.round(seconds)).collect();
    println!("an acknowledged change in the cache, {} transfers/s wanted", thousands(rate as f64));
    let steady: Vec<(Answers, Vec<f64>)> = (0..rounds)
        .map(|_| {
            let (answers, late) = bench.lateness((seconds * 2).max(3), rate);
            println!(
                "  seen after {:.1} ms median, {:.1} ms p99, {:.1} ms at most, of {} changes at {} transfers/s; p99 of an answer {:.1} ms",
                percentile(late.iter().copied(), 0.5),
                percentile(late.iter().copied(), 0.99),
                percentile(late.iter().copied(), 1.0),
                late.len(),
                thousands(answers.rate),
                answers.p99_ms
            );
            (answers, late)
        })
        .collect();

    let of = |which: usize, figure: fn(&Answers) -> f64| {
        median(runs.iter().map(|round| figure(&round[which])))
    };
    let [empty, cached] = [0, 1].map(|which| of(which, |answers| answers.rate));
    println!();
    println!("medians of {rounds} rounds of {seconds} s, and of twice that");
    println!(
        "empty handler        {:>9} reads/s, p99 {:.2} ms",
        thousands(empty),
        of(0, |a| a.p99_ms)
    );
    println!(
        "reader, all cached   {:>9} reads/s, p99 {:.2} ms",
        thousands(cached),
        of(1, |a| a.p99_ms)
    );
    println!("cached / empty       {:>9.2}", cached / empty);
    let seen =
        |part: f64| median(steady.iter().map(|(_, late)| percentile(late.iter().copied(), part)));
    println!(
        "acknowledged to seen {:>9.1} ms median, {:.1} ms p99, {:.1} ms at most, at {} transfers/s (p99 of an answer {:.1} ms)",
        seen(0.5),
        seen(0.99),
        seen(1.0),
        thousands(median(steady.iter().map(|(answers, _)| answers.rate))),
        median(steady.iter().map(|(answers, _)| answers.p99_ms))
    );
    ExitCode::SUCCESS
}
