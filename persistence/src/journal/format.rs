//! The bytes of segments and frames. All numbers are little-endian.
//!
//! Segment header block, 4096 bytes:
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 8 | magic `FLORINSG` |
//! | 8 | 4 | format version |
//! | 12 | 4 | zero |
//! | 16 | 16 | identity of the data directory |
//! | 32 | 8 | first seq |
//! | 40 | 8 | length of the file |
//! | 48 | 8 | state hash before the first record |
//! | 56 | 16 | hash of the frame before, sealing or not |
//! | 72 | 16 | hash of the frame before that has records |
//! | 88 | 4004 | zero |
//! | 4092 | 4 | crc32c of all before |
//!
//! Frame header, 72 bytes, at a multiple of 8:
//!
//! | at | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | magic `FLFR` |
//! | 4 | 2 | format version |
//! | 6 | 1 | kind: 1 data, 2 seal |
//! | 7 | 1 | zero |
//! | 8 | 8 | seq of the first record; of a seal, of the next record |
//! | 16 | 4 | number of records |
//! | 20 | 4 | length of the payload without padding |
//! | 24 | 8 | state hash after the frame |
//! | 32 | 16 | hash of the frame before |
//! | 48 | 16 | hash of this frame: keyed BLAKE3 of bytes 0–48 and the padded payload, its first 16 bytes |
//! | 64 | 4 | crc32c of the padded payload |
//! | 68 | 4 | crc32c of bytes 0–68, begun with a seed of this data directory |
//!
//! The key of the hash is BLAKE3's derived key of the directory's identity in the context `florin journal frame chain`; the seed is
//! the first 4 bytes of the hash, with that key, of `frame header checksum seed`.
//!
//! Then the payload, padded with zeros to a multiple of 8: the records, each a length of 4 bytes and its bytes.

use std::fmt;

use uuid::Uuid;

use super::error::Problem;

/// Length of the block at the beginning of a segment.
pub const SEGMENT_HEADER_BYTES: usize = 4096;
/// Length of the header of a frame.
pub const FRAME_HEADER_BYTES: usize = 72;
/// Length of the length before each record.
pub const RECORD_LENGTH_BYTES: usize = 4;
/// Frames begin at multiples of this.
pub const FRAME_ALIGNMENT: usize = 8;
/// The format of segments and frames that this program writes, and the newest it reads.
pub const JOURNAL_FORMAT_VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"FLORINSG";
const FRAME_MAGIC: [u8; 4] = *b"FLFR";
const KIND_DATA: u8 = 1;
const KIND_SEAL: u8 = 2;

/// The hash of a frame and, through the chain, of everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameHash([u8; 16]);

impl FrameHash {
    /// What stands where there is no frame before.
    pub const GENESIS: FrameHash = FrameHash([0; 16]);

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> FrameHash {
        FrameHash(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for FrameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FrameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameHash({self})")
    }
}

/// What ties frames to one data directory: a record that happens to hold the bytes of a frame of
/// another journal is never taken for one of this.
#[derive(Clone)]
pub(super) struct ChainKey {
    key: [u8; 32],
    crc_seed: u32,
}

impl ChainKey {
    pub(super) fn new(directory: Uuid) -> ChainKey {
        let key = blake3::derive_key("florin journal frame chain", directory.as_bytes());
        let seed = blake3::keyed_hash(&key, b"frame header checksum seed");
        let crc_seed = u32_at(seed.as_bytes(), 0);
        ChainKey { key, crc_seed }
    }

    /// The hash of the frame with this header (its first 48 bytes) and padded payload.
    pub(super) fn frame_hash(&self, hashed_header: &[u8], padded_payload: &[u8]) -> FrameHash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(hashed_header);
        hasher.update(padded_payload);
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        FrameHash(hash)
    }

    /// The checksum of a header's first 68 bytes.
    pub(super) fn header_crc(&self, covered: &[u8]) -> u32 {
        crc32c::crc32c_append(self.crc_seed, covered)
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey")
    }
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// It holds records.
    Data,
    /// It holds none and says that nothing was in flight.
    Seal,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: FrameKind,
    /// Seq of the first record; of a seal, of the next record.
    pub first_seq: u64,
    /// Number of records.
    pub record_count: u32,
    /// Length of the payload without padding, in bytes.
    pub payload_len: u32,
    /// State hash after the frame.
    pub state_hash: u64,
    /// Hash of the frame before.
    pub previous: FrameHash,
    /// Hash of this frame.
    pub hash: FrameHash,
    /// Checksum of the padded payload.
    pub payload_crc: u32,
}

impl FrameHeader {
    /// Seq of the last record; of a seal, of the last record before it.
    pub fn last_seq(&self) -> u64 {
        self.first_seq + u64::from(self.record_count) - 1
    }

    pub(super) fn padded_payload_len(&self) -> usize {
        (self.payload_len as usize).next_multiple_of(FRAME_ALIGNMENT)
    }

    /// Length of the whole frame in the file.
    pub(super) fn frame_len(&self) -> usize {
        FRAME_HEADER_BYTES + self.padded_payload_len()
    }

