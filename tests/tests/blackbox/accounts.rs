//! `/v1/accounts`: creating, asking again, the kinds of account and their balances, every rejection.

use florin_tests::bank::{TestBank, with};
use florin_tests::compare::assert_includes;
use serde_json::{Value, json};

#[test]
fn an_account_needs_only_an_id_and_is_answered_whole() {
    let bank = TestBank::open();
    let reply = bank.check("POST /v1/accounts", json!({"id": 7}), "201");
    assert_eq!(reply.header("location"), Some("/v1/accounts/7"));
    let expected = json!({
        "id": "7", "ledger": 1, "code": 1, "flags": [],
        "debits_pending": "0.00", "debits_posted": "0.00",
        "credits_pending": "0.00", "credits_posted": "0.00",
        "balance": "0.00", "available": "0.00", "overdraft_limit": "0.00", "version": 0,
        "user_data_128": "0", "user_data_64": "0", "user_data_32": 0,
        "metadata": {}, "timestamp": "…",
    });
    assert_includes(&reply.json(), &expected);
    assert_includes(&bank.get("/v1/accounts/7"), &expected);
    assert_eq!(bank.get("/v1/accounts/7")["timestamp"], reply.json()["timestamp"]);
}

#[test]
fn everything_that_an_account_is_given_comes_back() {
    let bank = TestBank::open();
    bank.post("/v1/ledgers", json!({"id": 3, "currency": "EUR", "scale": 2, "name": "Euro"}));
    let account = json!({
        "id": "0190a3b4-5c6d-7e8f-9a0b-1c2d3e4f5061", "ledger": 3, "code": 65535,
        "flags": ["debits_must_not_exceed_credits", "history"], "overdraft_limit": "12.50",
        "user_data_128": "340282366920938463463374607431768211455",
        "user_data_64": "18446744073709551615", "user_data_32": 4_294_967_295_u32,
        "metadata": {"name": "Ålice \"A\" 😀", "tags": [1, 2.50, null, true, {"deep": {}}]},
    });
    let created = bank.check("POST /v1/accounts", account.clone(), "201").json();
    let expected = with(account, json!({"user_data_128": "…", "available": "12.50"}));
    assert_includes(&created, &expected);
    assert_includes(&bank.get("/v1/accounts/0190a3b4-5c6d-7e8f-9a0b-1c2d3e4f5061"), &expected);
}

#[test]
fn the_same_account_again_is_replayed_and_another_under_its_id_is_a_conflict() {
    let bank = TestBank::open();
    bank.post("/v1/ledgers", json!({"id": 2, "currency": "EUR", "scale": 2, "name": "Euro"}));
    let account = json!({
        "id": "1", "flags": ["debits_must_not_exceed_credits"], "overdraft_limit": "5.00",
        "metadata": {"a": 1, "b": [2]},
    });
    let first = bank.check("POST /v1/accounts", account.clone(), "201").json();
    let again = bank.check("POST /v1/accounts", account.clone(), "200 replayed").json();
    assert_includes(&again, &first);
    for same in [
        json!({"metadata": {"b": [2], "a": 1}}),
        json!({"id": 1}),
        json!({"id": "00000000-0000-0000-0000-000000000001"}),
        json!({"overdraft_limit": "5"}),
        json!({"code": 1, "ledger": 1, "user_data_64": "0"}),
    ] {
        bank.check("POST /v1/accounts", with(account.clone(), same), "200 replayed");
    }
    for (other, field) in [
        (json!({"flags": ["credits_must_not_exceed_debits"]}), "flags"),
        (json!({"user_data_128": "1"}), "user_data_128"),
        (json!({"user_data_64": "1"}), "user_data_64"),
        (json!({"user_data_32": 1}), "user_data_32"),
        (json!({"ledger": 2}), "ledger"),
        (json!({"code": 2}), "code"),
        (json!({"overdraft_limit": "5.01"}), "overdraft_limit"),
        (json!({"metadata": {"a": 1, "b": [3]}}), "metadata"),
        (json!({"flags": [], "code": 2, "overdraft_limit": "0"}), "flags"),
    ] {
        let expected = format!("409 exists_with_different_{field}");
        bank.check("POST /v1/accounts", with(account.clone(), other), &expected);
    }
    assert_includes(&bank.get("/v1/accounts/1"), &first);
}

