//! The state of a partition, and how events change it.
//!
//! Deciding (in [`crate::decide`]) may refuse; what it decided is applied here, and applying can not fail. Replay applies the
//! same events through the same functions, then compares each account and total it touched with what the record says.

use hashbrown::HashMap;

use crate::account::{Account, AccountAfter, Balances};
use crate::accounts::{Accounts, Slot};
use crate::amount::Scale;
use crate::command::CreateTransfer;
use crate::decided::{ASKED_AHEAD, Decided, DecidedBefore, DecidedSpace, Forgotten, RecentIds};
use crate::ids::{AccountId, JournalSeq, LedgerId, Timestamp, TransferId};
use crate::ledger::{Ledger, LedgerTotals, ledger_state_hash};
use crate::moments::Moments;
use crate::moved::Moved;
use crate::pending::{OpenPending, Pending, PendingTransfer};
use crate::record::{Event, LedgerAfter, Record, TransferPosted};

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
    pub(crate) slot: Slot,
    before: Balances,
}

/// The state of a partition after a prefix of its journal.
pub struct State {
    pub(crate) ledgers: Vec<LedgerState>,
    pub(crate) ledger_index: HashMap<u32, usize, foldhash::fast::FixedState>,
    pub(crate) accounts: Accounts,
    pub(crate) ids: RecentIds,
    pub(crate) keys: RecentIds,
    /// What became of transfers later, by their ids.
    pub(crate) settled: RecentIds,
    pub(crate) pending: OpenPending,
    /// The pending transfers that the running command settled, in order: what brings them back when its chain fails.
    pub(crate) settled_now: Vec<Pending>,
    pub(crate) moments: Moments,
    /// The position of the newest record.
    pub(crate) seq: JournalSeq,
    /// The newest timestamp given out.
    pub(crate) timestamp: Timestamp,
    pub(crate) state_hash: u64,
    /// The accounts that the running command touched, in order.
    pub(crate) touched: Vec<Touched>,
    /// The ledgers whose totals it changed, with what they were before.
    pub(crate) touched_ledgers: Vec<(usize, LedgerTotals)>,
}

/// What a snapshot says of a state before its accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHeader {
    /// The position of the newest record in it.
    pub seq: JournalSeq,
    /// The newest timestamp given out.
    pub timestamp: Timestamp,
    /// The timestamp of the newest transfer, imported ones too.
    pub newest_transfer: Timestamp,
    /// The ledgers with their totals, in the order in which they were opened.
    pub ledgers: Vec<LedgerState>,
    /// How many accounts follow. Room is made for them; more or fewer may come.
    pub accounts: usize,
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

