//! Logs and metrics of the process.
//!
//! Metrics have constant names and labels from closed sets: routes, statuses, codes; never ids. Their handles are made once,
//! so that counting on the way of a transfer costs an atomic addition and no look-up.

pub(crate) mod process;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::http::StatusCode;
use florin_actors::Source;
use florin_engine::Rejection;
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;
use crate::keys::AuthFailure;

/// Requests answered, by method, route and status.
pub(crate) const HTTP_REQUESTS: &str = "florin_http_requests_total";
/// Seconds from a request's head to its answer, by method and route.
pub(crate) const HTTP_REQUEST_SECONDS: &str = "florin_http_request_seconds";
/// Accounts, ledgers and transfers created over HTTP.
pub(crate) const CREATED: &str = "florin_created_total";
/// Retries that got an earlier outcome.
pub(crate) const REPLAYED: &str = "florin_replayed_total";
/// Refusals by the rules, by code.
pub(crate) const REJECTED: &str = "florin_rejected_total";

/// Requests that were turned away with nothing done, by reason.
pub(crate) const REFUSED: &str = "florin_refused_total";

/// Requests that were not let in, by reason.
pub(crate) const AUTH_FAILURES: &str = "florin_auth_failures_total";

/// Answers to questions about the ledger, by where they came from: `memory`, `cache`, `store`.
pub(crate) const READS: &str = "florin_reads_total";

/// Every metric of this crate with its description.
const COUNTERS: [(&str, &str); 7] = [
    (HTTP_REQUESTS, "Requests answered, by method, route and status."),
    (CREATED, "Ledgers, accounts, transfers and transactions created over HTTP."),
    (REPLAYED, "Retries over HTTP that got an earlier outcome."),
    (REJECTED, "Refusals by the rules over HTTP, by code."),
    (REFUSED, "Requests turned away with nothing done, to come again later, by reason."),
    (READS, "Answers to questions about the ledger, by where they came from."),
    (AUTH_FAILURES, "Requests without a key that is good for what they ask, by reason."),
];

/// Upper bounds of histograms of seconds: 50 µs to 5 s.
const SECONDS_BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05,
    0.1, 0.5, 1.0, 5.0,
];
/// Upper bounds of histograms of how many things go together.
const COUNT_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0, 1024.0, 8192.0];

/// How often the recorder tidies up after itself; without it its memory grows.
pub(crate) const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Begins logging to standard error and recording metrics. `RUST_LOG` chooses what is logged; everything from `info` on by default.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(chosen) => filter.parse_lossy(chosen),
        // That its threads start is of interest to nobody, and a line for each request that is no HTTP would let anybody fill the disk:
        // who sent it is told.
        Err(_) => filter.parse_lossy("info,actix_server=warn,actix_http=off"),
    };
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter);
    // A second start, as in tests, leaves the first one's in force.
    let _ = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    recorder();
}

/// The process's one recorder of metrics, made at the first call. What was counted before goes nowhere, so `start` comes first.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let counts = Matcher::Suffix("_records".to_owned());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(seconds, &SECONDS_BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(counts, &COUNT_BUCKETS))
            .expect("the lists of buckets are not empty")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is there: /metrics stays empty");
        }
        describe();
        handle
    })
}

fn describe() {
    for (name, description) in COUNTERS {
        describe_counter!(name, description);
    }
    describe_histogram!(
        HTTP_REQUEST_SECONDS,
        "Seconds from a request's head to its answer, by method and route."
    );
    process::describe();
    for (name, description) in florin_actors::metrics::DESCRIPTIONS {
        match *name {
            name if name.ends_with("_total") => describe_counter!(name, *description),
            name if name.ends_with("_seconds") || name.ends_with("_records") => {
                describe_histogram!(name, *description);
            }
            name => metrics::describe_gauge!(name, *description),
        }
    }
}

/// The statuses that answers have, in the order of their counters.
const STATUSES: [u16; 17] =
    [200, 201, 308, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 431, 500, 503, 0];

/// What is measured of one route.
pub(crate) struct RouteMetrics {
    method: &'static str,
    route: &'static str,
    seconds: Histogram,
    requests: [OnceLock<Counter>; STATUSES.len()],
}

impl RouteMetrics {
    /// The measures of the route, whose path is a pattern.
    pub(crate) fn new(method: &'static str, route: &'static str) -> RouteMetrics {
        RouteMetrics {
            method,
            route,
            seconds: histogram!(HTTP_REQUEST_SECONDS, "method" => method, "route" => route),
            requests: [const { OnceLock::new() }; STATUSES.len()],
        }
    }

    /// Counts one answer.
    pub(crate) fn record(&self, status: StatusCode, took: Duration) {
        self.seconds.record(took.as_secs_f64());
        let at = STATUSES.iter().position(|known| *known == status.as_u16());
        // The last place is for statuses that no handler gives.
        let at = at.unwrap_or(STATUSES.len() - 1);
        let requests = self.requests[at].get_or_init(|| {
            let status = match STATUSES[at] {
                0 => "other".to_owned(),
                status => status.to_string(),
            };
            counter!(
                HTTP_REQUESTS,
                "method" => self.method, "route" => self.route, "status" => status
            )
        });
        requests.increment(1);
    }
}

