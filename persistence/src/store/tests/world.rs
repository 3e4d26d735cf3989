//! A made-up ledger: its records, and beside them everything that the store should say of them, kept in plain vectors.

use std::collections::BTreeMap;
use std::sync::Arc;

use florin_engine::{
    Account, AccountAfter, AccountCreated, AccountFlags, AccountId, Amount, Balances, Code, Event,
    ExternalId, IdBurned, Inherited, JournalSeq, Ledger, LedgerAfter, LedgerId, LedgerTotals,
    Metadata, MetadataReplaced, Record, Scale, Settlement, Timestamp, Transaction, Transfer,
    TransferExpired, TransferFlags, TransferId, TransferPosted, metadata_digest,
};

use crate::store::{
    BalanceAt, StoreBatch, StoredAccount, StoredLedger, StoredTransaction, StoredTransfer,
};

/// Ids around every border of how they are kept and shown.
pub(super) const IDS: [u128; 8] = [
    1,
    2,
    i64::MAX as u128,
    1 << 63,
    u64::MAX as u128,
    1 << 64,
    0x0190_1234_5678_7abc_8def_0123_4567_89ab,
    u128::MAX - 1,
];

/// Amounts around every border of how they are kept, and the largest.
pub(super) const AMOUNTS: [u128; 8] =
    [0, 1, 99, 1250, i64::MAX as u128, 1 << 63, 10_u128.pow(28), (1 << 96) - 1];

/// Accounts that were created by these texts, with all that a string in SQL or a pattern could stumble over.
const EXTERNAL_IDS: [&str; 2] = ["alice@example.com", "~!'\"\\%_$1?#&+"];

pub(super) fn named(text: &str) -> ExternalId {
    ExternalId::try_new(text).unwrap()
}

/// The ids of the accounts that a world begins with.
pub(super) fn first_account_ids() -> Vec<u128> {
    let more_ids = (100..112).map(|id| id * 0x1_0000_0001);
    let named = EXTERNAL_IDS.map(|text| named(text).id());
    IDS.into_iter().chain(more_ids).chain(named).collect()
}

pub(super) fn amount(minor_units: u128) -> Amount {
    Amount::try_new(minor_units).unwrap()
}

/// A xorshift generator: a seed stands for one world.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The records of a ledger and what follows from them.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) clock: Timestamp,
    pub(super) records: Vec<(JournalSeq, Record, Option<Vec<u8>>)>,
    pub(super) ledgers: Vec<StoredLedger>,
    pub(super) accounts: BTreeMap<AccountId, StoredAccount>,
    /// With what has become of them by the end.
    pub(super) transfers: Vec<StoredTransfer>,
    settled: BTreeMap<TransferId, JournalSeq>,
    reversed: BTreeMap<TransferId, JournalSeq>,
    pub(super) transactions: Vec<StoredTransaction>,
    pub(super) history: Vec<BalanceAt>,
}

impl World {
    /// Three ledgers, some twenty accounts, no transfers yet.
    pub(super) fn new(seed: u64) -> World {
        let mut world = World {
            random: Random::new(seed),
            clock: Timestamp(1_763_000_000_000_000_000),
            records: Vec::new(),
            ledgers: Vec::new(),
            accounts: BTreeMap::new(),
            transfers: Vec::new(),
            settled: BTreeMap::new(),
            reversed: BTreeMap::new(),
            transactions: Vec::new(),
            history: Vec::new(),
        };
        for (id, currency, scale) in [(1, "USD", 2), (2, "JPY", 0), (u32::MAX, "WEI", 28)] {
            world.create_ledger(LedgerId(id), currency, scale);
        }
        for ids in first_account_ids().chunks(3) {
            world.create_accounts(ids);
        }
        world
    }

    pub(super) fn seq(&self) -> JournalSeq {
        self.records.last().map_or(JournalSeq::NONE, |(seq, ..)| *seq)
    }

    fn next_seq(&self) -> JournalSeq {
        self.seq().next()
    }

