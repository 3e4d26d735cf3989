//! What changed since the last flush.

use florin_engine::{AccountAfter, AccountCreated, AccountId, Balances, Event, JournalSeq, Record};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::entry::{Fixed, FixedExternalId, FixedMetadata, Moving};
use super::keys::{put_account_key, slot_offset};

/// So many entries are written by one step: Redis does nothing else for about a millisecond. Tests have flushes of several steps with few accounts.
const STEP_ENTRIES: usize = if cfg!(test) { 3 } else { 512 };
/// The place of a slot where an entry has none.
const NO_SLOT: u32 = u32::MAX;

/// The newest state of each account that records changed, in the order of the journal.
#[derive(Debug, Default)]
pub struct CacheBatch {
    upto: JournalSeq,
    moved: HashMap<AccountId, Moving, RandomState>,
    created: Vec<(AccountId, Fixed)>,
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
            if let Event::AccountCreated(created) = event {
                self.create(seq, created);
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
        let metadata = created.metadata.as_ref().map(|metadata| FixedMetadata {
            seq,
            digest: metadata.digest,
            text: metadata.text.clone(),
        });
        let external_id =
            created.external_id.clone().map(|external_id| FixedExternalId { seq, external_id });
        let fixed = Fixed {
            ledger,
            code,
            timestamp,
            user_data_128,
            user_data_64,
            user_data_32,
            metadata,
            external_id,
        };
        self.created.push((id, fixed));
        let balances = Balances::default();
        let after = AccountAfter { id, ledger, flags, overdraft_limit, version: 0, balances };
        self.moved.insert(id, Moving::of(&after, seq));
    }

    /// The position of the last record that was pushed, or after which the batch goes on.
    #[must_use]
    pub fn upto(&self) -> JournalSeq {
        self.upto
    }

    /// How many entries a flush would write.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.moved.len() + self.created.len()
    }

    /// Forgets everything but its room.
    pub fn clear(&mut self) {
        self.moved.clear();
        self.created.clear();
    }

    /// The entries of each step in the form that the script reads: the end of the key with its length (one byte), the value with its length (two
    /// bytes), the place of the slot (four bytes), big-endian. There is at least one step.
    pub(super) fn steps(&self) -> Vec<Vec<u8>> {
        let mut steps = vec![Vec::new()];
        let (mut text, mut value, mut entries) = (String::new(), Vec::new(), 0);
        let mut put = |kind, id, value: &[u8], slot: u32| {
            if entries == STEP_ENTRIES {
                steps.push(Vec::new());
                entries = 0;
            }
            let Some(step) = steps.last_mut() else { return };
            put_account_key(kind, id, step, &mut text);
            step.extend_from_slice(&(value.len() as u16).to_be_bytes());
            step.extend_from_slice(value);
            step.extend_from_slice(&slot.to_be_bytes());
            entries += 1;
        };
        for (id, fixed) in &self.created {
            value.clear();
            fixed.put(&mut value);
            put('s', *id, &value, NO_SLOT);
        }
        for (id, moving) in &self.moved {
            value.clear();
            moving.put(&mut value);
            put('a', *id, &value, slot_offset(*id));
        }
        steps
    }
}
