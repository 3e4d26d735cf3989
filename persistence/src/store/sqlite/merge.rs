//! Merging small runs into large ones, a little at a time, while the store has nothing else to do.
//!
//! A batch changes pages all over the lookups of the newest run, and all of them go to the disk twice: so a run should be small. A read asks one run
//! after another: so there should be few. The newest are small, then, and become large ones later, in steps of some milliseconds, each an SQL transaction:
//!
//! 1. The lookups are copied, each in its order, under a number that stands right behind the last run's. Nobody reads them, since that number is not in
//!    `runs`.
//! 2. In one transaction the new run takes the place of the others in `runs`.
//! 3. What the others had in the lookups is removed, one run after another.
//!
//! `merges` says which runs and how far, so that it goes on wherever it stood when the program ended. A batch meanwhile goes into the newest run,
//! which is never merged.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::apply::{Claim, Sizes, execute, fetch};
use super::columns::{Column, Reader, integer};
use super::snapshot::Sql;
use crate::store::columns::Columns;
use crate::store::error::StoreError;

const DOING: &str = "merging runs";
/// So many runs become one at most: a statement names each of them.
const RUNS_MAX: usize = 64;

/// A table that is sorted inside runs.
struct Lookup {
    table: &'static str,
    /// What it is sorted by, beside the run.
    key: &'static [&'static str],
    /// Its other columns, each with a comma before it.
    rest: &'static str,
}

const LOOKUPS: [Lookup; 8] = [
    Lookup { table: "decided_ids", key: &["id"], rest: ", kind, timestamp" },
    Lookup { table: "account_transfers", key: &["account_id", "timestamp"], rest: ", side" },
    Lookup { table: "transfers_by_user_data_128", key: &["user_data_128", "timestamp"], rest: "" },
    Lookup { table: "transfers_by_user_data_64", key: &["user_data_64", "timestamp"], rest: "" },
    Lookup { table: "transfers_by_user_data_32", key: &["user_data_32", "timestamp"], rest: "" },
    Lookup { table: "transfers_by_metadata", key: &["entry", "timestamp"], rest: "" },
    Lookup { table: "settlements", key: &["pending_id"], rest: ", kind, timestamp, seq" },
    Lookup {
        table: "balance_history",
        key: &["account_id", "timestamp"],
        rest: ", seq, flags, overdraft_limit, version, debits_pending, debits_posted, credits_pending, credits_posted",
    },
];

/// What is under way.
struct Merge {
    run: u32,
    first: u32,
    last: u32,
    done: usize,
}

/// One step; false when there is nothing to merge. The caller has begun the SQL transaction.
pub(super) async fn step(
    connection: &mut SqliteConnection,
    claim: &Claim,
) -> Result<bool, StoreError> {
    let held = Sql::new("SELECT rebuilding FROM checkpoint WHERE ledger_uuid = ? AND epoch = ?")
        .with(Column::Blob(claim.directory.as_bytes().to_vec()))
        .with(integer(claim.epoch, "epoch")?);
    let held = fetch(connection, DOING, held).await?;
    let held = held.first().ok_or(StoreError::NotClaimed)?;
    if Reader::new(held).u64("rebuilding")? != 0 {
        return Ok(false);
    }
    let under_way = Sql::new("SELECT run, first_run, last_run, done FROM merges");
    let Some(merge) =
        fetch(connection, DOING, under_way).await?.first().map(read_merge).transpose()?
    else {
        return begin(connection, claim.sizes).await;
    };
    if let Some(lookup) = LOOKUPS.get(merge.done) {
        return copy(connection, &merge, lookup, claim.sizes.merged_rows).await;
    }
    match LOOKUPS.get(merge.done - LOOKUPS.len()) {
        Some(lookup) => remove(connection, &merge, lookup).await,
        None => {
            execute(connection, DOING, Sql::new("DELETE FROM merges")).await?;
            Ok(true)
        }
    }
}

