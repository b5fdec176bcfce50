//! The disk of a backup becomes that of a temporary virtual machine, proven and as it was asked for.

use super::backup::percent_of;
use super::metadata::StreamRecord;
use super::operation::Operation;
use super::plan::Plan;
use super::proof::{compare_manifest, corrupt, new_check};
use super::restore::Restore;
use super::source::Source;
use super::undo::{Made, attached, remove_disk};
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::slab::{SLABS, SlabPool};
use crate::vmdk::{Check, Facts, Level};
use crate::vsphere::device::Disk;
use crate::vsphere::lease::Lease;
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

/// A stream whose header was read: from there on it is known what it is a stream of.
pub(super) struct Incoming {
    pub(super) capacity: u64,
    pool: SlabPool,
    check: Check,
    /// Whether the check takes a SHA-1, too, and how much it looks at.
    sha1: bool,
    level: Level,
    head: Bytes,
}

/// How much of a stream is to be proven that must be the one that was `recorded`: blocks that were
/// inflated when it was recorded are proven by its SHA-256.
pub(super) fn enough(level: Level, recorded: Option<&StreamRecord>) -> Level {
    match recorded {
        Some(recorded) if recorded.contents().is_some() => level.min(Level::Structure),
        _ => level,
    }
}

impl Incoming {
    pub(super) fn begin(
        op: &mut Operation<'_>,
        source: &mut Source<'_>,
        level: Level,
    ) -> Result<Incoming> {
        let pool = SlabPool::new(SLABS);
        let sha1 = op.session().needs_sha1();
        let mut check = new_check(level, sha1)?;
        let head = source
            .next(&mut op.watch, &pool)?
            .ok_or_else(|| Error::new(Kind::Corrupt, "the stream is empty"))?;
        check.feed(head.clone()).map_err(corrupt)?;
        let Some(header) = check.header() else {
            return Err(Error::new(
                Kind::Corrupt,
                "the stream ends within its header",
            ));
        };
        Ok(Incoming {
            capacity: header.capacity_bytes(),
            pool,
            check,
            sha1,
            level,
            head,
        })
    }
}

