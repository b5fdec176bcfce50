//! A backup comes back: as a new backing, or into the existing one in place of its disk.

use super::backup::percent_of;
use super::metadata::Metadata;
use super::operation::Operation;
use super::proof::{compare_manifest, corrupt, new_check};
use super::source::Source;
use super::undo::{Made, Undo};
use super::{Common, Summary, validate_backup_id};
use crate::client::Client;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::service::{BackupService, Staging};
use crate::slab::{SLABS, SlabPool};
use crate::vmdk::{Check, Facts};
use crate::volume::{AdapterType, DiskType, Volume};
use crate::vsphere::backing::{self, Backing, NewBacking};
use crate::vsphere::device::Disk;
use crate::vsphere::placement::{self, Site};
use crate::vsphere::{Moref, nfc, tag, virtual_disk};
use bytes::Bytes;
use std::sync::atomic::Ordering;

/// How a backup is restored.
#[derive(Default)]
pub struct RestoreOptions<'a> {
    /// The name the backup was made under.
    pub backup_id: String,
    /// What every operation has.
    pub common: Common<'a>,
}

/// Restores a backup from `service` into `volume`.
///
/// Where the volume has a backing, its disk is replaced and the backing stays the same object;
/// else a backing is made. The old disk is deleted only after the new one is attached and proven;
/// on any error the volume is as it was.
///
/// # Errors
/// Every [`Kind`]; see the README's table.
pub fn restore_backup(
    client: &Client,
    service: &dyn BackupService,
    volume: &Volume,
    options: RestoreOptions<'_>,
) -> Result<Summary> {
    volume.validate()?;
    validate_backup_id(&options.backup_id)?;
    let staging = options.common.staging(service.staging())?;
    let mut op = Operation::begin(
        client,
        volume.label(),
        options.common.progress,
        options.common.cancel,
    )?;
    let mut restore = Restore {
        service,
        volume,
        backup_id: options.backup_id,
        staging,
        temp_dir: options.common.temp_dir,
        stall: options.common.stall_timeout.unwrap_or(super::STALL_TIMEOUT),
        summary: Summary::default(),
        undo: Undo::default(),
    };
    match restore.run(&mut op) {
        Ok(()) => {
            if restore.undo.is_settled() {
                op.end_journal();
            }
            Ok(restore.summary)
        }
        Err(error) => {
            let error = restore.undo.after(&mut op, error);
            Err(op.explain(error.context(format_args!(
                "restore of backup {} into volume {}",
                restore.backup_id,
                volume.label()
            ))))
        }
    }
}

pub(super) struct Restore<'a> {
    service: &'a dyn BackupService,
    volume: &'a Volume,
    backup_id: String,
    staging: Staging,
    temp_dir: Option<std::path::PathBuf>,
    stall: std::time::Duration,
    pub(super) summary: Summary,
    pub(super) undo: Undo,
}

/// The backing to restore into, and its disk that is to be replaced.
pub(super) struct Existing {
    pub(super) backing: Backing,
    pub(super) disk: Disk,
}

/// What the restored disk is to be.
struct Plan {
    capacity: u64,
    disk_type: DiskType,
    adapter: AdapterType,
}

/// A disk that was imported and proven, in the temporary virtual machine that holds it.
pub(super) struct Imported {
    pub(super) vm: Moref,
    pub(super) disk: Disk,
    pub(super) site: Site,
}