fn read_merge(row: &SqliteRow) -> Result<Merge, StoreError> {
    let mut columns = Reader::new(row);
    Ok(Merge {
        run: columns.u32("run")?,
        first: columns.u32("first_run")?,
        last: columns.u32("last_run")?,
        done: columns.u32("done")? as usize,
    })
}

/// Chooses what to merge, if there is enough.
async fn begin(connection: &mut SqliteConnection, sizes: Sizes) -> Result<bool, StoreError> {
    let mut runs = Vec::new();
    for row in
        fetch(connection, DOING, Sql::new("SELECT run, transfers FROM runs ORDER BY run")).await?
    {
        let mut columns = Reader::new(&row);
        runs.push((columns.u32("run")?, columns.u64("transfers")?));
    }
    let Some((first, last)) = choose(&runs, sizes.merged_transfers) else { return Ok(false) };
    let sql = Sql::new("INSERT INTO merges (run, first_run, last_run, done) VALUES (?, ?, ?, 0)")
        .with(last + 1)
        .with(first)
        .with(last);
    execute(connection, DOING, sql).await?;
    Ok(true)
}

/// The first and the last of the oldest small runs, one after another, that are a large one together. All runs are given, with how many transfers they have.
fn choose(runs: &[(u32, u64)], merged_transfers: u64) -> Option<(u32, u32)> {
    let mut first = None;
    let (mut count, mut sum) = (0, 0);
    // The newest is still written to.
    for pair in runs.windows(2) {
        let [(run, transfers), (next, _)] = *pair else { unreachable!("windows of two") };
        if transfers >= merged_transfers / 2 {
            (first, count, sum) = (None, 0, 0);
            continue;
        }
        let first = *first.get_or_insert(run);
        count += 1;
        sum += transfers;
        let is_enough = sum >= merged_transfers || count >= RUNS_MAX;
        if is_enough && count > 1 && next > run + 1 {
            return Some((first, run));
        }
    }
    None
}

/// Copies the next rows of one lookup, `rows_max` of each run at most.
async fn copy(
    connection: &mut SqliteConnection,
    merge: &Merge,
    lookup: &Lookup,
    rows_max: u64,
) -> Result<bool, StoreError> {
    let Lookup { table, key, rest } = lookup;
    let columns = key.join(", ");
    let mut last = Sql::new(&format!("SELECT {columns} FROM {table} WHERE run = ? ORDER BY "));
    last.push(&key.join(" DESC, ")).push(" DESC LIMIT 1").bind(merge.run);
    let last =
        fetch(connection, DOING, last).await?.first().map(|row| read_key(row, key)).transpose()?;
    let sources = Sql::new("SELECT run FROM runs WHERE run BETWEEN ? AND ?");
    let sources = sources.with(merge.first).with(merge.last);
    // Up to the first of the runs' rows that are so far ahead, none of them has more than these.
    let mut end = Sql::new("");
    for (index, source) in fetch(connection, DOING, sources).await?.iter().enumerate() {
        end.push(if index == 0 { "" } else { " UNION ALL " });
        end.push(&format!("SELECT * FROM (SELECT {columns} FROM {table} WHERE run = ?"));
        end.bind(Reader::new(source).u32("run")?);
        beyond(&mut end, &columns, ">", last.as_deref());
        end.push(&format!(" ORDER BY {columns} LIMIT 1 OFFSET ?)"));
        end.bind(rows_max.cast_signed());
    }
    end.push(" ORDER BY 1").push(if key.len() > 1 { ", 2" } else { "" }).push(" LIMIT 1");
    let end =
        fetch(connection, DOING, end).await?.first().map(|row| read_key(row, key)).transpose()?;
    let mut sql = Sql::new(&format!(
        "INSERT OR FAIL INTO {table} (run, {columns}{rest}) SELECT ?, {columns}{rest} FROM {table}
         WHERE run IN (SELECT run FROM runs WHERE run BETWEEN ? AND ?)"
    ));
    sql.bind(merge.run).bind(merge.first).bind(merge.last);
    beyond(&mut sql, &columns, ">", last.as_deref());
    beyond(&mut sql, &columns, "<", end.as_deref());
    sql.push(&format!(" ORDER BY {columns}"));
    execute(connection, DOING, sql).await?;
    if end.is_none() {
        end_stage(connection).await?;
        if merge.done + 1 == LOOKUPS.len() {
            replace(connection, merge).await?;
        }
    }
    Ok(true)
}

