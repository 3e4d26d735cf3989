//! A transfer to make.

use florin_engine::{
    AccountId, Amount, AmountInput, Code, CreateTransfer, LedgerId, Scale, Timestamp,
    TransferFlags, TransferId,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::batch::{Item, flag_names, money, rfc3339, write_json};
use crate::error::Error;

/// A transfer to make. Its id is there before it is first sent, so that it can be sent again and happens once.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Its name, decided once for ever. A new UUIDv7 unless it is set.
    pub id: TransferId,
    /// The account that gives.
    pub debit_account_id: AccountId,
    /// The account that receives.
    pub credit_account_id: AccountId,
    /// How much, in minor units. [`Amount::MAX`] posts all that is pending, and balances as much as possible.
    pub amount: Amount,
    /// The ledger of both accounts; 0 only for what settles a pending transfer, which takes it over.
    pub ledger: LedgerId,
    /// What kind of transfer it is, in your own numbering; 0 only for what settles a pending transfer, which takes it over.
    pub code: Code,
    /// How it is decided.
    pub flags: TransferFlags,
    /// The pending transfer that it posts or voids; 0 for all others.
    pub pending_id: TransferId,
    /// Seconds until a pending transfer expires; 0 for never.
    pub timeout: u32,
    /// Your own reference.
    pub user_data_128: u128,
    /// Your own reference.
    pub user_data_64: u64,
    /// Your own reference.
    pub user_data_32: u32,
    /// When it took effect outside. Makes it go as JSON.
    pub effective_at: Option<Timestamp>,
    /// When an imported transfer was decided; 0 for all others.
    pub timestamp: Timestamp,
    /// A JSON object of your own, at most 4 KiB. Makes it go as JSON.
    pub metadata: Option<Box<RawValue>>,
}

impl Transfer {
    /// Moves so many minor units from `debit` to `credit`, of ledger 1, with a new id.
    #[must_use]
    pub fn new(debit: AccountId, credit: AccountId, amount: Amount) -> Transfer {
        Transfer {
            id: TransferId(uuid::Uuid::now_v7().as_u128()),
            debit_account_id: debit,
            credit_account_id: credit,
            amount,
            ledger: LedgerId(1),
            code: Code(1),
            flags: TransferFlags::empty(),
            pending_id: TransferId(0),
            timeout: 0,
            user_data_128: 0,
            user_data_64: 0,
            user_data_32: 0,
            effective_at: None,
            timestamp: Timestamp(0),
            metadata: None,
        }
    }

    /// Reserves so many minor units, until they are posted or voided, or for so many seconds (0: for ever).
    #[must_use]
    pub fn pending(debit: AccountId, credit: AccountId, amount: Amount, timeout: u32) -> Transfer {
        let flags = TransferFlags::PENDING;
        Transfer { flags, timeout, ..Transfer::new(debit, credit, amount) }
    }

    /// Posts all that a pending transfer reserved.
    #[must_use]
    pub fn post(pending: TransferId) -> Transfer {
        Transfer::settling(pending, TransferFlags::POST_PENDING_TRANSFER, Amount::MAX)
    }

    /// Posts so many minor units of what a pending transfer reserved; the rest is released.
    #[must_use]
    pub fn post_part(pending: TransferId, amount: Amount) -> Transfer {
        Transfer::settling(pending, TransferFlags::POST_PENDING_TRANSFER, amount)
    }

    /// Releases what a pending transfer reserved.
    #[must_use]
    pub fn void(pending: TransferId) -> Transfer {
        Transfer::settling(pending, TransferFlags::VOID_PENDING_TRANSFER, Amount::ZERO)
    }

    fn settling(pending_id: TransferId, flags: TransferFlags, amount: Amount) -> Transfer {
        Transfer {
            flags,
            pending_id,
            ledger: LedgerId(0),
            code: Code(0),
            ..Transfer::new(AccountId(0), AccountId(0), amount)
        }
    }

    /// The same transfer with this id.
    #[must_use]
    pub fn with_id(self, id: TransferId) -> Transfer {
        Transfer { id, ..self }
    }

