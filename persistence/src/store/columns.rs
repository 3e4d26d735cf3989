//! The columns of a row, whatever database it is from.

use florin_engine::{Amount, ExternalId, Metadata};

use super::error::StoreError;

/// Reads the columns of one row from left to right. Each says what it is, for the error when it holds what it can not.
pub(super) trait Columns {
    /// A count, position or time, or NULL.
    fn optional_u64(&mut self, what: &'static str) -> Result<Option<u64>, StoreError>;
    /// An amount or a total in minor units, or NULL.
    fn optional_minor_units(&mut self, what: &'static str) -> Result<Option<u128>, StoreError>;
    /// An id, or NULL.
    fn optional_id(&mut self, what: &'static str) -> Result<Option<u128>, StoreError>;
    /// A reference of the caller's of 128, 64 or 32 bits, however the database keeps zero.
    fn reference(&mut self, bits: u32, what: &'static str) -> Result<u128, StoreError>;
    /// A text, or NULL.
    fn optional_text(&mut self, what: &'static str) -> Result<Option<String>, StoreError>;
    /// Bytes, or NULL.
    fn optional_blob(&mut self, what: &'static str) -> Result<Option<Vec<u8>>, StoreError>;
    /// 64 bits that are kept as a signed number, or NULL.
    fn optional_digest(&mut self, what: &'static str) -> Result<Option<u64>, StoreError>;

    fn u64(&mut self, what: &'static str) -> Result<u64, StoreError> {
        self.optional_u64(what)?.ok_or(StoreError::Unreadable { what })
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, StoreError> {
        u32::try_from(self.u64(what)?).map_err(|_| StoreError::Unreadable { what })
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, StoreError> {
        u16::try_from(self.u64(what)?).map_err(|_| StoreError::Unreadable { what })
    }

    fn minor_units(&mut self, what: &'static str) -> Result<u128, StoreError> {
        self.optional_minor_units(what)?.ok_or(StoreError::Unreadable { what })
    }

    fn optional_amount(&mut self, what: &'static str) -> Result<Option<Amount>, StoreError> {
        match self.optional_minor_units(what)? {
            None => Ok(None),
            Some(units) => Amount::try_new(units).map(Some).ok_or(StoreError::Unreadable { what }),
        }
    }

    fn amount(&mut self, what: &'static str) -> Result<Amount, StoreError> {
        Amount::try_new(self.minor_units(what)?).ok_or(StoreError::Unreadable { what })
    }

    fn id(&mut self, what: &'static str) -> Result<u128, StoreError> {
        self.optional_id(what)?.ok_or(StoreError::Unreadable { what })
    }

    fn text(&mut self, what: &'static str) -> Result<String, StoreError> {
        self.optional_text(what)?.ok_or(StoreError::Unreadable { what })
    }

    fn blob(&mut self, what: &'static str) -> Result<Vec<u8>, StoreError> {
        self.optional_blob(what)?.ok_or(StoreError::Unreadable { what })
    }

    /// The text that `id` stands for, if it was created by one.
    fn external_id(&mut self, id: u128) -> Result<Option<ExternalId>, StoreError> {
        let what = "external_id";
        let Some(text) = self.optional_text(what)? else { return Ok(None) };
        let external_id = ExternalId::try_new(&text).ok().filter(|found| found.id() == id);
        external_id.map(Some).ok_or(StoreError::Unreadable { what })
    }

    /// The metadata's text, and its digest after it.
    fn metadata(&mut self) -> Result<Option<Metadata>, StoreError> {
        let text = self.optional_text("metadata")?;
        let digest = self.optional_digest("metadata_digest")?;
        match (text, digest) {
            (None, None) => Ok(None),
            (Some(text), Some(digest)) => Ok(Some(Metadata { text: text.into(), digest })),
            _ => Err(StoreError::Unreadable { what: "metadata" }),
        }
    }
}
