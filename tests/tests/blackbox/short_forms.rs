//! The short forms, for the client that wants the least.

use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, id_of, transfer_with_id, with};
use florin_tests::compare::assert_includes;
use serde_json::{Value, json};

/// The text of a number in a JSON answer, digit for digit.
fn digits<'a>(body: &'a str, field: &str) -> &'a str {
    let mark = format!("\"{field}\":");
    let start = body.find(&mark).map(|at| at + mark.len()).unwrap_or_default();
    let rest = body[start..].trim_start();
    rest.split([',', '}']).next().unwrap_or_default().trim()
}

#[test]
fn an_account_is_opened_with_its_balance() {
    let bank = TestBank::open();
    let body = json!({"account_id": 1, "balance": 500});
    let reply = bank.check("POST /account", body.clone(), "201");
    assert_eq!(digits(&reply.body, "account_id"), "1");
    assert_eq!(digits(&reply.body, "balance"), "500.00");
    let reply = bank.check("POST /account", body.clone(), "200 replayed");
    assert_eq!(digits(&reply.body, "balance"), "500.00");
    let other = with(body, json!({"balance": 501}));
    bank.check("POST /account", other, "409 exists_with_different_balance");
    let account = bank.get("/v1/accounts/1");
    let expected = json!({
        "ledger": 1, "flags": ["debits_must_not_exceed_credits"], "balance": "500.00",
        "credits_posted": "500.00", "available": "500.00",
    });
    assert_includes(&account, &expected);
    // The money comes from somewhere: the ledger still balances.
    let totals = bank.get("/v1/ledgers/1")["totals"].clone();
    assert_eq!(totals["debits_posted"], totals["credits_posted"]);
    assert_eq!(bank.list("/v1/accounts/1/transfers").len(), 1);
}

#[test]
fn an_account_without_a_balance_is_empty() {
    let bank = TestBank::open();
    for (id, body) in [
        (2, json!({"account_id": 2, "balance": 0})),
        (3, json!({"account_id": "3", "balance": "0.00"})),
    ] {
        let reply = bank.check("POST /account", body, "201");
        assert_eq!(digits(&reply.body, "account_id"), id.to_string());
        assert_eq!(digits(&reply.body, "balance"), "0.00");
    }
    bank.check("POST /account", json!({"account_id": 0, "balance": 1}), "422 id_must_not_be_zero");
    let max = u128::MAX.to_string();
    let body = json!({"account_id": max, "balance": 1});
    bank.check("POST /account", body, "422 id_must_not_be_int_max");
}

#[test]
fn money_is_sent_by_either_name() {
    let bank = TestBank::open();
    bank.funded(1, "500.00");
    bank.funded(2, "0");
    for path in ["/transaction", "/process_transaction"] {
        let reply =
            bank.check(&format!("POST {path}"), json!({"from": 1, "to": 2, "amount": 100}), "201");
        let answer = reply.json();
        assert_eq!(answer["status"], "completed");
        let id = answer["txn_id"].as_str().unwrap_or_default();
        assert_eq!(bank.get(&format!("/v1/transfers/{id}"))["amount"], "100.00");
    }
    assert_eq!(bank.balance(2), "200.00");
    let whole = json!({"from": 1, "to": 2, "amount": "300.01"});
    bank.check("POST /transaction", whole, "422 exceeds_credits");
    let unknown = json!({"from": 1, "to": 9, "amount": 1});
    bank.check("POST /transaction", unknown, "422 credit_account_not_found");
    assert_eq!(bank.balance(2), "200.00");
}

#[test]
fn a_short_transfer_has_the_same_guarantees() {
    let bank = TestBank::open();
    bank.funded(1, "500.00");
    bank.funded(2, "0");
    let body = json!({"txn_id": "77", "from": 1, "to": 2, "amount": 10.25});
    let first = bank.check("POST /transaction", body.clone(), "201").json();
    assert_includes(&first, &json!({"txn_id": "77", "status": "completed"}));
    let again = bank.check("POST /transaction", body.clone(), "200 replayed").json();
    assert_includes(&again, &json!({"txn_id": "77", "status": "completed"}));
    let other = with(body, json!({"amount": 11}));
    bank.check("POST /transaction", other, "409 exists_with_different_amount");
    let key = [("Idempotency-Key", "short-1")];
    let body = json!({"from": 1, "to": 2, "amount": 1});
    let first = bank.check_with("POST /transaction", &key, body.clone(), "201").json();
    let again = bank.check_with("POST /transaction", &key, body.clone(), "201 replayed").json();
    assert_eq!(first, again);
    let reuse = with(body, json!({"amount": 2}));
    bank.check_with("POST /transaction", &key, reuse, "422 idempotency_key_reused");
    assert_eq!(bank.balance(2), "11.25");
}

