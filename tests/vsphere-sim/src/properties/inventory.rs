//! The properties of everything in the inventory but virtual machines.

use crate::options::DatastoreKind;
use crate::wire::{Fault, Object, Outcome, Ref, Value, object, reference};
use crate::world::World;
use crate::world::datastore::{Datastore, LARGEST_DISK};
use crate::world::inventory::{Body, Compute, Datacenter, Folder, Host, Pool};
use crate::world::machine::Power;

pub fn folder(folder: &Folder, name: &str) -> Option<Value> {
    Some(match name {
        "childEntity" => Value::refs(folder.children.iter().cloned()),
        "childType" => folder.child_types.clone().into(),
        _ => return None,
    })
}

pub fn datacenter(
    world: &World,
    target: &Ref,
    datacenter: &Datacenter,
    name: &str,
) -> Option<Value> {
    Some(match name {
        "vmFolder" => Value::from(&datacenter.vm_folder),
        "hostFolder" => Value::from(&datacenter.host_folder),
        "datastoreFolder" => Value::from(&datacenter.datastore_folder),
        "networkFolder" => Value::from(&datacenter.network_folder),
        "datastore" => Value::refs(world.datastores_of(target)),
        "network" => Value::refs(world.networks_near(target)),
        "configuration" => object("DatacenterConfigInfo").into(),
        _ => return None,
    })
}

/// What each host has.
const CORES: i64 = 8;
const MEGAHERTZ: i64 = 2_500;
const MEMORY: i64 = 64 << 30;

fn compute_summary(world: &World, target: &Ref, compute: &Compute) -> Object {
    let hosts = compute.hosts.len() as i64;
    let effective = compute.hosts.iter().filter(|host| {
        world.node(host).is_ok_and(|node| match &node.body {
            Body::Host(host) => host.connection_state == "connected" && !host.in_maintenance_mode,
            _ => false,
        })
    });
    let effective = effective.count() as i64;
    let cluster = target.kind == "ClusterComputeResource";
    let kind = if cluster {
        "ClusterComputeResourceSummary"
    } else {
        "ComputeResourceSummary"
    };
    let summary = object(kind)
        .with("totalCpu", hosts * CORES * MEGAHERTZ)
        .with("totalMemory", hosts * MEMORY)
        .with("numCpuCores", hosts * CORES)
        .with("numCpuThreads", hosts * CORES * 2)
        .with("effectiveCpu", effective * CORES * MEGAHERTZ)
        .with("effectiveMemory", effective * (MEMORY >> 20))
        .with("numHosts", hosts)
        .with("numEffectiveHosts", effective)
        .with("overallStatus", "green");
    if !cluster {
        return summary;
    }
    let inside = || {
        world
            .machines()
            .filter(|(_, machine)| compute.hosts.contains(&machine.host))
            .map(|(_, machine)| machine)
    };
    let off = inside().filter(|machine| machine.power == Power::Off);
    let usage = object("ClusterUsageSummary")
        .with("totalCpuCapacityMhz", hosts * CORES * MEGAHERTZ)
        .with("totalMemCapacityMB", hosts * (MEMORY >> 20))
        .with("cpuReservationMhz", 0)
        .with("memReservationMB", 0)
        .with("cpuDemandMhz", 0)
        .with("memDemandMB", 0)
        .with("statsGenNumber", 1)
        .with("cpuEntitledMhz", 0)
        .with("memEntitledMB", 0)
        .with("poweredOffVmCount", off.count() as i64)
        .with("totalVmCount", inside().count() as i64);
    summary
        .with("currentFailoverLevel", -1)
        .with("numVmotions", 0)
        .with("usageSummary", usage)
}

fn host_hardware(world: &World, target: &Ref) -> Object {
    // A UUID that is the host's own as long as the simulator runs.
    let number = world
        .of_kind("HostSystem")
        .iter()
        .position(|host| host == target);
    let uuid = format!("4c4c4544-0000-4000-8000-{:012}", number.unwrap_or(0));
    object("HostHardwareSummary")
        .with("vendor", "VMware, Inc.")
        .with("model", "VMware Virtual Platform")
        .with("uuid", uuid)
        .with("memorySize", MEMORY)
        .with("cpuModel", "Simulated processor")
        .with("cpuMhz", MEGAHERTZ)
        .with("numCpuPkgs", 1)
        .with("numCpuCores", CORES)
        .with("numCpuThreads", CORES * 2)
        .with("numNics", 1)
        .with("numHBAs", 1)
}

