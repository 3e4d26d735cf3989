//! `/v1/transfers/batch`: many transfers in one request, decided in order.

use florin_tests::bank::{TestBank, id_of, transfer, transfer_with_id, with};
use florin_tests::compare::assert_includes;
use florin_tests::server::{LARGE_SEGMENTS, TestServer};
use serde_json::{Value, json};

#[test]
fn each_event_has_its_own_outcome() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "10.00");
    bank.check("POST /v1/transfers", transfer_with_id(100, 1, 2, "1.00"), "201");
    let batch = [
        transfer_with_id(101, 2, 1, "4.00"),
        transfer_with_id(100, 1, 2, "1.00"),
        transfer_with_id(100, 1, 2, "2.00"),
        transfer_with_id(102, 2, 1, "40.00"),
        transfer_with_id(0, 2, 1, "1.00"),
        with(transfer_with_id(103, 2, 1, "1.00"), json!({"code": 0})),
        transfer_with_id(102, 2, 1, "1.00"),
        transfer_with_id(101, 2, 1, "4.00"),
        transfer(2, 1, "7.00"),
    ];
    let answer = bank.batch(&batch);
    let expected = json!({
        "created": 2, "replayed": 2, "first_timestamp": "…", "last_timestamp": "…", "seq": "…",
        "rejected": [
            {"index": 2, "id": "100", "code": "exists_with_different_amount", "detail": "…"},
            {"index": 3, "id": "102", "code": "exceeds_credits", "detail": "…"},
            {"index": 4, "id": "0", "code": "id_must_not_be_zero", "detail": "…"},
            {"index": 5, "id": "103", "code": "code_must_not_be_zero", "detail": "…"},
            {"index": 6, "id": "102", "code": "id_already_failed", "detail": "…"},
        ],
    });
    assert_includes(&answer, &expected);
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let statuses: Vec<&str> = results.iter().filter_map(|it| it["status"].as_str()).collect();
    assert_eq!(
        statuses,
        [
            "created",
            "exists",
            "exists_with_different_amount",
            "exceeds_credits",
            "id_must_not_be_zero",
            "code_must_not_be_zero",
            "id_already_failed",
            "exists",
            "created",
        ]
    );
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index);
    }
    assert_eq!(results[0]["timestamp"], answer["first_timestamp"]);
    assert_eq!(results[8]["timestamp"], answer["last_timestamp"]);
    assert_eq!(bank.get("/v1/transfers/101")["timestamp"], results[0]["timestamp"]);
    assert_eq!(bank.balance(2), "0.00");
}

#[test]
fn results_come_only_when_asked_for() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let batch = json!([transfer(1, 2, "1.00")]);
    let reply = bank.check("POST /v1/transfers/batch", batch.clone(), "200");
    let answer = reply.json();
    assert!(answer.get("results").is_none(), "{answer}");
    assert_includes(&answer, &json!({"created": 1, "replayed": 0, "rejected": []}));
    assert_eq!(answer["seq"], reply.seq());
    bank.check("POST /v1/transfers/batch?results=some", batch.clone(), "400 results");
    bank.check("POST /v1/transfers/batch?colour=red", batch, "400 colour");
    assert_eq!(bank.balance(2), "1.00");
}

#[test]
fn linked_events_happen_together_or_not_at_all() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "10.00");
    let linked = |transfer: Value| with(transfer, json!({"flags": ["linked"]}));
    let answer = bank.batch(&[
        // A chain that holds,
        linked(transfer_with_id(1, 2, 1, "3.00")),
        transfer_with_id(2, 1, 2, "1.00"),
        // one that breaks in the middle,
        linked(transfer_with_id(3, 2, 1, "3.00")),
        linked(transfer_with_id(4, 2, 1, "300.00")),
        transfer_with_id(5, 2, 1, "1.00"),
        // a single event between,
        transfer_with_id(6, 2, 1, "2.00"),
        // and one without an end.
        linked(transfer_with_id(7, 2, 1, "1.00")),
        linked(transfer_with_id(8, 2, 1, "1.00")),
    ]);
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    let statuses: Vec<&str> = results.iter().filter_map(|it| it["status"].as_str()).collect();
    assert_eq!(
        statuses,
        [
            "created",
            "created",
            "linked_event_failed",
            "exceeds_credits",
            "linked_event_failed",
            "created",
            "linked_event_failed",
            "linked_event_chain_open",
        ]
    );
    let rejected = answer["rejected"].as_array().cloned().unwrap_or_default();
    let indices: Vec<&Value> = rejected.iter().map(|it| &it["index"]).collect();
    assert_eq!(indices, [2, 3, 4, 6, 7], "in their order");
    assert_eq!(bank.balance(2), "6.00");
    // What failed with its chain is not burned; what broke it for a passing reason is.
    bank.check("POST /v1/transfers", transfer_with_id(3, 2, 1, "1.00"), "201");
    bank.check("POST /v1/transfers", transfer_with_id(4, 2, 1, "1.00"), "422 id_already_failed");
}

