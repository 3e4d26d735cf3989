//! Money: an exact, unsigned count of a ledger's minor units.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;

/// A count of minor units (cents for a ledger of scale 2), from 0 to 2^96−1.
///
/// The bound is that of [`Decimal`]'s mantissa, so that every amount is exactly a `Decimal` and the
/// edges (JSON, SQL) never round. Arithmetic is checked: there is no `impl Add` that could panic.
///
/// Held in twelve bytes, since a resident account has five of them: eight and four, as a copy takes them. Written in other pieces than they are read in,
/// they would have to reach the cache in between, behind all that was written before.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(C, packed(4))]
pub struct Amount {
    low: u64,
    high: u32,
}

impl Amount {
    /// No money.
    pub const ZERO: Amount = Amount { low: 0, high: 0 };
    /// The largest amount, 2^96−1 minor units. In a command it also stands for "as much as possible".
    pub const MAX: Amount = Amount { low: u64::MAX, high: u32::MAX };
    const MAX_MINOR_UNITS: u128 = (1 << 96) - 1;

    /// The amount of `minor_units`, unless that is more than [`Amount::MAX`].
    #[must_use]
    pub const fn try_new(minor_units: u128) -> Option<Amount> {
        if minor_units <= Self::MAX_MINOR_UNITS {
            Some(Amount { low: minor_units as u64, high: (minor_units >> 64) as u32 })
        } else {
            None
        }
    }

    /// The amount of `minor_units`; every `u64` fits.
    #[must_use]
    pub const fn from_minor(minor_units: u64) -> Amount {
        Amount { low: minor_units, high: 0 }
    }

    /// The count of minor units.
    #[must_use]
    pub const fn minor_units(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// The twelve bytes that hold every amount, the least significant first.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 12] {
        let bytes = self.minor_units().to_le_bytes();
        let mut low = [0; 12];
        low.copy_from_slice(&bytes[..12]);
        low
    }

    /// Whether there is no money.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.minor_units() == 0
    }

    /// The sum, unless it is more than [`Amount::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Amount) -> Option<Amount> {
        // Both are below 2^96, so the 128-bit sum itself can not overflow.
        Amount::try_new(self.minor_units() + other.minor_units())
    }

    /// The difference, unless it is negative.
    #[must_use]
    pub const fn checked_sub(self, other: Amount) -> Option<Amount> {
        match self.minor_units().checked_sub(other.minor_units()) {
            Some(minor_units) => Amount::try_new(minor_units),
            None => None,
        }
    }

    /// Shows the amount in major units with exactly `scale` digits after the point.
    #[must_use]
    pub fn display(self, scale: Scale) -> MajorUnits {
        MajorUnits { negative: false, minor_units: self.minor_units(), scale }
    }
}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Amount) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Amount) -> Ordering {
        self.minor_units().cmp(&other.minor_units())
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.minor_units())
    }
}

/// Digits after the point in a ledger's major unit, from 0 to 28.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scale(u8);

impl Scale {
    /// The most digits after the point: what a [`Decimal`] can hold.
    pub const MAX: Scale = Scale(28);

    /// The scale of `digits`, unless that is more than [`Scale::MAX`].
    #[must_use]
    pub const fn try_new(digits: u8) -> Option<Scale> {
        if digits <= Self::MAX.0 { Some(Scale(digits)) } else { None }
    }

    /// The count of digits after the point.
    #[must_use]
    pub const fn digits(self) -> u8 {
        self.0
    }
}

/// A signed sum of minor units, for balances: credits minus debits may be negative.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedAmount(i128);

impl SignedAmount {
    /// The signed sum of `minor_units`.
    #[must_use]
    pub const fn new(minor_units: i128) -> SignedAmount {
        SignedAmount(minor_units)
    }

    /// The count of minor units.
    #[must_use]
    pub const fn minor_units(self) -> i128 {
        self.0
    }

    /// Shows the sum in major units with exactly `scale` digits after the point.
    #[must_use]
    pub fn display(self, scale: Scale) -> MajorUnits {
        MajorUnits { negative: self.0 < 0, minor_units: self.0.unsigned_abs(), scale }
    }
}

