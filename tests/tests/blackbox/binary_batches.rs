//! Batches in their binary form, written byte by byte as `api/BINARY.md` describes it.

use florin_tests::bank::{TestBank, transfer, transfer_with_id, with};
use florin_tests::http::{Client, Reply};
use florin_tests::postgres::Postgres;
use florin_tests::server::{LARGE_SEGMENTS, TestServer, run};
use serde_json::{Value, json};

const TRANSFERS: &str = "POST /v1/transfers/batch";
const ACCOUNTS: &str = "POST /v1/accounts/batch";
const KIND: (&str, &str) = ("content-type", "application/vnd.florin.batch");
const EXCEEDS_CREDITS: u16 = 48;
const LEDGER_NOT_FOUND: u16 = 36;
const SECOND: u64 = 1_000_000_000;

/// A batch with this kind and these events.
fn batch(kind: u16, events: &[[u8; 128]]) -> Vec<u8> {
    let mut body = b"FLRB".to_vec();
    body.extend_from_slice(&1_u16.to_le_bytes());
    body.extend_from_slice(&kind.to_le_bytes());
    body.extend_from_slice(&(events.len() as u32).to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(events.as_flattened());
    body
}

fn put(event: &mut [u8; 128], at: usize, field: &[u8]) {
    event[at..at + field.len()].copy_from_slice(field);
}

/// A transfer of ledger 1 and code 1.
fn event(id: u128, debit: u128, credit: u128, minor_units: u128) -> [u8; 128] {
    let mut event = [0; 128];
    put(&mut event, 0, &id.to_le_bytes());
    put(&mut event, 16, &debit.to_le_bytes());
    put(&mut event, 32, &credit.to_le_bytes());
    put(&mut event, 48, &minor_units.to_le_bytes());
    put(&mut event, 112, &1_u32.to_le_bytes());
    put(&mut event, 116, &1_u16.to_le_bytes());
    event
}

/// An event with some of its bytes changed.
fn changed(mut event: [u8; 128], at: usize, field: &[u8]) -> [u8; 128] {
    put(&mut event, at, field);
    event
}

/// A binary answer.
#[derive(Debug, PartialEq)]
struct Outcomes {
    counts: [u32; 4],
    first: u64,
    last: u64,
    seq: u64,
    dry_run: bool,
    exceptions: Vec<(u32, u16, u64)>,
}

impl Outcomes {
    fn of(reply: &Reply) -> Outcomes {
        assert_eq!(reply.header("content-type"), Some(KIND.1), "{reply:?}");
        let bytes = &reply.bytes;
        let number = |at: usize, length: usize| {
            bytes[at..at + length].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let short = |at| number(at, 2) as u16;
        let word = |at| number(at, 4) as u32;
        let long = |at| number(at, 8);
        assert_eq!((&bytes[..4], short(4), short(6)), (&b"FLRB"[..], 1, 3), "{reply:?}");
        assert_eq!(bytes.len(), 64 + 16 * word(8) as usize, "{reply:?}");
        assert_eq!((word(12) >> 1, long(56)), (0, 0), "{reply:?}");
        let exceptions = (64..bytes.len()).step_by(16);
        let exceptions = exceptions.map(|at| {
            assert_eq!(short(at + 6), 0, "{reply:?}");
            (word(at), short(at + 4), long(at + 8))
        });
        Outcomes {
            counts: [word(16), word(20), word(24), word(28)],
            first: long(32),
            last: long(40),
            seq: long(48),
            dry_run: word(12) == 1,
            exceptions: exceptions.collect(),
        }
    }

    /// What became of the events that were not created, without moments.
    fn statuses(&self) -> Vec<(u32, u16)> {
        self.exceptions.iter().map(|(index, status, _)| (*index, *status)).collect()
    }
}

#[track_caller]
fn send(bank: &TestBank, request: &str, body: Vec<u8>) -> Outcomes {
    let reply = bank.check_with(request, &[KIND], body, "200");
    let outcomes = Outcomes::of(&reply);
    assert_eq!(outcomes.seq, reply.seq());
    outcomes
}

/// The last nine digits of a time in an answer: its nanoseconds.
fn nanoseconds(time: &Value) -> u64 {
    let text = time.as_str().expect("a time is a text").trim_end_matches('Z');
    let (_, fraction) = text.split_once('.').expect("nine digits stand behind the second");
    fraction.parse().expect("digits")
}

#[test]
fn the_exceptions_are_told_by_index_and_number() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "10.00");
    let before = bank.check("POST /v1/transfers", transfer_with_id(100, 1, 2, "1.00"), "201");
    let body = batch(
        1,
        &[
            event(101, 2, 1, 400),
            event(100, 1, 2, 100),
            event(100, 1, 2, 200),
            event(102, 2, 1, 4000),
            event(0, 2, 1, 100),
            changed(event(103, 2, 1, 100), 116, &[0, 0]),
            event(102, 2, 1, 100),
            changed(event(104, 2, 1, 100), 112, &[0; 4]),
            changed(event(105, 2, 1, 100), 112, &9_u32.to_le_bytes()),
            event(1 << 100 | 7, 2, 1, 700),
        ],
    );
    let outcomes = send(&bank, TRANSFERS, body.clone());
    assert_eq!(outcomes.counts, [10, 2, 1, 7]);
    assert_eq!(
        outcomes.statuses(),
        [(1, 0), (2, 11), (3, EXCEEDS_CREDITS), (4, 3), (5, 37), (6, 25), (7, 35), (8, 36)]
    );
    assert_eq!(outcomes.exceptions[0].2 % SECOND, nanoseconds(&before.json()["timestamp"]));
    assert!(outcomes.exceptions[1..].iter().all(|(_, _, timestamp)| *timestamp == 0));
    let made = bank.get("/v1/transfers/101");
    assert_eq!((made["amount"].as_str(), made["ledger"].as_u64()), (Some("4.00"), Some(1)));
    assert_eq!(outcomes.first % SECOND, nanoseconds(&made["timestamp"]));
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is later than 1970").as_nanos();
    assert!(now.abs_diff(u128::from(outcomes.first)) < u128::from(60 * SECOND));
    let last = bank.get("/v1/transfers/00000010-0000-0000-0000-000000000007");
    assert_eq!(outcomes.last % SECOND, nanoseconds(&last["timestamp"]));
    assert_eq!(outcomes.last - outcomes.first, 9, "the tenth event is nine nanoseconds later");
    assert_eq!(bank.balance(2), "0.00");
    // Again: what happened exists, what a passing reason refused stays refused.
    let again = send(&bank, TRANSFERS, body);
    assert_eq!(again.counts, [10, 0, 3, 7]);
    assert_eq!((again.first, again.last), (0, 0));
    assert_eq!((again.exceptions[0].1, again.exceptions[0].2), (0, outcomes.first));
    assert_eq!(again.exceptions[3].1, 25, "its id is used up");
    assert_eq!(bank.balance(2), "0.00");
}

