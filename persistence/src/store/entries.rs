//! The entries of metadata by which it is found: the keys of its top level with a text, a number, a boolean or null.
//!
//! What is indexed is a digest of key and value, the same in each database. A digest only says where to look: what is found is compared with what was
//! asked for by [`MetadataEquals::holds`], so that numbers compare by meaning and no two texts are taken for one.

use std::borrow::Cow;
use std::collections::HashMap;

use florin_engine::canonical_number;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::Xxh3;

/// A key of metadata and the value that it has to have, as text: that of a text, or how a number (by meaning: `5.0` finds `5`), `true`, `false` or
/// `null` is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEquals {
    /// The key, at the top level.
    pub key: String,
    /// The value.
    pub value: String,
}

impl MetadataEquals {
    /// What to look for in the index.
    pub(super) fn entry(&self) -> i64 {
        entry(&self.key, &self.value)
    }

    /// Whether metadata of this text has the key with the value.
    #[must_use]
    pub fn holds(&self, metadata: Option<&str>) -> bool {
        let Some(members) = metadata.and_then(members) else { return false };
        let Some(raw) = members.get(self.key.as_str()).map(|raw| raw.get()) else { return false };
        match scalar(raw) {
            None => false,
            Some(Cow::Owned(text)) => text == self.value,
            Some(Cow::Borrowed(word)) if word == self.value => true,
            Some(Cow::Borrowed(word)) => {
                let number = number(word);
                number.is_some() && number == self::number(&self.value)
            }
        }
    }
}

/// The entries of metadata of this text, each once, in order.
pub(super) fn entries(metadata: &str) -> Vec<i64> {
    let members = members(metadata).unwrap_or_default();
    let mut entries: Vec<i64> =
        members.iter().filter_map(|(key, raw)| Some(entry(key, &scalar(raw.get())?))).collect();
    entries.sort_unstable();
    entries.dedup();
    entries
}

/// A text that could be a number has the entry of that number, so that one look finds both. Part of the store's format.
fn entry(key: &str, value: &str) -> i64 {
    let number = number(value);
    let mut digest = Xxh3::new();
    digest.update(&(key.len() as u64).to_le_bytes());
    digest.update(key.as_bytes());
    digest.update(number.as_deref().unwrap_or(value).as_bytes());
    digest.digest().cast_signed()
}

/// The members of an object. None where the text is none: the JSON null that stands for what was lost.
fn members(metadata: &str) -> Option<HashMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(metadata).ok()
}

/// A text without its quotes, owned; a number or a word as it is written; none for objects and arrays.
fn scalar(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes().first()? {
        b'{' | b'[' => None,
        b'"' => serde_json::from_str(raw).ok().map(Cow::Owned),
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// The one form of a number, if the text is one as JSON writes it.
fn number(text: &str) -> Option<String> {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(())?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    if raw.get() == text { canonical_number(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_what_they_mean() {
        let text = r#"{"a":"A-17","n":5,"d":1.50,"s":"5.0","t":true,"z":null,"o":{"a":1},"l":[1],"ö\"":"ü\u0000","e":"","big":123456789012345678901234567890}"#;
        let check = |key: &str, value: &str, expected: bool| {
            let asked = MetadataEquals { key: key.to_owned(), value: value.to_owned() };
            assert_eq!(asked.holds(Some(text)), expected, "{key}={value}");
            if expected {
                assert!(entries(text).contains(&asked.entry()), "{key}={value} is not indexed");
            }
        };
        for (key, value) in [
            ("a", "A-17"),
            ("n", "5"),
            ("n", "5.0"),
            ("n", "50e-1"),
            ("d", "1.5"),
            ("s", "5.0"),
            ("t", "true"),
            ("z", "null"),
            ("ö\"", "ü\0"),
            ("e", ""),
            ("big", "123456789012345678901234567890.0"),
        ] {
            check(key, value, true);
        }
        for (key, value) in [
            ("a", "A-1"),
            ("a", "a-17"),
            ("n", "6"),
            ("n", " 5"),
            ("s", "5"),
            ("t", "True"),
            ("o", r#"{"a":1}"#),
            ("l", "[1]"),
            ("b", ""),
            ("", ""),
            ("big", "123456789012345678901234567891"),
        ] {
            check(key, value, false);
        }
        assert_eq!(entries(text).len(), 9, "all but the object and the array");
        assert_eq!(entries("null"), Vec::<i64>::new());
        let none = MetadataEquals { key: "a".to_owned(), value: String::new() };
        assert!(!none.holds(None) && !none.holds(Some("null")));
    }
}
