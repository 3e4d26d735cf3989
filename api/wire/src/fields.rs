//! Numbers at fixed places of fixed records.

/// The bytes of the field that begins at `at`. Both are constants where it is called, so nothing is checked at run time.
#[inline]
pub(crate) fn get<const N: usize, const L: usize>(record: &[u8; L], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&record[at..at + N]);
    field
}

/// Writes the field that begins at `at`.
#[inline]
pub(crate) fn put<const N: usize, const L: usize>(record: &mut [u8; L], at: usize, field: [u8; N]) {
    record[at..at + N].copy_from_slice(&field);
}
