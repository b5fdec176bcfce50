//! Where a new virtual machine goes: from names, morefs and nothing at all to a site.

use super::datastore::{self, Datastore, Room};
use super::host::{self, Compute, Host};
use super::names::is_named;
use super::property::Properties;
use super::{Moref, Session, folder, property};
use crate::error::{Error, Kind, Result};
use crate::volume::Placement;

/// A place for a virtual machine.
#[derive(Clone, Debug)]
pub struct Site {
    /// The datacenter.
    pub datacenter: Moref,
    /// The folder; in a vApp, virtual machines are in none.
    pub folder: Moref,
    /// Folders below it that are still to be made ([`furnish`]).
    pub missing_folders: Vec<String>,
    /// The resource pool or the vApp.
    pub resource_pool: Moref,
    /// A host that is up and mounts the datastore: clusters without DRS need to be told.
    pub host: Option<Moref>,
    /// The datastore, where it is known by more than its name.
    pub datastore: Option<Moref>,
    /// The datastore's name, as the server keeps it.
    pub datastore_name: String,
    /// Who decides how the blocks of a disk there are allocated, where it is not the request.
    pub allocated_by: Option<&'static str>,
}

impl Site {
    /// Whether virtual machines made there belong to a vApp.
    pub fn is_in_vapp(&self) -> bool {
        self.resource_pool.kind == VAPP
    }

    /// What a virtual machine made there is right below, and shares the permissions of.
    pub fn parent(&self) -> &Moref {
        match self.is_in_vapp() {
            true => &self.resource_pool,
            false => &self.folder,
        }
    }
}

/// A resource pool that is a thing of its own in the inventory.
const VAPP: &str = "VirtualApp";

type Listed = Vec<(Moref, Properties)>;

/// Chooses the site for a disk that needs `room`. Nothing is made there yet.
///
/// # Errors
/// [`Kind::NotFound`] for a name that is none, [`Kind::InvalidArgument`] where the caller must
/// choose, [`Kind::NoSpace`] where no datastore has room, [`Kind::InvalidState`] where no host or
/// no datastore can be used now, with each one's reason.
pub async fn choose(session: Session, placement: Placement, room: Room) -> Result<Site> {
    let root = session.content().root_folder.clone();
    let datacenters = property::below(&session, &root, "Datacenter", &["name", "vmFolder"]).await?;
    let (datacenter, known) = only(datacenters, placement.datacenter.as_deref(), "datacenter")?;
    let wanted = placement.compute.as_deref();
    let mut computes: Vec<Compute> = host::computes(&session, &datacenter)
        .await?
        .into_iter()
        .filter_map(|compute| narrow(compute, wanted))
        .collect();
    if computes.is_empty() {
        return Err(missing(
            "cluster or host",
            wanted,
            "to be seen by this user",
        ));
    }
    let pool = match placement.resource_pool.as_deref() {
        Some(wanted) => Some(pool(&session, &datacenter, &mut computes, wanted).await?),
        None => None,
    };
    require_host(&computes, room)?;
    let datastores = datastore::all(&session, &datacenter).await?;
    let datastore = pick(datastores, placement.datastore.as_deref(), &computes, room)?;
    let (compute, host) = usable(&computes, &datastore, room).next().ok_or_else(|| {
        Error::new(
            Kind::InvalidState,
            format!("no usable host mounts datastore {}", datastore.name),
        )
    })?;
    let resource_pool = pool.or_else(|| compute.pool.clone()).ok_or_else(|| {
        Error::new(
            Kind::Fault,
            format!("{} has no resource pool", compute.name),
        )
    })?;
    let vm_folder = known
        .moref("vmFolder")
        .ok_or_else(|| no_vm_folder(&datacenter))?;
    let (folder, missing_folders) = match &placement.folder {
        Some(path) if resource_pool.kind == VAPP => {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "placement: resource pool {resource_pool} is a vApp, whose virtual machines \
                     are in no folder, and folder {path:?} is given"
                ),
            )
            .remedy("give only one of the two"));
        }
        Some(path) => folder::find(&session, vm_folder, path).await?,
        None => (vm_folder, Vec::new()),
    };
    Ok(Site {
        datacenter,
        folder,
        missing_folders,
        resource_pool,
        host: Some(host.moref.clone()),
        allocated_by: datastore.allocated_by(),
        datastore: Some(datastore.moref),
        datastore_name: datastore.kept_name,
    })
}

/// Makes the folders that the site lacks; they stay.
///
/// # Errors
/// What the server answers.
pub async fn furnish(session: Session, site: Site) -> Result<Site> {
    let folder = folder::make(&session, site.folder, &site.missing_folders).await?;
    Ok(Site {
        folder,
        missing_folders: Vec::new(),
        ..site
    })
}

/// # Errors
/// [`Kind::Exists`] when something in the site's folder bears `name` already.
pub async fn require_vacant(session: Session, site: &Site, name: &str) -> Result<()> {
    if !site.missing_folders.is_empty() {
        return Ok(());
    }
    match folder::child(&session, site.parent(), name).await? {
        None => Ok(()),
        Some(found) => Err(Error::new(
            Kind::Exists,
            format!("{name:?} is the name of {found} already, which is not the volume's backing"),
        )
        .with_object(&found.value)),
    }
}

