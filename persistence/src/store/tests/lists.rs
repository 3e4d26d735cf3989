//! Every list, filter and order against the model.

use florin_engine::{
    AccountId, Code, Event, LedgerId, Metadata, Timestamp, TransferId, TransferStatus,
};

use super::world::{AMOUNTS, IDS, Random, World, amount};
use super::{Kind, Place, in_both, merge_a_little};
use crate::store::{
    AccountFilter, AccountWords, BalanceFilter, CursorError, MetadataEquals, OfAccount, Order,
    Page, PageRequest, Side, Store, StoreError, StoreErrorKind, StoredTransfer, TimeRange,
    TransferFilter,
};

in_both! {
    transfers_by_any_filter_are_those_of_the_model,
    each_filter_alone_finds_rows,
    rows_that_arrive_between_pages_neither_shift_nor_repeat,
    accounts_by_any_filter_are_those_of_the_model,
    history_is_that_of_the_model_at_every_moment,
    ledgers_come_with_their_totals,
    everything_is_found_by_its_id,
    a_page_looks_at_a_bounded_number_of_rows,
    replaced_metadata_is_found_as_it_is_now,
    metadata_from_before_its_lookups_is_indexed_once,
    a_cursor_of_another_list_is_a_clear_error,
}

/// A world with some hundred transfers, applied in batches of a few commands.
async fn stored_world(seed: u64, place: &Place) -> (World, Store) {
    let mut world = World::new(seed);
    for _ in 0..60 {
        world.command();
    }
    let store = place.open().await;
    apply_all(&mut world, &store).await;
    (world, store)
}

async fn apply_all(world: &mut World, store: &Store) {
    let mut at = store.checkpoint().await.unwrap().seq;
    while at < world.seq() {
        let mut upto = at;
        for _ in 0..=world.random.below(6) {
            upto = upto.next().min(world.seq());
        }
        store.apply(&world.batch(at, upto)).await.unwrap();
        merge_a_little(store).await;
        at = upto;
    }
}

/// Whether a transfer matches, written down as the contract says it.
fn matches(filter: &TransferFilter, stored: &StoredTransfer) -> bool {
    let transfer = &stored.transfer;
    let wanted = |wanted: Option<u128>, is: u128| wanted.is_none_or(|wanted| wanted == is);
    wanted(filter.ledger.map(|id| id.0.into()), transfer.ledger.0.into())
        && wanted(filter.code.map(|code| code.0.into()), transfer.code.0.into())
        && wanted(filter.user_data_128, transfer.user_data_128)
        && wanted(filter.user_data_64.map(u128::from), transfer.user_data_64.into())
        && wanted(filter.user_data_32.map(u128::from), transfer.user_data_32.into())
        && filter.time.from.is_none_or(|from| from <= transfer.timestamp)
        && filter.time.to.is_none_or(|to| transfer.timestamp < to)
        && filter.status.is_none_or(|status| status == stored.status())
        && metadata_matches(&filter.metadata, transfer.metadata.as_ref().map(|it| &*it.text))
        && filter.min_amount.is_none_or(|min| min <= transfer.amount)
        && filter.max_amount.is_none_or(|max| transfer.amount <= max)
        && filter.transaction.is_none_or(|id| transfer.transaction_id == Some(id))
        && filter.account.is_none_or(|OfAccount { id, side }| match side {
            Side::Debit => transfer.debit_account_id == id,
            Side::Credit => transfer.credit_account_id == id,
            Side::Both => transfer.debit_account_id == id || transfer.credit_account_id == id,
        })
}

/// What worlds write of metadata is read here as text: a number is asked for as it is written in one of its forms.
fn metadata_matches(asked: &[MetadataEquals], metadata: Option<&str>) -> bool {
    asked.iter().all(|MetadataEquals { key, value }| {
        let has =
            |raw: &str| metadata.is_some_and(|text| text.contains(&format!("\"{key}\":{raw}")));
        match (key.as_str(), value.as_str()) {
            ("nr", "4" | "4.00" | "40e-1") => {
                has("4,") || has("4.0,") || (value == "4" && has("\"4\","))
            }
            ("nr", value) => has(&format!("{value},")) || has(&format!("\"{value}\",")),
            (_, value) => has(&format!("\"{value}\"")),
        }
    })
}

