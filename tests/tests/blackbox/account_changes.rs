//! What changes an account beside transfers: its overdraft limit and its metadata.

use florin_tests::bank::{TestBank, transfer};
use florin_tests::server::{SMALL_SEGMENTS, TestServer};
use serde_json::{Value, json};

const LIMIT: &str = "POST /v1/accounts/1/overdraft_limit";
const METADATA: &str = "POST /v1/accounts/1/metadata";

fn bank() -> TestBank {
    let bank = TestBank::of(TestServer::start_with(&SMALL_SEGMENTS));
    let fields = json!({"id": "1", "code": 7, "user_data_64": "5", "metadata": {"name": "Alice"}});
    bank.account_with(fields, &["debits_must_not_exceed_credits", "history"]);
    bank.account(2);
    bank
}

fn limit(sum: &str) -> Value {
    json!({"overdraft_limit": sum})
}

#[test]
fn an_overdraft_limit_is_changed_at_any_time() {
    let mut bank = bank();
    bank.check("POST /v1/transfers", transfer(1, 2, "1.00"), "422 exceeds_credits");
    let reply = bank.check(LIMIT, limit("100.00"), "200");
    let account = reply.json();
    assert_eq!(account, bank.get("/v1/accounts/1"));
    for (field, expected) in [
        ("overdraft_limit", json!("100.00")),
        ("available", json!("100.00")),
        ("version", json!(1)),
        ("code", json!(7)),
        ("metadata", json!({"name": "Alice"})),
    ] {
        assert_eq!(account[field], expected, "{field} of {account}");
    }
    bank.transfer(1, 2, "80.00");
    // Below what is used: it only stops further use.
    let lowered = bank.check(LIMIT, limit("50"), "200").json();
    assert_eq!((&lowered["balance"], &lowered["available"]), (&json!("-80.00"), &json!("-30.00")));
    let reply = bank.check("POST /v1/transfers", transfer(1, 2, "0.01"), "422 exceeds_credits");
    assert_eq!(reply.json()["available"], "-30.00");
    bank.transfer(2, 1, "40.00");
    bank.transfer(1, 2, "10.00");

    bank.check(LIMIT, limit("1.001"), "400 overdraft_limit");
    bank.check(LIMIT, limit("-1"), "400 overdraft_limit");
    bank.check(LIMIT, json!({}), "400 overdraft_limit");
    bank.check(LIMIT, json!({"overdraft_limit": 1, "a": 1}), "400 a");
    bank.check(
        "POST /v1/accounts/2/overdraft_limit",
        limit("1"),
        "422 overdraft_limit_must_be_zero",
    );
    bank.check("POST /v1/accounts/2/overdraft_limit", limit("0"), "200");
    let missing = "404 account_to_change_not_found";
    bank.check("POST /v1/accounts/9/overdraft_limit", limit("1"), missing);

    let key = [("Idempotency-Key", "l")];
    let first = bank.check_with(LIMIT, &key, limit("60.00"), "200");
    bank.transfer(2, 1, "1.00");
    let again = bank.check_with(LIMIT, &key, limit("60"), "200 replayed");
    assert_eq!(again.body, first.body, "as it was then");
    bank.check_with(LIMIT, &key, limit("61.00"), "422 idempotency_key_reused");

    for _ in 0..2 {
        assert_eq!(bank.get("/v1/accounts/1")["overdraft_limit"], "60.00");
        let history = bank.list("/v1/accounts/1/balances?order=asc");
        let limits: Vec<&Value> = history.iter().map(|line| &line["overdraft_limit"]).collect();
        let expected = ["100.00", "100.00", "50.00", "50.00", "50.00", "60.00", "60.00"];
        assert_eq!(limits, expected.map(|sum| json!(sum)).iter().collect::<Vec<_>>());
        bank.server.stop();
        bank.server.verify();
        bank.restart();
    }
}

#[test]
fn metadata_is_replaced_whole() {
    let mut bank = bank();
    let other = json!({"metadata": {"name": "Bob", "tags": [1.50]}});
    let account = bank.check(METADATA, other.clone(), "200").json();
    assert_eq!(account["metadata"], json!({"name": "Bob", "tags": [1.50]}));
    assert_eq!(account["version"], 1);
    // Before the store has it and after.
    assert_eq!(account, bank.get("/v1/accounts/1"));
    for _ in 0..2 {
        let listed = bank.list("/v1/accounts");
        let one = listed.iter().find(|shown| shown["id"] == "1");
        assert_eq!(one, Some(&account));
        assert_eq!(bank.get("/v1/accounts/1"), account);
        bank.server.stop();
        bank.server.verify();
        bank.restart();
    }
    // What it was created as is compared with what it is now.
    let created = json!({"id": "1", "code": 7, "user_data_64": "5", "metadata": {"name": "Alice"},
        "flags": ["debits_must_not_exceed_credits", "history"]});
    bank.check("POST /v1/accounts", created, "409 exists_with_different_metadata");

    let key = [("Idempotency-Key", "m")];
    let first = bank.check_with(METADATA, &key, json!({"metadata": {"a": 1}}), "200");
    let none = bank.check(METADATA, json!({"metadata": {}}), "200").json();
    assert_eq!(none["metadata"], json!({}));
    let again = bank.check_with(METADATA, &key, json!({"metadata": {"a": 1.0}}), "200 replayed");
    assert_eq!(again.body, first.body, "as it was then");
    bank.check_with(METADATA, &key, other, "422 idempotency_key_reused");
    assert_eq!(bank.get("/v1/accounts/1"), none);

    bank.check(METADATA, json!({}), "400 metadata");
    bank.check(METADATA, json!({"metadata": null}), "400 metadata");
    bank.check(METADATA, json!({"metadata": [1]}), "400 metadata");
    bank.check(METADATA, json!({"metadata": {"a": "x".repeat(5000)}}), "400 metadata");
    let missing = "404 account_to_change_not_found";
    bank.check("POST /v1/accounts/9/metadata", json!({"metadata": {}}), missing);
    bank.server.kill();
    bank.restart();
    assert_eq!(bank.get("/v1/accounts/1"), none);
    bank.server.stop();
    bank.server.verify();
}
