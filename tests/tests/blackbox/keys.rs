//! `Idempotency-Key`: the first answer again, whole, for ever.

use std::sync::Barrier;
use std::thread;

use florin_tests::bank::{TestBank, id_of, transfer, transfer_with_id, with};
use serde_json::{Value, json};

fn key(value: &str) -> [(&str, &str); 1] {
    [("Idempotency-Key", value)]
}

/// A request of each kind of POST, and its first answer's status.
fn posts() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/v1/ledgers", json!({"id": 2, "currency": "EUR", "scale": 2, "name": ""}), "201"),
        ("/v1/accounts", json!({"id": "10"}), "201"),
        ("/v1/accounts/batch", json!([{"id": "11"}, {"id": "0"}]), "200"),
        ("/v1/transfers", transfer(1, 2, "1.00"), "201"),
        (
            "/v1/transfers/batch?results=all",
            json!([transfer(1, 2, "1.00"), transfer(1, 9, "1.00")]),
            "200",
        ),
        ("/v1/transactions", json!({"transfers": [transfer(1, 2, "1.00")]}), "201"),
        ("/transaction", json!({"from": 1, "to": 2, "amount": 1}), "201"),
        ("/process_transaction", json!({"from": 1, "to": 2, "amount": 1}), "201"),
        ("/account", json!({"account_id": 12, "balance": 5}), "201"),
    ]
}

#[test]
fn every_post_is_repeated_whole_also_after_a_restart() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    let mut first = Vec::new();
    for ((path, body, expected), number) in posts().into_iter().zip(0..) {
        let name = format!("key-{number}");
        let request = format!("POST {path}");
        let reply = bank.check_with(&request, &key(&name), body.clone(), expected);
        first.push((request, name, body, reply));
    }
    // Something else happens in between, so that an answer made anew would show it.
    bank.transfer(2, 1, "0.50");
    let again = |bank: &TestBank| {
        for (request, name, body, first) in &first {
            let expected = format!("{} replayed", first.status);
            let reply = bank.check_with(request, &key(name), body.clone(), &expected);
            assert_eq!(reply.json(), first.json(), "{request}");
            assert_eq!(reply.header("location"), first.header("location"), "{request}");
        }
    };
    again(&bank);
    bank.server.kill();
    bank.restart();
    again(&bank);
    bank.server.stop();
    bank.restart();
    again(&bank);
    assert_eq!(bank.balance(2), "4.50");
}

#[test]
fn a_key_belongs_to_one_method_path_and_content() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = with(transfer(1, 2, "1.00"), json!({"metadata": {"a": 1}}));
    let first = bank.check_with("POST /v1/transfers", &key("k"), body.clone(), "201").json();
    // Compared by meaning, not by bytes.
    for same in [
        json!({"amount": "1"}),
        json!({"code": 1, "ledger": null}),
        json!({"debit_account_id": 1, "flags": []}),
    ] {
        let body = with(body.clone(), same);
        let reply = bank.check_with("POST /v1/transfers", &key("k"), body, "201 replayed");
        assert_eq!(reply.json(), first);
    }
    let spaced = format!("  {body:#}\n");
    bank.check_with("POST /v1/transfers", &key("k"), spaced, "201 replayed");
    for other in [
        json!({"amount": "1.01"}),
        json!({"metadata": {"a": 2}}),
        json!({"user_data_32": 1}),
        json!({"id": "5"}),
    ] {
        let body = with(body.clone(), other);
        bank.check_with("POST /v1/transfers", &key("k"), body, "422 idempotency_key_reused");
    }
    let batch = json!([body]);
    let reply =
        bank.check_with("POST /v1/transfers/batch", &key("k"), batch, "422 idempotency_key_reused");
    assert_eq!(reply.json()["retry"], "never");
    assert_eq!(bank.balance(2), "1.00");
}