    fn tick(&mut self) -> Timestamp {
        self.clock = self.clock.plus(1 + self.random.below(1_000_000_000) as u64);
        self.clock
    }

    fn push(&mut self, timestamp: Timestamp, events: Vec<Event>, accounts: Vec<AccountAfter>) {
        let asked = u32::try_from(events.len()).unwrap().max(1);
        self.clock = self.clock.max(timestamp.plus(u64::from(asked)));
        let mut ledgers: Vec<LedgerId> = accounts.iter().map(|after| after.ledger).collect();
        ledgers.extend(events.iter().filter_map(|event| match event {
            Event::AccountCreated(created) => Some(created.ledger),
            _ => None,
        }));
        ledgers.sort();
        ledgers.dedup();
        let ledgers = ledgers
            .into_iter()
            .map(|id| {
                let stored = self.ledgers.iter_mut().find(|stored| stored.ledger.id == id).unwrap();
                stored.totals.posted =
                    stored.totals.posted.saturating_mul(3).max((1 << 63) - 1 + u128::from(id.0));
                stored.totals.pending += 7;
                LedgerAfter { id, totals: stored.totals }
            })
            .collect();
        let seq = self.next_seq();
        let key = self.random.one_in(4).then(|| vec![u8::try_from(seq.0 % 256).unwrap(); 40]);
        let record = Record { timestamp, asked, events, accounts, ledgers, key: None };
        self.records.push((seq, record, key));
    }

    pub(super) fn create_ledger(&mut self, id: LedgerId, currency: &str, scale: u8) {
        let timestamp = self.tick();
        let ledger = Ledger {
            id,
            currency: currency.to_owned(),
            scale: Scale::try_new(scale).unwrap(),
            name: format!("the {currency} book's \"name\""),
            timestamp,
        };
        let stored = StoredLedger {
            ledger: ledger.clone(),
            totals: LedgerTotals::default(),
            seq: self.next_seq(),
        };
        self.ledgers.push(stored);
        self.push(timestamp, vec![Event::LedgerCreated(ledger)], Vec::new());
    }

    fn metadata(&mut self) -> Option<Metadata> {
        self.random.one_in(3).then(|| {
            let nr = self.random.pick(&["0", "1", "2", "3", "4", "4.0", "\"4\"", "true", "[4]"]);
            let text: Arc<str> = format!("{{\"nr\":{nr},\"ö\":\"'\"}}").into();
            Metadata { digest: u64::MAX - self.random.below(9) as u64, text }
        })
    }

    fn reference_64(&mut self) -> u64 {
        self.random.pick(&[0, 0, 0, 7, i64::MAX as u64, 1 << 63, u64::MAX])
    }

    fn reference_128(&mut self) -> u128 {
        self.random.pick(&[0, 0, 0, 7, IDS[2], IDS[3], IDS[4], IDS[5], u128::MAX])
    }

    pub(super) fn create_later_accounts(&mut self) {
        self.create_accounts(&[70_001, 70_002]);
    }