/// All 128 bytes of a transfer arrive where they belong, and say the same as JSON.
#[test]
fn every_field_is_that_of_json() {
    let bank = TestBank::with_accounts(&[1, 2]);
    bank.check("POST /v1/ledgers", json!({"id": 7, "currency": "JPY", "scale": 0}), "201");
    for id in ["3", "4"] {
        bank.check("POST /v1/accounts", json!({"id": id, "ledger": 7}), "201");
    }
    let mut full = event(11, 1, 2, 1250);
    put(&mut full, 80, &(u128::from(u64::MAX) + 2).to_le_bytes());
    put(&mut full, 96, &u64::MAX.to_le_bytes());
    put(&mut full, 104, &77_u32.to_le_bytes());
    put(&mut full, 108, &3600_u32.to_le_bytes());
    put(&mut full, 116, &300_u16.to_le_bytes());
    put(&mut full, 118, &2_u16.to_le_bytes());
    let yen = changed(event(12, 3, 4, 1250), 112, &7_u32.to_le_bytes());
    // A part of what is pending, with all that a post takes over left open.
    let mut post = event(13, 0, 0, 250);
    put(&mut post, 64, &11_u128.to_le_bytes());
    put(&mut post, 112, &[0; 6]);
    put(&mut post, 118, &4_u16.to_le_bytes());
    let outcomes = send(&bank, TRANSFERS, batch(1, &[full, yen, post]));
    assert_eq!((outcomes.counts, outcomes.exceptions), ([3, 3, 0, 0], vec![]));
    let same = json!([
        {"id": "11", "debit_account_id": "1", "credit_account_id": "2", "amount": "12.50", "ledger": 1, "code": 300,
         "flags": ["pending"], "timeout": 3600, "user_data_128": "18446744073709551617",
         "user_data_64": "18446744073709551615", "user_data_32": 77},
        {"id": "12", "debit_account_id": "3", "credit_account_id": "4", "amount": "1250", "ledger": 7},
        {"id": "13", "amount": "2.50", "flags": ["post_pending_transfer"], "pending_id": "11"},
    ]);
    let answer = bank.check(TRANSFERS, same, "200").json();
    assert_eq!((&answer["replayed"], &answer["rejected"]), (&json!(3), &json!([])), "{answer}");
    assert_eq!((bank.balance(2), bank.balance(4)), ("2.50".into(), "1250".into()));
}

