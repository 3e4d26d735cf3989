//! The binary form of a batch, and of its answer.

use florin_engine::CreateTransfer;
use florin_wire::{Exception, Outcomes, Status, decode, encode};

use super::bank::{BATCH, Bank};
use super::{Case, Named, unfed};

const GROUP: &str = "a binary batch of 8,190";

pub(super) const CASES: [Named; 4] = [
    Named::new(GROUP, "a transfer of it read", BATCH, read),
    Named::new(GROUP, "a transfer of it written, by a client", BATCH, written),
    Named::new(GROUP, "its answer written, all created", 1, || answered(0)),
    Named::new(GROUP, "its answer written, a hundred refused", 1, || answered(100)),
];

fn transfers() -> Vec<CreateTransfer> {
    Bank::new().transfers(BATCH)
}

fn body(transfers: &[CreateTransfer]) -> Vec<u8> {
    encode(transfers.iter()).expect("they have nothing that does not fit")
}

fn read() -> Box<dyn Case> {
    unfed(body(&transfers()), |body| {
        let read: Vec<CreateTransfer> = decode(body, BATCH as usize).expect("it was encoded");
        assert_eq!(read.len() as u64, BATCH);
        read
    })
}

fn written() -> Box<dyn Case> {
    unfed(transfers(), |transfers| body(transfers))
}

fn answered(refused: u32) -> Box<dyn Case> {
    let events = BATCH as u32;
    // The number of some refusal; which one it is makes no difference.
    let exception = |index| Exception { index, status: Status::Rejected(1) };
    let outcomes = Outcomes {
        events,
        created: events - refused,
        first_timestamp: 1,
        last_timestamp: u64::from(events),
        seq: 1,
        dry_run: false,
        exceptions: (0..refused).map(exception).collect(),
    };
    unfed(outcomes, |outcomes| outcomes.encode())
}
