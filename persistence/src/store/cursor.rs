//! The text of a cursor, opaque and fit for a URL: hexadecimal digits of a version, a body and a check.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use super::page::CursorError;

const CHECK_BYTES: usize = 4;

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let [first, second, third, fourth, ..] = xxh3_64(bytes).to_be_bytes();
    [first, second, third, fourth]
}

/// Writes these bytes, of which the first is the version.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str(&hex::encode(bytes))?;
    f.write_str(&hex::encode(check(bytes)))
}

/// The bytes that were written under this version.
pub(super) fn read<const BYTES: usize>(
    text: &str,
    version: u8,
) -> Result<[u8; BYTES], CursorError> {
    let bytes = hex::decode(text).map_err(|_| CursorError::Damaged)?;
    let (bytes, found) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(CursorError::Damaged)?;
    if *found != check(bytes) {
        return Err(CursorError::Damaged);
    }
    match bytes.first() {
        Some(first) if *first != version => Err(CursorError::OtherVersion),
        _ => bytes.try_into().map_err(|_| CursorError::Damaged),
    }
}
