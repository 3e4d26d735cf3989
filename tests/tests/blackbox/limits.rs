//! The limits that a client meets.

use std::thread;
use std::time::{Duration, Instant};

use florin_tests::bank::{TestBank, id_of, transfer_with_id};
use florin_tests::server::{LARGE_SEGMENTS, TestServer};
use florin_tests::wire::{self, RawReply, Wire};
use serde_json::{Value, json};

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[test]
fn a_body_over_the_bound_is_413() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for (path, bound) in [
        ("/v1/transfers", 256 << 10),
        ("/v1/accounts", 256 << 10),
        ("/v1/transactions", 256 << 10),
        ("/v1/ledgers", 256 << 10),
        ("/transaction", 256 << 10),
        ("/account", 256 << 10),
        ("/v1/transfers/batch", 16 << 20),
        ("/v1/accounts/batch", 16 << 20),
    ] {
        // Announced, so that it can be refused unread.
        let reply = wire::ask(bank.server.address(), head(path, bound + 1).as_bytes());
        assert_eq!(reply.status, Some(413), "{path}: {}", reply.text);
        assert!(reply.text.contains("application/problem+json"), "{path}: {}", reply.text);
        assert!(reply.text.contains("body_too_large"), "{path}: {}", reply.text);
        // Up to the bound it is read: what is wrong with this one is that it says nothing.
        let mut request = head(path, bound).into_bytes();
        request.resize(request.len() + bound, b' ');
        let reply = wire::ask(bank.server.address(), &request);
        assert_eq!(reply.status, Some(400), "{path}: {}", reply.text);
    }
}

#[test]
fn a_body_that_does_not_say_its_length_is_bounded_too() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let mut wire = Wire::connect(bank.server.address(), Duration::from_secs(15));
    let head = "POST /v1/transfers HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut written = wire.write(head.as_bytes());
    for _ in 0..5 {
        written = written.and_then(|()| wire.write(chunk.as_bytes()));
    }
    let reply = wire.read();
    assert_eq!(reply.status, Some(413), "{}", reply.text);
}

#[test]
fn headers_over_the_bound_are_431() {
    let bank = TestBank::open();
    let long = "x".repeat(9 << 10);
    let request = format!("GET /v1/accounts HTTP/1.1\r\nHost: florin\r\nX-Long: {long}\r\n\r\n");
    let reply = wire::ask(bank.server.address(), request.as_bytes());
    assert_eq!(reply.status, Some(431), "{}", reply.text);
    let fits = "x".repeat(6 << 10);
    let request = format!("GET /v1/accounts HTTP/1.1\r\nHost: florin\r\nX-Long: {fits}\r\n\r\n");
    assert_eq!(wire::ask(bank.server.address(), request.as_bytes()).status, Some(200));
    let path = format!("GET /v1/accounts/{} HTTP/1.1\r\nHost: florin\r\n\r\n", "1".repeat(9 << 10));
    let reply = wire::ask(bank.server.address(), path.as_bytes());
    assert!(matches!(reply.status, Some(414 | 431)), "{}", reply.text);
}

/// These are refused by the HTTP server below, which has no words of its own.
#[test]
fn what_can_not_be_read_as_a_request_is_answered_with_a_problem_too() {
    let bank = TestBank::open();
    let endless = format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(300 << 10));
    let ahead = "GET /v1/accounts HTTP/1.1\r\nHost: florin\r\n\r\n";
    for (request, status, code) in [
        ("no request at all\r\n\r\n", 400, "malformed_request"),
        ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"),
        (&endless, 431, "headers_too_large"),
    ] {
        for ahead in ["", ahead] {
            let mut wire = Wire::connect(bank.server.address(), Duration::from_secs(10));
            assert!(wire.write(ahead.as_bytes()).is_ok());
            if !ahead.is_empty() {
                assert_eq!(wire.next_answer().status, Some(200));
            }
            // What is refused early may not be taken to its end.
            let _ = wire.write(request.as_bytes());
            let reply = wire.read();
            assert_eq!(reply.status, Some(status), "{reply:?}");
            check_problem(&reply, code);
        }
    }
}

/// The whole answer is a problem document with this code.
fn check_problem(reply: &RawReply, code: &str) {
    let (head, body) = reply.text.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("content-type: application/problem+json"), "{reply:?}");
    let problem: Value = serde_json::from_str(body).expect("a document");
    assert_eq!(problem["code"], code, "{reply:?}");
    let id = problem["request_id"].as_str().expect("an id");
    assert!(head.contains(&format!("x-request-id: {id}")), "{reply:?}");
}

