//! The SQL of reads.
//!
//! Each list follows an index in the order of time and stops when its page is full. Lists by an id or a reference ask the runs
//! one after another, newest or oldest first, each for no more than a page; only what one run gave is sorted.
//!
//! Which index that is, is chosen here: the one that leaves fewest rows by its nature. PostgreSQL would choose by statistics,
//! which know how often a value occurs but not when: for a ledger that was busy last year it would read everything newer first.
//! So a list compares and orders whole index keys, `(ledger, timestamp) <= ($1, $2)`, in which no other index agrees.

use florin_engine::{AccountId, Amount, LedgerId};

use super::binary::Value;
use super::snapshot::Sql;
use crate::store::filter::{AccountFilter, BalanceFilter, OfAccount, Side, TransferFilter};
use crate::store::page::PageRequest;
use crate::store::span::{Span, direction, limit};

pub(super) const TRANSFER_COLUMNS: &str =
    "t.timestamp, t.id, t.debit_account_id, t.credit_account_id, t.amount,
    t.ledger, t.code, t.flags, t.seq, t.user_data_128, t.user_data_64, t.user_data_32,
    t.effective_at, t.transaction_id, t.metadata_text, t.metadata_digest,
    t.amount_requested, t.pending_id, t.inherited, t.timeout, t.reverses,
    CASE WHEN t.flags & 2 <> 0 THEN (
        SELECT s.kind FROM runs r CROSS JOIN LATERAL (
            SELECT kind FROM settlements WHERE run = r.run AND pending_id = t.id LIMIT 1) s
        ORDER BY r.run DESC LIMIT 1) END";

pub(super) const ACCOUNT_COLUMNS: &str =
    "a.timestamp, a.id, a.ledger, a.code, a.user_data_128, a.user_data_64,
    a.user_data_32, a.metadata_text, a.metadata_digest, a.seq, b.flags, b.overdraft_limit, b.version,
    b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted,
    (SELECT max(r.seq) FROM replaced_metadata r WHERE r.account_id = a.id)";

pub(super) const BALANCE_COLUMNS: &str =
    "h.account_id, h.timestamp, h.seq, h.flags, h.overdraft_limit, h.version,
    h.debits_pending, h.debits_posted, h.credits_pending, h.credits_posted";

/// The name comes as bytes: a text can not hold all that a name can.
pub(super) const LEDGER_COLUMNS: &str =
    "l.id, l.currency, l.scale, coalesce(l.name_exact, convert_to(l.name, 'UTF8')),
    l.timestamp, l.seq, l.accounts, l.posted, l.pending";

/// What leads a list of transfers.
enum Lead {
    /// Indexes that begin with the run, then have these columns with this value.
    Run { columns: &'static [&'static str], value: Value },
    /// The blocks of a ledger in which the amount can be.
    AmountBlocks { ledger: LedgerId, min: Amount, max: Amount },
    /// An index of this column with this value, then the time.
    Column { column: &'static str, value: Value },
    /// The order of time.
    Time,
}

/// What leads, and the conditions that are left: with a condition of its own beside the range, the leading column would be a
/// constant to the planner, and any index of the time in the right order.
fn lead(filter: &TransferFilter) -> (Lead, TransferFilter) {
    let mut rest = filter.clone();
    if filter.transaction.is_some() {
        // Its legs stand together: the caller has narrowed the span to them.
        return (Lead::Time, rest);
    }
    let lead = if let Some(value) = rest.user_data_128.take_if(|value| *value != 0) {
        Lead::Run { columns: &["user_data_128"], value: Value::id(value) }
    } else if let Some(value) = rest.user_data_64.take_if(|value| *value != 0) {
        Lead::Run { columns: &["user_data_64"], value: Value::numeric(value.into()) }
    } else if let Some(OfAccount { id, side }) = rest.account.take() {
        let columns: &[_] = match side {
            Side::Debit => &["debit_account_id"],
            Side::Credit => &["credit_account_id"],
            Side::Both => &["debit_account_id", "credit_account_id"],
        };
        Lead::Run { columns, value: Value::id(id.0) }
    } else if let Some(value) = rest.user_data_32.take_if(|value| *value != 0) {
        Lead::Run { columns: &["user_data_32"], value: Value::from(value) }
    } else if let (Some(ledger), true) =
        (rest.ledger, rest.min_amount.is_some() || rest.max_amount.is_some())
    {
        rest.ledger = None;
        Lead::AmountBlocks {
            ledger,
            min: filter.min_amount.unwrap_or(Amount::ZERO),
            max: filter.max_amount.unwrap_or(Amount::MAX),
        }
    } else if let Some(code) = rest.code.take() {
        Lead::Column { column: "code", value: Value::from(code.0) }
    } else if let Some(ledger) = rest.ledger.take() {
        Lead::Column { column: "ledger", value: Value::from(ledger.0) }
    } else {
        Lead::Time
    };
    (lead, rest)
}

