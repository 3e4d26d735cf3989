//! What journal records changed since a snapshot: the newest of each account and ledger, and which pending transfers opened and ended.

use std::collections::{BTreeMap, HashMap, HashSet};

use florin_engine::{
    Account, AccountAfter, AccountCreated, AccountId, Event, JournalSeq, Ledger, LedgerAfter,
    LedgerId, LedgerTotals, MetadataReplaced, PendingTransfer, Record, Timestamp, Transfer,
    TransferFlags, TransferId, metadata_digest,
};

/// A record that does not fit the state before it: a bug, or records of another journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A record is missing, or came twice.
    #[error("record {} was expected and record {} came", .expected.0, .found.0)]
    Order {
        /// The position after the one before.
        expected: JournalSeq,
        /// The position that came.
        found: JournalSeq,
    },
    /// An account was created that exists.
    #[error("account {} is created a second time", .0.0)]
    AccountExists(AccountId),
    /// An account was touched that does not exist.
    #[error("account {} is touched and does not exist", .0.0)]
    AccountMissing(AccountId),
    /// An account was touched, but its version is not above the one before.
    #[error("account {} goes from version {before} to version {after}", .account.0)]
    Version {
        /// The account.
        account: AccountId,
        /// Its version before.
        before: u64,
        /// Its version after.
        after: u64,
    },
    /// An account went to another ledger.
    #[error("account {} of ledger {} is touched in ledger {}", .account.0, .before.0, .after.0)]
    Ledger {
        /// The account.
        account: AccountId,
        /// Its ledger before.
        before: LedgerId,
        /// Its ledger after.
        after: LedgerId,
    },
    /// A ledger was created that exists.
    #[error("ledger {} is created a second time", .0.0)]
    LedgerExists(LedgerId),
    /// A pending transfer opened that is open.
    #[error("the pending transfer {} opens a second time", .0.0)]
    PendingExists(TransferId),
    /// A pending transfer ended that is not open.
    #[error("the pending transfer {} ends and is not open", .0.0)]
    PendingMissing(TransferId),
    /// A ledger's totals changed, but it does not exist.
    #[error("ledger {} has totals and does not exist", .0.0)]
    LedgerMissing(LedgerId),
}

/// The newest of every account and ledger that the records after a position changed.
#[derive(Debug)]
pub struct Changes {
    pub(super) after: JournalSeq,
    pub(super) seq: JournalSeq,
    pub(super) last_timestamp: Timestamp,
    pub(super) newest_transfer: Timestamp,
    slots: HashMap<AccountId, Slot>,
    created: Vec<Account>,
    touched: Vec<AccountAfter>,
    /// The newest metadata, as its digest and position, of accounts that were there before.
    metadata: HashMap<AccountId, (u64, JournalSeq)>,
    /// The pending transfers that opened since, and are open.
    opened: HashMap<TransferId, PendingTransfer>,
    /// The pending transfers that were open before, and ended since.
    ended: HashSet<TransferId>,
    pub(super) ledgers_created: BTreeMap<LedgerId, Ledger>,
    pub(super) totals: BTreeMap<LedgerId, LedgerTotals>,
}

/// Where an account stands: among those created since, or those that were there before.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Created(u32),
    Touched(u32),
}

impl Changes {
    /// No changes after `seq`: the position of the snapshot that they will be merged with, [`JournalSeq::NONE`] where there is none.
    #[must_use]
    pub fn after(seq: JournalSeq) -> Changes {
        Changes {
            after: seq,
            seq,
            last_timestamp: Timestamp::default(),
            newest_transfer: Timestamp::default(),
            slots: HashMap::new(),
            created: Vec::new(),
            touched: Vec::new(),
            metadata: HashMap::new(),
            opened: HashMap::new(),
            ended: HashSet::new(),
            ledgers_created: BTreeMap::new(),
            totals: BTreeMap::new(),
        }
    }

    /// The position that the changes follow.
    #[must_use]
    pub const fn begins_after(&self) -> JournalSeq {
        self.after
    }

