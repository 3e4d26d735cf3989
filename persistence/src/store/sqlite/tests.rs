//! What only this database has: the plans of its queries, and what it says after a failed sync.

use std::sync::atomic::Ordering;

use florin_engine::{AccountId, Amount, Code, LedgerId, Timestamp, TransferId, TransferStatus};
use sqlx::AssertSqlSafe;

use super::queries::{self, Kind};
use super::snapshot::Sql;
use super::*;
use crate::store::entries::MetadataEquals;
use crate::store::filter::{OfAccount, Side};
use crate::store::page::Order;

async fn plan(store: &Sqlite, sql: Sql) -> String {
    let mut snapshot = store.readers.snapshot().await.unwrap();
    let (text, arguments) = sql.into_parts();
    let mut explained = Sql::new("EXPLAIN QUERY PLAN ");
    explained.push(&text);
    let (text, _) = explained.into_parts();
    let rows = sqlx::query_with(AssertSqlSafe(text), arguments)
        .fetch_all(snapshot.connection())
        .await
        .unwrap();
    let steps: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut columns = Reader::new(row);
            for _ in 0..3 {
                columns.column("plan").unwrap();
            }
            columns.text("detail").unwrap()
        })
        .collect();
    steps.join("; ")
}

/// Expects that the query is led by `lead`, and that nothing of it scans a large table or sorts.
async fn check(store: &Sqlite, sql: Sql, lead: &str) {
    let plan = plan(store, sql).await;
    assert!(plan.contains(lead), "{plan} lacks {lead}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan} sorts");
    for scanned in plan.split("; ").filter(|step| step.starts_with("SCAN")) {
        assert_eq!(scanned, "SCAN r", "{plan}");
    }
}

#[tokio::test]
async fn each_list_is_led_by_its_lookup_and_never_sorted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = Sqlite::open(&path, Uuid::from_u128(1), Sizes::SQLITE).await.unwrap();
    let all = TransferFilter::default();
    let account = Some(OfAccount { id: AccountId(1), side: Side::Both });
    let amount = Some(Amount::from_minor(5));
    let ledger = Some(LedgerId(1));
    let code = Some(Code(1));
    let status = Some(TransferStatus::Pending);
    let metadata = ["b", "c"]
        .map(|value| MetadataEquals { key: "a".to_owned(), value: value.to_owned() })
        .to_vec();
    let leads = [
        (all.clone(), "SEARCH t USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            TransferFilter { ledger, ..all.clone() },
            "transfers_by_ledger (ledger=? AND rowid>? AND rowid<?)",
        ),
        (
            TransferFilter { code, ledger, ..all.clone() },
            "transfers_by_code (code=? AND rowid>? AND rowid<?)",
        ),
        (
            TransferFilter { account, code, ..all.clone() },
            "SEARCH k USING PRIMARY KEY (run=? AND account_id=? AND timestamp>? AND timestamp<?)",
        ),
        (
            TransferFilter { user_data_128: Some(1), account, ..all.clone() },
            "SEARCH k USING PRIMARY KEY (run=? AND user_data_128=? AND timestamp>? AND timestamp<?)",
        ),
        (
            TransferFilter { user_data_64: Some(1), ledger, ..all.clone() },
            "SEARCH k USING PRIMARY KEY (run=? AND user_data_64=? AND timestamp>? AND timestamp<?)",
        ),
        (
            TransferFilter { user_data_32: Some(1), ledger, ..all.clone() },
            "SEARCH k USING PRIMARY KEY (run=? AND user_data_32=? AND timestamp>? AND timestamp<?)",
        ),
        (
            TransferFilter { metadata: metadata.clone(), ledger, ..all.clone() },
            "SEARCH k USING PRIMARY KEY (run=? AND entry=? AND timestamp>? AND timestamp<?)",
        ),
        (
            TransferFilter { status, code, ..all.clone() },
            "transfers_two_phase (timestamp>? AND timestamp<?)",
        ),
        (
            TransferFilter { min_amount: amount, ledger, ..all.clone() },
            "SEARCH k USING PRIMARY KEY (ledger=? AND first_timestamp<?); SEARCH t USING INDEX transfers_by_ledger (ledger=? AND rowid>? AND rowid<?)",
        ),
        (
            TransferFilter { transaction: Some(TransferId(1)), account, ..all.clone() },
            "SEARCH t USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ];
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let page = PageRequest { limit: 50, order, cursor: None };
        let span = Span::new(TimeRange::default(), order, Some(5));
        for (filter, lead) in &leads {
            let led_by = filter.leads()[0];
            check(&store, queries::transfers(filter, led_by, &page, span), lead).await;
            let end = queries::end_of_looking(led_by, order, span, Sizes::SQLITE);
            check(&store, end, lead.split("; ").next().unwrap()).await;
        }
        let accounts = [
            (AccountFilter::default(), "SEARCH a USING INTEGER PRIMARY KEY"),
            (AccountFilter { ledger, ..AccountFilter::default() }, "accounts_by_ledger (ledger=?"),
            (AccountFilter { code, ..AccountFilter::default() }, "accounts_by_code (code=?"),
            (
                AccountFilter { metadata: metadata.clone(), ..AccountFilter::default() },
                "SEARCH k USING PRIMARY KEY (entry=? AND timestamp>? AND timestamp<?)",
            ),
            (
                AccountFilter { user_data_128: Some(1), ledger, ..AccountFilter::default() },
                "accounts_by_user_data_128 (user_data_128=?",
            ),
            (
                AccountFilter { user_data_64: Some(1), ..AccountFilter::default() },
                "accounts_by_user_data_64 (user_data_64=?",
            ),
            (
                AccountFilter { user_data_32: Some(1), ..AccountFilter::default() },
                "accounts_by_user_data_32 (user_data_32=?",
            ),
        ];
        for (filter, lead) in &accounts {
            let led_by = filter.leads()[0];
            check(&store, queries::accounts(filter, led_by, &page, span), lead).await;
            let end = queries::end_of_looking_at_accounts(led_by, order, span, Sizes::SQLITE);
            check(&store, end, lead).await;
        }
        let history =
            "SEARCH h USING PRIMARY KEY (run=? AND account_id=? AND timestamp>? AND timestamp<?)";
        for at in [None, Some(Timestamp(5))] {
            let filter = BalanceFilter { at, ..BalanceFilter::default() };
            let sql = queries::balances(AccountId(1), &filter, &page, span);
            check(&store, sql, history).await;
        }
    }
    let by_id = "SEARCH k USING PRIMARY KEY (run=? AND id=?)";
    check(&store, queries::decided_id(1, Kind::Transfer), by_id).await;
    check(
        &store,
        queries::legs(1, 2, Span { first: 3, last: 4 }),
        "SEARCH t USING INTEGER PRIMARY KEY",
    )
    .await;
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_called_durable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = Sqlite::open(&path, Uuid::from_u128(1), Sizes::SQLITE).await.unwrap();
    store.sync_failed.store(true, Ordering::Release);
    assert!(matches!(store.sync().await, Err(StoreError::SyncFailedBefore)));
}
