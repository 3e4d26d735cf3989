//! A bar on the standard error while something takes its time; nothing where that is no terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar moves: often enough to look alive, too seldom to be felt in a measurement.
const REFRESH: Duration = Duration::from_millis(100);

/// A bar that a thread of its own keeps moving, so that whoever works only counts.
pub(super) struct Progress {
    done: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

/// Where the work stands.
pub(super) struct Standing {
    pub(super) position: u64,
    pub(super) message: String,
}

impl Progress {
    /// Shows a bar of this length, asking now and then where the work stands.
    pub(super) fn watch(
        title: &'static str,
        length: u64,
        standing: impl Fn() -> Standing + Send + 'static,
    ) -> Progress {
        let bar = bar(title);
        bar.set_length(length);
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let ticker = thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                let Standing { position, message } = standing();
                bar.set_position(position.min(length));
                bar.set_message(message);
                thread::park_timeout(REFRESH);
            }
            bar.finish_and_clear();
        });
        Progress { done, ticker: Some(ticker) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            // It only draws: if that panicked, the work is done all the same.
            let _ = ticker.join();
        }
    }
}

/// A bar whose length is not known yet.
pub(super) fn bar(title: &'static str) -> ProgressBar {
    ProgressBar::new(0).with_style(style()).with_prefix(title)
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{prefix:>9} {bar:40.cyan/dim} {percent:>3} % {msg}")
        .expect("the template is fixed and was tried")
        .progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_ends_with_its_owner() {
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        let progress = Progress::watch("test", 10, move || {
            seen.store(true, Ordering::Release);
            Standing { position: 11, message: String::new() }
        });
        while !asked.load(Ordering::Acquire) {
            thread::yield_now();
        }
        drop(progress);
    }
}
