//! Idempotency keys: the first answer again, whole, for ever.

use florin_actors::{Replay, SubmitError};
use florin_engine::{Command, CommandKey, CreateTransaction, Key, KeyRule, TransferId};

use crate::bank::{TestBank, shown, transfer};

fn key(hash: u128, fingerprint: u64, rule: KeyRule) -> Option<CommandKey> {
    Some(CommandKey { key: Key { hash, fingerprint }, rule })
}

#[tokio::test]
async fn a_key_gives_the_first_answer_again_after_restarts_too() {
    let mut bank = TestBank::open();
    bank.accounts(2).await;
    assert_eq!(bank.transfer(4, 1, 2, "3").await, "ok");
    // Created, a conflict with a field to be found, a refusal with figures, a replay.
    let batch = || {
        vec![
            transfer(1, 1, 2, "5"),
            transfer(4, 1, 2, "4"),
            transfer(2, 2, 1, "100"),
            transfer(4, 1, 2, "3"),
        ]
    };
    let first = bank.batch(batch(), key(9, 1, KeyRule::Always)).await.unwrap();
    assert_eq!(shown(&first), "1 exists_with_different_amount, 2 exceeds_credits, 3 exists");
    assert_eq!(first.replay, Replay::First);
    for _ in 0..2 {
        let again = bank.batch(batch(), key(9, 1, KeyRule::Always)).await.unwrap();
        assert_eq!(again.replay, Replay::ByKey);
        assert_eq!(again.exceptions, first.exceptions);
        assert_eq!((again.seq, again.timestamp, again.items), (first.seq, first.timestamp, 4));
        assert_eq!(again.record.unwrap().events, first.record.as_ref().unwrap().events);
        let other = bank.batch(vec![transfer(1, 1, 2, "5")], key(9, 2, KeyRule::Always)).await;
        assert_eq!(other.unwrap_err(), SubmitError::KeyReused);
        bank = bank.restart().await;
    }
    assert_eq!(bank.balance(2).await, 800);
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_refusal_leaves_the_key_of_a_single_request_free() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    let accepted = |fingerprint| key(5, fingerprint, KeyRule::Accepted);
    let refused = bank.batch(vec![transfer(1, 2, 1, "5")], accepted(1)).await.unwrap();
    assert_eq!(shown(&refused), "exceeds_credits");
    let fresh = bank.batch(vec![transfer(2, 1, 2, "5")], accepted(2)).await.unwrap();
    assert_eq!((shown(&fresh).as_str(), fresh.replay), ("ok", Replay::First));
    let again = bank.batch(vec![transfer(3, 1, 2, "5")], accepted(2)).await.unwrap();
    assert_eq!((again.replay, again.seq), (Replay::ByKey, fresh.seq));
    assert_eq!(bank.balance(2).await, 500);
    bank.florin.stop().await;
}

#[tokio::test]
async fn a_transaction_refused_by_a_leg_that_happened_before_leaves_its_key_free() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    assert_eq!(bank.transfer(1, 1, 2, "5").await, "ok");
    let transact = async |transfers, fingerprint| {
        let transaction = CreateTransaction {
            id: TransferId(50),
            external_id: None,
            transfers,
            metadata: None,
            conditions: Vec::new(),
        };
        let command = Command::CreateTransaction(transaction);
        bank.florin.submit(command, key(5, fingerprint, KeyRule::Accepted)).await.unwrap()
    };
    let lone = transact(vec![transfer(1, 1, 2, "5")], 1).await;
    assert_eq!(shown(&lone), "exists_with_different_kind");
    let fresh = transact(vec![transfer(2, 1, 2, "5")], 2).await;
    assert_eq!((shown(&fresh).as_str(), fresh.replay), ("ok", Replay::First));
    bank.florin.stop().await;
}
