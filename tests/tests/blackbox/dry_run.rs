//! `dry_run=true`: what would be, with nothing decided.

use std::thread;

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use florin_tests::http::Reply;
use serde_json::{Value, json};

/// What an answer tells, but for its mark and its moment.
fn told(reply: &Reply) -> Value {
    fn timeless(value: Value) -> Value {
        const MOMENT: [&str; 5] =
            ["dry_run", "timestamp", "first_timestamp", "last_timestamp", "seq"];
        match value {
            Value::Object(fields) => {
                let fields = fields.into_iter().filter(|(name, _)| !MOMENT.contains(&&**name));
                fields.map(|(name, value)| (name, timeless(value))).collect()
            }
            Value::Array(values) => values.into_iter().map(timeless).collect(),
            value => value,
        }
    }
    timeless(reply.json())
}

#[test]
fn what_would_be_is_told_and_nothing_changes() {
    let mut bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.account(2);
    let pending =
        |id: u128| with(transfer_with_id(id, 1, 2, "5.00"), json!({"flags": ["pending"]}));
    for id in [20, 21] {
        bank.check("POST /v1/transfers", pending(id), "201");
    }
    for id in [30, 32] {
        let legs = [pending(id + 1)];
        let body = json!({"id": id.to_string(), "transfers": legs});
        bank.check("POST /v1/transactions", body, "201");
    }
    bank.check("POST /v1/transfers", transfer_with_id(40, 1, 2, "1.00"), "201");
    let done = json!({"id": "50", "transfers": [transfer_with_id(51, 1, 2, "1.00")]});
    bank.check("POST /v1/transactions", done, "201");
    let seq = bank.get("/readyz")["parts"]["journal"]["durable_seq"].clone();
    let standing = || (bank.get("/v1/accounts/1"), bank.get("/v1/accounts/2"));
    let before = standing();
    let two = json!([transfer_with_id(71, 1, 2, "60.00"), transfer_with_id(72, 1, 2, "60.00")]);
    let commands = [
        ("transfers", transfer_with_id(60, 1, 2, "10.00"), "201"),
        ("transfers/20/post", json!({"id": "61", "amount": "2.00"}), "201"),
        ("transfers/21/void", json!({"id": "62"}), "201"),
        ("transfers/40/reverse", json!({"id": "63"}), "201"),
        (
            "transactions",
            json!({"id": "64", "transfers": [transfer_with_id(65, 1, 2, "9.00")]}),
            "201",
        ),
        ("transactions/30/post", json!({"id": "66"}), "201"),
        ("transactions/32/void", json!({"id": "67"}), "201"),
        ("transactions/50/reverse", json!({"id": "68"}), "201"),
        ("transfers/batch", two, "200"),
    ];
    for (asked, body, _) in &commands {
        let path = format!("POST /v1/{asked}?dry_run=true");
        let tried = bank.check(&path, body, "200");
        assert_eq!(tried.header("location"), None, "{asked}: nothing is to be read there");
        assert_eq!(tried.json()["dry_run"], true, "{asked}");
        assert_eq!(standing(), before, "{asked}");
        // Again, so no id was used up.
        assert_eq!(told(&bank.check(&path, body, "200")), told(&tried), "{asked}");
    }
    assert_eq!(
        bank.get("/readyz")["parts"]["journal"]["durable_seq"],
        seq,
        "nothing was journaled"
    );
    for id in [60, 61, 63, 65, 71] {
        bank.check(&format!("GET /v1/transfers/{id}"), (), "404 transfer_not_found");
    }
    // What it tells is what comes of it.
    for (asked, body, created) in &commands {
        let results = if *asked == "transfers/batch" { "&results=all" } else { "" };
        let path = format!("POST /v1/{asked}?dry_run");
        let tried = bank.check(&format!("{path}=true{results}"), body, "200");
        let real = bank.check(&format!("{path}=false{results}"), body, created);
        assert_eq!(told(&tried), told(&real), "{asked}");
        assert!(real.json().get("dry_run").is_none(), "{asked}");
        if !results.is_empty() {
            let refused = json!([{"index": 1, "id": "72", "code": "exceeds_credits",
                "detail": "The debit account has not enough available.",
                "available": "14.00", "requested": "60.00"}]);
            let tried = tried.json();
            assert_eq!((&tried["created"], &tried["rejected"]), (&json!(1), &refused), "{tried}");
            assert_eq!(tried["results"][1]["status"], "exceeds_credits");
        }
    }
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
