//! The SQL of reads.
//!
//! SQLite knows nothing of how many rows a filter leaves, so what leads a list is chosen before (`crate::store::lead`), and pinned here with CROSS JOIN
//! and INDEXED BY. Whatever leads, rows come out in the order of time without sorting, so that a page costs what its rows cost, not what the list would.

use florin_engine::{AccountId, Code, LedgerId};

use super::columns::{self, Column, Reader};
use super::snapshot::Sql;
use crate::store::Sizes;
use crate::store::columns::Columns as _;
use crate::store::decode::status_number;
use crate::store::entries::MetadataEquals;
use crate::store::error::StoreError;
use crate::store::filter::{AccountFilter, BalanceFilter, OfAccount, Side, TransferFilter};
use crate::store::lead::{AccountLead, Lead};
use crate::store::page::{Order, PageRequest};
use crate::store::rows::CodeTotals;
use crate::store::span::{Span, direction, limit};

pub(super) const TRANSFER_COLUMNS: &str =
    "t.timestamp, t.id, t.debit_account_id, t.credit_account_id, t.amount,
    t.ledger, t.code, t.flags, t.seq, t.user_data_128, t.user_data_64, t.user_data_32,
    t.effective_at, t.transaction_id, t.metadata, t.metadata_digest,
    t.amount_requested, t.pending_id, t.inherited, t.timeout, t.reverses,
    CASE WHEN t.flags & 2 THEN (
        SELECT s.kind FROM runs r CROSS JOIN settlements s ON s.run = r.run AND s.pending_id = t.id
        ORDER BY r.run DESC LIMIT 1) END,
    t.external_id,
    CASE WHEN NOT t.flags & 10 THEN (
        SELECT o.id FROM transfers o INDEXED BY transfers_by_reverses WHERE o.reverses = t.id) END";

pub(super) const TRANSACTION_COLUMNS: &str =
    "x.timestamp, x.id, x.transfers, x.first_timestamp, x.last_timestamp, x.seq,
    x.metadata, x.metadata_digest, x.external_id";

pub(super) const ACCOUNT_COLUMNS: &str =
    "a.timestamp, a.id, a.ledger, a.code, a.user_data_128, a.user_data_64,
    a.user_data_32, a.metadata, a.metadata_digest, a.seq, b.flags, b.overdraft_limit, b.version,
    b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted,
    (SELECT max(r.seq) FROM replaced_metadata r WHERE r.account_id = a.id), a.external_id";

pub(super) const BALANCE_COLUMNS: &str =
    "h.account_id, h.timestamp, h.seq, h.flags, h.overdraft_limit, h.version,
    h.debits_pending, h.debits_posted, h.credits_pending, h.credits_posted";

pub(super) const MOVEMENT_COLUMNS: &str =
    "t.timestamp, t.effective_at, t.seq, t.id, t.debit_account_id, t.credit_account_id, t.amount,
    t.code, t.flags";

pub(super) const LEDGER_COLUMNS: &str =
    "l.id, l.currency, l.scale, l.name, l.timestamp, l.seq, l.accounts, l.posted, l.pending";

/// How a transfer stands, as the tables keep it; 0 is open.
const STATUS: &str = "CASE WHEN t.flags & 8 THEN 2 WHEN NOT t.flags & 2 THEN 1 ELSE coalesce((
        SELECT s.kind FROM runs r CROSS JOIN settlements s ON s.run = r.run AND s.pending_id = t.id
        ORDER BY r.run DESC LIMIT 1), 0) END = ?";

/// What is read of what leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The transfers.
    Transfers,
    /// Only their times.
    Times,
}

/// What orders the rows of a lead by time, their time last.
fn order_of(lead: Lead) -> &'static [&'static str] {
    match lead {
        Lead::UserData128(_)
        | Lead::UserData64(_)
        | Lead::UserData32(_)
        | Lead::Entry(_)
        | Lead::Account(_) => &["r.run", "k.timestamp"],
        Lead::AmountBlocks { .. } => &["k.first_timestamp", "t.timestamp"],
        Lead::TwoPhase | Lead::Code(_) | Lead::Ledger(_) | Lead::Time => &["t.timestamp"],
    }
}

