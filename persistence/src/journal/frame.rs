//! Frames in memory: one being built, and one being looked at.

use super::format::{
    ChainKey, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, FrameHash, FrameHeader, FrameKind,
    RECORD_LENGTH_BYTES,
};

/// A reusable buffer in which records become a frame. Records are encoded straight into the bytes that are
/// written: room for the header is kept in front of them.
#[derive(Debug)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
    record_count: u32,
    first_seq: Option<u64>,
}

impl Default for FrameBuilder {
    fn default() -> FrameBuilder {
        FrameBuilder::new()
    }
}

impl FrameBuilder {
    /// An empty frame.
    pub fn new() -> FrameBuilder {
        FrameBuilder { bytes: vec![0; FRAME_HEADER_BYTES], record_count: 0, first_seq: None }
    }

    /// Drops the records and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(FRAME_HEADER_BYTES);
        self.record_count = 0;
        self.first_seq = None;
    }

    /// Says which position the first record must get; the append refuses the frame when another is due.
    /// Without this the frame takes the position that is due.
    pub fn expect_first_seq(&mut self, seq: u64) {
        self.first_seq = Some(seq);
    }

    /// Adds a record: `encode` appends its bytes to the buffer, and must leave alone what is in it. Returns the length of
    /// the record in bytes.
    ///
    /// # Panics
    /// When `encode` shortens the buffer, or makes a record of 4 GiB.
    pub fn push_record(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_LENGTH_BYTES]);
        let record_at = self.bytes.len();
        encode(&mut self.bytes);
        assert!(self.bytes.len() >= record_at, "a record's encoder must only append");
        let record_len = self.bytes.len() - record_at;
        let length = u32::try_from(record_len).expect("a record is far below 4 GiB");
        self.bytes[length_at..record_at].copy_from_slice(&length.to_le_bytes());
        self.record_count += 1;
        record_len
    }

    /// Length of the frame as it will be written, header and padding included, in bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len().next_multiple_of(FRAME_ALIGNMENT) as u64
    }

    /// True when there are no records.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.record_count
    }

    pub(super) fn expected_first_seq(&self) -> Option<u64> {
        self.first_seq
    }

    /// Fills in header and padding. The frame must be written or cleared after this: nothing can be added any more.
    pub(super) fn finish(
        &mut self,
        key: &ChainKey,
        first_seq: u64,
        state_hash: u64,
        previous: FrameHash,
    ) -> (FrameHeader, &[u8]) {
        let payload_len = self.bytes.len() - FRAME_HEADER_BYTES;
        self.bytes.resize(self.bytes.len().next_multiple_of(FRAME_ALIGNMENT), 0);
        let header = FrameHeader {
            kind: FrameKind::Data,
            first_seq,
            record_count: self.record_count,
            payload_len: u32::try_from(payload_len).expect("a frame fits a segment"),
            state_hash,
            previous,
            hash: FrameHash::GENESIS,
            payload_crc: 0,
        };
        (header.seal_into(key, &mut self.bytes), &self.bytes)
    }
}

/// A sealing frame's bytes.
pub(super) fn sealing_frame(
    key: &ChainKey,
    next_seq: u64,
    state_hash: u64,
    previous: FrameHash,
) -> (FrameHeader, [u8; FRAME_HEADER_BYTES]) {
    let mut bytes = [0; FRAME_HEADER_BYTES];
    let header = FrameHeader {
        kind: FrameKind::Seal,
        first_seq: next_seq,
        record_count: 0,
        payload_len: 0,
        state_hash,
        previous,
        hash: FrameHash::GENESIS,
        payload_crc: 0,
    };
    (header.seal_into(key, &mut bytes), bytes)
}

/// A frame with records, read back and verified.
#[derive(Debug, Clone, Copy)]
pub struct FrameView<'a> {
    header: FrameHeader,
    payload: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// `padded_payload` must have been checked against the header.
    pub(super) fn new(header: FrameHeader, padded_payload: &'a [u8]) -> FrameView<'a> {
        FrameView { header, payload: &padded_payload[..header.payload_len as usize] }
    }

    /// Seq of the first record.
    pub fn first_seq(&self) -> u64 {
        self.header.first_seq
    }

    /// Seq of the last record.
    pub fn last_seq(&self) -> u64 {
        self.header.last_seq()
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.header.record_count
    }

    /// State hash after the last record.
    pub fn state_hash(&self) -> u64 {
        self.header.state_hash
    }

    /// Hash of the frame, which stands for everything before it too.
    pub fn hash(&self) -> FrameHash {
        self.header.hash
    }

    /// Length of the records with their lengths, in bytes.
    pub fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// The records with their positions, in order.
    pub fn records(&self) -> Records<'a> {
        Records { seq: self.header.first_seq, rest: self.payload }
    }

    /// The record at `seq`, if it is in this frame.
    pub fn record(&self, seq: u64) -> Option<&'a [u8]> {
        self.records().find(|(at, _)| *at == seq).map(|(_, record)| record)
    }
}

/// The records of a frame: positions and bytes.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    seq: u64,
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<(u64, &'a [u8])> {
        let (length, after) = self.rest.split_first_chunk::<RECORD_LENGTH_BYTES>()?;
        let (record, rest) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let seq = self.seq;
        self.seq += 1;
        self.rest = rest;
        Some((seq, record))
    }
}
