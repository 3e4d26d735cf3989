//! A store that is made anew from another one, or taken back to an earlier position, is the store that it should be.

use std::collections::BTreeMap;

use florin_engine::{AccountAfter, AccountId, Event, JournalSeq, LedgerId, LedgerTotals};

use super::exactly_once::world_of;
use super::world::{World, frame_hash};
use super::{Kind, in_both, merge_a_little};
use crate::store::{
    AccountFilter, BalanceAt, BalanceFilter, Beyond, MetadataEquals, OfAccount, Order, Page,
    PageRequest, Side, Store, StoreBatch, StoreError, StoreErrorKind, StoredAccount, StoredLedger,
    StoredTransaction, StoredTransfer, TransferFilter,
};

in_both! {
    a_copy_answers_as_the_store_does,
    a_rebuild_that_did_not_end_answers_nothing,
    what_is_in_a_store_is_not_thrown_away,
    a_cut_store_is_the_one_that_it_was,
    metadata_that_is_lost_is_null,
}

/// Everything that a store can be asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Answers {
    ledgers: Vec<StoredLedger>,
    accounts: Vec<StoredAccount>,
    accounts_by_metadata: Vec<Vec<StoredAccount>>,
    transfers: Vec<StoredTransfer>,
    transfers_by_metadata: Vec<Vec<StoredTransfer>>,
    of_accounts: Vec<(AccountId, Vec<StoredTransfer>, Vec<BalanceAt>)>,
    by_id: Vec<Option<StoredTransfer>>,
    transactions: Vec<(Option<StoredTransaction>, usize)>,
    by_amount: Vec<StoredTransfer>,
    keyed: Vec<Option<Vec<u8>>>,
}

async fn pages<T>(
    mut list: impl AsyncFnMut(&PageRequest) -> Result<Page<T>, StoreError>,
) -> Vec<T> {
    let mut request = PageRequest { limit: 9, order: Order::NewestFirst, cursor: None };
    let mut rows = Vec::new();
    loop {
        let page = list(&request).await.unwrap();
        rows.extend(page.data);
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => return rows,
        }
    }
}

pub(super) async fn ask(store: &Store, world: &World) -> Answers {
    let all = TransferFilter::default();
    let transfers = pages(async |page| store.transfers(&all, page).await).await;
    let by_amount = TransferFilter {
        ledger: Some(LedgerId(1)),
        min_amount: Some(super::world::amount(99)),
        ..TransferFilter::default()
    };
    let mut of_accounts = Vec::new();
    for id in world.accounts.keys().copied() {
        let filter = TransferFilter {
            account: Some(OfAccount { id, side: Side::Both }),
            ..TransferFilter::default()
        };
        let moved = pages(async |page| store.transfers(&filter, page).await).await;
        let every = BalanceFilter::default();
        let history = pages(async |page| store.balances(id, &every, page).await).await;
        of_accounts.push((id, moved, history));
    }
    let mut by_id = Vec::new();
    for stored in &world.transfers {
        by_id.push(store.transfer(stored.transfer.id).await.unwrap().value);
    }
    let mut transactions = Vec::new();
    for stored in &world.transactions {
        let id = stored.transaction.id;
        let legs = store.transfers_of_transaction(id).await.unwrap().value;
        transactions.push((store.transaction(id).await.unwrap().value, legs.len()));
    }
    let mut keyed = Vec::new();
    for (seq, ..) in &world.records {
        keyed.push(store.keyed_record(*seq).await.unwrap().value);
    }
    let every = AccountFilter::default();
    let (mut accounts_by_metadata, mut transfers_by_metadata) = (Vec::new(), Vec::new());
    for nr in ["0", "1", "2", "3", "4", "true"] {
        let metadata = vec![MetadataEquals { key: "nr".into(), value: nr.into() }];
        let accounts = AccountFilter { metadata: metadata.clone(), ..AccountFilter::default() };
        let transfers = TransferFilter { metadata, ..TransferFilter::default() };
        accounts_by_metadata.push(pages(async |page| store.accounts(&accounts, page).await).await);
        transfers_by_metadata
            .push(pages(async |page| store.transfers(&transfers, page).await).await);
    }
    Answers {
        accounts_by_metadata,
        transfers_by_metadata,
        ledgers: pages(async |page| store.ledgers(page).await).await,
        accounts: pages(async |page| store.accounts(&every, page).await).await,
        transfers,
        of_accounts,
        by_id,
        transactions,
        by_amount: pages(async |page| store.transfers(&by_amount, page).await).await,
        keyed,
    }
}

