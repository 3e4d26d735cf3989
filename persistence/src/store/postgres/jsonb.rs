//! Which metadata a `jsonb` can hold.
//!
//! The exact text stands beside it and is what answers are made of, so what a `jsonb` would refuse is left out of it: one
//! strange object must not stop the store.

use serde::de::IgnoredAny;

/// More digits of an exponent than these are not tried: a `jsonb` keeps a number's digits, and refuses 10^131072.
const EXPONENT_DIGITS_MAX: usize = 3;

/// Whether a `jsonb` takes this text: it is JSON, no string holds U+0000 or half a surrogate pair, and no number is written with
/// a large exponent.
pub(super) fn fits(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
        && !text.contains('\0')
        && !has_escape_that_is_refused(text)
        && !has_large_exponent(text)
}

/// Looks at the escapes of four digits; those that are behind an escaped backslash are none, but so rare that they count as one.
fn has_escape_that_is_refused(text: &str) -> bool {
    text.match_indices("\\u").any(|(at, _)| {
        let digits = text.get(at + 2..at + 6).unwrap_or("");
        let high = digits.get(..2).unwrap_or("").to_ascii_lowercase();
        digits == "0000" || ("d8"..="df").contains(&high.as_str())
    })
}

fn has_large_exponent(text: &str) -> bool {
    let mut in_string = false;
    let mut bytes = text.bytes();
    let mut exponent_digits = None;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                bytes.next();
            }
            _ if in_string => {}
            // `true` and `false` have an e too, but no digits behind it.
            b'e' | b'E' => exponent_digits = Some(0),
            b'+' | b'-' => {}
            b'0'..=b'9' => {
                if let Some(digits) = &mut exponent_digits {
                    *digits += 1;
                    if *digits > EXPONENT_DIGITS_MAX {
                        return true;
                    }
                }
            }
            _ => exponent_digits = None,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_refuses_is_told_before() {
        for text in [
            r#"{"a":1,"b":[true,false,null,1.5e10,-1E+999,1e-999]}"#,
            r#"{"hash":"3e12345678","a":"1e9999 \" 1e99999"}"#,
            r#"{"ö":"\u00f6\u0001","deep":{"a":[{}]},"n":123456789012345678901234567890}"#,
        ] {
            assert!(fits(text), "{text}");
        }
        for text in [
            r#"{"a":"\u0000"}"#,
            r#"{"\u0000":1}"#,
            r#"{"a":"\uD800"}"#,
            r#"{"a":"\udfff"}"#,
            r#"{"a":1e1000}"#,
            r#"{"a":-1.5E-100000}"#,
            r#"{"a":"\"","b":1e131072}"#,
            "{\"a\":\"\0\"}",
            "no json",
            "",
        ] {
            assert!(!fits(text), "{text}");
        }
    }
}
