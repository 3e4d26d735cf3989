//! Whether an answer says what was expected; it may say more, since fields may be added.

use serde_json::Value;

/// Stands in an expected answer for any string or number.
pub const ANYTHING: &str = "…";

/// Where `actual` first differs from `expected`, as a sentence. An object may have more fields than expected, an array has
/// exactly as many elements, and [`ANYTHING`] fits everything but null.
#[must_use]
pub fn first_difference(actual: &Value, expected: &Value) -> Option<String> {
    difference_at("answer", actual, expected)
}

fn difference_at(path: &str, actual: &Value, expected: &Value) -> Option<String> {
    match (actual, expected) {
        (Value::Null, Value::String(text)) if text == ANYTHING => {
            Some(format!("{path} is null, expected something"))
        }
        (_, Value::String(text)) if text == ANYTHING => None,
        (Value::Object(actual), Value::Object(expected)) => {
            expected.iter().find_map(|(name, expected)| match actual.get(name) {
                Some(actual) => difference_at(&format!("{path}.{name}"), actual, expected),
                None => Some(format!("{path} has no {name}")),
            })
        }
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            actual.iter().zip(expected).enumerate().find_map(|(index, (actual, expected))| {
                difference_at(&format!("{path}[{index}]"), actual, expected)
            })
        }
        _ if actual == expected => None,
        _ => Some(format!("{path} is {actual}, expected {expected}")),
    }
}

/// Panics with the first difference, if there is one.
pub fn assert_includes(actual: &Value, expected: &Value) {
    if let Some(difference) = first_difference(actual, expected) {
        panic!("{difference}\nthe whole answer: {actual:#}");
    }
}
