//! The bodies of answers that gather what other answers show one by one.

use std::fmt::Write;

use florin_engine::{Account, AccountFlags, JournalSeq, MajorUnits, Scale, SignedAmount};
use florin_persistence::store::{
    AsOf, CodeTotals, LedgerByCode, Moment, Movement, Posted, PostedAt, Side, Statement, TimeRange,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::values::{Id, Money, Time};

/// What was found of many ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Found<T> {
    /// What was found, in the order in which it was asked for.
    pub(crate) data: Vec<T>,
    /// The ids under which nothing was found, in that order too.
    pub(crate) missing: Vec<Id>,
    /// The position that the answer depended on: everything decided up to it was taken into account.
    as_of_seq: u64,
}

impl<T> Found<T> {
    /// Nothing yet.
    pub(crate) fn none(as_of: JournalSeq) -> Found<T> {
        Found { data: Vec::new(), missing: Vec::new(), as_of_seq: as_of.0 }
    }
}

/// What was posted on an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PostedShown {
    /// Debits that had happened.
    debits_posted: Money,
    /// Credits that had happened.
    credits_posted: Money,
    /// What the account held, as its kind shows it; signed.
    balance: Money,
}

impl PostedShown {
    fn of(posted: &Posted, flags: AccountFlags, scale: Scale) -> PostedShown {
        PostedShown {
            debits_posted: Money(posted.debits.display(scale)),
            credits_posted: Money(posted.credits.display(scale)),
            balance: Money(posted.balance(flags).display(scale)),
        }
    }
}

/// What was posted on an account at a moment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BalanceAtMoment {
    /// The account.
    account_id: Id,
    /// The ledger that its amounts are counted in.
    ledger: u32,
    /// The moment, by the time of decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Time>,
    /// The moment, by the time of effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_at: Option<Time>,
    /// What was posted.
    #[serde(flatten)]
    posted: PostedShown,
    /// The position that the answer covers.
    as_of_seq: u64,
    /// The position from which on there is history; only where an earlier store was lost, and what came before with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    history_from: Option<u64>,
}

/// Where history begins, if not with the first record.
fn shown_if_later(history_from: JournalSeq) -> Option<u64> {
    (history_from > JournalSeq::FIRST).then_some(history_from.0)
}

impl BalanceAtMoment {
    /// What was `found` on `account` at `moment`.
    pub(crate) fn of(
        account: &Account,
        moment: Moment,
        found: &AsOf<Option<PostedAt>>,
        scale: Scale,
    ) -> BalanceAtMoment {
        // An account that the store does not have yet has no transfers there.
        let none = PostedAt { posted: Posted::default(), history_from: JournalSeq::FIRST };
        let PostedAt { posted, history_from } = found.value.unwrap_or(none);
        let (at, effective_at) = match moment {
            Moment::DecidedAt(at) => (Some(Time(at)), None),
            Moment::EffectiveAt(at) => (None, Some(Time(at))),
        };
        BalanceAtMoment {
            account_id: Id(account.id.0),
            ledger: account.ledger.0,
            at,
            effective_at,
            posted: PostedShown::of(&posted, account.flags, scale),
            as_of_seq: found.as_of.0,
            history_from: shown_if_later(history_from),
        }
    }
}

/// A transfer on a statement.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatementLine {
    /// When it was decided.
    timestamp: Time,
    /// When it took effect outside.
    #[schema(required)]
    effective_at: Option<Time>,
    /// The transfer.
    transfer_id: Id,
    /// The account on its other side.
    counterparty_account_id: Id,
    /// What kind of transfer it is.
    code: u16,
    /// How much was debited; zero where it was credited.
    debit: Money,
    /// How much was credited; zero where it was debited.
    credit: Money,
    /// What it changed the balance by; signed.
    change: Money,
    /// What the account held after it; signed.
    balance: Money,
}

/// The amounts of a line.
struct LineAmounts {
    debit: MajorUnits,
    credit: MajorUnits,
    change: MajorUnits,
    balance: MajorUnits,
}

impl LineAmounts {
    fn of(movement: &Movement, after: &Posted, flags: AccountFlags, scale: Scale) -> LineAmounts {
        let none = MajorUnits::of_total(0, scale);
        let amount = movement.amount.display(scale);
        let (debit, credit) = match movement.side {
            Side::Debit => (amount, none),
            Side::Credit | Side::Both => (none, amount),
        };
        LineAmounts {
            debit,
            credit,
            change: movement.change(flags).display(scale),
            balance: after.balance(flags).display(scale),
        }
    }
}