/// An amount as people write it: major units, a point, exactly the ledger's scale of digits.
#[derive(Clone, Copy, Debug)]
pub struct MajorUnits {
    negative: bool,
    minor_units: u128,
    scale: Scale,
}

impl MajorUnits {
    /// Shows a ledger's total, which can be more than one [`Amount`] holds.
    #[must_use]
    pub const fn of_total(minor_units: u128, scale: Scale) -> MajorUnits {
        MajorUnits { negative: false, minor_units, scale }
    }

    /// Calls `show` with the text, which lives on the stack: an answer has five of them.
    pub fn with_text<T>(&self, show: impl FnOnce(&str) -> T) -> T {
        // A sign, the 39 digits of 2^128-1 and a point.
        let mut text = [0_u8; 41];
        let mut at = text.len();
        let mut put = |byte: u8| {
            at -= 1;
            text[at] = byte;
        };
        let after_point = self.scale.0;
        let mut written = 0;
        let mut wide = self.minor_units;
        // Most amounts need no division of 128 bits, which is slow.
        let mut rest = loop {
            if let Ok(rest) = u64::try_from(wide) {
                break rest;
            }
            put(b'0' + (wide % 10) as u8);
            wide /= 10;
            written += 1;
            if written == after_point {
                put(b'.');
            }
        };
        // At least one digit before the point.
        while rest > 0 || written <= after_point {
            put(b'0' + (rest % 10) as u8);
            rest /= 10;
            written += 1;
            if written == after_point {
                put(b'.');
            }
        }
        if self.negative {
            put(b'-');
        }
        show(std::str::from_utf8(&text[at..]).expect("digits, a point and a sign are ASCII"))
    }
}

impl fmt::Display for MajorUnits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

/// An amount as a caller gave it, before the ledger that it is counted in is known.
///
/// A transfer may leave its ledger to its debit account, so the edge that reads the digits can not always
/// know how many of them stand after the point. Whoever decides the command resolves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountInput {
    /// Already in minor units: embedded callers and binary forms.
    Minor(Amount),
    /// In major units, with as many digits after the point as were written.
    Major(Decimal),
}

impl AmountInput {
    /// No money, in any ledger.
    pub const ZERO: AmountInput = AmountInput::Minor(Amount::ZERO);