/// What is counted of outcomes.
pub(crate) struct OutcomeMetrics {
    created: Counter,
    replayed: Counter,
    /// By [`Rejection::number`], which begins at 1.
    rejected: Vec<OnceLock<Counter>>,
}

impl OutcomeMetrics {
    /// The counters of outcomes.
    pub(crate) fn new() -> OutcomeMetrics {
        OutcomeMetrics {
            created: counter!(CREATED),
            replayed: counter!(REPLAYED),
            rejected: Rejection::CATALOGUE.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// Counts what was created.
    pub(crate) fn created(&self, things: u64) {
        self.created.increment(things);
    }

    /// Counts retries that got an earlier outcome.
    pub(crate) fn replayed(&self, things: u64) {
        self.replayed.increment(things);
    }

    /// Counts a refusal.
    pub(crate) fn rejected(&self, rejection: &Rejection) {
        let at = usize::from(rejection.number()).saturating_sub(1);
        if let Some(counter) = self.rejected.get(at) {
            counter.get_or_init(|| counter!(REJECTED, "code" => rejection.code())).increment(1);
        }
    }
}

/// Why a request is turned away with nothing done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too much is in flight.
    Overloaded,
    /// There is no room for more journal.
    StorageFull,
    /// The process is stopping.
    Stopping,
}

impl Refused {
    /// The reasons as they are shown, in the order of the variants: the codes of the answers.
    const REASONS: [&str; 3] = ["overloaded", "storage_full", "stopping"];
}

/// What is counted of requests that are turned away.
pub(crate) struct RefusedMetrics([Counter; Refused::REASONS.len()]);

impl RefusedMetrics {
    /// The counters, which all begin at 0, so that a rate has something to rise from.
    pub(crate) fn new() -> RefusedMetrics {
        RefusedMetrics(Refused::REASONS.map(|reason| counter!(REFUSED, "reason" => reason)))
    }

    /// Counts one.
    pub(crate) fn count(&self, refused: Refused) {
        self.0[refused as usize].increment(1);
    }
}

/// What is counted of requests that may not come in.
pub(crate) struct AuthFailureMetrics([Counter; AuthFailure::REASONS.len()]);

impl AuthFailureMetrics {
    /// The counters, which all begin at 0, so that a rate has something to rise from.
    pub(crate) fn new() -> AuthFailureMetrics {
        AuthFailureMetrics(
            AuthFailure::REASONS.map(|reason| counter!(AUTH_FAILURES, "reason" => reason)),
        )
    }

    /// Counts one.
    pub(crate) fn count(&self, failure: AuthFailure) {
        self.0[failure.index()].increment(1);
    }
}

/// What is counted of answers to questions about the ledger.
pub(crate) struct ReadMetrics {
    memory: Counter,
    cache: Counter,
    store: Counter,
}

impl ReadMetrics {
    /// The counters, which all begin at 0.
    pub(crate) fn new() -> ReadMetrics {
        let from = |source: &'static str| counter!(READS, "source" => source);
        ReadMetrics { memory: from("memory"), cache: from("cache"), store: from("store") }
    }

    /// Counts one.
    pub(crate) fn count(&self, source: Source) {
        match source {
            Source::Memory => self.memory.increment(1),
            Source::Cache => self.cache.increment(1),
            Source::Store => self.store.increment(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use florin_engine::LedgerId;

    use super::*;

    #[test]
    fn what_is_counted_is_shown_with_its_labels() {
        recorder();
        let route = RouteMetrics::new("GET", "/for/this/test");
        route.record(StatusCode::OK, Duration::from_micros(70));
        route.record(StatusCode::IM_A_TEAPOT, Duration::from_micros(70));
        // What no other test of this process is told.
        OutcomeMetrics::new().rejected(&Rejection::OverflowsTimeout);
        let shown = recorder().render();
        for line in [
            r#"florin_http_requests_total{method="GET",route="/for/this/test",status="200"} 1"#,
            r#"florin_http_requests_total{method="GET",route="/for/this/test",status="other"} 1"#,
            r#"florin_http_request_seconds_bucket{method="GET",route="/for/this/test",le="0.0001"} 2"#,
            r#"florin_rejected_total{code="overflows_timeout"} 1"#,
            "# HELP florin_http_requests_total",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
    }

    #[test]
    fn every_rejection_has_a_counter() {
        let metrics = OutcomeMetrics::new();
        let last = Rejection::CATALOGUE.len();
        assert_eq!(metrics.rejected.len(), last);
        let figures = florin_engine::SignedAmount::new(0);
        let rejection = Rejection::ExceedsDebits {
            available: figures,
            requested: figures,
            ledger: LedgerId(1),
        };
        assert!(usize::from(rejection.number()) <= last);
    }
}
