//! Whether an hour went as it must: what must be flat is flat, and what grows grows as computed.

use std::time::Duration;

use florin_benches::figures::thousands;
use hdrhistogram::Histogram;

use crate::book::Kind;
use crate::samples::{Sample, mib, ms};
use crate::sizes;
use crate::stored::StoreKind;

/// The filter in front of the index takes 2 to 2.5 bytes an id, and while it grows 4.5.
const FILTER_BYTES_AN_ID: f64 = 4.5;
/// What memory may grow by in half of the run beside that: caches that fill, and what an allocator keeps.
const GROWTH_MAX: f64 = (16 << 20) as f64;
/// The p99 of the last quarter may be so many times that of the first.
const LATENCY_RATIO_MAX: f64 = 1.5;
/// Shorter ones than this are alike.
const LATENCY_FLOOR_MS: f64 = 2.0;
/// A request of the last quarter may cost so many times the processor time of one of the first.
const PROCESSOR_RATIO_MAX: f64 = 1.3;
/// Records are computed but for what their slices and moments make of them.
const JOURNAL_ERROR_MAX: f64 = 0.02;
/// Of SQLite's pages so much is rows: those of tables that grow at their end are full, those of trees that are filled in runs are not.
const FILLED: std::ops::RangeInclusive<f64> = 0.55..=1.0;
/// Bytes a row in the last quarter against those of the first half, by the store's own growth.
const ROW_RATIO_MAX: f64 = 1.1;
/// Bytes of the index an id: an entry of 42 bytes, a hash of 8 in the filter's log, 2.5 of the filter, and tables that are not merged yet.
const INDEX_BYTES_AN_ID: std::ops::RangeInclusive<f64> = 30.0..=110.0;
/// Segments on the disk: a sealed one makes a snapshot due, two more may come until it is made and they are removed, one is written, two
/// are spare, and one is being prepared.
const SEGMENTS_MAX: u64 = 1 + 2 + 1 + 2 + 1;

/// One thing that was judged.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) is_right: bool,
    pub(crate) what: String,
}

pub(crate) fn judged(is_right: bool, what: String) -> Judged {
    Judged { is_right, what }
}

/// What the samples must show.
pub(crate) fn of_samples(samples: &[Sample], segment_bytes: u64, kind: StoreKind) -> Vec<Judged> {
    let quarter = (samples.len() / 4).max(1);
    let (first, last) = (&samples[..quarter], &samples[samples.len() - quarter..]);
    let mut all = vec![memory(&samples[samples.len() / 2..]), files(samples)];
    for (of, name) in [(Kind::Command, "commands"), (Kind::Read, "reads"), (Kind::List, "lists")] {
        all.push(latency(first, last, of, name));
    }
    all.push(processors(first, last, "processor time", |it| it.used));
    all.push(processors(first, last, "processor time of the shard", |it| it.shard));
    all.push(kept_journal(samples, segment_bytes));
    if let Some(end) = samples.last() {
        all.push(written_journal(end));
        if kind == StoreKind::Sqlite {
            all.push(filled(end));
        }
    }
    all.push(row_bytes(samples));
    all.extend(index(samples));
    all
}

/// By how much memory grows, as a line through all samples of the half, against what the filter takes for the ids of that half.
fn memory(half: &[Sample]) -> Judged {
    let ids: Vec<f64> = half.iter().map(|it| it.counts.decided() as f64).collect();
    let bytes: Vec<f64> = half.iter().map(|it| it.size.anonymous as f64).collect();
    let slope = slope(&ids, &bytes);
    let count = ids.last().zip(ids.first()).map_or(0.0, |(last, first)| last - first);
    let (grown, allowed) = (slope * count, FILTER_BYTES_AN_ID * count + GROWTH_MAX);
    judged(
        grown <= allowed,
        format!(
            "memory, second half: {:+.1} MiB over {} ids ({slope:+.2} bytes each); {:.1} MiB are for the filter, at most {:.1} allowed",
            grown / f64::from(1 << 20),
            thousands(count),
            FILTER_BYTES_AN_ID * count / f64::from(1 << 20),
            allowed / f64::from(1 << 20),
        ),
    )
}

/// The slope of the line with the least squares; 0 where all stand at one place.
fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let products = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>();
    let squares = x.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>();
    if squares > 0.0 { products / squares } else { 0.0 }
}

/// Files that are open: no more at the end than a table of the index comes to.
fn files(samples: &[Sample]) -> Judged {
    const MORE_MAX: u64 = 16;
    let half = samples.len() / 2;
    let most = |samples: &[Sample]| samples.iter().map(|it| it.size.files).max().unwrap_or(0);
    let (first, second) = (most(&samples[..half.max(1)]), most(&samples[half..]));
    let is_right = second <= first + MORE_MAX;
    judged(is_right, format!("files: {first} at most in the first half, {second} in the second"))
}