#[test]
fn a_balance_is_exact_digits() {
    let bank = TestBank::open();
    // Beyond what a double holds, and an id beyond what one holds.
    let body = r#"{"account_id":9007199254740993,"balance":90071992547409931.17}"#;
    bank.check("POST /account", body, "201");
    let reply = bank.check("GET /balance/9007199254740993", (), "200");
    assert_eq!(digits(&reply.body, "balance"), "90071992547409931.17");
    assert_eq!(digits(&reply.body, "account_id"), r#""9007199254740993""#);
    assert_eq!(digits(&reply.body, "cached"), "false");
    let reply =
        bank.check("POST /account", r#"{"account_id":9007199254740991,"balance":1}"#, "201");
    assert_eq!(digits(&reply.body, "account_id"), "9007199254740991");
    bank.check("GET /balance/5", (), "404 account_not_found");
    assert_eq!(bank.client().request("GET /balance/x").send(()).status, 400);
}

#[test]
fn transactions_are_listed_newest_first_with_a_link_to_the_next_page() {
    let bank = TestBank::open();
    bank.funded(1, "500.00");
    bank.account(2);
    for amount in 1..=5 {
        let body = json!({"txn_id": amount + 100, "from": 1, "to": 2, "amount": amount});
        bank.check("POST /transaction", body, "201");
    }
    let mut path = "/transactions?limit=2".to_owned();
    let mut ids = Vec::new();
    let mut pages = 0;
    loop {
        let reply = bank.check(&format!("GET {path}"), (), "200");
        let page = reply.json();
        ids.extend(page.as_array().map(|page| page.iter().map(id_of).collect()).unwrap_or(vec![]));
        pages += 1;
        assert!(pages <= 4, "it goes on for ever");
        let Some(link) = reply.header("link") else { break };
        let (next, rest) = link.split_once('>').unwrap_or_default();
        assert!(rest.contains(r#"rel="next""#), "{link}");
        let next = next.trim_start_matches('<');
        path = next.strip_prefix(bank.client().base()).unwrap_or(next).to_owned();
    }
    // The sixth, the oldest, is the opening balance of account 1.
    assert_eq!(ids.len(), 6);
    assert_eq!(ids[..5], ["105", "104", "103", "102", "101"]);
    let reply = bank.check("GET /transactions?limit=1", (), "200");
    let newest = json!([{"id": "105", "from": 1, "to": 2, "status": "completed"}]);
    assert_includes(&reply.json(), &newest);
    assert_eq!(digits(&reply.body, "amount"), "5.00");
    assert_eq!(bank.check("GET /transactions", (), "200").json().as_array().map(Vec::len), Some(6));
}

#[test]
fn the_list_tells_what_has_moved_from_what_has_not() {
    let bank = TestBank::open();
    bank.funded(1, "500.00");
    bank.account(2);
    let pending = |id: u128, timeout: u32| {
        let changes = json!({"flags": ["pending"], "timeout": timeout});
        bank.check("POST /v1/transfers", with(transfer_with_id(id, 1, 2, "5.00"), changes), "201");
    };
    pending(10, 0);
    pending(11, 0);
    pending(12, 0);
    pending(13, 1);
    bank.check("POST /v1/transfers/11/post", json!({"id": "21"}), "201");
    bank.check("POST /v1/transfers/12/void", json!({"id": "22"}), "201");
    bank.check("POST /transaction", json!({"txn_id": 23, "from": 1, "to": 2, "amount": 1}), "201");
    let deadline = Instant::now() + Duration::from_secs(30);
    while bank.get("/v1/transfers/13")["status"] != "expired" {
        assert!(Instant::now() < deadline, "it does not expire");
        thread::sleep(Duration::from_millis(50));
    }
    let seq = bank.client().seen();
    let list = bank.check(&format!("GET /transactions?limit=7&min_seq={seq}"), (), "200").json();
    let shown: Vec<String> = list
        .as_array()
        .into_iter()
        .flatten()
        .map(|line| format!("{} {}", id_of(line), line["status"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        "23 completed",
        "22 voided",
        "21 completed",
        "13 expired",
        "12 voided",
        "11 completed",
        "10 pending",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn what_can_not_be_read_is_named() {
    let bank = TestBank::open();
    bank.funded(1, "10.00");
    bank.funded(2, "0");
    let good = json!({"from": 1, "to": 2, "amount": 1});
    for (change, field) in [
        (json!({"amount": 1.001}), "amount"),
        (json!({"amount": -1}), "amount"),
        (json!({"amount": "1e2"}), "amount"),
        (json!({"from": "x"}), "from"),
        (json!({"to": -2}), "to"),
        (json!({"txn_id": 1.5}), "txn_id"),
        (json!({"colour": 1}), "colour"),
    ] {
        bank.check("POST /transaction", with(good.clone(), change), &format!("400 {field}"));
    }
    for (body, field) in [
        (json!({"account_id": 3, "balance": -1}), "balance"),
        (json!({"account_id": 3, "balance": "1.234"}), "balance"),
        (json!({"account_id": "x", "balance": 1}), "account_id"),
        (json!({"balance": 1}), "account_id"),
    ] {
        bank.check("POST /account", body, &format!("400 {field}"));
    }
    bank.check("GET /transactions?limit=0", (), "400 limit");
    bank.check("GET /transactions?colour=red", (), "400 colour");
    assert_eq!(bank.balance(2), "0.00");
    let all: Value = bank.check("GET /transactions", (), "200").json();
    assert_eq!(all.as_array().map(Vec::len), Some(1), "the opening balance and no more");
}
