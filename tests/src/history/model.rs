//! The rules that a history is held against: as small as they can be written, so that they can be wrong only where anybody sees it.

use std::collections::HashMap;

use super::Action;

/// The four sums of an account, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balances {
    /// Reserved to be given.
    pub debits_pending: u64,
    /// Given.
    pub debits_posted: u64,
    /// Reserved to be received.
    pub credits_pending: u64,
    /// Received.
    pub credits_posted: u64,
}

impl Balances {
    /// Credits less debits.
    #[must_use]
    pub fn balance(self) -> i64 {
        signed(self.credits_posted) - signed(self.debits_posted)
    }

    /// The balance less what is reserved to be given.
    #[must_use]
    pub fn available(self) -> i64 {
        self.balance() - signed(self.debits_pending)
    }
}

/// What a history sums up to never comes near the bound.
fn signed(amount: u64) -> i64 {
    i64::try_from(amount).expect("the sums of a test stay small")
}

/// An account as the model has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whether it can not be overdrawn.
    pub limited: bool,
    /// How many commands changed it.
    pub version: u64,
    /// Its sums.
    pub balances: Balances,
}

impl Account {
    /// A new one.
    #[must_use]
    pub fn new(limited: bool) -> Account {
        Account { limited, version: 0, balances: Balances::default() }
    }

    /// Whether it may not give this much.
    pub(super) fn refuses(self, amount: u64) -> bool {
        self.limited && self.balances.available() < signed(amount)
    }
}

/// What is reserved by a transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) debit: u128,
    pub(super) credit: u128,
    pub(super) amount: u64,
}

/// All accounts, and what is reserved between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) accounts: HashMap<u128, Account>,
    pub(super) pending: HashMap<u128, Pending>,
}

impl Model {
    /// An account of the history.
    ///
    /// # Panics
    /// The checker was not told of it.
    pub(super) fn account(&self, id: u128) -> Account {
        *self.accounts.get(&id).unwrap_or_else(|| panic!("account {id} is none of the history"))
    }

    /// Who gives and who receives; none where nothing is reserved that could be settled so.
    pub(super) fn accounts_of(&self, action: Action) -> Option<(u128, u128)> {
        match action {
            Action::Post { debit, credit, .. } | Action::Reserve { debit, credit, .. } => {
                Some((debit, credit))
            }
            Action::Settle { pending, amount } => {
                let found = self.pending.get(&pending).filter(|found| amount <= found.amount)?;
                Some((found.debit, found.credit))
            }
        }
    }

    /// Whether the account that gives may give it.
    pub(super) fn allows(&self, action: Action) -> bool {
        match action {
            Action::Post { debit, amount, .. } | Action::Reserve { debit, amount, .. } => {
                !self.account(debit).refuses(amount)
            }
            Action::Settle { .. } => true,
        }
    }

    /// Carries out what is allowed, as the transfer with this id.
    pub(super) fn apply(&mut self, id: u128, action: Action) {
        match action {
            Action::Post { debit, credit, amount } => {
                self.balances(debit).debits_posted += amount;
                self.balances(credit).credits_posted += amount;
            }
            Action::Reserve { debit, credit, amount } => {
                self.balances(debit).debits_pending += amount;
                self.balances(credit).credits_pending += amount;
                self.pending.insert(id, Pending { debit, credit, amount });
            }
            Action::Settle { pending, amount } => {
                let Some(reserved) = self.pending.remove(&pending) else { return };
                let debit = self.balances(reserved.debit);
                debit.debits_pending -= reserved.amount;
                debit.debits_posted += amount;
                let credit = self.balances(reserved.credit);
                credit.credits_pending -= reserved.amount;
                credit.credits_posted += amount;
            }
        }
    }

    /// A command has changed this account.
    pub(super) fn count_version(&mut self, id: u128) {
        self.entry(id).version += 1;
    }

    fn balances(&mut self, id: u128) -> &mut Balances {
        &mut self.entry(id).balances
    }

    fn entry(&mut self, id: u128) -> &mut Account {
        self.accounts.get_mut(&id).unwrap_or_else(|| panic!("account {id} is none of the history"))
    }
}
