//! Clients that write down what they did, when, and what they were told, as a history that can be checked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use serde_json::{Value, json};

use crate::bank::{transfer_with_id, with};
use crate::history::{
    Action, Answerer, Balances, Call, Command, Event, Figures, Operation, Outcome, Read, Shown,
};
use crate::http::{Client, Reply};
use crate::load::{minor, money};
use crate::random::Random;

/// How many transfers are in a batch.
const BATCH: u64 = 40;
/// How many transfers one client leaves pending before it settles one.
const PENDING: usize = 4;

/// Who comes, and what they use.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// The accounts: ids from 1 to this. Those with an even id can not be overdrawn.
    pub accounts: u64,
    /// Every other choice falls on one of so many accounts, from id 1 on.
    pub hot_accounts: u64,
    /// Clients that send one transfer a request.
    pub singles: u32,
    /// Clients that send batches.
    pub batches: u32,
    /// Clients that reserve, and settle later.
    pub two_phase: u32,
    /// Clients that read accounts.
    pub readers: u32,
}

impl Crowd {
    /// Whether an account of this id can not be overdrawn.
    #[must_use]
    pub fn is_limited(id: u128) -> bool {
        id.is_multiple_of(2)
    }

    /// The accounts, as they are created.
    #[must_use]
    pub fn accounts(&self) -> Vec<Value> {
        let account = |id: u64| match Crowd::is_limited(id.into()) {
            true => json!({"id": id, "flags": ["debits_must_not_exceed_credits"]}),
            false => json!({"id": id}),
        };
        (1..=self.accounts).map(account).collect()
    }

    fn habits(&self) -> impl Iterator<Item = Habit> {
        [
            (Habit::Single, self.singles),
            (Habit::Batch, self.batches),
            (Habit::TwoPhase, self.two_phase),
            (Habit::Reader, self.readers),
        ]
        .into_iter()
        .flat_map(|(habit, count)| (0..count).map(move |_| habit))
    }
}

#[derive(Clone, Copy)]
enum Habit {
    Single,
    Batch,
    TwoPhase,
    Reader,
}

/// The time of a history.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A history begins now.
    #[must_use]
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Nanoseconds since then.
    #[must_use]
    pub fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What the clients have to tell.
#[derive(Debug, Default)]
pub struct Testimony {
    /// What was answered.
    pub operations: Vec<Operation>,
    /// What was not.
    pub unanswered: Vec<Unanswered>,
}

impl Testimony {
    fn extend(&mut self, other: Testimony) {
        self.operations.extend(other.operations);
        self.unanswered.extend(other.unanswered);
    }
}

/// A command of which nobody told what became of it.
#[derive(Clone, Debug)]
pub struct Unanswered {
    process: u32,
    invoked_ns: u64,
    asked: Asked,
}

impl Unanswered {
    /// Asks again by id, of a server that was started after the one that did not answer was dead, which it was at `dead_ns`. Tells what
    /// happened, and whether the first try did it.
    ///
    /// # Panics
    /// It is not answered.
    #[must_use]
    pub fn resolve(self, client: &Client, clock: Clock, dead_ns: u64) -> (Operation, bool) {
        let again_ns = clock.now_ns();
        let (command, invoked_ns, returned_ns, had_happened) = match self.asked.send(client) {
            // A dead server does nothing, so it was the second try that did it.
            Told::First(command) => (command, again_ns, clock.now_ns(), false),
            Told::Again(command) => (command, self.invoked_ns, dead_ns, true),
            Told::Nothing => panic!("asked again, and not answered: {:?}", self.asked),
        };
        let call = Call::Command(command);
        (Operation { process: self.process, invoked_ns, returned_ns, call }, had_happened)
    }
}

/// Transfers in one request.
#[derive(Clone, Debug)]
struct Asked {
    events: Vec<(u128, Action)>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Single,
    Batch,
}

/// What an answer tells.
enum Told {
    /// What was decided now.
    First(Command),
    /// What was decided before, without what was shown then.
    Again(Command),
    /// No answer came, or one that says that it does not know.
    Nothing,
}

