//! Conditions: decided with the transfer or transaction that they stand on.

use std::thread;

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use serde_json::{Value, json};

/// A bank whose account 1 has money and can not be overdrawn; the plain accounts 2 and 3 have none.
fn bank() -> TestBank {
    let bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.account(2);
    bank.account(3);
    bank
}

fn on(transfer: Value, conditions: Value) -> Value {
    with(transfer, json!({"conditions": conditions}))
}

/// The condition and what was found, as a refusal tells them.
fn told(refusal: &Value) -> (Value, Value) {
    (refusal["condition"].clone(), refusal["found"].clone())
}

#[test]
fn a_transfer_happens_only_where_its_conditions_hold() {
    let bank = bank();
    let holds = json!([
        {"account_id": "1", "version": {"eq": 1}},
        {"account_id": 2, "balance": {"lte": 0}},
        {"account_id": "1", "available": {"gte": "10.00"}},
    ]);
    let first = on(transfer_with_id(10, 1, 2, "10.00"), holds);
    bank.check("POST /v1/transfers", first.clone(), "201");
    // It happened; what holds now does not matter to who asks again, nor whether he asks for it.
    bank.check("POST /v1/transfers", first, "200 replayed");
    bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "10.00"), "200 replayed");

    let failed = "422 condition_failed";
    // Account 1 has 90.00 and was changed twice; account 3 owes 20.00.
    bank.transfer(3, 2, "20.00");
    for (condition, found) in [
        (json!({"account_id": "1", "version": {"eq": 1}}), "2"),
        (json!({"account_id": "1", "version": {"gt": "2"}}), "2"),
        (json!({"account_id": "1", "available": {"gte": "90.01"}}), "90.00"),
        (json!({"account_id": "1", "available": {"lt": 90}}), "90.00"),
        (json!({"account_id": "3", "balance": {"gt": "-20.00"}}), "-20.00"),
        (json!({"account_id": "3", "balance": {"lte": "-20.01"}}), "-20.00"),
        (json!({"account_id": "3", "balance": {"eq": -2}}), "-20.00"),
    ] {
        let held = json!({"account_id": "3", "balance": {"lt": "0.00"}});
        let asked = on(transfer(1, 2, "1.00"), json!([held, condition]));
        let refused = bank.check("POST /v1/transfers", asked, failed).json();
        assert_eq!(told(&refused), (json!(1), json!(found)), "{refused}");
    }
    let refused =
        on(transfer_with_id(20, 1, 2, "1.00"), json!([{"account_id": "1", "version": {"eq": 9}}]));
    let reply = bank.check("POST /v1/transfers", refused, failed);
    assert_eq!(reply.json()["retry"], "new_id");
    bank.check("POST /v1/transfers", transfer_with_id(20, 1, 2, "1.00"), "422 id_already_failed");
    let nobody = json!([{"account_id": "77", "version": {"eq": 0}}]);
    let missing = "422 condition_account_not_found";
    let reply = bank.check("POST /v1/transfers", on(transfer(1, 2, "1.00"), nobody), missing);
    assert_eq!(told(&reply.json()), (json!(0), Value::Null));
    // Other rules come first.
    let never = json!([{"account_id": "1", "version": {"lt": 0}}]);
    let more = on(transfer(1, 2, "1000.00"), never.clone());
    bank.check("POST /v1/transfers", more, "422 exceeds_credits");
    assert_eq!(bank.balance(1), "90.00");

    // In two phases, and back.
    let reserved = with(transfer_with_id(30, 1, 2, "5.00"), json!({"flags": ["pending"]}));
    bank.check("POST /v1/transfers", reserved, "201");
    for verb in ["30/post", "30/void", "10/reverse"] {
        let asked = format!("POST /v1/transfers/{verb}");
        bank.check(&asked, json!({"conditions": never}), failed);
    }
    let holds = json!([{"account_id": "1", "available": {"eq": "85.00"}}]);
    bank.check("POST /v1/transfers/30/post", json!({"conditions": holds}), "201");
    bank.check("POST /v1/transfers/10/reverse", json!({"conditions": holds}), "201");
    assert_eq!(bank.balance(1), "95.00");
}

#[test]
fn events_of_a_batch_see_what_the_ones_before_left() {
    let bank = bank();
    let left = |sum: &str| json!([{"account_id": "1", "balance": {"eq": sum}}]);
    let answer = bank.batch(&[
        on(transfer_with_id(10, 1, 2, "10.00"), left("100.00")),
        on(transfer_with_id(11, 1, 2, "10.00"), left("100.00")),
        on(transfer_with_id(12, 1, 2, "10.00"), left("90.00")),
        // The version is that before the batch, since a command moves it once.
        on(transfer_with_id(13, 1, 2, "10.00"), json!([{"account_id": 1, "version": {"eq": 1}}])),
    ]);
    assert_eq!(answer["created"], 3, "{answer}");
    let refused = &answer["rejected"][0];
    assert_eq!((&refused["index"], &refused["code"]), (&json!(1), &json!("condition_failed")));
    assert_eq!(told(refused), (json!(0), json!("90.00")));
}

