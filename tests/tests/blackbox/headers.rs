//! Headers: positions, sources, request ids.

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
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
    for (path, sources) in [
        ("/v1/ledgers".to_owned(), "store"),
        ("/v1/ledgers/1".to_owned(), "store"),
        ("/v1/accounts".to_owned(), "store"),
        ("/v1/accounts/1".to_owned(), "memory store"),
        ("/v1/accounts/1/transfers".to_owned(), "store"),
        ("/v1/accounts/1/balances".to_owned(), "store"),
        (format!("/v1/transfers/{transfer}"), "memory store"),
        ("/v1/transfers".to_owned(), "store"),
        ("/v1/transactions/500".to_owned(), "memory store"),
        ("/balance/1".to_owned(), "memory"),
        ("/transactions".to_owned(), "store"),
    ] {
        let reply = bank.check(&format!("GET {path}"), (), "200");
        assert!(reply.seq() > 0, "{path}");
        let source = reply.header("florin-source").unwrap_or("none");
        assert!(sources.split(' ').any(|known| known == source), "{path} came from {source}");
        assert!(reply.header("florin-durability").is_none(), "{path}");
        assert_eq!(
            reply.header("content-type").map(|kind| kind.starts_with("application/json")),
            Some(true)
        );
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
