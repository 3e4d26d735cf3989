//! Kills the real program under load again and again, and holds what its clients were told against what is there afterwards.
//!
//! Started by `tests/crash`, which builds what it needs. Each round: a crowd of clients writes and reads over HTTP, the process is killed
//! at a random moment, and started again. What was not answered is asked again by id; then the whole round must be a history that can have happened
//! one after the other ([`florin_tests::history`]), and everything that was ever acknowledged must be answered as it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::TestBank;
use florin_tests::history::{Call, Checker, Event, Figures, Operation, Outcome};
use florin_tests::load::minor;
use florin_tests::postgres::Postgres;
use florin_tests::proxy::{Cut, Proxy};
use florin_tests::random::Random;
use florin_tests::redis::Redis;
use florin_tests::server::TestServer;
use florin_tests::witness::{self, Clock, Crowd, Witnesses};
use serde_json::{Value, json};

const USAGE: &str = "\
tests/crash [--kills N] [--seed S] [--minutes K] [--store sqlite|postgres] [--load mixed|singles]
            [--clients N] [--accounts N] [--longest-ms MS] [--segment-bytes SIZE] [--ready-ms MS]

  --kills N          ends after so many kills (100)
  --minutes K        ends after so many minutes, however many kills that were
  --seed S           chooses moments, accounts and amounts (1)
  --store            sqlite, or postgres with a Redis, which are killed, paused and cut off meanwhile (sqlite)
  --load             mixed: single transfers, batches, two phases and reads; singles: only the first (mixed)
  --clients N        so many at once (32)
  --accounts N       between so many accounts (10000)
  --longest-ms MS    the longest time under load before a kill (500)
  --segment-bytes S  of the journal (4MiB)
  --ready-ms MS      fails where a start takes longer

FLORIN_BIN names another program than the one that is built here.";

/// A graceful stop instead of every so-manieth kill.
const STOP_EVERY: u64 = 20;
/// `florin verify`, and every account as the store has it, after every so-manieth kill.
const VERIFY_EVERY: u64 = 25;
/// Transfers that are asked for again in one request.
const AGAIN_BATCH: usize = 1_000;
/// Of each round so many transfers are kept to be asked for again in all later ones, up to a bound.
const KEPT_A_ROUND: usize = 5;
const KEPT_MAX: usize = 1_000;
const HOT_ACCOUNTS: u64 = 8;

struct Settings {
    kills: u64,
    minutes: Option<u64>,
    seed: u64,
    store: Store,
    crowd: Crowd,
    longest_ms: u64,
    segment_bytes: String,
    ready_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Sqlite,
    Postgres,
}

impl Settings {
    fn read(words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut given = BTreeMap::new();
        let mut words = words;
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            given.insert(name, value);
        }
        let mut text =
            |name: &str, default: &str| given.remove(name).unwrap_or_else(|| default.to_owned());
        let number = |name: &str, value: String| {
            value.parse::<u64>().map_err(|_| format!("{name} {value} is no number"))
        };
        let store = match text("--store", "sqlite").as_str() {
            "sqlite" => Store::Sqlite,
            "postgres" => Store::Postgres,
            other => return Err(format!("--store {other} is unknown")),
        };
        let clients =
            u32::try_from(number("--clients", text("--clients", "32"))?.max(8)).unwrap_or(8);
        let accounts = number("--accounts", text("--accounts", "10000"))?.max(HOT_ACCOUNTS);
        let crowd = match text("--load", "mixed").as_str() {
            "mixed" => {
                let (batches, two_phase, readers) = (clients / 8, clients / 4, clients / 4);
                let singles = clients - batches - two_phase - readers;
                Crowd { accounts, hot_accounts: HOT_ACCOUNTS, singles, batches, two_phase, readers }
            }
            "singles" => Crowd {
                accounts,
                hot_accounts: accounts,
                singles: clients,
                batches: 0,
                two_phase: 0,
                readers: 0,
            },
            other => return Err(format!("--load {other} is unknown")),
        };
        let minutes = text("--minutes", "");
        let minutes = Some(minutes).filter(|it| !it.is_empty());
        let ready_ms = Some(text("--ready-ms", "")).filter(|it| !it.is_empty());
        let settings = Settings {
            kills: number(
                "--kills",
                text("--kills", if minutes.is_some() { "1000000" } else { "100" }),
            )?,
            minutes: minutes.map(|minutes| number("--minutes", minutes)).transpose()?,
            seed: number("--seed", text("--seed", "1"))?,
            store,
            crowd,
            longest_ms: number("--longest-ms", text("--longest-ms", "500"))?.max(1),
            segment_bytes: text("--segment-bytes", "4MiB"),
            ready_ms: ready_ms.map(|ready| number("--ready-ms", ready)).transpose()?,
        };
        match given.into_keys().next() {
            Some(unknown) => Err(format!("{unknown} is unknown")),
            None => Ok(settings),
        }
    }
}

