//! `create_transfers`: posts and voids, and what becomes of a pending transfer whose time is over.

use florin_engine::{AccountFlags, Field, LedgerId, Rejection, SignedAmount, TransferFlags};

use super::transfers::rule_open;
use super::{AMOUNT_MAX, Asked, Book, Happened, ID_MAX, Phase, Rule, Transfer, refuse_if};

impl Book {
    pub(super) fn settle(&mut self, asked: Asked, own: u64, event: u64) -> Rule {
        rule_fields(&asked)?;
        let pending = self.transfers.get(&asked.pending_id);
        let pending = pending.ok_or(Rejection::PendingTransferNotFound)?.clone();
        refuse_if(
            !pending.asked.flags.contains(TransferFlags::PENDING),
            Rejection::PendingTransferNotPending,
        )?;
        rule_same(&asked, &pending)?;
        let amount = rule_amount(&asked, &pending)?;
        rule_unsettled(&pending, event)?;
        let imported = asked.flags.contains(TransferFlags::IMPORTED);
        if imported {
            self.rule_imported(own)?;
        }
        let post = asked.flags.contains(TransferFlags::POST_PENDING_TRANSFER);
        if post {
            let debit = &self.accounts[&pending.debit_account_id];
            let credit = &self.accounts[&pending.credit_account_id];
            rule_open(debit, credit)?;
        }
        self.release(&pending, if post { Phase::Posted } else { Phase::Voided });
        if post {
            self.account(pending.debit_account_id, |account| account.debits_posted += amount);
            self.account(pending.credit_account_id, |account| account.credits_posted += amount);
        }
        self.happens(Transfer {
            debit_account_id: pending.debit_account_id,
            credit_account_id: pending.credit_account_id,
            amount,
            user_data_128: or(asked.user_data_128, pending.user_data_128),
            user_data_64: or(asked.user_data_64, pending.user_data_64),
            user_data_32: or(asked.user_data_32, pending.user_data_32),
            ledger: pending.ledger,
            code: pending.code,
            timestamp: if imported { own } else { event },
            seq: self.seq + 1,
            phase: Phase::Single,
            asked,
        });
        Ok(())
    }

    /// Gives back what a pending transfer reserved; unless it was posted, what it closed is open again.
    fn release(&mut self, pending: &Transfer, phase: Phase) {
        let reopens = |flag| phase != Phase::Posted && pending.asked.flags.contains(flag);
        self.account(pending.debit_account_id, |account| {
            account.debits_pending -= pending.amount;
            if reopens(TransferFlags::CLOSING_DEBIT) {
                account.flags = account.flags.without(AccountFlags::CLOSED);
            }
        });
        self.account(pending.credit_account_id, |account| {
            account.credits_pending -= pending.amount;
            if reopens(TransferFlags::CLOSING_CREDIT) {
                account.flags = account.flags.without(AccountFlags::CLOSED);
            }
        });
        self.transfers.get_mut(&pending.asked.id).unwrap().phase = phase;
    }

    /// The pending transfers whose time is over, no more than `limit`: by their moment of expiry, then by that of creation.
    pub(super) fn due(&self, limit: u32, now: u64) -> Vec<Transfer> {
        let due = self.open().filter(|(_, transfer)| {
            transfer.expires_at().is_some_and(|expires_at| expires_at <= now)
        });
        let mut due: Vec<Transfer> = due.map(|(_, transfer)| transfer.clone()).collect();
        due.sort_by_key(|transfer| (transfer.expires_at(), transfer.timestamp));
        due.truncate(limit as usize);
        due
    }

    pub(super) fn expire(&mut self, limit: u32, first: u64) {
        for (pending, timestamp) in self.due(limit, first).iter().zip(first..) {
            self.release(pending, Phase::Expired);
            self.happened.push(Happened::Expired { id: pending.asked.id, timestamp });
        }
    }
}

impl Transfer {
    /// From when on it can no longer be posted or voided.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        let timeout = self.asked.timeout;
        (timeout > 0).then(|| self.timestamp + u64::from(timeout) * 1_000_000_000)
    }
}

fn or<T: Default + PartialEq>(named: T, otherwise: T) -> T {
    if named == T::default() { otherwise } else { named }
}

