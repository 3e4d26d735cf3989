//! The file with the keys that are good: TOML, one `[[key]]` for each.
//!
//! It is written by `florin keys new`, which adds at the end and leaves everything else as it is, comments too, and edited by
//! people, who take a key out to revoke it. A new file takes the place of the old one in one step: a server that
//! rereads it sees the one or the other, and a crash leaves one of them.
//!
//! **Who may read and write it.** Whoever can write it lets himself in, so a file that others can change is refused. Whoever can only
//! read it learns ids, names and scopes, and hashes that lead back to no key: that is allowed, since containers are often
//! given their secrets so, and the server warns of it. A new file is for its owner alone.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::{KeyId, Scope, Token};

/// Bytes of the file: some ten thousand keys.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Characters of a key's name.
const NAME_CHARS_MAX: usize = 64;
/// How long somebody else may be busy with the same file.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

const HEADING: &str = "\
# Who may speak to this ledger. `florin keys new` adds a key and shows it once; what stands here lets nobody in.
# Take an entry out to revoke it. A running server rereads this file on SIGHUP.
";

/// What can not be done with a keys file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// It is not there.
    #[error(
        "there is no keys file {path}; make it with `florin keys new --scope admin --file {path}`",
        path = .path.display()
    )]
    Missing { path: PathBuf },
    /// It can not be read.
    #[error("cannot read the keys file {path}", path = .path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is larger than any list of keys.
    #[error("the keys file {path} is larger than 4 MiB", path = .path.display())]
    TooLarge { path: PathBuf },
    /// Others than its owner may write it.
    #[error(
        "the keys file {path} can be changed by others than its owner (mode {mode:04o}), who could let themselves in; `chmod go-w` it",
        path = .path.display()
    )]
    Writable { path: PathBuf, mode: u32 },
    /// It is no TOML, or has something that is no key.
    #[error("{path}, line {line}: {message}", path = .path.display())]
    Toml { path: PathBuf, line: usize, message: String },
    /// One of its keys can not be used.
    #[error("{path}: key {place}: {what}", path = .path.display())]
    Entry { path: PathBuf, place: usize, what: &'static str },
    /// Two keys have one id.
    #[error("{path}: the id {id} stands twice", path = .path.display())]
    DuplicateId { path: PathBuf, id: KeyId },
    /// It can not be written.
    #[error("cannot write the keys file {path}", path = .path.display())]
    Write { path: PathBuf, source: io::Error },
    /// Somebody else is busy with it.
    #[error("somebody else has been changing {path} for 5 s; try again", path = .path.display())]
    Busy { path: PathBuf },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes, without which no key can be made")]
    Random,
}

/// A key as the file knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its public name.
    pub(crate) id: KeyId,
    /// What its maker calls it.
    pub(crate) name: Option<Name>,
    /// How far it goes.
    pub(crate) scope: Scope,
    /// Of the whole key.
    pub(crate) hash: blake3::Hash,
    /// When it was made.
    pub(crate) created: Timestamp,
}

/// What the maker of a key calls it: 1 to 64 characters that can stand in quotes as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// What a name must be.
    pub(crate) fn try_new(text: &str) -> Result<Name, &'static str> {
        let plain = |c: char| !(c.is_control() || matches!(c, '"' | '\\'));
        if (1..=NAME_CHARS_MAX).contains(&text.chars().count()) && text.chars().all(plain) {
            Ok(Name(text.to_owned()))
        } else {
            Err("a name must have 1 to 64 characters, without quotes, backslashes and line ends")
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    key: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    id: String,
    name: Option<String>,
    scope: String,
    hash: String,
    created: String,
}

/// Every key in the file.
///
/// # Errors
/// It can not be read, is damaged, or others can change it. Nothing of it is used then.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>, KeysError> {
    parse(path, &text_of(path)?.0)
}