impl<'a> Restore<'a> {
    /// Imports the disk into a temporary virtual machine and proves it; as often as it takes.
    pub(super) fn import(
        &mut self,
        op: &mut Operation<'_>,
        plan: &Plan,
        site: Site,
        mut stream: Incoming,
        source: &mut Source<'a>,
        recorded: Option<&StreamRecord>,
    ) -> Result<Imported> {
        let (service, backup_id) = (self.service, self.backup_id.clone());
        let capacity = stream.capacity;
        let mut pauses = op.pauses();
        for attempt in 1.. {
            let name = temporary_name(self.volume.label(), op.id(), attempt);
            let error = match self.attempt(op, plan, &site, name, stream, source, recorded) {
                Err(error) if error.is_retryable() => error.during(op.phase(), op.id()),
                outcome => return outcome,
            };
            op.again(&mut pauses, error)?;
            self.left.extend(self.undo.run(op));
            op.disown();
            source.rewind(|| {
                service
                    .open(&backup_id)
                    .context("open it in the service again")
            })?;
            stream = Incoming::begin(op, source, enough(self.level, recorded))?;
            if stream.capacity != capacity {
                break;
            }
        }
        Err(Error::new(
            Kind::Corrupt,
            "the service gave another disk the second time",
        ))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing the import needs"
    )]
    fn attempt(
        &mut self,
        op: &mut Operation<'_>,
        plan: &Plan,
        site: &Site,
        name: String,
        stream: Incoming,
        source: &mut Source<'_>,
        recorded: Option<&StreamRecord>,
    ) -> Result<Imported> {
        op.enter(Phase::Create, 0)?;
        let session = op.session().clone();
        let capacity = stream.capacity;
        let new = NewMachine {
            name: name.clone(),
            instance_uuid: None,
            capacity,
            disk_type: plan.disk_type,
            adapter: plan.adapter,
            profile: self.volume.storage_profile.clone(),
            extra_config: op.tags()?,
        };
        self.undo
            .note(op, Made::TemporaryVm { name, moref: None })?;
        op.announce_lease(None)?;
        let granted = op.settle(machine::import(session.clone(), new, site.clone()))?;
        let lease = op.lease(granted, self.limits.lease)?;
        let vm = lease.entity().clone();
        self.undo.know(op, &vm)?;
        let facts = match self.upload(op, stream, source, recorded, &lease) {
            Ok(facts) => facts,
            Err(error) => return Err(op.explain_lease(&lease, error)),
        };
        op.watch.complete()?;

        op.enter(Phase::Verify, 0)?;
        let read = lease.manifest();
        let manifest = op.run(async move { Ok(read.await) })?;
        compare_manifest(op, &manifest, "", &facts, &mut self.summary.notices)?;
        op.complete(lease)?;
        op.own();
        self.summary.moved(&facts);
        if let Some(recorded) = recorded {
            self.summary.known(recorded);
        }
        let disk = self.only_disk(op, &vm)?;
        // A datastore may round up, and its server may tell KiB only.
        if !disk.holds(capacity) {
            return Err(Error::new(
                Kind::Corrupt,
                format!(
                    "the imported disk has {} bytes, not {capacity}",
                    disk.capacity
                ),
            ));
        }
        let site = site.clone();
        Ok(Imported { vm, disk, site })
    }

    fn upload(
        &mut self,
        op: &mut Operation<'_>,
        stream: Incoming,
        source: &mut Source<'_>,
        recorded: Option<&StreamRecord>,
        lease: &Lease,
    ) -> Result<Facts> {
        let Incoming {
            capacity,
            pool,
            mut check,
            sha1,
            level,
            head,
        } = stream;
        if !lease.has_sha256() && !sha1 {
            // The server refused the other digest only now: the check begins anew.
            check = new_check(level, true)?;
            check.feed(head.clone()).map_err(corrupt)?;
        }
        let session = op.session().clone();
        let target = nfc::Target::of(&session, lease.disk_url("")?)?;
        let percent = lease.percent();
        op.enter(Phase::Transfer, capacity)?;
        let length = source.length();
        let upload = nfc::upload(&session, lease, target, length, SLABS, self.limits.stall);
        let mut piece = Some(head);
        let mut first = true;
        while let Some(slab) = piece {
            if !std::mem::take(&mut first) {
                check.feed(slab.clone()).map_err(corrupt)?;
            }
            if !upload.send(slab) {
                let refused = op.run(upload.finish()).err().unwrap_or_else(|| {
                    let early = "the host answered before it had the whole disk";
                    Error::new(Kind::Connection, early).retryable()
                });
                if refused.kind() == Kind::Fault
                    && let Some(recorded) = recorded
                {
                    // Blocks that were not inflated here may be what the host does not like.
                    while let Some(slab) = source.next(&mut op.watch, &pool)? {
                        check.feed(slab).map_err(corrupt)?;
                    }
                    recorded.require(&check.finish().map_err(corrupt)?)?;
                }
                return Err(refused);
            }
            let reached = check.progress().last_lba_bytes;
            percent.store(percent_of(reached, capacity), Ordering::Relaxed);
            op.watch.reach(reached)?;
            piece = source.next(&mut op.watch, &pool)?;
        }
        // The host must not be told that it has everything before it is known to be whole.
        let facts = check.finish().map_err(corrupt)?;
        if let Some(recorded) = recorded {
            recorded.require(&facts)?;
        }
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
        // A copy would come out as the datastore makes all its disks, too.
        let by_request = imported.site.allocated_by.is_none();
        if imported.disk.disk_type != plan.disk_type && by_request {
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
                    extra_config: vec![tag_disks(&[&from, &to])],
                    ..machine::Changes::default()
                },
            ))?;
            op.settle(virtual_disk::copy(
                session.clone(),
                datacenter.clone(),
                from.clone(),
                to.clone(),
                plan.disk_type,
                plan.adapter,
            ))?;
            let mut converted = imported.disk.moved_to(to.clone());
            converted.disk_type = plan.disk_type;
            // The imported disk is deleted when its copy is proven to have taken its place.
            let original = Made::Disk {
                datacenter: datacenter.clone(),
                path: from.clone(),
            };
            self.undo.note(op, original)?;
            let changes = machine::Changes {
                moves: vec![
                    imported.disk.detach(),
                    imported.disk.succeed_with(&converted),
                ],
                ..machine::Changes::default()
            };
            let exchange =
                || machine::reconfigure(session.clone(), imported.vm.clone(), changes.clone());
            op.ensure(exchange, |session, _| {
                let (vm, to) = (imported.vm.clone(), to.clone());
                async move {
                    machine::come_to_rest(&session, &vm).await;
                    let attached = attached(session, vec![vm]).await?;
                    Ok(attached.contains(&to).then_some(()))
                }
            })?;
            self.undo.forget_disk(&to);
            let copied = self.only_disk(op, &imported.vm)?;
            if !copied.holds(imported.disk.capacity) {
                let datastore = &imported.site.datastore_name;
                return Err(too_small(&copied, datastore, imported.disk.capacity));
            }
            let deletion = remove_disk(session.clone(), datacenter.clone(), from.clone());
            op.settle(deletion)
                .context("delete the imported disk, of which there is a copy")?;
            self.undo.forget_disk(&from);
        }
        if !imported.disk.holds(plan.capacity) {
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
        self.compare_with_plan(imported, plan)
    }

    /// A disk that is smaller than planned is none; what else differs, differs by the datastore's
    /// rules, and the data is there.
    fn compare_with_plan(&mut self, imported: &Imported, plan: &Plan) -> Result<()> {
        let Imported { disk, site, .. } = imported;
        let datastore = &site.datastore_name;
        if !disk.holds(plan.capacity) {
            return Err(too_small(disk, datastore, plan.capacity));
        }
        if disk.capacity > plan.capacity {
            self.summary.notices.push(format!(
                "the disk has {} bytes, asked for were {}: datastore {datastore} rounds up",
                disk.capacity, plan.capacity
            ));
        }
        if disk.disk_type != plan.disk_type {
            let decider = site.allocated_by.unwrap_or("it");
            self.summary.notices.push(format!(
                "the disk is {}, asked for was {}: on datastore {datastore}, {decider} decides \
                 how disks are allocated",
                disk.disk_type, plan.disk_type
            ));
        }
        Ok(())
    }

    fn only_disk(&self, op: &mut Operation<'_>, vm: &Moref) -> Result<Disk> {
        let vm = op.run(backing::describe(op.session().clone(), vm.clone()))?;
        Disk::choose(vm.disks, None)
    }
}

fn too_small(disk: &Disk, datastore: &str, asked: u64) -> Error {
    Error::new(
        Kind::Unsupported,
        format!(
            "the server made a disk of {} bytes on {datastore}, asked for were {asked}",
            disk.capacity
        ),
    )
}

/// The tag that says where a disk may lie that was taken out of its temporary virtual machine.
pub(super) fn tag_disks(paths: &[&str]) -> (String, String) {
    let list = serde_json::Value::from(paths.to_vec());
    (tag::DISKS.to_owned(), list.to_string())
}

/// Names of virtual machines have at most 80 characters. An attempt of which nobody knows what
/// became of it keeps its name.
fn temporary_name(label: &str, operation: &str, attempt: u32) -> String {
    let label: String = label.chars().take(40).collect();
    match attempt {
        1 => format!("{label}-restore-{operation}"),
        _ => format!("{label}-restore-{operation}-{attempt}"),
    }
}

/// A file beside `path`, whose name begins alike.
fn sibling(path: &str, suffix: &str) -> String {
    let stem = path.strip_suffix(".vmdk").unwrap_or(path);
    format!("{stem}-{suffix}.vmdk")
}
