//! What an operation has made on the server and must take away again when it fails.

use super::operation::Operation;
use crate::error::{Error, Kind, Result};
use crate::log::Level;
use crate::volume::Volume;
use crate::vsphere::backing::{self, OPERATION_KEY};
use crate::vsphere::{Moref, virtual_disk};

/// Something that this operation made.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// A virtual machine that carries this operation's tag, known by its moref once there is one.
    TemporaryVm { name: String, moref: Option<Moref> },
    /// A disk file that no virtual machine has attached.
    Disk { datacenter: Moref, path: String },
}

/// The things made so far, oldest first. Each is noted before it is made.
#[derive(Default)]
pub(super) struct Undo(Vec<Made>);

impl Undo {
    /// Notes what is about to be made.
    pub(super) fn note(&mut self, made: Made) {
        self.0.push(made);
    }

    /// The temporary virtual machine's moref is known now.
    pub(super) fn know(&mut self, vm: &Moref) {
        for made in &mut self.0 {
            if let Made::TemporaryVm { moref, .. } = made {
                *moref = Some(vm.clone());
            }
        }
    }

    /// The temporary virtual machine became the backing: it is not to be taken away any more.
    pub(super) fn keep_vm(&mut self) {
        self.0
            .retain(|made| !matches!(made, Made::TemporaryVm { .. }));
    }

    /// The disk is part of the backing, or deleted: it is not to be taken away any more.
    pub(super) fn keep_disk(&mut self, kept: &str) {
        self.0
            .retain(|made| !matches!(made, Made::Disk { path, .. } if path == kept));
    }

    /// Takes everything away, newest first; what cannot be taken away is named.
    pub(super) fn run(&mut self, op: &mut Operation<'_>) -> Vec<String> {
        let mut left = Vec::new();
        while let Some(made) = self.0.pop() {
            if let Err(error) = take_away(op, &made) {
                op.log()
                    .record(Level::Warn, || format!("undo {made:?}: {error}"));
                left.push(made.to_string());
            }
        }
        left
    }

    /// The error of an operation that failed, after everything was taken away.
    pub(super) fn after(&mut self, op: &mut Operation<'_>, error: Error) -> Error {
        let error = error.during(op.phase(), op.id());
        self.run(op).into_iter().fold(error, Error::leaving_behind)
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
        }
    }
}

fn take_away(op: &mut Operation<'_>, made: &Made) -> Result<()> {
    let session = op.session().clone();
    match made {
        Made::TemporaryVm { name, moref } => {
            // An aborted import's virtual machine is the server's to remove: let it.
            op.finish_cleanup();
            let id = op.id().to_owned();
            let wanted = Volume {
                name: name.clone(),
                moref: moref.as_ref().map(|moref| moref.value.clone()),
                ..Volume::default()
            };
            op.settle(async move {
                let vm = match backing::find(session.clone(), wanted).await {
                    Ok(Some(vm)) => vm,
                    Ok(None) => return Ok(()),
                    Err(error) if error.kind() == Kind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                };
                if vm.extra(OPERATION_KEY) != Some(&id) {
                    return Err(Error::new(
                        Kind::InvalidState,
                        format!("{} does not carry the tag of operation {id}", vm.moref),
                    ));
                }
                gone(backing::destroy(session, vm.moref).await)
            })
        }
        Made::Disk { datacenter, path } => {
            let (datacenter, path) = (datacenter.clone(), path.clone());
            op.settle(async move { gone(virtual_disk::delete(session, datacenter, path).await) })
        }
    }
}

/// What is not there any more needs no taking away.
fn gone(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}
