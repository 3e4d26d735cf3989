//! The texts of ids, amounts, times and flags, in and out.

use std::borrow::Cow;
use std::fmt::Write;

use florin_engine::{
    AccountFlags, AmountInput, AmountTextError, ExternalId, MajorUnits, SignedInput, Timestamp,
    TransferFlags,
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::http::error::FaultCode;

/// Why a value can not be read; the caller adds which field it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValueFault {
    /// What is wrong.
    pub(crate) code: FaultCode,
    /// The same in words that follow the field's name.
    pub(crate) detail: Cow<'static, str>,
}

impl ValueFault {
    /// The fault with this code, in words that follow the field's name.
    pub(crate) fn new(code: FaultCode, detail: impl Into<Cow<'static, str>>) -> ValueFault {
        ValueFault { code, detail: detail.into() }
    }
}

const ID_FORMS: &str = "must be an integer from 0 to 2^128-1, as a number or a string, a hyphenated UUID, or \"ext:\" and a text of your own";
const DATA_128_FORMS: &str =
    "must be an integer from 0 to 2^128-1, as a number or a string, or a hyphenated UUID";
/// What stands before an external id's text.
const EXTERNAL: &str = "ext:";

/// The text of a JSON string, or `None` when the value is of another type.
///
/// Without escapes, which is how ids and amounts are written, nothing is copied.
pub(crate) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') {
        // An escape that means no character makes it no text.
        serde_json::from_str::<String>(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inside))
    }
}

/// The id of what is created, and the text that it was named by, if it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewId {
    /// The id.
    pub(crate) id: u128,
    /// The text that it stands for.
    pub(crate) external_id: Option<ExternalId>,
}

impl NewId {
    fn plain(id: u128) -> NewId {
        NewId { id, external_id: None }
    }
}

/// Reads an id: a JSON integer, a decimal string, a hyphenated UUID, from 0 to 2^128−1, or the text of an external id behind `ext:`.
pub(crate) fn id(raw: &RawValue) -> Result<u128, ValueFault> {
    new_id(raw).map(|named| named.id)
}

/// Reads an id as it stands in a path, a query or a string.
pub(crate) fn id_text(text: &str) -> Result<u128, ValueFault> {
    new_id_text(text).map(|named| named.id)
}

/// Reads an id as [`id`], and keeps its text.
pub(crate) fn new_id(raw: &RawValue) -> Result<NewId, ValueFault> {
    match string(raw) {
        Some(text) => new_id_text(&text),
        None => decimal_u128(raw.get()).map(NewId::plain).ok_or_else(not_an_id),
    }
}

fn new_id_text(text: &str) -> Result<NewId, ValueFault> {
    if let Some(id) = decimal_u128(text).or_else(|| hyphenated_uuid(text)) {
        return Ok(NewId::plain(id));
    }
    let text = text.strip_prefix(EXTERNAL).ok_or_else(not_an_id)?;
    let external_id = ExternalId::try_new(text)
        .map_err(|error| ValueFault::new(FaultCode::NotAnId, error.to_string()))?;
    Ok(NewId { id: external_id.id(), external_id: Some(external_id) })
}

fn not_an_id() -> ValueFault {
    ValueFault::new(FaultCode::NotAnId, ID_FORMS)
}

/// Reads a reference of the caller's of 128 bits: an id that names nothing here, so without the texts of external ids.
pub(crate) fn data_128(raw: &RawValue) -> Result<u128, ValueFault> {
    match string(raw) {
        Some(text) => data_128_text(&text),
        None => decimal_u128(raw.get())
            .ok_or_else(|| ValueFault::new(FaultCode::NotAnId, DATA_128_FORMS)),
    }
}

/// Reads a reference of the caller's of 128 bits as it stands in a query or a string.
pub(crate) fn data_128_text(text: &str) -> Result<u128, ValueFault> {
    decimal_u128(text)
        .or_else(|| hyphenated_uuid(text))
        .ok_or_else(|| ValueFault::new(FaultCode::NotAnId, DATA_128_FORMS))
}

