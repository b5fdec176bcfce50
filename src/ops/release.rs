//! Leases that processes died with: noted in the journal while they are held, ended by recovery
//! and by the next operation on the same virtual machine.
//!
//! A lease belongs to its session. Another session cannot abort it where its reference names that
//! session, but may end the session itself, with the privilege `Sessions.TerminateSession`. What
//! cannot be ended ends by itself, since nobody renews it.

use super::journal::{Abandoned, Journals};
use super::operation::{Operation, server_identity};
use super::undo::Made;
use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::vsphere::lease::Lease;
use crate::vsphere::{Moref, Session, sessions};

/// A lease that is noted and has not ended.
#[derive(Clone, Debug)]
pub(super) struct Held {
    session: String,
    vm: Option<Moref>,
    lease: Option<Moref>,
    timeout_s: Option<u64>,
}

/// What became of a lease that a process died with.
pub(super) enum Released {
    /// It was ended; in words, how.
    Ended(String),
    /// It ends by itself; in words, when and why not now.
    Later(String),
    /// The session that it belonged to is over, and it with that.
    Gone,
}

impl Held {
    /// The lease that is noted as held among `made`: an operation holds one at a time.
    pub(super) fn among(made: &[Made]) -> Option<Held> {
        let mut held = None;
        for made in made {
            if let Made::Lease {
                session,
                vm,
                lease,
                timeout_s,
                over,
            } = made.clone()
            {
                held = (!over).then_some(Held {
                    session,
                    vm,
                    lease,
                    timeout_s,
                });
            }
        }
        held
    }

    fn made(&self, over: bool) -> Made {
        let Held {
            session,
            vm,
            lease,
            timeout_s,
        } = self.clone();
        Made::Lease {
            session,
            vm,
            lease,
            timeout_s,
            over,
        }
    }

    /// Ends the lease of a process that is dead; in a dry run, says what would be done.
    pub(super) async fn release(self, session: Session, dry_run: bool) -> Released {
        let what = self.made(false).to_string();
        if let Some(lease) = &self.lease {
            let ended = format!("aborted {what} ({})", lease.value);
            if dry_run {
                return Released::Ended(ended);
            }
            let aborted = session.call(lease, "HttpNfcLeaseAbort", Vec::new()).await;
            match aborted {
                Ok(_) => return Released::Ended(ended),
                // Over, or not to be seen by this session.
                Err(error) => session.log().record(Level::Debug, || error.to_string()),
            }
        }
        let ended = match (session.digest().as_deref() == Some(&*self.session), dry_run) {
            // Other operations of this very client use it.
            (true, _) => Err(Error::new(Kind::InvalidState, "its session is this one")),
            (false, true) => sessions::exists(&session, &self.session).await,
            (false, false) => sessions::terminate(&session, &self.session).await,
        };
        match ended {
            Ok(true) => {
                Released::Ended(format!("ended the dead process's session with its {what}"))
            }
            Ok(false) => Released::Gone,
            Err(error) => {
                let limit = self.timeout_s.unwrap_or(USUAL_TIMEOUT_S);
                Released::Later(format!(
                    "the {what} of a dead process ends by itself within {limit} s; it was not \
                     ended now: {error}"
                ))
            }
        }
    }
}

/// What servers grant a lease that is not renewed.
const USUAL_TIMEOUT_S: u64 = 300;

/// The reference of a lease, where it does not name the session: the name of a session may be its
/// cookie.
fn without_session(lease: &Moref) -> Option<Moref> {
    (!lease.value.contains("session[")).then(|| lease.clone())
}

