//! The file as a person with the sqlite3 shell meets it: no digit lost, money read as money; and files that are not ours.

use std::path::Path;
use std::time::{Duration, Instant};

use florin_engine::{
    AccountFlags, Balances, Event, ExternalId, JournalSeq, LedgerId, MajorUnits, Scale, Timestamp,
    Transaction, TransferId, TransferStatus,
};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, Row};
use uuid::Uuid;

use super::world::{AMOUNTS, IDS, World, amount, first_account_ids, flag_names};
use super::{DIRECTORY, SMALL, open, raw};
use crate::store::{Store, StoreError, StoreErrorKind, StoredTransaction, StoredTransfer};

/// The rows of a query, each column as SQLite's own text of it.
async fn rows(connection: &mut SqliteConnection, sql: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let shown: Vec<String> =
        columns.iter().map(|column| format!("coalesce(CAST({column} AS TEXT), 'null')")).collect();
    let sql = format!("SELECT {} FROM {sql}", shown.join(", "));
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| (0..columns.len()).map(|column| row.get(column)).collect()).collect()
}

async fn stored(seed: u64, directory: &Path) -> World {
    let mut world = World::new(seed);
    for _ in 0..80 {
        world.command();
    }
    let store = open(directory).await;
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    world
}

/// An id as API.md shows it.
pub(super) fn id_or_null(id: Option<TransferId>) -> String {
    id.map_or("null".to_owned(), |id| shown_id(id.0))
}

pub(super) fn text_or_null(external_id: Option<&ExternalId>) -> String {
    external_id.map_or("null".to_owned(), |external_id| external_id.text().to_owned())
}

/// The id and external id of each account and each transaction that has one, by their times.
pub(super) fn external_ids(world: &World) -> [Vec<Vec<String>>; 2] {
    let row =
        |id: u128, external_id: &ExternalId| vec![shown_id(id), external_id.text().to_owned()];
    let mut accounts: Vec<_> = world.accounts.values().collect();
    accounts.sort_unstable_by_key(|stored| stored.account.timestamp);
    let accounts = accounts.into_iter().filter_map(|stored| {
        stored.external_id.as_ref().map(|external_id| row(stored.account.id.0, external_id))
    });
    let transactions = world.transactions.iter().filter_map(|stored| {
        let transaction = &stored.transaction;
        transaction.external_id.as_ref().map(|external_id| row(transaction.id.0, external_id))
    });
    let shown = [accounts.collect(), transactions.collect()];
    assert!(shown.iter().all(|rows: &Vec<_>| !rows.is_empty()), "that says nothing");
    shown
}

#[tokio::test]
async fn accounts_and_transactions_show_their_external_ids() {
    let directory = tempfile::tempdir().unwrap();
    let world = stored(3, directory.path()).await;
    let mut connection = raw(directory.path()).await;
    for (view, expected) in ["v_accounts", "v_transactions"].into_iter().zip(external_ids(&world)) {
        let from = format!("{view} WHERE external_id IS NOT NULL ORDER BY timestamp");
        assert_eq!(rows(&mut connection, &from, &["id", "external_id"]).await, expected, "{view}");
    }
}

/// The id of each transaction, how many legs it has, and how it stands, as API.md says it.
pub(super) fn shown_transactions(world: &World) -> Vec<Vec<String>> {
    let row = |stored: &StoredTransaction| {
        let Transaction { id, transfers, .. } = stored.transaction;
        let legs = world.transfers.iter().filter(|leg| leg.transfer.transaction_id == Some(id));
        let legs: Vec<TransferStatus> = legs.map(StoredTransfer::status).collect();
        let status = [TransferStatus::Pending, TransferStatus::Posted, TransferStatus::Expired]
            .into_iter()
            .find(|status| legs.contains(status))
            .unwrap_or(TransferStatus::Voided);
        vec![shown_id(id.0), transfers.to_string(), status.name().to_owned()]
    };
    let shown: Vec<Vec<String>> = world.transactions.iter().map(row).collect();
    for status in ["pending", "posted", "voided"] {
        assert!(shown.iter().any(|row| row[2] == status), "none is {status}");
    }
    shown
}

