//! A logged-in session, which logs in again when the server has lost it.

use crate::cancel::Stop;
use crate::error::{Error, Kind, Result};
use crate::log::{Level, Log};
use crate::retry::{Busy, Pauses, Retries};
use crate::transport::http::{Http, HttpOptions};
use crate::transport::soap::{Element, Node};
use crate::transport::tls::Trust;
pub use crate::vsphere::content::{About, ServiceContent};
use crate::vsphere::endpoint::{Call, Endpoint};
use crate::vsphere::fault::{Passes, Stage};
use crate::vsphere::{Moref, address, content, fault, property};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle};
use url::Url;
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
    /// After a refused renewal of the session, until the next attempt; `None` = a minute. Each
    /// further refusal doubles it, up to half an hour.
    pub login_pause: Option<Duration>,
    pub retries: Retries,
    pub log: Log,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Accounts are locked after some five refusals within three minutes.
const LOGIN_PAUSE: Duration = Duration::from_secs(60);

/// Servers end sessions that were idle for some 30 minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(300);

/// A server holds back the answer to a wait that long, while nothing happens.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A logged-in session. Cloning shares it.
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) operation: Option<Arc<str>>,
    /// Ends the pauses between attempts.
    pub(super) stop: Stop,
    /// What faults mean.
    pub(super) stage: Stage,
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
    pub(super) login_pause: Duration,
    pub(super) sha1_only: AtomicBool,
    pub(super) retries: Retries,
    pub(super) handle: Handle,
    pub(super) keepalive: OnceLock<AbortHandle>,
    pub(super) allow_plain_http: bool,
}

/// What the server knows the session by. Each log-in begins another generation.
#[derive(Clone, Default)]
pub(super) struct Cookie {
    pub(super) text: Zeroizing<String>,
    /// The digest of the session's key, where the server names it.
    pub(super) digest: Option<Arc<str>>,
    pub(super) generation: u64,
}

/// Locked by whoever logs in or out.
#[derive(Default)]
pub(super) struct Login {
    /// The server refused the user: asking again and again would lock the account.
    pub(super) refused: Option<Refused>,
}

