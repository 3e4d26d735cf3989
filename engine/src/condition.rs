//! Conditions: what must hold of accounts for a transfer or a transaction to happen.
//!
//! They are decided with it, in one step, so that nobody needs to read, compare and try again. They are no part of its content: a retry of
//! what happened is answered with its first outcome, whatever holds now.

use crate::account::Account;
use crate::amount::{AmountInput, AmountTextError, Scale, SignedAmount};
use crate::ids::{AccountId, LedgerId};
use crate::rejection::Rejection;
use crate::state::State;

/// What must hold of one account, as the events before it in its command left it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// Which account.
    pub account_id: AccountId,
    /// How what is found must compare with what is expected.
    pub comparison: Comparison,
    /// What is compared, and with what.
    pub expected: Expected,
}

/// How what is found must compare with what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
}

/// What of an account is compared, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// How many commands have changed it before this one.
    Version(u64),
    /// [`Balances::balance`](crate::Balances::balance).
    Balance(SignedInput),
    /// [`Balances::available`](crate::Balances::available).
    Available(SignedInput),
}

/// A sum as a caller gave it, before the ledger that it is counted in is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SignedInput {
    /// Zero or more.
    Positive(AmountInput),
    /// Below zero by so much.
    Negative(AmountInput),
}

impl SignedInput {
    /// Reads a sum in major units: an amount, with a minus before it where it is below zero.
    ///
    /// # Errors
    /// What follows the minus is no amount: see [`AmountInput::parse`].
    pub fn parse(text: &str) -> Result<SignedInput, AmountTextError> {
        match text.strip_prefix('-') {
            Some(amount) => AmountInput::parse(amount).map(SignedInput::Negative),
            None => AmountInput::parse(text).map(SignedInput::Positive),
        }
    }

    /// The sum in minor units in a ledger of this scale.
    ///
    /// # Errors
    /// See [`AmountInput::resolve`].
    pub fn resolve(self, scale: Scale) -> Result<SignedAmount, AmountTextError> {
        // An amount is below 2^96, so the sign bit is free.
        let minor_units =
            |amount: AmountInput| amount.resolve(scale).map(|amount| amount.minor_units() as i128);
        match self {
            SignedInput::Positive(amount) => minor_units(amount).map(SignedAmount::new),
            SignedInput::Negative(amount) => {
                minor_units(amount).map(|minor_units| SignedAmount::new(-minor_units))
            }
        }
    }
}

impl Condition {
    /// What is expected, as a number beside what `account` has, and the ledger whose digits both have; 0 where they are no money.
    fn compare(
        &self,
        account: &Account,
        scale: Scale,
    ) -> Result<(SignedAmount, SignedAmount, LedgerId), AmountTextError> {
        let Account { balances, flags, overdraft_limit, version, ledger, .. } = account;
        Ok(match self.expected {
            Expected::Version(expected) => {
                let number = |version: u64| SignedAmount::new(i128::from(version));
                (number(expected), number(*version), LedgerId(0))
            }
            Expected::Balance(expected) => {
                (expected.resolve(scale)?, balances.balance(*flags), *ledger)
            }
            Expected::Available(expected) => {
                (expected.resolve(scale)?, balances.available(*flags, *overdraft_limit), *ledger)
            }
        })
    }
}

impl Comparison {
    fn holds(self, found: SignedAmount, expected: SignedAmount) -> bool {
        match self {
            Comparison::Eq => found == expected,
            Comparison::Gt => found > expected,
            Comparison::Gte => found >= expected,
            Comparison::Lt => found < expected,
            Comparison::Lte => found <= expected,
        }
    }
}

impl State {
    /// Whether the sums of the conditions can be read in the ledgers of their accounts.
    pub(crate) fn read_conditions(&self, conditions: &[Condition]) -> Result<(), AmountTextError> {
        conditions.iter().try_for_each(|condition| match self.account(condition.account_id) {
            Some(account) => condition.compare(account, self.scale_of(account)).map(|_| ()),
            None => Ok(()),
        })
    }

    /// Refuses with the first of the conditions that does not hold, and what was found.
    pub(crate) fn rule_conditions(&self, conditions: &[Condition]) -> Result<(), Rejection> {
        for (condition, index) in conditions.iter().zip(0_u32..) {
            let missing = Rejection::ConditionAccountNotFound { condition: index };
            let account = self.account(condition.account_id).ok_or(missing)?;
            let compared = condition.compare(account, self.scale_of(account));
            let (expected, found, ledger) =
                compared.expect("sums were read before anything was decided");
            if !condition.comparison.holds(found, expected) {
                return Err(Rejection::ConditionFailed { condition: index, found, ledger });
            }
        }
        Ok(())
    }

    fn scale_of(&self, account: &Account) -> Scale {
        self.scale(account.ledger).expect("an account's ledger is there")
    }
}
