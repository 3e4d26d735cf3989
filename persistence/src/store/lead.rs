//! What leads a list: the index that it follows in the order of time.
//!
//! A row is looked at where the leading index has it, and shown if all else that is asked of it holds too. How few of them hold nobody knows
//! before, so a page looks at no more than so many rows ([`super::Sizes::look_max`]): a page may be short, or empty, and still have a next one, which
//! begins where looking ended. Of several indexes that could lead, the one leads that has no more rows than that, or else the one whose rows reach furthest.

use florin_engine::{Amount, Code, LedgerId, TransferStatus};

use super::error::StoreError;
use super::filter::{AccountFilter, OfAccount, TransferFilter};
use super::page::Order;

/// What can lead a list of transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// A reference, never 0.
    UserData128(u128),
    /// A reference, never 0.
    UserData64(u64),
    /// An entry of metadata.
    Entry(i64),
    /// An account.
    Account(OfAccount),
    /// A reference, never 0.
    UserData32(u32),
    /// Transfers that are or were pending, and voids.
    TwoPhase,
    /// The blocks of a ledger in which the amount can be.
    AmountBlocks { ledger: LedgerId, min: Amount, max: Amount },
    /// A code.
    Code(Code),
    /// A ledger.
    Ledger(LedgerId),
    /// Nothing: all rows in the order of time.
    Time,
}

/// What can lead a list of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccountLead {
    /// A reference, never 0.
    UserData128(u128),
    /// A reference, never 0.
    UserData64(u64),
    /// An entry of metadata.
    Entry(i64),
    /// A reference, never 0.
    UserData32(u32),
    /// A code.
    Code(Code),
    /// A ledger.
    Ledger(LedgerId),
    /// Nothing: all rows in the order of time.
    Time,
}

/// What leads, and where looking ends if it does before the rows do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<L> {
    pub(super) lead: L,
    pub(super) end: Option<u64>,
}

/// Chooses among `leads`. `probe` tells the time of the last row that would be looked at, or none when there are no more than may be.
pub(super) async fn choose<L: Copy>(
    leads: &[L],
    order: Order,
    mut probe: impl AsyncFnMut(L) -> Result<Option<u64>, StoreError>,
) -> Result<Chosen<L>, StoreError> {
    let mut furthest = Chosen { lead: leads[0], end: probe(leads[0]).await? };
    for lead in &leads[1..] {
        let Some(far) = furthest.end else { break };
        let end = probe(*lead).await?;
        let reaches_further = end.is_none_or(|end| match order {
            Order::NewestFirst => end < far,
            Order::OldestFirst => end > far,
        });
        if reaches_further {
            furthest = Chosen { lead: *lead, end };
        }
    }
    Ok(furthest)
}

impl TransferFilter {
    /// What could lead, the likeliest to leave few rows first; never nothing.
    pub(super) fn leads(&self) -> Vec<Lead> {
        let mut leads = Vec::new();
        // The legs of a transaction stand together: the caller has narrowed the span to them.
        if self.transaction.is_none() {
            leads.extend(self.user_data_128.filter(|value| *value != 0).map(Lead::UserData128));
            leads.extend(self.user_data_64.filter(|value| *value != 0).map(Lead::UserData64));
            leads.extend(self.metadata.iter().map(|equals| Lead::Entry(equals.entry())));
            leads.extend(self.account.map(Lead::Account));
            leads.extend(self.user_data_32.filter(|value| *value != 0).map(Lead::UserData32));
            match self.status {
                Some(
                    TransferStatus::Pending | TransferStatus::Voided | TransferStatus::Expired,
                ) => leads.push(Lead::TwoPhase),
                Some(TransferStatus::Posted) | None => {}
            }
            if let (Some(ledger), true) =
                (self.ledger, self.min_amount.is_some() || self.max_amount.is_some())
            {
                let min = self.min_amount.unwrap_or(Amount::ZERO);
                let max = self.max_amount.unwrap_or(Amount::MAX);
                leads.push(Lead::AmountBlocks { ledger, min, max });
            }
            leads.extend(self.code.map(Lead::Code));
            leads.extend(self.ledger.map(Lead::Ledger));
        }
        if leads.is_empty() {
            leads.push(Lead::Time);
        }
        leads
    }

    /// What is still asked of the rows that `lead` gives.
    pub(super) fn without(&self, lead: Lead) -> TransferFilter {
        let mut rest = self.clone();
        match lead {
            Lead::UserData128(_) => rest.user_data_128 = None,
            Lead::UserData64(_) => rest.user_data_64 = None,
            Lead::Entry(entry) => rest.metadata.retain(|equals| equals.entry() != entry),
            Lead::Account(_) => rest.account = None,
            Lead::UserData32(_) => rest.user_data_32 = None,
            Lead::AmountBlocks { .. } | Lead::Ledger(_) => rest.ledger = None,
            Lead::Code(_) => rest.code = None,
            Lead::TwoPhase | Lead::Time => {}
        }
        rest
    }

    /// Whether it asks for nothing but a range of time.
    pub(super) fn is_only_time(&self) -> bool {
        let time = self.time;
        *self == TransferFilter { time, ..TransferFilter::default() }
    }
}

impl AccountFilter {
    /// What could lead, the likeliest to leave few rows first; never nothing.
    pub(super) fn leads(&self) -> Vec<AccountLead> {
        let mut leads = Vec::new();
        leads.extend(self.user_data_128.filter(|value| *value != 0).map(AccountLead::UserData128));
        leads.extend(self.user_data_64.filter(|value| *value != 0).map(AccountLead::UserData64));
        leads.extend(self.metadata.iter().map(|equals| AccountLead::Entry(equals.entry())));
        leads.extend(self.user_data_32.filter(|value| *value != 0).map(AccountLead::UserData32));
        leads.extend(self.code.map(AccountLead::Code));
        leads.extend(self.ledger.map(AccountLead::Ledger));
        if leads.is_empty() {
            leads.push(AccountLead::Time);
        }
        leads
    }

    /// What is still asked of the rows that `lead` gives.
    pub(super) fn without(&self, lead: AccountLead) -> AccountFilter {
        let mut rest = self.clone();
        match lead {
            AccountLead::UserData128(_) => rest.user_data_128 = None,
            AccountLead::UserData64(_) => rest.user_data_64 = None,
            AccountLead::Entry(entry) => rest.metadata.retain(|equals| equals.entry() != entry),
            AccountLead::UserData32(_) => rest.user_data_32 = None,
            AccountLead::Ledger(_) => rest.ledger = None,
            AccountLead::Code(_) => rest.code = None,
            AccountLead::Time => {}
        }
        rest
    }

    /// Whether it asks for nothing but a range of time.
    pub(super) fn is_only_time(&self) -> bool {
        let time = self.time;
        *self == AccountFilter { time, ..AccountFilter::default() }
    }
}
