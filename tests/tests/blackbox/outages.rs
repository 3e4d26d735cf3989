//! PostgreSQL behind the ledger comes and goes, and the ledger goes on.

mod changes;
mod refusals;
mod trouble;

use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::postgres::Postgres;
use florin_tests::server::TestServer;
use serde_json::{Value, json};

fn start(postgres: &Postgres, database: &str) -> TestBank {
    start_at(&postgres.url(database))
}

fn start_at(url: &str) -> TestBank {
    TestBank::of(TestServer::start_with_variables(&[], &[("FLORIN_DATABASE_URL", url)]))
}

/// A bank whose accounts 1 and 2 have reached the store.
fn start_with_accounts(postgres: &Postgres, database: &str) -> TestBank {
    let bank = start(postgres, database);
    bank.account(1);
    bank.account(2);
    await_store(&bank, "ok");
    bank
}

/// Transfers of 1.00 from account 1 to 2, each acknowledged, and what the store then says, which contains `reason`.
#[track_caller]
fn go_on_without_it(bank: &TestBank, word: &str, reason: &str, transfers: u64) -> Value {
    for _ in 0..transfers {
        bank.transfer(1, 2, "1.00");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ready = await_store(bank, word);
        let store = &ready["parts"]["store"];
        assert_eq!(ready["status"], "degraded", "{ready}");
        assert!(store["lag_records"].as_u64() >= Some(transfers), "{ready}");
        assert!(store["lag_bytes"].as_u64() > Some(0), "{ready}");
        // The first thing that it says may be that a connection broke.
        if store["error"].as_str().is_some_and(|error| error.contains(reason)) {
            return ready;
        }
        assert!(Instant::now() < deadline, "never {reason}: {ready}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The value of a metric without labels.
#[track_caller]
fn metric(bank: &TestBank, name: &str) -> f64 {
    let metrics = bank.client().request("GET /metrics").send(()).body;
    let line = metrics.lines().find(|line| line.split(' ').next() == Some(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

fn readiness(bank: &TestBank) -> Value {
    let reply = bank.client().request("GET /readyz").send(());
    assert_eq!(reply.status, 200, "a store that is away stops nothing: {reply:?}");
    reply.json()
}

/// Waits for a word about the store.
#[track_caller]
fn await_store(bank: &TestBank, word: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let ready = readiness(bank);
        let caught_up = word != "ok" || ready["parts"]["store"]["lag_records"] == 0;
        if ready["parts"]["store"]["status"] == word && caught_up {
            return ready;
        }
        assert!(Instant::now() < deadline, "the store is never {word}: {ready}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Stops the bank and holds everything that PostgreSQL has against the journal.
fn verify(mut bank: TestBank, transfers: u64) {
    bank.server.stop();
    let report = bank.server.verify().stdout;
    let line = report.lines().find(|line| line.starts_with("transfers")).unwrap_or_default();
    assert!(line.replace(',', "").ends_with(&format!(" {transfers}")), "{report}");
}

#[test]
fn transfers_go_on_while_postgresql_is_killed_and_it_catches_up() {
    let postgres = Postgres::start();
    let bank = start(&postgres, &postgres.create_database());
    bank.account(1);
    bank.account(2);
    for _ in 0..20 {
        bank.transfer(1, 2, "1.00");
    }
    await_store(&bank, "ok");
    postgres.kill();
    for id in 1001..=1200 {
        let reply = bank.client().request("POST /v1/transfers");
        assert_eq!(reply.send(transfer_with_id(id, 1, 2, "1.00")).status, 201);
    }
    let ready = await_store(&bank, "away");
    assert_eq!(ready["status"], "degraded", "{ready}");
    assert!(ready["parts"]["store"]["lag_records"].as_u64() >= Some(200), "{ready}");
    assert!(ready["parts"]["store"]["lag_bytes"].as_u64() > Some(0), "{ready}");
    // What was decided is still told by its id, and lists say that they can not be had.
    assert_eq!(bank.get("/v1/transfers/1100")["amount"], "1.00");
    let again = bank.client().request("POST /v1/transfers");
    assert_eq!(again.send(transfer_with_id(1100, 1, 2, "1.00")).status, 200);
    let lists = bank.client().request("GET /v1/transfers").send(());
    assert_eq!(lists.summary(), "503 store_away", "{lists:?}");
    assert!(metric(&bank, "florin_store_lag_records") >= 200.0);
    assert!(metric(&bank, "florin_store_lag_seconds") > 0.0);
    postgres.start_again();
    await_store(&bank, "ok");
    assert_eq!(bank.ids("/v1/transfers").len(), 220);
    verify(bank, 220);
}

#[test]
fn postgresql_may_be_absent_at_the_start_and_paused_for_a_while() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    postgres.stop();
    let bank = start(&postgres, &database);
    bank.account(1);
    bank.account(2);
    bank.transfer(1, 2, "1.00");
    await_store(&bank, "away");
    postgres.start_again();
    await_store(&bank, "ok");
    postgres.pause();
    for _ in 0..50 {
        bank.transfer(1, 2, "1.00");
    }
    postgres.resume();
    await_store(&bank, "ok");
    assert_eq!(bank.balance(2), "51.00");
    verify(bank, 51);
}

#[test]
fn a_second_writer_is_refused_and_one_that_takes_over_ends_the_first() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let mut bank = start(postgres, &database);
    bank.account(1);
    bank.account(2);
    bank.transfer(1, 2, "1.00");
    bank.server.stop();
    let second = TestServer::on_copy_of(&bank.server, &[]);
    let mut forced = TestServer::on_copy_of(&bank.server, &["--take-over"]);
    bank.restart();
    let ended = second.refused_restart();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = ["another process writes this store", "--take-over"];
    assert!(words.iter().all(|word| ended.stderr.contains(word)), "{ended:?}");
    assert_eq!(bank.client().request("GET /healthz").send(()).status, 200, "the first goes on");
    forced.restart();
    let stored = |sql: &str| postgres.psql(&database, sql).trim().to_owned();
    let count = "SELECT count(*) FROM florin.transfers";
    assert_eq!(stored(count), "1");
    // What the first one still takes is in its journal, and never reaches the store.
    let reply = bank.client().request("POST /v1/transfers").send(transfer(1, 2, "5.00"));
    assert!([201, 503].contains(&reply.status), "{reply:?}");
    assert_eq!(bank.server.ended_by_itself(), Some(1));
    let said = bank.server.stderr();
    assert!(said.contains("another writer has taken the store over"), "{said}");
    let taken = TestBank::of(forced);
    taken.transfer(1, 2, "7.00");
    await_store(&taken, "ok");
    assert_eq!(
        stored("SELECT string_agg(amount::text, ' ' ORDER BY timestamp) FROM florin.v_transfers"),
        "1.00 7.00"
    );
    verify(taken, 2);
}

#[test]
fn a_database_of_another_directory_is_refused() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let mut bank = start(postgres, &database);
    bank.account(1);
    bank.server.stop();
    let url = postgres.url(&database);
    let mut other = TestServer::start();
    other.stop();
    let words = ["--database-url", url.as_str()];
    let ended = TestServer::on_copy_of(&other, &words).refused_restart();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("belongs to the data directory"), "{ended:?}");
    assert!(!ended.stderr.contains(&url), "{ended:?}");
    let bad = TestServer::on_copy_of(&other, &["--database-url", "mysql://me:hush@db/x"])
        .refused_restart();
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.stderr.contains("postgres://") && !bad.stderr.contains("hush"), "{bad:?}");
}

#[test]
fn people_read_money_as_money() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let bank = start(postgres, &database);
    bank.post("/v1/ledgers", json!({"id": 2, "currency": "BTC", "scale": 8}));
    bank.account(1);
    bank.account(2);
    bank.post("/v1/accounts", json!({"id": "0190a000-0000-7000-8000-000000000001", "ledger": 2}));
    bank.transfer(1, 2, "12.50");
    await_store(&bank, "ok");
    let shown = |sql: &str| postgres.psql(&database, sql).trim().to_owned();
    assert_eq!(
        shown(
            "SELECT debit_account_id || ' ' || credit_account_id || ' ' || amount || ' ' || currency FROM florin.v_transfers"
        ),
        "1 2 12.50 USD"
    );
    assert_eq!(
        shown(
            "SELECT string_agg(id || ' ' || balance, ', ' ORDER BY timestamp) FROM florin.v_accounts"
        ),
        "1 -12.50, 2 12.50, 0190a000-0000-7000-8000-000000000001 0.00000000"
    );
    verify(bank, 1);
}
