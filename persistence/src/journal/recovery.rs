//! Opening a journal: verify what is there, cut a torn tail, make the end durable again, and go on from it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use uuid::Uuid;

use super::error::OpenError;
use super::format::{ChainKey, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::frame::FrameView;
use super::index::{JournalIndex, SegmentState};
use super::scan::{Chain, ScannedSegment, TornBytes, Walked, walk};
use super::segment::{SegmentFile, list_segments, name_segment};
use super::spares::SparePool;
use super::verify::TornTail;
use super::writer::{Active, Journal};
use super::{JournalOptions, SpareKeeping};
use crate::disk::{Disk, DiskFile, OpenMode};

/// Zeros are written over a torn tail in steps of this.
const ZERO_CHUNK_BYTES: u64 = 1 << 20;

impl Journal {
    /// Opens the journal in `dir`, which belongs to the data directory `directory`, and makes it when there is none.
    ///
    /// `visit` sees every frame whose last record is behind `after_seq`, in order; older segments need not be there. What it
    /// saw is valid only when this returns `Ok`. Then all of it is durable.
    ///
    /// # Errors
    /// See [`OpenError`]. Damage changes nothing on the disk.
    pub fn open<E>(
        disk: Arc<dyn Disk>,
        dir: &Path,
        directory: Uuid,
        options: JournalOptions,
        after_seq: u64,
        visit: &mut dyn FnMut(FrameView<'_>) -> Result<(), E>,
    ) -> Result<Journal, OpenError<E>> {
        options.check()?;
        let key = ChainKey::new(directory);
        let listing = list_segments(&*disk, dir, directory)?;
        let start = start_for(dir, &listing.segments, after_seq)?;
        let (before, from_start) = listing.segments.split_at(start);
        let walked = walk(&*disk, dir, &key, from_start, &mut |frame| {
            if frame.last_seq() > after_seq { visit(frame) } else { Ok(()) }
        })?;
        let last_seq = walked.chain.next_seq - 1;
        if last_seq < after_seq {
            return Err(OpenError::EndsEarly { dir: dir.to_owned(), last_seq, after_seq });
        }
        if let Some(archive) = &options.archive {
            disk.create_dir_all(archive).map_err(OpenError::io("make the archive", archive))?;
        }
        remove_leftovers(&*disk, dir, &listing.leftovers)?;
        let pool = Arc::new(SparePool::new(Arc::clone(&disk), dir, &options));
        let opening = Opening { disk, dir, directory, key, options, pool, before };
        opening.finish(walked)
    }
}

/// The segment that holds the record behind `after_seq`, or will.
fn start_for<E>(
    dir: &Path,
    segments: &[SegmentFile],
    after_seq: u64,
) -> Result<usize, OpenError<E>> {
    if segments.is_empty() && after_seq == 0 {
        return Ok(0);
    }
    let next = after_seq.saturating_add(1);
    segments
        .partition_point(|segment| segment.header.first_seq <= next)
        .checked_sub(1)
        .ok_or_else(|| OpenError::MissingSegment { dir: dir.to_owned(), first_missing: next })
}

/// Spares of an earlier process may be half made; new ones are quickly reserved.
fn remove_leftovers<E>(
    disk: &dyn Disk,
    dir: &Path,
    leftovers: &[PathBuf],
) -> Result<(), OpenError<E>> {
    for path in leftovers {
        disk.remove(path).map_err(OpenError::io("remove the spare", path))?;
    }
    disk.sync_dir(dir).map_err(OpenError::io("sync the directory", dir))
}

/// What is known once everything was verified.
struct Opening<'a> {
    disk: Arc<dyn Disk>,
    dir: &'a Path,
    directory: Uuid,
    key: ChainKey,
    options: JournalOptions,
    pool: Arc<SparePool>,
    before: &'a [SegmentFile],
}

impl Opening<'_> {
    fn finish<E>(self, mut walked: Walked) -> Result<Journal, OpenError<E>> {
        let archive = self.options.archive.clone();
        let index = JournalIndex::new(Arc::clone(&self.disk), self.dir, archive, self.key.clone());
        for (number, segment) in self.before.iter().enumerate() {
            let next = self.before.get(number + 1).or(walked.segments.first().map(|s| &s.file));
            if let Some(next) = next {
                index.add_unscanned(Arc::clone(&segment.path), &segment.header, &next.header);
            }
        }
        let last = walked.segments.pop();
        for segment in walked.segments {
            index.add_scanned(segment, SegmentState::Sealed);
        }
        let torn_tail = last.as_ref().zip(walked.torn).map(|(last, torn)| torn_tail(last, torn));
        let (active, chain) = match last {
            Some(last) => self.reopen(last, walked.torn, &index)?,
            None => (self.begin_segment(&walked.chain, &index)?, walked.chain),
        };
        self.start(active, chain, index, torn_tail)
    }

    /// Makes the recovered end durable and opens it for appends.
    fn reopen<E>(
        &self,
        last: ScannedSegment,
        torn: Option<TornBytes>,
        index: &JournalIndex,
    ) -> Result<(Active, Chain), OpenError<E>> {
        let path = Arc::clone(&last.file.path);
        let file = self
            .disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(OpenError::io("open for writing", &path))?;
        settle_tail(&*file, &last, torn).map_err(OpenError::io("repair the end of", &path))?;
        let header = last.file.header;
        let has_records = last.chain.next_seq > header.first_seq;
        if !has_records && header.segment_bytes != self.options.segment_bytes {
            // It may be too small for the frames that are allowed now, and the next segment would get the same name:
            // one of the new size takes its place. A sealing frame in it says nothing that matters any more.
            let chain = Chain::before(&header);
            return Ok((self.begin_segment(&chain, index)?, chain));
        }
        let chain = last.chain;
        let active = Active {
            path,
            file,
            first_seq: header.first_seq,
            bytes: header.segment_bytes,
            offset: last.end,
        };
        index.add_scanned(last, SegmentState::Active);
        Ok((active, chain))
    }

    /// Begins a segment where the journal stands.
    fn begin_segment<E>(
        &self,
        chain: &Chain,
        index: &JournalIndex,
    ) -> Result<Active, OpenError<E>> {
        self.pool.reserve_first();
        self.pool.fill_reserved();
        let spare = self.pool.take().map_err(OpenError::io("reserve room in", self.dir))?;
        let header: SegmentHeader =
            chain.segment_header(self.directory, self.options.segment_bytes);
        let named = name_segment(&*self.disk, self.dir, &spare.path, &*spare.file, &header);
        let path: Arc<Path> =
            named.map_err(|(action, source)| OpenError::io(action, &spare.path)(source))?.into();
        index.add_active(Arc::clone(&path), &header);
        Ok(Active {
            path,
            file: spare.file,
            first_seq: header.first_seq,
            bytes: header.segment_bytes,
            offset: SEGMENT_HEADER_BYTES as u64,
        })
    }

    /// Puts the writer together and sees to the first spares.
    fn start<E>(
        self,
        active: Active,
        chain: Chain,
        index: JournalIndex,
        torn_tail: Option<TornTail>,
    ) -> Result<Journal, OpenError<E>> {
        let frame_bytes_max = self.options.frame_bytes_max();
        self.pool.set_active_remaining(active.bytes - active.offset);
        // Without this the first callers could meet a journal that only seems full. A disk that refuses is met later.
        self.pool.reserve_first();
        let keeper = match self.options.spare_keeping {
            SpareKeeping::Thread => {
                let pool = Arc::clone(&self.pool);
                let named = thread::Builder::new().name("journal-spares".to_owned());
                let keeper = named.spawn(move || pool.keep());
                Some(keeper.map_err(OpenError::io("start the thread that reserves", self.dir))?)
            }
            SpareKeeping::Inline => {
                self.pool.tend();
                None
            }
        };
        Ok(Journal {
            disk: self.disk,
            dir: self.dir.to_owned(),
            directory: self.directory,
            key: self.key,
            durability: self.options.durability,
            spare_keeping: self.options.spare_keeping,
            segment_bytes: self.options.segment_bytes,
            frame_bytes_max,
            index: Arc::new(index),
            pool: self.pool,
            keeper,
            active,
            chain,
            poisoned: false,
            torn_tail,
        })
    }
}

fn torn_tail(last: &ScannedSegment, torn: TornBytes) -> TornTail {
    TornTail {
        path: last.file.path.to_path_buf(),
        offset: torn.from,
        bytes: torn.to - torn.from,
        problem: torn.problem,
    }
}

/// Zeros a torn frame, writes the last whole frame once more, and syncs both.
fn settle_tail(
    file: &dyn DiskFile,
    last: &ScannedSegment,
    torn: Option<TornBytes>,
) -> io::Result<()> {
    if let Some(torn) = torn {
        let zeros = vec![0; ZERO_CHUNK_BYTES.min(torn.to - torn.from) as usize];
        let mut offset = torn.from;
        while offset < torn.to {
            let step = (torn.to - offset).min(zeros.len() as u64);
            file.write_at(&zeros[..step as usize], offset)?;
            offset += step;
        }
    }
    if let Some(place) = last.last_frame {
        // Its sync may have failed before the crash, and the kernel may hold its pages for clean.
        let mut frame = vec![0; place.len];
        file.read_at(&mut frame, place.offset)?;
        file.write_at(&frame, place.offset)?;
    }
    file.sync_data()
}
