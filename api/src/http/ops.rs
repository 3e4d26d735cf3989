//! What operators and their machines ask: does it live, is it ready, what does it count.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use florin_actors::{CacheCondition, Condition, Positions, ReaderCache, StoreCondition};
use florin_engine::JournalSeq;
use florin_persistence::store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::exchange::{Exchange, Reply};
use super::ledger::Ledger;
use crate::telemetry;

/// That the process lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    status: Word,
}

/// How a part is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// It works.
    Ok,
    /// It serves, with a part missing.
    Degraded,
    /// It takes no writes until there is room.
    StorageFull,
    /// It is about to end.
    Stopping,
    /// It can not go on.
    Failed,
    /// It was told to wait.
    Paused,
    /// It does not answer.
    Away,
    /// It refuses, for a reason that waiting does not change.
    Stuck,
    /// It is left to another process that owns the same ledger.
    StandingBy,
}

/// The process lives
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operations",
    responses((status = 200, description = "It lives", body = Health)),
)]
pub(crate) async fn healthz(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    Reply::json(StatusCode::OK, &Health { status: Word::Ok })
}

/// How ready the process is, and its parts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ok`, `degraded` where a part is missing that commands do not need, else why it takes none.
    status: Word,
    /// The parts.
    parts: Parts,
}

/// The parts of the process. A reader has a store, and a cache where one is configured.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Parts {
    /// What commands go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalPart>,
    /// What lists and history come from.
    store: StorePart,
    /// What readers answer from where they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CachePart>,
    /// The index of decided ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<Part>,
    /// The newest snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Part>,
}

/// The journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JournalPart {
    /// How it is.
    status: Word,
    /// Everything up to this position is durable.
    durable_seq: u64,
    /// Bytes of it that are kept.
    kept_bytes: u64,
    /// Bytes that can surely still be written.
    room_bytes: u64,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StorePart {
    /// How it is.
    status: Word,
    /// It has everything up to this position.
    seq: u64,
    /// Positions that are durable and not yet in it.
    lag_records: u64,
    /// Bytes of journal that are not yet in it.
    lag_bytes: u64,
    /// Seconds since the oldest thing became durable that may not be in it yet.
    lag_seconds: f64,
    /// How long it has been away, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    away_seconds: Option<f64>,
    /// The position that it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    stuck_seq: Option<u64>,
    /// What it last said.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The cache.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CachePart {
    /// How it is.
    status: Word,
    /// What is in it is as of this position; 0 where that is not known.
    seq: u64,
    /// Positions that it is behind what the process knows to be durable.
    lag_records: u64,
    /// How long it has been away, in seconds; only the owner knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    away_seconds: Option<f64>,
    /// Why nothing is read from it or written to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A part that follows the journal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Part {
    /// It has everything up to this position.
    seq: u64,
    /// Positions that are durable and not yet in it.
    lag_records: u64,
}

impl Part {
    fn at(seq: florin_engine::JournalSeq, positions: &Positions) -> Part {
        Part { seq: seq.0, lag_records: positions.durable.0.saturating_sub(seq.0) }
    }
}

impl Readiness {
    fn of(
        condition: Condition,
        store: StoreCondition,
        cache: CacheCondition,
        positions: &Positions,
    ) -> Readiness {
        let (journal, error) = match condition {
            Condition::Ready => (Word::Ok, None),
            Condition::StorageFull => (Word::StorageFull, None),
            Condition::Stopping => (Word::Stopping, None),
            Condition::Failed { reason } => (Word::Failed, Some(reason)),
        };
        let store = StorePart::of(store, positions);
        let cache = CachePart::of(cache, positions);
        let is_whole = matches!(store.status, Word::Ok | Word::Paused)
            && cache.as_ref().is_none_or(|cache| cache.status == Word::Ok);
        let status = match journal {
            Word::Ok if !is_whole => Word::Degraded,
            journal => journal,
        };
        let journal = JournalPart {
            status: journal,
            durable_seq: positions.durable.0,
            kept_bytes: positions.journal_kept_bytes,
            room_bytes: positions.journal_room_bytes,
            error,
        };
        let index = Part::at(positions.indexed, positions);
        let snapshot = Part::at(positions.snapshot, positions);
        let (journal, index, snapshot) = (Some(journal), Some(index), Some(snapshot));
        Readiness { status, parts: Parts { journal, store, cache, index, snapshot } }
    }

