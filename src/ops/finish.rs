//! The end of a replacement: the temporary virtual machine goes, then the restored disk is proven
//! to be there still, and only then is the old one deleted.

use super::operation::Operation;
use super::plan::Existing;
use super::restore::Restore;
use super::undo::remove_disk;
use crate::error::{Error, Kind, Phase, Result};
use crate::vsphere::device::Disk;
use crate::vsphere::machine::{self, Changes};
use crate::vsphere::{Moref, Session, fault, tag, virtual_disk};

impl Restore<'_> {
    /// The volume is restored: what is left is to clear away, and failing at it is no failure of
    /// the restore.
    ///
    /// # Errors
    /// Only when the restored disk is gone: then the old disk returns.
    pub(super) fn finish(
        &mut self,
        op: &mut Operation<'_>,
        existing: &Existing,
        datacenter: &Moref,
        new: &Disk,
    ) -> Result<()> {
        op.watch.set_phase(Phase::Finish);
        let (backing, old) = (&existing.backing.moref, &existing.disk);
        let session = op.session().clone();
        let mut left = self.undo.run(op);
        if left.is_empty() {
            let proof = still_there(session.clone(), datacenter.clone(), new.file.clone());
            match op.settle(proof) {
                Ok(()) => {
                    let delete = remove_disk(session.clone(), datacenter.clone(), old.file.clone());
                    if let Err(error) = op.settle(delete) {
                        left.push(format!("the replaced disk {}: {error}", old.file));
                    }
                }
                Err(error) if fault::is_file_gone(&error) => {
                    return Err(self.return_old(op, backing, old, new, error));
                }
                Err(error) => left.push(format!(
                    "the replaced disk {}, kept because the restored one could not be looked at: {error}",
                    old.file
                )),
            }
        } else {
            left.push(format!(
                "the replaced disk {}, which is deleted last",
                old.file
            ));
        }
        if left.is_empty()
            && let Err(error) = op.settle(untag(session, backing.clone()))
        {
            left.push(format!("the tag on {backing}: {error}"));
        }
        if !left.is_empty() {
            self.undo.leave();
        }
        self.left.extend(left);
        Ok(())
    }

    /// Puts the old disk back in place of `now`; the error, with what could not be put back.
    pub(super) fn return_old(
        &mut self,
        op: &mut Operation<'_>,
        backing: &Moref,
        old: &Disk,
        now: &Disk,
        error: Error,
    ) -> Error {
        let changes = Changes {
            // With its own mode and limits, not with those that made the new one wrong.
            moves: vec![now.detach(), old.succeed_with(old)],
            extra_config: cleared(),
            ..Changes::default()
        };
        let returned = op.patiently(|op| {
            let session = op.session().clone();
            op.settle(machine::reconfigure(session, backing.clone(), changes))
        });
        match returned {
            Ok(()) => error,
            Err(_) => {
                self.undo.keep_disk(&now.file);
                self.undo.leave();
                error.leaving_behind(format!("old disk {}, detached", old.file))
            }
        }
    }
}

/// Whether the restored disk is there after something beside it was removed. A server that cannot
/// say it about any disk says nothing against this one.
///
/// # Errors
/// [`Kind::NotFound`] when it is gone.
pub(super) async fn still_there(session: Session, datacenter: Moref, file: String) -> Result<()> {
    match virtual_disk::uuid(session, datacenter, file).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::Unsupported => Ok(()),
        Err(error) => Err(error.context("prove that the restored disk is still there")),
    }
}

/// The keys of a finished replacement, with values that remove them.
fn cleared() -> Vec<(String, String)> {
    [tag::OPERATION, tag::STARTED, tag::RENEWED, tag::REPLACED]
        .map(|key| (key.to_owned(), String::new()))
        .into()
}

/// Takes the tags of a finished replacement off the backing.
pub(super) async fn untag(session: Session, backing: Moref) -> Result<()> {
    let changes = Changes {
        extra_config: cleared(),
        ..Changes::default()
    };
    machine::reconfigure(session, backing, changes).await
}