fn main() -> ExitCode {
    let settings = match Settings::read(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut run = Run::begin(&settings);
    let ended = catch_unwind(AssertUnwindSafe(|| run.until_its_end()));
    let failure = match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => {
            Some("a client or the harness met something impossible, as told above".to_owned())
        }
    };
    println!("{}", run.tally.table());
    match failure {
        None => {
            println!("nothing acknowledged was lost, and nothing happened twice");
            ExitCode::SUCCESS
        }
        Some(failure) => {
            eprintln!("round {}, seed {}: {failure}", run.round, settings.seed);
            let kept = run.bank.server.keep();
            eprintln!("its directory is kept: {}", kept.display());
            ExitCode::FAILURE
        }
    }
}

/// What is counted.
#[derive(Default)]
struct Tally {
    kills: u64,
    kills_at_start: u64,
    stops: u64,
    acknowledged: u64,
    refused: u64,
    reads: u64,
    unknown: u64,
    had_happened: u64,
    asked_again: u64,
    verified: u64,
    troubles: BTreeMap<&'static str, u64>,
    ready_ms: Vec<u64>,
    took: Duration,
}

impl Tally {
    fn table(&self) -> String {
        let mut ready = self.ready_ms.clone();
        ready.sort_unstable();
        let p50 = ready.get(ready.len() / 2).copied().unwrap_or_default();
        let max = ready.last().copied().unwrap_or_default();
        let mut rows = vec![
            ("kills under load", self.kills.to_string()),
            ("kills during a start", self.kills_at_start.to_string()),
            ("stops under load", self.stops.to_string()),
            ("transfers acknowledged", self.acknowledged.to_string()),
            ("transfers refused", self.refused.to_string()),
            ("reads", self.reads.to_string()),
            ("requests without an answer", self.unknown.to_string()),
            ("of them had happened", self.had_happened.to_string()),
            ("outcomes asked for again", self.asked_again.to_string()),
            ("whole checks of disk and store", self.verified.to_string()),
            ("ready after a crash, p50", format!("{p50} ms")),
            ("ready after a crash, longest", format!("{max} ms")),
            ("time", format!("{} s", self.took.as_secs())),
        ];
        rows.extend(self.troubles.iter().map(|(trouble, count)| (*trouble, count.to_string())));
        let lines: Vec<String> =
            rows.iter().map(|(name, value)| format!("{name:<32} {value:>12}")).collect();
        lines.join("\n")
    }

    fn count(&mut self, operations: &[Operation]) {
        for operation in operations {
            match &operation.call {
                Call::Read(_) => self.reads += 1,
                Call::Command(command) => {
                    for event in &command.events {
                        match event.outcome {
                            Outcome::Created(_) => self.acknowledged += 1,
                            Outcome::Refused => self.refused += 1,
                        }
                    }
                }
            }
        }
    }
}

/// The servers behind the ledger, and the ways to them.
struct Behind {
    postgres: Postgres,
    redis: Redis,
    to_postgres: Proxy,
    to_redis: Proxy,
    trouble: Trouble,
}

/// What is wrong behind the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Nothing,
    PostgresPaused,
    PostgresKilled,
    PostgresCut,
    RedisPaused,
    RedisKilled,
    RedisCut,
}

impl Behind {
    fn start() -> Behind {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let (to_postgres, to_redis) = (Proxy::to(postgres.port()), Proxy::to(redis.port()));
        Behind { postgres, redis, to_postgres, to_redis, trouble: Trouble::Nothing }
    }

