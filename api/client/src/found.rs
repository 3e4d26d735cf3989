//! What is read back. Fields that are newer than this client are passed over.

use std::fmt;

use florin_engine::{
    AccountFlags, AccountId, Code, LedgerId, Scale, SignedAmount, Timestamp, TransferFlags,
    TransferId, TransferStatus,
};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;

use crate::batch;

/// A sum of money: minor units, and how many of its digits stand after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// The count of minor units; below zero where it is owed.
    pub minor_units: i128,
    /// The digits after the point.
    pub scale: Scale,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SignedAmount::new(self.minor_units).display(self.scale).fmt(f)
    }
}

impl Money {
    fn parse(text: &str) -> Option<Money> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        Some(Money {
            minor_units: [whole, fraction].concat().parse().ok()?,
            scale: Scale::try_new(u8::try_from(fraction.len()).ok()?)?,
        })
    }
}

/// An account and its balances.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Account {
    /// Its name.
    #[serde(deserialize_with = "account_id")]
    pub id: AccountId,
    /// The ledger that its amounts are counted in.
    #[serde(deserialize_with = "ledger")]
    pub ledger: LedgerId,
    /// What kind of account it is.
    #[serde(deserialize_with = "code")]
    pub code: Code,
    /// Its limits and properties.
    #[serde(deserialize_with = "account_flags")]
    pub flags: AccountFlags,
    /// Debits that are reserved and not yet posted.
    #[serde(deserialize_with = "money")]
    pub debits_pending: Money,
    /// Debits that happened.
    #[serde(deserialize_with = "money")]
    pub debits_posted: Money,
    /// Credits that are reserved and not yet posted.
    #[serde(deserialize_with = "money")]
    pub credits_pending: Money,
    /// Credits that happened.
    #[serde(deserialize_with = "money")]
    pub credits_posted: Money,
    /// What the account holds, as its kind shows it.
    #[serde(deserialize_with = "money")]
    pub balance: Money,
    /// What can still be moved out of its limited side.
    #[serde(deserialize_with = "money")]
    pub available: Money,
    /// How far the limited side may go beyond the other.
    #[serde(deserialize_with = "money")]
    pub overdraft_limit: Money,
    /// How many commands have changed it.
    pub version: u64,
    /// Your own reference.
    #[serde(deserialize_with = "data_128")]
    pub user_data_128: u128,
    /// Your own reference.
    #[serde(deserialize_with = "data_64")]
    pub user_data_64: u64,
    /// Your own reference.
    pub user_data_32: u32,
    /// Your own words about it: a JSON object.
    pub metadata: Box<RawValue>,
    /// When it was created.
    #[serde(deserialize_with = "time")]
    pub timestamp: Timestamp,
}

/// A transfer, and what became of it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct FoundTransfer {
    /// Its name.
    #[serde(deserialize_with = "transfer_id")]
    pub id: TransferId,
    /// The account that gave.
    #[serde(deserialize_with = "account_id")]
    pub debit_account_id: AccountId,
    /// The account that received.
    #[serde(deserialize_with = "account_id")]
    pub credit_account_id: AccountId,
    /// How much moved, is reserved, or was released by a void.
    #[serde(deserialize_with = "money")]
    pub amount: Money,
    /// The ledger of both accounts.
    #[serde(deserialize_with = "ledger")]
    pub ledger: LedgerId,
    /// What kind of transfer it is.
    #[serde(deserialize_with = "code")]
    pub code: Code,
    /// How it was decided.
    #[serde(deserialize_with = "transfer_flags")]
    pub flags: TransferFlags,
    /// The pending transfer that it settled.
    #[serde(default, deserialize_with = "maybe_transfer_id")]
    pub pending_id: Option<TransferId>,
    /// Seconds until it expires; 0 for never.
    pub timeout: u32,
    /// Your own reference.
    #[serde(deserialize_with = "data_128")]
    pub user_data_128: u128,
    /// Your own reference.
    #[serde(deserialize_with = "data_64")]
    pub user_data_64: u64,
    /// Your own reference.
    pub user_data_32: u32,
    /// When it took effect outside.
    #[serde(default, deserialize_with = "maybe_time")]
    pub effective_at: Option<Timestamp>,
    /// Your own words about it: a JSON object.
    pub metadata: Box<RawValue>,
    /// How it stands.
    #[serde(deserialize_with = "status")]
    pub status: TransferStatus,
    /// When it was decided.
    #[serde(deserialize_with = "time")]
    pub timestamp: Timestamp,
    /// The transaction that it is a leg of.
    #[serde(default, deserialize_with = "maybe_transfer_id")]
    pub transaction_id: Option<TransferId>,
    /// The transfer that it takes back.
    #[serde(default, deserialize_with = "maybe_transfer_id")]
    pub reverses: Option<TransferId>,
    /// The transfer that reversed it.
    #[serde(default, deserialize_with = "maybe_transfer_id")]
    pub reversed_by: Option<TransferId>,
}

