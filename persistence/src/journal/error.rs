//! What can go wrong, operation by operation.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::format::JOURNAL_FORMAT_VERSION;
use super::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// What does not fit at a place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file does not begin like a segment.
    #[error("the file does not begin like a journal segment")]
    NotASegment,
    /// The file that marks the newest segment is not what was written.
    #[error("it does not name the newest segment of a journal")]
    NotAMark,
    /// The header block is not what was written.
    #[error("the checksum of the segment's header does not match")]
    SegmentHeaderChecksum,
    /// A newer program wrote it.
    #[error(
        "it has format version {found}, but this program knows versions up to {JOURNAL_FORMAT_VERSION}"
    )]
    NewerFormat {
        /// The version found.
        found: u32,
    },
    /// It belongs to another journal.
    #[error("the segment belongs to the data directory {found}")]
    ForeignSegment {
        /// The identity in the header.
        found: Uuid,
    },
    /// Name and content differ.
    #[error("the segment begins at record {first_seq}, not at the one in its name")]
    WrongName {
        /// The first seq in the header.
        first_seq: u64,
    },
    /// The file was cut or extended.
    #[error("the file has {found} bytes and not {expected}")]
    WrongLength {
        /// The length in the header, in bytes.
        expected: u64,
        /// The length of the file, in bytes.
        found: u64,
    },
    /// Bytes that are neither a frame nor zeros.
    #[error("there is no frame here")]
    NotAFrame,
    /// A frame header is not what was written.
    #[error("the checksum of the frame's header does not match")]
    FrameHeaderChecksum,
    /// Checksums match but the content is impossible.
    #[error("the content of the frame is impossible")]
    FrameContent,
    /// The records are not what was written.
    #[error("the checksum of the frame's records does not match")]
    PayloadChecksum,
    /// Checksums match but the hash does not.
    #[error("the hash of the frame does not match its content")]
    FrameHash,
    /// The frame or segment does not follow the one before it.
    #[error("it names another frame before it than the one that is there")]
    ChainBroken,
    /// Positions jump.
    #[error("it begins at record {found} where record {expected} was due")]
    SeqJump {
        /// The seq that was due.
        expected: u64,
        /// The seq found.
        found: u64,
    },
    /// A seal or a segment changes the state without a record.
    #[error("its state hash differs from the one of the frame before")]
    StateHash,
}

/// A place where the journal is not what was written, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {offset}: {problem}{}; {}", .path.display(), behind(.evidence), advice(.problem))]
pub struct Damage {
    /// The segment file.
    pub path: PathBuf,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// What does not fit.
    pub problem: Problem,
    /// Why it is not a torn tail, where it could be one.
    pub evidence: Option<Evidence>,
}

/// What stands behind damage and is not left by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A frame of this journal, at this byte of the file.
    Frame(u64),
    /// Bytes that are not zero, behind this byte of the file, where the damaged frame ended.
    Bytes(u64),
}

fn behind(evidence: &Option<Evidence>) -> String {
    match evidence {
        Some(Evidence::Frame(offset)) => {
            format!(", and a frame of this journal follows at byte {offset}")
        }
        Some(Evidence::Bytes(end)) => {
            format!(", and more was written behind byte {end}, where the frame ended")
        }
        None => String::new(),
    }
}

fn advice(problem: &Problem) -> &'static str {
    match problem {
        Problem::NewerFormat { .. } => "use the newer program",
        Problem::ForeignSegment { .. } | Problem::WrongName { .. } => {
            "put the segment of this name and directory back from the journal archive or a backup"
        }
        Problem::NotASegment
        | Problem::NotAMark
        | Problem::SegmentHeaderChecksum
        | Problem::WrongLength { .. }
        | Problem::NotAFrame
        | Problem::FrameHeaderChecksum
        | Problem::FrameContent
        | Problem::PayloadChecksum
        | Problem::FrameHash
        | Problem::ChainBroken
        | Problem::SeqJump { .. }
        | Problem::StateHash => {
            "nothing was changed: keep a copy of the file, then restore it from the journal archive or a backup"
        }
    }
}