/// A range of an index: its columns before the time with their values, and the times.
struct Range<'s> {
    table: &'s str,
    columns: &'s [(&'s str, &'s str)],
    first: &'s str,
    last: &'s str,
    direction: &'s str,
}

impl Range<'_> {
    /// The condition that picks the range, and the order in which the index has it.
    fn condition_and_order(&self) -> (String, String) {
        let Range { table, columns, first, last, direction } = self;
        let names = columns.iter().map(|(name, _)| *name).chain(["timestamp"]);
        let names: Vec<String> = names.map(|name| format!("{table}.{name}")).collect();
        let values: String = columns.iter().map(|(_, value)| format!("{value}, ")).collect();
        let key = names.join(", ");
        let mut condition = format!("({key}) >= ({values}{first}) AND ({key}) <= ({values}{last})");
        // The indexes on references leave zero out, and are used only for a condition that says so.
        for (name, _) in columns.iter().filter(|(name, _)| name.starts_with("user_data")) {
            condition.push_str(&format!(" AND {table}.{name} IS NOT NULL"));
        }
        let order: Vec<String> = names.iter().map(|name| format!("{name}{direction}")).collect();
        (condition, order.join(", "))
    }
}

/// A page of transfers within `span`.
pub(super) fn transfers(filter: &TransferFilter, page: &PageRequest, span: Span) -> Sql {
    let mut sql = Sql::new("SELECT ");
    let (first, last) = (&sql.place(span.first), &sql.place(span.last));
    let rows = sql.place(limit(page));
    let direction = direction(page.order);
    let (lead, rest) = lead(filter);
    let conditions = transfer_conditions(&rest, &mut sql);
    sql.push(TRANSFER_COLUMNS);
    // The rows of one range of an index, no more than fill a page.
    let select = |columns: &[(&str, &str)], first: &str, last: &str| {
        let range = Range { table: "t", columns, first, last, direction };
        let (condition, order) = range.condition_and_order();
        format!(
            "SELECT * FROM transfers t WHERE {condition}{conditions} ORDER BY {order} LIMIT {rows}"
        )
    };
    let (from, order) = match lead {
        Lead::Run { columns, value } => {
            let value = sql.place(value);
            let sides: Vec<String> = columns
                .iter()
                .map(|column| select(&[("run", "r.run"), (column, &value)], first, last))
                .collect();
            let sides = sides.join(") UNION ALL (");
            let from = format!(
                "runs r CROSS JOIN LATERAL (({sides})) t
                 WHERE r.last_timestamp >= {first} AND r.first_timestamp <= {last}"
            );
            (from, format!("r.run{direction}, t.timestamp{direction}"))
        }
        Lead::AmountBlocks { ledger, min, max } => {
            let ledger = sql.place(ledger.0);
            let min = sql.place(Value::numeric(min.minor_units()));
            let max = sql.place(Value::numeric(max.minor_units()));
            let of_block = select(
                &[("ledger", &ledger)],
                &format!("greatest(k.first_timestamp, {first})"),
                &format!("least(k.last_timestamp, {last})"),
            );
            let from = format!(
                "amount_blocks k CROSS JOIN LATERAL ({of_block}) t
                 WHERE k.ledger = {ledger} AND k.max_amount >= {min} AND k.min_amount <= {max}
                    AND k.last_timestamp >= {first} AND k.first_timestamp <= {last}"
            );
            (from, format!("k.first_timestamp{direction}, t.timestamp{direction}"))
        }
        Lead::Column { column, value } => {
            let value = sql.place(value);
            let from = format!("({}) t", select(&[(column, &value)], first, last));
            (from, format!("t.{column}{direction}, t.timestamp{direction}"))
        }
        Lead::Time => {
            (format!("({}) t", select(&[], first, last)), format!("t.timestamp{direction}"))
        }
    };
    sql.push(&format!(" FROM {from} ORDER BY {order} LIMIT {rows}"));
    sql
}