#[test]
fn ids_are_read_in_each_text_form_and_written_in_one() {
    let bank = TestBank::open();
    for (given, shown) in [
        (json!(42), "42"),
        (json!("43"), "43"),
        (json!("00000000-0000-0000-0000-00000000002c"), "44"),
        (json!("18446744073709551615"), "18446744073709551615"),
        (json!(18_446_744_073_709_551_614_u64), "18446744073709551614"),
        (json!("18446744073709551616"), "00000000-0000-0001-0000-000000000000"),
        (json!("340282366920938463463374607431768211454"), "ffffffff-ffff-ffff-ffff-fffffffffffe"),
        (json!("ABCDEF01-2345-6789-ABCD-EF0123456789"), "abcdef01-2345-6789-abcd-ef0123456789"),
    ] {
        let reply = bank.check("POST /v1/accounts", json!({"id": given}), "201");
        assert_eq!(reply.json()["id"], shown, "{given}");
        assert_eq!(reply.header("location"), Some(format!("/v1/accounts/{shown}").as_str()));
        let word = given.as_str().map_or(given.to_string(), str::to_owned);
        assert_eq!(bank.get(&format!("/v1/accounts/{word}"))["id"], shown, "{given}");
        assert_eq!(bank.get(&format!("/v1/accounts/{shown}"))["id"], shown, "{given}");
    }
    // A bare JSON integer beyond 64 bits, digit for digit.
    let body = r#"{"id":340282366920938463463374607431768211453}"#;
    let reply = bank.check("POST /v1/accounts", body, "201");
    assert_eq!(reply.json()["id"], "ffffffff-ffff-ffff-ffff-fffffffffffd");
}

#[test]
fn rejections_come_in_their_order_and_leave_nothing() {
    let bank = TestBank::open();
    let max = u128::MAX.to_string();
    let both = json!(["debits_must_not_exceed_credits", "credits_must_not_exceed_debits"]);
    // From the last in the order of precedence to the first: each is met before all those above it.
    let mut account = json!({"id": "9", "overdraft_limit": "1.00"});
    for (change, code) in [
        (json!({}), "overdraft_limit_must_be_zero"),
        (json!({"code": 0}), "code_must_not_be_zero"),
        (json!({"ledger": 99}), "ledger_not_found"),
        (json!({"ledger": 0}), "ledger_must_not_be_zero"),
        (json!({"flags": both}), "flags_are_mutually_exclusive"),
        (json!({"id": max}), "id_must_not_be_int_max"),
        (json!({"id": 0}), "id_must_not_be_zero"),
    ] {
        account = with(account, change);
        bank.check("POST /v1/accounts", account.clone(), &format!("422 {code}"));
    }
    bank.check("GET /v1/accounts/9", (), "404 account_not_found");
    assert!(bank.list("/v1/accounts").is_empty());
    // None of them used anything up.
    bank.account(9);
}

#[test]
fn balance_and_available_follow_the_kind_of_account() {
    let bank = TestBank::with_accounts(&[1]);
    let limits = json!({"overdraft_limit": "2.50"});
    bank.account_with(with(limits.clone(), json!({"id": 2})), &["debits_must_not_exceed_credits"]);
    bank.account_with(with(limits, json!({"id": 3})), &["credits_must_not_exceed_debits"]);
    let figures = |id: u32| {
        let account = bank.get(&format!("/v1/accounts/{id}"));
        let text = |name: &str| account[name].as_str().map(str::to_owned).unwrap_or_default();
        format!(
            "D {} C {} balance {} available {} version {}",
            text("debits_posted"),
            text("credits_posted"),
            text("balance"),
            text("available"),
            account["version"],
        )
    };
    assert_eq!(figures(2), "D 0.00 C 0.00 balance 0.00 available 2.50 version 0");
    assert_eq!(figures(3), "D 0.00 C 0.00 balance 0.00 available 2.50 version 0");
    bank.transfer(1, 2, "10.00");
    bank.transfer(3, 1, "7.00");
    assert_eq!(figures(1), "D 10.00 C 7.00 balance -3.00 available -3.00 version 2");
    assert_eq!(figures(2), "D 0.00 C 10.00 balance 10.00 available 12.50 version 1");
    assert_eq!(figures(3), "D 7.00 C 0.00 balance 7.00 available 9.50 version 1");
    bank.transfer(2, 1, "12.50");
    bank.transfer(1, 3, "9.50");
    assert_eq!(figures(2), "D 12.50 C 10.00 balance -2.50 available 0.00 version 2");
    assert_eq!(figures(3), "D 7.00 C 9.50 balance -2.50 available 0.00 version 2");
    bank.check(
        "POST /v1/transfers",
        florin_tests::bank::transfer(2, 1, "0.01"),
        "422 exceeds_credits",
    );
    bank.check(
        "POST /v1/transfers",
        florin_tests::bank::transfer(1, 3, "0.01"),
        "422 exceeds_debits",
    );
}

