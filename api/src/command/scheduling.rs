//! How the operating system shares its cores among the threads of a server.

use scheduler::{Policy, set_self_policy};
use tracing::debug;

/// Asks the kernel not to interrupt one busy thread for another that was just woken (Linux's `SCHED_BATCH`). Requests then
/// gather while a thread is at work, so that its turns are fewer and fuller. Threads started from here on inherit it.
///
/// An operator who chose another policy keeps it, and where the kernel refuses, only speed is lost.
pub(super) fn prefer_full_turns() {
    if policy_of_this_thread().as_deref() != Some(SCHED_OTHER) {
        return;
    }
    if set_self_policy(Policy::Batch, 0).is_err() {
        debug!("the kernel schedules this process as any other");
    }
}

/// Of a process for which nothing was chosen, as `/proc` shows it.
const SCHED_OTHER: &str = "0";

/// The scheduling policy's number: field 41 of the thread's `stat`, see `man 5 proc_pid_stat`. The name, field 2, stands in
/// parentheses and may have any character in it.
fn policy_of_this_thread() -> Option<String> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(41 - 3).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_prefers_full_turns_is_a_batch_one_and_so_are_those_it_starts() {
        let inherited = std::thread::spawn(|| {
            let before = policy_of_this_thread();
            prefer_full_turns();
            let started = std::thread::spawn(policy_of_this_thread).join().unwrap();
            (before, started)
        });
        let (before, started) = inherited.join().unwrap();
        // Under a policy that was chosen from outside there is nothing to see.
        if before.as_deref() == Some(SCHED_OTHER) {
            assert_eq!(started.as_deref(), Some("3"));
        }
    }

    #[test]
    fn a_policy_that_was_chosen_is_kept() {
        let chosen = std::thread::spawn(|| {
            set_self_policy(Policy::Idle, 0).unwrap();
            prefer_full_turns();
            policy_of_this_thread()
        });
        assert_eq!(chosen.join().unwrap().as_deref(), Some("5"));
    }
}
