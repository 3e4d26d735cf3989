//! `dry_run=true`: what would be, with nothing decided.

use std::thread;

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use serde_json::{Value, json};

#[test]
fn what_would_be_is_told_and_nothing_changes() {
    let mut bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.account(2);
    let reserved = with(transfer_with_id(20, 1, 2, "5.00"), json!({"flags": ["pending"]}));
    bank.check("POST /v1/transfers", reserved.clone(), "201");
    let legs = [with(transfer_with_id(31, 1, 2, "5.00"), json!({"flags": ["pending"]}))];
    bank.check("POST /v1/transactions", json!({"id": "30", "transfers": legs}), "201");
    bank.check("POST /v1/transfers", transfer_with_id(40, 1, 2, "1.00"), "201");
    let done = json!({"id": "50", "transfers": [transfer_with_id(51, 1, 2, "1.00")]});
    bank.check("POST /v1/transactions", done, "201");
    let seq = bank.get("/readyz")["parts"]["journal"]["durable_seq"].clone();
    let standing = || (bank.get("/v1/accounts/1"), bank.get("/v1/accounts/2"));
    let before = standing();
    let two = json!([transfer_with_id(71, 1, 2, "60.00"), transfer_with_id(72, 1, 2, "60.00")]);
    for (asked, body) in [
        ("transfers", transfer_with_id(60, 1, 2, "10.00")),
        ("transfers/20/post", json!({"id": "61", "amount": "2.00"})),
        ("transfers/20/void", json!({"id": "62"})),
        ("transfers/40/reverse", json!({"id": "63"})),
        ("transactions", json!({"id": "64", "transfers": [transfer_with_id(65, 1, 2, "9.00")]})),
        ("transactions/30/post", json!({"id": "66"})),
        ("transactions/30/void", json!({"id": "67"})),
        ("transactions/50/reverse", json!({"id": "68"})),
        ("transfers/batch", two.clone()),
    ] {
        let path = format!("POST /v1/{asked}?dry_run=true");
        let tried = bank.check(&path, body.clone(), "200");
        assert_eq!(tried.header("location"), None, "{asked}: nothing is to be read there");
        assert_eq!(tried.json()["dry_run"], true, "{asked}");
        assert_eq!(standing(), before, "{asked}");
        // Again, so no id was used up; and what it told is what comes of it.
        assert_eq!(bank.check(&path, body, "200").json()["id"], tried.json()["id"]);
    }
    assert_eq!(
        bank.get("/readyz")["parts"]["journal"]["durable_seq"],
        seq,
        "nothing was journaled"
    );
    for id in [60, 61, 63, 65, 71] {
        bank.check(&format!("GET /v1/transfers/{id}"), (), "404 transfer_not_found");
    }
    let tried = bank.check("POST /v1/transfers/batch?dry_run=true&results=all", two.clone(), "200");
    let tried = tried.json();
    let refused = json!([{"index": 1, "id": "72", "code": "exceeds_credits",
        "detail": "The debit account has not enough available.",
        "available": "28.00", "requested": "60.00"}]);
    assert_eq!((&tried["created"], &tried["rejected"]), (&json!(1), &refused), "{tried}");
    assert_eq!(tried["results"][1]["status"], "exceeds_credits");
    let real = bank.check("POST /v1/transfers/batch", two, "200").json();
    assert_eq!((&real["created"], &real["rejected"]), (&json!(1), &refused), "{real}");
    assert!(real.get("dry_run").is_none());
    bank.server.stop();
    bank.server.verify();
}

