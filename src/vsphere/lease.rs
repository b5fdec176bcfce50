//! An HttpNfcLease and its keeper.
//!
//! A lease cannot exist without its keeper: a task with a timer of its own that renews it,
//! whatever the data and the caller's callbacks do. A lease ends in exactly one of three ways:
//! [`Lease::complete`], [`Lease::abort`], or an abort by drop.

use super::cleanup::Cleanup;
use super::manifest::{self, ManifestEntry};
use super::property::{self, Properties};
use super::{Moref, Session, fault};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Level;
use crate::transport::soap::{Element, Node};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Renewals per life time: three may be lost before the lease is.
const RENEWALS_PER_TIMEOUT: u32 = 4;
/// A server that grants no life time worth the name is asked at most this often.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(250);
/// What vSphere grants when it does not say.
const USUAL_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the data of one device is to be had or sent.
#[derive(Clone)]
pub struct DeviceUrl {
    /// The device (`/vm-46/ParaVirtualSCSIController0:0`).
    pub key: String,
    /// The URL as the server gave it; its host may be `*`.
    pub url: String,
    /// The fingerprint of the data host's certificate, empty where the server gave none.
    pub thumbprint: String,
    /// Whether the device is a disk.
    pub disk: bool,
}

/// Without the URL: whoever knows it can read or write the disk.
impl fmt::Debug for DeviceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceUrl")
            .field("key", &self.key)
            .field("thumbprint", &self.thumbprint)
            .field("disk", &self.disk)
            .finish_non_exhaustive()
    }
}

/// A lease that is ready.
pub struct Lease {
    session: Session,
    cleanup: Cleanup,
    moref: Moref,
    entity: Moref,
    urls: Vec<DeviceUrl>,
    has_sha256: bool,
    timeout: Duration,
    percent: Arc<AtomicU32>,
    broken: watch::Receiver<Option<String>>,
    keeper: JoinHandle<()>,
    over: bool,
}

/// A lease that the server granted and that is not ready yet: aborted when dropped.
pub struct Granted {
    session: Session,
    moref: Moref,
    cleanup: Cleanup,
    over: bool,
}

impl Drop for Granted {
    fn drop(&mut self) {
        if !self.over {
            abort_later(&self.cleanup, &self.session, &self.moref);
        }
    }
}

impl Granted {
    /// Takes charge of the lease `moref`; a drop aborts it by way of `cleanup`.
    pub fn new(session: Session, moref: Moref, cleanup: Cleanup) -> Self {
        Granted {
            session,
            moref,
            cleanup,
            over: false,
        }
    }

    /// Waits until the lease is ready, and starts its keeper. To zero all of a disk takes its host
    /// as long as it takes: the wait ends when nothing changes for `patience`.
    ///
    /// # Errors
    /// The lease's own error; [`Kind::Stalled`] when it makes no progress. It is aborted then.
    pub async fn ready(mut self, patience: Duration) -> Result<Lease> {
        let (session, moref) = (self.session.clone(), self.moref.clone());
        let advance = Advance::default();
        let wait = property::wait(&session, &moref, &WAY_TO_READY, |lease| {
            match lease.text("state") {
                Some("ready") if lease.get("info").is_some() => {
                    return Ok(Some(lease.get("info").cloned()));
                }
                Some("error") => return Err(lease_error(lease.get("error"))),
                Some("done") => return Err(Error::new(Kind::InvalidState, "the lease is over")),
                _ => advance.see(lease),
            }
            Ok(None)
        });
        let info = tokio::select! {
            biased;
            info = wait => info,
            error = advance.stalled(patience) => Err(error),
        };
        let info = info
            .map_err(|error| of_lease(&moref, error))
            .with_context(|| format!("lease {moref}"))?
            .unwrap_or_default();
        let Info {
            timeout,
            entity,
            urls,
        } = Info::read(&info).with_context(|| format!("lease {moref}"))?;
        let disks = urls.iter().filter(|url| url.disk);
        let has_sha256 = session.content().about.offers_sha256()
            && manifest::ask_for_sha256(&session, &moref, disks.map(|url| url.key.as_str())).await;
        let percent = Arc::new(AtomicU32::new(0));
        let (tell, broken) = watch::channel(None);
        let keeper = session.spawn(keep(
            session.clone(),
            moref.clone(),
            timeout,
            percent.clone(),
            tell,
        ));
        self.over = true;
        Ok(Lease {
            cleanup: self.cleanup.clone(),
            session,
            moref,
            entity,
            urls,
            has_sha256,
            timeout,
            percent,
            broken,
            keeper,
            over: false,
        })
    }
}

/// What changes of a lease until it is ready.
const WAY_TO_READY: [&str; 4] = ["state", "error", "info", "initializeProgress"];

/// How far a lease is on its way to ready, and since when.
struct Advance(Mutex<(Option<String>, Instant)>);

impl Default for Advance {
    fn default() -> Self {
        Advance(Mutex::new((None, Instant::now())))
    }
}

