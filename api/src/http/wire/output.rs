//! The bodies of answers, made from the engine's types field by field.

use florin_engine::{
    AccountAfter, AccountCreated, AccountFlags, Amount, Balances, ExternalId, JournalSeq,
    LedgerTotals, MajorUnits, Scale, TransferFlags, TransferId, TransferStatus, metadata_digest,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::values::{Decimal64, FlagList, Id, Money, MoneyNumber, NumberId, Time, Verbatim};
use crate::http::error::Figures;

const NO_METADATA: Verbatim<'static> = Verbatim("{}");

/// An account and its balances.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account<'a> {
    /// Its name.
    id: Id,
    /// The text that its id stands for, if it was created by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schemas::ExternalIdShown)]
    external_id: Option<&'a str>,
    /// The ledger that its amounts are counted in.
    ledger: u32,
    /// What kind of account it is.
    code: u16,
    /// Its limits and properties.
    #[schema(value_type = super::schemas::AccountFlagNames)]
    flags: FlagList<AccountFlags>,
    /// Debits that are reserved and not yet posted.
    debits_pending: Money,
    /// Debits that happened.
    debits_posted: Money,
    /// Credits that are reserved and not yet posted.
    credits_pending: Money,
    /// Credits that happened.
    credits_posted: Money,
    /// What the account holds, as its kind shows it; signed.
    balance: Money,
    /// What can still be moved out of its limited side; signed.
    available: Money,
    /// How far the limited side may go beyond the other.
    overdraft_limit: Money,
    /// How many commands have changed it.
    version: u64,
    /// Your own reference.
    user_data_128: Id,
    /// Your own reference.
    user_data_64: Decimal64,
    /// Your own reference.
    user_data_32: u32,
    /// Your own words about it.
    #[schema(value_type = super::schemas::MetadataObject)]
    metadata: Verbatim<'a>,
    /// When it was created.
    timestamp: Time,
}

fn money(amount: Amount, scale: Scale) -> Money {
    Money(amount.display(scale))
}

impl<'a> Account<'a> {
    /// The account as it is, with its texts.
    pub(crate) fn of(
        account: &florin_engine::Account,
        metadata: Option<&'a str>,
        external_id: Option<&'a ExternalId>,
        scale: Scale,
    ) -> Account<'a> {
        let balances = &account.balances;
        Account {
            id: Id(account.id.0),
            external_id: external_id.map(ExternalId::text),
            ledger: account.ledger.0,
            code: account.code.0,
            flags: FlagList(account.flags),
            debits_pending: money(balances.debits_pending, scale),
            debits_posted: money(balances.debits_posted, scale),
            credits_pending: money(balances.credits_pending, scale),
            credits_posted: money(balances.credits_posted, scale),
            balance: Money(balances.balance(account.flags).display(scale)),
            available: Money(
                balances.available(account.flags, account.overdraft_limit).display(scale),
            ),
            overdraft_limit: money(account.overdraft_limit, scale),
            version: account.version,
            user_data_128: Id(account.user_data_128),
            user_data_64: Decimal64(account.user_data_64),
            user_data_32: account.user_data_32,
            metadata: metadata.map_or(NO_METADATA, Verbatim),
            timestamp: Time(account.timestamp),
        }
    }

    /// The account as it begins: with no money.
    pub(crate) fn created(created: &'a AccountCreated, scale: Scale) -> Account<'a> {
        let account = florin_engine::Account {
            id: created.id,
            balances: Balances::default(),
            user_data_128: created.user_data_128,
            overdraft_limit: created.overdraft_limit,
            user_data_64: created.user_data_64,
            timestamp: created.timestamp,
            version: 0,
            metadata_digest: metadata_digest(created.metadata.as_ref()),
            metadata_seq: JournalSeq::NONE,
            external_id_seq: JournalSeq::NONE,
            user_data_32: created.user_data_32,
            ledger: created.ledger,
            code: created.code,
            flags: created.flags,
        };
        let metadata = created.metadata.as_ref().map(|metadata| &*metadata.text);
        Account::of(&account, metadata, created.external_id.as_ref(), scale)
    }
}

