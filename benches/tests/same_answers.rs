//! The design with row locks answers as Florin does, so that what the benchmark compares is the same work.

use std::path::Path;
use std::thread;

use florin_benches::programs::Program;
use florin_tests::http::{Client, Reply};
use florin_tests::postgres::Postgres;
use florin_tests::server::TestServer;
use serde_json::{Value, json};

/// Of an answer, what need not be the same: moments, positions, and words for people.
const OWN: [&str; 11] = [
    "timestamp",
    "first_timestamp",
    "last_timestamp",
    "seq",
    "type",
    "title",
    "detail",
    "instance",
    "request_id",
    "retry",
    "errors",
];

fn row_locks(postgres: &Postgres) -> Program {
    let url = postgres.url(&postgres.create_database());
    Program::start(Path::new(env!("CARGO_BIN_EXE_row_locks")), &[&url, "8"])
}

/// What an answer says, without [`OWN`].
fn said(reply: &Reply) -> Value {
    fn strip(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let kept = fields.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
                Value::Object(kept.map(|(name, value)| (name, strip(value))).collect())
            }
            Value::Array(values) => Value::Array(values.into_iter().map(strip).collect()),
            other => other,
        }
    }
    strip(reply.json())
}

/// Sends the same to both; both must answer with this summary, and say the same.
fn check(both: &[Client; 2], request: &str, body: Value, expected: &str) {
    let [florin, row_locks] = both.each_ref().map(|client| {
        let request = client.request(request);
        let reply = if body.is_null() { request.send(()) } else { request.send(body.clone()) };
        assert_eq!(reply.summary(), expected, "{}: {body}: {reply:?}", client.base());
        reply
    });
    // How a request can not be read is told in other words.
    if florin.status != 400 {
        assert_eq!(said(&florin), said(&row_locks), "{request} {body}");
    }
}

fn transfer(id: &str, debit: u64, credit: u64, amount: &str) -> Value {
    json!({"id": id, "debit_account_id": debit, "credit_account_id": credit, "amount": amount})
}

#[test]
fn the_same_answers() {
    let postgres = Postgres::start();
    let (server, program) = (TestServer::start(), row_locks(&postgres));
    let both = [server.client(), Client::new(program.base())];
    let check = |request: &str, body: Value, expected: &str| check(&both, request, body, expected);

    let accounts = json!([
        {"id": 1}, {"id": "2"}, {"id": "3", "flags": ["debits_must_not_exceed_credits"]},
        {"id": "0190a5b0-0000-7000-8000-00000000000a"}
    ]);
    check("POST /v1/accounts/batch", accounts.clone(), "200");
    check("POST /v1/accounts/batch", accounts, "200");
    check("POST /v1/accounts/batch", json!([{"id": 3}, {"id": 4}]), "200");
    check("GET /v1/accounts/3", Value::Null, "200");
    check("GET /v1/accounts/99", Value::Null, "404 account_not_found");

    let uuid = "0190a5b0-0000-7000-8000-000000000001";
    for (body, expected) in [
        (transfer(uuid, 1, 2, "10.00"), "201"),
        (transfer(uuid, 1, 2, "10"), "200 replayed"),
        (transfer(uuid, 1, 2, "10.01"), "409 exists_with_different_amount"),
        (transfer(uuid, 3, 2, "10.00"), "409 exists_with_different_debit_account_id"),
        (transfer(uuid, 1, 3, "10.00"), "409 exists_with_different_credit_account_id"),
        (transfer("5001", 1, 3, "0.05"), "201"),
        (transfer("5002", 3, 1, "0.06"), "422 exceeds_credits"),
        (transfer("5002", 3, 1, "0.01"), "422 id_already_failed"),
        (transfer("5003", 3, 1, "0.05"), "201"),
        (transfer("5004", 98, 1, "1.00"), "422 debit_account_not_found"),
        (transfer("5005", 1, 98, "1.00"), "422 credit_account_not_found"),
        (transfer("5005", 1, 2, "1.00"), "422 id_already_failed"),
        (transfer("5006", 1, 1, "1.00"), "422 accounts_must_be_different"),
        (transfer("5006", 1, 2, "1.00"), "201"),
        (transfer("0", 1, 2, "1.00"), "422 id_must_not_be_zero"),
        (transfer("5007", 0, 2, "1.00"), "422 debit_account_id_must_not_be_zero"),
        (transfer("5008", 1, 2, "0.00"), "201"),
    ] {
        check("POST /v1/transfers", body, expected);
    }
    for (amount, field) in [("1.001", "amount"), ("-1.00", "amount")] {
        let body = transfer("5009", 1, 2, amount);
        let [florin, row_locks] =
            both.each_ref().map(|client| client.request("POST /v1/transfers").send(body.clone()));
        assert_eq!(florin.summary(), format!("400 {field}"));
        assert_eq!(row_locks.summary(), "400 invalid_request");
    }
    check("GET /v1/accounts/1", Value::Null, "200");
    check("GET /v1/accounts/3", Value::Null, "200");

    let batch = json!([
        transfer("6001", 1, 3, "2.00"),
        transfer("6002", 3, 2, "1.50"),
        transfer("6003", 3, 2, "0.51"),
        transfer("6001", 1, 3, "2.00"),
        transfer("6003", 3, 2, "0.01"),
        transfer("6004", 1, 77, "1.00"),
        transfer("6005", 2, 2, "1.00"),
        transfer("5001", 1, 3, "0.05"),
        transfer("5001", 1, 3, "0.06"),
        transfer("6006", 3, 2, "0.50")
    ]);
    check("POST /v1/transfers/batch", batch.clone(), "200");
    check("POST /v1/transfers/batch", batch, "200");
    for id in 1..=4 {
        check(&format!("GET /v1/accounts/{id}"), Value::Null, "200");
    }
}

