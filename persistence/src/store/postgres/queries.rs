//! The SQL of reads.
//!
//! Each list follows an index in the order of time and stops when its page is full. Lists by an id or a reference ask the runs
//! one after another, newest or oldest first, each for no more than a page; only what one run gave is sorted.
//!
//! Which index that is, is chosen before (`crate::store::lead`). PostgreSQL would choose by statistics,
//! which know how often a value occurs but not when: for a ledger that was busy last year it would read everything newer first.
//! So a list asks for the first column of its index by an array of one value, and orders by all of its columns: that value is no constant to the
//! planner then, and no other index has the order. (Comparing whole keys, `(ledger, timestamp) <= ($1, $2)`, pins the index too, but a scan by it ends only
//! where the first column does: for an account with few transfers it read all that a run has in the index before it.)

use florin_engine::{AccountId, Code, LedgerId};

use super::binary::{Array, Kind, Value};
use super::columns::Reader;
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
    t.effective_at, t.transaction_id, t.metadata_text, t.metadata_digest,
    t.amount_requested, t.pending_id, t.inherited, t.timeout, t.reverses,
    CASE WHEN t.flags & 2 <> 0 THEN (
        SELECT s.kind FROM runs r CROSS JOIN LATERAL (
            SELECT kind FROM settlements WHERE run = r.run AND pending_id = t.id LIMIT 1) s
        ORDER BY r.run DESC LIMIT 1) END,
    t.external_id,
    CASE WHEN t.flags & 10 = 0 THEN (SELECT o.id FROM transfers o WHERE o.reverses = t.id) END";

pub(super) const TRANSACTION_COLUMNS: &str =
    "x.timestamp, x.id, x.transfers, x.first_timestamp, x.last_timestamp, x.seq,
    x.metadata_text, x.metadata_digest, x.external_id";

pub(super) const ACCOUNT_COLUMNS: &str =
    "a.timestamp, a.id, a.ledger, a.code, a.user_data_128, a.user_data_64,
    a.user_data_32, a.metadata_text, a.metadata_digest, a.seq, b.flags, b.overdraft_limit, b.version,
    b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted,
    (SELECT max(r.seq) FROM replaced_metadata r WHERE r.account_id = a.id), a.external_id";

pub(super) const BALANCE_COLUMNS: &str =
    "h.account_id, h.timestamp, h.seq, h.flags, h.overdraft_limit, h.version,
    h.debits_pending, h.debits_posted, h.credits_pending, h.credits_posted";

pub(super) const MOVEMENT_COLUMNS: &str =
    "t.timestamp, t.effective_at, t.seq, t.id, t.debit_account_id, t.credit_account_id, t.amount,
    t.code, t.flags";

/// The name comes as bytes: a text can not hold all that a name can.
pub(super) const LEDGER_COLUMNS: &str =
    "l.id, l.currency, l.scale, coalesce(l.name_exact, convert_to(l.name, 'UTF8')),
    l.timestamp, l.seq, l.accounts, l.posted, l.pending";

/// What the index of transfers in two phases begins with.
const IS_TWO_PHASE: &str = "((t.flags & 10) <> 0)";

/// How a transfer stands, as the tables keep it; 0 is open.
const STATUS: &str = "CASE WHEN t.flags & 8 <> 0 THEN 2 WHEN t.flags & 2 = 0 THEN 1 ELSE coalesce((
        SELECT s.kind FROM runs r CROSS JOIN LATERAL (
            SELECT kind FROM settlements WHERE run = r.run AND pending_id = t.id LIMIT 1) s
        ORDER BY r.run DESC LIMIT 1), 0) END =";

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
        let names: Vec<String> = names
            .map(|name| match name {
                IS_TWO_PHASE => name.to_owned(),
                name => format!("{table}.{name}"),
            })
            .collect();
        let mut condition = format!("{table}.timestamp BETWEEN {first} AND {last}");
        for (at, ((_, value), name)) in columns.iter().zip(&names).enumerate() {
            condition.push_str(&match at {
                0 => format!(" AND {name} = ANY(ARRAY[{value}])"),
                _ => format!(" AND {name} = {value}"),
            });
        }
        // The indexes on references leave zero out, and are used only for a condition that says so.
        for (name, _) in columns.iter().filter(|(name, _)| name.starts_with("user_data")) {
            condition.push_str(&format!(" AND {table}.{name} IS NOT NULL"));
        }
        if columns.iter().any(|(name, _)| *name == IS_TWO_PHASE) {
            condition.push_str(&format!(" AND {IS_TWO_PHASE}"));
        }
        let order: Vec<String> = names.iter().map(|name| format!("{name}{direction}")).collect();
        (condition, order.join(", "))
    }
}

