//! `benches/postgres.sh`: what is stored in PostgreSQL against a plain `COPY` of the same rows, and what that costs the ledger.

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use florin_benches::bank::{ACCOUNTS, Bank};
use florin_benches::cpu::{Parties, Used};
use florin_benches::figures::{median, micros_each, thousands};
use florin_benches::wrk::{Answers, Load};
use florin_tests::postgres::Postgres;

/// As a server of this size would be set up: everything that an answered commit wrote is on the disk.
const SETTINGS: &str = "
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 5min
";
/// Everything that write-behind fills; the checkpoint alone is not copied.
const TABLES: [&str; 9] = [
    "ledgers",
    "accounts",
    "balances",
    "runs",
    "transfers",
    "amount_blocks",
    "transactions",
    "balance_history",
    "keyed_records",
];
const CONNECTIONS: u32 = 64;
/// One run of the load that fills the journal while PostgreSQL is away.
const SLICE_SECONDS: u64 = 5;

struct Bench {
    postgres: Postgres,
    database: String,
    bank: Bank,
}

impl Bench {
    fn start() -> Bench {
        let postgres = Postgres::start_with(SETTINGS);
        let database = postgres.create_database();
        let url = postgres.url(&database);
        let bank = Bank::start(&[], &[("FLORIN_DATABASE_URL", &url)]);
        bank.create_accounts();
        bank.wait_stored();
        Bench { postgres, database, bank }
    }

    fn parties(&self) -> Parties {
        Parties { server: self.bank.server.pid(), postgres: Some(self.postgres.pid()) }
    }

    fn load(&self, seconds: u64) -> Answers {
        let base = self.bank.server.base();
        let words = vec![ACCOUNTS.to_string(), "uniform".to_owned()];
        let script = "transfers.lua";
        Load { base: &base, script, words, connections: CONNECTIONS, seconds }.run()
    }

    fn sql(&self, sql: &str) -> String {
        self.postgres.psql(&self.database, sql)
    }

    fn number(&self, sql: &str) -> u64 {
        self.sql(sql).parse().unwrap_or_else(|_| panic!("no number: {sql}"))
    }

    /// Bytes of WAL ever written.
    fn wal(&self) -> u64 {
        self.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
    }

    /// Bytes of tables and of indexes.
    fn sizes(&self) -> [u64; 2] {
        ["pg_table_size", "pg_indexes_size"].map(|size| {
            self.number(&format!(
                "SELECT sum({size}(c.oid))::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'florin' AND c.relkind = 'r'"
            ))
        })
    }

    /// PostgreSQL is gone while so many transfers are decided, each alone; then it comes back and is filled.
    fn outage(&self, records: u64) -> Drain {
        self.sql("CHECKPOINT");
        let (sizes, wal, before) = (self.sizes(), self.wal(), self.bank.durable());
        self.postgres.stop();
        while self.bank.durable() < before + records {
            let answers = self.load(SLICE_SECONDS);
            println!("  away: {} acknowledged/s", thousands(answers.rate));
        }
        let records = self.bank.durable() - before;
        self.postgres.start_again();
        let stretch = self.parties().begin();
        let mut shown = (Instant::now(), before);
        for part in 1..=10 {
            self.bank.wait_until("florin_store_seq", before + records * part / 10);
            let now = (Instant::now(), self.bank.stored());
            let rate = (now.1 - shown.1) as f64 / (now.0 - shown.0).as_secs_f64();
            println!("  caught up {}0 %: {}/s", part, thousands(rate));
            shown = now;
        }
        let used = self.parties().end(&stretch);
        let (wal, [tables, indexes]) = (self.wal() - wal, self.sizes());
        let bytes = [tables - sizes[0], indexes - sizes[1], wal];
        Drain { stored: Stored { transfers: records as f64, used }, bytes }
    }

