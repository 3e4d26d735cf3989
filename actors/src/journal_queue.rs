//! The journal queue: what the shard decided, in order, on its way to the journal thread.
//!
//! A bounded channel, except for how its receiver waits: it parks. The channel's own receiving yields the processor a few times before it
//! sleeps, and a scheduler that takes it at its word lets everybody else have a slice first: 4 ms each on a full machine, for every frame.

use std::time::Duration;

use crossbeam_channel::{SendError, TryRecvError};

use crate::sync::thread::{self, Thread};
use crate::sync::{Receiver, Sender, bounded, park_timeout, unpark};

/// The shard's end.
pub(crate) struct JournalSender<T> {
    items: Sender<T>,
    // After the sender, since fields go in this order: who wakes up sees that it is gone.
    receiver: Sleeper,
}

/// The journal thread's end.
pub(crate) struct JournalReceiver<T>(Receiver<T>);

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// None came in time.
    Yet,
    /// None will come any more.
    Left,
}

/// The thread that sleeps over the queue, if one does. Woken a last time when the sender goes.
#[derive(Default)]
struct Sleeper(Option<Thread>);

/// A queue with so many places. Its sender wakes nobody until it is told whom.
pub(crate) fn journal_queue<T>(places: usize) -> (JournalSender<T>, JournalReceiver<T>) {
    let (sender, receiver) = bounded(places);
    (JournalSender { items: sender, receiver: Sleeper::default() }, JournalReceiver(receiver))
}

impl<T> JournalSender<T> {
    /// Wakes this thread from now on; nothing may have been sent before.
    pub(crate) fn wake(&mut self, receiver: Thread) {
        self.receiver = Sleeper(Some(receiver));
    }

    /// Puts an item behind all others, when there is a place.
    ///
    /// # Errors
    /// The receiver is gone; the item comes back.
    pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
        self.items.send(item)?;
        self.receiver.wake();
        Ok(())
    }

    /// Where the most is noted that was ever in the queue.
    #[cfg(feature = "shuttle")]
    pub(crate) fn most(&self) -> std::sync::Arc<std::sync::atomic::AtomicUsize> {
        self.items.most()
    }
}

impl<T> JournalReceiver<T> {
    /// The next item, without waiting for one.
    pub(crate) fn try_next(&self) -> Option<T> {
        self.0.try_recv().ok()
    }

    /// The next item, as long as it takes; none if none will come any more.
    pub(crate) fn next(&self) -> Option<T> {
        loop {
            match self.0.try_recv() {
                Ok(item) => return Some(item),
                Err(TryRecvError::Disconnected) => return None,
                // What is sent from here on ends the sleep, or keeps it from beginning.
                Err(TryRecvError::Empty) => thread::park(),
            }
        }
    }

    /// The next item, if it comes within `patience`, or half of it: a sleep may end at once for an item that was taken before it began.
    pub(crate) fn next_within(&self, patience: Duration) -> Result<T, Nothing> {
        for _ in 0..2 {
            match self.0.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(Nothing::Left),
                Err(TryRecvError::Empty) => park_timeout(patience / 2),
            }
        }
        self.try_next().ok_or(Nothing::Yet)
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Sleeper {
    fn wake(&self) {
        if let Some(thread) = &self.0 {
            unpark(thread);
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken_by_each_item_and_by_the_end() {
        let (mut sender, receiver) = journal_queue(4);
        let thread = thread::spawn(move || {
            let mut expected = 0;
            while let Some(item) = receiver.next() {
                assert_eq!(item, expected);
                expected += 1;
            }
            expected
        });
        sender.wake(thread.thread().clone());
        for item in 0..20_000 {
            sender.send(item).unwrap();
            if item % 100 == 0 {
                // Long enough for it to fall asleep.
                thread::sleep(Duration::from_micros(200));
            }
        }
        thread::sleep(Duration::from_millis(20));
        drop(sender);
        assert_eq!(thread.join().unwrap(), 20_000);
    }

    #[test]
    fn patience_ends_and_items_wait_for_who_comes_late() {
        const LONG: Duration = Duration::from_secs(30);
        let (sender, receiver) = journal_queue(2);
        assert_eq!(receiver.next_within(Duration::from_millis(5)), Err(Nothing::Yet));
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        drop(sender);
        assert_eq!(receiver.next_within(LONG), Ok(1));
        assert_eq!(receiver.try_next(), Some(2));
        assert_eq!(receiver.next_within(LONG), Err(Nothing::Left));
        assert_eq!(receiver.next(), None);
    }

    #[test]
    fn nothing_is_sent_to_who_is_gone() {
        let (sender, receiver) = journal_queue(2);
        drop(receiver);
        assert_eq!(sender.send(7).map_err(|error| error.0), Err(7));
    }
}
