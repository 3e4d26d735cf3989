//! The rules of reversals: what a transfer moved is moved back once, by a transfer that names it.

use super::{Deciding, Item, check};
use crate::amount::AmountInput;
use crate::asking::Asking;
use crate::command::{CreateTransfer, ReverseTransfer};
use crate::decided::{DecidedBefore, DecidedKind};
use crate::ids::TransferId;
use crate::rejection::Rejection;
use crate::state::State;
use crate::transfer::{Transfer, TransferFlags};

/// Transfers that moved no posted money.
const NOT_POSTED: TransferFlags = TransferFlags::PENDING.with(TransferFlags::VOID_PENDING_TRANSFER);

impl State {
    #[inline(never)]
    pub(super) fn decide_reverse_transfer(
        &mut self,
        deciding: &mut Deciding,
        asked: ReverseTransfer,
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let id = asked.id;
        let transfer = CreateTransfer {
            external_id: asked.external_id,
            user_data_128: asked.user_data_128,
            user_data_64: asked.user_data_64,
            user_data_32: asked.user_data_32,
            effective_at: asked.effective_at,
            metadata: asked.metadata,
            conditions: asked.conditions,
            ..reversal(id, &asked.original)
        };
        let item = Item { index: 0, last: true, linked: false, burns: Some(id) };
        self.chain_item(deciding, item, |state, deciding| {
            let asking = asking_reversal(&transfer, &asked.original, None);
            let (original, timestamp) = (Some(&asked.original), deciding.timestamp);
            state.create_transfer(deciding, 0, asking, original, timestamp, before)
        });
        1
    }

    /// Whether a transfer can be reversed: it is what its id was decided for, it posted money, and it was not reversed before.
    pub(super) fn rule_reversal(
        &self,
        original: &Transfer,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), Rejection> {
        let id = original.id;
        let decided = self.ids.known(id, before);
        let is_original = decided.is_some_and(|decided| {
            decided.kind == DecidedKind::Transfer && decided.digest == original.content_digest()
        });
        // What balanced moved no more than was asked for, all others exactly that.
        let balances = original.flags.intersects(TransferFlags::BALANCING);
        let is_whole = original.amount == original.amount_requested
            || balances && original.amount < original.amount_requested;
        check(is_original && is_whole, Rejection::ReversedTransferNotFound)?;
        let posted = !original.flags.intersects(NOT_POSTED);
        check(posted, Rejection::TransferNotReversible)?;
        let ended = self.settled.get(id.0).or_else(|| before.settled(id));
        check(ended.is_none(), Rejection::AlreadyReversed)
    }
}

/// The transfer that moves back what `original` moved.
pub(super) fn reversal(id: TransferId, original: &Transfer) -> CreateTransfer {
    CreateTransfer {
        ledger: Some(original.ledger),
        code: original.code,
        ..CreateTransfer::new(
            id,
            original.credit_account_id,
            original.debit_account_id,
            AmountInput::Minor(original.amount),
        )
    }
}

pub(super) fn asking_reversal<'a>(
    item: &'a CreateTransfer,
    original: &Transfer,
    transaction_id: Option<TransferId>,
) -> Asking<'a> {
    let Transfer { id: reverses, amount, ledger, .. } = *original;
    Asking { item, amount, ledger, transaction_id, reverses }
}