/// A page of a statement.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatementPage {
    /// The account.
    account_id: Id,
    /// The ledger that its amounts are counted in.
    ledger: u32,
    /// From when on; null for the account's beginning.
    #[schema(required)]
    from: Option<Time>,
    /// Until when; null for the moment of the first page.
    #[schema(required)]
    to: Option<Time>,
    /// What was posted before the statement's first line.
    opening: PostedShown,
    /// The lines of this page, oldest first.
    data: Vec<StatementLine>,
    /// What was posted after the statement's last line, on whichever page.
    closing: PostedShown,
    /// Whether another page follows.
    has_more: bool,
    /// What to give as `cursor` for the page that follows.
    #[schema(required)]
    next_cursor: Option<String>,
    /// The position that the page covers.
    as_of_seq: u64,
    /// The position from which on there is history; only where an earlier store was lost, and what came before with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    history_from: Option<u64>,
}

impl StatementPage {
    /// The page as it is shown.
    pub(crate) fn of(
        account: &Account,
        time: TimeRange,
        page: &Statement,
        scale: Scale,
    ) -> StatementPage {
        let flags = account.flags;
        let line = |(movement, after): &(Movement, Posted)| {
            let LineAmounts { debit, credit, change, balance } =
                LineAmounts::of(movement, after, flags, scale);
            StatementLine {
                timestamp: Time(movement.timestamp),
                effective_at: movement.effective_at.map(Time),
                transfer_id: Id(movement.transfer.0),
                counterparty_account_id: Id(movement.counterparty.0),
                code: movement.code.0,
                debit: Money(debit),
                credit: Money(credit),
                change: Money(change),
                balance: Money(balance),
            }
        };
        StatementPage {
            account_id: Id(account.id.0),
            ledger: account.ledger.0,
            from: time.from.map(Time),
            to: time.to.map(Time),
            opening: PostedShown::of(&page.opening, flags, scale),
            data: page.lines.iter().map(line).collect(),
            closing: PostedShown::of(&page.closing, flags, scale),
            has_more: page.next.is_some(),
            next_cursor: page.next.as_ref().map(ToString::to_string),
            as_of_seq: page.as_of.0,
            history_from: shown_if_later(page.history_from),
        }
    }
}

/// A statement as CSV (RFC 4180). Its fields are words of ours, ids, times and amounts, so nothing needs quotes, and nothing is a formula to a spreadsheet.
pub(crate) struct CsvText {
    text: String,
    /// What ends each line: where history begins, if not with the first record.
    line_end: String,
    flags: AccountFlags,
    scale: Scale,
}

impl CsvText {
    /// The header.
    pub(crate) fn begin(account: &Account, history_from: JournalSeq, scale: Scale) -> CsvText {
        let header = "kind,timestamp,effective_at,transfer_id,counterparty_account_id,code,debit,credit,change,balance";
        let (last, line_end) = match shown_if_later(history_from) {
            Some(history_from) => (",history_from\r\n", format!(",{history_from}\r\n")),
            None => ("\r\n", "\r\n".to_owned()),
        };
        CsvText { text: format!("{header}{last}"), line_end, flags: account.flags, scale }
    }

    /// A line that only says what the account held.
    pub(crate) fn balance(
        &mut self,
        kind: &str,
        at: Option<florin_engine::Timestamp>,
        posted: &Posted,
    ) {
        let at = at.map(|at| Time(at).to_string()).unwrap_or_default();
        let balance = posted.balance(self.flags).display(self.scale);
        // Writing into a text can not fail.
        let _ = write!(self.text, "{kind},{at},,,,,,,,{balance}{}", self.line_end);
    }

    /// A transfer.
    pub(crate) fn line(&mut self, movement: &Movement, after: &Posted) {
        let LineAmounts { debit, credit, change, balance } =
            LineAmounts::of(movement, after, self.flags, self.scale);
        let effective_at = movement.effective_at.map(|at| Time(at).to_string()).unwrap_or_default();
        let _ = write!(
            self.text,
            "transfer,{},{effective_at},{},{},{},{debit},{credit},{change},{balance}{}",
            Time(movement.timestamp),
            Id(movement.transfer.0),
            Id(movement.counterparty.0),
            movement.code.0,
            self.line_end,
        );
    }

    /// The whole.
    pub(crate) fn end(self) -> String {
        self.text
    }
}

/// What was debited and credited to some accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialSums {
    /// How many accounts.
    accounts: u64,
    /// The sum of pending debits.
    debits_pending: Money,
    /// The sum of posted debits.
    debits_posted: Money,
    /// The sum of pending credits.
    credits_pending: Money,
    /// The sum of posted credits.
    credits_posted: Money,
    /// Posted credits less posted debits; signed.
    balance: Money,
}

/// The sums of one code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialLine {
    /// The code.
    code: u16,
    /// Its sums.
    #[serde(flatten)]
    sums: TrialSums,
}

/// The trial balance of a ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialBalance {
    /// The ledger.
    ledger: u32,
    /// ISO-4217 or free code.
    currency: String,
    /// One entry for each code that accounts have, in the order of codes.
    codes: Vec<TrialLine>,
    /// The sums over all of them: debits equal credits.
    totals: TrialSums,
    /// The position that the report covers.
    as_of_seq: u64,
}

