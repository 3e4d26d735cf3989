//! `benches/batches.sh`: how many transfers a second go through the real server in batches of 8,190, as JSON and in binary, sent by the client
//! library; and what each of them costs the server and the client.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use florin_benches::bank::{ACCOUNTS, Bank};
use florin_benches::cpu;
use florin_benches::figures::{median, micros_each, percentile, thousands};
use florin_client::{AccountId, Amount, Client, EVENTS_MAX, Form, Settings, Transfer, TransferId};
use florin_tests::random::Random;

/// Batches on their way at once: one is written, one decided, one synced, one answered.
const IN_FLIGHT: u64 = 4;
/// A store that does not answer: the journal keeps what it misses, and the figures are those of the way to the acknowledgement alone.
const AWAY: (&str, &str) = ("FLORIN_DATABASE_URL", "postgres://florin@127.0.0.1:1/florin");
/// The account that every transfer of a hot run debits.
const HOT: u128 = 1;

/// What a run sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    form: Form,
    accounts: Accounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accounts {
    Uniform,
    OneHot,
}

/// What a run came to.
struct Run {
    per_second: f64,
    /// Of each batch, in seconds.
    latencies: Vec<f64>,
    server_micros: f64,
    client_micros: f64,
}

impl Kind {
    fn name(self) -> String {
        let form = match self.form {
            Form::Json => "JSON",
            Form::Binary => "binary",
        };
        let accounts = match self.accounts {
            Accounts::Uniform => "uniform",
            Accounts::OneHot => "one hot account",
        };
        format!("{form}, {accounts}")
    }

    fn batch(self, first: u64, random: &mut Random) -> Vec<Transfer> {
        let mut transfer = |number: u64| {
            let account = |random: &mut Random| u128::from(random.below(ACCOUNTS - 1)) + 2;
            let credit = account(random);
            let debit = match self.accounts {
                Accounts::OneHot => HOT,
                Accounts::Uniform => loop {
                    let debit = account(random);
                    if debit != credit {
                        break debit;
                    }
                },
            };
            Transfer::new(AccountId(debit), AccountId(credit), Amount::from_minor(1))
                .with_id(TransferId(u128::from(first + number)))
        };
        (0..EVENTS_MAX as u64).map(&mut transfer).collect()
    }
}

/// Sends batches for so long; ids go on from `next`.
async fn run(bank: &Bank, kind: Kind, length: Duration, next: &Arc<AtomicU64>) -> Run {
    let settings = Settings { form: kind.form, ..Settings::new(bank.server.base()) };
    let client = Client::new(settings).expect("the settings are fine");
    let (server, own) = (bank.server.pid(), std::process::id());
    let used = (cpu::of_process(server), cpu::of_process(own));
    let begun = Instant::now();
    let senders: Vec<_> = (0..IN_FLIGHT)
        .map(|number| {
            let (client, next) = (client.clone(), Arc::clone(next));
            tokio::spawn(async move {
                let mut random = Random::new(number);
                let mut latencies = Vec::new();
                while begun.elapsed() < length {
                    let first = next.fetch_add(EVENTS_MAX as u64, Ordering::Relaxed);
                    let batch = kind.batch(first, &mut random);
                    let sent = Instant::now();
                    let outcomes = client.transfer_batch(&batch).await.expect("it is answered");
                    latencies.push(sent.elapsed().as_secs_f64());
                    let created = |it: &&Result<_, _>| it.is_ok();
                    assert_eq!(outcomes.iter().filter(created).count(), EVENTS_MAX);
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for sender in senders {
        latencies.extend(sender.await.expect("a sender does not panic"));
    }
    let elapsed = begun.elapsed();
    let transfers = (latencies.len() * EVENTS_MAX) as f64;
    Run {
        per_second: transfers / elapsed.as_secs_f64(),
        latencies,
        server_micros: micros_each(cpu::of_process(server).saturating_sub(used.0), transfers),
        client_micros: micros_each(cpu::of_process(own).saturating_sub(used.1), transfers),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise| words.get(index).map_or(Ok(otherwise), |it| it.parse());
    let store = words.get(2).map_or("stored", String::as_str);
    let (seconds, rounds) = match (number(0, 4_u64), number(1, 5_u64), store) {
        (Ok(seconds @ 1..), Ok(rounds @ 1..), "stored" | "away") => (seconds, rounds),
        _ => {
            eprintln!("batches [seconds of one run] [rounds] [stored|away]");
            return ExitCode::from(2);
        }
    };
    let is_stored = store == "stored";
    let bank = Bank::start(&[], if is_stored { &[] } else { &[AWAY] });
    bank.create_accounts();
    let next = Arc::new(AtomicU64::new(1 << 40));
    let kinds = [Form::Json, Form::Binary].into_iter().flat_map(|form| {
        [Accounts::Uniform, Accounts::OneHot].map(|accounts| Kind { form, accounts })
    });
    let kinds: Vec<Kind> = kinds.collect();
    let mut runs: Vec<Vec<Run>> = kinds.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (kind, runs) in kinds.iter().zip(&mut runs) {
            // None is slowed down by what the one before left to do for the store.
            if is_stored {
                bank.wait_stored();
            }
            let run = run(&bank, *kind, Duration::from_secs(seconds), &next).await;
            eprintln!("round {round}: {}: {}/s", kind.name(), thousands(run.per_second));
            runs.push(run);
        }
    }
    println!(
        "| batches of 8,190 | transfers/s | p50 ms | p99 ms | server µs each | client µs each |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (kind, runs) in kinds.iter().zip(&runs) {
        let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
        let at = |part| 1e3 * median(runs.iter().map(|it| percentile(it.latencies.clone(), part)));
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.2} | {:.2} |",
            kind.name(),
            thousands(of(|run| run.per_second)),
            at(0.5),
            at(0.99),
            of(|run| run.server_micros),
            of(|run| run.client_micros),
        );
    }
    ExitCode::SUCCESS
}