#[test]
fn a_request_that_never_ends_is_408() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let beginnings = [
        "POST /v1/transfers HTTP/1.1\r\nHost: flo".to_owned(),
        format!("{}{{\"debit_account_id\":1,", head("/v1/transfers", 1000)),
        format!("{}[", head("/v1/transfers/batch", 1000)),
    ];
    thread::scope(|scope| {
        for beginning in &beginnings {
            let address = bank.server.address();
            scope.spawn(move || {
                let begin = Instant::now();
                let mut wire = Wire::connect(address, Duration::from_secs(45));
                assert!(wire.write(beginning.as_bytes()).is_ok());
                let reply = wire.read();
                let waited = begin.elapsed();
                assert_eq!(reply.status, Some(408), "{beginning} after {waited:?}: {}", reply.text);
                check_problem(&reply, "request_timeout");
                assert!(waited >= Duration::from_secs(25), "{beginning} after {waited:?}");
            });
        }
        // A byte a second helps neither the head nor the body, and a connection that was served before is no other.
        let asked = "GET /v1/accounts/1 HTTP/1.1\r\nHost: florin\r\n\r\n";
        for (before, beginning, trickle) in [
            ("", "POST /v1/transfers HTTP/1.1\r\nX-Slow: ", "x"),
            ("", beginnings[1].as_str(), " "),
            (asked, "POST /v1/transfers HTTP/1.1\r\nX-Slow: ", "x"),
            (asked, "POST /v1/transfers HTTP/1.1\r\nHost: flo", ""),
            (asked, beginnings[1].as_str(), ""),
        ] {
            let address = bank.server.address();
            scope.spawn(move || {
                let mut wire = Wire::connect(address, Duration::from_secs(45));
                assert!(wire.write(before.as_bytes()).is_ok());
                if !before.is_empty() {
                    assert_eq!(wire.next_answer().status, Some(200));
                }
                let begin = Instant::now();
                assert!(wire.write(beginning.as_bytes()).is_ok());
                while !trickle.is_empty() && begin.elapsed() < Duration::from_secs(29) {
                    thread::sleep(Duration::from_secs(1));
                    assert!(wire.write(trickle.as_bytes()).is_ok());
                }
                let reply = wire.read();
                let waited = begin.elapsed();
                assert_eq!(reply.status, Some(408), "{beginning} after {waited:?}: {reply:?}");
                check_problem(&reply, "request_timeout");
                assert!(waited >= Duration::from_secs(25), "{beginning} after {waited:?}");
            });
        }
    });
    // Others were served meanwhile, and still are.
    bank.transfer(1, 2, "1.00");
}

#[test]
fn past_what_can_be_in_flight_callers_are_told_to_come_again() {
    let server = TestServer::start_with(&["--events-in-flight", "100"]);
    let bank = TestBank::of(server);
    bank.account(1);
    bank.account(2);
    let bank = &bank;
    let (mut taken, mut refused) = (0_u32, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut round = 0_u128;
    // Eight batches at once, of which two never fit together.
    while refused.is_empty() || taken == 0 {
        assert!(Instant::now() < deadline, "{taken} taken, {} refused", refused.len());
        round += 1;
        let replies: Vec<_> = thread::scope(|scope| {
            let send = |client: u128| {
                let first = (round * 8 + client) * 1000;
                let batch: Value =
                    (first..first + 90).map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
                (first, bank.server.client().request("POST /v1/transfers/batch").send(batch))
            };
            let clients: Vec<_> = (0..8).map(|client| scope.spawn(move || send(client))).collect();
            clients.into_iter().map(|client| client.join().unwrap_or_else(|_| panic!())).collect()
        });
        for (first, reply) in replies {
            match reply.summary().as_str() {
                "200" => taken += 1,
                "503 overloaded" => {
                    reply.assert_problem();
                    assert_eq!(reply.json()["retry"], "after");
                    refused.push(first);
                }
                other => panic!("{other}: {reply:?}"),
            }
        }
    }
    // What comes by the thousand is told together.
    let log = bank.server.stderr();
    assert!(log.contains("callers are told to come again"), "{log}");
    assert!(!log.contains("a request could not be answered"), "{log}");
    // Of what was refused nothing was done.
    for first in refused {
        bank.check(&format!("GET /v1/transfers/{first}"), (), "404 transfer_not_found");
    }
    assert_eq!(bank.balance(2), florin_tests::load::money(u128::from(taken) * 90));
    // A batch larger than the bound fits while nothing else is there.
    let large: Value = (1..=500).map(|id| transfer_with_id(id, 1, 2, "0.01")).collect();
    bank.check("POST /v1/transfers/batch", large, "200");
}

#[test]
fn a_large_batch_is_within_the_bound_of_its_body() {
    let bank = TestBank::of(TestServer::start_with(&LARGE_SEGMENTS));
    bank.account(1);
    bank.account(2);
    let note = "n".repeat(1500);
    let batch: Value = (1..=2000)
        .map(|id| {
            let body = transfer_with_id(id, 1, 2, "0.01");
            florin_tests::bank::with(body, json!({"metadata": {"note": note}}))
        })
        .collect();
    let answer = bank.check("POST /v1/transfers/batch", batch, "200").json();
    assert_eq!(answer["created"], 2000);
    let newest = bank.list("/v1/transfers?limit=1000");
    assert_eq!(newest.len(), 2000);
    assert_eq!(id_of(&newest[0]), "2000");
    assert_eq!(newest[0]["metadata"]["note"], note);
}
