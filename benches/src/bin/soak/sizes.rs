//! What records and rows take, by what their formats say: the head of `persistence/src/record.rs` for the journal, and SQLite's description of
//! its file for the store. Written apart from the code that encodes them.

use crate::book::Movement;

/// An account as a record tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) version: u64,
    pub(crate) debits_posted: u64,
    pub(crate) credits_posted: u64,
    pub(crate) debits_pending: u64,
    pub(crate) credits_pending: u64,
    pub(crate) has_flags: bool,
}

/// The ledger's totals as a record tells them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger {
    pub(crate) accounts: u64,
    pub(crate) posted: u64,
    pub(crate) pending: u64,
}

const ID: u64 = 16;
/// Of a record: its version, its timestamp.
const RECORD_HEAD: u64 = 1 + 8;
/// The byte that says whether there is a key.
const NO_KEY: u64 = 1;
/// A key beside that byte: hash, fingerprint, no exceptions.
pub(crate) const KEY: u64 = 16 + 8 + 1;
/// A length before each record.
const RECORD_LENGTH: u64 = 4;
/// Of a frame: its header, and half of what it may be padded with.
const FRAME: f64 = 72.0 + 3.5;
/// A record of an id that was burned: no account, no ledger, one event of kind, id, rejection and time.
pub(crate) const REJECTED_RECORD: u64 = RECORD_LENGTH + RECORD_HEAD + 4 + (1 + ID + 1 + 1) + NO_KEY;
/// What one that settles has more than one that posts: two more bytes of presence bits, flags, the pending id, what was inherited.
pub(crate) const SETTLING: u64 = 2 + 1 + ID + 1;

/// Bytes of a number in groups of seven bits.
fn varint(value: u64) -> u64 {
    u64::from((value | 1).ilog2() / 7 + 1)
}

/// A record without its accounts, events and key.
pub(crate) fn record(events: u64, accounts: u64, ledger: &Ledger) -> u64 {
    let totals = varint(ledger.accounts) + varint(ledger.posted) + varint(ledger.pending);
    // Asked, the three counts, the ledger of the first account, and the ledger's id before its totals.
    let counts = varint(events) + varint(accounts) + 1 + varint(events);
    RECORD_LENGTH + RECORD_HEAD + counts + 1 + (1 + totals) + NO_KEY
}

/// An account in the table of a record.
pub(crate) fn account(account: &Account) -> u64 {
    let present = |amount: u64| if amount == 0 { 0 } else { varint(amount) };
    let Account {
        version,
        debits_posted,
        credits_posted,
        debits_pending,
        credits_pending,
        has_flags,
    } = *account;
    1 + ID
        + varint(version)
        + varint(debits_posted)
        + varint(credits_posted)
        + u64::from(has_flags)
        + present(debits_pending)
        + present(credits_pending)
}

/// A transfer posted, between accounts of a table of so many, so many nanoseconds behind its record.
pub(crate) fn transfer(accounts: usize, amount: u64, distance: u64) -> u64 {
    let index = varint(accounts.saturating_sub(1) as u64);
    1 + 1 + ID + 2 * index + varint(amount) + 1 + varint(distance)
}

/// What one that is pending has more: flags, and the timeout with another byte of presence bits.
pub(crate) fn reserving(timeout: Option<u32>) -> u64 {
    1 + timeout.map_or(0, |seconds| 1 + varint(u64::from(seconds)))
}

/// The event of a transfer that expired.
pub(crate) fn expired(amount: u64) -> u64 {
    // It stands in a slice among others, whose indices and times may take two bytes.
    1 + ID + 2 + varint(amount) + 1
}

/// A record of expired transfers without these and their accounts.
pub(crate) fn expiring_record() -> u64 {
    RECORD_LENGTH + RECORD_HEAD + 4 + 1 + 13 + NO_KEY
}

/// Frames beside the records in them.
pub(crate) fn frames(count: u64) -> f64 {
    FRAME * count as f64
}

/// Bytes of a number in SQLite: none for 0 and 1.
fn integer(value: u64) -> u64 {
    match value {
        0 | 1 => 0,
        2..=0x7f => 1,
        0x80..=0x7fff => 2,
        0x8000..=0x7f_ffff => 3,
        0x80_0000..=0x7fff_ffff => 4,
        0x8000_0000..=0x7fff_ffff_ffff => 6,
        _ => 8,
    }
}

/// Of an entry of an index: its length and place in the page, and the header, which has a byte for itself and each column.
fn entry(columns: u64) -> u64 {
    1 + 2 + 1 + columns
}

/// A timestamp that is no row's number.
const TIME: u64 = 8;
/// A run or a position, which are small for a while.
const POSITION: u64 = 4;
/// What transfers in two phases have in an index of their own: the timestamp, once as a column and once as the row's number.
pub(crate) const TWO_PHASE_ROW: u64 = 4 + 1 + 2 * TIME;
/// What became of a pending transfer: run, pending id, kind, time and position.
pub(crate) const SETTLEMENT_ROW: u64 = 4 + 5 + 1 + ID + TIME + POSITION;
/// What ends one: its pending id in the row, and what became of that.
pub(crate) const SETTLING_ROW: u64 = ID + SETTLEMENT_ROW;
/// An account with its history after a command: run, account, time, position, version, posted amounts.
pub(crate) const HISTORY_ROW: u64 = 4 + 11 + TIME + POSITION + 3 + 4 + 4;

/// The row of a transfer with its entries: by ledger, by code, by id, by its two accounts.
pub(crate) fn transfer_row(movement: &Movement, timestamp: u64) -> u64 {
    const COLUMNS: u64 = 22;
    let Movement { debit, credit, amount, .. } = *movement;
    let accounts = integer(debit) + integer(credit);
    // The row's number stands as a varint of nine bytes.
    let row = entry(COLUMNS) + varint(timestamp) + ID + accounts + integer(amount) + POSITION;
    let by_one = 2 * (entry(2) + TIME);
    let by_id = entry(4) + 1 + ID + TIME;
    let by_account = 2 * (entry(4) + 1 + TIME) + accounts;
    row + by_one + by_id + by_account
}

/// A record that is kept byte for byte.
pub(crate) fn keyed_row(record: u64) -> u64 {
    entry(2) + 2 + POSITION + record - RECORD_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_what_the_formats_say() {
        for (value, bytes) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)] {
            assert_eq!(varint(value), bytes, "{value}");
        }
        for (value, bytes) in [(1, 0), (2, 1), (127, 1), (128, 2), (32_768, 3), (1 << 40, 6)] {
            assert_eq!(integer(value), bytes, "{value}");
        }
    }

    #[test]
    fn a_transfer_alone_takes_what_was_measured_of_it() {
        let ledger = Ledger { accounts: 10_000, posted: 1_000_000, pending: 0 };
        let touched = Account { version: 100, debits_posted: 10_000, ..Account::default() };
        let bytes = record(1, 2, &ledger) + 2 * account(&touched) + transfer(2, 250, 0);
        // ARCHITECTURE: about 100 bytes in a frame of singles.
        assert!((90..=110).contains(&bytes), "{bytes}");
    }
}
