//! Accounts are changed under load while the store is away: what was decided is answered without it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{transfer, transfer_with_id};
use florin_tests::postgres::Postgres;
use serde_json::{Value, json};

use super::{await_store, start};

const LIMIT: &str = "POST /v1/accounts/1/overdraft_limit";
const METADATA: &str = "POST /v1/accounts/1/metadata";

#[test]
fn a_busy_account_is_changed_while_the_store_is_away() {
    let postgres = Postgres::start();
    let bank = start(&postgres, &postgres.create_database());
    bank.account_with(json!({"id": "1"}), &["debits_must_not_exceed_credits"]);
    bank.account(2);
    bank.check("POST /v1/transfers", transfer_with_id(77, 2, 1, "1.00"), "201");
    await_store(&bank, "ok");
    postgres.kill();
    let changed = |path: &str, body: Value| {
        let reply = bank.client().request(path).send(body);
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    };
    let key = [("Idempotency-Key", "l")];
    let first = json!({"overdraft_limit": "5.00"});
    bank.check_with(LIMIT, &key, first.clone(), "200");
    let done = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(60);
    thread::scope(|scope| {
        for _ in 0..8 {
            let client = bank.server.client();
            let done = &done;
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) && Instant::now() < deadline {
                    let reply = client.request("POST /v1/transfers").send(transfer(2, 1, "0.01"));
                    assert_eq!(reply.status, 201, "{reply:?}");
                }
            });
        }
        // First without metadata, then with such as only the journal has.
        let mut metadata = json!({});
        for number in 1..=200 {
            let limit = format!("{number}.00");
            let account = changed(LIMIT, json!({"overdraft_limit": limit}));
            assert_eq!(account["overdraft_limit"], json!(limit), "{account}");
            assert_eq!(account["metadata"], metadata, "{account}");
            if number >= 100 && number % 20 == 0 {
                metadata = json!({"number": number});
                let account = changed(METADATA, json!({"metadata": metadata}));
                assert_eq!(account["metadata"], metadata, "{account}");
                assert_eq!(account["overdraft_limit"], json!(limit), "{account}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    // What it was the first time stands in the store.
    let old = bank.check("GET /v1/transfers/77", (), "503 store_away").json();
    assert_eq!(old["id"], "77", "{old}");
    let again = bank.check_with(LIMIT, &key, first.clone(), "503 history_away").json();
    assert_eq!(again["id"], "1", "{again}");
    postgres.start_again();
    await_store(&bank, "ok");
    let again = bank.check_with(LIMIT, &key, first, "200 replayed").json();
    assert_eq!((&again["overdraft_limit"], &again["metadata"]), (&json!("5.00"), &json!({})));
}
