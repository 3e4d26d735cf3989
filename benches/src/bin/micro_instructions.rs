//! How many instructions a step of each case takes, with gungraun, which counts them in valgrind: the same in each run where nothing has changed,
//! however busy the machine. `benches/micro` starts it.

#![allow(missing_docs, unreachable_pub, reason = "what the macros of gungraun make has neither")]

use florin_benches::micro::{Case, Instructions, Named, all};
use gungraun::{library_benchmark, library_benchmark_group, main};

/// Steps before the one that counts, so that tables and buffers have grown.
const STEPS_BEFORE: usize = 3;

fn counted() -> impl Iterator<Item = Named> {
    all().into_iter().filter(|named| named.instructions == Instructions::Same)
}

fn prepared(place: usize) -> Box<dyn Case> {
    let named = counted().nth(place).expect("there are so many");
    let mut case = (named.begin)();
    for _ in 0..STEPS_BEFORE {
        case.prepare();
        case.step();
    }
    case.prepare();
    case
}

fn places() -> Vec<usize> {
    (0..counted().count()).collect()
}

// Gives the case back, so that it is dropped outside.
#[library_benchmark]
#[benches::case(iter = places(), setup = prepared)]
fn step(mut case: Box<dyn Case>) -> Box<dyn Case> {
    case.step();
    case
}

library_benchmark_group!(name = steps, benchmarks = step);
main!(library_benchmark_groups = steps);