/// Conditions joined by AND, each with its value bound.
#[derive(Default)]
struct Conditions(String);

impl Conditions {
    fn add(&mut self, sql: &mut Sql, condition: &str, value: impl Into<Value>) {
        let place = sql.place(value);
        self.0.push_str(&format!(" AND {condition} {place}"));
    }

    /// A reference of the caller's; NULL stands for zero.
    fn reference(&mut self, sql: &mut Sql, column: &str, value: Option<Value>) {
        match value {
            Some(value) => self.add(sql, &format!("{column} ="), value),
            None => self.0.push_str(&format!(" AND {column} IS NULL")),
        }
    }
}

/// All of a filter but its time.
fn transfer_conditions(filter: &TransferFilter, sql: &mut Sql) -> String {
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
    let mut conditions = Conditions::default();
    if let Some(ledger) = ledger {
        conditions.add(sql, "t.ledger =", ledger.0);
    }
    if let Some(code) = code {
        conditions.add(sql, "t.code =", code.0);
    }
    references(&mut conditions, sql, "t.", (*user_data_128, *user_data_64, *user_data_32));
    if let Some(amount) = min_amount {
        conditions.add(sql, "t.amount >=", Value::numeric(amount.minor_units()));
    }
    if let Some(amount) = max_amount {
        conditions.add(sql, "t.amount <=", Value::numeric(amount.minor_units()));
    }
    if let Some(id) = transaction {
        conditions.add(sql, "t.transaction_id =", Value::id(id.0));
    }
    if let Some(OfAccount { id, side }) = account {
        let id = Value::id(id.0);
        match side {
            Side::Debit => conditions.add(sql, "t.debit_account_id =", id),
            Side::Credit => conditions.add(sql, "t.credit_account_id =", id),
            Side::Both => {
                let id = sql.place(id);
                conditions.0.push_str(&format!(
                    " AND (t.debit_account_id = {id} OR t.credit_account_id = {id})"
                ));
            }
        }
    }
    conditions.0
}

fn references(
    conditions: &mut Conditions,
    sql: &mut Sql,
    table: &str,
    (data_128, data_64, data_32): (Option<u128>, Option<u64>, Option<u32>),
) {
    let mut reference = |column: &str, value: Option<Option<Value>>| {
        if let Some(value) = value {
            conditions.reference(sql, &format!("{table}{column}"), value);
        }
    };
    reference("user_data_128", data_128.map(|value| (value != 0).then(|| Value::id(value))));
    reference(
        "user_data_64",
        data_64.map(|value| (value != 0).then(|| Value::numeric(value.into()))),
    );
    reference("user_data_32", data_32.map(|value| (value != 0).then(|| Value::from(value))));
}

