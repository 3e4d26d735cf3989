//! Ids that callers name by texts of their own: read wherever an id is, shown beside the id, and never lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use florin_tests::bank::{TestBank, escaped, id_of, transfer, with};
use florin_tests::http::Client;
use florin_tests::postgres::Postgres;
use florin_tests::redis::Redis;
use florin_tests::server::{SMALL_SEGMENTS, TestServer, run};
use serde_json::{Value, json};

use crate::readers::from;

/// Python: `uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "urn:florin:external-id"), text)`.
const ALICE: (&str, &str) = ("alice@example.com", "daae9546-c79f-5d68-af61-e54383696a40");
const ORDER: (&str, &str) = ("order-4711", "a7cab757-0c85-581e-af86-8aaced64c89c");
/// With all that means something in a path, a query, JSON, SQL or a shell.
const STRANGE: (&str, &str) = ("/a%2F?b=c&d#e+f\"g\\'%", "2d00cbce-47d5-598e-b361-c7df1c7424d7");

fn ext(text: &str) -> String {
    format!("ext:{text}")
}

fn between(debit: &str, credit: &str, amount: &str) -> Value {
    json!({"debit_account_id": debit, "credit_account_id": credit, "amount": amount})
}

fn bank() -> TestBank {
    let bank = TestBank::with_accounts(&[1, 2]);
    for (text, id) in [ALICE, STRANGE] {
        let created = bank.check("POST /v1/accounts", json!({"id": ext(text)}), "201");
        assert_eq!(created.header("location"), Some(&*format!("/v1/accounts/{id}")));
        let created = created.json();
        assert_eq!((&created["id"], &created["external_id"]), (&json!(id), &json!(text)));
    }
    bank
}

#[test]
fn accounts_are_found_by_their_texts() {
    let bank = bank();
    for (text, id) in [ALICE, STRANGE] {
        let by_text = bank.get(&format!("/v1/accounts/{}", escaped(&ext(text))));
        assert_eq!(by_text, bank.get(&format!("/v1/accounts/{id}")));
        assert_eq!((&by_text["id"], &by_text["external_id"]), (&json!(id), &json!(text)));
        // The colon needs no encoding, nor does anything that a path may have.
        if text == ALICE.0 {
            assert_eq!(bank.get("/v1/accounts/ext:alice@example.com"), by_text);
        }
        bank.check("POST /v1/transfers", between("1", &ext(text), "2.50"), "201");
        bank.check("POST /transaction", json!({"from": ext(text), "to": 2, "amount": 1}), "201");
        let balance = bank.get(&format!("/balance/{}", escaped(&ext(text))));
        let expected =
            json!({"account_id": id, "external_id": text, "balance": 1.5, "cached": false});
        assert_eq!(balance, expected);
        let moved = bank.list(&format!("/v1/accounts/{}/transfers", escaped(&ext(text))));
        assert_eq!(moved.len(), 2);
        assert_eq!(
            (&moved[0]["debit_account_id"], &moved[1]["credit_account_id"]),
            (&json!(id), &json!(id))
        );
        assert!(bank.list("/v1/accounts").contains(&bank.get(&format!("/v1/accounts/{id}"))));
    }
    assert_eq!(bank.get("/v1/accounts/1").get("external_id"), None);
    bank.check("GET /v1/accounts/ext:nobody", (), "404 account_not_found");
}

#[test]
fn one_thing_has_one_id_whichever_way_it_is_named() {
    let bank = bank();
    let (text, id) = ORDER;
    let asked = |name: &str| with(between("1", &ext(ALICE.0), "5.00"), json!({"id": name}));
    let created = bank.check("POST /v1/transfers", asked(&ext(text)), "201").json();
    assert_eq!((&created["id"], &created["external_id"]), (&json!(id), &json!(text)));
    // By text or by number, the first outcome, with the text that it was created by.
    for name in [ext(text), id.to_owned()] {
        let again = bank.check("POST /v1/transfers", asked(&name), "200 replayed");
        assert!(again.is_replayed());
        assert_eq!(again.json()["external_id"], text);
        let found = bank.get(&format!("/v1/transfers/{name}"));
        assert_eq!((&found["id"], &found["external_id"]), (&json!(id), &json!(text)));
        let other = with(asked(&name), json!({"amount": "6.00"}));
        bank.check("POST /v1/transfers", other, "409 exists_with_different_amount");
    }
    // What was created by its number has no text, and gets none later.
    let number = "8e3c2b07-6d1f-5a3e-9d3e-0c4f6c7f5a11";
    bank.check("POST /v1/transfers", asked(number), "201");
    let bob = json!({"id": BOB_ID});
    bank.check("POST /v1/accounts", bob, "201");
    let again = bank.check("POST /v1/accounts", json!({"id": "ext:bob"}), "200 replayed").json();
    assert_eq!((&again["id"], again.get("external_id")), (&json!(BOB_ID), None));
    // An idempotency key answers as the first time.
    let headers = [("Idempotency-Key", "k-1")];
    let keyed = asked("ext:keyed");
    let first = bank.check_with("POST /v1/transfers", &headers, keyed.clone(), "201").json();
    assert_eq!(first["external_id"], "keyed");
    assert_eq!(
        bank.check_with("POST /v1/transfers", &headers, keyed, "201 replayed").json(),
        first
    );
}

