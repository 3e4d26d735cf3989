//! A store that is lost, moved or ahead of its journal: `florin rebuild-store`, by the real program.

mod refusals;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use florin_tests::http::Content;
use florin_tests::postgres::Postgres;
use florin_tests::server::{Ended, SMALL_SEGMENTS, TestServer, florin, run_command};
use serde_json::{Value, json};

const TRANSACTION: &str = "900001";

/// A bank with something of every kind in its oldest segment.
fn bank_with(words: &[&str], variables: &[(&str, &str)]) -> TestBank {
    let words: Vec<&str> = SMALL_SEGMENTS.iter().chain(words).copied().collect();
    let bank = TestBank::of(TestServer::start_with_variables(&words, variables));
    bank.account_with(json!({"id": "1", "metadata": {"name": "Anna"}}), &["history"]);
    bank.account_with(json!({"id": "2", "user_data_64": "7"}), &["history"]);
    bank.funded(3, "70.00");
    bank.check("POST /v1/accounts", json!({"id": "ext:bob", "metadata": {"a": 1}}), "201");
    bank.post("/v1/ledgers", json!({"id": 5, "currency": "JPY", "scale": 0, "name": "yen"}));
    bank.transfer(1, 2, "12.50");
    let named = json!({"id": "ext:order-1", "debit_account_id": "1", "credit_account_id": "ext:bob", "amount": "1.00"});
    bank.check("POST /v1/transfers", named, "201");
    let legs =
        json!([with(transfer(1, 2, "1.00"), json!({"id": "ext:leg"})), transfer(2, 1, "0.40")]);
    let body = json!({"id": TRANSACTION, "transfers": legs, "metadata": {"why": "both"}});
    bank.check("POST /v1/transactions", body, "201");
    keyed(&bank, "201");
    bank.check("POST /v1/transfers", transfer_with_id(800, 3, 1, "71.00"), "422 exceeds_credits");
    bank.check("POST /v1/transfers", transfer_with_id(801, 1, 2, "0.07"), "201");
    bank
}

fn keyed(bank: &TestBank, expected: &str) {
    let headers = [("Idempotency-Key", "first-of-all")];
    bank.check_with("POST /v1/transfers", &headers, transfer(2, 1, "3.00"), expected);
}

/// Moves money until the journal's oldest segment is no more in its directory.
fn fill_until_a_segment_goes(bank: &TestBank) {
    let oldest = bank.server.segments()[0].clone();
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut sent = 0;
    while oldest.exists() {
        assert!(Instant::now() < deadline, "no segment was ever removed");
        if bank.server.segments().len() > 12 {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let ids = 1_000_000 + sent..1_000_000 + sent + 50;
        let batch: Value = ids.map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
        bank.check("POST /v1/transfers/batch", batch, "200");
        sent += 50;
    }
}

/// Everything that lists and reads by id show.
fn everything(bank: &TestBank) -> Vec<Value> {
    let lists = [
        "/v1/ledgers",
        "/v1/accounts?limit=1000",
        "/v1/transfers?limit=1000",
        "/v1/accounts/3/transfers?limit=1000",
        "/v1/accounts/1/balances?limit=1000",
        "/v1/accounts/2/balances?order=asc&limit=1000",
    ];
    let mut all: Vec<Value> = lists.into_iter().map(|path| json!(bank.list(path))).collect();
    all.push(bank.get("/v1/accounts/1"));
    all.push(bank.get("/v1/transfers/801"));
    all.push(bank.get(&format!("/v1/transactions/{TRANSACTION}")));
    all.push(bank.get("/v1/accounts/ext:bob"));
    all.push(bank.get("/v1/transfers/ext:order-1"));
    all
}

/// Runs `florin rebuild-store` on the directory of a stopped server.
fn rebuild(server: &TestServer, words: &[&str]) -> Ended {
    let mut command = florin(&["rebuild-store", "--data-dir", server.data_dir_word()]);
    command.args(words);
    run_command(command)
}

#[track_caller]
fn done(ended: &Ended, told: &str) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains(told), "{ended:?}");
}

#[track_caller]
fn refused(ended: &Ended, told: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(told), "{ended:?}");
}

