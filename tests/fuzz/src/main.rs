//! The fuzzer. Which target it runs is in the environment, so that one program has them all.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// Names the target.
const TARGET: &str = "FLORIN_FUZZ_TARGET";

static CHOSEN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var(TARGET).unwrap_or_default();
    florin_fuzz::target(&name).unwrap_or_else(|| panic!("{TARGET} names no target: {name:?}"))
});

fuzz_target!(|data: &[u8]| CHOSEN(data));