/// The flags as views show them.
pub(super) fn account_flag_names(flags: AccountFlags) -> String {
    let named = AccountFlags::NAMES.iter().filter(|(flag, _)| flags.contains(*flag));
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

pub(super) fn shown_id(id: u128) -> String {
    match u64::try_from(id) {
        Ok(small) => small.to_string(),
        Err(_) => Uuid::from_u128(id).to_string(),
    }
}

pub(super) fn scale_of(world: &World, ledger: LedgerId) -> Scale {
    world.ledgers.iter().find(|stored| stored.ledger.id == ledger).unwrap().ledger.scale
}

#[tokio::test]
async fn no_column_of_any_table_ever_holds_a_real() {
    let directory = tempfile::tempdir().unwrap();
    stored(1, directory.path()).await;
    let mut connection = raw(directory.path()).await;
    let begun = "INSERT INTO merges (run, first_run, last_run, done) VALUES (4, 1, 3, 0)";
    sqlx::query(begun).execute(&mut connection).await.unwrap();
    let tables = rows(
        &mut connection,
        "sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'",
        &["name"],
    )
    .await;
    assert!(tables.len() >= 14, "{tables:?}");
    for table in tables.iter().map(|row| &row[0]) {
        let columns =
            rows(&mut connection, &format!("pragma_table_info('{table}')"), &["name", "type"])
                .await;
        let filled = rows(&mut connection, table, &["count(*)"]).await;
        assert_ne!(filled[0][0], "0", "{table} has rows to look at");
        for column in columns {
            let (name, declared) = (&column[0], &column[1]);
            assert!(
                ["INTEGER", "TEXT", "BLOB", "ANY"].contains(&declared.as_str()),
                "{table}.{name} {declared}"
            );
            let kinds = rows(
                &mut connection,
                &format!("{table} GROUP BY 1"),
                &[&format!("typeof({name})")],
            )
            .await;
            assert!(!kinds.contains(&vec!["real".to_owned()]), "{table}.{name} {kinds:?}");
        }
    }
    let kinds = rows(&mut connection, "transfers GROUP BY 1 ORDER BY 1", &["typeof(id)"]).await;
    assert_eq!(
        kinds,
        [["blob"], ["integer"], ["text"]],
        "all three ways of keeping an id were met"
    );
}

#[tokio::test]
async fn stored_numbers_sort_as_the_numbers_do() {
    let directory = tempfile::tempdir().unwrap();
    stored(2, directory.path()).await;
    let mut connection = raw(directory.path()).await;
    let amounts =
        rows(&mut connection, "transfers GROUP BY amount ORDER BY amount", &["amount"]).await;
    let amounts: Vec<u128> = amounts.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(amounts, AMOUNTS);
    let ids = rows(
        &mut connection,
        "v_accounts a JOIN accounts USING (timestamp) ORDER BY accounts.id",
        &["a.id"],
    )
    .await;
    let small: Vec<String> = ids.into_iter().map(|mut row| row.remove(0)).collect();
    let mut expected = first_account_ids();
    expected.sort_unstable();
    assert_eq!(small, expected.into_iter().map(shown_id).collect::<Vec<_>>());
}

#[tokio::test]
async fn transfers_read_as_money_ids_and_times() {
    let directory = tempfile::tempdir().unwrap();
    let world = stored(3, directory.path()).await;
    let mut connection = raw(directory.path()).await;
    let shown = rows(
        &mut connection,
        "v_transfers ORDER BY timestamp",
        &[
            "id",
            "debit_account_id",
            "credit_account_id",
            "amount",
            "status",
            "transaction_id",
            "user_data_128",
            "user_data_64",
            "user_data_32",
            "flags",
            "code",
            "coalesce(metadata, 'none')",
            "coalesce(external_id, 'null')",
            "coalesce(reverses, 'null')",
            "coalesce(reversed_by, 'null')",
        ],
    )
    .await;
    let expected: Vec<Vec<String>> = world
        .transfers
        .iter()
        .map(|stored| {
            let transfer = &stored.transfer;
            vec![
                shown_id(transfer.id.0),
                shown_id(transfer.debit_account_id.0),
                shown_id(transfer.credit_account_id.0),
                transfer.amount.display(scale_of(&world, transfer.ledger)).to_string(),
                stored.status().name().to_owned(),
                id_or_null(transfer.transaction_id),
                shown_id(transfer.user_data_128),
                transfer.user_data_64.to_string(),
                transfer.user_data_32.to_string(),
                flag_names(transfer.flags),
                transfer.code.0.to_string(),
                transfer.metadata.as_ref().map_or("none".to_owned(), |text| text.text.to_string()),
                text_or_null(transfer.external_id.as_ref()),
                id_or_null(Some(transfer.reverses).filter(|id| id.0 != 0)),
                id_or_null(stored.reversed_by),
            ]
        })
        .collect();
    assert_eq!(shown, expected);
    for id in IDS {
        assert!(shown.iter().any(|row| row[0] == shown_id(id)), "{id}");
    }
    let largest: Vec<&str> = shown
        .iter()
        .map(|row| row[3].as_str())
        .filter(|amount| amount.replace('.', "") == "79228162514264337593543950335")
        .collect();
    for expected in [
        "792281625142643375935439503.35",
        "79228162514264337593543950335",
        "7.9228162514264337593543950335",
    ] {
        assert!(largest.contains(&expected), "{largest:?}");
    }
}

#[tokio::test]
async fn replaced_metadata_reads_as_before_and_after() {
    let directory = tempfile::tempdir().unwrap();
    let world = stored(3, directory.path()).await;
    let mut connection = raw(directory.path()).await;
    let columns = ["seq", "account_id", "before", "after"];
    let shown = rows(&mut connection, "v_replaced_metadata ORDER BY seq", &columns).await;
    let expected: Vec<Vec<String>> = world
        .replacements()
        .into_iter()
        .map(|(seq, id, [before, after])| vec![seq.0.to_string(), shown_id(id.0), before, after])
        .collect();
    assert_eq!(shown, expected);
    assert!(shown.len() > 5, "only {} were replaced", shown.len());
}

#[tokio::test]
async fn times_read_as_rfc_3339_to_the_nanosecond() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(4);
    world.clock = Timestamp(1_790_000_000_000_000_000);
    world.command();
    let transfer = world
        .records
        .iter_mut()
        .rev()
        .flat_map(|(_, record, _)| record.events.iter_mut())
        .find_map(|event| match event {
            Event::TransferPosted(posted) => Some(&mut posted.transfer),
            _ => None,
        });
    let transfer = transfer.unwrap();
    transfer.timestamp = Timestamp(1_795_234_567_000_000_009);
    transfer.effective_at = Some(Timestamp(i64::MAX as u64));
    transfer.id = TransferId(42);
    transfer.amount = amount(5);
    transfer.ledger = LedgerId(1);
    let transfer = transfer.clone();
    let (_, record, _) = world.records.last_mut().unwrap();
    record.events.retain(
        |event| matches!(event, Event::TransferPosted(posted) if posted.transfer == transfer),
    );
    assert_eq!(record.events.len(), 1);
    let store = open(directory.path()).await;
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    let mut connection = raw(directory.path()).await;
    let shown =
        rows(&mut connection, "v_transfers", &["id", "amount", "time", "effective_at"]).await;
    assert_eq!(
        shown,
        [["42", "0.05", "2026-11-21T04:16:07.000000009Z", "2262-04-11T23:47:16.854775807Z"]]
    );
}

