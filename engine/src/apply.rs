//! How events change the state, and how what a failed chain did is undone.
//!
//! Applying can not fail where deciding has ruled; its errors are those of a damaged record at replay.

use crate::account::{Account, AccountFlags};
use crate::accounts::Slot;
use crate::amount::Amount;
use crate::decided::Settlement;
use crate::ids::{JournalSeq, TransferId};
use crate::ledger::{Ledger, LedgerTotals, ledger_state_hash};
use crate::pending::Pending;
use crate::record::{AccountCreated, MetadataReplaced, OverdraftLimitChanged, TransferPosted};
use crate::state::{LedgerState, State};
use crate::transfer::{Metadata, Transfer, TransferFlags, metadata_digest};

impl State {
    pub(crate) fn apply_ledger_created(&mut self, ledger: Ledger) {
        self.open_ledger(ledger, LedgerTotals::default());
    }

    /// Undoes the newest [`State::apply_ledger_created`] of a rehearsal: nothing else has happened to it yet.
    pub(crate) fn undo_ledger_created(&mut self) {
        let LedgerState { ledger, totals } = self.ledgers.pop().expect("a ledger was opened");
        self.ledger_index.remove(&ledger.id.0);
        self.state_hash = self.state_hash.wrapping_sub(ledger_state_hash(&ledger, &totals));
    }

    pub(crate) fn apply_account_created(&mut self, created: &AccountCreated) {
        self.moments.account(created.timestamp);
        let slot = self.accounts.insert(Account::created(self.seq.next(), created));
        self.state_hash = self.state_hash.wrapping_add(self.accounts.at(slot).hash);
        self.totals_mut(created.ledger).accounts += 1;
    }

    /// Undoes the newest [`State::apply_account_created`] of a chain that failed.
    pub(crate) fn undo_account_created(&mut self) {
        let account = self.accounts.remove_newest();
        self.moments.undo_account(account.timestamp);
        self.state_hash = self.state_hash.wrapping_sub(account.state_hash());
        self.totals_mut(account.ledger).accounts -= 1;
    }

    /// Applies a transfer between the accounts that stand there, and returns where both stand among those touched.
    ///
    /// # Errors
    /// A balance would pass the largest amount, or the pending transfer to settle is not there: the decision excluded that, so
    /// only a damaged record can.
    #[inline]
    pub(crate) fn apply_transfer(
        &mut self,
        transfer: &Transfer,
        debit: Slot,
        credit: Slot,
    ) -> Result<(u32, u32), String> {
        let accounts = (self.touch(debit), self.touch(credit));
        self.moments.transfer(transfer.timestamp);
        if let Some((pending_id, settlement)) = transfer.settles() {
            let pending = self.release(pending_id)?;
            if (pending.debit, pending.credit) != (debit, credit) {
                return Err(format!("transfer {} is of other accounts", pending_id.0));
            }
            match settlement {
                Settlement::Posted => self.post(debit, credit, transfer.amount)?,
                Settlement::Voided | Settlement::Expired => self.reopen(&pending),
            }
            self.settled_now.push(pending);
        } else if transfer.flags.contains(TransferFlags::PENDING) {
            self.reserve(Pending {
                id: transfer.id,
                user_data_128: transfer.user_data_128,
                user_data_64: transfer.user_data_64,
                timestamp: transfer.timestamp,
                amount: transfer.amount,
                debit,
                credit,
                user_data_32: transfer.user_data_32,
                timeout: transfer.timeout,
                code: transfer.code,
                flags: transfer.flags,
            })?;
        } else {
            self.post(debit, credit, transfer.amount)?;
        }
        Ok(accounts)
    }

    /// Lets a pending transfer expire, and returns where both accounts stand among those touched.
    ///
    /// # Errors
    /// It is not there, which only a damaged record can say.
    pub(crate) fn apply_expired(&mut self, id: TransferId) -> Result<(u32, u32), String> {
        let missing = || format!("there is no open pending transfer {}", id.0);
        let (debit, credit) = self
            .pending
            .get(id)
            .map(|pending| (pending.debit, pending.credit))
            .ok_or_else(missing)?;
        let accounts = (self.touch(debit), self.touch(credit));
        let pending = self.release(id)?;
        self.reopen(&pending);
        self.settled_now.push(pending);
        Ok(accounts)
    }

    /// Undoes an [`State::apply_transfer`] of a chain that failed.
    pub(crate) fn undo_transfer(&mut self, posted: &TransferPosted) {
        let TransferPosted { transfer, debit_account, credit_account } = posted;
        match transfer.settles() {
            Some((_, settlement)) => {
                if settlement == Settlement::Posted {
                    self.unpost(*debit_account, *credit_account, transfer);
                }
                self.undo_settled();
            }
            None if transfer.flags.contains(TransferFlags::PENDING) => {
                let pending = self.release(transfer.id).expect("what was reserved is there");
                self.reopen(&pending);
            }
            None => self.unpost(*debit_account, *credit_account, transfer),
        }
    }

    /// Brings back the pending transfer that was settled last.
    pub(crate) fn undo_settled(&mut self) {
        let pending = self.settled_now.pop().expect("what was settled was kept");
        self.reserve(pending).expect("what was released can be reserved again");
    }

