//! The bytes that records and snapshots are made of: little-endian integers of fixed size, and varints.
//!
//! A varint is LEB128: seven bits a byte, the lowest first, the top bit set on all bytes but the last. Only the shortest form is
//! read, so that whatever can be read has one form only.

use florin_engine::{Amount, RejectionNumberError};

/// What is wrong with bytes that were to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// They end too early.
    #[error("the bytes end within a value")]
    Truncated,
    /// They go on after the end.
    #[error("bytes follow after the end")]
    TrailingBytes,
    /// Written by a newer program, or damaged.
    #[error("version {0} is not known to this program")]
    UnknownVersion(u8),
    /// A kind that this program does not know.
    #[error("kind {0} is not known to this program")]
    UnknownKind(u8),
    /// A presence bit or flag that this program does not know.
    #[error("a bit is set that has no meaning to this program")]
    UnknownBit,
    /// A value that has a shorter form, or is present although it says nothing.
    #[error("a value is not in its shortest form")]
    NotShortest,
    /// A number beyond the range of what it counts.
    #[error("a number is out of range")]
    OutOfRange,
    /// A count or length that can not be true.
    #[error("a count is larger than the bytes that are left could hold")]
    CountTooLarge,
    /// An index into the table of accounts that points behind its end.
    #[error("an index points behind the end of the table of accounts")]
    IndexOutOfRange,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A text that is too short or long for an external id, or has other characters than visible ASCII.
    #[error("a text can be no external id")]
    ExternalId,
    /// A transaction is not followed by all its legs.
    #[error("a transaction is not followed by its legs")]
    MissingLegs,
    /// No rejection has this number and figures.
    #[error("{0}")]
    Rejection(RejectionNumberError),
    /// An id at or below the one before it, where ids ascend.
    #[error("an id is not above the one before it")]
    NotAscending,
}

/// Bytes that can not be read, and where they stop making sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it can not be read at its byte {offset}: {problem}")]
pub struct Malformed {
    /// Where the value begins that makes no sense, counted from the first byte.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

const CONTINUED: u64 = 0x8080_8080_8080_8080;
const SHORT_BITS: u32 = 56;

/// Moves each seven bits of a number below 2^56 into a byte of their own. Branches would depend on the size of amounts,
/// which no predictor foresees.
const fn spread(value: u64) -> u64 {
    let value = (value & 0x00ff_ffff_f000_0000) << 4 | value & 0x0fff_ffff;
    let value = (value & 0x0fff_c000_0fff_c000) << 2 | value & 0x0000_3fff_0000_3fff;
    (value & 0x3f80_3f80_3f80_3f80) << 1 | value & 0x007f_007f_007f_007f
}

/// The opposite of [`spread`].
const fn gather(value: u64) -> u64 {
    let value = (value & 0x7f00_7f00_7f00_7f00) >> 1 | value & 0x007f_007f_007f_007f;
    let value = (value & 0x3fff_0000_3fff_0000) >> 2 | value & 0x0000_3fff_0000_3fff;
    (value & 0x0fff_ffff_0000_0000) >> 4 | value & 0x0fff_ffff
}

/// Gathers the fixed part of one entry, so that the output grows once for it and not once for each field.
pub(crate) struct Scratch {
    bytes: [u8; Scratch::CAPACITY],
    length: usize,
}

impl Scratch {
    /// More than the longest fixed part, which is that of a transfer with every field at its largest (below 210 bytes).
    const CAPACITY: usize = 256;

    #[inline]
    pub(crate) const fn new() -> Scratch {
        Scratch { bytes: [0; Scratch::CAPACITY], length: 0 }
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.array([byte]);
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.length..self.length + N].copy_from_slice(&bytes);
        self.length += N;
    }

    #[inline]
    pub(crate) fn varint(&mut self, value: u64) {
        if value >> SHORT_BITS != 0 {
            self.long_varint(u128::from(value));
            return;
        }
        let bits = u64::BITS - (value | 1).leading_zeros();
        let length = bits.div_ceil(7) as usize;
        let continued = CONTINUED & ((1 << (8 * (length - 1))) - 1);
        let bytes = (spread(value) | continued).to_le_bytes();
        self.bytes[self.length..self.length + 8].copy_from_slice(&bytes);
        self.length += length;
    }

    #[inline]
    pub(crate) fn varint_u128(&mut self, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.varint(value),
            Err(_) => self.long_varint(value),
        }
    }

    #[cold]
    fn long_varint(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline]
    pub(crate) fn amount(&mut self, amount: Amount) {
        self.varint_u128(amount.minor_units());
    }

    /// A signed number as a varint whose lowest bit is the sign, so that small debts are as short as small riches.
    pub(crate) fn signed(&mut self, value: i128) {
        self.varint_u128(((value << 1) ^ (value >> 127)) as u128);
    }

    /// Moves what was gathered to the end of `out`.
    #[inline]
    pub(crate) fn drain_to(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes[..self.length]);
        self.length = 0;
    }
}

