//! What only this database has: the plans of its queries.

use florin_engine::{
    AccountId, Amount, Code, JournalSeq, LedgerId, Timestamp, TransferId, TransferStatus,
};
use florin_tests::postgres::Postgres as Server;
use sqlx::Row;

use super::*;
use crate::store::entries::MetadataEquals;
use crate::store::filter::{OfAccount, Side};
use crate::store::page::Order;

/// So few rows looked at for a page that a plan which reads more is seen.
const FEW: Sizes = Sizes { look_max: 200, block_transfers: 100, ..Sizes::POSTGRES };

/// A store with transfers enough that a plan matters: made by the server, since only their number does.
async fn filled() -> Postgres {
    let server = Server::shared();
    let database = server.create_database();
    let options = PostgresOptions::new(server.url(&database));
    let store = Postgres::new(options, Some(Uuid::from_u128(1)), Sizes::POSTGRES).unwrap();
    store.claim(TakeOver::WhenFree).await.unwrap();
    let _ = server.psql(
        &database,
        "SET search_path = florin;
         INSERT INTO runs SELECT r, (r - 1) * 20000, r * 20000 - 1, 20000 FROM generate_series(1, 10) r;
         INSERT INTO transfers (timestamp, seq, ledger, run, code, flags, id, debit_account_id, credit_account_id,
            amount, user_data_128, user_data_64, user_data_32)
         SELECT n, n, n % 3, n / 20000 + 1, n % 5, CASE WHEN n % 7 = 0 THEN 2 ELSE 0 END, lpad(to_hex(n * 7919 % 200003), 32, '0')::uuid,
            lpad(to_hex(n % 1000), 32, '0')::uuid, lpad(to_hex((n + 1) % 997), 32, '0')::uuid, n % 10007,
            CASE WHEN n % 10 = 0 THEN lpad(to_hex(n), 32, '0')::uuid END,
            CASE WHEN n % 10 = 1 THEN n % 100 END, CASE WHEN n % 10 = 2 THEN n % 50 END
         FROM generate_series(0, 199999) n;
         INSERT INTO transfers_by_metadata SELECT n % 1000, n, n / 20000 + 1 FROM generate_series(0, 199999) n;
         INSERT INTO accounts_by_metadata SELECT n % 100, n FROM generate_series(0, 19999) n;
         INSERT INTO accounts (timestamp, seq, ledger, code, id, user_data_128, user_data_64, user_data_32)
         SELECT n, n, n % 3, n % 5, lpad(to_hex(n), 32, '0')::uuid,
            CASE WHEN n % 10 = 0 THEN lpad(to_hex(n), 32, '0')::uuid END,
            CASE WHEN n % 10 = 1 THEN n % 100 END, CASE WHEN n % 10 = 2 THEN n % 50 END
         FROM generate_series(0, 19999) n;
         INSERT INTO balances SELECT id, 0, 0, 0, 0, 0, 0, 0 FROM accounts;
         INSERT INTO balance_history SELECT n, n, 0, n / 20000 + 1, 8, lpad(to_hex(n % 1000), 32, '0')::uuid, 0, 0, 0, 0, 0
         FROM generate_series(0, 199999) n;
         INSERT INTO transactions SELECT n, n + 3, n, 4, n / 20000 + 1, lpad(to_hex(n), 32, '0')::uuid
         FROM generate_series(0, 199999, 10) n;
         INSERT INTO amount_blocks SELECT l, b * 4000, b * 4000 + 3999, 1333, 0, 10006
         FROM generate_series(0, 2) l, generate_series(0, 49) b;",
    );
    let _ = server.psql(&database, "ANALYZE");
    store
}