/// What was found of many ids.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Found<T> {
    /// What was found, in the order in which it was asked for.
    pub data: Vec<T>,
    /// The ids under which nothing was found, in that order too.
    #[serde(deserialize_with = "ids")]
    pub missing: Vec<u128>,
}

/// An id: decimal, or a UUID.
fn id(text: &str) -> Option<u128> {
    let uuid = || uuid::Uuid::try_parse(text).ok().map(|uuid| uuid.as_u128());
    text.parse().ok().or_else(uuid)
}

fn of_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).ok_or_else(|| D::Error::custom(format!("{text:?} has an unknown form")))
}

fn maybe<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let unknown = || D::Error::custom(format!("{text:?} has an unknown form"));
    read(&text).map(Some).ok_or_else(unknown)
}

/// The flags with these names. A newer one is passed over.
fn flags<'de, D: Deserializer<'de>, F: Copy>(
    deserializer: D,
    known: &[(F, &'static str)],
    none: F,
    with: impl Fn(F, F) -> F,
) -> Result<F, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let flag = |name: &String| known.iter().find(|(_, known)| known == name);
    Ok(names.iter().filter_map(flag).fold(none, |flags, (flag, _)| with(flags, *flag)))
}

fn account_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AccountId, D::Error> {
    of_text(deserializer, id).map(AccountId)
}

fn transfer_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransferId, D::Error> {
    of_text(deserializer, id).map(TransferId)
}

fn maybe_transfer_id<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TransferId>, D::Error> {
    Ok(maybe(deserializer, id)?.map(TransferId))
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u128>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let ids: Option<Vec<u128>> = texts.iter().map(|text| id(text)).collect();
    ids.ok_or_else(|| D::Error::custom("an id has an unknown form"))
}

fn ledger<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LedgerId, D::Error> {
    u32::deserialize(deserializer).map(LedgerId)
}

fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
    u16::deserialize(deserializer).map(Code)
}

fn account_flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AccountFlags, D::Error> {
    let none = AccountFlags::empty();
    flags(deserializer, &AccountFlags::NAMES, none, AccountFlags::with)
}

fn transfer_flags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransferFlags, D::Error> {
    let none = TransferFlags::empty();
    flags(deserializer, &TransferFlags::NAMES, none, TransferFlags::with)
}

fn money<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    of_text(deserializer, Money::parse)
}

fn data_128<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    of_text(deserializer, id)
}

fn data_64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    of_text(deserializer, |text| text.parse().ok())
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    of_text(deserializer, batch::timestamp)
}

fn maybe_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    maybe(deserializer, batch::timestamp)
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TransferStatus, D::Error> {
    of_text(deserializer, |word| match word {
        "posted" => Some(TransferStatus::Posted),
        "pending" => Some(TransferStatus::Pending),
        "voided" => Some(TransferStatus::Voided),
        "expired" => Some(TransferStatus::Expired),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_digit_for_digit() {
        for (text, minor_units, digits) in [
            ("12.50", 1250, 2),
            ("-0.05", -5, 2),
            ("7", 7, 0),
            ("0.0000000000000000000000000001", 1, 28),
            ("792281625142643375935439503.35", (1_i128 << 96) - 1, 2),
        ] {
            let money = Money::parse(text).unwrap();
            assert_eq!((money.minor_units, money.scale.digits()), (minor_units, digits), "{text}");
            assert_eq!(money.to_string(), text);
        }
        for text in ["", ".", "1.2.3", "one", "1e3", "0.00000000000000000000000000001"] {
            assert_eq!(Money::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_are_read_in_both_forms() {
        assert_eq!(id("17"), Some(17));
        assert_eq!(id("00000010-0000-0000-0000-000000000007"), Some(1 << 100 | 7));
        assert_eq!(id("ext:a"), None);
    }
}
