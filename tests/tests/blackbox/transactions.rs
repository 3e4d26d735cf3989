//! `/v1/transactions`: several transfers that all happen or none does.

use florin_tests::bank::{TestBank, id_of, transfer, transfer_with_id, with};
use florin_tests::compare::assert_includes;
use serde_json::{Value, json};

fn transaction(id: &str, legs: &[Value]) -> Value {
    json!({"id": id, "transfers": legs})
}

#[test]
fn all_legs_happen_and_are_read_together() {
    let bank = TestBank::with_accounts(&[1, 2, 3]);
    let body = json!({
        "id": "900",
        "transfers": [transfer_with_id(901, 1, 2, "10.00"), transfer(2, 3, "4.00")],
        "metadata": {"order": 5},
    });
    let reply = bank.check("POST /v1/transactions", body, "201");
    assert_eq!(reply.header("location"), Some("/v1/transactions/900"));
    let made = reply.json();
    let expected = json!({
        "id": "900", "status": "posted", "timestamp": "…", "metadata": {"order": 5},
        "transfers": [
            {"id": "901", "debit_account_id": "1", "credit_account_id": "2", "amount": "10.00",
             "status": "posted", "timestamp": "…"},
            {"id": "…", "debit_account_id": "2", "credit_account_id": "3", "amount": "4.00",
             "status": "posted", "timestamp": "…"},
        ],
    });
    assert_includes(&made, &expected);
    let read = bank.get("/v1/transactions/900");
    assert_includes(&read, &expected);
    for leg in 0..2 {
        let id = id_of(&made["transfers"][leg]);
        assert_eq!(id, id_of(&read["transfers"][leg]));
        let alone = bank.get(&format!("/v1/transfers/{id}"));
        assert_includes(&alone, &expected["transfers"][leg]);
        assert_eq!(alone["transaction_id"], "900");
    }
    assert_eq!([bank.balance(1), bank.balance(2), bank.balance(3)], ["-10.00", "6.00", "4.00"]);
}

#[test]
fn one_refused_leg_refuses_all_and_is_named() {
    let bank = TestBank::with_accounts(&[1, 3]);
    bank.funded(2, "10.00");
    let legs = [transfer(2, 1, "6.00"), transfer(1, 3, "1.00"), transfer(2, 1, "6.00")];
    let reply =
        bank.check("POST /v1/transactions", transaction("70", &legs), "422 exceeds_credits at 2");
    let figures = json!({"available": "4.00", "requested": "6.00"});
    assert_includes(&reply.json(), &figures);
    assert_eq!(bank.balance(2), "10.00");
    assert_eq!(bank.balance(3), "0.00");
    bank.check("GET /v1/transactions/70", (), "404 transaction_not_found");
    // The refusal may pass, so the id is burned; one that lasts leaves it free.
    let fits = [transfer(2, 1, "6.00")];
    bank.check("POST /v1/transactions", transaction("70", &fits), "422 id_already_failed");
    let broken = [transfer(2, 1, "1.00"), with(transfer(2, 1, "1.00"), json!({"code": 0}))];
    bank.check(
        "POST /v1/transactions",
        transaction("71", &broken),
        "422 code_must_not_be_zero at 1",
    );
    bank.check("POST /v1/transactions", transaction("71", &fits), "201");
}

#[test]
fn later_legs_see_what_earlier_ones_did() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "0");
    let legs = [transfer(1, 2, "5.00"), transfer(2, 1, "5.00")];
    bank.check("POST /v1/transactions", transaction("1", &legs), "201");
    assert_eq!(bank.balance(2), "0.00");
}

#[test]
fn the_same_transaction_again_is_replayed_and_another_is_a_conflict() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = with(
        transaction("10", &[transfer(1, 2, "1.00"), transfer(1, 2, "2.00")]),
        json!({"metadata": {"n": 1}}),
    );
    let first = bank.check("POST /v1/transactions", body.clone(), "201").json();
    let again = bank.check("POST /v1/transactions", body.clone(), "200 replayed").json();
    assert_eq!(again["timestamp"], first["timestamp"]);
    for leg in 0..2 {
        let (again, first) = (&again["transfers"][leg], &first["transfers"][leg]);
        assert_eq!(id_of(again), id_of(first), "the ids of legs are derived, for ever the same");
    }
    for (change, code) in [
        (json!({"metadata": {"n": 2}}), "exists_with_different_metadata"),
        (json!({"transfers": [transfer(1, 2, "1.00")]}), "exists_with_different_transfers"),
        (
            json!({"transfers": [transfer(1, 2, "2.00"), transfer(1, 2, "1.00")]}),
            "exists_with_different_transfers",
        ),
    ] {
        let changed = with(body.clone(), change);
        bank.check("POST /v1/transactions", changed, &format!("409 {code}"));
    }
    assert_eq!(bank.balance(2), "3.00");
}

