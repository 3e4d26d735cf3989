//! What the clients know: every account as it must be, what was told of each transfer, and what the journal must have grown by.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use florin_tests::random::Random;
use hdrhistogram::Histogram;

use crate::sizes::{self, Account, Ledger};

/// Accounts that money moves between, with ids from 1 on; the first one is hot, and keeps its history.
pub(crate) const ACCOUNTS: u64 = 10_000;
/// The account of which nothing can be taken.
pub(crate) const EMPTY_ACCOUNT: u64 = ACCOUNTS + 1;
const HOT_ACCOUNT: u64 = 1;
/// One in so many movements is of the hot account.
const HOT_ONE_IN: u64 = 4;
/// Minor units that are moved at most.
const AMOUNT_MAX: u64 = 500;
/// So many transfers of all times are remembered, to be asked for again.
const REMEMBERED: usize = 1 << 16;
/// So many stay pending before the oldest is settled.
const OPEN: usize = 1_000;
/// A transfer that is left to expire does so after 1 to this many seconds.
pub(crate) const TIMEOUT_MAX: u32 = 10;
/// Of recorded times, in microseconds: a minute.
const LONGEST_MICROS: u64 = 60_000_000;

/// A transfer that was or will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) id: u128,
    pub(crate) debit: u64,
    pub(crate) credit: u64,
    pub(crate) amount: u64,
}

/// A transfer that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) movement: Movement,
    pub(crate) timestamp: u64,
}

/// How long answers took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Read,
    List,
}

/// What a transfer is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Id,
    /// An `Idempotency-Key`.
    Key,
}

/// How a pending transfer ends that does not expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Posted,
    Voided,
}

/// What happened between two samples.
#[derive(Clone)]
pub(crate) struct Stretch {
    /// By [`Kind`], in microseconds from due to answered.
    pub(crate) micros: [Histogram<u64>; 3],
    /// Answered requests.
    pub(crate) answered: u64,
    /// Answers that asked to come again, which happened.
    pub(crate) refused: u64,
}

impl Stretch {
    pub(crate) fn new() -> Stretch {
        let micros = || Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("in order");
        Stretch { micros: [micros(), micros(), micros()], answered: 0, refused: 0 }
    }
}

/// What was acknowledged so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Commands that made a record, without the ledger's own.
    pub(crate) records: u64,
    /// Transfers created, of all kinds.
    pub(crate) transfers: u64,
    /// Of them pending ones, and those that ended one.
    pub(crate) reserved: u64,
    pub(crate) settled: u64,
    /// Of the pending ones those that were left to expire, and those whose time is over.
    pub(crate) to_expire: u64,
    pub(crate) expired: u64,
    /// Transfers under a key of their own.
    pub(crate) keyed: u64,
    /// Transfers refused by the rules.
    pub(crate) rejected: u64,
    /// Acknowledged ones that were sent again.
    pub(crate) again: u64,
}

impl Counts {
    /// Entries in the index of decided ids: ids, keys and ends.
    pub(crate) fn decided(&self) -> u64 {
        self.transfers + self.rejected + self.keyed + self.settled + self.expired
    }
}

/// All of it.
pub(crate) struct Book {
    pub(crate) random: Random,
    id: u128,
    accounts: Vec<Account>,
    ledger: Ledger,
    pub(crate) counts: Counts,
    /// A sum over all acknowledged transfers that the store's rows must come to.
    pub(crate) digest: u128,
    /// Bytes that the records of all this must have.
    pub(crate) record_bytes: u64,
    /// Bytes that the store's rows of all this must have at least, where the store is SQLite.
    pub(crate) row_bytes: u64,
    remembered: Vec<Known>,
    open: VecDeque<Movement>,
    expiring: VecDeque<(Instant, Movement)>,
    pub(crate) stretch: Stretch,
    /// Why everything ends.
    pub(crate) failure: Option<String>,
}

impl Book {
    pub(crate) fn new(seed: u64) -> Book {
        let mut accounts = vec![Account::default(); ACCOUNTS as usize + 1];
        accounts[HOT_ACCOUNT as usize - 1].has_flags = true;
        Book {
            random: Random::new(seed),
            // Above all that SQLite keeps as a number.
            id: (u128::from(seed) + 1) << 80,
            accounts,
            ledger: Ledger { accounts: ACCOUNTS + 1, posted: 0, pending: 0 },
            counts: Counts::default(),
            digest: 0,
            record_bytes: 0,
            row_bytes: 0,
            remembered: Vec::with_capacity(REMEMBERED),
            open: VecDeque::new(),
            expiring: VecDeque::new(),
            stretch: Stretch::new(),
            failure: None,
        }
    }