/// What is read of what leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted<'s> {
    /// The transfers for which these conditions hold.
    Transfers(&'s str),
    /// Only their times.
    Times,
}

/// The columns before the time of the index that leads, with their values, for leads by one index.
fn indexed(lead: Lead, sql: &mut Sql) -> Option<(&'static str, String)> {
    match lead {
        Lead::TwoPhase => Some((IS_TWO_PHASE, "true".to_owned())),
        Lead::Code(code) => Some(("code", sql.place(code.0))),
        Lead::Ledger(ledger) => Some(("ledger", sql.place(ledger.0))),
        _ => None,
    }
}

/// The columns behind the run of the indexes that lead, and their value, for leads that ask the runs one after another.
fn in_runs(lead: Lead) -> Option<(&'static [&'static str], Value)> {
    match lead {
        Lead::UserData128(value) => Some((&["user_data_128"], Value::id(value))),
        Lead::UserData64(value) => Some((&["user_data_64"], Value::numeric(value.into()))),
        Lead::UserData32(value) => Some((&["user_data_32"], Value::from(value))),
        Lead::Entry(entry) => Some((&["entry"], Value::from(entry))),
        Lead::Account(OfAccount { id, side }) => {
            let columns: &[_] = match side {
                Side::Debit => &["debit_account_id"],
                Side::Credit => &["credit_account_id"],
                Side::Both => &["debit_account_id", "credit_account_id"],
            };
            Some((columns, Value::id(id.0)))
        }
        Lead::AmountBlocks { .. }
        | Lead::TwoPhase
        | Lead::Code(_)
        | Lead::Ledger(_)
        | Lead::Time => None,
    }
}

