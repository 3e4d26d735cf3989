//! The SQL of reads.
//!
//! SQLite knows nothing of how many rows a filter leaves, so each list chooses here what leads it (the lookup that leaves fewest
//! by its nature) and pins it with CROSS JOIN and INDEXED BY. Whatever leads, rows come out in the order of time without sorting,
//! so that a page costs what its rows cost, not what the list would.

use florin_engine::{AccountId, Amount, LedgerId};

use super::columns::{self, Column};
use super::snapshot::Sql;
use crate::store::filter::{AccountFilter, BalanceFilter, OfAccount, Side, TransferFilter};
use crate::store::page::PageRequest;
use crate::store::span::{Span, direction, limit};

pub(super) const TRANSFER_COLUMNS: &str =
    "t.timestamp, t.id, t.debit_account_id, t.credit_account_id, t.amount,
    t.ledger, t.code, t.flags, t.seq, t.user_data_128, t.user_data_64, t.user_data_32,
    t.effective_at, t.transaction_id, t.metadata, t.metadata_digest,
    t.amount_requested, t.pending_id, t.inherited, t.timeout, t.reverses,
    CASE WHEN t.flags & 2 THEN (
        SELECT s.kind FROM runs r CROSS JOIN settlements s ON s.run = r.run AND s.pending_id = t.id
        ORDER BY r.run DESC LIMIT 1) END";

pub(super) const ACCOUNT_COLUMNS: &str =
    "a.timestamp, a.id, a.ledger, a.code, a.user_data_128, a.user_data_64,
    a.user_data_32, a.metadata, a.metadata_digest, a.seq, b.flags, b.overdraft_limit, b.version,
    b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted,
    (SELECT max(r.seq) FROM replaced_metadata r WHERE r.account_id = a.id)";

pub(super) const BALANCE_COLUMNS: &str =
    "h.account_id, h.timestamp, h.seq, h.flags, h.overdraft_limit, h.version,
    h.debits_pending, h.debits_posted, h.credits_pending, h.credits_posted";

pub(super) const LEDGER_COLUMNS: &str =
    "l.id, l.currency, l.scale, l.name, l.timestamp, l.seq, l.accounts, l.posted, l.pending";

/// What leads a list of transfers.
enum Lead {
    /// A lookup by run.
    Lookup { table: &'static str, column: &'static str, value: Column },
    /// The blocks of a ledger in which the amount can be.
    AmountBlocks { ledger: LedgerId, min: Amount, max: Amount },
    /// An index that keeps the order of time, or none.
    Index(&'static str),
}

fn lead(filter: &TransferFilter) -> Lead {
    let not_zero = |value: u128| value != 0;
    if filter.transaction.is_some() {
        // Its legs stand together: the caller has narrowed the span to them.
        Lead::Index("NOT INDEXED")
    } else if let Some(value) = filter.user_data_128.filter(|value| not_zero(*value)) {
        Lead::Lookup {
            table: "transfers_by_user_data_128",
            column: "user_data_128",
            value: columns::id(value),
        }
    } else if let Some(value) = filter.user_data_64.filter(|value| not_zero(u128::from(*value))) {
        Lead::Lookup {
            table: "transfers_by_user_data_64",
            column: "user_data_64",
            value: columns::id(u128::from(value)),
        }
    } else if let Some(OfAccount { id, .. }) = filter.account {
        Lead::Lookup { table: "account_transfers", column: "account_id", value: columns::id(id.0) }
    } else if let Some(value) = filter.user_data_32.filter(|value| not_zero(u128::from(*value))) {
        Lead::Lookup {
            table: "transfers_by_user_data_32",
            column: "user_data_32",
            value: Column::from(value),
        }
    } else if let (Some(ledger), true) =
        (filter.ledger, filter.min_amount.is_some() || filter.max_amount.is_some())
    {
        Lead::AmountBlocks {
            ledger,
            min: filter.min_amount.unwrap_or(Amount::ZERO),
            max: filter.max_amount.unwrap_or(Amount::MAX),
        }
    } else if filter.code.is_some() {
        Lead::Index("INDEXED BY transfers_by_code")
    } else if filter.ledger.is_some() {
        Lead::Index("INDEXED BY transfers_by_ledger")
    } else {
        Lead::Index("NOT INDEXED")
    }
}

/// A page of transfers within `span`.
pub(super) fn transfers(filter: &TransferFilter, page: &PageRequest, span: Span) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS);
    let ordered_by: &[&str] = match lead(filter) {
        Lead::Lookup { table, column, value } => {
            sql.push(" FROM runs r CROSS JOIN ").push(table).push(" k ON k.run = r.run AND k.");
            sql.push(column).push(" = ? AND k.timestamp BETWEEN ? AND ?");
            sql.bind(value).bind(span.first).bind(span.last);
            sql.push(" CROSS JOIN transfers t ON t.timestamp = k.timestamp");
            sql.push(" WHERE r.last_timestamp >= ? AND r.first_timestamp <= ?");
            sql.bind(span.first).bind(span.last);
            &["r.run", "k.timestamp"]
        }
        Lead::AmountBlocks { ledger, min, max } => {
            sql.push(
                " FROM amount_blocks k CROSS JOIN transfers t INDEXED BY transfers_by_ledger
                    ON t.ledger = ? AND t.timestamp BETWEEN max(k.first_timestamp, ?) AND min(k.last_timestamp, ?)
                  WHERE k.ledger = ? AND k.max_amount >= ? AND k.min_amount <= ?
                    AND k.last_timestamp >= ? AND k.first_timestamp <= ?",
            );
            sql.bind(ledger.0).bind(span.first).bind(span.last).bind(ledger.0);
            sql.bind(columns::amount(min)).bind(columns::amount(max));
            sql.bind(span.first).bind(span.last);
            &["k.first_timestamp", "t.timestamp"]
        }
        Lead::Index(index) => {
            sql.push(" FROM transfers t ").push(index);
            sql.push(" WHERE t.timestamp BETWEEN ? AND ?").bind(span.first).bind(span.last);
            &["t.timestamp"]
        }
    };
    transfer_conditions(filter, &mut sql);
    order_and_limit(&mut sql, ordered_by, page);
    sql
}

