//! The queue in front of batches: what concurrent calls ask for goes together.
//!
//! A call puts its transfer into a bounded queue and waits for its own answer. One task takes all that waits, as soon as one of a few
//! places for batches is free, and sends it; while all places are taken, more gathers. So nobody waits for a batch to fill, and the
//! busier it is the larger batches are, as in the server's group commit.
//!
//! A transfer is always in one of three states, and the step from one to the next is atomic, so that what a call is told when
//! its time is over is true: *waiting*, and surely not decided; *sent*, and perhaps decided; or *left*, and never sent from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use florin_engine::{Timestamp, TransferId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::batch::{self, Created, Written};
use crate::error::Error;
use crate::settings::{Form, Settings};
use crate::transfer::Transfer;
use crate::transport::{Failure, Transport};
use crate::tries::Tries;

/// Bytes of JSON after which a batch is closed: half of what a server takes.
const BATCH_BYTES: usize = 8 << 20;
const WAITING: u8 = 0;
const SENT: u8 = 1;
const LEFT: u8 = 2;

/// Whether a transfer was sent. Shared by its call and its batch.
#[derive(Debug, Default)]
struct State(AtomicU8);

impl State {
    fn step(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// A transfer in the queue.
#[derive(Debug)]
struct Queued {
    id: TransferId,
    written: Written,
    deadline: Instant,
    state: Arc<State>,
    reply: oneshot::Sender<Result<Created<TransferId>, Error>>,
}

impl Queued {
    /// Whether it goes into the request that is about to be sent. From then on it may be decided.
    fn goes(&self) -> bool {
        match self.state.0.load(Ordering::SeqCst) {
            // After a try whose end nobody knows, the call still wants to know it.
            SENT => !self.reply.is_closed(),
            _ => self.state.step(WAITING, SENT),
        }
    }
}

/// The call's end of a queued transfer. Dropped, it takes the transfer back if it was not sent.
struct Call {
    deadline: Instant,
    state: Arc<State>,
    answered: oneshot::Receiver<Result<Created<TransferId>, Error>>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.state.step(WAITING, LEFT);
    }
}

impl Call {
    async fn answer(mut self) -> Result<Created<TransferId>, Error> {
        let answered = tokio::time::timeout_at(self.deadline, &mut self.answered).await;
        if let Ok(Ok(outcome)) = answered {
            return outcome;
        }
        let why = match answered {
            Err(_) => "no answer before the deadline",
            Ok(_) => "the client was stopped",
        };
        let why = why.to_owned();
        Err(match self.state.step(WAITING, LEFT) {
            true => Error::NotSent { why },
            false => Error::OutcomeUnknown { why },
        })
    }
}

/// The queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue(mpsc::Sender<Queued>);

impl Queue {
    /// Starts the task that sends what comes. It ends when all clones of the queue are gone and what they queued is sent.
    pub(crate) fn start(transport: Arc<Transport>, settings: &Settings) -> Queue {
        let (sender, receiver) = mpsc::channel(settings.queue_events);
        let places = Arc::new(Semaphore::new(settings.batches_in_flight));
        let batcher = Batcher {
            transport,
            places,
            batch_events: settings.batch_events,
            attempt_timeout: settings.attempt_timeout,
        };
        tokio::spawn(batcher.run(receiver));
        Queue(sender)
    }

    /// Sends a transfer with others and waits for its answer, and for room before, until the deadline.
    pub(crate) async fn send(
        &self,
        id: TransferId,
        written: Written,
        deadline: Instant,
    ) -> Result<Created<TransferId>, Error> {
        let room = tokio::time::timeout_at(deadline, self.0.reserve()).await;
        let full = || Error::NotSent { why: "the queue was full until the deadline".into() };
        let room = room.map_err(|_| full())?.map_err(|_| stopped())?;
        let (queued, call) = queued(id, written, deadline);
        room.send(queued);
        call.answer().await
    }

    /// [`Queue::send`], where there is room at once.
    pub(crate) async fn try_send(
        &self,
        id: TransferId,
        written: Written,
        deadline: Instant,
    ) -> Result<Created<TransferId>, Error> {
        let room = self.0.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => Error::QueueFull,
            mpsc::error::TrySendError::Closed(()) => stopped(),
        })?;
        let (queued, call) = queued(id, written, deadline);
        room.send(queued);
        call.answer().await
    }
}

fn queued(id: TransferId, written: Written, deadline: Instant) -> (Queued, Call) {
    let (reply, answered) = oneshot::channel();
    let state = Arc::<State>::default();
    let call = Call { deadline, state: Arc::clone(&state), answered };
    (Queued { id, written, deadline, state, reply }, call)
}

fn stopped() -> Error {
    Error::NotSent { why: "the client was stopped".into() }
}

/// Sends what is in the queue.
struct Batcher {
    transport: Arc<Transport>,
    places: Arc<Semaphore>,
    batch_events: usize,
    attempt_timeout: std::time::Duration,
}

impl Batcher {
    async fn run(self, mut queue: mpsc::Receiver<Queued>) {
        let mut waiting = Vec::new();
        loop {
            // A place before anything is taken, so that what comes while none is free goes together.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            if queue.recv_many(&mut waiting, self.batch_events).await == 0 {
                return;
            }
            // The tasks that are ready now come with it.
            tokio::task::yield_now().await;
            while waiting.len() < self.batch_events
                && let Ok(queued) = queue.try_recv()
            {
                waiting.push(queued);
            }
            let mut place = Some(place);
            for part in parts(waiting.drain(..)) {
                let place = match place.take() {
                    Some(place) => place,
                    None => match Arc::clone(&self.places).acquire_owned().await {
                        Ok(place) => place,
                        Err(_) => return,
                    },
                };
                self.spawn(part, place);
            }
        }
    }

    fn spawn(&self, part: Vec<Queued>, place: OwnedSemaphorePermit) {
        let transport = Arc::clone(&self.transport);
        let attempt_timeout = self.attempt_timeout;
        tokio::spawn(async move {
            let _place = place;
            // A batch that is halved leaves more than one to send.
            let mut left = vec![Part { events: part, uncertain: false }];
            while let Some(part) = left.pop() {
                left.extend(part.send(&transport, attempt_timeout).await);
            }
        });
    }
}

