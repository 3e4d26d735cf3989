//! The bodies of requests, and how each becomes a command.
//!
//! A field that is absent and one that is `null` mean the same. What can not be read is a fault that names the field; what
//! can be read but is not allowed goes on to the engine, which answers with its status in its order of precedence.

use florin_engine::{
    AccountFlags, AccountId, Amount, AmountInput, Code, CreateAccount, CreateLedger,
    CreateTransaction, CreateTransfer, ExternalId, LedgerId, OpenAccount, Scale, Timestamp,
    TransferFlags, TransferId,
};
use serde_json::value::RawValue;

use super::conditions::{self, NewCondition};
use super::json::{Events, Place, raw_object, read};
use super::schemas::{
    AccountFlagNames, Data128Input, Decimal64Input, IdInput, MetadataObject, MoneyInput,
    TransferFlagNames,
};
use super::values::{self, NewId, ValueFault};
use super::{json, metadata};
use crate::http::error::{ApiError, Fault, FaultCode};
use crate::http::fresh::fresh_id;

raw_object! {
    /// A ledger to open.
    NewLedger {
        /// Its number, from 1.
        #[schema(required)]
        id: u32,
        /// ISO-4217 or free code: 1 to 16 of `A-Z a-z 0-9 . _ -`.
        #[schema(required)]
        currency: String,
        /// Digits after the point, 0 to 28.
        #[schema(required)]
        scale: u8,
        /// What people call it, at most 128 characters.
        name: Option<String>,
    }
}

raw_object! {
    /// The ids of what is looked up.
    IdsToFind {
        /// Up to 8,190 ids.
        #[schema(required)]
        ids: Vec<IdInput>,
    }
}

raw_object! {
    /// An account to create. Only `id` is needed.
    NewAccount {
        /// Its name, decided once for ever.
        #[schema(required)]
        id: IdInput,
        /// The ledger that its amounts are counted in; 1 when absent.
        ledger: Option<u32>,
        /// What kind of account it is, in your own numbering; 1 when absent.
        code: Option<u16>,
        /// Its limits and properties.
        flags: Option<AccountFlagNames>,
        /// How far the limited side may go beyond the other.
        overdraft_limit: Option<MoneyInput>,
        /// Your own reference.
        user_data_128: Option<Data128Input>,
        /// Your own reference.
        user_data_64: Option<Decimal64Input>,
        /// Your own reference.
        user_data_32: Option<u32>,
        /// When an imported account was created, in the past; only with the flag `imported`.
        timestamp: Option<String>,
        /// Your own words about it.
        metadata: Option<MetadataObject>,
    }
}

raw_object! {
    /// A transfer to create. Needed are `debit_account_id`, `credit_account_id` and `amount`.
    NewTransfer {
        /// Its name, decided once for ever; a UUIDv7 is made when absent.
        id: Option<IdInput>,
        /// The account that gives.
        debit_account_id: Option<IdInput>,
        /// The account that receives.
        credit_account_id: Option<IdInput>,
        /// How much. What posts a pending transfer may leave it out, and posts all of it; what balances moves at most so much.
        amount: Option<MoneyInput>,
        /// The ledger of both accounts; the debit account's when absent.
        ledger: Option<u32>,
        /// What kind of transfer it is, in your own numbering; 1 when absent, that of the pending transfer when it settles one.
        code: Option<u16>,
        /// How it is decided.
        flags: Option<TransferFlagNames>,
        /// The pending transfer that it posts or voids: then `debit_account_id`, `credit_account_id` and `amount` may be left out.
        pending_id: Option<IdInput>,
        /// Seconds until a pending transfer expires; never when absent or 0.
        timeout: Option<u32>,
        /// Your own reference.
        user_data_128: Option<Data128Input>,
        /// Your own reference.
        user_data_64: Option<Decimal64Input>,
        /// Your own reference.
        user_data_32: Option<u32>,
        /// When it took effect outside.
        effective_at: Option<String>,
        /// When an imported transfer was decided, in the past; only with the flag `imported`.
        timestamp: Option<String>,
        /// Your own words about it.
        metadata: Option<MetadataObject>,
        /// What must hold for it to happen; at most 16. No part of its content: a retry of what happened is answered with its first outcome.
        conditions: Option<Vec<NewCondition>>,
    }
}

