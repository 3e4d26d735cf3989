//! The running ledger: a shard of account actors, its journal thread, write-behind, cache updates and housekeeping, behind an embedded API.
//!
//! The way of one command: [`Florin::submit`] → admission → the shard decides → the journal thread makes it durable → the answer.
//!
//! ```
//! use florin_actors::{Florin, Options};
//! use florin_engine::{AccountId, AmountInput, Command, CreateAccount, CreateTransfer, TransferId};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let mut options = Options::new(directory.path().join("ledger"));
//! # options.segment_bytes = 4 << 20;
//! // `Options::new` has production values: every answer is durable when it arrives.
//! let florin = Florin::open(options)?;
//!
//! let accounts = [1, 2].map(|id| CreateAccount::new(AccountId(id)));
//! florin.submit(Command::CreateAccounts(accounts.into()), None).await?;
//!
//! let amount = AmountInput::parse("10.50")?;
//! let transfer = CreateTransfer::new(TransferId(1), AccountId(1), AccountId(2), amount);
//! let answer = florin.submit(Command::CreateTransfers(vec![transfer.clone()]), None).await?;
//! assert!(answer.exceptions.is_empty());
//!
//! // The same id and content again changes nothing, now or after years.
//! let again = florin.submit(Command::CreateTransfers(vec![transfer]), None).await?;
//! assert_eq!(again.exceptions.len(), 1);
//!
//! let account = florin.account(AccountId(2)).await?.value.ok_or("no such account")?.account;
//! assert_eq!(account.balances.credits_posted.minor_units(), 1050);
//! florin.stop().await;
//! # Ok(())
//! # }
//! ```

mod admission;
mod arrivals;
mod backup;
mod cache_updates;
mod claim;
mod clock;
mod commit;
mod expiry;
mod front;
mod history;
mod housekeeping;
mod indexed;
mod intake;
#[cfg(feature = "shuttle")]
pub mod interleavings;
mod journal_queue;
pub mod metrics;
mod open;
mod options;
mod reader;
mod rebuild;
/// For the benchmark of a start, which takes its steps one by one.
#[doc(hidden)]
pub mod recovery;
mod shard;
mod shared;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod size;
mod sync;
mod verify;
mod write_behind;

pub use admission::{Admission, Limits, Permit, Refusal};
pub use backup::{BackupReport, RestoreError, restore, verify_backup};
pub use cache_updates::CacheCondition;
pub use clock::{Clock, SystemClock};
pub use florin_persistence::backup::BackupError;
pub use florin_persistence::cache::CacheOptions;
pub use florin_persistence::journal::Durability;
pub use front::{
    Answer, Condition, Florin, FoundAccount, FoundTransaction, FoundTransfer, Positions, Read,
    ReadError, Replay, Source, SubmitError, UnreadableAmount,
};
pub use options::{ClockAcceptance, Options, StoreChoice};
pub use reader::{Reader, ReaderCache};
pub use rebuild::{
    Ahead, RebuildError, RebuildOptions, RebuildReport, RebuildSource, RebuildStep, rebuild_store,
};
pub use recovery::{FrameError, OpenError};
pub use verify::{VerifyError, VerifyReport, verify};
pub use write_behind::{StoreCondition, WriteBehind};
