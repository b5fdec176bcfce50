//! A body of known length on its way out.

use crate::error::{Error, Kind, Result};
use crate::transport::failure;
use crate::transport::http::{refusal, within};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::RequestBuilder;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until};

/// What an upload is to be.
pub(super) struct Upload<'a> {
    pub(super) label: &'a str,
    pub(super) length: u64,
    pub(super) stall: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) proxy: Option<&'a str>,
}

/// What is read of a good answer's body, which nobody needs.
const LARGEST_ANSWER: usize = 64 << 10;

impl Upload<'_> {
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        body: Receiver<Bytes>,
        taken: Arc<AtomicU64>,
    ) -> Result<()> {
        if self.length == 0 {
            let message = format!("{}: there is nothing to send", self.label);
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        let turn = Turn::new(body, Instant::now() + self.connect_timeout);
        let body = SizedBody {
            chunk: Bytes::new(),
            length: self.length,
            remaining: self.length,
            taken,
            turn: turn.clone(),
        };
        let sent = tokio::select! {
            biased;
            sent = request.body(reqwest::Body::wrap(body)).send() => sent,
            what = turn.stalled(self.stall) => {
                return Err(failure::stalled(self.label, what, self.stall));
            }
        };
        // The feeder's fault breaks the connection, too, and is the better explanation.
        if let Some(misfit) = turn.misfit() {
            let message = format!("{}: {misfit}", self.label);
            return Err(Error::new(Kind::Corrupt, message));
        }
        let mut response =
            sent.map_err(|error| failure::transport(self.label, &error, self.proxy))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refusal(self.label, response, self.stall).await);
        }
        if !turn.is_over() {
            let message = format!("{}: {status} before the whole body was sent", self.label);
            return Err(Error::new(Kind::Connection, message).retryable());
        }
        let mut read = 0;
        while read < LARGEST_ANSWER {
            let next = within(self.stall, self.label, "half an answer", response.chunk()).await?;
            match next.map_err(|error| failure::transport(self.label, &error, None))? {
                Some(chunk) => read += chunk.len(),
                None => break,
            }
        }
        Ok(())
    }
}

/// Who is expected to act: shared by the body, which knows, and the watch.
#[derive(Clone)]
struct Turn(Arc<Mutex<Shared>>);

struct Shared {
    state: State,
    feed: Receiver<Bytes>,
}

#[derive(Clone, Copy)]
enum State {
    /// When it was last asked for, there was nothing to send.
    Feeder,
    /// The connection took something then, and has more to take.
    Connection(Instant),
    /// The connection took the last byte then, and the server has to answer.
    Server(Instant),
    /// The feeder's bytes are not those announced.
    Broken(Misfit),
}

/// How a body differs from what was announced.
#[derive(Clone, Copy, Debug)]
enum Misfit {
    Shorter { length: u64, missing: u64 },
    Longer { length: u64 },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Shorter { length, missing } => {
                let had = length - missing;
                write!(
                    f,
                    "the body ended after {had} of the {length} bytes announced"
                )
            }
            Misfit::Longer { length } => {
                write!(f, "the body is longer than the {length} bytes announced")
            }
        }
    }
}

impl std::error::Error for Misfit {}

impl Turn {
    fn new(feed: Receiver<Bytes>, start: Instant) -> Self {
        let state = State::Connection(start);
        Turn(Arc::new(Mutex::new(Shared { state, feed })))
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        self.lock().state = state;
    }

    fn poll_feed(&self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut shared = self.lock();
        let next = shared.feed.poll_recv(context);
        if next.is_pending() {
            shared.state = State::Feeder;
        }
        next
    }

    fn misfit(&self) -> Option<Misfit> {
        match self.lock().state {
            State::Broken(misfit) => Some(misfit),
            _ => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.lock().state, State::Server(_))
    }