raw_object! {
    /// What to say of the post or void of a pending transfer: all of it may be left out.
    SettleTransfer {
        /// Its name, decided once for ever; a UUIDv7 is made when absent.
        id: Option<IdInput>,
        /// How much of it to post; the rest is released. All of it when absent; not for a void.
        amount: Option<MoneyInput>,
        /// Your own reference; that of the pending transfer when absent.
        user_data_128: Option<Data128Input>,
        /// Your own reference; that of the pending transfer when absent.
        user_data_64: Option<Decimal64Input>,
        /// Your own reference; that of the pending transfer when absent.
        user_data_32: Option<u32>,
        /// Your own words about it.
        metadata: Option<MetadataObject>,
        /// What must hold for it to happen; at most 16.
        conditions: Option<Vec<NewCondition>>,
    }
}

raw_object! {
    /// Transfers of which all happen or none does.
    NewTransaction {
        /// Its name, in the transfers' id space; a UUIDv7 is made when absent.
        id: Option<IdInput>,
        /// Its legs in order. One without an id gets one derived from the transaction's id and its index.
        #[schema(required)]
        transfers: Vec<NewTransfer>,
        /// Your own words about it.
        metadata: Option<MetadataObject>,
        /// What must hold before its first leg for it to happen; at most 16.
        conditions: Option<Vec<NewCondition>>,
    }
}

raw_object! {
    /// The short form of a transfer.
    ShortTransfer {
        /// The account that gives.
        #[schema(required)]
        from: IdInput,
        /// The account that receives.
        #[schema(required)]
        to: IdInput,
        /// How much.
        #[schema(required)]
        amount: MoneyInput,
        /// The transfer's id; a UUIDv7 is made when absent.
        txn_id: Option<IdInput>,
    }
}

raw_object! {
    /// The short form of an account of ledger 1 that can not be overdrawn.
    ShortAccount {
        /// Its id.
        #[schema(required)]
        account_id: IdInput,
        /// Its opening balance; nothing when absent.
        balance: Option<MoneyInput>,
    }
}

/// Reads the body's field, unless it is absent or `null`.
pub(super) fn optional<T>(
    raw: Option<&RawValue>,
    field: &'static str,
    read: impl FnOnce(&RawValue) -> Result<T, ValueFault>,
) -> Result<Option<T>, Fault> {
    match raw {
        None => Ok(None),
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) => match read(raw) {
            Ok(value) => Ok(Some(value)),
            Err(fault) => Err(Fault::new(field, fault.code, fault.detail)),
        },
    }
}

/// Reads the body's field, which must be there.
pub(super) fn needed<T>(
    raw: Option<&RawValue>,
    field: &'static str,
    read: impl FnOnce(&RawValue) -> Result<T, ValueFault>,
) -> Result<T, Fault> {
    optional(raw, field, read)?
        .ok_or_else(|| Fault::new(field, FaultCode::MissingField, "is missing"))
}

pub(super) fn u32_value(raw: &RawValue) -> Result<u32, ValueFault> {
    values::integer(raw, u64::from(u32::MAX)).map(|number| number as u32)
}

fn u16_value(raw: &RawValue) -> Result<u16, ValueFault> {
    values::integer(raw, u64::from(u16::MAX)).map(|number| number as u16)
}

pub(super) fn u64_value(raw: &RawValue) -> Result<u64, ValueFault> {
    values::integer_or_string(raw, u64::MAX)
}

fn text_value(raw: &RawValue) -> Result<String, ValueFault> {
    values::string(raw)
        .map(std::borrow::Cow::into_owned)
        .ok_or_else(|| ValueFault::new(FaultCode::WrongType, "must be a text"))
}