fn remove_store(directory: &Path) {
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        let _ = fs::remove_file(directory.join(name));
    }
}

#[test]
fn a_lost_store_comes_back_from_the_archive() {
    let archive = tempfile::TempDir::new().unwrap_or_else(|error| panic!("{error}"));
    let archive = archive.path().join("archive");
    let word = archive.to_str().unwrap_or_default();
    let mut bank = bank_with(&["--journal-archive", word], &[]);
    fill_until_a_segment_goes(&bank);
    fill_until_a_segment_goes(&bank);
    let before = everything(&bank);
    refused(&rebuild(&bank.server, &[]), "is in use by");
    bank.server.stop();
    // What is there is not thrown away.
    done(&rebuild(&bank.server, &["--journal-archive", word]), "nothing was missing");
    remove_store(bank.server.data_dir());
    refused(&bank.server.refused_restart(), "rebuild-store");

    done(&rebuild(&bank.server, &["--journal-archive", word]), "applied from the journal");
    let report = bank.server.verify();
    assert!(!report.stdout.contains("history from"), "{report:?}");
    bank.restart();
    assert_eq!(everything(&bank), before);
    keyed(&bank, "201 replayed");

    // A gap in the archive is told, and the store that was begun is not served.
    bank.server.stop();
    remove_store(bank.server.data_dir());
    let mut archived: Vec<PathBuf> = fs::read_dir(&archive)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map(|entries| entries.into_iter().map(|entry| entry.path()).collect())
        .unwrap_or_else(|error| panic!("{error}"));
    archived.sort();
    // The second, so that something stands before the gap.
    let hidden = archived[1].with_extension("hidden");
    fs::rename(&archived[1], &hidden).unwrap_or_else(|error| panic!("{error}"));
    refused(&rebuild(&bank.server, &["--journal-archive", word]), "missing");
    refused(&bank.server.refused_restart(), "rebuild-store");
    fs::rename(&hidden, &archived[1]).unwrap_or_else(|error| panic!("{error}"));
    done(&rebuild(&bank.server, &["--journal-archive", word]), "applied from the journal");
    bank.restart();
    assert_eq!(everything(&bank), before);
}

#[test]
fn a_store_moves_from_sqlite_to_postgresql_and_back() {
    let postgres = Postgres::shared();
    let url = postgres.url(&postgres.create_database());
    let mut bank = bank_with(&[], &[]);
    fill_until_a_segment_goes(&bank);
    let before = everything(&bank);
    bank.server.stop();
    let directory = bank.server.data_dir().to_owned();
    let here = directory.to_str().unwrap_or_default().to_owned();
    done(&rebuild(&bank.server, &["--database-url", &url, "--from", &here]), "transfers copied");
    remove_store(&directory);

    let mut moved = TestBank::of(TestServer::moved(bank.server, &[("FLORIN_DATABASE_URL", &url)]));
    moved.server.verify();
    moved.restart();
    assert_eq!(everything(&moved), before);
    keyed(&moved, "201 replayed");
    moved.transfer(1, 2, "5.00");
    let before = everything(&moved);
    moved.server.stop();
    refused(&rebuild(&moved.server, &["--database-url", &url, "--from", &url]), "not lost");
    done(&rebuild(&moved.server, &["--from", &url]), "transfers copied");

    let mut back = TestBank::of(TestServer::moved(moved.server, &[]));
    back.server.verify();
    back.restart();
    assert_eq!(everything(&back), before);
    keyed(&back, "201 replayed");
}