    /// The position up to which records were absorbed.
    #[must_use]
    pub const fn seq(&self) -> JournalSeq {
        self.seq
    }

    /// Adds what the record at `seq`, the one after the last, changed.
    ///
    /// # Errors
    /// The record does not fit those before it. The changes must not be used then.
    pub fn absorb(&mut self, seq: JournalSeq, record: &Record) -> Result<(), Contradiction> {
        let expected = self.seq.next();
        if seq != expected {
            return Err(Contradiction::Order { expected, found: seq });
        }
        self.seq = seq;
        let last = record.timestamp.plus(u64::from(record.asked).saturating_sub(1));
        self.last_timestamp = self.last_timestamp.max(last);
        for event in &record.events {
            match event {
                Event::LedgerCreated(ledger) => self.create_ledger(ledger)?,
                Event::AccountCreated(created) => self.create_account(seq, created)?,
                Event::TransferPosted(posted) => self.transfer(&posted.transfer)?,
                Event::TransferExpired(expired) => self.end(expired.id)?,
                Event::MetadataReplaced(replaced) => self.replace_metadata(seq, record, replaced),
                // The new limit stands in the accounts after; transactions and burned ids are no part of the state.
                Event::OverdraftLimitChanged(_)
                | Event::TransactionCreated(_)
                | Event::IdBurned(_) => {}
            }
        }
        for after in &record.accounts {
            self.touch(after)?;
        }
        for LedgerAfter { id, totals } in &record.ledgers {
            self.totals.insert(*id, *totals);
        }
        Ok(())
    }

    /// About how many bytes are held. While a list grows, about twice as many for a moment.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // A hash table keeps an eighth of its places free, and a byte of its own for each.
        let slot_bytes = (size_of::<(AccountId, Slot)>() + 1) * 8 / 7;
        let names: usize = self.ledgers_created.values().map(|ledger| ledger.name.len()).sum();
        self.slots.capacity() * slot_bytes
            + self.created.capacity() * size_of::<Account>()
            + self.touched.capacity() * size_of::<AccountAfter>()
            + self.ledgers_created.len() * size_of::<Ledger>()
            + names
            + self.metadata.capacity() * (size_of::<(AccountId, (u64, JournalSeq))>() + 1) * 8 / 7
            + self.opened.capacity() * (size_of::<(TransferId, PendingTransfer)>() + 1) * 8 / 7
            + self.ended.capacity() * (size_of::<TransferId>() + 1) * 8 / 7
            + self.totals.len() * size_of::<(LedgerId, LedgerTotals)>()
    }

    fn create_ledger(&mut self, ledger: &Ledger) -> Result<(), Contradiction> {
        match self.ledgers_created.insert(ledger.id, ledger.clone()) {
            None => Ok(()),
            Some(_) => Err(Contradiction::LedgerExists(ledger.id)),
        }
    }

    fn create_account(
        &mut self,
        seq: JournalSeq,
        created: &AccountCreated,
    ) -> Result<(), Contradiction> {
        let slot = Slot::Created(self.created.len() as u32);
        if self.slots.insert(created.id, slot).is_some() {
            return Err(Contradiction::AccountExists(created.id));
        }
        self.created.push(Account::created(seq, created));
        Ok(())
    }

    /// What a transfer did to its accounts stands in the accounts after; here is what it did to those that are pending.
    fn transfer(&mut self, transfer: &Transfer) -> Result<(), Contradiction> {
        self.newest_transfer = self.newest_transfer.max(transfer.timestamp);
        if let Some((pending_id, _)) = transfer.settles() {
            return self.end(pending_id);
        }
        if !transfer.flags.contains(TransferFlags::PENDING) {
            return Ok(());
        }
        match self.opened.insert(transfer.id, pending(transfer)) {
            None => Ok(()),
            Some(_) => Err(Contradiction::PendingExists(transfer.id)),
        }
    }

    fn end(&mut self, id: TransferId) -> Result<(), Contradiction> {
        if self.opened.remove(&id).is_some() || self.ended.insert(id) {
            Ok(())
        } else {
            Err(Contradiction::PendingMissing(id))
        }
    }

    fn replace_metadata(&mut self, seq: JournalSeq, record: &Record, replaced: &MetadataReplaced) {
        let metadata = replaced.metadata.as_ref();
        let digest = metadata_digest(metadata);
        let position = if metadata.is_some() { seq } else { JournalSeq::NONE };
        let id = record.accounts[replaced.account as usize].id;
        if let Some(Slot::Created(index)) = self.slots.get(&id) {
            let account = &mut self.created[*index as usize];
            account.metadata_digest = digest;
            account.metadata_seq = position;
        } else {
            self.metadata.insert(id, (digest, position));
        }
    }

    /// How many pending transfers opened since, and how many ended that were open before.
    pub(super) fn pending_counts(&self) -> (u64, u64) {
        (self.opened.len() as u64, self.ended.len() as u64)
    }

    fn touch(&mut self, after: &AccountAfter) -> Result<(), Contradiction> {
        match self.slots.get(&after.id) {
            Some(Slot::Created(index)) => {
                update(&mut self.created[*index as usize], after)?;
            }
            Some(Slot::Touched(index)) => {
                let before = &mut self.touched[*index as usize];
                check_succession(
                    before.id,
                    (before.version, before.ledger),
                    (after.version, after.ledger),
                )?;
                *before = *after;
            }
            None => {
                self.slots.insert(after.id, Slot::Touched(self.touched.len() as u32));
                self.touched.push(*after);
            }
        }
        Ok(())
    }

    /// What changed, each kind by id, once no more records come.
    pub(super) fn into_sorted(self) -> Sorted {
        let Changes { slots, mut created, mut touched, metadata, opened, ended, .. } = self;
        drop(slots);
        created.sort_unstable_by_key(|account| account.id);
        touched.sort_unstable_by_key(|after| after.id);
        let mut opened: Vec<PendingTransfer> = opened.into_values().collect();
        opened.sort_unstable_by_key(|pending| pending.id);
        Sorted { created, touched, metadata, opened, ended }
    }
}

