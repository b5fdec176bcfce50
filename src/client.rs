//! A client: one I/O thread, one session.

use crate::error::{Context, Error, Kind, Phase, Result};
use crate::log::Log;
use crate::retry::Retries;
use crate::runtime::Runtime;
use crate::transport::tls::Trust;
use crate::vsphere::session::SessionOptions;
use crate::vsphere::{Session, address};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How to reach a vCenter or an ESXi host.
pub struct ConnectOptions {
    /// `vc.example.org`, `10.0.0.1:8443`, `[::1]:443` or `https://vc.example.org/sdk`.
    pub server: String,
    /// The user's name, as the server's log-in page takes it.
    pub username: String,
    /// The user's password.
    pub password: Zeroizing<String>,
    /// What proves that the server is the right one.
    pub trust: Trust,
    /// Until a connection stands; `None` = 30 s.
    pub connect_timeout: Option<Duration>,
    /// For one request and its answer; `None` = 5 min.
    pub request_timeout: Option<Duration>,
    /// How often an idle session is touched; `None` = 5 min.
    pub keepalive_interval: Option<Duration>,
    /// The proxy's URL, with `user:password@` where it asks for them; `None` = no proxy. The
    /// environment is not looked at.
    pub proxy: Option<String>,
    /// Permits `http://` in `server`, and in the URLs that the server gives for disks: credentials
    /// and disks then travel in clear.
    pub allow_plain_http: bool,
    /// What is done about failures that pass.
    pub retries: Retries,
    /// Where journals are kept, by which [`crate::ops::recover()`] finishes or undoes what a process
    /// that died had begun; must exist. `None` = none: then tags on the server are all there is.
    pub state_dir: Option<PathBuf>,
    /// Where records go.
    pub log: Log,
}

/// Without what is secret, or may have secrets in it.
impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("server", &address::label(&self.server))
            .field("username", &self.username)
            .field("trust", &self.trust)
            .field("proxied", &self.proxy.is_some())
            .field("allow_plain_http", &self.allow_plain_http)
            .field("retries", &self.retries)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

/// A session with one vCenter or ESXi host, usable from many threads at once.
///
/// Dropping it stops what is under way, gives up leases, logs out and ends the I/O thread.
pub struct Client {
    session: Session,
    log: Log,
    state_dir: Option<PathBuf>,
    retries: Retries,
    keepalive_interval: Option<Duration>,
    runtime: Runtime,
}

/// How long a log-out may take; a session not logged out ends by itself after some 30 minutes.
const LOGOUT_DEADLINE: Duration = Duration::from_secs(5);

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::Connection`], [`Kind::Tls`], [`Kind::Auth`].
    pub fn connect(options: ConnectOptions) -> Result<Client> {
        let log = options.log.clone();
        let server = address::label(&options.server);
        let hint = address::port_hint(&options.server);
        let public = [options.server.as_str(), options.username.as_str()];
        log.hide(&options.password, &public);
        let runtime = Runtime::new()?;
        let session = runtime
            .run(
                &mut || Ok(()),
                Session::connect(SessionOptions {
                    server: options.server,
                    username: options.username,
                    password: options.password,
                    trust: options.trust,
                    connect_timeout: options.connect_timeout,
                    request_timeout: options.request_timeout,
                    keepalive_interval: options.keepalive_interval,
                    proxy: options.proxy,
                    allow_plain_http: options.allow_plain_http,
                    login_pause: None,
                    retries: options.retries,
                    log: log.clone(),
                }),
            )
            .with_context(|| format!("connect to {server}{hint}"))
            .map_err(|error| error.in_phase(Phase::Connect))
            .map_err(|error| error.map_text(|text| log.redact(text).into_owned()))?;
        Ok(Client {
            session,
            log,
            state_dir: options.state_dir,
            retries: options.retries,
            keepalive_interval: options.keepalive_interval,
            runtime,
        })
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn state_dir(&self) -> Option<&Path> {
        self.state_dir.as_deref()
    }

    pub(crate) fn retries(&self) -> Retries {
        self.retries
    }

    pub(crate) fn keepalive_interval(&self) -> Option<Duration> {
        self.keepalive_interval
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.runtime.check_process().is_err() {
            return;
        }
        let session = self.session.clone();
        // Nobody is left to tell: the session ends by itself where the log-out fails.
        let _ = self.runtime.run(&mut || Ok(()), async move {
            tokio::time::timeout(LOGOUT_DEADLINE, session.logout())
                .await
                .map_err(|_| Error::new(Kind::Stalled, "log out"))
        });
    }
}
