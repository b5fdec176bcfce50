//! Hosts and their clusters: which can take a virtual machine, and why the others cannot.

use super::property::{self, Properties};
use super::{Moref, Session};
use crate::error::{Context, Result};

/// What is read of a host.
pub(super) const PATHS: [&str; 7] = [
    "name",
    "parent",
    "runtime.connectionState",
    "runtime.powerState",
    "runtime.inMaintenanceMode",
    "runtime.inQuarantineMode",
    "runtime.hostMaxVirtualDiskCapacity",
];

/// A host, as a place for a virtual machine.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) moref: Moref,
    pub(super) name: String,
    /// The cluster, or the compute resource of its own, that it belongs to.
    pub(super) compute: Option<Moref>,
    /// Why nothing can be done on it.
    pub(super) unreachable: Option<String>,
    /// Why no virtual machine can be placed on it.
    pub(super) obstacle: Option<String>,
    /// In quarantine: virtual machines are placed on it only where no other host is left.
    pub(super) degraded: bool,
    /// The largest disk that it can make.
    pub(super) largest_disk: Option<u64>,
}

impl Host {
    pub(super) fn read(moref: Moref, o: &Properties) -> Host {
        let unreachable = match (
            o.text("runtime.connectionState"),
            o.text("runtime.powerState"),
        ) {
            (Some("notResponding"), _) => Some("is not responding".to_owned()),
            (Some(state), _) if state != "connected" => Some(format!("is {state}")),
            (_, Some("standBy")) => Some("is in standby".to_owned()),
            (_, Some("poweredOff")) => Some("is powered off".to_owned()),
            // A state that this user may not see is for the server to judge.
            _ => None,
        };
        let maintenance = o.text("runtime.inMaintenanceMode") == Some("true");
        Host {
            name: o.name_or(&moref),
            compute: o.moref("parent"),
            obstacle: unreachable
                .clone()
                .or_else(|| maintenance.then(|| "is in maintenance mode".to_owned())),
            unreachable,
            degraded: o.text("runtime.inQuarantineMode") == Some("true"),
            largest_disk: o.parse("runtime.hostMaxVirtualDiskCapacity"),
            moref,
        }
    }

    /// Why no virtual machine with a disk of `capacity` bytes can be placed on it.
    pub(super) fn obstacle_for(&self, capacity: u64) -> Option<String> {
        let too_small = self
            .largest_disk
            .filter(|most| (1..capacity).contains(most));
        self.obstacle.clone().or_else(|| {
            too_small.map(|most| format!("makes disks of at most {most} bytes, not of {capacity}"))
        })
    }
}

/// A cluster, or a host that stands alone.
pub(super) struct Compute {
    pub(super) moref: Moref,
    pub(super) name: String,
    pub(super) pool: Option<Moref>,
    /// All of its hosts, those in quarantine last.
    pub(super) hosts: Vec<Host>,
}

/// The clusters and hosts of a datacenter.
///
/// # Errors
/// Those of the calls.
pub(super) async fn computes(session: &Session, datacenter: &Moref) -> Result<Vec<Compute>> {
    let hosts = property::below(session, datacenter, "HostSystem", &PATHS)
        .await
        .context("list the hosts")?;
    let mut hosts: Vec<Host> = hosts
        .into_iter()
        .map(|(moref, o)| Host::read(moref, &o))
        .collect();
    hosts.sort_by_key(|host| host.degraded);
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
            name: resource.name(),
            pool: resource.moref("resourcePool"),
            hosts: hosts
                .iter()
                .filter(|host| host.compute.as_ref() == Some(&moref))
                .cloned()
                .collect(),
            moref,
        })
        .collect())
}