pub(super) fn time_value(raw: &RawValue) -> Result<florin_engine::Timestamp, ValueFault> {
    values::time_text(&text_value(raw)?)
}

pub(super) fn metadata_value(
    raw: Option<&RawValue>,
) -> Result<Option<florin_engine::Metadata>, Fault> {
    optional(raw, "metadata", metadata::read).map(Option::flatten)
}

impl NewLedger<'_> {
    /// The command that the body asks for.
    pub(crate) fn decode(&self) -> Result<CreateLedger, Fault> {
        let currency = needed(self.currency, "currency", text_value)?;
        let currency_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=16).contains(&currency.len()) || !currency.chars().all(currency_char) {
            return Err(Fault::new(
                "currency",
                FaultCode::InvalidValue,
                "must be 1 to 16 of A-Z a-z 0-9 . _ -",
            ));
        }
        let name = optional(self.name, "name", text_value)?.unwrap_or_default();
        if name.chars().count() > 128 {
            return Err(Fault::new("name", FaultCode::TooLong, "is longer than 128 characters"));
        }
        Ok(CreateLedger {
            id: LedgerId(needed(self.id, "id", u32_value)?),
            currency,
            scale: needed(self.scale, "scale", |raw| {
                let digits = values::integer(raw, u64::from(Scale::MAX.digits()))?;
                Ok(Scale::try_new(digits as u8).unwrap_or(Scale::MAX))
            })?,
            name,
        })
    }
}

impl NewAccount<'_> {
    /// The event that the body asks for.
    pub(crate) fn decode(&self) -> Result<CreateAccount, Fault> {
        let NewId { id, external_id } = needed(self.id, "id", values::new_id)?;
        Ok(CreateAccount {
            id: AccountId(id),
            external_id,
            ledger: LedgerId(optional(self.ledger, "ledger", u32_value)?.unwrap_or(1)),
            code: Code(optional(self.code, "code", u16_value)?.unwrap_or(1)),
            flags: optional(self.flags, "flags", values::flags::<AccountFlags>)?
                .unwrap_or_default(),
            overdraft_limit: optional(self.overdraft_limit, "overdraft_limit", values::amount)?
                .unwrap_or(AmountInput::ZERO),
            user_data_128: optional(self.user_data_128, "user_data_128", values::data_128)?
                .unwrap_or(0),
            user_data_64: optional(self.user_data_64, "user_data_64", u64_value)?.unwrap_or(0),
            user_data_32: optional(self.user_data_32, "user_data_32", u32_value)?.unwrap_or(0),
            timestamp: optional(self.timestamp, "timestamp", time_value)?.unwrap_or(Timestamp(0)),
            metadata: metadata_value(self.metadata)?,
        })
    }
}

/// Whether the caller named the id of what is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The caller did: a retry by id finds the same thing.
    Named,
    /// It was made here, and is not part of what the caller said.
    Generated,
}

impl Naming {
    /// The naming of an event whose id is only kept when the caller named it.
    pub(crate) fn of(named: &Option<u128>) -> Naming {
        if named.is_some() { Naming::Named } else { Naming::Generated }
    }
}

/// The id of a transfer or transaction to create.
pub(super) struct Name {
    pub(super) id: TransferId,
    pub(super) external_id: Option<ExternalId>,
    pub(super) naming: Naming,
}

/// Reads what the caller named it; `unnamed` gives the id when it was left out.
pub(super) fn name(
    raw: Option<&RawValue>,
    field: &'static str,
    unnamed: impl FnOnce() -> TransferId,
) -> Result<Name, Fault> {
    Ok(match optional(raw, field, values::new_id)? {
        Some(NewId { id, external_id }) => {
            Name { id: TransferId(id), external_id, naming: Naming::Named }
        }
        None => Name { id: unnamed(), external_id: None, naming: Naming::Generated },
    })
}

