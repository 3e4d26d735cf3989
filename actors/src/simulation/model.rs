//! What must be true, kept apart from the code that must make it so.
//!
//! The model knows what callers sent and what they were answered. Which of the commands without an answer happened, it learns from the journal, record by
//! record, and believes a record only when something that was sent explains it. It adds up balances by itself, and remembers every id for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use florin_engine::{
    Account, AccountId, Balances, DecidedKind, Event, ItemOutcome, JournalSeq, LedgerId, Record,
    Rejection, Settlement, Timestamp, Transfer, TransferFlags, TransferId, Verdict,
};
use florin_persistence::record;
use florin_persistence::store::Checkpoint;
use florin_persistence::store::simulated::Rows;

use super::Violation;
use super::commands::Sent;

/// Balances in whole numbers: debits pending, debits posted, credits pending, credits posted.
type Sums = [i128; 4];

/// What an id was decided to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) seq: u64,
    pub(super) timestamp: Timestamp,
    pub(super) kind: DecidedKind,
}

/// A pending transfer, and its end.
#[derive(Clone, Debug)]
pub(super) struct PendingFact {
    pub(super) transfer: Transfer,
    pub(super) end: Option<(u64, DecidedKind)>,
}

#[derive(Debug, Default)]
struct AccountFact {
    /// The balances after each command that touched the account.
    history: Vec<(u64, Sums)>,
}

impl AccountFact {
    fn at(&self, seq: u64) -> Sums {
        let behind = self.history.partition_point(|(at, _)| *at <= seq);
        behind.checked_sub(1).map_or([0; 4], |at| self.history[at].1)
    }
}

/// Something that an answer claimed about a position that the model has not followed to yet.
#[derive(Debug)]
enum Claim {
    /// The record at this position has this digest.
    Record(u64),
    /// The account stood like that as of this position.
    Balances(AccountId, Option<Sums>),
    /// The id had this fate as of this position.
    Id(TransferId, Option<Fact>),
}

/// The model of one ledger, through all of its processes.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// The digest of each record, by position.
    records: Vec<u64>,
    /// The state hash that the shard had after each command that it decided in this life.
    state_hashes: Vec<u64>,
    pub(super) ids: HashMap<u128, Fact>,
    pub(super) pending: HashMap<u128, PendingFact>,
    /// Which transfers were reversed, and where.
    reversed: HashMap<u128, u64>,
    keys: HashMap<u128, u64>,
    accounts: BTreeMap<AccountId, AccountFact>,
    ledgers: Vec<(LedgerId, JournalSeq)>,
    created: Vec<(AccountId, JournalSeq)>,
    /// What the store should hold, in order.
    pub(super) transfers: Vec<(Transfer, JournalSeq)>,
    transactions: Vec<(TransferId, JournalSeq)>,
    settlements: Vec<(TransferId, Settlement, JournalSeq)>,
    keyed: Vec<JournalSeq>,
    claims: BTreeMap<u64, Vec<Claim>>,
    /// The newest position that anybody was shown.
    pub(super) shown: u64,
    /// The accounts that callers asked for.
    pub(super) asked_accounts: BTreeSet<AccountId>,
    asked_ids: HashMap<u128, Vec<Movement>>,
    /// All ids that anybody used, in the order of their first use.
    pub(super) used_ids: Vec<TransferId>,
    timestamp: Timestamp,
    /// Rows of the store that were compared already.
    compared: [usize; 2],
}

/// What a caller wanted to move under an id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Movement {
    pub(super) debit: AccountId,
    pub(super) credit: AccountId,
    pub(super) amount: u64,
    pub(super) flags: TransferFlags,
    pub(super) pending_id: TransferId,
}

fn violated<T>(text: String) -> Result<T, Violation> {
    Err(Violation(text))
}

fn sums(balances: &Balances) -> Sums {
    [
        balances.debits_pending,
        balances.debits_posted,
        balances.credits_pending,
        balances.credits_posted,
    ]
    .map(|amount| amount.minor_units() as i128)
}

