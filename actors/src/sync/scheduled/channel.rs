//! A bounded channel with the semantics of crossbeam's: what is in it when its receiver goes is dropped there and then.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use crossbeam_channel::{RecvError, SendError, TryRecvError, TrySendError};
use shuttle::sync::{Condvar, Mutex, MutexGuard};

pub(crate) struct Sender<T>(Arc<Channel<T>>);
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

struct Channel<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
    /// The most that was ever in it.
    most: Arc<AtomicUsize>,
}

struct State<T> {
    items: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
}

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { items: VecDeque::new(), senders: 1, has_receiver: true };
    let channel = Arc::new(Channel {
        capacity,
        state: Mutex::new(state),
        changed: Condvar::new(),
        most: Arc::default(),
    });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Channel<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut state: MutexGuard<'_, State<T>>, item: T) {
        state.items.push_back(item);
        self.most.fetch_max(state.items.len(), Ordering::Relaxed);
        drop(state);
        self.changed.notify_all();
    }
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
        let mut state = self.0.state();
        while state.has_receiver && state.items.len() >= self.0.capacity {
            state = self.0.wait(state);
        }
        if !state.has_receiver {
            drop(state);
            return Err(SendError(item));
        }
        self.0.put(state, item);
        Ok(())
    }

    pub(crate) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        let state = self.0.state();
        let (has_receiver, is_full) = (state.has_receiver, state.items.len() >= self.0.capacity);
        if has_receiver && !is_full {
            self.0.put(state, item);
            return Ok(());
        }
        drop(state);
        Err(if has_receiver { TrySendError::Full(item) } else { TrySendError::Disconnected(item) })
    }

    /// Where the most is noted that was ever in the channel.
    pub(crate) fn most(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0.most)
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut state = self.0.state();
        loop {
            if let Some(item) = self.take(&mut state) {
                return Ok(item);
            }
            if state.senders == 0 {
                return Err(RecvError);
            }
            state = self.0.wait(state);
        }
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.0.state();
        match self.take(&mut state) {
            Some(item) => Ok(item),
            None if state.senders == 0 => Err(TryRecvError::Disconnected),
            None => Err(TryRecvError::Empty),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.state().items.is_empty()
    }

    fn take(&self, state: &mut State<T>) -> Option<T> {
        let item = state.items.pop_front()?;
        // Whoever waits for room waits for the lock too, which is given back before anything else happens.
        self.0.changed.notify_all();
        Some(item)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        self.0.state().senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // A test that fails lets go of everything without a scheduler.
        if !std::thread::panicking() {
            self.0.state().senders -= 1;
            self.0.changed.notify_all();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut state = self.0.state();
            state.has_receiver = false;
            let left = std::mem::take(&mut state.items);
            drop(state);
            self.0.changed.notify_all();
            drop(left);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
