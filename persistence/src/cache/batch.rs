//! What changed since the last flush.

use florin_engine::{
    AccountAfter, AccountCreated, AccountId, Balances, Event, JournalSeq, Metadata, Record,
};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::entry::{Fixed, FixedMetadata, Moving};
use super::keys::{put_account_key, slot_offset, static_slot_offset};

/// So many entries are written by one step: Redis does nothing else for about a millisecond. Tests have flushes of several steps with few accounts.
const STEP_ENTRIES: usize = if cfg!(test) { 3 } else { 512 };
/// The place of a slot where an entry has none.
const NO_SLOT: u32 = u32::MAX;

/// The newest state of each account that records changed, in the order of the journal.
#[derive(Debug, Default)]
pub struct CacheBatch {
    upto: JournalSeq,
    moved: HashMap<AccountId, Moving, RandomState>,
    /// What became of static parts, of accounts that moved too.
    fixed: HashMap<AccountId, Told, RandomState>,
}

/// What records tell of the static part of an account.
#[derive(Debug)]
struct Told {
    /// All of it, where its creation is among them.
    whole: Option<Fixed>,
    /// Metadata was replaced: what stood there before, or is brought in from before, is not right any more.
    is_replaced: bool,
}

impl CacheBatch {
    /// A batch that goes on after `position`.
    #[must_use]
    pub fn at(position: JournalSeq) -> CacheBatch {
        CacheBatch { upto: position, ..CacheBatch::default() }
    }

    /// Takes up what the durable record at `seq` changed. Records are given in the order of the journal, without a gap.
    pub fn push(&mut self, seq: JournalSeq, record: &Record) {
        for event in &record.events {
            match event {
                Event::AccountCreated(created) => self.create(seq, created),
                Event::MetadataReplaced(replaced) => {
                    let id = record.accounts[replaced.account as usize].id;
                    self.replace_metadata(seq, id, replaced.metadata.as_ref());
                }
                Event::LedgerCreated(_)
                | Event::TransferPosted(_)
                | Event::TransactionCreated(_)
                | Event::IdBurned(_)
                | Event::TransferExpired(_)
                | Event::OverdraftLimitChanged(_) => {}
            }
        }
        // Transfers of the same record come after the creation of their accounts.
        for after in &record.accounts {
            self.moved.insert(after.id, Moving::of(after, seq));
        }
        self.upto = seq;
    }

    fn create(&mut self, seq: JournalSeq, created: &AccountCreated) {
        let AccountCreated { id, ledger, code, flags, overdraft_limit, timestamp, .. } = *created;
        let AccountCreated { user_data_128, user_data_64, user_data_32, .. } = *created;
        let metadata = fixed_metadata(seq, created.metadata.as_ref());
        let fixed =
            Fixed { ledger, code, timestamp, user_data_128, user_data_64, user_data_32, metadata };
        self.fixed.insert(id, Told { whole: Some(fixed), is_replaced: false });
        let balances = Balances::default();
        let after = AccountAfter { id, ledger, flags, overdraft_limit, version: 0, balances };
        self.moved.insert(id, Moving::of(&after, seq));
    }

    fn replace_metadata(&mut self, seq: JournalSeq, id: AccountId, metadata: Option<&Metadata>) {
        let told = self.fixed.entry(id).or_insert(Told { whole: None, is_replaced: true });
        told.is_replaced = true;
        if let Some(fixed) = &mut told.whole {
            fixed.metadata = fixed_metadata(seq, metadata);
        }
    }

    /// The position of the last record that was pushed, or after which the batch goes on.
    #[must_use]
    pub fn upto(&self) -> JournalSeq {
        self.upto
    }

    /// How many entries a flush would write.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.moved.len() + self.fixed.len()
    }

    /// Forgets everything but its room.
    pub fn clear(&mut self) {
        self.moved.clear();
        self.fixed.clear();
    }

    /// The entries of each step in the form that the script reads: the end of the key with its length (one byte), the value with its length (two
    /// bytes), the place of the slot (four bytes), big-endian. A value of no bytes takes the key away. Both parts of an account are in the same step: the
    /// one tells how the other is to be read. There is at least one step.
    pub(super) fn steps(&self) -> Vec<Vec<u8>> {
        let mut steps = vec![Vec::new()];
        let (mut text, mut value, mut entries) = (String::new(), Vec::new(), 0);
        let mut put = |step: &mut Vec<u8>, kind, id, value: &[u8], slot: u32| {
            put_account_key(kind, id, step, &mut text);
            step.extend_from_slice(&(value.len() as u16).to_be_bytes());
            step.extend_from_slice(value);
            step.extend_from_slice(&slot.to_be_bytes());
        };
        for (id, moving) in &self.moved {
            let told = self.fixed.get(id);
            let parts = 1 + usize::from(told.is_some());
            if entries + parts > STEP_ENTRIES {
                steps.push(Vec::new());
                entries = 0;
            }
            entries += parts;
            let Some(step) = steps.last_mut() else { return steps };
            value.clear();
            moving.put(&mut value);
            put(step, 'a', *id, &value, slot_offset(*id));
            if let Some(Told { whole, is_replaced }) = told {
                value.clear();
                whole.iter().for_each(|fixed| fixed.put(&mut value));
                let slot = if *is_replaced { static_slot_offset(*id) } else { NO_SLOT };
                put(step, 's', *id, &value, slot);
            }
        }
        steps
    }
}

fn fixed_metadata(seq: JournalSeq, metadata: Option<&Metadata>) -> Option<FixedMetadata> {
    metadata.map(|Metadata { text, digest }| FixedMetadata {
        seq,
        digest: *digest,
        text: text.clone(),
    })
}
