//! How a PostgreSQL database is reached, and how long it is waited for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::store::error::StoreError;

/// The schema that the tables stand in unless another is named.
pub const SCHEMA: &str = "florin";

/// Where a PostgreSQL store is and how patient its users are. The server must be PostgreSQL 14 or newer.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user@host:port/database?sslmode=…`, as `libpq` knows it, with or without a password.
    pub url: String,
    /// The password, when it is not in the URL.
    pub password: Option<String>,
    /// The schema that the tables stand in: 1 to 63 of `a-z 0-9 _`, no digit first.
    pub schema: String,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long one read may take in all.
    pub read_timeout: Duration,
    /// How long one statement of a batch, or one piece of its rows, may take.
    pub write_timeout: Duration,
    /// How long a claim waits for the session of a process that has just died.
    pub claim_timeout: Duration,
    /// How many reads run at once, each on a connection of its own; the others wait. At least 1.
    pub readers: usize,
}

impl PostgresOptions {
    /// What is usual, at this address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> PostgresOptions {
        PostgresOptions {
            url: url.into(),
            password: None,
            schema: SCHEMA.to_owned(),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            claim_timeout: Duration::from_secs(10),
            readers: 4,
        }
    }

    /// The options as `sqlx` wants them, of sessions that find the tables by their names alone.
    pub(super) fn connect_options(&self) -> Result<PgConnectOptions, StoreError> {
        let refused = |reason: String| StoreError::Options { reason };
        if !self.url.starts_with("postgres://") && !self.url.starts_with("postgresql://") {
            return Err(refused("its URL does not begin with postgres:// or postgresql://".into()));
        }
        let schema_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(1..=63).contains(&self.schema.len())
            || !self.schema.chars().all(schema_char)
            || self.schema.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(refused("its schema is not 1 to 63 of a-z 0-9 _, no digit first".into()));
        }
        let options = PgConnectOptions::from_str(&self.url).map_err(|error| match error {
            sqlx::Error::Configuration(error) => {
                refused(format!("its URL can not be read: {error}"))
            }
            // Not shown: what else the parser says might quote the URL.
            _ => refused("its URL can not be read".to_owned()),
        })?;
        let options = match &self.password {
            Some(password) => options.password(password),
            None => options,
        };
        Ok(options.options([("search_path", &self.schema)]).disable_statement_logging())
    }
}

impl fmt::Debug for PostgresOptions {
    /// Without the password, also when the URL can not be read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PostgresOptions");
        match self.connect_options() {
            Ok(options) => shown
                .field("host", &options.get_host())
                .field("port", &options.get_port())
                .field("database", &options.get_database())
                .field("user", &options.get_username())
                .field("sslmode", &options.get_ssl_mode()),
            Err(_) => shown.field("url", &"…"),
        };
        shown
            .field("schema", &self.schema)
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("claim_timeout", &self.claim_timeout)
            .field("readers", &self.readers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://me:hush@db:5433/books?sslmode=require",
            "postgres://db/books?password=hush",
            "postgres://me:hush@db:port/books",
            "mysql://me:hush@db/books",
        ] {
            let options =
                PostgresOptions { password: Some("hush".into()), ..PostgresOptions::new(url) };
            let shown = format!("{options:?}");
            assert!(!shown.contains("hush"), "{shown}");
            if let Err(error) = options.connect_options() {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains("hush"), "{shown}");
            }
        }
        let shown = format!("{:?}", PostgresOptions::new("postgres://me:hush@db:5433/books"));
        assert!(shown.contains("host: \"db\", port: 5433"), "{shown}");
    }

    #[test]
    fn an_address_that_can_not_be_used_says_why() {
        let check = |options: PostgresOptions, expected: &str| {
            let error = options.connect_options().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(PostgresOptions::new("mysql://db/books"), "does not begin with postgres://");
        check(PostgresOptions::new("postgres://db:port/books"), "invalid port");
        check(PostgresOptions::new("postgres://db/books?sslmode=maybe"), "maybe");
        for schema in ["", "1st", "Florin", "a\"b", "a-b", &"x".repeat(64)] {
            let options = PostgresOptions {
                schema: schema.into(),
                ..PostgresOptions::new("postgres://db/b")
            };
            check(options, "its schema is not");
        }
    }
}
