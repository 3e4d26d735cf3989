//! Where an amount can not be, nobody looks: the least and the largest of each few thousand transfers of a ledger.

use std::collections::BTreeMap;

use florin_engine::{Amount, JournalSeq, LedgerId, Timestamp, Transfer};

/// The least and the largest amount of consecutive transfers of a ledger.
pub(super) struct Block {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) transfers: u64,
    pub(super) min: Amount,
    pub(super) max: Amount,
}

/// The transfers of a batch by ledger, in blocks of at most `most`.
pub(super) fn blocks(
    transfers: &[(Transfer, JournalSeq)],
    most: u64,
) -> BTreeMap<LedgerId, Vec<Block>> {
    let mut blocks: BTreeMap<LedgerId, Vec<Block>> = BTreeMap::new();
    for (transfer, _) in transfers {
        let of_ledger = blocks.entry(transfer.ledger).or_default();
        match of_ledger.last_mut() {
            Some(block) if block.transfers < most => {
                block.last = transfer.timestamp;
                block.transfers += 1;
                block.min = block.min.min(transfer.amount);
                block.max = block.max.max(transfer.amount);
            }
            _ => of_ledger.push(Block {
                first: transfer.timestamp,
                last: transfer.timestamp,
                transfers: 1,
                min: transfer.amount,
                max: transfer.amount,
            }),
        }
    }
    blocks
}
