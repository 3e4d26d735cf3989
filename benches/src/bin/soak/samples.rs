//! What the server takes of the machine, looked at from outside, again and again.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use florin_benches::figures::thousands;
use hdrhistogram::Histogram;

use crate::book::{Counts, Kind, Stretch};

/// The server and what it knows, at one moment, and what happened since the one before.
#[derive(Clone)]
pub(crate) struct Sample {
    /// Since the load began.
    pub(crate) after: Duration,
    pub(crate) since_last: Duration,
    pub(crate) stretch: Stretch,
    pub(crate) counts: Counts,
    pub(crate) size: Size,
    /// Processor time that it has used since it was started, and the shard's thread of that.
    pub(crate) used: Duration,
    pub(crate) shard: Duration,
    /// Transfers that the store says it has.
    pub(crate) rows: u64,
    /// Bytes of journal written since the load began, by the server's own count, and frames and records of it.
    pub(crate) journal_bytes: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    /// The bytes that these records and frames must have.
    pub(crate) journal_computed: f64,
    /// Bytes that the store's rows must have at least.
    pub(crate) row_bytes: u64,
    /// Positions: durable, and those up to which the index answers.
    pub(crate) durable_seq: u64,
    pub(crate) index_seq: u64,
}

/// Bytes and files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) resident: u64,
    /// Of them what is no file's.
    pub(crate) anonymous: u64,
    pub(crate) files: u64,
    /// On the disk.
    pub(crate) journal: u64,
    pub(crate) store: u64,
    /// Of the store, what was not copied into the database yet.
    pub(crate) wal: u64,
    pub(crate) index: u64,
    pub(crate) snapshots: u64,
}

impl Size {
    /// Looks at a process and its data directory.
    pub(crate) fn of(pid: u32, data_dir: &Path) -> io::Result<Size> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other(format!("no {name} of {pid}")))
        };
        let sqlite = data_dir.join("store.sqlite");
        let wal = on_disk(&data_dir.join("store.sqlite-wal"))?;
        Ok(Size {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            journal: on_disk(&data_dir.join("journal"))?,
            store: on_disk(&sqlite)? + wal,
            wal,
            index: on_disk(&data_dir.join("ids"))?,
            snapshots: on_disk(&data_dir.join("snapshots"))?,
        })
    }
}

/// Bytes that files take, also those of a folder; what goes while it is looked at counts nothing.
fn on_disk(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += on_disk(&entry?.path())?;
    }
    Ok(bytes)
}

pub(crate) const HEAD: &str = "\
| time | processors | shard | RSS MiB | of it no file's | requests/s | transfers/s | commands p50 ms | p99 | max | reads p99 | lists p99 | refused | journal MiB | store MiB | WAL MiB | rows | index MiB | snapshots MiB | files |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

/// A row of the table; `before` is the sample before it.
pub(crate) fn row(sample: &Sample, before: Option<&Sample>) -> String {
    let Sample { after, since_last, stretch, counts, size, rows, .. } = sample;
    let seconds = since_last.as_secs_f64();
    let transfers = counts.transfers - before.map_or(0, |before| before.counts.transfers);
    let commands = &stretch.micros[Kind::Command as usize];
    let busy = |of: &dyn Fn(&Sample) -> Duration| {
        (of(sample) - before.map_or(Duration::ZERO, of)).as_secs_f64() / seconds
    };
    let p99 = |kind: Kind| ms(&stretch.micros[kind as usize], 99.0);
    format!(
        "| {}:{:02} | {:.2} | {:.3} | {:.0} | {:.0} | {} | {} | {:.2} | {:.1} | {:.0} | {:.1} | {:.1} | {} | {:.0} | {:.0} | {:.0} | {} | {:.0} | {:.1} | {} |",
        after.as_secs() / 60,
        after.as_secs() % 60,
        busy(&|it| it.used),
        busy(&|it| it.shard),
        mib(size.resident),
        mib(size.anonymous),
        thousands(stretch.answered as f64 / seconds),
        thousands(transfers as f64 / seconds),
        ms(commands, 50.0),
        ms(commands, 99.0),
        commands.max() as f64 / 1e3,
        p99(Kind::Read),
        p99(Kind::List),
        stretch.refused,
        mib(size.journal),
        mib(size.store),
        mib(size.wal),
        thousands(*rows as f64),
        mib(size.index),
        mib(size.snapshots),
        size.files,
    )
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(crate) fn ms(micros: &Histogram<u64>, percentile: f64) -> f64 {
    micros.value_at_percentile(percentile) as f64 / 1e3
}