#[test]
fn a_batch_again_is_replayed_event_by_event() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let batch: Vec<Value> = (1..=20).map(|id| transfer_with_id(id, 1, 2, "1.00")).collect();
    let first = bank.batch(&batch);
    assert_includes(&first, &json!({"created": 20, "replayed": 0, "rejected": []}));
    let again = bank.batch(&batch);
    assert_includes(&again, &json!({"created": 0, "replayed": 20, "rejected": []}));
    for index in 0..20 {
        assert_eq!(first["results"][index]["status"], "created");
        assert_eq!(again["results"][index]["status"], "exists");
    }
    // Half of them with new ones.
    let mixed: Vec<Value> = (11..=30).map(|id| transfer_with_id(id, 1, 2, "1.00")).collect();
    assert_includes(&bank.batch(&mixed), &json!({"created": 10, "replayed": 10}));
    assert_eq!(bank.balance(2), "30.00");
}

#[test]
fn one_bad_shape_refuses_the_whole_batch_and_is_named() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let good = transfer(1, 2, "1.00");
    for (bad, field) in [
        (with(good.clone(), json!({"amount": "1.001"})), "amount"),
        (with(good.clone(), json!({"amount": "-1.00"})), "amount"),
        (with(good.clone(), json!({"amount": true})), "amount"),
        (with(good.clone(), json!({"code": "one"})), "code"),
        (with(good.clone(), json!({"flags": ["red"]})), "flags"),
        (with(good.clone(), json!({"colour": "red"})), "colour"),
        (with(good.clone(), json!({"debit_account_id": null})), "debit_account_id"),
        (florin_tests::bank::without(good.clone(), "credit_account_id"), "credit_account_id"),
    ] {
        let batch = json!([good, good, bad, good]);
        bank.check("POST /v1/transfers/batch", batch, &format!("400 {field} at 2"));
    }
    let batch = json!([{"id": "8"}, {"id": "9", "code": 70000}]);
    bank.check("POST /v1/accounts/batch", batch, "400 code at 1");
    assert_eq!(bank.balance(2), "0.00");
    assert!(bank.list("/v1/transfers").is_empty());
    bank.check("GET /v1/accounts/8", (), "404 account_not_found");
}

#[test]
fn the_largest_batch_is_taken_and_one_more_is_not() {
    let bank = TestBank::of(TestServer::start_with(&LARGE_SEGMENTS));
    bank.account(1);
    bank.account(2);
    let batch = |count: u128| -> Value {
        (1..=count).map(|id| transfer_with_id(id, 1, 2, "0.01")).collect()
    };
    let reply = bank.check("POST /v1/transfers/batch", batch(8191), "400 too_many_events");
    assert_eq!(reply.json()["retry"], "never");
    assert_eq!(bank.balance(2), "0.00");
    let answer = bank.check("POST /v1/transfers/batch", batch(8190), "200").json();
    assert_includes(&answer, &json!({"created": 8190, "replayed": 0, "rejected": []}));
    assert_eq!(bank.balance(2), "81.90");
    assert_eq!(bank.list("/v1/transfers?limit=1000").len(), 8190);
    let accounts: Value = (1..=8191).map(|id| json!({"id": id.to_string()})).collect();
    bank.check("POST /v1/accounts/batch", accounts, "400 too_many_events");
}

#[test]
fn an_empty_batch_does_nothing() {
    let bank = TestBank::open();
    let answer = bank.check("POST /v1/transfers/batch?results=all", json!([]), "200").json();
    assert_includes(&answer, &json!({"created": 0, "replayed": 0, "rejected": [], "results": []}));
}

#[test]
fn a_batch_is_decided_as_the_same_transfers_one_by_one() {
    let events = || {
        (1..=60_u128).map(|n| {
            let (debit, credit) = (2 + n % 3, 2 + (n / 3) % 4);
            transfer_with_id(n / 2 + 1, debit, credit, &format!("{}.00", n % 7))
        })
    };
    let open = || {
        let bank = TestBank::with_accounts(&[5]);
        for id in [2, 3, 4] {
            bank.funded(id, "9.00");
        }
        bank
    };
    let together = open();
    let batch: Vec<Value> = events().collect();
    let answer = together.batch(&batch);
    let alone = open();
    for (event, index) in events().zip(0..) {
        let status = answer["results"][index as usize]["status"].as_str().unwrap_or("").to_owned();
        let reply = alone.client().request("POST /v1/transfers").send(event.clone());
        let single = match reply.summary().as_str() {
            "201" => "created".to_owned(),
            "200 replayed" => "exists".to_owned(),
            refusal => refusal.split(' ').nth(1).unwrap_or("").to_owned(),
        };
        assert_eq!(status, single, "event {index}: {event}");
    }
    for id in 2..=5 {
        assert_eq!(together.balance(id), alone.balance(id), "account {id}");
    }
    let ids = |bank: &TestBank| -> Vec<String> {
        bank.list("/v1/transfers?order=asc").iter().map(id_of).filter(|id| id.len() < 30).collect()
    };
    assert_eq!(ids(&together), ids(&alone));
}
