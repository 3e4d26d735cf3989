//! The `Idempotency-Key`: how it is read, digested, and kept from running twice at once.
//!
//! The ledger remembers a key as two digests, for ever. Both are part of the durable format: the same key and content must
//! give the same digests after years.
//!
//! - the key's hash: XXH3-128 of its text, without quotes, with the seed [`KEY_SEED`];
//! - the fingerprint: XXH3-64 of method, path and content, as `fingerprint` lays them out.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::error::ApiError;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Characters of a key's text.
const KEY_CHARS_MAX: usize = 255;
/// Sets the hashes of keys apart from other uses of the same hash. Part of the durable format.
const KEY_SEED: u64 = 0x666c_6f72_696e_6b65;

/// The hash of the request's key, if it has one.
pub(crate) fn hash_of(headers: &HeaderMap) -> Result<Option<u128>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::InvalidIdempotencyKey { reason: "must stand once" });
    }
    read(value.as_bytes()).map(|text| Some(xxh3_128_with_seed(&text, KEY_SEED)))
}

/// The key's text, without quotes and escapes.
pub(super) fn read(value: &[u8]) -> Result<Cow<'_, [u8]>, ApiError> {
    let invalid = |reason| ApiError::InvalidIdempotencyKey { reason };
    let text = match value {
        [b'"', inside @ .., b'"'] => Cow::Owned(unescape(inside).ok_or_else(|| {
            invalid("is not one text in quotes; a quote or backslash inside needs a backslash")
        })?),
        [b'"', ..] => return Err(invalid("has no closing quote")),
        bare => Cow::Borrowed(bare),
    };
    if !(1..=KEY_CHARS_MAX).contains(&text.len()) {
        return Err(invalid("must have 1 to 255 characters"));
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(invalid("must have visible ASCII characters only"));
    }
    Ok(text)
}

/// The inside of a quoted text: a backslash goes before each quote and backslash, and before nothing else.
fn unescape(inside: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => text.push(*bytes.next().filter(|next| matches!(next, b'"' | b'\\'))?),
            b'"' => return None,
            byte => text.push(*byte),
        }
    }
    Some(text)
}

/// The keys whose first request runs in this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeysInFlight(Arc<DashMap<u128, ()>>);

impl KeysInFlight {
    /// Takes the key until the returned claim is dropped.
    pub(crate) fn claim(&self, hash: u128) -> Result<KeyClaim, ApiError> {
        match self.0.entry(hash) {
            Entry::Occupied(_) => Err(ApiError::RequestInProgress),
            Entry::Vacant(vacant) => {
                vacant.insert(());
                Ok(KeyClaim { keys: self.0.clone(), hash })
            }
        }
    }
}

/// One use of a key, as long as it runs. A client that goes away ends it; what it asked for is then guarded by the ledger.
#[derive(Debug)]
pub(crate) struct KeyClaim {
    keys: Arc<DashMap<u128, ()>>,
    hash: u128,
}

impl Drop for KeyClaim {
    fn drop(&mut self) {
        self.keys.remove(&self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &str) {
        let shown = match read(value.as_bytes()) {
            Ok(text) => String::from_utf8(text.into_owned()).unwrap(),
            Err(ApiError::InvalidIdempotencyKey { reason }) => format!("400 {reason}"),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(shown, expected, "{value}");
    }

    #[test]
    fn keys_are_bare_or_quoted() {
        check("order-1", "order-1");
        check(r#""order-1""#, "order-1");
        check(r#""a\"b\\c""#, r#"a"b\c"#);
        check(r"a\b", r"a\b");
        check(&"x".repeat(255), &"x".repeat(255));
        check(&format!("\"{}\"", "x".repeat(255)), &"x".repeat(255));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        check("", "400 must have 1 to 255 characters");
        check(r#""""#, "400 must have 1 to 255 characters");
        check(&"x".repeat(256), "400 must have 1 to 255 characters");
        check("a b", "400 must have visible ASCII characters only");
        check("\"a b\"", "400 must have visible ASCII characters only");
        check("schlüssel", "400 must have visible ASCII characters only");
        check(r#"""#, "400 has no closing quote");
        check(r#""abc"#, "400 has no closing quote");
        let quotes = "400 is not one text in quotes; a quote or backslash inside needs a backslash";
        check(r#""a"b""#, quotes);
        check(r#""a\n""#, quotes);
        check(r#""a\""#, quotes);
    }

    #[test]
    fn a_key_is_used_once_at_a_time() {
        let keys = KeysInFlight::default();
        let claim = keys.claim(1).unwrap();
        assert!(matches!(keys.claim(1), Err(ApiError::RequestInProgress)));
        drop(keys.claim(2).unwrap());
        drop(claim);
        assert!(keys.claim(1).is_ok());
    }

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(
            xxh3_128_with_seed(b"order-1", KEY_SEED),
            HASH_OF_ORDER_1,
            "a stored key must be found again for ever"
        );
    }

    const HASH_OF_ORDER_1: u128 = 85_920_075_962_269_653_415_196_097_036_191_134_083;
}
