//! One event of a batch: a transfer or an account in 128 bytes.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, CreateAccount, CreateTransfer, LedgerId,
    Timestamp, TransferFlags, TransferId,
};

use crate::fields::{get, put};

/// Bytes of an event.
pub const EVENT_BYTES: usize = 128;
/// From here on a timestamp can not be kept.
const TIMESTAMPS_END: u64 = 1 << 63;

/// What the events of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Transfers to create.
    Transfers,
    /// Accounts to create.
    Accounts,
}

impl Kind {
    /// The number in the header.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Kind::Transfers => 1,
            Kind::Accounts => 2,
        }
    }
}

/// What can stand in a batch.
pub trait Event: Sized {
    /// What it is.
    const KIND: Kind;

    /// Its bytes.
    ///
    /// # Errors
    /// It has something that its bytes have no place for.
    fn to_bytes(&self) -> Result<[u8; EVENT_BYTES], Unfit>;

    /// The event of these bytes.
    ///
    /// # Errors
    /// A field has a value without a meaning.
    fn try_from_bytes(bytes: &[u8; EVENT_BYTES]) -> Result<Self, EventFault>;
}

/// Why something does not fit into the bytes of an event: it goes as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} has no place in the binary form")]
pub struct Unfit {
    /// The field.
    pub field: &'static str,
}

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {reason}")]
pub struct EventFault {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A flag that does not exist.
    #[error("has a flag that does not exist")]
    UnknownFlag,
    /// More than the largest amount.
    #[error("is more than the largest amount, 2^96-1 minor units")]
    TooLarge,
    /// A moment that can not be kept.
    #[error("is not below 2^63 nanoseconds")]
    OutOfRange,
    /// Bytes without a meaning.
    #[error("must be zero")]
    NotZero,
}

/// Where the fields of a transfer stand: as in the reference.
mod transfer {
    pub(super) const ID: usize = 0;
    pub(super) const DEBIT_ACCOUNT_ID: usize = 16;
    pub(super) const CREDIT_ACCOUNT_ID: usize = 32;
    pub(super) const AMOUNT: usize = 48;
    pub(super) const PENDING_ID: usize = 64;
    pub(super) const USER_DATA_128: usize = 80;
    pub(super) const USER_DATA_64: usize = 96;
    pub(super) const USER_DATA_32: usize = 104;
    pub(super) const TIMEOUT: usize = 108;
    pub(super) const LEDGER: usize = 112;
    pub(super) const CODE: usize = 116;
    pub(super) const FLAGS: usize = 118;
    pub(super) const TIMESTAMP: usize = 120;
}

/// Where the fields of an account stand: as in the reference, with the overdraft limit in the place of its first balance. The
/// other balances are no one's to give.
mod account {
    pub(super) const ID: usize = 0;
    pub(super) const OVERDRAFT_LIMIT: usize = 16;
    pub(super) const BALANCES: usize = 32;
    pub(super) const USER_DATA_128: usize = 80;
    pub(super) const USER_DATA_64: usize = 96;
    pub(super) const USER_DATA_32: usize = 104;
    pub(super) const RESERVED: usize = 108;
    pub(super) const LEDGER: usize = 112;
    pub(super) const CODE: usize = 116;
    pub(super) const FLAGS: usize = 118;
    pub(super) const TIMESTAMP: usize = 120;
}

impl Event for CreateTransfer {
    const KIND: Kind = Kind::Transfers;

    #[inline]
    fn to_bytes(&self) -> Result<[u8; EVENT_BYTES], Unfit> {
        let CreateTransfer {
            id,
            external_id,
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
            conditions,
        } = self;
        for (field, is_there) in [
            ("external_id", external_id.is_some()),
            ("effective_at", effective_at.is_some()),
            ("metadata", metadata.is_some()),
            ("conditions", !conditions.is_empty()),
        ] {
            if is_there {
                return Err(Unfit { field });
            }
        }
        let ledger = match ledger {
            Some(LedgerId(ledger)) => *ledger,
            None if flags.settlement().is_some() => 0,
            None => return Err(Unfit { field: "ledger" }),
        };
        let amount = minor(*amount, "amount")?;
        let mut bytes = [0; EVENT_BYTES];
        put(&mut bytes, transfer::ID, id.0.to_le_bytes());
        put(&mut bytes, transfer::DEBIT_ACCOUNT_ID, debit_account_id.0.to_le_bytes());
        put(&mut bytes, transfer::CREDIT_ACCOUNT_ID, credit_account_id.0.to_le_bytes());
        put(&mut bytes, transfer::AMOUNT, amount.minor_units().to_le_bytes());
        put(&mut bytes, transfer::PENDING_ID, pending_id.0.to_le_bytes());
        put(&mut bytes, transfer::USER_DATA_128, user_data_128.to_le_bytes());
        put(&mut bytes, transfer::USER_DATA_64, user_data_64.to_le_bytes());
        put(&mut bytes, transfer::USER_DATA_32, user_data_32.to_le_bytes());
        put(&mut bytes, transfer::TIMEOUT, timeout.to_le_bytes());
        put(&mut bytes, transfer::LEDGER, ledger.to_le_bytes());
        put(&mut bytes, transfer::CODE, code.0.to_le_bytes());
        put(&mut bytes, transfer::FLAGS, flags.bits().to_le_bytes());
        put(&mut bytes, transfer::TIMESTAMP, timestamp.0.to_le_bytes());
        Ok(bytes)
    }

