//! A database that refuses for a reason that waiting does not change: the ledger goes on, nothing is skipped, and who mends it needs no restart.

use std::fs;

use florin_tests::bank::{TestBank, transfer};
use florin_tests::postgres::Postgres;
use florin_tests::server::{TestServer, project};
use serde_json::json;

use super::{await_store, go_on_without_it, metric, start, start_with_accounts, verify};

/// Lets the store refuse transfers of 6.66.
const REFUSE: &str = "
    CREATE FUNCTION florin.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.amount = 666 THEN RAISE EXCEPTION 'the auditor does not like it'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON florin.transfers FOR EACH ROW EXECUTE FUNCTION florin.refuse()";

#[test]
fn a_record_that_the_store_refuses_stops_it_there_and_is_never_skipped() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let mut bank = start_with_accounts(postgres, &database);
    let _ = postgres.psql(&database, REFUSE);
    bank.transfer(1, 2, "1.00");
    let stands = await_store(&bank, "ok")["parts"]["store"]["seq"].as_u64().expect("a position");
    let refused = bank.client().request("POST /v1/transfers").send(transfer(1, 2, "6.66"));
    assert_eq!(refused.status, 201, "the ledger knows nothing of it: {refused:?}");
    let ready = go_on_without_it(&bank, "stuck", "auditor", 20);
    // Behind this position nothing is stored, and nothing that came later is either.
    assert_eq!(ready["parts"]["store"]["stuck_seq"], json!(stands), "{ready}");
    assert_eq!(ready["parts"]["store"]["seq"], json!(stands), "{ready}");
    let stored = |sql: &str| postgres.psql(&database, sql);
    assert_eq!(stored("SELECT count(*) FROM florin.transfers"), "1");
    assert_eq!(stored("SELECT seq FROM florin.checkpoint"), stands.to_string());
    assert_eq!(metric(&bank, "florin_store_seq"), stands as f64);
    assert!(metric(&bank, "florin_store_failures_total") > 0.0);
    let log = bank.server.stderr();
    let line = log.lines().find(|line| line.contains("skips nothing")).unwrap_or_default();
    assert!(line.contains(&format!("seq={stands}")) && line.contains("auditor"), "{log}");
    assert_eq!(bank.balance(2), "27.66");
    // A restart changes nothing of it.
    bank.server.kill();
    bank.restart();
    let ready = go_on_without_it(&bank, "stuck", "auditor", 1);
    assert_eq!(ready["parts"]["store"]["stuck_seq"], json!(stands), "{ready}");
    // Nor does it once the reason is gone: it catches up by itself.
    let _ = postgres.psql(&database, "DROP FUNCTION florin.refuse() CASCADE");
    await_store(&bank, "ok");
    assert_eq!(bank.ids("/v1/transfers").len(), 23);
    verify(bank, 23);
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let mut bank = start_with_accounts(&postgres, &database);
    let known = postgres.psql(&database, "SELECT max(version) FROM florin._sqlx_migrations");
    let sentence = format!(
        "the store has schema version 99, and this program knows versions up to {known}: use the newer program"
    );
    bank.transfer(1, 2, "1.00");
    await_store(&bank, "ok");
    bank.server.stop();
    let _ = postgres.psql(
        &database,
        "INSERT INTO florin._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'of the future', true, '', 0)",
    );
    // At the start it is said at once.
    let ended = bank.server.refused_restart();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&sentence), "{ended:?}");
    // What is found out later stops nothing.
    postgres.stop();
    bank.restart();
    go_on_without_it(&bank, "away", "", 10);
    postgres.start_again();
    go_on_without_it(&bank, "stuck", &sentence, 10);
    assert_eq!(postgres.psql(&database, "SELECT count(*) FROM florin.transfers"), "1");
    // A reader of it tells nothing that it might misunderstand.
    let url = postgres.url(&database);
    let variables = [("FLORIN_DATABASE_URL", url.as_str())];
    let reader = TestBank::of(TestServer::start_with_variables(&["--role", "read"], &variables));
    let ready = reader.client().request("GET /readyz").send(());
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(ready.json()["parts"]["store"]["error"], sentence, "{ready:?}");
    // Once the database is of this program again, it goes on by itself.
    let _ = postgres.psql(&database, "DELETE FROM florin._sqlx_migrations WHERE version = 99");
    await_store(&bank, "ok");
    assert_eq!(reader.client().request("GET /readyz").send(()).status, 200);
    verify(bank, 21);
}

#[test]
fn a_database_of_an_older_program_is_brought_up_to_date_at_the_start() {
    let postgres = Postgres::shared();
    let (new, old) = (postgres.create_database(), postgres.create_database());
    drop(start(postgres, &new));
    // As the first version made it: its tables, and the note that they were made.
    let path = project().join("persistence/migrations/postgres/0001_tables.sql");
    let tables = fs::read_to_string(path).expect("the first migration");
    let first = "SELECT format('(%s, %L, true, %L, 0)', version, description, checksum)
                 FROM florin._sqlx_migrations WHERE version = 1";
    let first = postgres.psql(&new, first);
    let _ = postgres.psql(
        &old,
        &format!(
            "CREATE SCHEMA florin; SET search_path = florin; {tables};
             CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL,
                installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL,
                execution_time bigint NOT NULL);
             INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES {first}"
        ),
    );
    // A reader waits for the writer, and says so.
    let url = postgres.url(&old);
    let variables = [("FLORIN_DATABASE_URL", url.as_str())];
    let reader = TestBank::of(TestServer::start_with_variables(&["--role", "read"], &variables));
    let ready = reader.client().request("GET /readyz").send(());
    assert_eq!(ready.status, 503, "{ready:?}");
    let error = ready.json()["parts"]["store"]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("its writer brings it up to date"), "{ready:?}");
    let bank = start_with_accounts(postgres, &old);
    bank.transfer(1, 2, "12.50");
    await_store(&bank, "ok");
    let versions =
        "SELECT string_agg(version::text, ' ' ORDER BY version) FROM florin._sqlx_migrations";
    assert_eq!(postgres.psql(&old, versions), postgres.psql(&new, versions));
    assert_eq!(postgres.psql(&old, "SELECT amount FROM florin.v_transfers"), "12.50");
    assert_eq!(reader.client().request("GET /readyz").send(()).status, 200);
    verify(bank, 1);
}