/// Sums as they are gathered, in minor units.
#[derive(Clone, Copy, Default)]
struct Sums {
    accounts: u64,
    debits_pending: u128,
    debits_posted: u128,
    credits_pending: u128,
    credits_posted: u128,
    debit_balances: u128,
    credit_balances: u128,
}

impl Sums {
    fn add(&mut self, of_code: &CodeTotals) {
        self.accounts += of_code.accounts;
        self.debits_pending += of_code.debits_pending;
        self.debits_posted += of_code.debits_posted;
        self.credits_pending += of_code.credits_pending;
        self.credits_posted += of_code.credits_posted;
        match of_code.side {
            Side::Debit => self.debit_balances += of_code.debits_posted - of_code.credits_posted,
            Side::Credit | Side::Both => {
                self.credit_balances += of_code.credits_posted - of_code.debits_posted;
            }
        }
    }

    /// By code, and over all; none where they are not the ledger's totals.
    fn of(found: &LedgerByCode) -> Option<(Vec<(u16, Sums)>, Sums)> {
        let mut codes: Vec<(u16, Sums)> = Vec::new();
        let mut all = Sums::default();
        for of_code in &found.codes {
            if codes.last().is_none_or(|(code, _)| *code != of_code.code.0) {
                codes.push((of_code.code.0, Sums::default()));
            }
            codes.last_mut()?.1.add(of_code);
            all.add(of_code);
        }
        let totals = &found.stored.totals;
        let agree = all.accounts == totals.accounts
            && all.debits_pending == totals.pending
            && all.credits_pending == totals.pending
            && all.debits_posted == totals.posted
            && all.credits_posted == totals.posted
            && all.debit_balances == all.credit_balances;
        agree.then_some((codes, all))
    }

    /// Credits less debits.
    fn balance(&self, scale: Scale) -> Money {
        let balance = self.credits_posted.cast_signed() - self.debits_posted.cast_signed();
        Money(SignedAmount::new(balance).display(scale))
    }

    fn trial(&self, scale: Scale) -> TrialSums {
        let show = |minor_units| Money(MajorUnits::of_total(minor_units, scale));
        TrialSums {
            accounts: self.accounts,
            debits_pending: show(self.debits_pending),
            debits_posted: show(self.debits_posted),
            credits_pending: show(self.credits_pending),
            credits_posted: show(self.credits_posted),
            balance: self.balance(scale),
        }
    }

    fn sheet(&self, scale: Scale) -> SheetSums {
        let show = |minor_units| Money(MajorUnits::of_total(minor_units, scale));
        SheetSums {
            accounts: self.accounts,
            debit_balances: show(self.debit_balances),
            credit_balances: show(self.credit_balances),
            balance: self.balance(scale),
        }
    }
}

impl TrialBalance {
    /// The trial balance, unless the accounts do not add up to the ledger's totals.
    pub(crate) fn of(found: &LedgerByCode, as_of: JournalSeq) -> Option<TrialBalance> {
        let (codes, all) = Sums::of(found)?;
        let ledger = &found.stored.ledger;
        let scale = ledger.scale;
        let line = |(code, sums): (u16, Sums)| TrialLine { code, sums: sums.trial(scale) };
        Some(TrialBalance {
            ledger: ledger.id.0,
            currency: ledger.currency.clone(),
            codes: codes.into_iter().map(line).collect(),
            totals: all.trial(scale),
            as_of_seq: as_of.0,
        })
    }
}

/// What some accounts hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SheetSums {
    /// How many accounts.
    accounts: u64,
    /// By how much debits exceed credits, over the accounts where they do.
    debit_balances: Money,
    /// By how much credits exceed debits, over the accounts where they do.
    credit_balances: Money,
    /// Credit balances less debit balances; signed.
    balance: Money,
}

/// What the accounts of one code hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SheetLine {
    /// The code.
    code: u16,
    /// Its sums.
    #[serde(flatten)]
    sums: SheetSums,
}

/// The balance sheet of a ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BalanceSheet {
    /// The ledger.
    ledger: u32,
    /// ISO-4217 or free code.
    currency: String,
    /// One entry for each code that accounts have, in the order of codes.
    codes: Vec<SheetLine>,
    /// The sums over all of them: debit balances equal credit balances.
    totals: SheetSums,
    /// The position that the report covers.
    as_of_seq: u64,
}

impl BalanceSheet {
    /// The balance sheet, unless the accounts do not add up to the ledger's totals.
    pub(crate) fn of(found: &LedgerByCode, as_of: JournalSeq) -> Option<BalanceSheet> {
        let (codes, all) = Sums::of(found)?;
        let ledger = &found.stored.ledger;
        let scale = ledger.scale;
        let line = |(code, sums): (u16, Sums)| SheetLine { code, sums: sums.sheet(scale) };
        Some(BalanceSheet {
            ledger: ledger.id.0,
            currency: ledger.currency.clone(),
            codes: codes.into_iter().map(line).collect(),
            totals: all.sheet(scale),
            as_of_seq: as_of.0,
        })
    }
}