/// What changed, by id.
pub(super) struct Sorted {
    pub(super) created: Vec<Account>,
    pub(super) touched: Vec<AccountAfter>,
    pub(super) metadata: HashMap<AccountId, (u64, JournalSeq)>,
    pub(super) opened: Vec<PendingTransfer>,
    pub(super) ended: HashSet<TransferId>,
}

/// The transfer as it is kept while it is open.
fn pending(transfer: &Transfer) -> PendingTransfer {
    PendingTransfer {
        id: transfer.id,
        debit_account_id: transfer.debit_account_id,
        credit_account_id: transfer.credit_account_id,
        amount: transfer.amount,
        user_data_128: transfer.user_data_128,
        user_data_64: transfer.user_data_64,
        user_data_32: transfer.user_data_32,
        ledger: transfer.ledger,
        code: transfer.code,
        flags: transfer.flags,
        timestamp: transfer.timestamp,
        timeout: transfer.timeout,
    }
}

/// Brings an account to what a command left of it.
pub(super) fn update(account: &mut Account, after: &AccountAfter) -> Result<(), Contradiction> {
    check_succession(account.id, (account.version, account.ledger), (after.version, after.ledger))?;
    let AccountAfter { id: _, ledger: _, flags, overdraft_limit, version, balances } = *after;
    account.flags = flags;
    account.overdraft_limit = overdraft_limit;
    account.version = version;
    account.balances = balances;
    Ok(())
}

fn check_succession(
    account: AccountId,
    before: (u64, LedgerId),
    after: (u64, LedgerId),
) -> Result<(), Contradiction> {
    if after.0 <= before.0 {
        return Err(Contradiction::Version { account, before: before.0, after: after.0 });
    }
    if after.1 != before.1 {
        return Err(Contradiction::Ledger { account, before: before.1, after: after.1 });
    }
    Ok(())
}
