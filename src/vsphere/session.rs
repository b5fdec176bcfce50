//! A logged-in session, which logs in again when the server has lost it.

use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::transport::http::{Http, HttpOptions};
use crate::transport::soap::{Element, Node};
use crate::transport::tls::Trust;
pub use crate::vsphere::content::{About, ServiceContent};
use crate::vsphere::endpoint::{Call, Endpoint};
use crate::vsphere::{Moref, address, content, fault};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::sleep;
use zeroize::Zeroizing;

/// See [`crate::client::ConnectOptions`].
#[expect(missing_docs, reason = "the fields are those of ConnectOptions")]
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

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Servers end sessions that were idle for some 30 minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(300);

/// Before each repetition of a call that may be repeated when the connection broke.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// A server holds back the answer to a wait that long, while nothing happens.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A logged-in session. Cloning shares it.
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) operation: Option<Arc<str>>,
}

pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) content: ServiceContent,
    pub(super) authority: (String, u16),
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
    pub(super) cookie: RwLock<Cookie>,
    pub(super) login: Mutex<Login>,
    pub(super) ended: AtomicBool,
    pub(super) handle: Handle,
    pub(super) keepalive: OnceLock<AbortHandle>,
}

/// What the server knows the session by. Each log-in begins another generation.
#[derive(Clone, Default)]
pub(super) struct Cookie {
    pub(super) text: Zeroizing<String>,
    pub(super) generation: u64,
}

/// Locked by whoever logs in or out.
#[derive(Default)]
pub(super) struct Login {
    /// The server refused the user: asking again and again would lock the account.
    pub(super) refused: Option<String>,
}

impl Session {
    /// Connects and logs in. To be called on the I/O thread.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::Connection`], [`Kind::Tls`], [`Kind::Auth`] and
    /// [`Kind::Unsupported`].
    pub async fn connect(options: SessionOptions) -> Result<Session> {
        let url = address::parse(&options.server, options.allow_plain_http)?;
        let log = options.log;
        log.hide(&options.password);
        let http = Http::new(&HttpOptions {
            trust: options.trust,
            connect_timeout: options.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            proxy: options.proxy,
            plain_endpoint: url.scheme() == "http",
            log: log.clone(),
        })?;
        let authority = address::authority(&url);
        let mut endpoint = Endpoint {
            http,
            url,
            action: String::new(),
            limit: options.request_timeout.unwrap_or(REQUEST_TIMEOUT),
            log,
        };
        let (content, cookie) = endpoint.retrieve_content().await?;
        endpoint.action = content::action(&content.about.api_version)?;
        let session = Session {
            shared: Arc::new(Shared {
                endpoint,
                content,
                authority,
                username: options.username,
                password: options.password,
                cookie: RwLock::default(),
                login: Mutex::default(),
                ended: AtomicBool::new(false),
                handle: Handle::current(),
                keepalive: OnceLock::new(),
            }),
            operation: None,
        };
        session.log_in(cookie).await?;
        session.keep_alive(options.keepalive_interval.unwrap_or(KEEPALIVE_INTERVAL));
        Ok(session)
    }

    /// Calls a method; the answer is its response element, with a child `returnval` a result.
    ///
    /// A server that has lost the session refuses before it does anything: then this logs in
    /// again and repeats the call, once.
    ///
    /// # Errors
    /// The fault's, or the transport's. After [`Kind::Connection`] or [`Kind::Stalled`] the server
    /// may still have done it.
    pub async fn call(&self, this: &Moref, method: &str, arguments: Vec<Element>) -> Result<Node> {
        self.perform(this, method, &arguments, &[], |_| Ok(()))
            .await
    }