/// A log-in that the server refused, as it does while a password is changed or its single sign-on
/// restarts.
pub(super) struct Refused {
    pub(super) error: String,
    pub(super) fault: Option<String>,
    /// When the next attempt may be, and how long after it the one then.
    pub(super) next: Instant,
    pub(super) pause: Duration,
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
        log.hide(&options.password, &[&options.server, &options.username]);
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
        let mut pauses = options.retries.pauses();
        let (content, cookie) = loop {
            match endpoint.retrieve_content().await {
                Err(error) if error.is_overload() => {
                    again(&endpoint.log, &mut pauses, &Stop::default(), error).await?;
                }
                answer => break answer?,
            }
        };
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
                sha1_only: AtomicBool::new(false),
                login_pause: options.login_pause.unwrap_or(LOGIN_PAUSE),
                retries: options.retries,
                handle: Handle::current(),
                keepalive: OnceLock::new(),
                allow_plain_http: options.allow_plain_http,
            }),
            operation: None,
            stop: Stop::default(),
            stage: Stage::default(),
        };
        session.log_in_patiently(cookie).await?;
        session.keep_alive(options.keepalive_interval.unwrap_or(KEEPALIVE_INTERVAL));
        Ok(session)
    }

    /// Calls a method; the answer is its response element, with a child `returnval` a result.
    ///
    /// What certainly had no effect is tried again: a request that the server never saw or was too
    /// busy for, one to an object that another task is busy with, and, once, one that a server
    /// refused which has lost the session: then this logs in again.
    ///
    /// # Errors
    /// The fault's, or the transport's. After one that is retryable the server may still have done it.
    pub async fn call(&self, this: &Moref, method: &str, arguments: Vec<Element>) -> Result<Node> {
        self.perform(this, method, &arguments, Error::is_untouched, |_| Ok(()))
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
        self.perform(this, method, &arguments, is_broken_exchange, inspect)
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
        may_repeat: fn(&Error) -> bool,
        inspect: impl Fn(&Node) -> Result<()> + Send,
    ) -> Result<Node> {
        let mut pauses = self.shared.retries.pauses();
        let mut busy = self.shared.retries.busy();
        let mut renewed = false;
        loop {
            let cookie = self.live_cookie()?;
            let answer = self.attempt(&cookie, this, method, arguments).await;
            let answer = answer.and_then(|response| inspect(&response).map(|()| response));
            let error = match answer {
                Err(error) if fault::is_session_lost(&error) && !renewed => {
                    match self.renew(cookie.generation).await {
                        Ok(()) => {
                            renewed = true;
                            continue;
                        }
                        Err(error) => error,
                    }
                }
                Err(error) if self.passes(&error, this) != Passes::No => {
                    self.pause(&mut busy, error).await?;
                    continue;
                }
                Err(error) => error,
                Ok(response) => return Ok(response),
            };
            if !may_repeat(&error) {
                return Err(error);
            }
            again(self.log(), &mut pauses, &self.stop, error).await?;
        }
    }

    /// Whether what stands behind `error` passes by itself. What a removal finds gone is believed of the object
    /// that was called, and of those whose properties were asked for.
    pub(super) fn passes(&self, error: &Error, this: &Moref) -> Passes {
        let of_another = self.stage == Stage::Removal
            && error.fault() == Some(fault::OBJECT_NOT_FOUND)
            && error.object() != Some(&this.value)
            && this.kind != "PropertyCollector";
        match of_another {
            true => Passes::Undone,
            false => fault::passes(error, self.stage),
        }
    }

    /// Waits before what passes by itself is asked for again; `error` where it has been long enough
    /// or an end is wanted.
    pub(super) async fn pause(&self, busy: &mut Busy, error: Error) -> Result<()> {
        let Some(pause) = busy.pause() else {
            return Err(self.blame(error).await);
        };
        tell_pause(self.log(), &error, pause);
        if self.stop.sleep(pause).await {
            return Ok(());
        }
        Err(error)
    }

    /// Says whose task keeps an object busy, where the server tells.
    async fn blame(&self, error: Error) -> Error {
        let Some(task) = error.blocking_task().map(|id| Moref::new("Task", id)) else {
            return error;
        };
        // Reading calls in turn: the future would contain itself.
        let read = Box::pin(property::read(self, &task, &["info"])).await;
        let Ok(Some(info)) = read.map(|properties| properties.get("info").cloned()) else {
            return error;
        };
        let what = info.text_at("descriptionId").unwrap_or("a task");
        let who = info.text_at("reason.userName").unwrap_or("somebody");
        error.context(format_args!("busy with {what} of {who}"))
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
            secret: false,
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

    /// From now on streams are digested with SHA-1, too; whether they were not before.
    pub(crate) fn want_sha1(&self) -> bool {
        !self.shared.sha1_only.swap(true, Ordering::AcqRel)
    }

    /// Whether the server's manifests have, for all that is known, nothing but a SHA-1.
    pub(crate) fn needs_sha1(&self) -> bool {
        !self.content().about.offers_sha256() || self.shared.sha1_only.load(Ordering::Acquire)
    }

    /// Whether this is a vCenter and not an ESXi host.
    pub fn is_vcenter(&self) -> bool {
        self.content().about.api_type == "VirtualCenter"
    }

    /// Connections to the endpoint.
    pub fn http(&self) -> &Http {
        &self.shared.endpoint.http
    }

    /// Where calls go.
    pub(super) fn endpoint(&self) -> &Url {
        &self.shared.endpoint.url
    }

    /// Whether a disk may travel without TLS.
    pub(super) fn allows_plain_http(&self) -> bool {
        self.shared.allow_plain_http
    }

    /// The endpoint's host, without brackets, and port.
    pub fn authority(&self) -> (&str, u16) {
        (&self.shared.authority.0, self.shared.authority.1)
    }

    /// The session's cookie as it stands in a Cookie header.
    pub fn cookie(&self) -> Zeroizing<String> {
        self.current_cookie().text
    }

    /// By what the session may be known in files; not what stands for it in requests.
    pub fn digest(&self) -> Option<Arc<str>> {
        self.current_cookie().digest
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
            operation: Some(id.into()),
            ..self.clone()
        }
    }

    /// The same session, whose requests are about what `stage` says.
    #[must_use]
    pub(crate) fn at_stage(&self, stage: Stage) -> Session {
        Session {
            stage,
            ..self.clone()
        }
    }

    /// The same session, whose pauses between attempts end when `stop` is thrown; the error of the
    /// last attempt is returned then.
    #[must_use]
    pub(crate) fn with_stop(&self, stop: Stop) -> Session {
        Session {
            stop,
            ..self.clone()
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

/// Pauses before the next attempt; `error` where there have been enough, or where `stop` is thrown.
pub(super) async fn again(log: &Log, pauses: &mut Pauses, stop: &Stop, error: Error) -> Result<()> {
    let Some(pause) = pauses.next() else {
        return Err(error);
    };
    tell_pause(log, &error, pause);
    if stop.sleep(pause).await {
        return Ok(());
    }
    Err(error)
}

fn tell_pause(log: &Log, error: &Error, pause: Duration) {
    log.record(Level::Warn, || {
        format!("again in {} ms after: {error}", pause.as_millis())
    });
}

/// Whether no answer came that can be read; the server's own faults are answers. A server that
/// was silent for the whole of a request's time is not asked again.
fn is_broken_exchange(error: &Error) -> bool {
    error.is_retryable() && error.fault().is_none() && error.kind() != Kind::Stalled
}