pub(super) fn no_vm_folder(datacenter: &Moref) -> Error {
    Error::new(
        Kind::Fault,
        format!("datacenter {datacenter} has no VM folder"),
    )
}

pub(super) fn missing(what: &str, wanted: Option<&str>, condition: &str) -> Error {
    match wanted {
        Some(name) => Error::new(
            Kind::NotFound,
            format!("no {what} {name:?} that is {condition}"),
        ),
        None => Error::new(Kind::NotFound, format!("no {what} that is {condition}")),
    }
}

fn only(listed: Listed, wanted: Option<&str>, what: &str) -> Result<(Moref, Properties)> {
    let names: Vec<String> = listed.iter().map(|(moref, o)| o.name_or(moref)).collect();
    let mut fitting: Listed = listed
        .into_iter()
        .filter(|(moref, o)| wanted.is_none_or(|text| is_named(moref, &o.name(), text)))
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

/// What is left of `compute` when `wanted` names it, or one of its hosts.
fn narrow(mut compute: Compute, wanted: Option<&str>) -> Option<Compute> {
    if let Some(text) = wanted
        && !is_named(&compute.moref, &compute.name, text)
    {
        compute
            .hosts
            .retain(|host| is_named(&host.moref, &host.name, text));
    }
    (!compute.hosts.is_empty()).then_some(compute)
}

/// # Errors
/// [`Kind::InvalidState`] when no host can take a virtual machine, with each one's reason.
fn require_host(computes: &[Compute], room: Room) -> Result<()> {
    let hosts = computes.iter().flat_map(|compute| &compute.hosts);
    let reasons: Option<Vec<String>> = hosts
        .map(|host| {
            Some(format!(
                "{} {}",
                host.name,
                host.obstacle_for(room.capacity)?
            ))
        })
        .collect();
    let Some(reasons) = reasons else {
        return Ok(());
    };
    let reasons = reasons.join("; ");
    let mut hosts = computes.iter().flat_map(|compute| &compute.hosts);
    // Another host may be up later; another size has to be asked for.
    let (kind, remedy) = match hosts.any(|host| host.obstacle.is_some()) {
        true => (
            Kind::InvalidState,
            "take a host out of maintenance, or place it on another",
        ),
        false => (Kind::InvalidArgument, "ask for a smaller disk"),
    };
    let message = format!("no host can take a virtual machine: {reasons}");
    Err(Error::new(kind, message).remedy(remedy))
}

/// The hosts that can make a disk on the datastore, those in quarantine last.
fn usable<'c>(
    computes: &'c [Compute],
    datastore: &Datastore,
    room: Room,
) -> impl Iterator<Item = (&'c Compute, &'c Host)> {
    let mut all: Vec<(&Compute, &Host)> = computes
        .iter()
        .flat_map(|compute| compute.hosts.iter().map(move |host| (compute, host)))
        .filter(|(_, host)| host.obstacle_for(room.capacity).is_none())
        .filter(|(_, host)| datastore.is_writable_on(&host.moref))
        .collect();
    all.sort_by_key(|(_, host)| host.degraded);
    all.into_iter()
}

fn pick(
    mut all: Vec<Datastore>,
    wanted: Option<&str>,
    computes: &[Compute],
    room: Room,
) -> Result<Datastore> {
    if let Some(text) = wanted {
        all.retain(|datastore| is_named(&datastore.moref, &datastore.name, text));
    }
    if all.is_empty() {
        return Err(missing("datastore", wanted, "to be seen by this user"));
    }
    let mut best: Option<(usize, Datastore)> = None;
    let mut reasons = Vec::new();
    let mut kinds = Vec::new();
    for datastore in all {
        let hosts = usable(computes, &datastore, room).count();
        let obstacle = datastore.obstacle(room).or_else(|| {
            let all = || computes.iter().flat_map(|compute| &compute.hosts);
            let why = || datastore.unusable_on(all(), room.capacity);
            (hosts == 0).then(|| (Kind::InvalidState, why()))
        });
        match obstacle {
            Some((kind, why)) => {
                reasons.push(format!("{} {why}", datastore.name));
                kinds.push(kind);
            }
            None => {
                let better = best
                    .as_ref()
                    .is_none_or(|(most, best)| (hosts, datastore.free) >= (*most, best.free));
                if better {
                    best = Some((hosts, datastore));
                }
            }
        }
    }
    best.map(|(_, datastore)| datastore).ok_or_else(|| {
        let full = kinds.contains(&Kind::NoSpace).then_some(Kind::NoSpace);
        let kind = full.or(kinds.first().copied()).unwrap_or(Kind::NotFound);
        Error::new(kind, format!("no usable datastore: {}", reasons.join("; ")))
    })
}

/// The pool that is meant, and of `computes` only the one that it belongs to.
async fn pool(
    session: &Session,
    datacenter: &Moref,
    computes: &mut Vec<Compute>,
    wanted: &str,
) -> Result<Moref> {
    let mut pools =
        property::below(session, datacenter, "ResourcePool", &["name", "owner"]).await?;
    let of_compute =
        |compute: &Compute, pool: &Properties| pool.moref("owner").as_ref() == Some(&compute.moref);
    pools.retain(|(_, pool)| computes.iter().any(|compute| of_compute(compute, pool)));
    let (moref, pool) = only(pools, Some(wanted), "resource pool")?;
    computes.retain(|compute| of_compute(compute, &pool));
    Ok(moref)
}