/// How a transfer or a transaction stands. It is derived: the transfer itself never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The money has moved.
    Posted,
    /// The money is reserved.
    Pending,
    /// What was reserved was released; or this is what released it.
    Voided,
    /// What was reserved was released, since its time was over.
    Expired,
}

impl From<TransferStatus> for Status {
    fn from(status: TransferStatus) -> Status {
        match status {
            TransferStatus::Posted => Status::Posted,
            TransferStatus::Pending => Status::Pending,
            TransferStatus::Voided => Status::Voided,
            TransferStatus::Expired => Status::Expired,
        }
    }
}

/// One side of a transfer as of just after it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountMoment {
    /// The account.
    id: Id,
    /// What it holds; signed.
    balance: Money,
    /// What can still be moved out of its limited side; signed.
    available: Money,
    /// How many commands have changed it.
    version: u64,
}

impl AccountMoment {
    fn of(after: &AccountAfter, scale: Scale) -> AccountMoment {
        AccountMoment {
            id: Id(after.id.0),
            balance: Money(after.balances.balance(after.flags).display(scale)),
            available: Money(
                after.balances.available(after.flags, after.overdraft_limit).display(scale),
            ),
            version: after.version,
        }
    }
}

/// A transfer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transfer<'a> {
    /// Its name.
    pub(crate) id: Id,
    /// The text that its id stands for, if it was created by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schemas::ExternalIdShown)]
    external_id: Option<&'a str>,
    /// The account that gives.
    debit_account_id: Id,
    /// The account that receives.
    credit_account_id: Id,
    /// How much moved, is reserved, or was released by a void.
    amount: Money,
    /// The ledger of both accounts.
    ledger: u32,
    /// What kind of transfer it is.
    code: u16,
    /// How it was decided.
    #[schema(value_type = super::schemas::TransferFlagNames)]
    flags: FlagList<TransferFlags>,
    /// The pending transfer that it settled.
    #[schema(required)]
    pending_id: Option<Id>,
    /// The transfer that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reverses: Option<Id>,
    /// Seconds from `timestamp` until it expires; 0 for never.
    timeout: u32,
    /// From when on it can no longer be posted or voided.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    /// Your own reference.
    user_data_128: Id,
    /// Your own reference.
    user_data_64: Decimal64,
    /// Your own reference.
    user_data_32: u32,
    /// When it took effect outside.
    #[schema(required)]
    effective_at: Option<Time>,
    /// Your own words about it.
    #[schema(value_type = super::schemas::MetadataObject)]
    metadata: Verbatim<'a>,
    /// What became of it.
    status: Status,
    /// When it was decided: unique, and increasing in the order of decisions.
    timestamp: Time,
    /// The transaction that it is a leg of.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<Id>,
    /// The transfer that reversed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reversed_by: Option<Id>,
    /// The debit account as of just after it; only in the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    debit_account: Option<AccountMoment>,
    /// The credit account as of just after it; only in the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_account: Option<AccountMoment>,
    /// `true` where nothing was decided: this is what would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