fn latency(first: &[Sample], last: &[Sample], kind: Kind, name: &str) -> Judged {
    let whole = |samples: &[Sample]| {
        let mut all = Histogram::<u64>::new(3).expect("three digits are few enough");
        for sample in samples {
            all.add(&sample.stretch.micros[kind as usize]).expect("it grows");
        }
        all
    };
    let (first, last) = (whole(first), whole(last));
    let (before, after) = (ms(&first, 99.0), ms(&last, 99.0));
    judged(
        after <= LATENCY_RATIO_MAX * before.max(LATENCY_FLOOR_MS),
        format!(
            "{name}: p50 {:.2}, p99 {before:.2} ms in the first quarter, p50 {:.2}, p99 {after:.2} in the last; at most {LATENCY_RATIO_MAX} times as much allowed",
            ms(&first, 50.0),
            ms(&last, 50.0),
        ),
    )
}

/// What a request costs, which must not grow with the time that the server has been there.
fn processors(
    first: &[Sample],
    last: &[Sample],
    what: &str,
    of: impl Fn(&Sample) -> Duration,
) -> Judged {
    let each = |samples: &[Sample]| {
        let answered: u64 = samples.iter().skip(1).map(|it| it.stretch.answered).sum();
        let ends = samples.first().zip(samples.last());
        let used = ends.map_or(Duration::ZERO, |(first, last)| of(last) - of(first));
        used.as_secs_f64() * 1e6 / answered.max(1) as f64
    };
    let (before, after) = (each(first), each(last));
    judged(
        after <= PROCESSOR_RATIO_MAX * before,
        format!(
            "{what}: {before:.1} us a request in the first quarter, {after:.1} in the last; at most {PROCESSOR_RATIO_MAX} times as much allowed"
        ),
    )
}

fn kept_journal(samples: &[Sample], segment_bytes: u64) -> Judged {
    let most = samples.iter().map(|it| it.size.journal).max().unwrap_or(0);
    let allowed = SEGMENTS_MAX * segment_bytes;
    let sealed = samples.last().map_or(0, |it| it.journal_bytes / segment_bytes);
    judged(
        most <= allowed,
        format!(
            "journal on the disk: {:.0} MiB at most, {:.0} allowed; {sealed} segments were sealed",
            mib(most),
            mib(allowed)
        ),
    )
}

fn written_journal(end: &Sample) -> Judged {
    let ratio = end.journal_bytes as f64 / end.journal_computed;
    judged(
        (ratio - 1.0).abs() <= JOURNAL_ERROR_MAX,
        format!(
            "journal written: {} bytes, {} computed from {} records in {} frames ({:+.2} %); {:.1} bytes a transfer",
            thousands(end.journal_bytes as f64),
            thousands(end.journal_computed),
            thousands(end.records as f64),
            thousands(end.frames as f64),
            (ratio - 1.0) * 100.0,
            end.journal_bytes as f64 / end.counts.transfers as f64,
        ),
    )
}

/// How much of the database is rows, by what SQLite's format says of these.
fn filled(end: &Sample) -> Judged {
    let database = end.size.store - end.size.wal;
    let part = end.row_bytes as f64 / database as f64;
    judged(
        FILLED.contains(&part),
        format!(
            "store: {:.0} MiB without its WAL, {:.0} computed for its rows: filled to {:.0} %",
            mib(database),
            mib(end.row_bytes),
            part * 100.0
        ),
    )
}

/// Whether a row takes as much at the end as it took before.
fn row_bytes(samples: &[Sample]) -> Judged {
    let store = |it: &Sample| (it.rows as f64, (it.size.store - it.size.wal) as f64);
    let whole: (Vec<f64>, Vec<f64>) = samples.iter().map(store).unzip();
    let (half, quarter) = (samples.len() / 2, samples.len() * 3 / 4);
    let before = slope(&whole.0[..half.max(1)], &whole.1[..half.max(1)]);
    let after = slope(&whole.0[quarter..], &whole.1[quarter..]);
    judged(
        after <= ROW_RATIO_MAX * before,
        format!(
            "store: {before:.0} bytes a transfer in the first half, {after:.0} in the last quarter"
        ),
    )
}

/// Bytes an id, once there are enough.
fn index(samples: &[Sample]) -> Option<Judged> {
    const IDS_MIN: f64 = 1e6;
    let end = samples.last()?;
    let part = end.index_seq as f64 / end.durable_seq as f64;
    let ids = end.counts.decided() as f64 * part;
    let each = end.size.index as f64 / ids;
    let is_right = ids < IDS_MIN || INDEX_BYTES_AN_ID.contains(&each);
    let told = format!(
        "index: {:.0} MiB, {each:.0} bytes for each of {} ids",
        mib(end.size.index),
        thousands(ids)
    );
    Some(judged(is_right, told))
}

/// Bytes that the journal must have for what is known, and for the records in which transfers expired.
pub(crate) fn journal_computed(known: u64, known_records: u64, records: u64, frames: u64) -> f64 {
    let own = records.saturating_sub(known_records);
    (known + own * sizes::expiring_record()) as f64 + sizes::frames(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_points_has_their_slope() {
        assert_eq!(slope(&[0.0, 1.0, 2.0, 3.0], &[5.0, 7.0, 9.0, 11.0]), 2.0);
        assert_eq!(slope(&[1.0, 1.0], &[5.0, 7.0]), 0.0);
    }
}
