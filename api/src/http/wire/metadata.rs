//! Metadata: a JSON object of the caller's own words, kept as compact text and compared by meaning.
//!
//! Two texts mean the same when they have the same keys, whatever their order, the same strings, however escaped, and numbers
//! of the same value, however written: `{"a":1.0,"b":"x"}` is `{"b":"\u0078","a":10e-1}`. The digest that a retry is compared
//! with is taken from the canonical form made here, so that form is part of the durable format: an object's keys in the
//! order of their bytes, strings as this JSON library writes them, and numbers as `[-]digits` `e` `exponent` without
//! trailing zeros (`0` for zero). What is shown again keeps the caller's order of keys and the digits of numbers as written.

use std::collections::BTreeMap;
use std::fmt;

use florin_engine::Metadata;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::values::ValueFault;
use crate::http::error::FaultCode;

/// Bytes of the compact text.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;
/// Levels of objects and arrays, the outermost one included.
pub(crate) const DEPTH_MAX: usize = 8;

/// Reads metadata; `{}` and `null` mean none.
pub(crate) fn read(raw: &RawValue) -> Result<Option<Metadata>, ValueFault> {
    match raw.get() {
        "{}" | "null" => return Ok(None),
        text if !text.starts_with('{') => {
            return Err(ValueFault::new(FaultCode::WrongType, "must be a JSON object"));
        }
        _ => {}
    }
    let mut canonical = Vec::new();
    let mut text = String::new();
    write_value(raw, DEPTH_MAX, &mut text, &mut canonical)?;
    if text == "{}" {
        return Ok(None);
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(too_long());
    }
    Ok(Some(Metadata::new(text.into(), &canonical)))
}

fn too_long() -> ValueFault {
    ValueFault::new(
        FaultCode::TooLong,
        format!("is longer than {TEXT_BYTES_MAX} bytes as compact JSON"),
    )
}

fn too_deep() -> ValueFault {
    ValueFault::new(FaultCode::TooDeep, format!("nests deeper than {DEPTH_MAX} levels"))
}

/// Appends one value to the compact text and to the canonical form.
fn write_value(
    raw: &RawValue,
    levels_left: usize,
    text: &mut String,
    canonical: &mut Vec<u8>,
) -> Result<(), ValueFault> {
    // The text only grows, so a value that is far too long is not read to its end.
    if text.len() > TEXT_BYTES_MAX {
        return Err(too_long());
    }
    let value = raw.get();
    match value.as_bytes().first() {
        Some(b'{') => {
            let levels_left = levels_left.checked_sub(1).ok_or_else(too_deep)?;
            write_object(&parse(value)?, levels_left, text, canonical)
        }
        Some(b'[') => {
            let levels_left = levels_left.checked_sub(1).ok_or_else(too_deep)?;
            write_array(&parse(value)?, levels_left, text, canonical)
        }
        Some(b'"') => {
            let string = json_string(&parse::<String>(value)?);
            text.push_str(&string);
            canonical.extend_from_slice(string.as_bytes());
            Ok(())
        }
        Some(b'-' | b'0'..=b'9') => {
            text.push_str(value);
            canonical.extend_from_slice(canonical_number(value)?.as_bytes());
            Ok(())
        }
        // `true`, `false` and `null` have one form each.
        _ => {
            text.push_str(value);
            canonical.extend_from_slice(value.as_bytes());
            Ok(())
        }
    }
}

fn write_object(
    object: &Object<'_>,
    levels_left: usize,
    text: &mut String,
    canonical: &mut Vec<u8>,
) -> Result<(), ValueFault> {
    let mut sorted: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    text.push('{');
    for (at, (key, value)) in object.0.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&json_string(key));
        text.push(':');
        let mut member = Vec::new();
        write_value(value, levels_left, text, &mut member)?;
        if sorted.insert(key, member).is_some() {
            return Err(ValueFault::new(
                FaultCode::DuplicateKey,
                format!("has the key {} twice in one object", json_string(key)),
            ));
        }
    }
    text.push('}');
    canonical.push(b'{');
    for (at, (key, member)) in sorted.iter().enumerate() {
        if at > 0 {
            canonical.push(b',');
        }
        canonical.extend_from_slice(json_string(key).as_bytes());
        canonical.push(b':');
        canonical.extend_from_slice(member);
    }
    canonical.push(b'}');
    Ok(())
}

fn write_array(
    array: &Array<'_>,
    levels_left: usize,
    text: &mut String,
    canonical: &mut Vec<u8>,
) -> Result<(), ValueFault> {
    text.push('[');
    canonical.push(b'[');
    for (at, value) in array.0.iter().enumerate() {
        if at > 0 {
            text.push(',');
            canonical.push(b',');
        }
        write_value(value, levels_left, text, canonical)?;
    }
    text.push(']');
    canonical.push(b']');
    Ok(())
}