fn decimal_u128(text: &str) -> Option<u128> {
    // `parse` would take a plus sign.
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn hyphenated_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut id = 0_u128;
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
        } else {
            id = id << 4 | u128::from(char::from(*byte).to_digit(16)?);
        }
    }
    Some(id)
}

/// Reads a JSON integer from 0 to `max`.
pub(crate) fn integer(raw: &RawValue, max: u64) -> Result<u64, ValueFault> {
    let text = raw.get();
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return Err(ValueFault::new(FaultCode::WrongType, "must be a JSON integer"));
    }
    bounded(text, max)
}

/// Reads an integer from 0 to `max` that may also be a decimal string.
pub(crate) fn integer_or_string(raw: &RawValue, max: u64) -> Result<u64, ValueFault> {
    match string(raw) {
        Some(text) => bounded(&text, max),
        None => integer(raw, max),
    }
}

/// Reads an integer from 0 to `max` as it stands in a query.
pub(crate) fn bounded(text: &str, max: u64) -> Result<u64, ValueFault> {
    decimal_u128(text)
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| *number <= max)
        .ok_or_else(|| {
            ValueFault::new(FaultCode::OutOfRange, format!("must be an integer from 0 to {max}"))
        })
}

/// Reads an amount digit for digit from a JSON number or string; never through floating point.
pub(crate) fn amount(raw: &RawValue) -> Result<AmountInput, ValueFault> {
    let detail = "must be an amount in major units, as a string or a number";
    digits(raw, AmountInput::parse, detail)
}

/// Reads a sum as an amount, with a minus before it where it is below zero.
pub(crate) fn sum(raw: &RawValue) -> Result<SignedInput, ValueFault> {
    let detail = "must be a sum in major units, as a string or a number";
    digits(raw, SignedInput::parse, detail)
}

fn digits<T>(
    raw: &RawValue,
    parse: impl FnOnce(&str) -> Result<T, AmountTextError>,
    detail: &'static str,
) -> Result<T, ValueFault> {
    let text = raw.get();
    let read = match string(raw) {
        Some(text) => parse(&text),
        None if text.starts_with(|first: char| first.is_ascii_digit() || first == '-') => {
            parse(text)
        }
        None => return Err(ValueFault::new(FaultCode::WrongType, detail)),
    };
    read.map_err(amount_fault)
}

/// Reads an amount as it stands in a query.
pub(crate) fn amount_text(text: &str) -> Result<AmountInput, ValueFault> {
    AmountInput::parse(text).map_err(amount_fault)
}

/// The fault of an amount that the engine can not read.
pub(crate) fn amount_fault(error: AmountTextError) -> ValueFault {
    let code = match error {
        AmountTextError::TooManyDigits => FaultCode::TooManyDigits,
        AmountTextError::TooLarge => FaultCode::TooLarge,
        AmountTextError::Signed => FaultCode::Signed,
        AmountTextError::Exponent => FaultCode::Exponent,
        AmountTextError::WhiteSpace => FaultCode::WhiteSpace,
        AmountTextError::NotDigits => FaultCode::NotDigits,
    };
    ValueFault::new(code, error.to_string())
}

/// Reads a time: RFC 3339, from 1970 on, at most nanoseconds.
pub(crate) fn time_text(text: &str) -> Result<Timestamp, ValueFault> {
    let fault = || {
        ValueFault::new(
            FaultCode::NotATime,
            "must be an RFC 3339 time such as 2026-01-31T12:00:00Z, from 1970 on, with at most nine digits of a second",
        )
    };
    if !is_rfc3339(text.as_bytes()) {
        return Err(fault());
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| fault())?;
    u64::try_from(time.as_nanosecond())
        .ok()
        // Above 2^63 the durable format has no place.
        .filter(|nanoseconds| i64::try_from(*nanoseconds).is_ok())
        .map(Timestamp)
        .ok_or_else(fault)
}

/// Whether the shape is `2026-01-31T12:00:00[.123]Z` or with an offset; the date library alone takes more forms.
fn is_rfc3339(bytes: &[u8]) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = |byte: u8, shape: u8| match shape {
        b'd' => byte.is_ascii_digit(),
        b'T' => byte.eq_ignore_ascii_case(&b'T'),
        _ => byte == shape,
    };
    if bytes.len() <= SHAPE.len()
        || !SHAPE.iter().zip(bytes).all(|(shape, byte)| fits(*byte, *shape))
    {
        return false;
    }
    let rest = &bytes[SHAPE.len()..];
    let offset = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    }
}

