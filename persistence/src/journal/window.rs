//! A moving window over a file, so that frames are looked at without a read for each.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;

/// Bytes of a file that were read together, with a buffer that is reused.
#[derive(Debug)]
pub(super) struct ReadWindow {
    file: Arc<dyn DiskFile>,
    chunk: usize,
    start: u64,
    filled: usize,
    bytes: Vec<u8>,
}

impl ReadWindow {
    /// A window that reads at least `chunk` bytes at a time.
    pub(super) fn new(file: Arc<dyn DiskFile>, chunk: usize) -> ReadWindow {
        ReadWindow { file, chunk, start: 0, filled: 0, bytes: Vec::new() }
    }

    /// Goes on with another file and keeps the memory.
    pub(super) fn turn_to(&mut self, file: Arc<dyn DiskFile>) {
        self.file = file;
        self.start = 0;
        self.filled = 0;
    }

    /// The bytes `offset..offset + len`, or `None` when that passes `limit` or the end of the file. Nothing
    /// at or behind `limit` is read, since it may still change.
    pub(super) fn bytes(
        &mut self,
        offset: u64,
        len: usize,
        limit: u64,
    ) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(len as u64).filter(|end| *end <= limit) else {
            return Ok(None);
        };
        if offset < self.start || end > self.start + self.filled as u64 {
            let wanted = ((limit - offset).min(self.chunk as u64) as usize).max(len);
            if self.bytes.len() < wanted {
                self.bytes.resize(wanted, 0);
            }
            self.filled = 0;
            self.start = offset;
            self.filled = self.file.read_at(&mut self.bytes[..wanted], offset)?;
            if self.filled < len {
                return Ok(None);
            }
        }
        let at = (offset - self.start) as usize;
        Ok(Some(&self.bytes[at..at + len]))
    }

    /// Offset of the first byte at or behind `from` that is not zero and before `limit`.
    pub(super) fn first_nonzero(&mut self, from: u64, limit: u64) -> io::Result<Option<u64>> {
        let mut offset = from;
        while offset < limit {
            let len = (limit - offset).min(self.chunk as u64) as usize;
            let Some(bytes) = self.bytes(offset, len, limit)? else { return Ok(None) };
            if let Some(at) = position_nonzero(bytes) {
                return Ok(Some(offset + at as u64));
            }
            offset += len as u64;
        }
        Ok(None)
    }
}

/// Position of the first byte that is not zero. Whole blocks are compared first: tens of MiB are looked at after a crash.
fn position_nonzero(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let blocks = bytes.chunks(BLOCK);
    let block = blocks.into_iter().position(|b| b.iter().fold(0, |any, byte| any | byte) != 0)?;
    let start = block * BLOCK;
    bytes[start..].iter().position(|byte| *byte != 0).map(|at| start + at)
}
