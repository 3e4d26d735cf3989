//! What a simulation did, in numbers.

use std::fmt;

use florin_persistence::disk::simulated::Operation;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident: $words:literal,)*) => {
        /// How often things happened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Report {
            $($(#[$doc])* pub $name: u64,)*
            /// Operations that failed, by kind.
            pub failed: [u64; Operation::COUNT],
            /// A hash of everything that happened, in order.
            pub trace: u64,
        }

        impl Report {
            /// Adds what another universe did.
            pub fn add(&mut self, other: &Report) {
                $(self.$name += other.$name;)*
                for (sum, failed) in self.failed.iter_mut().zip(other.failed) {
                    *sum += failed;
                }
                self.trace = (self.trace.rotate_left(7) ^ other.trace).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
        }

        impl fmt::Display for Report {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(writeln!(f, "{:>12}  {}", self.$name, $words)?;)*
                for ((_, name), failed) in Operation::NAMES.iter().zip(self.failed) {
                    writeln!(f, "{failed:>12}  failures: {name}")?;
                }
                write!(f, "{:016x}  trace", self.trace)
            }
        }
    };
}

counts! {
    /// Ledgers that were simulated, each from its first start.
    universes: "universes",
    /// Steps taken.
    steps: "steps",
    /// Operations of disks, indexes and stores.
    operations: "operations of disk, index and store",
    /// Commands delivered, retries and duplicates too.
    delivered: "commands delivered",
    /// Of those, sent before.
    repeated: "of them retries and duplicates",
    /// Commands that were answered.
    acknowledged: "commands acknowledged",
    /// Commands whose caller learnt nothing.
    unknown: "commands with an unknown outcome",
    /// Commands that found no place.
    refused: "commands refused for want of room",
    /// Reads that were answered.
    reads: "reads answered",
    /// Records that became durable.
    records: "records",
    /// Times that the power went.
    power_losses: "power losses",
    /// Of those, in the middle of an operation.
    amid_operations: "of them amid an operation",
    /// Times that the process was killed.
    kills: "kills",
    /// Times that the process stopped by itself.
    fail_stops: "stops after a failure",
    /// Times that it stopped as told to.
    stops: "stops as told",
    /// Starts that succeeded.
    starts: "starts",
    /// Starts that a fault kept from succeeding.
    failed_starts: "starts that failed for a fault",
    /// Starts from a snapshot.
    snapshot_starts: "starts from a snapshot",
    /// Starts that cut a torn tail.
    torn_tails: "starts that cut a torn tail",
    /// Segments that were removed.
    removed: "journal segments removed",
    /// Damage done to what was synced.
    damages: "damages done to what was synced",
    /// Of those, found at the start.
    damages_found: "of them found at the start",
    /// Reads that came in pieces.
    short_reads: "short reads",
    /// Operations that met a full disk.
    full: "operations on a full disk",
    /// Times that another process took the store.
    take_overs: "stores taken over by another writer",
    /// Times that the clock jumped.
    clock_jumps: "clock jumps",
    /// Times that the store was compared with the ledger as a whole.
    caught_up: "stores that caught up",
}
