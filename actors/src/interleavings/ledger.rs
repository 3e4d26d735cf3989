//! A ledger with its threads, what it has shown, and what must be there when it is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use florin_engine::{
    AccountId, AmountInput, Command, CreateAccount, CreateTransfer, TransferFlags, TransferId,
};
use florin_persistence::disk::simulated::Crash;
use florin_persistence::store::simulated::Commits;
use shuttle::future::block_on;
use tokio::sync::oneshot;

use super::Happened;
use super::disk::WatchedDisk;
use crate::admission::Limits;
use crate::arrivals::Arrivals;
use crate::intake::Intake;
use crate::open::{Wired, places, start_committer};
use crate::options::ClockAcceptance;
use crate::shard::{Arrival, Submit};
use crate::simulation::machine::Machine;
use crate::sync::start_shard;
use crate::sync::thread::JoinHandle;

/// Who gives.
pub(super) const FROM: AccountId = AccountId(1);
/// Who gets: one minor unit with each transfer.
pub(super) const TO: AccountId = AccountId(2);
/// The bytes that a disk has beside what one segment takes, and what is left free for others.
const NO_SPARE_BYTES: u64 = (64 << 20) + (104 << 10);
/// The seconds after which the pending transfers expire, one each.
const TIMEOUTS: [u32; 2] = [1, 2];

/// What differs between ledgers.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub(super) limits: Limits,
    pub(super) spares: Spares,
    pub(super) pending: Pending,
}

/// Whether the disk has room for a second segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Spares {
    Some,
    None,
}

/// Whether there are pending transfers that expire when time passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    Some,
    None,
}

/// What callers saw.
#[derive(Default)]
pub(super) struct Log {
    /// The newest position that anybody was shown.
    pub(super) shown: u64,
    /// All transfers that were sent.
    pub(super) sent: Vec<TransferId>,
    /// The positions of those that were answered.
    pub(super) answered: BTreeMap<u128, u64>,
    /// What [`TO`] had got as of a position.
    pub(super) reads: Vec<(u64, u128)>,
}

pub(super) struct Ledger {
    pub(super) intake: Intake,
    pub(super) disk: WatchedDisk,
    pub(super) happened: Arc<Happened>,
    machine: Machine,
    limits: Limits,
    threads: Mutex<Vec<JoinHandle<()>>>,
    mailbox_most: Arc<AtomicUsize>,
    queue_most: Arc<AtomicUsize>,
    log: Mutex<Log>,
}

impl Ledger {
    pub(super) fn start(setting: Setting, happened: &Arc<Happened>) -> Arc<Ledger> {
        let mut machine = Machine::new(1, Commits::Durable, 64 << 10);
        let disk = WatchedDisk::new(machine.disk.clone(), Arc::clone(happened));
        machine.options.limits = setting.limits;
        machine.options.disk = Arc::new(disk.clone());
        if setting.spares == Spares::None {
            machine.fate().weather.capacity_bytes = NO_SPARE_BYTES;
        }
        let mut wired = wire(&machine);
        let accounts = [FROM, TO].map(CreateAccount::new);
        by_hand(&mut wired, Command::CreateAccounts(accounts.into()));
        if setting.pending == Pending::Some {
            let pending = TIMEOUTS.map(|timeout| {
                let mut pending = transfer(TransferId(u128::from(timeout)));
                pending.flags = TransferFlags::PENDING;
                pending.timeout = timeout;
                pending
            });
            by_hand(&mut wired, Command::CreateTransfers(pending.into()));
        }
        let Wired { shared, admission, room, mut shard, committer, record_bytes_max, .. } = wired;
        let queue_most = shard.queue.as_ref().expect("a shard begins with a queue").most();
        disk.share(true);
        let journal_thread = start_committer(committer, &mut shard).expect("a thread starts");
        let (shard, shard_thread) =
            start_shard(shard, places(&machine.options)).expect("a thread starts");
        let mailbox_most = shard.most();
        let intake = Intake {
            admission,
            arrivals: Arrivals::new(shard),
            shared,
            room,
            backlog_bytes: setting.limits.backlog_bytes,
            record_bytes_max,
        };
        let log = Mutex::new(Log { shown: disk.synced(), ..Log::default() });
        Arc::new(Ledger {
            intake,
            disk,
            happened: Arc::clone(happened),
            machine,
            limits: setting.limits,
            threads: Mutex::new(vec![shard_thread, journal_thread]),
            mailbox_most,
            queue_most,
            log,
        })
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a second pass.
    pub(super) fn advance(&self) {
        self.machine.clock.advance(Duration::from_secs(1));
    }

    /// Stops it as [`crate::open::Running::stop`] does.
    pub(super) fn stop(&self) {
        block_on(self.intake.drain());
        self.intake.finish();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("a thread of the ledger panicked");
        }
    }

    /// What must be true once all callers are gone and the ledger has stopped.
    pub(super) fn check_end(&self) {
        let admission = &self.intake.admission;
        let in_flight = (admission.events_in_flight(), admission.bytes_in_flight());
        assert_eq!(in_flight, (0, 0), "places were lost");
        let places = self.limits.events_in_flight as usize;
        // The end of all letters is one too; a slice of those that expire is on its way to the disk beside what was admitted.
        for (most, what, beside) in
            [(&self.mailbox_most, "the mailbox", 1), (&self.queue_most, "the journal queue", 1)]
        {
            let most = most.load(Ordering::Relaxed);
            assert!(most <= places + beside, "{what} had {most}, where {places} are admitted");
        }
        self.check_next_start();
    }

    /// The power goes, and the ledger starts again.
    fn check_next_start(&self) {
        self.disk.share(false);
        self.disk.fail_after(u64::MAX);
        self.machine.disk.crash(Crash::Power);
        let wired = wire(&self.machine);
        let state = &wired.shard.state;
        let log = self.log();
        assert!(state.seq().0 >= log.shown, "{} was shown, {:?} is there", log.shown, state.seq());
        let there: BTreeMap<u128, u64> =
            log.sent.iter().filter_map(|id| Some((id.0, state.recent_id(*id)?.seq.0))).collect();
        for (id, seq) in &log.answered {
            assert_eq!(there.get(id), Some(seq), "transfer {id} was answered");
        }
        for (seq, credits) in &log.reads {
            let expected = there.values().filter(|at| *at <= seq).count() as u128;
            assert_eq!(*credits, expected, "read as of {seq}");
        }
        if TIMEOUTS.iter().any(|id| state.recently_settled(TransferId(u128::from(*id))).is_some()) {
            Happened::count(&self.happened.expired);
        }
        let to = state.account(TO).expect("it was there at the start");
        assert_eq!(to.balances.credits_posted.minor_units(), there.len() as u128);
    }
}

fn wire(machine: &Machine) -> Wired {
    machine.wire(ClockAcceptance::Strict, Box::new(|_| {})).expect("the ledger starts")
}

/// Decides and commits a command before there are threads.
fn by_hand(wired: &mut Wired, command: Command) {
    let permit = wired.admission.admit(1, 0, || u64::MAX).expect("nothing is in flight");
    let (reply, _answered) = oneshot::channel();
    wired.shard.arrive(Arrival::Submit(Submit { command, key: None, permit, reply }));
    let item = wired.committer.queue.try_next().expect("the command is recorded");
    wired.committer.commit_group(item).expect("nothing fails");
}

pub(super) fn transfer(id: TransferId) -> CreateTransfer {
    let amount = AmountInput::parse("0.01").expect("an amount");
    CreateTransfer::new(id, FROM, TO, amount)
}
