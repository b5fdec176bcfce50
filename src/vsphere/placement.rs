//! Where a new virtual machine goes: from names, morefs and nothing at all to a site.

use super::backing::{self, Backing};
use super::device::Disk;
use super::property::Properties;
use super::{Moref, Session, folder, property, virtual_disk};
use crate::error::{Context, Error, Kind, Result};
use crate::volume::Placement;

/// A place for a virtual machine.
#[derive(Clone, Debug)]
pub struct Site {
    /// The datacenter.
    pub datacenter: Moref,
    /// The folder.
    pub folder: Moref,
    /// The resource pool.
    pub resource_pool: Moref,
    /// A host that is up and mounts the datastore: clusters without DRS need to be told.
    pub host: Option<Moref>,
    /// The datastore's name.
    pub datastore_name: String,
}

/// The types of datastores a disk can be imported to.
const DATASTORE_TYPES: [&str; 6] = ["vmfs", "nfs", "nfs41", "vsan", "vvol", "other"];

/// A datastore, as a place for a disk.
struct Datastore {
    name: String,
    free: u64,
    /// Usable hosts that can write to it.
    hosts: Vec<Moref>,
    /// Why it cannot be used.
    obstacle: Option<String>,
}

/// A cluster or a host of its own.
struct Compute {
    moref: Moref,
    name: String,
    pool: Option<Moref>,
    /// Its hosts, by moref and name, that are up.
    hosts: Vec<(Moref, String)>,
}

type Listed = Vec<(Moref, Properties)>;

/// Chooses the site for a disk that takes `needed` bytes. Folders of the path that do not exist
/// are created, last of all; they stay.
///
/// # Errors
/// [`Kind::NotFound`] for a name that is none, [`Kind::InvalidArgument`] where the caller must
/// choose, [`Kind::NoSpace`] where no datastore has room.
pub async fn choose(session: Session, placement: Placement, needed: u64) -> Result<Site> {
    let root = session.content().root_folder.clone();
    let datacenters = property::below(&session, &root, "Datacenter", &["name", "vmFolder"]).await?;
    let (datacenter, known) = only(datacenters, placement.datacenter.as_deref(), "datacenter")?;
    let computes = computes(&session, &datacenter).await?;
    let wanted = placement.compute.as_deref();
    let computes: Vec<Compute> = computes
        .into_iter()
        .filter_map(|compute| narrow(compute, wanted))
        .collect();
    if computes.is_empty() {
        return Err(missing(
            "cluster or host",
            wanted,
            "connected and out of maintenance",
        ));
    }
    let datastores = datastores(&session, &datacenter, &computes, needed).await?;
    let datastore = pick(datastores, placement.datastore.as_deref(), needed)?;
    let (compute, host) = computes
        .iter()
        .find_map(|compute| {
            let host = compute
                .hosts
                .iter()
                .find(|(h, _)| datastore.hosts.contains(h))?;
            Some((compute, host.0.clone()))
        })
        .ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("no usable host mounts datastore {}", datastore.name),
            )
        })?;
    let resource_pool = pool(&session, compute, placement.resource_pool.as_deref()).await?;
    let vm_folder = known
        .moref("vmFolder")
        .ok_or_else(|| no_vm_folder(&datacenter))?;
    let folder = match &placement.folder {
        Some(path) => folder::within(&session, vm_folder, path).await?,
        None => vm_folder,
    };
    Ok(Site {
        datacenter,
        folder,
        resource_pool,
        host: Some(host),
        datastore_name: datastore.name,
    })
}

