//! `tests/soak`: an hour of mixed load, in which memory, latency and sizes must stay what they are or grow as computed, and at whose end
//! everything that was acknowledged must be there.

mod book;
mod load;
mod samples;
mod sizes;
mod stored;
mod verdict;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, io, mem, thread};

use florin_benches::bank::Bank;
use florin_benches::cpu;
use florin_benches::figures::thousands;
use florin_benches::machine;
use florin_benches::open_loop::OpenLoop;
use florin_tests::load::minor;
use florin_tests::postgres::Postgres;
use florin_tests::server::{TestServer, florin};
use florin_tests::wire::raise_file_limit;
use serde_json::{Value, json};

use book::{ACCOUNTS, Book, EMPTY_ACCOUNT, Stretch, TIMEOUT_MAX};
use load::{Client, Shared};
use samples::{Sample, Size};
use sizes::Account;
use stored::{Rows, StoreKind, Stored};
use verdict::{Judged, judged};

const USAGE: &str = "\
tests/soak [--minutes N] [--rate N] [--connections N] [--store sqlite|postgres] [--segment-bytes MIB]

  --minutes N          how long (60); a few show that everything works, and fail on memory, since caches are still filling
  --rate N             requests a second, which come whether others were answered or not (3000)
  --connections N      so many at once (256)
  --store              sqlite, or a PostgreSQL of its own (sqlite)
  --segment-bytes MIB  of the journal, in MiB (64)

FLORIN_BIN names another program than the one that is built here.";

/// At most so much between two samples.
const SAMPLE: Duration = Duration::from_secs(60);
/// A short run has so many samples all the same.
const SAMPLES_MIN: u32 = 12;
/// What PostgreSQL is set to: everything that an answered commit wrote is on the disk.
const SETTINGS: &str =
    "fsync = on\nsynchronous_commit = on\nshared_buffers = 512MB\nmax_wal_size = 4GB";

type Failure = Box<dyn std::error::Error>;

struct Settings {
    minutes: u64,
    rate: u64,
    connections: usize,
    store: StoreKind,
    segment_bytes: u64,
}

impl Settings {
    fn read(words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut given = BTreeMap::new();
        let mut words = words;
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            given.insert(name, value);
        }
        let mut number = |name: &str, otherwise: u64| match given.remove(name) {
            None => Ok(otherwise),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{name} {text} is no number above 0")),
            },
        };
        let (minutes, rate) = (number("--minutes", 60)?, number("--rate", 3_000)?);
        let connections = number("--connections", 256)? as usize;
        let segment_bytes = number("--segment-bytes", 64)? << 20;
        let store = match given.remove("--store").as_deref() {
            None | Some("sqlite") => StoreKind::Sqlite,
            Some("postgres") => StoreKind::Postgres,
            Some(other) => return Err(format!("--store {other} is unknown")),
        };
        match given.into_keys().next() {
            Some(unknown) => Err(format!("{unknown} is unknown")),
            None => Ok(Settings { minutes, rate, connections, store, segment_bytes }),
        }
    }
}

