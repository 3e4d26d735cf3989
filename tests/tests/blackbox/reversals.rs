//! What is taken back: single transfers and whole transactions, posted, voided and reversed at once.

use std::thread;

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use florin_tests::server::{SMALL_SEGMENTS, TestServer};
use serde_json::{Value, json};

fn pending(id: u128, debit: u128, credit: u128, amount: &str) -> Value {
    with(transfer_with_id(id, debit, credit, amount), json!({"flags": ["pending"]}))
}

/// A bank whose accounts 1 and 2 can not be overdrawn; 1 has money.
fn bank() -> TestBank {
    let bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.funded(2, "0.00");
    bank.account(3);
    bank
}

fn balances(bank: &TestBank) -> [String; 3] {
    [1, 2, 3].map(|id| bank.balance(id))
}

#[test]
fn a_transfer_is_taken_back_once() {
    let mut bank = bank();
    let first = with(transfer_with_id(10, 1, 2, "60.00"), json!({"code": 7, "user_data_64": "5"}));
    bank.check("POST /v1/transfers", first, "201");
    let said = json!({"id": "11", "user_data_128": "9", "metadata": {"why": "returned"}});
    let reply = bank.check("POST /v1/transfers/10/reverse", said.clone(), "201");
    assert_eq!(reply.header("location"), Some("/v1/transfers/11"));
    let made = reply.json();
    for (field, expected) in [
        ("reverses", json!("10")),
        ("debit_account_id", json!("2")),
        ("credit_account_id", json!("1")),
        ("amount", json!("60.00")),
        ("code", json!(7)),
        ("status", json!("posted")),
        ("user_data_128", json!("9")),
        ("user_data_64", json!("0")),
        ("metadata", json!({"why": "returned"})),
    ] {
        assert_eq!(made[field], expected, "{field} of {made}");
    }
    assert_eq!(made["credit_account"]["balance"], "100.00");
    assert_eq!(balances(&bank), ["100.00", "0.00", "0.00"]);
    let again = "422 already_reversed";
    for _ in 0..2 {
        bank.check("POST /v1/transfers/10/reverse", said.clone(), "200 replayed");
        bank.check("POST /v1/transfers/10/reverse", (), again);
        let other = with(said.clone(), json!({"user_data_128": "8"}));
        let differs = "409 exists_with_different_user_data_128";
        bank.check("POST /v1/transfers/10/reverse", other, differs);
        let read = bank.get("/v1/transfers/11");
        assert_eq!((&read["reverses"], &read["id"]), (&json!("10"), &json!("11")));
        assert!(bank.get("/v1/transfers/10").get("reverses").is_none());
        let listed = bank.list("/v1/accounts/1/transfers?order=asc");
        let reverses: Vec<&Value> = listed.iter().map(|shown| &shown["reverses"]).collect();
        assert_eq!(reverses[1..], [&Value::Null, &json!("10")]);
        bank.server.stop();
        bank.server.verify();
        bank.restart();
    }
    // A reversal is a transfer like others.
    let back = bank.check("POST /v1/transfers/11/reverse", json!({"id": "12"}), "201").json();
    assert_eq!((&back["reverses"], &back["debit_account_id"]), (&json!("11"), &json!("1")));
    assert_eq!(balances(&bank), ["40.00", "60.00", "0.00"]);
}