/// The digest of a record's bytes: XXH3 is not at hand here, and any good hash will do.
fn digest(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash =
            (hash.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    for byte in rest {
        hash = (hash.rotate_left(23) ^ u64::from(*byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash ^ (hash >> 29)
}

impl Model {
    /// The position of the last record that the model knows.
    pub(super) fn last(&self) -> u64 {
        self.records.len() as u64
    }

    // --- what callers do ----------------------------------------------------------------------------------------------

    /// Notes what a command asks for, before it is sent.
    pub(super) fn ask(&mut self, sent: &Sent) {
        for (id, movement) in &sent.movements {
            let asked = self.asked_ids.entry(id.0).or_default();
            if asked.is_empty() {
                self.used_ids.push(*id);
            }
            if !asked.contains(movement) {
                asked.push(movement.clone());
            }
        }
        self.asked_accounts.extend(sent.accounts.iter().copied());
    }

    /// Notes the answer to a command that was sent when `shown_before` was the newest position that anybody had seen.
    pub(super) fn answered(
        &mut self,
        sent: &mut Sent,
        shown_before: u64,
        seq: JournalSeq,
        verdict: &Verdict,
    ) -> Result<(), Violation> {
        self.show(seq.0, shown_before)?;
        match verdict {
            Verdict::Decided(decision) => {
                if let Some(record) = &decision.record {
                    if seq.0 <= shown_before {
                        return violated(format!(
                            "a command got position {}, but {shown_before} had been shown before it was sent",
                            seq.0
                        ));
                    }
                    let mut bytes = Vec::new();
                    record::encode(record, &mut bytes);
                    self.claim(seq.0, Claim::Record(digest(&bytes)))?;
                }
                for (item, outcome) in &decision.exceptions {
                    self.excepted(sent, *item, outcome, seq.0)?;
                }
                sent.check_same_as_first(seq.0, decision, &self.ids)
            }
            Verdict::Replay { seq: first, .. } => match (sent.key, sent.key_used) {
                (Some(_), Some(known)) if known != first.0 => {
                    violated(format!("a key was used at {known}, and its replay says {}", first.0))
                }
                (Some(_), _) => {
                    sent.key_used = Some(first.0);
                    Ok(())
                }
                (None, _) => violated("a command without a key was replayed".to_owned()),
            },
            Verdict::KeyReused { .. } => violated(
                "a key that is used for one content was told to be used for another".to_owned(),
            ),
        }
    }

    fn excepted(
        &mut self,
        sent: &Sent,
        item: u32,
        outcome: &ItemOutcome,
        as_of: u64,
    ) -> Result<(), Violation> {
        let Some((id, _)) = sent.movements.get(item as usize) else { return Ok(()) };
        if !sent.is_of_transfers {
            return Ok(());
        }
        match outcome {
            ItemOutcome::Exists { seq, timestamp } => {
                let kind = DecidedKind::Transfer;
                let fact = Fact { seq: seq.0, timestamp: *timestamp, kind };
                self.claim(as_of.max(seq.0), Claim::Id(*id, Some(fact)))
            }
            ItemOutcome::Rejected(Rejection::IdAlreadyFailed) => {
                let known = self.ids.get(&id.0).filter(|known| known.seq <= as_of);
                match known {
                    Some(Fact { kind: DecidedKind::Burned, .. }) => Ok(()),
                    Some(fact) => {
                        violated(format!("{id:?} is {fact:?} and was told to have failed"))
                    }
                    // The record that burned it is not followed yet.
                    None => Ok(()),
                }
            }
            ItemOutcome::Rejected(_)
            | ItemOutcome::Differs { .. }
            | ItemOutcome::Settled { .. } => Ok(()),
        }
    }

    /// Notes a read of an account.
    pub(super) fn saw_account(
        &mut self,
        id: AccountId,
        shown_before: u64,
        seq: JournalSeq,
        account: Option<&Account>,
    ) -> Result<(), Violation> {
        self.show(seq.0, shown_before)?;
        let balances = account.map(|account| sums(&account.balances));
        self.claim(seq.0, Claim::Balances(id, balances))
    }

    /// Notes a read of an id.
    pub(super) fn saw_id(
        &mut self,
        id: TransferId,
        shown_before: u64,
        seq: JournalSeq,
        fact: Option<Fact>,
    ) -> Result<(), Violation> {
        self.show(seq.0, shown_before)?;
        self.claim(seq.0, Claim::Id(id, fact))
    }

    /// Whatever is shown depends on all that was shown before it was asked for, and a crash must not undo it.
    fn show(&mut self, seq: u64, shown_before: u64) -> Result<(), Violation> {
        if seq < shown_before {
            return violated(format!(
                "an answer is as of {seq}, and {shown_before} was shown before"
            ));
        }
        self.shown = self.shown.max(seq);
        Ok(())
    }

    fn claim(&mut self, seq: u64, claim: Claim) -> Result<(), Violation> {
        if seq <= self.last() {
            return self.check_claim(seq, &claim);
        }
        self.claims.entry(seq).or_default().push(claim);
        Ok(())
    }

    fn check_claim(&self, seq: u64, claim: &Claim) -> Result<(), Violation> {
        match claim {
            Claim::Record(digest) => {
                if self.records[seq as usize - 1] != *digest {
                    return violated(format!(
                        "the record at {seq} is not the one that was answered"
                    ));
                }
            }
            Claim::Balances(id, balances) => {
                let known = self.accounts.get(id);
                let known = known.filter(|known| known.history[0].0 <= seq).map(|it| it.at(seq));
                if known != *balances {
                    return violated(format!(
                        "account {} was shown with {balances:?} as of {seq}, and had {known:?}",
                        id.0
                    ));
                }
            }
            Claim::Id(id, fact) => {
                let known = self.ids.get(&id.0).copied().filter(|known| known.seq <= seq);
                if known != *fact {
                    return violated(format!(
                        "id {} was shown as {fact:?} as of {seq}, and was {known:?}",
                        id.0
                    ));
                }
            }
        }
        Ok(())
    }

    // --- what the shard did -------------------------------------------------------------------------------------------

    /// Notes the state hash of the shard after the command at `seq`.
    pub(super) fn decided(&mut self, seq: u64, state_hash: u64) {
        self.state_hashes.resize(seq as usize, 0);
        self.state_hashes[seq as usize - 1] = state_hash;
    }

    // --- what the journal says ----------------------------------------------------------------------------------------

    /// Follows the journal by one record; one that is known already must be the same.
    pub(super) fn follow(&mut self, seq: u64, bytes: &[u8]) -> Result<(), Violation> {
        let found = digest(bytes);
        if seq <= self.last() {
            if self.records[seq as usize - 1] != found {
                return violated(format!("the record at {seq} has become another one"));
            }
            return Ok(());
        }
        if seq != self.last() + 1 {
            return violated(format!("record {seq} follows record {}", self.last()));
        }
        let record = match record::decode(bytes) {
            Ok(record) => record,
            Err(error) => return violated(format!("record {seq} can not be decoded: {error}")),
        };
        self.records.push(found);
        self.apply(seq, record)?;
        for claim in self.claims.remove(&seq).unwrap_or_default() {
            self.check_claim(seq, &claim)?;
        }
        Ok(())
    }

    fn apply(&mut self, seq: u64, record: Record) -> Result<(), Violation> {
        let position = JournalSeq(seq);
        if record.timestamp <= self.timestamp {
            return violated(format!("record {seq} is not later than the one before"));
        }
        self.timestamp = record.timestamp;
        let mut touched: BTreeMap<AccountId, Sums> = BTreeMap::new();
        for event in &record.events {
            match event {
                Event::LedgerCreated(ledger) => self.ledgers.push((ledger.id, position)),
                Event::AccountCreated(created) => {
                    if !self.asked_accounts.contains(&created.id) {
                        return violated(format!("nobody asked for account {}", created.id.0));
                    }
                    if self.accounts.contains_key(&created.id) {
                        return violated(format!("account {} is created twice", created.id.0));
                    }
                    self.created.push((created.id, position));
                    touched.insert(created.id, [0; 4]);
                    self.accounts.entry(created.id).or_default();
                }
                Event::TransferPosted(posted) => {
                    self.transfer(seq, &posted.transfer, &mut touched)?;
                }
                Event::TransactionCreated(transaction) => {
                    let (timestamp, kind) = (transaction.timestamp, DecidedKind::Transaction);
                    self.decide(transaction.id, Fact { seq, timestamp, kind })?;
                    self.transactions.push((transaction.id, position));
                }
                Event::IdBurned(burned) => {
                    let (timestamp, kind) = (burned.timestamp, DecidedKind::Burned);
                    self.decide(burned.id, Fact { seq, timestamp, kind })?;
                }
                Event::TransferExpired(expired) => {
                    let pending = self.end(seq, expired.id, DecidedKind::Expired)?;
                    let due = pending.timestamp.0 + u64::from(pending.timeout) * 1_000_000_000;
                    if pending.timeout == 0 || due > record.timestamp.0 {
                        return violated(format!(
                            "{:?} expired at {seq}, before its time",
                            expired.id
                        ));
                    }
                    self.settlements.push((expired.id, Settlement::Expired, position));
                    let amount = pending.amount.minor_units() as i128;
                    self.add(&mut touched, pending.debit_account_id, 0, -amount);
                    self.add(&mut touched, pending.credit_account_id, 2, -amount);
                }
                Event::OverdraftLimitChanged(_) | Event::MetadataReplaced(_) => {}
            }
        }
        if let Some(used) = &record.key {
            self.keyed.push(position);
            if let Some(first) = self.keys.insert(used.key.hash, seq) {
                return violated(format!("a key is used at {first} and again at {seq}"));
            }
        }
        self.compare_accounts(seq, &record, touched)
    }

    /// The balances in the record are those that the model comes to.
    fn compare_accounts(
        &mut self,
        seq: u64,
        record: &Record,
        touched: BTreeMap<AccountId, Sums>,
    ) -> Result<(), Violation> {
        for after in &record.accounts {
            let known = self.accounts.get(&after.id).map(|known| known.at(seq));
            let expected = touched.get(&after.id).copied().or(known);
            let found = sums(&after.balances);
            if expected != Some(found) {
                return violated(format!(
                    "record {seq} leaves account {} with {found:?} instead of {expected:?}",
                    after.id.0
                ));
            }
        }
        let (mut pending, mut posted) = (0, 0);
        for (id, sums) in touched {
            let account = self.accounts.entry(id).or_default();
            let before = account.at(seq);
            pending += (sums[0] - before[0]) - (sums[2] - before[2]);
            posted += (sums[1] - before[1]) - (sums[3] - before[3]);
            account.history.push((seq, sums));
        }
        if (pending, posted) != (0, 0) {
            return violated(format!("record {seq} makes or destroys money"));
        }
        Ok(())
    }

    fn transfer(
        &mut self,
        seq: u64,
        transfer: &Transfer,
        touched: &mut BTreeMap<AccountId, Sums>,
    ) -> Result<(), Violation> {
        self.explain(seq, transfer)?;
        let (timestamp, kind) = (transfer.timestamp, DecidedKind::Transfer);
        self.decide(transfer.id, Fact { seq, timestamp, kind })?;
        let amount = transfer.amount.minor_units() as i128;
        let (debit, credit) = (transfer.debit_account_id, transfer.credit_account_id);
        if let Some((id, settlement)) = transfer.settles() {
            let pending = self.end(seq, id, settlement.kind())?;
            let reserved = pending.amount.minor_units() as i128;
            self.add(touched, debit, 0, -reserved);
            self.add(touched, credit, 2, -reserved);
            self.settlements.push((id, settlement, JournalSeq(seq)));
            if settlement == Settlement::Posted {
                self.add(touched, debit, 1, amount);
                self.add(touched, credit, 3, amount);
            }
        } else if transfer.flags.contains(TransferFlags::PENDING) {
            self.add(touched, debit, 0, amount);
            self.add(touched, credit, 2, amount);
            let fact = PendingFact { transfer: transfer.clone(), end: None };
            self.pending.insert(transfer.id.0, fact);
        } else {
            self.add(touched, debit, 1, amount);
            self.add(touched, credit, 3, amount);
        }
        if transfer.reverses.0 != 0
            && let Some(first) = self.reversed.insert(transfer.reverses.0, seq)
        {
            return violated(format!("{:?} is reversed at {first} and {seq}", transfer.reverses));
        }
        self.transfers.push((transfer.clone(), JournalSeq(seq)));
        Ok(())
    }

    /// A transfer must be what somebody asked for.
    fn explain(&self, seq: u64, transfer: &Transfer) -> Result<(), Violation> {
        let matches = |asked: &Movement| {
            let settles = asked.flags.settlement().is_some();
            let balancing = asked
                .flags
                .intersects(TransferFlags::BALANCING_DEBIT.with(TransferFlags::BALANCING_CREDIT));
            let amount = transfer.amount.minor_units();
            (settles
                || (asked.debit == transfer.debit_account_id
                    && asked.credit == transfer.credit_account_id))
                && (settles && asked.amount == u64::MAX
                    || amount == u128::from(asked.amount)
                    || balancing && amount <= u128::from(asked.amount))
                && asked.flags == transfer.flags
                && asked.pending_id == transfer.pending_id
        };
        let asked = self.asked_ids.get(&transfer.id.0);
        if asked.is_some_and(|asked| asked.iter().any(matches)) {
            return Ok(());
        }
        violated(format!("record {seq} has a transfer that nobody asked for: {transfer:?}"))
    }

    fn decide(&mut self, id: TransferId, fact: Fact) -> Result<(), Violation> {
        if !self.asked_ids.contains_key(&id.0) {
            return violated(format!("nobody used id {}", id.0));
        }
        match self.ids.insert(id.0, fact) {
            Some(first) => violated(format!("id {} is decided as {first:?} and {fact:?}", id.0)),
            None => Ok(()),
        }
    }

    fn end(&mut self, seq: u64, id: TransferId, kind: DecidedKind) -> Result<Transfer, Violation> {
        let Some(pending) = self.pending.get_mut(&id.0) else {
            return violated(format!("record {seq} ends {id:?}, which was never pending"));
        };
        if let Some(end) = pending.end.replace((seq, kind)) {
            return violated(format!("{id:?} ended as {end:?} and again at {seq}"));
        }
        Ok(pending.transfer.clone())
    }

    fn add(
        &self,
        touched: &mut BTreeMap<AccountId, Sums>,
        account: AccountId,
        which: usize,
        amount: i128,
    ) {
        let newest = || self.accounts.get(&account).map_or([0; 4], |known| known.at(u64::MAX));
        touched.entry(account).or_insert_with(newest)[which] += amount;
    }

    // --- after a start ------------------------------------------------------------------------------------------------

    /// A process has started at this time, and its ledger stands at `seq` with this state hash.
    pub(super) fn started(
        &mut self,
        now: Timestamp,
        seq: u64,
        state_hash: u64,
    ) -> Result<(), Violation> {
        if seq < self.shown {
            return violated(format!(
                "position {} was shown, and the ledger came back at {seq}",
                self.shown
            ));
        }
        if seq < self.last() {
            return violated(format!(
                "record {} was durable, and the ledger came back at {seq}",
                self.last()
            ));
        }
        if now < self.timestamp {
            return violated("a ledger starts with a clock behind its journal".to_owned());
        }
        if let Some(before) = (seq as usize).checked_sub(1).and_then(|at| self.state_hashes.get(at))
            && *before != 0
            && *before != state_hash
        {
            return violated(format!(
                "the state hash at {seq} was {before:016x} and came back as {state_hash:016x}"
            ));
        }
        self.state_hashes.truncate(seq as usize);
        Ok(())
    }

    /// After a start and following it: everything that was shown must be there.
    pub(super) fn check_nothing_left(&self) -> Result<(), Violation> {
        match self.claims.first_key_value() {
            Some((seq, claims)) if *seq <= self.shown => {
                violated(format!("what was shown as of {seq} is not in the journal: {claims:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The balances of an account by the records up to `seq`; none where it does not exist.
    fn balances(&self, id: AccountId, seq: u64) -> Option<Sums> {
        let known = self.accounts.get(&id)?;
        (known.history.first()?.0 <= seq).then(|| known.at(seq))
    }

    /// Compares accounts as the ledger has them now.
    pub(super) fn check_account(
        &self,
        id: AccountId,
        account: Option<&Account>,
    ) -> Result<(), Violation> {
        let (found, known) =
            (account.map(|account| sums(&account.balances)), self.balances(id, u64::MAX));
        if found == known {
            return Ok(());
        }
        violated(format!("account {} came back with {found:?} instead of {known:?}", id.0))
    }

    /// Compares an id as the ledger has it now.
    pub(super) fn check_id(&self, id: TransferId, found: Option<Fact>) -> Result<(), Violation> {
        let known = self.ids.get(&id.0).copied();
        if found == known {
            return Ok(());
        }
        violated(format!("id {} came back as {found:?} instead of {known:?}", id.0))
    }

    /// Compares the end of a transfer as the ledger has it now.
    pub(super) fn check_end(
        &self,
        id: TransferId,
        found: Option<(u64, DecidedKind)>,
    ) -> Result<(), Violation> {
        let reversed = self.reversed.get(&id.0).map(|seq| (*seq, DecidedKind::Reversed));
        let known = self.pending.get(&id.0).and_then(|pending| pending.end).or(reversed);
        if found == known {
            return Ok(());
        }
        violated(format!("the end of {} came back as {found:?} instead of {known:?}", id.0))
    }

    // --- the store ----------------------------------------------------------------------------------------------------

    /// The store must be the ledger as of its checkpoint, with nothing missing and nothing twice.
    pub(super) fn check_store(
        &mut self,
        rows: &Rows,
        checkpoint: &Checkpoint,
    ) -> Result<(), Violation> {
        let upto = checkpoint.seq;
        if upto.0 > self.last() {
            return violated(format!("the store is at {}, the journal at {}", upto.0, self.last()));
        }
        let count =
            |seqs: &mut dyn Iterator<Item = JournalSeq>| seqs.filter(|it| *it <= upto).count();
        let expected = [
            count(&mut self.ledgers.iter().map(|(_, seq)| *seq)),
            count(&mut self.created.iter().map(|(_, seq)| *seq)),
            self.transfers.partition_point(|(_, seq)| *seq <= upto),
            self.transactions.partition_point(|(_, seq)| *seq <= upto),
            self.settlements.partition_point(|(_, _, seq)| *seq <= upto),
            self.keyed.partition_point(|seq| *seq <= upto),
        ];
        let found = [
            rows.ledgers.len(),
            rows.accounts.len(),
            rows.transfers.len(),
            rows.transactions.len(),
            rows.settlements.len(),
            rows.keyed.len(),
        ];
        if found != expected {
            return violated(format!(
                "the store at {} has {found:?} ledgers, accounts, transfers, transactions, settlements and keyed records instead of {expected:?}",
                upto.0
            ));
        }
        self.compared[0] = self.compared[0].min(found[2]);
        let from = self.compared[0];
        if let Some(at) = (from..found[2]).find(|at| rows.transfers[*at] != self.transfers[*at]) {
            return violated(format!(
                "the store has {:?} instead of {:?}",
                rows.transfers[at], self.transfers[at]
            ));
        }
        self.compared[0] = found[2];
        let settled =
            self.settlements.iter().zip(&rows.settlements).skip(self.compared[1].min(found[4]));
        if let Some((known, found)) = settled.into_iter().find(|(known, found)| known != found) {
            return violated(format!(
                "the store has the settlement {found:?} instead of {known:?}"
            ));
        }
        self.compared[1] = found[4];
        if rows.ledgers != self.ledgers[..found[0]] || rows.accounts != self.created[..found[1]] {
            return violated("the store has other ledgers or accounts".to_owned());
        }
        let keyed = rows.keyed.iter().map(|(seq, _)| *seq);
        if keyed.ne(self.keyed[..found[5]].iter().copied()) {
            return violated("the store has other keyed records".to_owned());
        }
        for (id, after) in &rows.balances {
            let (found, known) = (sums(&after.balances), self.balances(*id, upto.0));
            if Some(found) != known {
                return violated(format!(
                    "the store at {} has account {} with {found:?} instead of {known:?}",
                    upto.0, id.0
                ));
            }
        }
        if rows.balances.len() != found[1] {
            return violated("the store has an account without balances".to_owned());
        }
        Ok(())
    }
}