impl Advance {
    fn lock(&self) -> MutexGuard<'_, (Option<String>, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, lease: &Properties) {
        let now = lease.text("initializeProgress").map(str::to_owned);
        let mut known = self.lock();
        if known.0 != now {
            *known = (now, Instant::now());
        }
    }

    /// Resolves when nothing has changed for `patience`.
    async fn stalled(&self, patience: Duration) -> Error {
        loop {
            let (progress, since) = self.lock().clone();
            if since.elapsed() >= patience {
                let at = match progress {
                    Some(percent) => format!("it stays at {percent} %"),
                    None => "the server reports no progress".into(),
                };
                let message = format!(
                    "the lease is not ready: {at} for {} s",
                    patience.as_secs_f64()
                );
                let remedy = "look at the server's tasks, or raise the stall timeout";
                let error = Error::new(Kind::Stalled, message).remedy(remedy);
                // The silence may have been the network's.
                return error.retryable();
            }
            tokio::time::sleep(patience.saturating_sub(since.elapsed())).await;
        }
    }
}

impl Lease {
    /// What the server calls it.
    pub fn moref(&self) -> &Moref {
        &self.moref
    }

    /// How long it lives after its last renewal.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The virtual machine it is about.
    pub fn entity(&self) -> &Moref {
        &self.entity
    }

    /// The URL of the disk in `slot` ([`super::device::Disk::slot`]).
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the lease does not carry that disk.
    pub fn disk_url(&self, slot: &str) -> Result<&DeviceUrl> {
        let disks: Vec<&DeviceUrl> = self.urls.iter().filter(|url| url.disk).collect();
        let suffix = format!("/{slot}");
        let named = disks.iter().find(|url| url.key.ends_with(&suffix));
        match (named, disks.as_slice()) {
            (Some(url), _) => Ok(url),
            // A lease of one disk can only mean that one, however it spells the key.
            (None, [only]) => Ok(only),
            _ => Err(Error::new(
                Kind::NotFound,
                format!(
                    "lease {} has no URL for {slot}, but {:?}",
                    self.moref,
                    disks.iter().map(|url| &url.key).collect::<Vec<_>>()
                ),
            )),
        }
    }

    /// Whether the server is going to digest the disk with SHA-256; else it takes its SHA-1.
    pub fn has_sha256(&self) -> bool {
        self.has_sha256
    }

    /// What the next renewal tells the server; people see it in vCenter's task list.
    pub fn percent(&self) -> Arc<AtomicU32> {
        self.percent.clone()
    }

    /// Resolves when the lease is lost, with the reason.
    pub fn lost(&self) -> impl Future<Output = Error> + Send + 'static {
        let mut broken = self.broken.clone();
        let moref = self.moref.clone();
        async move {
            let told = broken.wait_for(Option::is_some).await.map(|r| r.clone());
            let reason = match told {
                Ok(reason) => reason.unwrap_or_default(),
                // The keeper ended without a word: the lease was given up by its owner.
                Err(_) => std::future::pending().await,
            };
            Error::new(Kind::Connection, format!("lease {moref} is lost: {reason}")).retryable()
        }
    }

    /// What went wrong under this lease: where the server says that the lease itself failed, that
    /// tells more than `error` does.
    pub fn explain(&self, error: Error) -> impl Future<Output = Error> + Send + 'static {
        let (session, moref) = (self.session.clone(), self.moref.clone());
        async move {
            // A lease that has failed answers that its state does not allow anything.
            if !error.is_retryable() && error.kind() != Kind::InvalidState {
                return error;
            }
            match property::read(&session, &moref, &["state", "error"]).await {
                Ok(lease) if lease.text("state") == Some("error") => {
                    failed(&moref, lease.get("error"), error)
                }
                Err(why) if is_lost(&moref, &why) => lost(error),
                Ok(_) | Err(_) => error,
            }
        }
    }

    /// What the server says of the disks moved; empty where it does not say.
    pub fn manifest(&self) -> impl Future<Output = Vec<ManifestEntry>> + Send + 'static {
        manifest::read(self.session.clone(), self.moref.clone())
    }

    /// Tells the server that all is well, once, and waits until the lease is done.
    ///
    /// # Errors
    /// Those of the request; the lease is aborted then.
    pub async fn complete(mut self) -> Result<()> {
        self.keeper.abort();
        let answer = self
            .session
            .call_idempotent(&self.moref, "HttpNfcLeaseComplete", Vec::new())
            .await;
        if let Err(error) = answer {
            self.require_done(error).await?;
        }
        self.over = true;
        Ok(())
    }

    /// A completion whose answer was lost, or that was repeated, may have happened all the same.
    async fn require_done(&self, error: Error) -> Result<()> {
        let error = error.context(format_args!("complete lease {}", self.moref));
        match property::read(&self.session, &self.moref, &["state", "error"]).await {
            Ok(lease) => match lease.text("state") {
                Some("done") => Ok(()),
                Some("error") => Err(failed(&self.moref, lease.get("error"), error)),
                _ => Err(error),
            },
            Err(why) if is_lost(&self.moref, &why) => Err(lost(error)),
            Err(_) => Err(of_lease(&self.moref, error)),
        }
    }

    /// Gives the lease up. The server unlocks the virtual machine, and removes an imported one.
    pub async fn abort(mut self) {
        self.keeper.abort();
        self.over = true;
        abort(&self.session, &self.moref).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
        if !self.over {
            abort_later(&self.cleanup, &self.session, &self.moref);
        }
    }
}

