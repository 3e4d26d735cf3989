//! Values as PostgreSQL sends and takes them in binary: a length of four bytes, or -1 for NULL, and the bytes.
//!
//! Rows of a `COPY` and elements of an array are made of the same fields, so both are written by [`Binary`]. A batch has
//! hundreds of thousands of fields: they go straight into one buffer that is kept.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, Postgres};
use sqlx::{Encode, Type};

/// A numeric has digits to this base.
const NUMERIC_BASE: u64 = 10_000;
/// 2^128-1 has ten of them.
const NUMERIC_DIGITS_MAX: usize = 10;

/// A buffer of fields.
#[derive(Debug, Default)]
pub(super) struct Binary(Vec<u8>);

impl Binary {
    pub(super) fn with_capacity(bytes: usize) -> Binary {
        Binary(Vec::with_capacity(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fields that were written, each with its length.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes();
        std::iter::from_fn(move || {
            let (length, _) = rest.split_first_chunk::<4>()?;
            let bytes = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            let (field, later) = rest.split_at_checked(4 + bytes)?;
            rest = later;
            Some(field)
        })
    }

    /// Bytes that are no field.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Binary {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn null(&mut self) -> &mut Binary {
        self.raw(&(-1_i32).to_be_bytes())
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Binary {
        // No field comes near 2 GiB: the largest is a journal record.
        self.raw(&(bytes.len() as i32).to_be_bytes()).raw(bytes)
    }

    /// An `integer`.
    pub(super) fn integer(&mut self, value: i32) -> &mut Binary {
        self.field(&value.to_be_bytes())
    }

    /// A `bigint`.
    pub(super) fn bigint(&mut self, value: i64) -> &mut Binary {
        self.field(&value.to_be_bytes())
    }

    /// An id as a `uuid`.
    pub(super) fn id(&mut self, value: u128) -> &mut Binary {
        self.field(&value.to_be_bytes())
    }

    /// A whole `numeric`.
    pub(super) fn numeric(&mut self, value: u128) -> &mut Binary {
        let mut digits = [0_u16; NUMERIC_DIGITS_MAX];
        let mut first = NUMERIC_DIGITS_MAX;
        let mut wide = value;
        // Most amounts need no division of 128 bits, which is slow.
        let mut rest = loop {
            if let Ok(rest) = u64::try_from(wide) {
                break rest;
            }
            first -= 1;
            digits[first] = (wide % u128::from(NUMERIC_BASE)) as u16;
            wide /= u128::from(NUMERIC_BASE);
        };
        while rest > 0 {
            first -= 1;
            digits[first] = (rest % NUMERIC_BASE) as u16;
            rest /= NUMERIC_BASE;
        }
        let digits = &digits[first..];
        let weight = digits.len().saturating_sub(1) as i16;
        let kept = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        self.raw(&(8 + 2 * kept as i32).to_be_bytes());
        self.raw(&(kept as i16).to_be_bytes()).raw(&weight.to_be_bytes());
        // Its sign is plus, and it has no digits after the point.
        self.raw(&[0; 4]);
        for digit in &digits[..kept] {
            self.0.extend_from_slice(&digit.to_be_bytes());
        }
        self
    }

    /// A `text`.
    pub(super) fn text(&mut self, value: &str) -> &mut Binary {
        self.field(value.as_bytes())
    }

    /// A `bytea`.
    pub(super) fn bytea(&mut self, value: &[u8]) -> &mut Binary {
        self.field(value)
    }

    /// A `jsonb`, which is sent as its text behind the version of that form.
    pub(super) fn jsonb(&mut self, text: &str) -> &mut Binary {
        self.raw(&(text.len() as i32 + 1).to_be_bytes()).raw(&[1]).raw(text.as_bytes())
    }
}

/// A whole number out of a `numeric`; none for what is negative, a fraction, NaN or beyond 128 bits.
pub(super) fn whole_numeric(bytes: &[u8]) -> Option<u128> {
    let (head, digits) = bytes.split_first_chunk::<8>()?;
    let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign) = (usize::from(number(0)), number(2) as i16, number(4));
    if sign != 0 || digits.len() != 2 * count {
        return None;
    }
    let whole = usize::try_from(i32::from(weight) + 1).ok()?;
    if count > whole || whole > NUMERIC_DIGITS_MAX {
        return (count == 0).then_some(0);
    }
    let mut digits = digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    (0..whole).try_fold(0_u128, |value, _| {
        let digit = digits.next().unwrap_or(0);
        value.checked_mul(u128::from(NUMERIC_BASE))?.checked_add(u128::from(digit))
    })
}

/// The types that are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bigint,
    Integer,
    Numeric,
    Uuid,
    Text,
    Bytea,
    Jsonb,
}