#[test]
fn without_an_archive_history_begins_at_the_oldest_segment() {
    let mut bank = bank_with(&[], &[]);
    fill_until_a_segment_goes(&bank);
    // Replaced twice by records that are left; what was there first is lost.
    for a in [2, 3] {
        bank.check("POST /v1/accounts/ext:bob/metadata", json!({"metadata": {"a": a}}), "200");
    }
    let balances: Vec<String> = (1..=3).map(|id| bank.balance(id)).collect();
    let totals = bank.list("/v1/ledgers");
    bank.server.stop();
    remove_store(bank.server.data_dir());
    done(&rebuild(&bank.server, &[]), "its history begins at position");
    let report = bank.server.verify();
    assert!(report.stdout.contains("; history from position"), "{report:?}");
    bank.restart();
    assert_eq!((1..=3).map(|id| bank.balance(id)).collect::<Vec<_>>(), balances);
    assert_eq!(bank.list("/v1/ledgers"), totals);
    let page = bank.get("/v1/transfers?limit=1000&order=asc");
    let from = page["history_from"].as_u64().unwrap_or_default();
    assert!(from > 10, "{page}");
    let accounts = bank.list("/v1/accounts");
    assert_eq!(accounts.len(), 5, "{accounts:?}");
    for shown in [bank.get("/v1/accounts/1"), accounts[accounts.len() - 1].clone()] {
        assert!(shown["metadata"].is_null(), "{shown}");
        assert_eq!(shown["balance"], balances[0]);
    }
    assert_eq!(bank.get("/v1/accounts/2")["user_data_64"], "7");
    assert_eq!(bank.get("/v1/accounts/ext:bob")["metadata"], json!({"a": 3}));
    what_was_held_then(&bank);
    // Nothing is decided twice, though what was decided can not be shown.
    // The id that it is about is the lost one, whatever was to be done with it.
    for (request, id) in [
        ("GET /v1/transfers/801".to_owned(), "801"),
        ("POST /v1/transfers/801/reverse".to_owned(), "801"),
        (format!("GET /v1/transactions/{TRANSACTION}"), TRANSACTION),
        (format!("POST /v1/transactions/{TRANSACTION}/reverse"), TRANSACTION),
    ] {
        let body = match request.starts_with("GET") {
            true => Content::None,
            false => json!({"id": "4711"}).into(),
        };
        let reply = bank.check(&request, body, "410 history_lost");
        assert_eq!(reply.json()["id"], id, "{reply:?}");
    }
    for amount in ["0.07", "0.08"] {
        let again = transfer_with_id(801, 1, 2, amount);
        bank.check("POST /v1/transfers", again, "410 history_lost");
    }
    let batch = bank.batch(&[transfer_with_id(801, 1, 2, "0.07")]);
    assert_eq!((&batch["created"], &batch["replayed"]), (&json!(0), &json!(1)), "{batch}");
    bank.check("POST /v1/transfers", transfer_with_id(800, 3, 1, "1.00"), "422 id_already_failed");
    keyed(&bank, "410 history_lost");
    bank.check("GET /v1/transfers/12345", (), "404 transfer_not_found");
    // And life goes on.
    bank.transfer(3, 2, "70.00");
    bank.check("POST /v1/transfers", transfer(3, 2, "0.01"), "422 exceeds_credits");
    bank.server.stop();
    bank.server.verify();
}

/// What accounts 1 and 2 held at moments since history begins is told, and refused before.
fn what_was_held_then(bank: &TestBank) {
    let transfers = bank.list("/v1/transfers?limit=1000&order=asc");
    let (oldest, last) = (&transfers[0], &transfers[transfers.len() - 1]);
    let time = |of: &Value| of["timestamp"].as_str().unwrap_or_default().to_owned();
    let created = time(&bank.get("/v1/accounts/1"));
    for account in [1, 2] {
        let path = format!("/v1/accounts/{account}");
        let shown = bank.get(&format!("{path}/balance?at={}", time(last)));
        assert_eq!(shown["balance"], json!(bank.balance(account)));
        assert!(shown["history_from"].as_u64() > Some(10), "{shown}");
        let first = bank.get(&format!("{path}/balance?at={}", time(oldest)));
        let statement = bank.get(&format!("{path}/statement?limit=1"));
        assert_eq!(statement["data"][0]["timestamp"], oldest["timestamp"], "{statement}");
        assert_eq!(statement["data"][0]["balance"], first["balance"], "{statement}");
        assert_eq!(statement["closing"]["balance"], shown["balance"], "{statement}");
        assert_eq!(statement["history_from"], shown["history_from"], "{statement}");
        for lost in [
            format!("balance?at={created}"),
            format!("balance?effective_at={created}"),
            format!("balance?effective_at={}", time(last)),
            format!("statement?from={created}"),
            format!("statement?to={created}&format=csv"),
        ] {
            let reply = bank.check(&format!("GET {path}/{lost}"), (), "410 history_lost");
            assert_eq!(reply.json()["id"], json!(account.to_string()), "{reply:?}");
        }
        let csv = bank.client().request(&format!("GET {path}/statement?format=csv&limit=2"));
        let csv = csv.send(()).body;
        let ends: Vec<_> = csv.lines().map(|line| line.rsplit(',').next()).collect();
        let from = shown["history_from"].to_string();
        assert_eq!(ends[0], Some("history_from"), "{csv}");
        assert_eq!(ends[1..], [Some(from.as_str()); 4], "{csv}");
    }
}

