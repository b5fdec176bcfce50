//! The OvfManager: descriptors of exported machines, and what is to be imported by a descriptor.

use std::collections::HashMap;

use crate::wire::envelope::Call;
use crate::wire::xml::{self, Element, escape};
use crate::wire::{Fault, Object, object};
use crate::world::World;
use crate::world::datastore::DiskFile;
use crate::world::machine::Machine;
use crate::world::path::escaped_name;

use super::{Answer, Context, object_argument, reference_argument, text};

const STREAM_OPTIMIZED: &str =
    "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

/// The kinds of CIM's ResourceType.
const CPU: u32 = 3;
const MEMORY: u32 = 4;
const IDE: u32 = 5;
const SCSI: u32 = 6;
const DISK: u32 = 17;
const SATA: u32 = 20;

fn escaped(text: &str) -> String {
    let mut result = String::new();
    escape(&mut result, text);
    result
}

pub fn create_descriptor(context: &Context, call: &Call) -> Answer {
    let target = reference_argument(&call.arguments, "obj")?;
    let parameters = object_argument(&call.arguments, "cdp")?;
    let world = context.shared.read();
    let machine = world.machine(target)?;
    let node_name = &world.node(target)?.name;
    let name = parameters.text("name").unwrap_or(node_name);
    let descriptor = descriptor(&world, machine, name, parameters);
    let result = object("OvfCreateDescriptorResult")
        .with("ovfDescriptor", descriptor)
        .with("includeImageFiles", false);
    Ok(Some(result.into()))
}

fn descriptor(world: &World, machine: &Machine, name: &str, parameters: &Object) -> String {
    let mut files = String::new();
    let mut disks = String::new();
    let mut items = item(
        CPU,
        1,
        "cpu",
        &format!(
            "<rasd:VirtualQuantity>{}</rasd:VirtualQuantity>",
            machine.cpus
        ),
    );
    items += &item(
        MEMORY,
        2,
        "memory",
        &format!(
            "<rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:VirtualQuantity>{}</rasd:VirtualQuantity>",
            machine.memory_mb
        ),
    );
    let mut instances = HashMap::new();
    for (instance, controller) in (3..).zip(&machine.controllers) {
        let (resource, subtype) = cim(&controller.kind);
        let more = format!(
            "<rasd:Address>{}</rasd:Address><rasd:ResourceSubType>{subtype}</rasd:ResourceSubType>",
            controller.bus_number
        );
        items += &item(resource, instance, &controller.kind, &more);
        instances.insert(controller.key, instance);
    }
    let files_of_disks = parameters.objects("ovfFiles").filter(|file| {
        file.text("path")
            .is_some_and(|path| path.ends_with(".vmdk"))
    });
    for (number, (file, disk)) in (1..).zip(files_of_disks.zip(&machine.disks)) {
        let capacity = world
            .disk_file(&disk.datastore, &disk.path)
            .map_or(0, capacity);
        files += &format!(
            "<File ovf:href=\"{}\" ovf:id=\"file{number}\" ovf:size=\"{}\"/>",
            escaped(file.text("path").unwrap_or_default()),
            file.int("size").unwrap_or(0)
        );
        disks += &format!(
            "<Disk ovf:capacity=\"{capacity}\" ovf:capacityAllocationUnits=\"byte\" ovf:diskId=\"vmdisk{number}\" \
             ovf:fileRef=\"file{number}\" ovf:format=\"{STREAM_OPTIMIZED}\"/>"
        );
        let more = format!(
            "<rasd:AddressOnParent>{}</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/vmdisk{number}\
             </rasd:HostResource><rasd:Parent>{}</rasd:Parent>",
            disk.unit_number,
            instances.get(&disk.controller_key).copied().unwrap_or(0)
        );
        items += &item(DISK, 100 + number, &disk.label, &more);
    }
    let name = escaped(name);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData\">\
         <References>{files}</References><DiskSection><Info>Disks</Info>{disks}</DiskSection>\
         <VirtualSystem ovf:id=\"{name}\"><Info>A virtual machine</Info><Name>{name}</Name>\
         <VirtualHardwareSection><Info>Virtual hardware</Info>{items}</VirtualHardwareSection></VirtualSystem>\
         </Envelope>\n"
    )
}

fn capacity(file: &DiskFile) -> u64 {
    file.capacity
}

