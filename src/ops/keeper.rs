//! The tag of a living operation is renewed, so that recovery on another host knows that it lives.
//!
//! All times are the server's. While a lease holds the virtual machine, the server keeps everybody
//! from changing it, the renewals included: the lease itself is the proof of life then, and the
//! tag is renewed when the lease has ended.

use super::operation::Operation;
use crate::error::Result;
use crate::log::Level;
use crate::vsphere::{Moref, Session, clock, machine, tag};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A tag is renewed at least that often.
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_secs(120);

/// Each renewal is a task that the server records.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Renewals that a living operation may miss, while its server or network is down.
pub(super) const MISSED: u32 = 3;

/// How often a client renews that touches its session each `keepalive`.
pub(super) fn interval(keepalive: Option<Duration>) -> Duration {
    let keepalive = keepalive.unwrap_or(LONGEST_INTERVAL);
    keepalive.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

/// Renews the tag of one virtual machine, from a task on the I/O thread.
pub(super) struct Keeper {
    tagged: Arc<Tagged>,
    task: JoinHandle<()>,
}

struct Tagged {
    session: Session,
    vm: Moref,
    interval: Duration,
    /// Whether a lease holds the virtual machine.
    leased: Arc<AtomicBool>,
    /// When it was renewed last; none when it is not to be renewed any more. Locked by renewals.
    renewed: Mutex<Option<Instant>>,
}

impl Keeper {
    fn start(tagged: Tagged) -> Keeper {
        let tagged = Arc::new(tagged);
        let kept = tagged.clone();
        let task = tagged.session.spawn(async move {
            loop {
                sleep(kept.interval).await;
                kept.renew().await;
            }
        });
        Keeper { tagged, task }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tagged {
    /// Renews the tag where that is due. A failure is made good by the next renewal.
    async fn renew(&self) {
        let mut renewed = self.renewed.lock().await;
        let due = renewed.is_some_and(|last| last.elapsed() >= self.interval / 2);
        if !due || self.leased.load(Ordering::Acquire) {
            return;
        }
        let attempt = async {
            let now = clock::text(clock::now(&self.session).await?);
            machine::note(&self.session, &self.vm, tag::RENEWED, &now).await
        };
        match attempt.await {
            Ok(()) => *renewed = Some(Instant::now()),
            Err(error) => self.session.log().record(Level::Warn, || {
                format!("renew the tag of {}: {error}", self.vm)
            }),
        }
    }
}

impl Operation<'_> {
    /// What marks a virtual machine as this operation's own.
    pub(super) fn tags(&mut self) -> Result<Vec<(String, String)>> {
        let started = self.started_on_server()?;
        let session = self.session().clone();
        let now = self.run(async move { clock::now(&session).await })?;
        self.renewed = Instant::now();
        Ok(vec![
            (tag::OPERATION.into(), self.id().to_owned()),
            (tag::STARTED.into(), started),
            (tag::RENEWED.into(), clock::text(now)),
        ])
    }

    /// When the operation was first noted anywhere, by the server's clock.
    pub(super) fn started_on_server(&mut self) -> Result<String> {
        if let Some(known) = &self.noted {
            return Ok(known.clone());
        }
        let session = self.session().clone();
        let now = self.run(async move { clock::now(&session).await })?;
        let text = clock::text(now);
        self.noted = Some(text.clone());
        Ok(text)
    }

    /// Keeps the tag of `vm` renewed from now on.
    pub(super) fn keep(&mut self, vm: &Moref) {
        self.keeper = Some(Keeper::start(Tagged {
            session: self.session().clone(),
            vm: vm.clone(),
            interval: self.renewal_interval(),
            leased: self.leased.clone(),
            renewed: Mutex::new(Some(self.renewed)),
        }));
    }

    /// Ends the renewals, and waits for one that is under way: the virtual machine loses its tag,
    /// or goes.
    pub(super) fn end_keeping(&mut self) {
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        let tagged = keeper.tagged.clone();
        // Only a renewal can be waited for, which ends by itself.
        let _ = self.patiently(|op| {
            op.settle(async move {
                *tagged.renewed.lock().await = None;
                Ok(())
            })
        });
    }

    /// No lease holds the virtual machine any more: its tag speaks for it again.
    pub(super) fn unleased(&mut self) {
        self.leased.store(false, Ordering::Release);
        if let Some(tagged) = self.keeper.as_ref().map(|keeper| keeper.tagged.clone()) {
            // A failure is made good by the next renewal.
            let _ = self.settle(async move {
                tagged.renew().await;
                Ok(())
            });
        }
    }
}
