//! The text of a key: `flk_` and 64 characters of base 32, which stand for 40 bytes.
//!
//! | bytes | characters | what |
//! | --- | --- | --- |
//! | 0–4 | 1–8 | the key's id: public, shown in lists and logs |
//! | 5–34 | 9–56 | the secret: 240 random bits |
//! | 35–39 | 57–64 | a checksum of all before, so that a mistyped key is told from an unknown one, here and without asking a server |
//!
//! The prefix lets scanners for leaked secrets find it. Only lower-case letters and digits: a double click selects all of it.

use std::fmt;

use rustls::crypto::{GetRandomFailed, aws_lc_rs};

const PREFIX: &[u8] = b"flk_";
const ID_BYTES: usize = 5;
/// Id and secret.
const SUMMED_BYTES: usize = 35;
const BYTES: usize = 40;
/// Of base 32, for [`BYTES`].
const CHARS: usize = 64;

/// Sets the hash of a key apart from other uses of the same function. Part of the file's format.
const HASH_CONTEXT: &[u8; 16] = b"florin key hash:";
/// The same for its checksum. Part of every key that was given away.
const CHECKSUM_CONTEXT: &[u8; 16] = b"florin key sum: ";

/// The public name of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId([u8; ID_BYTES]);

impl KeyId {
    /// Reads the eight characters that a list shows.
    pub(super) fn read(text: &str) -> Option<KeyId> {
        decode(text.as_bytes()).map(KeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key, secret included. It shows itself only when asked to by [`Token::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token([u8; BYTES]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", self.id())
    }
}

impl Token {
    /// Makes a new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn draw() -> Result<Token, GetRandomFailed> {
        let mut id = [0; ID_BYTES];
        aws_lc_rs::default_provider().secure_random.fill(&mut id)?;
        Token::with_id(KeyId(id))
    }

    /// Makes a new one with this id.
    pub(super) fn with_id(id: KeyId) -> Result<Token, GetRandomFailed> {
        let mut bytes = [0; BYTES];
        aws_lc_rs::default_provider().secure_random.fill(&mut bytes)?;
        bytes[..ID_BYTES].copy_from_slice(&id.0);
        let checksum = checksum(&bytes);
        bytes[SUMMED_BYTES..].copy_from_slice(&checksum);
        Ok(Token(bytes))
    }

    /// Reads what has the form of a key, whether its checksum fits or not.
    pub(super) fn read(text: &[u8]) -> Option<Token> {
        decode(text.strip_prefix(PREFIX)?).map(Token)
    }

    /// Reads a key that a person gave to a client.
    pub(crate) fn read_whole(text: &str) -> Option<Token> {
        Token::read(text.as_bytes()).filter(Token::is_whole)
    }

    /// Whether the checksum fits.
    pub(super) fn is_whole(&self) -> bool {
        checksum(&self.0) == self.0[SUMMED_BYTES..]
    }

    /// Its public name.
    pub(crate) fn id(&self) -> KeyId {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&self.0[..ID_BYTES]);
        KeyId(id)
    }

    /// What the file keeps of it: one block of BLAKE3.
    pub(super) fn hash(&self) -> blake3::Hash {
        let mut block = [0; HASH_CONTEXT.len() + BYTES];
        block[..HASH_CONTEXT.len()].copy_from_slice(HASH_CONTEXT);
        block[HASH_CONTEXT.len()..].copy_from_slice(&self.0);
        blake3::hash(&block)
    }

    /// The text, to be shown to its owner or sent to the server.
    pub(crate) fn reveal(&self) -> String {
        format!("flk_{}", encode(&self.0))
    }
}

fn checksum(bytes: &[u8; BYTES]) -> [u8; BYTES - SUMMED_BYTES] {
    let mut block = [0; CHECKSUM_CONTEXT.len() + SUMMED_BYTES];
    block[..CHECKSUM_CONTEXT.len()].copy_from_slice(CHECKSUM_CONTEXT);
    block[CHECKSUM_CONTEXT.len()..].copy_from_slice(&bytes[..SUMMED_BYTES]);
    let mut checksum = [0; BYTES - SUMMED_BYTES];
    checksum.copy_from_slice(&blake3::hash(&block).as_bytes()[..BYTES - SUMMED_BYTES]);
    checksum
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Base 32 without padding: five bytes are eight characters.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(CHARS);
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let digits = (0..8).rev().map(|place| (bits >> (5 * place) & 31) as usize);
        text.extend(digits.map(|digit| char::from(ALPHABET[digit])));
    }
    text
}

/// The `N` bytes, a multiple of five, that the text stands for.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N / 5 * 8 {
        return None;
    }
    let mut bytes = [0; N];
    for (group, digits) in bytes.chunks_exact_mut(5).zip(text.chunks_exact(8)) {
        let mut bits = 0_u64;
        for digit in digits {
            let value = match digit {
                b'a'..=b'z' => digit - b'a',
                b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        group.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_does_not_show_itself() {
        let token = Token::draw().unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), PREFIX.len() + CHARS);
        assert_eq!(Token::read_whole(&text), Some(token.clone()));
        assert_eq!(KeyId::read(&token.id().to_string()), Some(token.id()));
        let shown = format!("{token:?}");
        assert!(
            text[4..].starts_with(&token.id().to_string()) && !shown.contains(&text[12..]),
            "{shown}"
        );
        assert_ne!(Token::draw().unwrap(), token);
    }

    #[test]
    fn what_was_given_away_stays_good() {
        let bytes: [u8; BYTES] = std::array::from_fn(|place| place as u8);
        let token = Token(bytes);
        assert!(!token.is_whole());
        assert_eq!(
            token.reveal(),
            "flk_aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypsaijcemsckjrh"
        );
        assert_eq!(token.hash().to_hex().as_str(), HASH, "a key in a file must be found again");
        let sum = checksum(&bytes).map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(sum, CHECKSUM, "a key that was given away must keep its checksum");
    }

    const HASH: &str = "a453bdf395785c9909e965a1bec17ea6b9b18a51a978946cca586f6cd53a9fbb";
    const CHECKSUM: &str = "629c442b09";
}
