//! Histories that can have happened are found good, and those that can not are found out, each for what is wrong with it.

use super::*;
use crate::random::Random;

/// Accounts of these tests; the last one can not be overdrawn.
const ACCOUNTS: u128 = 4;
const LIMITED: u128 = 4;

fn checker() -> Checker {
    Checker::new(1..=ACCOUNTS, |id| id == LIMITED)
}

fn model() -> Model {
    checker().model
}

/// A bank that does one thing after the other, and can be told to do it wrongly.
struct Bank {
    model: Model,
    /// The state that is shown; that of `model` if nothing is wrong.
    seq: u64,
    history: Vec<Operation>,
}

impl Bank {
    fn new() -> Bank {
        Bank { model: model(), seq: 0, history: Vec::new() }
    }

    fn shown(&self, account: u128) -> Shown {
        let was = self.model.account(account);
        Shown { account, version: was.version, figures: Figures::Whole(was.balances) }
    }

    fn note(&mut self, process: u32, (invoked_ns, returned_ns): (u64, u64), call: Call) {
        self.history.push(Operation { process, invoked_ns, returned_ns, call });
    }

    /// Carries out a command, `times` times, of which the client is told one.
    fn command(&mut self, at: (u64, u64), events: &[(u128, Action)], times: usize) -> &mut Command {
        self.seq += 1;
        let mut outcomes = Vec::new();
        let mut touched = Vec::new();
        for (number, (id, action)) in (0..).zip(events) {
            let affected = self.model.accounts_of(*action);
            let happens = affected.is_some() && self.model.allows(*action);
            let time = u128::from(self.seq) * 1000 + number;
            let outcome = if happens { Outcome::Created(time) } else { Outcome::Refused };
            if happens {
                (0..times).for_each(|_| self.model.apply(*id, *action));
                touched.extend(affected.into_iter().flat_map(|(debit, credit)| [debit, credit]));
            }
            outcomes.push(Event { id: *id, action: *action, outcome });
        }
        touched.sort_unstable();
        touched.dedup();
        (0..times).for_each(|_| touched.iter().for_each(|id| self.model.count_version(*id)));
        let shown = touched.iter().map(|id| {
            let Account { version, balances, .. } = self.model.account(*id);
            let (balance, available) = (balances.balance(), balances.available());
            Shown { account: *id, version, figures: Figures::Short { balance, available } }
        });
        let command = Command { seq: Some(self.seq), events: outcomes, shown: shown.collect() };
        self.note(0, at, Call::Command(command));
        match self.history.last_mut().map(|operation| &mut operation.call) {
            Some(Call::Command(command)) => command,
            _ => unreachable!("it was noted just now"),
        }
    }

    /// One transfer of this amount.
    fn post(&mut self, at: (u64, u64), id: u128, debit: u128, credit: u128, amount: u64) {
        let _ = self.command(at, &[(id, Action::Post { debit, credit, amount })], 1);
    }

    fn read(&mut self, at: (u64, u64), shown: Shown) -> &mut Read {
        let read = Read { seq: self.seq, min_seq: 0, source: Answerer::Owner, shown };
        self.note(1, at, Call::Read(read));
        match self.history.last_mut().map(|operation| &mut operation.call) {
            Some(Call::Read(read)) => read,
            _ => unreachable!("it was noted just now"),
        }
    }

    fn check(&self) -> Result<(), Box<Violation>> {
        checker().check(&self.history)
    }
}

/// What a history is found to be, in a word.
fn word(found: &Result<(), Box<Violation>>) -> &'static str {
    let Err(violation) = found else { return "good" };
    match **violation {
        Violation::Doubled { .. } => "doubled",
        Violation::Order { .. } => "order",
        Violation::Decided { .. } => "decided",
        Violation::Settled { .. } => "settled",
        Violation::Shown { .. } => "shown",
        Violation::Nowhere { .. } => "nowhere",
        Violation::Older { .. } => "older",
        Violation::RealTime { .. } => "real time",
    }
}

#[track_caller]
fn check(bank: &Bank, expected: &str) {
    let found = bank.check();
    assert_eq!(word(&found), expected, "{found:?}");
}

