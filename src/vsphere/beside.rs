//! The place of a virtual machine that is to hold a disk beside that of an existing backing.

use super::backing::{self, Backing};
use super::datastore::{self, Datastore, Room};
use super::device::Disk;
use super::host::{self, Host};
use super::placement::{Site, no_vm_folder};
use super::{Moref, Session, property, virtual_disk};
use crate::error::{Error, Kind, Result};

/// No inventory is this deep; a server that says so is not followed for ever.
const DEEPEST: usize = 64;

/// The site of an existing backing, on the datastore of `disk`: the backing's own host and pool
/// where they can take another virtual machine, else others that can. A backing in a vApp has a
/// site outside of it.
///
/// # Errors
/// [`Kind::NoSpace`] when the datastore has not enough `room`, [`Kind::InvalidState`] when it or
/// all hosts that mount it cannot be used now, with each one's reason.
pub async fn beside(session: Session, backing: Backing, disk: Disk, room: Room) -> Result<Site> {
    let datacenter = backing::datacenter_of(session.clone(), backing.moref.clone()).await?;
    let datastore_name = virtual_disk::datastore_of(&disk.file)
        .ok_or_else(|| Error::new(Kind::Fault, format!("{:?} is no datastore path", disk.file)))?
        .to_owned();
    let datastore = match &disk.datastore {
        Some(moref) => datastore::read(&session, moref).await?,
        None => None,
    };
    let (pool, vapp_folder) = match (&backing.folder, backing.resource_pool.clone()) {
        (None, Some(pool)) => out_of_vapps(&session, pool).await?,
        (_, pool) => (pool, None),
    };
    let chosen = match &datastore {
        Some(datastore) => host(&session, &backing, datastore, pool.as_ref(), room).await?,
        None => None,
    };
    let (host, pool) = match chosen {
        Some(host) => {
            let pool = match pool {
                Some(pool) if owner(&session, &pool).await? == host.compute => Some(pool),
                _ => root_pool(&session, &host).await?,
            };
            (Some(host.moref), pool)
        }
        None => (backing.host.clone(), pool),
    };
    let resource_pool = pool.ok_or_else(|| {
        let message = format!("{} is in no resource pool", backing.moref);
        Error::new(Kind::Fault, message)
    })?;
    let folder = match backing.folder.or(vapp_folder) {
        Some(folder) => folder,
        None => property::read(&session, &datacenter, &["vmFolder"])
            .await?
            .moref("vmFolder")
            .ok_or_else(|| no_vm_folder(&datacenter))?,
    };
    Ok(Site {
        datacenter,
        folder,
        missing_folders: Vec::new(),
        resource_pool,
        allocated_by: datastore.as_ref().and_then(Datastore::allocated_by),
        host,
        datastore: disk.datastore,
        datastore_name,
    })
}

/// The host for the disk: the backing's own, one beside it, or any other; `None` where this user
/// sees none.
async fn host(
    session: &Session,
    backing: &Backing,
    datastore: &Datastore,
    pool: Option<&Moref>,
    room: Room,
) -> Result<Option<Host>> {
    let refuse = |kind, why: String| {
        let error = Error::new(kind, format!("datastore {} {why}", datastore.name));
        Err(error.with_object(&datastore.moref.value))
    };
    if let Some((kind, why)) = datastore.obstacle(room) {
        return refuse(kind, why);
    }
    let mut morefs = datastore.hosts();
    morefs.extend(backing.host.clone().filter(|own| !morefs.contains(own)));
    let hosts: Vec<Host> = property::read_each(session, &morefs, &host::PATHS)
        .await?
        .into_iter()
        .map(|(moref, o)| Host::read(moref, &o))
        .collect();
    if hosts.is_empty() {
        return Ok(None);
    }
    let own = hosts
        .iter()
        .find(|host| backing.host.as_ref() == Some(&host.moref));
    if let Some(own) = own {
        require_own(backing, own, datastore)?;
    }
    let compute = match (own, pool) {
        (Some(own), _) => own.compute.clone(),
        (None, Some(pool)) => owner(session, pool).await?,
        (None, None) => None,
    };
    let chosen = hosts
        .iter()
        .filter(|host| host.obstacle_for(room.capacity).is_none())
        .filter(|host| datastore.is_writable_on(&host.moref))
        .min_by_key(|host| {
            let is_own = backing.host.as_ref() == Some(&host.moref);
            (host.degraded, !is_own, host.compute != compute)
        });
    match chosen {
        Some(host) => Ok(Some(host.clone())),
        None => refuse(
            Kind::InvalidState,
            datastore.unusable_on(hosts.iter(), room.capacity),
        ),
    }
}

/// The backing's own host exchanges its disks: it has to be there, and to reach the datastore.
fn require_own(backing: &Backing, own: &Host, datastore: &Datastore) -> Result<()> {
    let why = match (&own.unreachable, datastore.obstacle_on(&own.moref)) {
        (Some(why), _) => why.clone(),
        (None, Some(why)) => format!("{why} (datastore {})", datastore.name),
        (None, None) => return Ok(()),
    };
    Err(Error::new(
        Kind::InvalidState,
        format!("{} is on host {}, which {why}", backing.name, own.name),
    )
    .with_object(&own.moref.value)
    .remedy("bring the host back, or move the virtual machine to another"))
}

/// The compute resource that a pool belongs to; `None` where this user may not see it.
async fn owner(session: &Session, pool: &Moref) -> Result<Option<Moref>> {
    let read = property::read_each(session, std::slice::from_ref(pool), &["owner"]).await?;
    Ok(read.first().and_then(|(_, o)| o.moref("owner")))
}

async fn root_pool(session: &Session, host: &Host) -> Result<Option<Moref>> {
    let Some(compute) = &host.compute else {
        return Ok(None);
    };
    let read = property::read(session, compute, &["resourcePool"]).await?;
    Ok(read.moref("resourcePool"))
}

/// The pool that the outermost of the vApps around `pool` is in, and the folder of that vApp;
/// `pool` itself where there is none around it.
async fn out_of_vapps(session: &Session, pool: Moref) -> Result<(Option<Moref>, Option<Moref>)> {
    let mut outside = (Some(pool.clone()), None);
    let mut at = pool;
    for _ in 0..DEEPEST {
        let is_vapp = at.kind == "VirtualApp";
        if !is_vapp && at.kind != "ResourcePool" {
            break;
        }
        let paths: &[&str] = match is_vapp {
            true => &["parent", "parentFolder"],
            false => &["parent"],
        };
        let o = property::read(session, &at, paths).await?;
        let Some(parent) = o.moref("parent") else {
            break;
        };
        if is_vapp {
            outside = (Some(parent.clone()), o.moref("parentFolder"));
        }
        at = parent;
    }
    Ok(outside)
}
