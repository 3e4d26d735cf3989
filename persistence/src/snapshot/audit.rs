//! Adds up a whole state while it streams by, and compares it with what it should be.

use std::collections::BTreeMap;

use florin_engine::{
    Account, AccountId, Amount, Ledger, LedgerId, LedgerTotals, ledger_state_hash,
};

/// How a state differs from what it should be. Behind valid checksums this is a bug or corrupted memory: whoever meets it must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// An account of a ledger that does not exist.
    #[error("account {} is of ledger {}, which does not exist", .account.0, .ledger.0)]
    UnknownLedger {
        /// The account.
        account: AccountId,
        /// Its ledger.
        ledger: LedgerId,
    },
    /// Money was made or lost.
    #[error(
        "the debits of ledger {} are not its credits: {debits_posted} and {credits_posted} minor units posted, \
         {debits_pending} and {credits_pending} pending", .ledger.0
    )]
    NotConserved {
        /// The ledger.
        ledger: LedgerId,
        /// The sum over its accounts.
        debits_posted: u128,
        /// The sum over its accounts.
        credits_posted: u128,
        /// The sum over its accounts.
        debits_pending: u128,
        /// The sum over its accounts.
        credits_pending: u128,
    },
    /// The accounts do not add up to the ledger's totals.
    #[error("the accounts of ledger {} add up to {found:?}, but its totals are {expected:?}", .ledger.0)]
    TotalsDiffer {
        /// The ledger.
        ledger: LedgerId,
        /// Its totals.
        expected: LedgerTotals,
        /// The sums over its accounts.
        found: LedgerTotals,
    },
    /// There are more or fewer accounts than there should be.
    #[error("there are {found} accounts, and should be {expected}")]
    AccountsDiffer {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
    },
    /// The state is another one.
    #[error("the state hash is {found:#018x}, and should be {expected:#018x}")]
    StateHashDiffers {
        /// That of the journal.
        expected: u64,
        /// That of the accounts and ledgers.
        found: u64,
    },
}

#[derive(Debug)]
pub(super) struct Audit {
    sums: BTreeMap<LedgerId, Sums>,
    accounts: u64,
    state_hash: u64,
}

#[derive(Debug)]
struct Sums {
    expected: LedgerTotals,
    accounts: u64,
    debits_posted: u128,
    credits_posted: u128,
    debits_pending: u128,
    credits_pending: u128,
}

impl Audit {
    pub(super) const fn new() -> Audit {
        Audit { sums: BTreeMap::new(), accounts: 0, state_hash: 0 }
    }

    pub(super) fn ledger(&mut self, ledger: &Ledger, totals: &LedgerTotals) {
        self.state_hash = self.state_hash.wrapping_add(ledger_state_hash(ledger, totals));
        let sums = Sums {
            expected: *totals,
            accounts: 0,
            debits_posted: 0,
            credits_posted: 0,
            debits_pending: 0,
            credits_pending: 0,
        };
        self.sums.insert(ledger.id, sums);
    }

    pub(super) fn account(&mut self, account: &Account) -> Result<(), Discrepancy> {
        let Account { id, ledger, balances, .. } = account;
        let sums = self
            .sums
            .get_mut(ledger)
            .ok_or(Discrepancy::UnknownLedger { account: *id, ledger: *ledger })?;
        sums.accounts += 1;
        add(&mut sums.debits_posted, balances.debits_posted);
        add(&mut sums.credits_posted, balances.credits_posted);
        add(&mut sums.debits_pending, balances.debits_pending);
        add(&mut sums.credits_pending, balances.credits_pending);
        self.accounts += 1;
        self.state_hash = self.state_hash.wrapping_add(account.state_hash());
        Ok(())
    }

    /// Compares after the last account.
    pub(super) fn finish(&self, accounts: u64, state_hash: u64) -> Result<(), Discrepancy> {
        if self.accounts != accounts {
            return Err(Discrepancy::AccountsDiffer { expected: accounts, found: self.accounts });
        }
        for (ledger, sums) in &self.sums {
            sums.compare(*ledger)?;
        }
        if self.state_hash != state_hash {
            let found = self.state_hash;
            return Err(Discrepancy::StateHashDiffers { expected: state_hash, found });
        }
        Ok(())
    }
}

impl Sums {
    fn compare(&self, ledger: LedgerId) -> Result<(), Discrepancy> {
        let Sums { debits_posted, credits_posted, debits_pending, credits_pending, .. } = *self;
        if debits_posted != credits_posted || debits_pending != credits_pending {
            return Err(Discrepancy::NotConserved {
                ledger,
                debits_posted,
                credits_posted,
                debits_pending,
                credits_pending,
            });
        }
        let found = LedgerTotals {
            accounts: self.accounts,
            posted: debits_posted,
            pending: debits_pending,
        };
        if found != self.expected {
            return Err(Discrepancy::TotalsDiffer { ledger, expected: self.expected, found });
        }
        Ok(())
    }
}

/// 2^32 accounts of the largest amount fit; at the bound a sum stays, and then differs from the ledger's totals.
fn add(sum: &mut u128, amount: Amount) {
    *sum = sum.saturating_add(amount.minor_units());
}
