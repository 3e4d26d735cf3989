//! The file that says what a backup is: JSON for people, with a checksum for the program.
//!
//! One JSON object, a line end, the BLAKE3 of both in hexadecimal, a line end.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BackupError, MANIFEST};
use crate::disk::{OsDisk, read_file, replace_file};

/// The format of backups that this program writes, and the newest it reads.
pub(super) const FORMAT_VERSION: u32 = 1;
/// A manifest has a line of some 130 bytes for each segment: this is a journal of 32 TiB.
const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// What a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of the backup.
    pub format_version: u32,
    /// The identity of the data directory.
    #[serde(with = "as_text")]
    pub ledger: Uuid,
    /// The oldest record in its journal.
    pub first_seq: u64,
    /// The newest record; everything up to here is in the backup.
    pub last_seq: u64,
    /// The hash of the journal frame that ends there, in hexadecimal.
    pub frame_hash: String,
    /// The newest record that its snapshot covers; 0 without one.
    pub snapshot_seq: u64,
    /// The newest record that its index of ids covers.
    pub indexed_seq: u64,
    /// How many ids are in that index.
    pub ids: u64,
    /// The newest record that its store covers; nothing without an embedded store.
    pub stored_seq: Option<u64>,
    /// All other files.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path in the backup, with `/`.
    pub path: String,
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its BLAKE3, in hexadecimal.
    pub blake3: String,
}

/// An identity as people write it.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Uuid, D::Error> {
        Uuid::parse_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Manifest {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("texts and numbers can be written");
        text.push(b'\n');
        let checksum = blake3::hash(&text).to_hex();
        text.extend_from_slice(checksum.as_bytes());
        text.push(b'\n');
        text
    }

    /// Reads the bytes of the file at `path`.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] where they are not what was written, [`BackupError::NewerFormat`] where a newer program wrote them.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Manifest, BackupError> {
        const CHECKSUM_BYTES: usize = 2 * blake3::OUT_LEN + 1;
        let at = bytes.len().checked_sub(CHECKSUM_BYTES);
        let (text, checksum) =
            at.map(|at| bytes.split_at(at)).ok_or(BackupError::damaged(path, "it is too short"))?;
        if checksum != format!("{}\n", blake3::hash(text).to_hex()).as_bytes() {
            return Err(BackupError::damaged(path, "its checksum does not match"));
        }
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let no_manifest = |_| BackupError::damaged(path, "it does not say what a backup is");
        let Version { format_version } = serde_json::from_slice(text).map_err(no_manifest)?;
        if format_version > FORMAT_VERSION {
            let path = path.to_owned();
            return Err(BackupError::NewerFormat { path, found: format_version });
        }
        serde_json::from_slice(text).map_err(no_manifest)
    }

    pub(super) fn read(dir: &Path) -> Result<Manifest, BackupError> {
        let path = dir.join(MANIFEST);
        let bytes = read_file(&OsDisk, &path, MANIFEST_BYTES_MAX)
            .map_err(BackupError::io("read", &path))?;
        Manifest::decode(&bytes, &path)
    }

    /// Writes it, durably. From then on the directory is a backup.
    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        replace_file(&OsDisk, dir, MANIFEST, &self.encode())
            .map_err(BackupError::io("write", &dir.join(MANIFEST)))
    }

    /// The entry of the file at `path` in the backup.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.path == path)
    }
}
