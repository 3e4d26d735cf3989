//! `create_transfers`: single-phase and pending ones.

use florin_engine::{
    AccountFlags, CreateTransfer, Field, LedgerId, Rejection, SignedAmount, TransferFlags,
};

use super::{
    AMOUNT_MAX, Account, Asked, Book, Happened, Head, ID_MAX, Moments, Phase, Rule, Status,
    TIME_MAX, Transfer, exists_unless, refuse_if,
};

impl Book {
    pub(super) fn create_transfers(
        &mut self,
        transfers: &[CreateTransfer],
        amounts: &[u128],
        at: Moments,
    ) -> Vec<Status> {
        let heads: Vec<Head> = transfers.iter().map(head).collect();
        self.batch(&heads, at, |book, index, timestamp| {
            let asked = book.asked(&transfers[index], amounts[index], None);
            book.create_transfer(asked, transfers[index].timestamp.0, timestamp)
        })
    }

    /// What is asked for, with the debit account's ledger where none is named.
    pub(super) fn asked(&self, item: &CreateTransfer, amount: u128, leg_of: Option<u128>) -> Asked {
        let settles = is_settling(item.flags);
        let ledger = match item.ledger {
            Some(ledger) => Some(ledger.0),
            None if settles => Some(0),
            None => self.accounts.get(&item.debit_account_id.0).map(|account| account.ledger),
        };
        Asked {
            id: item.id.0,
            debit_account_id: item.debit_account_id.0,
            credit_account_id: item.credit_account_id.0,
            amount,
            pending_id: item.pending_id.0,
            user_data_128: item.user_data_128,
            user_data_64: item.user_data_64,
            user_data_32: item.user_data_32,
            timeout: item.timeout,
            ledger,
            code: item.code.0,
            flags: item.flags,
            effective_at: item.effective_at.map(|at| at.0),
            metadata: florin_engine::metadata_digest(item.metadata.as_ref()),
            leg_of,
        }
    }

    /// `own` is the moment that an imported transfer brings; all others have that of the event.
    pub(super) fn create_transfer(&mut self, asked: Asked, own: u64, event: u64) -> Status {
        if asked.id == 0 {
            return Status::Refused(Rejection::IdMustNotBeZero);
        }
        if asked.id == ID_MAX {
            return Status::Refused(Rejection::IdMustNotBeIntMax);
        }
        if let Some(existing) = self.transfers.get(&asked.id) {
            let status = self.transfer_exists(&asked, existing);
            let is_of_this_command = existing.seq > self.seq;
            self.in_other_words |= matches!(status, Status::Exists(..))
                && asked != existing.asked
                && !is_of_this_command;
            return status;
        }
        if self.transactions.contains_key(&asked.id) {
            return Status::Refused(Rejection::ExistsWithDifferentKind);
        }
        if self.burned.contains(&asked.id) {
            return Status::Refused(Rejection::IdAlreadyFailed);
        }
        let decided = if is_settling(asked.flags) {
            self.settle(asked, own, event)
        } else {
            self.move_money(asked, own, event)
        };
        match decided {
            Ok(()) => Status::Created,
            Err(rejection) => Status::Refused(rejection),
        }
    }

    fn move_money(&mut self, asked: Asked, own: u64, event: u64) -> Rule {
        rule_fields(&asked)?;
        self.rule_ledger_and_code(&asked)?;
        let (debit, credit) = self.rule_accounts(&asked)?;
        let imported = asked.flags.contains(TransferFlags::IMPORTED);
        if imported {
            self.rule_imported(own)?;
            refuse_if(
                own <= debit.timestamp,
                Rejection::ImportedEventTimestampMustPostdateDebitAccount,
            )?;
            refuse_if(
                own <= credit.timestamp,
                Rejection::ImportedEventTimestampMustPostdateCreditAccount,
            )?;
            refuse_if(asked.timeout != 0, Rejection::ImportedEventTimeoutMustBeZero)?;
        }
        let timestamp = if imported { own } else { event };
        rule_open(&debit, &credit)?;
        let amount = balanced(&asked, &debit, &credit);
        rule_overflow(&asked, amount, &debit, &credit)?;
        rule_timeout(&asked, timestamp)?;
        rule_limits(amount, &debit, &credit)?;
        self.moved(asked, amount, timestamp, debit.ledger);
        Ok(())
    }

    fn rule_ledger_and_code(&self, asked: &Asked) -> Rule {
        // Left open, the ledger is the debit account's, and nothing can be wrong with it.
        if let Some(ledger) = asked.ledger {
            refuse_if(ledger == 0, Rejection::LedgerMustNotBeZero)?;
            refuse_if(
                !self.ledgers.contains_key(&ledger),
                Rejection::LedgerNotFound { ledger: LedgerId(ledger) },
            )?;
        }
        refuse_if(asked.code == 0, Rejection::CodeMustNotBeZero)
    }