const BOB_ID: &str = "4acd4056-479a-536d-aebd-4047d7594e7b";

#[test]
fn batches_transactions_and_pending_transfers_take_texts() {
    let bank = bank();
    let batch = json!([
        with(transfer(1, 2, "1.00"), json!({"id": "ext:b-1"})),
        with(transfer(1, 2, "2.00"), json!({"id": "ext:b-1"})),
        with(transfer(1, 2, "3.00"), json!({"id": "ext:hold", "flags": ["pending"]})),
    ]);
    let done = bank.check("POST /v1/transfers/batch", batch, "200").json();
    assert_eq!((&done["created"], &done["rejected"][0]["index"]), (&json!(2), &json!(1)));
    let posted =
        bank.check("POST /v1/transfers/ext:hold/post", json!({"id": "ext:hold-post"}), "201");
    let posted = posted.json();
    assert_eq!(
        (&posted["external_id"], &posted["pending_id"]),
        (&json!("hold-post"), &bank.get("/v1/transfers/ext:hold")["id"])
    );
    assert_eq!(bank.get("/v1/transfers/ext:hold")["status"], "posted");
    let more = json!({"id": "ext:hold-2", "debit_account_id": "1", "credit_account_id": "2", "amount": "1", "flags": ["pending"]});
    bank.check("POST /v1/transfers", more, "201");
    let void =
        json!({"id": "ext:void-2", "pending_id": "ext:hold-2", "flags": ["void_pending_transfer"]});
    bank.check("POST /v1/transfers", void, "201");
    assert_eq!(bank.get("/v1/transfers/ext:hold-2")["status"], "voided");
    let legs = json!([
        with(between("1", &ext(ALICE.0), "7.00"), json!({"id": "ext:leg-1"})),
        between(&ext(ALICE.0), "2", "0.50"),
    ]);
    let sale = json!({"id": "ext:sale", "transfers": legs});
    let created = bank.check("POST /v1/transactions", sale.clone(), "201").json();
    let again = bank.check("POST /v1/transactions", sale, "200 replayed").json();
    for shown in [created, again, bank.get("/v1/transactions/ext:sale")] {
        assert_eq!(shown["external_id"], "sale");
        assert_eq!(shown["transfers"][0]["external_id"], "leg-1");
        assert_eq!(shown["transfers"][1].get("external_id"), None);
    }
    let legs = bank.list("/v1/transfers?transaction_id=ext%3Asale&order=asc");
    let texts: Vec<_> = legs.iter().map(|leg| leg.get("external_id").cloned()).collect();
    assert_eq!(texts, [Some(json!("leg-1")), None]);
    // The short forms.
    bank.check("POST /account", json!({"account_id": "ext:carol", "balance": 5}), "201");
    assert_eq!(bank.get("/balance/ext:carol")["external_id"], "carol");
    bank.check(
        "POST /transaction",
        json!({"txn_id": "ext:t-1", "from": 1, "to": 2, "amount": 1}),
        "201",
    );
    let newest = bank.get("/transactions?limit=1");
    assert_eq!(newest[0]["external_id"], "t-1", "{newest}");
}