    /// An id that nobody used.
    pub(crate) fn fresh_id(&mut self) -> u128 {
        self.id += 1;
        self.id
    }

    /// A transfer between two accounts.
    pub(crate) fn movement(&mut self) -> Movement {
        let one = match self.random.below(HOT_ONE_IN) {
            0 => HOT_ACCOUNT,
            _ => 1 + self.random.below(ACCOUNTS),
        };
        let other = 1 + (one + self.random.below(ACCOUNTS - 1)) % ACCOUNTS;
        let (debit, credit) = if self.random.below(2) == 0 { (one, other) } else { (other, one) };
        let amount = 1 + self.random.below(AMOUNT_MAX);
        Movement { id: self.fresh_id(), debit, credit, amount }
    }

    /// The oldest pending transfer, if there are enough.
    pub(crate) fn take_open(&mut self) -> Option<Movement> {
        if self.open.len() < OPEN { None } else { self.open.pop_front() }
    }

    /// A transfer that was acknowledged some time.
    pub(crate) fn known(&mut self) -> Option<Known> {
        let count = self.remembered.len() as u64;
        (count > 0).then(|| self.remembered[self.random.below(count) as usize])
    }

    /// Transfers were posted by one command, at these times.
    pub(crate) fn posted(&mut self, movements: &[Known], under: Under) {
        let mut bytes = 0;
        let mut touched: Vec<u64> = Vec::with_capacity(2 * movements.len());
        for (index, Known { movement, timestamp }) in movements.iter().enumerate() {
            let Movement { debit, credit, amount, .. } = *movement;
            self.account(debit).debits_posted += amount;
            self.account(credit).credits_posted += amount;
            self.ledger.posted += amount;
            for id in [debit, credit] {
                if !touched.contains(&id) {
                    touched.push(id);
                }
            }
            bytes += sizes::transfer(touched.len(), amount, index as u64);
            self.row_bytes += sizes::transfer_row(movement, *timestamp);
            self.created(movement, *timestamp);
            self.remember(Known { movement: *movement, timestamp: *timestamp });
        }
        if under == Under::Key {
            bytes += sizes::KEY;
        }
        let record = self.command(&touched, movements.len() as u64, bytes);
        if under == Under::Key {
            self.counts.keyed += 1;
            self.row_bytes += sizes::keyed_row(record);
        }
    }

    /// A transfer is pending; with a timeout it is left to expire.
    pub(crate) fn reserved(&mut self, movement: &Movement, timestamp: u64, timeout: Option<u32>) {
        let Movement { debit, credit, amount, .. } = *movement;
        self.account(debit).debits_pending += amount;
        self.account(credit).credits_pending += amount;
        self.ledger.pending += amount;
        self.created(movement, timestamp);
        self.counts.reserved += 1;
        match timeout {
            None => self.open.push_back(*movement),
            Some(seconds) => {
                self.counts.to_expire += 1;
                let over = Instant::now() + Duration::from_secs(u64::from(seconds));
                let place = self.expiring.partition_point(|(at, _)| *at <= over);
                self.expiring.insert(place, (over, *movement));
            }
        }
        let bytes = sizes::transfer(2, amount, 0) + sizes::reserving(timeout);
        self.row_bytes += sizes::transfer_row(movement, timestamp) + sizes::TWO_PHASE_ROW;
        let _ = self.command(&[debit, credit], 1, bytes);
    }

    /// A pending transfer was posted by another, as much of it as that moves, or voided.
    pub(crate) fn settled(&mut self, by: &Movement, pending: &Movement, timestamp: u64, end: End) {
        self.release(pending);
        if end == End::Posted {
            self.account(by.debit).debits_posted += by.amount;
            self.account(by.credit).credits_posted += by.amount;
            self.ledger.posted += by.amount;
        }
        self.created(by, timestamp);
        self.counts.settled += 1;
        let bytes = sizes::transfer(2, by.amount, 0) + sizes::SETTLING;
        self.row_bytes += sizes::transfer_row(by, timestamp) + sizes::SETTLING_ROW;
        if end == End::Voided {
            self.row_bytes += sizes::TWO_PHASE_ROW;
        }
        let _ = self.command(&[by.debit, by.credit], 1, bytes);
    }