/// A history of many clients at once: what was decided one after the other was sent a while before and answered a while after.
fn crowded(seed: u64) -> Bank {
    let mut random = Random::new(seed);
    let mut bank = Bank::new();
    let mut reserved = Vec::new();
    for step in 1..=400_u64 {
        let moment = 10_000 + step * 100;
        let at = (moment - random.below(900), moment + random.below(900));
        let id = u128::from(step) * 10;
        let debit = 1 + u128::from(random.below(4));
        let credit = 1 + (debit + u128::from(random.below(3))) % ACCOUNTS;
        let amount = 1 + random.below(50);
        let post = |id| (id, Action::Post { debit, credit, amount });
        match random.below(8) {
            0 | 1 => {
                let _ = bank.command(at, &[post(id), post(id + 1), post(id + 2)], 1);
            }
            2 => {
                let reserve = Action::Reserve { debit, credit, amount };
                let command = bank.command(at, &[(id, reserve)], 1);
                if command.events[0].outcome != Outcome::Refused {
                    reserved.push((id, amount));
                }
            }
            3 if !reserved.is_empty() => {
                let (pending, amount) =
                    reserved.swap_remove(random.below(reserved.len() as u64) as usize);
                let amount = random.below(amount + 1);
                let _ = bank.command(at, &[(id, Action::Settle { pending, amount })], 1);
            }
            4 | 5 => {
                let shown = bank.shown(credit);
                let _ = bank.read(at, shown);
            }
            _ => bank.post(at, id, debit, credit, amount),
        }
        if step % 7 == 0 {
            forget_answer(&mut bank);
        }
    }
    bank
}

/// The newest command's answer was lost; asking again told what became of it, much later.
fn forget_answer(bank: &mut Bank) {
    if let Some(Operation { returned_ns, call: Call::Command(command), .. }) =
        bank.history.last_mut()
    {
        (command.seq, command.shown) = (None, Vec::new());
        *returned_ns += 5_000;
    }
}

#[test]
fn what_happened_is_good_also_in_parts() {
    for seed in 0..40 {
        let bank = crowded(seed);
        check(&bank, "good");
        // Cut where nothing was under way: the second part begins where the first ended.
        let mut parts = bank.history.clone();
        let half = parts.len() / 2;
        for operation in &mut parts[half..] {
            operation.invoked_ns += 100_000;
            operation.returned_ns += 100_000;
        }
        let mut checker = checker();
        let (first, second) = parts.split_at(half);
        assert_eq!((checker.check(first), checker.check(second)), (Ok(()), Ok(())));
        let whole: i64 = checker.accounts().map(|(_, account)| account.balances.balance()).sum();
        assert_eq!(whole, 0);
        // The same part again is a history in which every id is decided twice.
        assert_eq!(word(&checker.check(second)), "doubled");
    }
}

#[test]
fn any_command_that_is_lost_or_done_twice_is_found() {
    for (times, action) in [
        (0, Action::Post { debit: 1, credit: 2, amount: 5 }),
        (2, Action::Post { debit: 1, credit: 2, amount: 5 }),
        (0, Action::Reserve { debit: 1, credit: 2, amount: 5 }),
    ] {
        let mut bank = Bank::new();
        bank.post((0, 10), 1, 1, 2, 100);
        let command = bank.command((20, 30), &[(2, action)], times);
        // It is answered as if all were well.
        command.shown.clear();
        let lone = bank.history.len();
        bank.post((40, 50), 3, 1, 2, 1);
        check(&bank, "shown");
        // A read alone shows it as well.
        bank.history.truncate(lone);
        let shown = bank.shown(2);
        let _ = bank.read((60, 70), shown);
        check(&bank, "nowhere");
    }
}

#[test]
fn a_stale_read_is_found_whatever_position_it_tells() {
    let mut bank = Bank::new();
    bank.post((0, 10), 1, 1, 2, 100);
    let old = bank.shown(2);
    bank.post((20, 30), 2, 1, 2, 100);
    let _ = bank.read((25, 35), old);
    check(&bank, "nowhere");
    if let Some(Call::Read(read)) = bank.history.last_mut().map(|it| &mut it.call) {
        read.seq = 1;
    }
    check(&bank, "good");
    // Sent after the other was answered.
    bank.history[2].invoked_ns = 31;
    check(&bank, "real time");
}

#[test]
fn what_was_read_once_is_not_undone() {
    let mut bank = Bank::new();
    let old = bank.shown(2);
    bank.post((0, 100), 1, 1, 2, 100);
    let new = bank.shown(2);
    // While the transfer is under way: the newer state, then the older one again.
    let _ = bank.read((10, 20), new);
    let _ = bank.read((30, 40), old);
    if let Some(Call::Read(read)) = bank.history.last_mut().map(|it| &mut it.call) {
        read.seq = 0;
    }
    check(&bank, "real time");
    bank.history[2].invoked_ns = 15;
    check(&bank, "good");
}

#[test]
fn a_read_of_what_is_not_sent_yet_is_found() {
    let mut bank = Bank::new();
    bank.post((20, 30), 1, 1, 2, 100);
    let shown = bank.shown(2);
    let _ = bank.read((0, 10), shown);
    check(&bank, "real time");
    for source in [Answerer::Owner, Answerer::Reader] {
        if let Some(Call::Read(read)) = bank.history.last_mut().map(|it| &mut it.call) {
            read.source = source;
        }
        check(&bank, "real time");
    }
}

