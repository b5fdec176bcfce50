//! Virtual machines: configuration, devices, power, snapshots.

use crate::wire::{Fault, Object, Outcome, Ref};

use super::World;

pub struct Machine {
    pub uuid: String,
    pub instance_uuid: String,
    pub version: String,
    pub guest_id: String,
    pub annotation: String,
    pub memory_mb: i64,
    pub cpus: i64,
    pub extra_config: Vec<(String, String)>,
    pub managed_by: Option<Object>,
    pub profile: Option<String>,
    pub controllers: Vec<Controller>,
    pub disks: Vec<MachineDisk>,
    /// Network cards, as they are told.
    pub cards: Vec<Object>,
    pub power: Power,
    pub connection: Connection,
    pub snapshots: Vec<Snapshot>,
    /// The snapshot that the machine goes on from.
    pub current_snapshot: Option<Ref>,
    pub pool: Ref,
    pub host: Ref,
    /// Where the configuration file lies: its datastore, and its path there.
    pub datastore: Ref,
    pub vmx: String,
    pub template: bool,
    /// Counts the changes.
    pub change_version: u64,
    pub lock: Option<Lock>,
}

/// What keeps a machine from being changed by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    Task(Ref),
    Lease(Ref),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    Off,
    On,
}

/// Whether the server reaches a machine, and can read its configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connection {
    #[default]
    Connected,
    /// Its host does not answer; the server shows what it knew last.
    Disconnected,
    /// Its host does not know it any more.
    Orphaned,
    /// Its files cannot be reached.
    Inaccessible,
    /// Its configuration cannot be understood.
    Invalid,
}

impl Connection {
    pub fn word(self) -> &'static str {
        match self {
            Connection::Connected => "connected",
            Connection::Disconnected => "disconnected",
            Connection::Orphaned => "orphaned",
            Connection::Inaccessible => "inaccessible",
            Connection::Invalid => "invalid",
        }
    }

    /// Whether the server has a configuration to show.
    pub fn has_config(self) -> bool {
        matches!(self, Connection::Connected | Connection::Disconnected)
    }
}

#[derive(Clone, Debug)]
pub struct Controller {
    pub key: i32,
    /// The device's type, such as `ParaVirtualSCSIController`.
    pub kind: String,
    pub bus_number: i32,
}

#[derive(Clone, Debug)]
pub struct MachineDisk {
    pub key: i32,
    pub controller_key: i32,
    pub unit_number: i32,
    pub datastore: Ref,
    pub path: String,
    pub mode: String,
    pub backing: BackingKind,
    pub encrypted: bool,
    pub label: String,
    pub write_through: bool,
    /// Its `storageIOAllocation`, where one was given.
    pub io_allocation: Option<Object>,
    /// `native_512`, `native_4k` or `emulated_512`: the file's own, which no spec changes.
    pub format: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackingKind {
    Flat,
    RawDeviceMapping,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub reference: Ref,
    pub id: i32,
    pub name: String,
    pub description: String,
    pub created: String,
    /// The one that it was taken on top of.
    pub parent: Option<Ref>,
    /// The machine's disks as they were then.
    pub disks: Vec<MachineDisk>,
}

impl Power {
    pub fn word(self) -> &'static str {
        match self {
            Power::Off => "poweredOff",
            Power::On => "poweredOn",
        }
    }
}

impl Machine {
    pub fn disks(&self) -> impl Iterator<Item = &MachineDisk> {
        self.disks.iter()
    }

    pub fn disk(&self, key: i32) -> Option<&MachineDisk> {
        self.disks.iter().find(|disk| disk.key == key)
    }

    pub fn controller(&self, key: i32) -> Option<&Controller> {
        self.controllers
            .iter()
            .find(|controller| controller.key == key)
    }

    /// Sets an entry of `extraConfig`; an empty value removes it.
    pub fn set_extra(&mut self, key: &str, value: &str) {
        self.extra_config.retain(|(name, _)| name != key);
        if !value.is_empty() {
            self.extra_config.push((key.to_owned(), value.to_owned()));
        }
    }

    pub fn datastores(&self) -> Vec<Ref> {
        let mut all = vec![self.datastore.clone()];
        for disk in &self.disks {
            if !all.contains(&disk.datastore) {
                all.push(disk.datastore.clone());
            }
        }
        all
    }

    /// The networks that its cards are connected to.
    pub fn networks(&self) -> Vec<Ref> {
        let backings = self.cards.iter().filter_map(|card| card.object("backing"));
        let mut networks: Vec<Ref> = backings
            .filter_map(|backing| backing.reference("network").cloned())
            .collect();
        networks.dedup();
        networks
    }

    /// A unit of the controller that no disk has; the controller itself sits on unit 7 of a SCSI bus.
    pub fn free_unit(&self, controller: i32) -> Option<i32> {
        let kind = &self.controller(controller)?.kind;
        (0..units(kind)).find(|unit| {
            let taken = self
                .disks
                .iter()
                .any(|disk| disk.controller_key == controller && disk.unit_number == *unit);
            !(taken || is_scsi(kind) && *unit == 7)
        })
    }
}

pub fn is_scsi(kind: &str) -> bool {
    crate::wire::schema().data_is_a(kind, "VirtualSCSIController")
}

