//! Processes of role `read` and `write`: who answers what, and from where.

use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer};
use florin_tests::http::{Client, Reply};
use florin_tests::postgres::Postgres;
use florin_tests::redis::Redis;
use florin_tests::server::TestServer;
use serde_json::json;

/// Asks until the answer comes from there.
#[track_caller]
fn from(client: &Client, request: &str, source: &str) -> Reply {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = client.request(request).send(());
        if reply.status == 200 && reply.header("florin-source") == Some(source) {
            return reply;
        }
        assert!(Instant::now() < deadline, "{request} is never from {source}: {reply:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn readers_answer_from_cache_and_store_and_pass_commands_on() {
    let postgres = Postgres::shared();
    let mut redis = Redis::start();
    let (database, cache) = (postgres.url(&postgres.create_database()), redis.url());
    let urls = [("FLORIN_DATABASE_URL", database.as_str()), ("FLORIN_REDIS_URL", cache.as_str())];
    let writer = TestServer::start_with_variables(&["--role", "write"], &urls);
    let base = writer.base();
    let bank = TestBank::of(writer);
    let words = ["--role", "read", "--writer-url", &base];
    let reader = TestServer::start_with_variables(&words, &urls);
    let reader = TestBank::of(reader);
    reader.account(1);
    reader.account(2);
    // The answer of the writer is passed on, with its position and whether it is told again.
    let sent =
        json!({"id": "7", "debit_account_id": "1", "credit_account_id": "2", "amount": "3.00"});
    let first = reader.client().request("POST /v1/transfers").send(sent.clone());
    assert_eq!(
        (first.status, first.header("location")),
        (201, Some("/v1/transfers/7")),
        "{first:?}"
    );
    let again = reader.client().request("POST /v1/transfers").send(sent);
    assert!(again.status == 200 && again.is_replayed(), "{again:?}");
    let refused = reader.client().request("POST /v1/transfers").send(transfer(1, 9, "1.00"));
    assert_eq!(refused.summary(), "422 credit_account_not_found", "{refused:?}");
    let keyed = reader.client().request("POST /transaction").header("idempotency-key", "k");
    let keyed = keyed.send(json!({"from": 1, "to": 2, "amount": 1})).json();
    let again = reader.client().request("POST /transaction").header("idempotency-key", "k");
    assert_eq!(again.send(json!({"from": 1, "to": 2, "amount": 1})).json(), keyed);
    // A read that waits for a position shows what was acknowledged there.
    let seq = bank.client().request("POST /v1/transfers").send(transfer(1, 2, "6.00")).seq();
    let read = reader.client().request(&format!("GET /v1/accounts/2?min_seq={seq}")).send(());
    assert_eq!(read.json()["balance"], "10.00", "{read:?}");
    assert!(read.seq() >= seq, "{read:?}");
    let cached = from(reader.client(), "GET /balance/2", "cache").json();
    assert_eq!(cached, json!({"account_id": 2, "balance": 10.0, "cached": true}));
    let list =
        reader.client().request(&format!("GET /v1/accounts/2/transfers?min_seq={seq}")).send(());
    assert_eq!(list.json()["data"].as_array().map(Vec::len), Some(3), "{list:?}");
    assert_eq!(list.header("florin-source"), Some("store"));
    // The writer leaves lists to readers.
    bank.check("GET /v1/transfers", (), "405 write_only");
    assert_eq!(bank.balance(2), "10.00");
    // Without the cache the store answers, and the cache comes back by itself.
    redis.kill();
    let read = from(reader.client(), &format!("GET /v1/accounts/2?min_seq={seq}"), "store");
    assert_eq!(read.json()["balance"], "10.00");
    bank.transfer(1, 2, "1.00");
    redis.start_again();
    bank.transfer(1, 2, "1.00");
    let deadline = Instant::now() + Duration::from_secs(30);
    while from(reader.client(), "GET /v1/accounts/2", "cache").json()["balance"] != "12.00" {
        assert!(Instant::now() < deadline, "the cache does not follow");
        bank.transfer(2, 1, "0.00");
    }
    let metrics = reader.client().request("GET /metrics").send(()).body;
    assert!(metrics.contains("florin_cache_reads_total{result=\"hit\"}"), "{metrics}");
}

#[test]
fn a_reader_without_a_writer_only_reads() {
    let postgres = Postgres::shared();
    let database = postgres.url(&postgres.create_database());
    let variables = [("FLORIN_DATABASE_URL", database.as_str())];
    let reader = TestServer::start_with_variables(&["--role", "read"], &variables);
    let reader = TestBank::of(reader);
    // Nobody has filled the store yet.
    let ready = reader.client().request("GET /readyz").send(());
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("away")), "{ready:?}");
    assert_eq!(reader.client().request("GET /healthz").send(()).status, 200);
    reader.check("POST /v1/transfers", transfer(1, 2, "1.00"), "405 read_only");
    let bank = TestBank::of(TestServer::start_with_variables(&[], &variables));
    bank.account(1);
    let found = from(reader.client(), "GET /v1/accounts?min_seq=2", "store");
    assert_eq!(found.json()["data"][0]["id"], "1");
    let late = reader.client().request("GET /v1/accounts/1?min_seq=999").send(());
    assert_eq!(late.summary(), "503 not_yet", "{late:?}");
    let lost = TestServer::start_with_variables(
        &["--role", "read", "--writer-url", "http://127.0.0.1:9"],
        &variables,
    );
    TestBank::of(lost).check("POST /v1/transfers", transfer(1, 2, "1.00"), "503 writer_away");
}
