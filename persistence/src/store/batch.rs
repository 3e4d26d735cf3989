//! The rows of many records, gathered to be applied at once.

use std::collections::{BTreeMap, HashMap};

use florin_engine::{
    AccountAfter, AccountCreated, AccountFlags, AccountId, Balances, Event, JournalSeq, Ledger,
    LedgerId, LedgerTotals, Metadata, Record, Settlement, Timestamp, Transaction, Transfer,
    TransferId,
};

use super::entries::entries;
use super::rows::{BalanceAt, StoredAccount, StoredLedger, StoredTransaction};
use super::span::Span;

/// The rows of the records `after + 1 ..= upto`. Balances and totals are the newest only: what a batch overwrites itself is never written.
#[derive(Clone, Debug)]
pub struct StoreBatch {
    pub(super) after: JournalSeq,
    pub(super) upto: JournalSeq,
    pub(super) frame_hash: [u8; 16],
    pub(super) timestamp: Timestamp,
    pub(super) ledgers: Vec<(Ledger, JournalSeq)>,
    pub(super) totals: BTreeMap<LedgerId, LedgerTotals>,
    pub(super) accounts: Vec<(AccountCreated, JournalSeq)>,
    pub(super) balances: HashMap<AccountId, AccountAfter>,
    pub(super) history: Vec<BalanceAt>,
    pub(super) transfers: Vec<(Transfer, JournalSeq)>,
    pub(super) transactions: Vec<TransactionRow>,
    pub(super) settlements: Vec<SettlementRow>,
    /// What the metadata of accounts was replaced by, in order.
    pub(super) metadata: Vec<MetadataRow>,
    /// What stood there before, where it comes from another store.
    pub(super) replaced: Vec<MetadataRow>,
    pub(super) keyed: Vec<(JournalSeq, Box<[u8]>)>,
    /// The bytes of metadata and keyed records, of which rows say nothing.
    bytes: usize,
}

/// A batch of so many rows is applied most cheaply.
const ROWS_TARGET: usize = 64_000;
/// And so many bytes of metadata and keyed records are enough for one, whatever its rows.
const BYTES_TARGET: usize = 16 << 20;

#[derive(Clone, Debug)]
pub(super) struct TransactionRow {
    pub(super) transaction: Transaction,
    /// The time of its first leg, which is its own past when that was imported. None stands for its own time.
    pub(super) first_leg: Option<Timestamp>,
    /// The time of its last leg; no other transfer stands between the two.
    pub(super) last_leg: Timestamp,
    pub(super) seq: JournalSeq,
}

impl TransactionRow {
    /// Where its legs stand, as far as that is in `span`.
    pub(super) fn legs_in(&self, span: Span) -> Span {
        span.within(self.first_leg.unwrap_or(self.transaction.timestamp).0, self.last_leg.0)
    }

    pub(super) fn stored(self) -> StoredTransaction {
        StoredTransaction { transaction: self.transaction, seq: self.seq }
    }
}

/// The metadata of an account, and the command that put it there or took it away.
#[derive(Clone, Debug)]
pub(super) struct MetadataRow {
    pub(super) seq: JournalSeq,
    pub(super) timestamp: Timestamp,
    pub(super) account: AccountId,
    pub(super) metadata: Option<Metadata>,
}

/// What became of a pending transfer.
#[derive(Clone, Copy, Debug)]
pub(super) struct SettlementRow {
    pub(super) pending_id: TransferId,
    pub(super) settlement: Settlement,
    pub(super) timestamp: Timestamp,
    pub(super) seq: JournalSeq,
}

/// The record does not follow the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {given} was pushed after record {upto}", given = given.0, upto = upto.0)]
pub struct OutOfOrder {
    /// Where the batch ends.
    pub upto: JournalSeq,
    /// What was pushed.
    pub given: JournalSeq,
}

