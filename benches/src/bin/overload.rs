//! `tests/overload`: how much is done while three times as much is asked for as can be done.

use std::env;
use std::process::ExitCode;

use florin_benches::bank::{Bank, transfers};
use florin_benches::figures::{median, thousands};
use florin_benches::open_loop::{OpenLoop, Times};

/// The peak is what as many connections get that are never idle.
const PEAK_CONNECTIONS: usize = 64;
/// Of those that ask for too much: each has one request under way.
const CONNECTIONS: usize = 2_000;
const TIMES_THE_PEAK: f64 = 3.0;
/// Runs of the program as shipped. It depends on what is put off meanwhile, such as the index, how fast one is.
const ROUNDS: usize = 5;
/// What must be left of the peak.
const GOODPUT_MIN: f64 = 0.8;
fn send(bank: &Bank, connections: usize, seconds: u64, rate: Option<f64>) -> Times {
    let address = bank.server.address();
    let load = OpenLoop { address, connections, seconds, rate, refusal: Some(503) };
    load.run("/v1/transfers", transfers(), 201).unwrap_or_else(|error| panic!("{error}"))
}

fn main() -> ExitCode {
    let seconds = env::args().nth(1).map_or(Ok(10), |word| word.parse());
    let Ok(seconds) = seconds else {
        eprintln!("usage: overload [SECONDS]");
        return ExitCode::from(2);
    };
    let part = |events| {
        let bank = Bank::start(&["--events-in-flight", events], &[]);
        bank.create_accounts();
        let _ = send(&bank, PEAK_CONNECTIONS, 1, None);
        let peak = send(&bank, PEAK_CONNECTIONS, seconds, None).rate;
        let asked = peak * TIMES_THE_PEAK;
        let times = send(&bank, CONNECTIONS, seconds, Some(asked));
        let part = times.rate / peak;
        println!(
            "{events} events in flight: peak {}/s; of {}/s asked for {}/s done ({part:.2} of the peak), {} refused",
            thousands(peak),
            thousands(asked),
            thousands(times.rate),
            thousands(times.refused as f64),
        );
        part
    };
    // With the bound as shipped the requests wait.
    let parts: Vec<f64> = (0..ROUNDS).map(|_| part("65536")).collect();
    let kept = median(parts);
    println!("kept of the peak, median of {ROUNDS}: {kept:.2}; {GOODPUT_MIN} asked");
    // With a small one most are refused and ask again at once, which takes as much of HTTP as an answer.
    println!("most refused, for comparison:");
    part("256");
    if kept >= GOODPUT_MIN { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
