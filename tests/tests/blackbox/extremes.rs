//! The largest and the smallest of everything.

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use serde_json::json;

/// 2^96−1 minor units of a ledger of scale 2.
const MAX: &str = "792281625142643375935439503.35";

#[test]
fn the_largest_amount_moves_and_one_more_does_not_fit() {
    let bank = TestBank::with_accounts(&[1, 2, 3]);
    let made = bank.transfer(1, 2, MAX);
    assert_eq!(made["amount"], MAX);
    assert_eq!(bank.balance(1), format!("-{MAX}"));
    assert_eq!(bank.balance(2), MAX);
    bank.check("POST /v1/transfers", transfer(1, 3, "0.01"), "422 overflows_debits_posted");
    bank.check("POST /v1/transfers", transfer(3, 2, "0.01"), "422 overflows_credits_posted");
    bank.check("POST /v1/transfers", transfer(3, 2, "0.00"), "201");
    // An overflow does not pass with time in the sense of the rule: its id is not burned.
    bank.check(
        "POST /v1/transfers",
        transfer_with_id(9, 1, 3, "0.01"),
        "422 overflows_debits_posted",
    );
    bank.check("POST /v1/transfers", transfer_with_id(9, 2, 3, "0.01"), "201");
    assert_eq!(
        bank.get("/v1/transfers?max_amount=792281625142643375935439503.35&min_amount=1")["data"][0]
            ["amount"],
        MAX
    );
    let totals = bank.get("/v1/ledgers/1")["totals"].clone();
    assert_eq!(totals["debits_posted"], totals["credits_posted"]);
}

#[test]
fn max_is_the_largest_amount() {
    let bank = TestBank::with_accounts(&[1, 2]);
    assert_eq!(bank.transfer(1, 2, "max")["amount"], MAX);
}

#[test]
fn totals_go_beyond_one_account() {
    let bank = TestBank::with_accounts(&[1, 2, 3, 4]);
    bank.transfer(1, 2, MAX);
    bank.transfer(3, 4, MAX);
    let twice = "1584563250285286751870879006.70";
    let totals = bank.get("/v1/ledgers/1")["totals"].clone();
    assert_eq!(totals["debits_posted"], twice);
    assert_eq!(totals["credits_posted"], twice);
}

#[test]
fn the_largest_ids_are_ids() {
    let bank = TestBank::open();
    let (a, b) = (u128::MAX - 1, u128::MAX - 2);
    bank.account(a);
    bank.account(b);
    let body = transfer_with_id(u128::MAX - 1, a, b, "1.00");
    let uuid = "ffffffff-ffff-ffff-ffff-fffffffffffe";
    let made = bank.check("POST /v1/transfers", body.clone(), "201").json();
    assert_eq!((&made["id"], &made["debit_account_id"]), (&json!(uuid), &json!(uuid)));
    let same = with(body, json!({"id": uuid, "debit_account_id": uuid}));
    bank.check("POST /v1/transfers", same, "200 replayed");
    assert_eq!(bank.ids(&format!("/v1/accounts/{uuid}/transfers")), [uuid]);
    let shorts = json!({"from": uuid, "to": b.to_string(), "amount": 1});
    bank.check("POST /transaction", shorts, "201");
    bank.check(&format!("GET /balance/{uuid}"), (), "200");
}

#[test]
fn the_largest_numbers_of_the_caller_come_back() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let fields = json!({
        "user_data_128": u128::MAX.to_string(), "user_data_64": u64::MAX.to_string(),
        "user_data_32": u32::MAX, "code": u16::MAX,
        "effective_at": "2262-04-11T23:47:16.854775807Z",
    });
    let made = bank.check("POST /v1/transfers", with(transfer(1, 2, "1.00"), fields), "201").json();
    assert_eq!(made["user_data_64"], "18446744073709551615");
    assert_eq!(made["user_data_32"], u32::MAX);
    assert_eq!(made["code"], u16::MAX);
    assert_eq!(made["effective_at"], "2262-04-11T23:47:16.854775807Z");
    let id = made["id"].as_str().unwrap_or_default();
    for query in [
        "user_data_128=340282366920938463463374607431768211455",
        "user_data_64=18446744073709551615",
        "user_data_32=4294967295",
        "code=65535",
    ] {
        assert_eq!(bank.ids(&format!("/v1/transfers?{query}")), [id], "{query}");
    }
}

#[test]
fn the_largest_overdraft_is_a_limit() {
    let bank = TestBank::with_accounts(&[1]);
    let limited = json!({"id": 2, "overdraft_limit": MAX});
    bank.account_with(limited, &["debits_must_not_exceed_credits"]);
    bank.transfer(2, 1, MAX);
    assert_eq!(bank.get("/v1/accounts/2")["available"], "0.00");
    bank.check("POST /v1/transfers", transfer(2, 1, "0.01"), "422 overflows_debits_posted");
}

#[test]
fn extremes_survive_a_restart() {
    let mut bank = TestBank::with_accounts(&[1, 2]);
    bank.transfer(1, 2, MAX);
    bank.account(u128::MAX - 1);
    bank.server.kill();
    bank.restart();
    assert_eq!(bank.balance(2), MAX);
    assert_eq!(bank.balance(1), format!("-{MAX}"));
    assert_eq!(bank.balance(u128::MAX - 1), "0.00");
    bank.server.stop();
    bank.server.verify();
}
