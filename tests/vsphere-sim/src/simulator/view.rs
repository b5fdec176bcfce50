//! What a test sees of the world.

use crate::disk::DiskType;
use crate::wire::{Ref, reference};
use crate::world::World;
use crate::world::datastore::Entry;
use crate::world::inventory::Node;
use crate::world::lease::{LeaseKind, LeaseState, Transfer};
use crate::world::machine::Machine;
use crate::world::path::DatastorePath;

use super::Controls;

/// A virtual machine.
#[derive(Clone, Debug, PartialEq)]
pub struct VmView {
    pub moref: String,
    pub name: String,
    /// The names of the folders it is in, from the root: `/DC0/vm/a`.
    pub folder: String,
    pub uuid: String,
    pub instance_uuid: String,
    /// `poweredOff` or `poweredOn`.
    pub power: String,
    pub version: String,
    pub disks: Vec<DiskView>,
    /// The types of the controllers that disks may be on, with their keys.
    pub controllers: Vec<(i32, String)>,
    pub extra_config: Vec<(String, String)>,
    pub managed_by: Option<(String, String)>,
    pub profile: Option<String>,
    pub snapshots: Vec<String>,
    /// The datastore path of the configuration file.
    pub vmx: String,
    /// Whether a task or a lease has locked it.
    pub locked: bool,
    pub change_version: u64,
}

/// A disk of a virtual machine.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskView {
    pub key: i32,
    pub controller_key: i32,
    /// The controller's type, such as `VirtualLsiLogicController`.
    pub controller: String,
    pub unit: i32,
    /// The datastore path.
    pub file: String,
    /// The datastore paths of the disks that it lies on as a delta, the nearest first.
    pub parents: Vec<String>,
    pub uuid: String,
    pub capacity: u64,
    pub allocated: u64,
    pub disk_type: DiskType,
    pub cid: u32,
    /// `persistent`, usually.
    pub mode: String,
}

/// A lease, held or over.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseView {
    pub id: String,
    /// Whether it is for an import.
    pub import: bool,
    pub vm: String,
    /// `initializing`, `ready`, `done` or `error`.
    pub state: &'static str,
    /// The name of the fault that ended it.
    pub error: Option<String>,
    /// The session that it belonged to has ended.
    pub gone: bool,
    /// HttpNfcLeaseComplete was called while bytes were still flowing, or before an upload was answered: hosts put up
    /// with it, but whoever does it has not read what became of the transfer.
    pub completed_early: bool,
    pub percent: i32,
    /// The percentages of all HttpNfcLeaseProgress calls.
    pub progress_calls: Vec<i32>,
    /// For each file: `none`, `running`, `done` or `failed`.
    pub transfers: Vec<&'static str>,
}

impl LeaseView {
    /// Whether it is held.
    pub fn is_open(&self) -> bool {
        matches!(self.state, "initializing" | "ready")
    }
}

impl Controls {
    pub fn vm(&self, moref: &str) -> Option<VmView> {
        let world = self.shared.read();
        let target = reference("VirtualMachine", moref);
        let machine = world.machine(&target).ok()?;
        Some(vm_view(&world, world.node(&target).ok()?, machine))
    }

    /// All virtual machines.
    pub fn vms(&self) -> Vec<VmView> {
        let world = self.shared.read();
        world
            .machines()
            .map(|(node, machine)| vm_view(&world, node, machine))
            .collect()
    }

    /// The first virtual machine of that name, as the inventory keeps names.
    pub fn find_vm(&self, name: &str) -> Option<VmView> {
        self.vms().into_iter().find(|vm| vm.name == name)
    }

    /// The paths of all files and folders in a datastore.
    pub fn files(&self, datastore: &str) -> Vec<String> {
        let world = self.shared.read();
        let found = world.datastore_named(datastore, None);
        let Ok(store) = found.and_then(|datastore| world.datastore(&datastore)) else {
            return Vec::new();
        };
        store.files.keys().cloned().collect()
    }

    /// The uuid, capacity and type of a disk by its datastore path, attached or not.
    pub fn disk_at(&self, path: &str) -> Option<(String, u64, DiskType)> {
        let world = self.shared.read();
        let (datastore, path) = world.locate(path, None).ok()?;
        let file = world.disk_file(&datastore, &path).ok()?;
        Some((file.uuid.clone(), file.capacity, file.disk_type))
    }

    /// The paths of the disks that no virtual machine has attached.
    pub fn loose_disks(&self) -> Vec<String> {
        let world = self.shared.read();
        let mut loose = Vec::new();
        for datastore in world.of_kind("Datastore") {
            let (Ok(node), Ok(store)) = (world.node(&datastore), world.datastore(&datastore))
            else {
                continue;
            };
            let disks = store
                .files
                .iter()
                .filter(|(_, entry)| matches!(entry, Entry::Disk(_) | Entry::Reserved(_)));
            let free = disks.filter(|(path, _)| world.attached_to(&datastore, path).is_none());
            loose.extend(free.map(|(path, _)| DatastorePath::text(&node.name, path)));
        }
        loose
    }