#[test]
fn what_can_be_no_external_id_is_refused() {
    let bank = bank();
    let longest = "x".repeat(128);
    bank.check("POST /v1/accounts", json!({"id": ext(&longest)}), "201");
    let before = bank.list("/v1/accounts").len();
    let too_long = "x".repeat(129);
    let refused =
        ["", " ", "a b", "ö", "a\u{0}", "a\nb", "\u{7f}", "\u{202e}a", "é", "e\u{301}", &too_long];
    for text in refused {
        let reply = bank.check("POST /v1/accounts", json!({"id": ext(text)}), "400 id");
        let problem = reply.json();
        assert_eq!(problem["errors"][0]["field"], "id", "{text:?}: {problem}");
        assert_eq!(problem["errors"][0]["code"], "not_an_id", "{text:?}: {problem}");
        let path = format!("GET /v1/accounts/{}", escaped(&ext(text)));
        bank.check(&path, (), "400 id");
    }
    for id in ["EXT:a", "Ext:a", "external:a", "ext", "ext;a"] {
        bank.check("POST /v1/accounts", json!({"id": id}), "400 id");
    }
    // A reference of the caller's own names nothing here.
    let reference = json!({"id": "77", "user_data_128": "ext:a"});
    bank.check("POST /v1/accounts", reference, "400 user_data_128");
    bank.check("GET /v1/accounts?user_data_128=ext:a", (), "400 user_data_128");
    assert_eq!(bank.list("/v1/accounts").len(), before);
}

#[test]
fn readers_show_texts_from_cache_and_store() {
    let postgres = Postgres::shared();
    let redis = Redis::start();
    let (database, cache) = (postgres.url(&postgres.create_database()), redis.url());
    let urls = [("FLORIN_DATABASE_URL", database.as_str()), ("FLORIN_REDIS_URL", cache.as_str())];
    let writer = TestServer::start_with_variables(&["--role", "write"], &urls);
    let base = writer.base();
    let writer = TestBank::of(writer);
    let words = ["--role", "read", "--writer-url", &base];
    let reader = TestBank::of(TestServer::start_with_variables(&words, &urls));
    let (text, id) = ALICE;
    let created = reader.check("POST /v1/accounts", json!({"id": ext(text)}), "201").json();
    writer.account(1);
    reader.check(
        "POST /v1/transfers",
        with(between("1", &ext(text), "5.00"), json!({"id": ext(ORDER.0)})),
        "201",
    );
    assert_eq!((&created["id"], &created["external_id"]), (&json!(id), &json!(text)));
    for name in [id.to_owned(), escaped(&ext(text))] {
        let cached = from(reader.client(), &format!("GET /v1/accounts/{name}"), "cache").json();
        assert_eq!((&cached["id"], &cached["external_id"]), (&json!(id), &json!(text)));
        let cached = from(reader.client(), &format!("GET /balance/{name}"), "cache").json();
        assert_eq!(cached["external_id"], text);
    }
    let pages = [format!("/v1/accounts/{id}/transfers"), "/v1/transfers".to_owned()];
    for path in pages.iter().chain(&pages) {
        assert_eq!(reader.list(path)[0]["external_id"], ORDER.0, "{path}");
    }
    assert_eq!(reader.get("/v1/transfers/ext:order-4711")["external_id"], ORDER.0);
    // Without the cache, from the store; and then brought in from there.
    redis.flush();
    let found = from(reader.client(), &format!("GET /v1/accounts/{id}"), "store").json();
    assert_eq!(found["external_id"], text);
    let found = from(reader.client(), &format!("GET /v1/accounts/{id}"), "cache").json();
    assert_eq!(found["external_id"], text);
}

/// Moves money under texts until the server is gone; gives the numbers of those that were acknowledged.
fn acknowledged(client: &Client, numbers: &AtomicU64) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let asked = with(transfer(1, 2, "0.01"), json!({"id": format!("ext:order-{number}")}));
        let account = json!({"id": format!("ext:account-{number}"), "metadata": {"n": number}});
        let mut all_are = true;
        for (path, body) in [("/v1/transfers", asked), ("/v1/accounts", account)] {
            match client.request(&format!("POST {path}")).try_send(body) {
                Ok(reply) if reply.status == 201 => {}
                Ok(reply) if reply.status == 503 => all_are = false,
                Ok(reply) => panic!("{reply:?}"),
                Err(_) => return acknowledged,
            }
        }
        if all_are {
            acknowledged.push(number);
        }
    }
}