async fn abort(session: &Session, moref: &Moref) {
    if let Err(error) = session.call(moref, "HttpNfcLeaseAbort", Vec::new()).await {
        // It may be over already; if not, it times out by itself.
        session
            .log()
            .record(Level::Warn, || format!("abort lease {moref}: {error}"));
    }
}

fn abort_later(cleanup: &Cleanup, session: &Session, moref: &Moref) {
    let moref = moref.clone();
    cleanup.spawn(session, |session| async move {
        abort(&session, &moref).await;
    });
}

/// Renews the lease until it is aborted; a renewal that cannot be had in the lease's life time,
/// or that the server refuses, is the end of the lease.
async fn keep(
    session: Session,
    moref: Moref,
    timeout: Duration,
    percent: Arc<AtomicU32>,
    tell: watch::Sender<Option<String>>,
) {
    let interval = (timeout / RENEWALS_PER_TIMEOUT).max(SHORTEST_RENEWAL);
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(interval).await;
        let percent = percent.load(Ordering::Relaxed).min(100);
        let renewal = session.call_idempotent(
            &moref,
            "HttpNfcLeaseProgress",
            vec![Element::new("percent").text(percent)],
        );
        let error = match tokio::time::timeout(timeout, renewal).await {
            Ok(Ok(_)) => {
                renewed = Instant::now();
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => Error::new(Kind::Stalled, "no answer").retryable(),
        };
        session
            .log()
            .record(Level::Warn, || format!("renew lease {moref}: {error}"));
        let hopeless = !error.is_retryable() && error.kind() != Kind::Connection;
        if hopeless || renewed.elapsed() >= timeout {
            // Nobody listens when the lease has just been dropped.
            let _ = tell.send(Some(error.to_string()));
            return;
        }
    }
}

/// Whether `error` says that the lease went, as it does with the session that it belonged to.
fn is_lost(moref: &Moref, error: &Error) -> bool {
    fault::is_gone(error, moref) || fault::is_session_lost(error)
}

/// `error` where a lease is lost: under another one, the transfer may succeed.
fn lost(error: Error) -> Error {
    Error::new(Kind::Connection, format!("the lease is gone: {error}")).retryable()
}

/// `error` of a request about the lease itself.
fn of_lease(moref: &Moref, error: Error) -> Error {
    match is_lost(moref, &error) {
        true => lost(error),
        false => error,
    }
}

/// `error`, of which the lease's own fault is the cause. Another lease may do better, unless the
/// fault says that it will not.
fn failed(moref: &Moref, fault: Option<&Node>, error: Error) -> Error {
    let known = lease_error(fault)
        .context(format_args!("lease {moref}"))
        .context(error);
    match known.kind() {
        Kind::NoSpace | Kind::Auth | Kind::NotFound | Kind::Unsupported => known,
        _ => known.retryable(),
    }
}

pub(crate) fn lease_error(error: Option<&Node>) -> Error {
    match error {
        Some(fault) => super::fault::localized(fault).context("the server reports"),
        None => Error::new(
            Kind::Fault,
            "the server reports an error and does not say which",
        ),
    }
}

/// What a lease that is ready says of itself.
pub(crate) struct Info {
    pub(crate) timeout: Duration,
    pub(crate) entity: Moref,
    pub(crate) urls: Vec<DeviceUrl>,
}

impl Info {
    pub(crate) fn read(info: &Node) -> Result<Info> {
        let entity = info.child("entity").and_then(Moref::from_node);
        Ok(Info {
            timeout: match info.parse_at("leaseTimeout") {
                // Whatever is granted: a lease that is lost must be seen to be.
                Some(seconds) if seconds > 0 => Duration::from_secs(seconds).min(USUAL_TIMEOUT),
                _ => USUAL_TIMEOUT,
            },
            entity: entity.ok_or_else(|| Error::new(Kind::Fault, "it names no virtual machine"))?,
            urls: info.children_named("deviceUrl").map(device_url).collect(),
        })
    }
}

fn device_url(node: &Node) -> DeviceUrl {
    let text = |name: &str| node.text_at(name).unwrap_or_default().to_owned();
    DeviceUrl {
        key: text("key"),
        url: text("url"),
        thumbprint: text("sslThumbprint"),
        disk: is_disk(node),
    }
}

/// Leases carry other files, too (NVRAM). Servers that do not say have nothing but disks.
pub(super) fn is_disk(node: &Node) -> bool {
    node.child("disk").is_none() || node.flag_at("disk")
}
