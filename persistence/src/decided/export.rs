//! The index as one plain file, for backups: what an index that another process has open holds, and a new index from it.
//!
//! The store's files can not be opened twice. But what it has written once it never changes: tables and versions are files of their own,
//! and one small file of each keyspace names the version in force. So all of them are opened, and nothing was missed if every keyspace was of
//! the same version before and after; then they are copied aside and opened there. That the copy is whole is proved, not supposed: it must
//! hold exactly as many ids as the state record in it states.
//!
//! The file is a header and the entries in ascending order, 42 bytes each: key and value as the store has them. Header, 52 bytes, little-endian:
//! magic `FLORIDS1`, identity of the data directory (16), position up to which every id is there (8), count of entries (8), CRC-32C of the entries (4),
//! zero (4), CRC-32C of all before (4).

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::entries::{self, KEY_BYTES, Key, Stored, VALUE_BYTES};
use super::files::{self, FileError as _};
use super::{DecidedIndex, Entry, IndexError, IndexOptions};
use crate::pace::Pace;

const MAGIC: [u8; 8] = *b"FLORIDS1";
const HEADER_BYTES: usize = 52;
const ENTRY_BYTES: usize = KEY_BYTES + VALUE_BYTES;
/// The file of a keyspace that names its version in force.
const VERSION_IN_FORCE: &str = "current";
/// How often the files are opened anew because the store went on to another version meanwhile.
const HOLDS_MAX: u32 = 1_000;
const BETWEEN_HOLDS: Duration = Duration::from_millis(10);
const COPY_BYTES: usize = 1 << 20;
/// Entries of one batch of a new index.
const BATCH_ENTRIES: usize = 1 << 19;

/// What an exported index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The journal position up to which every id is there.
    pub covered_seq: u64,
    /// Distinct ids, in all namespaces.
    pub ids: u64,
}

/// The files of an index, held open.
#[derive(Debug)]
pub struct HeldIndex {
    files: Vec<(PathBuf, File)>,
}

impl HeldIndex {
    /// Holds the index in `dir`, which another process may have open, as it is at one moment.
    ///
    /// # Errors
    /// The disk failed, or the index changed too often.
    pub fn hold(dir: &Path) -> Result<HeldIndex, IndexError> {
        let dir = dir.join("entries");
        for _ in 0..HOLDS_MAX {
            let before = versions(&dir).map_err(|error| error.at(&dir))?;
            let mut files = Vec::new();
            hold_below(&dir, Path::new(""), &mut files).map_err(|error| error.at(&dir))?;
            if before == versions(&dir).map_err(|error| error.at(&dir))? {
                return Ok(HeldIndex { files });
            }
            thread::sleep(BETWEEN_HOLDS);
        }
        let busy = io::Error::new(ErrorKind::ResourceBusy, "it changes all the time");
        Err(busy.at(&dir))
    }

    /// Writes what the index holds to a new file at `path`, by way of the directory `scratch`, which must not exist and is removed again. Durable when it
    /// returns, but for the file's name.
    ///
    /// # Errors
    /// The disk failed, or the index is damaged.
    pub fn export(
        self,
        directory: Uuid,
        scratch: &Path,
        path: &Path,
    ) -> Result<Exported, IndexError> {
        let exported = self.copy_to(scratch).and_then(|()| export(scratch, directory, path));
        let removed = files::remove_dir_all(scratch);
        exported.and_then(|exported| removed.map(|()| exported))
    }

    fn copy_to(self, scratch: &Path) -> Result<(), IndexError> {
        let mut chunk = vec![0; COPY_BYTES];
        for (name, file) in self.files {
            let path = scratch.join(name);
            let mut copy = || {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                let to = File::create_new(&path)?;
                let mut pace = Pace::default();
                let mut offset = 0;
                loop {
                    let read = file.read_at(&mut chunk, offset)?;
                    if read == 0 {
                        return Ok(());
                    }
                    to.write_all_at(&chunk[..read], offset)?;
                    offset += read as u64;
                    pace.wrote(read as u64, || to.sync_data())?;
                }
            };
            copy().map_err(|error: io::Error| error.at(&path))?;
        }
        Ok(())
    }
}

/// Opens every file below `dir`. What goes meanwhile is passed over: then another version is in force.
fn hold_below(dir: &Path, below: &Path, files: &mut Vec<(PathBuf, File)>) -> io::Result<()> {
    for entry in fs::read_dir(dir.join(below))? {
        let entry = entry?;
        let name = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            hold_below(dir, &name, files)?;
        } else {
            match File::open(entry.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                file => files.push((name, file?)),
            }
        }
    }
    Ok(())
}

/// What the files say that name the versions in force.
fn versions(dir: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    hold_below(dir, Path::new(""), &mut files)?;
    files.retain(|(name, _)| name.file_name().is_some_and(|name| name == VERSION_IN_FORCE));
    files.sort_by(|(name, _), (other, _)| name.cmp(other));
    files
        .into_iter()
        .map(|(name, mut file)| {
            let mut content = Vec::new();
            file.read_to_end(&mut content).map(|_| (name, content))
        })
        .collect()
}

