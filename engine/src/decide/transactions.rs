//! The rules of transactions.

use super::{Deciding, Import, WHOLE_TRANSACTION};
use crate::amount::{Amount, AmountInput};
use crate::asking::{Asked, Asking};
use crate::command::{CreateTransaction, CreateTransfer};
use crate::decided::{Decided, DecidedBefore, DecidedKind};
use crate::ids::{AccountId, LedgerId, TransferId};
use crate::record::{Event, ItemOutcome};
use crate::state::State;
use crate::transfer::{Metadata, Transaction, transaction_digest};

impl State {
    /// A transaction is a chain of its own: its event, then its legs, all or none.
    pub(super) fn decide_transaction(
        &mut self,
        deciding: &mut Deciding,
        asked: CreateTransaction,
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let CreateTransaction { id, transfers, metadata } = asked;
        let items = transfers.len() as u32;
        let legs: Vec<Asking<'_>> = transfers
            .iter()
            .zip(amounts)
            .map(|(leg, amount)| self.asking(leg, *amount, Some(id)))
            .collect();
        let contents = legs.iter().map(|leg| (leg.item.id, leg.content_digest()));
        let digest = transaction_digest(metadata.as_ref(), contents);
        if let Err(outcome) = self.rule_id(id, digest, DecidedKind::Transaction, before) {
            if let ItemOutcome::Differs { .. } = outcome {
                // Only its metadata is asked for here: any other difference is one of its legs.
                deciding.asked.push((WHOLE_TRANSACTION, without_legs(id, metadata)));
            }
            deciding.exceptions.push((WHOLE_TRANSACTION, outcome));
            return items;
        }
        self.create_transaction(deciding, id, &legs, digest, metadata, before);
        items
    }

    fn create_transaction(
        &mut self,
        deciding: &mut Deciding,
        id: TransferId,
        legs: &[Asking<'_>],
        digest: u64,
        metadata: Option<Metadata>,
        before: &mut dyn DecidedBefore,
    ) {
        let chain = self.open_chain(deciding, 0);
        let import = Import::of_legs(legs, deciding.timestamp);
        let (transfers, begin) = (legs.len() as u32, deciding.timestamp);
        let transaction = Transaction { id, transfers, timestamp: begin, metadata };
        deciding.events.push(Event::TransactionCreated(transaction));
        // Taken before the legs, so that a leg can not have the transaction's own id.
        let seq = self.seq.next();
        let kind = DecidedKind::Transaction;
        self.ids.insert(id.0, Decided { seq, digest, timestamp: begin, kind });
        for (leg, index) in legs.iter().zip(0_u32..) {
            let timestamp = begin.plus(u64::from(index) + 1);
            let created = import
                .rule_transfer(leg.item)
                .and_then(|()| self.create_transfer(deciding, index, *leg, timestamp, before));
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
    Asked { item, amount: Amount::ZERO, ledger: LedgerId(0), transaction_id: None }
}
