//! One form for each value: by it the metadata of two requests is compared, and metadata is found.

/// Digits of an exponent: what lies beyond can not be normalised.
const EXPONENT_MAX: i64 = 1_000_000;

/// The one form of a number that is written as JSON does: `-12.50e3` → `-125e2`, and `0` for zero. None where the exponent is beyond a million.
/// Metadata's digest is made of it, so it is part of the durable format.
#[must_use]
pub fn canonical_number(number: &str) -> Option<String> {
    let (sign, rest) = match number.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", number),
    };
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    let trailing_zeros = digits.len() - digits.trim_end_matches('0').len();
    let exponent = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() <= EXPONENT_MAX)?;
    let shifted = exponent - fraction.len() as i64 + trailing_zeros as i64;
    Some(format!("{sign}{significant}e{shifted}"))
}
