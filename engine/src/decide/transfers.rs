//! The rules of transfers, in the reference's order of precedence.

use super::{Deciding, Import, Item, check, rejected};
use crate::account::{Account, AccountFlags};
use crate::accounts::Slot;
use crate::amount::{Amount, SignedAmount};
use crate::asking::Asking;
use crate::command::CreateTransfer;
use crate::decided::{ASKED_AHEAD, Decided, DecidedBefore, DecidedKind};
use crate::ids::{Timestamp, TransferId};
use crate::moments::Moments;
use crate::pending::{Pending, expires_at};
use crate::record::{Event, ItemOutcome};
use crate::rejection::Rejection;
use crate::state::State;
use crate::transfer::{Transfer, TransferFlags};

/// What is found out about a transfer that nothing speaks against.
pub(super) struct Ruled {
    pub(super) debit: Slot,
    pub(super) credit: Slot,
    pub(super) amount: Amount,
    pub(super) timestamp: Timestamp,
    /// The open pending transfer that it settles.
    pub(super) settles: Option<Pending>,
}

/// What is asked for, with its [`Asking::content_digest`]. Those of a batch are made some dozens at a time: made one by one, each waited for what the transfer before it
/// wrote to memory that was far away, an eighth of a decision.
#[derive(Clone, Copy)]
pub(super) struct Digested<'a> {
    asking: Asking<'a>,
    digest: u64,
}

impl<'a> From<Asking<'a>> for Digested<'a> {
    fn from(asking: Asking<'a>) -> Digested<'a> {
        Digested { asking, digest: asking.content_digest() }
    }
}

/// The last moment there is: timestamps stay below 2^63.
const LAST_MOMENT: u64 = (1 << 63) - 1;

impl State {
    pub(super) fn decide_transfers(
        &mut self,
        deciding: &mut Deciding,
        transfers: &[CreateTransfer],
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let items = transfers.len() as u32;
        let import = Import::of_transfers(transfers, deciding.timestamp);
        let mut digests = [0; ASKED_AHEAD];
        for ((transfer, amount), index) in transfers.iter().zip(amounts).zip(0_u32..) {
            let at = index as usize % ASKED_AHEAD;
            if at == 0 {
                let next = transfers.iter().zip(amounts).skip(index as usize).take(ASKED_AHEAD);
                if items > 1 {
                    self.expect_transfers(next.clone().map(|(transfer, _)| transfer), before);
                }
                for (digest, (transfer, amount)) in digests.iter_mut().zip(next) {
                    *digest = self.asking(transfer, *amount, None).content_digest();
                }
            }
            let item = Item {
                index,
                last: index == items - 1,
                linked: transfer.flags.contains(TransferFlags::LINKED),
                burns: Some(transfer.id),
            };
            self.chain_item(deciding, item, |state, deciding| {
                import.rule_transfer(transfer)?;
                let timestamp = deciding.timestamp.plus(u64::from(index));
                let digest = digests[at];
                let asking = Digested { asking: state.asking(transfer, *amount, None), digest };
                state.create_transfer(deciding, index, asking, None, timestamp, before)
            });
        }
        items
    }