impl<'a> Transfer<'a> {
    /// The transfer as it always is, and how it stands.
    pub(crate) fn of(
        transfer: &'a florin_engine::Transfer,
        status: TransferStatus,
        scale: Scale,
    ) -> Transfer<'a> {
        Transfer {
            id: Id(transfer.id.0),
            external_id: transfer.external_id.as_ref().map(ExternalId::text),
            debit_account_id: Id(transfer.debit_account_id.0),
            credit_account_id: Id(transfer.credit_account_id.0),
            amount: money(transfer.amount, scale),
            ledger: transfer.ledger.0,
            code: transfer.code.0,
            flags: FlagList(transfer.flags),
            pending_id: (transfer.pending_id.0 != 0).then_some(Id(transfer.pending_id.0)),
            reverses: (transfer.reverses.0 != 0).then_some(Id(transfer.reverses.0)),
            timeout: transfer.timeout,
            expires_at: transfer.expires_at().map(Time),
            user_data_128: Id(transfer.user_data_128),
            user_data_64: Decimal64(transfer.user_data_64),
            user_data_32: transfer.user_data_32,
            effective_at: transfer.effective_at.map(Time),
            metadata: transfer
                .metadata
                .as_ref()
                .map_or(NO_METADATA, |metadata| Verbatim(&metadata.text)),
            status: status.into(),
            timestamp: Time(transfer.timestamp),
            transaction_id: transfer.transaction_id.map(|id| Id(id.0)),
            reversed_by: None,
            debit_account: None,
            credit_account: None,
            dry_run: None,
        }
    }

    /// The transfer, and what reversed it.
    pub(crate) fn reversed_by(self, reversal: Option<TransferId>) -> Transfer<'a> {
        Transfer { reversed_by: reversal.map(|id| Id(id.0)), ..self }
    }

    /// The transfer, marked as what only would be where it is.
    pub(crate) fn marked(self, dry_run: Option<bool>) -> Transfer<'a> {
        Transfer { dry_run, ..self }
    }

    /// The transfer with its two accounts as of just after it.
    pub(crate) fn with_accounts(
        self,
        debit: Option<&AccountAfter>,
        credit: Option<&AccountAfter>,
        scale: Scale,
    ) -> Transfer<'a> {
        Transfer {
            debit_account: debit.map(|after| AccountMoment::of(after, scale)),
            credit_account: credit.map(|after| AccountMoment::of(after, scale)),
            ..self
        }
    }
}

/// Transfers of which all happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transaction<'a> {
    /// Its name, in the transfers' id space.
    pub(crate) id: Id,
    /// The text that its id stands for, if it was created by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schemas::ExternalIdShown)]
    pub(crate) external_id: Option<&'a str>,
    /// What became of it.
    pub(crate) status: Status,
    /// Its legs in order.
    pub(crate) transfers: Vec<Transfer<'a>>,
    /// When it was decided: just before its first leg.
    pub(crate) timestamp: Time,
    /// Your own words about it.
    #[schema(value_type = super::schemas::MetadataObject)]
    pub(crate) metadata: Verbatim<'a>,
    /// `true` where nothing was decided: this is what would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run: Option<bool>,
}

/// A transaction stands as its legs do: it is pending while one of them is, and posted when one of them moved money.
fn status_of(legs: &[Transfer<'_>]) -> Status {
    [Status::Pending, Status::Posted, Status::Expired]
        .into_iter()
        .find(|status| legs.iter().any(|leg| leg.status == *status))
        .unwrap_or(Status::Voided)
}

impl<'a> Transaction<'a> {
    /// The transaction with these legs.
    pub(crate) fn of(
        transaction: &'a florin_engine::Transaction,
        transfers: Vec<Transfer<'a>>,
    ) -> Transaction<'a> {
        Transaction {
            id: Id(transaction.id.0),
            external_id: transaction.external_id.as_ref().map(ExternalId::text),
            status: status_of(&transfers),
            transfers,
            timestamp: Time(transaction.timestamp),
            metadata: transaction
                .metadata
                .as_ref()
                .map_or(NO_METADATA, |metadata| Verbatim(&metadata.text)),
            dry_run: None,
        }
    }
}

/// The sums over all accounts of a ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Totals {
    /// How many accounts the ledger has.
    accounts: u64,
    /// The sum of pending debits.
    debits_pending: Money,
    /// The sum of posted debits.
    debits_posted: Money,
    /// The sum of pending credits.
    credits_pending: Money,
    /// The sum of posted credits.
    credits_posted: Money,
}

impl Totals {
    /// The totals; every transfer debits what it credits, so both sides are the same figure.
    pub(crate) fn of(totals: &LedgerTotals, scale: Scale) -> Totals {
        let show = |minor_units| Money(MajorUnits::of_total(minor_units, scale));
        Totals {
            accounts: totals.accounts,
            debits_pending: show(totals.pending),
            debits_posted: show(totals.posted),
            credits_pending: show(totals.pending),
            credits_posted: show(totals.posted),
        }
    }
}