/// A page of accounts within `span`.
pub(super) fn accounts(filter: &AccountFilter, page: &PageRequest, span: Span) -> Sql {
    let AccountFilter {
        mut ledger,
        mut code,
        mut user_data_128,
        mut user_data_64,
        mut user_data_32,
    } = filter.clone();
    let lead = if let Some(value) = user_data_128.take_if(|value| *value != 0) {
        Some(("user_data_128", Value::id(value)))
    } else if let Some(value) = user_data_64.take_if(|value| *value != 0) {
        Some(("user_data_64", Value::numeric(value.into())))
    } else if let Some(value) = user_data_32.take_if(|value| *value != 0) {
        Some(("user_data_32", Value::from(value)))
    } else if let Some(code) = code.take() {
        Some(("code", Value::from(code.0)))
    } else {
        ledger.take().map(|ledger| ("ledger", Value::from(ledger.0)))
    };
    let mut sql = Sql::new("SELECT ");
    let (first, last) = (sql.place(span.first), sql.place(span.last));
    let lead = lead.map(|(column, value)| (column, sql.place(value)));
    let columns: Vec<_> = lead.iter().map(|(column, value)| (*column, value.as_str())).collect();
    let direction = direction(page.order);
    let range = Range { table: "a", columns: &columns, first: &first, last: &last, direction };
    let (condition, order) = range.condition_and_order();
    let mut conditions = Conditions::default();
    if let Some(ledger) = ledger {
        conditions.add(&mut sql, "a.ledger =", ledger.0);
    }
    if let Some(code) = code {
        conditions.add(&mut sql, "a.code =", code.0);
    }
    references(&mut conditions, &mut sql, "a.", (user_data_128, user_data_64, user_data_32));
    sql.push(ACCOUNT_COLUMNS);
    sql.push(&format!(
        " FROM accounts a JOIN balances b ON b.account_id = a.id
          WHERE {condition}{} ORDER BY {order} LIMIT ",
        conditions.0
    ));
    sql.bind(limit(page));
    sql
}

fn order_and_limit(sql: &mut Sql, column: &str, page: &PageRequest) {
    sql.push(" ORDER BY ").push(column).push(direction(page.order));
    sql.push(" LIMIT ").bind(limit(page));
}

/// A page of the history of an account within `span`.
pub(super) fn balances(
    account: AccountId,
    filter: &BalanceFilter,
    page: &PageRequest,
    span: Span,
) -> Sql {
    // The newest that is not later is the only one, whatever the order.
    let (direction, rows) = match filter.at {
        None => (direction(page.order), limit(page)),
        Some(_) => (" DESC", 1),
    };
    let mut sql = Sql::new("SELECT ");
    sql.push(BALANCE_COLUMNS);
    let account = sql.place(Value::id(account.0));
    let (first, last) = (sql.place(span.first), sql.place(span.last));
    let rows = sql.place(rows);
    sql.push(&format!(
        " FROM runs r CROSS JOIN LATERAL (
            SELECT * FROM balance_history h
            WHERE h.run = r.run AND h.account_id = {account} AND h.timestamp BETWEEN {first} AND {last}
            ORDER BY h.timestamp{direction} LIMIT {rows}) h
          ORDER BY r.run{direction}, h.timestamp{direction} LIMIT {rows}"
    ));
    sql
}

/// A page of ledgers within `span`: few, so that sorting them costs nothing.
pub(super) fn ledgers(page: &PageRequest, span: Span) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(LEDGER_COLUMNS).push(" FROM ledgers l WHERE l.timestamp BETWEEN ");
    sql.bind(span.first).push(" AND ").bind(span.last);
    order_and_limit(&mut sql, "l.timestamp", page);
    sql
}

/// The one transfer of an id, looked for in the newest run first.
pub(super) fn transfer(id: u128) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS).push(
        " FROM runs r CROSS JOIN LATERAL (
            SELECT * FROM transfers t WHERE t.run = r.run AND t.id = ",
    );
    sql.bind(Value::id(id)).push(" LIMIT 1) t ORDER BY r.run DESC LIMIT 1");
    sql
}

/// The one transaction of an id, looked for in the newest run first.
pub(super) fn transaction(id: u128) -> Sql {
    let mut sql = Sql::new(
        "SELECT t.timestamp, t.transfers, t.last_timestamp, t.seq, t.metadata_text, t.metadata_digest
         FROM runs r CROSS JOIN LATERAL (
            SELECT * FROM transactions t WHERE t.run = r.run AND t.id = ",
    );
    sql.bind(Value::id(id)).push(" LIMIT 1) t ORDER BY r.run DESC LIMIT 1");
    sql
}

/// All legs of a transaction, in their order.
pub(super) fn legs(id: u128, count: u32, first: u64, last: u64) -> Sql {
    let span = Span::ALL.within(first, last);
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS).push(" FROM transfers t WHERE t.timestamp BETWEEN ");
    sql.bind(span.first).push(" AND ").bind(span.last);
    sql.push(" AND t.transaction_id = ").bind(Value::id(id));
    sql.push(" ORDER BY t.timestamp LIMIT ").bind(count);
    sql
}