fn export(entries: &Path, directory: Uuid, path: &Path) -> Result<Exported, IndexError> {
    let entries = Stored::open(entries, &IndexOptions::SMALL)?;
    let state = entries.state()?;
    let exported = Exported {
        covered_seq: state.map_or(0, |state| state.covered_seq),
        ids: state.map_or(0, |state| state.ids),
    };
    let file = File::create_new(path).map_err(|error| error.at(path))?;
    let mut out = BufWriter::with_capacity(COPY_BYTES, &file);
    // The checksum of the entries is known at the end.
    out.write_all(&[0; HEADER_BYTES]).map_err(|error| error.at(path))?;
    let (mut found, mut checksum, mut pace) = (0, 0, Pace::default());
    entries.for_each(|key, value| {
        found += 1;
        checksum = crc32c::crc32c_append(crc32c::crc32c_append(checksum, key), value);
        out.write_all(key)
            .and_then(|()| out.write_all(value))
            .and_then(|()| pace.wrote(ENTRY_BYTES as u64, || file.sync_data()))
            .map_err(|error| error.at(path))
    })?;
    if found != exported.ids {
        return Err(IndexError::Count { stated: exported.ids, found });
    }
    out.flush()
        .and_then(|()| file.write_all_at(&header(directory, exported, checksum), 0))
        .and_then(|()| file.sync_all())
        .map_err(|error| error.at(path))?;
    Ok(exported)
}

fn header(directory: Uuid, exported: Exported, checksum: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..24].copy_from_slice(directory.as_bytes());
    header[24..32].copy_from_slice(&exported.covered_seq.to_le_bytes());
    header[32..40].copy_from_slice(&exported.ids.to_le_bytes());
    header[40..44].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..48]);
    header[48..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// A file of these entries, whatever they are, with a header that fits them.
#[cfg(feature = "fuzzing")]
pub(crate) fn exported_with_header(entries: &[u8], directory: Uuid) -> Vec<u8> {
    let exported = Exported { covered_seq: 7, ids: (entries.len() / ENTRY_BYTES) as u64 };
    [&header(directory, exported, crc32c::crc32c(entries))[..], entries].concat()
}

/// The entries of an exported index, in ascending order. Only the end without an error says that they are all there.
#[derive(Debug)]
pub struct ExportReader<R> {
    input: BufReader<R>,
    exported: Exported,
    read: u64,
    expected_checksum: u32,
    checksum: u32,
    last: Option<Key>,
}

impl<R: Read> ExportReader<R> {
    /// Reads the header of an export of the index of the data directory `directory`.
    ///
    /// # Errors
    /// The disk failed, or it is no such export.
    pub fn open(input: R, directory: Uuid) -> Result<ExportReader<R>, ExportError> {
        let mut input = BufReader::with_capacity(COPY_BYTES, input);
        let mut head = [0; HEADER_BYTES];
        read_exact(&mut input, &mut head)?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let exported = Exported { covered_seq: number(24), ids: number(32) };
        let expected_checksum = number(40) as u32;
        // Comparing with a header made from the same numbers checks magic, identity and checksum at once.
        if head != header(directory, exported, expected_checksum) {
            return Err(ExportError::Header);
        }
        Ok(ExportReader { input, exported, read: 0, expected_checksum, checksum: 0, last: None })
    }

    /// What its header says it holds.
    #[must_use]
    pub fn exported(&self) -> Exported {
        self.exported
    }

    /// The next entry; none behind the last one.
    ///
    /// # Errors
    /// The disk failed, or the export is damaged.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ExportError> {
        if self.read == self.exported.ids {
            let mut behind = [0; 1];
            let ends = self.input.read(&mut behind)? == 0;
            let whole = ends && self.checksum == self.expected_checksum;
            return if whole { Ok(None) } else { Err(ExportError::Entries) };
        }
        let mut bytes = [0; ENTRY_BYTES];
        read_exact(&mut self.input, &mut bytes)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        let entry = entries::decode_entry(&bytes).ok_or(ExportError::Entries)?;
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&bytes[..KEY_BYTES]);
        if self.last.is_some_and(|last| last >= key) {
            return Err(ExportError::Entries);
        }
        self.last = Some(key);
        self.read += 1;
        Ok(Some(entry))
    }
}

fn read_exact(input: &mut impl Read, bytes: &mut [u8]) -> Result<(), ExportError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => ExportError::Short,
        _ => ExportError::Io(error),
    })
}

/// Why an exported index can not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It does not begin as one of this ledger.
    #[error("it does not begin like the decided ids of this ledger")]
    Header,
    /// It ends too early.
    #[error("it ends too early")]
    Short,
    /// The entries are not what was written.
    #[error("the entries are not those that were written")]
    Entries,
    /// The disk failed.
    #[error("it can not be read")]
    Io(#[from] io::Error),
    /// The index that it was to fill failed.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Makes the index in `dir`, where there is none, from an export. Durable when it returns.
///
/// # Errors
/// See [`ExportError`]; what was made must be thrown away then.
pub fn import<R: Read>(dir: &Path, mut from: ExportReader<R>) -> Result<Exported, ExportError> {
    let exported = from.exported();
    // A header can state any number; growing is what the filter does anyway.
    let filter_ids = exported.ids.clamp(IndexOptions::SMALL.filter_ids, 1 << 26);
    let index = DecidedIndex::open(dir, IndexOptions { filter_ids, ..IndexOptions::SMALL })?;
    let mut batch = Vec::new();
    while let Some(entry) = from.next_entry()? {
        batch.push(entry);
        if batch.len() == BATCH_ENTRIES {
            // Only the last batch covers anything.
            index.insert_batch(&mut batch, 0)?;
            batch.clear();
        }
    }
    index.insert_batch(&mut batch, exported.covered_seq)?;
    Ok(exported)
}
