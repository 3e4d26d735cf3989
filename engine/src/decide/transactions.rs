//! The rules of transactions.

use super::reversal::{asking_reversal, reversal};
use super::{Deciding, Import, WHOLE_TRANSACTION};
use crate::amount::{Amount, AmountInput};
use crate::asking::{Asked, Asking};
use crate::command::{CreateTransaction, CreateTransfer, ReverseTransaction};
use crate::condition::Condition;
use crate::decided::{Decided, DecidedBefore, DecidedKind};
use crate::external::ExternalId;
use crate::ids::{AccountId, LedgerId, TransferId};
use crate::record::{Event, ItemOutcome};
use crate::rejection::Rejection;
use crate::state::State;
use crate::transfer::{Metadata, Transaction, Transfer, transaction_digest};

/// A transaction with its legs as they are asked for.
struct Whole<'a> {
    id: TransferId,
    external_id: Option<ExternalId>,
    metadata: Option<Metadata>,
    conditions: &'a [Condition],
    legs: &'a [Asking<'a>],
    originals: Originals<'a>,
}

/// What the legs of a transaction reverse.
#[derive(Clone, Copy)]
enum Originals<'a> {
    /// Nothing: it is no reversal.
    None,
    /// There is no such transaction.
    Missing,
    /// One transfer each.
    Found(&'a [Transfer]),
}

impl State {
    /// A transaction is a chain of its own: its event, then its legs, all or none.
    pub(super) fn decide_transaction(
        &mut self,
        deciding: &mut Deciding,
        asked: CreateTransaction,
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let CreateTransaction { id, external_id, transfers, metadata, conditions } = asked;
        let items = transfers.len() as u32;
        let legs: Vec<Asking<'_>> = transfers
            .iter()
            .zip(amounts)
            .map(|(leg, amount)| self.asking(leg, *amount, Some(id)))
            .collect();
        let whole = Whole {
            id,
            external_id,
            metadata,
            conditions: &conditions,
            legs: &legs,
            originals: Originals::None,
        };
        self.decide_whole(deciding, whole, before);
        items
    }

    /// Moves back what all legs of a transaction moved, the last one first, since what it moved may have come from the one before.
    #[inline(never)]
    pub(super) fn decide_reverse_transaction(
        &mut self,
        deciding: &mut Deciding,
        asked: ReverseTransaction,
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let ReverseTransaction { id, external_id, original, mut legs, metadata, conditions } =
            asked;
        let items = legs.len() as u32;
        let found = self.is_transaction(&original, &legs, before);
        legs.reverse();
        let reversals: Vec<CreateTransfer> = legs
            .iter()
            .zip(0_u32..)
            .map(|(leg, index)| reversal(TransferId::of_leg(id, index), leg))
            .collect();
        let asking: Vec<Asking<'_>> = reversals
            .iter()
            .zip(&legs)
            .map(|(item, leg)| asking_reversal(item, leg, Some(id)))
            .collect();
        let originals = if found { Originals::Found(&legs) } else { Originals::Missing };
        let conditions = &conditions;
        let whole = Whole { id, external_id, metadata, conditions, legs: &asking, originals };
        self.decide_whole(deciding, whole, before);
        items
    }

    /// Whether these are the transaction and its legs, all of them, that were decided under its id.
    fn is_transaction(
        &self,
        transaction: &Transaction,
        legs: &[Transfer],
        before: &mut dyn DecidedBefore,
    ) -> bool {
        let contents = legs.iter().map(|leg| (leg.id, leg.content_digest()));
        let digest = transaction_digest(transaction.metadata.as_ref(), contents);
        let id = transaction.id;
        let decided = self.ids.known(id, before);
        decided.is_some_and(|decided| {
            decided.kind == DecidedKind::Transaction && decided.digest == digest
        })
    }

    /// The rules of a transaction as a whole, then those of its legs.
    fn decide_whole(
        &mut self,
        deciding: &mut Deciding,
        whole: Whole<'_>,
        before: &mut dyn DecidedBefore,
    ) {
        let id = whole.id;
        let contents = whole.legs.iter().map(|leg| (leg.item.id, leg.content_digest()));
        let digest = transaction_digest(whole.metadata.as_ref(), contents);
        if let Err(outcome) = self.rule_id(id, digest, DecidedKind::Transaction, before) {
            if let ItemOutcome::Differs { .. } = outcome {
                // Only its metadata is asked for here: any other difference is one of its legs.
                deciding.asked.push((WHOLE_TRANSACTION, without_legs(id, whole.metadata)));
            }
            deciding.exceptions.push((WHOLE_TRANSACTION, outcome));
            return;
        }
        let ruled = match whole.originals {
            Originals::Missing => Err(Rejection::ReversedTransferNotFound),
            Originals::None | Originals::Found(_) => self.rule_conditions(whole.conditions),
        };
        if let Err(rejection) = ruled {
            deciding.exceptions.push((WHOLE_TRANSACTION, ItemOutcome::Rejected(rejection)));
            let timestamp = deciding.timestamp;
            self.burn(deciding, id, rejection, timestamp);
            return;
        }
        self.create_transaction(deciding, whole, digest, before);
    }

    fn create_transaction(
        &mut self,
        deciding: &mut Deciding,
        whole: Whole<'_>,
        digest: u64,
        before: &mut dyn DecidedBefore,
    ) {
        let Whole { id, external_id, metadata, legs, originals, .. } = whole;
        let chain = self.open_chain(deciding, 0);
        let import = Import::of_legs(legs, deciding.timestamp);
        let (transfers, begin) = (legs.len() as u32, deciding.timestamp);
        let transaction = Transaction { id, external_id, transfers, timestamp: begin, metadata };
        deciding.events.push(Event::TransactionCreated(transaction));
        // Taken before the legs, so that a leg can not have the transaction's own id.
        let seq = self.seq.next();
        let kind = DecidedKind::Transaction;
        self.ids.insert(id.0, Decided { seq, digest, timestamp: begin, kind });
        for (leg, index) in legs.iter().zip(0_u32..) {
            let timestamp = begin.plus(u64::from(index) + 1);
            let original = match originals {
                Originals::Found(originals) => originals.get(index as usize),
                Originals::None | Originals::Missing => None,
            };
            let created = import.rule_transfer(leg.item).and_then(|()| {
                self.create_transfer(deciding, index, *leg, original, timestamp, before)
            });
            let Err(outcome) = created else { continue };
            self.roll_back(deciding, chain);
            deciding.exceptions.push((index, outcome));
            deciding.leg_refused = true;
            if let ItemOutcome::Rejected(rejection) = outcome
                && rejection.is_transient()
            {
                self.burn(deciding, id, rejection, begin);
                self.burn(deciding, leg.item.id, rejection, timestamp);
            }
            return;
        }
    }
}

/// A transaction's own content, as that of a transfer of nothing.
fn without_legs(id: TransferId, metadata: Option<Metadata>) -> Asked {
    let item = CreateTransfer {
        metadata,
        ..CreateTransfer::new(id, AccountId(0), AccountId(0), AmountInput::ZERO)
    };
    let (amount, ledger, reverses) = (Amount::ZERO, LedgerId(0), TransferId(0));
    Asked { item, amount, ledger, transaction_id: None, reverses }
}
