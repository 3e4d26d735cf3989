//! Money is conserved: asserted for each command, live and at replay.

use crate::account::Balances;
use crate::amount::Amount;
use crate::ids::LedgerId;
use crate::ledger::LedgerTotals;

/// What a command moved, by ledger: the sums over the accounts it touched.
#[derive(Default)]
pub(crate) struct Moved {
    by_ledger: Vec<(LedgerId, MovedSums)>,
}

#[derive(Clone, Copy, Default)]
struct MovedSums {
    debits_posted: i128,
    credits_posted: i128,
    debits_pending: i128,
    credits_pending: i128,
}

impl Moved {
    pub(crate) fn add(&mut self, ledger: LedgerId, before: &Balances, after: &Balances) {
        let known = self.by_ledger.iter().position(|(id, _)| *id == ledger);
        let index = known.unwrap_or_else(|| {
            self.by_ledger.push((ledger, MovedSums::default()));
            self.by_ledger.len() - 1
        });
        let change = |before: Amount, after: Amount| {
            after.minor_units() as i128 - before.minor_units() as i128
        };
        let sums = &mut self.by_ledger[index].1;
        sums.debits_posted += change(before.debits_posted, after.debits_posted);
        sums.credits_posted += change(before.credits_posted, after.credits_posted);
        sums.debits_pending += change(before.debits_pending, after.debits_pending);
        sums.credits_pending += change(before.credits_pending, after.credits_pending);
    }

    /// Money is conserved: what the accounts gave is what the accounts took, and what the ledger's totals say moved.
    pub(crate) fn assert_conserved(
        &self,
        ledger: LedgerId,
        before: &LedgerTotals,
        after: &LedgerTotals,
    ) {
        let sums = self.by_ledger.iter().find(|(id, _)| *id == ledger);
        let sums = sums.map_or(MovedSums::default(), |(_, sums)| *sums);
        let posted = after.posted as i128 - before.posted as i128;
        let pending = after.pending as i128 - before.pending as i128;
        assert!(
            sums.debits_posted == posted && sums.credits_posted == posted,
            "posted money is not conserved in ledger {}",
            ledger.0
        );
        assert!(
            sums.debits_pending == pending && sums.credits_pending == pending,
            "pending money is not conserved in ledger {}",
            ledger.0
        );
    }
}