fn item(resource: u32, instance: u32, name: &str, more: &str) -> String {
    format!(
        "<Item><rasd:ElementName>{}</rasd:ElementName><rasd:InstanceID>{instance}</rasd:InstanceID>{more}\
         <rasd:ResourceType>{resource}</rasd:ResourceType></Item>",
        escaped(name)
    )
}

/// A controller's ResourceType and ResourceSubType.
fn cim(kind: &str) -> (u32, &'static str) {
    match kind {
        "VirtualIDEController" => (IDE, "PIIX4"),
        "VirtualAHCIController" => (SATA, "vmware.sata.ahci"),
        "ParaVirtualSCSIController" => (SCSI, "VirtualSCSI"),
        "VirtualLsiLogicSASController" => (SCSI, "lsilogicsas"),
        "VirtualBusLogicController" => (SCSI, "buslogic"),
        "VirtualNVMEController" => (SATA, "vmware.nvme.controller"),
        _ => (SCSI, "lsilogic"),
    }
}

/// The controller that an item asks for; IDE's are there already.
fn controller_kind(resource: u32, subtype: &str) -> Option<&'static str> {
    match (resource, subtype.to_lowercase().as_str()) {
        (SCSI, "virtualscsi") => Some("ParaVirtualSCSIController"),
        (SCSI, "lsilogicsas") => Some("VirtualLsiLogicSASController"),
        (SCSI, "buslogic") => Some("VirtualBusLogicController"),
        (SCSI, _) => Some("VirtualLsiLogicController"),
        (SATA, "vmware.nvme.controller") => Some("VirtualNVMEController"),
        (SATA, _) => Some("VirtualAHCIController"),
        _ => None,
    }
}

pub fn create_import_spec(context: &Context, call: &Call) -> Answer {
    let arguments = &call.arguments;
    let datastore = reference_argument(arguments, "datastore")?;
    let parameters = object_argument(arguments, "cisp")?;
    let world = context.shared.read();
    world.compute_of_pool(reference_argument(arguments, "resourcePool")?)?;
    let datastore = world.node(datastore)?.name.clone();
    drop(world);
    let invalid = |why: &str| {
        Fault::new("OvfInvalidPackage", format!("Invalid OVF package: {why}."))
            .with("lineNumber", 1)
    };
    let envelope = xml::parse(text(arguments, "ovfDescriptor")?).map_err(|why| invalid(&why))?;
    let spec = import_spec(&envelope, parameters, &datastore).map_err(invalid);
    let result = object("OvfCreateImportSpecResult");
    Ok(Some(
        match spec {
            Ok((spec, files)) => result.with("importSpec", spec).with("fileItem", files),
            Err(fault) => result.with("error", vec![fault.localized()]),
        }
        .into(),
    ))
}

/// An item of the hardware section.
struct Item<'e>(&'e Element);

impl Item<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.child(name).map_or("", |child| child.text.trim())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.text(name).parse().ok()
    }
}