fn equals(key: &str, value: &str) -> MetadataEquals {
    MetadataEquals { key: key.to_owned(), value: value.to_owned() }
}

/// Entries of metadata that occur, are near to what occurs, or do not.
fn any_metadata(random: &mut Random) -> Vec<MetadataEquals> {
    let mut asked = vec![random.pick(&[
        ("nr", "0"),
        ("nr", "3"),
        ("nr", "4"),
        ("nr", "4.00"),
        ("nr", "40e-1"),
        ("nr", "true"),
        ("nr", "[4]x"),
        ("ö", "'"),
        ("ö", "4"),
    ])];
    if random.one_in(3) {
        asked.push(("ö", "'"));
    }
    asked.into_iter().map(|(key, value)| equals(key, value)).collect()
}

fn in_order<T: Clone>(mut rows: Vec<T>, order: Order) -> Vec<T> {
    if order == Order::NewestFirst {
        rows.reverse();
    }
    rows
}

/// Turns all pages of a list.
async fn all_pages<T>(
    limit: u32,
    order: Order,
    mut list: impl AsyncFnMut(&PageRequest) -> Result<Page<T>, StoreError>,
) -> Vec<T> {
    let mut request = PageRequest { limit, order, cursor: None };
    let mut rows = Vec::new();
    let mut pages = 0;
    loop {
        let page = list(&request).await.unwrap();
        assert!(page.data.len() <= limit as usize);
        pages += 1;
        rows.extend(page.data);
        assert!(rows.len() < 10_000 && pages < 10_000, "the pages go round in a circle");
        match page.next {
            // Through its text, as a client would send it.
            Some(next) => request.cursor = Some(next.to_string().parse().unwrap()),
            None => return rows,
        }
    }
}

async fn check_transfers(
    world: &World,
    store: &Store,
    filter: &TransferFilter,
    limit: u32,
) -> usize {
    let expected: Vec<_> =
        world.transfers.iter().filter(|stored| matches(filter, stored)).cloned().collect();
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let shown = all_pages(limit, order, async |request| {
            let page = store.transfers(filter, request).await?;
            assert_eq!(page.as_of, world.seq());
            Ok(page)
        })
        .await;
        assert_eq!(shown, in_order(expected.clone(), order), "{filter:?} {order:?} {limit}");
    }
    expected.len()
}