/// Appends a text with its length before it.
pub(crate) fn put_text(scratch: &mut Scratch, text: &str, out: &mut Vec<u8>) {
    scratch.varint(text.len() as u64);
    scratch.drain_to(out);
    out.extend_from_slice(text.as_bytes());
}

/// Reads bytes from front to back, and knows where it is.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes, total: bytes.len() }
    }

    pub(crate) const fn offset(&self) -> usize {
        self.total - self.rest.len()
    }

    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    #[cold]
    pub(crate) const fn malformed(&self, problem: Problem) -> Malformed {
        Malformed { offset: self.offset(), problem }
    }

    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(length) {
            Some((slice, rest)) => {
                self.rest = rest;
                Ok(slice)
            }
            None => Err(self.malformed(Problem::Truncated)),
        }
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest.split_first_chunk() {
            Some((chunk, rest)) => {
                self.rest = rest;
                Ok(*chunk)
            }
            None => Err(self.malformed(Problem::Truncated)),
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_le_bytes)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.short_varint()? {
            Some(value) => Ok(value),
            None => self.narrow(Self::long_varint),
        }
    }

    #[inline]
    pub(crate) fn varint_u128(&mut self) -> Result<u128, Malformed> {
        match self.short_varint()? {
            Some(value) => Ok(u128::from(value)),
            None => self.long_varint(),
        }
    }

    /// Reads a varint of up to eight bytes at once, if eight bytes are left and it ends within them.
    #[inline]
    fn short_varint(&mut self) -> Result<Option<u64>, Malformed> {
        let Some(chunk) = self.rest.first_chunk::<8>() else {
            return Ok(None);
        };
        let word = u64::from_le_bytes(*chunk);
        let ends = !word & CONTINUED;
        if ends == 0 {
            return Ok(None);
        }
        let bits = ends.trailing_zeros() + 1;
        let value = gather(word & (u64::MAX >> (u64::BITS - bits)) & !CONTINUED);
        let length = bits as usize / 8;
        // The last byte holds the highest seven bits: were they zero, the byte before could have been the last.
        if length > 1 && value >> (7 * (length - 1)) == 0 {
            return Err(self.malformed(Problem::NotShortest));
        }
        self.rest = &self.rest[length..];
        Ok(Some(value))
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u128, Malformed> {
        let start = self.malformed(Problem::OutOfRange);
        let mut value = 0_u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let shifted = bits << shift;
            if shifted >> shift != bits {
                return Err(start);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                let longer_than_needed = byte == 0 && shift > 0;
                return if longer_than_needed {
                    Err(Malformed { problem: Problem::NotShortest, ..start })
                } else {
                    Ok(value)
                };
            }
        }
        Err(start)
    }

    /// Reads with `read` a number that must fit a smaller type.
    #[inline]
    fn narrow<Wide, Narrow: TryFrom<Wide>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Wide, Malformed>,
    ) -> Result<Narrow, Malformed> {
        let start = self.rest;
        let wide = read(self)?;
        Narrow::try_from(wide).map_err(|_| {
            self.rest = start;
            self.malformed(Problem::OutOfRange)
        })
    }

    #[inline]
    pub(crate) fn varint_u32(&mut self) -> Result<u32, Malformed> {
        self.narrow(Self::varint)
    }

    #[inline]
    pub(crate) fn varint_u16(&mut self) -> Result<u16, Malformed> {
        self.narrow(Self::varint)
    }

    #[inline]
    pub(crate) fn amount(&mut self) -> Result<Amount, Malformed> {
        let offset = self.offset();
        Amount::try_new(self.varint_u128()?)
            .ok_or(Malformed { offset, problem: Problem::OutOfRange })
    }

    pub(crate) fn signed(&mut self) -> Result<i128, Malformed> {
        let folded = self.varint_u128()?;
        Ok((folded >> 1) as i128 ^ -((folded & 1) as i128))
    }

    /// A count of things of which each takes at least `least_bytes`, so that no count makes us reserve more than a multiple of what is there.
    pub(crate) fn count(&mut self, least_bytes: usize) -> Result<usize, Malformed> {
        let offset = self.offset();
        let count = self.varint()?;
        if count > (self.left() / least_bytes) as u64 {
            return Err(Malformed { offset, problem: Problem::CountTooLarge });
        }
        Ok(count as usize)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = self.count(1)?;
        let offset = self.offset();
        str::from_utf8(self.slice(length)?)
            .map_err(|_| Malformed { offset, problem: Problem::NotUtf8 })
    }

    /// Reads with `read` a field that is written only when it differs from `implied`.
    #[inline]
    pub(crate) fn unlike<T: PartialEq>(
        &mut self,
        implied: T,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let offset = self.offset();
        let value = read(self)?;
        if value == implied {
            return Err(Malformed { offset, problem: Problem::NotShortest });
        }
        Ok(value)
    }

    /// Reads with `read` what must have a meaning beyond being a number.
    #[inline]
    pub(crate) fn checked<Raw, T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<Raw, Malformed>,
        meaning: impl FnOnce(Raw) -> Result<T, Problem>,
    ) -> Result<T, Malformed> {
        let offset = self.offset();
        let raw = read(self)?;
        meaning(raw).map_err(|problem| Malformed { offset, problem })
    }

    /// Makes sure that nothing is left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed(Problem::TrailingBytes)) }
    }
}

