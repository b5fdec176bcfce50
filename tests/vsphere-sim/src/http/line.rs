//! A connection that can be ended at will: closed, or reset.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const RESET: u8 = 2;

/// What is to become of a connection; shared with whoever answers on it.
#[derive(Default)]
pub struct Line {
    verdict: AtomicU8,
}

impl Line {
    /// Ends the connection with a FIN, in the middle of whatever was said.
    pub fn close(&self) {
        self.verdict.store(CLOSED, Ordering::Release);
    }

    /// Ends the connection with an RST.
    pub fn reset(&self) {
        self.verdict.store(RESET, Ordering::Release);
    }
}

/// The socket below TLS.
pub struct Wire {
    tcp: TcpStream,
    line: Arc<Line>,
}

impl Wire {
    pub fn new(tcp: TcpStream, line: Arc<Line>) -> Wire {
        Wire { tcp, line }
    }

    fn check(&self) -> io::Result<()> {
        match self.line.verdict.load(Ordering::Acquire) {
            OPEN => Ok(()),
            _ => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.line.verdict.load(Ordering::Acquire) == RESET {
            // Closing a socket that does not linger sends an RST.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.tcp).poll_read(context, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.tcp).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