    fn rule_accounts(&self, asked: &Asked) -> Result<(Account, Account), Rejection> {
        let debit = self.accounts.get(&asked.debit_account_id);
        let debit = debit.ok_or(Rejection::DebitAccountNotFound)?;
        let credit = self.accounts.get(&asked.credit_account_id);
        let credit = credit.ok_or(Rejection::CreditAccountNotFound)?;
        refuse_if(debit.ledger != credit.ledger, Rejection::AccountsMustHaveTheSameLedger)?;
        refuse_if(
            asked.ledger != Some(debit.ledger),
            Rejection::TransferMustHaveTheSameLedgerAsAccounts,
        )?;
        Ok((debit.clone(), credit.clone()))
    }

    /// An imported transfer is newer than every transfer, and has no account's moment.
    pub(super) fn rule_imported(&self, own: u64) -> Rule {
        let newest = self.transfers.values().map(|transfer| transfer.timestamp).max();
        let taken = self.accounts.values().any(|account| account.timestamp == own);
        refuse_if(
            newest.is_some_and(|newest| own <= newest) || taken,
            Rejection::ImportedEventTimestampMustNotRegress,
        )
    }

    fn moved(&mut self, asked: Asked, amount: u128, timestamp: u64, ledger: u32) {
        let pending = asked.flags.contains(TransferFlags::PENDING);
        self.account(asked.debit_account_id, |account| {
            let side =
                if pending { &mut account.debits_pending } else { &mut account.debits_posted };
            *side += amount;
            if asked.flags.contains(TransferFlags::CLOSING_DEBIT) {
                account.flags = account.flags.with(AccountFlags::CLOSED);
            }
        });
        self.account(asked.credit_account_id, |account| {
            let side =
                if pending { &mut account.credits_pending } else { &mut account.credits_posted };
            *side += amount;
            if asked.flags.contains(TransferFlags::CLOSING_CREDIT) {
                account.flags = account.flags.with(AccountFlags::CLOSED);
            }
        });
        let transfer = Transfer {
            debit_account_id: asked.debit_account_id,
            credit_account_id: asked.credit_account_id,
            amount,
            user_data_128: asked.user_data_128,
            user_data_64: asked.user_data_64,
            user_data_32: asked.user_data_32,
            ledger,
            code: asked.code,
            timestamp,
            seq: self.seq + 1,
            phase: if pending { Phase::Pending } else { Phase::Single },
            asked,
        };
        self.happens(transfer);
    }

    pub(super) fn happens(&mut self, transfer: Transfer) {
        let id = transfer.asked.id;
        self.transfers.insert(id, transfer);
        self.happened.push(Happened::Transfer(id));
    }

    /// Changes an account, and notes that the command touched it.
    pub(super) fn account(&mut self, id: u128, change: impl FnOnce(&mut Account)) {
        change(self.accounts.get_mut(&id).unwrap());
        if !self.touched.contains(&id) {
            self.touched.push(id);
        }
    }

    fn transfer_exists(&self, asked: &Asked, existing: &Transfer) -> Status {
        let first = &existing.asked;
        // Minor units of different ledgers are not compared.
        let same_ledger = match asked.ledger {
            Some(0) if is_settling(asked.flags) => true,
            ledger => ledger == Some(existing.ledger),
        };
        let mut differences = vec![
            (asked.flags != first.flags, Field::Flags),
            (asked.pending_id != first.pending_id, Field::PendingId),
            (asked.timeout != first.timeout, Field::Timeout),
        ];
        if is_settling(first.flags) {
            // Only with the same flags and pending transfer do the others matter.
            if differences.iter().all(|(differs, _)| !differs) {
                let pending = &self.transfers[&first.pending_id];
                differences.extend(super::two_phase::differences(asked, existing, pending));
            }
        } else {
            let balancing = asked.flags.contains(TransferFlags::BALANCING_DEBIT)
                || asked.flags.contains(TransferFlags::BALANCING_CREDIT);
            let amount_differs = if balancing {
                asked.amount < existing.amount
            } else {
                asked.amount != existing.amount
            };
            differences.extend([
                (asked.debit_account_id != existing.debit_account_id, Field::DebitAccountId),
                (asked.credit_account_id != existing.credit_account_id, Field::CreditAccountId),
                (same_ledger && amount_differs, Field::Amount),
                (asked.user_data_128 != existing.user_data_128, Field::UserData128),
                (asked.user_data_64 != existing.user_data_64, Field::UserData64),
                (asked.user_data_32 != existing.user_data_32, Field::UserData32),
                (!same_ledger, Field::Ledger),
                (asked.code != existing.code, Field::Code),
            ]);
        }
        differences.extend([
            (asked.effective_at != first.effective_at, Field::EffectiveAt),
            (asked.metadata != first.metadata, Field::Metadata),
            (asked.leg_of.is_some() != first.leg_of.is_some(), Field::Kind),
        ]);
        exists_unless(&differences, Status::Exists(Some(existing.seq), existing.timestamp))
    }
}

