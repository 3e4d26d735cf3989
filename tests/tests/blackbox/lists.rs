//! Lists: filters, pages, both orders, and positions.

use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, id_of, transfer_with_id, with};
use serde_json::{Value, json};

fn bank_with_transfers() -> TestBank {
    let bank = TestBank::open();
    bank.post("/v1/ledgers", json!({"id": 2, "currency": "EUR", "scale": 2, "name": ""}));
    for (id, fields) in [
        (1, json!({"code": 10, "user_data_64": "7"})),
        (2, json!({"code": 10, "user_data_32": 8})),
        (3, json!({"code": 20, "user_data_128": "9"})),
        (4, json!({"ledger": 2, "user_data_64": "7"})),
        (5, json!({"ledger": 2})),
    ] {
        bank.check("POST /v1/accounts", with(fields, json!({"id": id})), "201");
    }
    for (id, debit, credit, amount, fields) in [
        (101, 1, 2, "1.00", json!({"code": 5})),
        (102, 1, 3, "2.00", json!({"user_data_64": "64"})),
        (103, 2, 1, "3.00", json!({"code": 5, "user_data_32": 32})),
        (104, 4, 5, "4.00", json!({"user_data_128": "128"})),
        (105, 1, 2, "5.00", json!({})),
    ] {
        let body = with(transfer_with_id(id, debit, credit, amount), fields);
        bank.check("POST /v1/transfers", body, "201");
    }
    bank
}

#[test]
fn filters_choose() {
    let bank = bank_with_transfers();
    let times: Vec<String> = bank
        .list("/v1/transfers?order=asc")
        .iter()
        .map(|transfer| transfer["timestamp"].as_str().unwrap_or("").to_owned())
        .collect();
    let (second, fourth) = (&times[1], &times[3]);
    let half_open = format!("from={second}&to={fourth}");
    for (path, expected) in [
        ("/v1/accounts", "5 4 3 2 1"),
        ("/v1/accounts?order=asc", "1 2 3 4 5"),
        ("/v1/accounts?ledger=2", "5 4"),
        ("/v1/accounts?code=10", "2 1"),
        ("/v1/accounts?user_data_64=7", "4 1"),
        ("/v1/accounts?user_data_32=8", "2"),
        ("/v1/accounts?user_data_128=9", "3"),
        ("/v1/accounts?ledger=1&user_data_64=7", "1"),
        ("/v1/accounts?ledger=3", ""),
        ("/v1/transfers", "105 104 103 102 101"),
        ("/v1/transfers?order=desc", "105 104 103 102 101"),
        ("/v1/transfers?order=asc", "101 102 103 104 105"),
        ("/v1/transfers?ledger=2", "104"),
        ("/v1/transfers?code=5", "103 101"),
        ("/v1/transfers?user_data_64=64", "102"),
        ("/v1/transfers?user_data_32=32", "103"),
        ("/v1/transfers?user_data_128=128", "104"),
        ("/v1/transfers?ledger=1&min_amount=2.00", "105 103 102"),
        ("/v1/transfers?ledger=1&max_amount=2.00", "102 101"),
        ("/v1/transfers?ledger=1&min_amount=2&max_amount=3", "103 102"),
        ("/v1/accounts/1/transfers", "105 103 102 101"),
        ("/v1/accounts/1/transfers?order=asc", "101 102 103 105"),
        ("/v1/accounts/1/transfers?side=debit", "105 102 101"),
        ("/v1/accounts/1/transfers?side=credit", "103"),
        ("/v1/accounts/1/transfers?code=5", "103 101"),
        ("/v1/accounts/1/transfers?code=5&side=debit", "101"),
        ("/v1/accounts/5/transfers", "104"),
        (&format!("/v1/transfers?{half_open}"), "103 102"),
        (&format!("/v1/accounts/1/transfers?{half_open}"), "103 102"),
        (&format!("/v1/transfers?from={fourth}"), "105 104"),
        (&format!("/v1/transfers?to={second}"), "101"),
    ] {
        assert_eq!(bank.ids(path).join(" "), expected, "{path}");
        // The same page by page, each of one: no thing twice, none left out.
        let joint = if path.contains('?') { '&' } else { '?' };
        assert_eq!(bank.ids(&format!("{path}{joint}limit=1")).join(" "), expected, "{path} by one");
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let bank = TestBank::with_accounts(&[1]);
    for (path, field) in [
        ("/v1/accounts?colour=red", "colour"),
        ("/v1/accounts?limit=0", "limit"),
        ("/v1/accounts?limit=1001", "limit"),
        ("/v1/accounts?limit=ten", "limit"),
        ("/v1/accounts?order=up", "order"),
        ("/v1/accounts?cursor=nonsense", "cursor"),
        ("/v1/accounts?ledger=-1", "ledger"),
        ("/v1/accounts?code=65536", "code"),
        ("/v1/accounts?min_seq=x", "min_seq"),
        ("/v1/transfers?from=yesterday", "from"),
        ("/v1/transfers?min_amount=-1", "min_amount"),
        ("/v1/transfers?user_data_32=4294967296", "user_data_32"),
        ("/v1/transfers?side=debit", "side"),
        ("/v1/accounts/1/transfers?side=left", "side"),
        ("/v1/accounts/1?colour=red", "colour"),
        ("/v1/ledgers?colour=red", "colour"),
    ] {
        bank.check(&format!("GET {path}"), (), &format!("400 {field}"));
    }
}

#[test]
fn the_default_page_has_50_and_the_largest_1000() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let batch: Vec<Value> = (1..=1100).map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
    bank.batch(&batch);
    for (query, count) in [("", 50), ("?limit=7", 7), ("?limit=1000", 1000)] {
        let page = bank.get(&format!("/v1/transfers{query}"));
        assert_eq!(page["data"].as_array().map(Vec::len), Some(count));
        assert_eq!(page["has_more"], true);
        assert!(page["next_cursor"].is_string());
    }
    let all = bank.ids("/v1/transfers?limit=999");
    let expected: Vec<String> = (1..=1100).rev().map(|id| id.to_string()).collect();
    assert_eq!(all, expected);
    let last = bank.get("/v1/accounts?limit=2");
    assert_eq!(last["has_more"], false, "exactly a page, and no more: {last}");
    assert!(last["next_cursor"].is_null(), "{last}");
}