#[test]
fn nothing_acknowledged_loses_its_text() {
    let mut bank = TestBank::of(TestServer::start_with(&SMALL_SEGMENTS));
    bank.account(1);
    bank.account(2);
    let numbers = AtomicU64::new(0);
    let mut all = Vec::new();
    for round in 1..=3 {
        let client = bank.client().clone();
        let told: Vec<u64> = thread::scope(|scope| {
            let clients: Vec<_> =
                (0..4).map(|_| scope.spawn(|| acknowledged(&client, &numbers))).collect();
            while numbers.load(Ordering::Relaxed) < round * 400 {
                thread::yield_now();
            }
            bank.server.kill();
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap_or_else(|_| panic!("a client failed")))
                .collect()
        });
        assert!(told.len() > 100, "only {} were acknowledged", told.len());
        all.extend(told);
        bank.restart();
        for number in &all {
            for kind in ["transfer", "account"] {
                let text = if kind == "transfer" {
                    format!("order-{number}")
                } else {
                    format!("account-{number}")
                };
                let found = bank.get(&format!("/v1/{kind}s/ext:{text}"));
                assert_eq!(found["external_id"], json!(text), "round {round}: {found}");
            }
        }
    }
    let listed: Vec<String> = bank
        .list("/v1/transfers?limit=1000")
        .iter()
        .map(|it| it["external_id"].to_string())
        .collect();
    for number in &all {
        assert!(listed.contains(&json!(format!("order-{number}")).to_string()), "order {number}");
    }
    bank.server.stop();
    bank.server.verify();
}

/// What the store alone has lost is found out, whether it is of an account or a transfer.
#[test]
fn verify_misses_a_text_that_the_store_does_not_have() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let server = TestServer::start_with_variables(&[], &[("FLORIN_DATABASE_URL", &url)]);
    let mut bank = TestBank::of(server);
    bank.account(1);
    bank.check("POST /v1/accounts", json!({"id": "ext:alice"}), "201");
    let named = with(between("1", "ext:alice", "1.00"), json!({"id": "ext:order-1"}));
    bank.check("POST /v1/transfers", named, "201");
    assert_eq!(bank.list("/v1/transfers")[0]["external_id"], "order-1");
    let data_dir = bank.server.data_dir_word().to_owned();
    bank.server.stop();
    bank.server.verify();
    let words = ["verify", "--data-dir", &data_dir, "--database-url", &url];
    for (table, text, id, said) in [
        ("accounts", "alice", "53e5438e-dc7d-5cbb-abf7-45eb17e9381b", "is_named: false"),
        ("transfers", "order-1", "d60ad1d1-76cb-5843-b6a6-3b0bd3bd9a43", "the transfers of record"),
    ] {
        let set = |to: &str, of: &str| {
            let sql =
                format!("UPDATE florin.{table} SET external_id = {to} WHERE {of} RETURNING 1");
            assert!(postgres.psql(&database, &sql).starts_with('1'), "{sql}");
        };
        set("NULL", &format!("external_id = '{text}'"));
        let ended = run(&words);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(format!("{ended:?}").contains(said), "{ended:?}");
        // Nor does another text pass: it is not that of the id.
        set("'somebody-else'", &format!("id = '{id}'"));
        let ended = run(&words);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(format!("{ended:?}").contains("external_id"), "{ended:?}");
        set(&format!("'{text}'"), &format!("id = '{id}'"));
        bank.server.verify();
    }
}

#[test]
fn the_command_line_takes_texts() {
    let bank = TestBank::with_accounts(&[1]);
    let url = bank.server.base();
    let florin = |words: &[&str]| {
        let ended = run(&[words, &["--url", &url]].concat());
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended.stdout
    };
    let strange = ext(STRANGE.0);
    assert!(florin(&["account", "create", "--id", &strange]).contains(STRANGE.0));
    let moved = florin(&[
        "transfer", "create", "--id", "ext:t/1", "--from", "1", "--to", &strange, "--amount", "3",
    ]);
    assert!(moved.contains("t/1"), "{moved}");
    assert!(florin(&["account", "get", &strange]).contains(STRANGE.0));
    assert!(florin(&["transfer", "get", "ext:t/1"]).contains("t/1"));
    assert!(florin(&["balance", &strange]).contains("3.00"));
    let listed = florin(&["transfer", "list", "--account", &strange, "--json"]);
    assert!(listed.contains("t/1"), "{listed}");
    let ended = run(&["account", "get", "ext:a b", "--url", &url]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(id_of(&bank.get(&format!("/v1/accounts/{}", escaped(&strange)))), STRANGE.1);
}