    /// Calls a method that may be repeated: also again when the connection breaks.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn call_idempotent(
        &self,
        this: &Moref,
        method: &str,
        arguments: Vec<Element>,
    ) -> Result<Node> {
        self.call_inspected(this, method, arguments, |_| Ok(()))
            .await
    }

    /// As [`Session::call_idempotent`], where `inspect` may find in a response that the session
    /// is lost.
    pub(super) async fn call_inspected(
        &self,
        this: &Moref,
        method: &str,
        arguments: Vec<Element>,
        inspect: impl Fn(&Node) -> Result<()> + Send,
    ) -> Result<Node> {
        self.perform(this, method, &arguments, &PAUSES, inspect)
            .await
    }

    /// Calls a method of an object that dies with the session: without another log-in.
    pub(super) async fn call_once(
        &self,
        this: &Moref,
        method: &str,
        arguments: Vec<Element>,
    ) -> Result<Node> {
        let cookie = self.live_cookie()?;
        self.attempt(&cookie, this, method, &arguments).await
    }

    async fn perform(
        &self,
        this: &Moref,
        method: &str,
        arguments: &[Element],
        pauses: &[Duration],
        inspect: impl Fn(&Node) -> Result<()> + Send,
    ) -> Result<Node> {
        let mut pauses = pauses.iter();
        let mut renewed = false;
        loop {
            let cookie = self.live_cookie()?;
            let answer = self.attempt(&cookie, this, method, arguments).await;
            let answer = answer.and_then(|response| inspect(&response).map(|()| response));
            match answer {
                Err(error) if fault::is_session_lost(&error) && !renewed => {
                    renewed = true;
                    self.renew(cookie.generation).await?;
                }
                Err(error) if is_broken_connection(&error) => match pauses.next() {
                    Some(&pause) => sleep(pause).await,
                    None => return Err(error),
                },
                answer => return answer,
            }
        }
    }

    pub(super) async fn attempt(
        &self,
        cookie: &Cookie,
        this: &Moref,
        method: &str,
        arguments: &[Element],
    ) -> Result<Node> {
        let call = Call {
            this,
            method,
            arguments,
            cookie: Some(cookie.text.as_str()),
            operation: self.operation.as_deref(),
        };
        let endpoint = &self.shared.endpoint;
        let reply = endpoint.call(&endpoint.action, call).await;
        reply
            .and_then(|reply| reply.outcome.map_err(|fault| fault::of_call(&fault)))
            .map_err(|error| {
                error
                    .context(format_args!("{method} of {this}"))
                    .with_object(&this.value)
            })
    }

    /// The server's singletons.
    pub fn content(&self) -> &ServiceContent {
        &self.shared.content
    }

    /// Whether this is a vCenter and not an ESXi host.
    pub fn is_vcenter(&self) -> bool {
        self.content().about.api_type == "VirtualCenter"
    }

    /// Connections to the endpoint.
    pub fn http(&self) -> &Http {
        &self.shared.endpoint.http
    }

    /// The endpoint's host, without brackets, and port.
    pub fn authority(&self) -> (&str, u16) {
        (&self.shared.authority.0, self.shared.authority.1)
    }

    /// The session's cookie as it stands in a Cookie header.
    pub fn cookie(&self) -> Zeroizing<String> {
        self.current_cookie().text
    }

    pub(super) fn current_cookie(&self) -> Cookie {
        let cookie = self.shared.cookie.read();
        cookie.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn live_cookie(&self) -> Result<Cookie> {
        if self.shared.ended.load(Ordering::Acquire) {
            return Err(Error::new(Kind::InvalidState, "the session was logged out"));
        }
        Ok(self.current_cookie())
    }

    /// How long a waiting call may ask the server to hold back its answer.
    pub(super) fn longest_wait(&self) -> Duration {
        let half = self.shared.endpoint.limit / 2;
        half.clamp(Duration::from_secs(1), LONGEST_WAIT)
    }

    /// Where records go.
    pub fn log(&self) -> &Log {
        &self.shared.endpoint.log
    }

    /// Starts `future` on the I/O thread.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.handle.spawn(future)
    }

    /// The same session, whose requests bear an operation's id in the server's logs.
    #[must_use]
    pub fn with_operation(&self, id: &str) -> Session {
        Session {
            shared: self.shared.clone(),
            operation: Some(id.into()),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(keepalive) = self.keepalive.get() {
            keepalive.abort();
        }
    }
}

/// Whether the server may not even have seen the request; its own faults are answers.
fn is_broken_connection(error: &Error) -> bool {
    error.kind() == Kind::Connection && error.is_retryable() && error.fault().is_none()
}
