//! What journal records changed since a snapshot: the newest of each account and ledger.

use std::collections::{BTreeMap, HashMap};

use florin_engine::{
    Account, AccountAfter, AccountCreated, AccountId, Balances, Event, JournalSeq, Ledger,
    LedgerAfter, LedgerId, LedgerTotals, Record, Timestamp, metadata_digest,
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
    slots: HashMap<AccountId, Slot>,
    created: Vec<Account>,
    touched: Vec<AccountAfter>,
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
            slots: HashMap::new(),
            created: Vec::new(),
            touched: Vec::new(),
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
                // What transfers did stands in the accounts after; transactions and burned ids are no part of the state.
                Event::TransferPosted(_) | Event::TransactionCreated(_) | Event::IdBurned(_) => {}
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
        self.created.push(begin(seq, created));
        Ok(())
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

    /// The accounts created and the accounts touched, each by id, once no more records come.
    pub(super) fn into_sorted(self) -> (Vec<Account>, Vec<AccountAfter>) {
        let Changes { slots, mut created, mut touched, .. } = self;
        drop(slots);
        created.sort_unstable_by_key(|account| account.id);
        touched.sort_unstable_by_key(|after| after.id);
        (created, touched)
    }
}

/// The account as its creation leaves it.
fn begin(seq: JournalSeq, created: &AccountCreated) -> Account {
    let AccountCreated {
        id,
        ledger,
        code,
        flags,
        overdraft_limit,
        user_data_128,
        user_data_64,
        user_data_32,
        timestamp,
        metadata,
    } = created;
    Account {
        id: *id,
        balances: Balances::default(),
        user_data_128: *user_data_128,
        overdraft_limit: *overdraft_limit,
        user_data_64: *user_data_64,
        timestamp: *timestamp,
        version: 0,
        metadata_digest: metadata_digest(metadata.as_ref()),
        metadata_seq: if metadata.is_some() { seq } else { JournalSeq::NONE },
        user_data_32: *user_data_32,
        ledger: *ledger,
        code: *code,
        flags: *flags,
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
