//! What stands under the epoch's key.

use florin_engine::JournalSeq;

/// An epoch as one step left it. Its form, big-endian: version (one byte, 2), claim, covered, began, step, name, of 8 bytes each.
/// Claim and covered stay at their places in later versions, so that writers of different versions know each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    /// Orders writers: a higher one is the later.
    pub(super) claim: u64,
    /// Entries are current as of here.
    pub(super) covered: JournalSeq,
    /// Nothing is known of what changed before.
    pub(super) began: JournalSeq,
    /// How many steps were made.
    pub(super) step: u64,
    /// Its name among keys.
    pub(super) name: u64,
}

/// Version 1 knew of no static part that changes: who speaks it would bring old ones back, and finds no epoch.
const VERSION: u8 = 2;
pub(super) const EPOCH_BYTES: usize = 41;

impl Epoch {
    pub(super) fn to_bytes(self) -> [u8; EPOCH_BYTES] {
        let Epoch { claim, covered, began, step, name } = self;
        let mut bytes = [0; EPOCH_BYTES];
        bytes[0] = VERSION;
        let fields = [claim, covered.0, began.0, step, name];
        for (field, place) in fields.into_iter().zip(bytes[1..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    /// `None` for bytes that are no epoch of this version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Epoch> {
        let (&version, fields) = bytes.split_first()?;
        if version != VERSION || bytes.len() != EPOCH_BYTES {
            return None;
        }
        let field = |at: usize| fields[8 * at..].first_chunk().copied().map(u64::from_be_bytes);
        Some(Epoch {
            claim: field(0)?,
            covered: JournalSeq(field(1)?),
            began: JournalSeq(field(2)?),
            step: field(3)?,
            name: field(4)?,
        })
    }

    /// The epoch after one more step, that leads to `covered`.
    pub(super) fn after_step(self, covered: JournalSeq) -> Epoch {
        Epoch { covered, step: self.step + 1, ..self }
    }
}