    fn begin_trouble(&mut self, random: &mut Random) -> &'static str {
        let (trouble, name) = match random.below(9) {
            0 => (Trouble::PostgresPaused, "PostgreSQL paused"),
            1 => (Trouble::PostgresKilled, "PostgreSQL killed"),
            2 => (Trouble::PostgresCut, "PostgreSQL cut off"),
            3 => (Trouble::RedisPaused, "Redis paused"),
            4 => (Trouble::RedisKilled, "Redis killed"),
            5 => (Trouble::RedisCut, "Redis cut off"),
            _ => (Trouble::Nothing, "nothing wrong behind"),
        };
        self.trouble = trouble;
        match trouble {
            Trouble::Nothing => {}
            Trouble::PostgresPaused => self.postgres.pause(),
            Trouble::PostgresKilled => self.postgres.kill(),
            // Every message of a batch ends with such a byte.
            Trouble::PostgresCut => self.to_postgres.cut_next(b"\0", Cut::Silence),
            Trouble::RedisPaused => self.redis.pause(),
            Trouble::RedisKilled => self.redis.kill(),
            Trouble::RedisCut => self.to_redis.cut_next(b"\r\n", Cut::Silence),
        }
        name
    }

    fn end_trouble(&mut self) {
        match self.trouble {
            Trouble::PostgresPaused => self.postgres.resume(),
            Trouble::PostgresKilled => self.postgres.start_again(),
            Trouble::RedisPaused => self.redis.resume(),
            Trouble::RedisKilled => self.redis.start_again(),
            // A connection that is cut stays cut, and the next ones are not.
            Trouble::Nothing | Trouble::PostgresCut | Trouble::RedisCut => {}
        }
        self.trouble = Trouble::Nothing;
    }
}

struct Run<'a> {
    settings: &'a Settings,
    bank: TestBank,
    behind: Option<Behind>,
    checker: Checker,
    clock: Clock,
    random: Random,
    round: u64,
    tally: Tally,
    /// Of earlier rounds, to be asked for again.
    kept: Vec<Event>,
}

