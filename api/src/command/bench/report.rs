//! The figures, for people and for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::distribution::{Distribution, Ids};
use super::load::{Measured, Plan};
use super::{Durability, StoreFilling};
use crate::command::print::{self, Align::Right};
use crate::command::text::{bytes, counted, grouped, rate, time};

/// A measured load.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    accounts: u32,
    transfers: u64,
    batch: u64,
    concurrency: u32,
    distribution: Distribution,
    ids: Ids,
    two_phase_percent: u8,
    durability: Durability,
    write_behind: StoreFilling,
    seconds: f64,
    acknowledged_per_second: u64,
    latency: Latency,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored: Option<Stored>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal_bytes_per_transfer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_resident_bytes: Option<u64>,
}

/// How long commands waited for their answers, in microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    commands: u64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// When the store had everything.
#[derive(Debug, Serialize)]
struct Stored {
    seconds: f64,
    per_second: u64,
    seconds_after_last_answer: f64,
}

/// The memory of accounts. Absent figures are those that the kernel did not give.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) accounts: u64,
    /// Before the ledger was opened.
    pub(super) resident_at_start: Option<u64>,
    /// With the ledger open and empty.
    pub(super) resident_empty: Option<u64>,
    /// With all accounts.
    pub(super) resident_full: Option<u64>,
}

impl Latency {
    fn of(nanos: &Histogram<u64>) -> Latency {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(nanos.value_at_quantile(quantile));
        Latency {
            commands: nanos.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(nanos.max()),
        }
    }
}

impl Report {
    /// The figures of a load.
    pub(super) fn new(
        measured: Measured,
        write_behind: StoreFilling,
        durability: Durability,
    ) -> Report {
        let Measured { plan, elapsed, latency, stored, journal_bytes, peak_resident_bytes } =
            measured;
        let Plan { accounts, transfers, batch, concurrency, distribution, ids, two_phase, seed: _ } =
            plan;
        Report {
            accounts,
            transfers,
            batch,
            concurrency,
            distribution,
            ids,
            two_phase_percent: two_phase,
            durability,
            write_behind,
            seconds: elapsed.as_secs_f64(),
            acknowledged_per_second: rate(transfers, elapsed),
            latency: Latency::of(&latency),
            stored: stored.map(|stored| Stored {
                seconds: stored.elapsed.as_secs_f64(),
                per_second: rate(transfers, stored.elapsed),
                seconds_after_last_answer: stored.after_last_answer.as_secs_f64(),
            }),
            journal_bytes_per_transfer: journal_bytes.map(|bytes| bytes as f64 / transfers as f64),
            peak_resident_bytes,
        }
    }

    /// The figures as one JSON object.
    pub(super) fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The figures as a small table.
    pub(super) fn text(&self) -> String {
        let micros = |micros: f64| time(Duration::from_secs_f64(micros / 1e6));
        let latency = &self.latency;
        let mut rows = vec![
            ("acknowledged", format!("{}/s", grouped(self.acknowledged_per_second))),
            ("in", time(Duration::from_secs_f64(self.seconds))),
            ("latency p50", micros(latency.p50_us)),
            ("p90", micros(latency.p90_us)),
            ("p99", micros(latency.p99_us)),
            ("p99.9", micros(latency.p999_us)),
            ("max", micros(latency.max_us)),
        ];
        if let Some(stored) = &self.stored {
            let after = Duration::from_secs_f64(stored.seconds_after_last_answer);
            rows.push(("stored", format!("{}/s", grouped(stored.per_second))));
            rows.push(("store drained after", time(after)));
        }
        if let Some(per_transfer) = self.journal_bytes_per_transfer {
            rows.push(("journal a transfer", format!("{per_transfer:.1} B")));
        }
        if let Some(peak) = self.peak_resident_bytes {
            rows.push(("peak memory", bytes(peak)));
        }
        format!("{}\n\n{}", self.headline(), print::pairs(rows, Right))
    }