#[test]
fn what_can_not_be_taken_back_is_refused() {
    let bank = bank();
    bank.transfer(1, 2, "1.00");
    // There is none; as other passing refusals that uses up an id that was named.
    let missing = "404 reversed_transfer_not_found";
    bank.check("POST /v1/transfers/77/reverse", (), missing);
    let reply = bank.check("POST /v1/transfers/77/reverse", json!({"id": "78"}), missing);
    assert_eq!((&reply.json()["id"], &reply.json()["retry"]), (&json!("78"), &json!("new_id")));
    let burned = "422 id_already_failed";
    bank.check("POST /v1/transfers/77/reverse", json!({"id": "78"}), burned);
    bank.check("POST /v1/transactions/77/reverse", json!({"id": "79"}), missing);
    bank.check("POST /v1/transactions/77/reverse", json!({"id": "79"}), burned);
    for verb in ["post", "void"] {
        let asked = format!("POST /v1/transactions/77/{verb}");
        bank.check(&asked, (), "404 transaction_not_found");
    }
    bank.check("POST /v1/transfers/x/reverse", (), "400 id");
    bank.check("POST /v1/transfers/77/reverse", json!({"amount": "1.00"}), "400 amount");
    bank.check("POST /v1/transactions/77/void", json!({"amount": "1.00"}), "400 amount");
    bank.check("POST /v1/transfers/77/reverse", json!({"id": "0"}), "422 id_must_not_be_zero");

    bank.check("POST /v1/transfers", pending(20, 1, 2, "5.00"), "201");
    let not_reversible = "422 transfer_not_reversible";
    bank.check("POST /v1/transfers/20/reverse", (), not_reversible);
    bank.check("POST /v1/transfers/20/void", json!({"id": "21"}), "201");
    bank.check("POST /v1/transfers/21/reverse", (), not_reversible);
    // The money is gone; when it is back, a new try needs a new id.
    bank.check("POST /v1/transfers", transfer_with_id(30, 1, 2, "50.00"), "201");
    bank.transfer(2, 3, "51.00");
    let reply =
        bank.check("POST /v1/transfers/30/reverse", json!({"id": "31"}), "422 exceeds_credits");
    let figures = (reply.json()["available"].clone(), reply.json()["requested"].clone());
    assert_eq!(figures, (json!("0.00"), json!("50.00")));
    bank.transfer(3, 2, "50.00");
    bank.check("POST /v1/transfers/30/reverse", json!({"id": "31"}), burned);
    bank.check("POST /v1/transfers/30/reverse", json!({"id": "32"}), "201");
    // A transaction is no transfer, nor the other way round.
    let legs = json!([transfer_with_id(41, 1, 2, "1.00")]);
    bank.check("POST /v1/transactions", json!({"id": "40", "transfers": legs}), "201");
    bank.check("POST /v1/transfers/40/reverse", (), missing);
    bank.check("POST /v1/transactions/41/reverse", (), missing);
    bank.check("POST /v1/transactions/41/post", (), "404 transaction_not_found");
}

#[test]
fn a_key_answers_a_reversal_whole() {
    let bank = bank();
    bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "60.00"), "201");
    bank.check("POST /v1/transfers", transfer_with_id(20, 1, 2, "1.00"), "201");
    let legs = json!([transfer_with_id(31, 1, 2, "1.00"), transfer(1, 3, "2.00")]);
    bank.check("POST /v1/transactions", json!({"id": "30", "transfers": legs}), "201");
    let key = [("Idempotency-Key", "back")];
    let first = bank.check_with("POST /v1/transfers/10/reverse", &key, (), "201");
    let again = bank.check_with("POST /v1/transfers/10/reverse", &key, json!({}), "201 replayed");
    assert_eq!(again.body, first.body);
    let reused = "422 idempotency_key_reused";
    bank.check_with("POST /v1/transfers/20/reverse", &key, (), reused);
    let other = json!({"metadata": {"a": 1}});
    bank.check_with("POST /v1/transfers/10/reverse", &key, other, reused);
    let condition = json!({"conditions": [{"account_id": "1", "version": {"gt": 0}}]});
    bank.check_with("POST /v1/transfers/10/reverse", &key, condition, reused);
    let key = [("Idempotency-Key", "all-back")];
    let first = bank.check_with("POST /v1/transactions/30/reverse", &key, (), "201");
    let again = bank.check_with("POST /v1/transactions/30/reverse", &key, (), "201 replayed");
    assert_eq!(again.body, first.body);
    bank.check_with("POST /v1/transactions/30/void", &key, (), reused);
    assert_eq!(balances(&bank), ["99.00", "1.00", "0.00"]);
}