/// A pending transfer of a snapshot whose account is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pending transfer {} is of account {}, which does not exist", .transfer.0, .account.0)]
pub struct RestoreError {
    /// The transfer.
    pub transfer: TransferId,
    /// The account.
    pub account: AccountId,
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
            settled: RecentIds::new(hash_seed),
            pending: OpenPending::new(hash_seed),
            settled_now: Vec::new(),
            moments: Moments::default(),
            seq: JournalSeq::NONE,
            timestamp: Timestamp(0),
            state_hash: 0,
            touched: Vec::new(),
            touched_ledgers: Vec::new(),
        }
    }

    /// The state that a snapshot begins; its accounts follow through [`State::restore_account`], then its open pending transfers through
    /// [`State::restore_pending`].
    #[must_use]
    pub fn restore(header: StateHeader, hash_seed: u64) -> State {
        let mut state = State::new(hash_seed);
        state.seq = header.seq;
        state.timestamp = header.timestamp;
        state.moments = Moments::restore(header.newest_transfer);
        for LedgerState { ledger, totals } in header.ledgers {
            state.open_ledger(ledger, totals);
        }
        state.accounts.reserve(header.accounts);
        state
    }

    /// Adds an account of a snapshot.
    pub fn restore_account(&mut self, account: Account) {
        self.moments.account(account.timestamp);
        let slot = self.accounts.insert(account);
        self.state_hash = self.state_hash.wrapping_add(self.accounts.at(slot).hash);
    }

    /// Adds an open pending transfer of a snapshot, after all its accounts.
    ///
    /// # Errors
    /// One of its accounts is not there.
    pub fn restore_pending(&mut self, pending: &PendingTransfer) -> Result<(), RestoreError> {
        let find = |account| {
            let missing = RestoreError { transfer: pending.id, account };
            self.accounts.find(account).ok_or(missing)
        };
        let (debit, credit) = (find(pending.debit_account_id)?, find(pending.credit_account_id)?);
        self.state_hash = self.state_hash.wrapping_add(pending.state_hash());
        self.pending.insert(Pending {
            id: pending.id,
            user_data_128: pending.user_data_128,
            user_data_64: pending.user_data_64,
            timestamp: pending.timestamp,
            amount: pending.amount,
            debit,
            credit,
            user_data_32: pending.user_data_32,
            timeout: pending.timeout,
            code: pending.code,
            flags: pending.flags,
        });
        Ok(())
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

    /// The sum, modulo 2^64, of the hashes of all accounts, ledgers and open pending transfers.
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

    /// What became of a transfer later, if that was decided recently; what is older is in the index on disk.
    #[must_use]
    pub fn recently_settled(&self, id: TransferId) -> Option<Decided> {
        self.settled.get(id.0)
    }

    /// How many ids, keys and ends of transfers are in memory because the index does not cover them yet.
    #[must_use]
    pub fn recent_count(&self) -> usize {
        self.ids.len() + self.keys.len() + self.settled.len()
    }

    /// The open pending transfer with this id.
    #[must_use]
    pub fn pending(&self, id: TransferId) -> Option<PendingTransfer> {
        self.pending.get(id).map(|pending| self.shown(pending))
    }

    /// All open pending transfers, in no order that means anything.
    pub fn all_pending(&self) -> impl Iterator<Item = PendingTransfer> {
        self.pending.iter().map(|pending| self.shown(pending))
    }

    /// How many pending transfers are open.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// When the next pending transfer expires, if one does: from then on [`ExpirePending`](crate::ExpirePending) has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.pending.next_to_expire().map(|(expires_at, _)| expires_at)
    }

    /// The timestamp of the newest transfer, imported ones too: a snapshot keeps it.
    #[must_use]
    pub fn newest_transfer(&self) -> Timestamp {
        self.moments.newest().transfer
    }

    pub(crate) fn shown(&self, pending: &Pending) -> PendingTransfer {
        let debit = &self.accounts.at(pending.debit).account;
        PendingTransfer {
            id: pending.id,
            debit_account_id: debit.id,
            credit_account_id: self.accounts.at(pending.credit).account.id,
            amount: pending.amount,
            user_data_128: pending.user_data_128,
            user_data_64: pending.user_data_64,
            user_data_32: pending.user_data_32,
            ledger: debit.ledger,
            code: pending.code,
            flags: pending.flags,
            timestamp: pending.timestamp,
            timeout: pending.timeout,
        }
    }

    /// Forgets the ids and keys up to `indexed`, which the index on disk now answers for.
    pub fn forget_indexed(&mut self, indexed: JournalSeq) -> Forgotten {
        let mut forgotten = Forgotten::default();
        for recent in [&mut self.ids, &mut self.keys, &mut self.settled] {
            recent.forget(indexed, &mut forgotten);
        }
        forgotten
    }

    /// Reads what transfers that are decided soon will ask for, at most [`ASKED_AHEAD`], and in this order: one by one, each would wait for memory several times,
    /// and so these waits overlap. No outcome depends on it.
    pub fn expect_transfers<'a>(
        &mut self,
        transfers: impl Iterator<Item = &'a CreateTransfer> + Clone,
        before: &mut dyn DecidedBefore,
    ) {
        let accounts = transfers.clone().flat_map(|it| [it.debit_account_id, it.credit_account_id]);
        self.accounts.warm(accounts);
        self.ids.expect(transfers.map(|transfer| transfer.id), before);
    }

    /// Reads what is replayed soon, as [`State::expect_transfers`] does.
    pub fn expect_events<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        self.accounts.warm(events.flat_map(|event| match event {
            Event::TransferPosted(TransferPosted { transfer, .. }) => {
                [transfer.debit_account_id, transfer.credit_account_id]
            }
            _ => [AccountId(0); 2],
        }));
    }

    /// Reads where accounts will be that are restored soon.
    pub fn expect_accounts(&self, ids: impl Iterator<Item = AccountId>) {
        self.accounts.warm(ids);
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
        for events in record.events.chunks(ASKED_AHEAD) {
            if events.len() > 1 {
                self.expect_events(events.iter());
            }
            for event in events {
                self.replay_event(event, record).map_err(fail)?;
            }
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
                let TransferPosted { transfer, debit_account, credit_account } = posted;
                let ids = (transfer.debit_account_id, transfer.credit_account_id);
                let debit = self.slot_of(record, *debit_account, Some(ids.0))?;
                let credit = self.slot_of(record, *credit_account, Some(ids.1))?;
                self.apply_transfer(transfer, debit, credit)?;
            }
            Event::TransferExpired(expired) => {
                let debit = self.slot_of(record, expired.debit_account, None)?;
                let credit = self.slot_of(record, expired.credit_account, None)?;
                let applied = self.apply_expired(expired.id)?;
                let released = self.settled_now.last().map(|pending| pending.amount);
                let accounts =
                    (self.touched[applied.0 as usize].slot, self.touched[applied.1 as usize].slot);
                if accounts != (debit, credit) || released != Some(expired.amount) {
                    return Err(format!("transfer {} expires as another one", expired.id.0));
                }
            }
            Event::OverdraftLimitChanged(changed) => {
                let slot = self.slot_of(record, changed.account, None)?;
                self.apply_overdraft_limit(slot, changed.overdraft_limit);
            }
            Event::MetadataReplaced(replaced) => {
                let slot = self.slot_of(record, replaced.account, None)?;
                let account = &self.accounts.at(slot).account;
                let before = (account.metadata_seq, account.metadata_digest);
                if before != (replaced.before, replaced.digest_before) {
                    return Err(format!("account {} had other metadata before", account.id.0));
                }
                self.apply_metadata(slot, replaced.metadata.as_ref());
            }
            Event::TransactionCreated(_) | Event::IdBurned(_) => {}
        }
        Ok(())
    }

    /// Where the account stands that the record names by its index, and by its id where that is known.
    fn slot_of(&self, record: &Record, index: u32, id: Option<AccountId>) -> Result<Slot, String> {
        let after = record.accounts.get(index as usize);
        let found = after
            .filter(|after| id.is_none_or(|id| after.id == id))
            .and_then(|after| self.accounts.find(after.id));
        found.ok_or_else(|| format!("there is no account at index {index} of its accounts"))
    }

    /// Remembers the ids, the key and the ends of transfers of a record.
    fn remember(&mut self, seq: JournalSeq, record: &Record) {
        let State { ids, keys, settled, .. } = self;
        record.each_decided(seq, |id, decided| {
            let space = match decided.kind.space() {
                DecidedSpace::Transfer => &mut *ids,
                DecidedSpace::Key => &mut *keys,
                DecidedSpace::Settled => &mut *settled,
            };
            space.insert(id, decided);
        });
    }

    // --- a command ----------------------------------------------------------------------------------------------------

    /// Begins a command that will stand at `seq` if anything happens.
    pub(crate) fn begin(&mut self, seq: JournalSeq) {
        debug_assert_eq!(seq, self.seq.next());
        self.touched.clear();
        self.touched_ledgers.clear();
        self.settled_now.clear();
    }

    pub(crate) fn open_ledger(&mut self, ledger: Ledger, totals: LedgerTotals) {
        self.state_hash = self.state_hash.wrapping_add(ledger_state_hash(&ledger, &totals));
        self.ledger_index.insert(ledger.id.0, self.ledgers.len());
        self.ledgers.push(LedgerState { ledger, totals });
    }

    pub(crate) fn touch(&mut self, slot: Slot) -> u32 {
        let resident = self.accounts.at_mut(slot);
        let hint = resident.touch as usize;
        if self.touched.get(hint).is_some_and(|touched| touched.slot == slot) {
            return hint as u32;
        }
        resident.touch = self.touched.len() as u32;
        self.touched.push(Touched { slot, before: resident.account.balances });
        resident.touch
    }

    pub(crate) fn totals_mut(&mut self, ledger: LedgerId) -> &mut LedgerTotals {
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
        for touched in touched.chunks(ASKED_AHEAD) {
            // Of a large batch the first are no more in the processor's caches: here no wait for memory is behind another.
            for Touched { slot, .. } in touched {
                self.accounts.at_mut(*slot).account.version += 1;
            }
            for Touched { slot, before } in touched {
                let resident = self.accounts.at_mut(*slot);
                let hash = resident.account.state_hash();
                self.state_hash = self.state_hash.wrapping_sub(resident.hash).wrapping_add(hash);
                resident.hash = hash;
                moved.add(resident.account.ledger, before, &resident.account.balances);
                after.push(resident.account.after());
            }
        }
        self.touched = touched;
        let ledgers = self.finish_ledgers(&moved);
        self.moments.forget();
        self.seq = self.seq.next();
        self.timestamp = timestamp.plus(u64::from(asked.max(1)) - 1);
        (after, ledgers)
    }

    /// What the record would say of accounts and ledgers, if the command ended here.
    pub(crate) fn preview(&self) -> (Vec<AccountAfter>, Vec<LedgerAfter>) {
        let accounts = self.touched.iter().map(|touched| {
            let after = self.accounts.at(touched.slot).account.after();
            AccountAfter { version: after.version + 1, ..after }
        });
        let ledgers = self.touched_ledgers.iter().filter_map(|(index, before)| {
            let LedgerState { ledger, totals } = &self.ledgers[*index];
            (totals != before).then_some(LedgerAfter { id: ledger.id, totals: *totals })
        });
        (accounts.collect(), ledgers.collect())
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
