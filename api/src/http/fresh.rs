//! Ids for transfers and transactions that the caller named none for: UUIDs of version 7.
//!
//! Each thread has a source of its own, seeded once by the operating system, so that an id costs no system call and no lock:
//! a batch asks for thousands. Within a thread ids increase; between threads 62 random bits keep them apart.

use std::cell::RefCell;

use florin_engine::TransferId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::{NoContext, Timestamp, Uuid};

/// Ids of one thread within one millisecond; past it the next millisecond is borrowed.
const COUNT_MAX: u16 = 0xfff;

/// Makes ids.
struct Source {
    random: StdRng,
    /// Of the newest id, in milliseconds since 1970.
    millis: u64,
    /// How many ids that millisecond had before the newest.
    count: u16,
}

impl Source {
    fn new() -> Source {
        // Each carries 74 bits from the operating system, two thirds of them in its lower half.
        let mut seed = [0; 32];
        for part in seed.chunks_exact_mut(8) {
            part.copy_from_slice(&(Uuid::now_v7().as_u128() as u64).to_le_bytes());
        }
        Source { random: StdRng::from_seed(seed), millis: 0, count: 0 }
    }

    fn next(&mut self, now_millis: u64) -> u128 {
        if now_millis > self.millis {
            self.millis = now_millis;
            self.count = 0;
        } else if self.count < COUNT_MAX {
            self.count += 1;
        } else {
            // A clock that was set back, or a very large batch.
            self.millis += 1;
            self.count = 0;
        }
        let random = self.random.next_u64() >> 2;
        u128::from(self.millis & 0xffff_ffff_ffff) << 80
            | 0x7 << 76
            | u128::from(self.count) << 64
            | 0b10 << 62
            | u128::from(random)
    }
}

/// Makes the id of a transfer or transaction for which the caller named none.
pub(crate) fn fresh_id() -> TransferId {
    thread_local! {
        static SOURCE: RefCell<Source> = RefCell::new(Source::new());
    }
    let (seconds, nanoseconds) = Timestamp::now(NoContext).to_unix();
    let millis = seconds * 1000 + u64::from(nanoseconds) / 1_000_000;
    SOURCE.with_borrow_mut(|source| TransferId(source.next(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_of_version_7_that_increase() {
        let mut source = Source::new();
        let mut last = 0;
        // The clock stands, goes back, and goes on.
        for now in std::iter::repeat_n(1_763_000_000_000, 10_000).chain([1, 1_763_000_000_009]) {
            let id = source.next(now);
            assert!(id > last, "{id:x} after {last:x}");
            let uuid = Uuid::from_u128(id);
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
            last = id;
        }
        assert_eq!((last >> 80) as u64, 1_763_000_000_009);
    }

    #[test]
    fn threads_make_different_ids() {
        let make = || (0..1000).map(|_| fresh_id()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let mut ids: Vec<_> = threads.into_iter().flat_map(|it| it.join().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4000);
    }
}
