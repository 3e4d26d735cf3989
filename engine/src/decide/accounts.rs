//! The rules of accounts, and of one that opens with a balance.

use super::{Deciding, Import, Item, rejected};
use crate::account::{Account, AccountFlags};
use crate::amount::{Amount, AmountInput};
use crate::asking::Asking;
use crate::command::{CreateAccount, CreateTransfer, OpenAccount};
use crate::decided::DecidedBefore;
use crate::ids::{AccountId, LedgerId, Timestamp, TransferId};
use crate::record::{AccountCreated, Event, ItemOutcome};
use crate::rejection::{Field, Rejection};
use crate::state::State;
use crate::transfer::metadata_digest;

impl State {
    pub(super) fn decide_accounts(
        &mut self,
        deciding: &mut Deciding,
        accounts: Vec<CreateAccount>,
        limits: &[Amount],
    ) -> u32 {
        let items = accounts.len() as u32;
        let import = Import::of_accounts(&accounts, deciding.timestamp);
        for (index, (asked, limit)) in accounts.into_iter().zip(limits).enumerate() {
            let index = index as u32;
            let item = Item {
                index,
                last: index == items - 1,
                linked: asked.flags.contains(AccountFlags::LINKED),
                burns: None,
            };
            self.chain_item(deciding, item, |state, deciding| {
                import.rule_account(&asked)?;
                state.rule_account(&asked, *limit)?;
                let timestamp = deciding.timestamp.plus(u64::from(index));
                state.create_account(deciding, asked, *limit, timestamp);
                Ok(())
            });
        }
        items
    }

    fn create_account(
        &mut self,
        deciding: &mut Deciding,
        asked: CreateAccount,
        overdraft_limit: Amount,
        timestamp: Timestamp,
    ) {
        let imported = asked.flags.contains(AccountFlags::IMPORTED);
        let timestamp = if imported { asked.timestamp } else { timestamp };
        let created = AccountCreated {
            id: asked.id,
            external_id: asked.external_id,
            ledger: asked.ledger,
            code: asked.code,
            flags: asked.flags,
            overdraft_limit,
            user_data_128: asked.user_data_128,
            user_data_64: asked.user_data_64,
            user_data_32: asked.user_data_32,
            timestamp,
            metadata: asked.metadata,
        };
        self.apply_account_created(&created);
        deciding.events.push(Event::AccountCreated(created));
    }