/// Adds FROM, WHERE and ORDER BY of what leads: of each index no more than `rows`.
fn push_from(sql: &mut Sql, lead: Lead, order: Order, span: Span, rows: &str, wanted: Wanted<'_>) {
    let (first, last) = (&sql.place(span.first), &sql.place(span.last));
    let direction = direction(order);
    let conditions = match wanted {
        Wanted::Transfers(conditions) => conditions,
        Wanted::Times => "",
    };
    // What the order needs has to be shown.
    let shown = match (lead, wanted) {
        (Lead::TwoPhase, _) => "*, ((t.flags & 10) <> 0) AS is_two_phase",
        (Lead::Code(_), Wanted::Times) => "t.code, t.timestamp",
        (Lead::Ledger(_), Wanted::Times) => "t.ledger, t.timestamp",
        (_, Wanted::Times) => "t.timestamp",
        (_, Wanted::Transfers(_)) => "*",
    };
    // The rows of one range of an index.
    let select = |columns: &[(&str, &str)], first: &str, last: &str| {
        let range = Range { table: "t", columns, first, last, direction };
        let (condition, order) = range.condition_and_order();
        format!(
            "SELECT {shown} FROM transfers t WHERE {condition}{conditions} ORDER BY {order} LIMIT {rows}"
        )
    };
    // The same by the index of metadata, which is a table of its own.
    let select_by_entry = |columns: &[(&str, &str)]| {
        let range = Range { table: "m", columns, first, last, direction };
        let (condition, order) = range.condition_and_order();
        match wanted {
            Wanted::Times => format!(
                "SELECT m.timestamp FROM transfers_by_metadata m WHERE {condition} ORDER BY {order} LIMIT {rows}"
            ),
            // Without the OFFSET, which changes nothing, it might join the tables in the other order.
            Wanted::Transfers(_) => format!(
                "SELECT t.* FROM transfers_by_metadata m CROSS JOIN LATERAL (
                    SELECT * FROM transfers t WHERE t.timestamp = m.timestamp{conditions} OFFSET 0) t
                 WHERE {condition} ORDER BY {order} LIMIT {rows}"
            ),
        }
    };
    let (from, order) = if let Some((columns, value)) = in_runs(lead) {
        let value = sql.place(value);
        let sides: Vec<String> = columns
            .iter()
            .map(|column| match *column {
                "entry" => select_by_entry(&[("run", "r.run"), (column, &value)]),
                column => select(&[("run", "r.run"), (column, &value)], first, last),
            })
            .collect();
        let sides = sides.join(") UNION ALL (");
        let from = format!(
            "runs r CROSS JOIN LATERAL (({sides})) t
             WHERE r.last_timestamp >= {first} AND r.first_timestamp <= {last}"
        );
        (from, format!("r.run{direction}, t.timestamp{direction}"))
    } else if let Lead::AmountBlocks { ledger, min, max } = lead {
        let ledger = sql.place(ledger.0);
        let min = sql.place(Value::numeric(min.minor_units()));
        let max = sql.place(Value::numeric(max.minor_units()));
        let blocks = format!(
            "k.ledger = {ledger} AND k.max_amount >= {min} AND k.min_amount <= {max}
                AND k.last_timestamp >= {first} AND k.first_timestamp <= {last}"
        );
        if wanted == Wanted::Times {
            (
                format!("amount_blocks k WHERE {blocks}"),
                format!("k.ledger{direction}, k.first_timestamp{direction}"),
            )
        } else {
            let of_block = select(
                &[("ledger", &ledger)],
                &format!("greatest(k.first_timestamp, {first})"),
                &format!("least(k.last_timestamp, {last})"),
            );
            let from = format!("amount_blocks k CROSS JOIN LATERAL ({of_block}) t WHERE {blocks}");
            (from, format!("k.first_timestamp{direction}, t.timestamp{direction}"))
        }
    } else {
        let column = indexed(lead, sql);
        let columns: Vec<_> = column.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let from = format!("({}) t", select(&columns, first, last));
        let order = match columns.first() {
            Some((IS_TWO_PHASE, _)) => {
                format!("t.is_two_phase{direction}, t.timestamp{direction}")
            }
            Some((column, _)) => format!("t.{column}{direction}, t.timestamp{direction}"),
            None => format!("t.timestamp{direction}"),
        };
        (from, order)
    };
    sql.push(&format!(" FROM {from} ORDER BY {order}"));
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
    let rows = sql.place(limit(page));
    // With a condition of its own beside the range, the leading column would be a constant to the planner, and any index of the time in the right order.
    let conditions = transfer_conditions(&filter.without(lead), &mut sql);
    push_from(&mut sql, lead, page.order, span, &rows, Wanted::Transfers(&conditions));
    sql.push(" LIMIT ").push(&rows);
    sql
}