/// A filter of which each part is there now and then, with values that occur.
fn any_filter(world: &mut World) -> TransferFilter {
    let accounts: Vec<AccountId> = world.accounts.keys().copied().collect();
    let transactions: Vec<TransferId> =
        world.transactions.iter().map(|stored| stored.transaction.id).collect();
    let times: Vec<Timestamp> = world.transfers.iter().map(|row| row.transfer.timestamp).collect();
    let random = &mut world.random;
    let mut filter = TransferFilter::default();
    let mut some = |one_in| random.one_in(one_in).then_some(());
    let parts = [3, 3, 5, 5, 5, 3, 8, 3, 3, 3, 3].map(&mut some);
    let [
        ledger,
        code,
        data_128,
        data_64,
        data_32,
        account,
        transaction,
        from,
        to,
        status,
        metadata,
    ] = parts;
    filter.ledger = ledger.map(|()| random.pick(&[LedgerId(1), LedgerId(2), LedgerId(u32::MAX)]));
    filter.code = code.map(|()| random.pick(&[Code(1), Code(2), Code(u16::MAX)]));
    filter.user_data_128 =
        data_128.map(|()| random.pick(&[0, 7, IDS[2], IDS[3], IDS[4], IDS[5], u128::MAX]));
    filter.user_data_64 =
        data_64.map(|()| random.pick(&[0, 7, i64::MAX as u64, 1 << 63, u64::MAX]));
    filter.user_data_32 = data_32.map(|()| random.pick(&[0, 5, u32::MAX]));
    filter.account = account.map(|()| OfAccount {
        id: random.pick(&accounts),
        side: random.pick(&[Side::Debit, Side::Credit, Side::Both]),
    });
    filter.status = status.map(|()| random.pick(&TransferStatus::NAMES).0);
    filter.metadata = metadata.map(|()| any_metadata(random)).unwrap_or_default();
    filter.transaction = transaction.map(|()| random.pick(&transactions));
    filter.min_amount = random.one_in(3).then(|| amount(random.pick(&AMOUNTS)));
    filter.max_amount = random.one_in(3).then(|| amount(random.pick(&AMOUNTS)));
    // Just before, at and just after a row, so that the ends of the range are met.
    let near = |at: Timestamp, by: usize| Timestamp(at.0 + by as u64 - 1);
    filter.time.from = from.map(|()| near(random.pick(&times), random.below(3)));
    filter.time.to = to.map(|()| near(random.pick(&times), random.below(3)));
    filter
}

async fn transfers_by_any_filter_are_those_of_the_model(kind: Kind) {
    for seed in 1..=3 {
        println!("seed {seed}");
        let place = kind.place();
        let (mut world, store) = stored_world(seed, &place).await;
        let mut found = 0;
        for _ in 0..300 {
            let filter = any_filter(&mut world);
            let limit = world.random.pick(&[1, 2, 7, 50]);
            found += check_transfers(&world, &store, &filter, limit).await;
        }
        assert!(found > 1000, "the filters leave something to compare: {found}");
    }
}

async fn each_filter_alone_finds_rows(kind: Kind) {
    let place = kind.place();
    let (world, store) = stored_world(11, &place).await;
    let all = TransferFilter::default();
    let account = |side| Some(OfAccount { id: AccountId(1 << 63), side });
    let middle = world.transfers[world.transfers.len() / 2].transfer.timestamp;
    let after_middle = Timestamp(middle.0 + 1);
    let filters = [
        all.clone(),
        TransferFilter { ledger: Some(LedgerId(2)), ..all.clone() },
        TransferFilter { code: Some(Code(u16::MAX)), ..all.clone() },
        TransferFilter { user_data_128: Some(1 << 64), ..all.clone() },
        TransferFilter { user_data_64: Some(1 << 63), ..all.clone() },
        TransferFilter { user_data_32: Some(u32::MAX), ..all.clone() },
        TransferFilter { user_data_32: Some(0), ..all.clone() },
        TransferFilter { min_amount: Some(amount((1 << 96) - 1)), ..all.clone() },
        TransferFilter { max_amount: Some(amount(0)), ..all.clone() },
        TransferFilter {
            ledger: Some(LedgerId(1)),
            min_amount: Some(amount(1 << 63)),
            ..all.clone()
        },
        TransferFilter { account: account(Side::Debit), ..all.clone() },
        TransferFilter { account: account(Side::Credit), ..all.clone() },
        TransferFilter { account: account(Side::Both), ..all.clone() },
        TransferFilter { transaction: Some(world.transactions[3].transaction.id), ..all.clone() },
        TransferFilter { status: Some(TransferStatus::Posted), ..all.clone() },
        TransferFilter { status: Some(TransferStatus::Pending), ..all.clone() },
        TransferFilter { status: Some(TransferStatus::Voided), ..all.clone() },
        TransferFilter { status: Some(TransferStatus::Expired), ..all.clone() },
        TransferFilter { metadata: vec![equals("nr", "4.00")], ..all.clone() },
        TransferFilter { metadata: vec![equals("nr", "3"), equals("ö", "'")], ..all.clone() },
        TransferFilter {
            time: TimeRange { from: Some(middle), to: Some(after_middle) },
            ..all.clone()
        },
    ];
    for filter in filters {
        assert!(check_transfers(&world, &store, &filter, 3).await > 0, "{filter:?}");
    }
    let nothing = [
        TransferFilter { time: TimeRange { from: Some(middle), to: Some(middle) }, ..all.clone() },
        TransferFilter { transaction: Some(TransferId(999)), ..all.clone() },
        // A transfer's id is no transaction's.
        TransferFilter { transaction: Some(world.transfers[0].transfer.id), ..all.clone() },
    ];
    for filter in nothing {
        assert_eq!(check_transfers(&world, &store, &filter, 3).await, 0, "{filter:?}");
    }
}

