//! Virtual hardware: the disks of a backing as the server describes them, and device changes.

use super::Moref;
use crate::error::{Error, Kind, Result};
use crate::transport::soap::{Element, Node};
use crate::volume::{AdapterType, DiskType, is_expressible};
use std::collections::HashMap;

/// A virtual disk of a virtual machine, as `config.hardware.device` describes it.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The device key, unique in its virtual machine.
    pub key: i32,
    /// The label people see (`Hard disk 1`).
    pub label: String,
    /// The key of the controller it hangs on.
    pub controller_key: i32,
    /// The slot on that controller.
    pub unit_number: i32,
    /// The controller's kind, where it is one that a backing can be made with.
    pub adapter: Option<AdapterType>,
    /// `<controller type><bus>:<unit>`, as device URLs of leases name the disk.
    pub slot: String,
    /// The datastore path (`[ds1] volume-1/volume-1.vmdk`).
    pub file: String,
    /// The datastore that holds the file.
    pub datastore: Option<Moref>,
    /// The size in bytes.
    pub capacity: u64,
    /// How exact that is: a server that tells KiB only leaves out what is less than one.
    pub granule: u64,
    /// How blocks are allocated.
    pub disk_type: DiskType,
    /// What the guest sees as serial number.
    pub uuid: Option<String>,
    /// `persistent`, `independent_persistent`, ...
    pub mode: String,
    /// Whether it is a delta on a parent, as disks with snapshots are.
    pub has_parent: bool,
    /// Why it cannot be exported or replaced: RDM, encrypted, of an unknown backing.
    pub obstacle: Option<String>,
    /// Everything else that the server says of it, but what names the file and its contents: each
    /// value under its path.
    pub(crate) properties: Vec<(String, String)>,
    sharing: Option<String>,
    write_through: bool,
    io_allocation: Option<Element>,
    flash_cache: Option<Element>,
}

/// What another file in the same slot has otherwise, or what is compared for itself.
const OWN_PROPERTIES: [&str; 18] = [
    "key",
    "deviceInfo",
    "unitNumber",
    "controllerKey",
    "capacityInKB",
    "capacityInBytes",
    "diskObjectId",
    "vDiskId",
    "vDiskVersion",
    "backing.fileName",
    "backing.datastore",
    "backing.backingObjectId",
    "backing.contentId",
    "backing.changeId",
    "backing.uuid",
    "backing.thinProvisioned",
    "backing.eagerlyScrub",
    "backing.parent",
];

/// A server that says more of a disk is not listened to.
const MOST_PROPERTIES: usize = 200;

/// The values below `node`, each under its path.
fn values(node: &Node, path: &str, found: &mut Vec<(String, String)>) {
    for child in &node.children {
        let path = match path {
            "" => child.name.clone(),
            path => format!("{path}.{}", child.name),
        };
        if OWN_PROPERTIES.contains(&&*path) || found.len() >= MOST_PROPERTIES {
            continue;
        }
        if child.children.is_empty() {
            found.push((path, child.text.trim().to_owned()));
        } else {
            values(child, &path, found);
        }
    }
}

/// The `xsi:type` of a virtual disk in a file of a datastore.
const FLAT: &str = "VirtualDiskFlatVer2BackingInfo";

/// A key for a device that has none yet; the server assigns the real one.
const NEW_DISK_KEY: i32 = -101;
const NEW_CONTROLLER_KEY: i32 = -100;
/// The first IDE channel exists in every virtual machine under this key.
const IDE_CONTROLLER_KEY: i32 = 200;

/// The disks among `devices`, in order of their keys.
pub fn disks(devices: &Node) -> Vec<Disk> {
    let all = || devices.children_named("VirtualDevice");
    let by_key: HashMap<i32, &Node> = all()
        .filter_map(|device| Some((device.parse_at("key")?, device)))
        .collect();
    let mut disks: Vec<Disk> = all()
        .filter(|device| device.kind.as_deref() == Some("VirtualDisk"))
        .filter_map(|device| disk(device, &by_key))
        .collect();
    disks.sort_by_key(|disk| disk.key);
    disks
}