pub(super) fn head(transfer: &CreateTransfer) -> Head {
    Head {
        linked: transfer.flags.contains(TransferFlags::LINKED),
        imported: transfer.flags.contains(TransferFlags::IMPORTED),
        timestamp: transfer.timestamp.0,
        burns: Some(transfer.id.0),
    }
}

pub(super) fn is_settling(flags: TransferFlags) -> bool {
    flags.contains(TransferFlags::POST_PENDING_TRANSFER)
        || flags.contains(TransferFlags::VOID_PENDING_TRANSFER)
}

/// What can be said of a transfer without looking at the book.
fn rule_fields(asked: &Asked) -> Rule {
    let (debit, credit) = (asked.debit_account_id, asked.credit_account_id);
    refuse_if(debit == 0, Rejection::DebitAccountIdMustNotBeZero)?;
    refuse_if(debit == ID_MAX, Rejection::DebitAccountIdMustNotBeIntMax)?;
    refuse_if(credit == 0, Rejection::CreditAccountIdMustNotBeZero)?;
    refuse_if(credit == ID_MAX, Rejection::CreditAccountIdMustNotBeIntMax)?;
    refuse_if(debit == credit, Rejection::AccountsMustBeDifferent)?;
    refuse_if(asked.pending_id != 0, Rejection::PendingIdMustBeZero)?;
    if !asked.flags.contains(TransferFlags::PENDING) {
        refuse_if(asked.timeout != 0, Rejection::TimeoutReservedForPendingTransfer)?;
        let closing = asked.flags.contains(TransferFlags::CLOSING_DEBIT)
            || asked.flags.contains(TransferFlags::CLOSING_CREDIT);
        refuse_if(closing, Rejection::ClosingTransferMustBePending)?;
    }
    Ok(())
}

pub(super) fn rule_open(debit: &Account, credit: &Account) -> Rule {
    refuse_if(debit.flags.contains(AccountFlags::CLOSED), Rejection::DebitAccountAlreadyClosed)?;
    refuse_if(credit.flags.contains(AccountFlags::CLOSED), Rejection::CreditAccountAlreadyClosed)
}

/// How much moves: a balancing transfer, no more than what is left beside what is posted and pending on its side.
fn balanced(asked: &Asked, debit: &Account, credit: &Account) -> u128 {
    let mut amount = asked.amount;
    if asked.flags.contains(TransferFlags::BALANCING_DEBIT) {
        let used = debit.debits_posted + debit.debits_pending;
        amount = amount.min(debit.credits_posted.saturating_sub(used));
    }
    if asked.flags.contains(TransferFlags::BALANCING_CREDIT) {
        let used = credit.credits_posted + credit.credits_pending;
        amount = amount.min(credit.debits_posted.saturating_sub(used));
    }
    amount
}

fn rule_overflow(asked: &Asked, amount: u128, debit: &Account, credit: &Account) -> Rule {
    let overflows = |balance: u128| balance + amount > AMOUNT_MAX;
    if asked.flags.contains(TransferFlags::PENDING) {
        refuse_if(overflows(debit.debits_pending), Rejection::OverflowsDebitsPending)?;
        refuse_if(overflows(credit.credits_pending), Rejection::OverflowsCreditsPending)?;
    }
    refuse_if(overflows(debit.debits_posted), Rejection::OverflowsDebitsPosted)?;
    refuse_if(overflows(credit.credits_posted), Rejection::OverflowsCreditsPosted)?;
    let debits = debit.debits_pending + debit.debits_posted;
    refuse_if(overflows(debits), Rejection::OverflowsDebits)?;
    let credits = credit.credits_pending + credit.credits_posted;
    refuse_if(overflows(credits), Rejection::OverflowsCredits)
}

fn rule_timeout(asked: &Asked, timestamp: u64) -> Rule {
    let expires_at = u128::from(timestamp) + u128::from(asked.timeout) * 1_000_000_000;
    refuse_if(expires_at > u128::from(TIME_MAX), Rejection::OverflowsTimeout)
}

fn rule_limits(amount: u128, debit: &Account, credit: &Account) -> Rule {
    let ledger = LedgerId(debit.ledger);
    let signed = |number: u128| SignedAmount::new(number as i128);
    let left = |has: u128, overdraft: u128, used: u128| {
        SignedAmount::new((has + overdraft) as i128 - used as i128)
    };
    let debits = debit.debits_pending + debit.debits_posted;
    let limited = debit.flags.contains(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
    refuse_if(
        limited && debits + amount > debit.credits_posted + debit.overdraft_limit,
        Rejection::ExceedsCredits {
            available: left(debit.credits_posted, debit.overdraft_limit, debits),
            requested: signed(amount),
            ledger,
        },
    )?;
    let credits = credit.credits_pending + credit.credits_posted;
    let limited = credit.flags.contains(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
    refuse_if(
        limited && credits + amount > credit.debits_posted + credit.overdraft_limit,
        Rejection::ExceedsDebits {
            available: left(credit.debits_posted, credit.overdraft_limit, credits),
            requested: signed(amount),
            ledger,
        },
    )
}