async fn rows_that_arrive_between_pages_neither_shift_nor_repeat(kind: Kind) {
    let place = kind.place();
    let (mut world, store) = stored_world(5, &place).await;
    let filter = TransferFilter { ledger: Some(LedgerId(1)), ..TransferFilter::default() };
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let at_first: Vec<_> =
            world.transfers.iter().filter(|stored| matches(&filter, stored)).cloned().collect();
        let mut arrivals = 10;
        let mut request = PageRequest { limit: 5, order, cursor: None };
        let mut shown = Vec::new();
        loop {
            let page = store.transfers(&filter, &request).await.unwrap();
            shown.extend(page.data);
            assert!(shown.len() < 10_000, "the pages go round in a circle");
            request.cursor = page.next;
            if request.cursor.is_none() {
                break;
            }
            if arrivals > 0 {
                arrivals -= 1;
                world.command();
                apply_all(&mut world, &store).await;
            }
        }
        let expected = match order {
            Order::NewestFirst => at_first.into_iter().rev().collect(),
            Order::OldestFirst => world
                .transfers
                .iter()
                .filter(|stored| matches(&filter, stored))
                .cloned()
                .collect::<Vec<_>>(),
        };
        // What has become of them meanwhile is shown as it is when each page is read.
        let bare = |rows: Vec<StoredTransfer>| -> Vec<_> {
            rows.into_iter().map(|stored| (stored.seq, stored.transfer)).collect()
        };
        assert_eq!(bare(shown), bare(expected));
    }
}

async fn accounts_by_any_filter_are_those_of_the_model(kind: Kind) {
    let place = kind.place();
    let (mut world, store) = stored_world(2, &place).await;
    let mut by_time: Vec<_> = world.accounts.values().cloned().collect();
    by_time.sort_by_key(|stored| stored.account.timestamp);
    let times: Vec<Timestamp> = by_time.iter().map(|stored| stored.account.timestamp).collect();
    let mut found = 0;
    for _ in 0..300 {
        let mut some = |one_in| world.random.one_in(one_in).then_some(());
        let parts = [2, 3, 4, 4, 4, 3, 3, 3].map(&mut some);
        let [ledger, code, data_128, data_64, data_32, from, to, metadata] = parts;
        let random = &mut world.random;
        let filter = AccountFilter {
            ledger: ledger.map(|()| random.pick(&[LedgerId(1), LedgerId(2)])),
            code: code.map(|()| random.pick(&[Code(1), Code(u16::MAX)])),
            user_data_128: data_128.map(|()| random.pick(&[0, 7, IDS[4], IDS[5]])),
            user_data_64: data_64.map(|()| random.pick(&[0, 7, 1 << 63, u64::MAX])),
            user_data_32: data_32.map(|()| random.pick(&[0, 5])),
            time: TimeRange {
                from: from.map(|()| random.pick(&times)),
                to: to.map(|()| random.pick(&times)),
            },
            metadata: metadata.map(|()| any_metadata(random)).unwrap_or_default(),
        };
        let expected: Vec<_> = by_time
            .iter()
            .filter(|stored| {
                let account = &stored.account;
                filter.ledger.is_none_or(|wanted| wanted == account.ledger)
                    && filter.code.is_none_or(|wanted| wanted == account.code)
                    && filter.user_data_128.is_none_or(|wanted| wanted == account.user_data_128)
                    && filter.user_data_64.is_none_or(|wanted| wanted == account.user_data_64)
                    && filter.user_data_32.is_none_or(|wanted| wanted == account.user_data_32)
                    && filter.time.from.is_none_or(|from| from <= account.timestamp)
                    && filter.time.to.is_none_or(|to| account.timestamp < to)
                    && metadata_matches(&filter.metadata, stored.metadata.as_deref())
            })
            .cloned()
            .collect();
        found += expected.len();
        for order in [Order::NewestFirst, Order::OldestFirst] {
            let shown = all_pages(2, order, async |page| store.accounts(&filter, page).await).await;
            assert_eq!(shown, in_order(expected.clone(), order), "{filter:?} {order:?}");
        }
    }
    assert!(found > 300, "the filters leave something to compare: {found}");
}