/// Fills a store in small batches.
async fn fill(store: &Store, world: &World, upto: JournalSeq) {
    let mut at = store.checkpoint().await.unwrap().seq;
    while at < upto {
        let next = JournalSeq((at.0 + 5).min(upto.0));
        store.apply(&world.batch(at, next)).await.unwrap();
        merge_a_little(store).await;
        at = next;
    }
}

async fn copy(from: &Store, to: &Store) {
    to.begin_rebuild().await.unwrap();
    let mut export = from.export().await.unwrap();
    while let Some(batch) = export.next().await.unwrap() {
        to.apply(&batch).await.unwrap();
    }
    to.end_rebuild(export.checkpoint().history_from).await.unwrap();
}

/// Into the other kind of database and back.
async fn a_copy_answers_as_the_store_does(kind: Kind) {
    let (world, middle) = world_of(21, 60);
    let other = match kind {
        Kind::Sqlite => Kind::Postgres,
        Kind::Postgres => Kind::Sqlite,
    };
    let (first, second, third) = (kind.place(), other.place(), kind.place());
    let original = first.open().await;
    fill(&original, &world, middle).await;
    let expected = ask(&original, &world).await;
    assert!(expected.transfers.len() > 200, "many runs: {}", expected.transfers.len());
    assert!(expected.of_accounts.iter().any(|(.., history)| history.len() > 20));

    let there = second.open().await;
    copy(&original, &there).await;
    assert_eq!(ask(&there, &world).await, expected);
    let back = third.open().await;
    copy(&there, &back).await;
    assert_eq!(ask(&back, &world).await, expected);
    let checkpoint = back.checkpoint().await.unwrap();
    assert_eq!((checkpoint.seq, checkpoint.frame_hash), (middle, frame_hash(middle)));
    assert_eq!((checkpoint.history_from, checkpoint.is_rebuilding), (JournalSeq::FIRST, false));

    // And goes on as if nothing had been.
    fill(&original, &world, world.seq()).await;
    fill(&back, &world, world.seq()).await;
    assert_eq!(ask(&back, &world).await, ask(&original, &world).await);
}

async fn a_rebuild_that_did_not_end_answers_nothing(kind: Kind) {
    let (world, middle) = world_of(22, 20);
    let place = kind.place();
    let store = place.open().await;
    store.begin_rebuild().await.unwrap();
    fill(&store, &world, middle).await;
    let all = TransferFilter::default();
    let refused = store.transfers(&all, &PageRequest::first(10)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rebuilding), "{refused}");
    assert_eq!(refused.kind(), StoreErrorKind::Passing);
    assert!(matches!(store.export().await, Err(StoreError::Rebuilding)));
    assert!(store.checkpoint().await.unwrap().is_rebuilding);
    drop(store);

    // The next process begins from nothing again.
    let store = place.open().await;
    assert!(store.checkpoint().await.unwrap().is_rebuilding);
    store.begin_rebuild().await.unwrap();
    assert_eq!(store.checkpoint().await.unwrap().seq, JournalSeq::NONE);
    fill(&store, &world, world.seq()).await;
    store.end_rebuild(JournalSeq(3)).await.unwrap();
    let page = store.transfers(&all, &PageRequest::first(10)).await.unwrap();
    assert_eq!((page.as_of, page.history_from), (world.seq(), JournalSeq(3)));
    let other = kind.place();
    let plain = other.open().await;
    fill(&plain, &world, world.seq()).await;
    assert_eq!(ask(&store, &world).await, ask(&plain, &world).await);
    // What is not being rebuilt can not end to be.
    assert!(store.end_rebuild(JournalSeq::FIRST).await.is_err());
    assert_eq!(store.checkpoint().await.unwrap().history_from, JournalSeq(3));
}

