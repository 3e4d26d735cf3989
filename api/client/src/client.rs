//! The client: what can be asked of a server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use florin_engine::{AccountId, JournalSeq, LedgerId, Scale, TransferId};
use http::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::account::NewAccount;
use crate::batch::{self, Created, Item, Outcome, Written};
use crate::error::{Error, Refusal, SetupError};
use crate::found::{Account, Found, FoundTransfer, Money};
use crate::queue::Queue;
use crate::settings::{Form, Settings};
use crate::transfer::Transfer;
use crate::transport::{Answer, Ask, Failure, JSON, Purpose, Transport};
use crate::tries::Tries;

/// The most events of one batch, and the most ids of one lookup.
pub const EVENTS_MAX: usize = 8190;
/// The largest JSON of one thing: with 4 KiB of metadata it stays far below.
const JSON_BYTES_MAX: usize = 16 << 10;
/// Ledgers whose digits are remembered.
const SCALES_MAX: usize = 1024;

/// A client of one server. Cheap to clone; all clones share its connections and its queue.
///
/// Its methods are to be called within the tokio runtime that it was made in. A call that is dropped takes its transfer back if it was
/// not sent yet; else the outcome stands, and the same id asks for it.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    transport: Arc<Transport>,
    queue: Queue,
    form: Form,
    deadline: Duration,
    attempt_timeout: Duration,
    /// Digits of ledgers, which never change.
    scales: Mutex<HashMap<LedgerId, Scale>>,
}

