//! `florin verify` finds what a store alone has lost, in each of its tables.

use std::process::Command;

use florin_tests::bank::{TestBank, transfer, with};
use florin_tests::postgres::Postgres;
use florin_tests::server::{Ended, TestServer, florin, run_command};
use serde_json::json;

/// What is lost or bent, and what is told of it.
const DAMAGES: [(&str, &str); 7] = [
    ("DELETE FROM settlements", "0 rows in settlements"),
    ("UPDATE settlements SET kind = 1 WHERE kind = 2", "rows of settlements"),
    ("DELETE FROM transactions", "0 rows in transactions"),
    ("DELETE FROM balance_history", "0 rows in balance_history"),
    ("DELETE FROM keyed_records", "0 rows in keyed_records"),
    ("DELETE FROM replaced_metadata", "0 rows in replaced_metadata"),
    ("UPDATE transfers SET code = 9", "the transfers of record"),
];

/// A stopped bank with something in every table.
fn bank(variables: &[(&str, &str)]) -> TestBank {
    let mut bank = TestBank::of(TestServer::start_with_variables(&[], variables));
    bank.account_with(json!({"id": "1", "metadata": {"a": 1}}), &["history"]);
    bank.account(2);
    bank.check("POST /v1/accounts/1/metadata", json!({"metadata": {"a": 2}}), "200");
    let key = [("Idempotency-Key", "k")];
    bank.check_with("POST /v1/transfers", &key, transfer(1, 2, "1.00"), "201");
    for (id, end) in [("10", "post"), ("11", "void")] {
        let pending = with(transfer(1, 2, "2.00"), json!({"id": id, "flags": ["pending"]}));
        bank.check("POST /v1/transfers", pending, "201");
        bank.check(&format!("POST /v1/transfers/{id}/{end}"), json!({}), "201");
    }
    let legs = json!([transfer(1, 2, "1.00"), transfer(2, 1, "0.40")]);
    bank.check("POST /v1/transactions", json!({"id": "900", "transfers": legs}), "201");
    // Everything is in the store.
    assert_eq!(bank.list("/v1/transfers").len(), 7);
    bank.server.stop();
    bank
}

#[track_caller]
fn found(ended: &Ended, damage: &str, told: &str) {
    assert_eq!(ended.code, Some(1), "{damage}: {ended:?}");
    assert!(ended.stderr.contains(told), "{damage}: {ended:?}");
}

#[test]
fn verify_compares_every_table_of_sqlite() {
    let bank = bank(&[]);
    bank.server.verify();
    for (damage, told) in DAMAGES {
        let copy = TestServer::on_copy_of(&bank.server, &[]);
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1])\n\
            c.execute(sys.argv[2])\n\
            c.commit()\n";
        let mut python = Command::new("python3");
        python.args(["-c", script]).arg(copy.data_dir().join("store.sqlite")).arg(damage);
        assert_eq!(run_command(python).code, Some(0), "{damage}");
        let ended = run_command(florin(&["verify", "--data-dir", copy.data_dir_word()]));
        found(&ended, damage, told);
    }
}

#[test]
fn verify_compares_every_table_of_postgresql() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let bank = bank(&[("FLORIN_DATABASE_URL", &url)]);
    bank.server.verify();
    for (damage, told) in DAMAGES {
        // Damaged in a copy of the database.
        let copied = format!("{database}_copy");
        let _ = postgres.psql("postgres", &format!("CREATE DATABASE {copied} TEMPLATE {database}"));
        let _ = postgres.psql(&copied, &format!("SET search_path = florin; {damage}"));
        let mut verify = florin(&["verify", "--data-dir", bank.server.data_dir_word()]);
        verify.args(["--database-url", &postgres.url(&copied)]);
        found(&run_command(verify), damage, told);
        let _ = postgres.psql("postgres", &format!("DROP DATABASE {copied} WITH (FORCE)"));
    }
}