#[test]
fn a_whole_transaction_is_posted_voided_and_reversed() {
    let mut bank = TestBank::of(TestServer::start_with(&SMALL_SEGMENTS));
    bank.funded(1, "100.00");
    bank.funded(2, "0.00");
    bank.account(3);
    let legs = |id: u128| {
        let plain = transfer_with_id(id + 3, 1, 3, "0.50");
        let legs = [pending(id + 1, 1, 2, "5.00"), pending(id + 2, 1, 3, "3.00"), plain];
        json!({"id": id.to_string(), "transfers": legs})
    };
    bank.check("POST /v1/transactions", legs(10), "201");
    bank.check("POST /v1/transactions", legs(20), "201");

    let said = json!({"id": "90", "metadata": {"order": 5}});
    let reply = bank.check("POST /v1/transactions/10/post", said.clone(), "201");
    assert_eq!(reply.header("location"), Some("/v1/transactions/90"));
    let posted = reply.json();
    assert_eq!((&posted["status"], &posted["metadata"]), (&json!("posted"), &json!({"order": 5})));
    let of = |transaction: &Value, field: &str| -> Vec<Value> {
        let legs = transaction["transfers"].as_array().cloned().unwrap_or_default();
        legs.iter().map(|leg| leg[field].clone()).collect()
    };
    assert_eq!(of(&posted, "pending_id"), ["11", "12"]);
    assert_eq!(of(&posted, "amount"), ["5.00", "3.00"]);
    assert_eq!(balances(&bank), ["91.00", "5.00", "4.00"]);
    bank.check("POST /v1/transactions/10/post", said, "200 replayed");
    let settled = "422 pending_transfer_already_posted at 0";
    bank.check("POST /v1/transactions/10/void", (), settled);
    assert_eq!(bank.get("/v1/transactions/10")["status"], "posted");

    let voided = bank.check("POST /v1/transactions/20/void", json!({"id": "91"}), "201").json();
    assert_eq!(voided["status"], "voided");
    assert_eq!(bank.get("/v1/accounts/1")["debits_pending"], "0.00");
    bank.check("POST /v1/transactions/20/post", (), "422 pending_transfer_already_voided at 0");
    // Nothing of it waits: one leg did never.
    let none = json!({"id": "50", "transfers": [transfer_with_id(51, 1, 2, "1.00")]});
    bank.check("POST /v1/transactions", none, "201");
    bank.check("POST /v1/transactions/50/post", (), "422 pending_transfer_not_pending at 0");

    // What reserves is not taken back; what posted is, the last leg first.
    bank.check("POST /v1/transactions/10/reverse", (), "422 transfer_not_reversible at 1");
    let back = bank.check("POST /v1/transactions/90/reverse", json!({"id": "92"}), "201").json();
    let ids: Vec<Value> = of(&posted, "id").into_iter().rev().collect();
    assert_eq!(of(&back, "reverses"), ids);
    assert_eq!(balances(&bank), ["98.00", "1.00", "1.00"]);
    bank.check("POST /v1/transactions/90/reverse", (), "422 already_reversed at 0");
    for _ in 0..2 {
        bank.check("POST /v1/transactions/90/reverse", json!({"id": "92"}), "200 replayed");
        let read = bank.get("/v1/transactions/92");
        assert_eq!(of(&read, "reverses"), ids);
        assert_eq!(of(&read, "id"), of(&back, "id"), "ids of legs follow from the transaction's");
        bank.server.stop();
        bank.server.verify();
        bank.restart();
    }
    // One leg was taken back by itself: all or none.
    let two = [transfer_with_id(61, 1, 2, "1.00"), transfer_with_id(62, 1, 3, "1.00")];
    bank.check("POST /v1/transactions", json!({"id": "60", "transfers": two}), "201");
    bank.check("POST /v1/transfers/62/reverse", (), "201");
    let before = balances(&bank);
    bank.check("POST /v1/transactions/60/reverse", (), "422 already_reversed at 0");
    assert_eq!(balances(&bank), before);
}

#[test]
fn of_many_who_take_it_back_one_does() {
    let mut bank = bank();
    bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "60.00"), "201");
    let told: Vec<String> = thread::scope(|scope| {
        let asked = || bank.client().request("POST /v1/transfers/10/reverse").send(()).summary();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(asked)).collect();
        threads.into_iter().map(|one| one.join().unwrap_or_default()).collect()
    });
    let count = |summary: &str| told.iter().filter(|told| *told == summary).count();
    assert_eq!((count("201"), count("422 already_reversed")), (1, 7), "{told:?}");
    assert_eq!(balances(&bank), ["100.00", "0.00", "0.00"]);
    bank.server.kill();
    bank.restart();
    bank.check("POST /v1/transfers/10/reverse", (), "422 already_reversed");
    assert_eq!(balances(&bank), ["100.00", "0.00", "0.00"]);
    bank.server.stop();
    bank.server.verify();
}
