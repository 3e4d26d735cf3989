//! The state of a partition, and how events change it.
//!
//! Deciding (in [`crate::decide`]) may refuse; what it decided is applied here, and applying can not fail. Replay applies the
//! same events through the same functions, then compares each account and total it touched with what the record says.

use hashbrown::HashMap;

use crate::account::{Account, AccountAfter, Balances};
use crate::accounts::{Accounts, Slot};
use crate::amount::{Amount, Scale};
use crate::decided::{Decided, DecidedKind, RecentIds};
use crate::ids::{AccountId, JournalSeq, LedgerId, Timestamp, TransferId};
use crate::ledger::{Ledger, LedgerTotals, ledger_state_hash};
use crate::record::{AccountCreated, Event, LedgerAfter, Record, TransferPosted};
use crate::transfer::metadata_digest;

/// A ledger with its totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerState {
    /// The ledger.
    pub ledger: Ledger,
    /// The sums over its accounts.
    pub totals: LedgerTotals,
}

/// What an account was before the running command touched it.
pub(crate) struct Touched {
    slot: Slot,
    before: Balances,
}

/// The state of a partition after a prefix of its journal.
pub struct State {
    pub(crate) ledgers: Vec<LedgerState>,
    ledger_index: HashMap<u32, usize, foldhash::fast::FixedState>,
    pub(crate) accounts: Accounts,
    pub(crate) ids: RecentIds,
    pub(crate) keys: RecentIds,
    /// The position of the newest record.
    pub(crate) seq: JournalSeq,
    /// The newest timestamp given out.
    pub(crate) timestamp: Timestamp,
    state_hash: u64,
    /// The accounts that the running command touched, in order.
    pub(crate) touched: Vec<Touched>,
    /// The ledgers whose totals it changed, with what they were before.
    touched_ledgers: Vec<(usize, LedgerTotals)>,
}

/// What a snapshot says of a state before its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHeader {
    /// The position of the newest record in it.
    pub seq: JournalSeq,
    /// The newest timestamp given out.
    pub timestamp: Timestamp,
    /// The ledgers with their totals, in the order in which they were opened.
    pub ledgers: Vec<LedgerState>,
}

/// A record that does not follow from the state it is replayed on: the journal and the rules disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} does not replay: {reason}", seq = .seq.0)]
pub struct ReplayError {
    /// Which record.
    pub seq: JournalSeq,
    /// What differs, with the figures.
    pub reason: String,
}