#[tokio::test]
async fn accounts_read_as_money_with_balance_and_available() {
    let directory = tempfile::tempdir().unwrap();
    let (mut negative, mut compared) = (0, 0);
    for seed in 5..9 {
        let directory = directory.path().join(seed.to_string());
        std::fs::create_dir(&directory).unwrap();
        let world = stored(seed, &directory).await;
        let mut connection = raw(&directory).await;
        let shown = rows(
            &mut connection,
            "v_accounts ORDER BY timestamp",
            &[
                "id",
                "balance",
                "available",
                "debits_pending",
                "debits_posted",
                "credits_pending",
                "credits_posted",
                "overdraft_limit",
                "version",
                "flags",
            ],
        )
        .await;
        let mut accounts: Vec<_> = world.accounts.values().map(|stored| &stored.account).collect();
        accounts.sort_by_key(|account| account.timestamp);
        for (shown, account) in shown.iter().zip(&accounts) {
            let scale = scale_of(&world, account.ledger);
            let Balances { debits_pending, debits_posted, credits_pending, credits_posted } =
                account.balances;
            let balance = account.balances.balance(account.flags);
            let available = account.balances.available(account.flags, account.overdraft_limit);
            negative += usize::from(balance.minor_units() < 0);
            let expected = [
                shown_id(account.id.0),
                balance.display(scale).to_string(),
                available.display(scale).to_string(),
                debits_pending.display(scale).to_string(),
                debits_posted.display(scale).to_string(),
                credits_pending.display(scale).to_string(),
                credits_posted.display(scale).to_string(),
                account.overdraft_limit.display(scale).to_string(),
                account.version.to_string(),
                account_flag_names(account.flags),
            ];
            assert_eq!(*shown, expected, "{account:?}");
            compared += 1;
        }
        assert_eq!(shown.len(), accounts.len());
    }
    assert!(negative > 5 && compared == 88, "{negative} of {compared}");
}