impl Asked {
    fn send(&self, client: &Client) -> Told {
        let mut bodies: Vec<Value> =
            self.events.iter().map(|(id, action)| body(*id, *action)).collect();
        let (request, body) = match self.form {
            Form::Single => ("POST /v1/transfers", bodies.swap_remove(0)),
            Form::Batch => ("POST /v1/transfers/batch?results=all", Value::Array(bodies)),
        };
        let Ok(reply) = client.request(request).try_send(body) else { return Told::Nothing };
        match (reply.status, self.form) {
            (503, _) => Told::Nothing,
            (_, Form::Single) => self.single(&reply),
            (_, Form::Batch) => self.batch(&reply),
        }
    }

    fn single(&self, reply: &Reply) -> Told {
        let (id, action) = self.events[0];
        let command = |outcome, seq, shown| Command {
            seq,
            events: vec![Event { id, action, outcome }],
            shown,
        };
        match reply.summary().as_str() {
            "201" => {
                let answer = reply.json();
                let shown =
                    ["debit_account", "credit_account"].map(|side| shown_after(&answer[side]));
                Told::First(command(created(&answer), Some(reply.seq()), shown.into()))
            }
            "200 replayed" => Told::Again(command(created(&reply.json()), None, Vec::new())),
            "422 exceeds_credits" => {
                Told::First(command(Outcome::Refused, Some(reply.seq()), Vec::new()))
            }
            "422 id_already_failed" => Told::Again(command(Outcome::Refused, None, Vec::new())),
            other => panic!("{self:?} was answered {other}: {reply:?}"),
        }
    }

    fn batch(&self, reply: &Reply) -> Told {
        assert_eq!(reply.status, 200, "{reply:?}");
        let answer = reply.json();
        let results = answer["results"].as_array().expect("the results were asked for");
        assert_eq!(results.len(), self.events.len(), "one result for each event");
        let (mut first, mut again) = (0, 0);
        let events = self.events.iter().zip(results).map(|((id, action), result)| {
            let (outcome, count) = match result["status"].as_str() {
                Some("created") => (created(result), &mut first),
                Some("exceeds_credits") => (Outcome::Refused, &mut first),
                Some("exists") => (created(result), &mut again),
                Some("id_already_failed") => (Outcome::Refused, &mut again),
                other => panic!("a transfer of the crowd became {other:?}: {result}"),
            };
            *count += 1;
            Event { id: *id, action: *action, outcome }
        });
        let events = events.collect();
        assert!(first == 0 || again == 0, "a batch that was decided in parts: {reply:?}");
        match again {
            0 => Told::First(Command { seq: answer["seq"].as_u64(), events, shown: Vec::new() }),
            _ => Told::Again(Command { seq: None, events, shown: Vec::new() }),
        }
    }
}

/// Asks for transfers again of which it is known what became of them. Tells the first that is answered otherwise now.
///
/// # Errors
/// There is one.
///
/// # Panics
/// It is not answered.
pub fn ask_again<'a>(
    client: &Client,
    known: impl Iterator<Item = &'a Event>,
    batch: usize,
) -> Result<u64, String> {
    let known: Vec<&Event> = known.collect();
    for events in known.chunks(batch) {
        let form = if batch == 1 { Form::Single } else { Form::Batch };
        let asked =
            Asked { events: events.iter().map(|event| (event.id, event.action)).collect(), form };
        let told = match asked.send(client) {
            Told::Again(command) => command,
            Told::First(command) => {
                return Err(format!("what was acknowledged is decided again: {command:?}"));
            }
            Told::Nothing => panic!("asked again, and not answered: {asked:?}"),
        };
        let other = events.iter().zip(&told.events).find(|(known, told)| **known != *told);
        if let Some((known, told)) = other {
            return Err(format!("{known:?} was acknowledged, and is {told:?} now"));
        }
    }
    Ok(known.len() as u64)
}

/// Reads an account as of a position.
///
/// # Panics
/// The answer is none of an account.
#[must_use]
pub fn read(client: &Client, id: u128, min_seq: u64, source: Answerer) -> Option<Read> {
    let request = match source {
        Answerer::Owner => format!("GET /v1/accounts/{id}"),
        Answerer::Reader => format!("GET /v1/accounts/{id}?min_seq={min_seq}"),
    };
    let reply = client.request(&request).try_send(()).ok().filter(|reply| reply.status == 200)?;
    Some(Read { seq: reply.seq(), min_seq, source, shown: shown(&reply.json()) })
}