/// A currency or asset book.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ledger<'a> {
    /// Its number.
    id: u32,
    /// ISO-4217 or free code.
    #[schema(value_type = String)]
    currency: &'a str,
    /// Digits after the point.
    scale: u8,
    /// What people call it.
    #[schema(value_type = String)]
    name: &'a str,
    /// When it was created.
    timestamp: Time,
    /// The sums over its accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals>,
}

impl<'a> Ledger<'a> {
    /// The ledger, with its totals where they are known.
    pub(crate) fn of(
        ledger: &'a florin_engine::Ledger,
        totals: Option<&LedgerTotals>,
    ) -> Ledger<'a> {
        Ledger {
            id: ledger.id.0,
            currency: &ledger.currency,
            scale: ledger.scale.digits(),
            name: &ledger.name,
            timestamp: Time(ledger.timestamp),
            totals: totals.map(|totals| Totals::of(totals, ledger.scale)),
        }
    }
}

/// A ledger and the position that its totals cover.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerAsOf<'a> {
    /// The ledger.
    #[serde(flatten)]
    pub(crate) ledger: Ledger<'a>,
    /// The position that the totals cover.
    pub(crate) as_of_seq: u64,
}

/// An account's balances just after a command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BalanceLine {
    /// When the command was decided.
    timestamp: Time,
    /// The position of the command.
    seq: u64,
    /// How many commands have changed the account.
    version: u64,
    /// Debits that are reserved and not yet posted.
    debits_pending: Money,
    /// Debits that happened.
    debits_posted: Money,
    /// Credits that are reserved and not yet posted.
    credits_pending: Money,
    /// Credits that happened.
    credits_posted: Money,
    /// What the account held; signed.
    balance: Money,
    /// What could still be moved out of its limited side; signed.
    available: Money,
    /// How far the limited side might go beyond the other.
    overdraft_limit: Money,
}

impl BalanceLine {
    /// The balances after the command at `seq`.
    pub(crate) fn of(
        seq: JournalSeq,
        timestamp: florin_engine::Timestamp,
        after: &AccountAfter,
        scale: Scale,
    ) -> BalanceLine {
        let balances = &after.balances;
        BalanceLine {
            timestamp: Time(timestamp),
            seq: seq.0,
            version: after.version,
            debits_pending: money(balances.debits_pending, scale),
            debits_posted: money(balances.debits_posted, scale),
            credits_pending: money(balances.credits_pending, scale),
            credits_posted: money(balances.credits_posted, scale),
            balance: Money(balances.balance(after.flags).display(scale)),
            available: Money(balances.available(after.flags, after.overdraft_limit).display(scale)),
            overdraft_limit: money(after.overdraft_limit, scale),
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What is on the page.
    pub(crate) data: Vec<T>,
    /// Whether another page follows.
    pub(crate) has_more: bool,
    /// What to give as `cursor` for the page that follows.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
    /// The position that the list covers: everything decided up to it, and nothing after it.
    pub(crate) as_of_seq: u64,
    /// The position from which on there is history; only where an earlier store was lost, and what came before with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) history_from: Option<u64>,
}

/// An event of a batch that the rules refused.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RejectedItem {
    /// Which event.
    pub(crate) index: u32,
    /// Its id, where the caller named one or the refusal used it up.
    #[schema(required)]
    pub(crate) id: Option<Id>,
    /// Why.
    #[schema(value_type = super::super::openapi::ErrorCode)]
    pub(crate) code: &'static str,
    /// The same in words.
    #[schema(value_type = String)]
    pub(crate) detail: &'static str,
    /// What could be moved and what was asked for, where the refusal is about that.
    #[serde(flatten)]
    #[schema(value_type = FiguresShown)]
    pub(crate) figures: Figures,
}

/// The figures behind a refusal.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "only its description is read")]
pub(crate) struct FiguresShown {
    /// What could be moved, in major units; signed.
    available: Option<Money>,
    /// What was asked for, in major units.
    requested: Option<Money>,
    /// Which of its conditions it is about, by its place among them.
    condition: Option<u32>,
    /// What was found there: a version, or a sum in major units.
    found: Option<Money>,
}

/// What became of one event of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemResult {
    /// Which event.
    pub(crate) index: u32,
    /// Its id, where it exists or the caller named one.
    #[schema(required)]
    pub(crate) id: Option<Id>,
    /// `created`, `exists` or the refusal's code.
    #[schema(value_type = super::super::openapi::ItemStatus)]
    pub(crate) status: &'static str,
    /// When it was decided, for what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<Time>,
}

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchSummary {
    /// How many events were created.
    pub(crate) created: u32,
    /// How many had been created before, with the same content.
    pub(crate) replayed: u32,
    /// Those that the rules refused.
    pub(crate) rejected: Vec<RejectedItem>,
    /// When the first one was created; null when none was.
    #[schema(required)]
    pub(crate) first_timestamp: Option<Time>,
    /// When the last one was created; null when none was.
    #[schema(required)]
    pub(crate) last_timestamp: Option<Time>,
    /// The position of the batch.
    pub(crate) seq: u64,
    /// One entry for each event in order, with `results=all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) results: Option<Vec<ItemResult>>,
    /// `true` where nothing was decided: this is what would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dry_run: Option<bool>,
}

