//! Numbers in columns without affinity: every digit kept, in an order that SQLite sorts right.
//!
//! SQLite's own integers end at 2^63−1 and what is larger would turn into a REAL. So a number is an INTEGER while it fits,
//! then a TEXT of fixed width with leading zeros, then (ids only) a BLOB of its 16 bytes, big-endian. SQLite sorts INTEGER
//! before TEXT before BLOB, and both by their bytes, so comparing columns compares numbers.

use std::sync::Arc;

use florin_engine::{Amount, ExternalId, Metadata};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use sqlx::{Arguments, Decode, Encode, Row, TypeInfo, Value as _, ValueRef};

use crate::store::columns::Columns;
use crate::store::error::StoreError;

const AMOUNT_DIGITS: usize = 29;
const TOTAL_DIGITS: usize = 39;
const SMALL_ID_DIGITS: usize = 20;

/// A number as it is bound: what [`Arguments::add`] is given.
#[derive(Clone, Debug)]
pub(super) enum Column {
    Null,
    Integer(i64),
    Text(String),
    Shared(Arc<str>),
    Blob(Vec<u8>),
}

impl From<i64> for Column {
    fn from(value: i64) -> Column {
        Column::Integer(value)
    }
}

impl From<u32> for Column {
    fn from(value: u32) -> Column {
        Column::Integer(i64::from(value))
    }
}

impl From<u16> for Column {
    fn from(value: u16) -> Column {
        Column::Integer(i64::from(value))
    }
}

/// A count, position or time: below 2^63 for as long as there are ledgers, and refused rather than bent beyond.
pub(super) fn integer(value: u64, what: &'static str) -> Result<Column, StoreError> {
    i64::try_from(value).map(Column::Integer).map_err(|_| StoreError::Unreadable { what })
}

pub(super) fn amount(amount: Amount) -> Column {
    padded(amount.minor_units(), AMOUNT_DIGITS)
}

pub(super) fn total(minor_units: u128) -> Column {
    padded(minor_units, TOTAL_DIGITS)
}

fn padded(value: u128, digits: usize) -> Column {
    match i64::try_from(value) {
        Ok(value) => Column::Integer(value),
        Err(_) => Column::Text(format!("{value:0digits$}")),
    }
}

/// An id, or a reference of the caller's.
pub(super) fn id(value: u128) -> Column {
    if u64::try_from(value).is_ok() {
        padded(value, SMALL_ID_DIGITS)
    } else {
        Column::Blob(value.to_be_bytes().to_vec())
    }
}

pub(super) fn metadata_text(metadata: Option<&Metadata>) -> Column {
    metadata.map_or(Column::Null, |metadata| Column::Shared(Arc::clone(&metadata.text)))
}

pub(super) fn external_id(external_id: Option<&ExternalId>) -> Column {
    external_id.map_or(Column::Null, |external_id| Column::Text(external_id.text().to_owned()))
}

/// The digest's 64 bits as a signed number: it is compared, never ordered.
pub(super) fn metadata_digest(metadata: Option<&Metadata>) -> Column {
    metadata.map_or(Column::Null, |metadata| Column::Integer(metadata.digest.cast_signed()))
}

/// Adds a column to the arguments of a statement.
pub(super) fn bind(arguments: &mut SqliteArguments, column: Column) {
    match column {
        Column::Null => add(arguments, None::<i64>),
        Column::Integer(value) => add(arguments, value),
        Column::Text(value) => add(arguments, value),
        Column::Shared(value) => add(arguments, value),
        Column::Blob(value) => add(arguments, value),
    }
}

fn add<'t>(arguments: &mut SqliteArguments, value: impl Encode<'t, Sqlite> + sqlx::Type<Sqlite>) {
    arguments.add(value).expect("integers, texts and blobs always encode");
}

/// The columns of one row, read from left to right.
pub(super) struct Reader<'r> {
    row: &'r SqliteRow,
    next: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(row: &'r SqliteRow) -> Reader<'r> {
        Reader { row, next: 0 }
    }

    pub(super) fn column(&mut self, what: &'static str) -> Result<Column, StoreError> {
        let unreadable = |_| StoreError::Unreadable { what };
        let value = self.row.try_get_raw(self.next).map_err(unreadable)?;
        self.next += 1;
        if value.is_null() {
            return Ok(Column::Null);
        }
        // An expression has no declared type, so the type is that of the value itself.
        let kind = value.type_info().name().to_owned();
        let value = ValueRef::to_owned(&value);
        let unreadable = |_| StoreError::Unreadable { what };
        match kind.as_str() {
            "INTEGER" => <i64 as Decode<Sqlite>>::decode(value.as_ref())
                .map(Column::Integer)
                .map_err(unreadable),
            "TEXT" => <String as Decode<Sqlite>>::decode(value.as_ref())
                .map(Column::Text)
                .map_err(unreadable),
            "BLOB" => <Vec<u8> as Decode<Sqlite>>::decode(value.as_ref())
                .map(Column::Blob)
                .map_err(unreadable),
            _ => Err(StoreError::Unreadable { what }),
        }
    }
}

impl Columns for Reader<'_> {
    fn optional_u64(&mut self, what: &'static str) -> Result<Option<u64>, StoreError> {
        match self.column(what)? {
            Column::Null => Ok(None),
            Column::Integer(value) => {
                u64::try_from(value).map(Some).map_err(|_| StoreError::Unreadable { what })
            }
            _ => Err(StoreError::Unreadable { what }),
        }
    }

    fn optional_minor_units(&mut self, what: &'static str) -> Result<Option<u128>, StoreError> {
        let column = self.column(what)?;
        let digits = match &column {
            Column::Null => return Ok(None),
            Column::Text(text) if text.len() == AMOUNT_DIGITS => AMOUNT_DIGITS,
            _ => TOTAL_DIGITS,
        };
        number(column, digits).map(Some).ok_or(StoreError::Unreadable { what })
    }

    fn optional_id(&mut self, what: &'static str) -> Result<Option<u128>, StoreError> {
        let id = match self.column(what)? {
            Column::Null => return Ok(None),
            Column::Blob(bytes) => bytes.try_into().ok().map(u128::from_be_bytes),
            small => number(small, SMALL_ID_DIGITS),
        };
        id.map(Some).ok_or(StoreError::Unreadable { what })
    }

    fn reference(&mut self, _bits: u32, what: &'static str) -> Result<u128, StoreError> {
        self.id(what)
    }

    fn optional_text(&mut self, what: &'static str) -> Result<Option<String>, StoreError> {
        match self.column(what)? {
            Column::Null => Ok(None),
            Column::Text(text) => Ok(Some(text)),
            _ => Err(StoreError::Unreadable { what }),
        }
    }

    fn optional_blob(&mut self, what: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.column(what)? {
            Column::Null => Ok(None),
            Column::Blob(bytes) => Ok(Some(bytes)),
            _ => Err(StoreError::Unreadable { what }),
        }
    }

    fn optional_digest(&mut self, what: &'static str) -> Result<Option<u64>, StoreError> {
        match self.column(what)? {
            Column::Null => Ok(None),
            Column::Integer(digest) => Ok(Some(digest.cast_unsigned())),
            _ => Err(StoreError::Unreadable { what }),
        }
    }
}

/// The number in a column whose TEXT has exactly so many digits.
fn number(column: Column, digits: usize) -> Option<u128> {
    match column {
        Column::Integer(value) => u128::try_from(value).ok(),
        Column::Text(text) if text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok()
        }
        _ => None,
    }
}