pub fn compute(world: &World, target: &Ref, compute: &Compute, name: &str) -> Option<Value> {
    Some(match name {
        "resourcePool" => Value::from(&compute.pool),
        "host" => Value::refs(compute.hosts.iter().cloned()),
        "datastore" => Value::refs(compute.datastores.iter().cloned()),
        "network" => Value::refs(world.networks_near(target)),
        "summary" => compute_summary(world, target, compute).into(),
        "configurationEx" => object("ComputeResourceConfigInfo")
            .with("vmSwapPlacement", "vmDirectory")
            .into(),
        _ => return None,
    })
}

fn allocation() -> Object {
    object("ResourceAllocationInfo")
        .with("reservation", 0)
        .with("expandableReservation", true)
        .with("limit", -1)
        .with(
            "shares",
            object("SharesInfo")
                .with("shares", 4000)
                .with("level", "normal"),
        )
}

fn pool_runtime() -> Object {
    let usage = object("ResourcePoolResourceUsage")
        .with("reservationUsed", 0)
        .with("reservationUsedForVm", 0)
        .with("unreservedForPool", 60_000)
        .with("unreservedForVm", 60_000)
        .with("overallUsage", 0)
        .with("maxUsage", 60_000);
    object("ResourcePoolRuntimeInfo")
        .with("memory", usage.clone())
        .with("cpu", usage)
        .with("overallStatus", "green")
}

pub fn pool(world: &World, target: &Ref, pool: &Pool, name: &str) -> Option<Value> {
    let config = || {
        object("ResourceConfigSpec")
            .with("entity", target)
            .with("cpuAllocation", allocation())
            .with("memoryAllocation", allocation())
    };
    Some(match name {
        "owner" => Value::from(&pool.owner),
        "resourcePool" => Value::refs(pool.pools.iter().cloned()),
        "vm" => {
            let inside = world
                .machines()
                .filter(|(_, machine)| &machine.pool == target);
            Value::refs(inside.map(|(node, _)| node.reference.clone()))
        }
        "config" => config().into(),
        "runtime" => pool_runtime().into(),
        "parentFolder" if target.kind == "VirtualApp" => Value::from(&world.home().ok()?.1),
        "summary" => object(match target.kind.as_str() {
            "VirtualApp" => "VirtualAppSummary",
            _ => "ResourcePoolSummary",
        })
        .with(
            "name",
            world
                .node(target)
                .map(|node| node.name.clone())
                .unwrap_or_default(),
        )
        .with("config", config())
        .with("runtime", pool_runtime())
        .into(),
        _ => return None,
    })
}

fn host_runtime(host: &Host) -> Object {
    object("HostRuntimeInfo")
        .with("connectionState", host.connection_state)
        .with("powerState", host.power_state)
        .with("inMaintenanceMode", host.in_maintenance_mode)
        .with("inQuarantineMode", host.in_quarantine_mode)
        .with("hostMaxVirtualDiskCapacity", LARGEST_DISK)
}

pub fn host(world: &World, target: &Ref, host: &Host, name: &str) -> Option<Value> {
    let node = world.node(target).ok()?;
    Some(match name {
        "runtime" => host_runtime(host).into(),
        "summary" => {
            let config = object("HostConfigSummary")
                .with("name", &node.name)
                .with("port", 443)
                .with("product", super::service::about(world))
                .with("vmotionEnabled", true)
                .with("faultToleranceEnabled", false);
            let quick_stats = object("HostListSummaryQuickStats")
                .with("overallCpuUsage", 0)
                .with("overallMemoryUsage", 0);
            object("HostListSummary")
                .with("host", target)
                .with("hardware", host_hardware(world, target))
                .with("runtime", host_runtime(host))
                .with("config", config)
                .with("quickStats", quick_stats)
                .with("overallStatus", "green")
                .with("rebootRequired", false)
                .into()
        }
        "datastore" => {
            let mounted = world.nodes.values().filter(|node| match &node.body {
                Body::Datastore(store) => store.mounts.iter().any(|mount| &mount.host == target),
                _ => false,
            });
            Value::refs(mounted.map(|node| node.reference.clone()))
        }
        "vm" => {
            let inside = world
                .machines()
                .filter(|(_, machine)| &machine.host == target);
            Value::refs(inside.map(|(node, _)| node.reference.clone()))
        }
        "network" => Value::refs(world.networks_near(target)),
        "datastoreBrowser" => reference(
            "HostDatastoreBrowser",
            &format!("datastoreBrowser-{}", target.id),
        )
        .into(),
        _ => return None,
    })
}

