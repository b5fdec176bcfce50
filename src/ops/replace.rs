//! The restored disk takes the place of the backing's own.

use super::import::{Imported, tag_disks};
use super::operation::Operation;
use super::plan::Existing;
use super::restore::Restore;
use super::undo::{Made, attached};
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::vsphere::backing::{self, Backing};
use crate::vsphere::device::{Disk, same_uuid};
use crate::vsphere::machine::{self, Changes};
use crate::vsphere::{Moref, Session, fault, tag, virtual_disk};

impl Restore<'_> {
    /// Detaches the imported disk, moves it beside the old one, swaps the two in one atomic step,
    /// proves the result, and only then deletes the old disk and the temporary virtual machine.
    pub(super) fn replace(
        &mut self,
        op: &mut Operation<'_>,
        existing: Existing,
        imported: Imported,
    ) -> Result<()> {
        op.enter(Phase::Replace, 0)?;
        let Existing { backing, disk: old } = &existing;
        self.summary.backing = backing.moref.value.clone();
        let datacenter = imported.site.datacenter.clone();
        let new = self.move_beside(op, &imported, &existing, &datacenter)?;
        op.run(unchanged(
            op.session().clone(),
            backing.moref.clone(),
            old.clone(),
        ))
        .map_err(Error::retryable)?;
        let replacement = Made::Replacement {
            datacenter: datacenter.clone(),
            backing: backing.moref.clone(),
            old: old.file.clone(),
            new: new.file.clone(),
        };
        self.undo.note(op, replacement)?;
        self.swap(op, &backing.moref, old, &new)?;
        self.undo.keep_disk(&new.file);
        // The volume is restored: a cancel comes too late.
        op.patiently(|op| {
            self.restore_uuid(op, &backing.moref, old, &new);
            self.tell_differences(op, &existing);
            self.finish(op, &existing, &datacenter, &new)
        })
    }

    /// Takes the disk out of the temporary virtual machine and moves its file into the folder of
    /// the backing, where the datastore can.
    fn move_beside(
        &mut self,
        op: &mut Operation<'_>,
        imported: &Imported,
        existing: &Existing,
        datacenter: &Moref,
    ) -> Result<Disk> {
        let session = op.session().clone();
        let from = imported.disk.file.clone();
        let to = format!("{}volume-{}.vmdk", existing.folder(), op.id());
        for path in [&from, &to] {
            let disk = Made::Disk {
                datacenter: datacenter.clone(),
                path: path.clone(),
            };
            self.undo.note(op, disk)?;
        }
        let changes = Changes {
            moves: vec![imported.disk.detach()],
            extra_config: vec![tag_disks(&[&from, &to])],
            ..Changes::default()
        };
        let detach = || machine::reconfigure(session.clone(), imported.vm.clone(), changes.clone());
        op.ensure(detach, |session, _| {
            let (vm, from) = (imported.vm.clone(), from.clone());
            async move {
                machine::come_to_rest(&session, &vm).await;
                let attached = attached(session, vec![vm]).await?;
                Ok((!attached.contains(&from)).then_some(()))
            }
        })
        .context("detach the restored disk")?;
        let rename = || {
            let (session, datacenter) = (session.clone(), datacenter.clone());
            virtual_disk::rename(session, datacenter, from.clone(), to.clone())
        };
        // After a lost answer, a repeated renaming that finds nothing to rename tells. Where its task
        // cannot be read either, the disk does: no other has the new name.
        let moved = op.ensure(rename, |session, error| {
            let renamed = fault::is_file_gone(error);
            let is_unread = error.kind() != Kind::Connection;
            let there = virtual_disk::uuid(session, datacenter.clone(), to.clone());
            async move {
                let moved = renamed || (is_unread && there.await.is_ok());
                Ok(moved.then_some(()))
            }
        });
        let file = match moved {
            Ok(()) => {
                self.undo.forget_disk(&from);
                to
            }
            Err(error) if error.kind() == Kind::Unsupported => {
                self.undo.forget_disk(&to);
                self.summary.notices.push(format!(
                    "the datastore cannot move disks: the restored one stays at {from}"
                ));
                from
            }
            Err(error) => return Err(error),
        };
        Ok(imported.disk.moved_to(file))
    }

    /// One ReconfigVM_Task removes the old disk, keeping its file, and adds the new one in its slot.
    fn swap(
        &mut self,
        op: &mut Operation<'_>,
        backing: &Moref,
        old: &Disk,
        new: &Disk,
    ) -> Result<()> {
        let session = op.session().clone();
        let mut extra_config = op.tags()?;
        extra_config.push((tag::REPLACED.into(), old.file.clone()));
        let changes = Changes {
            moves: vec![old.detach(), old.succeed_with(new)],
            extra_config,
            ..Changes::default()
        };
        // Only of what was just looked at: another restore may be about to do the same.
        let reconfigure = || {
            let (session, backing) = (session.clone(), backing.clone());
            let (old, changes) = (old.clone(), changes.clone());
            async move {
                let of_version = unchanged(session.clone(), backing.clone(), old).await?;
                let changes = Changes {
                    of_version,
                    ..changes
                };
                machine::reconfigure(session, backing, changes).await
            }
        };
        let swapped = op.ensure(reconfigure, |session, _| {
            let backing = backing.clone();
            let (old, new) = (old.clone(), new.clone());
            async move {
                machine::come_to_rest(&session, &backing).await;
                let now = backing::describe(session, backing).await?;
                let disk = slot(&now, &old);
                Ok(disk.is_some_and(|disk| is_disk(disk, &new)).then_some(()))
            }
        });
        // Whatever the answer was, or if it was lost: what the backing has now decides.
        let (vm, is_known) = (backing.clone(), is_known(&swapped));
        let now = op.patiently(|op| {
            let session = op.session().clone();
            op.settle(async move {
                if !is_known {
                    machine::come_to_rest(&session, &vm).await;
                }
                backing::describe(session, vm).await
            })
        });
        let attached = now.map(|now| slot(&now, old).cloned());
        match (swapped, attached) {
            (Ok(()), Ok(Some(disk))) if is_disk(&disk, new) => self.prove(op, backing, old, &disk),
            (Err(error), Ok(Some(disk))) if is_disk(&disk, new) => {
                op.tell_done(&error);
                self.prove(op, backing, old, &disk)
            }
            (Err(error), Ok(_)) if is_refusal(&error) => {
                Err(error.context("swap the disks").retryable())
            }
            (Err(error), Ok(Some(disk))) if disk.file == old.file => {
                Err(error.context("swap the disks"))
            }
            (swapped, attached) => {
                // Nobody knows which disk the backing has: neither may be deleted.
                self.undo.keep_disk(&new.file);
                self.undo.leave();
                let error = match (swapped, attached) {
                    (Err(error), _) | (Ok(()), Err(error)) => error,
                    (Ok(()), Ok(_)) => Error::new(
                        Kind::Fault,
                        "the server reports success, but the backing has another disk",
                    ),
                };
                Err(error
                    .context("swap the disks")
                    .leaving_behind(format!("old disk {}", old.file))
                    .leaving_behind(format!("restored disk {}", new.file)))
            }
        }
    }

    /// The disk in the slot is the restored one: is it as it must be? If not, the old one returns.
    fn prove(
        &mut self,
        op: &mut Operation<'_>,
        backing: &Moref,
        old: &Disk,
        now: &Disk,
    ) -> Result<()> {
        let expected = now.capacity >= old.capacity && now.mode == old.mode;
        if expected {
            return Ok(());
        }
        let why = format!(
            "the backing shows {} bytes in mode {}, not {} in mode {}",
            now.capacity, now.mode, old.capacity, old.mode
        );
        Err(self.return_old(op, backing, old, now, Error::new(Kind::Corrupt, why)))
    }

    /// Guests know a disk by its UUID; where the attach did not carry it over, an edit does.
    fn restore_uuid(&mut self, op: &mut Operation<'_>, backing: &Moref, old: &Disk, new: &Disk) {
        let Some(uuid) = &old.uuid else { return };
        let session = op.session().clone();
        let (backing, old, uuid) = (backing.clone(), old.clone(), uuid.clone());
        let file = new.file.clone();
        let kept = op.settle(async move {
            let now = backing::describe(session.clone(), backing.clone()).await?;
            let Some(disk) = slot(&now, &old) else {
                return Ok(false);
            };
            if same_uuid(&disk.uuid, &old.uuid) {
                return Ok(true);
            }
            let changes = Changes {
                edits: vec![disk.set_uuid(&uuid)],
                ..Changes::default()
            };
            machine::reconfigure(session.clone(), backing.clone(), changes).await?;
            let now = backing::describe(session, backing).await?;
            Ok(slot(&now, &old).is_some_and(|disk| same_uuid(&disk.uuid, &old.uuid)))
        });
        let notice = match kept {
            Ok(true) => return,
            Ok(false) => format!("disk {file} has another UUID than before"),
            Err(error) => format!("disk {file} may have another UUID than before: {error}"),
        };
        self.summary.notices.push(notice);
    }
}