fn import_spec(
    envelope: &Element,
    parameters: &Object,
    datastore: &str,
) -> Result<(Object, Vec<Object>), &'static str> {
    let system = envelope
        .child("VirtualSystem")
        .ok_or("there is no virtual system")?;
    let hardware = system
        .child("VirtualHardwareSection")
        .ok_or("there is no hardware")?;
    let items = || {
        hardware
            .children
            .iter()
            .filter(|child| child.name == "Item")
            .map(Item)
    };
    let name = parameters.text("entityName").unwrap_or_default();
    let quantity = |resource: u32| {
        let item = items().find(|item| item.number("ResourceType") == Some(resource));
        item.and_then(|item| item.number("VirtualQuantity"))
    };
    let provisioning = parameters.text("diskProvisioning").unwrap_or("thin");
    let mut controllers: HashMap<&str, (i64, String)> = HashMap::new();
    let mut changes = Vec::new();
    let mut buses: HashMap<&str, i64> = HashMap::new();
    for (index, item) in items().enumerate() {
        let (id, resource) = (item.0.child("InstanceID"), item.number("ResourceType"));
        let id = id.map_or("", |id| id.text.trim());
        let kind = controller_kind(resource.unwrap_or(0), item.text("ResourceSubType"));
        if let Some(kind) = kind {
            // Buses are counted for all SCSI controllers together.
            let family = if kind.contains("SCSI") || kind.contains("Logic") {
                "scsi"
            } else {
                kind
            };
            let bus = buses.entry(family).or_insert(0);
            let key = -100 - index as i64;
            let mut device = object(kind).with("key", key).with("busNumber", *bus);
            if family == "scsi" {
                device.put("sharedBus", "noSharing");
            }
            changes.push(
                object("VirtualDeviceConfigSpec")
                    .with("operation", "add")
                    .with("device", device),
            );
            controllers.insert(id, (key, format!("{kind}{bus}")));
            *bus += 1;
        } else if resource == Some(IDE) {
            let bus = item.number("Address").unwrap_or(0);
            controllers.insert(
                id,
                (200 + i64::from(bus), format!("VirtualIDEController{bus}")),
            );
        }
    }
    let mut files = Vec::new();
    let mut used: HashMap<i64, i64> = HashMap::new();
    for (index, item) in items().enumerate() {
        if item.number("ResourceType") != Some(DISK) {
            continue;
        }
        let (controller, described) = controllers
            .get(item.text("Parent"))
            .ok_or("a disk is on no controller")?;
        let next = used.entry(*controller).or_insert(0);
        let unit = item.number("AddressOnParent").map_or(*next, i64::from);
        *next = unit + 1;
        let (capacity, file) = disk_of(envelope, item.text("HostResource"))?;
        let backing = object("VirtualDiskFlatVer2BackingInfo")
            .with("fileName", "")
            .with("diskMode", "persistent")
            .with("thinProvisioned", provisioning == "thin")
            .with("eagerlyScrub", provisioning == "eagerZeroedThick");
        let device = object("VirtualDisk")
            .with("key", -1000 - index as i64)
            .with("backing", backing)
            .with("controllerKey", *controller)
            .with("unitNumber", unit)
            .with("capacityInKB", capacity / 1024)
            .with("capacityInBytes", capacity);
        changes.push(
            object("VirtualDeviceConfigSpec")
                .with("operation", "add")
                .with("fileOperation", "create")
                .with("device", device),
        );
        if let Some(file) = file {
            let size = file
                .attribute("size")
                .and_then(|size| size.parse::<u64>().ok());
            files.push(
                object("OvfFileItem")
                    .with(
                        "deviceId",
                        format!("/{}/{described}:{unit}", escaped_name(name)),
                    )
                    .with("path", file.attribute("href").unwrap_or_default())
                    .with_some("size", size)
                    .with("cimType", i64::from(DISK))
                    .with("create", false),
            );
        }
    }
    let config = object("VirtualMachineConfigSpec")
        .with("name", name)
        .with("guestId", "otherGuest")
        .with(
            "files",
            object("VirtualMachineFileInfo").with("vmPathName", format!("[{datastore}]")),
        )
        .with("numCPUs", u64::from(quantity(CPU).unwrap_or(1)))
        .with("memoryMB", u64::from(quantity(MEMORY).unwrap_or(128)))
        .with("deviceChange", changes);
    Ok((
        object("VirtualMachineImportSpec").with("configSpec", config),
        files,
    ))
}

/// The capacity of the disk that a host resource (`ovf:/disk/ID`) names, and its file.
fn disk_of<'e>(
    envelope: &'e Element,
    resource: &str,
) -> Result<(u64, Option<&'e Element>), &'static str> {
    let id = resource.rsplit('/').next().unwrap_or_default();
    let section = envelope.child("DiskSection").ok_or("there are no disks")?;
    let disk = section
        .children
        .iter()
        .find(|disk| disk.attribute("diskId") == Some(id));
    let disk = disk.ok_or("a disk of the hardware is not listed")?;
    let count: u64 = disk
        .attribute("capacity")
        .and_then(|count| count.parse().ok())
        .ok_or("a disk has no capacity")?;
    // `byte`, or `byte * 2^30`.
    let unit = disk.attribute("capacityAllocationUnits").unwrap_or("byte");
    let shift: u32 = match unit.split_once('^') {
        Some((_, power)) => power
            .trim()
            .parse()
            .map_err(|_| "a capacity has an unknown unit")?,
        None => 0,
    };
    let capacity = 1_u64
        .checked_shl(shift)
        .and_then(|unit| count.checked_mul(unit))
        .ok_or("a capacity is too large")?;
    let wanted = disk.attribute("fileRef");
    let files = envelope
        .child("References")
        .map_or(&[][..], |references| &references.children);
    let file = files
        .iter()
        .find(|file| wanted.is_some() && file.attribute("id") == wanted);
    Ok((capacity, file))
}
