//! What must hold of any bytes that are read back: for the fuzzer and for the tests that replay its corpora. Each function panics where it does not.

mod memory_disk;

use std::path::Path;

use uuid::Uuid;

use crate::backup::Manifest;
use crate::cache;
use crate::decided::ExportReader;
use crate::record;
use crate::store::{Cursor, StatementCursor};

pub use crate::journal::fuzzing::journal;
pub use crate::snapshot::fuzzing::{snapshot_entries, snapshot_file};
pub(crate) use memory_disk::{MemoryDisk, MemoryFile};

/// Whose data it is.
pub(crate) const DIRECTORY: Uuid = Uuid::from_u128(0x0196_f10a_0000_7000_8000_0000_0000_0003);

/// Bytes that a test takes what it does from; zeros when they are used up.
#[derive(Debug)]
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl<'a> Choices<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    pub(crate) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

/// A record that can be read is written again byte for byte.
///
/// # Panics
/// It is not.
pub fn record(bytes: &[u8]) {
    if let Ok(record) = record::decode(bytes) {
        let mut again = Vec::with_capacity(bytes.len());
        record::encode(&record, &mut again);
        assert_eq!(again, bytes, "{record:?}");
    }
}

/// A cursor that can be read is shown as it was given, but for the case of its digits.
///
/// # Panics
/// It is not.
pub fn cursor(bytes: &[u8]) {
    // The checksum of a text made by chance never fits, so the bytes under it are given too.
    let made = std::fmt::from_fn(|f| crate::store::write_cursor(f, bytes)).to_string();
    let given = std::str::from_utf8(bytes).unwrap_or_default();
    for text in [made.as_str(), given] {
        if let Ok(cursor) = text.parse::<Cursor>() {
            assert_eq!(cursor.to_string(), text.to_ascii_lowercase());
        }
        if let Ok(cursor) = text.parse::<StatementCursor>() {
            assert_eq!(cursor.to_string(), text.to_ascii_lowercase());
        }
    }
}

/// What a manifest says is said again by one made of it; with a checksum that fits, so that more than that is looked at.
///
/// # Panics
/// It is not.
pub fn manifest(bytes: &[u8]) {
    let path = Path::new("manifest");
    let _ = Manifest::decode(bytes, path);
    let summed = [bytes, blake3::hash(bytes).to_hex().as_bytes(), b"\n"].concat();
    if let Ok(manifest) = Manifest::decode(&summed, path) {
        let again = Manifest::decode(&manifest.encode(), path);
        assert_eq!(again.ok(), Some(manifest));
    }
}

/// Exported ids are as many as they say, and ascend. `bytes` are the entries.
///
/// # Panics
/// They are not.
pub fn exported_ids(bytes: &[u8]) {
    let file = crate::decided::exported_with_header(bytes, DIRECTORY);
    for file in [bytes, &file] {
        let Ok(mut reader) = ExportReader::open(file, DIRECTORY) else { continue };
        let (mut count, mut last) = (0, None);
        while let Ok(Some((namespace, id, _))) = reader.next_entry() {
            count += 1;
            assert!(last < Some((namespace, id)));
            last = Some((namespace, id));
        }
        assert!(count <= bytes.len() as u64 / 42 && count <= reader.exported().ids);
    }
}

/// An entry of the cache that can be read is written again byte for byte.
///
/// # Panics
/// It is not.
pub fn cache_entry(bytes: &[u8]) {
    cache::rewrite_entry(bytes);
}

/// A data directory's identity that can be read is written again byte for byte.
///
/// # Panics
/// It is not.
pub fn identity(bytes: &[u8]) {
    crate::data_dir::rewrite_identity(bytes);
}
