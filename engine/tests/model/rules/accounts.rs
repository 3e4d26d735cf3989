//! `create_accounts`.

use florin_engine::{
    AccountFlags, CreateAccount, Field, Rejection, ReplaceMetadata, SetOverdraftLimit,
};

use super::{
    Account, Book, Happened, Head, ID_MAX, Moments, Rule, Status, exists_unless, refuse_if,
};

impl Book {
    pub(super) fn create_accounts(
        &mut self,
        accounts: &[CreateAccount],
        limits: &[u128],
        at: Moments,
    ) -> Vec<Status> {
        let head = |account: &CreateAccount| Head {
            linked: account.flags.contains(AccountFlags::LINKED),
            imported: account.flags.contains(AccountFlags::IMPORTED),
            timestamp: account.timestamp.0,
            // No refusal of an account is transient.
            burns: None,
        };
        let heads: Vec<Head> = accounts.iter().map(head).collect();
        self.batch(&heads, at, |book, index, timestamp| {
            book.create_account(&accounts[index], limits[index], timestamp)
        })
    }

    fn create_account(&mut self, asked: &CreateAccount, limit: u128, timestamp: u64) -> Status {
        let id = asked.id.0;
        if id == 0 {
            return Status::Refused(Rejection::IdMustNotBeZero);
        }
        if id == ID_MAX {
            return Status::Refused(Rejection::IdMustNotBeIntMax);
        }
        if let Some(existing) = self.accounts.get(&id) {
            return account_exists(asked, limit, existing);
        }
        if let Err(rejection) = self.rule_new_account(asked, limit) {
            return Status::Refused(rejection);
        }
        let imported = asked.flags.contains(AccountFlags::IMPORTED);
        let account = Account {
            overdraft_limit: limit,
            user_data_128: asked.user_data_128,
            user_data_64: asked.user_data_64,
            user_data_32: asked.user_data_32,
            ledger: asked.ledger.0,
            code: asked.code.0,
            flags: asked.flags,
            timestamp: if imported { asked.timestamp.0 } else { timestamp },
            metadata: florin_engine::metadata_digest(asked.metadata.as_ref()),
            metadata_seq: if asked.metadata.is_some() { self.seq + 1 } else { 0 },
            ..Account::default()
        };
        self.accounts.insert(id, account);
        self.happened.push(Happened::Account(id));
        Status::Created
    }

    /// One below what is used is allowed, and only stops further use.
    pub(super) fn set_overdraft_limit(&mut self, set: &SetOverdraftLimit, limit: u128) -> Status {
        let id = set.account_id.0;
        let Some(account) = self.accounts.get(&id) else {
            return Status::Refused(Rejection::AccountToChangeNotFound);
        };
        let limited = account.flags.contains(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS)
            || account.flags.contains(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
        if limit != 0 && !limited {
            return Status::Refused(Rejection::OverdraftLimitMustBeZero);
        }
        self.account(id, |account| account.overdraft_limit = limit);
        self.happened.push(Happened::OverdraftLimit(id));
        Status::Created
    }

    pub(super) fn replace_metadata(&mut self, replace: &ReplaceMetadata) -> Status {
        let (id, seq) = (replace.account_id.0, self.seq + 1);
        if !self.accounts.contains_key(&id) {
            return Status::Refused(Rejection::AccountToChangeNotFound);
        }
        let metadata = florin_engine::metadata_digest(replace.metadata.as_ref());
        self.account(id, |account| {
            account.metadata = metadata;
            account.metadata_seq = if metadata == 0 { 0 } else { seq };
        });
        self.happened.push(Happened::Metadata(id));
        Status::Created
    }

    fn rule_new_account(&self, asked: &CreateAccount, limit: u128) -> Rule {
        let debits_limited = asked.flags.contains(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
        let credits_limited = asked.flags.contains(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS);
        refuse_if(debits_limited && credits_limited, Rejection::FlagsAreMutuallyExclusive)?;
        let ledger = asked.ledger;
        refuse_if(ledger.0 == 0, Rejection::LedgerMustNotBeZero)?;
        refuse_if(!self.ledgers.contains_key(&ledger.0), Rejection::LedgerNotFound { ledger })?;
        refuse_if(asked.code.0 == 0, Rejection::CodeMustNotBeZero)?;
        if asked.flags.contains(AccountFlags::IMPORTED) {
            // The reference also refuses the moment of a transfer. We let it pass, on purpose (`engine/src/moments.rs`).
            let newest = self.accounts.values().map(|account| account.timestamp).max();
            refuse_if(
                newest.is_some_and(|newest| asked.timestamp.0 <= newest),
                Rejection::ImportedEventTimestampMustNotRegress,
            )?;
        }
        // Ours, so after all of the reference's.
        refuse_if(
            limit != 0 && !debits_limited && !credits_limited,
            Rejection::OverdraftLimitMustBeZero,
        )
    }
}

/// What is compared is the account as it is now: one that was closed since has other flags.
fn account_exists(asked: &CreateAccount, limit: u128, existing: &Account) -> Status {
    let metadata = florin_engine::metadata_digest(asked.metadata.as_ref());
    let differences = [
        (asked.flags != existing.flags, Field::Flags),
        (asked.user_data_128 != existing.user_data_128, Field::UserData128),
        (asked.user_data_64 != existing.user_data_64, Field::UserData64),
        (asked.user_data_32 != existing.user_data_32, Field::UserData32),
        (asked.ledger.0 != existing.ledger, Field::Ledger),
        (asked.code.0 != existing.code, Field::Code),
        (limit != existing.overdraft_limit, Field::OverdraftLimit),
        (metadata != existing.metadata, Field::Metadata),
    ];
    exists_unless(&differences, Status::Exists(None, existing.timestamp))
}
