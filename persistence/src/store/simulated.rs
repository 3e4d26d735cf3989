//! A store in memory for simulations: rows and checkpoint move together or not at all, as a database promises, and everything else goes wrong.
//!
//! Any statement may fail, a commit may happen without its answer, a batch of a process that died may still be committed, another writer may take over,
//! and where the database is an embedded one, what was not synced may be gone after a power loss. Unlike a database it takes the same row twice: that
//! nothing is doubled is for whoever looks at [`Rows`] to see.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use florin_engine::{
    AccountAfter, AccountId, JournalSeq, LedgerId, LedgerTotals, Settlement, Transfer, TransferId,
};

use super::{Checkpoint, StoreBatch, StoreError, TakeOver};
use crate::disk::simulated::{Fate, Operation};

/// What is in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Ledgers, with the positions of their commands.
    pub ledgers: Vec<(LedgerId, JournalSeq)>,
    /// Accounts, with the positions of their commands.
    pub accounts: Vec<(AccountId, JournalSeq)>,
    /// Transfers, with the positions of their commands.
    pub transfers: Vec<(Transfer, JournalSeq)>,
    /// Ids of transactions, with the positions of their commands.
    pub transactions: Vec<(TransferId, JournalSeq)>,
    /// What became of pending transfers.
    pub settlements: Vec<(TransferId, Settlement, JournalSeq)>,
    /// Records with an idempotency key.
    pub keyed: Vec<(JournalSeq, Box<[u8]>)>,
    /// The newest balances.
    pub balances: BTreeMap<AccountId, AccountAfter>,
    /// The newest totals.
    pub totals: BTreeMap<LedgerId, LedgerTotals>,
}

/// How the database keeps what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// Each commit is durable, as in PostgreSQL.
    Durable,
    /// Commits are durable when they are synced, as in SQLite.
    DurableWhenSynced,
}

/// Steps of tidying that a batch makes.
const STEPS_A_BATCH: u64 = 3;

/// A committed batch that no sync covers, and how to take it back.
#[derive(Debug)]
struct Unsynced {
    before: Checkpoint,
    lengths: [usize; 6],
    balances: Vec<(AccountId, Option<AccountAfter>)>,
    totals: Vec<(LedgerId, Option<LedgerTotals>)>,
}

#[derive(Debug)]
struct Server {
    rows: Rows,
    checkpoint: Checkpoint,
    unsynced: Vec<Unsynced>,
    /// A batch whose commit was asked for and not answered, and the claim that it is made under.
    committing: Option<(StoreBatch, u64)>,
    /// Steps of tidying that are to be done.
    steps: u64,
    is_away: bool,
}

/// The database server, which outlives the processes that write to it.
#[derive(Clone, Debug)]
pub struct SimulatedStore {
    fate: Arc<Mutex<Fate>>,
    server: Arc<Mutex<Server>>,
    commits: Commits,
    /// The claim of this process; 0 before it has one.
    epoch: Arc<Mutex<u64>>,
}

impl SimulatedStore {
    /// An empty store, for a machine with this fate.
    #[must_use]
    pub fn new(fate: Arc<Mutex<Fate>>, commits: Commits) -> SimulatedStore {
        let server = Server {
            rows: Rows::default(),
            checkpoint: Checkpoint::NOTHING,
            unsynced: Vec::new(),
            committing: None,
            steps: 0,
            is_away: false,
        };
        SimulatedStore {
            fate,
            server: Arc::new(Mutex::new(server)),
            commits,
            epoch: Arc::default(),
        }
    }

    /// The same store for the next process.
    #[must_use]
    pub fn reconnect(&self) -> SimulatedStore {
        SimulatedStore { epoch: Arc::default(), ..self.clone() }
    }

