//! How a client is set up.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use florin_engine::{LedgerId, Scale};

/// How a client is set up. [`Settings::new`] has what most want; the fields can be changed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the server is: scheme and authority, as in `https://ledger.example:8443`.
    pub url: String,
    /// The key that the server asks for, if it asks for one. Over `http://` it goes in the clear.
    pub api_key: Option<ApiKey>,
    /// Whose signature makes a server's certificate good.
    pub authorities: Authorities,
    /// How transfers and accounts are written where both forms can say them.
    pub form: Form,
    /// Digits after the point of ledgers, where they are known; else they are asked for once, when something goes as JSON.
    pub scales: HashMap<LedgerId, Scale>,
    /// How long a call may take with all its tries; 30 s.
    pub deadline: Duration,
    /// How long one try may take; 10 s.
    pub attempt_timeout: Duration,
    /// How long making a connection may take; 3 s.
    pub connect_timeout: Duration,
    /// The most requests on their way at once, each with a connection of its own, 1 to 1,024; 64. Past that calls wait, until their deadline.
    pub connections: usize,
    /// The most transfers in one batch, 1 to 8,190; 8,190.
    pub batch_events: usize,
    /// The most batches of [`Client::transfer`](crate::Client::transfer) on their way at once, at least 1; 4. More of them make batches smaller.
    pub batches_in_flight: usize,
    /// The most transfers that wait for a batch, at least 1; 32,768. Past that calls wait outside, until their deadline.
    pub queue_events: usize,
}

impl Settings {
    /// The settings that most want, for the server at this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            api_key: None,
            authorities: Authorities::System,
            form: Form::Binary,
            scales: HashMap::new(),
            deadline: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            connections: 64,
            batch_events: crate::EVENTS_MAX,
            batches_in_flight: 4,
            queue_events: 32 << 10,
        }
    }
}

/// A key of the API, `flk_…`. It is shown nowhere.
#[derive(Clone)]
pub struct ApiKey(pub(crate) String);

impl ApiKey {
    /// The key with this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> ApiKey {
        ApiKey(text.into())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// Whose signature makes a server's certificate good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those whom the system trusts.
    System,
    /// Those of these certificates, PEM.
    Pem(Vec<u8>),
}

/// How transfers and accounts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In binary where they fit, else as JSON.
    Binary,
    /// As JSON.
    Json,
}
