//! `filter.log`: the hash of every indexed id, eight bytes each, in the order of indexing.
//!
//! It brings the filter up to date at start, and fills a larger one when the filter grows, without
//! reading the index, which is several times larger and slower to walk. A batch's hashes are synced
//! before the batch itself is written; frames of a batch that the index does not know are
//! cut off at start.
//!
//! The file is a header (magic, seed, checksum) and frames: checksum, count, number of the batch,
//! hashes. All numbers are little-endian, checksums are CRC-32C of what follows them in the frame.

use super::IndexError;
use super::files::{self, FileError, ReadFrom};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::pace::Pace;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAME: &str = "filter.log";
const NAME_WHILE_WRITTEN: &str = "filter.log.new";
const MAGIC: [u8; 8] = *b"FLRNIDL2";

/// Where the first frame begins.
pub(super) const HEADER_BYTES: u64 = 20;
const FRAME_HEADER_BYTES: usize = 16;

/// Bounds the memory that reading a frame takes, to 1 MiB.
const FRAME_HASHES_MAX: usize = 1 << 17;

/// The log, open for appending.
#[derive(Debug)]
pub(super) struct FilterLog {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// End of the last frame that counts, in bytes.
    bytes: u64,
}

impl FilterLog {
    /// The seed of the log in `dir`, if there is one with a sound head.
    pub(super) fn seed(disk: &dyn Disk, dir: &Path) -> Option<u64> {
        let file = disk.open(&dir.join(NAME), OpenMode::Read).ok()?;
        let head = head_of(&*file)?;
        let seed = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes make a seed"));
        (head == header(seed)).then_some(seed)
    }

    /// Opens the log of the index with this seed. None when it is missing, damaged at its head, or
    /// another index's.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &Path,
        seed: u64,
    ) -> Result<Option<FilterLog>, IndexError> {
        let path = dir.join(NAME);
        let file = match disk.open(&path, OpenMode::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.at(&path)),
        };
        if head_of(&*file) != Some(header(seed)) {
            return Ok(None);
        }
        Ok(Some(FilterLog { path, file, bytes: HEADER_BYTES }))
    }

    /// Begins a log under a temporary name; [`FilterLog::publish`] puts it in its place.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, seed: u64) -> Result<FilterLog, IndexError> {
        let path = dir.join(NAME_WHILE_WRITTEN);
        let file = disk.open(&path, OpenMode::CreateOrTruncate).map_err(|error| error.at(&path))?;
        file.write_at(&header(seed), 0).map_err(|error| error.at(&path))?;
        Ok(FilterLog { path, file, bytes: HEADER_BYTES })
    }

    /// Syncs a log that was created and replaces the old one with it.
    pub(super) fn publish(mut self, disk: &dyn Disk, dir: &Path) -> Result<FilterLog, IndexError> {
        self.sync()?;
        let path = dir.join(NAME);
        files::replace(disk, &self.path, &path)?;
        self.path = path;
        Ok(self)
    }

    /// End of the last frame that counts, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends the hashes of a batch; durable only after [`FilterLog::sync`].
    pub(super) fn append(&mut self, batch: u64, hashes: &[u64]) -> Result<(), IndexError> {
        let mut pace = Pace::default();
        for part in hashes.chunks(FRAME_HASHES_MAX) {
            let frame = frame(batch, part);
            self.file
                .write_at(&frame, self.bytes)
                .and_then(|()| pace.wrote(frame.len() as u64, || self.file.sync_data()))
                .map_err(|error| error.at(&self.path))?;
            self.bytes += frame.len() as u64;
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), IndexError> {
        self.file.sync_data().map_err(|error| error.at(&self.path))
    }

    /// Calls `each` with the hashes of each sound frame from `from` on, up to and with batch
    /// `batch_last`, and answers how many there were. What follows them no longer counts.
    ///
    /// One batch more than `batch_last` may have begun, when a crash came between the log and
    /// the index. More than one would mean that the index has lost what it once held.
    pub(super) fn replay(
        &mut self,
        from: u64,
        batch_last: u64,
        mut each: impl FnMut(&[u64]),
    ) -> Result<u64, IndexError> {
        let content = ReadFrom { file: Arc::clone(&self.file), offset: from };
        let mut reader = BufReader::with_capacity(1 << 20, content);
        let mut count = 0;
        self.bytes = from;
        let (mut body, mut hashes) = (Vec::new(), Vec::new());
        while let Some(batch) = read_frame(&mut reader, &mut body) {
            if batch > batch_last + 1 {
                return Err(IndexError::Lost { indexed: batch_last, logged: batch });
            }
            if batch > batch_last {
                continue;
            }
            let (words, _) = body.as_chunks::<8>();
            hashes.clear();
            hashes.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
            each(&hashes);
            count += hashes.len() as u64;
            self.bytes += (FRAME_HEADER_BYTES + body.len()) as u64;
        }
        Ok(count)
    }

    /// Cuts off what no longer counts after a replay.
    pub(super) fn truncate(&mut self) -> Result<(), IndexError> {
        let cut = || {
            if self.file.len()? > self.bytes {
                self.file.set_len(self.bytes)?;
                self.file.sync_all()?;
            }
            Ok(())
        };
        cut().map_err(|error: io::Error| error.at(&self.path))
    }
}

fn head_of(file: &dyn DiskFile) -> Option<[u8; HEADER_BYTES as usize]> {
    let mut head = [0; HEADER_BYTES as usize];
    (file.read_at(&mut head, 0).ok()? == head.len()).then_some(head)
}

fn header(seed: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&seed.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..16]);
    header[16..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn frame(batch: u64, hashes: &[u64]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + hashes.len() * 8);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&(hashes.len() as u32).to_le_bytes());
    frame.extend_from_slice(&batch.to_le_bytes());
    hashes.iter().for_each(|hash| frame.extend_from_slice(&hash.to_le_bytes()));
    let checksum = crc32c::crc32c(&frame[4..]);
    frame[..4].copy_from_slice(&checksum.to_le_bytes());
    frame
}

/// Reads one frame's hashes into `body` and answers its batch. None where no sound frame begins: at
/// the end, or at damage, which the caller notices by the count of hashes.
fn read_frame(reader: &mut impl Read, body: &mut Vec<u8>) -> Option<u64> {
    let mut header = [0; FRAME_HEADER_BYTES];
    reader.read_exact(&mut header).ok()?;
    let (checksum, rest) = header.split_first_chunk::<4>()?;
    let (count, batch) = rest.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    if count == 0 || count > FRAME_HASHES_MAX {
        return None;
    }
    body.resize(count * 8, 0);
    reader.read_exact(body).ok()?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(rest), body);
    (sum == u32::from_le_bytes(*checksum))
        .then(|| u64::from_le_bytes(batch.try_into().expect("eight bytes")))
}
