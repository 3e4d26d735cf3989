//! Headers: positions, sources, request ids.

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::http::Content;
use serde_json::json;

#[test]
fn every_answer_carries_a_request_id() {
    let bank = TestBank::with_accounts(&[1]);
    for request in [
        "GET /v1/accounts/1",
        "GET /v1/accounts/2",
        "GET /healthz",
        "GET /nowhere",
        "GET /v1/accounts?limit=0",
    ] {
        let given = [("X-Request-Id", "my-request.7")];
        let mut builder = bank.client().request(request);
        for (name, value) in given {
            builder = builder.header(name, value);
        }
        assert_eq!(builder.send(()).header("x-request-id"), Some("my-request.7"), "{request}");
        let made = bank.client().request(request).send(());
        let again = bank.client().request(request).send(());
        assert!(made.header("x-request-id").is_some_and(|id| !id.is_empty()), "{request}");
        assert_ne!(made.header("x-request-id"), again.header("x-request-id"), "{request}");
    }
}

#[test]
fn positions_count_commands() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let start = bank.check("GET /v1/accounts/1", (), "200").seq();
    let first = bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "1.00"), "201").seq();
    assert_eq!(first, start + 1, "one command, one position");
    let batch = json!([transfer(1, 2, "1.00"), transfer(1, 2, "1.00"), transfer(1, 2, "1.00")]);
    let batch = bank.check("POST /v1/transfers/batch", batch, "200").seq();
    assert_eq!(batch, first + 1, "however many events it has");
    // A replay and a refusal that leaves no trace carry the position on which they depended.
    let replay =
        bank.check("POST /v1/transfers", transfer_with_id(10, 1, 2, "1.00"), "200 replayed").seq();
    assert!(replay >= first && replay <= batch, "{replay}");
    let refusal = transfer_with_id(0, 1, 2, "1.00");
    assert_eq!(bank.check("POST /v1/transfers", refusal, "422 id_must_not_be_zero").seq(), batch);
    // A refusal that burns its id is an event.
    let burned = transfer_with_id(11, 1, 9, "1.00");
    let burned = bank.check("POST /v1/transfers", burned, "422 credit_account_not_found").seq();
    assert_eq!(burned, batch + 1);
    for path in ["/v1/accounts/1", "/v1/transfers/10", "/balance/1"] {
        assert_eq!(bank.check(&format!("GET {path}"), (), "200").seq(), burned, "{path}");
    }
    assert_eq!(bank.check("GET /v1/accounts/99", (), "404 account_not_found").seq(), burned);
}

#[test]
fn answers_of_the_ledger_carry_a_position_and_reads_their_source() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let made = bank.transfer(1, 2, "1.00");
    let transfer = made["id"].as_str().unwrap_or_default();
    let body = json!({"id": "500", "transfers": [florin_tests::bank::transfer(1, 2, "1.00")]});
    bank.check("POST /v1/transactions", body, "201");
    for (request, sources) in [
        ("GET /v1/ledgers", "store"),
        ("GET /v1/ledgers/1", "store"),
        ("GET /v1/ledgers/1/trial-balance", "store"),
        ("GET /v1/ledgers/1/balance-sheet", "store"),
        ("GET /v1/accounts", "store"),
        ("GET /v1/accounts/1", "memory store"),
        ("GET /v1/accounts/1/transfers", "store"),
        ("GET /v1/accounts/1/balances", "store"),
        ("GET /v1/accounts/1/balance?at=2100-01-01T00:00:00Z", "store"),
        ("GET /v1/accounts/1/statement", "store"),
        ("GET /v1/accounts/1/statement?format=csv", "store"),
        ("POST /v1/accounts/lookup", "memory"),
        (&format!("GET /v1/transfers/{transfer}"), "memory store"),
        ("GET /v1/transfers", "store"),
        ("POST /v1/transfers/lookup", "memory store"),
        ("GET /v1/transactions/500", "memory store"),
        ("GET /balance/1", "memory"),
        ("GET /transactions", "store"),
    ] {
        let body = if request.starts_with("POST") {
            Content::from(json!({"ids": ["1", transfer]}))
        } else {
            Content::None
        };
        let reply = bank.check(request, body, "200");
        assert!(reply.seq() > 0, "{request}");
        let source = reply.header("florin-source").unwrap_or("none");
        assert!(sources.split(' ').any(|known| known == source), "{request} came from {source}");
        assert!(reply.header("florin-durability").is_none(), "{request}");
        let csv = request.contains("csv");
        let kind = if csv { "text/csv" } else { "application/json" };
        let shown = reply.header("content-type").unwrap_or_default();
        assert!(shown.starts_with(kind), "{request} is {shown}");
    }
    // A read of one account at the owner never waits for the store.
    let reply = bank.check("GET /v1/accounts/1", (), "200");
    assert_eq!(reply.header("florin-source"), Some("memory"));
}

#[test]
fn answers_that_are_not_durable_say_so() {
    let server = florin_tests::server::TestServer::start_with(&["--durability", "memory"]);
    let bank = TestBank::of(server);
    bank.account(1);
    bank.account(2);
    let reply = bank.check("POST /v1/transfers", transfer(1, 2, "1.00"), "201");
    assert_eq!(reply.header("florin-durability"), Some("memory"));
    let reply = bank.check("GET /v1/accounts/2", (), "200");
    assert_eq!(reply.header("florin-durability"), Some("memory"));
}
