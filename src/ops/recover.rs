//! What operations of dead processes left behind is finished or undone.
//!
//! Journals say what was begun here; tags on the server say it also where the journal is lost.
//! Every step may be repeated, and by two recoveries at once: what is gone already is done.

use super::finish::{still_there, untag};
use super::journal::{Abandoned, Journals};
use super::keeper::{LONGEST_INTERVAL, MISSED};
use super::operation::{Operation, server_identity};
use super::release::{Held, Released};
use super::remains::{Remains, Replacement, tagged};
use super::undo::{attached, remove_disk, remove_vm};
use super::watch::{ProgressFn, Watch};
use crate::cancel::Cancel;
use crate::client::Client;
use crate::error::{Error, Phase, Result};
use crate::vsphere::{Moref, Session, backing, clock, fault, tag};
use std::collections::BTreeMap;
use std::time::Duration;

/// How recovery goes about it.
#[derive(Default)]
pub struct RecoverOptions<'a> {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// What has a tag but no journal here may belong to an operation that is alive on another
    /// host, which renews the tag every two minutes: it is left alone until the last renewal is
    /// this old, by the server's clock. `None` = 24 h; less than three renewals means three.
    /// Zero gives everything up at once, and is for servers that no other host uses.
    pub min_age: Option<Duration>,
    /// Called on the calling thread at least once a second while the library waits.
    pub progress: Option<ProgressFn<'a>>,
    /// Ends the recovery when thrown; what was begun is completed first.
    pub cancel: Option<Cancel>,
}

/// What became of one thing that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken away, or the restore it belongs to was finished. In a dry run: it would be.
    Done,
    /// Left alone: its operation may be alive.
    Skipped,
    /// Tried in vain; it stays recorded.
    Failed,
}

/// One thing that was found, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The operation that left it behind.
    pub operation: String,
    /// What it is and what was done, in words.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// How long an operation may be silent, also because its server or network is down.
const MIN_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// An operation that misses fewer renewals may be alive.
const LEAST_AGE: Duration = Duration::from_secs(LONGEST_INTERVAL.as_secs() * MISSED as u64);

/// Finishes or undoes what operations of dead processes left behind on the client's server.
///
/// Touches nothing without the library's tag, and nothing of an operation that is alive.
///
/// # Errors
/// Those of reading journals and inventory; a step that fails is an [`Outcome::Failed`] instead.
pub fn recover(client: &Client, options: RecoverOptions<'_>) -> Result<Vec<Recovered>> {
    let watch = Watch::new(options.progress, options.cancel, None);
    let mut op = Operation::begin(client, "", watch)?;
    let mut recovery = Recovery {
        dry_run: options.dry_run,
        min_age: match options.min_age {
            Some(Duration::ZERO) => Duration::ZERO,
            age => age.unwrap_or(MIN_AGE).max(LEAST_AGE),
        },
        report: Vec::new(),
    };
    match recovery.run(&mut op, client) {
        Ok(()) => {
            op.redact(recovery.report.iter_mut().map(|one| &mut one.what));
            Ok(recovery.report)
        }
        Err(error) => Err(op.explain(op.ended_by(error).context("recover"))),
    }
}

struct Recovery {
    dry_run: bool,
    min_age: Duration,
    report: Vec<Recovered>,
}

/// How far the replacement of a disk had come.
enum Progressed {
    /// The backing has its old disk, or there was nothing to replace.
    NotReplaced,
    /// The backing has the new disk, the old one is still to be deleted.
    Replaced,
    /// The backing has the new disk and nothing is owed.
    Finished,
    /// It has neither: somebody else changed it.
    Unclear,
    /// The temporary virtual machine has become the new backing.
    Adopted,
}

impl Recovery {
    fn run(&mut self, op: &mut Operation<'_>, client: &Client) -> Result<()> {
        op.enter(Phase::Prepare, 0)?;
        let server = server_identity(op.session());
        let Journals {
            dead,
            living,
            unread,
        } = match client.state_dir() {
            Some(directory) => Journals::read(directory, self.dry_run)?,
            None => Journals::default(),
        };
        for (operation, error) in unread {
            self.tell(&operation, &error.to_string(), Outcome::Failed);
        }
        let mut all: BTreeMap<String, Remains> = BTreeMap::new();
        for journal in dead {
            if journal.heading.server == server {
                let operation = journal.heading.operation.clone();
                all.entry(operation).or_default().read(journal);
            }
        }
        let tagged = op.run(tagged(op.session().clone()))?;
        for (operation, machine) in tagged {
            all.entry(operation).or_default().see(machine);
        }
        let session = op.session().clone();
        let now = op.run(async move { clock::now(&session).await })?;
        op.enter(Phase::Finish, 0)?;
        for (operation, remains) in all {
            op.watch.tick()?;
            if living.contains(&operation) {
                self.tell(&operation, "its process is alive", Outcome::Skipped);
                continue;
            }
            match &remains.journal {
                Some(journal) if journal.surely_dead => {
                    self.release(op, &operation, Held::among(&journal.made));
                }
                _ => {
                    if let Some(why) = remains.may_live(now, self.min_age) {
                        self.tell(&operation, &why, Outcome::Skipped);
                        continue;
                    }
                }
            }
            op.patiently(|op| self.resolve(op, &operation, remains));
        }
        Ok(())
    }