#[test]
fn times_that_contradict_the_clock_are_found() {
    let mut bank = Bank::new();
    bank.post((20, 30), 1, 1, 2, 100);
    bank.post((0, 10), 2, 3, 2, 100);
    check(&bank, "real time");
    bank.history[1].returned_ns = 25;
    check(&bank, "good");
}

#[test]
fn positions_and_times_tell_one_order() {
    let mut bank = Bank::new();
    bank.post((0, 10), 1, 1, 2, 100);
    bank.post((0, 10), 2, 3, 4, 100);
    for seq in [1, 0] {
        if let Some(Call::Command(command)) = bank.history.last_mut().map(|it| &mut it.call) {
            command.seq = Some(seq);
        }
        check(&bank, "order");
    }
    // One that was decided while another was.
    let mut bank = Bank::new();
    let post = |debit, credit| Action::Post { debit, credit, amount: 1 };
    let command = bank.command((0, 10), &[(1, post(1, 2)), (2, post(1, 2))], 1);
    command.events[1].outcome = Outcome::Created(2_500);
    bank.post((0, 10), 3, 3, 1, 1);
    check(&bank, "order");
}

#[test]
fn an_id_that_is_decided_twice_is_found() {
    let mut bank = Bank::new();
    bank.post((0, 10), 1, 1, 2, 100);
    bank.post((20, 30), 1, 1, 2, 100);
    check(&bank, "doubled");
}

#[test]
fn decisions_follow_the_rules() {
    // The account has 50.
    for (amount, outcome, expected) in [
        (50, None, "good"),
        (51, None, "good"),
        (50, Some(Outcome::Refused), "nowhere"),
        (51, Some(Outcome::Created(9_000)), "decided"),
    ] {
        let mut bank = Bank::new();
        bank.post((0, 10), 1, 1, LIMITED, 50);
        let command =
            bank.command((20, 30), &[(2, Action::Post { debit: LIMITED, credit: 1, amount })], 1);
        command.events[0].outcome = outcome.unwrap_or(command.events[0].outcome);
        command.shown.clear();
        check(&bank, expected);
    }
    // In a batch the order is that of the batch.
    let mut bank = Bank::new();
    let give = |debit, credit| Action::Post { debit, credit, amount: 50 };
    let batch = [(1, give(LIMITED, 1)), (2, give(1, LIMITED)), (3, give(LIMITED, 1))];
    let command = bank.command((0, 10), &batch, 1);
    assert_eq!(command.events[0].outcome, Outcome::Refused);
    check(&bank, "good");
    bank.command((20, 30), &[(4, give(2, 1)), (5, give(LIMITED, 1))], 1).events[1].outcome =
        Outcome::Created(9_000);
    check(&bank, "decided");
}

#[test]
fn what_is_reserved_is_settled_once() {
    let mut bank = Bank::new();
    let _ = bank.command((0, 10), &[(1, Action::Reserve { debit: 1, credit: 2, amount: 9 })], 1);
    assert_eq!(bank.model.pending.len(), 1);
    let _ = bank.command((20, 30), &[(2, Action::Settle { pending: 1, amount: 4 })], 1);
    check(&bank, "good");
    let again = bank.command((40, 50), &[(3, Action::Settle { pending: 1, amount: 0 })], 1);
    again.events[0].outcome = Outcome::Created(9_000);
    check(&bank, "settled");
}

#[test]
fn a_reader_may_be_late_but_not_go_back_nor_answer_less_than_it_was_asked_for() {
    let mut bank = Bank::new();
    let mut states = vec![bank.shown(2)];
    for id in 1..=4 {
        bank.post((id as u64 * 10, id as u64 * 10 + 5), id, 1, 2, 1);
        states.push(bank.shown(2));
    }
    let commands = bank.history.len();
    let ask = |bank: &mut Bank, reads: &[(u64, u64)], expected: &str| {
        bank.history.truncate(commands);
        for (number, (seq, min_seq)) in (0..).zip(reads) {
            let read = bank.read((100 + number * 10, 105 + number * 10), states[*seq as usize]);
            *read = Read { seq: *seq, min_seq: *min_seq, source: Answerer::Reader, ..*read };
        }
        check(bank, expected);
    };
    ask(&mut bank, &[(1, 0), (1, 1), (3, 2), (4, 3)], "good");
    ask(&mut bank, &[(2, 3)], "older");
    ask(&mut bank, &[(3, 0), (2, 0)], "real time");
    // The state of one position under the name of another.
    for (told, state) in [(2, 3), (3, 2)] {
        bank.history.truncate(commands);
        let read = bank.read((100, 105), states[state]);
        *read = Read { seq: told, source: Answerer::Reader, ..*read };
        check(&bank, "nowhere");
    }
}