    /// A transfer was refused by the rules, and its id is used up.
    pub(crate) fn rejected(&mut self) {
        self.counts.rejected += 1;
        self.counts.records += 1;
        self.record_bytes += sizes::REJECTED_RECORD;
    }

    /// Lets go what expired by now: the ledger's own commands, of which nobody is told.
    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        while self.expiring.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, movement)) = self.expiring.pop_front() else { return };
            self.release(&movement);
            self.counts.expired += 1;
            self.row_bytes += sizes::SETTLEMENT_ROW;
            self.record_bytes += sizes::expired(movement.amount);
            for id in [movement.debit, movement.credit] {
                self.touch(id);
                self.record_bytes += sizes::account(self.account(id));
            }
        }
    }

    /// What an account must be.
    pub(crate) fn expected(&self, id: u64) -> Account {
        self.accounts[id as usize - 1]
    }

    /// How many are pending now.
    pub(crate) fn pending(&self) -> u64 {
        (self.open.len() + self.expiring.len()) as u64
    }

    fn account(&mut self, id: u64) -> &mut Account {
        &mut self.accounts[id as usize - 1]
    }

    fn release(&mut self, pending: &Movement) {
        self.account(pending.debit).debits_pending -= pending.amount;
        self.account(pending.credit).credits_pending -= pending.amount;
        self.ledger.pending -= pending.amount;
    }

    fn touch(&mut self, id: u64) {
        self.account(id).version += 1;
        if id == HOT_ACCOUNT {
            self.row_bytes += sizes::HISTORY_ROW;
        }
    }

    /// Bytes of the record of a command that touched these accounts.
    fn command(&mut self, touched: &[u64], events: u64, event_bytes: u64) -> u64 {
        let mut bytes = sizes::record(events, touched.len() as u64, &self.ledger) + event_bytes;
        for id in touched {
            self.touch(*id);
            bytes += sizes::account(self.account(*id));
        }
        self.counts.records += 1;
        self.record_bytes += bytes;
        bytes
    }

    fn created(&mut self, movement: &Movement, timestamp: u64) {
        self.counts.transfers += 1;
        self.digest = self.digest.wrapping_add(digest(movement, timestamp));
    }

    /// Keeps it with the chance that leaves all that were ever acknowledged equally likely to be kept.
    fn remember(&mut self, known: Known) {
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(known);
            return;
        }
        let place = self.random.below(self.counts.transfers) as usize;
        if place < REMEMBERED {
            self.remembered[place] = known;
        }
    }
}

/// One number of a transfer that was acknowledged or is stored; sums of them are the same where the transfers are.
pub(crate) fn digest(movement: &Movement, timestamp: u64) -> u128 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let Movement { id, debit, credit, amount } = *movement;
    let parts = [id, debit.into(), credit.into(), amount.into(), timestamp.into()];
    parts.into_iter().fold(ODD, |mixed, part| {
        let mixed = (mixed ^ part).wrapping_mul(ODD);
        mixed ^ (mixed >> 61)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_digests_tell_swapped_parts_apart() {
        let one = Movement { id: 1 << 90, debit: 2, credit: 3, amount: 4 };
        let sum = |movements: [(Movement, u64); 2]| {
            movements.iter().fold(0_u128, |sum, (it, at)| sum.wrapping_add(digest(it, *at)))
        };
        let other = Movement { id: 2 << 90, debit: 3, credit: 2, amount: 9 };
        let whole = sum([(one, 5), (other, 6)]);
        assert_eq!(whole, sum([(other, 6), (one, 5)]));
        assert_ne!(whole, sum([(one, 6), (other, 5)]));
        let (swapped, back) = (Movement { amount: 9, ..one }, Movement { amount: 4, ..other });
        assert_ne!(whole, sum([(swapped, 5), (back, 6)]));
    }

    #[test]
    fn what_expired_is_released() {
        let mut book = Book::new(1);
        let movement = Movement { id: 7 << 80, debit: 2, credit: 3, amount: 4 };
        book.reserved(&movement, 1, Some(0));
        assert_eq!((book.expected(2).debits_pending, book.pending()), (4, 1));
        book.expire();
        assert_eq!((book.expected(2).debits_pending, book.pending()), (0, 0));
        assert_eq!(book.counts.decided(), 2);
    }
}
