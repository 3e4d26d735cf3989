//! The newest moments of accounts and transfers: what the timestamps of imported ones must come after.
//!
//! The reference keeps accounts and transfers in one order of timestamps: an imported one must be newer than the newest of its kind, and have a
//! timestamp that none of the other kind has. For a transfer this is kept exactly: the timestamps of the accounts that are newer than the
//! newest transfer are remembered. For an account it would take the timestamps of all transfers since the newest account, without bound; there an equal one of a
//! transfer is let pass, and nothing rests on it.

use crate::ids::Timestamp;

#[derive(Default)]
pub(crate) struct Moments {
    newest: Newest,
    /// The timestamps of the accounts newer than the newest transfer, and perhaps of some that are older.
    accounts: Vec<Timestamp>,
    is_sorted: bool,
}

/// The newest of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest {
    pub(crate) account: Timestamp,
    pub(crate) transfer: Timestamp,
}

impl Moments {
    /// Those of a snapshot, before its accounts.
    pub(crate) fn restore(newest_transfer: Timestamp) -> Moments {
        let newest = Newest { transfer: newest_transfer, account: Timestamp(0) };
        Moments { newest, accounts: Vec::new(), is_sorted: true }
    }

    pub(crate) fn newest(&self) -> Newest {
        self.newest
    }

    /// Goes back to what was newest before a chain that failed.
    pub(crate) fn set_newest(&mut self, newest: Newest) {
        self.newest = newest;
    }

    #[inline]
    pub(crate) fn transfer(&mut self, timestamp: Timestamp) {
        self.newest.transfer = self.newest.transfer.max(timestamp);
    }

    pub(crate) fn account(&mut self, timestamp: Timestamp) {
        if timestamp > self.newest.transfer {
            self.is_sorted =
                self.accounts.last().is_none_or(|last| self.is_sorted && *last < timestamp);
            self.accounts.push(timestamp);
        }
        self.newest.account = self.newest.account.max(timestamp);
    }

    /// Undoes the newest [`Moments::account`]; the newest of both are set back apart.
    pub(crate) fn undo_account(&mut self, timestamp: Timestamp) {
        self.accounts.pop_if(|newest| *newest == timestamp);
    }

    /// Forgets, at the end of a command, what no later transfer can meet.
    #[inline]
    pub(crate) fn forget(&mut self) {
        if self.newest.account <= self.newest.transfer && !self.accounts.is_empty() {
            self.accounts = Vec::new();
        }
    }

    /// Whether an imported account may have this timestamp.
    pub(crate) fn admit_account(&self, timestamp: Timestamp) -> bool {
        timestamp > self.newest.account
    }

    /// Whether an imported transfer may have this timestamp.
    pub(crate) fn admit_transfer(&mut self, timestamp: Timestamp) -> bool {
        if !self.is_sorted {
            self.accounts.sort_unstable();
            self.is_sorted = true;
        }
        timestamp > self.newest.transfer && self.accounts.binary_search(&timestamp).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_transfer_has_a_moment_of_its_own_after_the_newest() {
        let mut moments = Moments::restore(Timestamp(10));
        for restored in [40, 5, 20, 30] {
            moments.account(Timestamp(restored));
        }
        let admitted: Vec<u64> =
            (8..42).filter(|at| moments.admit_transfer(Timestamp(*at))).collect();
        assert_eq!(admitted, (11..42).filter(|at| at % 10 != 0).collect::<Vec<_>>());
        moments.transfer(Timestamp(30));
        moments.forget();
        assert!(!moments.admit_transfer(Timestamp(40)));
        assert!(!moments.admit_transfer(Timestamp(30)));
        moments.transfer(Timestamp(40));
        moments.forget();
        assert!(moments.accounts.is_empty());
        assert!(moments.admit_transfer(Timestamp(41)));
        assert!(!moments.admit_account(Timestamp(40)));
    }
}
