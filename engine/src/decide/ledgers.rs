//! The rules of ledgers.

use super::{Deciding, rejected};
use crate::command::CreateLedger;
use crate::ledger::Ledger;
use crate::record::{Event, ItemOutcome};
use crate::rejection::Rejection;
use crate::state::State;

impl State {
    pub(super) fn decide_ledger(&mut self, deciding: &mut Deciding, asked: CreateLedger) -> u32 {
        match self.rule_ledger(&asked) {
            Ok(()) => {
                let CreateLedger { id, currency, scale, name } = asked;
                let ledger = Ledger { id, currency, scale, name, timestamp: deciding.timestamp };
                self.apply_ledger_created(ledger.clone());
                deciding.events.push(Event::LedgerCreated(ledger));
            }
            Err(outcome) => deciding.exceptions.push((0, outcome)),
        }
        1
    }

    fn rule_ledger(&self, asked: &CreateLedger) -> Result<(), ItemOutcome> {
        if asked.id.0 == 0 {
            return rejected(Rejection::IdMustNotBeZero);
        }
        let Some(existing) = self.ledger(asked.id).map(|state| &state.ledger) else {
            return Ok(());
        };
        if existing.currency != asked.currency {
            return rejected(Rejection::ExistsWithDifferentCurrency);
        }
        if existing.scale != asked.scale {
            return rejected(Rejection::ExistsWithDifferentScale);
        }
        if existing.name != asked.name {
            return rejected(Rejection::ExistsWithDifferentName);
        }
        Err(ItemOutcome::Exists { seq: self.seq, timestamp: existing.timestamp })
    }
}