impl Damage {
    pub(super) fn at(path: &Path, offset: u64, problem: Problem) -> Damage {
        Damage { path: path.to_owned(), offset, problem, evidence: None }
    }
}

/// A segment size that can not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a segment size of {segment_bytes} bytes is not a multiple of 4096 from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"
)]
pub struct OptionsError {
    /// The size given, in bytes.
    pub segment_bytes: u64,
}

/// Why a journal can not be opened or verified; `E` is what the visitor of its frames refused with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// The options are impossible.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// A segment is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A segment is gone.
    #[error(
        "records from {first_missing} on are missing from the journal in {}: the segment that held them is gone, restore it from the journal archive or a backup",
        .dir.display()
    )]
    MissingSegment {
        /// The journal's directory.
        dir: PathBuf,
        /// The first seq that is missing.
        first_missing: u64,
    },
    /// What the caller has already is newer than the journal.
    #[error(
        "the journal in {} ends at record {last_seq}, but record {after_seq} was there: its newest segment is gone or belongs to an older copy, restore the directory as a whole",
        .dir.display()
    )]
    EndsEarly {
        /// The journal's directory.
        dir: PathBuf,
        /// The last seq in the journal.
        last_seq: u64,
        /// The seq that it must reach.
        after_seq: u64,
    },
    /// The disk failed.
    #[error("could not {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The visitor refused a frame.
    #[error(transparent)]
    Visit(E),
}

impl<E> OpenError<E> {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError<E> {
        move |source| OpenError::Io { action, path: path.to_owned(), source }
    }
}

/// Why a frame was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A write or a sync failed before. What the last frame's fate is shows the next start only.
    #[error("the journal failed before and takes nothing more until the next start")]
    Poisoned,
    /// No segment is reserved for it. Nothing was written, and the same frame can be appended when room is back.
    #[error("the disk has no room for a frame of {frame_bytes} bytes")]
    Full {
        /// Length of the frame, in bytes.
        frame_bytes: u64,
    },
    /// The frame has no records.
    #[error("a frame without records can not be appended")]
    Empty,
    /// The frame is larger than any segment takes.
    #[error("a frame of {frame_bytes} bytes is larger than the {frame_bytes_max} allowed")]
    TooLarge {
        /// Length of the frame, in bytes.
        frame_bytes: u64,
        /// The bound, in bytes.
        frame_bytes_max: u64,
    },
    /// The frame was built for another position.
    #[error("a frame for record {found} came where record {expected} is due")]
    WrongSeq {
        /// The seq that is due.
        expected: u64,
        /// The seq that the frame was begun with.
        found: u64,
    },
    /// The disk failed; the journal is poisoned from here on.
    #[error("could not {action} the journal segment {}", .segment.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which segment.
        segment: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Why something could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its segment was removed.
    #[error("record {seq} is no longer in the journal, which begins at record {oldest_seq}")]
    Removed {
        /// The seq asked for.
        seq: u64,
        /// The oldest seq that is there.
        oldest_seq: u64,
    },
    /// The segment is not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The disk failed.
    #[error("could not read the journal segment {}", .segment.display())]
    Io {
        /// Which segment.
        segment: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ReadError {
    pub(super) fn io(segment: &Path) -> impl FnOnce(io::Error) -> ReadError {
        move |source| ReadError::Io { segment: segment.to_owned(), source }
    }
}

/// Why a segment could not be removed or archived. It stays listed, and the next call tries again.
#[derive(Debug, thiserror::Error)]
#[error("could not {action} the journal segment {}", .segment.display())]
pub struct RemoveError {
    /// What was tried.
    pub action: &'static str,
    /// On which segment.
    pub segment: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}