    /// What was stored goes by `COPY` into a database whose tables a server has just made: their own indexes, nothing in them.
    fn plain_copy(&self) -> Stored {
        let plain = self.postgres.create_database();
        Bank::start(&[], &[("FLORIN_DATABASE_URL", &self.postgres.url(&plain))]).server.stop();
        let emptied = format!("TRUNCATE florin.{}", TABLES.join(", florin."));
        let _ = self.postgres.psql(&plain, &emptied);
        let file = |table| self.postgres.directory().join(format!("data/{table}.copy"));
        for table in TABLES {
            let path = file(table);
            self.sql(&format!("COPY florin.{table} TO '{}' (FORMAT binary)", path.display()));
        }
        self.sql("CHECKPOINT");
        let stretch = self.parties().begin();
        for table in TABLES {
            let path = file(table);
            let copy = format!("COPY florin.{table} FROM '{}' (FORMAT binary)", path.display());
            let _ = self.postgres.psql(&plain, &copy);
        }
        let used = self.parties().end(&stretch);
        let count = |database: &str| {
            let count = self.postgres.psql(database, "SELECT count(*) FROM florin.transfers");
            count.parse::<u64>().unwrap_or_else(|_| panic!("no count: {count}"))
        };
        let copied = count(&plain);
        assert_eq!(copied, count(&self.database), "the same rows");
        for table in TABLES {
            fs::remove_file(file(table)).expect("a copied table can be removed");
        }
        let _ = self.postgres.psql("postgres", &format!("DROP DATABASE {plain}"));
        Stored { transfers: copied as f64, used }
    }

    /// What is acknowledged in one run, while PostgreSQL does what it does.
    fn run(&self, name: &'static str, seconds: u64) -> Run {
        let stored = self.bank.stored();
        let stretch = self.parties().begin();
        let answers = self.load(seconds);
        let used = self.parties().end(&stretch);
        let stored = self.bank.stored() - stored;
        let lag = self.bank.durable() - self.bank.stored();
        let run = Run { name, answers, used, stored, lag };
        println!("  {run}");
        run
    }

    /// Stopped where it is, and then catching up what it missed: one after the other, so that both have the same day. Half as long,
    /// so that it is not done before the end.
    fn round(&self, seconds: u64) -> [Run; 2] {
        self.postgres.pause();
        let stopped = self.run("stopped", seconds);
        self.postgres.resume();
        let catching_up = self.run("catching up", (seconds / 2).max(1));
        if (catching_up.lag as f64) < catching_up.answers.rate {
            println!("  it had caught up before the end: less than a second was missing");
        }
        self.bank.wait_stored();
        [stopped, catching_up]
    }
}

/// How many transfers were stored, and what that took.
struct Stored {
    transfers: f64,
    used: Used,
}

impl Stored {
    fn rate(&self) -> f64 {
        self.transfers / self.used.elapsed.as_secs_f64()
    }

    /// Microseconds of PostgreSQL's processes for each.
    fn postgres_micros(&self) -> f64 {
        micros_each(self.used.postgres, self.transfers)
    }

    fn others(&self) -> f64 {
        self.used.processors(self.used.others())
    }
}

/// What catching up came to.
struct Drain {
    stored: Stored,
    /// Of tables, of indexes, of WAL.
    bytes: [u64; 3],
}

/// One run of the load.
struct Run {
    name: &'static str,
    answers: Answers,
    used: Used,
    /// Transfers that were stored meanwhile.
    stored: u64,
    /// Transfers that were not stored at its end.
    lag: u64,
}

impl Run {
    /// Processor time of the ledger for a transfer, all but its store thread.
    fn own_micros(&self) -> f64 {
        micros_each(self.used.server - self.used.store_thread, self.answers.count as f64)
    }

    fn load_micros(&self) -> f64 {
        micros_each(self.used.load, self.answers.count as f64)
    }

    /// Transfers for each second of a processor that neither PostgreSQL nor the store thread nor anybody else had.
    fn rate_left(&self) -> f64 {
        let Used { server, store_thread, load, idle, .. } = self.used;
        self.answers.count as f64 / (server - store_thread + load + idle).as_secs_f64()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Run { name, answers, used, stored, lag } = self;
        let part = |time: Duration| used.processors(time);
        write!(
            f,
            "{name:<12} {:>7} acknowledged/s, p50 {:.2} ms, p99 {:.2} ms; processors: florin {:.2} (its store thread {:.2}), \
             postgres {:.2}, load {:.2}, others {:.2}, idle {:.2}; {:.1} us of florin a transfer; stored {}, behind {}",
            thousands(answers.rate),
            answers.p50_ms,
            answers.p99_ms,
            part(used.server),
            part(used.store_thread),
            part(used.postgres),
            part(used.load),
            part(used.others()),
            part(used.idle),
            self.own_micros(),
            thousands(*stored as f64),
            thousands(*lag as f64),
        )
    }
}

