//! The bodies of responses: a text at once, or a stream from another thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

use super::NoAnswer;
use super::line::Line;

/// How a stream ends that does not just run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As if it were whole.
    Whole,
    /// The connection is closed in the middle.
    Close,
    /// The connection is reset in the middle.
    Reset,
}

pub enum Body {
    Full(Option<Bytes>),
    /// Ends where the sender is dropped, or breaks where it sends an error.
    Stream(Stream),
}

pub struct Stream {
    pieces: mpsc::Receiver<Result<Bytes, Ending>>,
    /// Polls that are still to be passed before the stream breaks, so that what was sent before gets out.
    breaking: Option<(Ending, u8)>,
    line: Arc<Line>,
}

impl Body {
    pub fn full(text: impl Into<Bytes>) -> Body {
        Body::Full(Some(text.into()))
    }

    pub fn stream(pieces: mpsc::Receiver<Result<Bytes, Ending>>, line: Arc<Line>) -> Body {
        Body::Stream(Stream {
            pieces,
            breaking: None,
            line,
        })
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = NoAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NoAnswer>>> {
        match &mut *self {
            Body::Full(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Body::Stream(stream) => stream.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NoAnswer>>> {
        if let Some((ending, left)) = self.breaking {
            if left == 0 {
                match ending {
                    Ending::Reset => self.line.reset(),
                    _ => self.line.close(),
                }
                return Poll::Ready(Some(Err(NoAnswer)));
            }
            self.breaking = Some((ending, left - 1));
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.pieces.poll_recv(context) {
            Poll::Ready(Some(Ok(piece))) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Poll::Ready(Some(Err(Ending::Whole)) | None) => Poll::Ready(None),
            Poll::Ready(Some(Err(ending))) => {
                self.breaking = Some((ending, 3));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