#[test]
fn a_transaction_has_conditions_as_a_whole_and_on_each_leg() {
    let bank = bank();
    let whole = |id: u128, leg: Value, conditions: Value| {
        let legs = json!([transfer(1, 2, "10.00"), leg]);
        json!({"id": id.to_string(), "transfers": legs, "conditions": conditions})
    };
    let sum = |sum: &str| json!([{"account_id": "1", "balance": {"gte": sum}}]);
    let failed = "422 condition_failed";
    let body = whole(10, transfer(1, 2, "1.00"), sum("100.01"));
    let refused = bank.check("POST /v1/transactions", body, failed).json();
    assert_eq!(told(&refused), (json!(0), json!("100.00")));
    let body = whole(11, on(transfer(1, 2, "1.00"), sum("90.01")), sum("100.00"));
    let refused = bank.check("POST /v1/transactions", body, "422 condition_failed at 1").json();
    assert_eq!(told(&refused), (json!(0), json!("90.00")));
    assert_eq!(bank.balance(1), "100.00");
    let body = whole(12, on(transfer(1, 2, "1.00"), sum("90.00")), sum("100.00"));
    bank.check("POST /v1/transactions", body, "201");
    bank.check("POST /v1/transactions/12/reverse", json!({"conditions": sum("90.00")}), failed);
    bank.check("POST /v1/transactions/12/reverse", json!({"conditions": sum("89.00")}), "201");
    let reserved = with(transfer(1, 2, "5.00"), json!({"flags": ["pending"]}));
    bank.check("POST /v1/transactions", json!({"id": "13", "transfers": [reserved]}), "201");
    bank.check("POST /v1/transactions/13/post", json!({"conditions": sum("100.01")}), failed);
    bank.check("POST /v1/transactions/13/post", json!({"conditions": sum("100.00")}), "201");
}

#[test]
fn conditions_that_can_not_be_read_are_refused() {
    let bank = bank();
    let check = |conditions: Value, expected: &str| {
        bank.check("POST /v1/transfers", on(transfer(1, 2, "1.00"), conditions), expected)
    };
    let one = json!({"account_id": "1", "version": {"eq": 1}});
    for (conditions, expected) in [
        (json!({}), "400 conditions"),
        (json!([{"account_id": "1"}]), "400 conditions"),
        (json!([{"version": {"eq": 1}}]), "400 account_id"),
        (json!([{"account_id": "1", "version": {"eq": "a"}}]), "400 eq"),
        (json!([{"account_id": "1", "version": {"ne": 1}}]), "400 ne"),
        (json!([{"account_id": "1", "owner": {"eq": 1}}]), "400 owner"),
        (json!([{"account_id": "1", "balance": {"eq": 1, "gt": 0}}]), "400 balance"),
        // A digit more than the account's ledger has.
        (json!([{"account_id": "1", "balance": {"eq": "1.001"}}]), "400 conditions"),
        (Value::from(vec![one.clone(); 17]), "400 conditions"),
    ] {
        check(conditions, expected);
    }
    let path = |reply: florin_tests::http::Reply| reply.json()["errors"][0]["field"].clone();
    let bad = json!([one, {"account_id": "1", "balance": {"gte": "1e5"}}]);
    assert_eq!(path(check(bad.clone(), "400 gte")), "conditions[1].balance.gte");
    let leg = on(transfer(1, 2, "1.00"), bad.clone());
    let reply = bank.check("POST /v1/transactions", json!({"transfers": [leg]}), "400 gte at 0");
    assert_eq!(path(reply), "transfers[0].conditions[1].balance.gte");
    let whole = json!({"transfers": [transfer(1, 2, "1.00")], "conditions": [
        {"account_id": "1", "balance": {"gte": "1.001"}}]});
    let reply = bank.check("POST /v1/transactions", whole, "400 conditions");
    assert_eq!(path(reply), "conditions");
    // On one event as many as may be, on all of a command no more than it may have events.
    let many = Value::from(vec![one.clone(); 16]);
    let events = vec![on(transfer(1, 2, "0.01"), many); 512];
    bank.check("POST /v1/transfers/batch", Value::from(events), "400 conditions");
    assert_eq!(bank.balance(1), "100.00");
}

/// Compare and set: of many who saw the same version, one moves money.
#[test]
fn of_many_who_saw_the_same_version_one_goes_first() {
    let mut bank = bank();
    for round in 0..20_u64 {
        let version = bank.get("/v1/accounts/1")["version"].as_u64().unwrap_or_default();
        let seen = json!([{"account_id": "1", "version": {"eq": version}}]);
        let told: Vec<String> = thread::scope(|scope| {
            let one = || {
                let asked = bank.client().request("POST /v1/transfers");
                asked.send(on(transfer(1, 2, "0.50"), seen.clone())).summary()
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|one| one.join().unwrap_or_default()).collect()
        });
        let count = |summary: &str| told.iter().filter(|told| *told == summary).count();
        assert_eq!((count("201"), count("422 condition_failed")), (1, 5), "{round}: {told:?}");
    }
    assert_eq!(bank.balance(1), "90.00");
    bank.server.stop();
    bank.server.verify();
}
