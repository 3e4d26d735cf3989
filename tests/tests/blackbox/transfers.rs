//! `/v1/transfers`: one movement of money, its rejections in their order, and the rule that an id is decided once.

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with, without};
use florin_tests::compare::assert_includes;
use serde_json::{Value, json};

#[test]
fn a_transfer_is_answered_with_both_accounts_after_it() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "100.00");
    let body = json!({
        "id": "77", "debit_account_id": "2", "credit_account_id": 1, "amount": "10.50",
        "ledger": 1, "code": 9, "user_data_128": "1", "user_data_64": "2", "user_data_32": 3,
        "effective_at": "2024-02-29T12:00:00Z", "metadata": {"invoice": "A-1"},
    });
    let reply = bank.check("POST /v1/transfers", body, "201");
    assert_eq!(reply.header("location"), Some("/v1/transfers/77"));
    let transfer = json!({
        "id": "77", "debit_account_id": "2", "credit_account_id": "1", "amount": "10.50",
        "ledger": 1, "code": 9, "flags": [], "user_data_128": "1", "user_data_64": "2",
        "user_data_32": 3, "effective_at": "2024-02-29T12:00:00.000000000Z",
        "metadata": {"invoice": "A-1"}, "status": "posted", "timestamp": "…",
    });
    assert_includes(&reply.json(), &transfer);
    let sides = json!({
        "debit_account": {"id": "2", "balance": "89.50", "available": "89.50", "version": 2},
        "credit_account": {"id": "1", "balance": "10.50", "available": "10.50", "version": 1},
    });
    assert_includes(&reply.json(), &sides);
    let read = bank.get("/v1/transfers/77");
    assert_includes(&read, &transfer);
    assert_eq!(read["timestamp"], reply.json()["timestamp"]);
    assert_eq!(bank.balance(1), "10.50");
    assert_eq!(bank.balance(2), "89.50");
}

#[test]
fn a_transfer_needs_two_accounts_and_an_amount() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let made = bank.transfer(1, 2, "1.00");
    let expected = json!({"code": 1, "ledger": 1, "flags": [], "metadata": {}, "status": "posted"});
    assert_includes(&made, &expected);
    let id = made["id"].as_str().unwrap_or_default();
    assert_eq!(id.len(), 36, "a UUID: {id}");
    assert_eq!(id.as_bytes()[14], b'7', "of version 7: {id}");
    for field in ["debit_account_id", "credit_account_id", "amount"] {
        let body = without(transfer(1, 2, "1.00"), field);
        bank.check("POST /v1/transfers", body, &format!("400 {field}"));
    }
}

#[test]
fn the_same_transfer_again_is_the_first_outcome_and_another_is_a_conflict() {
    let bank = TestBank::with_accounts(&[1, 2, 3]);
    bank.post("/v1/ledgers", json!({"id": 4, "currency": "EUR", "scale": 2, "name": ""}));
    let body = with(transfer_with_id(50, 1, 2, "5.00"), json!({"metadata": {"a": [1, {"b": 2}]}}));
    let first = bank.check("POST /v1/transfers", body.clone(), "201").json();
    for same in [
        json!({}),
        json!({"id": 50}),
        json!({"amount": "5"}),
        json!({"ledger": 1}),
        json!({"code": 1, "flags": [], "user_data_32": 0, "effective_at": null}),
        json!({"metadata": {"a": [1, {"b": 2}]}}),
    ] {
        let reply = bank.check("POST /v1/transfers", with(body.clone(), same), "200 replayed");
        let again = reply.json();
        assert_eq!(again["timestamp"], first["timestamp"]);
        assert_eq!(again["id"], "50");
        assert!(again.get("debit_account").is_none(), "they belonged to that moment: {again}");
        assert!(again.get("credit_account").is_none(), "they belonged to that moment: {again}");
    }
    for (other, field) in [
        (json!({"flags": ["linked"]}), None),
        (json!({"debit_account_id": "3", "amount": "6.00"}), Some("debit_account_id")),
        (json!({"credit_account_id": "3", "amount": "6.00"}), Some("credit_account_id")),
        (json!({"amount": "6.00", "user_data_64": "1"}), Some("amount")),
        (json!({"user_data_128": "1", "user_data_64": "1"}), Some("user_data_128")),
        (json!({"user_data_64": "1", "user_data_32": 1}), Some("user_data_64")),
        (json!({"user_data_32": 1, "code": 2}), Some("user_data_32")),
        (json!({"ledger": 4, "code": 2}), Some("ledger")),
        (json!({"code": 2}), Some("code")),
        (json!({"effective_at": "2024-01-01T00:00:00Z"}), Some("effective_at")),
        (json!({"metadata": {"a": [1, {"b": 3}]}}), Some("metadata")),
        (json!({"metadata": null}), Some("metadata")),
        (json!({"timeout": 1}), Some("timeout")),
        (json!({"pending_id": "1", "timeout": 1}), Some("pending_id")),
    ] {
        let expected = match field {
            Some(field) => format!("409 exists_with_different_{field}"),
            None => "422 linked_event_chain_open".to_owned(),
        };
        bank.check("POST /v1/transfers", with(body.clone(), other), &expected);
    }
    assert_eq!(bank.balance(2), "5.00");
    assert_eq!(bank.balance(3), "0.00");
    assert_eq!(bank.list("/v1/transfers").len(), 1);
}