/// All of the filter but its time, also what the lead looked up: checking a row twice costs less than the cases not to.
fn transfer_conditions(filter: &TransferFilter, sql: &mut Sql) {
    let TransferFilter {
        ledger,
        code,
        user_data_128,
        user_data_64,
        user_data_32,
        time: _,
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
    push_conditions(sql, conditions);
}

fn push_conditions(sql: &mut Sql, conditions: Vec<(&str, Column)>) {
    for (condition, value) in conditions {
        sql.push(" AND ").push(condition).bind(value);
    }
}

fn order_and_limit(sql: &mut Sql, ordered_by: &[&str], page: &PageRequest) {
    let mut separator = " ORDER BY ";
    for column in ordered_by {
        sql.push(separator).push(column).push(direction(page.order));
        separator = ", ";
    }
    sql.push(" LIMIT ?").bind(limit(page));
}

/// A page of accounts within `span`.
pub(super) fn accounts(filter: &AccountFilter, page: &PageRequest, span: Span) -> Sql {
    let AccountFilter { ledger, code, user_data_128, user_data_64, user_data_32 } = filter;
    let index = if user_data_128.is_some_and(|value| value != 0) {
        "INDEXED BY accounts_by_user_data_128"
    } else if user_data_64.is_some_and(|value| value != 0) {
        "INDEXED BY accounts_by_user_data_64"
    } else if user_data_32.is_some_and(|value| value != 0) {
        "INDEXED BY accounts_by_user_data_32"
    } else if code.is_some() {
        "INDEXED BY accounts_by_code"
    } else if ledger.is_some() {
        "INDEXED BY accounts_by_ledger"
    } else {
        "NOT INDEXED"
    };
    let mut sql = Sql::new("SELECT ");
    sql.push(ACCOUNT_COLUMNS).push(" FROM accounts a ").push(index);
    sql.push(" CROSS JOIN balances b ON b.account_id = a.id WHERE a.timestamp BETWEEN ? AND ?");
    sql.bind(span.first).bind(span.last);
    let mut conditions: Vec<(&str, Column)> = Vec::new();
    conditions.extend(ledger.map(|ledger| ("a.ledger = ?", Column::from(ledger.0))));
    conditions.extend(code.map(|code| ("a.code = ?", Column::from(code.0))));
    // The indexes on references leave zero out, and SQLite uses them only for a condition that says so in their words.
    conditions.extend(user_data_128.map(|value| {
        (
            reference("a.user_data_128 = ? AND a.user_data_128 <> 0", "a.user_data_128 = ?", value),
            columns::id(value),
        )
    }));
    conditions.extend(user_data_64.map(u128::from).map(|value| {
        (
            reference("a.user_data_64 = ? AND a.user_data_64 <> 0", "a.user_data_64 = ?", value),
            columns::id(value),
        )
    }));
    conditions.extend(user_data_32.map(|value| {
        (
            reference(
                "a.user_data_32 = ? AND a.user_data_32 <> 0",
                "a.user_data_32 = ?",
                u128::from(value),
            ),
            Column::from(value),
        )
    }));
    push_conditions(&mut sql, conditions);
    order_and_limit(&mut sql, &["a.timestamp"], page);
    sql
}

fn reference(not_zero: &'static str, zero: &'static str, value: u128) -> &'static str {
    if value == 0 { zero } else { not_zero }
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

/// The one transfer of a timestamp.
pub(super) fn transfer_at(timestamp: i64) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS).push(" FROM transfers t WHERE t.timestamp = ?").bind(timestamp);
    sql
}

/// All legs of a transaction, in their order.
pub(super) fn legs(id: u128, count: u32, first: u64, last: u64) -> Sql {
    let span = Span::ALL.within(first, last);
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS);
    sql.push(" FROM transfers t WHERE t.timestamp BETWEEN ? AND ? AND t.transaction_id = ?");
    sql.push(" ORDER BY t.timestamp LIMIT ?");
    sql.bind(span.first).bind(span.last).bind(columns::id(id)).bind(count);
    sql
}
