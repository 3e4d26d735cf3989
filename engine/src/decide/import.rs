//! What an imported event says of its moment, ruled before anything else of it.

use super::{check, rejected};
use crate::account::AccountFlags;
use crate::asking::Asking;
use crate::command::{CreateAccount, CreateTransfer};
use crate::ids::Timestamp;
use crate::record::ItemOutcome;
use crate::rejection::Rejection;
use crate::transfer::TransferFlags;

/// Whether a batch imports, as its first event says, and up to when.
#[derive(Clone, Copy)]
pub(super) struct Import {
    imports: bool,
    /// The timestamp of the batch's last event.
    now: Timestamp,
}

impl Import {
    pub(super) fn of_accounts(accounts: &[CreateAccount], begin: Timestamp) -> Import {
        let first = accounts.first();
        let imports = first.is_some_and(|first| first.flags.contains(AccountFlags::IMPORTED));
        Import { imports, now: last_of(begin, accounts.len()) }
    }

    pub(super) fn of_transfers(transfers: &[CreateTransfer], begin: Timestamp) -> Import {
        Import {
            imports: transfers.first().is_some_and(is_imported),
            now: last_of(begin, transfers.len()),
        }
    }

    pub(super) fn of_legs(legs: &[Asking<'_>], begin: Timestamp) -> Import {
        let imports = legs.first().is_some_and(|leg| is_imported(leg.item));
        // The transaction's own timestamp stands before those of its legs.
        Import { imports, now: last_of(begin, legs.len() + 1) }
    }

    pub(super) fn rule_account(self, asked: &CreateAccount) -> Result<(), ItemOutcome> {
        self.rule(asked.flags.contains(AccountFlags::IMPORTED), asked.timestamp)
    }

    #[inline]
    pub(super) fn rule_transfer(self, asked: &CreateTransfer) -> Result<(), ItemOutcome> {
        self.rule(is_imported(asked), asked.timestamp)
    }

    #[inline]
    fn rule(self, is_imported: bool, timestamp: Timestamp) -> Result<(), ItemOutcome> {
        match (self.imports, is_imported) {
            (false, false) => check(timestamp.0 == 0, Rejection::TimestampMustBeZero)
                .map_err(ItemOutcome::Rejected),
            (true, true) => self.rule_moment(timestamp).map_err(ItemOutcome::Rejected),
            (true, false) => rejected(Rejection::ImportedEventExpected),
            (false, true) => rejected(Rejection::ImportedEventNotExpected),
        }
    }

    fn rule_moment(self, timestamp: Timestamp) -> Result<(), Rejection> {
        let in_range = timestamp.0 != 0 && timestamp.0 < 1 << 63;
        check(in_range, Rejection::ImportedEventTimestampOutOfRange)?;
        check(timestamp < self.now, Rejection::ImportedEventTimestampMustNotAdvance)
    }
}

fn is_imported(asked: &CreateTransfer) -> bool {
    asked.flags.contains(TransferFlags::IMPORTED)
}

fn last_of(begin: Timestamp, events: usize) -> Timestamp {
    begin.plus((events as u64).saturating_sub(1))
}