/// Which of its optional fields an entry has: one bit each.
#[derive(Clone, Copy)]
pub(crate) struct Presence(u64);

impl Presence {
    /// The bits whose condition holds.
    #[inline]
    pub(crate) fn of<const N: usize>(fields: [(u64, bool); N]) -> Presence {
        Presence(fields.into_iter().fold(
            0,
            |bits, (bit, is_present)| {
                if is_present { bits | bit } else { bits }
            },
        ))
    }

    /// The bits that were read, unless one is not among those `known`.
    pub(crate) fn try_of(bits: u64, known: u64) -> Result<Presence, Problem> {
        if bits & !known == 0 { Ok(Presence(bits)) } else { Err(Problem::UnknownBit) }
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn has(self, bit: u64) -> bool {
        self.0 & bit != 0
    }

    /// Reads the field of this bit with `read` where it is present; it must say something then.
    pub(crate) fn read<'a, T: PartialEq + Default>(
        self,
        bit: u64,
        cursor: &mut Cursor<'a>,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        if self.has(bit) { cursor.unlike(T::default(), read) } else { Ok(T::default()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: u128) -> Vec<u8> {
        let mut scratch = Scratch::new();
        scratch.varint_u128(value);
        let mut bytes = Vec::new();
        scratch.drain_to(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<u128, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let value = cursor.varint_u128()?;
        cursor.end()?;
        Ok(value)
    }

    #[test]
    fn varints_are_leb128() {
        assert_eq!(written(0), [0]);
        assert_eq!(written(127), [0x7f]);
        assert_eq!(written(128), [0x80, 1]);
        assert_eq!(written(300), [0xac, 2]);
        assert_eq!(written((1 << 56) - 1), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(written(1 << 56), [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]);
        assert_eq!(written(Amount::MAX.minor_units()).len(), 14);
        assert_eq!(written(u128::MAX).len(), 19);
    }

    #[test]
    fn at_each_power_of_two_and_around_it_a_varint_is_read_again() {
        for bit in 0..u128::BITS {
            for value in [1_u128 << bit, (1 << bit) - 1, u128::MAX >> bit] {
                let mut bytes = written(value);
                assert_eq!(read(&bytes), Ok(value));
                // With eight bytes behind it, it is read at once.
                bytes.extend([0xff; 8]);
                assert_eq!(Cursor::new(&bytes).varint_u128(), Ok(value));
            }
        }
    }

    #[test]
    fn only_the_shortest_varint_in_range_is_read() {
        fn refused<T>(offset: usize, problem: Problem) -> Result<T, Malformed> {
            Err(Malformed { offset, problem })
        }
        assert_eq!(read(&[0x80, 0]), refused(0, Problem::NotShortest));
        assert_eq!(read(&[0xff, 0, 9, 9, 9, 9, 9, 9]), refused(0, Problem::NotShortest));
        assert_eq!(read(&[0x80]), refused(1, Problem::Truncated));
        assert_eq!(read(&[]), refused(0, Problem::Truncated));
        let mut too_large = vec![0xff; 18];
        too_large.push(4);
        assert_eq!(read(&too_large), refused(0, Problem::OutOfRange));
        assert_eq!(read(&[0xff; 30]), refused(0, Problem::OutOfRange));
        let amount_and_one = written(Amount::MAX.minor_units() + 1);
        assert_eq!(Cursor::new(&amount_and_one).amount(), refused(0, Problem::OutOfRange));
        assert_eq!(Cursor::new(&written(1 << 64)).varint(), refused(0, Problem::OutOfRange));
        assert_eq!(Cursor::new(&written(1 << 32)).varint_u32(), refused(0, Problem::OutOfRange));
    }

    proptest! {
        #[test]
        fn signed_numbers_are_read_again(value: i128) {
            let mut scratch = Scratch::new();
            scratch.signed(value);
            let mut bytes = Vec::new();
            scratch.drain_to(&mut bytes);
            prop_assert_eq!(Cursor::new(&bytes).signed(), Ok(value));
        }

        #[test]
        fn what_can_be_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 1..24)) {
            let mut cursor = Cursor::new(&bytes);
            if let Ok(value) = cursor.varint_u128() {
                prop_assert_eq!(written(value), &bytes[..cursor.offset()]);
            }
        }
    }
}
