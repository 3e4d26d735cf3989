//! Reading the amounts of a command, before anything of it is decided.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::{Unreadable, WHOLE_TRANSACTION};
use crate::amount::{Amount, AmountInput, Scale};
use crate::command::{Command, CreateAccount, CreateTransfer};
use crate::condition::Condition;
use crate::decided::DecidedBefore;
use crate::ids::{LedgerId, TransferId};
use crate::state::State;

impl State {
    /// The amounts of a command in minor units, in the order of its items. Where no ledger is known the item will be refused
    /// before its amount matters, and zero stands in.
    pub(super) fn read_amounts(
        &self,
        command: &Command,
        before: &mut dyn DecidedBefore,
    ) -> Result<Vec<Amount>, Unreadable> {
        let account = |index: usize, asked: &CreateAccount| {
            let scale = || self.scale(asked.ledger);
            read_amount(asked.overdraft_limit, index, "overdraft_limit", scale)
        };
        match command {
            Command::CreateLedger(_) => Ok(Vec::new()),
            Command::CreateAccounts(accounts) => {
                accounts.iter().enumerate().map(|(index, asked)| account(index, asked)).collect()
            }
            Command::CreateTransfers(transfers) => self.read_transfers(transfers, before),
            Command::CreateTransaction(transaction) => {
                self.readable_conditions(WHOLE_TRANSACTION, &transaction.conditions)?;
                self.read_transfers(&transaction.transfers, before)
            }
            Command::SetOverdraftLimit(set) => {
                let scale = || self.scale(self.account(set.account_id)?.ledger);
                Ok(vec![read_amount(set.overdraft_limit, 0, "overdraft_limit", scale)?])
            }
            Command::ReverseTransfer(reverse) => {
                self.readable_conditions(0, &reverse.conditions)?;
                Ok(Vec::new())
            }
            Command::ReverseTransaction(reverse) => {
                self.readable_conditions(WHOLE_TRANSACTION, &reverse.conditions)?;
                Ok(Vec::new())
            }
            Command::ExpirePending(_) | Command::ReplaceMetadata(_) => Ok(Vec::new()),
            Command::OpenAccount(open) => Ok(vec![
                account(0, &open.account)?,
                read_amount(open.balance, 0, "balance", || self.scale(open.account.ledger))?,
            ]),
        }
    }

    fn read_transfers(
        &self,
        transfers: &[CreateTransfer],
        before: &mut dyn DecidedBefore,
    ) -> Result<Vec<Amount>, Unreadable> {
        // Made when a post or void is met whose pending transfer may be in the same command.
        let by_id = OnceCell::new();
        let mut ledger = |asked: &CreateTransfer| {
            if asked.flags.settlement().is_none() {
                return self.ledger_of(asked);
            }
            let known = self.ledger_of(asked).or_else(|| self.ledger_of_pending(asked, before));
            known.or_else(|| {
                let by_id: &HashMap<TransferId, usize> = by_id.get_or_init(|| {
                    let ids = transfers.iter().enumerate().map(|(index, asked)| (asked.id, index));
                    // Of two with one id the first is the one that can happen.
                    ids.rev().collect()
                });
                self.ledger_of(&transfers[*by_id.get(&asked.pending_id)?])
            })
        };
        let mut read = |(index, asked): (usize, &CreateTransfer)| {
            self.readable_conditions(index as u32, &asked.conditions)?;
            read_amount(asked.amount, index, "amount", || self.scale(ledger(asked)?))
        };
        // Collecting results does not know how many there will be, and grows step by step.
        let mut amounts = Vec::with_capacity(transfers.len());
        for asked in transfers.iter().enumerate() {
            amounts.push(read(asked)?);
        }
        Ok(amounts)
    }

    fn readable_conditions(&self, index: u32, conditions: &[Condition]) -> Result<(), Unreadable> {
        let field = "conditions";
        self.read_conditions(conditions).map_err(|reason| Unreadable { index, field, reason })
    }

    /// The ledger of the transfer that a post or void settles, open or settled before.
    #[inline(never)]
    fn ledger_of_pending(
        &self,
        asked: &CreateTransfer,
        before: &mut dyn DecidedBefore,
    ) -> Option<LedgerId> {
        let id = asked.pending_id;
        if let Some(pending) = self.pending.get(id) {
            return Some(self.accounts.at(pending.debit).account.ledger);
        }
        let ended = self.settled.get(id.0).or_else(|| before.settled(id))?;
        ended.ledger_of_ended()
    }

    /// The ledger of a transfer: the one named, else that of the debit account.
    pub(super) fn ledger_of(&self, asked: &CreateTransfer) -> Option<LedgerId> {
        let named = asked.ledger.filter(|ledger| {
            // A post or void leaves its ledger open by 0 too.
            ledger.0 != 0 || asked.flags.settlement().is_none()
        });
        named.or_else(|| self.account(asked.debit_account_id).map(|debit| debit.ledger))
    }
}

fn read_amount(
    input: AmountInput,
    index: usize,
    field: &'static str,
    scale: impl FnOnce() -> Option<Scale>,
) -> Result<Amount, Unreadable> {
    if let AmountInput::Minor(amount) = input {
        return Ok(amount);
    }
    let Some(scale) = scale() else { return Ok(Amount::ZERO) };
    input.resolve(scale).map_err(|reason| Unreadable { index: index as u32, field, reason })
}