fn disk(device: &Node, by_key: &HashMap<i32, &Node>) -> Option<Disk> {
    let controller_key = device.parse_at("controllerKey").unwrap_or(-1);
    let unit_number = device.parse_at("unitNumber").unwrap_or(-1);
    let controller = by_key.get(&controller_key);
    let controller_kind = controller.and_then(|c| c.kind.as_deref()).unwrap_or("");
    let bus: i32 = controller
        .and_then(|c| c.parse_at("busNumber"))
        .unwrap_or(0);
    let bytes = device.parse_at::<u64>("capacityInBytes");
    let (capacity, granule) = match bytes.filter(|bytes| *bytes > 0) {
        Some(bytes) => (bytes, 1),
        None => (
            device.parse_at::<u64>("capacityInKB")?.checked_mul(1024)?,
            1024,
        ),
    };
    let backing = device.child("backing");
    let text = |path: &str| {
        backing
            .and_then(|b| b.text_at(path))
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let flag = |path: &str| backing.is_some_and(|b| b.flag_at(path));
    let kind = backing.and_then(|b| b.kind.as_deref()).unwrap_or("");
    let obstacle = if kind != FLAT {
        Some(format!("its backing is a {kind}"))
    } else if backing.is_some_and(|b| b.child("keyId").is_some()) {
        Some("it is encrypted".into())
    } else if !text("fileName").is_none_or(|path| is_expressible(&path)) {
        Some("its path has characters that cannot be sent back to the server".into())
    } else if text("sharing").as_deref() == Some("sharingMultiWriter") {
        Some("it is shared with other virtual machines (multi-writer)".into())
    } else {
        None
    };
    let mut properties = Vec::new();
    values(device, "", &mut properties);
    Some(Disk {
        properties,
        key: device.parse_at("key")?,
        label: device
            .text_at("deviceInfo.label")
            .unwrap_or_default()
            .to_owned(),
        controller_key,
        unit_number,
        adapter: adapter_of(controller_kind),
        slot: format!("{controller_kind}{bus}:{unit_number}"),
        file: text("fileName").unwrap_or_default(),
        datastore: backing
            .and_then(|b| b.child("datastore"))
            .and_then(Moref::from_node),
        capacity,
        granule,
        disk_type: if flag("thinProvisioned") {
            DiskType::Thin
        } else if flag("eagerlyScrub") {
            DiskType::EagerZeroedThick
        } else {
            DiskType::Thick
        },
        uuid: text("uuid"),
        mode: text("diskMode").unwrap_or_default(),
        has_parent: backing.is_some_and(|b| b.child("parent").is_some()),
        obstacle,
        sharing: text("sharing"),
        write_through: flag("writeThrough"),
        io_allocation: device.child("storageIOAllocation").map(echo),
        flash_cache: device.child("vFlashCacheConfigInfo").map(echo),
    })
}

/// UUIDs are compared without regard to case and grouping, in which servers differ.
pub fn same_uuid(one: &Option<String>, other: &Option<String>) -> bool {
    let digits = |uuid: &Option<String>| -> Option<String> {
        let digits = uuid.as_deref()?.chars().filter(char::is_ascii_hexdigit);
        Some(digits.collect::<String>().to_ascii_lowercase())
    };
    digits(one) == digits(other)
}

/// A part of an answer as part of a request.
fn echo(node: &Node) -> Element {
    let element = match &node.kind {
        Some(kind) => Element::typed(&*node.name, kind),
        None => Element::new(&*node.name),
    };
    if node.children.is_empty() {
        return element.text(&node.text);
    }
    node.children.iter().map(echo).fold(element, Element::with)
}

fn adapter_of(controller: &str) -> Option<AdapterType> {
    Some(match controller {
        "VirtualLsiLogicController" => AdapterType::LsiLogic,
        "VirtualBusLogicController" => AdapterType::BusLogic,
        "VirtualLsiLogicSASController" => AdapterType::LsiLogicSas,
        "ParaVirtualSCSIController" => AdapterType::ParaVirtual,
        "VirtualIDEController" => AdapterType::Ide,
        _ => return None,
    })
}

fn controller_of(adapter: AdapterType) -> Option<&'static str> {
    match adapter {
        AdapterType::LsiLogic => Some("VirtualLsiLogicController"),
        AdapterType::BusLogic => Some("VirtualBusLogicController"),
        AdapterType::LsiLogicSas => Some("VirtualLsiLogicSASController"),
        AdapterType::ParaVirtual => Some("ParaVirtualSCSIController"),
        AdapterType::Ide => None,
    }
}

impl Disk {
    /// The one of `disks` that is meant.
    ///
    /// # Errors
    /// [`Kind::NotFound`] with no disk or none of that key; [`Kind::InvalidArgument`] where the
    /// caller must choose; [`Kind::Unsupported`] for a disk that no lease can carry.
    pub fn choose(disks: Vec<Disk>, key: Option<i32>) -> Result<Disk> {
        let known = disks
            .iter()
            .map(|disk| format!("{} ({}, {})", disk.key, disk.label, disk.file))
            .collect::<Vec<_>>()
            .join("; ");
        let count = disks.len();
        let chosen = match key {
            Some(key) => disks.into_iter().find(|disk| disk.key == key),
            None if count > 1 => {
                return Err(Error::new(
                    Kind::InvalidArgument,
                    format!("the backing has {count} disks: {known}"),
                )
                .remedy("name one by its device key"));
            }
            None => disks.into_iter().next(),
        };
        let disk = chosen.ok_or_else(|| match key {
            Some(key) if count > 0 => Error::new(
                Kind::NotFound,
                format!("the backing has no disk of key {key}, but {known}"),
            ),
            _ => Error::new(Kind::NotFound, "the backing has no disk"),
        })?;
        match &disk.obstacle {
            None => Ok(disk),
            Some(reason) => Err(Error::new(
                Kind::Unsupported,
                format!(
                    "disk {} ({}) cannot be moved: {reason}",
                    disk.key, disk.label
                ),
            )),
        }
    }

