//! What an operation has made on the server and must take away again when it fails.

use super::operation::Operation;
use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::vsphere::backing::{self, Backing};
use crate::vsphere::{Moref, Session, fault, file_manager, find, machine, tag, virtual_disk};
use serde::{Deserialize, Serialize};

/// Something that this operation made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "made", rename_all = "snake_case")]
pub(super) enum Made {
    /// A virtual machine that carries this operation's tag, known by its moref once there is one.
    TemporaryVm { name: String, moref: Option<Moref> },
    /// A disk file that no virtual machine has attached.
    Disk { datacenter: Moref, path: String },
    /// A lease of the session with this digest on `vm`, or on a machine that is not known yet. It is
    /// named where that tells nothing of the session. It ends by itself when nobody renews it for
    /// `timeout_s`; noted again when it is over.
    Lease {
        session: String,
        vm: Option<Moref>,
        lease: Option<Moref>,
        timeout_s: Option<u64>,
        over: bool,
    },
    /// A backing in which the disk `new` takes the place of `old`, in one step of the server's:
    /// not to be taken away but to be finished, once it has happened.
    Replacement {
        datacenter: Moref,
        backing: Moref,
        old: String,
        new: String,
    },
}

/// The things made so far, oldest first. Each is noted before it is made.
#[derive(Default)]
pub(super) struct Undo {
    made: Vec<Made>,
    /// The disks that must survive, whatever is removed beside them.
    kept: Vec<String>,
    /// Something could not be taken away or finished: recovery will try again.
    unsettled: bool,
}

impl Undo {
    /// Notes what is about to be made, here and in the journal.
    pub(super) fn note(&mut self, op: &mut Operation<'_>, made: Made) -> Result<()> {
        op.note(&made)?;
        self.made.push(made);
        Ok(())
    }

    /// The temporary virtual machine's moref is known now.
    pub(super) fn know(&mut self, op: &mut Operation<'_>, vm: &Moref) -> Result<()> {
        for made in &mut self.made {
            if let Made::TemporaryVm { moref, .. } = made {
                *moref = Some(vm.clone());
                op.note(made)?;
            }
        }
        op.keep(vm);
        Ok(())
    }

    /// The temporary virtual machine became the backing: it is not to be taken away any more.
    pub(super) fn keep_vm(&mut self) {
        self.made
            .retain(|made| !matches!(made, Made::TemporaryVm { .. }));
    }

    /// The disk is, or may be, part of the backing: it must survive.
    pub(super) fn keep_disk(&mut self, kept: &str) {
        self.forget_disk(kept);
        self.kept.push(kept.to_owned());
    }

    /// There is no such disk, or it goes with the virtual machine that has it attached.
    pub(super) fn forget_disk(&mut self, gone: &str) {
        self.made
            .retain(|made| !matches!(made, Made::Disk { path, .. } if path == gone));
    }

    /// Something was left that recovery must finish.
    pub(super) fn leave(&mut self) {
        self.unsettled = true;
    }

    /// Whether nothing is left to take away or to finish.
    pub(super) fn is_settled(&self) -> bool {
        self.made.is_empty() && !self.unsettled
    }

    /// Takes everything away, newest first; what cannot be taken away is named. A cancel does not
    /// end it.
    pub(super) fn run(&mut self, op: &mut Operation<'_>) -> Vec<String> {
        op.patiently(|op| self.take_all_away(op))
    }

    fn take_all_away(&mut self, op: &mut Operation<'_>) -> Vec<String> {
        let mut left = Vec::new();
        let vms = self.made.iter().filter_map(|made| match made {
            Made::TemporaryVm { moref, .. } => moref.clone(),
            _ => None,
        });
        let vms: Vec<Moref> = vms.collect();
        let may_be_detaching = self
            .made
            .iter()
            .any(|made| matches!(made, Made::Disk { .. }));
        let session = op.session().clone();
        let attached = async move {
            if may_be_detaching {
                for vm in &vms {
                    machine::come_to_rest(&session, vm).await;
                }
            }
            attached(session, vms).await
        };
        // Not to know them is no reason to leave the rest.
        let attached = op.settle(attached).unwrap_or_default();
        // Disks still attached go with their machine; one whose detaching was under way does not,
        // so they are looked for once more when the machine is gone.
        let (later, mut now): (Vec<Made>, Vec<Made>) = std::mem::take(&mut self.made)
            .into_iter()
            .partition(|made| matches!(made, Made::Disk { path, .. } if attached.contains(path)));
        now.reverse();
        let mut absent = Vec::new();
        for made in now.into_iter().chain(later) {
            if self.remove(op, &made, &mut left) == Some(false) && matches!(made, Made::Disk { .. })
            {
                absent.push(made);
            }
        }
        // A copy whose answer was lost may have gone on while its disk was looked for. It reads a
        // disk of the machine, which was not removed before the copy's end.
        for made in absent {
            self.remove(op, &made, &mut left);
        }
        left
    }

