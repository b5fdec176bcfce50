//! The properties of virtual machines and of their snapshots.

use crate::disk::DiskType;
use crate::wire::{Object, Outcome, Ref, Value, object};
use crate::world::World;
use crate::world::chain::place_of;
use crate::world::datastore::DiskFile;
use crate::world::machine::{BackingKind, Controller, Machine, MachineDisk, Snapshot, is_scsi};
use crate::world::path::folder_of;

pub fn property(world: &World, target: &Ref, machine: &Machine, name: &str) -> Option<Value> {
    Some(match name {
        "config" if !machine.connection.has_config() => return None,
        "config" => config(world, target, machine, &machine.disks).into(),
        "runtime" => runtime(machine).into(),
        "summary" => summary(world, target, machine).into(),
        "datastore" => Value::refs(machine.datastores()),
        "network" => Value::refs(machine.networks()),
        "resourcePool" => Value::from(&machine.pool),
        "snapshot" if machine.snapshots.is_empty() => return None,
        "snapshot" => snapshots(target, machine).into(),
        "rootSnapshot" => {
            let roots = machine
                .snapshots
                .iter()
                .filter(|snapshot| snapshot.parent.is_none());
            Value::refs(roots.map(|snapshot| snapshot.reference.clone()))
        }
        "layoutEx" => layout(world, machine).into(),
        "guestHeartbeatStatus" => "gray".into(),
        _ => return None,
    })
}

fn config(world: &World, target: &Ref, machine: &Machine, disks: &[MachineDisk]) -> Object {
    let name = world
        .node(target)
        .map(|node| node.name.clone())
        .unwrap_or_default();
    let home = world.told_path(&machine.datastore, &format!("{}/", folder_of(&machine.vmx)));
    let files = object("VirtualMachineFileInfo")
        .with(
            "vmPathName",
            world.told_path(&machine.datastore, &machine.vmx),
        )
        .with("snapshotDirectory", &home)
        .with("suspendDirectory", &home)
        .with("logDirectory", &home);
    let options = machine.extra_config.iter().map(|(key, value)| {
        object("OptionValue").with("key", key).with(
            "value",
            Value::Typed("string".to_owned(), Box::new(value.into())),
        )
    });
    object("VirtualMachineConfigInfo")
        .with("changeVersion", machine.change_version.to_string())
        .with("modified", "1970-01-01T00:00:00Z")
        .with("name", name)
        .with("guestFullName", "Other (32-bit)")
        .with("version", &machine.version)
        .with("uuid", &machine.uuid)
        .with("instanceUuid", &machine.instance_uuid)
        .with("template", machine.template)
        .with("guestId", &machine.guest_id)
        .with("alternateGuestName", "")
        .with("annotation", &machine.annotation)
        .with("files", files)
        .with(
            "flags",
            object("VirtualMachineFlagInfo").with("diskUuidEnabled", false),
        )
        .with(
            "defaultPowerOps",
            object("VirtualMachineDefaultPowerOpInfo").with("powerOffType", "soft"),
        )
        .with("hardware", hardware(world, machine, disks))
        .with("extraConfig", options.collect::<Vec<Object>>())
        .with_some("managedBy", machine.managed_by.clone())
}

fn hardware(world: &World, machine: &Machine, disks: &[MachineDisk]) -> Object {
    let controllers = machine
        .controllers
        .iter()
        .map(|one| controller(machine, one));
    let disks = disks.iter().map(|one| disk(world, one));
    object("VirtualHardware")
        .with("numCPU", machine.cpus)
        .with("memoryMB", machine.memory_mb)
        .with(
            "device",
            controllers
                .chain(disks)
                .chain(machine.cards.iter().cloned())
                .collect::<Vec<Object>>(),
        )
}

fn controller(machine: &Machine, controller: &Controller) -> Object {
    let on_it = machine
        .disks
        .iter()
        .filter(|disk| disk.controller_key == controller.key);
    let on_it: Vec<i32> = on_it.map(|disk| disk.key).collect();
    let label = format!(
        "{} {}",
        controller.kind.trim_start_matches("Virtual"),
        controller.bus_number
    );
    let described = object(&controller.kind)
        .with("key", controller.key)
        .with(
            "deviceInfo",
            object("Description")
                .with("label", &label)
                .with("summary", &label),
        )
        .with("busNumber", controller.bus_number)
        .with("device", on_it);
    if !is_scsi(&controller.kind) {
        return described;
    }
    described
        .with("controllerKey", 100)
        .with("unitNumber", 3 + controller.bus_number)
        .with("hotAddRemove", true)
        .with("sharedBus", "noSharing")
        .with("scsiCtlrUnitNumber", 7)
}