impl Restore<'_> {
    fn run(&mut self, op: &mut Operation<'_>) -> Result<()> {
        self.summary.operation = op.id().to_owned();
        op.enter(Phase::Prepare, 0)?;
        let found = op.run(backing::find(op.session().clone(), self.volume.clone()))?;
        let existing = found.map(|backing| self.replaceable(backing)).transpose()?;
        if existing.is_none() && self.volume.name.is_empty() {
            return Err(Error::new(
                Kind::InvalidArgument,
                "there is no backing, and a new one needs the volume's name",
            ));
        }

        let mut reader = self
            .service
            .open(&self.backup_id)
            .context("open it in the service")?;
        let metadata = reader.metadata().context("read its metadata")?;
        let metadata = metadata.as_deref().map(Metadata::from_json).transpose()?;
        if metadata.is_none() {
            self.summary
                .notices
                .push("the backup has no metadata: only its stream itself was proven".into());
        }
        let mut source = match self.staging {
            Staging::Stream => Source::stream(reader),
            Staging::File => {
                let wanted = self.service.staging();
                Source::staged(op, reader, wanted, self.temp_dir.as_deref())?
            }
        };

        let pool = SlabPool::new(SLABS);
        let mut check = new_check()?;
        let head = source
            .next(op, &pool)?
            .ok_or_else(|| Error::new(Kind::Corrupt, "the stream is empty"))?;
        check.feed(head.clone()).map_err(corrupt)?;
        let capacity = match check.header() {
            Some(header) => header.capacity_bytes(),
            None => {
                return Err(Error::new(
                    Kind::Corrupt,
                    "the stream ends within its header",
                ));
            }
        };
        agree(metadata.as_ref(), capacity, source.length())?;
        let plan = self.plan(capacity, metadata.as_ref(), existing.as_ref())?;
        let site = self.site(op, &plan, metadata.as_ref(), existing.as_ref())?;

        let mut imported = self.import(op, &plan, capacity, site, |op, restore, upload| {
            let facts = restore.upload(op, check, head, &mut source, &pool, upload)?;
            if let Some(metadata) = &metadata {
                metadata.stream.require(&facts)?;
            }
            Ok(facts)
        })?;
        self.convert(op, &mut imported, &plan)?;
        match existing {
            Some(existing) => self.replace(op, existing, imported),
            None => self.adopt(op, imported, metadata.as_ref()),
        }
    }

    /// Refuses a backing whose disk cannot be replaced, before anything is made.
    fn replaceable(&self, backing: Backing) -> Result<Existing> {
        backing.require_powered_off()?;
        let refuse = |kind, why: String, remedy: &str| {
            Err(Error::new(kind, why)
                .with_object(&backing.moref.value)
                .remedy(remedy))
        };
        if backing.is_template {
            return refuse(
                Kind::InvalidState,
                format!("{} is a template", backing.name),
                "convert it to a virtual machine first",
            );
        }
        if !backing.snapshots.is_empty() {
            return refuse(
                Kind::InvalidState,
                format!(
                    "{} has snapshots, which would lose their disk: {}",
                    backing.name,
                    backing.snapshots.join(", ")
                ),
                "delete the snapshots first",
            );
        }
        let disk = Disk::choose(backing.disks.clone(), self.volume.disk_key)?;
        if disk.has_parent {
            return refuse(
                Kind::InvalidState,
                format!("disk {} ({}) is a delta on another", disk.key, disk.file),
                "consolidate the disks first",
            );
        }
        Ok(Existing { backing, disk })
    }

    fn plan(
        &self,
        capacity: u64,
        metadata: Option<&Metadata>,
        existing: Option<&Existing>,
    ) -> Result<Plan> {
        let recorded = metadata.map(|metadata| &metadata.volume);
        // A volume that exists never gets smaller.
        let wanted = existing
            .map_or(0, |existing| existing.disk.capacity)
            .max(self.volume.size_bytes);
        if wanted != 0 && wanted < capacity {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("the backup's disk has {capacity} bytes, the volume only {wanted}"),
            )
            .remedy("restore into a volume at least as large"));
        }
        let disk_type = self
            .volume
            .disk_type
            .or_else(|| DiskType::from_name(&recorded?.disk_type))
            .or_else(|| Some(existing?.disk.disk_type))
            .unwrap_or(DiskType::Thin);
        let adapter = match existing {
            Some(existing) => existing.disk.adapter,
            None => self
                .volume
                .adapter_type
                .or_else(|| AdapterType::from_name(recorded?.adapter_type.as_deref()?)),
        };
        Ok(Plan {
            capacity: wanted.max(capacity),
            disk_type,
            adapter: adapter.unwrap_or(AdapterType::LsiLogic),
        })
    }

    fn site(
        &self,
        op: &mut Operation<'_>,
        plan: &Plan,
        metadata: Option<&Metadata>,
        existing: Option<&Existing>,
    ) -> Result<Site> {
        let needed = match plan.disk_type {
            DiskType::Thin => metadata.map_or(0, |metadata| metadata.stream.populated),
            DiskType::Thick | DiskType::EagerZeroedThick => plan.capacity,
        };
        let session = op.session().clone();
        match existing {
            Some(Existing { backing, disk }) => op.run(placement::beside(
                session,
                backing.clone(),
                disk.clone(),
                needed,
            )),
            None => {
                let placement = self.volume.placement.clone();
                let name = self.volume.name.clone();
                op.run(async move {
                    let site = placement::choose(session.clone(), placement, needed).await?;
                    placement::require_vacant(session, &site, &name).await?;
                    Ok(site)
                })
            }
        }
    }

    /// Imports the disk into a temporary virtual machine; `send` moves and proves the stream.
    fn import(
        &mut self,
        op: &mut Operation<'_>,
        plan: &Plan,
        capacity: u64,
        site: Site,
        send: impl FnOnce(&mut Operation<'_>, &mut Self, Destination<'_>) -> Result<Facts>,
    ) -> Result<Imported> {
        op.enter(Phase::Create, 0)?;
        let session = op.session().clone();
        let new = NewBacking {
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
        let granted = op.settle(backing::import(session.clone(), new, site.clone()))?;
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

    fn upload(
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
    fn convert(
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
            op.settle(backing::reconfigure(
                session.clone(),
                imported.vm.clone(),
                backing::Changes {
                    extra_config: vec![tag_disks(&[&to])],
                    ..backing::Changes::default()
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
            let changes = backing::Changes {
                devices: vec![
                    imported.disk.destroy(),
                    imported.disk.succeed_with(&converted),
                ],
                ..backing::Changes::default()
            };
            op.settle(backing::reconfigure(
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

    /// The temporary virtual machine becomes the backing, in one step.
    fn adopt(
        &mut self,
        op: &mut Operation<'_>,
        imported: Imported,
        metadata: Option<&Metadata>,
    ) -> Result<()> {
        op.enter(Phase::Replace, 0)?;
        let volume = self.volume;
        let mut extra_config: Vec<(String, String)> = tag::ALL
            .iter()
            .map(|key| ((*key).to_owned(), String::new()))
            .collect();
        extra_config.extend(match (&*volume.extra_config, metadata) {
            ([], Some(metadata)) => super::metadata::agent_config(&metadata.volume.extra_config),
            (given, _) => given.to_vec(),
        });
        let changes = backing::Changes {
            name: Some(volume.name.clone()),
            instance_uuid: volume.id.clone(),
            devices: volume
                .id
                .iter()
                .map(|id| imported.disk.set_uuid(id))
                .collect(),
            extra_config,
            profile: volume.storage_profile.clone(),
        };
        let session = op.session().clone();
        let adopted = op.settle(backing::reconfigure(
            session.clone(),
            imported.vm.clone(),
            changes,
        ));
        // Whatever the answer was, or if it was lost: the tag went in the same step.
        let made = op.settle(backing::describe(session, imported.vm.clone()));
        let made = match (adopted, made) {
            (_, Ok(made)) if made.extra(tag::OPERATION).is_none() => made,
            (Err(error), _) | (Ok(()), Err(error)) => return Err(error),
            (Ok(()), Ok(made)) => {
                return Err(Error::new(
                    Kind::Fault,
                    format!("the server did not take the tag off {}", made.moref),
                ));
            }
        };
        self.undo.keep_vm();
        self.summary.backing = imported.vm.value.clone();
        self.summary.backing_created = true;
        let id_kept = volume.id.is_none() || same_uuid(&made.instance_uuid, &volume.id);
        if made.name != volume.name || !id_kept {
            self.summary.notices.push(format!(
                "the server calls the new backing {:?} with instance UUID {:?}",
                made.name, made.instance_uuid
            ));
        }
        Ok(())
    }

    fn only_disk(&self, op: &mut Operation<'_>, vm: &Moref) -> Result<Disk> {
        let vm = op.run(backing::describe(op.session().clone(), vm.clone()))?;
        Disk::choose(vm.disks, None)
    }
}

/// Where an upload goes.
pub(super) struct Destination<'a> {
    lease: &'a crate::vsphere::lease::Lease,
    capacity: u64,
}

/// What the metadata says must fit what the stream's header and length say.
fn agree(metadata: Option<&Metadata>, capacity: u64, length: u64) -> Result<()> {
    let Some(Metadata { stream, .. }) = metadata else {
        return Ok(());
    };
    if stream.capacity != capacity || stream.length != length {
        return Err(Error::new(
            Kind::Corrupt,
            format!(
                "the stream has {length} bytes for a disk of {capacity}, recorded were {} for {}",
                stream.length, stream.capacity
            ),
        ));
    }
    Ok(())
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
pub(super) fn sibling(path: &str, suffix: &str) -> String {
    let stem = path.strip_suffix(".vmdk").unwrap_or(path);
    format!("{stem}-{suffix}.vmdk")
}

/// UUIDs are compared without regard to case and grouping, in which servers differ.
pub(super) fn same_uuid(one: &Option<String>, other: &Option<String>) -> bool {
    let digits = |uuid: &Option<String>| -> Option<String> {
        let digits = uuid.as_deref()?.chars().filter(char::is_ascii_hexdigit);
        Some(digits.collect::<String>().to_ascii_lowercase())
    };
    digits(one) == digits(other)
}