/// Adds FROM and WHERE of what leads.
fn push_from(sql: &mut Sql, lead: Lead, span: Span, wanted: Wanted) {
    let lookup = |sql: &mut Sql, table: &str, column: &str, value: Column| {
        sql.push(" FROM runs r CROSS JOIN ").push(table).push(" k ON k.run = r.run AND k.");
        sql.push(column).push(" = ? AND k.timestamp BETWEEN ? AND ?");
        sql.bind(value).bind(span.first).bind(span.last);
        if wanted == Wanted::Transfers {
            sql.push(" CROSS JOIN transfers t ON t.timestamp = k.timestamp");
        }
        sql.push(" WHERE r.last_timestamp >= ? AND r.first_timestamp <= ?");
        sql.bind(span.first).bind(span.last);
    };
    let indexed = |sql: &mut Sql, index: &str| {
        sql.push(" FROM transfers t ").push(index);
        sql.push(" WHERE t.timestamp BETWEEN ? AND ?").bind(span.first).bind(span.last);
    };
    match lead {
        Lead::UserData128(value) => {
            lookup(sql, "transfers_by_user_data_128", "user_data_128", columns::id(value));
        }
        Lead::UserData64(value) => {
            let value = columns::id(u128::from(value));
            lookup(sql, "transfers_by_user_data_64", "user_data_64", value);
        }
        Lead::UserData32(value) => {
            lookup(sql, "transfers_by_user_data_32", "user_data_32", Column::from(value));
        }
        Lead::Entry(entry) => lookup(sql, "transfers_by_metadata", "entry", Column::from(entry)),
        Lead::Account(OfAccount { id, .. }) => {
            lookup(sql, "account_transfers", "account_id", columns::id(id.0));
        }
        Lead::AmountBlocks { ledger, min, max } => {
            sql.push(" FROM amount_blocks k");
            if wanted == Wanted::Transfers {
                sql.push(
                    " CROSS JOIN transfers t INDEXED BY transfers_by_ledger
                      ON t.ledger = ? AND t.timestamp BETWEEN max(k.first_timestamp, ?) AND min(k.last_timestamp, ?)",
                );
                sql.bind(ledger.0).bind(span.first).bind(span.last);
            }
            sql.push(
                " WHERE k.ledger = ? AND k.max_amount >= ? AND k.min_amount <= ?
                    AND k.last_timestamp >= ? AND k.first_timestamp <= ?",
            );
            sql.bind(ledger.0).bind(columns::amount(min)).bind(columns::amount(max));
            sql.bind(span.first).bind(span.last);
        }
        Lead::TwoPhase => {
            indexed(sql, "INDEXED BY transfers_two_phase");
            sql.push(" AND t.flags & 10 <> 0");
        }
        Lead::Code(code) => {
            indexed(sql, "INDEXED BY transfers_by_code");
            sql.push(" AND t.code = ?").bind(code.0);
        }
        Lead::Ledger(ledger) => {
            indexed(sql, "INDEXED BY transfers_by_ledger");
            sql.push(" AND t.ledger = ?").bind(ledger.0);
        }
        Lead::Time => indexed(sql, "NOT INDEXED"),
    }
}

/// A page of transfers within `span`.
pub(super) fn transfers(
    filter: &TransferFilter,
    lead: Lead,
    page: &PageRequest,
    span: Span,
) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS);
    push_from(&mut sql, lead, span, Wanted::Transfers);
    let mut rest = filter.without(lead);
    // The lookup by account has both sides.
    rest.account = filter.account;
    transfer_conditions(&rest, &mut sql);
    order_and_limit(&mut sql, order_of(lead), page);
    sql
}

/// The time of the last row that is looked at for one page that `lead` leads; none when there are fewer.
pub(super) fn end_of_looking(lead: Lead, order: Order, span: Span, sizes: Sizes) -> Sql {
    let (time, ordered_by, rows): (_, &[_], _) = match (lead, order) {
        (Lead::AmountBlocks { .. }, _) => {
            let end = match order {
                Order::NewestFirst => "k.first_timestamp",
                Order::OldestFirst => "k.last_timestamp",
            };
            (end, &["k.first_timestamp"], sizes.look_max / sizes.block_transfers)
        }
        _ => (order_of(lead)[order_of(lead).len() - 1], order_of(lead), sizes.look_max),
    };
    let mut sql = Sql::new("SELECT ");
    sql.push(time);
    push_from(&mut sql, lead, span, Wanted::Times);
    push_order(&mut sql, ordered_by, order);
    sql.push(" LIMIT 1 OFFSET ?").bind(rows.cast_signed());
    sql
}

