//! The rules of what changes an account beside transfers: its overdraft limit and its metadata.

use super::{Deciding, check};
use crate::account::AccountFlags;
use crate::accounts::Slot;
use crate::amount::Amount;
use crate::command::{ReplaceMetadata, SetOverdraftLimit};
use crate::ids::AccountId;
use crate::record::{Event, ItemOutcome, MetadataReplaced, OverdraftLimitChanged};
use crate::rejection::Rejection;
use crate::state::State;

impl State {
    #[inline(never)]
    pub(super) fn decide_overdraft_limit(
        &mut self,
        deciding: &mut Deciding,
        asked: SetOverdraftLimit,
        overdraft_limit: Amount,
    ) -> u32 {
        match self.rule_overdraft_limit(asked.account_id, overdraft_limit) {
            Ok(slot) => {
                let before = self.accounts.at(slot).account.overdraft_limit;
                let account = self.apply_overdraft_limit(slot, overdraft_limit);
                let timestamp = deciding.timestamp;
                let changed = OverdraftLimitChanged { account, before, overdraft_limit, timestamp };
                deciding.events.push(Event::OverdraftLimitChanged(changed));
            }
            Err(rejection) => deciding.exceptions.push((0, ItemOutcome::Rejected(rejection))),
        }
        1
    }

    fn rule_overdraft_limit(&self, id: AccountId, limit: Amount) -> Result<Slot, Rejection> {
        let slot = self.accounts.find(id).ok_or(Rejection::AccountToChangeNotFound)?;
        let flags = self.accounts.at(slot).account.flags;
        let limited = flags.contains(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS)
            || flags.contains(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
        check(limited || limit.is_zero(), Rejection::OverdraftLimitMustBeZero)?;
        Ok(slot)
    }

    #[inline(never)]
    pub(super) fn decide_metadata(
        &mut self,
        deciding: &mut Deciding,
        asked: ReplaceMetadata,
    ) -> u32 {
        let Some(slot) = self.accounts.find(asked.account_id) else {
            let outcome = ItemOutcome::Rejected(Rejection::AccountToChangeNotFound);
            deciding.exceptions.push((0, outcome));
            return 1;
        };
        let account = &self.accounts.at(slot).account;
        let (before, digest_before) = (account.metadata_seq, account.metadata_digest);
        let metadata = asked.metadata;
        let account = self.apply_metadata(slot, metadata.as_ref());
        let timestamp = deciding.timestamp;
        let replaced = MetadataReplaced { account, before, digest_before, metadata, timestamp };
        deciding.events.push(Event::MetadataReplaced(replaced));
        1
    }
}
