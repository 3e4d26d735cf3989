//! How many minor units an amount is: all amounts of a command are read before anything of it is decided.

use florin_engine::{
    AmountInput, AmountTextError, Command, CreateAccount, CreateTransfer, TransferFlags, Unreadable,
};

use super::transfers::is_settling;
use super::{AMOUNT_MAX, Book};

impl Book {
    /// The minor units of each event's amount, in order; the first that can not be read refuses the whole command.
    pub(super) fn read(&self, command: &Command) -> Result<Vec<u128>, Unreadable> {
        let read = |amounts: Vec<(AmountInput, Option<u8>)>, field| {
            let amounts = (0..).zip(amounts).map(|(index, (amount, digits))| {
                minor(amount, digits).map_err(|reason| Unreadable { index, field, reason })
            });
            amounts.collect()
        };
        match command {
            Command::CreateLedger(_) | Command::ExpirePending(_) | Command::ReplaceMetadata(_) => {
                Ok(Vec::new())
            }
            Command::SetOverdraftLimit(set) => {
                let account = self.accounts.get(&set.account_id.0);
                let digits = account.and_then(|account| self.digits(account.ledger));
                read(vec![(set.overdraft_limit, digits)], "overdraft_limit")
            }
            Command::CreateAccounts(accounts) => {
                let limit =
                    |asked: &CreateAccount| (asked.overdraft_limit, self.digits(asked.ledger.0));
                read(accounts.iter().map(limit).collect(), "overdraft_limit")
            }
            Command::CreateTransfers(transfers) => read(self.amounts(transfers), "amount"),
            Command::CreateTransaction(transaction) => {
                read(self.amounts(&transaction.transfers), "amount")
            }
            Command::OpenAccount(_)
            | Command::ReverseTransfer(_)
            | Command::ReverseTransaction(_) => unreachable!("{}", super::NOT_MODELED),
        }
    }

    fn amounts(&self, transfers: &[CreateTransfer]) -> Vec<(AmountInput, Option<u8>)> {
        let amount = |asked: &CreateTransfer| {
            let ledger = self.ledger_of(asked, transfers);
            (asked.amount, ledger.and_then(|ledger| self.digits(ledger)))
        };
        transfers.iter().map(amount).collect()
    }

    /// The ledger that a transfer counts in: the one it names, else that of its debit account, else that of its pending transfer. Where
    /// that one comes in the same batch, the one that it names or that of its debit account.
    fn ledger_of(&self, asked: &CreateTransfer, batch: &[CreateTransfer]) -> Option<u32> {
        let settles = is_settling(asked.flags);
        let id = asked.pending_id;
        let of_pending = || {
            let pending = self.transfers.get(&id.0).filter(|_| settles)?;
            let is_pending = pending.asked.flags.contains(TransferFlags::PENDING);
            is_pending.then_some(pending.ledger)
        };
        let of_batch = || {
            let other = batch.iter().find(|other| settles && other.id == id)?;
            named(other).or_else(|| self.ledger_of_debit_account(other))
        };
        let of_debit_account = || self.ledger_of_debit_account(asked);
        named(asked).or_else(of_debit_account).or_else(of_pending).or_else(of_batch)
    }

    fn ledger_of_debit_account(&self, asked: &CreateTransfer) -> Option<u32> {
        self.accounts.get(&asked.debit_account_id.0).map(|account| account.ledger)
    }

    fn digits(&self, ledger: u32) -> Option<u8> {
        self.ledgers.get(&ledger).map(|ledger| ledger.scale)
    }
}

/// The ledger that it names; for a post or void, 0 names none.
fn named(asked: &CreateTransfer) -> Option<u32> {
    let named = asked.ledger.map(|ledger| ledger.0);
    named.filter(|ledger| *ledger != 0 || !is_settling(asked.flags))
}

/// An amount of a ledger that is not known is none: what asks for it is refused for that reason.
fn minor(amount: AmountInput, digits: Option<u8>) -> Result<u128, AmountTextError> {
    let decimal = match amount {
        AmountInput::Minor(amount) => return Ok(amount.minor_units()),
        AmountInput::Major(decimal) => decimal,
    };
    let Some(digits) = digits else { return Ok(0) };
    let missing =
        u32::from(digits).checked_sub(decimal.scale()).ok_or(AmountTextError::TooManyDigits)?;
    let minor = decimal.mantissa().unsigned_abs().checked_mul(10_u128.pow(missing));
    minor.filter(|minor| *minor <= AMOUNT_MAX).ok_or(AmountTextError::TooLarge)
}