/// The short form's answer to a transfer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShortOutcome {
    /// The transfer's id.
    pub(crate) txn_id: Id,
    /// What became of it.
    pub(crate) status: ShortStatus,
}

/// What became of a transfer, in the short form's words.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShortStatus {
    /// The money has moved.
    Completed,
    /// The money is reserved.
    Pending,
    /// What was reserved was released; or this is what released it.
    Voided,
    /// What was reserved was released, since its time was over.
    Expired,
}

impl From<TransferStatus> for ShortStatus {
    fn from(status: TransferStatus) -> ShortStatus {
        match status {
            TransferStatus::Posted => ShortStatus::Completed,
            TransferStatus::Pending => ShortStatus::Pending,
            TransferStatus::Voided => ShortStatus::Voided,
            TransferStatus::Expired => ShortStatus::Expired,
        }
    }
}

/// The short form of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShortOpened {
    /// The account's id.
    pub(crate) account_id: NumberId,
    /// Its opening balance.
    pub(crate) balance: MoneyNumber,
}

/// The short form of an account's balance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShortBalance<'a> {
    /// The account's id.
    pub(crate) account_id: NumberId,
    /// The text that its id stands for, if it was created by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schemas::ExternalIdShown)]
    pub(crate) external_id: Option<&'a str>,
    /// What it holds; signed.
    pub(crate) balance: MoneyNumber,
    /// Whether the shared cache answered.
    pub(crate) cached: bool,
}

/// The short form of a transfer in the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShortLine<'a> {
    /// The transfer's id.
    id: Id,
    /// The text that its id stands for, if it was created by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = super::schemas::ExternalIdShown)]
    external_id: Option<&'a str>,
    /// The account that gave.
    from: NumberId,
    /// The account that received.
    to: NumberId,
    /// How much.
    amount: MoneyNumber,
    /// What became of it.
    status: ShortStatus,
}

impl<'a> ShortLine<'a> {
    /// The short form of this transfer, and how it stands.
    pub(crate) fn of(
        transfer: &'a florin_engine::Transfer,
        status: TransferStatus,
        scale: Scale,
    ) -> ShortLine<'a> {
        ShortLine {
            id: Id(transfer.id.0),
            external_id: transfer.external_id.as_ref().map(ExternalId::text),
            from: NumberId(transfer.debit_account_id.0),
            to: NumberId(transfer.credit_account_id.0),
            amount: MoneyNumber(transfer.amount.display(scale)),
            status: status.into(),
        }
    }
}