/// The site of an existing backing, on the datastore of `disk`.
///
/// # Errors
/// [`Kind::NoSpace`] when the datastore has less than `needed` bytes free.
pub async fn beside(session: Session, backing: Backing, disk: Disk, needed: u64) -> Result<Site> {
    let datacenter = backing::datacenter_of(session.clone(), backing.moref.clone()).await?;
    let datastore_name = virtual_disk::datastore_of(&disk.file)
        .ok_or_else(|| Error::new(Kind::Fault, format!("{:?} is no datastore path", disk.file)))?
        .to_owned();
    if let Some(datastore) = &disk.datastore {
        let summary = property::read(&session, datastore, &["summary.freeSpace"]).await?;
        let free: u64 = summary.parse("summary.freeSpace").unwrap_or(u64::MAX);
        if free < needed {
            return Err(Error::new(
                Kind::NoSpace,
                format!("datastore {datastore_name} has {free} bytes free, {needed} are needed"),
            )
            .with_object(&datastore.value));
        }
    }
    let folder = match backing.folder {
        Some(folder) => folder,
        None => property::read(&session, &datacenter, &["vmFolder"])
            .await?
            .moref("vmFolder")
            .ok_or_else(|| no_vm_folder(&datacenter))?,
    };
    let resource_pool = backing.resource_pool.ok_or_else(|| {
        Error::new(
            Kind::Fault,
            format!("{} is in no resource pool", backing.moref),
        )
    })?;
    Ok(Site {
        datacenter,
        folder,
        resource_pool,
        host: backing.host,
        datastore_name,
    })
}

/// # Errors
/// [`Kind::Exists`] when something in the site's folder bears `name` already.
pub async fn require_vacant(session: Session, site: &Site, name: &str) -> Result<()> {
    match folder::child(&session, &site.folder, name).await? {
        None => Ok(()),
        Some(found) => Err(Error::new(
            Kind::Exists,
            format!("{name:?} is the name of {found} already, which is not the volume's backing"),
        )
        .with_object(&found.value)),
    }
}

fn no_vm_folder(datacenter: &Moref) -> Error {
    Error::new(
        Kind::Fault,
        format!("datacenter {datacenter} has no VM folder"),
    )
}

/// Whether `text` names the object: by its moref or by its name.
fn is_named(moref: &Moref, name: &str, text: &str) -> bool {
    moref.value == text || name == text
}

fn missing(what: &str, wanted: Option<&str>, condition: &str) -> Error {
    match wanted {
        Some(name) => Error::new(
            Kind::NotFound,
            format!("no {what} {name:?} that is {condition}"),
        ),
        None => Error::new(Kind::NotFound, format!("no {what} that is {condition}")),
    }
}

fn only(listed: Listed, wanted: Option<&str>, what: &str) -> Result<(Moref, Properties)> {
    let names: Vec<String> = listed
        .iter()
        .map(|(moref, o)| o.text("name").unwrap_or(&moref.value).to_owned())
        .collect();
    let mut fitting: Listed = listed
        .into_iter()
        .filter(|(moref, o)| {
            wanted.is_none_or(|text| is_named(moref, o.text("name").unwrap_or_default(), text))
        })
        .collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Error::new(
            Kind::InvalidArgument,
            format!("more than one {what} fits: {}", names.join(", ")),
        )
        .remedy(format!("name the {what}, by its moref if names repeat"))),
        (None, _) => Err(missing(what, wanted, "to be seen by this user")),
    }
}

async fn computes(session: &Session, datacenter: &Moref) -> Result<Vec<Compute>> {
    let hosts = property::below(
        session,
        datacenter,
        "HostSystem",
        &[
            "name",
            "parent",
            "runtime.connectionState",
            "runtime.inMaintenanceMode",
        ],
    )
    .await
    .context("list the hosts")?;
    let resources = property::below(
        session,
        datacenter,
        "ComputeResource",
        &["name", "resourcePool"],
    )
    .await
    .context("list the clusters")?;
    Ok(resources
        .into_iter()
        .map(|(moref, resource)| Compute {
            name: resource.text("name").unwrap_or_default().to_owned(),
            pool: resource.moref("resourcePool"),
            hosts: hosts
                .iter()
                .filter(|(_, host)| host.moref("parent").as_ref() == Some(&moref))
                .filter(|(_, host)| {
                    host.text("runtime.connectionState") == Some("connected")
                        && host.text("runtime.inMaintenanceMode") != Some("true")
                })
                .map(|(host, o)| (host.clone(), o.text("name").unwrap_or_default().to_owned()))
                .collect(),
            moref,
        })
        .collect())
}