/// Singles and batches between few accounts at once, each id by two of the threads: nobody waits for ever, and each happens once.
#[test]
fn row_locks_hold_under_a_crowd() {
    const ACCOUNTS: u64 = 6;
    const TRANSFERS: u64 = 120;
    let postgres = Postgres::start();
    let program = row_locks(&postgres);
    let client = Client::new(program.base());
    let accounts: Vec<Value> = (1..=ACCOUNTS).map(|id| json!({"id": id})).collect();
    let opened = client.request("POST /v1/accounts/batch").send(json!(accounts));
    assert_eq!(opened.json()["created"], ACCOUNTS);

    // Neighbours of one account meet in both directions.
    let of = |number: u64| {
        let (debit, credit) = (1 + number % ACCOUNTS, 1 + (number * 5 + 1) % ACCOUNTS);
        let credit = if credit == debit { 1 + debit % ACCOUNTS } else { credit };
        transfer(&(1_000 + number).to_string(), debit, credit, "0.01")
    };
    let created = thread::scope(|scope| {
        let visitors: Vec<_> = (0..8)
            .map(|visitor| {
                let client = Client::new(program.base());
                scope.spawn(move || {
                    let mine = (0..TRANSFERS).filter(|number| number % 4 == visitor % 4);
                    if visitor % 2 == 0 {
                        let batch: Vec<Value> = mine.rev().map(of).collect();
                        let reply = client.request("POST /v1/transfers/batch").send(json!(batch));
                        assert_eq!(reply.status, 200, "{reply:?}");
                        return reply.json()["created"].as_u64().expect("a count");
                    }
                    let replies =
                        mine.map(|number| client.request("POST /v1/transfers").send(of(number)));
                    replies
                        .map(|reply| match reply.summary().as_str() {
                            "201" => 1,
                            "200 replayed" => 0,
                            other => panic!("{other}: {reply:?}"),
                        })
                        .sum()
                })
            })
            .collect();
        visitors.into_iter().map(|visitor| visitor.join().expect("no visitor fails")).sum::<u64>()
    });
    assert_eq!(created, TRANSFERS);
    let cents = |text: &Value| -> u64 {
        text.as_str().expect("an amount").replace('.', "").parse().expect("digits")
    };
    let (mut debits, mut credits) = (0, 0);
    for id in 1..=ACCOUNTS {
        let account = client.request(&format!("GET /v1/accounts/{id}")).send(()).json();
        debits += cents(&account["debits_posted"]);
        credits += cents(&account["credits_posted"]);
    }
    assert_eq!([debits, credits], [TRANSFERS; 2]);
}
