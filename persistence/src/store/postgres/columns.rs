//! Columns as PostgreSQL sends them in binary.

use sqlx::postgres::{PgRow, PgValueFormat};
use sqlx::{Row, ValueRef};

use super::binary::whole_numeric;
use crate::store::columns::Columns;
use crate::store::error::StoreError;

/// A count, position or time: below 2^63 for as long as there are ledgers, and refused rather than bent beyond.
pub(super) fn bigint(value: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Unreadable { what })
}

/// The columns of one row, read from left to right.
pub(super) struct Reader<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Reader<'r> {
    pub(super) fn new(row: &'r PgRow) -> Reader<'r> {
        Reader { row, next: 0 }
    }

    fn bytes(&mut self, what: &'static str) -> Result<Option<&'r [u8]>, StoreError> {
        let unreadable = StoreError::Unreadable { what };
        let Ok(value) = self.row.try_get_raw(self.next) else { return Err(unreadable) };
        self.next += 1;
        if value.is_null() {
            return Ok(None);
        }
        match (value.format(), value.as_bytes()) {
            (PgValueFormat::Binary, Ok(bytes)) => Ok(Some(bytes)),
            _ => Err(unreadable),
        }
    }

    fn signed(&mut self, what: &'static str) -> Result<Option<i64>, StoreError> {
        let Some(bytes) = self.bytes(what)? else { return Ok(None) };
        if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
            return Ok(Some(i64::from_be_bytes(bytes)));
        }
        let bytes = <[u8; 4]>::try_from(bytes).map_err(|_| StoreError::Unreadable { what })?;
        Ok(Some(i64::from(i32::from_be_bytes(bytes))))
    }
}

impl Columns for Reader<'_> {
    fn optional_u64(&mut self, what: &'static str) -> Result<Option<u64>, StoreError> {
        let value = self.signed(what)?.map(u64::try_from).transpose();
        value.map_err(|_| StoreError::Unreadable { what })
    }

    fn optional_minor_units(&mut self, what: &'static str) -> Result<Option<u128>, StoreError> {
        match self.bytes(what)? {
            None => Ok(None),
            Some(bytes) => whole_numeric(bytes).map(Some).ok_or(StoreError::Unreadable { what }),
        }
    }

    fn optional_id(&mut self, what: &'static str) -> Result<Option<u128>, StoreError> {
        let Some(bytes) = self.bytes(what)? else { return Ok(None) };
        let bytes = bytes.try_into().map_err(|_| StoreError::Unreadable { what })?;
        Ok(Some(u128::from_be_bytes(bytes)))
    }

    /// Zero is NULL, so that no index holds it.
    fn reference(&mut self, bits: u32, what: &'static str) -> Result<u128, StoreError> {
        match bits {
            128 => Ok(self.optional_id(what)?.unwrap_or(0)),
            64 => match self.bytes(what)? {
                None => Ok(0),
                Some(bytes) => whole_numeric(bytes).ok_or(StoreError::Unreadable { what }),
            },
            _ => Ok(u128::from(self.optional_u64(what)?.unwrap_or(0))),
        }
    }

    fn optional_text(&mut self, what: &'static str) -> Result<Option<String>, StoreError> {
        let text = self.bytes(what)?.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
        text.map_err(|_| StoreError::Unreadable { what })
    }

    fn optional_blob(&mut self, what: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.bytes(what)?.map(<[u8]>::to_vec))
    }

    fn optional_digest(&mut self, what: &'static str) -> Result<Option<u64>, StoreError> {
        Ok(self.signed(what)?.map(i64::cast_unsigned))
    }
}
