//! One operation under way: its id, its phase, and what the caller hears of it.

use super::journal::{self, Heading, Journal};
use super::keeper::{self, Keeper};
use super::metadata;
use super::release::Held;
use super::undo::Made;
use super::watch::Watch;
use crate::cancel::Stop;
use crate::client::Client;
use crate::error::{Error, Kind, Phase, Result};
use crate::log::{Level, Log};
use crate::retry::Pauses;
use crate::vsphere::cleanup::Cleanup;
use crate::vsphere::fault::Stage;
use crate::vsphere::lease::{Granted, Lease};
use crate::vsphere::{Moref, Session, fault};
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Carries id and phase into every error, and gives up on every exit what was not finished.
pub(super) struct Operation<'a> {
    client: &'a Client,
    session: Session,
    id: String,
    volume: String,
    started: String,
    /// When it was first noted anywhere, by the server's clock.
    pub(super) noted: Option<String>,
    /// When its tag was written or renewed last.
    pub(super) renewed: Instant,
    pub(super) keeper: Option<Keeper>,
    /// Whether a lease of the operation's is held.
    pub(super) leased: Arc<AtomicBool>,
    /// The lease that is noted in the journal and has not ended.
    pub(super) lease_noted: Option<Held>,
    /// What may keep the volume's virtual machine busy.
    pub(super) hints: Vec<String>,
    journal: Arc<Mutex<Option<Journal>>>,
    pub(super) watch: Watch<'a>,
    cleanup: Cleanup,
    /// Ends the pauses of the session's requests.
    stop: Stop,
    /// The transfer is to be tried again at once.
    at_once: bool,
    /// Since when a cancel does not end what is being done; `None` = it does.
    patient: Option<Instant>,
}

/// How long the requests may take that give up leases at the end of an operation; a server that
/// does not answer by then drops the leases by itself when they time out.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(30);

/// How long after a cancel a lease that could not be given up is tried again.
const CLEANUP_GRACE: Duration = Duration::from_secs(1);

/// How long after a cancel what undoes or completes something waits for busy objects and retries.
/// What it could not do by then is named, and left to recovery.
const UNDO_GRACE: Duration = Duration::from_secs(5);

