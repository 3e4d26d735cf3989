//! Adds up a whole state while it streams by, and compares it with what it should be.

use std::collections::BTreeMap;

use florin_engine::{
    Account, AccountId, Amount, Ledger, LedgerId, LedgerTotals, PendingTransfer, TransferId,
    ledger_state_hash,
};

use super::SnapshotHeader;

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
    /// A pending transfer of a ledger that does not exist.
    #[error("the pending transfer {} is of ledger {}, which does not exist", .transfer.0, .ledger.0)]
    UnknownLedgerOfPending {
        /// The transfer.
        transfer: TransferId,
        /// Its ledger.
        ledger: LedgerId,
    },
    /// The open pending transfers do not add up to what is pending.
    #[error("the open pending transfers of ledger {} add up to {found} minor units, but {expected} are pending", .ledger.0)]
    PendingDiffers {
        /// The ledger.
        ledger: LedgerId,
        /// What is pending, by its totals.
        expected: u128,
        /// The sum over its open pending transfers.
        found: u128,
    },
    /// There are more or fewer open pending transfers than there should be.
    #[error("there are {found} open pending transfers, and should be {expected}")]
    PendingCountDiffers {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
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
        /// That of the accounts, ledgers and open pending transfers.
        found: u64,
    },
}

#[derive(Debug)]
pub(super) struct Audit {
    sums: BTreeMap<LedgerId, Sums>,
    accounts: u64,
    pending: u64,
    state_hash: u64,
}

/// Whether a snapshot tells the pending transfers that are open: those of version 1 do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingTold {
    Yes,
    No,
}

#[derive(Debug)]
struct Sums {
    expected: LedgerTotals,
    accounts: u64,
    debits_posted: u128,
    credits_posted: u128,
    debits_pending: u128,
    credits_pending: u128,
    open: u128,
}

impl Audit {
    pub(super) const fn new() -> Audit {
        Audit { sums: BTreeMap::new(), accounts: 0, pending: 0, state_hash: 0 }
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
            open: 0,
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

    pub(super) fn pending(&mut self, pending: &PendingTransfer) -> Result<(), Discrepancy> {
        let PendingTransfer { id, ledger, amount, .. } = *pending;
        let unknown = Discrepancy::UnknownLedgerOfPending { transfer: id, ledger };
        add(&mut self.sums.get_mut(&ledger).ok_or(unknown)?.open, amount);
        self.pending += 1;
        self.state_hash = self.state_hash.wrapping_add(pending.state_hash());
        Ok(())
    }

    /// Compares after the last entry with what the header says.
    pub(super) fn finish(
        &self,
        header: &SnapshotHeader,
        pending_told: PendingTold,
    ) -> Result<(), Discrepancy> {
        let SnapshotHeader { accounts, pending, state_hash, .. } = *header;
        if self.accounts != accounts {
            return Err(Discrepancy::AccountsDiffer { expected: accounts, found: self.accounts });
        }
        if self.pending != pending {
            let found = self.pending;
            return Err(Discrepancy::PendingCountDiffers { expected: pending, found });
        }
        for (ledger, sums) in &self.sums {
            sums.compare(*ledger)?;
            let (expected, found) = (sums.expected.pending, sums.open);
            if pending_told == PendingTold::Yes && found != expected {
                return Err(Discrepancy::PendingDiffers { ledger: *ledger, expected, found });
            }
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