#[tokio::test]
async fn ledgers_history_and_an_accounts_transfers_read_as_money() {
    let directory = tempfile::tempdir().unwrap();
    let world = stored(9, directory.path()).await;
    let mut connection = raw(directory.path()).await;
    let shown = rows(
        &mut connection,
        "v_ledgers ORDER BY timestamp",
        &["currency", "posted", "pending", "accounts"],
    )
    .await;
    let expected: Vec<_> = world
        .ledgers
        .iter()
        .map(|stored| {
            let scale = stored.ledger.scale;
            vec![
                stored.ledger.currency.clone(),
                MajorUnits::of_total(stored.totals.posted, scale).to_string(),
                MajorUnits::of_total(stored.totals.pending, scale).to_string(),
                stored.totals.accounts.to_string(),
            ]
        })
        .collect();
    assert_eq!(shown, expected);

    let shown = rows(
        &mut connection,
        "v_balance_history ORDER BY timestamp, seq, version, credits_posted",
        &["count(*) OVER ()", "version", "credits_posted"],
    )
    .await;
    assert_eq!(shown[0][0], world.history.len().to_string());
    let first = &world.history[0];
    let of_first = rows(
        &mut connection,
        &format!("v_balance_history WHERE seq = {} ORDER BY version", first.seq.0),
        &["version", "credits_posted"],
    )
    .await;
    let scale = scale_of(&world, world.accounts[&first.account].account.ledger);
    assert!(
        of_first.contains(&vec![
            "1".to_owned(),
            first.balances.credits_posted.display(scale).to_string()
        ])
    );

    let shown = rows(
        &mut connection,
        "v_account_transfers WHERE account = 1 ORDER BY timestamp",
        &["side", "id"],
    )
    .await;
    let expected: Vec<_> = world
        .transfers
        .iter()
        .filter_map(|stored| {
            let transfer = &stored.transfer;
            let side = match (transfer.debit_account_id.0, transfer.credit_account_id.0) {
                (1, _) => "debit",
                (_, 1) => "credit",
                _ => return None,
            };
            Some(vec![side.to_owned(), shown_id(transfer.id.0)])
        })
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(shown, expected);
    let columns = ["id", "transfers", "status"];
    let shown = rows(&mut connection, "v_transactions ORDER BY timestamp", &columns).await;
    assert_eq!(shown, shown_transactions(&world));
}