fn rule_fields(asked: &Asked) -> Rule {
    let flags = asked.flags;
    let both = flags.contains(TransferFlags::POST_PENDING_TRANSFER)
        && flags.contains(TransferFlags::VOID_PENDING_TRANSFER);
    let excluded = [
        TransferFlags::PENDING,
        TransferFlags::BALANCING_DEBIT,
        TransferFlags::BALANCING_CREDIT,
        TransferFlags::CLOSING_DEBIT,
        TransferFlags::CLOSING_CREDIT,
    ];
    let excludes = excluded.into_iter().any(|other| flags.contains(other));
    refuse_if(both || excludes, Rejection::FlagsAreMutuallyExclusive)?;
    refuse_if(asked.pending_id == 0, Rejection::PendingIdMustNotBeZero)?;
    refuse_if(asked.pending_id == ID_MAX, Rejection::PendingIdMustNotBeIntMax)?;
    refuse_if(asked.pending_id == asked.id, Rejection::PendingIdMustBeDifferent)?;
    refuse_if(asked.timeout != 0, Rejection::TimeoutReservedForPendingTransfer)
}

/// What a post or void names of its pending transfer must be so; zero names nothing.
fn rule_same(asked: &Asked, pending: &Transfer) -> Rule {
    let ledger = asked.ledger.unwrap_or(0);
    refuse_if(
        asked.debit_account_id != 0 && asked.debit_account_id != pending.debit_account_id,
        Rejection::PendingTransferHasDifferentDebitAccountId,
    )?;
    refuse_if(
        asked.credit_account_id != 0 && asked.credit_account_id != pending.credit_account_id,
        Rejection::PendingTransferHasDifferentCreditAccountId,
    )?;
    refuse_if(
        ledger != 0 && ledger != pending.ledger,
        Rejection::PendingTransferHasDifferentLedger,
    )?;
    refuse_if(
        asked.code != 0 && asked.code != pending.code,
        Rejection::PendingTransferHasDifferentCode,
    )
}

/// A void is of all that is pending, which zero says too; a post of a part, or with the largest amount of all.
fn rule_amount(asked: &Asked, pending: &Transfer) -> Result<u128, Rejection> {
    let void = asked.flags.contains(TransferFlags::VOID_PENDING_TRANSFER);
    let all = if void { 0 } else { AMOUNT_MAX };
    let amount = if asked.amount == all { pending.amount } else { asked.amount };
    let (requested, ledger) = (SignedAmount::new(amount as i128), LedgerId(pending.ledger));
    let pending = SignedAmount::new(pending.amount as i128);
    refuse_if(
        requested > pending,
        Rejection::ExceedsPendingTransferAmount { pending, requested, ledger },
    )?;
    refuse_if(
        void && requested < pending,
        Rejection::PendingTransferHasDifferentAmount { pending, requested, ledger },
    )?;
    Ok(amount)
}

fn rule_unsettled(pending: &Transfer, event: u64) -> Rule {
    match pending.phase {
        Phase::Single => unreachable!("it is pending"),
        Phase::Posted => Err(Rejection::PendingTransferAlreadyPosted),
        Phase::Voided => Err(Rejection::PendingTransferAlreadyVoided),
        Phase::Expired => Err(Rejection::PendingTransferExpired),
        Phase::Pending => refuse_if(
            pending.expires_at().is_some_and(|expires_at| expires_at <= event),
            Rejection::PendingTransferExpired,
        ),
    }
}

/// In what a post or void differs from the one that exists: what it leaves open is the pending transfer's.
pub(super) fn differences(
    asked: &Asked,
    existing: &Transfer,
    pending: &Transfer,
) -> [(bool, Field); 8] {
    let void = asked.flags.contains(TransferFlags::VOID_PENDING_TRANSFER);
    let all = if void { 0 } else { AMOUNT_MAX };
    let amount = if asked.amount == all { pending.amount } else { asked.amount };
    let differs = |asked: u128, existing: u128| asked != 0 && asked != existing;
    let ledger = asked.ledger.unwrap_or(0);
    [
        (differs(asked.debit_account_id, existing.debit_account_id), Field::DebitAccountId),
        (differs(asked.credit_account_id, existing.credit_account_id), Field::CreditAccountId),
        (amount != existing.amount, Field::Amount),
        (
            or(asked.user_data_128, pending.user_data_128) != existing.user_data_128,
            Field::UserData128,
        ),
        (or(asked.user_data_64, pending.user_data_64) != existing.user_data_64, Field::UserData64),
        (or(asked.user_data_32, pending.user_data_32) != existing.user_data_32, Field::UserData32),
        (differs(u128::from(ledger), u128::from(existing.ledger)), Field::Ledger),
        (differs(u128::from(asked.code), u128::from(existing.code)), Field::Code),
    ]
}