impl State {
    /// A partition before its first record. The seed keeps callers from choosing ids that collide in memory; no outcome depends on it.
    #[must_use]
    pub fn new(hash_seed: u64) -> State {
        State {
            ledgers: Vec::new(),
            ledger_index: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(hash_seed)),
            accounts: Accounts::new(hash_seed),
            ids: RecentIds::new(hash_seed),
            keys: RecentIds::new(hash_seed),
            seq: JournalSeq::NONE,
            timestamp: Timestamp(0),
            state_hash: 0,
            touched: Vec::new(),
            touched_ledgers: Vec::new(),
        }
    }

    /// The state that a snapshot begins; its accounts follow through [`State::restore_account`].
    #[must_use]
    pub fn restore(header: StateHeader, hash_seed: u64) -> State {
        let mut state = State::new(hash_seed);
        state.seq = header.seq;
        state.timestamp = header.timestamp;
        for LedgerState { ledger, totals } in header.ledgers {
            state.open_ledger(ledger, totals);
        }
        state
    }

    /// Adds an account of a snapshot.
    pub fn restore_account(&mut self, account: Account) {
        let slot = self.accounts.insert(account);
        self.state_hash = self.state_hash.wrapping_add(self.accounts.at(slot).hash);
    }

    /// The position of the newest record.
    #[must_use]
    pub fn seq(&self) -> JournalSeq {
        self.seq
    }

    /// The newest timestamp given out.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The sum, modulo 2^64, of the hashes of all accounts and ledgers.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.state_hash
    }

    /// The account with this id.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.find(id).map(|slot| &self.accounts.at(slot).account)
    }

    /// All accounts, in the order in which they came to be here.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().map(|resident| &resident.account)
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts_count(&self) -> usize {
        self.accounts.len()
    }

    /// All ledgers, in the order in which they were opened.
    #[must_use]
    pub fn ledgers(&self) -> &[LedgerState] {
        &self.ledgers
    }

    /// The ledger with this id.
    #[must_use]
    pub fn ledger(&self, id: LedgerId) -> Option<&LedgerState> {
        self.ledger_index.get(&id.0).map(|index| &self.ledgers[*index])
    }

    pub(crate) fn scale(&self, id: LedgerId) -> Option<Scale> {
        self.ledger(id).map(|state| state.ledger.scale)
    }

    /// What a recently decided id was decided to be; older ids are in the index on disk.
    #[must_use]
    pub fn recent_id(&self, id: TransferId) -> Option<Decided> {
        self.ids.get(id.0)
    }

    /// How many ids and keys are in memory because the index does not cover them yet.
    #[must_use]
    pub fn recent_count(&self) -> usize {
        self.ids.len() + self.keys.len()
    }

    /// Forgets the ids and keys up to `indexed`, which the index on disk now answers for.
    pub fn forget_indexed(&mut self, indexed: JournalSeq) {
        self.ids.forget(indexed);
        self.keys.forget(indexed);
    }

    /// Replays only the ids and keys of a record that the state already holds but the index does not.
    pub fn replay_ids(&mut self, seq: JournalSeq, record: &Record) {
        self.remember(seq, record);
    }

    /// Applies the record at `seq`, which must be the next.
    ///
    /// # Errors
    /// The record does not follow from this state. The state is of no use afterwards.
    pub fn replay(&mut self, seq: JournalSeq, record: &Record) -> Result<(), ReplayError> {
        let fail = |reason: String| ReplayError { seq, reason };
        if seq != self.seq.next() {
            return Err(fail(format!("the state stands at position {}", self.seq.0)));
        }
        if record.timestamp <= self.timestamp {
            return Err(fail("its timestamp is not after the one before".into()));
        }
        self.begin(seq);
        for event in &record.events {
            self.replay_event(event, record).map_err(fail)?;
        }
        let (accounts, ledgers) = self.finish(record.timestamp, record.asked);
        if accounts != record.accounts {
            return Err(fail(difference("account", &accounts, &record.accounts)));
        }
        if ledgers != record.ledgers {
            return Err(fail(difference("ledger", &ledgers, &record.ledgers)));
        }
        self.remember(seq, record);
        Ok(())
    }

    fn replay_event(&mut self, event: &Event, record: &Record) -> Result<(), String> {
        match event {
            Event::LedgerCreated(ledger) => {
                if self.ledger(ledger.id).is_some() {
                    return Err(format!("ledger {} exists already", ledger.id.0));
                }
                self.apply_ledger_created(ledger.clone());
            }
            Event::AccountCreated(created) => {
                if self.accounts.find(created.id).is_some() {
                    return Err(format!("account {} exists already", created.id.0));
                }
                if self.ledger(created.ledger).is_none() {
                    return Err(format!("there is no ledger {}", created.ledger.0));
                }
                self.apply_account_created(created);
            }
            Event::TransferPosted(posted) => {
                let (debit, credit) = self.slots_of(posted, record)?;
                self.apply_posted(debit, credit, posted.transfer.amount)?;
            }
            Event::TransactionCreated(_) | Event::IdBurned(_) => {}
        }
        Ok(())
    }

    fn slots_of(&self, posted: &TransferPosted, record: &Record) -> Result<(Slot, Slot), String> {
        let transfer = &posted.transfer;
        let find = |index: u32, id: AccountId| {
            let after = record.accounts.get(index as usize).filter(|after| after.id == id);
            after
                .and_then(|_| self.accounts.find(id))
                .ok_or_else(|| format!("there is no account {}", id.0))
        };
        Ok((
            find(posted.debit_account, transfer.debit_account_id)?,
            find(posted.credit_account, transfer.credit_account_id)?,
        ))
    }

    /// Remembers the ids and the key of a record.
    fn remember(&mut self, seq: JournalSeq, record: &Record) {
        let State { ids, keys, .. } = self;
        record.each_decided(seq, |id, decided| {
            let space = if decided.kind == DecidedKind::Key { &mut *keys } else { &mut *ids };
            space.insert(id, decided);
        });
    }

    /// Begins a command that will stand at `seq` if anything happens.
    pub(crate) fn begin(&mut self, seq: JournalSeq) {
        debug_assert_eq!(seq, self.seq.next());
        self.touched.clear();
        self.touched_ledgers.clear();
    }

    pub(crate) fn apply_ledger_created(&mut self, ledger: Ledger) {
        self.open_ledger(ledger, LedgerTotals::default());
    }

    fn open_ledger(&mut self, ledger: Ledger, totals: LedgerTotals) {
        self.state_hash = self.state_hash.wrapping_add(ledger_state_hash(&ledger, &totals));
        self.ledger_index.insert(ledger.id.0, self.ledgers.len());
        self.ledgers.push(LedgerState { ledger, totals });
    }

    pub(crate) fn apply_account_created(&mut self, created: &AccountCreated) {
        let metadata_seq =
            if created.metadata.is_some() { self.seq.next() } else { JournalSeq::NONE };
        let slot = self.accounts.insert(Account {
            id: created.id,
            balances: Balances::default(),
            user_data_128: created.user_data_128,
            overdraft_limit: created.overdraft_limit,
            user_data_64: created.user_data_64,
            timestamp: created.timestamp,
            version: 0,
            metadata_digest: metadata_digest(created.metadata.as_ref()),
            metadata_seq,
            user_data_32: created.user_data_32,
            ledger: created.ledger,
            code: created.code,
            flags: created.flags,
        });
        self.state_hash = self.state_hash.wrapping_add(self.accounts.at(slot).hash);
        self.totals_mut(created.ledger).accounts += 1;
    }

    /// Undoes the newest [`State::apply_account_created`] of a chain that failed.
    pub(crate) fn undo_account_created(&mut self) {
        let account = self.accounts.remove_newest();
        self.state_hash = self.state_hash.wrapping_sub(account.state_hash());
        self.totals_mut(account.ledger).accounts -= 1;
    }

    /// Moves `amount` and returns where both accounts stand among those touched.
    ///
    /// # Errors
    /// A balance would pass the largest amount: the decision excluded that, so only a damaged record can.
    pub(crate) fn apply_posted(
        &mut self,
        debit: Slot,
        credit: Slot,
        amount: Amount,
    ) -> Result<(u32, u32), String> {
        let debit_account = self.touch(debit);
        let credit_account = self.touch(credit);
        let overflow = || "a balance would pass the largest amount".to_owned();
        let giver = &mut self.accounts.at_mut(debit).account;
        giver.balances.debits_posted =
            giver.balances.debits_posted.checked_add(amount).ok_or_else(overflow)?;
        let ledger = giver.ledger;
        let taker = &mut self.accounts.at_mut(credit).account.balances;
        taker.credits_posted = taker.credits_posted.checked_add(amount).ok_or_else(overflow)?;
        // An amount is below 2^96 and so is each of fewer than 2^32 accounts' balances: their sum stays below 2^128.
        self.totals_mut(ledger).posted += amount.minor_units();
        Ok((debit_account, credit_account))
    }

    /// Undoes a [`State::apply_posted`] of a chain that failed.
    pub(crate) fn undo_posted(&mut self, posted: &TransferPosted) {
        let undo = |balance: &mut Amount| {
            *balance = balance
                .checked_sub(posted.transfer.amount)
                .expect("what was added can be taken away");
        };
        let debit = self.touched[posted.debit_account as usize].slot;
        undo(&mut self.accounts.at_mut(debit).account.balances.debits_posted);
        let credit = self.touched[posted.credit_account as usize].slot;
        undo(&mut self.accounts.at_mut(credit).account.balances.credits_posted);
        self.totals_mut(posted.transfer.ledger).posted -= posted.transfer.amount.minor_units();
    }

    fn touch(&mut self, slot: Slot) -> u32 {
        let resident = self.accounts.at_mut(slot);
        let hint = resident.touch as usize;
        if self.touched.get(hint).is_some_and(|touched| touched.slot == slot) {
            return hint as u32;
        }
        resident.touch = self.touched.len() as u32;
        self.touched.push(Touched { slot, before: resident.account.balances });
        resident.touch
    }

    fn totals_mut(&mut self, ledger: LedgerId) -> &mut LedgerTotals {
        let index = self.ledger_index[&ledger.0];
        let totals = &mut self.ledgers[index].totals;
        if !self.touched_ledgers.iter().any(|(touched, _)| *touched == index) {
            self.touched_ledgers.push((index, *totals));
        }
        totals
    }

    /// Ends a command: new versions, hashes and the check that money was conserved. Returns what the record says of accounts and ledgers.
    pub(crate) fn finish(
        &mut self,
        timestamp: Timestamp,
        asked: u32,
    ) -> (Vec<AccountAfter>, Vec<LedgerAfter>) {
        let touched = std::mem::take(&mut self.touched);
        let mut after = Vec::with_capacity(touched.len());
        let mut moved = Moved::default();
        for Touched { slot, before } in &touched {
            let resident = self.accounts.at_mut(*slot);
            resident.account.version += 1;
            let hash = resident.account.state_hash();
            self.state_hash = self.state_hash.wrapping_sub(resident.hash).wrapping_add(hash);
            resident.hash = hash;
            moved.add(resident.account.ledger, before, &resident.account.balances);
            after.push(resident.account.after());
        }
        self.touched = touched;
        let ledgers = self.finish_ledgers(&moved);
        self.seq = self.seq.next();
        self.timestamp = timestamp.plus(u64::from(asked.max(1)) - 1);
        (after, ledgers)
    }

    fn finish_ledgers(&mut self, moved: &Moved) -> Vec<LedgerAfter> {
        let touched_ledgers = std::mem::take(&mut self.touched_ledgers);
        let mut after = Vec::with_capacity(touched_ledgers.len());
        for (index, before) in &touched_ledgers {
            let LedgerState { ledger, totals } = &self.ledgers[*index];
            moved.assert_conserved(ledger.id, before, totals);
            if totals == before {
                continue;
            }
            self.state_hash = self
                .state_hash
                .wrapping_sub(ledger_state_hash(ledger, before))
                .wrapping_add(ledger_state_hash(ledger, totals));
            after.push(LedgerAfter { id: ledger.id, totals: *totals });
        }
        self.touched_ledgers = touched_ledgers;
        after
    }

    /// Compares the totals of each ledger with the sums over its accounts.
    ///
    /// # Errors
    /// One sentence with the figures of the first ledger whose money is not conserved.
    pub fn check_conservation(&self) -> Result<(), String> {
        for LedgerState { ledger, totals } in &self.ledgers {
            let mut sums = [0_u128; 4];
            let mut accounts = 0;
            for account in self.accounts().filter(|account| account.ledger == ledger.id) {
                let balances = &account.balances;
                accounts += 1;
                sums[0] += balances.debits_posted.minor_units();
                sums[1] += balances.credits_posted.minor_units();
                sums[2] += balances.debits_pending.minor_units();
                sums[3] += balances.credits_pending.minor_units();
            }
            let expected = [totals.posted, totals.posted, totals.pending, totals.pending];
            if sums != expected || accounts != totals.accounts {
                return Err(format!(
                    "ledger {}: {accounts} accounts with debits and credits {sums:?}, but its totals are {totals:?}",
                    ledger.id.0
                ));
            }
        }
        Ok(())
    }
}