impl<'a> Operation<'a> {
    pub(super) fn begin(client: &'a Client, volume: &str, watch: Watch<'a>) -> Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|e| Error::new(Kind::Io, format!("get random bytes: {e}")))?;
        let id = format!("{:016x}", u64::from_be_bytes(random));
        let stop = Stop::default();
        let session = client.session().with_operation(&id);
        Ok(Operation {
            client,
            session: session.with_stop(stop.clone()),
            id,
            volume: volume.to_owned(),
            started: metadata::now(),
            noted: None,
            renewed: Instant::now(),
            keeper: None,
            leased: Arc::default(),
            lease_noted: None,
            hints: Vec::new(),
            journal: Arc::default(),
            watch,
            cleanup: Cleanup::default(),
            stop,
            at_once: false,
            patient: None,
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.watch.phase()
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// When it began, RFC 3339 and UTC.
    pub(super) fn started(&self) -> &str {
        &self.started
    }

    pub(super) fn renewal_interval(&self) -> Duration {
        keeper::interval(self.client.keepalive_interval())
    }

    pub(super) fn client(&self) -> &'a Client {
        self.client
    }

    /// Writes down what is about to be made, where the client keeps journals.
    ///
    /// On a thread of the library's own: a write may raise SIGXFSZ.
    pub(super) fn note(&mut self, made: &Made) -> Result<()> {
        let Some(directory) = self.client.state_dir().map(Path::to_owned) else {
            return Ok(());
        };
        let (journal, made) = (self.journal.clone(), made.clone());
        let heading = Heading {
            version: journal::VERSION,
            operation: self.id.clone(),
            volume: self.volume.clone(),
            server: server_identity(&self.session),
            started: self.started_on_server()?,
            boot: journal::boot(),
        };
        self.settle(async move {
            let write = move || {
                let mut slot = journal.lock().unwrap_or_else(PoisonError::into_inner);
                if slot.is_none() {
                    *slot = Some(Journal::begin(&directory, &heading)?);
                }
                slot.as_mut().map_or(Ok(()), |journal| journal.note(&made))
            };
            tokio::task::spawn_blocking(write)
                .await
                .unwrap_or_else(|_| Err(Error::new(Kind::Panic, "the journal's thread panicked")))
        })
    }

    /// Whether there is a journal of the operation.
    pub(super) fn has_journal(&self) -> bool {
        let slot = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        slot.is_some()
    }

    /// Nothing of the operation is left to undo or to finish.
    pub(super) fn end_journal(&mut self) {
        let journal = self
            .journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(error)) = journal.map(Journal::end) {
            // Recovery will find nothing to do in it.
            self.log().record(Level::Warn, || error.to_string());
        }
    }

    /// The client's session, with this operation's id in every request.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// See [`Watch::enter`].
    pub(super) fn enter(&mut self, phase: Phase, total: u64) -> Result<()> {
        self.client.log().record(Level::Info, || {
            format!("operation {}: {}", self.id, phase.name())
        });
        self.watch.enter(phase, total)
    }

    /// Runs a request of the session on the I/O thread while this thread reports progress.
    pub(super) fn run<T, F>(&mut self, future: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.client.runtime().run(&mut || self.watch.tick(), future)
    }

    /// Runs a request that changes something: given up half-way, nobody would know what became of
    /// it. A cancel ends the pauses between attempts, and tasks that the server can cancel; a
    /// request that was sent is run to its end. Progress is reported meanwhile.
    ///
    /// # Errors
    /// Those of the request; that of a cancel before it began.
    pub(super) fn settle<T, F>(&mut self, future: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        if self.patient.is_none() {
            self.watch.tick()?;
        }
        let (watch, stop, patient) = (&mut self.watch, &self.stop, self.patient);
        let mut tick = || {
            let grace = patient.is_some_and(|since| since.elapsed() < UNDO_GRACE);
            if watch.attend() && !grace {
                stop.throw();
            }
            Ok(())
        };
        self.client.runtime().run(&mut tick, future)
    }

    /// From now on, requests are about what the operation has made and proven.
    pub(super) fn own(&mut self) {
        self.session = self.session.at_stage(Stage::Own);
    }

    /// From now on, requests are about what is found, again.
    pub(super) fn disown(&mut self) {
        self.session = self.session.at_stage(Stage::Found);
    }

    /// Does what undoes or completes something, or finds out what became of it: a cancel does not
    /// end it. What it waits for after a cancel is bounded by [`UNDO_GRACE`], but for tasks.
    pub(super) fn patiently<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        if self.patient.is_some() {
            return work(self);
        }
        self.patient = Some(Instant::now());
        let usual = std::mem::replace(&mut self.stop, Stop::of_pauses());
        let session = self.session.with_stop(self.stop.clone());
        let session = std::mem::replace(&mut self.session, session.at_stage(Stage::Removal));
        let done = work(self);
        self.patient = None;
        self.session = session;
        self.stop = usual;
        done
    }

    /// The error of an operation that is to end: after a cancel, what would have been tried again
    /// ended because of that.
    pub(super) fn ended_by(&self, error: Error) -> Error {
        let was_ended = error.is_retryable() || error.fault() == Some(fault::CANCELLED);
        match self.watch.stopped() {
            Some(why) if was_ended => error.cancelled(why),
            _ => error,
        }
    }

    /// The pauses between the attempts of one undertaking.
    pub(super) fn pauses(&self) -> Pauses {
        self.client.retries().pauses()
    }

    /// Gives up what leases there are and waits until the next attempt; `error` where there is to
    /// be none.
    pub(super) fn again(&mut self, pauses: &mut Pauses, error: Error) -> Result<()> {
        if self.watch.tick().is_err() {
            return Err(self.ended_by(error));
        }
        if std::mem::take(&mut self.at_once) {
            self.finish_cleanup();
            return Ok(());
        }
        let Some(pause) = pauses.next() else {
            return Err(error);
        };
        self.log().record(Level::Warn, || {
            let (id, phase) = (&self.id, self.phase().name());
            let pause = pause.as_millis();
            format!("operation {id}: {phase} again in {pause} ms after: {error}")
        });
        self.finish_cleanup();
        self.lease_ended();
        self.unleased();
        self.run(async move {
            tokio::time::sleep(pause).await;
            Ok(())
        })
    }

    /// The server promised a SHA-256 and has only a SHA-1, which was not computed: the transfer is
    /// to be tried again, once, whatever the number of retries, and those of the client after it
    /// compute it.
    pub(super) fn want_sha1(&mut self) -> Error {
        self.at_once = self.session.want_sha1();
        let message = "the server's manifest has only a SHA-1, which was not computed";
        Error::new(Kind::Corrupt, message).retryable()
    }

    /// Does what must not be done twice. After an answer that leaves it open whether it was done,
    /// `happened` looks with the session it gets, and finds what `act` returns.
    pub(super) fn ensure<T, A, H>(
        &mut self,
        act: impl Fn() -> A,
        happened: impl Fn(Session, &Error) -> H,
    ) -> Result<T>
    where
        T: Send + 'static,
        A: Future<Output = Result<T>> + Send + 'static,
        H: Future<Output = Result<Option<T>>> + Send + 'static,
    {
        let mut pauses = self.pauses();
        let mut open = false;
        loop {
            let error = match self.settle(act()) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            open |= error.is_retryable() && !error.is_untouched();
            if open {
                let look = |op: &mut Self| op.settle(happened(op.session.clone(), &error));
                if let Ok(Some(done)) = self.patiently(look) {
                    self.tell_done(&error);
                    return Ok(done);
                }
            }
            let ended = match error.is_retryable() {
                true => self.again(&mut pauses, error),
                false => Err(error),
            };
            match ended {
                Err(error) if open => return Err(error.leaving_open()),
                ended => ended?,
            }
        }
    }

    /// Records that something happened although `error` was all that was heard of it.
    pub(super) fn tell_done(&self, error: &Error) {
        self.log().record(Level::Info, || {
            format!("operation {}: done all the same: {error}", self.id)
        });
    }

    /// See [`Lease::explain`].
    pub(super) fn explain_lease(&mut self, lease: &Lease, error: Error) -> Error {
        let explained = lease.explain(error);
        match self.settle(async move { Ok(explained.await) }) {
            Ok(error) | Err(error) => error,
        }
    }

    /// Takes charge of a lease the server granted, and waits until it is ready, as long as it makes
    /// progress within `patience`.
    pub(super) fn lease(&mut self, moref: Moref, patience: Duration) -> Result<Lease> {
        self.leased.store(true, Ordering::Release);
        let granted = Granted::new(self.session.clone(), moref, self.cleanup.clone());
        let lease = self.run(granted.ready(patience))?;
        self.note_lease(&lease)?;
        Ok(lease)
    }

    /// See [`Lease::complete`].
    pub(super) fn complete(&mut self, lease: Lease) -> Result<()> {
        self.settle(lease.complete())?;
        self.lease_ended();
        self.unleased();
        Ok(())
    }

    pub(super) fn log(&self) -> &Log {
        self.client.log()
    }

    /// Adds the phase and the operation's id to what went wrong.
    pub(super) fn explain(&self, error: Error) -> Error {
        let log = self.client.log();
        self.hint(error)
            .during(self.phase(), &self.id)
            .map_text(|text| log.redact(text).into_owned())
    }

    /// Cuts out of texts that leave what a server may have put into them.
    pub(super) fn redact<'t>(&self, texts: impl Iterator<Item = &'t mut String>) {
        for text in texts {
            *text = self.log().redact(text).into_owned();
        }
    }

    /// Waits until the leases that were given up are.
    pub(super) fn finish_cleanup(&mut self) {
        if self.cleanup.is_empty() {
            return;
        }
        let (cleanup, watch, since) = (self.cleanup.clone(), &mut self.watch, Instant::now());
        let mut tick = || {
            if watch.attend() && since.elapsed() >= CLEANUP_GRACE {
                cleanup.hurry();
            }
            Ok(())
        };
        let finished = cleanup.clone();
        let finish =
            async move { Ok(tokio::time::timeout(CLEANUP_DEADLINE, finished.finish()).await) };
        // What does not end in time is the server's to end; there is nothing left to tell.
        let _ = self.client.runtime().run(&mut tick, finish);
    }
}

/// What tells one server from another, however it is addressed.
pub(super) fn server_identity(session: &Session) -> String {
    let (host, port) = session.authority();
    let uuid = session.content().about.instance_uuid.clone();
    uuid.unwrap_or_else(|| format!("{host}:{port}"))
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        self.finish_cleanup();
        self.lease_ended();
    }
}