#[test]
fn transactions_and_transfers_share_their_ids() {
    let bank = TestBank::with_accounts(&[1, 2]);
    bank.check("POST /v1/transactions", transaction("10", &[transfer(1, 2, "1.00")]), "201");
    let taken = "409 exists_with_different_kind";
    bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "1.00"), taken);
    bank.check("POST /v1/transfers", transfer_with_id(11, 1, 2, "1.00"), "201");
    bank.check("POST /v1/transactions", transaction("11", &[transfer(1, 2, "1.00")]), taken);
    let own = transaction("12", &[transfer_with_id(12, 1, 2, "1.00")]);
    let reply = bank.client().request("POST /v1/transactions").send(own);
    assert_eq!(reply.summary(), "409 exists_with_different_kind at 0");
    for (id, code) in
        [("0", "id_must_not_be_zero"), (&u128::MAX.to_string(), "id_must_not_be_int_max")]
    {
        let body = transaction(id, &[transfer(1, 2, "1.00")]);
        bank.check("POST /v1/transactions", body, &format!("422 {code}"));
    }
    assert_eq!(bank.balance(2), "2.00");
}

#[test]
fn a_transaction_without_an_id_gets_one() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = json!({"transfers": [transfer(1, 2, "1.00")]});
    let made = bank.check("POST /v1/transactions", body, "201").json();
    let id = id_of(&made);
    assert_eq!(id.as_bytes().get(14), Some(&b'7'), "a UUID of version 7: {id}");
    assert_eq!(id_of(&bank.get(&format!("/v1/transactions/{id}"))), id);
    for id in ["1", "0"] {
        bank.check(&format!("GET /v1/transactions/{id}"), (), "404 transaction_not_found");
    }
}

#[test]
fn what_is_no_transaction_can_not_be_read() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for (body, expected) in [
        (json!({"id": "5"}), "400 transfers"),
        (json!({"id": "5", "transfers": {}}), "400 transfers"),
        (json!({"id": "5", "transfers": [], "colour": 1}), "400 colour"),
        (
            json!({"id": "5", "transfers": [transfer(1, 2, "1.00"), transfer(1, 2, "1.001")]}),
            "400 amount at 1",
        ),
        (
            json!({"id": "5", "transfers": [transfer(1, 2, "1.00"), transfer(1, 2, "-1")]}),
            "400 amount at 1",
        ),
    ] {
        bank.check("POST /v1/transactions", body, expected);
    }
    assert_eq!(bank.balance(2), "0.00");
    bank.check("GET /v1/transactions/5", (), "404 transaction_not_found");
}

#[test]
fn a_leg_that_happened_before_refuses_the_transaction() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let first = transaction("10", &[transfer_with_id(5, 1, 2, "1.00")]);
    bank.check("POST /v1/transactions", first, "201");
    bank.check("POST /v1/transfers", transfer_with_id(6, 1, 2, "1.00"), "201");
    let fresh = || transfer(1, 2, "1.00");
    for (id, legs, place) in [
        // A leg of another transaction, as it was and changed; a transfer; the same leg twice, as it was and changed.
        ("20", [fresh(), transfer_with_id(5, 1, 2, "1.00")], 1),
        ("21", [transfer_with_id(5, 1, 2, "2.00"), fresh()], 0),
        ("22", [fresh(), transfer_with_id(6, 1, 2, "1.00")], 1),
        ("23", [transfer_with_id(7, 1, 2, "1.00"), transfer_with_id(7, 1, 2, "1.00")], 1),
        ("24", [transfer_with_id(8, 1, 2, "1.00"), transfer_with_id(8, 1, 2, "2.00")], 1),
    ] {
        let reply = bank.client().request("POST /v1/transactions").send(transaction(id, &legs));
        assert!(matches!(reply.status, 409 | 422), "{id}: {reply:?}");
        reply.assert_problem();
        bank.check_code(&reply);
        assert_eq!(reply.json()["index"], place, "{id}: {reply:?}");
        bank.check(&format!("GET /v1/transactions/{id}"), (), "404 transaction_not_found");
    }
    assert_eq!(bank.balance(2), "2.00");
    for id in [7, 8] {
        bank.check(&format!("GET /v1/transfers/{id}"), (), "404 transfer_not_found");
        bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
    }
}
