//! `/v1/ledgers`: currencies with their scales, and the totals of their accounts.

use florin_tests::bank::{TestBank, transfer, with};
use florin_tests::compare::assert_includes;
use serde_json::json;

#[test]
fn a_fresh_directory_has_dollars() {
    let bank = TestBank::open();
    let expected = json!({"id": 1, "currency": "USD", "scale": 2});
    assert_includes(&bank.get("/v1/ledgers/1"), &expected);
    let ledgers = bank.list("/v1/ledgers");
    assert_eq!(ledgers.len(), 1);
    assert_includes(&ledgers[0], &expected);
}

#[test]
fn a_ledger_is_created_once() {
    let bank = TestBank::open();
    let ledger = json!({"id": 7, "currency": "JPY", "scale": 0, "name": "Yen"});
    let reply = bank.check("POST /v1/ledgers", ledger.clone(), "201");
    assert_eq!(reply.header("location"), Some("/v1/ledgers/7"));
    assert_includes(&reply.json(), &ledger);
    assert_includes(&bank.get("/v1/ledgers/7"), &ledger);
    bank.check("POST /v1/ledgers", ledger.clone(), "200 replayed");
    for (other, field) in [
        (json!({"currency": "JPX", "scale": 1}), "currency"),
        (json!({"scale": 1, "name": "Sen"}), "scale"),
        (json!({"name": "Sen"}), "name"),
    ] {
        let expected = format!("409 exists_with_different_{field}");
        bank.check("POST /v1/ledgers", with(ledger.clone(), other), &expected);
    }
    bank.check("POST /v1/ledgers", with(ledger, json!({"id": 0})), "422 id_must_not_be_zero");
    bank.check("GET /v1/ledgers/8", (), "404 ledger_not_found");
}

#[test]
fn what_is_no_ledger_can_not_be_read() {
    let bank = TestBank::open();
    let ledger = json!({"id": 7, "currency": "JPY", "scale": 0, "name": "Yen"});
    for (change, field) in [
        (json!({"scale": 29}), "scale"),
        (json!({"scale": -1}), "scale"),
        (json!({"currency": ""}), "currency"),
        (json!({"currency": "a b"}), "currency"),
        (json!({"currency": "ABCDEFGHIJKLMNOPQ"}), "currency"),
        (json!({"name": "x".repeat(129)}), "name"),
        (json!({"id": 4_294_967_296_u64}), "id"),
        (json!({"colour": "red"}), "colour"),
    ] {
        bank.check("POST /v1/ledgers", with(ledger.clone(), change), &format!("400 {field}"));
    }
    bank.check("GET /v1/ledgers/7", (), "404 ledger_not_found");
}

#[test]
fn amounts_are_shown_with_exactly_the_scale() {
    let bank = TestBank::open();
    for (ledger, scale, amount, shown) in [
        (10_u32, 0, "12", "12"),
        (11, 3, "0.5", "0.500"),
        (12, 28, "1.0000000000000000000000000001", "1.0000000000000000000000000001"),
        (13, 28, "7.9228162514264337593543950335", "7.9228162514264337593543950335"),
    ] {
        let (debit, credit) = (ledger * 10, ledger * 10 + 1);
        bank.post(
            "/v1/ledgers",
            json!({"id": ledger, "currency": "X", "scale": scale, "name": ""}),
        );
        bank.post("/v1/accounts", json!({"id": debit, "ledger": ledger}));
        bank.post("/v1/accounts", json!({"id": credit, "ledger": ledger}));
        let made = bank.transfer(debit.into(), credit.into(), amount);
        assert_eq!(made["amount"], shown);
        assert_eq!(made["ledger"], ledger);
        assert_eq!(bank.balance(credit.into()), shown);
        assert_eq!(bank.balance(debit.into()), format!("-{shown}"));
        let one_digit_more = match amount.contains('.') {
            true => format!("{}{}", shown, 0),
            false => format!("{amount}.0"),
        };
        let transfer = transfer(debit.into(), credit.into(), &one_digit_more);
        bank.check("POST /v1/transfers", transfer, "400 amount");
    }
}

#[test]
fn totals_add_up_and_balance() {
    let bank = TestBank::with_accounts(&[1, 2, 3]);
    bank.post("/v1/ledgers", json!({"id": 2, "currency": "EUR", "scale": 2, "name": ""}));
    bank.transfer(1, 2, "10.00");
    bank.transfer(2, 3, "4.50");
    let totals = json!({
        "accounts": 3, "debits_posted": "14.50", "credits_posted": "14.50",
        "debits_pending": "0.00", "credits_pending": "0.00",
    });
    let ledger = bank.get("/v1/ledgers/1");
    assert_includes(&ledger["totals"], &totals);
    assert!(ledger["as_of_seq"].is_u64(), "totals come from the store: {ledger}");
    let nothing = json!({"accounts": 0, "debits_posted": "0.00", "credits_posted": "0.00"});
    assert_includes(&bank.get("/v1/ledgers/2")["totals"], &nothing);
}
