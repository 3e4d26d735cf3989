//! An account to create.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, CreateAccount, LedgerId, Scale, Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::batch::{Item, flag_names, money, rfc3339, write_json};
use crate::error::Error;

/// An account to create.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name, decided once for ever.
    pub id: AccountId,
    /// The ledger that its amounts are counted in.
    pub ledger: LedgerId,
    /// What kind of account it is, in your own numbering.
    pub code: Code,
    /// Its limits and properties.
    pub flags: AccountFlags,
    /// How far the limited side may go beyond the other, in minor units.
    pub overdraft_limit: Amount,
    /// Your own reference.
    pub user_data_128: u128,
    /// Your own reference.
    pub user_data_64: u64,
    /// Your own reference.
    pub user_data_32: u32,
    /// When an imported account was created; 0 for all others.
    pub timestamp: Timestamp,
    /// A JSON object of your own, at most 4 KiB. Makes it go as JSON.
    pub metadata: Option<Box<RawValue>>,
}

impl NewAccount {
    /// An account of ledger 1 and code 1 without limits.
    #[must_use]
    pub fn new(id: AccountId) -> NewAccount {
        NewAccount {
            id,
            ledger: LedgerId(1),
            code: Code(1),
            flags: AccountFlags::empty(),
            overdraft_limit: Amount::ZERO,
            user_data_128: 0,
            user_data_64: 0,
            user_data_32: 0,
            timestamp: Timestamp(0),
            metadata: None,
        }
    }

    /// The same account with these flags.
    #[must_use]
    pub fn with_flags(self, flags: AccountFlags) -> NewAccount {
        NewAccount { flags, ..self }
    }

    /// The same account in this ledger.
    #[must_use]
    pub fn in_ledger(self, ledger: LedgerId) -> NewAccount {
        NewAccount { ledger, ..self }
    }

    /// The same account with what this is as a JSON object for its metadata.
    ///
    /// # Errors
    /// It can not be written as JSON.
    pub fn with_metadata(self, metadata: &impl Serialize) -> Result<NewAccount, serde_json::Error> {
        let metadata = Some(serde_json::value::to_raw_value(metadata)?);
        Ok(NewAccount { metadata, ..self })
    }
}

impl Item for NewAccount {
    type Id = AccountId;
    type Event = CreateAccount;
    const PATH: &'static str = "/v1/accounts/batch";

    fn id(&self) -> AccountId {
        self.id
    }

    fn imported(&self) -> Option<Timestamp> {
        self.flags.contains(AccountFlags::IMPORTED).then_some(self.timestamp)
    }

    fn event(&self) -> Option<CreateAccount> {
        let NewAccount {
            id,
            ledger,
            code,
            flags,
            overdraft_limit,
            user_data_128,
            user_data_64,
            user_data_32,
            timestamp,
            metadata,
        } = self;
        if metadata.is_some() {
            return None;
        }
        Some(CreateAccount {
            id: *id,
            external_id: None,
            ledger: *ledger,
            code: *code,
            flags: *flags,
            overdraft_limit: AmountInput::Minor(*overdraft_limit),
            user_data_128: *user_data_128,
            user_data_64: *user_data_64,
            user_data_32: *user_data_32,
            timestamp: *timestamp,
            metadata: None,
        })
    }

    fn in_digits_of(&self) -> Option<LedgerId> {
        let has_digits = !self.overdraft_limit.is_zero() && self.overdraft_limit != Amount::MAX;
        has_digits.then_some(self.ledger)
    }

    fn account(&self) -> Option<AccountId> {
        None
    }

    fn write_json(&self, scale: Option<Scale>, body: &mut Vec<u8>) -> Result<(), Error> {
        let json = AccountJson {
            id: self.id.0.to_string(),
            ledger: self.ledger.0,
            code: self.code.0,
            flags: flag_names(&AccountFlags::NAMES, |flag| self.flags.contains(flag)),
            overdraft_limit: money(self.overdraft_limit, scale)?,
            user_data_128: self.user_data_128.to_string(),
            user_data_64: self.user_data_64.to_string(),
            user_data_32: self.user_data_32,
            timestamp: (self.timestamp.0 != 0).then(|| rfc3339(self.timestamp)).transpose()?,
            metadata: self.metadata.as_deref(),
        };
        write_json(&json, body)
    }
}

/// An account as JSON.
#[derive(Serialize)]
struct AccountJson<'a> {
    id: String,
    ledger: u32,
    code: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    overdraft_limit: String,
    user_data_128: String,
    user_data_64: String,
    user_data_32: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}