/// What goes together: all of one form, and not too much of it.
fn parts(waiting: impl Iterator<Item = Queued>) -> Vec<Vec<Queued>> {
    let mut parts: Vec<Vec<Queued>> = Vec::new();
    let mut open: [Option<(usize, usize)>; 2] = [None; 2];
    for queued in waiting {
        let bytes = queued.written.bytes();
        let open = &mut open[usize::from(queued.written.form() == Form::Json)];
        match open {
            Some((part, filled)) if *filled + bytes <= BATCH_BYTES => {
                *filled += bytes;
                parts[*part].push(queued);
            }
            _ => {
                *open = Some((parts.len(), bytes));
                parts.push(vec![queued]);
            }
        }
    }
    parts
}

/// Transfers that are sent together until they are answered.
struct Part {
    events: Vec<Queued>,
    /// Whether a try may have been carried out whose answer was lost.
    uncertain: bool,
}

impl Part {
    /// Sends them until they are answered or their time is over. What is left to do are the halves of a batch that is refused for what one of
    /// them is, or for its size: so that each call is answered for its own.
    async fn send(
        mut self,
        transport: &Transport,
        attempt_timeout: std::time::Duration,
    ) -> Vec<Part> {
        let Some(deadline) = self.events.iter().map(|queued| queued.deadline).max() else {
            return Vec::new();
        };
        let mut tries = Tries::until(deadline, attempt_timeout);
        loop {
            self.events.retain(Queued::goes);
            if self.events.is_empty() {
                return Vec::new();
            }
            let written = self.events.iter().map(|queued| &queued.written);
            let (form, ask) = batch::ask::<Transfer>(written);
            let failure = match transport.attempt(&ask, &tries).await {
                Ok(answer) => {
                    let sent = self.events.iter().map(|queued| (queued.id, None::<Timestamp>));
                    match batch::outcomes(form, &answer, sent) {
                        Ok(outcomes) => {
                            for (queued, outcome) in self.events.into_iter().zip(outcomes) {
                                // A call that does not wait any more was told that it is unknown.
                                let _ = queued.reply.send(outcome.map_err(Error::Refused));
                            }
                            return Vec::new();
                        }
                        Err(why) => Failure::Foreign { why },
                    }
                }
                Err(failure) => failure,
            };
            match &failure {
                Failure::Unknown { .. } | Failure::Foreign { .. } => self.uncertain = true,
                Failure::NotDone { .. } | Failure::Refused { .. } if self.uncertain => {}
                Failure::NotDone { .. } | Failure::Refused { .. } => {
                    for queued in &self.events {
                        queued.state.step(SENT, WAITING);
                    }
                }
            }
            if self.events.len() > 1 && is_about_one(&failure) {
                let second = self.events.split_off(self.events.len() / 2);
                let uncertain = self.uncertain;
                return vec![Part { events: second, uncertain }, self];
            }
            let again = match failure.may_be_tried_again() {
                Some(after) => tries.pause(after).await,
                None => false,
            };
            if !again {
                let error = failure.into_error(self.uncertain).of_one();
                for queued in self.events {
                    let _ = queued.reply.send(Err(error.clone()));
                }
                return Vec::new();
            }
        }
    }
}

/// Whether a smaller batch may be taken where this one is refused.
fn is_about_one(failure: &Failure) -> bool {
    let Failure::Refused { refusal, .. } = failure else { return false };
    ["invalid_request", "malformed_json", "too_many_events", "body_too_large", "command_too_large"]
        .contains(&refusal.code.as_ref())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn waiting(written: Written) -> (Queued, Call) {
        queued(TransferId(1), written, Instant::now() + Duration::from_secs(1))
    }

    #[tokio::test]
    async fn forms_do_not_mix_and_bytes_are_bounded() {
        let half = || Written::Json(vec![b'1'; BATCH_BYTES / 2]);
        let small = || Written::Binary([0; 128]);
        let events = [small(), half(), small(), half(), half(), small()];
        let (events, _calls): (Vec<_>, Vec<_>) = events.map(waiting).into_iter().unzip();
        let parts = parts(events.into_iter());
        let shown: Vec<_> = parts.iter().map(|part| (part[0].written.form(), part.len())).collect();
        assert_eq!(shown, [(Form::Binary, 3), (Form::Json, 2), (Form::Json, 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_time_is_over_is_told_what_is_known() {
        let (queued, call) = waiting(Written::Binary([0; 128]));
        assert!(matches!(call.answer().await, Err(Error::NotSent { .. })));
        assert!(!queued.goes(), "it is never sent from then on");
        let (queued, call) = waiting(Written::Binary([0; 128]));
        assert!(queued.goes());
        assert!(matches!(call.answer().await, Err(Error::OutcomeUnknown { .. })));
        let (queued, call) = waiting(Written::Binary([0; 128]));
        drop(call);
        assert!(!queued.goes(), "a call that is dropped takes its transfer back");
        // A call that ends while its try runs is not sent again for.
        let (queued, call) = waiting(Written::Binary([0; 128]));
        assert!(queued.goes());
        drop(call);
        assert!(!queued.goes());
    }
}
