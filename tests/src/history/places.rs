//! Places in the order of commands: place `p` is the state after the first `p` of them.

use std::collections::HashMap;

use super::model::{Account, Model};
use super::{Answerer, Call, Operation, Read};

/// The states of all accounts at all places.
pub(super) struct Places {
    count: usize,
    /// Of each account, from which place on it was what, from place 0 on.
    lives: HashMap<u128, Vec<(usize, Account)>>,
    /// Positions that are known, with the place after them; both increase.
    seqs: Vec<(u64, usize)>,
}

/// Where something that was seen may stand: ranges of places, both ends among them, in order.
pub(super) type Observed = Vec<(usize, usize)>;

/// Where an operation stands in the order.
pub(super) enum Span {
    /// It leads from this place to the next.
    Moved(usize),
    /// It saw the state at one of these places.
    Seen(Observed),
    /// It says nothing of when it was.
    Anywhere,
}

impl Places {
    /// At place 0 the accounts are those of `model`.
    pub(super) fn new(model: &Model) -> Places {
        let lives = model.accounts.iter().map(|(id, account)| (*id, vec![(0, *account)]));
        Places { count: 0, lives: lives.collect(), seqs: Vec::new() }
    }

    /// Adds a command, with the accounts that it changed as they are after it.
    pub(super) fn add(&mut self, seq: Option<u64>, changed: impl Iterator<Item = (u128, Account)>) {
        self.count += 1;
        if let Some(seq) = seq {
            self.seqs.push((seq, self.count));
        }
        for (id, account) in changed {
            self.lives.entry(id).or_default().push((self.count, account));
        }
    }

    /// Where that may stand which depended on this position and on nothing later.
    pub(super) fn of_seq(&self, seq: u64) -> Observed {
        let later = self.seqs.partition_point(|(known, _)| *known <= seq);
        let from = later.checked_sub(1).map_or(0, |last| self.seqs[last].1);
        let to = self.seqs.get(later).map_or(self.count, |(_, place)| place - 1);
        vec![(from, to)]
    }

    /// Where a read may stand; none where the account was never so as of its position.
    pub(super) fn of_read(&self, read: &Read) -> Option<Observed> {
        let shown = read.shown;
        let fits = |account: Account| {
            account.version == shown.version && shown.figures.fit(account.balances)
        };
        let found = self.narrowed(&self.of_seq(read.seq), shown.account, fits);
        Some(found).filter(|found| !found.is_empty())
    }

    /// Those of the places where an account is so.
    pub(super) fn narrowed(
        &self,
        places: &Observed,
        account: u128,
        is_so: impl Fn(Account) -> bool,
    ) -> Observed {
        let life = self.lives.get(&account).map_or(&[][..], Vec::as_slice);
        let mut found = Observed::new();
        for (from, to) in places {
            let first = life.partition_point(|(begin, _)| begin <= from).saturating_sub(1);
            for (index, (begin, account)) in life.iter().enumerate().skip(first) {
                let end = life.get(index + 1).map_or(self.count, |(next, _)| next - 1);
                let (begin, end) = (*begin.max(from), end.min(*to));
                if begin > *to {
                    break;
                }
                if begin <= end && is_so(*account) {
                    found.push((begin, end));
                }
            }
        }
        found
    }
}

/// Gives each operation a place, so that what was answered before another was sent comes before it.
///
/// # Errors
/// The indexes of two operations for which that can not be done.
pub(super) fn agree(history: &[Operation], spans: &[Span]) -> Result<(), (usize, usize)> {
    let mut moments: Vec<(u64, Moment, usize)> = Vec::with_capacity(history.len() * 2);
    for (index, operation) in history.iter().enumerate() {
        moments.push((operation.invoked_ns, Moment::Invoked, index));
        moments.push((operation.returned_ns, Moment::Returned, index));
    }
    moments.sort_unstable();
    let mut given = vec![None; history.len()];
    let mut all = Floor::default();
    let mut sessions: HashMap<u32, Floor> = HashMap::new();
    for (_, moment, index) in moments {
        let operation = &history[index];
        let late = is_late(operation);
        match moment {
            Moment::Invoked => {
                let session = sessions.get(&operation.process).copied().unwrap_or_default();
                let floor = if late { session } else { all };
                let place = match &spans[index] {
                    Span::Anywhere => continue,
                    Span::Moved(place) => Some(place + 1).filter(|_| *place >= floor.place),
                    Span::Seen(ranges) => {
                        let range = ranges.iter().find(|(_, to)| *to >= floor.place);
                        range.map(|(from, _)| floor.place.max(*from))
                    }
                };
                let Some(place) = place else { return Err((floor.by, index)) };
                given[index] = Some(place);
            }
            Moment::Returned => {
                let Some(place) = given[index] else { continue };
                all.raise(place, index);
                sessions.entry(operation.process).or_default().raise(place, index);
            }
        }
    }
    Ok(())
}

/// Sorted so that what touches in time counts as at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Invoked,
    Returned,
}

/// The newest place that was answered, and by which operation.
#[derive(Clone, Copy, Default)]
struct Floor {
    place: usize,
    by: usize,
}

impl Floor {
    fn raise(&mut self, place: usize, by: usize) {
        if place > self.place {
            *self = Floor { place, by };
        }
    }
}

/// Whether it may show what is no longer so.
fn is_late(operation: &Operation) -> bool {
    matches!(&operation.call, Call::Read(Read { source: Answerer::Reader, .. }))
}