/// Reads one level of a text that is known to be JSON: what fails is a string with half a surrogate pair.
fn parse<'a, T: Deserialize<'a>>(value: &'a str) -> Result<T, ValueFault> {
    serde_json::from_str(value)
        .map_err(|_| ValueFault::new(FaultCode::Malformed, "has a string that is no Unicode text"))
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).expect("a text can always be written as JSON")
}

fn canonical_number(number: &str) -> Result<String, ValueFault> {
    florin_engine::canonical_number(number).ok_or_else(|| {
        ValueFault::new(FaultCode::OutOfRange, "has a number with too large an exponent")
    })
}

/// The members of an object in order, repeated keys and all.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                    // No member is shorter than `"":0,`; the text's bound refuses what is more.
                    if members.len() * 5 > TEXT_BYTES_MAX + 5 {
                        break;
                    }
                }
                while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The elements of an array in order.
struct Array<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Array<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Array<'de>, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Array<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Array<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    // No element is shorter than `0,`; the text's bound refuses what is more.
                    elements.push(element);
                    if elements.len() * 2 > TEXT_BYTES_MAX + 2 {
                        break;
                    }
                }
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Array(elements))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let shown = match read(raw) {
            Ok(None) => "none".to_owned(),
            Ok(Some(metadata)) => metadata.text.to_string(),
            Err(fault) => format!("{:?}", fault.code),
        };
        let begin: String = json.chars().take(100).collect();
        assert_eq!(shown, expected, "{begin}");
    }

    #[test]
    fn metadata_is_kept_compact_with_its_digits() {
        check("{}", "none");
        check("{ }", "none");
        check("null", "none");
        check(
            r#"{ "b" : 1.50 , "a" : [ 1e2 , true , null ] }"#,
            r#"{"b":1.50,"a":[1e2,true,null]}"#,
        );
        check(r#"{"name":"\u0041\n","\u0062":{}}"#, r#"{"name":"A\n","b":{}}"#);
        check(
            r#"{"n":123456789012345678901234567890.10}"#,
            r#"{"n":123456789012345678901234567890.10}"#,
        );
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        check("[]", "WrongType");
        check(r#""a""#, "WrongType");
        check("1", "WrongType");
        check(r#"{"a":1,"a":1}"#, "DuplicateKey");
        check(r#"{"a":1,"\u0061":2}"#, "DuplicateKey");
        check(r#"{"a":{"b":1,"b":2}}"#, "DuplicateKey");
        check(r#"{"a":"\ud800"}"#, "Malformed");
        check(r#"{"a":1e99999999999999999999}"#, "OutOfRange");
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested =
            |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        check(&nested(8), &nested(8));
        check(&nested(9), "TooDeep");
        check(&format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000)), "TooDeep");
        let long = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        check(&long(4096), &long(4096));
        check(&long(4097), "TooLong");
        check(
            &format!("{{\"a\":[{}1]}}", "1,".repeat(2040)),
            &format!("{{\"a\":[{}1]}}", "1,".repeat(2040)),
        );
        check(&format!("{{\"a\":[{}1]}}", "1,".repeat(100_000)), "TooLong");
        let many: Vec<_> = (0..10_000).map(|at| format!("\"{at}\":0")).collect();
        check(&format!("{{{}}}", many.join(",")), "TooLong");
    }

    #[test]
    fn content_is_compared_by_meaning() {
        fn digest(json: &str) -> u64 {
            read(serde_json::from_str(json).unwrap()).unwrap().unwrap().digest
        }
        let same = [
            r#"{"a":1,"b":["x",0]}"#,
            r#"{ "b":["x",-0.0], "a":1.0 }"#,
            r#"{"b":["\u0078",0e5],"a":10e-1}"#,
            r#"{"b":["x",0.00],"a":0.01E+2}"#,
        ];
        for json in same {
            assert_eq!(digest(json), digest(same[0]), "{json}");
        }
        for json in [
            r#"{"a":1,"b":["x"]}"#,
            r#"{"a":"1","b":["x",0]}"#,
            r#"{"a":-1,"b":["x",0]}"#,
            r#"{"a":10,"b":["x",0]}"#,
            r#"{"a":1,"b":[0,"x"]}"#,
            r#"{"a":1,"b":["x",0],"c":null}"#,
        ] {
            assert_ne!(digest(json), digest(same[0]), "{json}");
        }
    }

    #[test]
    fn numbers_have_one_canonical_form() {
        for (number, expected) in [
            ("0", "0"),
            ("-0.00e7", "0"),
            ("1", "1e0"),
            ("100", "1e2"),
            ("-12.50e3", "-125e2"),
            ("0.001", "1e-3"),
            ("1E+2", "1e2"),
        ] {
            assert_eq!(canonical_number(number).unwrap(), expected, "{number}");
        }
    }
}
