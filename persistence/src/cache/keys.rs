//! The names of keys.

use std::fmt::Write;

use florin_engine::AccountId;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// How many slots share the accounts among them: at 20,000 transfers a second between cold accounts, and a store that is a second behind, a
/// fill of an unchanged account is refused one time in seven, for 2 MiB an epoch.
const SLOTS: u64 = 1 << 18;
/// The same for static parts, behind the others: they change seldom.
const STATIC_SLOTS: u64 = 1 << 12;
/// A slot holds one position.
const SLOT_BYTES: u64 = 8;
/// The size of all slots.
pub(super) const SLOTS_BYTES: u64 = (SLOTS + STATIC_SLOTS) * SLOT_BYTES;

/// Where the slot of an account begins.
pub(super) fn slot_offset(id: AccountId) -> u32 {
    ((xxh3_64(&id.0.to_le_bytes()) % SLOTS) * SLOT_BYTES) as u32
}

/// Where the slot of an account's static part begins.
pub(super) fn static_slot_offset(id: AccountId) -> u32 {
    ((SLOTS + xxh3_64(&id.0.to_le_bytes()) % STATIC_SLOTS) * SLOT_BYTES) as u32
}

/// All keys of one ledger directory.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    root: String,
}

impl Keys {
    pub(super) fn new(directory: Uuid) -> Keys {
        Keys { root: format!("florin:{{{directory}}}:") }
    }

    /// The one that names the epoch.
    pub(super) fn epoch(&self) -> String {
        format!("{}epoch", self.root)
    }

    /// What all keys within an epoch begin with.
    pub(super) fn within(&self, name: u64) -> String {
        format!("{}{name:016x}:", self.root)
    }

    pub(super) fn changes(&self, name: u64) -> String {
        format!("{}changes", self.within(name))
    }

    pub(super) fn moving(&self, name: u64, id: AccountId) -> String {
        format!("{}a:{}", self.within(name), id.0)
    }

    pub(super) fn fixed(&self, name: u64, id: AccountId) -> String {
        format!("{}s:{}", self.within(name), id.0)
    }

    /// The query is named by 128 bits of its digest: no two of one account's meet, also when somebody wishes them to.
    pub(super) fn page(&self, name: u64, id: AccountId, version: u64, query: &[u8]) -> String {
        let digest = blake3::hash(query).to_hex();
        format!("{}p:{}:{version}:{}", self.within(name), id.0, &digest[..32])
    }
}

/// Writes the end of an account's key, `kind:id`, with its length in one byte before it.
pub(super) fn put_account_key(kind: char, id: AccountId, out: &mut Vec<u8>, text: &mut String) {
    text.clear();
    // Writing into a text can not fail.
    let _ = write!(text, "{kind}:{}", id.0);
    out.push(text.len() as u8);
    out.extend_from_slice(text.as_bytes());
}
