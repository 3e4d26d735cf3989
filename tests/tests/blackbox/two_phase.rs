//! Money that is reserved first, and posted, voided or expired later; balancing, closing and imported transfers.

use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use florin_tests::server::{SMALL_SEGMENTS, TestServer};
use serde_json::{Value, json};

fn pending(id: u128, debit: u128, credit: u128, amount: &str, timeout: u32) -> Value {
    let changes = json!({"flags": ["pending"], "timeout": timeout});
    with(transfer_with_id(id, debit, credit, amount), changes)
}

/// A bank whose account 1 has money and can not be overdrawn.
fn bank() -> TestBank {
    let bank = TestBank::open();
    bank.funded(1, "100.00");
    bank.account(2);
    bank
}

/// What account 1 has, has reserved, and may spend.
fn standing(bank: &TestBank) -> [String; 3] {
    let account = bank.get("/v1/accounts/1");
    ["balance", "debits_pending", "available"]
        .map(|field| account[field].as_str().unwrap_or_default().to_owned())
}

#[track_caller]
fn await_standing(bank: &TestBank, expected: [&str; 3]) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while standing(bank) != expected {
        assert!(Instant::now() < deadline, "{:?} instead of {expected:?}", standing(bank));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_reserved_is_posted_in_full_or_in_part_or_voided() {
    let bank = bank();
    let first = bank.check("POST /v1/transfers", pending(10, 1, 2, "60.00", 3600), "201").json();
    assert_eq!((&first["status"], &first["timeout"]), (&json!("pending"), &json!(3600)));
    assert!(first["expires_at"].as_str() > first["timestamp"].as_str(), "{first}");
    assert_eq!(first["debit_account"]["available"], "40.00");
    assert_eq!(standing(&bank), ["100.00", "60.00", "40.00"]);
    bank.check("POST /v1/transfers", transfer(1, 2, "40.01"), "422 exceeds_credits");

    let post = json!({"id": "11", "amount": "25.00", "metadata": {"why": "a part"}});
    let posted = bank.check("POST /v1/transfers/10/post", post.clone(), "201").json();
    assert_eq!(posted["pending_id"], "10");
    assert_eq!((&posted["amount"], &posted["status"]), (&json!("25.00"), &json!("posted")));
    assert_eq!(posted["metadata"]["why"], "a part");
    assert_eq!(standing(&bank), ["75.00", "0.00", "75.00"]);
    assert_eq!(bank.balance(2), "25.00");
    bank.check("POST /v1/transfers/10/post", post, "200 replayed");
    bank.check(
        "POST /v1/transfers/10/post",
        json!({"id": "12"}),
        "422 pending_transfer_already_posted",
    );
    bank.check("POST /v1/transfers/10/void", (), "422 pending_transfer_already_posted");
    bank.check("POST /v1/transfers/11/post", (), "422 pending_transfer_not_pending");
    bank.check("POST /v1/transfers/77/void", (), "422 pending_transfer_not_found");

    bank.check("POST /v1/transfers", pending(20, 1, 2, "75.00", 0), "201");
    bank.check(
        "POST /v1/transfers/20/post",
        json!({"amount": "75.01"}),
        "422 exceeds_pending_transfer_amount",
    );
    bank.check("POST /v1/transfers/20/void", json!({"amount": "1.00"}), "400 amount");
    let voided = bank.check("POST /v1/transfers/20/void", json!({"id": "21"}), "201").json();
    assert_eq!((&voided["amount"], &voided["status"]), (&json!("75.00"), &json!("voided")));
    assert_eq!(standing(&bank), ["75.00", "0.00", "75.00"]);
    bank.check("POST /v1/transfers/20/post", (), "422 pending_transfer_already_voided");

    // All of it, by the batch and by the word.
    bank.check("POST /v1/transfers", pending(30, 1, 2, "5.00", 0), "201");
    let post = json!({"id": "31", "pending_id": "30", "amount": "max", "flags": ["post_pending_transfer"]});
    let answer = bank.batch(&[post]);
    assert_eq!(answer["created"], 1, "{answer}");
    assert_eq!(standing(&bank), ["70.00", "0.00", "70.00"]);

    // Read by id and in lists, before a restart and after.
    let mut bank = bank;
    for _ in 0..2 {
        for (id, status) in
            [(10, "posted"), (11, "posted"), (20, "voided"), (21, "voided"), (30, "posted")]
        {
            assert_eq!(bank.get(&format!("/v1/transfers/{id}"))["status"], status, "{id}");
        }
        let listed: Vec<String> = bank
            .list("/v1/accounts/2/transfers?order=asc")
            .iter()
            .map(|shown| format!("{} {}", shown["id"], shown["status"]).replace('"', ""))
            .collect();
        assert_eq!(
            listed,
            ["10 posted", "11 posted", "20 voided", "21 voided", "30 posted", "31 posted"]
        );
        bank.server.stop();
        bank.server.verify();
        bank.restart();
    }
}

#[test]
fn what_nobody_posts_in_time_is_released() {
    let mut bank = bank();
    let began = Instant::now();
    bank.check("POST /v1/transfers", pending(10, 1, 2, "60.00", 1), "201");
    bank.check("POST /v1/transfers", pending(11, 1, 2, "30.00", 3600), "201");
    assert_eq!(standing(&bank), ["100.00", "90.00", "10.00"]);
    await_standing(&bank, ["100.00", "30.00", "70.00"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "not before its time");
    for verb in ["post", "void"] {
        let asked = format!("POST /v1/transfers/10/{verb}");
        bank.check(&asked, (), "422 pending_transfer_expired");
    }
    assert_eq!(bank.get("/v1/transfers/10")["status"], "expired");
    let listed = bank.list("/v1/transfers?order=asc");
    let statuses: Vec<&Value> = listed.iter().skip(1).map(|shown| &shown["status"]).collect();
    assert_eq!(statuses, ["expired", "pending"]);

    // What was due while nobody was there is released before the first answer.
    bank.check("POST /v1/transfers", pending(12, 1, 2, "70.00", 1), "201");
    bank.server.kill();
    thread::sleep(Duration::from_millis(1300));
    bank.restart();
    assert_eq!(standing(&bank), ["100.00", "30.00", "70.00"]);
    bank.check("POST /v1/transfers/12/post", (), "422 pending_transfer_expired");
    bank.check("POST /v1/transfers/11/post", json!({"amount": "10.00"}), "201");
    assert_eq!(standing(&bank), ["90.00", "0.00", "90.00"]);
    bank.server.stop();
    bank.server.verify();
}

#[test]
fn many_that_are_due_at_once_keep_nobody_waiting() {
    const BATCHES: u128 = 12;
    let mut bank = TestBank::of(TestServer::start_with(&["--segment-bytes", "4MiB"]));
    bank.account(1);
    bank.account(2);
    for batch in 0..BATCHES {
        let ids = 10_000 + batch * 2000..10_000 + (batch + 1) * 2000;
        let batch: Vec<Value> = ids.map(|id| pending(id, 1, 2, "1.00", 4)).collect();
        let body: Value = batch.into();
        bank.check("POST /v1/transfers/batch", body, "200");
    }
    let all = florin_tests::load::money(BATCHES * 2000 * 100);
    assert_eq!(bank.get("/v1/accounts/1")["debits_pending"], all);
    let mut longest = Duration::ZERO;
    let deadline = Instant::now() + Duration::from_secs(60);
    while bank.get("/v1/accounts/1")["debits_pending"] != "0.00" {
        assert!(Instant::now() < deadline, "they never expire");
        let began = Instant::now();
        bank.transfer(2, 1, "0.01");
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(2), "somebody waited for {longest:?}");
    let metrics = bank.client().request("GET /metrics").send(()).body;
    let expired = format!("florin_transfers_expired_total {}", BATCHES * 2000);
    assert!(metrics.contains(&expired), "{metrics}");
    bank.server.kill();
    bank.restart();
    assert_eq!(bank.get("/v1/accounts/1")["debits_pending"], "0.00");
    assert_eq!(bank.get("/v1/transfers/10000")["status"], "expired");
    bank.server.stop();
    bank.server.verify();
}

#[test]
fn settled_transfers_answer_for_ever() {
    let mut bank = TestBank::of(TestServer::start_with(&SMALL_SEGMENTS));
    bank.account(1);
    bank.account(2);
    bank.check("POST /v1/transfers", pending(10, 1, 2, "5.00", 0), "201");
    bank.check("POST /v1/transfers", pending(11, 1, 2, "6.00", 0), "201");
    bank.check("POST /v1/transfers", pending(12, 1, 2, "7.00", 1), "201");
    bank.check("POST /v1/transfers/10/post", json!({"id": "20"}), "201");
    let oldest = bank.server.segments()[0].clone();
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut sent = 0;
    while oldest.exists() {
        assert!(Instant::now() < deadline, "no segment was ever removed");
        let ids = 1_000_000 + sent..1_000_000 + sent + 50;
        let batch: Value = ids.map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
        bank.check("POST /v1/transfers/batch", batch, "200");
        sent += 50;
    }
    for _ in 0..2 {
        bank.check("POST /v1/transfers/10/post", json!({"id": "20"}), "200 replayed");
        bank.check("POST /v1/transfers/10/void", (), "422 pending_transfer_already_posted");
        bank.check("POST /v1/transfers/12/void", (), "422 pending_transfer_expired");
        assert_eq!(bank.get("/v1/transfers/10")["status"], "posted");
        assert_eq!(bank.get("/v1/transfers/11")["status"], "pending");
        assert_eq!(bank.get("/v1/transfers/12")["status"], "expired");
        bank.server.stop();
        bank.server.verify();
        bank.restart();
    }
    // Still open, out of the snapshot.
    bank.check("POST /v1/transfers/11/void", (), "201");
    assert_eq!(bank.get("/v1/accounts/1")["debits_pending"], "0.00");
}

#[test]
fn transactions_reserve_and_settle_too() {
    let bank = bank();
    let legs = json!([pending(10, 1, 2, "3.00", 0), transfer_with_id(11, 1, 2, "1.00")]);
    let made = bank.check("POST /v1/transactions", json!({"id": "9", "transfers": legs}), "201");
    assert_eq!(made.json()["status"], "pending");
    assert_eq!(made.json()["transfers"][1]["status"], "posted");
    assert_eq!(bank.get("/v1/transactions/9")["status"], "pending");
    bank.check("POST /v1/transfers/10/void", (), "201");
    let read = bank.get("/v1/transactions/9");
    assert_eq!(
        (&read["status"], &read["transfers"][0]["status"]),
        (&json!("posted"), &json!("voided"))
    );
    let settle = json!({"pending_id": "20", "flags": ["post_pending_transfer"]});
    let legs = json!([pending(20, 1, 2, "3.00", 0), settle]);
    let made = bank.check("POST /v1/transactions", json!({"id": "8", "transfers": legs}), "201");
    assert_eq!(made.json()["status"], "posted");
    assert_eq!(made.json()["transfers"][0]["status"], "posted");
}

#[test]
fn balancing_moves_what_there_is_and_closing_closes() {
    let bank = bank();
    let most = json!({"flags": ["balancing_debit"], "amount": "max"});
    let moved = bank.check("POST /v1/transfers", with(transfer(1, 2, "1.00"), most), "201").json();
    assert_eq!(moved["amount"], "100.00", "as much as there is");
    assert_eq!(bank.balance(1), "0.00");

    bank.account(3);
    let closing = json!({"flags": ["pending", "closing_debit"]});
    bank.check("POST /v1/transfers", with(transfer_with_id(40, 3, 2, "0.00"), closing), "201");
    let closed = bank.get("/v1/accounts/3");
    assert_eq!(closed["flags"], json!(["closed"]), "{closed}");
    bank.check("POST /v1/transfers", transfer(3, 2, "1.00"), "422 debit_account_already_closed");
    bank.check("POST /v1/transfers/40/void", (), "201");
    assert_eq!(bank.get("/v1/accounts/3")["flags"], json!([]));
    bank.transfer(3, 2, "1.00");
}

#[test]
fn imported_accounts_and_transfers_keep_their_moments() {
    // Into a ledger that has no newer ones.
    let bank = TestBank::open();
    let imported = json!([
        {"id": "50", "flags": ["imported"], "timestamp": "2020-01-01T00:00:00.000000001Z"},
        {"id": "51", "flags": ["imported"], "timestamp": "2020-01-01T00:00:00.000000002Z"},
        {"id": "52", "timestamp": "2020-01-01T00:00:00.000000003Z"},
    ]);
    let told = |answer: &Value| -> Vec<String> {
        let results = answer["results"].as_array().into_iter().flatten();
        results.map(|one| format!("{} {}", one["status"], one["timestamp"])).collect()
    };
    let asked = "POST /v1/accounts/batch?results=all";
    let answer = bank.check(asked, imported.clone(), "200").json();
    let (first, last) = ("2020-01-01T00:00:00.000000001Z", "2020-01-01T00:00:00.000000002Z");
    let refused = "\"imported_event_expected\" null".to_owned();
    let created = [format!("\"created\" \"{first}\""), format!("\"created\" \"{last}\"")];
    assert_eq!(told(&answer), [&created[..], std::slice::from_ref(&refused)].concat(), "{answer}");
    let ends = (&answer["first_timestamp"], &answer["last_timestamp"]);
    assert_eq!(ends, (&json!(first), &json!(last)), "{answer}");
    let again = bank.check(asked, imported, "200").json();
    let exists = created.map(|one| one.replace("created", "exists"));
    assert_eq!(told(&again), [&exists[..], &[refused]].concat(), "{again}");
    assert_eq!(bank.get("/v1/accounts/50")["timestamp"], first);
    let changes = json!({"flags": ["imported"], "timestamp": "2020-01-01T00:00:01Z"});
    let old = with(transfer_with_id(60, 50, 51, "1.00"), changes);
    let moved = bank.check("POST /v1/transfers", old.clone(), "201").json();
    assert_eq!(moved["timestamp"], "2020-01-01T00:00:01.000000000Z");
    bank.check("POST /v1/transfers", old, "200 replayed");
    let early = json!({"flags": ["imported"], "timestamp": "2020-01-01T00:00:00.5Z"});
    let early = with(transfer_with_id(61, 50, 51, "1.00"), early);
    bank.check("POST /v1/transfers", early, "422 imported_event_timestamp_must_not_regress");
    let later = json!({"flags": ["imported"], "timestamp": "2020-01-01T00:00:02Z"});
    let answer = bank.batch(&[with(transfer_with_id(62, 50, 51, "1.00"), later)]);
    let moment = json!("2020-01-01T00:00:02.000000000Z");
    assert_eq!(
        (&answer["results"][0]["timestamp"], &answer["first_timestamp"], &answer["last_timestamp"]),
        (&moment, &moment, &moment)
    );
    assert_eq!(bank.ids("/v1/accounts/50/transfers"), ["62", "60"]);
    let mut bank = bank;
    bank.server.stop();
    bank.server.verify();
}
