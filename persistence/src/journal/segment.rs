//! Segment files: names, headers, and the marker of the newest one.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::error::{Damage, OpenError, Problem};
use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::disk::{Disk, DiskFile, EntryKind, OpenMode, read_file, replace_file};

pub(super) const SEGMENT_SUFFIX: &str = ".seg";
const NEWEST: &str = "newest";
const NEWEST_MAGIC: [u8; 8] = *b"FLORINNS";
/// Magic 8, first seq 8, zero 4, crc32c of all before 4.
const NEWEST_BYTES: usize = 24;

/// The path of the segment that begins at `first_seq`.
pub(super) fn segment_path(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}{SEGMENT_SUFFIX}"))
}

/// The path of a spare.
pub(super) fn spare_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("spare-{number}.tmp"))
}

/// A segment file whose header was read and checked.
#[derive(Debug, Clone)]
pub(super) struct SegmentFile {
    pub(super) path: Arc<Path>,
    pub(super) header: SegmentHeader,
}

/// What stands in a journal directory.
#[derive(Debug)]
pub(super) struct Listing {
    /// Segments, by their first seq.
    pub(super) segments: Vec<SegmentFile>,
    /// Spares and temporaries that an earlier process left.
    pub(super) leftovers: Vec<PathBuf>,
}

/// Lists the directory and checks the header of every segment.
pub(super) fn list_segments<E>(
    disk: &dyn Disk,
    dir: &Path,
    directory: Uuid,
) -> Result<Listing, OpenError<E>> {
    let mut listing = Listing { segments: Vec::new(), leftovers: Vec::new() };
    for entry in disk.list(dir).map_err(OpenError::io("list", dir))? {
        if entry.kind != EntryKind::File {
            continue;
        }
        let path = dir.join(&entry.name);
        if entry.name.ends_with(".tmp") {
            listing.leftovers.push(path);
        } else if let Some(digits) = entry.name.strip_suffix(SEGMENT_SUFFIX) {
            let (segment, _) = open_segment(disk, path, digits, directory)?;
            listing.segments.push(segment);
        }
    }
    // Names have twenty digits, so that their order is the order of positions; this holds for any name.
    listing.segments.sort_by_key(|segment| segment.header.first_seq);
    check_newest(disk, dir, &listing.segments)?;
    Ok(listing)
}

/// Opens the segment whose name begins with `digits` and checks its header.
pub(super) fn open_segment<E>(
    disk: &dyn Disk,
    path: PathBuf,
    digits: &str,
    directory: Uuid,
) -> Result<(SegmentFile, Arc<dyn DiskFile>), OpenError<E>> {
    let (header, file) = read_header(disk, &path, directory)?;
    if digits == format!("{:020}", header.first_seq) {
        return Ok((SegmentFile { path: path.into(), header }, file));
    }
    let problem = Problem::WrongName { first_seq: header.first_seq };
    Err(Damage::at(&path, 0, problem).into())
}

fn read_header<E>(
    disk: &dyn Disk,
    path: &Path,
    directory: Uuid,
) -> Result<(SegmentHeader, Arc<dyn DiskFile>), OpenError<E>> {
    let file = disk.open(path, OpenMode::Read).map_err(OpenError::io("open", path))?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let read = file.read_at(&mut bytes, 0).map_err(OpenError::io("read", path))?;
    let damage = |problem| OpenError::from(Damage::at(path, 0, problem));
    if read < SEGMENT_HEADER_BYTES {
        return Err(damage(Problem::NotASegment));
    }
    let header = SegmentHeader::decode(&bytes).map_err(damage)?;
    if header.directory != directory {
        return Err(damage(Problem::ForeignSegment { found: header.directory }));
    }
    let found = file.len().map_err(OpenError::io("read the length of", path))?;
    if found != header.segment_bytes {
        return Err(damage(Problem::WrongLength { expected: header.segment_bytes, found }));
    }
    Ok((header, file))
}

/// Makes a segment of a spare: the header is durable before the name, and the name before this returns.
/// On a failure says what was tried.
pub(super) fn name_segment(
    disk: &dyn Disk,
    dir: &Path,
    spare: &Path,
    file: &dyn DiskFile,
    header: &SegmentHeader,
) -> Result<PathBuf, (&'static str, io::Error)> {
    file.write_at(&header.encode(), 0).map_err(|error| ("write the header of", error))?;
    file.sync_data().map_err(|error| ("sync the header of", error))?;
    let path = segment_path(dir, header.first_seq);
    disk.rename(spare, &path).map_err(|error| ("name", error))?;
    disk.sync_dir(dir).map_err(|error| ("sync the name of", error))?;
    match mark_newest(disk, dir, header.first_seq) {
        // The segment was reserved, a new mark is not. The one that stands is never ahead, and the next segment brings another.
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            tracing::warn!(path = %path.display(), %error, "no room to mark the newest segment");
        }
        marked => marked.map_err(|error| ("mark as newest", error))?,
    }
    Ok(path)
}

/// Notes durably that the segment exists. Without this nothing would tell a journal whose newest segments were
/// deleted from one that ended before them. The segment's own name is durable first, so the mark never runs ahead.
pub(super) fn mark_newest(disk: &dyn Disk, dir: &Path, first_seq: u64) -> io::Result<()> {
    let mut bytes = [0; NEWEST_BYTES];
    bytes[..8].copy_from_slice(&NEWEST_MAGIC);
    bytes[8..16].copy_from_slice(&first_seq.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..20]);
    bytes[20..].copy_from_slice(&checksum.to_le_bytes());
    replace_file(disk, dir, NEWEST, &bytes)
}

/// Refuses a journal whose newest segment is older than the one that was marked.
fn check_newest<E>(
    disk: &dyn Disk,
    dir: &Path,
    segments: &[SegmentFile],
) -> Result<(), OpenError<E>> {
    let path = dir.join(NEWEST);
    let marked = match read_file(disk, &path, 1 << 12) {
        Ok(bytes) => decode_newest(&bytes),
        // A crash came before the first mark, or someone removed it: there is nothing to compare with.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(OpenError::Io { action: "read", path, source }),
    };
    let Some(marked) = marked else {
        return Err(Damage::at(&path, 0, Problem::NotAMark).into());
    };
    let newest = segments.last().map_or(0, |segment| segment.header.first_seq);
    if newest < marked {
        return Err(OpenError::MissingSegment { dir: dir.to_owned(), first_missing: marked });
    }
    Ok(())
}

fn decode_newest(bytes: &[u8]) -> Option<u64> {
    let bytes: &[u8; NEWEST_BYTES] = bytes.try_into().ok()?;
    let whole =
        bytes[..8] == NEWEST_MAGIC && crc32c::crc32c(&bytes[..20]).to_le_bytes() == bytes[20..];
    let mut first_seq = [0; 8];
    first_seq.copy_from_slice(&bytes[8..16]);
    whole.then(|| u64::from_le_bytes(first_seq))
}