    /// Reads an amount in major units: digits, and at most one point with digits on both sides.
    /// The word `max` is the largest amount of every ledger.
    ///
    /// # Errors
    /// Says what is wrong with the text: a sign, an exponent, white space, a missing digit, or more than the maximum.
    pub fn parse(text: &str) -> Result<AmountInput, AmountTextError> {
        if text == "max" {
            return Ok(AmountInput::Minor(Amount::MAX));
        }
        let mut mantissa: u128 = 0;
        let mut digits_after_point: Option<u32> = None;
        let mut digits = 0_u32;
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa
                        .checked_mul(10)
                        .and_then(|mantissa| mantissa.checked_add(u128::from(byte - b'0')))
                        .filter(|mantissa| *mantissa <= Amount::MAX_MINOR_UNITS)
                        .ok_or(AmountTextError::TooLarge)?;
                    digits += 1;
                    if let Some(after) = &mut digits_after_point {
                        *after += 1;
                        if *after > u32::from(Scale::MAX.0) {
                            return Err(AmountTextError::TooManyDigits);
                        }
                    }
                }
                b'.' if digits > 0 && digits_after_point.is_none() => digits_after_point = Some(0),
                b'-' | b'+' => return Err(AmountTextError::Signed),
                b'e' | b'E' => return Err(AmountTextError::Exponent),
                b' ' | b'\t' | b'\r' | b'\n' => return Err(AmountTextError::WhiteSpace),
                _ => return Err(AmountTextError::NotDigits),
            }
        }
        if digits == 0 || digits_after_point == Some(0) {
            return Err(AmountTextError::NotDigits);
        }
        let mantissa = i128::try_from(mantissa).map_err(|_| AmountTextError::TooLarge)?;
        Decimal::try_from_i128_with_scale(mantissa, digits_after_point.unwrap_or(0))
            .map(AmountInput::Major)
            .map_err(|_| AmountTextError::TooLarge)
    }

    /// The count of minor units in a ledger of this scale.
    ///
    /// # Errors
    /// The text had more digits after the point than the ledger, or means more than [`Amount::MAX`].
    pub fn resolve(self, scale: Scale) -> Result<Amount, AmountTextError> {
        let decimal = match self {
            AmountInput::Minor(amount) => return Ok(amount),
            AmountInput::Major(decimal) => decimal,
        };
        let missing_digits = u32::from(scale.0)
            .checked_sub(decimal.scale())
            .ok_or(AmountTextError::TooManyDigits)?;
        decimal
            .mantissa()
            .unsigned_abs()
            .checked_mul(10_u128.pow(missing_digits))
            .and_then(Amount::try_new)
            .ok_or(AmountTextError::TooLarge)
    }
}

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountTextError {
    /// More digits after the point than the ledger's scale.
    #[error("has more digits after the point than its ledger")]
    TooManyDigits,
    /// More than 2^96−1 minor units.
    #[error("is more than the largest amount, 2^96-1 minor units")]
    TooLarge,
    /// A plus or minus sign.
    #[error("must not have a sign")]
    Signed,
    /// An exponent, as in `1e3`.
    #[error("must not have an exponent")]
    Exponent,
    /// A space, tab or line end.
    #[error("must not have white space")]
    WhiteSpace,
    /// Anything else than digits and one point between digits.
    #[error("must be digits with at most one point between them")]
    NotDigits,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, scale: u8, expected: &str) {
        let scale = Scale::try_new(scale).unwrap();
        let shown = match AmountInput::parse(text).and_then(|input| input.resolve(scale)) {
            Ok(amount) => amount.display(scale).to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{text} at scale {scale:?}");
    }

    #[test]
    fn amounts_are_read_digit_for_digit() {
        check("10", 2, "10.00");
        check("10.5", 2, "10.50");
        check("0.07", 2, "0.07");
        check("0", 0, "0");
        check("007", 0, "7");
        check("792281625142643375935439503.35", 2, "792281625142643375935439503.35");
        check("max", 2, "792281625142643375935439503.35");
        check("79228162514264337593543950335", 0, "79228162514264337593543950335");
        check("0.0000000000000000000000000001", 28, "0.0000000000000000000000000001");
    }

    #[test]
    fn what_is_no_amount_says_why() {
        check("10.505", 2, "has more digits after the point than its ledger");
        check("10.500", 2, "has more digits after the point than its ledger");
        check(
            "0.00000000000000000000000000001",
            28,
            "has more digits after the point than its ledger",
        );
        check(
            "79228162514264337593543950336",
            0,
            "is more than the largest amount, 2^96-1 minor units",
        );
        check(
            "792281625142643375935439503.36",
            2,
            "is more than the largest amount, 2^96-1 minor units",
        );
        check(
            "7922816251426433759354395033.5",
            2,
            "is more than the largest amount, 2^96-1 minor units",
        );
        check("-1", 2, "must not have a sign");
        check("+1", 2, "must not have a sign");
        check("1e2", 2, "must not have an exponent");
        check(" 1", 2, "must not have white space");
        for text in ["", ".", "1.", ".5", "1.2.3", "NaN", "0x10", "1_000", "１"] {
            check(text, 2, "must be digits with at most one point between them");
        }
    }

    #[test]
    fn sums_stop_at_the_maximum() {
        assert_eq!(Amount::MAX.checked_add(Amount::from_minor(1)), None);
        assert_eq!(Amount::ZERO.checked_sub(Amount::from_minor(1)), None);
        for minor_units in [0, 1, 1 << 31, 1 << 32, u128::from(u64::MAX), 1 << 64, (1 << 96) - 1] {
            let amount = Amount::try_new(minor_units).unwrap();
            assert_eq!(amount.minor_units(), minor_units);
            assert!(amount <= Amount::MAX);
            assert!(minor_units == 0 || Amount::try_new(minor_units - 1).unwrap() < amount);
        }
        assert_eq!(
            SignedAmount::new(-1250).display(Scale::try_new(2).unwrap()).to_string(),
            "-12.50"
        );
    }
}
