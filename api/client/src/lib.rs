//! An async client of the Florin ledger.
//!
//! - **No charge happens twice.** Every transfer has its id before it is first sent, and whatever is not surely known (a broken
//!   connection, a time-out, `outcome_unknown`) is asked again with that id, with pauses that grow, until a deadline.
//! - **Calls batch by themselves.** What concurrent tasks ask for while requests are on their way goes together, up to 8,190
//!   transfers in one: a thousand tasks that each move money once make a handful of requests.
//! - **Everything is bounded**: the queue, what is in flight, each try, each call. Past a bound a call waits, and ends with an
//!   [`Error`] that tells what is known: refused, surely not sent, or unknown.
//!
//! Amounts are minor units (cents of a ledger with two digits). Transfers go in the binary form of batches, those with
//! metadata or `effective_at` as JSON.
//!
//! ```no_run
#![doc = include_str!("../examples/payments.rs")]
//! ```
//!
//! In reading order: [`Settings`], [`Client`], [`Transfer`], [`NewAccount`], what is read back ([`Account`],
//! [`FoundTransfer`]), [`Error`].

mod account;
mod batch;
mod client;
mod error;
mod found;
mod queue;
mod settings;
mod transfer;
mod transport;
mod tries;

pub use account::NewAccount;
pub use batch::Created;
pub use client::{Client, EVENTS_MAX};
pub use error::{Error, Refusal, SetupError};
pub use florin_engine::{
    AccountFlags, AccountId, Amount, Code, JournalSeq, LedgerId, Scale, SignedAmount, Timestamp,
    TransferFlags, TransferId,
};
pub use found::{Account, Found, FoundTransfer, Money};
pub use serde_json::value::RawValue;
pub use settings::{ApiKey, Authorities, Form, Settings};
pub use transfer::Transfer;