fn read_key(row: &SqliteRow, key: &[&'static str]) -> Result<Vec<Column>, StoreError> {
    let mut columns = Reader::new(row);
    key.iter().map(|what| columns.column(what)).collect()
}

/// Adds the condition that the key lies on one side of this one, if there is one.
fn beyond(sql: &mut Sql, columns: &str, side: &str, key: Option<&[Column]>) {
    let Some(key) = key else { return };
    let marks = vec!["?"; key.len()].join(", ");
    sql.push(&format!(" AND ({columns}) {side} ({marks})"));
    for column in key {
        sql.bind(column.clone());
    }
}

async fn end_stage(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    execute(connection, DOING, Sql::new("UPDATE merges SET done = done + 1")).await.map(drop)
}

/// Puts the new run in the place of the others.
async fn replace(connection: &mut SqliteConnection, merge: &Merge) -> Result<(), StoreError> {
    for text in [
        "INSERT INTO runs (run, first_timestamp, last_timestamp, transfers)
         SELECT ?1, min(first_timestamp), max(last_timestamp), sum(transfers) FROM runs WHERE run BETWEEN ?2 AND ?3",
        "DELETE FROM runs WHERE run < ?1 AND run BETWEEN ?2 AND ?3",
    ] {
        let sql = Sql::new(text).with(merge.run).with(merge.first).with(merge.last);
        execute(connection, DOING, sql).await?;
    }
    Ok(())
}

/// Removes what the first of the runs that has any has in one lookup.
async fn remove(
    connection: &mut SqliteConnection,
    merge: &Merge,
    lookup: &Lookup,
) -> Result<bool, StoreError> {
    let table = lookup.table;
    let sql = Sql::new(&format!(
        "DELETE FROM {table} WHERE run = (SELECT run FROM {table} WHERE run BETWEEN ? AND ? ORDER BY run LIMIT 1)"
    ));
    let sql = sql.with(merge.first).with(merge.last);
    if execute(connection, DOING, sql).await?.rows_affected() == 0 {
        end_stage(connection).await?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_runs_are_merged_once_they_are_a_large_one_together() {
        let at = |runs: &[(u32, u64)]| choose(runs, 100);
        assert_eq!(at(&[]), None);
        assert_eq!(at(&[(1, 40), (3, 40), (5, 19), (7, 40)]), None, "99 of 100");
        assert_eq!(at(&[(1, 40), (3, 40), (5, 20), (7, 0)]), Some((1, 5)));
        assert_eq!(at(&[(1, 40), (3, 40), (5, 40)]), None, "the newest is not one of them");
        let around_a_large_one = [(1, 40), (3, 100), (5, 49), (7, 49), (9, 2), (11, 1)];
        assert_eq!(at(&around_a_large_one), Some((5, 9)));
        assert_eq!(
            at(&[(1, 49), (2, 49), (3, 49), (4, 49), (6, 1)]),
            Some((1, 4)),
            "no number is free before"
        );
        let tiny: Vec<(u32, u64)> = (0..100).map(|index| (2 * index + 1, 0)).collect();
        assert_eq!(at(&tiny), Some((1, 2 * RUNS_MAX as u32 - 1)));
        assert_eq!(at(&[(1, 49), (3, 49), (5, 50), (7, 1), (9, 1)]), None, "half of one is large");
    }
}