    pub(super) fn asking<'a>(
        &self,
        item: &'a CreateTransfer,
        amount: Amount,
        transaction_id: Option<TransferId>,
    ) -> Asking<'a> {
        let ledger = match item.flags.settlement() {
            // A post or void may leave its ledger open; what it names is compared with its pending transfer's.
            Some(_) => item.ledger,
            None => self.ledger_of(item),
        };
        let (ledger, reverses) = (ledger.unwrap_or_default(), TransferId(0));
        Asking { item, amount, ledger, transaction_id, reverses }
    }

    /// Decides a transfer, which moves back what `reversed` moved if it is a reversal.
    pub(super) fn create_transfer<'a>(
        &mut self,
        deciding: &mut Deciding,
        index: u32,
        asking: impl Into<Digested<'a>>,
        reversed: Option<&Transfer>,
        timestamp: Timestamp,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        let Digested { asking, digest } = asking.into();
        let id = asking.item.id;
        if let Err(outcome) = self.rule_id(id, digest, DecidedKind::Transfer, before) {
            return Err(self.note_difference(deciding, index, asking, outcome));
        }
        if let Some(original) = reversed {
            self.rule_reversal(original, before).map_err(ItemOutcome::Rejected)?;
        }
        let ruled = match asking.item.flags.settlement() {
            None => self.rule_transfer(&asking, timestamp).map_err(ItemOutcome::Rejected)?,
            Some(_) => self
                .rule_settling(&asking, timestamp, before)
                .map_err(|outcome| self.note_settled(deciding, index, asking, outcome))?,
        };
        self.rule_conditions(&asking.item.conditions).map_err(ItemOutcome::Rejected)?;
        let Ruled { debit, credit, amount, timestamp, .. } = ruled;
        // Made where it stays: a transfer is large, and moving it about costs more than ruling it.
        match &ruled.settles {
            None => deciding.push(asking.decided(amount, timestamp)),
            Some(pending) => {
                let between = self.between(pending);
                deciding.push(asking.settling(pending, between, amount, timestamp));
            }
        }
        let Some(Event::TransferPosted(posted)) = deciding.events.last_mut() else {
            unreachable!("it was pushed just now")
        };
        (posted.debit_account, posted.credit_account) = self
            .apply_transfer(&posted.transfer, debit, credit)
            .expect("the decision excluded an overflow");
        let seq = self.seq.next();
        let kind = DecidedKind::Transfer;
        self.ids.insert(id.0, Decided { seq, digest, timestamp, kind });
        if let Some((ended_id, kind)) = posted.transfer.ends() {
            let ended = Decided::ended(seq, timestamp, kind, posted.transfer.ledger);
            self.settled.insert(ended_id.0, ended);
        }
        Ok(())
    }

    /// Keeps what was asked for where its id has other content, so that the field can be found; within one command it is found at
    /// once, since what it differs from may yet be undone with its chain.
    pub(super) fn note_difference(
        &self,
        deciding: &mut Deciding,
        index: u32,
        asking: Asking<'_>,
        outcome: ItemOutcome,
    ) -> ItemOutcome {
        let ItemOutcome::Differs { seq } = outcome else { return outcome };
        if seq == self.seq.next() {
            let first = deciding.transfer(asking.item.id);
            return match asking.first_difference(first) {
                Some(field) => ItemOutcome::Rejected(Rejection::exists_with_different(field)),
                None => ItemOutcome::Exists { seq, timestamp: first.timestamp },
            };
        }
        deciding.asked.push((index, asking.to_asked()));
        outcome
    }

    /// The rule of ids: decided once, for ever.
    pub(super) fn rule_id(
        &mut self,
        id: TransferId,
        digest: u64,
        kind: DecidedKind,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        if id.0 == 0 {
            return rejected(Rejection::IdMustNotBeZero);
        }
        if id.0 == u128::MAX {
            return rejected(Rejection::IdMustNotBeIntMax);
        }
        let Some(decided) = self.ids.known_in_turn(id, before) else {
            return Ok(());
        };
        let seq = decided.seq;
        if decided.kind == DecidedKind::Burned {
            rejected(Rejection::IdAlreadyFailed)
        } else if decided.kind != kind {
            rejected(Rejection::ExistsWithDifferentKind)
        } else if decided.digest != digest {
            Err(ItemOutcome::Differs { seq })
        } else {
            Err(ItemOutcome::Exists { seq, timestamp: decided.timestamp })
        }
    }

    /// The rules of a transfer that settles no other, after those of its id.
    fn rule_transfer(
        &mut self,
        asking: &Asking<'_>,
        timestamp: Timestamp,
    ) -> Result<Ruled, Rejection> {
        let item = asking.item;
        check(item.debit_account_id.0 != 0, Rejection::DebitAccountIdMustNotBeZero)?;
        check(item.debit_account_id.0 != u128::MAX, Rejection::DebitAccountIdMustNotBeIntMax)?;
        check(item.credit_account_id.0 != 0, Rejection::CreditAccountIdMustNotBeZero)?;
        check(item.credit_account_id.0 != u128::MAX, Rejection::CreditAccountIdMustNotBeIntMax)?;
        check(item.debit_account_id != item.credit_account_id, Rejection::AccountsMustBeDifferent)?;
        check(item.pending_id.0 == 0, Rejection::PendingIdMustBeZero)?;
        let pending = item.flags.contains(TransferFlags::PENDING);
        if !pending {
            check(item.timeout == 0, Rejection::TimeoutReservedForPendingTransfer)?;
            let closing = item.flags.intersects(TransferFlags::CLOSING);
            check(!closing, Rejection::ClosingTransferMustBePending)?;
        }
        if let Some(ledger) = item.ledger {
            check(ledger.0 != 0, Rejection::LedgerMustNotBeZero)?;
            check(self.ledger(ledger).is_some(), Rejection::LedgerNotFound { ledger })?;
        }
        check(item.code.0 != 0, Rejection::CodeMustNotBeZero)?;
        let find = |id, otherwise| self.accounts.find(id).ok_or(otherwise);
        let debit = find(item.debit_account_id, Rejection::DebitAccountNotFound)?;
        let credit = find(item.credit_account_id, Rejection::CreditAccountNotFound)?;
        let giver = &self.accounts.at(debit).account;
        let taker = &self.accounts.at(credit).account;
        check(giver.ledger == taker.ledger, Rejection::AccountsMustHaveTheSameLedger)?;
        check(asking.ledger == giver.ledger, Rejection::TransferMustHaveTheSameLedgerAsAccounts)?;
        let timestamp = if item.flags.contains(TransferFlags::IMPORTED) {
            rule_imported(item, giver, taker, &mut self.moments)?
        } else {
            timestamp
        };
        rule_open(giver, taker)?;
        let amount = balanced(asking.amount, item.flags, giver, taker);
        rule_overflow(giver, taker, amount, pending)?;
        let expires = expires_at(timestamp, item.timeout);
        check(expires.is_none_or(|at| at.0 <= LAST_MOMENT), Rejection::OverflowsTimeout)?;
        rule_limits(giver, taker, amount)?;
        Ok(Ruled { debit, credit, amount, timestamp, settles: None })
    }
}