fn main() -> ExitCode {
    let words: Result<Vec<u64>, _> = env::args().skip(1).map(|word| word.parse()).collect();
    let Ok(words) = words else {
        eprintln!("usage: postgres [RECORDS] [SECONDS] [ROUNDS], all numbers");
        return ExitCode::from(2);
    };
    let word = |at: usize, otherwise: u64| words.get(at).copied().unwrap_or(otherwise);
    let (records, seconds, rounds) = (word(0, 5_000_000), word(1, 10), word(2, 3).max(1));
    let bench = Bench::start();

    println!("an outage of {} transfers", thousands(records as f64));
    let drain = bench.outage(records);
    // What a vacuum or the server's checkpoint still has to do is not the next one's.
    thread::sleep(Duration::from_secs(2));
    println!("the same rows by COPY");
    let copied = bench.plain_copy();

    println!("PostgreSQL stopped, and catching up");
    let runs: Vec<[Run; 2]> = (0..rounds).map(|_| bench.round(seconds)).collect();
    report(&drain, &copied);
    report_runs(&runs);
    ExitCode::SUCCESS
}

fn report(drain: &Drain, copied: &Stored) {
    let Drain { stored, bytes } = drain;
    let used = &stored.used;
    let [tables, indexes, wal] = bytes.map(|bytes| bytes as f64 / stored.transfers);
    let each = |used: Duration| micros_each(used, stored.transfers);
    println!();
    println!(
        "caught up after an outage: {} transfers in {:.1} s",
        thousands(stored.transfers),
        used.elapsed.as_secs_f64()
    );
    for (name, stored) in [("stored and durable", stored), ("plain COPY", copied)] {
        println!(
            "  {name:<18} {:>9} transfers/s; {:.2} us of postgres each; others used {:.2} processors",
            thousands(stored.rate()),
            stored.postgres_micros(),
            stored.others()
        );
    }
    println!(
        "  stored / plain COPY {:>8.2} by the clock, {:.2} by the processor time of postgres",
        stored.rate() / copied.rate(),
        copied.postgres_micros() / stored.postgres_micros()
    );
    println!(
        "  of florin a transfer {:>7.2} us, {:.2} of them its store thread",
        each(used.server),
        each(used.store_thread)
    );
    println!(
        "  processors: florin {:.2}, postgres {:.2}, idle {:.2} (of that {:.2} waiting for the disk)",
        used.processors(used.server),
        used.processors(used.postgres),
        used.processors(used.idle),
        used.processors(used.waiting)
    );
    println!(
        "  bytes of PostgreSQL a transfer: {tables:.0} tables, {indexes:.0} indexes, and {wal:.0} of WAL"
    );
}

fn report_runs(runs: &[[Run; 2]]) {
    println!("one transfer a request, {CONNECTIONS} connections, medians of {} rounds", runs.len());
    let of = |figure: &dyn Fn(&Run) -> f64| {
        [0, 1].map(|which| median(runs.iter().map(|round| figure(&round[which]))))
    };
    let show = |name: &str, unit: &str, digits: usize, [stopped, catching_up]: [f64; 2]| {
        println!("  {name:<44} {stopped:>12.digits$} {catching_up:>12.digits$} {unit}");
    };
    println!("  {:<44} {:>12} {:>12}", "PostgreSQL", "stopped", "catching up");
    show("acknowledged", "transfers/s", 0, of(&|run| run.answers.rate));
    show("p50", "ms", 2, of(&|run| run.answers.p50_ms));
    show("p99", "ms", 2, of(&|run| run.answers.p99_ms));
    type Part = fn(&Used) -> Duration;
    let parties: [(&str, Part); 6] = [
        ("florin", |used| used.server),
        ("  of that its store thread", |used| used.store_thread),
        ("postgres", |used| used.postgres),
        ("load generator", |used| used.load),
        ("others", Used::others),
        ("idle", |used| used.idle),
    ];
    for (name, used) in parties {
        show(name, "processors", 2, of(&|run| run.used.processors(used(&run.used))));
    }
    show("florin without its store thread, each", "us", 2, of(&Run::own_micros));
    show("load generator, each", "us", 2, of(&Run::load_micros));
    let ratio = |figure: fn(&Run) -> f64| {
        median(runs.iter().map(|[stopped, catching_up]| figure(catching_up) / figure(stopped)))
    };
    println!("  catching up / stopped, acknowledged {:>22.2}", ratio(|run| run.answers.rate));
    println!("  the same for each second of a processor left  {:>12.2}", ratio(Run::rate_left));
}
