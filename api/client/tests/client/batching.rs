//! Concurrent calls go together, and each gets its own answer.

use std::collections::HashSet;

use florin_client::{AccountFlags, Error, Form, NewAccount, Settings, Transfer};
use florin_tests::bank::TestBank;
use florin_tests::http::Client as Http;
use florin_tests::server::{LARGE_SEGMENTS, TestServer};
use serde_json::{Value, json};

use super::{account, balance, client, open, settings, shown, transfer};

/// How many batches of transfers the server has answered 200.
fn batches(http: &Http) -> u64 {
    let name =
        r#"florin_http_requests_total{method="POST",route="/v1/transfers/batch",status="200"}"#;
    let metrics = http.request("GET /metrics").send(()).body;
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn thousand(form: Form) {
    let bank = TestBank::of(TestServer::start_with(&LARGE_SEGMENTS));
    let client = florin_client::Client::new(Settings { form, ..settings(&bank) }).unwrap();
    open(&client, &[1, 2]).await;
    let tasks: Vec<_> = (1..=1000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let transfer = transfer(1, 2, 1);
                let id = transfer.id;
                (id, client.transfer(transfer).await.unwrap())
            })
        })
        .collect();
    let (mut ids, mut moments) = (HashSet::new(), HashSet::new());
    for task in tasks {
        let (id, created) = task.await.unwrap();
        assert_eq!((created.id, created.replayed), (id, false));
        assert!(ids.insert(id), "ids differ");
        assert!(moments.insert(created.timestamp), "each has its own moment");
        assert!(created.seq <= client.seen());
    }
    let sent = batches(bank.client());
    assert!((1..=40).contains(&sent), "{sent} requests for 1000 transfers");
    assert_eq!(balance(&client, 2).await, "10.00");
    // The moments that were told are those that are kept.
    let first = *ids.iter().next().unwrap();
    let found = client.find_transfer(first).await.unwrap().unwrap();
    assert!(moments.contains(&found.timestamp), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_make_few_requests() {
    thousand(Form::Binary).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_as_json_too() {
    thousand(Form::Json).await;
}

/// One thread, so that all of them are in the queue before the first batch is made: then they are one.
#[tokio::test]
async fn what_waits_together_goes_together() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let client = client(&bank);
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.transfer(transfer(1, 2, 1)).await.unwrap().seq })
        })
        .collect();
    let mut positions = HashSet::new();
    for task in tasks {
        positions.insert(task.await.unwrap());
    }
    assert!(positions.len() <= 2, "{positions:?}: a batch has one position");
    assert_eq!(batches(bank.client()), positions.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_reach_the_call_that_they_are_about() {
    let bank = TestBank::with_accounts(&[1]);
    let client = client(&bank);
    let limited = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    client.create_account(NewAccount::new(account(2)).with_flags(limited)).await.unwrap();
    // Deeper than metadata may be: the server refuses the whole batch that it comes in.
    let mut deep = json!({});
    for _ in 0..12 {
        deep = json!({"deeper": deep});
    }
    let plain = json!({"order": 7});
    let made = |number: u64| -> (Transfer, &'static str) {
        let amount = number % 50 + 1;
        let with = |metadata: &Value| transfer(1, 2, amount).with_metadata(metadata).unwrap();
        match number % 8 {
            0 => (transfer(2, 1, amount + 1_000_000), "exceeds_credits"),
            1 => (transfer(1, 3, amount), "credit_account_not_found"),
            2 => (with(&deep), "invalid_request"),
            3 => (with(&plain), "done"),
            4 => (transfer(1, 1, amount), "accounts_must_be_different"),
            _ => (transfer(1, 2, amount), "done"),
        }
    };
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let (client, (transfer, expected)) = (client.clone(), made(number));
            let (id, amount) = (transfer.id, transfer.amount.minor_units());
            tokio::spawn(async move {
                let outcome = client.transfer(transfer).await;
                assert_eq!(shown(&outcome), expected, "{outcome:?}");
                if let Ok(created) = &outcome {
                    assert_eq!(created.id, id);
                }
                (id, amount, outcome.is_ok())
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        let (id, amount, happened) = task.await.unwrap();
        let found = client.find_transfer(id).await.unwrap();
        assert_eq!(found.is_some(), happened, "{id:?}");
        if let Some(found) = found {
            assert_eq!(found.amount.minor_units, i128::try_from(amount).unwrap());
            sum += amount;
        }
    }
    let held = client.balance(account(2)).await.unwrap().unwrap();
    assert_eq!(held.minor_units, i128::try_from(sum).unwrap());
}

#[tokio::test]
async fn what_depends_on_its_neighbours_has_a_batch_of_its_own() {
    let bank = TestBank::with_accounts(&[1, 2]);
    let client = client(&bank);
    let linked =
        |transfer: Transfer| Transfer { flags: florin_client::TransferFlags::LINKED, ..transfer };
    let alone = client.transfer(linked(transfer(1, 2, 1))).await;
    assert!(matches!(alone, Err(Error::Unsendable { .. })), "{alone:?}");
    let chain = [linked(transfer(1, 2, 1)), transfer(1, 9, 1), transfer(1, 2, 5)];
    let outcomes = client.transfer_batch(&chain).await.unwrap();
    let codes: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map_or_else(|refusal| &*refusal.code, |_| "created"))
        .collect();
    assert_eq!(codes, ["linked_event_failed", "credit_account_not_found", "created"]);
    let made = outcomes[2].as_ref().unwrap();
    let found = client.find_transfer(made.id).await.unwrap().unwrap();
    assert_eq!(found.timestamp, made.timestamp);
    assert_eq!(balance(&client, 2).await, "0.05");
    // One that can not be read refuses them all, and is named.
    let unreadable = transfer(1, 2, 1).with_metadata(&json!([1])).unwrap();
    let refused = client.transfer_batch(&[transfer(1, 2, 1), unreadable]).await;
    let Err(Error::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!((&*refusal.code, refusal.index), ("invalid_request", Some(1)));
    assert_eq!(balance(&client, 2).await, "0.05");
}
