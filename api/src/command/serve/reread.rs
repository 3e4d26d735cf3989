//! SIGHUP: keys and certificates are read again, while requests go on.

use tokio::signal::unix::Signal;
use tracing::{error, info};

use crate::command::text;
use crate::http::HttpConfig;

/// Reads keys and certificates again at each hangup. What can not be read changes nothing.
pub(super) async fn at(mut hangups: Signal, http: HttpConfig) {
    while hangups.recv().await.is_some() {
        if http.api_keys.is_none() && http.certificates.is_none() {
            info!("hangup: this server has neither keys nor certificates to reread");
        }
        if let Some(keys) = &http.api_keys {
            match keys.reread() {
                Ok(()) => info!(keys = keys.count(), "the keys were reread"),
                Err(error) => {
                    error!("the keys stay as they were: {}", text::sentence(&error));
                }
            }
        }
        if let Some(certificates) = &http.certificates {
            match certificates.reread() {
                Ok(()) => info!("the certificate was reread"),
                Err(error) => {
                    error!("the certificate stays as it was: {}", text::sentence(&error));
                }
            }
        }
    }
}