#[test]
fn a_store_ahead_of_its_journal_is_cut_only_when_told() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let url_words = ["--database-url", url.as_str()];
    let mut bank = bank_with(&[], &[("FLORIN_DATABASE_URL", &url)]);
    let before = everything(&bank);
    bank.server.stop();
    let backup = TestServer::on_copy_of(&bank.server, &[]);
    bank.restart();
    bank.account(4);
    bank.transfer(1, 4, "9.00");
    bank.batch(&(1..=30).map(|id| transfer_with_id(id, 2, 1, "0.10")).collect::<Vec<_>>());
    let ahead = everything(&bank);
    bank.server.stop();

    refused(&backup.refused_restart(), "rebuild-store");
    let told = "31 acknowledged transfers and 1 accounts are in the store only";
    refused(&rebuild(&backup, &url_words), told);
    bank.server.verify();
    let ended = rebuild(&backup, &["--database-url", &url, "--cut"]);
    done(&ended, "31 acknowledged transfers removed");
    assert!(ended.stderr.contains("removing 31 acknowledged transfers and 1 account"), "{ended:?}");
    let mut restored = TestBank::of(backup);
    restored.server.verify();
    restored.restart();
    assert_eq!(everything(&restored), before);
    restored.check("GET /v1/transfers/7", (), "404 transfer_not_found");
    restored.check("POST /v1/transfers", transfer_with_id(7, 1, 2, "8.00"), "201");
    // Which waits until it is in the store.
    assert_eq!(restored.ids("/v1/transfers?limit=1")[0], "7");
    restored.server.stop();
    restored.server.verify();

    // The other branch's journal is not this store's any more, ahead or not.
    refused(&bank.server.refused_restart(), "another journal");
    refused(&rebuild(&bank.server, &["--database-url", &url, "--cut"]), "another journal");
    // With the store out of the way, that branch has all that it had.
    let empty = postgres.url(&postgres.create_database());
    done(&rebuild(&bank.server, &["--database-url", &empty]), "applied from the journal");
    let mut other =
        TestBank::of(TestServer::moved(bank.server, &[("FLORIN_DATABASE_URL", &empty)]));
    other.restart();
    assert_eq!(everything(&other), ahead);
}

#[test]
fn a_rebuild_that_was_stopped_is_served_by_nobody() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let mut bank = bank_with(&[], &[("FLORIN_DATABASE_URL", &url)]);
    let before = everything(&bank);
    bank.server.stop();
    let _ = postgres.psql(&database, "UPDATE florin.checkpoint SET rebuilding = true");
    refused(&bank.server.refused_restart(), "run `florin rebuild-store` again");
    let mut verify = florin(&["verify", "--data-dir", bank.server.data_dir_word()]);
    verify.args(["--database-url", &url]);
    refused(&run_command(verify), "being rebuilt");
    let reader =
        TestServer::start_with_variables(&["--role", "read"], &[("FLORIN_DATABASE_URL", &url)]);
    let read = reader.client().request("GET /v1/accounts/1").send(());
    assert_eq!(read.summary(), "503 store_away", "{read:?}");
    done(&rebuild(&bank.server, &["--database-url", &url]), "applied from the journal");
    let read = reader.client().request("GET /v1/accounts/1").send(());
    assert_eq!(read.status, 200, "{read:?}");
    bank.server.verify();
    bank.restart();
    assert_eq!(everything(&bank), before);
}