    /// Since when somebody else than the feeder does not act, and what that is called.
    fn waiting(&self) -> Option<(Instant, &'static str)> {
        let mut shared = self.lock();
        if let State::Feeder = shared.state {
            // The feeder may have acted since, and a connection that is full does not ask again.
            if !shared.feed.is_empty() || shared.feed.is_closed() {
                shared.state = State::Connection(Instant::now());
            }
        }
        match shared.state {
            State::Connection(since) => Some((since, "the server took nothing")),
            State::Server(since) => Some((since, "no answer after the last byte")),
            State::Feeder | State::Broken(_) => None,
        }
    }

    /// Returns when the connection or the server did not act for `stall`.
    async fn stalled(&self, stall: Duration) -> &'static str {
        loop {
            match self.waiting() {
                None => sleep(stall).await,
                Some((since, what)) if since.elapsed() >= stall => return what,
                // Not longer than the stall time-out: `since` moves.
                Some((since, _)) => sleep_until(Instant::now().min(since) + stall).await,
            }
        }
    }
}

/// What the connection is given at once: small beside its buffer, so that handing one over means
/// that something before it was sent.
const PIECE: usize = 64 << 10;

/// Exactly the announced bytes, or an error. hyper itself would cut a longer body silently.
struct SizedBody {
    chunk: Bytes,
    length: u64,
    /// What the connection has not been given yet, `chunk` included.
    remaining: u64,
    taken: Arc<AtomicU64>,
    turn: Turn,
}

impl SizedBody {
    fn hand_over(&mut self) -> Frame<Bytes> {
        let piece = self.chunk.split_to(self.chunk.len().min(PIECE));
        self.remaining -= piece.len() as u64;
        self.taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
        let now = Instant::now();
        self.turn.set(match self.remaining {
            0 => State::Server(now),
            _ => State::Connection(now),
        });
        Frame::data(piece)
    }

    fn refuse(&self, misfit: Misfit) -> Poll<Option<std::result::Result<Frame<Bytes>, Misfit>>> {
        self.turn.set(State::Broken(misfit));
        Poll::Ready(Some(Err(misfit)))
    }
}

impl Body for SizedBody {
    type Data = Bytes;
    type Error = Misfit;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Misfit>>> {
        let this = self.get_mut();
        if this.remaining == 0 {
            return Poll::Ready(None);
        }
        loop {
            // The last piece is kept until the feeder has said that it was the last.
            let is_last = this.chunk.len() <= PIECE && this.chunk.len() as u64 == this.remaining;
            if !this.chunk.is_empty() && !is_last {
                return Poll::Ready(Some(Ok(this.hand_over())));
            }
            let length = this.length;
            match ready!(this.turn.poll_feed(context)) {
                Some(empty) if empty.is_empty() => {}
                Some(_) if is_last => return this.refuse(Misfit::Longer { length }),
                Some(chunk) if chunk.len() as u64 > this.remaining => {
                    return this.refuse(Misfit::Longer { length });
                }
                Some(chunk) => this.chunk = chunk,
                None if is_last => return Poll::Ready(Some(Ok(this.hand_over()))),
                None => {
                    let missing = this.remaining;
                    return this.refuse(Misfit::Shorter { length, missing });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::sync::mpsc;

    #[test]
    fn a_feeder_that_has_acted_is_not_waited_for_any_more() {
        let (sender, feed) = mpsc::channel(1);
        let turn = Turn::new(feed, Instant::now());
        let mut context = Context::from_waker(Waker::noop());
        assert!(turn.poll_feed(&mut context).is_pending());
        assert!(turn.waiting().is_none());
        // From here on the connection is full and does not ask.
        sender.try_send(Bytes::from("more")).unwrap();
        assert!(turn.waiting().is_some());
    }

    #[test]
    fn a_feeder_that_is_done_is_not_waited_for_any_more() {
        let (sender, feed) = mpsc::channel(1);
        let turn = Turn::new(feed, Instant::now());
        let mut context = Context::from_waker(Waker::noop());
        assert!(turn.poll_feed(&mut context).is_pending());
        drop(sender);
        assert!(turn.waiting().is_some());
    }
}
