//! Snapshots of any bytes, with checksums that fit, so that more than those is looked at.

use std::path::Path;

use super::entry::{self, NO_ACCOUNT, NO_LEDGER, NO_TRANSFER};
use super::read::SnapshotReader;
use super::{HEADER_BYTES, HEADER_BYTES_1, kind};
use crate::fuzzing::Choices;
use crate::record::bytes::{Cursor, Scratch};

/// Entries that can be read are written again byte for byte.
///
/// # Panics
/// They are not.
pub fn snapshot_entries(data: &[u8]) {
    let Some((shape, bytes)) = data.split_first() else { return };
    let mut cursor = Cursor::new(bytes);
    let (mut again, mut scratch) = (Vec::new(), Scratch::new());
    let (mut ledger, mut account, mut pending) = (NO_LEDGER, NO_ACCOUNT, NO_TRANSFER);
    let mut read = 0;
    loop {
        match shape % 3 {
            0 => {
                let Ok((found, totals)) = entry::ledger(ledger, &mut cursor) else { break };
                entry::put_ledger(ledger, &found, &totals, &mut again);
                assert!(found.id > ledger);
                ledger = found.id;
            }
            1 => {
                let Ok(found) = entry::account(account, &mut cursor) else { break };
                entry::put_account(account, &found, &mut scratch, &mut again);
                assert!(found.id > account);
                account = found.id;
            }
            _ => {
                let Ok(found) = entry::pending(pending, &mut cursor) else { break };
                entry::put_pending(pending, &found, &mut scratch, &mut again);
                assert!(found.id > pending);
                pending = found.id;
            }
        }
        read = cursor.offset();
    }
    assert_eq!(again, &bytes[..read]);
}

/// A file with a header, blocks and a footer as `data` says is read to its end or refused, in bounded memory.
///
/// # Panics
/// It has more entries than bytes, or they do not ascend.
pub fn snapshot_file(data: &[u8]) {
    let path = Path::new("snapshot");
    if let Ok(reader) = SnapshotReader::open(data, path) {
        reader.for_each(drop);
    }
    let mut choices = Choices(data);
    let header = if choices.byte().is_multiple_of(4) { HEADER_BYTES_1 } else { HEADER_BYTES };
    let mut file = super::MAGIC.to_vec();
    file.extend_from_slice(&[if header == HEADER_BYTES { 2 } else { 1 }, 0, 0, 0]);
    while file.len() < header - 4 {
        // The counts are small, so that there may be as many entries.
        let bytes = [choices.byte(), 0, 0, 0, 0, 0, 0, 0];
        let missing = header - 4 - file.len();
        file.extend_from_slice(&bytes[..missing.min(8)]);
    }
    let accounts = file[68..76].to_vec();
    file.extend_from_slice(&crc32c::crc32c(&file).to_le_bytes());
    while !choices.is_over() {
        let kind = [kind::LEDGERS, kind::ACCOUNTS, kind::PENDING][usize::from(choices.byte() % 3)];
        let length = usize::from(choices.byte());
        let content = choices.bytes(length);
        let mut block = vec![kind];
        block.extend_from_slice(&(content.len() as u32).to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&block), content);
        file.extend_from_slice(&block);
        file.extend_from_slice(&checksum.to_le_bytes());
        file.extend_from_slice(content);
    }
    file.push(kind::FOOTER);
    file.extend_from_slice(&accounts);
    let hash = blake3::hash(&file);
    file.extend_from_slice(hash.as_bytes());
    let Ok(reader) = SnapshotReader::open(&file[..], path) else { return };
    let entries = reader.take_while(Result::is_ok).count();
    assert!(entries <= file.len());
}