/// The file's text, and what the system says of the file.
fn text_of(path: &Path) -> Result<(String, fs::Metadata), KeysError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeysError::Missing { path: path.to_owned() },
        _ => KeysError::Read { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(KeysError::Writable { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(KeysError::TooLarge { path: path.to_owned() });
    }
    Ok((text, metadata))
}

fn parse(path: &Path, text: &str) -> Result<Vec<Entry>, KeysError> {
    let raw: RawFile = toml::from_str(text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        KeysError::Toml {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            message: error.message().lines().collect::<Vec<_>>().join(", "),
        }
    })?;
    let mut ids = HashSet::new();
    let mut entries = Vec::with_capacity(raw.key.len());
    for (index, raw) in raw.key.iter().enumerate() {
        // What is wrong with a value is said without showing it: somebody may have pasted the key itself.
        let entry = raw.entry().map_err(|what| KeysError::Entry {
            path: path.to_owned(),
            place: index + 1,
            what,
        })?;
        if !ids.insert(entry.id) {
            return Err(KeysError::DuplicateId { path: path.to_owned(), id: entry.id });
        }
        entries.push(entry);
    }
    Ok(entries)
}

impl RawEntry {
    fn entry(&self) -> Result<Entry, &'static str> {
        Ok(Entry {
            id: KeyId::read(&self.id).ok_or("its id must have 8 characters of a-z and 2-7")?,
            name: self.name.as_deref().map(Name::try_new).transpose()?,
            scope: Scope::of_word(&self.scope).ok_or("its scope must be read, write or admin")?,
            hash: blake3::Hash::from_hex(&self.hash)
                .map_err(|_| "its hash must have 64 hexadecimal digits")?,
            created: self.created.parse().map_err(|_| "its created must be an RFC 3339 time")?,
        })
    }
}

impl Entry {
    fn text(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("name = \"{}\"\n", name.0));
        format!(
            "\n[[key]]\nid = \"{}\"\n{}scope = \"{}\"\nhash = \"{}\"\ncreated = \"{}\"\n",
            self.id,
            name.unwrap_or_default(),
            self.scope,
            self.hash.to_hex(),
            self.created,
        )
    }
}

/// Makes a key and adds it to the file, which is made if it is not there. The key is good for a server once that has reread the file.
///
/// # Errors
/// The file can not be used or written; it is then as it was.
pub(crate) fn add(
    path: &Path,
    name: Option<Name>,
    scope: Scope,
) -> Result<(Token, Entry), KeysError> {
    // A link stays one: what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let failed = |source| KeysError::Write { path: path.to_owned(), source };
    // Two that add at once would each put a file without the other's key in its place. The directory is what both can lock.
    let directory = File::open(directory).map_err(failed)?;
    lock(&directory, path)?;
    let (text, before) = match text_of(path) {
        Ok((text, metadata)) => (text, Some(metadata)),
        Err(KeysError::Missing { .. }) => (HEADING.to_owned(), None),
        Err(error) => return Err(error),
    };
    let taken: HashSet<KeyId> = parse(path, &text)?.iter().map(|entry| entry.id).collect();
    let token = loop {
        let token = Token::draw().map_err(|_| KeysError::Random)?;
        if !taken.contains(&token.id()) {
            break token;
        }
    };
    let now = Timestamp::now();
    let created = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let entry = Entry { id: token.id(), name, scope, hash: token.hash(), created };
    let line_end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let text = format!("{text}{line_end}{}", entry.text());
    replace(path, &text, before.as_ref()).and_then(|()| directory.sync_all()).map_err(failed)?;
    Ok((token, entry))
}

/// Waits until nobody else holds the directory. Closing it lets it go.
fn lock(directory: &File, path: &Path) -> Result<(), KeysError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(source)) => {
                return Err(KeysError::Write { path: path.to_owned(), source });
            }
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(KeysError::Busy { path: path.to_owned() }),
        }
    }
}

/// Puts a file with this text in the place of the old one, whose owner and rights it gets.
fn replace(path: &Path, text: &str, before: Option<&fs::Metadata>) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // Only a process that was killed while it held the lock could have left one.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    let written = (|| {
        if let Some(before) = before {
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)
    })();
    if written.is_err() {
        // What went wrong is worth more than that this did too.
        let _ = fs::remove_file(beside);
    }
    written
}

