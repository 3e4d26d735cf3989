//! Everything that the fuzzer found worth keeping, and what is next to it, through the same functions.

use std::fs;
use std::path::{Path, PathBuf};

use florin_fuzz::TARGETS;

/// So many changed inputs of each target, which is a second or two for all of them.
const CHANGED: u64 = 20_000;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", dir.display());
    paths.into_iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// A small generator of numbers: every run tries the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() as usize) % end.max(1)
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(input.len() + 1);
        let end = (at + numbers.below(9)).min(input.len());
        match numbers.below(5) {
            0 if at < input.len() => input[at] ^= 1 << numbers.below(8),
            1 if at < input.len() => input[at] = numbers.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => input.insert(at, numbers.next() as u8),
            _ => {
                let from = numbers.below(other.len() + 1);
                let upto = (from + numbers.below(33)).min(other.len());
                drop(input.splice(at..end, other[from..upto].iter().copied()));
            }
        }
    }
}

#[test]
fn what_was_found_stays_found() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            target(&input);
        }
    }
}

#[test]
fn what_is_next_to_it_holds_too() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        let mut numbers = Numbers(0x5eed);
        for _ in 0..CHANGED {
            let mut input = corpus[numbers.below(corpus.len())].clone();
            let other = &corpus[numbers.below(corpus.len())];
            change(&mut input, other, &mut numbers);
            target(&input);
        }
    }
}