/// An account as a read tells it.
///
/// # Panics
/// It is none.
#[must_use]
pub fn shown(account: &Value) -> Shown {
    let sum = |name: &str| minor(&account[name]) as u64;
    let balances = Balances {
        debits_pending: sum("debits_pending"),
        debits_posted: sum("debits_posted"),
        credits_pending: sum("credits_pending"),
        credits_posted: sum("credits_posted"),
    };
    let (account, version) = name_of(account);
    Shown { account, version, figures: Figures::Whole(balances) }
}

/// An account as the answer to a transfer tells it.
fn shown_after(told: &Value) -> Shown {
    let signed = |name: &str| {
        let text = told[name].as_str().unwrap_or_else(|| panic!("no {name} in {told}"));
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        sign * minor(&json!(digits)) as i64
    };
    let (account, version) = name_of(told);
    let figures = Figures::Short { balance: signed("balance"), available: signed("available") };
    Shown { account, version, figures }
}

fn name_of(account: &Value) -> (u128, u64) {
    let id = account["id"].as_str().and_then(|id| id.parse().ok());
    let version = account["version"].as_u64();
    id.zip(version).unwrap_or_else(|| panic!("no account: {account}"))
}

fn created(thing: &Value) -> Outcome {
    Outcome::Created(time(thing))
}

/// The digits of a timestamp as one number, which grows with time.
///
/// # Panics
/// There is none.
#[must_use]
pub fn time(thing: &Value) -> u128 {
    let time = thing["timestamp"].as_str().unwrap_or_default();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    // A year with four digits and nanoseconds with nine.
    assert_eq!(digits.len(), 23, "no time in {thing}");
    digits.parse().expect("digits are a number")
}