impl<'a> Run<'a> {
    fn begin(settings: &'a Settings) -> Run<'a> {
        let behind = (settings.store == Store::Postgres).then(Behind::start);
        let variables = behind.as_ref().map(|behind| {
            let database = behind.postgres.create_database();
            let database = behind.postgres.url_at(behind.to_postgres.port(), &database);
            let redis = format!("redis://127.0.0.1:{}", behind.to_redis.port());
            vec![("FLORIN_DATABASE_URL", database), ("FLORIN_REDIS_URL", redis)]
        });
        let variables = variables.unwrap_or_default();
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let words = ["--segment-bytes", settings.segment_bytes.as_str()];
        let bank = TestBank::of(TestServer::start_with_variables(&words, &variables));
        for accounts in settings.crowd.accounts().chunks(2_000) {
            bank.check("POST /v1/accounts/batch", json!(accounts), "200");
        }
        Run {
            settings,
            bank,
            behind,
            checker: Checker::new((1..=settings.crowd.accounts).map(u128::from), Crowd::is_limited),
            clock: Clock::start(),
            random: Random::new(settings.seed),
            round: 0,
            tally: Tally::default(),
            kept: Vec::new(),
        }
    }

    fn until_its_end(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let over = |began: Instant, minutes: Option<u64>| {
            minutes.is_some_and(|minutes| began.elapsed() >= Duration::from_secs(minutes * 60))
        };
        while self.tally.kills + self.tally.kills_at_start < self.settings.kills
            && !over(began, self.settings.minutes)
        {
            self.round += 1;
            self.one_round()?;
            self.tally.took = began.elapsed();
            if self.round.is_multiple_of(VERIFY_EVERY) {
                println!(
                    "round {}: {} kills, {} acknowledged, {} s",
                    self.round,
                    self.tally.kills + self.tally.kills_at_start,
                    self.tally.acknowledged,
                    self.tally.took.as_secs()
                );
            }
        }
        if let Some(behind) = &mut self.behind {
            behind.end_trouble();
        }
        self.compare_all()?;
        self.bank.server.stop();
        self.verify();
        self.tally.took = began.elapsed();
        Ok(())
    }

    fn one_round(&mut self) -> Result<(), String> {
        if let Some(behind) = &mut self.behind {
            behind.end_trouble();
        }
        let pending = self.checker.pending();
        let name = self.settings.seed * 1_000_000 + self.round;
        let base = self.bank.server.base();
        let witnesses = Witnesses::start(self.settings.crowd, &base, name, self.clock, &pending);
        if let Some(behind) = &mut self.behind {
            let trouble = behind.begin_trouble(&mut self.random);
            *self.tally.troubles.entry(trouble).or_default() += 1;
        }
        thread::sleep(Duration::from_millis(1 + self.random.below(self.settings.longest_ms)));
        if self.round.is_multiple_of(STOP_EVERY) {
            self.bank.server.stop();
            self.tally.stops += 1;
        } else {
            self.bank.server.kill();
            self.tally.kills += 1;
        }
        let dead_ns = self.clock.now_ns();
        let testimony = witnesses.leave();
        let untroubled =
            self.behind.as_ref().is_none_or(|behind| behind.trouble == Trouble::Nothing);
        if self.round.is_multiple_of(VERIFY_EVERY) && untroubled {
            self.verify();
        }
        while self.random.below(4) == 0 {
            let moment = Duration::from_millis(self.random.below(150));
            self.bank.server.restart_and_kill_after(moment);
            self.tally.kills_at_start += 1;
        }
        self.start_again()?;
        let mut history = testimony.operations;
        for unanswered in testimony.unanswered {
            let (operation, had_happened) =
                unanswered.resolve(self.bank.client(), self.clock, dead_ns);
            self.tally.unknown += 1;
            self.tally.had_happened += u64::from(had_happened);
            history.push(operation);
        }
        self.tally.count(&history);
        self.checker.check(&history).map_err(|violation| violation.to_string())?;
        self.ask_again(&history)?;
        if self.round.is_multiple_of(VERIFY_EVERY) && untroubled {
            self.compare_all()
        } else {
            self.compare_hot()
        }
    }

    fn start_again(&mut self) -> Result<(), String> {
        let began = Instant::now();
        self.bank.restart();
        let took_ms = began.elapsed().as_millis() as u64;
        self.tally.ready_ms.push(took_ms);
        match self.settings.ready_ms.filter(|bound| took_ms > *bound) {
            None => Ok(()),
            Some(bound) => Err(format!("it was ready after {took_ms} ms, and {bound} are allowed")),
        }
    }

    /// Whatever was acknowledged is answered as it was, and what is kept of earlier rounds too.
    fn ask_again(&mut self, history: &[Operation]) -> Result<(), String> {
        let commands = history.iter().filter_map(|operation| match &operation.call {
            Call::Command(command) => Some(command),
            Call::Read(_) => None,
        });
        let events: Vec<&Event> = commands.flat_map(|command| &command.events).collect();
        let client = self.bank.client();
        let mut count = witness::ask_again(client, events.iter().copied(), AGAIN_BATCH)?;
        count += witness::ask_again(client, self.kept.iter(), AGAIN_BATCH)?;
        for _ in 0..KEPT_A_ROUND.min(events.len()) {
            let chosen = events[self.random.below(events.len() as u64) as usize].clone();
            count += witness::ask_again(client, std::iter::once(&chosen), 1)?;
            look_up(client, &chosen)?;
            if self.kept.len() < KEPT_MAX {
                self.kept.push(chosen);
            } else {
                let place = self.random.below(KEPT_MAX as u64) as usize;
                self.kept[place] = chosen;
            }
        }
        self.tally.asked_again += count;
        Ok(())
    }

    fn verify(&mut self) {
        let _ = self.bank.server.verify();
        self.tally.verified += 1;
    }

    /// The accounts that most transfers use are as they must be.
    fn compare_hot(&self) -> Result<(), String> {
        let shown: Vec<Value> = (1..=HOT_ACCOUNTS)
            .map(|id| self.bank.get(&format!("/v1/accounts/{id}?min_seq=0")))
            .collect();
        self.compare(&shown).map(|_| ())
    }

    /// Every account is as it must be, as the store tells it, and money is conserved.
    fn compare_all(&self) -> Result<(), String> {
        let shown = self.bank.list("/v1/accounts?limit=1000");
        let compared = self.compare(&shown)?;
        if compared != self.settings.crowd.accounts {
            return Err(format!("{compared} accounts are listed"));
        }
        let ledger = self.bank.get("/v1/ledgers/1");
        let sum = |name: &str| minor(&ledger["totals"][name]);
        let same = sum("debits_posted") == sum("credits_posted")
            && sum("debits_pending") == sum("credits_pending");
        if same { Ok(()) } else { Err(format!("money is not conserved: {ledger}")) }
    }

    fn compare(&self, shown: &[Value]) -> Result<u64, String> {
        let expected: BTreeMap<u128, _> = self.checker.accounts().collect();
        for account in shown {
            let told = witness::shown(account);
            let Some(expected) = expected.get(&told.account) else {
                return Err(format!("nobody made {account}"));
            };
            let figures = Figures::Whole(expected.balances);
            if told.version != expected.version || told.figures != figures {
                return Err(format!("{told:?} should be {expected:?}"));
            }
        }
        Ok(shown.len() as u64)
    }
}

/// A transfer by its id is there if it happened, at its time, and not if it was refused.
fn look_up(client: &florin_tests::http::Client, event: &Event) -> Result<(), String> {
    let reply = client.request(&format!("GET /v1/transfers/{}", event.id)).send(());
    let found = match reply.status {
        200 => Some(witness::time(&reply.json())),
        404 => None,
        _ => return Err(format!("{event:?} reads as {reply:?}")),
    };
    let expected = match event.outcome {
        Outcome::Created(time) => Some(time),
        Outcome::Refused => None,
    };
    if found == expected { Ok(()) } else { Err(format!("{event:?} reads as {reply:?}")) }
}