fn main() -> ExitCode {
    let settings = match Settings::read(env::args().skip(1)) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let _ = raise_file_limit();
    let mut soak = match Soak::begin(settings) {
        Ok(soak) => soak,
        Err(error) => {
            eprintln!("tests/soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    let judged = soak.run().unwrap_or_else(|error| vec![judged(false, error.to_string())]);
    println!();
    for Judged { is_right, what } in &judged {
        println!("{} {what}", if *is_right { "ok    " } else { "FAILED" });
    }
    if judged.iter().all(|it| it.is_right) {
        return ExitCode::SUCCESS;
    }
    eprintln!("its directory is kept: {}", soak.bank.server.keep().display());
    ExitCode::FAILURE
}

/// The server's counters when the load began.
#[derive(Clone, Copy)]
struct Base {
    bytes: u64,
    frames: u64,
    records: u64,
    expired: u64,
}

struct Soak {
    settings: Settings,
    bank: Bank,
    postgres: Option<(Postgres, String)>,
    stored: Stored,
    shared: Shared,
    base: Base,
    samples: Vec<Sample>,
}

impl Soak {
    fn begin(settings: Settings) -> Result<Soak, Failure> {
        let postgres = (settings.store == StoreKind::Postgres).then(|| {
            let postgres = Postgres::start_with(SETTINGS);
            let database = postgres.create_database();
            (postgres, database)
        });
        let url = postgres.as_ref().map(|(postgres, database)| postgres.url(database));
        let variables: Vec<(&str, &str)> =
            url.iter().map(|url| ("FLORIN_DATABASE_URL", url.as_str())).collect();
        let segments = format!("{}MiB", settings.segment_bytes >> 20);
        let words = ["--segment-bytes", segments.as_str()];
        let server = TestServer::start_with_variables(&words, &variables);
        let client = server.client();
        let bank = Bank { server, client };
        create_accounts(&bank)?;
        bank.wait_stored();
        let stored = match &postgres {
            None => Stored::sqlite(bank.server.data_dir())?,
            Some((postgres, database)) => Stored::postgres(postgres, database)?,
        };
        let base = Base {
            bytes: bank.metric("florin_journal_bytes_total"),
            frames: bank.metric("florin_journal_frames_total"),
            records: bank.metric("florin_journal_records_total"),
            expired: bank.metric("florin_transfers_expired_total"),
        };
        let shared = Shared::new(Book::new(RandomState::new().hash_one(0) >> 40));
        Ok(Soak { settings, bank, postgres, stored, shared, base, samples: Vec::new() })
    }

    fn run(&mut self) -> Result<Vec<Judged>, Failure> {
        let Settings { minutes, rate, connections, .. } = self.settings;
        println!("{}; commit {}", machine::describe(), machine::commit());
        println!(
            "{minutes} minutes, {} requests/s on {connections} connections, {} accounts, {:?}\n",
            thousands(rate as f64),
            thousands(ACCOUNTS as f64),
            self.settings.store,
        );
        self.load()?;
        self.settle_down()?;
        let Settings { segment_bytes, store, .. } = self.settings;
        let mut all = verdict::of_samples(&self.samples, segment_bytes, store);
        all.push(self.refusals());
        all.push(self.balances()?);
        all.push(self.expired());
        all.extend(self.stopped()?);
        Ok(all)
    }

    /// Everything is sent, and looked at meanwhile.
    fn load(&mut self) -> Result<(), Failure> {
        let Settings { minutes, rate, connections, .. } = self.settings;
        let address = self.bank.server.address();
        let load = OpenLoop {
            address,
            connections,
            seconds: minutes * 60,
            rate: Some(rate as f64),
            refusal: None,
        };
        let clients =
            (0..connections).map(|_| Client::new(self.shared.clone(), address.to_string()));
        let clients: Vec<Client> = clients.collect();
        let whole = Duration::from_secs(minutes * 60);
        let distance = SAMPLE.min(whole / SAMPLES_MIN);
        println!("{}", samples::HEAD);
        let began = Instant::now();
        let sender = thread::spawn(move || load.drive(clients).map(|_| ()));
        let mut next = distance;
        while !sender.is_finished() {
            thread::sleep(Duration::from_millis(100));
            self.shared.lock().expire();
            if let Some(failure) = self.shared.lock().failure.take() {
                return Err(failure.into());
            }
            if began.elapsed() >= next && next <= whole {
                self.sample(began)?;
                next += distance;
            }
        }
        sender.join().map_err(|_| "a client panicked")??;
        Ok(())
    }

    fn sample(&mut self, began: Instant) -> Result<(), Failure> {
        let after = began.elapsed();
        let last = self.samples.last();
        let since_last = after - last.map_or(Duration::ZERO, |last| last.after);
        let process = self.bank.server.pid();
        let size = Size::of(process, self.bank.server.data_dir())?;
        let size = Size { store: size.store + self.stored.bytes()?, ..size };
        let rows = self.stored.count()?;
        let since = |name: &str, base: u64| self.bank.metric(name) - base;
        let journal_bytes = since("florin_journal_bytes_total", self.base.bytes);
        let frames = since("florin_journal_frames_total", self.base.frames);
        let records = since("florin_journal_records_total", self.base.records);
        let mut book = self.shared.lock();
        let sample = Sample {
            after,
            since_last,
            stretch: mem::replace(&mut book.stretch, Stretch::new()),
            counts: book.counts,
            size,
            used: cpu::of_process(process),
            shard: cpu::of_threads(process, "florin-shard"),
            rows,
            journal_bytes,
            frames,
            records,
            journal_computed: verdict::journal_computed(
                book.record_bytes,
                book.counts.records,
                records,
                frames,
            ),
            row_bytes: book.row_bytes,
            durable_seq: self.bank.durable(),
            index_seq: self.bank.metric("florin_index_seq"),
        };
        drop(book);
        println!("{}", samples::row(&sample, last));
        self.samples.push(sample);
        Ok(())
    }

    /// What can expire does, and the store catches up. Nothing is sent.
    fn settle_down(&mut self) -> Result<(), Failure> {
        thread::sleep(Duration::from_secs(u64::from(TIMEOUT_MAX) + 2));
        self.shared.lock().expire();
        self.bank.wait_stored();
        Ok(())
    }

    fn refusals(&self) -> Judged {
        let refused: u64 = self.samples.iter().map(|it| it.stretch.refused).sum();
        let counts = self.shared.lock().counts;
        let told = format!(
            "{} transfers acknowledged ({} under keys, {} pending, {} posted or voided later), {} refused by the rules, {} asked for again; {refused} times told to come again",
            thousands(counts.transfers as f64),
            thousands(counts.keyed as f64),
            thousands(counts.reserved as f64),
            thousands(counts.settled as f64),
            thousands(counts.rejected as f64),
            thousands(counts.again as f64),
        );
        judged(refused == 0, told)
    }

    fn expired(&self) -> Judged {
        let expired = self.bank.metric("florin_transfers_expired_total") - self.base.expired;
        let counts = self.shared.lock().counts;
        let told = format!("{} pending transfers expired, of {}", expired, counts.to_expire);
        judged(expired == counts.to_expire, told)
    }

    /// Every account is as the answers say, and money is conserved.
    fn balances(&self) -> Result<Judged, Failure> {
        let book = self.shared.lock();
        let mut wrong = 0;
        let mut sum = [0_u128; 4];
        for id in 1..=ACCOUNTS {
            let reply = self.bank.client.request(&format!("GET /v1/accounts/{id}")).send(());
            let shown = figures(&reply.json());
            let Account { debits_posted, credits_posted, debits_pending, credits_pending, .. } =
                book.expected(id);
            let expected = [debits_posted, credits_posted, debits_pending, credits_pending];
            wrong += u64::from(shown != expected.map(u128::from));
            sum.iter_mut().zip(shown).for_each(|(sum, figure)| *sum += figure);
        }
        let ledger = self.bank.client.request("GET /v1/ledgers/1").send(()).json();
        let is_conserved =
            sum[0] == sum[1] && sum[2] == sum[3] && figures(&ledger["totals"]) == sum;
        let told = format!(
            "{wrong} of {} accounts are not as acknowledged; debits posted {}, credits {}, pending {} and {}; {} transfers are still pending",
            thousands(ACCOUNTS as f64),
            sum[0],
            sum[1],
            sum[2],
            sum[3],
            book.pending()
        );
        Ok(judged(wrong == 0 && is_conserved, told))
    }

    /// The store has what was acknowledged and nothing else, and `florin verify` finds nothing wrong.
    fn stopped(&mut self) -> Result<[Judged; 3], Failure> {
        let began = Instant::now();
        self.bank.server.stop();
        let stop = judged(true, format!("stopped after {:.1} s", began.elapsed().as_secs_f64()));
        let (count, digest) = {
            let book = self.shared.lock();
            (book.counts.transfers, book.digest)
        };
        let rows = self.stored.rows()?;
        let told = format!(
            "the store has {} transfers; {}",
            thousands(rows.count as f64),
            if rows.digest == digest {
                "each as it was acknowledged"
            } else {
                "NOT those that were acknowledged"
            }
        );
        let stored = judged(rows == Rows { count, digest }, told);
        let began = Instant::now();
        let mut verify = florin(&["verify", "--data-dir", self.bank.server.data_dir_word()]);
        if let Some((postgres, database)) = &self.postgres {
            verify.env("FLORIN_DATABASE_URL", postgres.url(database));
        }
        let ended = verify.output()?;
        let mut told = format!("florin verify, {:.0} s", began.elapsed().as_secs_f64());
        if !ended.status.success() {
            told = format!("{told}: {}", String::from_utf8_lossy(&ended.stderr));
        }
        Ok([stop, stored, judged(ended.status.success(), told)])
    }
}

/// Debits and credits posted and pending, in minor units.
fn figures(shown: &Value) -> [u128; 4] {
    ["debits_posted", "credits_posted", "debits_pending", "credits_pending"]
        .map(|name| minor(&shown[name]))
}

fn create_accounts(bank: &Bank) -> io::Result<()> {
    let accounts: Vec<Value> = (1..=EMPTY_ACCOUNT)
        .map(|id| match id {
            1 => json!({"id": id, "flags": ["history"]}),
            EMPTY_ACCOUNT => json!({"id": id, "flags": ["debits_must_not_exceed_credits"]}),
            _ => json!({"id": id}),
        })
        .collect();
    for batch in accounts.chunks(5_000) {
        let reply = bank.client.request("POST /v1/accounts/batch").send(json!(batch));
        if reply.status != 200 {
            return Err(io::Error::other(format!("{reply:?}")));
        }
    }
    Ok(())
}