    /// Ends the lease that a process died with.
    fn release(&mut self, op: &mut Operation<'_>, operation: &str, held: Option<Held>) {
        let Some(held) = held else { return };
        let (session, dry_run) = (op.session().clone(), self.dry_run);
        match op.settle(async move { Ok(held.release(session, dry_run).await) }) {
            Ok(Released::Ended(what)) => self.tell(operation, &what, Outcome::Done),
            Ok(Released::Later(what)) => self.tell(operation, &what, Outcome::Skipped),
            Ok(Released::Gone) => {}
            Err(error) => self.tell(operation, &error.to_string(), Outcome::Failed),
        }
    }

    fn resolve(&mut self, op: &mut Operation<'_>, operation: &str, remains: Remains) {
        let session = op.session().clone();
        let before = self.failures();
        let mut later = Vec::new();
        let looked = match &remains.replacement {
            None => op.settle(adopted(
                session.clone(),
                remains.vms.clone(),
                operation.to_owned(),
            )),
            Some(replacement) => op.settle(progressed(
                session.clone(),
                replacement.clone(),
                operation.to_owned(),
            )),
        };
        let (progressed, kept) = match looked {
            Ok(looked) => looked,
            Err(error) => return self.tell(operation, &error.to_string(), Outcome::Failed),
        };
        match (&progressed, &remains.replacement) {
            (Progressed::Unclear, Some(replacement)) => {
                let why = format!(
                    "{} has neither its old disk {} nor the restored one: nothing was deleted",
                    replacement.backing, replacement.old
                );
                return self.tell(operation, &why, Outcome::Failed);
            }
            (Progressed::NotReplaced, _) => {
                let vms = remains.vms.iter().filter_map(|(_, moref)| moref.clone());
                match op.settle(attached(session.clone(), vms.collect())) {
                    Ok(attached) => {
                        let disks = remains.disks.iter();
                        for (datacenter, path) in disks.filter(|(_, path)| !kept.contains(path)) {
                            // What is attached goes with its machine.
                            if !attached.contains(path) {
                                self.delete_disk(op, operation, datacenter, path);
                            }
                            // Unless a detaching was under way; and a copy may still have been.
                            later.push((datacenter.clone(), path.clone()));
                        }
                    }
                    Err(error) => self.tell(operation, &error.to_string(), Outcome::Failed),
                }
            }
            _ => {}
        }
        if self.failures() == before && !matches!(progressed, Progressed::Adopted) {
            for (name, moref) in remains.vms {
                self.destroy_vm(op, operation, (name, moref), kept.clone());
            }
        }
        if self.failures() == before && !self.dry_run {
            for (datacenter, path) in &later {
                self.delete_disk(op, operation, datacenter, path);
            }
        }
        if self.failures() == before
            && let (Progressed::Replaced, Some(replacement)) = (&progressed, &remains.replacement)
        {
            self.delete_old(op, operation, replacement, kept);
        }
        if self.failures() == before {
            self.close(op, operation, remains.replacement, remains.journal);
        }
    }

    /// Deletes the old disk of a backing that has its new one: last of all, and only when that is
    /// proven to be there still.
    fn delete_old(
        &mut self,
        op: &mut Operation<'_>,
        operation: &str,
        replacement: &Replacement,
        attached: Vec<String>,
    ) {
        let Replacement {
            datacenter, old, ..
        } = replacement;
        for file in attached {
            let proof = still_there(op.session().clone(), datacenter.clone(), file);
            if let Err(error) = op.settle(proof) {
                let why = format!("the replaced disk {old} is kept: {error}");
                return self.tell(operation, &why, Outcome::Failed);
            }
        }
        self.delete_disk(op, operation, datacenter, old);
    }

