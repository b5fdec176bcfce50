//! A logged-in session.
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::transport::tls::Trust;
use std::time::Duration;
use zeroize::Zeroizing;

/// See [`crate::client::ConnectOptions`].
#[expect(dead_code, missing_docs, reason = "the session is being written")]
pub struct SessionOptions {
    pub server: String,
    pub username: String,
    pub password: Zeroizing<String>,
    pub trust: Trust,
    pub connect_timeout: Option<Duration>,
    pub request_timeout: Option<Duration>,
    pub keepalive_interval: Option<Duration>,
    pub proxy: Option<String>,
    pub allow_plain_http: bool,
    pub log: Log,
}

/// A logged-in session.
#[derive(Clone)]
pub struct Session;

impl Session {
    /// Logs in.
    pub async fn connect(_options: SessionOptions) -> Result<Session> {
        Err(Error::new(Kind::Unsupported, "sessions: not there yet"))
    }
    /// Marks requests with an operation's id.
    pub fn with_operation(&self, _id: &str) -> Session {
        self.clone()
    }
    /// Logs out.
    pub async fn logout(&self) {}
}
