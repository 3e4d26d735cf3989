//! The scripts that change what stands in Redis. Each happens as a whole or, when its first comparison fails, not at all.
//!
//! They are told in full each time: less than a kilobyte, a few microseconds of Redis' time, and no state of the server to depend on.

/// Begins an epoch, unless another writer's may not be taken over; gives the epoch, or the one that stands and stays.
pub(super) const BEGIN: &str = include_str!("begin.lua");
/// Makes a step; gives 1, or 0 when another epoch or step stands there.
pub(super) const STEP: &str = include_str!("step.lua");
/// Brings an account in; gives 1, or 0 when only its static part, or nothing, could be taken.
pub(super) const FILL: &str = include_str!("fill.lua");