/// How many devices a controller of that type has room for.
pub fn units(kind: &str) -> i32 {
    match kind {
        "VirtualIDEController" => 2,
        "VirtualAHCIController" | "VirtualSATAController" => 30,
        "VirtualNVMEController" => 15,
        "ParaVirtualSCSIController" => 64,
        _ => 16,
    }
}

/// The first key of a row of controllers of that type: the keys that vSphere gives.
pub fn first_key(kind: &str) -> i32 {
    match kind {
        "VirtualIDEController" => 200,
        "VirtualAHCIController" | "VirtualSATAController" => 15000,
        "VirtualNVMEController" => 31000,
        "VirtualPCIController" => 100,
        _ => 1000,
    }
}

/// The keys of disks on a controller begin there.
pub fn first_disk_key(controller_kind: &str) -> i32 {
    match controller_kind {
        "VirtualIDEController" => 3000,
        "VirtualAHCIController" | "VirtualSATAController" => 16000,
        "VirtualNVMEController" => 32000,
        _ => 2000,
    }
}

/// The controller's type for an adapter type as volumes name it.
pub fn controller_kind(adapter_type: &str) -> &'static str {
    match adapter_type {
        "busLogic" => "VirtualBusLogicController",
        "lsiLogicsas" => "VirtualLsiLogicSASController",
        "paraVirtual" => "ParaVirtualSCSIController",
        "ide" => "VirtualIDEController",
        "sata" | "ahci" => "VirtualAHCIController",
        "nvme" => "VirtualNVMEController",
        _ => "VirtualLsiLogicController",
    }
}

/// The adapter type that a disk's descriptor has below a controller of that type.
pub fn descriptor_adapter(controller_kind: &str) -> &'static str {
    match controller_kind {
        "VirtualIDEController" => "ide",
        "VirtualBusLogicController" => "busLogic",
        _ => "lsilogic",
    }
}

impl World {
    /// Refuses to touch a machine that a task or a lease has locked, unless it is the one given.
    pub fn check_machine_free(&self, target: &Ref, own: Option<&Ref>) -> Outcome<()> {
        if self.machine(target)?.connection != Connection::Connected {
            return Err(Fault::new(
                "InvalidState",
                "The operation is not allowed in the current state.",
            ));
        }
        match &self.machine(target)?.lock {
            Some(Lock::Task(task)) if own != Some(task) => Err(Fault::new(
                "TaskInProgress",
                "Another task is already in progress.",
            )
            .with("task", task)),
            Some(Lock::Lease(lease)) if own != Some(lease) => {
                let holder = self.lease_task(lease);
                Err(Fault::new(
                    "TaskInProgress",
                    "Another task is already in progress: a lease is held on the machine.",
                )
                .with("task", holder))
            }
            _ => Ok(()),
        }
    }

    pub fn new_device_key(machine: &Machine, first: i32) -> i32 {
        let taken = |key: i32| {
            machine.disks.iter().any(|disk| disk.key == key)
                || machine
                    .controllers
                    .iter()
                    .any(|controller| controller.key == key)
        };
        (first..).find(|key| !taken(*key)).unwrap_or(first)
    }
}

impl World {
    /// Takes a machine out of the inventory and removes its configuration file and the disks attached to it; other files
    /// in its folder stay, unless the options say otherwise.
    pub fn destroy_machine(&mut self, target: &Ref) {
        let Some(node) = self.remove(target) else {
            return;
        };
        let super::inventory::Body::Machine(machine) = node.body else {
            return;
        };
        let snapshots = machine.snapshots.into_iter().rev();
        let kept = snapshots.flat_map(|snapshot| snapshot.disks);
        self.remove_disks(machine.disks.into_iter().chain(kept).collect());
        let mut files = vec![machine.vmx.clone()];
        let home = super::path::folder_of(&machine.vmx);
        let removes_folder = self.options.destroy_removes_folder && !home.is_empty();
        if let Ok(store) = self.datastore_mut(&machine.datastore) {
            if removes_folder {
                files.extend(store.below(home));
            }
            for path in files {
                store.remove_file(&path);
                store.remove_empty_folder(super::path::folder_of(&path));
            }
        }
    }
}

impl World {
    /// Takes a machine out of the inventory; its files stay, and it can be registered again.
    pub fn unregister_machine(&mut self, target: &Ref) {
        if let Some(node) = self.remove(target)
            && let super::inventory::Body::Machine(machine) = node.body
        {
            self.unregistered.push((node.name, *machine));
        }
    }

    /// The machine whose configuration file that is, taken from those that are not registered.
    pub fn unregistered_at(&mut self, datastore: &Ref, vmx: &str) -> Option<(String, Machine)> {
        let store = self.datastore(datastore).ok()?;
        store.files.contains_key(vmx).then_some(())?;
        let found = self
            .unregistered
            .iter()
            .rposition(|(_, machine)| &machine.datastore == datastore && machine.vmx == vmx)?;
        Some(self.unregistered.remove(found))
    }
}

impl World {
    /// The machine that a snapshot is of, and the snapshot.
    pub fn snapshot(&self, target: &Ref) -> Outcome<(Ref, &Snapshot)> {
        let found = self.machines().find_map(|(node, machine)| {
            let snapshot = machine
                .snapshots
                .iter()
                .find(|snapshot| &snapshot.reference == target)?;
            Some((node.reference.clone(), snapshot))
        });
        found.ok_or_else(|| Fault::not_found(target))
    }
}