/// What a command moved, by ledger: the sums over the accounts it touched.
#[derive(Default)]
struct Moved {
    by_ledger: Vec<(LedgerId, MovedSums)>,
}

#[derive(Clone, Copy, Default)]
struct MovedSums {
    debits_posted: i128,
    credits_posted: i128,
    debits_pending: i128,
    credits_pending: i128,
}

impl Moved {
    fn add(&mut self, ledger: LedgerId, before: &Balances, after: &Balances) {
        let known = self.by_ledger.iter().position(|(id, _)| *id == ledger);
        let index = known.unwrap_or_else(|| {
            self.by_ledger.push((ledger, MovedSums::default()));
            self.by_ledger.len() - 1
        });
        let change = |before: Amount, after: Amount| {
            after.minor_units() as i128 - before.minor_units() as i128
        };
        let sums = &mut self.by_ledger[index].1;
        sums.debits_posted += change(before.debits_posted, after.debits_posted);
        sums.credits_posted += change(before.credits_posted, after.credits_posted);
        sums.debits_pending += change(before.debits_pending, after.debits_pending);
        sums.credits_pending += change(before.credits_pending, after.credits_pending);
    }

    /// Money is conserved: what the accounts gave is what the accounts took, and what the ledger's totals say moved.
    fn assert_conserved(&self, ledger: LedgerId, before: &LedgerTotals, after: &LedgerTotals) {
        let sums = self.by_ledger.iter().find(|(id, _)| *id == ledger);
        let sums = sums.map_or(MovedSums::default(), |(_, sums)| *sums);
        let posted = after.posted as i128 - before.posted as i128;
        let pending = after.pending as i128 - before.pending as i128;
        assert!(
            sums.debits_posted == posted && sums.credits_posted == posted,
            "posted money is not conserved in ledger {}",
            ledger.0
        );
        assert!(
            sums.debits_pending == pending && sums.credits_pending == pending,
            "pending money is not conserved in ledger {}",
            ledger.0
        );
    }
}

fn difference<T: PartialEq + std::fmt::Debug>(
    what: &str,
    replayed: &[T],
    recorded: &[T],
) -> String {
    let different = replayed.iter().zip(recorded).find(|(replayed, recorded)| replayed != recorded);
    match different {
        Some((replayed, recorded)) => {
            format!("the {what} after it is {replayed:?}, but recorded as {recorded:?}")
        }
        None => format!("it touches {} {what}s, recorded are {}", replayed.len(), recorded.len()),
    }
}