    /// A reader is as ready as its store. How late that is, only the owner knows; what the cache has shows the least.
    fn of_reader(
        stands: Result<JournalSeq, StoreError>,
        cache: ReaderCache,
        stored: JournalSeq,
        newest: JournalSeq,
    ) -> Readiness {
        let stored = *stands.as_ref().unwrap_or(&stored);
        let durable = newest.max(stored);
        let positions = Positions { durable, stored, ..Positions::default() };
        let store = StorePart::of(StoreCondition::Ok, &positions);
        let cache = CachePart::of_reader(cache, &positions);
        let is_cached = cache.as_ref().is_none_or(|cache| cache.status == Word::Ok);
        let (status, store) = match stands {
            Ok(_) if is_cached => (Word::Ok, store),
            Ok(_) => (Word::Degraded, store),
            Err(error) => {
                let error = Some(error.to_string());
                (Word::Away, StorePart { status: Word::Away, error, ..store })
            }
        };
        let parts = Parts { journal: None, store, cache, index: None, snapshot: None };
        Readiness { status, parts }
    }

    fn http_status(&self) -> StatusCode {
        match self.status {
            Word::Ok | Word::Degraded => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl StorePart {
    fn of(condition: StoreCondition, positions: &Positions) -> StorePart {
        let part = StorePart {
            status: Word::Ok,
            seq: positions.stored.0,
            lag_records: positions.durable.0.saturating_sub(positions.stored.0),
            lag_bytes: positions.backlog_bytes,
            lag_seconds: positions.store_lag.as_secs_f64(),
            away_seconds: None,
            stuck_seq: None,
            error: None,
        };
        match condition {
            StoreCondition::Ok => part,
            StoreCondition::Paused => StorePart { status: Word::Paused, ..part },
            StoreCondition::Away { since, error } => StorePart {
                status: Word::Away,
                away_seconds: Some(Instant::now().duration_since(since).as_secs_f64()),
                error: Some(error),
                ..part
            },
            StoreCondition::Stuck { seq, error } => StorePart {
                status: Word::Stuck,
                stuck_seq: Some(seq.0),
                error: Some(error),
                ..part
            },
        }
    }
}

impl CachePart {
    fn at(seq: JournalSeq, positions: &Positions) -> CachePart {
        let lag_records = positions.durable.0.saturating_sub(seq.0);
        CachePart { status: Word::Ok, seq: seq.0, lag_records, away_seconds: None, error: None }
    }

    fn of(condition: CacheCondition, positions: &Positions) -> Option<CachePart> {
        let part = CachePart::at(positions.cached, positions);
        match condition {
            CacheCondition::Off => None,
            CacheCondition::Ok => Some(part),
            CacheCondition::Away { since, error } => Some(CachePart {
                status: Word::Away,
                away_seconds: Some(Instant::now().duration_since(since).as_secs_f64()),
                error: Some(error),
                ..part
            }),
            CacheCondition::StandingBy { covered } => {
                let error = "another owner of the same ledger writes it".to_owned();
                let part = CachePart::at(covered, positions);
                Some(CachePart { status: Word::StandingBy, error: Some(error), ..part })
            }
        }
    }

    fn of_reader(cache: ReaderCache, positions: &Positions) -> Option<CachePart> {
        let away = |error: String| CachePart {
            status: Word::Away,
            error: Some(error),
            ..CachePart::at(JournalSeq::NONE, positions)
        };
        match cache {
            ReaderCache::Off => None,
            ReaderCache::Ok { covered } => Some(CachePart::at(covered, positions)),
            ReaderCache::Empty => Some(away("the ledger's owner writes nothing there".to_owned())),
            ReaderCache::Away { error } => Some(away(error.to_string())),
            ReaderCache::Unnamed => {
                Some(away("the store has not told yet whose cache it is".to_owned()))
            }
        }
    }
}

/// Whether the process takes commands, and how its parts are
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "It takes commands; `degraded` where the store or the cache is away", body = Readiness),
        (status = 503, description = "It takes none: storage-full, stopping or failed", body = Readiness),
    ),
)]
pub(crate) async fn readyz(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let readiness = match &exchange.state.ledger {
        Ledger::Owner(florin) => {
            let (store, cache) = (florin.store_condition(), florin.cache_condition());
            Readiness::of(florin.condition(), store, cache, &florin.positions())
        }
        Ledger::Reader(reader) => {
            let stands = reader.checkpoint().await.map(|checkpoint| checkpoint.seq);
            let cache = reader.cache_state().await;
            Readiness::of_reader(stands, cache, reader.stored(), reader.newest())
        }
    };
    Reply::json(readiness.http_status(), &readiness)
}

