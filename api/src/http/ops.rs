//! What operators and their machines ask: does it live, is it ready, what does it count.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use florin_actors::{Condition, Positions, StoreCondition};
use florin_engine::JournalSeq;
use florin_persistence::store::{Checkpoint, StoreError};
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

/// The parts of the process. A reader has a store and no more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Parts {
    /// What commands go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalPart>,
    /// What lists and history come from.
    store: StorePart,
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
    fn of(condition: Condition, store: StoreCondition, positions: &Positions) -> Readiness {
        let (journal, error) = match condition {
            Condition::Ready => (Word::Ok, None),
            Condition::StorageFull => (Word::StorageFull, None),
            Condition::Stopping => (Word::Stopping, None),
            Condition::Failed { reason } => (Word::Failed, Some(reason)),
        };
        let store = StorePart::of(store, positions);
        let status = match (journal, store.status) {
            (Word::Ok, Word::Ok | Word::Paused) => Word::Ok,
            (Word::Ok, _) => Word::Degraded,
            (journal, _) => journal,
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
        Readiness { status, parts: Parts { journal, store, index, snapshot } }
    }

    /// A reader is as ready as its store. How late that is, only the owner knows.
    fn of_reader(stands: Result<Checkpoint, StoreError>, newest: JournalSeq) -> Readiness {
        let positions = |seq| Positions { durable: seq, stored: seq, ..Positions::default() };
        let (status, store) = match stands {
            Ok(checkpoint) => {
                (Word::Ok, StorePart::of(StoreCondition::Ok, &positions(checkpoint.seq)))
            }
            Err(error) => {
                let store = StorePart::of(StoreCondition::Ok, &positions(newest));
                let error = Some(error.to_string());
                (Word::Away, StorePart { status: Word::Away, error, ..store })
            }
        };
        Readiness { status, parts: Parts { journal: None, store, index: None, snapshot: None } }
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

/// Whether the process takes commands, and how its parts are
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "It takes commands; `degraded` where the store is late or away", body = Readiness),
        (status = 503, description = "It takes none: storage-full, stopping or failed", body = Readiness),
    ),
)]
pub(crate) async fn readyz(exchange: &mut Exchange) -> Result<Reply, ApiError> {
    exchange.no_query()?;
    let readiness = match &exchange.state.ledger {
        Ledger::Owner(florin) => {
            Readiness::of(florin.condition(), florin.store_condition(), &florin.positions())
        }
        Ledger::Reader(reader) => {
            Readiness::of_reader(reader.store().checkpoint().await, reader.newest())
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
        let positions =
            Positions { durable: JournalSeq(9), stored: JournalSeq(4), ..Positions::default() };
        let away = || StoreCondition::Away { since: Instant::now(), error: "gone".into() };
        let stuck = || StoreCondition::Stuck { seq: JournalSeq(5), error: "no".into() };
        let failed = Condition::Failed { reason: "disk".into() };
        for (condition, store, expected) in [
            (Condition::Ready, StoreCondition::Ok, "200 Ok Ok 5"),
            (Condition::Ready, StoreCondition::Paused, "200 Ok Paused 5"),
            (Condition::Ready, away(), "200 Degraded Away 5"),
            (Condition::Ready, stuck(), "200 Degraded Stuck 5"),
            (Condition::StorageFull, StoreCondition::Ok, "503 StorageFull Ok 5"),
            (Condition::Stopping, away(), "503 Stopping Away 5"),
            (failed, StoreCondition::Ok, "503 Failed Ok 5"),
        ] {
            let readiness = Readiness::of(condition, store, &positions);
            let store = &readiness.parts.store;
            let status = readiness.http_status().as_u16();
            let shown =
                format!("{status} {:?} {:?} {}", readiness.status, store.status, store.lag_records);
            assert_eq!(shown, expected);
        }
    }
}