impl Operation<'_> {
    /// Notes that a lease is about to be asked for: on `vm`, or on one that is not known yet.
    pub(super) fn announce_lease(&mut self, vm: Option<&Moref>) -> Result<()> {
        let session = self.session().digest().map(|digest| digest.to_string());
        let (Some(session), Some(_)) = (session, self.client().state_dir()) else {
            return Ok(());
        };
        self.note_held(Held {
            session,
            vm: vm.cloned(),
            lease: None,
            timeout_s: None,
        })
    }

    /// Notes what is known of the lease that was announced, now that it is granted.
    pub(super) fn note_lease(&mut self, lease: &Lease) -> Result<()> {
        let Some(announced) = self.lease_noted.clone() else {
            return Ok(());
        };
        // The session may have been renewed meanwhile.
        let session = self.session().digest().map(|digest| digest.to_string());
        self.note_held(Held {
            session: session.unwrap_or(announced.session),
            vm: Some(lease.entity().clone()),
            lease: without_session(lease.moref()),
            timeout_s: Some(lease.timeout().as_secs()),
        })
    }

    fn note_held(&mut self, held: Held) -> Result<()> {
        self.note(&held.made(false))?;
        self.lease_noted = Some(held);
        Ok(())
    }

    /// Notes that the lease is over, so that nobody takes this session for a dead process's.
    pub(super) fn lease_ended(&mut self) {
        let Some(held) = self.lease_noted.take() else {
            return;
        };
        if self.has_journal()
            && let Err(error) = self.patiently(|op| op.note(&held.made(true)))
        {
            self.log().record(Level::Warn, || error.to_string());
        }
    }

    /// Ends what processes of this host died with on `vm`, known from their journals. What cannot
    /// be ended is told with the error when the virtual machine is found busy.
    pub(super) fn free(&mut self, vm: &Moref) {
        let Some(directory) = self.client().state_dir() else {
            return;
        };
        let dead = match Journals::read(directory, true) {
            Ok(journals) => journals.dead,
            Err(error) => return self.log().record(Level::Warn, || error.to_string()),
        };
        let server = server_identity(self.session());
        for journal in dead {
            let held = Held::among(&journal.made).filter(|held| held.vm.as_ref() == Some(vm));
            let Some(held) = held.filter(|_| journal.surely_dead) else {
                continue;
            };
            if journal.heading.server != server {
                continue;
            }
            let (session, operation) = (self.session().clone(), &journal.heading.operation);
            let released = async move { Ok(held.release(session, false).await) };
            match self.settle(released) {
                Ok(Released::Ended(what)) => {
                    let text = format!("operation {operation} died: {what}");
                    self.log().record(Level::Warn, || text);
                }
                Ok(Released::Later(what)) => {
                    self.hints.push(what);
                    continue;
                }
                Ok(Released::Gone) => {}
                Err(error) => {
                    self.log().record(Level::Warn, || error.to_string());
                    continue;
                }
            }
            end_if_done(self, journal);
        }
    }

    /// Adds what is known of who keeps a virtual machine busy.
    pub(super) fn hint(&self, error: Error) -> Error {
        match self.hints.as_slice() {
            [] => error,
            hints if error.fault() == Some("TaskInProgress") => error.context(hints.join("; ")),
            _ => error,
        }
    }
}

/// Removes the journal of an operation that had made nothing but leases.
fn end_if_done(op: &Operation<'_>, journal: Abandoned) {
    let is_lease = |made: &Made| matches!(made, Made::Lease { .. });
    if journal.made.iter().all(is_lease)
        && let Err(error) = journal.end()
    {
        op.log().record(Level::Warn, || error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(session: &str, over: bool) -> Made {
        Made::Lease {
            session: session.into(),
            vm: None,
            lease: None,
            timeout_s: None,
            over,
        }
    }

    #[test]
    fn the_last_lease_counts_unless_it_is_over() {
        let held = |made: &[Made]| Held::among(made).map(|held| held.session);
        assert_eq!(held(&[]), None);
        assert_eq!(held(&[lease("a", false)]).as_deref(), Some("a"));
        assert_eq!(held(&[lease("a", false), lease("a", true)]), None);
        let again = [lease("a", false), lease("a", true), lease("b", false)];
        assert_eq!(held(&again).as_deref(), Some("b"));
    }

    #[test]
    fn a_reference_that_names_its_session_is_not_written() {
        let lease = |value: &str| Moref::new("HttpNfcLease", value);
        assert_eq!(without_session(&lease("session[52ab]52cd")), None);
        let plain = lease("ha-nfc-lease-7");
        assert_eq!(without_session(&plain), Some(plain));
    }
}