fn disk(world: &World, disk: &MachineDisk) -> Object {
    let file = world.disk_file(&disk.datastore, &disk.path).ok();
    let capacity = file.map_or(0, |file| file.capacity);
    let kilobytes = capacity / 1024;
    let summary = object("Description")
        .with("label", &disk.label)
        .with("summary", format!("{kilobytes} KB"));
    object("VirtualDisk")
        .with("key", disk.key)
        .with("deviceInfo", summary)
        .with("backing", backing(world, disk, file))
        .with("controllerKey", disk.controller_key)
        .with("unitNumber", disk.unit_number)
        .with("capacityInKB", kilobytes)
        .with_some(
            "capacityInBytes",
            world.options.capacity_in_bytes.then_some(capacity),
        )
        .with(
            "shares",
            object("SharesInfo")
                .with("shares", 1000)
                .with("level", "normal"),
        )
        .with_some("storageIOAllocation", disk.io_allocation.clone())
        .with("diskObjectId", format!("1-{}", disk.key))
        .with_some("virtualDiskFormat", disk.format.as_deref())
        .with("nativeUnmanagedLinkedClone", false)
}

fn backing(world: &World, disk: &MachineDisk, file: Option<&DiskFile>) -> Object {
    let kind = match disk.backing {
        BackingKind::RawDeviceMapping => "VirtualDiskRawDiskMappingVer1BackingInfo",
        BackingKind::Flat => "VirtualDiskFlatVer2BackingInfo",
    };
    let mut backing = object(kind)
        .with("fileName", world.told_path(&disk.datastore, &disk.path))
        .with("datastore", &disk.datastore)
        .with("diskMode", &disk.mode)
        .with_some("uuid", file.map(|file| file.uuid.clone()))
        .with_some("contentId", file.map(|file| format!("{:032x}", file.cid)));
    match disk.backing {
        BackingKind::Flat => {
            backing.put("split", false);
            backing.put("writeThrough", disk.write_through);
            backing.put("digestEnabled", false);
            backing.put("sharing", "sharingNone");
            let disk_type = file.map_or(DiskType::Thick, |file| file.disk_type);
            backing.put("thinProvisioned", disk_type == DiskType::Thin);
            if disk_type == DiskType::EagerZeroedThick {
                backing.put("eagerlyScrub", true);
            }
            if let Some(parent) = file.and_then(|file| file.delta.as_ref()) {
                let (datastore, path) = parent.parent.clone();
                backing.put("deltaDiskFormat", "redoLogFormat");
                let below = world.disk_file(&datastore, &path).ok();
                let parent = MachineDisk {
                    datastore,
                    path,
                    ..disk.clone()
                };
                backing.put("parent", self::backing(world, &parent, below));
            }
            if disk.encrypted {
                backing.put("keyId", object("CryptoKeyId").with("keyId", "a-key"));
            }
        }
        BackingKind::RawDeviceMapping => {
            backing.put("deviceName", "vml.0200000000");
            backing.put("lunUuid", "0200000000600508");
            backing.put("compatibilityMode", "physicalMode");
        }
    }
    backing
}

fn runtime(machine: &Machine) -> Object {
    object("VirtualMachineRuntimeInfo")
        .with("host", &machine.host)
        .with("connectionState", machine.connection.word())
        .with("powerState", machine.power.word())
        .with("faultToleranceState", "notConfigured")
        .with("toolsInstallerMounted", false)
        .with("numMksConnections", 0)
        .with("recordReplayState", "inactive")
        .with("onlineStandby", false)
        .with("consolidationNeeded", false)
}

fn summary(world: &World, target: &Ref, machine: &Machine) -> Object {
    let name = world
        .node(target)
        .map(|node| node.name.clone())
        .unwrap_or_default();
    let mut config = object("VirtualMachineConfigSummary")
        .with("name", name)
        .with("template", machine.template)
        .with(
            "vmPathName",
            world.told_path(&machine.datastore, &machine.vmx),
        );
    if machine.connection.has_config() {
        config = described(config, machine);
    }
    let space = |of: &dyn Fn(&DiskFile) -> u64| -> u64 {
        let files = machine
            .disks
            .iter()
            .filter_map(|disk| world.disk_file(&disk.datastore, &disk.path).ok());
        files.map(of).sum()
    };
    let committed = space(&|file| file.space());
    let storage = object("VirtualMachineStorageSummary")
        .with("committed", committed)
        .with(
            "uncommitted",
            space(&|file| file.capacity).saturating_sub(committed),
        )
        .with("unshared", committed)
        .with("timestamp", world.clock.text());
    object("VirtualMachineSummary")
        .with("vm", target)
        .with("runtime", runtime(machine))
        .with("guest", guest(machine))
        .with("guest", guest(machine))
        .with("config", config)
        .with("storage", storage)
        .with(
            "quickStats",
            object("VirtualMachineQuickStats").with("guestHeartbeatStatus", "gray"),
        )
        .with("overallStatus", "green")
}