/// The moment of an imported transfer: after that of every other transfer, shared with no account, and after its accounts were created.
fn rule_imported(
    item: &CreateTransfer,
    giver: &Account,
    taker: &Account,
    moments: &mut Moments,
) -> Result<Timestamp, Rejection> {
    let admitted = moments.admit_transfer(item.timestamp);
    check(admitted, Rejection::ImportedEventTimestampMustNotRegress)?;
    let postdates = |account: &Account| item.timestamp > account.timestamp;
    check(postdates(giver), Rejection::ImportedEventTimestampMustPostdateDebitAccount)?;
    check(postdates(taker), Rejection::ImportedEventTimestampMustPostdateCreditAccount)?;
    check(item.timeout == 0, Rejection::ImportedEventTimeoutMustBeZero)?;
    Ok(item.timestamp)
}

/// Closed accounts take part in nothing but voids.
pub(super) fn rule_open(giver: &Account, taker: &Account) -> Result<(), Rejection> {
    let open = |account: &Account| !account.flags.contains(AccountFlags::CLOSED);
    check(open(giver), Rejection::DebitAccountAlreadyClosed)?;
    check(open(taker), Rejection::CreditAccountAlreadyClosed)
}

/// What a balancing transfer moves of its `amount`: no more than leaves the side that it balances within the other, overdraft apart.
fn balanced(amount: Amount, flags: TransferFlags, giver: &Account, taker: &Account) -> Amount {
    let left = |other_side: Amount, pending: Amount, posted: Amount| {
        let taken = pending.checked_add(posted);
        taken.and_then(|taken| other_side.checked_sub(taken)).unwrap_or(Amount::ZERO)
    };
    let mut amount = amount;
    if flags.contains(TransferFlags::BALANCING_DEBIT) {
        let side = &giver.balances;
        amount = amount.min(left(side.credits_posted, side.debits_pending, side.debits_posted));
    }
    if flags.contains(TransferFlags::BALANCING_CREDIT) {
        let side = &taker.balances;
        amount = amount.min(left(side.debits_posted, side.credits_pending, side.credits_posted));
    }
    amount
}

/// No balance, nor pending and posted of a side together, passes the largest amount.
#[inline]
fn rule_overflow(
    giver: &Account,
    taker: &Account,
    amount: Amount,
    pending: bool,
) -> Result<(), Rejection> {
    let fits = |balance: Amount| balance.checked_add(amount).is_some();
    let together = |pending: Amount, posted: Amount| pending.checked_add(posted).is_some_and(fits);
    let (debits, credits) = (&giver.balances, &taker.balances);
    if pending {
        check(fits(debits.debits_pending), Rejection::OverflowsDebitsPending)?;
        check(fits(credits.credits_pending), Rejection::OverflowsCreditsPending)?;
    }
    check(fits(debits.debits_posted), Rejection::OverflowsDebitsPosted)?;
    check(fits(credits.credits_posted), Rejection::OverflowsCreditsPosted)?;
    check(together(debits.debits_pending, debits.debits_posted), Rejection::OverflowsDebits)?;
    check(together(credits.credits_pending, credits.credits_posted), Rejection::OverflowsCredits)
}

/// The limited side of each account has enough available.
fn rule_limits(giver: &Account, taker: &Account, amount: Amount) -> Result<(), Rejection> {
    let requested = SignedAmount::new(amount.minor_units() as i128);
    let available = |account: &Account, flag: AccountFlags| {
        account
            .flags
            .contains(flag)
            .then(|| account.balances.available(account.flags, account.overdraft_limit))
    };
    let ledger = giver.ledger;
    if let Some(available) = available(giver, AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS) {
        check(requested <= available, Rejection::ExceedsCredits { available, requested, ledger })?;
    }
    if let Some(available) = available(taker, AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS) {
        check(requested <= available, Rejection::ExceedsDebits { available, requested, ledger })?;
    }
    Ok(())
}