    #[inline]
    fn post(&mut self, debit: Slot, credit: Slot, amount: Amount) -> Result<(), String> {
        let giver = &mut self.accounts.at_mut(debit).account;
        let posted = giver.balances.debits_posted.checked_add(amount);
        giver.balances.debits_posted = posted.ok_or_else(overflow)?;
        let ledger = giver.ledger;
        let taker = &mut self.accounts.at_mut(credit).account.balances;
        taker.credits_posted = taker.credits_posted.checked_add(amount).ok_or_else(overflow)?;
        // An amount is below 2^96 and so is each of fewer than 2^32 accounts' balances: their sum stays below 2^128.
        self.totals_mut(ledger).posted += amount.minor_units();
        Ok(())
    }

    fn unpost(&mut self, debit_account: u32, credit_account: u32, transfer: &Transfer) {
        let undo = |balance: &mut Amount| {
            let before = balance.checked_sub(transfer.amount);
            *balance = before.expect("what was added can be taken away");
        };
        let debit = self.touched[debit_account as usize].slot;
        undo(&mut self.accounts.at_mut(debit).account.balances.debits_posted);
        let credit = self.touched[credit_account as usize].slot;
        undo(&mut self.accounts.at_mut(credit).account.balances.credits_posted);
        self.totals_mut(transfer.ledger).posted -= transfer.amount.minor_units();
    }

    /// Opens a pending transfer: reserves its amount, and closes the accounts that it closes.
    #[inline(never)]
    fn reserve(&mut self, pending: Pending) -> Result<(), String> {
        let Pending { debit, credit, amount, flags, .. } = pending;
        let giver = &mut self.accounts.at_mut(debit).account;
        let reserved = giver.balances.debits_pending.checked_add(amount);
        giver.balances.debits_pending = reserved.ok_or_else(overflow)?;
        if flags.contains(TransferFlags::CLOSING_DEBIT) {
            giver.flags = giver.flags.with(AccountFlags::CLOSED);
        }
        let ledger = giver.ledger;
        let taker = &mut self.accounts.at_mut(credit).account;
        let reserved = taker.balances.credits_pending.checked_add(amount);
        taker.balances.credits_pending = reserved.ok_or_else(overflow)?;
        if flags.contains(TransferFlags::CLOSING_CREDIT) {
            taker.flags = taker.flags.with(AccountFlags::CLOSED);
        }
        // As in `post`.
        self.totals_mut(ledger).pending += amount.minor_units();
        self.state_hash = self.state_hash.wrapping_add(self.shown(&pending).state_hash());
        self.pending.insert(pending);
        Ok(())
    }

    /// Takes an open pending transfer out, and releases its amount.
    #[inline(never)]
    fn release(&mut self, id: TransferId) -> Result<Pending, String> {
        let missing = || format!("there is no open pending transfer {}", id.0);
        let pending = self.pending.remove(id).ok_or_else(missing)?;
        self.state_hash = self.state_hash.wrapping_sub(self.shown(&pending).state_hash());
        let undo = |balance: &mut Amount| {
            let before = balance.checked_sub(pending.amount);
            *balance = before.expect("what is reserved can be released");
        };
        let giver = &mut self.accounts.at_mut(pending.debit).account;
        undo(&mut giver.balances.debits_pending);
        let ledger = giver.ledger;
        undo(&mut self.accounts.at_mut(pending.credit).account.balances.credits_pending);
        self.totals_mut(ledger).pending -= pending.amount.minor_units();
        Ok(pending)
    }

    /// Opens again the accounts that a pending transfer closed.
    fn reopen(&mut self, pending: &Pending) {
        let closed = [
            (TransferFlags::CLOSING_DEBIT, pending.debit),
            (TransferFlags::CLOSING_CREDIT, pending.credit),
        ];
        for (flag, slot) in closed {
            if pending.flags.contains(flag) {
                let account = &mut self.accounts.at_mut(slot).account;
                account.flags = account.flags.without(AccountFlags::CLOSED);
            }
        }
    }

    // --- accounts, beside transfers ------------------------------------------------------------------------------------

    /// Gives an account another overdraft limit, and returns where it stands among those touched.
    pub(crate) fn apply_overdraft_limit(&mut self, slot: Slot, limit: Amount) -> u32 {
        let account = self.touch(slot);
        self.accounts.at_mut(slot).account.overdraft_limit = limit;
        account
    }

    pub(crate) fn undo_overdraft_limit(&mut self, changed: &OverdraftLimitChanged) {
        let slot = self.touched[changed.account as usize].slot;
        self.accounts.at_mut(slot).account.overdraft_limit = changed.before;
    }

    /// Gives an account other metadata, and returns where it stands among those touched.
    pub(crate) fn apply_metadata(&mut self, slot: Slot, metadata: Option<&Metadata>) -> u32 {
        let touched = self.touch(slot);
        let seq = if metadata.is_some() { self.seq.next() } else { JournalSeq::NONE };
        let account = &mut self.accounts.at_mut(slot).account;
        account.metadata_digest = metadata_digest(metadata);
        account.metadata_seq = seq;
        touched
    }

    pub(crate) fn undo_metadata(&mut self, replaced: &MetadataReplaced) {
        let slot = self.touched[replaced.account as usize].slot;
        let account = &mut self.accounts.at_mut(slot).account;
        account.metadata_digest = replaced.digest_before;
        account.metadata_seq = replaced.before;
    }
}

fn overflow() -> String {
    "a balance would pass the largest amount".to_owned()
}
