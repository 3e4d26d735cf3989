//! Ids that callers name by a text of their own.

use std::sync::Arc;

use sha1_smol::Sha1;

use crate::ids::uuid;

/// A caller's own text for an id, and the id that it stands for: the UUIDv5 of the text. Cheap to clone.
///
/// The text is 1 to 128 visible ASCII characters, `!` to `~`, compared byte for byte. So nothing in it is invisible, one text has one
/// spelling (Unicode has several for what looks the same, and two spellings would be two accounts), and paths, headers, tables and terminals carry
/// it unharmed. More characters can be allowed one day without changing an id; fewer never.
///
/// ```
/// use florin_engine::ExternalId;
///
/// // Python: uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "urn:florin:external-id"), "order-4711")
/// let order = ExternalId::try_new("order-4711").expect("visible ASCII");
/// assert_eq!(order.id(), 0xa7cab757_0c85_581e_af86_8aaced64c89c);
/// assert!(ExternalId::try_new("order 4711").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalId(Arc<Named>);

/// Behind one pointer, so that what has no external id is no larger for it than that.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    id: u128,
    text: Box<str>,
}

/// Why a text can not be an external id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalIdError {
    /// It has no character, or more than [`ExternalId::LENGTH_MAX`].
    #[error("must have 1 to 128 characters after \"ext:\"")]
    Length,
    /// It has a character that is not visible ASCII.
    #[error(
        "may have only visible ASCII characters after \"ext:\": no space, no control character, no other alphabet"
    )]
    Character,
}

impl ExternalId {
    /// The namespace of the UUIDs, itself the UUIDv5 of `urn:florin:external-id` in the namespace of URLs. Part of the durable format.
    pub const NAMESPACE: u128 = 0xeca5d0dc_b315_5162_9531_fd9f8dcbd0ed;
    /// The most characters of a text, which are as many bytes.
    pub const LENGTH_MAX: usize = 128;

    /// The external id of this text.
    ///
    /// # Errors
    /// The text is empty, too long, or has a character that is not visible ASCII.
    pub fn try_new(text: &str) -> Result<ExternalId, ExternalIdError> {
        if !(1..=ExternalId::LENGTH_MAX).contains(&text.chars().count()) {
            return Err(ExternalIdError::Length);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ExternalIdError::Character);
        }
        let id = uuid_v5(ExternalId::NAMESPACE, text.as_bytes());
        Ok(ExternalId(Arc::new(Named { id, text: text.into() })))
    }

    /// The id that the text stands for, of an account, a transfer or a transaction.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.0.id
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

/// The UUID of version 5 of a name (RFC 9562).
fn uuid_v5(namespace: u128, name: &[u8]) -> u128 {
    let mut hasher = Sha1::new();
    hasher.update(&namespace.to_be_bytes());
    hasher.update(name);
    let digest = hasher.digest().bytes();
    let first = digest.first_chunk().expect("a digest has 20 bytes");
    uuid(u128::from_be_bytes(*first), 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_what_its_documentation_says() {
        let urls = 0x6ba7b811_9dad_11d1_80b4_00c04fd430c8;
        assert_eq!(uuid_v5(urls, b"urn:florin:external-id"), ExternalId::NAMESPACE);
    }

    /// As Python's `uuid.uuid5` makes them.
    #[test]
    fn ids_are_those_of_another_implementation() {
        let check = |text: &str, expected: u128| {
            let id = ExternalId::try_new(text).map(|external| external.id());
            assert_eq!(id, Ok(expected), "{text}");
        };
        check("order-4711", 0xa7cab757_0c85_581e_af86_8aaced64c89c);
        check("a", 0x7632182c_922c_51d2_bf5e_6d4e151d54eb);
        check("~!/%?#&+\"\\", 0xe97f6b29_d970_5d39_8cf5_c3db029283bf);
        check("Alice@example.com", 0xd5ee65d7_0a7b_5716_8db9_3f4f4923ed36);
        check("alice@example.com", 0xdaae9546_c79f_5d68_af61_e54383696a40);
        check(&"x".repeat(128), 0x74a54c26_0c26_525f_a369_f3f96fb649b9);
        check("ext:order-4711", 0xf249c386_3dc6_508e_9cbc_b915f16716eb);
    }

    #[test]
    fn only_visible_ascii_is_a_text() {
        let check = |text: &str, expected: Option<ExternalIdError>| {
            assert_eq!(ExternalId::try_new(text).err(), expected, "{text:?}");
        };
        check("", Some(ExternalIdError::Length));
        check(&"x".repeat(129), Some(ExternalIdError::Length));
        check(&"ö".repeat(129), Some(ExternalIdError::Length));
        check(&"x".repeat(128), None);
        for code in 0..=0x17f_u32 {
            let text: String = char::from_u32(code).into_iter().collect();
            let is_visible = (0x21..=0x7e).contains(&code);
            check(&text, (!is_visible).then_some(ExternalIdError::Character));
        }
        check("a b", Some(ExternalIdError::Character));
        check("\u{202e}abc", Some(ExternalIdError::Character));
    }
}
