//! What random histories found, each in its least form.

use florin_engine::{
    ASKED_AHEAD, AccountId, Amount, AmountInput, Command, CommandKey, CreateTransaction,
    CreateTransfer, Decided, DecidedBefore, Event, ItemOutcome, Key, KeyRule, ReverseTransaction,
    Transfer, TransferFlags, TransferId, Verdict,
};

use crate::script::{TestBank, check};

#[test]
fn a_broken_chain_leaves_its_ledgers_out_of_the_records_order() {
    // The chain touches ledger 1 and breaks; then ledger 2 is touched before ledger 1, which replay must find in that order.
    check(
        "accounts [1 flags=linked, 2 ledger=9, 1 ledger=2, 2]; balance 2",
        "ok 2, 0 linked_event_failed, 1 ledger_not_found; 0.00 v0",
    );
    check(
        "account 1; account 2; account 3 ledger=2; account 4 ledger=2; \
         batch [9 1->2 5 linked, 8 1->2 5 code=0, 7 3->4 5, 6 1->2 5]; balance 2; balance 4",
        "created; created; created; created; ok 2, 0 linked_event_failed, 1 code_must_not_be_zero; 5.00 v1; 5.00 v1",
    );
}

#[test]
fn a_transaction_refused_because_a_leg_happened_before_leaves_its_key_free() {
    let mut bank = TestBank::default();
    for line in ["account 1", "account 2"] {
        assert_eq!(bank.run(line), "created");
    }
    let (id, amount) = (TransferId(9), AmountInput::Minor(Amount::from_minor(5)));
    let leg = CreateTransfer::new(id, AccountId(1), AccountId(2), amount);
    let transact = |bank: &mut TestBank, id, key| {
        let transfers = vec![leg.clone()];
        let transaction = CreateTransaction {
            id: TransferId(id),
            external_id: None,
            transfers,
            metadata: None,
            conditions: Vec::new(),
        };
        let command = Command::CreateTransaction(transaction);
        let key = CommandKey { key: Key { hash: 7, fingerprint: key }, rule: KeyRule::Accepted };
        bank.state
            .decide(command, Some(key).filter(|_| id > 20), bank.now, &mut bank.index)
            .unwrap()
    };
    let Verdict::Decided(first) = transact(&mut bank, 20, 0) else { panic!("no key is used yet") };
    assert_eq!(first.exceptions, []);
    let Verdict::Decided(second) = transact(&mut bank, 21, 1) else { panic!("no key is used yet") };
    assert!(matches!(second.exceptions[..], [(0, ItemOutcome::Exists { .. })]));
    assert_eq!(second.record, None);
    // A refusal does not use up a key.
    assert!(matches!(transact(&mut bank, 22, 2), Verdict::Decided(_)));
}

#[test]
fn a_reversal_uses_up_no_id_that_was_decided() {
    let mut bank = TestBank::default();
    let taken = TransferId::of_leg(TransferId(30), 0);
    for line in ["account 1", "account 2"] {
        assert_eq!(bank.run(line), "created");
    }
    let amount = AmountInput::Minor(Amount::from_minor(5));
    let transfer = |id| CreateTransfer::new(id, AccountId(1), AccountId(2), amount);
    let first = bank.decide(Command::CreateTransfers(vec![transfer(taken)])).unwrap();
    assert_eq!(first.exceptions, []);
    let sale = CreateTransaction {
        id: TransferId(20),
        external_id: None,
        transfers: vec![transfer(TransferId(9))],
        metadata: None,
        conditions: Vec::new(),
    };
    let sale = bank.decide(Command::CreateTransaction(sale)).unwrap().record.unwrap().events;
    let [Event::TransactionCreated(original), Event::TransferPosted(leg)] = &sale[..] else {
        panic!("a transaction of one leg: {sale:?}")
    };
    // Not what the leg moved, which the index can not tell.
    let leg = Transfer { amount: Amount::from_minor(4), ..leg.transfer.clone() };
    let reverse = ReverseTransaction {
        id: TransferId(30),
        external_id: None,
        original: original.clone(),
        legs: vec![leg],
        metadata: None,
        conditions: Vec::new(),
    };
    let refused = bank.decide(Command::ReverseTransaction(Box::new(reverse))).unwrap();
    assert!(matches!(refused.exceptions[..], [(0, ItemOutcome::Differs { .. })]), "{refused:?}");
    assert_eq!(refused.record, None);
    bank.assert_replays();
}

