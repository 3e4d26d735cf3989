//! API keys: who holds one may speak to the ledger, as far as the key's scope goes.
//!
//! A key is a text that is shown once, when it is made ([`token`] says what stands in it). The server has a file ([`file`]) with
//! the id, scope and hash of each: what the file says lets nobody in, only what was shown then does.
//!
//! **Why one fast hash is enough.** Slow, salted hashes protect passwords, which people choose and others guess. A key's secret is
//! 240 random bits: there is nothing to guess, whatever a guess costs. One BLAKE3 of a single block can be paid for by each request.
//!
//! **What a request costs.** The id in the key finds the one entry that it can be, and one comparison of hashes, in constant time,
//! decides. Nothing is allocated and no lock is taken: a reread puts a new table in the place of the old one, and a request
//! sees the one or the other.

mod file;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;

pub(crate) use file::{Entry, KeysError, Name, add, anybody_can_read, read};
pub(crate) use token::{KeyId, Token};

/// What a key is good for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Scope {
    /// Ask: every GET, and lookups of many ids.
    Read,
    /// Ask and command.
    Write,
    /// Everything.
    Admin,
}

impl Scope {
    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }

    fn of_word(word: &str) -> Option<Scope> {
        [Scope::Read, Scope::Write, Scope::Admin].into_iter().find(|scope| scope.word() == word)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A key that was presented and is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which key.
    pub(crate) key: KeyId,
    /// How far it goes.
    pub(crate) scope: Scope,
}

/// Why a request may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthFailure {
    /// It brings no key.
    Missing,
    /// What it brings has not the form of a key.
    Malformed,
    /// It has the form, but its checksum says that a character is wrong.
    Mistyped,
    /// No such key: revoked, or of another server.
    Unknown,
    /// The id is known and the secret is not its own, which no mistake produces.
    WrongSecret,
    /// The key is good, but not for this.
    Scope {
        /// What the route needs.
        needs: Scope,
        /// What the key has.
        has: Scope,
    },
}

impl AuthFailure {
    /// The words of all reasons, for counting.
    pub(crate) const REASONS: [&'static str; 6] =
        ["missing", "malformed", "mistyped", "unknown", "wrong_secret", "scope"];

    /// The place of its word in [`AuthFailure::REASONS`].
    pub(crate) const fn index(self) -> usize {
        match self {
            AuthFailure::Missing => 0,
            AuthFailure::Malformed => 1,
            AuthFailure::Mistyped => 2,
            AuthFailure::Unknown => 3,
            AuthFailure::WrongSecret => 4,
            AuthFailure::Scope { .. } => 5,
        }
    }
}

/// The keys that are good now, as the file said when it was last read.
pub(crate) struct Keyring {
    path: PathBuf,
    keys: ArcSwap<HashMap<KeyId, Key>>,
}

struct Key {
    scope: Scope,
    hash: blake3::Hash,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads the file.
    ///
    /// # Errors
    /// It can not be read, is damaged, or can be changed by other users.
    pub(crate) fn open(path: &Path) -> Result<Keyring, KeysError> {
        let keys = ArcSwap::from_pointee(table(path)?);
        Ok(Keyring { path: path.to_owned(), keys })
    }

    /// Reads the file again. From then on exactly the keys in it are good.
    ///
    /// # Errors
    /// As [`Keyring::open`]; the keys that were good stay so.
    pub(crate) fn reread(&self) -> Result<(), KeysError> {
        self.keys.store(table(&self.path)?.into());
        Ok(())
    }

    /// How many keys are good.
    pub(crate) fn count(&self) -> usize {
        self.keys.load().len()
    }

