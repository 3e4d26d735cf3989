//! The schema as a person with psql meets it: money read as money, ids and times as the API shows them, everything explained.

use florin_engine::{Balances, Event, JournalSeq, LedgerId, MajorUnits, Timestamp, TransferId};
use florin_tests::postgres::Postgres as Server;

use super::sqlite_file::{
    account_flag_names, external_ids, id_or_null, scale_of, shown_id, shown_transactions,
    text_or_null,
};
use super::world::{AMOUNTS, IDS, World, amount, first_account_ids, flag_names};
use super::{Kind, Place};

struct Psql {
    server: &'static Server,
    database: String,
}

impl Psql {
    /// The rows of a query, each column as its text.
    fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let shown = self.server.psql(&self.database, sql);
        shown.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }
}

async fn stored(seed: u64) -> (World, Psql) {
    let mut world = World::new(seed);
    for _ in 0..80 {
        world.command();
    }
    let psql = store(&world).await;
    (world, psql)
}

async fn store(world: &World) -> Psql {
    let place = Kind::Postgres.place();
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    match place {
        Place::Server { server, database } => Psql { server, database },
        Place::File(_) => unreachable!("it was asked for in a server"),
    }
}

#[tokio::test]
async fn transfers_read_as_money_ids_and_times() {
    let (world, psql) = stored(3).await;
    let shown = psql.rows(
        "SELECT id, debit_account_id, credit_account_id, amount, status, coalesce(transaction_id, 'null'),
            user_data_128, user_data_64, user_data_32, flags, code, coalesce(metadata->>'nr', 'none'),
            coalesce(external_id, 'null'), coalesce(reverses, 'null'), coalesce(reversed_by, 'null')
         FROM florin.v_transfers ORDER BY timestamp",
    );
    let expected: Vec<Vec<String>> = world
        .transfers
        .iter()
        .map(|stored| {
            let transfer = &stored.transfer;
            let number = |text: &str| {
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                value["nr"].as_str().map_or_else(|| value["nr"].to_string(), str::to_owned)
            };
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
                transfer.metadata.as_ref().map_or("none".to_owned(), |text| number(&text.text)),
                text_or_null(transfer.external_id.as_ref()),
                id_or_null(Some(transfer.reverses).filter(|id| id.0 != 0)),
                id_or_null(stored.reversed_by),
            ]
        })
        .collect();
    assert_eq!(shown, expected);
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
    let amounts = psql.rows("SELECT DISTINCT amount FROM florin.transfers ORDER BY amount");
    let amounts: Vec<u128> = amounts.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(amounts, AMOUNTS);
}

#[tokio::test]
async fn accounts_and_transactions_show_their_external_ids() {
    let (world, psql) = stored(3).await;
    for (view, expected) in ["v_accounts", "v_transactions"].into_iter().zip(external_ids(&world)) {
        let shown = psql.rows(&format!(
            "SELECT id, external_id FROM florin.{view} WHERE external_id IS NOT NULL ORDER BY timestamp"
        ));
        assert_eq!(shown, expected, "{view}");
    }
}

#[tokio::test]
async fn ids_are_shown_as_the_api_does_and_read_back() {
    let (_, psql) = stored(2).await;
    for id in IDS.into_iter().chain([0, u128::MAX]) {
        let shown = shown_id(id);
        let sql = format!("SELECT florin.show_id('{:032x}'), florin.id('{shown}')", id);
        let uuid = uuid::Uuid::from_u128(id).to_string();
        assert_eq!(psql.rows(&sql), [[shown, uuid]]);
    }
    let order = psql.rows("SELECT v.id FROM florin.v_accounts v JOIN florin.accounts a USING (timestamp) ORDER BY a.id");
    let mut expected = first_account_ids();
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|id| vec![shown_id(id)]).collect();
    assert_eq!(order, expected, "they sort as the numbers do");
}

#[tokio::test]
async fn replaced_metadata_reads_as_before_and_after() {
    let (world, psql) = stored(3).await;
    let shown = psql.rows(
        "SELECT seq, account_id, coalesce(before, 'null'), coalesce(after, 'null')
         FROM florin.v_replaced_metadata ORDER BY seq",
    );
    let expected: Vec<Vec<String>> = world
        .replacements()
        .into_iter()
        .map(|(seq, id, [before, after])| vec![seq.0.to_string(), shown_id(id.0), before, after])
        .collect();
    assert_eq!(shown, expected);
    assert!(shown.len() > 5, "only {} were replaced", shown.len());
}