async fn history_is_that_of_the_model_at_every_moment(kind: Kind) {
    let place = kind.place();
    let (mut world, store) = stored_world(4, &place).await;
    let accounts: Vec<AccountId> = world.accounts.keys().copied().collect();
    let mut found = 0;
    for id in accounts {
        let of_account: Vec<_> =
            world.history.iter().filter(|balance| balance.account == id).copied().collect();
        found += of_account.len();
        for order in [Order::NewestFirst, Order::OldestFirst] {
            let all = BalanceFilter::default();
            let shown =
                all_pages(2, order, async |page| store.balances(id, &all, page).await).await;
            assert_eq!(shown, in_order(of_account.clone(), order));
        }
        for (index, balance) in of_account.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| of_account[before]);
            for (at, expected) in
                [(balance.timestamp, Some(*balance)), (Timestamp(balance.timestamp.0 - 1), before)]
            {
                let order = world.random.pick(&[Order::NewestFirst, Order::OldestFirst]);
                let request = PageRequest { limit: 50, order, cursor: None };
                let filter = BalanceFilter { at: Some(at), ..BalanceFilter::default() };
                let page = store.balances(id, &filter, &request).await.unwrap();
                assert_eq!(page.data, expected.into_iter().collect::<Vec<_>>());
                assert_eq!((page.next, page.as_of), (None, world.seq()));
            }
            let time = TimeRange { from: Some(balance.timestamp), to: None };
            let filter = BalanceFilter { time, at: None };
            let request = PageRequest { limit: 1000, order: Order::OldestFirst, cursor: None };
            let page = store.balances(id, &filter, &request).await.unwrap();
            assert_eq!(page.data, of_account[index..]);
        }
    }
    assert!(found > 100, "{found}");
}

async fn ledgers_come_with_their_totals(kind: Kind) {
    let place = kind.place();
    let (world, store) = stored_world(6, &place).await;
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let shown = all_pages(1, order, async |page| store.ledgers(page).await).await;
        assert_eq!(shown, in_order(world.ledgers.clone(), order));
    }
    assert!(world.ledgers.iter().any(|stored| stored.totals.posted > 1 << 96), "beyond one amount");
    for stored in &world.ledgers {
        let found = store.ledger(stored.ledger.id).await.unwrap();
        assert_eq!((found.value.as_ref(), found.as_of), (Some(stored), world.seq()));
    }
    assert_eq!(store.ledger(LedgerId(77)).await.unwrap().value, None);
}