    /// Whether the disk has at least `bytes`, as far as the server tells its size.
    pub fn holds(&self, bytes: u64) -> bool {
        bytes < self.capacity.saturating_add(self.granule)
    }

    /// Whether the disk may have exactly `bytes`.
    pub fn measures(&self, bytes: u64) -> bool {
        bytes >= self.capacity && self.holds(bytes)
    }

    /// The same disk under another file name.
    #[must_use]
    pub fn moved_to(&self, file: String) -> Disk {
        Disk {
            file,
            ..self.clone()
        }
    }

    /// Removes the disk and keeps its file.
    pub fn detach(&self) -> Element {
        self.change("remove", self.device(&self.file, None))
    }

    /// Attaches the existing file of `new` in this disk's slot, with this disk's mode, sharing,
    /// caches, limits and UUID.
    pub fn succeed_with(&self, new: &Disk) -> Element {
        let backing = flat_backing_of(&new.file, &self.mode, self.write_through, new.disk_type)
            .maybe(
                self.uuid
                    .as_ref()
                    .map(|uuid| Element::new("uuid").text(uuid)),
            )
            .maybe(
                self.sharing
                    .as_ref()
                    .map(|sharing| Element::new("sharing").text(sharing)),
            );
        let device = Element::typed("device", "VirtualDisk")
            .with_text("key", NEW_DISK_KEY)
            .with(backing)
            .with_text("controllerKey", self.controller_key)
            .with_text("unitNumber", self.unit_number)
            .with_text("capacityInKB", new.capacity / 1024)
            .maybe(new.capacity_in_bytes())
            .maybe(self.io_allocation.clone())
            .maybe(self.flash_cache.clone());
        self.change("add", device)
    }

    /// Gives the disk another UUID.
    pub fn set_uuid(&self, uuid: &str) -> Element {
        self.change("edit", self.device(&self.file, Some(uuid)))
    }

    fn device(&self, file: &str, uuid: Option<&str>) -> Element {
        let backing = flat_backing(file, &self.mode, self.disk_type)
            .maybe(uuid.map(|uuid| Element::new("uuid").text(uuid)));
        Element::typed("device", "VirtualDisk")
            .with_text("key", self.key)
            .with(backing)
            .with_text("controllerKey", self.controller_key)
            .with_text("unitNumber", self.unit_number)
            .with_text("capacityInKB", self.capacity / 1024)
            .maybe(self.capacity_in_bytes())
    }

    /// Only as exactly as it is known: else the server would take it for another size.
    fn capacity_in_bytes(&self) -> Option<Element> {
        (self.granule == 1).then(|| Element::new("capacityInBytes").text(self.capacity))
    }

    fn change(&self, operation: &str, device: Element) -> Element {
        Element::new("deviceChange")
            .with_text("operation", operation)
            .with(device)
    }
}

fn flat_backing(file: &str, mode: &str, disk_type: DiskType) -> Element {
    flat_backing_of(file, mode, false, disk_type)
}

fn flat_backing_of(file: &str, mode: &str, write_through: bool, disk_type: DiskType) -> Element {
    Element::typed("backing", FLAT)
        .with_text("fileName", file)
        .with_text("diskMode", mode)
        .maybe(write_through.then(|| Element::new("writeThrough").text(true)))
        .with_text("thinProvisioned", disk_type == DiskType::Thin)
        .with_text("eagerlyScrub", disk_type == DiskType::EagerZeroedThick)
}

/// The device changes that give a new virtual machine one empty disk and its controller.
///
/// The disk comes first, as clients of vSphere send it; its controller is named by a key that
/// does not exist yet. A size below one KiB is refused by the server.
pub fn new_disk(
    capacity: u64,
    disk_type: DiskType,
    adapter: AdapterType,
    profile: Option<&str>,
) -> Vec<Element> {
    let controller = controller_of(adapter);
    let controller_key = match controller {
        Some(_) => NEW_CONTROLLER_KEY,
        None => IDE_CONTROLLER_KEY,
    };
    let mut changes = vec![
        Element::new("deviceChange")
            .with_text("operation", "add")
            .with_text("fileOperation", "create")
            .with(
                Element::typed("device", "VirtualDisk")
                    .with_text("key", NEW_DISK_KEY)
                    .with(flat_backing("", "persistent", disk_type))
                    .with_text("controllerKey", controller_key)
                    .with_text("unitNumber", 0)
                    .with_text("capacityInKB", capacity.div_ceil(1024))
                    .with_text("capacityInBytes", capacity),
            )
            .maybe(profile.map(|id| super::machine::profile("profile", id))),
    ];
    changes.extend(controller.map(|kind| {
        Element::new("deviceChange")
            .with_text("operation", "add")
            .with(
                Element::typed("device", kind)
                    .with_text("key", NEW_CONTROLLER_KEY)
                    .with_text("busNumber", 0)
                    .with_text("sharedBus", "noSharing"),
            )
    }));
    changes
}