/// Whether everybody on this machine can read the file.
pub(crate) fn anybody_can_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn check(text: &str, expected: &str) {
        let shown = match parse(Path::new("FILE"), text) {
            Ok(entries) => format!("{} keys", entries.len()),
            Err(error) => error.to_string(),
        };
        assert!(shown.starts_with(expected), "{text}\n{shown}");
        assert!(!shown.contains("flk_"), "{shown}");
    }

    fn entry(id: &str, scope: &str, hash: &str, more: &str) -> String {
        format!(
            "[[key]]\nid = '{id}'\nscope = '{scope}'\nhash = '{hash}'\ncreated = '2026-01-02T03:04:05Z'\n{more}\n"
        )
    }

    #[test]
    fn a_file_is_read_strictly() {
        let good = entry("abcdefgh", "read", HASH, "");
        check("", "0 keys");
        check("# nobody\n", "0 keys");
        check(&good, "1 keys");
        check(&format!("{good}{}", entry("22222222", "admin", HASH, "name = 'B'")), "2 keys");
        check(&format!("{good}{good}"), "FILE: the id abcdefgh stands twice");
        check(&entry("abc", "read", HASH, ""), "FILE: key 1: its id must have 8 characters");
        check(&entry("ABCDEFGH", "read", HASH, ""), "FILE: key 1: its id must");
        check(&entry("abcdefgh", "root", HASH, ""), "FILE: key 1: its scope must be read, write");
        check(&entry("abcdefgh", "read", "flk_ab", ""), "FILE: key 1: its hash must have 64");
        check(&entry("abcdefgh", "read", HASH, "name = ''"), "FILE: key 1: a name must have");
        check(&entry("abcdefgh", "read", HASH, "secret = 'x'"), "FILE, line 6: unknown field");
        check(&format!("{good}[[kex]]"), "FILE, line 7: unknown field `kex`");
        check("[[key]]\nid = 'abcdefgh'\n", "FILE, line 1: missing field");
        check("[[key", "FILE, line 1: ");
        let undated = good.replace("2026-01-02T03:04:05Z", "yesterday");
        check(&undated, "FILE: key 1: its created must be an RFC 3339 time");
    }

    #[test]
    fn what_is_added_reads_back_and_leaves_the_rest_as_it_is() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("keys.toml");
        let name = Name::try_new("Zahlung, Nr. 1 – Köln").unwrap();
        let (_, first) = add(&path, Some(name), Scope::Write).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}# a note without a line end")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let (_, second) = add(&path, None, Scope::Read).unwrap();
        assert_eq!(read(&path).unwrap(), [first, second]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "as its owner set it");
        let grown = fs::read_to_string(&path).unwrap();
        assert!(grown.starts_with(&text) && grown.contains("# a note"), "{grown}");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_file_that_can_not_be_used_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("keys.toml");
        fs::write(&path, "[[key]]").unwrap();
        assert!(matches!(add(&path, None, Scope::Read), Err(KeysError::Toml { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "[[key]]");
        fs::write(&path, "").unwrap();
        for mode in [0o620, 0o602, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(KeysError::Writable { .. })), "{mode:o}");
            assert!(matches!(add(&path, None, Scope::Read), Err(KeysError::Writable { .. })));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap().is_empty() && anybody_can_read(&path));
        let missing = read(&room.path().join("nothing")).unwrap_err().to_string();
        assert!(missing.contains("florin keys new"), "{missing}");
        fs::write(&path, " ".repeat(FILE_BYTES_MAX as usize + 1)).unwrap();
        assert!(matches!(read(&path), Err(KeysError::TooLarge { .. })));
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("keys.toml");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| add(&path, None, Scope::Read).unwrap());
            }
        });
        assert_eq!(read(&path).unwrap().len(), 8);
    }

    #[test]
    fn somebody_else_is_not_waited_for_for_ever() {
        let room = tempfile::tempdir().unwrap();
        let directory = File::open(room.path()).unwrap();
        directory.lock().unwrap();
        let added = add(&room.path().join("keys.toml"), None, Scope::Read);
        assert!(matches!(added, Err(KeysError::Busy { .. })), "{added:?}");
    }
}