impl NewTransfer<'_> {
    /// The event that the body asks for; `unnamed` gives the id when there is none.
    pub(crate) fn decode(
        &self,
        unnamed: impl FnOnce() -> TransferId,
    ) -> Result<(CreateTransfer, Naming), Fault> {
        let Name { id, external_id, naming } = name(self.id, "id", unnamed)?;
        let pending_id = optional(self.pending_id, "pending_id", values::id)?.unwrap_or(0);
        // What settles a pending transfer takes its accounts and amount from there.
        let settles = pending_id != 0;
        let account = |raw, field| {
            if settles {
                Ok(optional(raw, field, values::id)?.unwrap_or(0))
            } else {
                needed(raw, field, values::id)
            }
        };
        let flags =
            optional(self.flags, "flags", values::flags::<TransferFlags>)?.unwrap_or_default();
        let transfer = CreateTransfer {
            id,
            external_id,
            debit_account_id: AccountId(account(self.debit_account_id, "debit_account_id")?),
            credit_account_id: AccountId(account(self.credit_account_id, "credit_account_id")?),
            amount: if settles {
                optional(self.amount, "amount", values::amount)?.unwrap_or(all_of_it(flags))
            } else {
                needed(self.amount, "amount", values::amount)?
            },
            ledger: optional(self.ledger, "ledger", u32_value)?.map(LedgerId),
            code: Code(optional(self.code, "code", u16_value)?.unwrap_or(u16::from(!settles))),
            flags,
            pending_id: TransferId(pending_id),
            timeout: optional(self.timeout, "timeout", u32_value)?.unwrap_or(0),
            user_data_128: optional(self.user_data_128, "user_data_128", values::data_128)?
                .unwrap_or(0),
            user_data_64: optional(self.user_data_64, "user_data_64", u64_value)?.unwrap_or(0),
            user_data_32: optional(self.user_data_32, "user_data_32", u32_value)?.unwrap_or(0),
            effective_at: optional(self.effective_at, "effective_at", time_value)?,
            timestamp: optional(self.timestamp, "timestamp", time_value)?.unwrap_or(Timestamp(0)),
            metadata: metadata_value(self.metadata)?,
            conditions: conditions::conditions(self.conditions)?,
        };
        Ok((transfer, naming))
    }
}

/// The amount that stands for all of a pending transfer.
fn all_of_it(flags: TransferFlags) -> AmountInput {
    if flags.contains(TransferFlags::POST_PENDING_TRANSFER) {
        AmountInput::Minor(Amount::MAX)
    } else {
        AmountInput::ZERO
    }
}

impl SettleTransfer<'_> {
    /// The post or void, as `flags` say, of the pending transfer.
    pub(crate) fn decode(
        &self,
        pending_id: TransferId,
        flags: TransferFlags,
    ) -> Result<(CreateTransfer, Naming), Fault> {
        let Name { id, external_id, naming } = name(self.id, "id", fresh_id)?;
        let is_post = flags.contains(TransferFlags::POST_PENDING_TRANSFER);
        let amount = match optional(self.amount, "amount", values::amount)? {
            Some(_) if !is_post => {
                let detail = "can not be given: a void releases all of it";
                return Err(Fault::new("amount", FaultCode::InvalidValue, detail));
            }
            amount => amount.unwrap_or(all_of_it(flags)),
        };
        let transfer = CreateTransfer {
            external_id,
            code: Code(0),
            flags,
            pending_id,
            user_data_128: optional(self.user_data_128, "user_data_128", values::data_128)?
                .unwrap_or(0),
            user_data_64: optional(self.user_data_64, "user_data_64", u64_value)?.unwrap_or(0),
            user_data_32: optional(self.user_data_32, "user_data_32", u32_value)?.unwrap_or(0),
            metadata: metadata_value(self.metadata)?,
            conditions: conditions::conditions(self.conditions)?,
            ..CreateTransfer::new(id, AccountId(0), AccountId(0), amount)
        };
        Ok((transfer, naming))
    }
}