#[test]
fn a_key_is_bare_or_quoted_and_1_to_255_characters() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = transfer(1, 2, "1.00");
    bank.check_with("POST /v1/transfers", &key("abc"), body.clone(), "201");
    bank.check_with("POST /v1/transfers", &key("\"abc\""), body.clone(), "201 replayed");
    let longest = "x".repeat(255);
    bank.check_with("POST /v1/transfers", &key(&longest), body.clone(), "201");
    bank.check_with("POST /v1/transfers", &key(&longest), body.clone(), "201 replayed");
    for bad in ["", "\"\"", &"x".repeat(256)] {
        let mut request = bank.client().request("POST /v1/transfers");
        request = request.header("Idempotency-Key", bad);
        let reply = request.send(body.clone());
        assert_eq!(reply.status, 400, "{bad}: {reply:?}");
        reply.assert_problem();
    }
    assert_eq!(bank.balance(2), "2.00");
}

#[test]
fn a_refusal_leaves_the_key_free_but_burns_an_explicit_id() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "1.00");
    let without_id = transfer(2, 1, "5.00");
    let with_id = transfer_with_id(55, 2, 1, "5.00");
    bank.check_with("POST /v1/transfers", &key("a"), without_id.clone(), "422 exceeds_credits");
    bank.check_with("POST /v1/transfers", &key("b"), with_id.clone(), "422 exceeds_credits");
    let transaction = json!({"transfers": [transfer(2, 1, "5.00")]});
    let refused = "422 exceeds_credits at 0";
    bank.check_with("POST /v1/transactions", &key("c"), transaction.clone(), refused);
    bank.transfer(1, 2, "20.00");
    bank.check_with("POST /v1/transfers", &key("a"), without_id.clone(), "201");
    bank.check_with("POST /v1/transfers", &key("a"), without_id, "201 replayed");
    bank.check_with("POST /v1/transfers", &key("b"), with_id, "422 id_already_failed");
    bank.check_with("POST /v1/transactions", &key("c"), transaction.clone(), "201");
    bank.check_with("POST /v1/transactions", &key("c"), transaction, "201 replayed");
    // The key may be used for something else, too: nothing was ever answered under it.
    bank.check_with("POST /v1/transfers", &key("b"), transfer(2, 1, "1.00"), "201");
    assert_eq!(bank.balance(2), "10.00");
}

#[test]
fn what_can_not_be_read_leaves_the_key_free() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let bad = transfer(1, 2, "1.001");
    bank.check_with("POST /v1/transfers", &key("a"), bad, "400 amount");
    bank.check_with("POST /v1/transfers", &key("a"), transfer(1, 2, "1.00"), "201");
}

#[test]
fn a_key_and_an_id_together_agree() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = transfer_with_id(5, 1, 2, "1.00");
    bank.check_with("POST /v1/transfers", &key("a"), body.clone(), "201");
    bank.check_with("POST /v1/transfers", &key("a"), body.clone(), "201 replayed");
    bank.check("POST /v1/transfers", body.clone(), "200 replayed");
    // Another key, the same id: the id was decided before.
    bank.check_with("POST /v1/transfers", &key("b"), body, "200 replayed");
    assert_eq!(bank.balance(2), "1.00");
}

#[test]
fn many_at_once_under_one_key_happen_once() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for round in 0..10 {
        let name = format!("crowd-{round}");
        let start = Barrier::new(8);
        let replies: Vec<_> = thread::scope(|scope| {
            let ask = || {
                let client = bank.server.client();
                start.wait();
                let request = client.request("POST /v1/transfers");
                request.header("Idempotency-Key", &name).send(transfer(1, 2, "1.00"))
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panic!())).collect()
        });
        let mut first = 0;
        let mut ids = Vec::new();
        for reply in replies {
            match reply.summary().as_str() {
                "201" => first += 1,
                "201 replayed" => {}
                "409 request_in_progress" => continue,
                other => panic!("{other}: {reply:?}"),
            }
            ids.push(id_of(&reply.json()));
        }
        ids.dedup();
        assert_eq!((first, ids.len()), (1, 1), "round {round}");
    }
    assert_eq!(bank.balance(2), "10.00");
}
