//! Which server a verb speaks to, and how: the address, what is trusted, and the key that is shown.

use std::path::PathBuf;
use std::time::Duration;

use super::{Client, PATIENCE};
use crate::command::CommandError;
use crate::config::{self, Secret};
use crate::keys::Token;
use crate::tls::{self, TlsError};

/// Where a server is, for a verb that needs no key.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::command) struct PlaceArgs {
    /// Where the server is [FLORIN_URL; default http://127.0.0.1:8080]
    #[arg(
        long,
        env = "FLORIN_URL",
        default_value = "http://127.0.0.1:8080",
        hide_env = true,
        hide_default_value = true,
        value_parser = server_url
    )]
    pub(in crate::command) url: String,
    /// With https, trust what the authorities in this file sign (PEM), instead of those that the system trusts [FLORIN_CA_CERT]
    #[arg(
        long,
        env = "FLORIN_CA_CERT",
        hide_env = true,
        value_name = "FILE",
        value_hint = clap::ValueHint::FilePath
    )]
    ca_cert: Option<PathBuf>,
}

/// Where a server is, and the key that it asks for.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::command) struct ServerArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The key to show, where others can not read the command line [FLORIN_API_KEY, or FLORIN_API_KEY_FILE naming a file with it]
    #[arg(long, value_name = "KEY")]
    api_key: Option<Secret>,
}

impl ServerArgs {
    /// Where the server is.
    pub(in crate::command) fn url(&self) -> &str {
        &self.place.url
    }

    /// A client that waits as long as a server may take.
    ///
    /// # Errors
    /// The key is none, or what is to be trusted can not be read.
    pub(in crate::command) fn client(&self) -> Result<Client, CommandError> {
        let key = config::api_key(self.api_key.as_ref())?;
        Ok(self.place.client(key, PATIENCE)?)
    }
}

impl PlaceArgs {
    /// A client that waits this long for an answer.
    ///
    /// # Errors
    /// What is to be trusted can not be read.
    pub(in crate::command) fn client(
        &self,
        key: Option<Token>,
        patience: Duration,
    ) -> Result<Client, TlsError> {
        let trust = match self.url.starts_with("https://") {
            true => Some(tls::trusting(self.ca_cert.as_deref())?),
            false => None,
        };
        Ok(Client::with(&self.url, patience, trust, key))
    }
}

fn server_url(url: &str) -> Result<String, &'static str> {
    match url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) {
        Some(host) if !host.is_empty() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(
            "must begin with http:// or https:// and name a host, such as http://127.0.0.1:8080",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_scheme_and_host() {
        assert_eq!(server_url("http://h:1/").as_deref(), Ok("http://h:1"));
        assert_eq!(server_url("https://h").as_deref(), Ok("https://h"));
        assert!(server_url("h:1").is_err() && server_url("https://").is_err());
    }
}
