//! A state that is kept in the simplest way, and the records of what happens to it.

use std::collections::BTreeMap;

use florin_engine::{
    Account, AccountCreated, AccountFlags, AccountId, Amount, Balances, Code, Event, JournalSeq,
    Ledger, LedgerAfter, LedgerId, LedgerTotals, Metadata, Record, Scale, Timestamp,
    ledger_state_hash, metadata_digest,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::super::{FrameEnd, SnapshotHeader, SnapshotWriter};

pub(super) const DIRECTORY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00aa);
const BEGIN: Timestamp = Timestamp(1_795_000_000_000_000_000);

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Opens the ledger unless it is there.
    Ledger(u32),
    /// Creates the account unless it is there, in a ledger that is.
    Account { id: u128, ledger: usize, strange: bool },
    /// Moves posted and pending money between two accounts of one ledger, found by index.
    Move { from: usize, to: usize, posted: u32, pending: u32 },
    /// Changes flags and limit.
    Limit { account: usize, flags: u16, limit: u64 },
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let id = prop_oneof![1..60_u128, 1..u128::MAX];
    prop_oneof![
        1 => (1..5_u32).prop_map(Op::Ledger),
        3 => (id, any::<usize>(), any::<bool>())
            .prop_map(|(id, ledger, strange)| Op::Account { id, ledger, strange }),
        5 => (any::<usize>(), any::<usize>(), any::<u32>(), 0..3_u32)
            .prop_map(|(from, to, posted, pending)| Op::Move { from, to, posted, pending }),
        1 => (any::<usize>(), 0..64_u16, any::<u64>())
            .prop_map(|(account, flags, limit)| Op::Limit { account, flags: flags & 0b10_1111, limit }),
    ]
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) seq: JournalSeq,
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) ledgers: BTreeMap<LedgerId, (Ledger, LedgerTotals)>,
    last_timestamp: Timestamp,
}

impl Model {
    /// A model with ledger 1 and these accounts in it, as the first command made them.
    pub(super) fn with_accounts(ids: impl IntoIterator<Item = u128>) -> (Model, Record) {
        let accounts =
            ids.into_iter().map(|id| Op::Account { id, ledger: 0, strange: id % 3 == 0 });
        let ops: Vec<Op> = std::iter::once(Op::Ledger(1)).chain(accounts).collect();
        let mut model = Model::default();
        let record = model.command(&ops);
        (model, record)
    }