    fn create_accounts(&mut self, ids: &[u128]) {
        let timestamp = self.tick();
        let mut events = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let limit = self.random.pick(&[
                AccountFlags::empty(),
                AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
                AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
            ]);
            let history = self.random.pick(&[AccountFlags::empty(), AccountFlags::HISTORY]);
            let imported = match id.is_multiple_of(3) {
                true => AccountFlags::IMPORTED,
                false => AccountFlags::empty(),
            };
            let created = AccountCreated {
                id: AccountId(*id),
                external_id: EXTERNAL_IDS.map(named).into_iter().find(|named| named.id() == *id),
                ledger: self.random.pick(&[
                    LedgerId(1),
                    LedgerId(1),
                    LedgerId(2),
                    LedgerId(u32::MAX),
                ]),
                code: self.random.pick(&[Code(1), Code(2), Code(u16::MAX)]),
                flags: limit.with(history).with(imported),
                overdraft_limit: amount(self.random.pick(&AMOUNTS)),
                user_data_128: self.reference_128(),
                user_data_64: self.reference_64(),
                user_data_32: self.random.pick(&[0, 0, 5, u32::MAX]),
                timestamp: timestamp.plus(index as u64),
                metadata: self.metadata(),
            };
            let stored = stored_account(&created, self.next_seq());
            self.accounts.insert(created.id, stored);
            let ledger = self.ledgers.iter_mut().find(|stored| stored.ledger.id == created.ledger);
            ledger.unwrap().totals.accounts += 1;
            events.push(Event::AccountCreated(created));
        }
        self.push(timestamp, events, Vec::new());
    }

    /// One command of transfers: a batch, a transaction, or one that only burns an id.
    pub(super) fn command(&mut self) {
        if self.next_seq().0.is_multiple_of(9) {
            self.replace_some_metadata();
        }
        let has_every_id = self.transfers.len() + self.transactions.len() >= IDS.len();
        if has_every_id && self.next_seq().0.is_multiple_of(13) {
            self.import_transaction();
        }
        if self.random.one_in(10) {
            let timestamp = self.tick();
            let burned = IdBurned { id: TransferId(1 << 100), rejection: 48, timestamp };
            self.push(timestamp, vec![Event::IdBurned(burned)], Vec::new());
            return;
        }
        if self.random.one_in(8)
            && let Some(pending) = self.open_pending()
        {
            self.expire(pending);
            return;
        }
        let timestamp = self.tick();
        let count = 1 + self.random.below(12);
        let transaction = self.random.one_in(4).then(|| self.new_name());
        self.create_transfers(timestamp, timestamp, count, transaction);
    }

    /// A transaction of what happened elsewhere: its legs stand a day before it, and nothing between.
    fn import_transaction(&mut self) {
        const DAY: u64 = 86_400_000_000_000;
        // Apart from the others' randomness, as replacements are.
        let own = Random::new(self.next_seq().0);
        let random = std::mem::replace(&mut self.random, own);
        let first = self.tick();
        self.clock = first.plus(DAY);
        let (timestamp, count, name) = (self.tick(), 1 + self.random.below(5), self.new_name());
        self.create_transfers(timestamp, first, count, Some(name));
        self.random = random;
    }

    /// Transfers from `first` on that are decided at `timestamp`, as a batch or as a transaction.
    fn create_transfers(
        &mut self,
        timestamp: Timestamp,
        first: Timestamp,
        count: usize,
        transaction: Option<(TransferId, Option<ExternalId>)>,
    ) {
        let mut events = Vec::new();
        let transaction_id = transaction.as_ref().map(|(id, _)| *id);
        if let Some(id) = transaction {
            let (id, external_id) = id;
            let (transfers, metadata) = (count as u32, self.metadata());
            let transaction = Transaction { id, external_id, transfers, timestamp, metadata };
            let seq = self.next_seq();
            self.transactions.push(StoredTransaction { transaction: transaction.clone(), seq });
            events.push(Event::TransactionCreated(transaction));
        }
        let mut touched: Vec<AccountId> = Vec::new();
        for index in 0..count {
            let mut transfer = self.transfer(first.plus(index as u64), transaction_id);
            if first < timestamp {
                transfer.flags = transfer.flags.with(TransferFlags::IMPORTED);
            }
            let mut position = |id| {
                let found = touched.iter().position(|touched| *touched == id);
                let position = found.unwrap_or_else(|| {
                    touched.push(id);
                    touched.len() - 1
                });
                u32::try_from(position).unwrap()
            };
            let debit_account = position(transfer.debit_account_id);
            let credit_account = position(transfer.credit_account_id);
            let seq = self.next_seq();
            if let Some((id, settlement)) = transfer.settles() {
                self.settle(id, settlement);
            }
            if transfer.reverses.0 != 0 {
                self.reverse(transfer.reverses, transfer.id);
            }
            let (settlement, reversed_by) = (None, None);
            let stored =
                StoredTransfer { transfer: transfer.clone(), seq, settlement, reversed_by };
            self.transfers.push(stored);
            let posted = TransferPosted { transfer, debit_account, credit_account };
            events.push(Event::TransferPosted(posted));
        }
        let accounts = touched.into_iter().map(|id| self.change(id, timestamp)).collect();
        self.push(timestamp, events, accounts);
    }

    /// One of the transfers that are pending and open.
    fn open_pending(&mut self) -> Option<Transfer> {
        let open: Vec<usize> = (0..self.transfers.len())
            .filter(|at| {
                let stored = &self.transfers[*at];
                stored.settlement.is_none()
                    && stored.transfer.flags.contains(TransferFlags::PENDING)
            })
            .collect();
        if open.is_empty() {
            return None;
        }
        let at = open[self.random.below(open.len())];
        Some(self.transfers[at].transfer.clone())
    }

    fn settle(&mut self, id: TransferId, settlement: Settlement) {
        let stored = self.transfers.iter_mut().find(|stored| stored.transfer.id == id).unwrap();
        assert_eq!(stored.settlement.replace(settlement), None);
        let seq = self.next_seq();
        self.settled.insert(id, seq);
    }

    /// One of the transfers that moved money and were not reversed.
    fn reversible(&mut self) -> Option<Transfer> {
        const NOT_POSTED: TransferFlags =
            TransferFlags::PENDING.with(TransferFlags::VOID_PENDING_TRANSFER);
        let posted: Vec<usize> = (0..self.transfers.len())
            .filter(|at| {
                let stored = &self.transfers[*at];
                stored.reversed_by.is_none() && !stored.transfer.flags.intersects(NOT_POSTED)
            })
            .collect();
        if posted.is_empty() {
            return None;
        }
        let at = posted[self.random.below(posted.len())];
        Some(self.transfers[at].transfer.clone())
    }

    fn reverse(&mut self, id: TransferId, by: TransferId) {
        let stored = self.transfers.iter_mut().find(|stored| stored.transfer.id == id).unwrap();
        assert_eq!(stored.reversed_by.replace(by), None);
        let seq = self.next_seq();
        self.reversed.insert(id, seq);
    }

    fn expire(&mut self, pending: Transfer) {
        let timestamp = self.tick();
        self.settle(pending.id, Settlement::Expired);
        let expired = TransferExpired {
            id: pending.id,
            debit_account: 0,
            credit_account: 1,
            amount: pending.amount,
            timestamp,
        };
        let touched = [pending.debit_account_id, pending.credit_account_id];
        let accounts = touched.map(|id| self.change(id, timestamp)).into();
        self.push(timestamp, vec![Event::TransferExpired(expired)], accounts);
    }

    fn replace_some_metadata(&mut self) {
        // Apart from the others' randomness, so that they stay what they were before there was this.
        let own = Random::new(self.next_seq().0);
        let random = std::mem::replace(&mut self.random, own);
        let ids: Vec<AccountId> = self.accounts.keys().copied().collect();
        let id = self.random.pick(&ids);
        let metadata = self.metadata();
        self.replace_metadata(id, metadata);
        self.random = random;
    }

    fn new_id(&mut self) -> TransferId {
        let used = self.transfers.len() + self.transactions.len();
        match IDS.get(used) {
            Some(id) => TransferId(*id),
            // Spread over all lengths and not in order.
            None => {
                let shift = self.random.pick(&[0, 40, 56, 57, 64, 100]);
                let high = (self.random.below(100) as u128 + 1) << shift;
                TransferId((high & !0xffff) | ((used as u128 * 7919) & 0xffff) | 0x1_0000)
            }
        }
    }

    /// A new id, and the text that it stands for, if it has one.
    fn new_name(&mut self) -> (TransferId, Option<ExternalId>) {
        let used = self.transfers.len() + self.transactions.len();
        if used < IDS.len() || !self.random.one_in(6) {
            return (self.new_id(), None);
        }
        let external_id = named(&format!("order-{used}-'\"\\%"));
        (TransferId(external_id.id()), Some(external_id))
    }

    fn transfer(&mut self, timestamp: Timestamp, transaction: Option<TransferId>) -> Transfer {
        let ids: Vec<AccountId> = self.accounts.keys().copied().collect();
        let debit = self.random.below(ids.len());
        let credit = (debit + 1 + self.random.below(ids.len() - 1)) % ids.len();
        let plain = self.random.one_in(2);
        let effective_at = self.random.one_in(3).then(|| Timestamp(timestamp.0 - 5));
        let amount = amount(self.random.pick(&AMOUNTS));
        let (id, external_id) = self.new_name();
        let mut transfer = Transfer {
            id,
            external_id,
            debit_account_id: ids[debit],
            credit_account_id: ids[credit],
            amount,
            amount_requested: amount,
            user_data_128: self.reference_128(),
            user_data_64: self.reference_64(),
            user_data_32: self.random.pick(&[0, 0, 5, u32::MAX]),
            ledger: self.random.pick(&[LedgerId(1), LedgerId(1), LedgerId(2), LedgerId(u32::MAX)]),
            code: self.random.pick(&[Code(1), Code(1), Code(2), Code(u16::MAX)]),
            flags: self.random.pick(&[TransferFlags::empty(), TransferFlags::LINKED]),
            effective_at,
            timestamp,
            transaction_id: transaction,
            metadata: self.metadata(),
            ..Transfer::default()
        };
        if self.random.one_in(3) {
            transfer.flags = TransferFlags::PENDING;
            transfer.timeout = self.random.pick(&[0, 1, u32::MAX]);
        } else if self.random.one_in(3)
            && let Some(pending) = self.open_pending()
        {
            transfer.pending_id = pending.id;
            transfer.debit_account_id = pending.debit_account_id;
            transfer.credit_account_id = pending.credit_account_id;
            transfer.flags = self.random.pick(&[
                TransferFlags::POST_PENDING_TRANSFER,
                TransferFlags::VOID_PENDING_TRANSFER,
            ]);
            transfer.inherited = Inherited::AMOUNT;
        } else if self.random.one_in(5)
            && let Some(original) = self.reversible()
        {
            transfer.reverses = original.id;
            transfer.debit_account_id = original.credit_account_id;
            transfer.credit_account_id = original.debit_account_id;
        } else if self.random.one_in(5) {
            transfer.flags = TransferFlags::BALANCING_DEBIT;
            transfer.amount_requested = AMOUNTS.map(self::amount)[self.random.below(8)];
        }
        if plain {
            transfer.user_data_128 = 0;
            transfer.user_data_64 = 0;
            transfer.user_data_32 = 0;
            transfer.effective_at = None;
            transfer.metadata = None;
        }
        transfer
    }

    /// Gives the account any balances: the store copies them and knows no rules.
    fn change(&mut self, id: AccountId, timestamp: Timestamp) -> AccountAfter {
        let seq = self.next_seq();
        let balances = Balances {
            debits_pending: amount(self.random.pick(&AMOUNTS)),
            debits_posted: amount(self.random.pick(&AMOUNTS)),
            credits_pending: amount(self.random.pick(&AMOUNTS)),
            credits_posted: amount(self.random.pick(&AMOUNTS)),
        };
        let closes = self.random.one_in(20);
        let account = &mut self.accounts.get_mut(&id).unwrap().account;
        account.balances = balances;
        account.version += 1;
        if closes {
            account.flags = account.flags.with(AccountFlags::CLOSED);
        }
        let after = account.after();
        if after.flags.contains(AccountFlags::HISTORY) {
            self.history.push(BalanceAt {
                account: id,
                seq,
                timestamp,
                flags: after.flags,
                overdraft_limit: after.overdraft_limit,
                version: after.version,
                balances: after.balances,
            });
        }
        after
    }

    /// Replaces the metadata of an account.
    pub(super) fn replace_metadata(&mut self, id: AccountId, metadata: Option<Metadata>) {
        let (timestamp, seq) = (self.tick(), self.next_seq());
        let stored = self.accounts.get_mut(&id).unwrap();
        let (before, digest_before) = (stored.account.metadata_seq, stored.account.metadata_digest);
        stored.account.metadata_digest = metadata_digest(metadata.as_ref());
        stored.account.metadata_seq = metadata.as_ref().map_or(JournalSeq::NONE, |_| seq);
        stored.metadata = metadata.as_ref().map(|metadata| Arc::clone(&metadata.text));
        let replaced = MetadataReplaced { account: 0, before, digest_before, metadata, timestamp };
        let accounts = vec![self.change(id, timestamp)];
        self.push(timestamp, vec![Event::MetadataReplaced(replaced)], accounts);
    }

    /// The transfers up to a position, as they were then.
    pub(super) fn transfers_at(&self, seq: JournalSeq) -> Vec<StoredTransfer> {
        let there = self.transfers.iter().filter(|stored| stored.seq <= seq);
        let then = |stored: &StoredTransfer| {
            let is = |ended: &BTreeMap<TransferId, JournalSeq>| {
                ended.get(&stored.transfer.id).is_some_and(|at| *at <= seq)
            };
            StoredTransfer {
                settlement: stored.settlement.filter(|_| is(&self.settled)),
                reversed_by: stored.reversed_by.filter(|_| is(&self.reversed)),
                ..stored.clone()
            }
        };
        there.map(then).collect()
    }

    /// Of each replacement of metadata the position, the account, and the metadata before and after it.
    pub(super) fn replacements(&self) -> Vec<(JournalSeq, AccountId, [String; 2])> {
        let text = |metadata: &Option<Metadata>| {
            metadata.as_ref().map_or("null".to_owned(), |metadata| metadata.text.to_string())
        };
        let (mut now, mut replaced) = (BTreeMap::new(), Vec::new());
        for (seq, record, _) in &self.records {
            for event in &record.events {
                let (id, metadata) = match event {
                    Event::AccountCreated(created) => (created.id, text(&created.metadata)),
                    Event::MetadataReplaced(replaced) => {
                        (record.accounts[replaced.account as usize].id, text(&replaced.metadata))
                    }
                    _ => continue,
                };
                if let Some(before) = now.insert(id, metadata.clone()) {
                    replaced.push((*seq, id, [before, metadata]));
                }
            }
        }
        replaced
    }

    /// The records after `after` up to `upto`, as a batch.
    pub(super) fn batch(&self, after: JournalSeq, upto: JournalSeq) -> StoreBatch {
        let mut batch = StoreBatch::new(after);
        for (seq, record, key) in &self.records {
            if *seq > after && *seq <= upto {
                batch.push(*seq, record.clone(), key.as_deref()).unwrap();
            }
        }
        batch.set_frame_hash(frame_hash(upto));
        batch
    }
}

/// The flags as views show them.
pub(super) fn flag_names(flags: TransferFlags) -> String {
    let named = TransferFlags::NAMES.iter().filter(|(flag, _)| flags.contains(*flag));
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

pub(super) fn frame_hash(seq: JournalSeq) -> [u8; 16] {
    u128::from(seq.0).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

fn stored_account(created: &AccountCreated, seq: JournalSeq) -> StoredAccount {
    let metadata = created.metadata.as_ref();
    StoredAccount {
        account: Account {
            id: created.id,
            balances: Balances::default(),
            user_data_128: created.user_data_128,
            overdraft_limit: created.overdraft_limit,
            user_data_64: created.user_data_64,
            timestamp: created.timestamp,
            version: 0,
            metadata_digest: metadata_digest(metadata),
            metadata_seq: if metadata.is_some() { seq } else { JournalSeq::NONE },
            external_id_seq: created.external_id.as_ref().map_or(JournalSeq::NONE, |_| seq),
            user_data_32: created.user_data_32,
            ledger: created.ledger,
            code: created.code,
            flags: created.flags,
        },
        metadata: metadata.map(|metadata| Arc::clone(&metadata.text)),
        external_id: created.external_id.clone(),
        seq,
    }
}