    /// Everything is taken away: tag and journal go last.
    fn close(
        &mut self,
        op: &mut Operation<'_>,
        operation: &str,
        replacement: Option<Replacement>,
        journal: Option<Abandoned>,
    ) {
        if self.dry_run {
            return;
        }
        if let Some(replacement) = replacement {
            let session = op.session().clone();
            match op.settle(untag_if(session, replacement.backing, operation.to_owned())) {
                Ok(true) => self.tell(operation, "finished the restore", Outcome::Done),
                Ok(false) => {}
                Err(error) => {
                    self.tell(operation, &error.to_string(), Outcome::Failed);
                    return;
                }
            }
        }
        if let Some(Err(error)) = journal.map(Abandoned::end) {
            self.tell(operation, &error.to_string(), Outcome::Failed);
        }
    }

    fn delete_disk(
        &mut self,
        op: &mut Operation<'_>,
        operation: &str,
        datacenter: &Moref,
        path: &str,
    ) {
        let what = format!("delete disk {path}");
        if self.dry_run {
            return self.tell(operation, &what, Outcome::Done);
        }
        let session = op.session().clone();
        let removal = remove_disk(session, datacenter.clone(), path.to_owned());
        self.judge(operation, &what, op.settle(removal));
    }

    fn destroy_vm(
        &mut self,
        op: &mut Operation<'_>,
        operation: &str,
        (name, moref): (String, Option<Moref>),
        kept: Vec<String>,
    ) {
        let what = format!("destroy temporary virtual machine {name}");
        if self.dry_run {
            return self.tell(operation, &what, Outcome::Done);
        }
        let session = op.session().clone();
        let removal = remove_vm(session, name, moref, operation.to_owned(), kept);
        self.judge(operation, &what, op.settle(removal));
    }

    fn judge(&mut self, operation: &str, what: &str, outcome: Result<bool>) {
        match outcome {
            Ok(true) => self.tell(operation, what, Outcome::Done),
            Ok(false) => {}
            Err(error) => self.tell(operation, &format!("{what}: {error}"), Outcome::Failed),
        }
    }

    fn tell(&mut self, operation: &str, what: &str, outcome: Outcome) {
        self.report.push(Recovered {
            operation: operation.to_owned(),
            what: what.to_owned(),
            outcome,
        });
    }

    fn failures(&self) -> usize {
        let failed = |one: &&Recovered| one.outcome == Outcome::Failed;
        self.report.iter().filter(failed).count()
    }
}

/// How far the replacement had come, and the disks that the backing has.
async fn progressed(
    session: Session,
    replacement: Replacement,
    operation: String,
) -> Result<(Progressed, Vec<String>)> {
    let backing = match backing::describe(session, replacement.backing.clone()).await {
        Ok(backing) => backing,
        // Its disk went with it, whichever it was.
        Err(error) if fault::is_gone(&error, &replacement.backing) => {
            return Ok((Progressed::Finished, Vec::new()));
        }
        Err(error) => return Err(error),
    };
    let has = |path: &str| backing.disks.iter().any(|disk| disk.file == path);
    let is_tagged = backing.extra(tag::OPERATION) == Some(&*operation);
    let has_new = replacement.new.as_deref().is_some_and(has);
    let progressed = match (is_tagged, has(&replacement.old), has_new) {
        // The server applied the swap and the tag in one step.
        (true, false, _) => Progressed::Replaced,
        (false, true, false) => Progressed::NotReplaced,
        (false, false, true) => Progressed::Finished,
        _ => Progressed::Unclear,
    };
    let disks = backing.disks.into_iter().map(|disk| disk.file);
    Ok((progressed, disks.collect()))
}

/// Whether the temporary virtual machine, which is untagged in the same step, became the backing.
async fn adopted(
    session: Session,
    vms: Vec<(String, Option<Moref>)>,
    operation: String,
) -> Result<(Progressed, Vec<String>)> {
    for moref in vms.into_iter().filter_map(|(_, moref)| moref) {
        match backing::describe(session.clone(), moref.clone()).await {
            Ok(vm) if vm.extra(tag::OPERATION) != Some(&*operation) => {
                return Ok((Progressed::Adopted, Vec::new()));
            }
            Ok(_) => {}
            Err(error) if fault::is_gone(&error, &moref) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((Progressed::NotReplaced, Vec::new()))
}

/// Takes the tags off the backing if they are those of `operation`; whether they were.
async fn untag_if(session: Session, moref: Moref, operation: String) -> Result<bool> {
    match backing::describe(session.clone(), moref.clone()).await {
        Ok(backing) if backing.extra(tag::OPERATION) == Some(&*operation) => {
            untag(session, moref.clone()).await.map(|()| true)
        }
        Ok(_) => Ok(false),
        Err(error) if fault::is_gone(&error, &moref) => Ok(false),
        Err(error) => Err::<bool, Error>(error),
    }
}