#[test]
fn an_account_that_is_not_there_is_404_and_one_that_can_not_be_is_400() {
    let bank = TestBank::open();
    for path in ["", "/transfers", "/balances"] {
        for id in ["1", "0", "340282366920938463463374607431768211455"] {
            bank.check(&format!("GET /v1/accounts/{id}{path}"), (), "404 account_not_found");
        }
        for id in ["340282366920938463463374607431768211456", "-1", "1.0", "alice", "%20"] {
            let reply = bank.client().request(&format!("GET /v1/accounts/{id}{path}")).send(());
            assert_eq!(reply.status, 400, "{id}: {reply:?}");
            reply.assert_problem();
        }
    }
}

#[test]
fn the_history_of_an_account_is_told_if_it_was_asked_for() {
    let bank = TestBank::with_accounts(&[1]);
    bank.account_with(json!({"id": 2}), &["history"]);
    let mut times = Vec::new();
    for amount in ["1.00", "2.00", "4.00"] {
        times.push(bank.transfer(1, 2, amount)["timestamp"].as_str().unwrap_or("").to_owned());
    }
    let history = bank.list("/v1/accounts/2/balances?order=asc");
    let balances: Vec<&Value> = history.iter().map(|entry| &entry["balance"]).collect();
    assert_eq!(balances, ["1.00", "3.00", "7.00"]);
    let versions: Vec<&Value> = history.iter().map(|entry| &entry["version"]).collect();
    assert_eq!(versions, [&json!(1), &json!(2), &json!(3)]);
    let newest = bank.list("/v1/accounts/2/balances?limit=1");
    assert_eq!(newest.len(), 3, "newest first, page by page");
    assert_eq!(newest[0]["balance"], "7.00");
    for (at, balance) in times.iter().zip(["1.00", "3.00", "7.00"]) {
        let moment = bank.list(&format!("/v1/accounts/2/balances?at={at}"));
        assert_eq!(moment.len(), 1, "{moment:?}");
        assert_eq!(moment[0]["balance"], balance, "at {at}");
    }
    assert!(bank.list("/v1/accounts/1/balances").is_empty(), "no history was asked for");
}

#[test]
fn a_batch_of_accounts_is_answered_as_one_of_transfers() {
    let bank = TestBank::with_accounts(&[5]);
    let batch = json!([
        {"id": "1"},
        {"id": "5"},
        {"id": "5", "code": 2},
        {"id": "0"},
        {"id": "2", "flags": ["linked"]},
        {"id": "3", "code": 0},
        {"id": "4", "flags": ["linked"]},
    ]);
    let reply = bank.check("POST /v1/accounts/batch?results=all", batch, "200");
    let answer = reply.json();
    assert_includes(&answer, &json!({"created": 1, "replayed": 1, "seq": reply.seq()}));
    let rejected = json!([
        {"index": 2, "id": "5", "code": "exists_with_different_code", "detail": "…"},
        {"index": 3, "id": "0", "code": "id_must_not_be_zero", "detail": "…"},
        {"index": 4, "id": "2", "code": "linked_event_failed", "detail": "…"},
        {"index": 5, "id": "3", "code": "code_must_not_be_zero", "detail": "…"},
        {"index": 6, "id": "4", "code": "linked_event_chain_open", "detail": "…"},
    ]);
    assert_includes(&answer["rejected"], &rejected);
    assert_includes(
        &answer["results"][0],
        &json!({"index": 0, "status": "created", "timestamp": "…"}),
    );
    assert_includes(&answer["results"][1], &json!({"index": 1, "status": "exists"}));
    assert_includes(&answer["results"][4], &json!({"index": 4, "status": "linked_event_failed"}));
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(7));
    for id in [2, 3, 4] {
        bank.check(&format!("GET /v1/accounts/{id}"), (), "404 account_not_found");
    }
}

#[test]
fn a_closed_account_takes_no_part() {
    let bank = TestBank::with_accounts(&[1]);
    bank.account_with(json!({"id": 2}), &["closed"]);
    for (debit, credit, code) in
        [(2, 1, "debit_account_already_closed"), (1, 2, "credit_account_already_closed")]
    {
        let transfer = florin_tests::bank::transfer(debit, credit, "1.00");
        bank.check("POST /v1/transfers", transfer, &format!("422 {code}"));
    }
}
