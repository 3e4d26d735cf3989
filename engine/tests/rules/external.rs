//! Ids that callers name by texts: kept by what creates the thing, and no content.

use florin_engine::{
    AccountId, AmountInput, Command, CreateAccount, CreateTransaction, CreateTransfer, Decision,
    Event, ExternalId, JournalSeq, Record, ReverseTransaction, ReverseTransfer, TransferId,
};

use crate::script::TestBank;

fn named(text: &str) -> ExternalId {
    ExternalId::try_new(text).unwrap()
}

fn account(external_id: Option<ExternalId>, id: u128) -> CreateAccount {
    CreateAccount { external_id, ..CreateAccount::new(AccountId(id)) }
}

fn transfer(external_id: Option<ExternalId>, id: u128) -> CreateTransfer {
    let amount = AmountInput::parse("1").unwrap();
    let (alice, bob) = (AccountId(named("alice").id()), AccountId(2));
    CreateTransfer { external_id, ..CreateTransfer::new(TransferId(id), alice, bob, amount) }
}

fn told(record: &Record) -> Vec<Option<String>> {
    let text = |external_id: &Option<ExternalId>| {
        external_id.as_ref().map(|external_id| external_id.text().to_owned())
    };
    let texts = record.events.iter().map(|event| match event {
        Event::AccountCreated(created) => text(&created.external_id),
        Event::TransferPosted(posted) => text(&posted.transfer.external_id),
        Event::TransactionCreated(transaction) => text(&transaction.external_id),
        other => panic!("{other:?} has no external id"),
    });
    texts.collect()
}

/// The texts of what a command created; none where it existed, or was refused.
fn created(decision: &Decision) -> Vec<Option<String>> {
    decision.record.as_ref().map(told).unwrap_or_default()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn bank() -> TestBank {
    let mut bank = TestBank::default();
    let accounts = vec![account(Some(named("alice")), named("alice").id()), account(None, 2)];
    let decision = bank.decide(Command::CreateAccounts(accounts)).unwrap();
    assert_eq!(created(&decision), [some("alice"), None]);
    bank
}

#[test]
fn an_account_knows_where_its_external_id_stands() {
    let mut bank = bank();
    let seq_of = |bank: &TestBank, id: u128| {
        bank.state.account(AccountId(id)).map(|account| account.external_id_seq)
    };
    let alice = named("alice").id();
    // The bank opened two ledgers before.
    assert_eq!(seq_of(&bank, alice), Some(JournalSeq(3)));
    assert_eq!(seq_of(&bank, 2), Some(JournalSeq::NONE));
    // The same account, whichever way it is named; what it was created by stays.
    for again in [account(None, alice), account(Some(named("alice")), alice)] {
        let decision = bank.decide(Command::CreateAccounts(vec![again])).unwrap();
        assert_eq!((decision.exceptions.len(), decision.record), (1, None));
    }
    // Its metadata comes and goes without it.
    assert_eq!(bank.run(&format!("metadata {alice} b")), "created");
    assert_eq!(bank.run(&format!("metadata {alice} -")), "created");
    assert_eq!(seq_of(&bank, alice), Some(JournalSeq(3)));
    // A chain that breaks leaves nothing of it.
    let hash = bank.state.state_hash();
    let mut linked = account(Some(named("carol")), named("carol").id());
    linked.flags = florin_engine::AccountFlags::LINKED;
    let broken = bank.decide(Command::CreateAccounts(vec![linked, account(None, 0)])).unwrap();
    assert_eq!((broken.record, bank.state.state_hash()), (None, hash));
    bank.assert_replays();
}

#[test]
fn transfers_are_the_same_whichever_way_they_are_named() {
    let mut bank = bank();
    let order = named("order-4711");
    let decision = bank
        .decide(Command::CreateTransfers(vec![
            transfer(Some(order.clone()), order.id()),
            transfer(None, order.id()),
            transfer(None, named("by-number").id()),
            transfer(Some(named("by-number")), named("by-number").id()),
        ]))
        .unwrap();
    assert_eq!(created(&decision), [some("order-4711"), None]);
    assert_eq!(decision.exceptions.len(), 2);
    // Later too, when the id is known from the index.
    bank.run("forget -");
    for external_id in [Some(order.clone()), None] {
        let again = vec![transfer(external_id, order.id())];
        let decision = bank.decide(Command::CreateTransfers(again)).unwrap();
        assert_eq!((decision.exceptions.len(), decision.record), (1, None));
    }
    bank.assert_replays();
}

#[test]
fn transactions_and_reversals_have_external_ids() {
    let mut bank = bank();
    let (sale, leg) = (named("sale"), named("leg"));
    let transaction = CreateTransaction {
        id: TransferId(sale.id()),
        external_id: Some(sale.clone()),
        transfers: vec![
            transfer(Some(leg.clone()), leg.id()),
            transfer(None, TransferId::of_leg(TransferId(sale.id()), 1).0),
        ],
        metadata: None,
        conditions: Vec::new(),
    };
    let decision = bank.decide(Command::CreateTransaction(transaction)).unwrap();
    assert_eq!(created(&decision), [some("sale"), some("leg"), None]);
    let events = decision.record.unwrap().events;
    let legs: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::TransferPosted(posted) => Some(posted.transfer.clone()),
            _ => None,
        })
        .collect();
    let Event::TransactionCreated(original) = events[0].clone() else { panic!("a transaction") };
    let refund = named("refund");
    let reverse = ReverseTransaction {
        id: TransferId(refund.id()),
        external_id: Some(refund),
        original,
        legs,
        metadata: None,
        conditions: Vec::new(),
    };
    let decision = bank.decide(Command::ReverseTransaction(Box::new(reverse))).unwrap();
    assert_eq!(created(&decision), [some("refund"), None, None]);
    let single = bank.decide(Command::CreateTransfers(vec![transfer(None, 9)])).unwrap();
    let Some(Event::TransferPosted(posted)) = single.record.unwrap().events.pop() else {
        panic!("a transfer")
    };
    let back = named("back");
    let reverse = ReverseTransfer {
        id: TransferId(back.id()),
        external_id: Some(back),
        original: posted.transfer,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        effective_at: None,
        metadata: None,
        conditions: Vec::new(),
    };
    let decision = bank.decide(Command::ReverseTransfer(Box::new(reverse))).unwrap();
    assert_eq!(created(&decision), [some("back")]);
    bank.assert_replays();
}