/// What is left of `compute` when `wanted` names it, or one of its hosts.
fn narrow(mut compute: Compute, wanted: Option<&str>) -> Option<Compute> {
    if let Some(text) = wanted
        && !is_named(&compute.moref, &compute.name, text)
    {
        compute
            .hosts
            .retain(|(moref, name)| is_named(moref, name, text));
    }
    (!compute.hosts.is_empty()).then_some(compute)
}

async fn datastores(
    session: &Session,
    datacenter: &Moref,
    computes: &[Compute],
    needed: u64,
) -> Result<Vec<(Moref, Datastore)>> {
    let listed = property::below(
        session,
        datacenter,
        "Datastore",
        &[
            "name",
            "summary.accessible",
            "summary.freeSpace",
            "summary.maintenanceMode",
            "summary.type",
            "host",
        ],
    )
    .await
    .context("list the datastores")?;
    let usable: Vec<&Moref> = computes
        .iter()
        .flat_map(|compute| compute.hosts.iter().map(|(host, _)| host))
        .collect();
    Ok(listed
        .into_iter()
        .map(|(moref, o)| (moref, datastore(&o, &usable, needed)))
        .collect())
}

fn datastore(o: &Properties, usable: &[&Moref], needed: u64) -> Datastore {
    let hosts: Vec<Moref> = o
        .get("host")
        .into_iter()
        .flat_map(|mounts| mounts.children_named("DatastoreHostMount"))
        .filter(|mount| {
            let writable = mount.text_at("mountInfo.accessMode") != Some("readOnly");
            // A host that does not say is taken at its word that it mounts the datastore.
            let accessible = mount.text_at("mountInfo.accessible") != Some("false");
            writable && accessible
        })
        .filter_map(|mount| mount.child("key").and_then(Moref::from_node))
        .filter(|host| usable.contains(&host))
        .collect();
    let free = o.parse("summary.freeSpace").unwrap_or(0);
    let kind = o.text("summary.type").unwrap_or_default().to_lowercase();
    let obstacle = if o.text("summary.accessible") != Some("true") {
        Some("is not accessible".to_owned())
    } else if o
        .text("summary.maintenanceMode")
        .is_some_and(|mode| mode != "normal")
    {
        Some("is in maintenance".to_owned())
    } else if !DATASTORE_TYPES.contains(&kind.as_str()) {
        Some(format!("is of type {kind}, which holds no virtual disks"))
    } else if hosts.is_empty() {
        Some("is mounted writable by no usable host".to_owned())
    } else if free < needed {
        Some(format!("has {free} bytes free, {needed} are needed"))
    } else {
        None
    };
    Datastore {
        name: o.text("name").unwrap_or_default().to_owned(),
        free,
        hosts,
        obstacle,
    }
}

fn pick(mut all: Vec<(Moref, Datastore)>, wanted: Option<&str>, needed: u64) -> Result<Datastore> {
    if let Some(text) = wanted {
        all.retain(|(moref, datastore)| is_named(moref, &datastore.name, text));
        if all.is_empty() {
            return Err(missing("datastore", wanted, "to be seen by this user"));
        }
    }
    let reasons: Vec<String> = all
        .iter()
        .filter_map(|(_, d)| Some(format!("{} {}", d.name, d.obstacle.as_ref()?)))
        .collect();
    let full = all
        .iter()
        .any(|(_, d)| d.obstacle.is_some() && d.free < needed);
    all.into_iter()
        .map(|(_, datastore)| datastore)
        .filter(|datastore| datastore.obstacle.is_none())
        .max_by_key(|datastore| (datastore.hosts.len(), datastore.free))
        .ok_or_else(|| {
            let kind = if full { Kind::NoSpace } else { Kind::NotFound };
            Error::new(kind, format!("no usable datastore: {}", reasons.join("; ")))
        })
}

async fn pool(session: &Session, compute: &Compute, wanted: Option<&str>) -> Result<Moref> {
    let root = compute.pool.clone().ok_or_else(|| {
        Error::new(
            Kind::Fault,
            format!("{} has no resource pool", compute.name),
        )
    })?;
    let Some(text) = wanted else {
        return Ok(root);
    };
    if root.value == text {
        return Ok(root);
    }
    let pools = property::below(session, &compute.moref, "ResourcePool", &["name"]).await?;
    only(pools, wanted, "resource pool").map(|(moref, _)| moref)
}