impl StoreBatch {
    /// An empty batch that continues a store at `after`.
    #[must_use]
    pub fn new(after: JournalSeq) -> StoreBatch {
        StoreBatch {
            after,
            upto: after,
            frame_hash: [0; 16],
            timestamp: Timestamp(0),
            ledgers: Vec::new(),
            totals: BTreeMap::new(),
            accounts: Vec::new(),
            balances: HashMap::new(),
            history: Vec::new(),
            transfers: Vec::new(),
            transactions: Vec::new(),
            settlements: Vec::new(),
            metadata: Vec::new(),
            replaced: Vec::new(),
            keyed: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds the rows of the record at `seq`. `keyed` is the record as it stands in the journal, for a record with a key.
    ///
    /// # Errors
    /// `seq` is not the position after the last one.
    pub fn push(
        &mut self,
        seq: JournalSeq,
        record: Record,
        keyed: Option<&[u8]>,
    ) -> Result<(), OutOfOrder> {
        if seq != self.upto.next() {
            return Err(OutOfOrder { upto: self.upto, given: seq });
        }
        self.upto = seq;
        let Record { timestamp, events, accounts, ledgers, .. } = record;
        self.timestamp = timestamp;
        for event in events {
            match event {
                Event::LedgerCreated(ledger) => {
                    self.totals.insert(ledger.id, LedgerTotals::default());
                    self.ledgers.push((ledger, seq));
                }
                Event::AccountCreated(created) => {
                    self.count_text(created.metadata.as_ref());
                    self.balances.insert(created.id, after_creation(&created));
                    self.accounts.push((created, seq));
                }
                Event::TransferPosted(posted) => {
                    self.count_text(posted.transfer.metadata.as_ref());
                    self.push_leg(&posted.transfer);
                    self.push_transfer(posted.transfer, seq);
                }
                // Its legs follow.
                Event::TransactionCreated(transaction) => {
                    self.count_text(transaction.metadata.as_ref());
                    self.transactions.push(TransactionRow {
                        first_leg: None,
                        last_leg: transaction.timestamp,
                        transaction,
                        seq,
                    });
                }
                // The exact index of decided ids keeps burned ones.
                Event::IdBurned(_) => {}
                // What it released stands in the accounts after.
                Event::TransferExpired(expired) => self.settlements.push(SettlementRow {
                    pending_id: expired.id,
                    settlement: Settlement::Expired,
                    timestamp: expired.timestamp,
                    seq,
                }),
                // Its account stands among those after.
                Event::OverdraftLimitChanged(_) => {}
                Event::MetadataReplaced(replaced) => {
                    self.count_text(replaced.metadata.as_ref());
                    self.metadata.push(MetadataRow {
                        seq,
                        timestamp: replaced.timestamp,
                        account: accounts[replaced.account as usize].id,
                        metadata: replaced.metadata,
                    });
                }
            }
        }
        for after in accounts {
            if after.flags.contains(AccountFlags::HISTORY) {
                self.history.push(BalanceAt {
                    account: after.id,
                    seq,
                    timestamp,
                    flags: after.flags,
                    overdraft_limit: after.overdraft_limit,
                    version: after.version,
                    balances: after.balances,
                });
            }
            self.balances.insert(after.id, after);
        }
        for ledger in ledgers {
            self.totals.insert(ledger.id, ledger.totals);
        }
        if let Some(bytes) = keyed {
            self.bytes += bytes.len();
            self.keyed.push((seq, bytes.into()));
        }
        Ok(())
    }

    /// What the metadata of its accounts is found by.
    pub(super) fn account_entries(&self) -> Vec<(i64, Timestamp)> {
        entries_of(self.accounts.iter().map(|(it, _)| (it.metadata.as_ref(), it.timestamp)))
    }

    /// What the metadata of its transfers is found by.
    pub(super) fn transfer_entries(&self) -> Vec<(i64, Timestamp)> {
        entries_of(self.transfers.iter().map(|(it, _)| (it.metadata.as_ref(), it.timestamp)))
    }

    /// Whether it has rows that belong to a run.
    pub(super) fn needs_run(&self) -> bool {
        !(self.transfers.is_empty()
            && self.transactions.is_empty()
            && self.settlements.is_empty()
            && self.history.is_empty())
    }

    fn count_text(&mut self, metadata: Option<&Metadata>) {
        self.bytes += metadata.map_or(0, |metadata| metadata.text.len());
    }

    fn push_leg(&mut self, leg: &Transfer) {
        if let Some(row) = self.transactions.last_mut()
            && leg.transaction_id == Some(row.transaction.id)
        {
            row.first_leg.get_or_insert(leg.timestamp);
            row.last_leg = leg.timestamp;
        }
    }

    pub(super) fn push_transfer(&mut self, transfer: Transfer, seq: JournalSeq) {
        if let Some((pending_id, settlement)) = transfer.settles() {
            let timestamp = transfer.timestamp;
            self.settlements.push(SettlementRow { pending_id, settlement, timestamp, seq });
        }
        self.transfers.push((transfer, seq));
    }

    /// Adds a ledger as it is, without the records that made it so: for a store that is rebuilt.
    pub fn push_ledger(&mut self, stored: StoredLedger) {
        self.totals.insert(stored.ledger.id, stored.totals);
        self.ledgers.push((stored.ledger, stored.seq));
    }

    /// Adds an account as it is, without the records that made it so: for a store that is rebuilt. The text of its metadata may be
    /// lost, and is the JSON `null` then.
    pub fn push_account(&mut self, stored: StoredAccount) {
        let StoredAccount { account, metadata, external_id, seq } = stored;
        self.balances.insert(account.id, account.after());
        let digest = account.metadata_digest;
        let text = metadata.or_else(|| (digest != 0).then(|| "null".into()));
        let created = AccountCreated {
            id: account.id,
            external_id,
            ledger: account.ledger,
            code: account.code,
            flags: account.flags,
            overdraft_limit: account.overdraft_limit,
            user_data_128: account.user_data_128,
            user_data_64: account.user_data_64,
            user_data_32: account.user_data_32,
            timestamp: account.timestamp,
            metadata: text.map(|text| Metadata { text, digest }),
        };
        self.accounts.push((created, seq));
    }

    /// Sets what an account of the store has become.
    pub fn set_balances(&mut self, after: AccountAfter) {
        self.balances.insert(after.id, after);
    }

    /// Sets what the totals of a ledger of the store have become.
    pub fn set_totals(&mut self, ledger: LedgerId, totals: LedgerTotals) {
        self.totals.insert(ledger, totals);
    }

    /// Where the store stands after it, for a batch that is not made of records: also further back, when it is cut.
    pub fn set_upto(&mut self, upto: JournalSeq, timestamp: Timestamp) {
        self.upto = upto;
        self.timestamp = timestamp;
    }

    /// Names the hash of the journal frame that ends where the batch ends.
    pub fn set_frame_hash(&mut self, frame_hash: [u8; 16]) {
        self.frame_hash = frame_hash;
    }

    /// The hash of the journal frame that ends where the batch ends.
    #[must_use]
    pub fn frame_hash(&self) -> [u8; 16] {
        self.frame_hash
    }

    /// The position that the batch continues.
    #[must_use]
    pub fn after(&self) -> JournalSeq {
        self.after
    }

    /// The position of its last record.
    #[must_use]
    pub fn upto(&self) -> JournalSeq {
        self.upto
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upto == self.after && self.rows() == 0
    }

    /// Whether it should be applied: more rows would be no cheaper, and more bytes take memory.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows() >= ROWS_TARGET || self.bytes >= BYTES_TARGET
    }

    /// How many rows it writes.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ledgers.len()
            + self.accounts.len()
            + self.balances.len()
            + self.history.len()
            + self.transfers.len()
            + self.transactions.len()
            + self.settlements.len()
            + self.metadata.len()
            + self.replaced.len()
            + self.keyed.len()
    }

    /// How many transfers it writes.
    #[must_use]
    pub fn transfers(&self) -> usize {
        self.transfers.len()
    }
}

/// The entries of each metadata with the time beside it, in the order of the lookups.
pub(super) fn entries_of<'m>(
    described: impl Iterator<Item = (Option<&'m Metadata>, Timestamp)>,
) -> Vec<(i64, Timestamp)> {
    let of_one = |(metadata, at): (Option<&Metadata>, Timestamp)| {
        let entries = metadata.map(|metadata| entries(&metadata.text)).unwrap_or_default();
        entries.into_iter().map(move |entry| (entry, at))
    };
    let mut entries: Vec<_> = described.flat_map(of_one).collect();
    entries.sort_unstable();
    entries
}

fn after_creation(created: &AccountCreated) -> AccountAfter {
    AccountAfter {
        id: created.id,
        ledger: created.ledger,
        flags: created.flags,
        overdraft_limit: created.overdraft_limit,
        version: 0,
        balances: Balances::default(),
    }
}