    /// Where the keys come from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Who holds this key.
    ///
    /// # Errors
    /// Why it is not good.
    pub(crate) fn holder(&self, presented: &[u8]) -> Result<Holder, AuthFailure> {
        let token = Token::read(presented).ok_or(AuthFailure::Malformed)?;
        let keys = self.keys.load();
        match keys.get(&token.id()) {
            // Hashes are compared in constant time, and cover the checksum too.
            Some(key) if key.hash == token.hash() => {
                Ok(Holder { key: token.id(), scope: key.scope })
            }
            _ if !token.is_whole() => Err(AuthFailure::Mistyped),
            Some(_) => Err(AuthFailure::WrongSecret),
            None => Err(AuthFailure::Unknown),
        }
    }
}

fn table(path: &Path) -> Result<HashMap<KeyId, Key>, KeysError> {
    let keys = read(path)?.into_iter();
    Ok(keys.map(|Entry { id, scope, hash, .. }| (id, Key { scope, hash })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_includes_those_before_it() {
        assert!(Scope::Read < Scope::Write && Scope::Write < Scope::Admin);
        for scope in [Scope::Read, Scope::Write, Scope::Admin] {
            assert_eq!(Scope::of_word(scope.word()), Some(scope));
        }
        assert_eq!(Scope::of_word("root"), None);
    }

    #[test]
    fn exactly_the_keys_in_the_file_are_good() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("keys.toml");
        let (reader, _) = add(&path, None, Scope::Read).unwrap();
        let keyring = Keyring::open(&path).unwrap();
        let holder = |text: &str| keyring.holder(text.as_bytes());
        let expected = Holder { key: reader.id(), scope: Scope::Read };
        assert_eq!(holder(&reader.reveal()), Ok(expected));

        let (admin, _) = add(&path, None, Scope::Admin).unwrap();
        assert_eq!(holder(&admin.reveal()), Err(AuthFailure::Unknown), "it was not reread");
        keyring.reread().unwrap();
        assert_eq!(holder(&admin.reveal()).unwrap().scope, Scope::Admin);
        assert_eq!((holder(&reader.reveal()), keyring.count()), (Ok(expected), 2));

        // What can not be read changes nothing.
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, "[[key]]\nid = 1").unwrap();
        assert!(keyring.reread().is_err());
        assert_eq!(holder(&reader.reveal()), Ok(expected));

        let only_admin = good.split("[[key]]").nth(2).unwrap();
        std::fs::write(&path, format!("[[key]]{only_admin}")).unwrap();
        keyring.reread().unwrap();
        assert_eq!(holder(&reader.reveal()), Err(AuthFailure::Unknown), "it was taken out");
        assert!(holder(&admin.reveal()).is_ok());
    }

    #[test]
    fn a_wrong_key_is_told_from_a_mistyped_one() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("keys.toml");
        let (token, _) = add(&path, None, Scope::Read).unwrap();
        let keyring = Keyring::open(&path).unwrap();
        let text = token.reveal();
        for at in "flk_".len()..text.len() {
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(keyring.holder(mistyped.as_bytes()), Err(AuthFailure::Mistyped), "{at}");
        }
        let forged = Token::with_id(token.id()).unwrap().reveal();
        assert_eq!(keyring.holder(forged.as_bytes()), Err(AuthFailure::WrongSecret));
        let stranger = Token::draw().unwrap().reveal();
        assert_eq!(keyring.holder(stranger.as_bytes()), Err(AuthFailure::Unknown));
        for malformed in
            ["", "flk_", &text[1..], &text[..67], &format!("{text}a"), &text.to_uppercase()]
        {
            assert_eq!(
                keyring.holder(malformed.as_bytes()),
                Err(AuthFailure::Malformed),
                "{malformed}"
            );
        }
    }

    #[test]
    fn every_reason_has_its_word() {
        let scope = AuthFailure::Scope { needs: Scope::Write, has: Scope::Read };
        let all = [
            AuthFailure::Missing,
            AuthFailure::Malformed,
            AuthFailure::Mistyped,
            AuthFailure::Unknown,
            AuthFailure::WrongSecret,
            scope,
        ];
        let words = all.map(|failure| AuthFailure::REASONS[failure.index()]);
        assert_eq!(words, AuthFailure::REASONS);
    }
}
