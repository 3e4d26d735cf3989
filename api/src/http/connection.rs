//! What one connection may take of the server: memory for requests that it sends ahead, and time for what it does not finish.
//!
//! The HTTP server below puts up to 128 KiB of requests that were sent ahead of their answers into a queue, where one of 30 bytes takes some
//! 9 KiB: a hundred clients that send and never read took 4.7 GB. And it times only the first head of a connection: a second one that is begun and not
//! finished was waited for without an end. Both can be told from the bytes that go by, so they are, here:
//!
//! - While a request is handled or its answer is not taken, no more is read once [`HEADS_AHEAD_MAX`] others or [`BYTES_AHEAD_MAX`] came. A handler that
//!   takes its body says so ([`Flow::take_body`]), since a body comes before anything is answered.
//! - A head is to be whole within [`HEAD_PATIENCE`] of its first byte, else 408. After something was sent, and while something can not be sent, the
//!   connection may do nothing for [`KEEP_ALIVE`]. A request that is whole has the bounds of [`super::exchange`].
//!
//! Heads are counted by blank lines, of which a body may have some too. What is counted too much only makes the connection wait for an
//! answer that comes anyway: when nothing is handled and all is sent, nothing is left in the queue either, and the count begins anew.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::web::{Buf, Bytes};
use memchr::memchr_iter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::exchange::RequestIds;
use super::unread::{Unread, bare_refusal};
use super::{HEAD_PATIENCE, KEEP_ALIVE};

/// Heads of requests that are read ahead of answers.
const HEADS_AHEAD_MAX: usize = 16;
/// Bytes that are read ahead of an answer once there is a whole head.
const BYTES_AHEAD_MAX: usize = 16 << 10;
/// Bytes of a body that are read before its handler has seen more of it, if it does not say how long it is.
const BODY_STEP_BYTES: usize = 4 << 10;
/// Bytes that are read at once while nobody takes a body, so that few heads come together.
const PIECE_BYTES: usize = 1 << 10;

/// What a connection and the handlers of its requests know of each other.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// Heads that came and are not handled yet.
    ahead: Cell<usize>,
    /// Bytes that came since a request was begun or something sent.
    bytes: Cell<usize>,
    is_handling: Cell<bool>,
    /// Bytes of a body that its handler waits for.
    body_bytes: Cell<usize>,
    /// What was sent last was not taken whole.
    is_blocked: Cell<bool>,
    /// Something was sent since the count last began anew.
    has_sent: Cell<bool>,
    paused: RefCell<Option<Waker>>,
}

impl Flow {
    /// A request is handled from now on, until what this returns is dropped.
    pub(crate) fn handle(self: &Rc<Flow>) -> Handles {
        self.ahead.set(self.ahead.get().saturating_sub(1));
        self.bytes.set(0);
        self.is_handling.set(true);
        self.go_on();
        Handles(self.clone())
    }

    /// A body of this announced length is taken from now on, until what this returns is dropped.
    pub(crate) fn take_body(self: &Rc<Flow>, announced: Option<usize>) -> TakesBody {
        let takes = TakesBody { flow: self.clone(), announced };
        self.body_bytes.set(announced.unwrap_or(BODY_STEP_BYTES));
        self.go_on();
        takes
    }

    fn may_read(&self) -> bool {
        if self.body_bytes.get() > 0 {
            return true;
        }
        let is_busy = self.is_handling.get() || self.is_blocked.get();
        if is_busy {
            return self.ahead.get() < HEADS_AHEAD_MAX && self.bytes.get() < BYTES_AHEAD_MAX;
        }
        if self.ahead.get() >= HEADS_AHEAD_MAX && self.has_sent.replace(false) {
            self.ahead.set(0);
        }
        self.ahead.get() < HEADS_AHEAD_MAX
    }

    fn sent(&self) {
        self.bytes.set(0);
        self.is_blocked.set(false);
        self.has_sent.set(true);
        self.go_on();
    }

