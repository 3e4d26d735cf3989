//! Which ids and keys were decided: those of the newest commands, in memory.
//!
//! A transfer id is decided once, for ever. The ids that are not yet in the index on disk live here; whoever runs the state
//! machine answers for the others through [`DecidedBefore`], and says how far the index reaches with [`RecentIds::forget`].

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::ids::{JournalSeq, LedgerId, Timestamp, TransferId};
use crate::rejection::Rejection;

/// What an id or key was decided to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Where in the journal.
    pub seq: JournalSeq,
    /// The digest of the content that it was decided for; of what became of a transfer later, the transfer's ledger.
    pub digest: u64,
    /// When: the timestamp that a retry is answered with.
    pub timestamp: Timestamp,
    /// What it names.
    pub kind: DecidedKind,
}

impl Decided {
    /// What became at `seq` of a transfer of this ledger, to be remembered under its id.
    pub(crate) fn ended(
        seq: JournalSeq,
        timestamp: Timestamp,
        kind: DecidedKind,
        ledger: LedgerId,
    ) -> Decided {
        Decided { seq, digest: u64::from(ledger.0), timestamp, kind }
    }

    /// The ledger of a transfer whose end this is: tells how many digits the amounts may have that a late post or void names.
    pub(crate) fn ledger_of_ended(&self) -> Option<LedgerId> {
        let is_end = self.kind.space() == DecidedSpace::Settled;
        u32::try_from(self.digest).ok().filter(|_| is_end).map(LedgerId)
    }
}

/// What a decided id names. The numbers are part of the durable format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DecidedKind {
    /// A transfer.
    Transfer = 1,
    /// A transaction.
    Transaction = 2,
    /// Nothing: a transient rejection used it up.
    Burned = 3,
    /// An idempotency key.
    Key = 4,
    /// A pending transfer's end, under its own id in a space of its own: it was posted.
    Posted = 5,
    /// It was voided.
    Voided = 6,
    /// It expired.
    Expired = 7,
    /// A posted transfer's end, in the same space: it was reversed.
    Reversed = 8,
}

/// Ids, keys and ends are spaces of their own: the same number may stand once in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedSpace {
    /// Ids of transfers and transactions.
    Transfer,
    /// Idempotency keys.
    Key,
    /// What became of a transfer later, under its id.
    Settled,
}

/// How a pending transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It was posted, in full or in part.
    Posted,
    /// It was voided.
    Voided,
    /// Its time was over.
    Expired,
}

impl Settlement {
    /// What a later post or void of the same transfer comes to.
    #[must_use]
    pub const fn rejection(self) -> Rejection {
        match self {
            Settlement::Posted => Rejection::PendingTransferAlreadyPosted,
            Settlement::Voided => Rejection::PendingTransferAlreadyVoided,
            Settlement::Expired => Rejection::PendingTransferExpired,
        }
    }

    /// The kind under which it is remembered.
    #[must_use]
    pub const fn kind(self) -> DecidedKind {
        match self {
            Settlement::Posted => DecidedKind::Posted,
            Settlement::Voided => DecidedKind::Voided,
            Settlement::Expired => DecidedKind::Expired,
        }
    }
}

impl DecidedKind {
    /// The kind of this number in the durable format.
    #[must_use]
    pub const fn try_from_number(number: u8) -> Option<DecidedKind> {
        match number {
            1 => Some(DecidedKind::Transfer),
            2 => Some(DecidedKind::Transaction),
            3 => Some(DecidedKind::Burned),
            4 => Some(DecidedKind::Key),
            5 => Some(DecidedKind::Posted),
            6 => Some(DecidedKind::Voided),
            7 => Some(DecidedKind::Expired),
            8 => Some(DecidedKind::Reversed),
            _ => None,
        }
    }

    /// The space in which things of this kind are remembered.
    #[must_use]
    pub const fn space(self) -> DecidedSpace {
        match self {
            DecidedKind::Transfer | DecidedKind::Transaction | DecidedKind::Burned => {
                DecidedSpace::Transfer
            }
            DecidedKind::Key => DecidedSpace::Key,
            DecidedKind::Posted
            | DecidedKind::Voided
            | DecidedKind::Expired
            | DecidedKind::Reversed => DecidedSpace::Settled,
        }
    }

    /// How the pending transfer ended, if this is such an end.
    #[must_use]
    pub const fn settlement(self) -> Option<Settlement> {
        match self {
            DecidedKind::Posted => Some(Settlement::Posted),
            DecidedKind::Voided => Some(Settlement::Voided),
            DecidedKind::Expired => Some(Settlement::Expired),
            DecidedKind::Transfer
            | DecidedKind::Transaction
            | DecidedKind::Burned
            | DecidedKind::Key
            | DecidedKind::Reversed => None,
        }
    }
}