pub fn network(world: &World, target: &Ref, name: &str) -> Option<Value> {
    let own_name = world
        .node(target)
        .map(|node| node.name.clone())
        .unwrap_or_default();
    Some(match name {
        "summary" => object("NetworkSummary")
            .with("network", target)
            .with("name", own_name)
            .with("accessible", true)
            .with("ipPoolName", "")
            .into(),
        "host" => {
            let mut hosts = world.of_kind("HostSystem");
            hosts.retain(|host| world.networks_near(host).contains(target));
            Value::refs(hosts)
        }
        "vm" => {
            let connected = world
                .machines()
                .filter(|(_, machine)| machine.networks().contains(target));
            Value::refs(connected.map(|(node, _)| node.reference.clone()))
        }
        _ => return None,
    })
}

fn datastore_url(target: &Ref) -> String {
    format!("ds:///vmfs/volumes/{}/", target.id)
}

pub fn datastore_summary(target: &Ref, name: &str, store: &Datastore) -> Object {
    object("DatastoreSummary")
        .with("datastore", target)
        .with("name", name)
        .with("url", datastore_url(target))
        .with("capacity", store.capacity)
        .with("freeSpace", store.free())
        .with("uncommitted", 0)
        .with("accessible", store.accessible)
        .with("multipleHostAccess", store.mounts.len() > 1)
        .with("type", store.type_name())
        .with("maintenanceMode", store.maintenance_mode)
}

pub fn datastore(world: &World, target: &Ref, store: &Datastore, name: &str) -> Option<Value> {
    let own_name = world
        .node(target)
        .map(|node| node.name.clone())
        .unwrap_or_default();
    Some(match name {
        "summary" => datastore_summary(target, &own_name, store).into(),
        "info" => object("DatastoreInfo")
            .with("name", own_name)
            .with("url", datastore_url(target))
            .with("freeSpace", store.free())
            .with("maxFileSize", LARGEST_DISK)
            .with("maxVirtualDiskCapacity", store.largest_disk)
            .with("maxMemoryFileSize", LARGEST_DISK)
            .into(),
        "host" => mounts(target, store).into(),
        "vm" => {
            let inside = world
                .machines()
                .filter(|(_, machine)| machine.datastores().contains(target));
            Value::refs(inside.map(|(node, _)| node.reference.clone()))
        }
        "browser" => reference(
            "HostDatastoreBrowser",
            &format!("datastoreBrowser-{}", target.id),
        )
        .into(),
        "capability" => object("DatastoreCapability")
            .with("directoryHierarchySupported", true)
            .with(
                "rawDiskMappingsSupported",
                store.kind == DatastoreKind::Vmfs,
            )
            .with("perFileThinProvisioningSupported", true)
            .with("storageIORMSupported", false)
            .with("nativeSnapshotSupported", false)
            .with(
                "topLevelDirectoryCreateSupported",
                !matches!(store.kind, DatastoreKind::Vsan | DatastoreKind::Vvol),
            )
            .into(),
        _ => return None,
    })
}

fn mounts(target: &Ref, store: &Datastore) -> Vec<Object> {
    let mount = store.mounts.iter().map(|mount| {
        let info = object("HostMountInfo")
            .with("path", format!("/vmfs/volumes/{}", target.id))
            .with(
                "accessMode",
                if mount.read_write {
                    "readWrite"
                } else {
                    "readOnly"
                },
            )
            .with("mounted", true)
            .with("accessible", mount.accessible);
        object("DatastoreHostMount")
            .with("key", &mount.host)
            .with("mountInfo", info)
    });
    mount.collect()
}

/// The datastores that a datastore's or a host's browser looks into.
pub fn browsed(world: &World, target: &Ref) -> Outcome<Vec<Ref>> {
    let missing = || Fault::not_found(target);
    let owner = target
        .id
        .strip_prefix("datastoreBrowser-")
        .ok_or_else(missing)?;
    let node = world.nodes.get(owner).ok_or_else(missing)?;
    match &node.body {
        Body::Datastore(_) => Ok(vec![node.reference.clone()]),
        Body::Host(_) => {
            let all = world.of_kind("Datastore");
            let mounted = |datastore: &Ref| {
                let store = world.datastore(datastore);
                store.is_ok_and(|store| {
                    store
                        .mounts
                        .iter()
                        .any(|mount| mount.host == node.reference)
                })
            };
            Ok(all.into_iter().filter(mounted).collect())
        }
        _ => Err(missing()),
    }
}

pub fn browser(world: &World, target: &Ref, name: &str) -> Outcome<Option<Value>> {
    let datastores = browsed(world, target)?;
    Ok((name == "datastore").then(|| Value::refs(datastores)))
}