#[test]
fn a_refusal_is_told_and_uses_up_nothing() {
    let bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.account(2);
    let more = transfer_with_id(10, 1, 2, "100.01");
    let told = bank.check("POST /v1/transfers?dry_run=true", more, "422 exceeds_credits").json();
    assert_eq!((&told["dry_run"], &told["available"]), (&json!(true), &json!("100.00")));
    assert_eq!(told["retry"], "after", "the id is not used up");
    let legs = json!({"id": "11", "transfers": [transfer(1, 2, "1.00"), transfer(1, 9, "1.00")]});
    let refused = "422 credit_account_not_found at 1";
    bank.check("POST /v1/transactions?dry_run=true", legs, refused);
    let missing = "404 reversed_transfer_not_found";
    bank.check("POST /v1/transfers/77/reverse?dry_run=true", json!({"id": "12"}), missing);
    // Each of these ids is still free.
    let asked = "POST /v1/transfers?dry_run=false";
    let made = bank.check(asked, transfer_with_id(10, 1, 2, "1.00"), "201").json();
    assert!(made.get("dry_run").is_none());
    for id in [11, 12] {
        bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
    }
    // What happened is told as it is told to any who ask again.
    let asked = "POST /v1/transfers?dry_run=true";
    let again = bank.check(asked, transfer_with_id(10, 1, 2, "1.00"), "200 replayed").json();
    assert_eq!((&again["dry_run"], &again["id"]), (&json!(true), &json!("10")));
    let other = transfer_with_id(10, 1, 2, "2.00");
    let told = bank.check(asked, other, "409 exists_with_different_amount").json();
    assert_eq!(told["retry"], "new_id", "this one is, by what happened");
    let metrics = bank.client().request("GET /metrics").send(()).body;
    assert!(!metrics.contains("code=\"exceeds_credits\""), "what was only tried is not counted");
}

#[test]
fn a_key_and_other_routes_have_no_dry_run() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let key = [("Idempotency-Key", "k")];
    let body = transfer(1, 2, "1.00");
    for asked in ["POST /v1/transfers?dry_run=true", "POST /v1/transfers/1/void?dry_run=true"] {
        bank.check_with(asked, &key, body.clone(), "400 dry_run");
    }
    let batch = json!([body.clone()]);
    bank.check_with("POST /v1/transfers/batch?dry_run=true", &key, batch, "400 dry_run");
    bank.check("POST /v1/transfers?dry_run=yes", body.clone(), "400 dry_run");
    bank.check("POST /v1/accounts?dry_run=true", json!({"id": "3"}), "400 dry_run");
    bank.check("POST /v1/accounts/batch?dry_run=true", json!([]), "400 dry_run");
    bank.check("POST /transaction?dry_run=true", json!({}), "400 dry_run");
    // The key is still free.
    bank.check_with("POST /v1/transfers?dry_run=false", &key, body, "201");
    let empty = bank.check("POST /v1/transfers/batch?dry_run=true", json!([]), "200").json();
    assert_eq!(
        (&empty["dry_run"], &empty["rejected"]),
        (&json!(true), &Value::from(Vec::<Value>::new()))
    );
}

#[test]
fn what_is_tried_beside_what_is_decided_leaves_no_trace() {
    let mut bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.account(2);
    bank.check("POST /v1/transfers", transfer_with_id(9, 1, 2, "1.00"), "201");
    thread::scope(|scope| {
        for number in 1..=3_u128 {
            let client = bank.client();
            scope.spawn(move || {
                for index in 0..60 {
                    let id = number * 1000 + index;
                    let linked = json!({"flags": ["linked"]});
                    let chain = json!([
                        with(transfer_with_id(500_000 + id, 1, 2, "1.00"), linked),
                        transfer_with_id(600_000 + id, 1, 77, "1.00"),
                        transfer_with_id(700_000 + id, 1, 2, "50.00"),
                    ]);
                    let tried = client.request("POST /v1/transfers/batch?dry_run=true").send(chain);
                    assert_eq!(tried.status, 200, "{tried:?}");
                    let back = client.request("POST /v1/transfers/9/reverse?dry_run=true").send(());
                    assert_eq!(back.status, 200, "{back:?}");
                    let real = transfer_with_id(id, 1, 2, "0.10");
                    assert_eq!(client.request("POST /v1/transfers").send(real).status, 201);
                }
            });
        }
    });
    assert_eq!((bank.balance(1), bank.balance(2)), ("81.00".to_owned(), "19.00".to_owned()));
    assert_eq!(bank.ids("/v1/accounts/2/transfers").len(), 181);
    bank.check("POST /v1/transfers/9/reverse", (), "201");
    bank.server.kill();
    bank.restart();
    assert_eq!(bank.balance(1), "82.00");
    bank.server.stop();
    bank.server.verify();
}
