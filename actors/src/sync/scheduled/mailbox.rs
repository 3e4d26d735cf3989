//! The shard's mailbox and the thread that handles what is in it, one letter at a time, as the shard's arbiter does.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use actix::prelude::SendError;
use crossbeam_channel::TrySendError;

use super::channel::{Receiver, Sender, bounded};
use super::thread;
use crate::recovery::OpenError;
use crate::shard::{Arrived, Finish, Indexed, Shard};

pub(crate) struct Addr<A> {
    letters: Sender<Letter>,
    of: PhantomData<fn(A)>,
}

/// What the shard handles.
pub(crate) enum Letter {
    Arrived(Arrived),
    Indexed(Indexed),
    Finish(Finish),
}

impl From<Arrived> for Letter {
    fn from(arrived: Arrived) -> Letter {
        Letter::Arrived(arrived)
    }
}

impl From<Indexed> for Letter {
    fn from(indexed: Indexed) -> Letter {
        Letter::Indexed(indexed)
    }
}

impl From<Finish> for Letter {
    fn from(finish: Finish) -> Letter {
        Letter::Finish(finish)
    }
}

impl Addr<Shard> {
    pub(crate) fn try_send(&self, letter: impl Into<Letter>) -> Result<(), SendError<Letter>> {
        self.letters.try_send(letter.into()).map_err(|error| match error {
            TrySendError::Full(letter) => SendError::Full(letter),
            TrySendError::Disconnected(letter) => SendError::Closed(letter),
        })
    }

    /// Where the most letters are noted that ever waited.
    pub(crate) fn most(&self) -> Arc<AtomicUsize> {
        self.letters.most()
    }
}

impl<A> Clone for Addr<A> {
    fn clone(&self) -> Addr<A> {
        Addr { letters: self.letters.clone(), of: PhantomData }
    }
}

/// Starts the shard on a thread of its own.
pub(crate) fn start_shard(
    shard: Shard,
    mailbox: usize,
) -> Result<(Addr<Shard>, thread::JoinHandle<()>), OpenError> {
    let (letters, received) = bounded(mailbox);
    let run = move || handle_all(shard, &received);
    let thread = thread::Builder::new().name("florin-shard".to_owned()).spawn(run)?;
    Ok((Addr { letters, of: PhantomData }, thread))
}

fn handle_all(mut shard: Shard, letters: &Receiver<Letter>) {
    while let Ok(letter) = letters.recv() {
        match letter {
            Letter::Arrived(Arrived(arrivals)) => {
                for arrival in arrivals {
                    shard.arrive(arrival);
                }
                shard.expire_slice(shard.clock.now());
                shard.publish_counts();
            }
            Letter::Indexed(Indexed(seq)) => drop(shard.forget(seq)),
            Letter::Finish(Finish) => return,
        }
    }
}