/// A set of flags that can be read from and shown as names.
pub(crate) trait FlagNames: Copy + 'static {
    /// Every flag with its name.
    fn names() -> &'static [(Self, &'static str)];
    /// No flag.
    fn none() -> Self;
    /// Whether all of `flags` are set.
    fn has(self, flags: Self) -> bool;
    /// These flags and `flags`.
    fn and(self, flags: Self) -> Self;
}

impl FlagNames for AccountFlags {
    fn names() -> &'static [(AccountFlags, &'static str)] {
        &AccountFlags::NAMES
    }
    fn none() -> AccountFlags {
        AccountFlags::empty()
    }
    fn has(self, flags: AccountFlags) -> bool {
        self.contains(flags)
    }
    fn and(self, flags: AccountFlags) -> AccountFlags {
        self.with(flags)
    }
}

impl FlagNames for TransferFlags {
    fn names() -> &'static [(TransferFlags, &'static str)] {
        &TransferFlags::NAMES
    }
    fn none() -> TransferFlags {
        TransferFlags::empty()
    }
    fn has(self, flags: TransferFlags) -> bool {
        self.contains(flags)
    }
    fn and(self, flags: TransferFlags) -> TransferFlags {
        self.with(flags)
    }
}

/// Reads flags: an array of names, each at most once.
pub(crate) fn flags<F: FlagNames>(raw: &RawValue) -> Result<F, ValueFault> {
    let wrong_type = || ValueFault::new(FaultCode::WrongType, "must be an array of names of flags");
    let names: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong_type())?;
    let mut flags = F::none();
    for name in names {
        let name = string(name).ok_or_else(wrong_type)?;
        let flag = F::names().iter().find(|(_, known)| *known == name).ok_or_else(|| {
            let known: Vec<_> = F::names().iter().map(|(_, known)| *known).collect();
            ValueFault::new(
                FaultCode::UnknownFlag,
                format!("has an unknown flag; known are: {}", known.join(", ")),
            )
        })?;
        if flags.has(flag.0) {
            return Err(ValueFault::new(
                FaultCode::DuplicateFlag,
                format!("has the flag {name} twice"),
            ));
        }
        flags = flags.and(flag.0);
    }
    Ok(flags)
}

/// Flags as answers show them: an array of names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlagList<F>(pub(crate) F);

impl<F: FlagNames> Serialize for FlagList<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = F::names().iter().filter(|(flag, _)| self.0.has(*flag)).map(|(_, name)| name);
        serializer.collect_seq(names)
    }
}

/// An id as answers show it: decimal below 2^64, else a lower-case UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) u128);

impl Id {
    /// Calls `show` with the id's text, which lives on the stack: an answer has five of them.
    pub(crate) fn with_text<T>(self, show: impl FnOnce(&str) -> T) -> T {
        let Ok(mut small) = u64::try_from(self.0) else {
            let mut buffer = uuid::Uuid::encode_buffer();
            return show(uuid::Uuid::from_u128(self.0).hyphenated().encode_lower(&mut buffer));
        };
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (small % 10) as u8;
            small /= 10;
            if small == 0 {
                break;
            }
        }
        show(std::str::from_utf8(&digits[at..]).expect("decimal digits are ASCII"))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.with_text(|text| serializer.serialize_str(text))
    }
}

/// An unsigned 64-bit integer as answers show it where a JSON number would lose digits: a decimal string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal64(pub(crate) u64);

impl Serialize for Decimal64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Id(u128::from(self.0)).serialize(serializer)
    }
}

/// An amount as answers show it: a decimal string in major units with exactly the ledger's digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Money(pub(crate) MajorUnits);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.with_text(|text| serializer.serialize_str(text))
    }
}

/// A short text that needs no allocation.
struct StackText<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: usize,
}

impl<const BYTES: usize> StackText<BYTES> {
    fn new() -> StackText<BYTES> {
        StackText { bytes: [0; BYTES], length: 0 }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).expect("only texts were written")
    }
}