    pub fn free_space(&self, datastore: &str) -> Option<u64> {
        let world = self.shared.read();
        let datastore = world.datastore_named(datastore, None).ok()?;
        world.datastore(&datastore).ok().map(|store| store.free())
    }

    /// All leases there ever were.
    pub fn leases(&self) -> Vec<LeaseView> {
        let world = self.shared.read();
        let view = world.leases.values().map(|lease| LeaseView {
            id: lease.reference.id.clone(),
            import: lease.kind == LeaseKind::Import,
            vm: lease.machine.id.clone(),
            state: lease.state.word(),
            error: lease.error.as_ref().map(|fault| fault.kind().to_owned()),
            gone: lease.gone,
            completed_early: lease.completed_early,
            percent: lease.percent,
            progress_calls: lease
                .progress_calls
                .iter()
                .map(|(_, percent)| *percent)
                .collect(),
            transfers: lease
                .files
                .iter()
                .map(|file| transfer_word(&file.transfer))
                .collect(),
        });
        view.collect()
    }

    /// The leases that are held.
    pub fn open_leases(&self) -> usize {
        let world = self.shared.read();
        let open =
            |state: LeaseState| matches!(state, LeaseState::Initializing | LeaseState::Ready);
        world
            .leases
            .values()
            .filter(|lease| open(lease.state))
            .count()
    }

    /// When HttpNfcLeaseProgress was called for a lease, and with what.
    pub fn progress_calls(&self, lease: &str) -> Vec<(std::time::Duration, i32)> {
        let world = self.shared.read();
        world
            .leases
            .get(lease)
            .map(|lease| lease.progress_calls.clone())
            .unwrap_or_default()
    }

    /// The tasks that are neither done nor failed, by method.
    pub fn open_tasks(&self) -> Vec<String> {
        let world = self.shared.read();
        world
            .tasks
            .values()
            .filter(|task| !task.is_over())
            .map(|task| task.method.clone())
            .collect()
    }
}

fn transfer_word(transfer: &Transfer) -> &'static str {
    match transfer {
        Transfer::None => "none",
        Transfer::Running => "running",
        Transfer::Done(_) => "done",
        Transfer::Failed(_) => "failed",
    }
}

fn folder_path(world: &World, node: &Node) -> String {
    let mut names = Vec::new();
    let mut next: Option<Ref> = node.parent.clone();
    while let Some(parent) = next.and_then(|parent| world.node(&parent).ok()) {
        if parent.parent.is_some() {
            names.push(parent.name.clone());
        }
        next = parent.parent.clone();
    }
    names.iter().rev().map(|name| format!("/{name}")).collect()
}

fn vm_view(world: &World, node: &Node, machine: &Machine) -> VmView {
    let disks = machine.disks.iter().map(|disk| {
        let file = world.disk_file(&disk.datastore, &disk.path).ok();
        DiskView {
            key: disk.key,
            controller_key: disk.controller_key,
            controller: machine
                .controller(disk.controller_key)
                .map(|one| one.kind.clone())
                .unwrap_or_default(),
            unit: disk.unit_number,
            file: world.path_text(&disk.datastore, &disk.path),
            parents: world
                .parents(&disk.datastore, &disk.path)
                .iter()
                .map(|(datastore, path)| world.path_text(datastore, path))
                .collect(),
            uuid: file.map(|file| file.uuid.clone()).unwrap_or_default(),
            capacity: file.map_or(0, |file| file.capacity),
            allocated: file.map_or(0, |file| file.allocated),
            disk_type: file.map_or(DiskType::Thick, |file| file.disk_type),
            cid: file.map_or(0, |file| file.cid),
            mode: disk.mode.clone(),
        }
    });
    let managed_by = machine.managed_by.as_ref().map(|managed_by| {
        let text = |name| managed_by.text(name).unwrap_or_default().to_owned();
        (text("extensionKey"), text("type"))
    });
    VmView {
        moref: node.reference.id.clone(),
        name: node.name.clone(),
        folder: folder_path(world, node),
        uuid: machine.uuid.clone(),
        instance_uuid: machine.instance_uuid.clone(),
        power: machine.power.word().to_owned(),
        version: machine.version.clone(),
        disks: disks.collect(),
        controllers: machine
            .controllers
            .iter()
            .map(|one| (one.key, one.kind.clone()))
            .collect(),
        extra_config: machine.extra_config.clone(),
        managed_by,
        profile: machine.profile.clone(),
        snapshots: machine
            .snapshots
            .iter()
            .map(|snapshot| snapshot.name.clone())
            .collect(),
        vmx: world.path_text(&machine.datastore, &machine.vmx),
        locked: machine.lock.is_some(),
        change_version: machine.change_version,
    }
}