#[test]
fn imported_events_keep_their_moments() {
    let bank = TestBank::open();
    let mut account = [[0; 128]; 2];
    for (account, (id, timestamp)) in account.iter_mut().zip([(1_u128, 100_u64), (2, 200)]) {
        put(account, 0, &id.to_le_bytes());
        put(account, 112, &1_u32.to_le_bytes());
        put(account, 116, &1_u16.to_le_bytes());
        put(account, 118, &16_u16.to_le_bytes());
        put(account, 120, &timestamp.to_le_bytes());
    }
    let outcomes = send(&bank, ACCOUNTS, batch(2, &account));
    assert_eq!((outcomes.counts, outcomes.first, outcomes.last), ([2, 2, 0, 0], 100, 200));
    let imported = |id, timestamp: u64| {
        let event = changed(event(id, 1, 2, 100), 118, &256_u16.to_le_bytes());
        changed(event, 120, &timestamp.to_le_bytes())
    };
    let outcomes = send(&bank, TRANSFERS, batch(1, &[imported(1, 300), imported(2, 400)]));
    assert_eq!((outcomes.counts, outcomes.first, outcomes.last), ([2, 2, 0, 0], 300, 400));
    assert_eq!(bank.get("/v1/transfers/2")["timestamp"], "1970-01-01T00:00:00.000000400Z");
}

#[test]
fn accounts_come_in_binary_too() {
    let bank = TestBank::open();
    let mut account = [0; 128];
    put(&mut account, 0, &5_u128.to_le_bytes());
    put(&mut account, 16, &1250_u128.to_le_bytes());
    put(&mut account, 80, &8_u128.to_le_bytes());
    put(&mut account, 96, &9_u64.to_le_bytes());
    put(&mut account, 104, &10_u32.to_le_bytes());
    put(&mut account, 112, &1_u32.to_le_bytes());
    put(&mut account, 116, &20_u16.to_le_bytes());
    put(&mut account, 118, &2_u16.to_le_bytes());
    let both_limits = changed(changed(account, 0, &[6]), 118, &[6]);
    let outcomes = send(&bank, ACCOUNTS, batch(2, &[account, account, both_limits]));
    assert_eq!(outcomes.counts, [3, 1, 1, 1]);
    assert_eq!(outcomes.statuses(), [(1, 0), (2, 26)]);
    let same = json!([{
        "id": "5", "code": 20, "flags": ["debits_must_not_exceed_credits"], "overdraft_limit": "12.50",
        "user_data_128": "8", "user_data_64": "9", "user_data_32": 10,
    }]);
    let answer = bank.check(ACCOUNTS, same, "200").json();
    assert_eq!(answer["replayed"], 1, "{answer}");
    for at in (32..80).chain(108..112) {
        let field = if at < 80 { "balances" } else { "reserved" };
        let body = batch(2, &[account, changed(account, at, &[1])]);
        bank.check_with(ACCOUNTS, &[KIND], body, &format!("400 {field} at 1"));
    }
}

