//! What is run under the schedules.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::Happened;
use super::callers::{Asked, Caller};
use super::ledger::{Ledger, Pending, Setting, Spares};
use crate::admission::{Admission, Limits, Refusal};

/// Room enough for everybody.
const WIDE: Limits =
    Limits { events_in_flight: 100, bytes_in_flight: 1 << 20, backlog_bytes: 1 << 30 };
/// Room for two of six.
const NARROW: Limits = Limits { events_in_flight: 2, ..WIDE };
const PLAIN: Setting = Setting { limits: WIDE, spares: Spares::Some, pending: Pending::None };

const ALL: [Asked; 4] = [Asked::Transfer, Asked::Transfer, Asked::Again, Asked::Account];
/// Two of these leave no room for a third in what one segment has.
const LONG_WORDS: usize = 25 << 10;

/// What is run under the schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Permits alone: callers and the ledger itself take places of all sizes.
    Admission,
    /// Commands and reads of several threads, some of which share a lane or a runtime, on a ledger where nothing fails.
    Answers,
    /// The same, where few may be in flight, and some ask for nothing.
    Overload,
    /// One at a time may be in flight, and somebody asks whenever it has its answer.
    Turns,
    /// The ledger stops while it is asked.
    Stop,
    /// A sync fails.
    FailedSync,
    /// The journal has room for little more.
    Room,
    /// Pending transfers expire meanwhile.
    Expiry,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scenario::Admission => "admission",
            Scenario::Answers => "answers",
            Scenario::Overload => "overload",
            Scenario::Turns => "turns",
            Scenario::Stop => "stop",
            Scenario::FailedSync => "failed_sync",
            Scenario::Room => "room",
            Scenario::Expiry => "expiry",
        })
    }
}

impl Scenario {
    pub(super) fn run(self, happened: &Arc<Happened>) {
        match self {
            Scenario::Admission => admission(happened),
            Scenario::Answers => {
                let ledger = Ledger::start(PLAIN, happened);
                call(&ledger, 3, 0, 3, &ALL);
                ledger.stop();
                check_sound(&ledger);
            }
            Scenario::Overload => {
                let ledger = Ledger::start(Setting { limits: NARROW, ..PLAIN }, happened);
                call(&ledger, 3, 0, 3, &[Asked::Transfer, Asked::Account, Asked::Nothing]);
                ledger.stop();
                check_sound(&ledger);
            }
            Scenario::Turns => {
                let limits = Limits { events_in_flight: 1, ..WIDE };
                let ledger = Ledger::start(Setting { limits, ..PLAIN }, happened);
                let asking = Arc::clone(&ledger);
                let caller = thread::spawn(move || {
                    Caller::new(&asking, 1, Some(0)).ask_in_turn(3, &ALL);
                });
                caller.join().expect("a caller panicked");
                let overloaded = happened.overloaded.load(Ordering::Relaxed);
                assert_eq!(overloaded, 0, "who has an answer has no place any more");
                ledger.stop();
                check_sound(&ledger);
            }
            Scenario::Stop => {
                let ledger = Ledger::start(PLAIN, happened);
                let stopping = Arc::clone(&ledger);
                let stopper = thread::spawn(move || stopping.stop());
                call(&ledger, 2, 0, 3, &ALL);
                stopper.join().expect("it stops");
                check_sound(&ledger);
            }
            Scenario::FailedSync => failed_sync(happened),
            Scenario::Room => {
                let ledger = Ledger::start(Setting { spares: Spares::None, ..PLAIN }, happened);
                call(&ledger, 3, LONG_WORDS, 2, &[Asked::Transfer]);
                ledger.stop();
                check_sound(&ledger);
            }
            Scenario::Expiry => {
                let ledger = Ledger::start(Setting { pending: Pending::Some, ..PLAIN }, happened);
                let passing = Arc::clone(&ledger);
                let time = thread::spawn(move || {
                    for _ in 0..2 {
                        thread::sleep(Duration::ZERO);
                        passing.advance();
                    }
                });
                call(&ledger, 2, 0, 3, &ALL);
                time.join().expect("time passes");
                ledger.stop();
                check_sound(&ledger);
            }
        }
    }
}