/// The rest of a filter but its time.
fn transfer_conditions(filter: &TransferFilter, sql: &mut Sql) {
    let TransferFilter {
        ledger,
        code,
        user_data_128,
        user_data_64,
        user_data_32,
        time: _,
        status,
        metadata,
        min_amount,
        max_amount,
        account,
        transaction,
    } = filter;
    let mut conditions: Vec<(&str, Column)> = Vec::new();
    conditions.extend(ledger.map(|ledger| ("t.ledger = ?", Column::from(ledger.0))));
    conditions.extend(code.map(|code| ("t.code = ?", Column::from(code.0))));
    conditions.extend(user_data_128.map(|value| ("t.user_data_128 = ?", columns::id(value))));
    conditions
        .extend(user_data_64.map(|value| ("t.user_data_64 = ?", columns::id(u128::from(value)))));
    conditions.extend(user_data_32.map(|value| ("t.user_data_32 = ?", Column::from(value))));
    conditions.extend(min_amount.map(|amount| ("t.amount >= ?", columns::amount(amount))));
    conditions.extend(max_amount.map(|amount| ("t.amount <= ?", columns::amount(amount))));
    conditions.extend(transaction.map(|id| ("t.transaction_id = ?", columns::id(id.0))));
    if let Some(OfAccount { id, side }) = account {
        match side {
            Side::Debit => conditions.push(("t.debit_account_id = ?", columns::id(id.0))),
            Side::Credit => conditions.push(("t.credit_account_id = ?", columns::id(id.0))),
            Side::Both => {
                sql.push(" AND (t.debit_account_id = ? OR t.credit_account_id = ?)");
                sql.bind(columns::id(id.0)).bind(columns::id(id.0));
            }
        }
    }
    conditions.extend(metadata.iter().map(|equals| {
        let in_its_run = "t.metadata IS NOT NULL AND (
            SELECT 1 FROM runs r CROSS JOIN transfers_by_metadata m
                ON m.run = r.run AND m.entry = ? AND m.timestamp = t.timestamp
            WHERE r.first_timestamp <= t.timestamp AND r.last_timestamp >= t.timestamp) IS NOT NULL";
        (in_its_run, Column::from(equals.entry()))
    }));
    conditions.extend(status.map(|status| (STATUS, Column::from(status_number(status)))));
    push_conditions(sql, conditions);
}

fn push_conditions(sql: &mut Sql, conditions: Vec<(&str, Column)>) {
    for (condition, value) in conditions {
        sql.push(" AND ").push(condition).bind(value);
    }
}

fn order_and_limit(sql: &mut Sql, ordered_by: &[&str], page: &PageRequest) {
    push_order(sql, ordered_by, page.order);
    sql.push(" LIMIT ?").bind(limit(page));
}

fn push_order(sql: &mut Sql, ordered_by: &[&str], order: Order) {
    let mut separator = " ORDER BY ";
    for column in ordered_by {
        sql.push(separator).push(column).push(direction(order));
        separator = ", ";
    }
}

/// Adds FROM and WHERE of what leads a list of accounts; gives what orders them by time.
fn from_accounts(
    sql: &mut Sql,
    lead: AccountLead,
    span: Span,
    join: &str,
) -> &'static [&'static str] {
    // The indexes on references leave zero out, and SQLite uses them only for a condition that says so in their words.
    let (from, condition, value) = match lead {
        AccountLead::UserData128(value) => (
            "accounts a INDEXED BY accounts_by_user_data_128",
            " AND a.user_data_128 <> 0 AND a.user_data_128 = ?",
            Some(columns::id(value)),
        ),
        AccountLead::UserData64(value) => (
            "accounts a INDEXED BY accounts_by_user_data_64",
            " AND a.user_data_64 <> 0 AND a.user_data_64 = ?",
            Some(columns::id(u128::from(value))),
        ),
        AccountLead::UserData32(value) => (
            "accounts a INDEXED BY accounts_by_user_data_32",
            " AND a.user_data_32 <> 0 AND a.user_data_32 = ?",
            Some(Column::from(value)),
        ),
        AccountLead::Entry(entry) => (
            "accounts_by_metadata k CROSS JOIN accounts a ON a.timestamp = k.timestamp",
            " AND k.entry = ?",
            Some(Column::from(entry)),
        ),
        AccountLead::Code(code) => (
            "accounts a INDEXED BY accounts_by_code",
            " AND a.code = ?",
            Some(Column::from(code.0)),
        ),
        AccountLead::Ledger(ledger) => (
            "accounts a INDEXED BY accounts_by_ledger",
            " AND a.ledger = ?",
            Some(Column::from(ledger.0)),
        ),
        AccountLead::Time => ("accounts a NOT INDEXED", "", None),
    };
    let time: &[_] = match lead {
        AccountLead::Entry(_) => &["k.timestamp"],
        _ => &["a.timestamp"],
    };
    sql.push(" FROM ").push(from).push(join);
    sql.push(" WHERE ").push(time[0]).push(" BETWEEN ? AND ?").bind(span.first).bind(span.last);
    sql.push(condition);
    if let Some(value) = value {
        sql.bind(value);
    }
    time
}