    fn go_on(&self) {
        if let Some(waker) = self.paused.take() {
            waker.wake();
        }
    }
}

/// A request is handled.
#[derive(Debug)]
pub(crate) struct Handles(Rc<Flow>);

impl Drop for Handles {
    fn drop(&mut self) {
        self.0.is_handling.set(false);
    }
}

/// A handler takes its body.
#[derive(Debug)]
pub(crate) struct TakesBody {
    flow: Rc<Flow>,
    announced: Option<usize>,
}

impl TakesBody {
    /// A piece of it came, and it may not be the last.
    pub(crate) fn go_on(&self) {
        if self.announced.is_none() {
            self.flow.body_bytes.set(BODY_STEP_BYTES);
            self.flow.go_on();
        }
    }
}

impl Drop for TakesBody {
    fn drop(&mut self) {
        self.flow.body_bytes.set(0);
    }
}

/// What the connection is waited for to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// Nothing: the server has a request to answer.
    Nothing,
    /// The end of a head.
    Head,
    /// Another request, or that it takes what is sent.
    Anything,
}

/// A connection within its bounds.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    flow: Rc<Flow>,
    lines: BlankLines,
    awaited: Awaited,
    deadline: Instant,
    /// Ends at the deadline or before it, when it is set to it: a request moves only the deadline.
    alarm: Pin<Box<Sleep>>,
    request_ids: Arc<RequestIds>,
    /// What is still to be sent in place of the server's own refusal.
    refusal: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Bounds a new connection.
    pub(crate) fn new(stream: S, request_ids: Arc<RequestIds>) -> Connection<S> {
        let deadline = Instant::now() + HEAD_PATIENCE;
        Connection {
            stream,
            flow: Rc::default(),
            lines: BlankLines::default(),
            // The server times the first head from the beginning of the connection.
            awaited: Awaited::Nothing,
            deadline,
            alarm: Box::pin(sleep_until(deadline)),
            request_ids,
            refusal: Bytes::new(),
        }
    }

    /// What its handlers share with it.
    pub(crate) fn flow(&self) -> Rc<Flow> {
        self.flow.clone()
    }

    fn wait_for(&mut self, awaited: Awaited, patience: Duration) {
        self.awaited = awaited;
        self.deadline = Instant::now() + patience;
    }

    /// Ready when the connection has taken too long.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let now = Instant::now();
            match self.awaited {
                Awaited::Nothing => self.alarm.as_mut().reset(now + HEAD_PATIENCE),
                _ if now < self.deadline => self.alarm.as_mut().reset(self.deadline),
                Awaited::Head => {
                    // As far as it goes: the connection ends in any case.
                    let answer = Unread::TooSlow.answer(&self.request_ids.next());
                    let _ = Pin::new(&mut self.stream).poll_write(context, &answer);
                    return Poll::Ready(io::ErrorKind::TimedOut.into());
                }
                Awaited::Anything => return Poll::Ready(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(outcome) => {
                self.flow.sent();
                self.wait_for(Awaited::Anything, KEEP_ALIVE);
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                self.flow.is_blocked.set(true);
                if self.awaited == Awaited::Nothing {
                    self.wait_for(Awaited::Anything, KEEP_ALIVE);
                }
                self.poll_patience(context).map(Err)
            }
        }
    }

    fn received(&mut self, piece: &[u8]) {
        let flow = &self.flow;
        if flow.bytes.get() == 0 {
            self.wait_for(Awaited::Head, HEAD_PATIENCE);
        }
        let heads = self.lines.count(piece);
        let flow = &self.flow;
        flow.ahead.set(flow.ahead.get() + heads);
        flow.bytes.set(flow.bytes.get() + piece.len());
        if heads > 0 {
            self.awaited = Awaited::Nothing;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let body_bytes = this.flow.body_bytes.get();
        let polled = if !this.flow.may_read() {
            *this.flow.paused.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        } else if body_bytes >= buffer.remaining() {
            let before = buffer.filled().len();
            let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
            this.flow.body_bytes.set(body_bytes - (buffer.filled().len() - before));
            polled
        } else {
            let mut piece = [0; PIECE_BYTES];
            let most = if body_bytes > 0 { body_bytes } else { PIECE_BYTES };
            let bytes = buffer.remaining().min(PIECE_BYTES).min(most);
            let mut piece = ReadBuf::new(&mut piece[..bytes]);
            let polled = Pin::new(&mut this.stream).poll_read(context, &mut piece);
            let came = piece.filled();
            buffer.put_slice(came);
            if body_bytes > 0 {
                this.flow.body_bytes.set(body_bytes - came.len());
            } else if !came.is_empty() {
                this.received(came);
            }
            polled
        };
        match polled {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => this.poll_patience(context).map(Err),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refusal.is_empty() {
            match bare_refusal(bytes) {
                None => return this.poll_send(context, bytes),
                Some((0, why)) => this.refusal = why.answer(&this.request_ids.next()).into(),
                // The answers before it; it comes by itself next.
                Some((begin, _)) => return this.poll_send(context, &bytes[..begin]),
            }
        }
        while !this.refusal.is_empty() {
            let refusal = this.refusal.clone();
            match ready!(this.poll_send(context, &refusal))? {
                0 => return Poll::Ready(Ok(0)),
                sent => this.refusal.advance(sent),
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// Counts blank lines, whatever pieces they come in.
#[derive(Debug, Default)]
struct BlankLines {
    /// Nothing but the end of a line came last.
    at_begin: bool,
}

impl BlankLines {
    fn count(&mut self, piece: &[u8]) -> usize {
        let is_blank = |line: &[u8]| line.iter().all(|byte| *byte == b'\r');
        let (mut count, mut begin) = (0, 0);
        for end in memchr_iter(b'\n', piece) {
            count += usize::from(self.at_begin && is_blank(&piece[begin..end]));
            (self.at_begin, begin) = (true, end + 1);
        }
        self.at_begin &= is_blank(&piece[begin..]);
        count
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{advance, timeout};

    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    fn pair() -> (Connection<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(1 << 20);
        (Connection::new(server, Arc::new(RequestIds::new())), client)
    }

    /// How much is read before it stops.
    async fn read_all(connection: &mut Connection<DuplexStream>) -> usize {
        let mut buffer = vec![0; 8 << 10];
        let mut count = 0;
        while let Ok(read) = timeout(Duration::from_millis(1), connection.read(&mut buffer)).await {
            match read {
                Ok(0) | Err(_) => break,
                Ok(bytes) => count += bytes,
            }
        }
        count
    }

    #[test]
    fn heads_are_counted_by_blank_lines_in_any_pieces() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
            ("GET / HTTP/1.1\nHost: a\n\nGET", 1),
            ("a\r\n\r\nb\r\n\r\n{\"c\":\r\n1}", 2),
            ("a\r\nb\r\n", 0),
        ] {
            assert_eq!(BlankLines::default().count(text.as_bytes()), expected, "{text:?}");
            let mut lines = BlankLines::default();
            let apart: usize = text.bytes().map(|byte| lines.count(&[byte])).sum();
            assert_eq!(apart, expected, "{text:?} byte by byte");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_read_ahead_until_there_are_some_and_on_after_an_answer() {
        let (mut connection, mut client) = pair();
        let sent = HEAD.repeat(10_000);
        client.write_all(&sent).await.unwrap();
        let flow = connection.flow();
        let ahead = read_all(&mut connection).await;
        assert!(ahead >= HEADS_AHEAD_MAX * HEAD.len(), "{ahead}");
        assert!(ahead <= HEADS_AHEAD_MAX * HEAD.len() + PIECE_BYTES, "{ahead}");
        // Each that is handled makes room for another, whatever is sent.
        for handled in 1..ahead / HEAD.len() {
            let handles = flow.handle();
            let _ = read_all(&mut connection).await;
            assert!(flow.ahead.get() <= HEADS_AHEAD_MAX + PIECE_BYTES / HEAD.len(), "{handled}");
            connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = read_all(&mut connection).await;
            assert!(flow.ahead.get() >= HEADS_AHEAD_MAX, "{handled}");
            drop(handles);
        }
        // What was counted and was none of them is forgotten once nothing is handled and all is sent.
        assert!(read_all(&mut connection).await > 0);
        assert_eq!(read_all(&mut connection).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_while_it_is_taken() {
        let (mut connection, mut client) = pair();
        client.write_all(HEAD).await.unwrap();
        let flow = connection.flow();
        let head = read_all(&mut connection).await;
        let _handles = flow.handle();
        client.write_all(&vec![b' '; 100_000]).await.unwrap();
        let ahead = read_all(&mut connection).await;
        assert!((BYTES_AHEAD_MAX..BYTES_AHEAD_MAX + PIECE_BYTES).contains(&ahead), "{ahead}");
        let taken = flow.take_body(Some(100_000 - ahead));
        assert_eq!(head + ahead + read_all(&mut connection).await, HEAD.len() + 100_000);
        drop(taken);
        // Without a length, step by step.
        client.write_all(&vec![b' '; BODY_STEP_BYTES * 20]).await.unwrap();
        let taken = flow.take_body(None);
        let mut came = 0;
        for _ in 0..20 {
            taken.go_on();
            came += read_all(&mut connection).await;
        }
        assert_eq!(came, BODY_STEP_BYTES * 20);
        drop(taken);
        client.write_all(&vec![b' '; 100_000]).await.unwrap();
        let ahead = read_all(&mut connection).await;
        assert!(ahead < BYTES_AHEAD_MAX + PIECE_BYTES, "{ahead}");
        // A head without an end goes on to the server's own bound.
        let (mut connection, mut client) = pair();
        client.write_all(&vec![b'a'; 200_000]).await.unwrap();
        assert_eq!(read_all(&mut connection).await, 200_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_has_its_time_too() {
        let (mut connection, mut client) = pair();
        client.write_all(HEAD).await.unwrap();
        assert_eq!(read_all(&mut connection).await, HEAD.len());
        // As long as the server has something to answer, nobody is hurried.
        advance(KEEP_ALIVE * 3).await;
        assert_eq!(read_all(&mut connection).await, 0);
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        client.write_all(&HEAD[..10]).await.unwrap();
        let mut buffer = [0; 100];
        assert_eq!(connection.read(&mut buffer).await.unwrap(), 10);
        let began = Instant::now();
        let error = connection.read(&mut buffer).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 30));
        drop(connection);
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        let (answered, refused) = told.split_once("\r\n\r\n").unwrap();
        assert_eq!(answered, "HTTP/1.1 200 OK");
        assert!(refused.starts_with("HTTP/1.1 408 "), "{told}");
        assert!(refused.contains(r#""code":"request_timeout""#), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bare_refusal_becomes_a_problem_behind_the_answers_before_it() {
        // What is sent is taken in small pieces.
        let (server, mut client) = duplex(10);
        let mut connection = Connection::new(server, Arc::new(RequestIds::new()));
        let sender = tokio::task::LocalSet::new();
        let answered = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let sent = format!("{answered}HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        sender.spawn_local(async move { connection.write_all(sent.as_bytes()).await.unwrap() });
        let mut told = String::new();
        sender.run_until(client.read_to_string(&mut told)).await.unwrap();
        let refused = told.strip_prefix(answered).unwrap();
        assert_eq!(refused.matches("HTTP/1.1 400 ").count(), 1, "{told}");
        let (head, body) = refused.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{told}");
        assert!(body.contains(r#""code":"malformed_request""#), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let (server, _client) = duplex(10);
        let mut connection = Connection::new(server, Arc::new(RequestIds::new()));
        let began = Instant::now();
        let error = connection.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() <= KEEP_ALIVE + HEAD_PATIENCE, "{:?}", began.elapsed());
    }
}