#[test]
fn rejections_come_in_their_order_of_precedence() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let max = u128::MAX.to_string();
    bank.post("/v1/ledgers", json!({"id": 2, "currency": "EUR", "scale": 2, "name": ""}));
    bank.account_with(json!({"id": 3, "ledger": 2}), &[]);
    bank.account_with(json!({"id": 4, "ledger": 2}), &["closed"]);
    bank.account_with(json!({"id": 5, "ledger": 2}), &["closed"]);
    // From the last in the order to the first: each is met before all those above it. Without an id nothing is burned.
    let mut body = transfer(3, 4, "1.00");
    for (change, code) in [
        (json!({}), "credit_account_already_closed"),
        (json!({"debit_account_id": "5"}), "debit_account_already_closed"),
        (json!({"ledger": 1}), "transfer_must_have_the_same_ledger_as_accounts"),
        (json!({"credit_account_id": "1"}), "accounts_must_have_the_same_ledger"),
        (json!({"credit_account_id": "98"}), "credit_account_not_found"),
        (json!({"debit_account_id": "99"}), "debit_account_not_found"),
        (json!({"code": 0}), "code_must_not_be_zero"),
        (json!({"ledger": 77}), "ledger_not_found"),
        (json!({"ledger": 0}), "ledger_must_not_be_zero"),
        (json!({"timeout": 5}), "timeout_reserved_for_pending_transfer"),
        (json!({"pending_id": "5"}), "pending_id_must_be_zero"),
        (json!({"debit_account_id": "98"}), "accounts_must_be_different"),
        (json!({"credit_account_id": max}), "credit_account_id_must_not_be_int_max"),
        (json!({"credit_account_id": 0}), "credit_account_id_must_not_be_zero"),
        (json!({"debit_account_id": max}), "debit_account_id_must_not_be_int_max"),
        (json!({"debit_account_id": 0}), "debit_account_id_must_not_be_zero"),
        (json!({"id": max}), "id_must_not_be_int_max"),
        (json!({"id": 0}), "id_must_not_be_zero"),
        (json!({"flags": ["linked"]}), "linked_event_chain_open"),
    ] {
        body = with(body, change);
        bank.check("POST /v1/transfers", body.clone(), &format!("422 {code}"));
    }
    assert!(bank.list("/v1/transfers").is_empty());
    for id in [1, 2, 3, 4, 5] {
        assert_eq!(bank.get(&format!("/v1/accounts/{id}"))["version"], 0);
    }
}