impl Client {
    /// A client with these settings. Nothing is sent before the first call.
    ///
    /// # Errors
    /// A setting makes no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(settings: Settings) -> Result<Client, SetupError> {
        for (name, value, most) in [
            ("connections", settings.connections, 1024),
            ("batch_events", settings.batch_events, EVENTS_MAX),
            ("batches_in_flight", settings.batches_in_flight, 1024),
            ("queue_events", settings.queue_events, 1 << 20),
        ] {
            if !(1..=most).contains(&value) {
                return Err(SetupError::Bound { name, most });
            }
        }
        let transport = Arc::new(Transport::new(&settings)?);
        let queue = Queue::start(Arc::clone(&transport), &settings);
        let Settings { form, deadline, attempt_timeout, scales, .. } = settings;
        let scales = Mutex::new(scales);
        let shared = Shared { transport, queue, form, deadline, attempt_timeout, scales };
        Ok(Client { shared: Arc::new(shared) })
    }

    /// The newest position that an answer named. What is read is never older than that.
    #[must_use]
    pub fn seen(&self) -> JournalSeq {
        self.shared.transport.seen()
    }

    /// Moves money, in one batch with what others ask for at the moment. Waits for room in the queue.
    ///
    /// # Errors
    /// See [`Error`]. A `linked` or `imported` transfer depends on what stands beside it, and goes by [`Client::transfer_batch`].
    pub async fn transfer(&self, transfer: Transfer) -> Result<Created<TransferId>, Error> {
        let deadline = self.deadline();
        let written = self.single(&transfer, deadline).await?;
        self.shared.queue.send(transfer.id, written, deadline).await
    }

    /// [`Client::transfer`] that does not wait for room in the queue.
    ///
    /// # Errors
    /// [`Error::QueueFull`] where there is none, and those of [`Client::transfer`].
    pub async fn try_transfer(&self, transfer: Transfer) -> Result<Created<TransferId>, Error> {
        let deadline = self.deadline();
        let written = self.single(&transfer, deadline).await?;
        self.shared.queue.try_send(transfer.id, written, deadline).await
    }

    /// Moves money many times, in order, in one request of its own: up to 8,190 transfers, each decided by itself, `linked` chains as a whole.
    ///
    /// # Errors
    /// What is known of the request as a whole. What became of each transfer is told apart, in their order.
    pub async fn transfer_batch(
        &self,
        transfers: &[Transfer],
    ) -> Result<Vec<Result<Created<TransferId>, Refusal>>, Error> {
        self.batch(transfers).await
    }

    /// Creates an account.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn create_account(&self, account: NewAccount) -> Result<Created<AccountId>, Error> {
        let outcomes = self.batch(std::slice::from_ref(&account)).await?;
        let outcome = outcomes.into_iter().next();
        let none = || Error::Foreign { why: "it tells of no account".to_owned() };
        outcome.ok_or_else(none)?.map_err(Error::Refused)
    }

    /// Creates many accounts, in order, in one request: up to 8,190.
    ///
    /// # Errors
    /// What is known of the request as a whole. What became of each account is told apart, in their order.
    pub async fn create_accounts(
        &self,
        accounts: &[NewAccount],
    ) -> Result<Vec<Result<Created<AccountId>, Refusal>>, Error> {
        self.batch(accounts).await
    }

    /// The account with this id, with its balances.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, Error> {
        let path = format!("/v1/accounts/{}", id.0);
        self.get(path, "account_not_found").await
    }

    /// What an account holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn balance(&self, id: AccountId) -> Result<Option<Money>, Error> {
        Ok(self.account(id).await?.map(|account| account.balance))
    }

    /// The accounts with these ids, up to 8,190, in their order and as of one position.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn accounts(&self, ids: &[AccountId]) -> Result<Found<Account>, Error> {
        self.look_up("/v1/accounts/lookup", ids.iter().map(|id| id.0)).await
    }

    /// The transfer with this id, and what became of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn find_transfer(&self, id: TransferId) -> Result<Option<FoundTransfer>, Error> {
        let path = format!("/v1/transfers/{}", id.0);
        self.get(path, "transfer_not_found").await
    }

    /// The transfers with these ids, up to 8,190, in their order.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn transfers(&self, ids: &[TransferId]) -> Result<Found<FoundTransfer>, Error> {
        self.look_up("/v1/transfers/lookup", ids.iter().map(|id| id.0)).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared.deadline
    }

    /// A transfer that goes with those of others.
    async fn single(&self, transfer: &Transfer, deadline: Instant) -> Result<Written, Error> {
        if transfer.needs_its_batch() {
            let why = "a linked or imported transfer depends on those beside it: send them by transfer_batch";
            return Err(Error::Unsendable { why });
        }
        match self.binary(transfer) {
            Some(written) => Ok(written),
            None => self.json(transfer, deadline).await,
        }
    }

    fn binary<I: Item>(&self, item: &I) -> Option<Written> {
        if self.shared.form == Form::Binary { Written::binary(item) } else { None }
    }

    async fn json<I: Item>(&self, item: &I, deadline: Instant) -> Result<Written, Error> {
        let scale = match item.in_digits_of() {
            None | Some(LedgerId(0)) => None,
            Some(ledger) => Some(self.scale(ledger, item.account(), deadline).await?),
        };
        let written = Written::json(item, scale)?;
        if written.bytes() > JSON_BYTES_MAX {
            return Err(Error::Unsendable { why: "its metadata is larger than 4 KiB" });
        }
        Ok(written)
    }

    /// One request with all of these, in the form that all of them have.
    async fn batch<I: Item>(&self, items: &[I]) -> Result<Vec<Outcome<I::Id>>, Error> {
        if items.len() > EVENTS_MAX {
            return Err(Error::Unsendable { why: "a batch has at most 8,190 events" });
        }
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = self.deadline();
        let in_binary: Option<Vec<Written>> = items.iter().map(|item| self.binary(item)).collect();
        let written = match in_binary {
            Some(written) => written,
            None => {
                let mut written = Vec::with_capacity(items.len());
                for item in items {
                    written.push(self.json(item, deadline).await?);
                }
                written
            }
        };
        let (form, ask) = batch::ask::<I>(written.iter());
        drop(written);
        let answer = self.call(&ask, deadline).await?;
        let sent = items.iter().map(|item| (item.id(), item.imported()));
        batch::outcomes(form, &answer, sent).map_err(|why| Error::Foreign { why })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: String,
        none: &'static str,
    ) -> Result<Option<T>, Error> {
        let (kind, body, purpose) = (None, Bytes::new(), Purpose::Read);
        let ask = Ask { method: Method::GET, path, kind, body, purpose };
        match self.call(&ask, self.deadline()).await {
            Ok(answer) => read(&answer).map(Some),
            Err(error) if error.code() == Some(none) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn look_up<T: DeserializeOwned>(
        &self,
        path: &'static str,
        ids: impl ExactSizeIterator<Item = u128>,
    ) -> Result<Found<T>, Error> {
        #[derive(Serialize)]
        struct Ids {
            ids: Vec<String>,
        }
        if ids.len() > EVENTS_MAX {
            return Err(Error::Unsendable { why: "a lookup has at most 8,190 ids" });
        }
        let ids = Ids { ids: ids.map(|id| id.to_string()).collect() };
        let mut body = Vec::new();
        batch::write_json(&ids, &mut body)?;
        let ask = Ask {
            method: Method::POST,
            path: path.to_owned(),
            kind: Some(JSON),
            body: body.into(),
            purpose: Purpose::Read,
        };
        read(&self.call(&ask, self.deadline()).await?)
    }

    /// How many digits amounts of a ledger have after the point. An account of it tells, which its owner has in memory: the ledger itself stands in
    /// the store, which may be away or left to other processes.
    async fn scale(
        &self,
        ledger: LedgerId,
        account: Option<AccountId>,
        deadline: Instant,
    ) -> Result<Scale, Error> {
        #[derive(Deserialize)]
        struct Digits {
            scale: u8,
        }
        let known = || self.shared.scales.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get(&ledger).copied();
        if let Some(scale) = found {
            return Ok(scale);
        }
        if let Some(id) = account
            && let Some(account) = self.account(id).await?
            && account.ledger == ledger
        {
            self.learn(ledger, account.balance.scale);
            return Ok(account.balance.scale);
        }
        let path = format!("/v1/ledgers/{}", ledger.0);
        let (kind, body, purpose) = (None, Bytes::new(), Purpose::Constant);
        let ask = Ask { method: Method::GET, path, kind, body, purpose };
        let found: Digits = read(&self.call(&ask, deadline).await?)?;
        let too_many = || Error::Foreign { why: format!("a ledger with {} digits", found.scale) };
        let scale = Scale::try_new(found.scale).ok_or_else(too_many)?;
        self.learn(ledger, scale);
        Ok(scale)
    }

    fn learn(&self, ledger: LedgerId, scale: Scale) {
        let mut known = self.shared.scales.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < SCALES_MAX {
            known.insert(ledger, scale);
        }
    }

    /// Asks until there is an answer, it is refused, or the deadline passes.
    async fn call(&self, ask: &Ask, deadline: Instant) -> Result<Answer, Error> {
        let mut tries = Tries::until(deadline, self.shared.attempt_timeout);
        let mut uncertain = false;
        loop {
            let failure = match self.shared.transport.attempt(ask, &tries).await {
                Ok(answer) => return Ok(answer),
                // A read that is not answered has done nothing.
                Err(Failure::Unknown { why, after }) if ask.purpose != Purpose::Command => {
                    Failure::NotDone { why, after }
                }
                Err(failure) => failure,
            };
            uncertain |= matches!(failure, Failure::Unknown { .. });
            let again = match failure.may_be_tried_again() {
                Some(after) => tries.pause(after).await,
                None => false,
            };
            if !again {
                return Err(failure.into_error(uncertain));
            }
        }
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| Error::Foreign { why: error.to_string() })
}