impl Kind {
    /// PostgreSQL's number of the type, and of arrays of it: fixed since the types were made.
    fn oids(self) -> (u32, u32) {
        match self {
            Kind::Bigint => (20, 1016),
            Kind::Integer => (23, 1007),
            Kind::Numeric => (1700, 1231),
            Kind::Uuid => (2950, 2951),
            Kind::Text => (25, 1009),
            Kind::Bytea => (17, 1001),
            Kind::Jsonb => (3802, 3807),
        }
    }
}

/// A value as it is bound to a statement.
#[derive(Clone, Debug)]
pub(super) struct Value {
    type_oid: u32,
    bytes: Vec<u8>,
}

impl Value {
    fn one(kind: Kind, write: impl FnOnce(&mut Binary) -> &mut Binary) -> Value {
        let mut field = Binary::default();
        write(&mut field);
        Value { type_oid: kind.oids().0, bytes: field.0.split_off(4) }
    }

    pub(super) fn id(value: u128) -> Value {
        Value::one(Kind::Uuid, |field| field.id(value))
    }

    pub(super) fn numeric(value: u128) -> Value {
        Value::one(Kind::Numeric, |field| field.numeric(value))
    }

    pub(super) fn bytea(value: &[u8]) -> Value {
        Value::one(Kind::Bytea, |field| field.bytea(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::one(Kind::Bigint, |field| field.bigint(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::from(i64::from(value))
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Value {
        Value::one(Kind::Integer, |field| field.integer(i32::from(value)))
    }
}

/// An array as it is gathered.
pub(super) struct Array {
    kind: Kind,
    elements: i32,
    fields: Binary,
}

impl Array {
    pub(super) fn new(kind: Kind, elements: usize) -> Array {
        let mut fields = Binary::with_capacity(20 + 20 * elements);
        // One dimension, whatever NULLs, the type; then how many elements, counted from 1.
        fields.raw(&1_i32.to_be_bytes()).raw(&[0; 4]).raw(&kind.oids().0.to_be_bytes());
        fields.raw(&[0; 4]).raw(&1_i32.to_be_bytes());
        Array { kind, elements: 0, fields }
    }

    /// The next element is the one field that is written.
    pub(super) fn next(&mut self) -> &mut Binary {
        self.elements += 1;
        &mut self.fields
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Value {
        let mut bytes = array.fields.0;
        bytes[12..16].copy_from_slice(&array.elements.to_be_bytes());
        Value { type_oid: array.kind.oids().1, bytes }
    }
}

impl Type<Postgres> for Value {
    /// Never asked: each value [produces](Encode::produces) its own.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("unknown")
    }
}

impl Encode<'_, Postgres> for Value {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.type_oid)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_comes_back_whatever_its_digits() {
        let mut values = vec![0, 1, 9_999, 10_000, 10_001, 1250, u128::from(u64::MAX), u128::MAX];
        values.extend((0..39).map(|digits| 10_u128.pow(digits)));
        values.extend((0..128).map(|bit| (1_u128 << bit) + 12));
        for value in values {
            let mut field = Binary::default();
            field.numeric(value);
            let (length, bytes) = field.bytes().split_first_chunk::<4>().unwrap();
            assert_eq!(i32::from_be_bytes(*length) as usize, bytes.len());
            assert_eq!(whole_numeric(bytes), Some(value));
        }
    }

    #[test]
    fn fields_come_back_one_by_one() {
        let mut row = Binary::default();
        row.bigint(-1).null().text("ö").text("").jsonb("{}").numeric(0);
        let lengths: Vec<usize> = row.fields().map(<[u8]>::len).collect();
        assert_eq!(lengths, [12, 4, 6, 4, 7, 12]);
        assert_eq!(row.fields().flatten().copied().collect::<Vec<u8>>(), row.bytes());
    }

    #[test]
    fn what_is_no_whole_number_is_not_read_as_one() {
        // One digit 5: 5, 0.0005, -5, NaN; then ten thousand to the 10th, cut short, and nothing.
        let number = |weight: i16, sign: u16| {
            let mut bytes = vec![0, 1];
            bytes.extend(weight.to_be_bytes());
            bytes.extend(sign.to_be_bytes());
            bytes.extend([0, 0, 0, 5]);
            bytes
        };
        assert_eq!(whole_numeric(&number(0, 0)), Some(5));
        for bytes in
            [number(-1, 0), number(0, 0x4000), number(0, 0xC000), number(10, 0), vec![0, 1], vec![]]
        {
            assert_eq!(whole_numeric(&bytes), None, "{bytes:?}");
        }
        assert_eq!(whole_numeric(&number(0, 0)[..9]), None);
    }
}
