//! What changes under a reader: it passes on commands that have no body, and shows an account's metadata as it is, from the cache too.

use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer_with_id, with};
use florin_tests::postgres::Postgres;
use florin_tests::redis::Redis;
use florin_tests::server::TestServer;
use serde_json::json;

#[test]
fn a_reader_passes_on_what_has_no_body_and_shows_metadata_as_it_is() {
    let postgres = Postgres::shared();
    let redis = Redis::start();
    let (database, cache) = (postgres.url(&postgres.create_database()), redis.url());
    let urls = [("FLORIN_DATABASE_URL", database.as_str()), ("FLORIN_REDIS_URL", cache.as_str())];
    let writer = TestServer::start_with_variables(&["--role", "write"], &urls);
    let base = writer.base();
    let writer = TestBank::of(writer);
    let words = ["--role", "read", "--writer-url", &base];
    let reader = TestBank::of(TestServer::start_with_variables(&words, &urls));
    writer.check("POST /v1/accounts", json!({"id": "1", "metadata": {"name": "first"}}), "201");
    writer.account(2);
    let pending = with(transfer_with_id(7, 1, 2, "3.00"), json!({"flags": ["pending"]}));
    writer.check("POST /v1/transfers", pending, "201");
    writer.check("POST /v1/transfers", transfer_with_id(8, 1, 2, "2.00"), "201");
    let send = |asked: &str| reader.client().request(asked).send(());
    let tried = send("POST /v1/transfers/7/void?dry_run=true");
    assert_eq!((tried.status, &tried.json()["dry_run"]), (200, &json!(true)), "{tried:?}");
    assert_eq!(send("POST /v1/transfers/7/void").status, 201);
    assert_eq!(send("POST /v1/transfers/8/reverse").json()["reverses"], "8");

    let deadline = Instant::now() + Duration::from_secs(60);
    // Read until the cache tells of it, again and again: what it tells is never older than what it says that it is of.
    for name in ["second", "third", "fourth", ""] {
        let metadata = if name.is_empty() { json!({}) } else { json!({"name": name}) };
        let asked = reader.client().request("POST /v1/accounts/1/metadata");
        let changed = asked.send(json!({"metadata": metadata}));
        assert_eq!((changed.status, &changed.json()["metadata"]), (200, &metadata), "{changed:?}");
        let seq = changed.seq();
        let waited = send(&format!("GET /v1/accounts/1?min_seq={seq}"));
        assert_eq!(waited.json()["metadata"], metadata, "{waited:?}");
        loop {
            let read = send("GET /v1/accounts/1");
            if read.seq() >= seq {
                assert_eq!(read.json(), changed.json(), "{read:?}");
                if read.header("florin-source") == Some("cache") {
                    break;
                }
            }
            assert!(Instant::now() < deadline, "never from the cache: {read:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