async fn what_is_in_a_store_is_not_thrown_away(kind: Kind) {
    let (world, middle) = world_of(23, 10);
    let place = kind.place();
    let store = place.open().await;
    fill(&store, &world, middle).await;
    let before = ask(&store, &world).await;
    let refused = store.begin_rebuild().await.unwrap_err();
    assert!(matches!(refused, StoreError::NotLost { at } if at == middle), "{refused}");
    assert_eq!(ask(&store, &world).await, before);
}

/// Accounts and totals as the records up to `upto` leave them.
fn state_at(
    world: &World,
    upto: JournalSeq,
) -> (BTreeMap<AccountId, AccountAfter>, BTreeMap<LedgerId, LedgerTotals>) {
    let (mut accounts, mut totals) = (BTreeMap::new(), BTreeMap::new());
    for (_, record, _) in world.records.iter().filter(|(seq, ..)| *seq <= upto) {
        for event in &record.events {
            if let Event::AccountCreated(created) = event {
                accounts.insert(created.id, world.accounts[&created.id].account.after());
            }
        }
        accounts.extend(record.accounts.iter().map(|after| (after.id, *after)));
        totals.extend(record.ledgers.iter().map(|ledger| (ledger.id, ledger.totals)));
    }
    (accounts, totals)
}

async fn a_cut_store_is_the_one_that_it_was(kind: Kind) {
    let (mut world, middle) = world_of(24, 60);
    // Accounts and a ledger that are there only later.
    world.create_ledger(LedgerId(77), "LATE", 3);
    world.create_later_accounts();
    let (first, second) = (kind.place(), kind.place());
    let (ahead, behind) = (first.open().await, second.open().await);
    fill(&ahead, &world, world.seq()).await;
    fill(&behind, &world, middle).await;
    let last = behind.checkpoint().await.unwrap().timestamp;
    // The record's legs stand up to the nanosecond before the next command.
    let (_, record, _) = world.records.iter().find(|(seq, ..)| *seq == middle).unwrap();
    let last = last.plus(u64::from(record.asked - 1));

    let beyond = ahead.beyond(middle).await.unwrap();
    let discarded = world.transfers.iter().filter(|stored| stored.seq > middle);
    assert_eq!((beyond.transfers, beyond.accounts), (discarded.count() as u64, 2));
    assert_eq!(behind.beyond(middle).await.unwrap(), Beyond::default());

    let mut to = StoreBatch::new(world.seq());
    to.set_upto(middle, last);
    to.set_frame_hash(frame_hash(middle));
    let (accounts, totals) = state_at(&world, middle);
    let changed = world.records.iter().filter(|(seq, ..)| *seq > middle);
    for after in changed.flat_map(|(_, record, _)| &record.accounts) {
        to.set_balances(accounts[&after.id]);
    }
    totals.into_iter().for_each(|(ledger, totals)| to.set_totals(ledger, totals));
    ahead.cut(&to).await.unwrap();
    assert_eq!(ask(&ahead, &world).await, ask(&behind, &world).await);
    assert_eq!(ahead.checkpoint().await.unwrap().seq, middle);

    fill(&ahead, &world, world.seq()).await;
    fill(&behind, &world, world.seq()).await;
    assert_eq!(ask(&ahead, &world).await, ask(&behind, &world).await);
}

async fn metadata_that_is_lost_is_null(kind: Kind) {
    let (world, _) = world_of(25, 1);
    let place = kind.place();
    let store = place.open().await;
    store.begin_rebuild().await.unwrap();
    let mut base = StoreBatch::new(JournalSeq::NONE);
    world.ledgers.iter().for_each(|ledger| base.push_ledger(ledger.clone()));
    for stored in world.accounts.values() {
        base.push_account(StoredAccount { metadata: None, ..stored.clone() });
    }
    base.set_upto(JournalSeq(9), world.clock);
    store.apply(&base).await.unwrap();
    store.end_rebuild(JournalSeq(10)).await.unwrap();
    let mut lost = 0;
    for stored in world.accounts.values() {
        let found = store.account(stored.account.id).await.unwrap().value.unwrap();
        assert_eq!(found.account.after(), stored.account.after());
        assert_eq!(found.account.metadata_digest, stored.account.metadata_digest);
        assert_eq!(found.metadata.is_some(), stored.metadata.is_some());
        if let Some(text) = found.metadata {
            assert_eq!(&*text, "null");
            lost += 1;
        }
    }
    assert!(lost > 2);
}