/// What only a readable configuration says.
fn described(summary: Object, machine: &Machine) -> Object {
    summary
        .with("memorySizeMB", machine.memory_mb)
        .with("numCpu", machine.cpus)
        .with("numVirtualDisks", machine.disks.len() as i64)
        .with("uuid", &machine.uuid)
        .with("instanceUuid", &machine.instance_uuid)
        .with("guestId", &machine.guest_id)
        .with("annotation", &machine.annotation)
        .with_some("managedBy", machine.managed_by.clone())
}

/// What is known of a guest that no VMware Tools run in.
fn guest(machine: &Machine) -> Object {
    object("VirtualMachineGuestSummary")
        .with("guestId", &machine.guest_id)
        .with("guestFullName", "Other (32-bit)")
        .with("toolsStatus", "toolsNotInstalled")
        .with("toolsVersionStatus2", "guestToolsNotInstalled")
        .with("toolsRunningStatus", "guestToolsNotRunning")
}

fn tree(target: &Ref, machine: &Machine, snapshot: &Snapshot) -> Object {
    let children = machine
        .snapshots
        .iter()
        .filter(|child| child.parent.as_ref() == Some(&snapshot.reference));
    object("VirtualMachineSnapshotTree")
        .with("snapshot", &snapshot.reference)
        .with("vm", target)
        .with("name", &snapshot.name)
        .with("description", &snapshot.description)
        .with("id", snapshot.id)
        .with("createTime", &snapshot.created)
        .with("state", "poweredOff")
        .with("quiesced", false)
        .with(
            "childSnapshotList",
            children
                .map(|child| tree(target, machine, child))
                .collect::<Vec<Object>>(),
        )
}

fn snapshots(target: &Ref, machine: &Machine) -> Object {
    let roots = machine
        .snapshots
        .iter()
        .filter(|snapshot| snapshot.parent.is_none());
    object("VirtualMachineSnapshotInfo")
        .with_some("currentSnapshot", machine.current_snapshot.as_ref())
        .with(
            "rootSnapshotList",
            roots
                .map(|root| tree(target, machine, root))
                .collect::<Vec<Object>>(),
        )
}

fn layout(world: &World, machine: &Machine) -> Object {
    let file = |key: usize, datastore: &Ref, path: &str, kind: &str, size: u64| {
        object("VirtualMachineFileLayoutExFileInfo")
            .with("key", key as i64)
            .with("name", world.told_path(datastore, path))
            .with("type", kind)
            .with("size", size)
            .with("accessible", true)
    };
    let mut files = vec![file(0, &machine.datastore, &machine.vmx, "config", 1024)];
    let mut disks = Vec::new();
    for disk in &machine.disks {
        let own = place_of(disk);
        let mut chain = world.parents(&own.0, &own.1);
        chain.insert(0, own);
        let mut units = Vec::new();
        // The layout begins with the base.
        for (datastore, path) in chain.iter().rev() {
            let size = world
                .disk_file(datastore, path)
                .map_or(0, |file| file.space());
            let key = files.len();
            files.push(file(key, datastore, path, "diskDescriptor", 512));
            let extent = format!("{}-flat.vmdk", path.trim_end_matches(".vmdk"));
            files.push(file(key + 1, datastore, &extent, "diskExtent", size));
            units.push(
                object("VirtualMachineFileLayoutExDiskUnit")
                    .with("fileKey", vec![key as i64, key as i64 + 1]),
            );
        }
        disks.push(
            object("VirtualMachineFileLayoutExDiskLayout")
                .with("key", disk.key)
                .with("chain", units),
        );
    }
    object("VirtualMachineFileLayoutEx")
        .with("file", files)
        .with("disk", disks)
        .with("timestamp", world.clock.text())
}

pub fn snapshot(world: &World, target: &Ref, name: &str) -> Outcome<Option<Value>> {
    let (machine, snapshot) = world.snapshot(target)?;
    let body = world.machine(&machine)?;
    Ok(match name {
        "vm" => Some(Value::from(&machine)),
        "config" => Some(config(world, &machine, body, &snapshot.disks).into()),
        "childSnapshot" => {
            let children = body
                .snapshots
                .iter()
                .filter(|child| child.parent.as_ref() == Some(&snapshot.reference));
            Some(Value::refs(children.map(|child| child.reference.clone())))
        }
        _ => None,
    })
}
