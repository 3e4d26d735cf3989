//! A server that answers, and takes nothing: read-only, crowded, out of disk, or cut off in the middle of a commit. It passes by itself.

use florin_tests::bank::{TestBank, transfer};
use florin_tests::fault::{Fault, Wrong};
use florin_tests::postgres::Postgres;
use florin_tests::proxy::{Cut, Proxy};
use florin_tests::server::{LARGE_SEGMENTS, TestServer};
use serde_json::json;

use super::{await_store, go_on_without_it, metric, start_at, start_with_accounts, verify};

#[test]
fn a_database_that_is_made_read_only_is_waited_for() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let mut bank = start_with_accounts(&postgres, &database);
    postgres.set("default_transaction_read_only", "on");
    go_on_without_it(&bank, "away", "read-only", 20);
    // What it has can still be read.
    let read = bank.client().request("GET /v1/accounts").send(()).expect("200").json();
    let found: Vec<_> = read["data"].as_array().into_iter().flatten().map(|it| &it["id"]).collect();
    assert_eq!(found, ["2", "1"], "{read}");
    // It may be so at the start, before anything is claimed.
    bank.server.kill();
    bank.restart();
    go_on_without_it(&bank, "away", "read-only", 20);
    postgres.set("default_transaction_read_only", "off");
    await_store(&bank, "ok");
    verify(bank, 40);
}

#[test]
fn a_database_without_connections_left_is_waited_for() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let mut bank = start_with_accounts(&postgres, &database);
    let crowd = postgres.crowd(&database);
    go_on_without_it(&bank, "away", "too many clients", 20);
    let lists = bank.client().request("GET /v1/transfers").send(());
    assert_eq!(lists.summary(), "503 store_away", "{lists:?}");
    bank.server.kill();
    bank.restart();
    go_on_without_it(&bank, "away", "too many clients", 20);
    drop(crowd);
    await_store(&bank, "ok");
    assert_eq!(bank.ids("/v1/transfers").len(), 40);
    verify(bank, 40);
}

#[test]
fn a_database_whose_disk_is_full_is_waited_for() {
    let fault = Fault::build("/base/");
    let postgres = Postgres::start_on("", &fault.variables());
    let url = postgres.url(&postgres.create_database());
    let variables = [("FLORIN_DATABASE_URL", url.as_str())];
    let bank = TestBank::of(TestServer::start_with_variables(&LARGE_SEGMENTS, &variables));
    bank.account(1);
    bank.account(2);
    await_store(&bank, "ok");
    // What its files have is still theirs, so that room runs out in the middle of a batch.
    fault.begin(Wrong::Full);
    let batch: Vec<_> = (0..8_000).map(|_| transfer(1, 2, "1.00")).collect();
    for _ in 0..4 {
        let done = bank.check("POST /v1/transfers/batch", json!(batch), "200").json();
        assert_eq!(done["created"], 8_000);
    }
    let ready = go_on_without_it(&bank, "away", "No space left on device", 1);
    assert!(ready["parts"]["store"]["away_seconds"].is_number(), "{ready}");
    assert!(metric(&bank, "florin_store_failures_total") > 0.0);
    fault.end();
    await_store(&bank, "ok");
    verify(bank, 32_001);
    drop(postgres);
}

/// Sends transfers until a batch meets the cut.
#[track_caller]
fn until_cut(bank: &TestBank, proxy: &Proxy, cuts: usize) -> u64 {
    for sent in 1..1_000 {
        bank.transfer(1, 2, "1.00");
        if proxy.cuts() == cuts {
            return sent;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no batch meets the cut");
}

#[test]
fn a_commit_whose_answer_is_lost_is_asked_for_and_not_done_again() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let proxy = Proxy::to(postgres.port());
    let bank = start_at(&postgres.url_at(proxy.port(), &database));
    bank.account(1);
    bank.account(2);
    await_store(&bank, "ok");
    let mut transfers = 0;
    for (cuts, cut) in [(1, Cut::After), (2, Cut::Before), (3, Cut::After)] {
        let stood: u64 = seq(postgres, &database);
        proxy.cut_next(b"COMMIT\0", cut);
        transfers += until_cut(&bank, &proxy, cuts);
        // It goes on by itself, and says no more that anything is wrong.
        let ready = await_store(&bank, "ok");
        assert_eq!(ready["parts"]["store"]["seq"], json!(3 + transfers), "{ready}");
        assert!(seq(postgres, &database) > stood);
        let count = postgres.psql(&database, "SELECT count(*) FROM florin.transfers");
        assert_eq!(count, transfers.to_string(), "after {cut:?}");
    }
    // What was in doubt was noticed: each broken commit is a failure that was tried again.
    assert!(metric(&bank, "florin_store_failures_total") >= 3.0);
    verify(bank, transfers);
}

fn seq(postgres: &Postgres, database: &str) -> u64 {
    postgres.psql(database, "SELECT seq FROM florin.checkpoint").parse().expect("a position")
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_the_rows_leaves_nothing_behind() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let proxy = Proxy::to(postgres.port());
    let bank = start_at(&postgres.url_at(proxy.port(), &database));
    bank.account(1);
    bank.account(2);
    await_store(&bank, "ok");
    proxy.cut_next(b"INSERT INTO transfers", Cut::After);
    let transfers = until_cut(&bank, &proxy, 1);
    await_store(&bank, "ok");
    verify(bank, transfers);
}
