//! `filter.bits`: the filter as it was after some batch, so that a start reads two bytes an id
//! instead of eight and fills no bits one by one.
//!
//! The file is a header (magic, seed, batch, ids, bytes of the log that it includes, blocks,
//! checksum) and the blocks in chunks of 1 MiB, each followed by its CRC-32C. All numbers are
//! little-endian. It is written under another name, synced and renamed.

use super::IndexError;
use super::files::{self, FileError, ReadFrom};
use super::filter::{Block, Filter, WORDS_PER_BLOCK};
use crate::disk::{Disk, OpenMode};
use crate::pace::Pace;
use std::io::{self, BufReader, Read};
use std::path::Path;

const NAME: &str = "filter.bits";
const NAME_WHILE_WRITTEN: &str = "filter.bits.new";
const MAGIC: [u8; 8] = *b"FLRNIDB2";
const HEADER_BYTES: usize = 52;
const BLOCK_BYTES: usize = WORDS_PER_BLOCK * 8;
const CHUNK_BLOCKS: usize = (1 << 20) / BLOCK_BYTES;

/// What a checkpoint includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The newest batch in it.
    pub(super) batch: u64,
    /// Ids in it.
    pub(super) ids: u64,
    /// Where in the log the first frame begins that is not in it.
    pub(super) log_bytes: u64,
}

/// Writes the filter; replaces an older checkpoint. Durable when it returns.
pub(super) fn write(
    disk: &dyn Disk,
    dir: &Path,
    seed: u64,
    extent: Extent,
    filter: &Filter,
) -> Result<(), IndexError> {
    let path = dir.join(NAME_WHILE_WRITTEN);
    let fill = || {
        let file = disk.open(&path, OpenMode::CreateOrTruncate)?;
        let mut pace = Pace::default();
        file.write_at(&header(seed, extent, filter.blocks().len() as u64), 0)?;
        let mut offset = HEADER_BYTES as u64;
        for chunk in filter.blocks().chunks(CHUNK_BLOCKS) {
            let mut bytes = Vec::with_capacity(chunk.len() * BLOCK_BYTES + 4);
            for word in chunk.iter().flat_map(Block::load) {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            file.write_at(&bytes, offset)?;
            offset += bytes.len() as u64;
            pace.wrote(bytes.len() as u64, || file.sync_data())?;
        }
        file.sync_all()
    };
    fill().map_err(|error: io::Error| error.at(&path))?;
    files::replace(disk, &path, &dir.join(NAME))
}

/// Removes the checkpoint, because the log that it refers to is about to be replaced.
pub(super) fn remove(disk: &dyn Disk, dir: &Path) -> Result<(), IndexError> {
    files::remove(disk, &dir.join(NAME))
}

/// Reads the checkpoint of the index with this seed, if it is there and sound in every byte.
pub(super) fn read(disk: &dyn Disk, dir: &Path, seed: u64) -> Option<(Filter, Extent)> {
    let file = disk.open(&dir.join(NAME), OpenMode::Read).ok()?;
    let mut file = BufReader::with_capacity(1 << 20, ReadFrom { file, offset: 0 });
    let mut head = [0; HEADER_BYTES];
    file.read_exact(&mut head).ok()?;
    let number = |at: usize| {
        let bytes = head[at..at + 8].try_into().expect("eight bytes make a number");
        u64::from_le_bytes(bytes)
    };
    let extent = Extent { batch: number(16), ids: number(24), log_bytes: number(32) };
    let blocks = number(40);
    // Comparing with a header made from the same numbers checks magic, seed and checksum at once.
    if head != header(seed, extent, blocks) || blocks == 0 {
        return None;
    }
    Some((read_blocks(&mut file, blocks as usize)?, extent))
}

fn read_blocks(file: &mut impl Read, count: usize) -> Option<Filter> {
    let mut blocks = Vec::with_capacity(count);
    let mut bytes = Vec::new();
    while blocks.len() < count {
        let chunk = CHUNK_BLOCKS.min(count - blocks.len());
        bytes.resize(chunk * BLOCK_BYTES + 4, 0);
        file.read_exact(&mut bytes).ok()?;
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (words, _) = body.as_chunks::<8>();
        let (parts, _) = words.as_chunks::<WORDS_PER_BLOCK>();
        blocks.extend(parts.iter().map(|part| Block::from_words(part.map(u64::from_le_bytes))));
    }
    Some(Filter::from_blocks(blocks))
}

fn header(seed: u64, extent: Extent, blocks: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    let numbers = [seed, extent.batch, extent.ids, extent.log_bytes, blocks];
    for (at, number) in numbers.iter().enumerate() {
        header[8 + at * 8..16 + at * 8].copy_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&header[..48]);
    header[48..].copy_from_slice(&checksum.to_le_bytes());
    header
}