/// Metrics in Prometheus' text form
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain")),
)]
pub(crate) async fn metrics(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    match &exchange.state.ledger {
        Ledger::Owner(florin) => florin.refresh_metrics(),
        Ledger::Reader(reader) => reader.refresh_metrics(),
    }
    telemetry::process::refresh();
    let text = telemetry::recorder().render();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(Reply::of(StatusCode::OK, kind, text.into()))
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// Always `florin`.
    #[schema(value_type = String)]
    name: &'static str,
    /// The program's version.
    #[schema(value_type = String)]
    version: &'static str,
}

/// Which version runs
#[utoipa::path(
    get,
    path = "/version",
    tag = "operations",
    responses((status = 200, description = "The version", body = Version)),
)]
pub(crate) async fn version(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let version = Version { name: "florin", version: env!("CARGO_PKG_VERSION") };
    Reply::json(StatusCode::OK, &version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_the_parts() {
        let positions = Positions {
            durable: JournalSeq(9),
            stored: JournalSeq(4),
            cached: JournalSeq(7),
            ..Positions::default()
        };
        let away = || StoreCondition::Away { since: Instant::now(), error: "gone".into() };
        let stuck = || StoreCondition::Stuck { seq: JournalSeq(5), error: "no".into() };
        let failed = Condition::Failed { reason: "disk".into() };
        let (off, ok) = (|| CacheCondition::Off, || StoreCondition::Ok);
        let cold = || CacheCondition::Away { since: Instant::now(), error: "gone".into() };
        let other = || CacheCondition::StandingBy { covered: JournalSeq(8) };
        for (condition, store, cache, expected) in [
            (Condition::Ready, ok(), off(), "200 Ok, Ok 5"),
            (Condition::Ready, StoreCondition::Paused, off(), "200 Ok, Paused 5"),
            (Condition::Ready, away(), off(), "200 Degraded, Away 5"),
            (Condition::Ready, stuck(), off(), "200 Degraded, Stuck 5"),
            (Condition::StorageFull, ok(), off(), "503 StorageFull, Ok 5"),
            (Condition::Stopping, away(), off(), "503 Stopping, Away 5"),
            (failed, ok(), off(), "503 Failed, Ok 5"),
            (Condition::Ready, ok(), CacheCondition::Ok, "200 Ok, Ok 5, Ok 2"),
            (Condition::Ready, ok(), cold(), "200 Degraded, Ok 5, Away 2"),
            (Condition::Ready, ok(), other(), "200 Degraded, Ok 5, StandingBy 1"),
            (Condition::StorageFull, ok(), cold(), "503 StorageFull, Ok 5, Away 2"),
        ] {
            let readiness = Readiness::of(condition, store, cache, &positions);
            assert_eq!(shown(&readiness), expected);
        }
    }

    /// The whole, the store and the cache, with how many records they lag.
    fn shown(readiness: &Readiness) -> String {
        let Parts { store, cache, .. } = &readiness.parts;
        let (code, status) = (readiness.http_status().as_u16(), readiness.status);
        let mut shown = format!("{code} {status:?}, {:?} {}", store.status, store.lag_records);
        if let Some(cache) = cache {
            shown += &format!(", {:?} {}", cache.status, cache.lag_records);
        }
        shown
    }

    #[test]
    fn a_reader_is_ready_without_its_cache_and_not_without_its_store() {
        let stands = || Ok(JournalSeq(7));
        let gone = || Err(StoreError::Absent { schema: "florin".into() });
        let at = |covered| ReaderCache::Ok { covered: JournalSeq(covered) };
        for (store, cache, expected) in [
            (stands(), ReaderCache::Off, "200 Ok, Ok 0"),
            (stands(), at(9), "200 Ok, Ok 2, Ok 0"),
            (stands(), at(5), "200 Ok, Ok 2, Ok 4"),
            (stands(), ReaderCache::Empty, "200 Degraded, Ok 2, Away 9"),
            (stands(), ReaderCache::Unnamed, "200 Degraded, Ok 2, Away 9"),
            (gone(), at(9), "503 Away, Away 5, Ok 0"),
        ] {
            let newest = if matches!(cache, ReaderCache::Off) { 0 } else { 9 };
            let readiness = Readiness::of_reader(store, cache, JournalSeq(4), JournalSeq(newest));
            assert_eq!(shown(&readiness), expected);
        }
    }
}