/// A page of accounts within `span`.
pub(super) fn accounts(
    filter: &AccountFilter,
    lead: AccountLead,
    page: &PageRequest,
    span: Span,
) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(ACCOUNT_COLUMNS);
    let balances = " CROSS JOIN balances b ON b.account_id = a.id";
    let order = from_accounts(&mut sql, lead, span, balances);
    let AccountFilter {
        ledger,
        code,
        user_data_128,
        user_data_64,
        user_data_32,
        time: _,
        metadata,
    } = filter.without(lead);
    let mut conditions: Vec<(&str, Column)> = Vec::new();
    conditions.extend(ledger.map(|ledger| ("a.ledger = ?", Column::from(ledger.0))));
    conditions.extend(code.map(|code| ("a.code = ?", Column::from(code.0))));
    conditions.extend(user_data_128.map(|value| ("a.user_data_128 = ?", columns::id(value))));
    conditions
        .extend(user_data_64.map(|value| ("a.user_data_64 = ?", columns::id(u128::from(value)))));
    conditions.extend(user_data_32.map(|value| ("a.user_data_32 = ?", Column::from(value))));
    let entry = |equals: &MetadataEquals| {
        let there = "(SELECT 1 FROM accounts_by_metadata m WHERE m.entry = ? AND m.timestamp = a.timestamp) IS NOT NULL";
        (there, Column::from(equals.entry()))
    };
    conditions.extend(metadata.iter().map(entry));
    push_conditions(&mut sql, conditions);
    order_and_limit(&mut sql, order, page);
    sql
}

/// The time of the last account that `lead` gives to be looked at for one page; none when there are fewer.
pub(super) fn end_of_looking_at_accounts(
    lead: AccountLead,
    order: Order,
    span: Span,
    sizes: Sizes,
) -> Sql {
    let mut sql = Sql::new("SELECT a.timestamp");
    let ordered_by = from_accounts(&mut sql, lead, span, "");
    push_order(&mut sql, ordered_by, order);
    sql.push(" LIMIT 1 OFFSET ?").bind(sizes.look_max.cast_signed());
    sql
}

/// The first so many transfers of an account within `span`.
pub(super) fn moves(account: AccountId, span: Span, order: Order, rows: usize) -> Sql {
    let lead = Lead::Account(OfAccount { id: account, side: Side::Both });
    let mut sql = Sql::new("SELECT ");
    sql.push(MOVEMENT_COLUMNS);
    push_from(&mut sql, lead, span, Wanted::Transfers);
    push_order(&mut sql, order_of(lead), order);
    sql.push(" LIMIT ?").bind(rows as i64);
    sql
}

/// The sums of a ledger's accounts by code, debit balances apart from the others. SQLite can not add what is beyond 2^63, so each amount is cut in three
/// numbers of ten digits, of which 2^29 and more can be added.
pub(super) fn totals_by_code(ledger: LedgerId) -> Sql {
    let mut sql = Sql::new("SELECT code, is_debit, count(*)");
    for amount in ["dp", "d", "cp", "c"] {
        for first in [1, 11, 21] {
            sql.push(&format!(", sum(CAST(substr({amount}, {first}, 10) AS INTEGER))"));
        }
    }
    sql.push(" FROM (SELECT a.code, b.debits_posted > b.credits_posted AS is_debit");
    for (column, name) in [
        ("debits_pending", "dp"),
        ("debits_posted", "d"),
        ("credits_pending", "cp"),
        ("credits_posted", "c"),
    ] {
        sql.push(&format!(
            ", substr('000000000000000000000000000000' || b.{column}, -30) AS {name}"
        ));
    }
    sql.push(
        " FROM accounts a INDEXED BY accounts_by_ledger CROSS JOIN balances b ON b.account_id = a.id
          WHERE a.ledger = ?) GROUP BY code, is_debit ORDER BY code, is_debit",
    );
    sql.bind(ledger.0);
    sql
}

