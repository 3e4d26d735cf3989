//! Showing a transaction costs as much as its legs, however many they are.

use std::time::Instant;

use florin_engine::{Command, CreateTransaction, CreateTransfer, Event, Settle, TransferId};

use super::answers::Answers;
use super::exchange::Mode;
use super::*;

/// As much of the answer as is looked at.
#[derive(serde::Deserialize)]
struct Shown {
    transfers: Vec<Leg>,
}

#[derive(serde::Deserialize)]
struct Leg {
    status: String,
}

#[actix_web::test]
async fn a_transaction_of_many_legs_is_shown_leg_by_leg() {
    // Far more than a body holds: what grows with the square of it would take half a minute.
    const LEGS: u128 = 100_000;
    const PATIENCE: Duration = Duration::from_secs(5);
    serve!(bank, app);
    assert_eq!(ask(&app, post("/v1/accounts/batch", PAIR).to_request()).await.status, 200);
    let body =
        r#"{"id":10,"debit_account_id":1,"credit_account_id":2,"amount":1,"flags":["pending"]}"#;
    assert_eq!(ask(&app, post("/v1/transfers", body).to_request()).await.status, 201);
    let reserved = bank.florin.transfer(TransferId(10)).await.unwrap().value.unwrap().transfer;
    let reserve = CreateTransfer {
        flags: reserved.flags,
        ..CreateTransfer::new(
            TransferId(11),
            reserved.debit_account_id,
            reserved.credit_account_id,
            florin_engine::AmountInput::Minor(reserved.amount),
        )
    };
    let both =
        [10, 11].map(|id| florin_engine::Transfer { id: TransferId(id), ..reserved.clone() });
    let mut create = CreateTransaction::settling(TransferId(20), &both, Settle::Void);
    create.transfers.insert(0, reserve);
    let mut answer = bank.florin.submit(Command::CreateTransaction(create), None).await.unwrap();

    // The same with many more legs that settle nothing: clones of the first one between it and those that settle.
    let events = &mut answer.record.as_mut().unwrap().events;
    let first = events.iter().position(|event| matches!(event, Event::TransferPosted(_))).unwrap();
    let leg = events[first].clone();
    let more = (1000..1000 + LEGS).map(|id| {
        let mut leg = leg.clone();
        if let Event::TransferPosted(posted) = &mut leg {
            posted.transfer.id = TransferId(id);
        }
        leg
    });
    events.splice(first + 1..first + 1, more);
    let state = &bank.state;
    let answers = Answers { ledger: &state.ledger, metrics: &state.outcomes, mode: Mode::Real };
    let begun = Instant::now();
    let reply = answers.transaction(TransferId(20), &answer).await.unwrap();
    let took = begun.elapsed();
    assert!(took < PATIENCE, "{LEGS} legs took {took:?}");
    let Shown { transfers } = serde_json::from_slice(&reply.body).unwrap();
    let statuses = [0, 1, transfers.len() - 1].map(|leg| transfers[leg].status.as_str());
    assert_eq!(statuses, ["voided", "pending", "voided"]);
    bank.florin.stop().await;
}
