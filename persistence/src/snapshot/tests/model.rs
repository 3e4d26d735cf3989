//! A state that is kept in the simplest way, and the records of what happens to it.

use std::collections::BTreeMap;

use florin_engine::{
    Account, AccountCreated, AccountFlags, AccountId, Amount, Balances, Code, Event, ExternalId,
    JournalSeq, Ledger, LedgerAfter, LedgerId, LedgerTotals, Metadata, MetadataReplaced,
    PendingTransfer, Record, Scale, Timestamp, Transfer, TransferExpired, TransferFlags,
    TransferId, TransferPosted, ledger_state_hash, metadata_digest,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::super::{FrameEnd, SnapshotHeader, SnapshotWriter};

pub(super) const DIRECTORY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_00aa);
const BEGIN: Timestamp = Timestamp(1_795_000_000_000_000_000);
/// Accounts with the ids of these texts were created by them.
const EXTERNAL_IDS: [&str; 3] = ["alice", "order-4711", "~"];

/// The id of an external id.
pub(super) fn named(text: &str) -> u128 {
    ExternalId::try_new(text).unwrap().id()
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Opens the ledger unless it is there.
    Ledger(u32),
    /// Creates the account unless it is there, in a ledger that is.
    Account { id: u128, ledger: usize, strange: bool },
    /// Moves posted and pending money between two accounts of one ledger, found by index.
    Move { from: usize, to: usize, posted: u32, pending: u32 },
    /// Posts the pending transfer at this index, or voids it, or lets it expire.
    Settle { pending: usize, how: u8 },
    /// Replaces the metadata of an account, or takes it away.
    Metadata { account: usize, text: Option<u8> },
    /// Changes flags and limit.
    Limit { account: usize, flags: u16, limit: u64 },
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let named = prop::sample::select(&EXTERNAL_IDS[..]).prop_map(named);
    let id = prop_oneof![3 => 1..60_u128, 2 => 1..u128::MAX, 1 => named];
    prop_oneof![
        1 => (1..5_u32).prop_map(Op::Ledger),
        3 => (id, any::<usize>(), any::<bool>())
            .prop_map(|(id, ledger, strange)| Op::Account { id, ledger, strange }),
        5 => (any::<usize>(), any::<usize>(), any::<u32>(), 0..3_u32)
            .prop_map(|(from, to, posted, pending)| Op::Move { from, to, posted, pending }),
        1 => (any::<usize>(), prop::option::of(0..9_u8))
            .prop_map(|(account, text)| Op::Metadata { account, text }),
        2 => (any::<usize>(), 0..3_u8).prop_map(|(pending, how)| Op::Settle { pending, how }),
        1 => (any::<usize>(), 0..64_u16, any::<u64>())
            .prop_map(|(account, flags, limit)| Op::Limit { account, flags, limit }),
    ]
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) seq: JournalSeq,
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) ledgers: BTreeMap<LedgerId, (Ledger, LedgerTotals)>,
    pub(super) pending: BTreeMap<TransferId, PendingTransfer>,
    newest_transfer: Timestamp,
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
        let (mut touched, mut replacements) = (Vec::new(), Vec::new());
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
                    if let Some(opened) = self.open(*from, *to, *pending, now) {
                        record.events.push(transferred(&opened));
                    }
                }
                Op::Settle { pending, how } => {
                    if let Some((ids, event)) = self.settle(*pending, *how, now) {
                        touched.extend(ids);
                        record.events.push(event);
                    }
                }
                Op::Metadata { account, text } => {
                    if let Some((id, replaced)) = self.metadata(*account, *text, now) {
                        touched.push(id);
                        replacements.push((id, replaced));
                    }
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
        for (id, replaced) in replacements {
            let position = record.accounts.iter().position(|after| after.id == id).unwrap();
            let replaced = MetadataReplaced { account: position as u32, ..replaced };
            record.events.push(Event::MetadataReplaced(replaced));
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
        let external_id = EXTERNAL_IDS
            .iter()
            .map(|text| ExternalId::try_new(text).unwrap())
            .find(|external_id| external_id.id() == id.0);
        let external_id_seq = if external_id.is_some() { self.seq } else { JournalSeq::NONE };
        let created = AccountCreated {
            id,
            external_id,
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
            external_id_seq,
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

    /// The pending transfer behind the pending money that just moved.
    fn open(
        &mut self,
        from: usize,
        to: usize,
        pending: u32,
        now: Timestamp,
    ) -> Option<PendingTransfer> {
        let (from, to) = (self.id_at(from)?, self.id_at(to)?);
        let ledger = self.accounts[&from].ledger;
        if from == to || self.accounts[&to].ledger != ledger || pending == 0 {
            return None;
        }
        let number = u128::from(now.0 - BEGIN.0);
        // On both sides of 2^64, and not in order.
        let id = TransferId(if number.is_multiple_of(3) { number } else { number.reverse_bits() });
        let strange = number.is_multiple_of(2);
        let opened = PendingTransfer {
            id,
            debit_account_id: from,
            credit_account_id: to,
            amount: Amount::from_minor(u64::from(pending)),
            user_data_128: if strange { id.0 } else { 0 },
            user_data_64: if strange { 64 } else { 0 },
            user_data_32: if strange { 32 } else { 0 },
            ledger,
            code: Code(3),
            flags: TransferFlags::PENDING,
            timestamp: now,
            timeout: if strange { u32::MAX } else { 0 },
        };
        self.newest_transfer = now;
        assert!(self.pending.insert(id, opened).is_none(), "ids are chosen apart");
        Some(opened)
    }

    fn settle(&mut self, index: usize, how: u8, now: Timestamp) -> Option<([AccountId; 2], Event)> {
        let index = index.checked_rem(self.pending.len())?;
        let id = *self.pending.keys().nth(index)?;
        let pending = self.pending.remove(&id)?;
        let shrink = |amount: &mut Amount| *amount = amount.checked_sub(pending.amount).unwrap();
        let accounts = [pending.debit_account_id, pending.credit_account_id];
        shrink(&mut self.accounts.get_mut(&accounts[0]).unwrap().balances.debits_pending);
        shrink(&mut self.accounts.get_mut(&accounts[1]).unwrap().balances.credits_pending);
        self.ledgers.get_mut(&pending.ledger).unwrap().1.pending -= pending.amount.minor_units();
        let flags = match how {
            0 => TransferFlags::POST_PENDING_TRANSFER,
            1 => TransferFlags::VOID_PENDING_TRANSFER,
            _ => {
                let (amount, timestamp) = (pending.amount, now);
                let expired =
                    TransferExpired { id, debit_account: 0, credit_account: 0, amount, timestamp };
                return Some((accounts, Event::TransferExpired(expired)));
            }
        };
        self.newest_transfer = now;
        // A post of nothing: here only what is open counts.
        let transfer = Transfer { flags, pending_id: id, timestamp: now, ..Transfer::default() };
        let posted = TransferPosted { transfer, debit_account: 0, credit_account: 0 };
        Some((accounts, Event::TransferPosted(posted)))
    }

    fn metadata(
        &mut self,
        account: usize,
        text: Option<u8>,
        timestamp: Timestamp,
    ) -> Option<(AccountId, MetadataReplaced)> {
        let id = self.id_at(account)?;
        let account = self.accounts.get_mut(&id)?;
        let (before, digest_before) = (account.metadata_seq, account.metadata_digest);
        let metadata = text.map(|text| Metadata::new(format!("{{\"{text}\":1}}").into(), &[text]));
        account.metadata_digest = metadata_digest(metadata.as_ref());
        account.metadata_seq = if metadata.is_some() { self.seq } else { JournalSeq::NONE };
        Some((id, MetadataReplaced { account: 0, before, digest_before, metadata, timestamp }))
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
        let pending = self.pending.values().map(PendingTransfer::state_hash);
        accounts.chain(ledgers).chain(pending).fold(0, u64::wrapping_add)
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
            newest_transfer: self.newest_transfer,
            accounts: self.accounts.len() as u64,
            pending: self.pending.len() as u64,
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
        for pending in self.pending.values() {
            writer.push_pending(pending).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// The event that opened a pending transfer.
pub(super) fn transferred(pending: &PendingTransfer) -> Event {
    let transfer = Transfer {
        id: pending.id,
        debit_account_id: pending.debit_account_id,
        credit_account_id: pending.credit_account_id,
        amount: pending.amount,
        amount_requested: pending.amount,
        timeout: pending.timeout,
        user_data_128: pending.user_data_128,
        user_data_64: pending.user_data_64,
        user_data_32: pending.user_data_32,
        ledger: pending.ledger,
        code: pending.code,
        flags: pending.flags,
        timestamp: pending.timestamp,
        ..Transfer::default()
    };
    Event::TransferPosted(TransferPosted { transfer, debit_account: 0, credit_account: 0 })
}