/// How many ids of a batch are looked for at a time.
pub const ASKED_AHEAD: usize = u64::BITS as usize;

/// Answers for the ids and keys that are no longer in memory.
///
/// Must be a function of the history alone: what it says decides outcomes.
pub trait DecidedBefore {
    /// Says which of these ids, at most [`ASKED_AHEAD`], it surely does not know: a bit for each, the lowest for the first. It is asked for several together so that its
    /// waits for memory overlap. To say of none that it is unknown is right too.
    fn absent(&mut self, _ids: &[TransferId]) -> u64 {
        0
    }
    /// What the id was decided to be, if it is indexed.
    fn transfer(&mut self, id: TransferId) -> Option<Decided>;
    /// What the key with this hash was used for, if it is indexed.
    fn key(&mut self, hash: u128) -> Option<Decided>;
    /// What became of the transfer with this id later, if that is indexed.
    fn settled(&mut self, id: TransferId) -> Option<Decided>;
}

/// A history without an index: every id is recent.
pub struct NothingBefore;

impl DecidedBefore for NothingBefore {
    fn absent(&mut self, _ids: &[TransferId]) -> u64 {
        u64::MAX
    }

    fn transfer(&mut self, _id: TransferId) -> Option<Decided> {
        None
    }

    fn key(&mut self, _hash: u128) -> Option<Decided> {
        None
    }

    fn settled(&mut self, _id: TransferId) -> Option<Decided> {
        None
    }
}

struct Entry {
    id: u128,
    decided: Decided,
}

/// Ids in the order in which they came, and where to find each. A place is a sixth of an entry: what is asked for is mostly not there, and the memory that says so
/// should be near. Of places that look alike to the table, as one in nine ids meets, the fingerprint tells all but one in four thousand million.
#[derive(Default)]
struct Table {
    places: HashTable<Place>,
    entries: Vec<Entry>,
}

struct Place {
    fingerprint: u32,
    /// In the entries.
    index: u32,
}

/// Of a hash, a table takes the lowest bits for the place and the seven highest for the tag.
fn fingerprint(hash: u64) -> u32 {
    (hash >> 25) as u32
}

impl Table {
    /// So many buckets, an eighth of which stay free.
    fn new(buckets: usize) -> Table {
        let places = HashTable::with_capacity(buckets / 8 * 7);
        Table { entries: Vec::with_capacity(places.capacity()), places }
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    fn num_buckets(&self) -> usize {
        self.places.num_buckets()
    }

    /// Whether it must grow for one more. An entry that was taken back has given its place back too, or has made the capacity smaller.
    fn is_full(&self) -> bool {
        self.places.len() == self.places.capacity() || self.entries.len() == self.entries.capacity()
    }

    fn find(&self, hash: u64, id: u128) -> Option<&Entry> {
        let is_it = is_it(&self.entries, hash, id);
        self.places.find(hash, is_it).map(|place| &self.entries[place.index as usize])
    }

    /// Adds one that is not there yet. It has room.
    fn insert(&mut self, hash: u64, entry: Entry, hasher: &FixedState) {
        let index = u32::try_from(self.entries.len()).expect("a table is much smaller");
        self.entries.push(entry);
        let entries = &self.entries;
        let place = Place { fingerprint: fingerprint(hash), index };
        self.places
            .insert_unique(hash, place, |place| hasher.hash_one(entries[place.index as usize].id));
    }

    /// Says whether it was there. What came last is taken back first, so that its memory is free again.
    fn remove(&mut self, hash: u64, id: u128) -> bool {
        let Ok(place) = self.places.find_entry(hash, is_it(&self.entries, hash, id)) else {
            return false;
        };
        let (Place { index, .. }, _) = place.remove();
        if index as usize + 1 == self.entries.len() {
            self.entries.pop();
        }
        true
    }

    fn clear(&mut self) {
        self.places.clear();
        self.entries.clear();
    }
}

fn is_it(entries: &[Entry], hash: u64, id: u128) -> impl FnMut(&Place) -> bool {
    move |place| place.fingerprint == fingerprint(hash) && entries[place.index as usize].id == id
}

/// Buckets of the first generation's table: a ledger of few ids is small.
const BUCKETS_MIN: usize = 1 << 14;
/// Buckets of the largest ones, 204 MiB with their entries when full. Each has four times those of the one before it, so that there
/// are soon few to look into: a new id waits for memory in each.
const BUCKETS_MAX: usize = 1 << 22;

/// Ids that were decided one after the other. Its table never grows, since moving all that is in it would stall the commands
/// behind: when it is full, the next generation begins.
struct Generation {
    entries: Table,
    last_seq: JournalSeq,
}

/// As long as the index keeps up with so many, the next one is no larger: ids that come slowly would otherwise get the memory of
/// fast ones, some hundred MiB after an hour.
const GENERATIONS_UNTIL_LARGER: usize = 2;

/// Buckets whose places lie in one page of memory, at least in part.
const BUCKETS_A_PAGE: usize = 4096 / size_of::<Place>();
/// So many ids come for each page that is touched ahead: all of a table that is four times as large are touched before this one is full.
const IDS_A_PAGE: usize = 16;

/// The table of the generation after the newest. Its memory is touched a page at a time before it is used: places lie anywhere in it, so that each of its first
/// commands would wait for a thousand pages of fresh memory, 10 to 40 ms for 1,024 ids on a virtual machine.
struct Coming {
    entries: Table,
    /// So many buckets have their memory.
    touched: usize,
}

impl Coming {
    fn new(buckets: usize) -> Coming {
        Coming { entries: Table::new(buckets), touched: 0 }
    }