    fn headline(&self) -> String {
        let ways = match self.batch {
            1 => "one by one".to_owned(),
            batch => format!("in batches of {}", grouped(batch)),
        };
        let phases = match self.two_phase_percent {
            0 => String::new(),
            percent => format!(", {percent} % of the new ones pending"),
        };
        let spread = match self.distribution {
            Distribution::Uniform => "spread evenly over",
            Distribution::Zipfian => "zipfian over",
            Distribution::Hot => "all to one of",
        };
        let durability = match self.durability {
            Durability::Fsync => "durable by fsync",
            Durability::Memory => "NOT durable (memory)",
        };
        let store = match self.write_behind {
            StoreFilling::On => "write-behind on",
            StoreFilling::Paused => "write-behind paused",
        };
        format!(
            "{} {ways}{phases}, {} in flight, {spread} {} accounts; {durability}, {store}",
            counted(self.transfers, "transfer"),
            grouped(u64::from(self.concurrency)),
            grouped(u64::from(self.accounts)),
        )
    }
}

impl Memory {
    /// Bytes of each account beyond the process with an empty ledger.
    fn per_account(&self) -> Option<f64> {
        let beyond = self.resident_full?.saturating_sub(self.resident_empty?);
        Some(beyond as f64 / self.accounts as f64)
    }

    /// The figures as one JSON object.
    pub(super) fn json(&self) -> String {
        let mut figures = serde_json::json!(self);
        figures["bytes_per_account"] = serde_json::json!(self.per_account());
        figures.to_string()
    }

    /// The figures as a small table.
    pub(super) fn text(&self) -> String {
        let shown = |count: Option<u64>| count.map_or_else(|| "unknown".to_owned(), bytes);
        let each =
            self.per_account().map_or_else(|| "unknown".to_owned(), |each| format!("{each:.1} B"));
        let rows = [
            ("process", shown(self.resident_at_start)),
            ("with an empty ledger", shown(self.resident_empty)),
            ("with the accounts", shown(self.resident_full)),
            ("each account", each),
        ];
        let accounts = counted(self.accounts, "account");
        format!("{accounts} resident\n\n{}", print::pairs(rows, Right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_is_beyond_the_empty_ledger() {
        let memory = Memory {
            accounts: 1_000,
            resident_at_start: Some(1 << 20),
            resident_empty: Some(2 << 20),
            resident_full: Some((2 << 20) + 250_000),
        };
        let shown = memory.text();
        assert!(shown.ends_with("each account          250.0 B"), "{shown}");
        assert!(memory.json().contains("\"bytes_per_account\":250.0"), "{}", memory.json());
    }

    #[test]
    fn the_report_can_be_read() {
        let mut latency = Histogram::new(3).unwrap();
        latency.record_n(1_000_000, 100).unwrap();
        let plan = Plan {
            accounts: 10_000,
            transfers: 1_000_000,
            batch: 8_190,
            concurrency: 4,
            distribution: Distribution::Uniform,
            ids: Ids::Random,
            two_phase: 30,
            seed: 1,
        };
        let measured = Measured {
            plan,
            elapsed: Duration::from_millis(500),
            latency,
            stored: None,
            journal_bytes: Some(100_000_000),
            peak_resident_bytes: None,
        };
        let report = Report::new(measured, StoreFilling::Paused, Durability::Fsync);
        let expected = "\
1,000,000 transfers in batches of 8,190, 30 % of the new ones pending, 4 in flight, spread evenly over 10,000 accounts; durable by fsync, write-behind paused

acknowledged        2,000,000/s
in                     500.0 ms
latency p50             1.00 ms
p90                     1.00 ms
p99                     1.00 ms
p99.9                   1.00 ms
max                     1.00 ms
journal a transfer      100.0 B";
        assert_eq!(report.text(), expected);
    }
}