fn slot<'a>(backing: &'a Backing, disk: &Disk) -> Option<&'a Disk> {
    backing.disks.iter().find(|other| {
        other.controller_key == disk.controller_key && other.unit_number == disk.unit_number
    })
}

/// vSAN shows a disk under a friendly path or an internal one: the UUID decides, too.
fn is_disk(shown: &Disk, meant: &Disk) -> bool {
    shown.file == meant.file || (meant.uuid.is_some() && same_uuid(&shown.uuid, &meant.uuid))
}

/// Whether no change can be under way any more: it was made, or the server never began it.
fn is_known(outcome: &Result<()>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) => error.is_without_effect(),
    }
}

/// Whether the swap was not made because the backing had been changed.
fn is_refusal(error: &Error) -> bool {
    let by_server = error.fault() == Some(fault::CHANGED);
    by_server || (error.kind() == Kind::InvalidState && error.fault().is_none())
}

/// Hours may have passed since the backing was looked at. What the server calls its state now.
async fn unchanged(session: Session, backing: Moref, old: Disk) -> Result<Option<String>> {
    let now = backing::describe(session, backing.clone()).await?;
    now.require_powered_off()?;
    let same = slot(&now, &old).is_some_and(|disk| disk.file == old.file && disk.key == old.key);
    if same && now.snapshots.is_empty() {
        return Ok(now.change_version);
    }
    Err(Error::new(
        Kind::InvalidState,
        format!("{} was changed during the restore", now.name),
    )
    .with_object(&backing.value))
}