#[test]
fn pages_stay_put_while_things_happen() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for id in 1..=4 {
        bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
    }
    let page = bank.get("/v1/transfers?limit=2");
    let cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
    bank.check("POST /v1/transfers", transfer_with_id(5, 1, 2, "1.00"), "201");
    let next = bank.get(&format!("/v1/transfers?limit=2&cursor={cursor}"));
    let ids: Vec<String> =
        next["data"].as_array().map(|d| d.iter().map(id_of).collect()).unwrap_or(vec![]);
    assert_eq!(ids, ["2", "1"]);
    // A cursor belongs to the list that gave it.
    let reply = bank.client().request(&format!("GET /v1/accounts?cursor={cursor}")).send(());
    assert_eq!(reply.status, 400, "{reply:?}");
}

#[test]
fn a_list_sees_what_was_acknowledged_before_it() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for id in 1..=30 {
        let reply = bank.check("POST /v1/transfers", transfer_with_id(id, 1, 2, "1.00"), "201");
        let path = format!("/v1/transfers?limit=1&min_seq={}", reply.seq());
        let page = bank.get(&path);
        assert_eq!(page["data"][0]["id"], id.to_string());
        assert!(page["as_of_seq"].as_u64() >= Some(reply.seq()), "{page}");
    }
}

#[test]
fn a_position_that_is_not_reached_is_503_after_five_seconds() {
    let bank = TestBank::with_accounts(&[1]);
    let covered = bank.check("GET /v1/accounts", (), "200").seq();
    for (request, headers) in [
        (format!("GET /v1/accounts?min_seq={}", covered + 1000), vec![]),
        ("GET /v1/transfers".to_owned(), vec![("Florin-Min-Seq", "1000000")]),
    ] {
        let begin = Instant::now();
        let reply = bank.check_with(&request, &headers, (), "503 not_yet");
        let waited = begin.elapsed();
        assert!(waited >= Duration::from_millis(4900), "{request} gave up after {waited:?}");
        assert!(waited < Duration::from_secs(15), "{request} gave up after {waited:?}");
        assert_eq!(reply.json()["retry"], "after");
    }
    bank.check(&format!("GET /v1/accounts?min_seq={covered}"), (), "200");
    bank.check(&format!("GET /v1/accounts/1?min_seq={covered}"), (), "200");
    let at_once = [("Florin-Min-Seq", "1")];
    bank.check_with("GET /v1/accounts/1", &at_once, (), "200");
}