    /// What happens to it when the process that writes to it dies, with the power or without.
    pub fn crash(&self, power: bool) {
        let mut server = self.server();
        let mut fate = self.fate();
        if let Some((batch, epoch)) = server.committing.take()
            && fate.random.one_in(2)
        {
            // It was on its way.
            let _ = server.commit(&batch, epoch, self.commits);
        }
        if power && self.commits == Commits::DurableWhenSynced {
            let lost = fate.random.below(server.unsynced.len() as u64 + 1);
            (0..lost).for_each(|_| server.take_back());
            server.unsynced.clear();
        }
    }

    /// Another process takes over as its writer.
    pub fn take_over(&self) {
        self.server().checkpoint.epoch += 1;
    }

    /// From now on it is away, or there again.
    pub fn set_away(&self, is_away: bool) {
        self.server().is_away = is_away;
    }

    /// Shows what is in it, and where it stands.
    pub fn look<T>(&self, see: impl FnOnce(&Rows, &Checkpoint) -> T) -> T {
        let server = self.server();
        see(&server.rows, &server.checkpoint)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One statement's way to the server and back.
    async fn statement(&self) -> Result<(), StoreError> {
        let mut on_its_way = self.fate().random.one_in(4);
        poll_fn(|_| if std::mem::take(&mut on_its_way) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        self.fate().meet(Operation::Statement).map_err(away)?;
        if self.server().is_away {
            return Err(away(std::io::ErrorKind::ConnectionRefused.into()));
        }
        Ok(())
    }

    fn epoch(&self) -> u64 {
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`super::Store::claim`].
    ///
    /// # Errors
    /// It is away.
    pub async fn claim(&self, _: TakeOver) -> Result<Checkpoint, StoreError> {
        self.statement().await?;
        let claimed = {
            let mut server = self.server();
            server.checkpoint.epoch += 1;
            server.checkpoint
        };
        // Its answer may be lost: claiming again is right then.
        self.statement().await?;
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = claimed.epoch;
        Ok(claimed)
    }

    /// As [`super::Store::checkpoint`].
    ///
    /// # Errors
    /// It is away.
    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.statement().await?;
        Ok(self.server().checkpoint)
    }

    /// As [`super::Store::apply`].
    ///
    /// # Errors
    /// Those of [`super::Store::apply`].
    pub async fn apply(&self, batch: &StoreBatch) -> Result<(), StoreError> {
        let epoch = self.epoch();
        if epoch == 0 {
            return Err(StoreError::NotClaimed);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.statement().await?;
        self.server().check(batch, epoch)?;
        let tables = [
            batch.ledgers.len(),
            batch.accounts.len(),
            batch.transfers.len(),
            batch.transactions.len(),
            batch.settlements.len(),
            batch.balances.len(),
            batch.keyed.len(),
        ];
        for _ in tables.into_iter().filter(|rows| *rows > 0) {
            self.statement().await?;
        }
        self.server().committing = Some((batch.clone(), epoch));
        let asked = self.statement().await;
        let committing = self.server().committing.take();
        match (asked, committing) {
            (Ok(()), Some((batch, epoch))) => self.server().commit(&batch, epoch, self.commits)?,
            (Err(error), committing) => {
                // Whether it got there before the connection broke nobody knows.
                if let Some((batch, epoch)) = committing
                    && self.fate().random.one_in(2)
                {
                    let _ = self.server().commit(&batch, epoch, self.commits);
                }
                return Err(error);
            }
            (Ok(()), None) => {}
        }
        // The answer.
        self.statement().await
    }

    /// As [`super::Store::tidy`]: after each batch there are some steps to do.
    ///
    /// # Errors
    /// It is away, or another process has claimed it.
    pub async fn tidy(&self) -> Result<bool, StoreError> {
        self.statement().await?;
        let epoch = self.epoch();
        let mut server = self.server();
        if server.checkpoint.epoch != epoch {
            return Err(StoreError::NotClaimed);
        }
        let is_under_way = server.steps > 0;
        server.steps = server.steps.saturating_sub(1);
        Ok(is_under_way)
    }

    /// Steps of tidying that nobody has done yet.
    #[must_use]
    pub fn steps_left(&self) -> u64 {
        self.server().steps
    }

    /// As [`super::Store::sync`].
    ///
    /// # Errors
    /// It is away.
    pub async fn sync(&self) -> Result<JournalSeq, StoreError> {
        self.statement().await?;
        let mut server = self.server();
        server.unsynced.clear();
        Ok(server.checkpoint.seq)
    }
}

impl Server {
    /// What the first statement of a batch finds out.
    fn check(&self, batch: &StoreBatch, epoch: u64) -> Result<(), StoreError> {
        let Checkpoint { epoch: found, seq, .. } = self.checkpoint;
        if found != epoch {
            return Err(StoreError::Fenced { ours: epoch, found });
        }
        if seq != batch.after {
            return Err(StoreError::NotAtCheckpoint { after: batch.after, found: seq });
        }
        Ok(())
    }

    fn commit(
        &mut self,
        batch: &StoreBatch,
        epoch: u64,
        commits: Commits,
    ) -> Result<(), StoreError> {
        // Who takes over waits for the row of the checkpoint, so nothing can have changed but before.
        self.check(batch, epoch)?;
        let rows = &mut self.rows;
        let mut unsynced = Unsynced {
            before: self.checkpoint,
            lengths: rows.lengths(),
            balances: Vec::new(),
            totals: Vec::new(),
        };
        rows.ledgers.extend(batch.ledgers.iter().map(|(ledger, seq)| (ledger.id, *seq)));
        rows.accounts.extend(batch.accounts.iter().map(|(created, seq)| (created.id, *seq)));
        rows.transfers.extend(batch.transfers.iter().cloned());
        let transactions = batch.transactions.iter().map(|row| (row.transaction.id, row.seq));
        rows.transactions.extend(transactions);
        let settlements = batch.settlements.iter();
        rows.settlements.extend(settlements.map(|row| (row.pending_id, row.settlement, row.seq)));
        rows.keyed.extend(batch.keyed.iter().cloned());
        for after in batch.balances.values() {
            unsynced.balances.push((after.id, rows.balances.insert(after.id, *after)));
        }
        for (ledger, totals) in &batch.totals {
            unsynced.totals.push((*ledger, rows.totals.insert(*ledger, *totals)));
        }
        self.steps += STEPS_A_BATCH;
        self.checkpoint.seq = batch.upto;
        self.checkpoint.frame_hash = batch.frame_hash;
        self.checkpoint.timestamp = batch.timestamp;
        if commits == Commits::DurableWhenSynced {
            self.unsynced.push(unsynced);
        }
        Ok(())
    }

    fn take_back(&mut self) {
        let Some(last) = self.unsynced.pop() else { return };
        self.checkpoint = Checkpoint { epoch: self.checkpoint.epoch, ..last.before };
        let rows = &mut self.rows;
        let [ledgers, accounts, transfers, transactions, settlements, keyed] = last.lengths;
        rows.ledgers.truncate(ledgers);
        rows.accounts.truncate(accounts);
        rows.transfers.truncate(transfers);
        rows.transactions.truncate(transactions);
        rows.settlements.truncate(settlements);
        rows.keyed.truncate(keyed);
        for (id, before) in last.balances {
            match before {
                Some(before) => drop(rows.balances.insert(id, before)),
                None => drop(rows.balances.remove(&id)),
            }
        }
        for (id, before) in last.totals {
            match before {
                Some(before) => drop(rows.totals.insert(id, before)),
                None => drop(rows.totals.remove(&id)),
            }
        }
    }
}

impl Rows {
    fn lengths(&self) -> [usize; 6] {
        [
            self.ledgers.len(),
            self.accounts.len(),
            self.transfers.len(),
            self.transactions.len(),
            self.settlements.len(),
            self.keyed.len(),
        ]
    }
}

fn away(error: std::io::Error) -> StoreError {
    StoreError::Away { source: sqlx::Error::Io(error) }
}
