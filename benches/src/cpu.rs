//! Processor time, as the kernel counts it for processes and threads: in hundredths of a second.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The fields of a `stat` file behind the name, which may hold anything: the first is the state.
fn fields(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    behind.split_whitespace().map(str::to_owned).collect()
}

/// The sum of some fields that count ticks.
fn ticks(fields: &[String], indices: std::ops::Range<usize>) -> Duration {
    let ticks =
        fields.get(indices).unwrap_or_default().iter().filter_map(|tick| tick.parse::<u64>().ok());
    // The kernel shows a hundred ticks a second on every machine.
    Duration::from_millis(10 * ticks.sum::<u64>())
}

fn stat(process: u32) -> Vec<String> {
    fields(Path::new(&format!("/proc/{process}/stat")))
}

/// What a process has used so far, all of its threads.
#[must_use]
pub fn of_process(process: u32) -> Duration {
    ticks(&stat(process), 11..13)
}

/// What the threads of this name have used so far.
#[must_use]
pub fn of_threads(process: u32, name: &str) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let named = tasks.map(|task| task.path()).filter(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|found| found.trim_end() == name)
    });
    named.map(|task| ticks(&fields(&task.join("stat")), 11..13)).sum()
}

/// The processes that this one has made and that live.
#[must_use]
pub fn children(process: u32) -> Vec<u32> {
    let parent = process.to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| stat(*id).get(1) == Some(&parent)).collect()
}

/// What a process and its children have used so far, also those that have ended.
#[must_use]
pub fn of_family(process: u32) -> Duration {
    let own = ticks(&stat(process), 11..15);
    own + children(process).into_iter().map(of_process).sum::<Duration>()
}

/// What the children of this process have used that it has waited for.
#[must_use]
pub fn of_ended_children() -> Duration {
    ticks(&fields(Path::new("/proc/self/stat")), 13..15)
}

/// What all processors together did not use, and what they did not use because a disk had not answered.
fn unused() -> (Duration, Duration) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all: Vec<String> =
        text.lines().next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    (ticks(&all, 4..6), ticks(&all, 5..6))
}

/// A stretch of time, and what each party used in it.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    began: Instant,
    idle: Duration,
    waiting: Duration,
    used: [Duration; 4],
}

/// Who is measured: the server, its store thread, the database's processes, and what was started for the load.
#[derive(Clone, Copy, Debug)]
pub struct Parties {
    /// The server's process.
    pub server: u32,
    /// The database's first process, if there is one.
    pub postgres: Option<u32>,
}

/// What a [`Stretch`] came to.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// How long it was.
    pub elapsed: Duration,
    /// The server's process, all threads.
    pub server: Duration,
    /// Of that, the thread that fills the store.
    pub store_thread: Duration,
    /// The database, all processes.
    pub postgres: Duration,
    /// The load generator, and whatever else this process started and waited for.
    pub load: Duration,
    /// What the processors did not use, of so many times `elapsed` as there are.
    pub idle: Duration,
    /// Of that, while a disk had not answered.
    pub waiting: Duration,
}

impl Parties {
    fn used(self) -> [Duration; 4] {
        [
            of_process(self.server),
            of_threads(self.server, "florin-store"),
            self.postgres.map_or(Duration::ZERO, of_family),
            of_ended_children(),
        ]
    }

    /// A stretch begins.
    #[must_use]
    pub fn begin(self) -> Stretch {
        let (idle, waiting) = unused();
        Stretch { began: Instant::now(), idle, waiting, used: self.used() }
    }

    /// A stretch ends.
    #[must_use]
    pub fn end(self, stretch: &Stretch) -> Used {
        let elapsed = stretch.began.elapsed();
        let (idle, waiting) = unused();
        let mut used = self.used();
        for (now, before) in used.iter_mut().zip(stretch.used) {
            *now = now.saturating_sub(before);
        }
        let [server, store_thread, postgres, load] = used;
        Used {
            elapsed,
            server,
            store_thread,
            postgres,
            load,
            idle: idle.saturating_sub(stretch.idle),
            waiting: waiting.saturating_sub(stretch.waiting),
        }
    }
}

impl Used {
    /// What everybody else on this machine used, the kernel's own threads too.
    #[must_use]
    pub fn others(&self) -> Duration {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let all = self.elapsed * u32::try_from(processors).unwrap_or(u32::MAX);
        all.saturating_sub(self.server + self.postgres + self.load + self.idle)
    }

    /// Processors that were busy with this on average.
    #[must_use]
    pub fn processors(&self, used: Duration) -> f64 {
        used.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_counted() {
        let me = std::process::id();
        let before = of_process(me);
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(fields(Path::new("/proc/self/stat")));
        }
        let used = of_process(me).saturating_sub(before);
        assert!(used >= Duration::from_millis(20), "{used:?}");
        assert!(of_family(me) >= used);
    }
}