async fn everything_is_found_by_its_id(kind: Kind) {
    let place = kind.place();
    let (world, store) = stored_world(7, &place).await;
    for stored in &world.transfers {
        let id = stored.transfer.id;
        assert_eq!(store.transfer(id).await.unwrap().value.as_ref(), Some(stored));
        assert_eq!(store.transaction(id).await.unwrap().value, None, "no transaction");
    }
    for stored in &world.transactions {
        let id = stored.transaction.id;
        assert_eq!(store.transaction(id).await.unwrap().value.as_ref(), Some(stored));
        assert_eq!(store.transfer(id).await.unwrap().value, None, "no transfer");
        let legs: Vec<_> = world
            .transfers
            .iter()
            .filter(|leg| leg.transfer.transaction_id == Some(id))
            .cloned()
            .collect();
        assert_eq!(store.transfers_of_transaction(id).await.unwrap().value, legs);
    }
    for stored in world.accounts.values() {
        let id = stored.account.id;
        assert_eq!(store.account(id).await.unwrap().value.as_ref(), Some(stored));
        let words = store.account_words(id, world.seq()).await.unwrap().value;
        let AccountWords { metadata, external_id } = words;
        assert_eq!(external_id, stored.external_id);
        assert_eq!(metadata.as_ref().map(|metadata| &metadata.text), stored.metadata.as_ref());
        let digest = metadata.map_or(0, |metadata| metadata.digest);
        assert_eq!(digest, stored.account.metadata_digest);
    }
    for (seq, _, keyed) in &world.records {
        assert_eq!(store.keyed_record(*seq).await.unwrap().value, *keyed);
    }
    let unknown = TransferId(3);
    assert_eq!(store.transfer(unknown).await.unwrap().value, None);
    assert_eq!(store.transfers_of_transaction(unknown).await.unwrap().value, Vec::new());
    assert_eq!(store.account(AccountId(3)).await.unwrap().value, None);
    let words = store.account_words(AccountId(3), world.seq()).await.unwrap().value;
    assert_eq!(words, AccountWords::default());
    // The world has all of it, so that the above says something.
    assert!(world.accounts.values().any(|stored| stored.external_id.is_some()));
    assert!(world.transactions.iter().any(|it| it.transaction.external_id.is_some()));
    let transfers = || world.transfers.iter();
    assert!(transfers().any(|stored| stored.transfer.external_id.is_some()));
    assert!(transfers().any(|stored| stored.reversed_by.is_some()));
    // And as it was at each position.
    let mut replaced = 0;
    for (seq, record, _) in &world.records {
        for event in &record.events {
            let (id, metadata) = match event {
                Event::AccountCreated(created) => (created.id, &created.metadata),
                Event::MetadataReplaced(changed) => {
                    replaced += 1;
                    (record.accounts[changed.account as usize].id, &changed.metadata)
                }
                _ => continue,
            };
            let found = store.account_words(id, *seq).await.unwrap().value.metadata;
            assert_eq!(found.map(|found| found.text), metadata.as_ref().map(|it| it.text.clone()));
        }
    }
    assert!(replaced > 3, "only {replaced} were replaced");
}

async fn a_cursor_of_another_list_is_a_clear_error(kind: Kind) {
    let place = kind.place();
    let (_, store) = stored_world(8, &place).await;
    let all = TransferFilter::default();
    let first = store.transfers(&all, &PageRequest::first(1)).await.unwrap();
    let request = PageRequest { cursor: first.next, ..PageRequest::first(1) };
    assert!(request.cursor.is_some());
    let check = |result: Result<(), StoreError>, expected: CursorError| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::BadCursor);
        assert!(matches!(error, StoreError::Cursor(is) if is == expected), "{error}");
    };
    let other = TransferFilter { code: Some(Code(1)), ..all.clone() };
    check(store.transfers(&other, &request).await.map(drop), CursorError::OtherFilter);
    let turned = PageRequest { order: Order::OldestFirst, ..request };
    check(store.transfers(&all, &turned).await.map(drop), CursorError::OtherOrder);
    let accounts = AccountFilter::default();
    check(store.accounts(&accounts, &request).await.map(drop), CursorError::OtherFilter);
    check(store.ledgers(&request).await.map(drop), CursorError::OtherFilter);
    let history = BalanceFilter::default();
    let of_another = store.balances(AccountId(1), &history, &request).await;
    check(of_another.map(drop), CursorError::OtherFilter);
}

