//! The restored disk takes the place of the backing's own, which is deleted last of all.

use super::import::{Imported, tag_disks};
use super::operation::Operation;
use super::plan::Existing;
use super::restore::Restore;
use super::undo::{Made, attached, remove_disk};
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
        let Existing { backing, disk: old } = existing;
        self.summary.backing = backing.moref.value.clone();
        let datacenter = imported.site.datacenter.clone();
        let new = self.move_beside(op, &imported, &old, &datacenter)?;
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
        self.swap(op, &backing.moref, &old, &new)?;
        self.undo.keep_disk(&new.file);
        self.restore_uuid(op, &backing.moref, &old, &new);
        self.finish(op, &backing.moref, &datacenter, &old);
        Ok(())
    }

    /// The volume is restored: what is left is to clear away, and failing at it is no failure of
    /// the restore.
    fn finish(&mut self, op: &mut Operation<'_>, backing: &Moref, datacenter: &Moref, old: &Disk) {
        op.watch.set_phase(Phase::Finish);
        let session = op.session().clone();
        let mut left = Vec::new();
        let delete = remove_disk(session.clone(), datacenter.clone(), old.file.clone());
        if let Err(error) = op.settle(delete) {
            left.push(format!("the replaced disk {}: {error}", old.file));
        }
        left.extend(self.undo.run(op));
        if left.is_empty()
            && let Err(error) = op.settle(untag(session, backing.clone()))
        {
            left.push(format!("the tag on {backing}: {error}"));
        }
        if !left.is_empty() {
            self.undo.leave();
        }
        self.left.extend(left);
    }

    /// Takes the disk out of the temporary virtual machine and moves its file into the folder of
    /// the old one, where the datastore can.
    fn move_beside(
        &mut self,
        op: &mut Operation<'_>,
        imported: &Imported,
        old: &Disk,
        datacenter: &Moref,
    ) -> Result<Disk> {
        let session = op.session().clone();
        let from = imported.disk.file.clone();
        let to = format!(
            "{}volume-{}.vmdk",
            virtual_disk::folder_of(&old.file),
            op.id()
        );
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
        op.ensure(detach, |_| {
            let (session, vm, from) = (session.clone(), imported.vm.clone(), from.clone());
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
        // A repeated renaming finds nothing to rename.
        let moved = op.ensure(rename, |error| {
            let renamed = error.kind() == Kind::NotFound;
            async move { Ok(renamed.then_some(())) }
        });
        let file = match moved {
            Ok(()) => {
                self.undo.keep_disk(&from);
                to
            }
            Err(error) if error.kind() == Kind::Unsupported => {
                self.undo.keep_disk(&to);
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
        let mut extra_config = op.tags();
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
        let swapped = op.ensure(reconfigure, |_| {
            let (session, backing) = (session.clone(), backing.clone());
            let (old, new) = (old.clone(), new.clone());
            async move {
                machine::come_to_rest(&session, &backing).await;
                let now = backing::describe(session, backing).await?;
                let disk = slot(&now, &old);
                Ok(disk.is_some_and(|disk| is_disk(disk, &new)).then_some(()))
            }
        });
        // Whatever the answer was, or if it was lost: what the backing has now decides.
        let (vm, is_swapped) = (backing.clone(), swapped.is_ok());
        let now = op.settle(async move {
            if !is_swapped {
                machine::come_to_rest(&session, &vm).await;
            }
            backing::describe(session, vm).await
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
        let changes = Changes {
            moves: vec![now.detach(), now.succeed_with(old)],
            extra_config: cleared(),
            ..Changes::default()
        };
        let session = op.session().clone();
        let back = op.settle(machine::reconfigure(session, backing.clone(), changes));
        let error = Error::new(Kind::Corrupt, why);
        match back {
            Ok(()) => Err(error),
            Err(_) => {
                self.undo.keep_disk(&now.file);
                self.undo.leave();
                Err(error.leaving_behind(format!("old disk {}, detached", old.file)))
            }
        }
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

/// The keys of a finished replacement, with values that remove them.
fn cleared() -> Vec<(String, String)> {
    [tag::OPERATION, tag::STARTED, tag::REPLACED]
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

fn slot<'a>(backing: &'a Backing, disk: &Disk) -> Option<&'a Disk> {
    backing.disks.iter().find(|other| {
        other.controller_key == disk.controller_key && other.unit_number == disk.unit_number
    })
}

/// vSAN shows a disk under a friendly path or an internal one: the UUID decides, too.
fn is_disk(shown: &Disk, meant: &Disk) -> bool {
    shown.file == meant.file || (meant.uuid.is_some() && same_uuid(&shown.uuid, &meant.uuid))
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
