//! How many files a server may have open, and how many of them may be connections.
//!
//! A connection is a file like the journal's segments. If connections had them all, the journal could not begin its next segment and the
//! ledger would end; so some are kept from them, and who comes when the others are taken waits in the listener's queue.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Files that connections leave: those of the journal, the store, the index of decided ids and the cache, with room to spare. Of a small limit a
/// quarter.
const KEPT_MAX: u64 = 512;

/// Raises the limit on open files as far as it may be raised without rights, and returns it. Shells and service managers start programs with a low
/// one for the sake of those that use `select`, which nothing here does.
pub(super) fn raise_limit() -> u64 {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => found.maximum,
        Err(error) => {
            debug!(%error, "the limit on open files stays as it is");
            found.current
        }
    };
    limit.unwrap_or(u64::MAX)
}

/// How many of so many files may be connections.
pub(super) fn for_connections(files: u64) -> usize {
    let kept = (files / 4).min(KEPT_MAX);
    usize::try_from(files - kept).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_from_connections() {
        for (files, connections) in [(1_000_000, 999_488), (4_096, 3_584), (1_024, 768), (0, 0)] {
            assert_eq!(for_connections(files), connections, "{files}");
        }
    }

    #[test]
    fn the_limit_is_raised_to_what_may_be() {
        let limit = raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), limit);
        assert_eq!(raise_limit(), limit);
    }
}