/// A transaction to create, and which of its ids the caller named.
#[derive(Debug)]
pub(crate) struct DecodedTransaction {
    /// The command.
    pub(crate) create: CreateTransaction,
    /// Whether the caller named the transaction.
    pub(crate) naming: Naming,
    /// Whether the caller named each leg.
    pub(crate) legs: Vec<Naming>,
}

impl NewTransaction<'_> {
    /// The command that the body asks for.
    pub(crate) fn decode(&self) -> Result<DecodedTransaction, ApiError> {
        let Name { id, external_id, naming } = name(self.id, "id", fresh_id)?;
        let metadata = metadata_value(self.metadata)?;
        let conditions = conditions::conditions(self.conditions)?;
        let legs = self.transfers.map_or("null", RawValue::get);
        if legs == "null" {
            let missing = Fault::new("transfers", FaultCode::MissingField, "is missing");
            return Err(missing.into());
        }
        let Events(legs): Events<NewTransfer<'_>> =
            read(legs.as_bytes(), Place::Field("transfers"))?;
        // The transaction itself is an event too.
        if legs.len() == json::EVENTS_MAX {
            return Err(ApiError::TooManyEvents {
                field: Some("transfers"),
                events_max: json::EVENTS_MAX - 1,
            });
        }
        if legs.is_empty() {
            let empty = Fault::new("transfers", FaultCode::OutOfRange, "must have at least one");
            return Err(empty.into());
        }
        let mut transfers = Vec::with_capacity(legs.len());
        let mut namings = Vec::with_capacity(legs.len());
        for (index, leg) in (0_u32..).zip(&legs) {
            let decoded = leg.decode(|| TransferId::of_leg(id, index));
            let (transfer, naming) = decoded.map_err(|fault| ApiError::InvalidRequest {
                fault: Fault {
                    field: format!("transfers[{index}].{}", fault.field).into(),
                    ..fault
                },
                index: Some(index),
            })?;
            transfers.push(transfer);
            namings.push(naming);
        }
        conditions::bounded(&transfers)?;
        let create = CreateTransaction { id, external_id, transfers, metadata, conditions };
        Ok(DecodedTransaction { create, naming, legs: namings })
    }
}

impl IdsToFind<'_> {
    /// The ids, in their order.
    pub(crate) fn decode(&self) -> Result<Vec<u128>, ApiError> {
        let ids = self.ids.map_or("null", RawValue::get);
        if ids == "null" {
            return Err(Fault::new("ids", FaultCode::MissingField, "is missing").into());
        }
        let Events(ids): Events<&RawValue> = read(ids.as_bytes(), Place::Field("ids"))?;
        let id = |(index, raw): (u32, &&RawValue)| {
            values::id(raw).map_err(|fault| ApiError::InvalidRequest {
                fault: Fault::new(format!("ids[{index}]"), fault.code, fault.detail),
                index: Some(index),
            })
        };
        (0_u32..).zip(&ids).map(id).collect()
    }
}

impl ShortTransfer<'_> {
    /// The event that the body asks for.
    pub(crate) fn decode(&self) -> Result<(CreateTransfer, Naming), Fault> {
        let from = AccountId(needed(self.from, "from", values::id)?);
        let to = AccountId(needed(self.to, "to", values::id)?);
        let amount = needed(self.amount, "amount", values::amount)?;
        let Name { id, external_id, naming } = name(self.txn_id, "txn_id", fresh_id)?;
        Ok((CreateTransfer { external_id, ..CreateTransfer::new(id, from, to, amount) }, naming))
    }
}

impl ShortAccount<'_> {
    /// The command that the body asks for.
    pub(crate) fn decode(&self) -> Result<OpenAccount, Fault> {
        let NewId { id, external_id } = needed(self.account_id, "account_id", values::new_id)?;
        let balance =
            optional(self.balance, "balance", values::amount)?.unwrap_or(AmountInput::ZERO);
        let account = CreateAccount {
            external_id,
            flags: AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
            ..CreateAccount::new(AccountId(id))
        };
        Ok(OpenAccount { account, balance })
    }
}