/// Lets so many callers ask, and waits until they have done. One has no runtime, the others share one or have one of their own.
fn call(ledger: &Arc<Ledger>, callers: u32, words: usize, times: u32, choice: &'static [Asked]) {
    let callers: Vec<_> = (1..=callers)
        .map(|number| {
            let ledger = Arc::clone(ledger);
            thread::spawn(move || {
                let runtime = thread_rng().gen_range(0..3_usize).checked_sub(1);
                Caller::new(&ledger, number, runtime).with_words(words).ask(times, choice);
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("a caller panicked");
    }
}

/// Nothing failed, so that nothing may have an unknown outcome.
fn check_sound(ledger: &Ledger) {
    assert_eq!(ledger.intake.shared.failure(), None);
    assert_eq!(ledger.happened.unknown.load(Ordering::Relaxed), 0, "an outcome is unknown");
    ledger.check_end();
}

fn failed_sync(happened: &Arc<Happened>) {
    let ledger = Ledger::start(PLAIN, happened);
    ledger.disk.fail_after(thread_rng().gen_range(0..4));
    let waiting = Arc::clone(&ledger);
    let told = thread::spawn(move || block_on(waiting.intake.shared.failed()));
    call(&ledger, 3, 0, 3, &ALL);
    ledger.stop();
    if ledger.intake.shared.failure().is_none() {
        ledger.intake.shared.fail("the test is over".to_owned());
    }
    let reason = told.join().expect("who waits for a failure is told");
    assert_eq!(ledger.intake.shared.failure(), Some(reason.as_str()));
    ledger.check_end();
}

/// What is admitted now, as those know who were.
#[derive(Default)]
struct Held {
    events: AtomicU64,
    bytes: AtomicU64,
    callers: AtomicU64,
    callers_bytes: AtomicU64,
}

fn admission(happened: &Arc<Happened>) {
    const LIMITS: Limits = Limits { events_in_flight: 4, bytes_in_flight: 40, backlog_bytes: 0 };
    const ROOM: u64 = 60;
    let (admission, held) = (Admission::new(LIMITS), Arc::new(Held::default()));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (admission, held) = (Arc::clone(&admission), Arc::clone(&held));
            let happened = Arc::clone(happened);
            thread::spawn(move || {
                for _ in 0..3 {
                    // The last one is the ledger itself, which only room bounds. A command of seven is admitted when it is alone.
                    let events = [1, 2, 3, 7][thread_rng().gen_range(0..4)];
                    let bytes = events * 8;
                    let admitted = match number {
                        3 => admission.admit_own(bytes, || ROOM),
                        _ => admission.admit(events, bytes, || ROOM),
                    };
                    let (events, caller) = if number == 3 { (0, 0) } else { (events, 1) };
                    let callers_bytes = caller * bytes;
                    let permit = match admitted {
                        Ok(permit) => permit,
                        Err(refusal) => {
                            Happened::count(match refusal {
                                Refusal::Overloaded => &happened.overloaded,
                                Refusal::StorageFull => &happened.storage_full,
                                Refusal::Stopping => &happened.stopping,
                            });
                            continue;
                        }
                    };
                    Happened::count(&happened.answers);
                    let all = held.events.fetch_add(events, Ordering::Relaxed) + events;
                    let callers = held.callers.fetch_add(caller, Ordering::Relaxed) + caller;
                    let all_bytes = held.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
                    assert!(all <= LIMITS.events_in_flight || callers <= 1, "{all} events");
                    assert!(all_bytes <= ROOM, "{all_bytes} bytes");
                    let theirs = held.callers_bytes.fetch_add(callers_bytes, Ordering::Relaxed);
                    let theirs = theirs + callers_bytes;
                    assert!(theirs <= LIMITS.bytes_in_flight || callers <= 1, "{theirs} bytes");
                    let counted = admission.events_in_flight();
                    assert!(counted >= held.events.load(Ordering::Relaxed), "{counted} counted");
                    let counted = admission.bytes_in_flight();
                    assert!(counted >= held.bytes.load(Ordering::Relaxed), "{counted} counted");
                    held.events.fetch_sub(events, Ordering::Relaxed);
                    held.callers.fetch_sub(caller, Ordering::Relaxed);
                    held.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    held.callers_bytes.fetch_sub(callers_bytes, Ordering::Relaxed);
                    drop(permit);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("a caller panicked");
    }
    assert_eq!((admission.events_in_flight(), admission.bytes_in_flight()), (0, 0));
}