#[tokio::test]
async fn lookups_are_cut_into_runs_and_amounts_summed_up_by_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(10);
    let store = open(directory.path()).await;
    for _ in 0..80 {
        let at = store.checkpoint().await.unwrap().seq;
        world.command();
        store.apply(&world.batch(at, world.seq())).await.unwrap();
    }
    let mut connection = raw(directory.path()).await;
    let runs = rows(
        &mut connection,
        "runs r ORDER BY run",
        &["transfers", "(SELECT count(*) FROM decided_ids k WHERE k.run = r.run AND kind = 0)"],
    )
    .await;
    assert!(runs.len() > 5, "{runs:?}");
    let mut sum = 0;
    for (index, run) in runs.iter().enumerate() {
        let transfers: u64 = run[0].parse().unwrap();
        assert_eq!(run[0], run[1], "a run's rows are those that it counts");
        // A run ends with the batch that fills it; a batch here has at most 12 transfers.
        assert!(transfers < SMALL.run_transfers + 12, "{runs:?}");
        assert!(transfers >= SMALL.run_transfers || index + 1 == runs.len(), "{runs:?}");
        sum += transfers;
    }
    assert_eq!(sum, world.transfers.len() as u64);
    let blocks =
        rows(&mut connection, "amount_blocks", &["count(*)", "sum(transfers)", "max(transfers)"])
            .await;
    let count: u64 = blocks[0][0].parse().unwrap();
    let largest: u64 = blocks[0][2].parse().unwrap();
    assert_eq!(blocks[0][1], sum.to_string());
    assert!(
        count < sum / 5 && largest >= SMALL.block_transfers,
        "small batches share blocks: {blocks:?}"
    );
}

/// Opening must fail, and leave the file as it is.
async fn refused(directory: &Path, as_directory: Uuid) -> StoreError {
    let path = directory.join("store.sqlite");
    let before = std::fs::read(&path).unwrap();
    let Err(error) = Store::open(&path, as_directory).await else {
        panic!("opened");
    };
    assert_eq!(error.kind(), StoreErrorKind::Permanent, "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "the file is left as it is");
    error
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_one_sentence() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await);
    let mut connection = raw(directory.path()).await;
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'later', true, x'00', 0)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let error = refused(directory.path(), DIRECTORY).await;
    assert_eq!(
        error.to_string(),
        "the store has schema version 99, and this program knows versions up to 10: use the newer program"
    );
}

#[tokio::test]
async fn a_store_of_another_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.sync().await.unwrap();
    drop(store);
    let error = refused(directory.path(), Uuid::from_u128(2)).await;
    assert_eq!(
        error.to_string(),
        "the store belongs to the data directory 01900000-0000-7000-8000-000000000001, not to this one, 00000000-0000-0000-0000-000000000002"
    );
    open(directory.path()).await;
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = raw(directory.path()).await;
    sqlx::query("CREATE TABLE recipes (name TEXT)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert!(matches!(refused(directory.path(), DIRECTORY).await, StoreError::NoStore));

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("store.sqlite"), [7; 5000]).unwrap();
    assert!(matches!(refused(directory.path(), DIRECTORY).await, StoreError::Refused { .. }));
}

#[tokio::test]
async fn while_there_is_time_a_batch_rests() {
    let mut world = World::new(12);
    (0..3000).for_each(|_| world.command());
    let batch = world.batch(JournalSeq::NONE, world.seq());
    let took = async |share: f64| {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        let began = Instant::now();
        store.rest(share);
        store.apply(&batch).await.unwrap();
        began.elapsed()
    };
    // What else runs on the machine makes some of them late, so the soonest of each count.
    let (mut hurried, mut rested) = (Duration::MAX, Duration::MAX);
    for _ in 0..4 {
        hurried = hurried.min(took(0.0).await);
        rested = rested.min(took(1.0).await);
    }
    assert!(rested > hurried * 13 / 10, "{rested:?} with rests, {hurried:?} without");
}