#[test]
fn what_can_not_be_read_refuses_the_whole_batch() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let good = batch(1, &[event(1, 1, 2, 100), event(2, 1, 2, 100)]);
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut body = good.clone();
        change(&mut body);
        let reply = bank.check_with(TRANSFERS, &[KIND], body, expected);
        assert_eq!(reply.json()["retry"], "never", "{reply:?}");
    };
    check(&|body| body.clear(), "400 body");
    check(&|body| body.truncate(15), "400 body");
    check(&|body| body[3] = b'b', "400 body");
    check(&|body| body.truncate(200), "400 body");
    check(&|body| body.push(0), "400 body");
    check(&|body| body[8] = 3, "400 body");
    check(&|body| body[4] = 2, "400 version");
    check(&|body| body[6] = 2, "400 kind");
    check(&|body| body[12] = 1, "400 reserved");
    check(&|body| body[15] = 1, "400 reserved");
    check(&|body| body[8..12].fill(255), "400 too_many_events");
    let second = 16 + 128;
    check(&|body| body[second + 119] = 2, "400 flags at 1");
    check(&|body| body[second + 60] = 1, "400 amount at 1");
    check(&|body| body[second + 63] = 255, "400 amount at 1");
    check(&|body| body[second + 127] = 128, "400 timestamp at 1");
    // JSON under the wrong name, and the other way round; and routes that take no batch.
    let json = json!([transfer(1, 2, "1.00")]).to_string().into_bytes();
    bank.check_with(TRANSFERS, &[KIND], json, "400 body");
    let as_json = ("content-type", "application/json");
    let reply = bank.check_with(TRANSFERS, &[as_json], good.clone(), "400 malformed_json");
    assert_eq!(reply.json()["code"], "malformed_json");
    for kind in ["application/vnd.florin.batch; version=1", "application/octet-stream"] {
        let kind = ("content-type", kind);
        bank.check_with(TRANSFERS, &[kind], good.clone(), "415 unsupported_media_type");
    }
    for route in ["POST /v1/transfers", "POST /v1/transactions", "POST /v1/accounts"] {
        bank.check_with(route, &[KIND], good.clone(), "415 unsupported_media_type");
    }
    bank.check_with(ACCOUNTS, &[KIND], good.clone(), "400 kind");
    let all = "POST /v1/transfers/batch?results=all";
    bank.check_with(all, &[KIND], good.clone(), "400 results");
    assert!(bank.list("/v1/transfers").is_empty());
    send(&bank, TRANSFERS, good);
    assert_eq!(bank.balance(2), "2.00");
}

#[test]
fn a_body_over_the_bound_is_413() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let body = vec![0; (16 << 20) + 1];
    bank.check_with(TRANSFERS, &[KIND], body, "413 body_too_large");
}

#[test]
fn the_largest_batch_is_taken_and_one_more_is_not() {
    let bank = TestBank::of(TestServer::start_with(&LARGE_SEGMENTS));
    bank.account(1);
    bank.funded(2, "81.90");
    let events: Vec<_> = (1..=8191).map(|id| event(id, 2, 1, 1)).collect();
    let reply = bank.check_with(TRANSFERS, &[KIND], batch(1, &events), "400 too_many_events");
    assert_eq!(reply.json()["retry"], "never");
    assert_eq!(bank.balance(1), "0.00");
    let outcomes = send(&bank, TRANSFERS, batch(1, &events[..8190]));
    assert_eq!((outcomes.counts, outcomes.exceptions), ([8190, 8190, 0, 0], vec![]));
    assert_eq!(outcomes.last - outcomes.first, 8189);
    assert_eq!((bank.balance(1), bank.balance(2)), ("81.90".into(), "0.00".into()));
    // The largest answer: nothing was created.
    let outcomes = send(&bank, TRANSFERS, batch(1, &events[..8190]));
    assert_eq!((outcomes.counts, outcomes.exceptions.len()), ([8190, 0, 8190, 0], 8190));
    let metrics = bank.client().request("GET /metrics").send(()).body;
    let count = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name));
    assert_eq!(count("florin_replayed_total "), Some("8190"), "{metrics}");
}

