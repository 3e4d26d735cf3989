//! `benches/http/latency`: how long an answer takes at a quarter, a half, three quarters and nine tenths of what can be had at most, with requests
//! that come whether others were answered or not.

use std::env;
use std::fmt::Write;
use std::process::ExitCode;

use florin_benches::bank::{ACCOUNTS, Bank, transfers};
use florin_benches::disk::sync_micros;
use florin_benches::figures::{median, thousands};
use florin_benches::machine;
use florin_benches::open_loop::{OpenLoop, Times};
use florin_benches::plot::{Line, percentiles};
use florin_benches::results;
use florin_tests::postgres::Postgres;
use hdrhistogram::Histogram;

const CONNECTIONS: usize = 256;
/// The peak is what as many connections get that are never idle as the table of `benches/http/run` has.
const PEAK_CONNECTIONS: usize = 64;
const PERCENTS_OF_PEAK: [u32; 4] = [25, 50, 75, 90];
/// Written down only if so many rounds stand behind it.
const ROUNDS_WRITTEN: u64 = 3;
const SETTINGS: &str = "fsync = on\nshared_buffers = 512MB\nmax_wal_size = 16GB";

fn send(bank: &Bank, connections: usize, seconds: u64, rate: Option<f64>) -> Times {
    let address = bank.server.address();
    let load = OpenLoop { address, connections, seconds, rate, refusal: None };
    let times = load.run("/v1/transfers", transfers(), 201);
    bank.wait_stored();
    times.unwrap_or_else(|error| panic!("{error}"))
}

/// All rounds at one part of the peak.
struct Level {
    percent: u32,
    rates: Vec<f64>,
    micros: Histogram<u64>,
    p999: Vec<f64>,
}

/// A server, and what it came to.
struct Measured {
    name: &'static str,
    peak: f64,
    levels: Vec<Level>,
}

fn measure(name: &'static str, bank: &Bank, rounds: u64, seconds: u64) -> Measured {
    bank.create_accounts();
    let _ = send(bank, PEAK_CONNECTIONS, 1, None);
    let peaks = (0..rounds).map(|_| send(bank, PEAK_CONNECTIONS, seconds, None).rate);
    let peak = median(peaks.collect::<Vec<f64>>());
    println!("{name}: peak {}/s", thousands(peak));
    let mut levels: Vec<Level> = PERCENTS_OF_PEAK
        .into_iter()
        .map(|percent| Level {
            percent,
            rates: Vec::new(),
            micros: Histogram::new(3).expect("three digits are few enough"),
            p999: Vec::new(),
        })
        .collect();
    for _ in 0..rounds {
        for level in &mut levels {
            let rate = peak * f64::from(level.percent) / 100.0;
            let times = send(bank, CONNECTIONS, seconds, Some(rate));
            println!(
                "  {} %: {}/s, p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
                level.percent,
                thousands(times.rate),
                ms(&times.micros, 50.0),
                ms(&times.micros, 99.0),
                ms(&times.micros, 99.9)
            );
            level.rates.push(times.rate);
            level.p999.push(ms(&times.micros, 99.9));
            level.micros.add(&times.micros).expect("a histogram that grows holds another");
        }
    }
    Measured { name, peak, levels }
}

fn ms(micros: &Histogram<u64>, percentile: f64) -> f64 {
    micros.value_at_percentile(percentile) as f64 / 1e3
}

fn markdown(all: &[Measured], rounds: u64, seconds: u64, sync: f64) -> String {
    let mut text = String::from("# How long an answer takes at a part of the peak\n\n");
    let _ = writeln!(
        text,
        "Written by `benches/http/latency` on {}, commit {}.\n\n{}; 4 KiB and `fdatasync` {sync:.0} µs. One transfer a request, {} accounts, uniform. Requests come at even \
         distances, whether others were answered or not, and their time counts from the moment at which they were due. Peaks are medians of {rounds} rounds of {seconds} s with {PEAK_CONNECTIONS} \
         connections that are never idle; percentiles are of all rounds together, the last column has the least and the most of them alone.\n",
        machine::date(),
        machine::commit(),
        machine::describe(),
        thousands(ACCOUNTS as f64),
    );
    text.push_str("| | of peak | requests/s | p50 ms | p90 ms | p99 ms | p99.9 ms | p99.99 ms | max ms | p99.9 of single rounds |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for Measured { name, peak, levels } in all {
        let _ = writeln!(text, "| **{name}**, peak {}/s |{}", thousands(*peak), " |".repeat(9));
        for Level { percent, rates, micros, p999 } in levels {
            let least = p999.iter().copied().fold(f64::MAX, f64::min);
            let most = p999.iter().copied().fold(f64::MIN, f64::max);
            let _ =
                write!(text, "| | {percent} % | {} |", thousands(median(rates.iter().copied())));
            for percentile in [50.0, 90.0, 99.0, 99.9, 99.99, 100.0] {
                let _ = write!(text, " {:.2} |", ms(micros, percentile));
            }
            let _ = writeln!(text, " {least:.2}–{most:.2} |");
        }
    }
    text
}

fn main() -> ExitCode {
    let words: Result<Vec<u64>, _> = env::args().skip(1).map(|word| word.parse()).collect();
    let Ok(words) = words else {
        eprintln!("usage: latency [SECONDS] [ROUNDS], all numbers");
        return ExitCode::from(2);
    };
    let word = |at: usize, otherwise: u64| words.get(at).copied().unwrap_or(otherwise).max(1);
    let (seconds, rounds) = (word(0, 10), word(1, 3));
    let sync = sync_micros(&env::temp_dir());
    let mut all = Vec::new();
    {
        let bank = Bank::start(&[], &[]);
        all.push(measure("florin, embedded store", &bank, rounds, seconds));
    }
    {
        let postgres = Postgres::start_with(SETTINGS);
        let url = postgres.url(&postgres.create_database());
        let bank = Bank::start(&[], &[("FLORIN_DATABASE_URL", &url)]);
        all.push(measure("florin, PostgreSQL", &bank, rounds, seconds));
    }
    let text = markdown(&all, rounds, seconds, sync);
    println!("\n{text}");
    if rounds < ROUNDS_WRITTEN {
        println!("not written down: less than {ROUNDS_WRITTEN} rounds");
        return ExitCode::SUCCESS;
    }
    let pictures: Vec<(&str, String)> = all
        .iter()
        .zip(["latency-embedded.svg", "latency-postgresql.svg"])
        .map(|(measured, file)| (file, picture(measured)))
        .collect();
    match results::write("latency", &text, &pictures) {
        Ok(directory) => {
            println!("written to {} and into the README", directory.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("latency: {error}");
            ExitCode::FAILURE
        }
    }
}

fn picture(measured: &Measured) -> String {
    let lines = measured
        .levels
        .iter()
        .map(|level| Line { name: format!("{} % of peak", level.percent), micros: &level.micros });
    let title = format!("{}: from due to answered, open loop", measured.name);
    percentiles(&title, &lines.collect::<Vec<Line<'_>>>())
}
