//! What a restore is going to do, and whether it can: decided before anything is made.

use super::metadata::{Metadata, StreamRecord};
use super::operation::Operation;
use super::restore::Restore;
use super::sizes;
use crate::error::{Error, Kind, Result};
use crate::volume::{AdapterType, DiskType};
use crate::vsphere::backing::Backing;
use crate::vsphere::beside::beside;
use crate::vsphere::datastore::Room;
use crate::vsphere::device::Disk;
use crate::vsphere::placement::{self, Site};
use crate::vsphere::virtual_disk::{datastore_of, folder_of};

/// The backing to restore into, and its disk that is to be replaced.
pub(super) struct Existing {
    pub(super) backing: Backing,
    pub(super) disk: Disk,
}

impl Existing {
    /// Where the restored disk is to lie: in the backing's own folder. Another machine's folder,
    /// in which the old disk may lie, goes with that machine on some servers.
    pub(super) fn folder(&self) -> &str {
        let beside = folder_of(&self.disk.file);
        let home = self.backing.home();
        let same = |home: &&str| datastore_of(home) == datastore_of(beside);
        home.filter(same).unwrap_or(beside)
    }
}

/// What the restored disk is to be.
pub(super) struct Plan {
    pub(super) capacity: u64,
    pub(super) disk_type: DiskType,
    pub(super) adapter: AdapterType,
}

impl Restore<'_> {
    /// Refuses a backing whose disk cannot be replaced, before anything is made.
    pub(super) fn replaceable(&self, backing: Backing) -> Result<Existing> {
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

    pub(super) fn plan(
        &mut self,
        capacity: u64,
        metadata: Option<&Metadata>,
        existing: Option<&Existing>,
    ) -> Result<Plan> {
        let recorded = metadata.map(|metadata| &metadata.volume);
        // A volume that exists never gets smaller.
        let present = existing.map_or(0, |Existing { disk, .. }| {
            // Of a size that is told in KiB, the backup knows the rest.
            match disk.measures(capacity) {
                true => capacity,
                false => disk.capacity,
            }
        });
        let wanted = present.max(self.volume.size_bytes);
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
        let adapter = adapter.unwrap_or(AdapterType::LsiLogic);
        let size = match wanted > capacity {
            // Only what is imported as it is has a size of any number of sectors.
            true => sizes::makeable(wanted),
            false => capacity,
        };
        sizes::require_adapter(size, adapter)?;
        if let Some(existing) = existing {
            sizes::require_hardware(size, &existing.backing)?;
        }
        if size != wanted.max(capacity) {
            self.summary.notices.push(format!(
                "the disk gets {size} bytes, the next size that a server makes from {wanted} on"
            ));
        }
        Ok(Plan {
            capacity: size,
            disk_type,
            adapter,
        })
    }

    pub(super) fn site(
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
        let room = Room {
            bytes: needed,
            capacity: plan.capacity,
        };
        let session = op.session().clone();
        match existing {
            Some(Existing { backing, disk }) => {
                op.run(beside(session, backing.clone(), disk.clone(), room))
            }
            None => {
                let placement = self.volume.placement.clone();
                let name = self.volume.name.clone();
                op.run(async move {
                    let site = placement::choose(session.clone(), placement, room).await?;
                    placement::require_vacant(session, &site, &name).await?;
                    Ok(site)
                })
            }
        }
    }
}

/// What was recorded must fit what the stream's header and length say.
pub(super) fn agree(recorded: &StreamRecord, capacity: u64, length: u64) -> Result<()> {
    if recorded.capacity == capacity && recorded.length == length {
        return Ok(());
    }
    Err(Error::new(
        Kind::Corrupt,
        format!(
            "the stream has {length} bytes for a disk of {capacity}, recorded were {} for {}",
            recorded.length, recorded.capacity
        ),
    ))
}