#[test]
fn an_empty_batch_does_nothing() {
    let bank = TestBank::open();
    let outcomes = send(&bank, TRANSFERS, batch(1, &[]));
    assert_eq!((outcomes.counts, outcomes.exceptions), ([0; 4], vec![]));
}

#[test]
fn linked_events_and_a_dry_run_are_as_in_json() {
    let bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "10.00");
    let linked = |event| changed(event, 118, &[1]);
    let body =
        batch(1, &[linked(event(1, 2, 1, 300)), event(2, 2, 1, 30_000), event(3, 2, 1, 200)]);
    let would = send(&bank, "POST /v1/transfers/batch?dry_run=true", body.clone());
    assert!(would.dry_run);
    assert_eq!(would.statuses(), [(0, 1), (1, EXCEEDS_CREDITS)]);
    assert_eq!(bank.balance(2), "10.00");
    let is = send(&bank, TRANSFERS, body);
    assert!(!is.dry_run);
    assert_eq!((is.counts, is.statuses()), (would.counts, would.statuses()));
    assert_eq!(bank.balance(2), "8.00");
}

/// A key stands for what is asked, however it is written: the same batch as JSON and in binary has one outcome.
#[test]
fn a_key_stands_for_the_same_batch_in_both_forms() {
    let mut bank = TestBank::with_accounts(&[1]);
    bank.funded(2, "10.00");
    let post = |id: u128, pending: u128| {
        let event = changed(event(id, 0, 0, u128::MAX >> 32), 112, &[0; 6]);
        changed(changed(event, 64, &pending.to_le_bytes()), 118, &[4])
    };
    let body = batch(
        1,
        &[
            changed(event(1, 2, 1, 150), 118, &[2]),
            event(2, 2, 1, 90_000),
            event(3, 2, 1, 0),
            post(4, 1),
        ],
    );
    let named = |transfer: Value| with(transfer, json!({"ledger": 1}));
    let json = json!([
        named(with(transfer_with_id(1, 2, 1, "1.5"), json!({"flags": ["pending"]}))),
        named(transfer_with_id(2, 2, 1, "900.00")),
        named(transfer_with_id(3, 2, 1, "0.00")),
        {"id": "4", "flags": ["post_pending_transfer"], "pending_id": "1"},
    ]);
    let key = ("idempotency-key", "a");
    let first = bank.check_with(TRANSFERS, &[KIND, key], body.clone(), "200");
    let outcomes = Outcomes::of(&first);
    assert_eq!((outcomes.counts, outcomes.statuses()), ([4, 3, 0, 1], vec![(1, EXCEEDS_CREDITS)]));
    for _ in 0..2 {
        let again = bank.check_with(TRANSFERS, &[KIND, key], body.clone(), "200 replayed");
        assert_eq!(again.bytes, first.bytes, "the first answer, whole");
        let as_json = bank.check_with(TRANSFERS, &[key], json.clone(), "200 replayed").json();
        assert_eq!((&as_json["created"], &as_json["seq"]), (&json!(3), &json!(outcomes.seq)));
        assert_eq!(as_json["rejected"][0]["code"], "exceeds_credits", "{as_json}");
        bank.server.kill();
        bank.restart();
    }
    let other = batch(1, &[event(1, 2, 1, 151)]);
    bank.check_with(TRANSFERS, &[KIND, key], other, "422 idempotency_key_reused");
    // From JSON to binary as well.
    let key = ("idempotency-key", "b");
    let json = json!([named(transfer_with_id(9, 2, 1, "0.07"))]);
    bank.check_with(TRANSFERS, &[key], json, "200");
    bank.check_with(TRANSFERS, &[KIND, key], batch(1, &[event(9, 2, 1, 7)]), "200 replayed");
    bank.check_with(
        TRANSFERS,
        &[KIND, key],
        batch(1, &[event(9, 2, 1, 70)]),
        "422 idempotency_key_reused",
    );
    let key = ("idempotency-key", "c");
    let mut account = [0; 128];
    put(&mut account, 0, &8_u128.to_le_bytes());
    put(&mut account, 16, &500_u128.to_le_bytes());
    put(&mut account, 112, &[1, 0, 0, 0, 1, 0, 2, 0]);
    bank.check_with(ACCOUNTS, &[KIND, key], batch(2, &[account]), "200");
    let json =
        json!([{"id": 8, "flags": ["debits_must_not_exceed_credits"], "overdraft_limit": 5}]);
    bank.check_with(ACCOUNTS, &[key], json, "200 replayed");
}