    /// Does all of `ops` in one command.
    pub(super) fn command(&mut self, ops: &[Op]) -> Record {
        self.seq = self.seq.next();
        let asked = ops.len() as u32;
        let timestamp = BEGIN.plus(self.seq.0 * 1_000_000);
        self.last_timestamp = timestamp.plus(u64::from(asked).saturating_sub(1));
        let mut record = Record {
            timestamp,
            asked,
            events: Vec::new(),
            accounts: Vec::new(),
            ledgers: Vec::new(),
            key: None,
        };
        let mut touched = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            let now = timestamp.plus(index as u64);
            match op {
                Op::Ledger(id) => record.events.extend(self.ledger(LedgerId(*id), now)),
                Op::Account { id, ledger, strange } => {
                    let id = AccountId(*id);
                    record.events.extend(self.account(id, *ledger, *strange, now));
                }
                Op::Move { from, to, posted, pending } => {
                    touched.extend(self.transfer(*from, *to, *posted, *pending));
                }
                Op::Limit { account, flags, limit } => {
                    touched.extend(self.limit(*account, *flags, *limit));
                }
            }
        }
        touched.sort();
        touched.dedup();
        for id in touched {
            let account = self.accounts.get_mut(&id).unwrap();
            account.version += 1;
            record.accounts.push(account.after());
        }
        let changed = self.ledgers.values().map(|(ledger, totals)| (ledger.id, *totals));
        record.ledgers.extend(changed.map(|(id, totals)| LedgerAfter { id, totals }));
        record
    }

    fn ledger(&mut self, id: LedgerId, now: Timestamp) -> Option<Event> {
        if self.ledgers.contains_key(&id) {
            return None;
        }
        let ledger = Ledger {
            id,
            currency: format!("CUR{}", id.0),
            scale: Scale::try_new(id.0 as u8).unwrap(),
            name: "Währung".to_owned(),
            timestamp: now,
        };
        self.ledgers.insert(id, (ledger.clone(), LedgerTotals::default()));
        Some(Event::LedgerCreated(ledger))
    }

    fn account(
        &mut self,
        id: AccountId,
        ledger: usize,
        strange: bool,
        now: Timestamp,
    ) -> Option<Event> {
        if self.accounts.contains_key(&id) || self.ledgers.is_empty() {
            return None;
        }
        let ledger = *self.ledgers.keys().nth(ledger % self.ledgers.len()).unwrap();
        let data = if strange { id.0 } else { 0 };
        let created = AccountCreated {
            id,
            ledger,
            code: Code(7),
            flags: if strange { AccountFlags::HISTORY } else { AccountFlags::empty() },
            overdraft_limit: Amount::from_minor(data as u64),
            user_data_128: data,
            user_data_64: data as u64,
            user_data_32: data as u32,
            timestamp: now,
            metadata: strange.then(|| Metadata::new("{\"a\":1}".into(), b"{\"a\":1}")),
        };
        let account = Account {
            id,
            balances: Balances::default(),
            user_data_128: created.user_data_128,
            overdraft_limit: created.overdraft_limit,
            user_data_64: created.user_data_64,
            timestamp: now,
            version: 0,
            metadata_digest: metadata_digest(created.metadata.as_ref()),
            metadata_seq: if strange { self.seq } else { JournalSeq::NONE },
            user_data_32: created.user_data_32,
            ledger,
            code: created.code,
            flags: created.flags,
        };
        self.accounts.insert(id, account);
        self.ledgers.get_mut(&ledger).unwrap().1.accounts += 1;
        Some(Event::AccountCreated(created))
    }

    fn id_at(&self, index: usize) -> Option<AccountId> {
        let index = index.checked_rem(self.accounts.len())?;
        self.accounts.keys().nth(index).copied()
    }

    fn transfer(&mut self, from: usize, to: usize, posted: u32, pending: u32) -> Vec<AccountId> {
        let (Some(from), Some(to)) = (self.id_at(from), self.id_at(to)) else {
            return Vec::new();
        };
        let ledger = self.accounts[&from].ledger;
        if from == to || self.accounts[&to].ledger != ledger {
            return Vec::new();
        }
        let grow = |amount: &mut Amount, by: u32| {
            *amount = amount.checked_add(Amount::from_minor(u64::from(by))).unwrap();
        };
        let debit = &mut self.accounts.get_mut(&from).unwrap().balances;
        grow(&mut debit.debits_posted, posted);
        grow(&mut debit.debits_pending, pending);
        let credit = &mut self.accounts.get_mut(&to).unwrap().balances;
        grow(&mut credit.credits_posted, posted);
        grow(&mut credit.credits_pending, pending);
        let totals = &mut self.ledgers.get_mut(&ledger).unwrap().1;
        totals.posted += u128::from(posted);
        totals.pending += u128::from(pending);
        vec![from, to]
    }

    fn limit(&mut self, account: usize, flags: u16, limit: u64) -> Vec<AccountId> {
        let Some(id) = self.id_at(account) else {
            return Vec::new();
        };
        let account = self.accounts.get_mut(&id).unwrap();
        account.flags = AccountFlags::try_from_bits(flags).unwrap();
        account.overdraft_limit = Amount::from_minor(limit);
        vec![id]
    }

    pub(super) fn state_hash(&self) -> u64 {
        let accounts = self.accounts.values().map(Account::state_hash);
        let ledgers =
            self.ledgers.values().map(|(ledger, totals)| ledger_state_hash(ledger, totals));
        accounts.chain(ledgers).fold(0, u64::wrapping_add)
    }

    pub(super) fn frame_end(&self) -> FrameEnd {
        FrameEnd {
            directory: DIRECTORY,
            hash: [self.seq.0 as u8; 16],
            state_hash: self.state_hash(),
        }
    }

    pub(super) fn header(&self) -> SnapshotHeader {
        let FrameEnd { directory, hash, state_hash } = self.frame_end();
        SnapshotHeader {
            directory,
            seq: self.seq,
            frame_hash: hash,
            state_hash,
            last_timestamp: self.last_timestamp,
            accounts: self.accounts.len() as u64,
        }
    }

    pub(super) fn ledgers(&self) -> Vec<(Ledger, LedgerTotals)> {
        self.ledgers.values().cloned().collect()
    }

    /// The snapshot of this state, written without any merging.
    pub(super) fn snapshot(&self) -> Vec<u8> {
        let ledgers = self.ledgers();
        let mut writer = SnapshotWriter::start(Vec::new(), self.header(), &ledgers).unwrap();
        for account in self.accounts.values() {
            writer.push(account).unwrap();
        }
        writer.finish().unwrap()
    }
}
