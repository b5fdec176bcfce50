//! HTTP to one endpoint or data host.

use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::transport::tls::{Fingerprint, Trust};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use url::Url;

/// How connections are made.
#[derive(Clone)]
pub struct HttpOptions {
    /// What proves that the server is the right one.
    pub trust: Trust,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// The proxy's URL.
    pub proxy: Option<String>,
    /// Where records go.
    pub log: Log,
}

/// Connections to servers that are trusted in one way. Cloning shares them.
#[derive(Clone)]
pub struct Http(());

impl Http {
    /// Makes ready; connects to nothing.
    pub fn new(_options: &HttpOptions) -> Result<Http> {
        Err(unwritten())
    }

    /// Connections to a data host, which is who it should be when its certificate has the
    /// `thumbprint` that the verified endpoint vouched for, or verifies as the endpoint's does.
    pub fn for_data_host(&self, _thumbprint: Option<Fingerprint>) -> Result<Http> {
        Err(unwritten())
    }

    /// Asks for `url`; the status is good when this returns.
    pub async fn get(
        &self,
        _url: &Url,
        _cookie: Option<&str>,
        _stall: Duration,
    ) -> Result<Download> {
        Err(unwritten())
    }

    /// Sends exactly `length` bytes to `url` and reads the server's verdict.
    #[expect(clippy::too_many_arguments, reason = "being written")]
    pub async fn post(
        &self,
        _url: &Url,
        _cookie: Option<&str>,
        _content_type: &str,
        _length: u64,
        _body: Receiver<Bytes>,
        _stall: Duration,
        _on_bytes: Arc<AtomicU64>,
    ) -> Result<()> {
        Err(unwritten())
    }
}

/// A body on its way in.
pub struct Download(());

impl Download {
    /// The length the server promised.
    pub fn length(&self) -> Option<u64> {
        None
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        Err(unwritten())
    }
}

fn unwritten() -> Error {
    Error::new(Kind::Unsupported, "HTTP: not there yet")
}
