//! Records of the journal as bytes, in memory: the journal thread writes them, and who reads it back decodes them.

use florin_engine::{JournalSeq, Record};
use florin_persistence::journal::FrameBuilder;
use florin_persistence::record::{decode, encode};

use super::bank::{BATCH, Bank};
use super::{Case, Named, unfed};

/// Records of one transfer that share a frame.
const SINGLES: u64 = 64;
const GROUP: &str = "records as bytes, nothing written";

pub(super) const CASES: [Named; 4] = [
    Named::new(GROUP, "a transfer alone encoded, 64 in a frame", SINGLES, || encoded(singles())),
    Named::new(GROUP, "a transfer of a batch of 8,190 encoded into a frame", BATCH, || {
        encoded(vec![batch()])
    }),
    Named::new(GROUP, "a transfer of such a batch decoded", BATCH, decoded),
    Named::new(GROUP, "a transfer of such a batch decoded, its content digested", BATCH, digested),
];

/// Records of one transfer each.
pub(super) fn singles() -> Vec<Record> {
    let mut bank = Bank::new();
    (0..SINGLES).map(|_| single(&mut bank)).collect()
}

fn single(bank: &mut Bank) -> Record {
    let transfers = bank.transfers(1);
    bank.recorded(transfers)
}

/// The record of a batch.
pub(super) fn batch() -> Record {
    let mut bank = Bank::new();
    let transfers = bank.transfers(BATCH);
    bank.recorded(transfers)
}

/// Fills a frame as the journal thread does.
pub(super) fn fill(frame: &mut FrameBuilder, records: &[Record]) {
    frame.clear();
    for record in records {
        frame.push_record(|bytes| encode(record, bytes));
    }
}

fn encoded(records: Vec<Record>) -> Box<dyn Case> {
    unfed((records, FrameBuilder::new()), |(records, frame)| {
        fill(frame, records);
        frame.len()
    })
}

fn bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&batch(), &mut bytes);
    bytes
}

fn decoded() -> Box<dyn Case> {
    unfed(bytes(), |bytes| decode(bytes).expect("it was encoded"))
}

fn digested() -> Box<dyn Case> {
    unfed(bytes(), |bytes| {
        let record = decode(bytes).expect("it was encoded");
        let mut digests = 0_u64;
        record.each_decided(JournalSeq::FIRST, |_, decided| digests ^= decided.digest);
        (record, digests)
    })
}