    /// Whether there was something to remove; `None` where it could not be removed, which is noted.
    fn remove(
        &mut self,
        op: &mut Operation<'_>,
        made: &Made,
        left: &mut Vec<String>,
    ) -> Option<bool> {
        match take_away(op, made, &self.kept) {
            Ok(was_there) => Some(was_there),
            Err(error) => {
                op.log()
                    .record(Level::Warn, || format!("undo {made:?}: {error}"));
                left.push(format!("{made} ({error})"));
                self.unsettled = true;
                None
            }
        }
    }

    /// The error of an operation that failed, after everything was taken away.
    pub(super) fn after(&mut self, op: &mut Operation<'_>, error: Error) -> Error {
        let error = op.ended_by(error).during(op.phase(), op.id());
        let left = self.run(op);
        if self.is_settled() {
            op.end_journal();
        }
        left.into_iter().fold(error, Error::leaving_behind)
    }
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Made::TemporaryVm {
                name,
                moref: Some(moref),
            } => write!(f, "temporary virtual machine {name} ({moref})"),
            Made::TemporaryVm { name, moref: None } => {
                write!(f, "temporary virtual machine {name}")
            }
            Made::Disk { path, .. } => write!(f, "disk {path}"),
            Made::Lease { vm, .. } => match vm {
                Some(vm) => write!(f, "lease on {vm}"),
                None => write!(f, "lease of an import"),
            },
            Made::Replacement { backing, old, .. } => {
                write!(f, "disk {old}, replaced in {backing}")
            }
        }
    }
}

/// Whether it was there.
fn take_away(op: &mut Operation<'_>, made: &Made, kept: &[String]) -> Result<bool> {
    let session = op.session().clone();
    match made {
        Made::TemporaryVm { name, moref } => {
            // An aborted import's virtual machine is the server's to remove: let it.
            op.finish_cleanup();
            op.end_keeping();
            let (name, moref, id) = (name.clone(), moref.clone(), op.id().to_owned());
            op.settle(remove_vm(session, name, moref, id, kept.to_vec()))
        }
        Made::Disk { datacenter, path } => {
            op.settle(remove_disk(session, datacenter.clone(), path.clone()))
        }
        Made::Lease { .. } | Made::Replacement { .. } => Ok(false),
    }
}

/// The files of the disks attached to `vms`, which go when those are destroyed: a disk that is
/// noted as detached may never have been.
pub(super) async fn attached(session: Session, vms: Vec<Moref>) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for vm in vms {
        match backing::describe(session.clone(), vm.clone()).await {
            Ok(vm) => files.extend(vm.disks.into_iter().map(|disk| disk.file)),
            Err(error) if fault::is_gone(&error, &vm) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Destroys the temporary virtual machine of operation `id`; whether there was one. One in whose
/// folder a disk of `kept` lies is only taken apart: some servers remove the folder with all that
/// is in it.
pub(super) async fn remove_vm(
    session: Session,
    name: String,
    moref: Option<Moref>,
    id: String,
    kept: Vec<String>,
) -> Result<bool> {
    let found = find::made_by(session.clone(), name, moref, id.clone()).await?;
    let Some(vm) = found else { return Ok(false) };
    if vm.extra(tag::REPLACED).is_some() {
        return Err(Error::new(
            Kind::InvalidState,
            format!("{} is no temporary machine of operation {id}", vm.moref),
        ));
    }
    let holds = |path: &String| {
        vm.home().is_some_and(|home| path.starts_with(home))
            || vm.disks.iter().any(|disk| disk.file == *path)
    };
    if kept.iter().any(holds) {
        return take_apart(session, vm, &kept).await.map(|()| true);
    }
    was_there(machine::destroy(session, vm.moref).await)
}

/// Unregisters a virtual machine and deletes its files one by one, but those of `kept`.
async fn take_apart(session: Session, vm: Backing, kept: &[String]) -> Result<()> {
    let datacenter = backing::datacenter_of(session.clone(), vm.moref.clone()).await?;
    let mut plain = machine::plain_files(&session, &vm.moref).await?;
    plain.extend(vm.vmx.clone().filter(|vmx| !plain.contains(vmx)));
    plain.retain(|path| vm.home().is_some_and(|home| path.starts_with(home)));
    machine::unregister(session.clone(), vm.moref).await?;
    let mut left = Vec::new();
    for disk in vm.disks.iter().filter(|disk| !kept.contains(&disk.file)) {
        let removal = remove_disk(session.clone(), datacenter.clone(), disk.file.clone());
        left.extend(removal.await.err());
    }
    for path in plain {
        let removal = file_manager::delete(session.clone(), datacenter.clone(), path);
        left.extend(removal.await.err());
    }
    match left.into_iter().reduce(|one, other| one.context(other)) {
        None => Ok(()),
        Some(error) => Err(error.context(format_args!(
            "{} is unregistered, but files of it are left",
            vm.name
        ))),
    }
}

/// Deletes a disk file; whether there was one.
pub(super) async fn remove_disk(session: Session, datacenter: Moref, path: String) -> Result<bool> {
    was_there(virtual_disk::delete(session, datacenter, path).await)
}

/// What is not there any more needs no taking away.
fn was_there(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if fault::is_file_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
