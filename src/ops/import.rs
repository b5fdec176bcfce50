//! The disk of a backup becomes that of a temporary virtual machine, proven and as it was asked for.

use super::backup::percent_of;
use super::operation::Operation;
use super::plan::Plan;
use super::proof::{compare_manifest, corrupt};
use super::restore::Restore;
use super::source::Source;
use super::undo::Made;
use crate::error::{Error, Kind, Phase, Result};
use crate::slab::{SLABS, SlabPool};
use crate::vmdk::{Check, Facts};
use crate::vsphere::device::Disk;
use crate::vsphere::machine::NewMachine;
use crate::vsphere::placement::Site;
use crate::vsphere::{Moref, backing, machine, nfc, tag, virtual_disk};
use bytes::Bytes;
use std::sync::atomic::Ordering;

/// A disk that was imported and proven, in the temporary virtual machine that holds it.
pub(super) struct Imported {
    pub(super) vm: Moref,
    pub(super) disk: Disk,
    pub(super) site: Site,
}

/// Where an upload goes.
pub(super) struct Destination<'a> {
    lease: &'a crate::vsphere::lease::Lease,
    capacity: u64,
}

impl Restore<'_> {
    /// Imports the disk into a temporary virtual machine; `send` moves and proves the stream.
    pub(super) fn import(
        &mut self,
        op: &mut Operation<'_>,
        plan: &Plan,
        capacity: u64,
        site: Site,
        send: impl FnOnce(&mut Operation<'_>, &mut Self, Destination<'_>) -> Result<Facts>,
    ) -> Result<Imported> {
        op.enter(Phase::Create, 0)?;
        let session = op.session().clone();
        let new = NewMachine {
            name: temporary_name(self.volume.label(), op.id()),
            instance_uuid: None,
            capacity,
            disk_type: plan.disk_type,
            adapter: plan.adapter,
            profile: self.volume.storage_profile.clone(),
            extra_config: vec![
                (tag::OPERATION.into(), op.id().into()),
                (tag::STARTED.into(), op.started().into()),
            ],
        };
        let temporary = Made::TemporaryVm {
            name: new.name.clone(),
            moref: None,
        };
        self.undo.note(op, temporary)?;
        let granted = op.settle(machine::import(session.clone(), new, site.clone()))?;
        let lease = op.lease(granted)?;
        let vm = lease.entity().clone();
        self.undo.know(op, &vm)?;
        let destination = Destination {
            lease: &lease,
            capacity,
        };
        let facts = send(op, self, destination)?;

        op.enter(Phase::Verify, 0)?;
        let manifest = op.run(lease.manifest())?;
        let log = op.log().clone();
        compare_manifest(&manifest, "", &facts, &mut self.summary.notices, &log)?;
        op.settle(lease.complete())?;
        self.summary.moved(&facts);
        let disk = self.only_disk(op, &vm)?;
        if disk.capacity != capacity {
            return Err(Error::new(
                Kind::Corrupt,
                format!(
                    "the imported disk has {} bytes, not {capacity}",
                    disk.capacity
                ),
            ));
        }
        Ok(Imported { vm, disk, site })
    }

    pub(super) fn upload(
        &mut self,
        op: &mut Operation<'_>,
        mut check: Check,
        head: Bytes,
        source: &mut Source<'_>,
        pool: &SlabPool,
        to: Destination<'_>,
    ) -> Result<Facts> {
        let session = op.session().clone();
        let target = nfc::Target::of(&session, to.lease.disk_url("")?)?;
        let percent = to.lease.percent();
        op.enter(Phase::Transfer, to.capacity)?;
        let upload = nfc::upload(
            &session,
            to.lease,
            target,
            source.length(),
            SLABS,
            self.stall,
        );
        let mut piece = Some(head);
        let mut first = true;
        while let Some(slab) = piece {
            if !std::mem::take(&mut first) {
                check.feed(slab.clone()).map_err(corrupt)?;
            }
            if !upload.send(slab) {
                op.run(upload.finish())?;
                return Err(Error::new(
                    Kind::Connection,
                    "the host answered before it had the whole disk",
                ));
            }
            let reached = check.progress().last_lba_bytes;
            percent.store(percent_of(reached, to.capacity), Ordering::Relaxed);
            op.reach(reached)?;
            piece = source.next(op, pool)?;
        }
        // The host must not be told that it has everything before it is known to be whole.
        let facts = check.finish().map_err(corrupt)?;
        op.run(upload.finish())?;
        Ok(facts)
    }

    /// Brings the imported disk to the type and size that were asked for.
    pub(super) fn convert(
        &mut self,
        op: &mut Operation<'_>,
        imported: &mut Imported,
        plan: &Plan,
    ) -> Result<()> {
        let session = op.session().clone();
        let datacenter = imported.site.datacenter.clone();
        if imported.disk.disk_type != plan.disk_type {
            op.enter(Phase::Convert, 0)?;
            let from = imported.disk.file.clone();
            let to = sibling(&from, &format!("{}-{}", plan.disk_type, op.id()));
            let copy = Made::Disk {
                datacenter: datacenter.clone(),
                path: to.clone(),
            };
            self.undo.note(op, copy)?;
            op.settle(machine::reconfigure(
                session.clone(),
                imported.vm.clone(),
                machine::Changes {
                    extra_config: vec![tag_disks(&[&to])],
                    ..machine::Changes::default()
                },
            ))?;
            op.settle(virtual_disk::copy(
                session.clone(),
                datacenter.clone(),
                from,
                to.clone(),
                plan.disk_type,
                plan.adapter,
            ))?;
            let mut converted = imported.disk.moved_to(to.clone());
            converted.disk_type = plan.disk_type;
            let changes = machine::Changes {
                devices: vec![
                    imported.disk.destroy(),
                    imported.disk.succeed_with(&converted),
                ],
                ..machine::Changes::default()
            };
            op.settle(machine::reconfigure(
                session.clone(),
                imported.vm.clone(),
                changes,
            ))?;
            self.undo.keep_disk(&to);
        }
        if imported.disk.capacity < plan.capacity {
            op.enter(Phase::Convert, 0)?;
            let file = self.only_disk(op, &imported.vm)?.file;
            op.settle(virtual_disk::extend(
                session,
                datacenter,
                file,
                plan.capacity,
                plan.disk_type,
            ))?;
        }
        imported.disk = self.only_disk(op, &imported.vm)?;
        if imported.disk.disk_type != plan.disk_type || imported.disk.capacity != plan.capacity {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "the server made a {} disk of {} bytes, asked for was {} and {}",
                    imported.disk.disk_type, imported.disk.capacity, plan.disk_type, plan.capacity
                ),
            ));
        }
        Ok(())
    }

    fn only_disk(&self, op: &mut Operation<'_>, vm: &Moref) -> Result<Disk> {
        let vm = op.run(backing::describe(op.session().clone(), vm.clone()))?;
        Disk::choose(vm.disks, None)
    }
}

/// The tag that says where a disk may lie that was taken out of its temporary virtual machine.
pub(super) fn tag_disks(paths: &[&str]) -> (String, String) {
    let list = serde_json::Value::from(paths.to_vec());
    (tag::DISKS.to_owned(), list.to_string())
}

/// Names of virtual machines have at most 80 characters.
fn temporary_name(label: &str, operation: &str) -> String {
    let label: String = label.chars().take(40).collect();
    format!("{label}-restore-{operation}")
}

/// A file beside `path`, whose name begins alike.
fn sibling(path: &str, suffix: &str) -> String {
    let stem = path.strip_suffix(".vmdk").unwrap_or(path);
    format!("{stem}-{suffix}.vmdk")
}
