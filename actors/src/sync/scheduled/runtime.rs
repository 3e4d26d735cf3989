//! The runtime that a caller's thread runs in. Its tasks go whenever the scheduler wants, as those of a runtime of many threads do.

use std::cell::Cell;
use std::future::Future;

/// Which runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) usize);

pub(crate) struct Handle(Id);

/// There is no runtime here.
#[derive(Debug)]
pub(crate) struct NotHere;

shuttle::thread_local! {
    static HERE: Cell<Option<Id>> = Cell::new(None);
}

/// From now on this thread runs in a runtime, or in none.
pub(crate) fn enter(runtime: Option<Id>) {
    HERE.with(|here| here.set(runtime));
}

impl Handle {
    pub(crate) fn try_current() -> Result<Handle, NotHere> {
        HERE.with(Cell::get).map(Handle).ok_or(NotHere)
    }

    pub(crate) fn id(&self) -> Id {
        self.0
    }

    pub(crate) fn spawn<F>(&self, task: F) -> shuttle::future::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        shuttle::future::spawn(task)
    }
}