#[test]
fn a_key_stays_free_where_the_transfer_exists_in_other_words() {
    let mut bank = TestBank::default();
    for line in ["account 1", "account 2", "transfer 9 1->2 5 balancing_debit"] {
        assert_eq!(bank.run(line), "created");
    }
    // It moved nothing, and whatever allows that much is the same: it exists.
    let amount = AmountInput::Minor(Amount::MAX);
    let mut again = CreateTransfer::new(TransferId(9), AccountId(1), AccountId(2), amount);
    again.flags = TransferFlags::BALANCING_DEBIT;
    let command = Command::CreateTransfers(vec![again]);
    let decide = |bank: &mut TestBank, fingerprint| {
        let key = CommandKey { key: Key { hash: 7, fingerprint }, rule: KeyRule::Accepted };
        bank.state.decide(command.clone(), Some(key), bank.now, &mut bank.index).unwrap()
    };
    assert!(matches!(decide(&mut bank, 1), Verdict::Decided(_)));
    let before = bank.state.state_hash();
    // Which words the first one came in is read off the shard, after the key was left free: the id alone guards it.
    let other = decide(&mut bank, 2);
    assert!(matches!(other, Verdict::Decided(_)), "{other:?}");
    assert_eq!(bank.state.state_hash(), before, "nothing moved");
}

/// Knows nothing, is sure of it for those ids of which that is said, and notes what it is asked.
struct Listening {
    sure: fn(TransferId) -> bool,
    expected: Vec<TransferId>,
    asked: Vec<TransferId>,
}

impl DecidedBefore for Listening {
    fn absent(&mut self, ids: &[TransferId]) -> u64 {
        assert!(ids.len() <= ASKED_AHEAD);
        self.expected.extend(ids);
        ids.iter().zip(0..).fold(0, |bits, (id, at)| bits | u64::from((self.sure)(*id)) << at)
    }

    fn transfer(&mut self, id: TransferId) -> Option<Decided> {
        assert!(self.expected.contains(&id), "it was expected");
        self.asked.push(id);
        None
    }

    fn key(&mut self, _hash: u128) -> Option<Decided> {
        None
    }

    fn settled(&mut self, _id: TransferId) -> Option<Decided> {
        None
    }
}

#[test]
fn the_ids_of_a_batch_are_expected_before_they_are_asked_for() {
    let mut bank = TestBank::default();
    for line in ["account 1", "account 2"] {
        assert_eq!(bank.run(line), "created");
    }
    let amount = AmountInput::Minor(Amount::from_minor(1));
    let transfer = |id| CreateTransfer::new(TransferId(id), AccountId(1), AccountId(2), amount);
    let count = 2 * ASKED_AHEAD as u128 + 3;
    let command = Command::CreateTransfers((1..=count).map(transfer).collect());
    let sure = |id: TransferId| id.0.is_multiple_of(3);
    let mut index = Listening { sure, expected: Vec::new(), asked: Vec::new() };
    let verdict = bank.state.decide(command, None, bank.now, &mut index).unwrap();
    assert!(matches!(verdict, Verdict::Decided(_)));
    let all = (1..=count).map(TransferId);
    assert_eq!(index.expected, all.clone().collect::<Vec<_>>());
    let unsure: Vec<_> = all.filter(|id| !sure(*id)).collect();
    assert_eq!(index.asked, unsure, "only of those whose absence is not sure");
}

/// That nobody knew an id when it was looked for says nothing of what was decided since.
#[test]
fn what_was_decided_since_an_id_was_expected_is_found() {
    let amount = AmountInput::Minor(Amount::from_minor(1));
    let transfer = |id| CreateTransfer::new(TransferId(id), AccountId(1), AccountId(2), amount);
    let exists = |bank: &mut TestBank, id| {
        let decision = bank.decide(Command::CreateTransfers(vec![transfer(id)])).unwrap();
        matches!(decision.exceptions[..], [(0, ItemOutcome::Exists { .. })])
    };
    let mut bank = TestBank::default();
    for line in ["account 1", "account 2"] {
        assert_eq!(bank.run(line), "created");
    }
    // Twice among those expected, and twice in one batch of many.
    let twice = [transfer(7), transfer(8), transfer(7)];
    bank.state.expect_transfers(twice.iter(), &mut bank.index);
    assert_eq!([7, 8, 7].map(|id| exists(&mut bank, id)), [false, false, true]);
    let batch: Vec<_> = (100..300).chain([100, 299]).map(transfer).collect();
    let decided = bank.decide(Command::CreateTransfers(batch)).unwrap();
    let again: Vec<u32> = decided.exceptions.iter().map(|(index, _)| *index).collect();
    assert_eq!(again, [200, 201]);
    // Who is refused for another reason is not asked for, and passed over.
    bank.state.expect_transfers([transfer(9), transfer(10)].iter(), &mut bank.index);
    assert!(!exists(&mut bank, 10));
    // Decided, indexed and forgotten between being expected and being asked for.
    bank.state.expect_transfers([transfer(11), transfer(11)].iter(), &mut bank.index);
    assert!(!exists(&mut bank, 11));
    bank.forget();
    assert!(exists(&mut bank, 11));
}
