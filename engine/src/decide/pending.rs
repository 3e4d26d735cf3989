//! The second phase: posts, voids and expiry of pending transfers.

use super::transfers::{Ruled, rule_open};
use super::{Deciding, check};
use crate::asking::{Asking, Between};
use crate::command::ExpirePending;
use crate::decided::{Decided, DecidedBefore, DecidedKind, Settlement};
use crate::ids::Timestamp;
use crate::pending::Pending;
use crate::record::{Event, ItemOutcome, TransferExpired};
use crate::rejection::Rejection;
use crate::state::State;
use crate::transfer::TransferFlags;

/// What a post or void must not be besides.
const EXCLUDED: TransferFlags =
    TransferFlags::PENDING.with(TransferFlags::BALANCING).with(TransferFlags::CLOSING);

impl State {
    /// The rules of a post or void, after those of its id.
    #[inline(never)]
    pub(super) fn rule_settling(
        &mut self,
        asking: &Asking<'_>,
        timestamp: Timestamp,
        before: &mut dyn DecidedBefore,
    ) -> Result<Ruled, ItemOutcome> {
        rule_naming(asking).map_err(ItemOutcome::Rejected)?;
        let Some(pending) = self.pending.get(asking.item.pending_id).copied() else {
            return Err(self.rule_not_open(asking, before));
        };
        self.rule_open_pending(asking, &pending, timestamp).map_err(ItemOutcome::Rejected)
    }

    fn rule_open_pending(
        &mut self,
        asking: &Asking<'_>,
        pending: &Pending,
        timestamp: Timestamp,
    ) -> Result<Ruled, Rejection> {
        let item = asking.item;
        let (debit, credit) = (pending.debit, pending.credit);
        let amount = asking.settled_amount(self.between(pending), pending.amount)?;
        let is_over = pending.expires_at().is_some_and(|expires_at| expires_at <= timestamp);
        check(!is_over, Rejection::PendingTransferExpired)?;
        let timestamp = if item.flags.contains(TransferFlags::IMPORTED) {
            let admitted = self.moments.admit_transfer(item.timestamp);
            check(admitted, Rejection::ImportedEventTimestampMustNotRegress)?;
            item.timestamp
        } else {
            timestamp
        };
        if item.flags.contains(TransferFlags::POST_PENDING_TRANSFER) {
            rule_open(&self.accounts.at(debit).account, &self.accounts.at(credit).account)?;
        }
        Ok(Ruled { debit, credit, amount, timestamp, settles: Some(*pending) })
    }

    pub(super) fn between(&self, pending: &Pending) -> Between {
        let debit = &self.accounts.at(pending.debit).account;
        Between {
            debit_account_id: debit.id,
            credit_account_id: self.accounts.at(pending.credit).account.id,
            ledger: debit.ledger,
            code: pending.code,
        }
    }

    /// What the settling of a transfer comes to that is not open: it was settled before, was never pending, or was never created.
    fn rule_not_open(&self, asking: &Asking<'_>, before: &mut dyn DecidedBefore) -> ItemOutcome {
        let id = asking.item.pending_id;
        let decided = self.ids.known(id, before);
        let Some(decided) = decided.filter(|decided| decided.kind == DecidedKind::Transfer) else {
            return ItemOutcome::Rejected(Rejection::PendingTransferNotFound);
        };
        let ended = self.settled.get(id.0).or_else(|| before.settled(id));
        match ended.and_then(|ended| ended.kind.settlement()) {
            None => ItemOutcome::Rejected(Rejection::PendingTransferNotPending),
            Some(settlement) if asking.names_nothing() => {
                ItemOutcome::Rejected(settlement.rejection())
            }
            Some(settlement) => ItemOutcome::Settled { seq: decided.seq, settlement },
        }
    }

    /// Keeps what was asked for where its pending transfer was settled before, so that it can be compared with that one; within one
    /// command this is done at once, since that one may yet be undone with its chain.
    pub(super) fn note_settled(
        &self,
        deciding: &mut Deciding,
        index: u32,
        asking: Asking<'_>,
        outcome: ItemOutcome,
    ) -> ItemOutcome {
        let ItemOutcome::Settled { seq, settlement } = outcome else { return outcome };
        if seq == self.seq.next() {
            let pending = deciding.transfer(asking.item.pending_id);
            return ItemOutcome::Rejected(asking.refused_as_settled(pending, settlement));
        }
        deciding.asked.push((index, asking.to_asked()));
        outcome
    }

    /// Lets those expire that are due, at most as many as the command says. Returns how many.
    #[inline(never)]
    pub(super) fn decide_expiry(&mut self, deciding: &mut Deciding, asked: ExpirePending) -> u32 {
        let seq = self.seq.next();
        for index in 0..asked.limit {
            let due = self.pending.next_to_expire();
            let due = due.filter(|(expires_at, _)| *expires_at <= deciding.timestamp);
            let Some((_, id)) = due else { return index };
            let pending = *self.pending.get(id).expect("what expires next is open");
            let ledger = self.accounts.at(pending.debit).account.ledger;
            let (debit_account, credit_account) =
                self.apply_expired(id).expect("what expires next is open");
            let timestamp = deciding.timestamp.plus(u64::from(index));
            let kind = Settlement::Expired.kind();
            self.settled.insert(id.0, Decided::ended(seq, timestamp, kind, ledger));
            deciding.events.push(Event::TransferExpired(TransferExpired {
                id,
                debit_account,
                credit_account,
                amount: pending.amount,
                timestamp,
            }));
        }
        asked.limit
    }
}

/// The rules of what a post or void says of itself.
fn rule_naming(asking: &Asking<'_>) -> Result<(), Rejection> {
    let item = asking.item;
    let both = item.flags.contains(TransferFlags::SETTLING);
    let excluded = both || item.flags.intersects(EXCLUDED);
    check(!excluded, Rejection::FlagsAreMutuallyExclusive)?;
    check(item.pending_id.0 != 0, Rejection::PendingIdMustNotBeZero)?;
    check(item.pending_id.0 != u128::MAX, Rejection::PendingIdMustNotBeIntMax)?;
    check(item.pending_id != item.id, Rejection::PendingIdMustBeDifferent)?;
    check(item.timeout == 0, Rejection::TimeoutReservedForPendingTransfer)
}