impl<const BYTES: usize> Write for StackText<BYTES> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// An amount as the short forms show it: a JSON number with exactly the ledger's digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MoneyNumber(pub(crate) MajorUnits);

impl Serialize for MoneyNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

/// An id as the short forms show it: a JSON number below 2^53, which every client reads exactly, else a string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberId(pub(crate) u128);

impl Serialize for NumberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match u64::try_from(self.0) {
            Ok(small) if small < 1 << 53 => serializer.serialize_u64(small),
            _ => Id(self.0).serialize(serializer),
        }
    }
}

/// A moment as answers show it: RFC 3339 in UTC with nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time =
            jiff::Timestamp::from_nanosecond(i128::from(self.0.0)).map_err(|_| std::fmt::Error)?;
        write!(f, "{time:.9}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = StackText::<40>::new();
        write!(text, "{self}").map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(text.as_str())
    }
}

/// A JSON text that is written as it stands, such as metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verbatim<'a>(pub(crate) &'a str);

impl Serialize for Verbatim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_id(json: &str, expected: &str) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let shown = match id(raw) {
            Ok(id) => Id(id).to_string(),
            Err(fault) => format!("{:?}", fault.code),
        };
        assert_eq!(shown, expected, "{json}");
    }

    #[test]
    fn ids_are_read_in_four_forms() {
        check_id("1", "1");
        check_id("0", "0");
        check_id(r#""1""#, "1");
        check_id(r#""007""#, "7");
        check_id(r#""\u0031""#, "1");
        check_id("18446744073709551615", "18446744073709551615");
        check_id("18446744073709551616", "00000000-0000-0001-0000-000000000000");
        check_id("340282366920938463463374607431768211455", "ffffffff-ffff-ffff-ffff-ffffffffffff");
        check_id(
            r#""0190A5B2-0000-7000-8000-00000000000F""#,
            "0190a5b2-0000-7000-8000-00000000000f",
        );
        check_id(r#""00000000-0000-0000-0000-000000000001""#, "1");
        check_id(r#""ext:order-4711""#, "a7cab757-0c85-581e-af86-8aaced64c89c");
        check_id(r#""ext:\u006frder-4711""#, "a7cab757-0c85-581e-af86-8aaced64c89c");
        check_id(r#""ext:\"\\/""#, "728d0275-ad4b-5469-a4c9-3da41585ac98");
        check_id(r#""ext:1""#, "12d0296c-5cc5-51de-9214-69a1f89e618e");
        check_id(r#""ext:ext:1""#, "a8cdabb3-1e7a-5f9d-bead-6083357f19ab");
    }

    #[test]
    fn a_text_is_kept_and_a_reference_has_none() {
        let raw: &RawValue = serde_json::from_str(r#""ext:order-4711""#).unwrap();
        let named = new_id(raw).unwrap().external_id.unwrap();
        assert_eq!(named.text(), "order-4711");
        assert_eq!(data_128(raw).unwrap_err().code, FaultCode::NotAnId);
        let number: &RawValue = serde_json::from_str("7").unwrap();
        assert_eq!((data_128(number), data_128_text("7")), (Ok(7), Ok(7)));
        assert_eq!(new_id(number), Ok(NewId::plain(7)));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for json in [
            "-1",
            "-0",
            "1.0",
            "1e3",
            "340282366920938463463374607431768211456",
            r#""340282366920938463463374607431768211456""#,
            r#""+1""#,
            r#"" 1""#,
            r#""""#,
            r#""abc""#,
            r#""ext:""#,
            r#""EXT:a""#,
            r#""ext:a b""#,
            r#""ext:\u00f6""#,
            r#""ext:\u0000""#,
            r#""0190a5b2000070008000000000000000""#,
            r#""{0190a5b2-0000-7000-8000-000000000000}""#,
            r#""0190a5b2-0000-7000-8000-00000000000g""#,
            "true",
            "[1]",
            "{}",
        ] {
            check_id(json, "NotAnId");
        }
    }

    fn check_amount(json: &str, expected: &str) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let shown = match amount(raw) {
            Ok(AmountInput::Major(decimal)) => decimal.to_string(),
            Ok(AmountInput::Minor(amount)) => format!("{} minor", amount.minor_units()),
            Err(fault) => format!("{:?}", fault.code),
        };
        assert_eq!(shown, expected, "{json}");
    }

    #[test]
    fn amounts_are_read_digit_for_digit() {
        check_amount("10", "10");
        check_amount("10.00", "10.00");
        check_amount(r#""10.5""#, "10.5");
        check_amount("0.1", "0.1");
        check_amount("12345678901234567890.12345", "12345678901234567890.12345");
        check_amount(r#""max""#, "79228162514264337593543950335 minor");
        check_amount("-1", "Signed");
        check_amount(r#""+1""#, "Signed");
        check_amount("1e3", "Exponent");
        check_amount("1E3", "Exponent");
        check_amount(r#""1 ""#, "WhiteSpace");
        check_amount(r#""NaN""#, "NotDigits");
        check_amount(r#""""#, "NotDigits");
        check_amount("79228162514264337593543950336", "TooLarge");
        check_amount("true", "WrongType");
        check_amount("[1]", "WrongType");
        check_amount("{}", "WrongType");
    }

    fn check_time(text: &str, expected: &str) {
        let shown = match time_text(text) {
            Ok(time) => Time(time).to_string(),
            Err(fault) => format!("{:?}", fault.code),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn times_are_rfc_3339() {
        check_time("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000000Z");
        check_time("2026-01-31T12:00:00.5+01:00", "2026-01-31T11:00:00.500000000Z");
        check_time("2026-01-31t12:00:00.123456789z", "2026-01-31T12:00:00.123456789Z");
        check_time("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z");
        for text in [
            "1969-12-31T23:59:59Z",
            "2026-02-30T12:00:00Z",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00Z",
            "2026-01-31",
            "2026-01-31T12:00:00.1234567891Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00Z[UTC]",
            "20260131T120000Z",
            "9999-01-01T00:00:00Z",
            "1769860800",
            "",
        ] {
            check_time(text, "NotATime");
        }
    }

    #[test]
    fn flags_are_names_each_once() {
        fn check(json: &str, expected: &str) {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let shown = match flags::<AccountFlags>(raw) {
                Ok(flags) => serde_json::to_string(&FlagList(flags)).unwrap(),
                Err(fault) => format!("{:?}", fault.code),
            };
            assert_eq!(shown, expected, "{json}");
        }
        check("[]", "[]");
        check(r#"["history","linked"]"#, r#"["linked","history"]"#);
        check(r#"["history","history"]"#, "DuplicateFlag");
        check(r#"["pending"]"#, "UnknownFlag");
        check(r#"["History"]"#, "UnknownFlag");
        check("[1]", "WrongType");
        check(r#""history""#, "WrongType");
        check("3", "WrongType");
    }

    #[test]
    fn integers_have_bounds() {
        fn check(json: &str, expected: &str) {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let shown = match integer(raw, 65_535) {
                Ok(number) => number.to_string(),
                Err(fault) => format!("{:?}", fault.code),
            };
            assert_eq!(shown, expected, "{json}");
        }
        check("0", "0");
        check("65535", "65535");
        check("65536", "OutOfRange");
        check("-1", "OutOfRange");
        check("1.5", "OutOfRange");
        check("1e2", "OutOfRange");
        check(r#""1""#, "WrongType");
        check("null", "WrongType");
        check("99999999999999999999999999999999999999999999", "OutOfRange");
    }

    #[test]
    fn numbers_of_the_short_forms_keep_their_digits() {
        let scale = florin_engine::Scale::try_new(2).unwrap();
        let money = florin_engine::Amount::from_minor(50_000).display(scale);
        assert_eq!(serde_json::to_string(&MoneyNumber(money)).unwrap(), "500.00");
        assert_eq!(
            serde_json::to_string(&NumberId(9_007_199_254_740_991)).unwrap(),
            "9007199254740991"
        );
        assert_eq!(
            serde_json::to_string(&NumberId(9_007_199_254_740_992)).unwrap(),
            "\"9007199254740992\""
        );
    }
}