    /// The table of ids that are forgotten: its memory is there.
    fn again(mut entries: Table) -> Coming {
        entries.clear();
        Coming { touched: entries.num_buckets(), entries }
    }

    fn is_touched(&self) -> bool {
        self.touched >= self.entries.num_buckets()
    }

    /// Writes a place that means nothing into the next page. A hash that is a bucket's number leads there, as those between are empty.
    fn touch(&mut self) {
        if !self.is_touched() {
            let nothing = Place { fingerprint: 0, index: 0 };
            let has_room = |_: &Place| unreachable!("it has room");
            self.entries.places.insert_unique(self.touched as u64, nothing, has_room);
            self.touched += BUCKETS_A_PAGE;
        }
    }

    fn begin(mut self) -> Generation {
        self.entries.clear();
        Generation { entries: self.entries, last_seq: JournalSeq::NONE }
    }
}

/// Ids that the index has. Giving back their memory takes milliseconds: best where nobody waits for it.
#[must_use = "dropping it takes milliseconds"]
#[derive(Default)]
pub struct Forgotten(Vec<Table>);

/// The ids decided most recently, in generations, so that forgetting the oldest costs nothing for each id.
pub(crate) struct RecentIds {
    generations: VecDeque<Generation>,
    coming: Option<Coming>,
    /// Those of the next generation.
    buckets: usize,
    hasher: FixedState,
    /// All up to here is indexed and forgotten, or may be.
    indexed: JournalSeq,
    expected: Expected,
}

/// Ids that were looked for together before they are asked for one after another.
#[derive(Default)]
struct Expected {
    /// In the order in which they are asked for.
    ids: Vec<TransferId>,
    /// Those of them that nobody knew: a bit for each, the lowest for the first.
    new: u64,
    /// The first that was not asked for yet.
    next: usize,
    /// How many generations were full then. None of these has what was decided since.
    since: usize,
}

impl Expected {
    /// If nobody knew this id when it was looked for, how many generations were full then.
    fn new_since(&mut self, id: TransferId) -> Option<usize> {
        // Some are passed over: who is refused for another reason is not asked for.
        let at = self.next + self.ids[self.next..].iter().position(|expected| *expected == id)?;
        self.next = at + 1;
        (self.new & (1 << at) != 0).then_some(self.since)
    }
}

impl RecentIds {
    pub(crate) fn new(hash_seed: u64) -> RecentIds {
        RecentIds {
            generations: VecDeque::new(),
            coming: None,
            buckets: BUCKETS_MIN,
            hasher: FixedState::with_seed(hash_seed),
            indexed: JournalSeq::NONE,
            expected: Expected::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.generations.iter().map(|generation| generation.entries.len()).sum()
    }

    pub(crate) fn get(&self, id: u128) -> Option<Decided> {
        self.get_since(id, 0)
    }

    /// The same of an id that was not there when there were so many full generations.
    fn get_since(&self, id: u128, full: usize) -> Option<Decided> {
        let hash = self.hasher.hash_one(id);
        self.generations
            .iter()
            .skip(full)
            .rev()
            .find_map(|generation| generation.entries.find(hash, id).map(|entry| entry.decided))
    }

    /// Takes note of which of these ids nobody knows, neither this nor what was decided `before`: they are asked for soon, and in this order. Looking for one after
    /// another, each would wait for memory.
    pub(crate) fn expect(
        &mut self,
        ids: impl Iterator<Item = TransferId>,
        before: &mut dyn DecidedBefore,
    ) {
        let expected = &mut self.expected;
        expected.ids.clear();
        expected.ids.extend(ids.take(ASKED_AHEAD));
        expected.next = 0;
        expected.new = before.absent(&expected.ids);
        expected.since = self.generations.len().saturating_sub(1);
        let mut hashes = [0; ASKED_AHEAD];
        for (hash, id) in hashes.iter_mut().zip(&expected.ids) {
            *hash = self.hasher.hash_one(id.0);
        }
        for generation in &self.generations {
            for ((id, hash), index) in expected.ids.iter().zip(hashes).zip(0..) {
                let is_known = generation.entries.find(hash, id.0).is_some();
                expected.new &= !(u64::from(is_known) << index);
            }
        }
    }

    /// What is known of an id, by this or by what was decided `before`.
    pub(crate) fn known(&self, id: TransferId, before: &mut dyn DecidedBefore) -> Option<Decided> {
        self.get(id.0).or_else(|| before.transfer(id))
    }

    /// The same, sooner, of ids that are asked for in the order in which they were expected.
    pub(crate) fn known_in_turn(
        &mut self,
        id: TransferId,
        before: &mut dyn DecidedBefore,
    ) -> Option<Decided> {
        match self.expected.new_since(id) {
            // Whoever decided it meanwhile put it here.
            Some(since) => self.get_since(id.0, since),
            None => self.known(id, before),
        }
    }

    /// Remembers an id that is not there yet. Positions never fall.
    pub(crate) fn insert(&mut self, id: u128, decided: Decided) {
        if self.generations.back().is_none_or(|newest| newest.entries.is_full()) {
            let coming = self.coming.take().unwrap_or_else(|| Coming::new(self.buckets));
            self.generations.push_back(coming.begin());
            if self.generations.len() > GENERATIONS_UNTIL_LARGER {
                self.buckets = BUCKETS_MAX.min(self.buckets * 4);
            }
        }
        let newest = self.generations.back_mut().expect("one was pushed when there was none");
        newest.last_seq = decided.seq;
        newest.entries.insert(self.hasher.hash_one(id), Entry { id, decided }, &self.hasher);
        if newest.entries.len().is_multiple_of(IDS_A_PAGE) {
            self.coming.get_or_insert_with(|| Coming::new(self.buckets)).touch();
        }
    }

    /// Takes back an id of the running command.
    pub(crate) fn remove(&mut self, id: u128) {
        let hash = self.hasher.hash_one(id);
        let _was_there = self.generations.iter_mut().rev().any(|it| it.entries.remove(hash, id));
    }

    /// Forgets the generations that the index covers. The memory of one is used again.
    pub(crate) fn forget(&mut self, indexed: JournalSeq, forgotten: &mut Forgotten) {
        self.indexed = self.indexed.max(indexed);
        // What was decided since they were looked for may go to the index now.
        self.expected = Expected::default();
        while let Some(oldest) = self.generations.pop_front_if(|it| it.last_seq <= self.indexed) {
            let mut unused = oldest.entries;
            let wanted = self.coming.as_ref().is_none_or(|coming| !coming.is_touched());
            if wanted && unused.num_buckets() == self.buckets {
                let before = self.coming.replace(Coming::again(unused));
                unused = before.map(|coming| coming.entries).unwrap_or_default();
            }
            forgotten.0.push(unused);
        }
        if self.generations.is_empty() {
            self.buckets = BUCKETS_MIN;
            forgotten.0.extend(self.coming.take().map(|coming| coming.entries));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(seq: u64) -> Decided {
        let (kind, timestamp) = (DecidedKind::Transfer, Timestamp(seq));
        Decided { seq: JournalSeq(seq), digest: seq, timestamp, kind }
    }

    fn forget(recent: &mut RecentIds, upto: u64) -> Forgotten {
        let mut forgotten = Forgotten::default();
        recent.forget(JournalSeq(upto), &mut forgotten);
        forgotten
    }

    #[test]
    fn a_table_has_its_memory_before_its_first_id_and_knows_nothing() {
        let mut recent = RecentIds::new(7);
        let mut tables = 1;
        for id in 1..=3_000_000 {
            let ready = recent.coming.as_ref().is_some_and(Coming::is_touched);
            recent.insert(id, decided(id as u64));
            if recent.generations.len() > tables {
                tables = recent.generations.len();
                assert!(ready, "not all of table {tables} was touched");
                assert_eq!(recent.generations.back().unwrap().entries.len(), 1);
            }
        }
        assert_eq!((tables, recent.len()), (7, 3_000_000));
        assert_eq!(recent.get(0), None);
    }

    #[test]
    fn the_memory_of_forgotten_ids_is_used_again() {
        let mut recent = RecentIds::new(7);
        // Six smaller tables, one of the largest, and the first of the next.
        let all =
            [14, 14, 14, 16, 18, 20, 22].map(|power| (1_u64 << power) / 8 * 7).iter().sum::<u64>();
        let insert = |recent: &mut RecentIds, ids: std::ops::RangeInclusive<u64>| {
            ids.for_each(|id| recent.insert(u128::from(id), decided(id)));
        };
        insert(&mut recent, 1..=all + 100);
        let is_touched =
            |recent: &RecentIds| recent.coming.as_ref().is_some_and(Coming::is_touched);
        assert!(!is_touched(&recent), "a hundred ids do not touch it");
        let Forgotten(given_back) = forget(&mut recent, all);
        assert!(is_touched(&recent));
        assert_eq!(given_back.iter().map(Table::len).max(), Some((1 << 20) / 8 * 7));
        let more = all + 4_000_000;
        insert(&mut recent, all + 101..=more);
        assert_eq!(recent.generations.len(), 2);
        assert!((1..=all).all(|id| recent.get(u128::from(id)).is_none()), "they were forgotten");
        assert!((all + 1..=more).all(|id| recent.get(u128::from(id)) == Some(decided(id))));
    }

    #[test]
    fn what_is_indexed_is_forgotten_by_generations() {
        let mut recent = RecentIds::new(7);
        let first = (BUCKETS_MIN / 8 * 7) as u64;
        let count = first + 10;
        for id in 1..=count {
            recent.insert(u128::from(id), decided(id));
        }
        assert_eq!(recent.len() as u64, count);
        drop(forget(&mut recent, first - 1));
        assert_eq!(recent.get(1), Some(decided(1)), "its generation is not wholly indexed");
        drop(forget(&mut recent, first));
        assert_eq!(recent.get(1), None);
        assert_eq!(recent.get(u128::from(count)), Some(decided(count)));
        recent.remove(u128::from(count));
        assert_eq!(recent.get(u128::from(count)), None);
        assert_eq!(recent.len(), 9);
    }

    #[test]
    fn no_table_ever_grows() {
        let mut recent = RecentIds::new(7);
        let mut buckets = Vec::new();
        for id in 1..=3_000_000 {
            recent.insert(id, decided(id as u64));
            if id % 3 == 0 {
                recent.remove(id);
            }
            let newest = recent.generations.back().unwrap();
            if recent.generations.len() > buckets.len() {
                buckets.push(newest.entries.num_buckets());
            }
            assert_eq!(newest.entries.num_buckets(), *buckets.last().unwrap(), "after {id}");
        }
        let expected = [14, 14, 14, 16, 18, 20, 22].map(|power| 1_usize << power);
        assert_eq!(buckets, expected);
        assert!((1..=3_000_000).all(|id| recent.get(id).is_some() == (id % 3 != 0)));
    }

    /// The index takes what is decided about every two minutes, however little that is.
    #[test]
    fn ids_that_come_slowly_keep_small_tables() {
        let mut recent = RecentIds::new(7);
        for id in 1..=1_000_000 {
            recent.insert(id, decided(id as u64));
            if id % 26_000 == 0 {
                drop(forget(&mut recent, id as u64 - 500));
            }
            let buckets = recent
                .generations
                .iter()
                .map(|it| &it.entries)
                .chain(recent.coming.iter().map(|it| &it.entries))
                .map(Table::num_buckets);
            assert!(buckets.sum::<usize>() <= 12 * BUCKETS_MIN, "after {id}");
        }
    }

    /// Commands that are only tried, and chains that are undone, would otherwise fill the memory with empty tables.
    #[test]
    fn what_is_taken_back_leaves_its_place() {
        let mut recent = RecentIds::new(7);
        recent.insert(0, decided(1));
        for id in 1..=200_000 {
            recent.insert(id, decided(2));
            recent.remove(id);
        }
        assert_eq!(recent.generations.len(), 1);
        assert_eq!(recent.generations[0].entries.num_buckets(), BUCKETS_MIN);
        assert_eq!(recent.len(), 1);
    }

    #[test]
    fn a_ledger_at_rest_begins_small_again() {
        let mut recent = RecentIds::new(7);
        for id in 1..=100_000 {
            recent.insert(id, decided(id as u64));
        }
        drop(forget(&mut recent, 100_000));
        assert_eq!(recent.generations.len(), 0);
        recent.insert(1, decided(100_001));
        assert_eq!(recent.generations[0].entries.num_buckets(), BUCKETS_MIN);
    }
}