/// The plan as text, and how many rows of tables and indexes were touched.
async fn explain(store: &Postgres, sql: Sql) -> String {
    let mut explained = Sql::new("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS) ");
    explained.push(&sql.text);
    explained.arguments = sql.arguments;
    let (rows, _) = store.fetch(explained).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

/// Expects that the query is led by `lead`, that no table is read from end to end, and that a page touches few blocks.
async fn check(store: &Postgres, sql: Sql, lead: &str) {
    let text = sql.text.clone();
    let plan = explain(store, sql).await;
    assert!(plan.contains(lead), "{text}\n{plan}\nlacks {lead}");
    assert!(!plan.contains("Seq Scan") && !plan.contains("Bitmap"), "{text}\n{plan}");
    let sorts = plan.lines().filter(|line| {
        let step = line.trim_start_matches([' ', '-', '>']);
        step.starts_with("Sort (")
    });
    assert_eq!(sorts.count(), 0, "{text}\n{plan}");
    let hits = plan.lines().find(|line| line.trim_start().starts_with("Buffers:")).unwrap();
    let counted = |what| hits.split_whitespace().filter_map(move |word| word.strip_prefix(what));
    let blocks: u64 =
        counted("hit=").chain(counted("read=")).map(|count| count.parse::<u64>().unwrap()).sum();
    assert!(blocks < 600, "{blocks} blocks: {text}\n{plan}");
}

#[tokio::test]
async fn each_list_follows_an_index_and_sorts_no_table() {
    let store = filled().await;
    let all = TransferFilter::default();
    let account = |side| Some(OfAccount { id: AccountId(500), side });
    let amount = Some(Amount::from_minor(5_000));
    let ledger = Some(LedgerId(1));
    let code = Some(Code(1));
    let status = Some(TransferStatus::Pending);
    let metadata = ["b", "c"]
        .map(|value| MetadataEquals { key: "a".to_owned(), value: value.to_owned() })
        .to_vec();
    let leads = [
        (all.clone(), "transfers_pkey"),
        (TransferFilter { ledger, ..all.clone() }, "transfers_by_ledger"),
        (TransferFilter { code, ..all.clone() }, "transfers_by_code"),
        (
            TransferFilter { account: account(Side::Debit), code: Some(Code(0)), ..all.clone() },
            "transfers_by_debit_account",
        ),
        (
            TransferFilter { account: account(Side::Both), ..all.clone() },
            "transfers_by_debit_account",
        ),
        (
            TransferFilter { account: account(Side::Both), ledger, ..all.clone() },
            "transfers_by_credit_account",
        ),
        (
            TransferFilter { user_data_128: Some(100_000), ..all.clone() },
            "transfers_by_user_data_128",
        ),
        (TransferFilter { user_data_64: Some(11), ..all.clone() }, "transfers_by_user_data_64"),
        (TransferFilter { user_data_32: Some(12), ..all.clone() }, "transfers_by_user_data_32"),
        (
            TransferFilter { metadata: metadata.clone(), ledger, ..all.clone() },
            "transfers_by_metadata_pkey",
        ),
        (TransferFilter { status, code, ..all.clone() }, "transfers_two_phase"),
        (TransferFilter { min_amount: amount, ledger, ..all.clone() }, "amount_blocks_pkey"),
        (TransferFilter { transaction: Some(TransferId(1)), ..all.clone() }, "transfers_pkey"),
    ];
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let page = PageRequest { limit: 10, order, cursor: None };
        let whole = Span::new(TimeRange::default(), order, None);
        for (filter, lead) in &leads {
            let span = match filter.transaction {
                Some(_) => whole.within(100_000, 100_003),
                None => whole,
            };
            let led_by = filter.leads()[0];
            check(&store, queries::transfers(filter, led_by, &page, span), lead).await;
            let end = queries::end_of_looking(led_by, order, span, FEW);
            check(&store, end, lead).await;
        }
        let none = AccountFilter::default();
        let accounts = [
            (none.clone(), "accounts_pkey"),
            (AccountFilter { ledger, ..none.clone() }, "accounts_by_ledger"),
            (AccountFilter { code, ..none.clone() }, "accounts_by_code"),
            (
                AccountFilter { metadata: metadata.clone(), ..none.clone() },
                "accounts_by_metadata_pkey",
            ),
            (
                AccountFilter { user_data_128: Some(10_000), ..none.clone() },
                "accounts_by_user_data_128",
            ),
            (AccountFilter { user_data_64: Some(11), ..none.clone() }, "accounts_by_user_data_64"),
            (AccountFilter { user_data_32: Some(12), ..none.clone() }, "accounts_by_user_data_32"),
        ];
        for (filter, lead) in &accounts {
            let led_by = filter.leads()[0];
            check(&store, queries::accounts(filter, led_by, &page, whole), lead).await;
            let end = queries::end_of_looking_at_accounts(led_by, order, whole, FEW);
            check(&store, end, lead).await;
        }
        for at in [None, Some(Timestamp(100_000))] {
            let filter = BalanceFilter { at, ..BalanceFilter::default() };
            let span = whole.within(0, at.map_or(u64::MAX, |at| at.0));
            let sql = queries::balances(AccountId(5), &filter, &page, span);
            check(&store, sql, "balance_history_pkey").await;
        }
    }
    check(&store, queries::transfer(100), "transfers_by_id").await;
    check(&store, queries::transaction(100), "transactions_by_id").await;
    check(&store, queries::legs(100, 4, Span { first: 100, last: 103 }), "transfers_pkey").await;
    let found = store.transfer(TransferId(7919)).await.unwrap();
    assert_eq!(found.value.map(|stored| stored.seq), Some(JournalSeq(1)));
}
