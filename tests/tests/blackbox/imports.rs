//! Transactions that bring in what happened elsewhere: their legs have moments of their own.

use florin_tests::bank::{TestBank, transfer_with_id, with};
use florin_tests::postgres::Postgres;
use florin_tests::server::TestServer;
use serde_json::{Value, json};

/// A transfer of 2020.
fn imported(id: u128, second: u32, flags: &[&str]) -> Value {
    let flags: Vec<&str> = ["imported"].iter().chain(flags).copied().collect();
    let moment = format!("2020-01-01T00:00:{second:02}Z");
    with(transfer_with_id(id, 50, 51, "1.00"), json!({"flags": flags, "timestamp": moment}))
}

fn import_accounts(bank: &TestBank) {
    let accounts = [50, 51].map(|id: u32| {
        let moment = format!("2020-01-01T00:00:00.0000000{id}Z");
        json!({"id": id.to_string(), "flags": ["imported"], "timestamp": moment})
    });
    bank.check("POST /v1/accounts/batch", json!(accounts), "200");
}

fn statuses(transaction: &Value) -> Value {
    let legs = transaction["transfers"].as_array().into_iter().flatten();
    let legs: Vec<&Value> = legs.map(|leg| &leg["status"]).collect();
    json!([transaction["status"], legs])
}

/// Everything is asked for when the store has it.
fn check_imported_transactions(bank: &TestBank) {
    import_accounts(bank);
    let legs = [imported(60, 1, &[]), imported(61, 2, &["pending"])];
    bank.check("POST /v1/transactions", json!({"id": "9", "transfers": legs}), "201");
    let legs = [imported(70, 3, &["pending"]), imported(71, 4, &["pending"])];
    bank.check("POST /v1/transactions", json!({"id": "8", "transfers": legs}), "201");
    assert_eq!(bank.ids("/v1/transfers?transaction_id=9&order=asc"), ["60", "61"]);
    assert_eq!(bank.ids("/v1/transfers?transaction_id=8"), ["71", "70"]);
    let read = bank.get("/v1/transactions/9");
    assert_eq!(statuses(&read), json!(["pending", ["posted", "pending"]]));
    assert_eq!(read["transfers"][1]["timestamp"], "2020-01-01T00:00:02.000000000Z");

    bank.check("POST /v1/transactions/9/post", json!({"id": "10"}), "201");
    bank.check("POST /v1/transactions/8/void", json!({"id": "11"}), "201");
    assert_eq!(bank.ids("/v1/transfers?transaction_id=10").len(), 1);
    assert_eq!(bank.ids("/v1/transfers?transaction_id=11").len(), 2);
    let read = bank.get("/v1/transactions/9");
    assert_eq!(statuses(&read), json!(["posted", ["posted", "posted"]]));
    let read = bank.get("/v1/transactions/8");
    assert_eq!(statuses(&read), json!(["voided", ["voided", "voided"]]));
    assert_eq!(bank.balance(51), "2.00");

    let legs = [imported(80, 5, &[]), imported(81, 6, &[])];
    let late = json!({"id": "7", "transfers": legs});
    bank.check("POST /v1/transactions", late, "422 imported_event_timestamp_must_not_regress at 0");
}

#[test]
fn imported_legs_stay_with_their_transaction() {
    let bank = TestBank::open();
    check_imported_transactions(&bank);
}

#[test]
fn imported_legs_stay_with_their_transaction_in_postgresql() {
    let postgres = Postgres::shared();
    let url = postgres.url(&postgres.create_database());
    let variables = [("FLORIN_DATABASE_URL", url.as_str())];
    let bank = TestBank::of(TestServer::start_with_variables(&[], &variables));
    check_imported_transactions(&bank);
}

#[test]
fn a_transaction_of_imported_legs_is_taken_back() {
    let bank = TestBank::open();
    import_accounts(&bank);
    let legs = [imported(60, 1, &[]), imported(61, 2, &[])];
    bank.check("POST /v1/transactions", json!({"id": "9", "transfers": legs}), "201");
    assert_eq!(bank.ids("/v1/transfers?transaction_id=9"), ["61", "60"]);
    let back = bank.check("POST /v1/transactions/9/reverse", json!({"id": "10"}), "201").json();
    assert_eq!(statuses(&back), json!(["posted", ["posted", "posted"]]));
    assert_eq!(bank.balance(51), "0.00");
}