/// The time of the last row that is looked at for one page that `lead` leads; none when there are fewer.
pub(super) fn end_of_looking(lead: Lead, order: Order, span: Span, sizes: Sizes) -> Sql {
    let (time, look_max) = match (lead, order) {
        (Lead::AmountBlocks { .. }, Order::NewestFirst) => {
            ("k.first_timestamp", sizes.look_max / sizes.block_transfers)
        }
        (Lead::AmountBlocks { .. }, Order::OldestFirst) => {
            ("k.last_timestamp", sizes.look_max / sizes.block_transfers)
        }
        _ => ("t.timestamp", sizes.look_max),
    };
    let mut sql = Sql::new("SELECT ");
    sql.push(time);
    let rows = sql.place(look_max.cast_signed() + 1);
    push_from(&mut sql, lead, order, span, &rows, Wanted::Times);
    sql.push(" LIMIT 1 OFFSET ").bind(look_max.cast_signed());
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
        status,
        metadata,
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
    // As values they are asked for each row; conditions with EXISTS could be turned into a join that begins with the whole index.
    for equals in metadata {
        let entry = sql.place(equals.entry());
        conditions.0.push_str(&format!(
            " AND t.metadata_digest IS NOT NULL AND (SELECT m.entry FROM transfers_by_metadata m
                WHERE m.run = t.run AND m.entry = {entry} AND m.timestamp = t.timestamp) IS NOT NULL"
        ));
    }
    if let Some(status) = status {
        conditions.add(sql, STATUS, status_number(*status));
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

/// Adds FROM and WHERE of what leads a list of accounts; gives what orders them by time.
fn push_from_accounts(
    sql: &mut Sql,
    lead: AccountLead,
    order: Order,
    span: Span,
    join: &str,
) -> String {
    let lead = match lead {
        AccountLead::UserData128(value) => Some(("user_data_128", Value::id(value))),
        AccountLead::UserData64(value) => Some(("user_data_64", Value::numeric(value.into()))),
        AccountLead::UserData32(value) => Some(("user_data_32", Value::from(value))),
        AccountLead::Entry(entry) => Some(("entry", Value::from(entry))),
        AccountLead::Code(code) => Some(("code", Value::from(code.0))),
        AccountLead::Ledger(ledger) => Some(("ledger", Value::from(ledger.0))),
        AccountLead::Time => None,
    };
    let (first, last) = (sql.place(span.first), sql.place(span.last));
    let lead = lead.map(|(column, value)| (column, sql.place(value)));
    let columns: Vec<_> = lead.iter().map(|(column, value)| (*column, value.as_str())).collect();
    let (table, from) = match columns.first() {
        // Without the OFFSET, which changes nothing, it might join the tables in the other order.
        Some(("entry", _)) => (
            "m",
            "accounts_by_metadata m CROSS JOIN LATERAL (
                SELECT * FROM accounts a WHERE a.timestamp = m.timestamp OFFSET 0) a",
        ),
        _ => ("a", "accounts a"),
    };
    let direction = direction(order);
    let range = Range { table, columns: &columns, first: &first, last: &last, direction };
    let (condition, order) = range.condition_and_order();
    sql.push(&format!(" FROM {from}{join} WHERE {condition}"));
    order
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
    let balances = " JOIN balances b ON b.account_id = a.id";
    let order = push_from_accounts(&mut sql, lead, page.order, span, balances);
    let AccountFilter {
        ledger,
        code,
        user_data_128,
        user_data_64,
        user_data_32,
        time: _,
        metadata,
    } = filter.without(lead);
    let mut conditions = Conditions::default();
    if let Some(ledger) = ledger {
        conditions.add(&mut sql, "a.ledger =", ledger.0);
    }
    if let Some(code) = code {
        conditions.add(&mut sql, "a.code =", code.0);
    }
    references(&mut conditions, &mut sql, "a.", (user_data_128, user_data_64, user_data_32));
    for entry in metadata.iter().map(MetadataEquals::entry) {
        let entry = sql.place(entry);
        conditions.0.push_str(&format!(
            " AND (SELECT m.entry FROM accounts_by_metadata m
                WHERE m.entry = {entry} AND m.timestamp = a.timestamp) IS NOT NULL"
        ));
    }
    sql.push(&format!("{} ORDER BY {order} LIMIT ", conditions.0));
    sql.bind(limit(page));
    sql
}

/// The time of the last account that is looked at for one page that `lead` leads; none when there are fewer.
pub(super) fn end_of_looking_at_accounts(
    lead: AccountLead,
    order: Order,
    span: Span,
    sizes: Sizes,
) -> Sql {
    let mut sql = Sql::new("SELECT a.timestamp");
    let order = push_from_accounts(&mut sql, lead, order, span, "");
    sql.push(&format!(" ORDER BY {order} LIMIT 1 OFFSET "));
    sql.bind(sizes.look_max.cast_signed());
    sql
}

