//! Datastores: which can take a disk, of which size, and who decides how its blocks are allocated.

use super::host::Host;
use super::property::{self, Properties};
use super::{Moref, Session};
use crate::error::{Context, Kind, Result};
use crate::volume::is_expressible;

/// The types of datastores a disk can be imported to.
const TYPES: [&str; 6] = ["vmfs", "nfs", "nfs41", "vsan", "vvol", "other"];

/// The largest disk of any datastore, where the server does not name its own limit.
pub(crate) const LARGEST_DISK: u64 = 62 << 40;

/// What is read of a datastore.
const PATHS: [&str; 8] = [
    "name",
    "summary.accessible",
    "summary.freeSpace",
    "summary.maintenanceMode",
    "summary.type",
    "host",
    "info.maxVirtualDiskCapacity",
    "capability.perFileThinProvisioningSupported",
];

/// What a disk needs of the place it goes to.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The bytes that it takes at once.
    pub bytes: u64,
    /// Its size in bytes.
    pub capacity: u64,
}

/// How one host mounts a datastore.
#[derive(Clone, Debug)]
struct Mount {
    host: Moref,
    /// Why the host cannot write to it.
    obstacle: Option<&'static str>,
}

/// A datastore, as a place for a disk.
#[derive(Clone, Debug)]
pub(super) struct Datastore {
    pub(super) moref: Moref,
    pub(super) name: String,
    /// As the server keeps it, which is how paths name it.
    pub(super) kept_name: String,
    pub(super) free: u64,
    kind: String,
    accessible: Option<bool>,
    maintenance: bool,
    mounts: Vec<Mount>,
    largest_disk: Option<u64>,
    /// Whether single disks can be thin.
    thin: Option<bool>,
}

/// All datastores of a datacenter.
///
/// # Errors
/// Those of the calls.
pub(super) async fn all(session: &Session, datacenter: &Moref) -> Result<Vec<Datastore>> {
    let listed = property::below(session, datacenter, "Datastore", &PATHS)
        .await
        .context("list the datastores")?;
    let all = listed.into_iter().map(|(moref, o)| describe(moref, &o));
    Ok(all.collect())
}

/// One datastore; `None` where this user sees nothing of it.
///
/// # Errors
/// Those of the calls.
pub(super) async fn read(session: &Session, moref: &Moref) -> Result<Option<Datastore>> {
    let found = property::read_each(session, std::slice::from_ref(moref), &PATHS)
        .await
        .with_context(|| format!("read datastore {moref}"))?;
    let found = found.into_iter().next();
    Ok(found.map(|(moref, o)| describe(moref, &o)))
}

fn describe(moref: Moref, o: &Properties) -> Datastore {
    let mounts = o.get("host").into_iter();
    let mounts = mounts.flat_map(|mounts| mounts.children_named("DatastoreHostMount"));
    let mounts = mounts.filter_map(|mount| {
        let says = |path: &str, word: &str| mount.text_at(path) == Some(word);
        // A host that does not say is taken at its word that it mounts the datastore.
        let obstacle = if says("mountInfo.mounted", "false") {
            Some("does not mount it any more")
        } else if says("mountInfo.accessible", "false") {
            Some("cannot reach it")
        } else if says("mountInfo.accessMode", "readOnly") {
            Some("mounts it read-only")
        } else {
            None
        };
        Some(Mount {
            host: mount.child("key").and_then(Moref::from_node)?,
            obstacle,
        })
    });
    Datastore {
        name: o.name(),
        kept_name: o.text("name").unwrap_or_default().to_owned(),
        // What this user may not see is for the server to judge.
        free: o.parse("summary.freeSpace").unwrap_or(u64::MAX),
        kind: o.text("summary.type").unwrap_or_default().to_lowercase(),
        accessible: o.parse("summary.accessible"),
        maintenance: o
            .text("summary.maintenanceMode")
            .is_some_and(|mode| mode != "normal"),
        mounts: mounts.collect(),
        largest_disk: o.parse("info.maxVirtualDiskCapacity"),
        thin: o.parse("capability.perFileThinProvisioningSupported"),
        moref,
    }
}

impl Datastore {
    /// The hosts that it says mount it.
    pub(super) fn hosts(&self) -> Vec<Moref> {
        self.mounts.iter().map(|mount| mount.host.clone()).collect()
    }

    /// Why `host` cannot write to it.
    pub(super) fn obstacle_on(&self, host: &Moref) -> Option<&'static str> {
        match self.mounts.iter().find(|mount| mount.host == *host) {
            Some(mount) => mount.obstacle,
            None => Some("does not mount it"),
        }
    }

    /// Whether `host` can write to it.
    pub(super) fn is_writable_on(&self, host: &Moref) -> bool {
        self.obstacle_on(host).is_none()
    }

    /// Why a disk that needs `room` cannot go there, whichever host makes it.
    pub(super) fn obstacle(&self, room: Room) -> Option<(Kind, String)> {
        let Room { bytes, capacity } = room;
        let most = self.largest_disk.unwrap_or(LARGEST_DISK);
        let (kind, why) = if self.accessible == Some(false) {
            (Kind::InvalidState, "is not accessible".to_owned())
        } else if !is_expressible(&self.kept_name) {
            let why = "has characters in its name that cannot be sent back to the server";
            (Kind::Unsupported, why.to_owned())
        } else if self.maintenance {
            (Kind::InvalidState, "is in maintenance".to_owned())
        } else if !self.kind.is_empty() && !TYPES.contains(&self.kind.as_str()) {
            let kind = &self.kind;
            let why = format!("is of type {kind}, which holds no virtual disks");
            (Kind::NotFound, why)
        } else if most > 0 && most < capacity {
            let why = format!("holds disks of at most {most} bytes, not of {capacity}");
            (Kind::InvalidArgument, why)
        } else if self.free < bytes {
            let free = self.free;
            let why = format!("has {free} bytes free, {bytes} are needed");
            (Kind::NoSpace, why)
        } else {
            return None;
        };
        Some((kind, why))
    }

    /// Why no one of `hosts` can make a disk of `capacity` bytes there, host by host.
    pub(super) fn unusable_on<'h>(
        &self,
        hosts: impl Iterator<Item = &'h Host>,
        capacity: u64,
    ) -> String {
        let reasons: Vec<String> = hosts
            .map(|host| {
                let mount = self.obstacle_on(&host.moref).map(str::to_owned);
                let why = host.obstacle_for(capacity).or(mount);
                format!("{} {}", host.name, why.unwrap_or_default())
            })
            .collect();
        match reasons.is_empty() {
            true => "is mounted by no host that this user sees".into(),
            false => format!("can be written by no usable host ({})", reasons.join("; ")),
        }
    }

    /// Where it is not the request that decides how a disk's blocks are allocated: what does.
    pub(super) fn allocated_by(&self) -> Option<&'static str> {
        match (self.kind.as_str(), self.thin) {
            ("vsan" | "vvol", _) => Some("its storage policy"),
            (_, Some(false)) => Some("the datastore, which has no thin disks"),
            _ => None,
        }
    }
}
