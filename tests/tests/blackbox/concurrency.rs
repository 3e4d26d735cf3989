//! Many clients at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use florin_tests::bank::{TestBank, transfer, transfer_with_id};
use florin_tests::load::minor;
use florin_tests::random::Random;
use serde_json::{Value, json};

const THREADS: u64 = 64;

#[test]
fn transfers_between_many_accounts_conserve_money() {
    let bank = TestBank::open();
    let accounts = 50_u128;
    for id in 1..=accounts {
        bank.funded(id, "100.00");
    }
    let (created, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..THREADS {
            let client = bank.server.client();
            let (created, refused) = (&created, &refused);
            scope.spawn(move || {
                let mut random = Random::new(number);
                for _ in 0..40 {
                    let debit = 1 + u128::from(random.below(accounts as u64));
                    let credit =
                        1 + (debit + u128::from(random.below(accounts as u64 - 1))) % accounts;
                    let amount = format!("{}.{:02}", random.below(40), random.below(100));
                    let reply =
                        client.request("POST /v1/transfers").send(transfer(debit, credit, &amount));
                    match reply.summary().as_str() {
                        "201" => created.fetch_add(1, Ordering::Relaxed),
                        "422 exceeds_credits" => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}: {reply:?}"),
                    };
                }
            });
        }
    });
    let (created, refused) = (created.into_inner(), refused.into_inner());
    assert_eq!(created + refused, THREADS * 40);
    assert!(created > 0 && refused > 0, "{created} created, {refused} refused: the test is blunt");
    let sum: u128 = (1..=accounts).map(|id| minor(&json!(bank.balance(id)))).sum();
    assert_eq!(sum, accounts * 10_000, "no balance is negative, and no cent is gone");
    assert_eq!(bank.list("/v1/transfers?limit=1000").len() as u64, created + accounts as u64);
}

#[test]
fn a_hot_account_gives_away_what_it_has_and_no_more() {
    let bank = TestBank::open();
    bank.funded(1, "1000.00");
    bank.account(2);
    let created = AtomicU64::new(0);
    thread::scope(|scope| {
        for number in 0..u128::from(THREADS) {
            let client = bank.server.client();
            let created = &created;
            scope.spawn(move || {
                for count in 0..20 {
                    let id = (number + 1) * 1000 + count;
                    let body = transfer_with_id(id, 1, 2, "1.00");
                    let reply = client.request("POST /v1/transfers").send(body.clone());
                    let again = client.request("POST /v1/transfers").send(body);
                    match (reply.summary().as_str(), again.summary().as_str()) {
                        ("201", "200 replayed") => created.fetch_add(1, Ordering::Relaxed),
                        ("422 exceeds_credits", "422 id_already_failed") => 0,
                        other => panic!("{other:?}: {reply:?}, {again:?}"),
                    };
                }
            });
        }
    });
    // 1,280 wanted one; it had 1,000.
    assert_eq!(created.into_inner(), 1000);
    assert_eq!((bank.balance(1), bank.balance(2)), ("0.00".to_owned(), "1000.00".to_owned()));
    assert_eq!(bank.get("/v1/accounts/2")["version"], 1000);
}

#[test]
fn one_id_from_many_clients_is_decided_once() {
    let bank = TestBank::with_accounts(&[1, 2]);
    for id in 1..=20_u128 {
        let replies: Vec<_> = thread::scope(|scope| {
            let ask = |amount: u128| {
                let body = transfer_with_id(id, 1, 2, &format!("{amount}.00"));
                bank.server.client().request("POST /v1/transfers").send(body)
            };
            // Two contents under one id: one of them wins.
            let clients: Vec<_> =
                (0..8).map(|number| scope.spawn(move || ask(1 + number % 2))).collect();
            clients.into_iter().map(|client| client.join().unwrap_or_else(|_| panic!())).collect()
        });
        let count =
            |expected: &str| replies.iter().filter(|reply| reply.summary() == expected).count();
        assert_eq!(count("201"), 1, "{replies:?}");
        assert_eq!(count("200 replayed"), 3, "{replies:?}");
        assert_eq!(count("409 exists_with_different_amount"), 4, "{replies:?}");
    }
    assert_eq!(bank.get("/v1/accounts/2")["version"], 20);
}

#[test]
fn readers_see_every_acknowledged_write_and_never_go_back() {
    let bank = TestBank::with_accounts(&[1, 2]);
    thread::scope(|scope| {
        for number in 0..16_u128 {
            let client = bank.server.client();
            scope.spawn(move || {
                let mut newest = 0;
                for count in 0..30 {
                    let id = (number + 1) * 1000 + count;
                    let body = transfer_with_id(id, 1, 2, "1.00");
                    let made: Value = client.request("POST /v1/transfers").send(body).json();
                    let version = made["credit_account"]["version"].as_u64();
                    let seen =
                        client.request("GET /v1/accounts/2").send(()).json()["version"].as_u64();
                    assert!(seen >= version, "wrote {version:?}, then read {seen:?}");
                    assert!(seen >= Some(newest), "read {newest}, then {seen:?}");
                    newest = seen.unwrap_or_default();
                    let read = client.request(&format!("GET /v1/transfers/{id}")).send(());
                    assert_eq!(read.status, 200, "{read:?}");
                }
            });
        }
    });
    assert_eq!(bank.balance(2), "480.00");
}