/// What a key stands for may not depend on whether a ledger was there at that moment.
#[test]
fn beside_a_key_amounts_need_their_ledger() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let key = ("idempotency-key", "a");
    let elsewhere = changed(event(5, 1, 2, 100), 112, &9_u32.to_le_bytes());
    let body = batch(1, &[event(4, 1, 2, 100), elsewhere]);
    bank.check_with(TRANSFERS, &[KIND, key], body.clone(), "400 ledger at 1");
    assert!(bank.list("/v1/transfers").is_empty());
    let outcomes = send(&bank, TRANSFERS, body.clone());
    assert_eq!(outcomes.statuses(), [(1, LEDGER_NOT_FOUND)], "without a key it is its refusal");
    // The key is still free, and is used once the ledger is there.
    bank.check("POST /v1/ledgers", json!({"id": 9, "currency": "EUR", "scale": 2}), "201");
    let reply = bank.check_with(TRANSFERS, &[KIND, key], body.clone(), "200");
    assert_eq!(Outcomes::of(&reply).counts, [2, 0, 1, 1]);
    bank.check_with(TRANSFERS, &[KIND, key], body, "200 replayed");
}

#[test]
fn keys_and_readers_treat_it_as_any_command() {
    let postgres = Postgres::shared();
    let database = postgres.url(&postgres.create_database());
    let urls = [("FLORIN_DATABASE_URL", database.as_str())];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.toml");
    let file = file.to_str().unwrap();
    let new_key = |scope: &str| {
        let made = run(&["keys", "new", "--scope", scope, "--name", scope, "--file", file]);
        let words = made.stdout.split_whitespace().find(|word| word.starts_with("flk_"));
        format!("Bearer {}", words.unwrap_or_else(|| panic!("no key: {made:?}")))
    };
    let (write, read) = (new_key("write"), new_key("read"));
    let writer = TestServer::start_with_variables(&["--api-keys", file], &urls);
    let base = writer.base();
    let words = ["--role", "read", "--api-keys", file, "--writer-url", &base];
    let reader = TestServer::start_with_variables(&words, &urls);
    let send = |client: &Client, key: &str, body: Vec<u8>, expected: &str| {
        let mut request = client.request(TRANSFERS).header(KIND.0, KIND.1);
        if !key.is_empty() {
            request = request.header("authorization", key);
        }
        request.send(body).expect(expected)
    };
    for client in [writer.client(), reader.client()] {
        let accounts = client.request("POST /v1/accounts/batch").header("authorization", &write);
        let _ = accounts.send(json!([{"id": 1}, {"id": 2}])).expect("200");
        let body = batch(1, &[event(7, 1, 2, 100), event(8, 1, 3, 100)]);
        let _ = send(&client, "", body.clone(), "401 unauthorized");
        let _ = send(&client, &read, body.clone(), "403 forbidden");
        let outcomes = Outcomes::of(&send(&client, &write, body, "200"));
        assert_eq!(outcomes.exceptions.last().map(|last| last.0), Some(1), "{outcomes:?}");
        assert_eq!(outcomes.counts[1] + outcomes.counts[2], 1);
        let _ = send(&client, &write, b"FLRB".to_vec(), "400 body");
    }
    let client = writer.client();
    let account = client.request("GET /v1/accounts/2").header("authorization", &write);
    assert_eq!(account.send(()).json()["balance"], "1.00");
}