fn order_and_limit(sql: &mut Sql, column: &str, page: &PageRequest) {
    sql.push(" ORDER BY ").push(column).push(direction(page.order));
    sql.push(" LIMIT ").bind(limit(page));
}

/// The first so many transfers of an account within `span`.
pub(super) fn moves(account: AccountId, span: Span, order: Order, rows: usize) -> Sql {
    let lead = Lead::Account(OfAccount { id: account, side: Side::Both });
    let mut sql = Sql::new("SELECT ");
    sql.push(MOVEMENT_COLUMNS);
    let rows = sql.place(rows as i64);
    push_from(&mut sql, lead, order, span, &rows, Wanted::Transfers(""));
    sql.push(" LIMIT ").push(&rows);
    sql
}

/// The sums of a ledger's accounts by code, debit balances apart from the others.
pub(super) fn totals_by_code(ledger: LedgerId) -> Sql {
    let mut sql = Sql::new(
        "SELECT a.code, (b.debits_posted > b.credits_posted)::integer, count(*),
            sum(b.debits_pending), sum(b.debits_posted), sum(b.credits_pending), sum(b.credits_posted)
         FROM accounts a JOIN balances b ON b.account_id = a.id WHERE a.ledger = ",
    );
    sql.bind(ledger.0).push(" GROUP BY 1, 2 ORDER BY 1, 2");
    sql
}

/// A row of [`totals_by_code`].
pub(super) fn code_totals(mut columns: Reader<'_>) -> Result<CodeTotals, StoreError> {
    Ok(CodeTotals {
        code: Code(columns.u16("code")?),
        side: if columns.u64("side")? == 0 { Side::Credit } else { Side::Debit },
        accounts: columns.u64("accounts")?,
        debits_pending: columns.minor_units("a sum")?,
        debits_posted: columns.minor_units("a sum")?,
        credits_pending: columns.minor_units("a sum")?,
        credits_posted: columns.minor_units("a sum")?,
    })
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

fn array(ids: &[u128]) -> Array {
    let mut array = Array::new(Kind::Uuid, ids.len());
    for id in ids {
        array.next().id(*id);
    }
    array
}

/// The accounts with these ids.
pub(super) fn accounts_by_id(ids: &[u128]) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(ACCOUNT_COLUMNS);
    sql.push(" FROM accounts a JOIN balances b ON b.account_id = a.id WHERE a.id = ANY(");
    sql.bind(array(ids)).push(")");
    sql
}

/// The transfers with these ids.
pub(super) fn transfers_by_id(ids: &[u128]) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS).push(
        " FROM runs r CROSS JOIN LATERAL (
            SELECT * FROM transfers t WHERE t.run = r.run AND t.id = ANY(",
    );
    // Without the OFFSET, which changes nothing, it might join the tables in another way.
    sql.bind(array(ids)).push(") OFFSET 0) t");
    sql
}

/// The one transaction of an id, looked for in the newest run first.
pub(super) fn transaction(id: u128) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSACTION_COLUMNS).push(
        " FROM runs r CROSS JOIN LATERAL (
            SELECT * FROM transactions x WHERE x.run = r.run AND x.id = ",
    );
    sql.bind(Value::id(id)).push(" LIMIT 1) x ORDER BY r.run DESC LIMIT 1");
    sql
}

/// All legs of a transaction, in their order.
pub(super) fn legs(id: u128, count: u32, span: Span) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(TRANSFER_COLUMNS).push(" FROM transfers t WHERE t.timestamp BETWEEN ");
    sql.bind(span.first).push(" AND ").bind(span.last);
    sql.push(" AND t.transaction_id = ").bind(Value::id(id));
    sql.push(" ORDER BY t.timestamp LIMIT ").bind(count);
    sql
}