    #[inline]
    fn try_from_bytes(bytes: &[u8; EVENT_BYTES]) -> Result<CreateTransfer, EventFault> {
        let flags = TransferFlags::try_from_bits(u16::from_le_bytes(get(bytes, transfer::FLAGS)));
        let flags = flags.ok_or(EventFault { field: "flags", reason: Reason::UnknownFlag })?;
        let ledger = LedgerId(u32::from_le_bytes(get(bytes, transfer::LEDGER)));
        // A post or void takes it over, which JSON says by leaving it out.
        let is_taken_over = ledger.0 == 0 && flags.settlement().is_some();
        Ok(CreateTransfer {
            id: TransferId(u128::from_le_bytes(get(bytes, transfer::ID))),
            external_id: None,
            debit_account_id: AccountId(u128::from_le_bytes(get(
                bytes,
                transfer::DEBIT_ACCOUNT_ID,
            ))),
            credit_account_id: AccountId(u128::from_le_bytes(get(
                bytes,
                transfer::CREDIT_ACCOUNT_ID,
            ))),
            amount: amount(get(bytes, transfer::AMOUNT), "amount")?,
            ledger: (!is_taken_over).then_some(ledger),
            code: Code(u16::from_le_bytes(get(bytes, transfer::CODE))),
            flags,
            pending_id: TransferId(u128::from_le_bytes(get(bytes, transfer::PENDING_ID))),
            timeout: u32::from_le_bytes(get(bytes, transfer::TIMEOUT)),
            user_data_128: u128::from_le_bytes(get(bytes, transfer::USER_DATA_128)),
            user_data_64: u64::from_le_bytes(get(bytes, transfer::USER_DATA_64)),
            user_data_32: u32::from_le_bytes(get(bytes, transfer::USER_DATA_32)),
            effective_at: None,
            timestamp: timestamp(get(bytes, transfer::TIMESTAMP))?,
            metadata: None,
            conditions: Vec::new(),
        })
    }
}

impl Event for CreateAccount {
    const KIND: Kind = Kind::Accounts;

    #[inline]
    fn to_bytes(&self) -> Result<[u8; EVENT_BYTES], Unfit> {
        let CreateAccount {
            id,
            external_id,
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
        if external_id.is_some() {
            return Err(Unfit { field: "external_id" });
        }
        if metadata.is_some() {
            return Err(Unfit { field: "metadata" });
        }
        let overdraft_limit = minor(*overdraft_limit, "overdraft_limit")?;
        let mut bytes = [0; EVENT_BYTES];
        put(&mut bytes, account::ID, id.0.to_le_bytes());
        let overdraft_limit = overdraft_limit.minor_units().to_le_bytes();
        put(&mut bytes, account::OVERDRAFT_LIMIT, overdraft_limit);
        put(&mut bytes, account::USER_DATA_128, user_data_128.to_le_bytes());
        put(&mut bytes, account::USER_DATA_64, user_data_64.to_le_bytes());
        put(&mut bytes, account::USER_DATA_32, user_data_32.to_le_bytes());
        put(&mut bytes, account::LEDGER, ledger.0.to_le_bytes());
        put(&mut bytes, account::CODE, code.0.to_le_bytes());
        put(&mut bytes, account::FLAGS, flags.bits().to_le_bytes());
        put(&mut bytes, account::TIMESTAMP, timestamp.0.to_le_bytes());
        Ok(bytes)
    }

    #[inline]
    fn try_from_bytes(bytes: &[u8; EVENT_BYTES]) -> Result<CreateAccount, EventFault> {
        let flags = AccountFlags::try_from_bits(u16::from_le_bytes(get(bytes, account::FLAGS)));
        let flags = flags.ok_or(EventFault { field: "flags", reason: Reason::UnknownFlag })?;
        if get::<48, _>(bytes, account::BALANCES) != [0; 48] {
            return Err(EventFault { field: "balances", reason: Reason::NotZero });
        }
        if get(bytes, account::RESERVED) != [0; 4] {
            return Err(EventFault { field: "reserved", reason: Reason::NotZero });
        }
        Ok(CreateAccount {
            id: AccountId(u128::from_le_bytes(get(bytes, account::ID))),
            external_id: None,
            ledger: LedgerId(u32::from_le_bytes(get(bytes, account::LEDGER))),
            code: Code(u16::from_le_bytes(get(bytes, account::CODE))),
            flags,
            overdraft_limit: amount(get(bytes, account::OVERDRAFT_LIMIT), "overdraft_limit")?,
            user_data_128: u128::from_le_bytes(get(bytes, account::USER_DATA_128)),
            user_data_64: u64::from_le_bytes(get(bytes, account::USER_DATA_64)),
            user_data_32: u32::from_le_bytes(get(bytes, account::USER_DATA_32)),
            timestamp: timestamp(get(bytes, account::TIMESTAMP))?,
            metadata: None,
        })
    }
}

/// An amount whose minor units are known without its ledger.
fn minor(amount: AmountInput, field: &'static str) -> Result<Amount, Unfit> {
    match amount {
        AmountInput::Minor(amount) => Ok(amount),
        AmountInput::Major(_) => Err(Unfit { field }),
    }
}

#[inline]
fn amount(bytes: [u8; 16], field: &'static str) -> Result<AmountInput, EventFault> {
    let amount = Amount::try_new(u128::from_le_bytes(bytes));
    amount.map(AmountInput::Minor).ok_or(EventFault { field, reason: Reason::TooLarge })
}

#[inline]
fn timestamp(bytes: [u8; 8]) -> Result<Timestamp, EventFault> {
    let nanoseconds = u64::from_le_bytes(bytes);
    if nanoseconds >= TIMESTAMPS_END {
        return Err(EventFault { field: "timestamp", reason: Reason::OutOfRange });
    }
    Ok(Timestamp(nanoseconds))
}