    fn rule_account(&self, asked: &CreateAccount, limit: Amount) -> Result<(), ItemOutcome> {
        if asked.id.0 == 0 {
            return rejected(Rejection::IdMustNotBeZero);
        }
        if asked.id.0 == u128::MAX {
            return rejected(Rejection::IdMustNotBeIntMax);
        }
        if let Some(existing) = self.account(asked.id) {
            return Err(self.account_exists(existing, asked, limit));
        }
        let both = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS
            .with(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
        if asked.flags.contains(both) {
            return rejected(Rejection::FlagsAreMutuallyExclusive);
        }
        if asked.ledger.0 == 0 {
            return rejected(Rejection::LedgerMustNotBeZero);
        }
        if self.ledger(asked.ledger).is_none() {
            return rejected(Rejection::LedgerNotFound { ledger: asked.ledger });
        }
        if asked.code.0 == 0 {
            return rejected(Rejection::CodeMustNotBeZero);
        }
        if asked.flags.contains(AccountFlags::IMPORTED)
            && !self.moments.admit_account(asked.timestamp)
        {
            return rejected(Rejection::ImportedEventTimestampMustNotRegress);
        }
        if !limit.is_zero() && asked.flags.without(both) == asked.flags {
            return rejected(Rejection::OverdraftLimitMustBeZero);
        }
        Ok(())
    }

    fn account_exists(
        &self,
        existing: &Account,
        asked: &CreateAccount,
        limit: Amount,
    ) -> ItemOutcome {
        let differs = if existing.flags != asked.flags {
            Field::Flags
        } else if existing.user_data_128 != asked.user_data_128 {
            Field::UserData128
        } else if existing.user_data_64 != asked.user_data_64 {
            Field::UserData64
        } else if existing.user_data_32 != asked.user_data_32 {
            Field::UserData32
        } else if existing.ledger != asked.ledger {
            Field::Ledger
        } else if existing.code != asked.code {
            Field::Code
        } else if existing.overdraft_limit != limit {
            Field::OverdraftLimit
        } else if existing.metadata_digest != metadata_digest(asked.metadata.as_ref()) {
            Field::Metadata
        } else {
            return ItemOutcome::Exists { seq: self.seq, timestamp: existing.timestamp };
        };
        ItemOutcome::Rejected(Rejection::exists_with_different(differs))
    }

    // --- opening an account with a balance -------------------------------------------------------------------------------

    pub(super) fn decide_open_account(
        &mut self,
        deciding: &mut Deciding,
        asked: OpenAccount,
        amounts: &[Amount],
        before: &mut dyn DecidedBefore,
    ) -> u32 {
        let (limit, balance) = (amounts[0], amounts[1]);
        let id = asked.account.id;
        let chain = self.open_chain(deciding, 0);
        let import = Import::of_accounts(std::slice::from_ref(&asked.account), deciding.timestamp);
        let ruled = import.rule_account(&asked.account);
        let outcome = match ruled.and_then(|()| self.rule_account(&asked.account, limit)) {
            Ok(()) => self.open_account(deciding, asked.account, limit, balance, before),
            Err(ItemOutcome::Exists { seq, timestamp }) => self
                .same_opening(id, balance, before)
                .and(Err(ItemOutcome::Exists { seq, timestamp })),
            Err(refused) => Err(refused),
        };
        if let Err(outcome) = outcome {
            self.roll_back(deciding, chain);
            deciding.exceptions.push((0, outcome));
        }
        1
    }

    fn open_account(
        &mut self,
        deciding: &mut Deciding,
        account: CreateAccount,
        limit: Amount,
        balance: Amount,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        let (id, ledger, timestamp) = (account.id, account.ledger, deciding.timestamp);
        let opening = AccountId::of_opening(ledger);
        if !balance.is_zero() && self.accounts.find(opening).is_none() {
            let account = CreateAccount { ledger, ..CreateAccount::new(opening) };
            self.create_account(deciding, account, Amount::ZERO, timestamp);
        }
        self.create_account(deciding, account, limit, timestamp.plus(1));
        if balance.is_zero() {
            return Ok(());
        }
        let item = opening_transfer(id, ledger, balance);
        let asking = opening_asking(&item, balance, ledger);
        self.create_transfer(deciding, 0, asking, None, timestamp.plus(2), before)
    }

    /// Whether an account that exists was opened with this balance.
    fn same_opening(
        &self,
        id: AccountId,
        balance: Amount,
        before: &mut dyn DecidedBefore,
    ) -> Result<(), ItemOutcome> {
        let transfer = TransferId::of_opening(id);
        let opened = self.ids.known(transfer, before);
        let same = match (opened, self.account(id)) {
            (Some(decided), Some(account)) => {
                let ledger = account.ledger;
                let item = opening_transfer(id, ledger, balance);
                let asking = opening_asking(&item, balance, ledger);
                decided.digest == asking.content_digest()
            }
            _ => balance.is_zero(),
        };
        if same { Ok(()) } else { rejected(Rejection::ExistsWithDifferentBalance) }
    }
}

fn opening_asking(item: &CreateTransfer, amount: Amount, ledger: LedgerId) -> Asking<'_> {
    Asking { item, amount, ledger, transaction_id: None, reverses: TransferId(0) }
}

/// The transfer that gives an account its opening balance.
fn opening_transfer(account: AccountId, ledger: LedgerId, balance: Amount) -> CreateTransfer {
    let (id, from) = (TransferId::of_opening(account), AccountId::of_opening(ledger));
    CreateTransfer {
        ledger: Some(ledger),
        ..CreateTransfer::new(id, from, account, AmountInput::Minor(balance))
    }
}