async fn a_page_looks_at_a_bounded_number_of_rows(kind: Kind) {
    let place = kind.place();
    let (world, store) = stored_world(9, &place).await;
    assert!(world.transfers.len() > 200, "many times the bound");
    // Nothing has this amount, in no ledger: no index tells.
    let filter = TransferFilter {
        min_amount: Some(amount(3)),
        max_amount: Some(amount(4)),
        ..TransferFilter::default()
    };
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let mut request = PageRequest { limit: 50, order, cursor: None };
        let mut pages = 0;
        loop {
            let page = store.transfers(&filter, &request).await.unwrap();
            assert_eq!(page.data, Vec::new());
            pages += 1;
            assert!(pages <= world.transfers.len() / 30 + 1, "each page looks at 31 rows");
            match page.next {
                Some(next) => request.cursor = Some(next),
                None => break,
            }
        }
        assert!(pages > world.transfers.len() / 40, "{pages} pages");
    }
    // What has fewer rows than are looked at for a page is told at once, whatever else is asked.
    let rare = world.transactions[2].transaction.id;
    let filter = TransferFilter { transaction: Some(rare), ..filter };
    let page = store.transfers(&filter, &PageRequest::first(50)).await.unwrap();
    assert_eq!((page.data, page.next), (Vec::new(), None));
}

async fn replaced_metadata_is_found_as_it_is_now(kind: Kind) {
    let place = kind.place();
    let (mut world, store) = stored_world(10, &place).await;
    let id = *world.accounts.keys().next().unwrap();
    let ids = async |key: &str, value: &str| -> Vec<AccountId> {
        let filter =
            AccountFilter { metadata: vec![equals(key, value)], ..AccountFilter::default() };
        let page = store.accounts(&filter, &PageRequest::first(50)).await.unwrap();
        page.data.into_iter().map(|stored| stored.account.id).collect()
    };
    for (text, nr) in [
        (Some(r#"{"nr":77,"same":"x"}"#), Some("77")),
        (Some(r#"{"nr":78.0,"same":"x"}"#), Some("78")),
        (None, None),
        (Some(r#"{"nr":"79"}"#), Some("79")),
    ] {
        let at = world.seq();
        let metadata = text.map(|text| Metadata::new(text.into(), text.as_bytes()));
        world.replace_metadata(id, metadata);
        store.apply(&world.batch(at, world.seq())).await.unwrap();
        for candidate in ["77", "78", "79"] {
            let expected = if nr == Some(candidate) { vec![id] } else { Vec::new() };
            assert_eq!(ids("nr", candidate).await, expected, "{text:?} by {candidate}");
        }
        let same = text.is_some_and(|text| text.contains("same"));
        assert_eq!(ids("same", "x").await.len(), usize::from(same));
    }
}

async fn metadata_from_before_its_lookups_is_indexed_once(kind: Kind) {
    let place = kind.place();
    let (world, store) = stored_world(12, &place).await;
    drop(store);
    // As an older program left it.
    for sql in [
        "DELETE FROM transfers_by_metadata",
        "DELETE FROM accounts_by_metadata",
        "UPDATE checkpoint SET metadata_indexed = (1 = 0)",
    ] {
        place.execute(sql).await;
    }
    for _ in 0..2 {
        let store = place.open().await;
        let asked = vec![equals("nr", "4")];
        let filter = TransferFilter { metadata: asked.clone(), ..TransferFilter::default() };
        assert!(check_transfers(&world, &store, &filter, 7).await > 0);
        let filter = AccountFilter { metadata: asked.clone(), ..AccountFilter::default() };
        let found =
            all_pages(7, Order::OldestFirst, async |page| store.accounts(&filter, page).await);
        let expected = world.accounts.values();
        let expected =
            expected.filter(|stored| metadata_matches(&asked, stored.metadata.as_deref()));
        assert_eq!(found.await.len(), expected.count());
    }
}
