//! A disk as a stream of bytes: out of an export lease, into an import lease.

use super::lease::{DeviceUrl, Lease};
use super::{Session, data_url};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::TICK;
use crate::slab::SlabPool;
use crate::transport::http::Http;
use crate::transport::tls::Fingerprint;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;
use zeroize::Zeroizing;

/// The content type that makes a host decode the upload into a disk.
const STREAM_VMDK: &str = "application/x-vnd.vmware-streamVmdk";

/// A disk on its way from a host.
pub struct Download {
    slabs: Receiver<Result<Bytes>>,
    task: JoinHandle<()>,
}

/// A disk on its way to a host.
pub struct Upload {
    slabs: Option<mpsc::Sender<Bytes>>,
    outcome: JoinHandle<Result<()>>,
}

/// Where the data of a device goes or comes from, and what proves the host.
pub struct Target {
    url: Url,
    http: Http,
    /// The session's, where the URL is the endpoint's own.
    cookie: Option<Zeroizing<String>>,
}

impl Target {
    /// The device URL made usable: `*` is the endpoint's own host and port.
    ///
    /// # Errors
    /// [`Kind::Fault`] for a URL that is none; [`Kind::Tls`] for a thumbprint that is none, and
    /// for plain HTTP that is not permitted.
    pub fn of(session: &Session, device: &DeviceUrl) -> Result<Target> {
        let endpoint = session.endpoint();
        let url = data_url::resolve(&device.url, endpoint, session.allows_plain_http())
            .with_context(|| format!("disk {}", device.key))?;
        let thumbprint = match device.thumbprint.as_str() {
            "" => None,
            text => Some(text.parse::<Fingerprint>().map_err(|error| {
                let message = format!("certificate thumbprint of {}: {error}", device.key);
                Error::new(Kind::Tls, message)
            })?),
        };
        let cookie = data_url::takes_cookie(&url, endpoint).then(|| session.cookie());
        Ok(Target {
            http: session.http().for_data_host(thumbprint)?,
            url,
            cookie,
        })
    }

    /// Host and port, for messages.
    pub fn host(&self) -> String {
        data_url::host_and_port(&self.url)
    }

    fn cookie(&self) -> Option<&str> {
        self.cookie.as_ref().map(|cookie| cookie.as_str())
    }

    /// Says what a host that refuses a request did not get.
    fn explain(&self, error: Error) -> Error {
        if error.kind() != Kind::Auth || self.cookie.is_some() {
            return error;
        }
        error.remedy(
            "no session cookie is sent to a data host, which on vSphere asks for the lease's URL \
             alone; check what answers there",
        )
    }
}

/// Starts the download of a disk. Its slabs come from `pool`; it ends when the lease is lost, or
/// when no byte comes for `stall` while there is room for one.
pub fn download(
    session: &Session,
    lease: &Lease,
    target: Target,
    pool: SlabPool,
    stall: Duration,
) -> Download {
    let (send, slabs) = channel();
    let lost = lease.lost();
    let host = target.host();
    let task = session.spawn(async move {
        let outcome = tokio::select! {
            outcome = receive(&target, &pool, stall, &send) => outcome,
            error = lost => Err(error),
        };
        if let Err(error) = outcome.map_err(without_lease) {
            // The receiver is gone when the operation was given up.
            let _ = send.send(Err(error.context(format_args!("GET disk from {host}"))));
        }
    });
    Download { slabs, task }
}

async fn receive(
    target: &Target,
    pool: &SlabPool,
    stall: Duration,
    send: &Sender<Result<Bytes>>,
) -> Result<()> {
    let mut download = target
        .http
        .get(&target.url, target.cookie(), stall)
        .await
        .map_err(|error| target.explain(error))?;
    let mut slab = pool.take().await;
    while let Some(chunk) = download.chunk().await? {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let taken = slab.append(rest);
            rest = &rest[taken..];
            if slab.is_full() {
                let full = std::mem::replace(&mut slab, pool.take().await);
                if send.send(Ok(full.freeze())).is_err() {
                    return Ok(());
                }
            }
        }
    }
    if !slab.is_empty() {
        // As above: a receiver that is gone wants no more.
        let _ = send.send(Ok(slab.freeze()));
    }
    Ok(())
}

/// A disk's URL that is not to be found goes with its lease, and there can be another lease.
fn without_lease(error: Error) -> Error {
    if error.kind() != Kind::NotFound {
        return error;
    }
    Error::new(Kind::Connection, format!("the lease is gone: {error}")).retryable()
}

impl Download {
    /// Blocks for the next piece; `None` is the end of the response, which proves nothing about
    /// the stream. `tick` runs meanwhile, and its error ends the wait.
    ///
    /// # Errors
    /// Whatever ended the transfer, or `tick`'s.
    pub fn next(&mut self, tick: &mut dyn FnMut() -> Result<()>) -> Result<Option<Bytes>> {
        loop {
            match self.slabs.recv_timeout(TICK) {
                Ok(piece) => return piece.map(Some),
                Err(RecvTimeoutError::Timeout) => tick()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts the upload of a stream of exactly `length` bytes.
pub fn upload(
    session: &Session,
    lease: &Lease,
    target: Target,
    length: u64,
    slabs_in_flight: usize,
    stall: Duration,
) -> Upload {
    let (slabs, body) = mpsc::channel(slabs_in_flight);
    let lost = lease.lost();
    let host = target.host();
    let outcome = session.spawn(async move {
        let sent = Arc::new(AtomicU64::new(0));
        tokio::select! {
            outcome = target.http.post(&target.url, target.cookie(), STREAM_VMDK, length, body, stall, sent) => outcome,
            error = lost => Err(error),
        }
        .map_err(|error| without_lease(target.explain(error)))
        .with_context(|| format!("POST disk to {host}"))
    });
    Upload {
        slabs: Some(slabs),
        outcome,
    }
}

impl Upload {
    /// Queues `piece`; false when the transfer has ended and wants no more: then
    /// [`Upload::finish`] says why.
    ///
    /// There is always room: the queue holds every slab of the pool that pieces are taken from.
    pub fn send(&self, piece: Bytes) -> bool {
        self.slabs
            .as_ref()
            .is_some_and(|slabs| slabs.try_send(piece).is_ok())
    }

    /// Ends the body and waits for the host's answer.
    ///
    /// # Errors
    /// Whatever ended the transfer.
    pub async fn finish(mut self) -> Result<()> {
        drop(self.slabs.take());
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(Kind::Panic, "the upload's task panicked")),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.outcome.abort();
    }
}
