//! The demo's own server: the same as `florin serve`, in a thread, in a directory that goes afterwards.

use std::sync::mpsc as blocking;
use std::thread::{self, JoinHandle};

use actix_web::rt::System;
use tokio::sync::mpsc;

use super::DemoError;
use crate::command::scratch::{Afterwards, Scratch};
use crate::command::serve::{Ending, ServeError, Server};
use crate::config::Config;

pub(super) struct OwnServer {
    url: String,
    stops: mpsc::Sender<()>,
    serving: JoinHandle<Result<Ending, ServeError>>,
    /// Goes last, when nothing is open in it any more.
    scratch: Scratch,
}

impl OwnServer {
    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// It did not start.
    pub(super) fn start() -> Result<OwnServer, DemoError> {
        let scratch = Scratch::create(&std::env::temp_dir(), "demo", Afterwards::Remove)
            .map_err(DemoError::Directory)?;
        let config =
            Config::of_own_server(scratch.path().join("data")).map_err(ServeError::Config)?;
        let server = Server::open(&config)?;
        let url = server.url();
        let (stops, stopped) = mpsc::channel(2);
        let (announce, ready) = blocking::channel();
        let serving = thread::spawn(move || {
            let tell = move || {
                // Nobody waits for it only when the demo is over already.
                let _ = announce.send(());
            };
            System::new().block_on(server.serve(stopped, tell))
        });
        let own = OwnServer { url, stops, serving, scratch };
        match ready.recv() {
            Ok(()) => Ok(own),
            // It ended before it was ready, so stopping it says why.
            Err(blocking::RecvError) => own.stop().and_then(|()| {
                Err(DemoError::Unprepared { what: "its own server ended at once".into() })
            }),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server and removes its directory.
    ///
    /// # Errors
    /// It had ended by itself.
    pub(super) fn stop(self) -> Result<(), DemoError> {
        // If it has ended already, there is nobody to tell, and joining says why.
        let _ = self.stops.try_send(());
        let ended = self.serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        drop(self.scratch);
        let _: Ending = ended?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::client::Client;

    #[test]
    fn it_answers_until_it_is_stopped_and_leaves_nothing_behind() {
        let own = OwnServer::start().unwrap();
        let directory = own.scratch.path().to_owned();
        let client = Client::new(own.url());
        assert_eq!(client.get("/readyz").unwrap().status, 200);
        assert!(directory.join("data").is_dir());
        own.stop().unwrap();
        assert!(client.get("/readyz").is_err());
        assert!(!directory.exists());
    }
}