    /// Writes the header into the first bytes of `frame`, which holds the padded payload already, and
    /// returns it with hash and checksums filled in.
    pub(super) fn seal_into(mut self, key: &ChainKey, frame: &mut [u8]) -> FrameHeader {
        let (header, payload) = frame.split_at_mut(FRAME_HEADER_BYTES);
        debug_assert_eq!(payload.len(), self.padded_payload_len());
        header[0..4].copy_from_slice(&FRAME_MAGIC);
        header[4..6].copy_from_slice(&(JOURNAL_FORMAT_VERSION as u16).to_le_bytes());
        header[6] = match self.kind {
            FrameKind::Data => KIND_DATA,
            FrameKind::Seal => KIND_SEAL,
        };
        header[7] = 0;
        header[8..16].copy_from_slice(&self.first_seq.to_le_bytes());
        header[16..20].copy_from_slice(&self.record_count.to_le_bytes());
        header[20..24].copy_from_slice(&self.payload_len.to_le_bytes());
        header[24..32].copy_from_slice(&self.state_hash.to_le_bytes());
        header[32..48].copy_from_slice(&self.previous.0);
        self.hash = key.frame_hash(&header[..48], payload);
        header[48..64].copy_from_slice(&self.hash.0);
        self.payload_crc = crc32c::crc32c(payload);
        header[64..68].copy_from_slice(&self.payload_crc.to_le_bytes());
        let header_crc = key.header_crc(&header[..68]);
        header[68..72].copy_from_slice(&header_crc.to_le_bytes());
        self
    }

    /// True when `bytes` begin like a frame header; cheap, for looking at every offset.
    pub(super) fn looks_like(bytes: &[u8]) -> bool {
        bytes.starts_with(&FRAME_MAGIC)
    }

    /// Reads a header of this journal.
    pub(super) fn decode(
        key: &ChainKey,
        bytes: &[u8; FRAME_HEADER_BYTES],
    ) -> Result<FrameHeader, Problem> {
        if !FrameHeader::looks_like(bytes) {
            return Err(Problem::NotAFrame);
        }
        if key.header_crc(&bytes[..68]) != u32_at(bytes, 68) {
            return Err(Problem::FrameHeaderChecksum);
        }
        let version = u16::from_le_bytes([bytes[4], bytes[5]]);
        if u32::from(version) > JOURNAL_FORMAT_VERSION {
            return Err(Problem::NewerFormat { found: u32::from(version) });
        }
        let header = FrameHeader {
            kind: match bytes[6] {
                KIND_DATA => FrameKind::Data,
                KIND_SEAL => FrameKind::Seal,
                _ => return Err(Problem::FrameContent),
            },
            first_seq: u64_at(bytes, 8),
            record_count: u32_at(bytes, 16),
            payload_len: u32_at(bytes, 20),
            state_hash: u64_at(bytes, 24),
            previous: hash_at(bytes, 32),
            hash: hash_at(bytes, 48),
            payload_crc: u32_at(bytes, 64),
        };
        let empty = header.record_count == 0 && header.payload_len == 0;
        let possible = header.first_seq > 0
            && header.first_seq.checked_add(u64::from(header.record_count)).is_some()
            && empty == (header.kind == FrameKind::Seal);
        if possible { Ok(header) } else { Err(Problem::FrameContent) }
    }

    /// Checks the padded payload that follows this header: checksum and the shape of its records.
    pub(super) fn check_payload(&self, padded_payload: &[u8]) -> Result<(), Problem> {
        if crc32c::crc32c(padded_payload) != self.payload_crc {
            return Err(Problem::PayloadChecksum);
        }
        let (payload, padding) = padded_payload.split_at(self.payload_len as usize);
        let mut rest = payload;
        for _ in 0..self.record_count {
            let (length, after) =
                rest.split_first_chunk::<RECORD_LENGTH_BYTES>().ok_or(Problem::FrameContent)?;
            rest =
                after.get(u32::from_le_bytes(*length) as usize..).ok_or(Problem::FrameContent)?;
        }
        if rest.is_empty() && padding.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(Problem::FrameContent)
        }
    }
}

/// The header block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Identity of the data directory.
    pub directory: Uuid,
    /// Seq of the first record.
    pub first_seq: u64,
    /// Length of the file.
    pub segment_bytes: u64,
    /// State hash before the first record.
    pub state_hash: u64,
    /// Hash of the frame before, sealing or not.
    pub previous: FrameHash,
    /// Hash of the frame before that has records: the one that ends at `first_seq - 1`.
    pub previous_data: FrameHash,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&JOURNAL_FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(self.directory.as_bytes());
        bytes[32..40].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.state_hash.to_le_bytes());
        bytes[56..72].copy_from_slice(&self.previous.0);
        bytes[72..88].copy_from_slice(&self.previous_data.0);
        let checksum = crc32c::crc32c(&bytes[..4092]);
        bytes[4092..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<SegmentHeader, Problem> {
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(Problem::NotASegment);
        }
        if crc32c::crc32c(&bytes[..4092]) != u32_at(bytes, 4092) {
            return Err(Problem::SegmentHeaderChecksum);
        }
        let version = u32_at(bytes, 8);
        if version > JOURNAL_FORMAT_VERSION {
            return Err(Problem::NewerFormat { found: version });
        }
        let mut directory = [0; 16];
        directory.copy_from_slice(&bytes[16..32]);
        Ok(SegmentHeader {
            directory: Uuid::from_bytes(directory),
            first_seq: u64_at(bytes, 32),
            segment_bytes: u64_at(bytes, 40),
            state_hash: u64_at(bytes, 48),
            previous: hash_at(bytes, 56),
            previous_data: hash_at(bytes, 72),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn hash_at(bytes: &[u8], at: usize) -> FrameHash {
    let mut hash = [0; 16];
    hash.copy_from_slice(&bytes[at..at + 16]);
    FrameHash(hash)
}