#[test]
fn a_passing_refusal_burns_the_id_and_a_lasting_one_does_not() {
    let bank = TestBank::with_accounts(&[1]);
    bank.account_with(json!({"id": 2}), &["debits_must_not_exceed_credits"]);
    bank.account_with(json!({"id": 3}), &["credits_must_not_exceed_debits"]);
    bank.account_with(json!({"id": 4}), &["closed"]);
    for (id, debit, credit, code) in [
        (101, 2, 1, "exceeds_credits"),
        (102, 1, 3, "exceeds_debits"),
        (103, 9, 1, "debit_account_not_found"),
        (104, 1, 9, "credit_account_not_found"),
        (105, 4, 1, "debit_account_already_closed"),
        (106, 1, 4, "credit_account_already_closed"),
    ] {
        let body = transfer_with_id(id, debit, credit, "1.00");
        bank.check("POST /v1/transfers", body, &format!("422 {code}"));
    }
    for (id, change) in [
        (201, json!({"code": 0})),
        (202, json!({"timeout": 1})),
        (203, json!({"credit_account_id": "1"})),
        (204, json!({"ledger": 5})),
    ] {
        let body = with(transfer_with_id(id, 1, 2, "1.00"), change);
        let reply = bank.client().request("POST /v1/transfers").send(body);
        assert_eq!(reply.status, 422, "{reply:?}");
    }
    // Now all of them could be accepted.
    bank.transfer(1, 2, "10.00");
    bank.account(9);
    for id in 101..=106 {
        let body = transfer_with_id(id, 2, 1, "1.00");
        let reply = bank.check("POST /v1/transfers", body, "422 id_already_failed");
        assert_eq!(reply.json()["retry"], "new_id");
        bank.check(&format!("GET /v1/transfers/{id}"), (), "404 transfer_not_found");
    }
    for id in 201..=204 {
        bank.check("POST /v1/transfers", transfer_with_id(id, 2, 1, "1.00"), "201");
    }
}

#[test]
fn a_refusal_for_want_of_money_carries_the_figures() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "12.34");
    let reply =
        bank.check("POST /v1/transfers", transfer_with_id(9, 2, 1, "12.35"), "422 exceeds_credits");
    let problem = reply.json();
    assert_includes(&problem, &json!({"available": "12.34", "requested": "12.35", "id": "9"}));
    assert_eq!(problem["retry"], "new_id");
    bank.check("POST /v1/transfers", transfer(2, 1, "12.34"), "201");
    assert_eq!(bank.balance(2), "0.00");
}

#[test]
fn nothing_is_an_amount_too() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for amount in [json!("0"), json!("0.00"), json!(0)] {
        let body = with(transfer(1, 2, ""), json!({"amount": amount}));
        assert_eq!(bank.check("POST /v1/transfers", body, "201").json()["amount"], "0.00");
    }
}

#[test]
fn amounts_are_read_digit_for_digit() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for (written, shown) in [
        (r#""10""#, "10.00"),
        (r#""10.5""#, "10.50"),
        ("10.05", "10.05"),
        ("10", "10.00"),
        // A number that no binary fraction holds.
        ("90071992547409931.17", "90071992547409931.17"),
        (r#""007.10""#, "7.10"),
    ] {
        let body = format!(r#"{{"debit_account_id":1,"credit_account_id":2,"amount":{written}}}"#);
        let made = bank.check("POST /v1/transfers", body, "201").json();
        assert_eq!(made["amount"], shown, "{written}");
        assert_eq!(
            bank.get(&format!("/v1/transfers/{}", made["id"].as_str().unwrap_or("")))["amount"],
            shown
        );
    }
}

#[test]
fn a_transfer_that_is_not_there_is_404() {
    let bank = TestBank::open();
    for id in ["1", "0", "0190a3b4-5c6d-7e8f-9a0b-1c2d3e4f5061"] {
        bank.check(&format!("GET /v1/transfers/{id}"), (), "404 transfer_not_found");
    }
    for id in ["x", "-1", "340282366920938463463374607431768211456"] {
        let reply = bank.client().request(&format!("GET /v1/transfers/{id}")).send(());
        assert_eq!(reply.status, 400, "{reply:?}");
        reply.assert_problem();
    }
}

#[test]
fn times_increase_in_the_order_of_decisions() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let made: Vec<Value> = (0..20).map(|_| bank.transfer(1, 2, "1.00")).collect();
    let times: Vec<&str> = made.iter().filter_map(|made| made["timestamp"].as_str()).collect();
    assert!(times.iter().all(|time| time.len() == 30 && time.ends_with('Z')), "{times:?}");
    assert!(times.is_sorted_by(|before, after| before < after), "{times:?}");
}
