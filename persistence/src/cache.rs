//! The cache: balances of accounts in Redis, for readers that do not own the ledger.
//!
//! One [`CacheWriter`], at the ledger's owner, copies what durable records say. Any number of [`CacheReader`]s read it, and bring in accounts
//! that they had to read from the store. Redis may lose anything at any time, go back to an older state, or be away: a read then finds
//! nothing, and never something wrong.
//!
//! # What stands in Redis
//!
//! | key | content |
//! | --- | --- |
//! | `florin:{directory}:epoch` | the *epoch*: its name, the claim of its writer, `began` (B), `covered` (P), and a count of steps |
//! | `florin:{directory}:NAME:changes` | for each of [some slots](keys::SLOTS_BYTES), which share the accounts among them, a position at or behind the last change in it; behind them, fewer for changes of static parts |
//! | `florin:{directory}:NAME:a:ID` | the moving part of an account (balances, limits, flags, version), and the position `c` that it is of |
//! | `florin:{directory}:NAME:s:ID` | its static part: what no transfer changes. Only its metadata is ever replaced |
//! | `florin:{directory}:NAME:p:…` | a page of its history at one version |
//!
//! `{directory}` is the ledger directory's id in braces, so that a Redis cluster keeps all of it in one slot. All keys expire: the first two when no writer
//! has come for [`EPOCH_TTL`](writer::EPOCH_TTL), the others after [`CacheOptions::entry_ttl`]. The two parts of an account are apart since
//! the journal tells all of the static one only once, at its creation: for an account that is older than the epoch a reader brings it in, and so it does after a
//! replacement of metadata, of which the journal tells nothing else.
//!
//! # What is promised
//!
//! A read gives an account *as of* `max(P, c)`, with P and `c` read in one command: it is exactly the account that the journal
//! replayed to that position has. It holds because of these rules:
//!
//! 1. **An epoch has one name for ever.** Names are 64 random bits; nothing under another name than that of the standing epoch is
//!    ever read. So a new epoch forgets everything, whoever still writes into an old one.
//! 2. **Steps follow each other.** Everything that the writer does is a script that first compares the whole epoch key with what this writer knows
//!    to stand there, and adds one to its step. What was lost on the way (Redis emptied, restarted from an older file, a replica promoted that
//!    had not got everything), another writer, or an answer that came too late, all show as another value, and nothing is written. What stands when it is the
//!    expected value is the result of exactly the steps before, with fills in between, less what expired or was evicted.
//! 3. **A flush tells everything.** It has all accounts that changed in (P, P'], each as the last record of them left it, at position `c`. Its
//!    steps write them, and note P' in their slots; the last one also moves P to P'. An entry written halfway is ahead of P, and `max(P, c)` says so; one not yet
//!    written is still right as of P. Where metadata was replaced, the step that writes the account's moving part also writes the static part, or takes it
//!    away where the records do not tell all of it, and notes P' in the static part's slot.
//! 4. **A fill proves that it missed nothing.** A reader brings the store's answer as of S, B ≤ S ≤ P, only under the epoch that it saw before it asked the store, only when the account's
//!    slot says no position behind S, and only when no newer version stands there; all compared in one script. An account that changed in (B, P] has a
//!    slot that says so, even when its entry expired or was evicted meanwhile. So there was no change in (S, P]: the fill is right as of S, and as of P.
//!    (Comparing S with B and versions alone would not do: an evicted entry has no version.) The static part alone is brought in when its own slot says no position behind S.
//!    A slot never written says B. The slots are one key, so they are lost as a whole, and then neither fill nor step goes through.
//!
//! So while the epoch stands, an entry at `c` ≤ P has no change in (`c`, P]: such a change would have been written by its flush, over the entry (3), or it
//! would have forbidden the fill (4). A static part fits the moving part beside it: it is right as of some position up to P, or written with it; and a replacement since then
//! would have come with a moving part and taken it away. That is why no fill is ahead of P: a flush that ends before it would write an older moving part beside it.
//!
//! After a failed or doubtful flush the writer reads the epoch key: where its last step, or the one before it, stands there, it goes on; a step that arrives late compares
//! unequal. Otherwise, and when so much waits that catching up would take long, it begins a new epoch at the position that is durable then.
//!
//! # Near by
//!
//! A reader of one server remembers accounts that it read ([`near`]), and tells them as of `max(P, c)` with a P that it asked for at most a few
//! milliseconds ago. Redis tells it of every write, expiry and eviction of what it read, in the order of its answers; all that it told before it told P is
//! forgotten before P counts. So what is left stood there when P was told, or was read after it, and is right as of it either way: an entry read
//! later at `c` ≤ P has no change in (`c`, P], as shown above. What Redis does not tell of, that all of it was emptied, shows in the epoch's key.
//!
//! # Two writers
//!
//! A *claim* orders writers: Redis' clock in microseconds when a process first began an epoch, above any claim that stood there. It stays
//! that of the process. A writer that finds a higher claim stands by and writes nothing (an old owner that was paused and wakes up); it may begin again only when
//! that epoch has expired. A process without a claim takes over, as it opened the ledger later, but not while the standing epoch covers more than its own journal has: it is then itself the old
//! one, or a restored copy, and waits until that epoch expires.
//!
//! # Pages
//!
//! A page of an account's transfers or balances is kept under the account's version, so it never needs to be taken away: what it shows, the states
//! of transfers too, changes only by a command that touches the account, and so with the version. What is found under the version that the account
//! has as of A is the page as of A, whatever the position that the store told it of. See [`CacheReader::put_page`] for when a page is surely of a
//! version.
//!
//! A store that was lost and made again may tell less history than before of the same version. Its writer starts with it, and begins a new epoch.

mod batch;
mod circuit;
mod connection;
mod entry;
mod epoch;
mod error;
mod keys;
mod lookups;
mod near;
mod options;
mod reader;
mod scripts;
mod writer;

#[cfg(test)]
mod tests;

pub use batch::CacheBatch;
#[cfg(feature = "fuzzing")]
pub(crate) use entry::rewrite as rewrite_entry;
pub use error::{CacheError, CacheOptionsError};
pub use options::CacheOptions;
pub use reader::{CacheCounts, CacheReader, CachedAccount, Miss, PAGE_BYTES_MAX};
pub use writer::CacheWriter;