fn body(id: u128, action: Action) -> Value {
    match action {
        Action::Post { debit, credit, amount } => {
            transfer_with_id(id, debit, credit, &money(amount.into()))
        }
        Action::Reserve { debit, credit, amount } => {
            let body = transfer_with_id(id, debit, credit, &money(amount.into()));
            with(body, json!({"flags": ["pending"]}))
        }
        Action::Settle { pending, amount: 0 } => {
            json!({"id": id.to_string(), "pending_id": pending.to_string(), "flags": ["void_pending_transfer"]})
        }
        Action::Settle { pending, amount } => {
            json!({"id": id.to_string(), "pending_id": pending.to_string(),
                "flags": ["post_pending_transfer"], "amount": money(amount.into())})
        }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Witnesses {
    acknowledged: Arc<AtomicU64>,
    leave: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Testimony>>,
}

impl Witnesses {
    /// Sends a crowd to a server. Crowds of different rounds use different ids. What is `pending` was reserved before, and may be settled.
    #[must_use]
    pub fn start(
        crowd: Crowd,
        base: &str,
        round: u64,
        clock: Clock,
        pending: &[(u128, u64)],
    ) -> Witnesses {
        let acknowledged = Arc::<AtomicU64>::default();
        let leave = Arc::<AtomicBool>::default();
        let settlers = crowd.two_phase.max(1) as usize;
        let mut shares = pending.chunks(pending.len().div_ceil(settlers).max(1));
        let clients = crowd.habits().zip(0_u32..).map(|(habit, number)| {
            let pending = match habit {
                Habit::TwoPhase => shares.next().unwrap_or_default().to_vec(),
                Habit::Single | Habit::Batch | Habit::Reader => Vec::new(),
            };
            let witness = Witness {
                crowd,
                client: Client::new(base),
                clock,
                random: Random::new(round * 1000 + u64::from(number)),
                process: number,
                // Above all accounts and all other rounds.
                next_id: u128::from(round * 1000 + u64::from(number) + 1) << 64,
                pending,
                acknowledged: Arc::clone(&acknowledged),
                testimony: Testimony::default(),
            };
            let leave = Arc::clone(&leave);
            thread::spawn(move || witness.visit(habit, &leave))
        });
        let clients = clients.collect();
        Witnesses { acknowledged, leave, clients }
    }

    /// How many transfers were told to have happened so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until all have given up or finished, and hears what they have to tell.
    ///
    /// # Panics
    /// One of them was told something impossible.
    #[must_use]
    pub fn leave(self) -> Testimony {
        self.leave.store(true, Ordering::Relaxed);
        let mut testimony = Testimony::default();
        for client in self.clients {
            testimony.extend(client.join().expect("a client was told something impossible"));
        }
        testimony
    }
}

struct Witness {
    crowd: Crowd,
    client: Client,
    clock: Clock,
    random: Random,
    process: u32,
    next_id: u128,
    pending: Vec<(u128, u64)>,
    acknowledged: Arc<AtomicU64>,
    testimony: Testimony,
}

impl Witness {
    fn visit(mut self, habit: Habit, leave: &AtomicBool) -> Testimony {
        let mut served = true;
        while served && !leave.load(Ordering::Relaxed) {
            served = match habit {
                Habit::Single => {
                    let event = self.post();
                    self.ask(Asked { events: vec![event], form: Form::Single })
                }
                Habit::Batch => {
                    let events = (0..BATCH).map(|_| self.post()).collect();
                    self.ask(Asked { events, form: Form::Batch })
                }
                Habit::TwoPhase => self.reserve_or_settle(),
                Habit::Reader => self.read(),
            };
        }
        self.testimony
    }

    fn id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    fn account(&mut self) -> u128 {
        let bound = match self.random.below(2) {
            0 => self.crowd.hot_accounts,
            _ => self.crowd.accounts,
        };
        1 + u128::from(self.random.below(bound))
    }

    /// Two accounts and an amount.
    fn movement(&mut self) -> (u128, u128, u64) {
        let (debit, mut credit) = (self.account(), self.account());
        while credit == debit {
            credit = self.account();
        }
        (debit, credit, 1 + self.random.below(500))
    }

    fn post(&mut self) -> (u128, Action) {
        let (debit, credit, amount) = self.movement();
        (self.id(), Action::Post { debit, credit, amount })
    }

    fn reserve_or_settle(&mut self) -> bool {
        if self.pending.len() < PENDING {
            let (debit, credit, amount) = self.movement();
            let id = self.id();
            let reserve = Action::Reserve { debit, credit, amount };
            let served = self.ask(Asked { events: vec![(id, reserve)], form: Form::Single });
            if self.newest_happened(id) {
                self.pending.push((id, amount));
            }
            return served;
        }
        let chosen = self.random.below(self.pending.len() as u64) as usize;
        let (pending, reserved) = self.pending.swap_remove(chosen);
        // A third of them is released, the others are posted, most in part.
        let amount = if self.random.below(3) == 0 { 0 } else { 1 + self.random.below(reserved) };
        let events = vec![(self.id(), Action::Settle { pending, amount })];
        self.ask(Asked { events, form: Form::Single })
    }

    fn newest_happened(&self, id: u128) -> bool {
        let newest = self.testimony.operations.last().map(|operation| &operation.call);
        let Some(Call::Command(Command { events, .. })) = newest else { return false };
        events.iter().any(|it| it.id == id && matches!(it.outcome, Outcome::Created(_)))
    }

    fn ask(&mut self, asked: Asked) -> bool {
        let invoked_ns = self.clock.now_ns();
        let told = asked.send(&self.client);
        let (process, returned_ns) = (self.process, self.clock.now_ns());
        match told {
            Told::First(command) => {
                let created = |event: &&Event| matches!(event.outcome, Outcome::Created(_));
                let count = command.events.iter().filter(created).count() as u64;
                self.acknowledged.fetch_add(count, Ordering::Relaxed);
                let call = Call::Command(command);
                self.testimony.operations.push(Operation {
                    process,
                    invoked_ns,
                    returned_ns,
                    call,
                });
                true
            }
            Told::Again(command) => panic!("nobody sent {command:?} before"),
            Told::Nothing => {
                self.testimony.unanswered.push(Unanswered { process, invoked_ns, asked });
                false
            }
        }
    }

    fn read(&mut self) -> bool {
        let id = self.account();
        let invoked_ns = self.clock.now_ns();
        let Some(read) = read(&self.client, id, 0, Answerer::Owner) else { return false };
        let (process, returned_ns) = (self.process, self.clock.now_ns());
        let call = Call::Read(read);
        self.testimony.operations.push(Operation { process, invoked_ns, returned_ns, call });
        true
    }
}