/// A row of [`totals_by_code`].
pub(super) fn code_totals(mut columns: Reader<'_>) -> Result<CodeTotals, StoreError> {
    let code = Code(columns.u16("code")?);
    let side = if columns.u64("side")? == 0 { Side::Credit } else { Side::Debit };
    let accounts = columns.u64("accounts")?;
    let mut sum = || -> Result<u128, StoreError> {
        let mut sum = 0_u128;
        for _ in 0..3 {
            let digits = u128::from(columns.u64("a sum")?);
            let next = sum.checked_mul(10_000_000_000).and_then(|sum| sum.checked_add(digits));
            sum = next.ok_or(StoreError::Unreadable { what: "a sum" })?;
        }
        Ok(sum)
    };
    Ok(CodeTotals {
        code,
        side,
        accounts,
        debits_pending: sum()?,
        debits_posted: sum()?,
        credits_pending: sum()?,
        credits_posted: sum()?,
    })
}

/// A page of the history of an account within `span`.
pub(super) fn balances(
    account: AccountId,
    filter: &BalanceFilter,
    page: &PageRequest,
    span: Span,
) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(BALANCE_COLUMNS).push(
        " FROM runs r CROSS JOIN balance_history h
            ON h.run = r.run AND h.account_id = ? AND h.timestamp BETWEEN ? AND ?",
    );
    sql.bind(columns::id(account.0)).bind(span.first).bind(span.last);
    match filter.at {
        None => order_and_limit(&mut sql, &["r.run", "h.timestamp"], page),
        // The newest that is not later is the only one, whatever the order.
        Some(_) => {
            sql.push(" ORDER BY r.run DESC, h.timestamp DESC LIMIT 1");
        }
    }
    sql
}

/// A page of ledgers within `span`: few, so that sorting them costs nothing.
pub(super) fn ledgers(page: &PageRequest, span: Span) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(LEDGER_COLUMNS).push(" FROM ledgers l WHERE l.timestamp BETWEEN ? AND ?");
    sql.bind(span.first).bind(span.last);
    order_and_limit(&mut sql, &["l.timestamp"], page);
    sql
}

/// What an id in the space of transfers and transactions names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Transfer = 0,
    Transaction = 1,
}

/// The timestamp under which an id was decided, looked for in the newest run first.
pub(super) fn decided_id(id: u128, kind: Kind) -> Sql {
    Sql::new(
        "SELECT k.timestamp FROM runs r CROSS JOIN decided_ids k ON k.run = r.run AND k.id = ? AND k.kind = ?
         ORDER BY r.run DESC LIMIT 1",
    )
    .with(columns::id(id))
    .with(kind as i64)
}

fn push_ids(sql: &mut Sql, ids: &[Column]) {
    let mut before = "?";
    for id in ids {
        sql.push(before).bind(id.clone());
        before = ",?";
    }
}

/// The accounts with these ids.
pub(super) fn accounts_by_id(ids: &[Column]) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(ACCOUNT_COLUMNS);
    sql.push(
        " FROM accounts a INDEXED BY accounts_by_id CROSS JOIN balances b ON b.account_id = a.id",
    );
    sql.push(" WHERE a.id IN (");
    push_ids(&mut sql, ids);
    sql.push(")");
    sql
}

/// The transfers with these ids.
pub(super) fn transfers_by_id(ids: &[Column]) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS);
    sql.push(" FROM runs r CROSS JOIN decided_ids k ON k.run = r.run AND k.kind = 0 AND k.id IN (");
    push_ids(&mut sql, ids);
    sql.push(") CROSS JOIN transfers t ON t.timestamp = k.timestamp");
    sql
}

/// The one transfer of a timestamp.
pub(super) fn transfer_at(timestamp: i64) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS).push(" FROM transfers t WHERE t.timestamp = ?").bind(timestamp);
    sql
}

/// The one transaction of a timestamp.
pub(super) fn transaction_at(timestamp: i64) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSACTION_COLUMNS).push(" FROM transactions x WHERE x.timestamp = ?");
    sql.with(timestamp)
}

/// All legs of a transaction, in their order.
pub(super) fn legs(id: u128, count: u32, span: Span) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS);
    sql.push(" FROM transfers t WHERE t.timestamp BETWEEN ? AND ? AND t.transaction_id = ?");
    sql.push(" ORDER BY t.timestamp LIMIT ?");
    sql.bind(span.first).bind(span.last).bind(columns::id(id)).bind(count);
    sql
}