#[tokio::test]
async fn times_read_to_the_nanosecond() {
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
    let psql = store(&world).await;
    let shown = psql.rows("SET TimeZone = 'UTC'; SELECT id, amount, time_text, time, effective_at FROM florin.v_transfers");
    assert_eq!(
        shown,
        [[
            "42",
            "0.05",
            "2026-11-21T04:16:07.000000009Z",
            "2026-11-21 04:16:07+00",
            "2262-04-11T23:47:16.854775807Z"
        ]]
    );
    let converted = psql.rows(
        "SET TimeZone = 'UTC';
         SELECT florin.nanoseconds('2026-11-21 04:16:07.000001Z'), florin.to_time(9223372036854775807),
            florin.show_time(0), florin.to_time(1795234567123456789)",
    );
    assert_eq!(
        converted,
        [[
            "1795234567000001000",
            "2262-04-11 23:47:16.854775+00",
            "1970-01-01T00:00:00.000000000Z",
            "2026-11-21 04:16:07.123456+00"
        ]]
    );
}

#[tokio::test]
async fn accounts_read_as_money_with_balance_and_available() {
    let (mut negative, mut compared) = (0, 0);
    for seed in 5..9 {
        let (world, psql) = stored(seed).await;
        let shown = psql.rows(
            "SELECT id, balance, available, debits_pending, debits_posted, credits_pending, credits_posted,
                overdraft_limit, version, flags
             FROM florin.v_accounts ORDER BY timestamp",
        );
        let mut accounts: Vec<_> = world.accounts.values().map(|stored| &stored.account).collect();
        accounts.sort_by_key(|account| account.timestamp);
        assert_eq!(shown.len(), accounts.len());
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
    }
    assert!(negative > 5 && compared == 88, "{negative} of {compared}");
}

#[tokio::test]
async fn ledgers_history_and_an_accounts_transfers_read_as_money() {
    let (world, psql) = stored(9).await;
    let shown = psql.rows(
        "SELECT currency, posted, pending, accounts FROM florin.v_ledgers ORDER BY timestamp",
    );
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

    let shown = psql.rows(
        "SELECT account_id, version, credits_posted, seq FROM florin.v_balance_history ORDER BY account, timestamp",
    );
    let mut history: Vec<_> = world.history.iter().collect();
    history.sort_by_key(|balance| (balance.account, balance.timestamp));
    let expected: Vec<_> = history
        .iter()
        .map(|balance| {
            let scale = scale_of(&world, world.accounts[&balance.account].account.ledger);
            vec![
                shown_id(balance.account.0),
                balance.version.to_string(),
                balance.balances.credits_posted.display(scale).to_string(),
                balance.seq.0.to_string(),
            ]
        })
        .collect();
    assert_eq!(shown, expected);

    for account in [1, IDS[6]] {
        let shown = psql.rows(&format!(
            "SELECT side, id FROM florin.v_account_transfers WHERE account = florin.id('{}') ORDER BY timestamp",
            shown_id(account)
        ));
        let expected: Vec<_> = world
            .transfers
            .iter()
            .filter_map(|stored| {
                let transfer = &stored.transfer;
                let side = if transfer.debit_account_id.0 == account {
                    "debit"
                } else if transfer.credit_account_id.0 == account {
                    "credit"
                } else {
                    return None;
                };
                Some(vec![side.to_owned(), shown_id(transfer.id.0)])
            })
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(shown, expected);
    }
    let shown =
        psql.rows("SELECT id, transfers, status FROM florin.v_transactions ORDER BY timestamp");
    assert_eq!(shown, shown_transactions(&world));
}

#[tokio::test]
async fn everything_is_explained_and_no_number_is_a_float() {
    let (_, psql) = stored(1).await;
    let unexplained = psql.rows(
        "SELECT c.relname, a.attname FROM pg_class c
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind = 'r'
         WHERE c.relnamespace = 'florin'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname <> '_sqlx_migrations'
            AND (obj_description(c.oid, 'pg_class') IS NULL
                OR a.attnum IS NOT NULL AND col_description(c.oid, a.attnum) IS NULL)
         UNION ALL
         SELECT proname, '' FROM pg_proc p
         WHERE pronamespace = 'florin'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL",
    );
    assert_eq!(unexplained, Vec::<Vec<String>>::new());
    let floats = psql.rows(
        "SELECT table_name, column_name FROM information_schema.columns
         WHERE table_schema = 'florin' AND table_name <> '_sqlx_migrations' AND data_type IN ('real', 'double precision')",
    );
    assert_eq!(floats, Vec::<Vec<String>>::new());
    let runs = psql.rows(
        "SELECT r.transfers, (SELECT count(*) FROM florin.transfers t WHERE t.run = r.run) FROM florin.runs r",
    );
    assert!(
        runs.iter().all(|run| run[0] == run[1]),
        "a run's rows are those that it counts: {runs:?}"
    );
}