    /// The same transfer in this ledger.
    #[must_use]
    pub fn in_ledger(self, ledger: LedgerId) -> Transfer {
        Transfer { ledger, ..self }
    }

    /// The same transfer with what this is as a JSON object for its metadata.
    ///
    /// # Errors
    /// It can not be written as JSON.
    pub fn with_metadata(self, metadata: &impl Serialize) -> Result<Transfer, serde_json::Error> {
        let metadata = Some(serde_json::value::to_raw_value(metadata)?);
        Ok(Transfer { metadata, ..self })
    }

    /// Whether it depends on what stands beside it in its batch.
    pub(crate) fn needs_its_batch(&self) -> bool {
        self.flags.contains(TransferFlags::LINKED) || self.flags.contains(TransferFlags::IMPORTED)
    }
}

impl Item for Transfer {
    type Id = TransferId;
    type Event = CreateTransfer;
    const PATH: &'static str = "/v1/transfers/batch";

    fn id(&self) -> TransferId {
        self.id
    }

    fn imported(&self) -> Option<Timestamp> {
        self.flags.contains(TransferFlags::IMPORTED).then_some(self.timestamp)
    }

    fn event(&self) -> Option<CreateTransfer> {
        let Transfer {
            id,
            debit_account_id,
            credit_account_id,
            amount,
            ledger,
            code,
            flags,
            pending_id,
            timeout,
            user_data_128,
            user_data_64,
            user_data_32,
            effective_at,
            timestamp,
            metadata,
        } = self;
        if effective_at.is_some() || metadata.is_some() {
            return None;
        }
        Some(CreateTransfer {
            id: *id,
            external_id: None,
            debit_account_id: *debit_account_id,
            credit_account_id: *credit_account_id,
            amount: AmountInput::Minor(*amount),
            ledger: Some(*ledger),
            code: *code,
            flags: *flags,
            pending_id: *pending_id,
            timeout: *timeout,
            user_data_128: *user_data_128,
            user_data_64: *user_data_64,
            user_data_32: *user_data_32,
            effective_at: None,
            timestamp: *timestamp,
            metadata: None,
            conditions: Vec::new(),
        })
    }

    fn in_digits_of(&self) -> Option<LedgerId> {
        (!self.amount.is_zero() && self.amount != Amount::MAX).then_some(self.ledger)
    }

    fn account(&self) -> Option<AccountId> {
        (self.debit_account_id.0 != 0).then_some(self.debit_account_id)
    }

    fn write_json(&self, scale: Option<Scale>, body: &mut Vec<u8>) -> Result<(), Error> {
        let settles = self.flags.settlement().is_some();
        let is_void = self.flags.contains(TransferFlags::VOID_PENDING_TRANSFER);
        let account = |id: AccountId| (!settles || id.0 != 0).then(|| id.0.to_string());
        // A void that names no amount releases all.
        let amount =
            (!is_void || !self.amount.is_zero()).then(|| money(self.amount, scale)).transpose()?;
        let json = TransferJson {
            id: self.id.0.to_string(),
            debit_account_id: account(self.debit_account_id),
            credit_account_id: account(self.credit_account_id),
            amount,
            ledger: (!settles || self.ledger.0 != 0).then_some(self.ledger.0),
            code: (!settles || self.code.0 != 0).then_some(self.code.0),
            flags: flag_names(&TransferFlags::NAMES, |flag| self.flags.contains(flag)),
            pending_id: (self.pending_id.0 != 0).then(|| self.pending_id.0.to_string()),
            timeout: self.timeout,
            user_data_128: self.user_data_128.to_string(),
            user_data_64: self.user_data_64.to_string(),
            user_data_32: self.user_data_32,
            effective_at: self.effective_at.map(rfc3339).transpose()?,
            timestamp: (self.timestamp.0 != 0).then(|| rfc3339(self.timestamp)).transpose()?,
            metadata: self.metadata.as_deref(),
        };
        write_json(&json, body)
    }
}

/// A transfer as JSON.
#[derive(Serialize)]
struct TransferJson<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    debit_account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_id: Option<String>,
    timeout: u32,
    user_data_128: String,
    user_data_64: String,
    user_data_32: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}
