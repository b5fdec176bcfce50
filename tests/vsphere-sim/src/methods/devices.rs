//! `deviceChange`: controllers and disks that are added, edited and removed, all of them or none.

mod card;
mod disk;

use std::collections::HashMap;

use crate::disk::DiskType;
use crate::wire::{Fault, Object, Outcome, Ref, schema};
use crate::world::World;
use crate::world::datastore::{DiskFile, Entry};
use crate::world::machine::{Controller, MachineDisk, first_key};
use crate::world::path::folder_of;

/// What must be done to files once all changes are known to be good.
enum FileStep {
    Create {
        datastore: Ref,
        path: String,
        capacity: u64,
        disk_type: DiskType,
        adapter: &'static str,
    },
    /// A delta on a disk.
    Delta {
        parent: (Ref, String),
        datastore: Ref,
        path: String,
    },
    Delete {
        datastore: Ref,
        path: String,
    },
    SetUuid {
        datastore: Ref,
        path: String,
        uuid: String,
    },
    Extend {
        datastore: Ref,
        path: String,
        capacity: u64,
        eager: bool,
    },
}

/// The devices of a machine as they would be.
pub struct Draft<'w> {
    world: &'w World,
    machine: Ref,
    name: String,
    /// Where a disk without a path of its own goes.
    home: (Ref, String),
    controllers: Vec<Controller>,
    disks: Vec<MachineDisk>,
    cards: Vec<Object>,
    /// The keys that new controllers really get, by the (negative) ones in the spec.
    keys: HashMap<i32, i32>,
    steps: Vec<FileStep>,
    removed: Vec<(Ref, String)>,
}

/// A draft that can be applied.
pub struct Plan {
    controllers: Vec<Controller>,
    disks: Vec<MachineDisk>,
    cards: Vec<Object>,
    steps: Vec<FileStep>,
}

fn bad_spec(index: usize, why: &str) -> Fault {
    Fault::new(
        "InvalidDeviceSpec",
        format!("Invalid configuration for device '{index}': {why}."),
    )
    .with("property", format!("spec.deviceChange[{index}]"))
    .with("deviceIndex", index as i64)
}

fn bad_controller(index: usize, key: i32) -> Fault {
    Fault::new(
        "InvalidController",
        format!("Device '{index}' is on no controller of the machine ({key})."),
    )
    .with(
        "property",
        format!("spec.deviceChange[{index}].device.controllerKey"),
    )
    .with("deviceIndex", index as i64)
    .with("controllerKey", key)
}

fn narrow(number: i64) -> i32 {
    // The tables have let pass only what fits.
    number as i32
}

/// The bytes that a VirtualDisk of a spec asks for.
fn capacity(device: &Object) -> u64 {
    let bytes = device.int("capacityInBytes").filter(|bytes| *bytes > 0);
    let bytes =
        bytes.unwrap_or_else(|| device.int("capacityInKB").unwrap_or(0).saturating_mul(1024));
    u64::try_from(bytes).unwrap_or(0)
}

fn disk_type(backing: &Object) -> DiskType {
    if backing.bool("thinProvisioned") == Some(true) {
        DiskType::Thin
    } else if backing.bool("eagerlyScrub") == Some(true) {
        DiskType::EagerZeroedThick
    } else {
        DiskType::Thick
    }
}

/// Works out what the changes come to, without any effect.
pub fn plan(world: &World, machine: &Ref, changes: &[&Object]) -> Outcome<Plan> {
    let body = world.machine(machine)?;
    let mut draft = Draft {
        world,
        machine: machine.clone(),
        name: world.node(machine)?.name.clone(),
        home: (body.datastore.clone(), folder_of(&body.vmx).to_owned()),
        controllers: body.controllers.clone(),
        disks: body.disks.clone(),
        cards: body.cards.clone(),
        keys: HashMap::new(),
        steps: Vec::new(),
        removed: Vec::new(),
    };
    draft.check(changes)?;
    // A disk may stand before the controller that it is on, and take the place of one that is removed after it.
    for pass in ["add controller", "remove", "edit", "add"] {
        for (index, change) in changes.iter().enumerate() {
            draft.change(pass, index, change)?;
        }
    }
    draft.check_space()?;
    Ok(Plan {
        controllers: draft.controllers,
        disks: draft.disks,
        cards: draft.cards,
        steps: draft.steps,
    })
}

impl Draft<'_> {
    fn check(&self, changes: &[&Object]) -> Outcome<()> {
        for (index, change) in changes.iter().enumerate() {
            let device = change
                .object("device")
                .ok_or_else(|| bad_spec(index, "there is no device"))?;
            let known = device.kind == "VirtualDisk"
                || card::is_card(device)
                || schema().data_is_a(&device.kind, "VirtualController");
            if !known {
                return Err(
                    Fault::new("DeviceNotSupported", "The device is not supported.")
                        .with("device", &device.kind),
                );
            }
            let is_disk = device.kind == "VirtualDisk";
            let allowed = matches!(
                (
                    change.text("operation"),
                    change.text("fileOperation"),
                    is_disk
                ),
                (Some("add"), Some("create"), true)
                    | (Some("remove"), Some("destroy"), true)
                    | (Some(_), None, _)
            );
            if !allowed {
                return Err(Fault::new(
                    "InvalidDeviceOperation",
                    format!("Invalid operation for device '{index}'."),
                )
                .with("deviceIndex", index as i64)
                .with_words("badOp", change.text("operation"))
                .with_words("badFileOp", change.text("fileOperation")));
            }
        }
        Ok(())
    }

    fn change(&mut self, pass: &str, index: usize, change: &Object) -> Outcome<()> {
        let Some(device) = change.object("device") else {
            return Ok(());
        };
        if card::is_card(device) {
            return self.change_card(pass, index, change.text("operation"), device);
        }
        let is_disk = device.kind == "VirtualDisk";
        match (pass, change.text("operation"), is_disk) {
            ("add controller", Some("add"), false) => self.add_controller(index, device),
            ("remove", Some("remove"), true) => self.remove_disk(index, change, device),
            ("remove", Some("remove"), false) => self.remove_controller(index, device),
            ("edit", Some("edit"), true) => self.edit_disk(index, device),
            ("edit", Some("edit"), false) => self.find_controller(index, key(device)).map(drop),
            ("add", Some("add"), true) => self.add_disk(index, change, device),
            _ => Ok(()),
        }
    }

    fn add_controller(&mut self, index: usize, device: &Object) -> Outcome<()> {
        let bus_number = narrow(device.int("busNumber").unwrap_or(0));
        let family = first_key(&device.kind);
        let mut taken = self
            .controllers
            .iter()
            .filter(|other| first_key(&other.kind) == family);
        let free = if taken.any(|other| other.bus_number == bus_number) {
            let used: Vec<i32> = self
                .controllers
                .iter()
                .filter(|other| first_key(&other.kind) == family)
                .map(|other| other.bus_number)
                .collect();
            (0..4).find(|number| !used.contains(number))
        } else {
            Some(bus_number)
        };
        let bus_number =
            free.ok_or_else(|| bad_spec(index, "there are four controllers of that kind already"))?;
        let real = family + bus_number;
        self.keys.insert(key(device), real);
        self.controllers.push(Controller {
            key: real,
            kind: device.kind.clone(),
            bus_number,
        });
        Ok(())
    }

    fn find_controller(&self, index: usize, key: i32) -> Outcome<Controller> {
        let real = self.keys.get(&key).copied().unwrap_or(key);
        let found = self
            .controllers
            .iter()
            .find(|controller| controller.key == real);
        found.cloned().ok_or_else(|| bad_controller(index, key))
    }

    fn remove_controller(&mut self, index: usize, device: &Object) -> Outcome<()> {
        let controller = self.find_controller(index, key(device))?;
        if self
            .disks
            .iter()
            .any(|disk| disk.controller_key == controller.key)
        {
            return Err(bad_spec(index, "there are devices on the controller"));
        }
        self.controllers.retain(|other| other.key != controller.key);
        Ok(())
    }

    fn check_space(&self) -> Outcome<()> {
        let mut needed: HashMap<&Ref, (u64, &str)> = HashMap::new();
        for step in &self.steps {
            let (datastore, path, more) = match step {
                FileStep::Create {
                    datastore,
                    path,
                    capacity,
                    disk_type,
                    ..
                } if *disk_type != DiskType::Thin => (datastore, path, *capacity),
                FileStep::Extend {
                    datastore,
                    path,
                    capacity,
                    ..
                } => {
                    let file = self.world.disk_file(datastore, path)?;
                    let more = if file.disk_type == DiskType::Thin {
                        0
                    } else {
                        capacity - file.capacity
                    };
                    (datastore, path, more)
                }
                _ => continue,
            };
            needed.entry(datastore).or_insert((0, path)).0 += more;
        }
        needed
            .into_iter()
            .try_for_each(|(datastore, (more, path))| self.world.check_space(datastore, more, path))
    }
}

fn key(device: &Object) -> i32 {
    narrow(device.int("key").unwrap_or(0))
}

impl Plan {
    pub fn apply(self, world: &mut World, machine: &Ref) -> Outcome<()> {
        let mut released = Vec::new();
        for step in self.steps {
            match step {
                FileStep::Create {
                    datastore,
                    path,
                    capacity,
                    disk_type,
                    adapter,
                } => {
                    let place = world.fresh_path();
                    let capacity = world.made_capacity(capacity);
                    let disk_type = world.made_type(&datastore, disk_type);
                    let file = DiskFile::create(&place, capacity, disk_type, adapter)?;
                    world
                        .datastore_mut(&datastore)?
                        .files
                        .insert(path, Entry::Disk(file));
                }
                FileStep::Delta {
                    parent,
                    datastore,
                    path,
                } => world.add_delta(&parent, &(datastore, path))?,
                FileStep::Delete { datastore, path } => {
                    let parents = world.parents(&datastore, &path);
                    world.datastore_mut(&datastore)?.remove_file(&path);
                    released.extend(parents.into_iter().next());
                }
                FileStep::SetUuid {
                    datastore,
                    path,
                    uuid,
                } => world.disk_file_mut(&datastore, &path)?.uuid = uuid,
                FileStep::Extend {
                    datastore,
                    path,
                    capacity,
                    eager,
                } => {
                    let capacity = world.made_capacity(capacity);
                    world
                        .disk_file_mut(&datastore, &path)?
                        .extend(capacity, eager)?;
                }
            }
        }
        let body = world.machine_mut(machine)?;
        body.controllers = self.controllers;
        body.disks = self.disks;
        body.cards = self.cards;
        for parent in &released {
            world.release_disk(parent);
        }
        Ok(())
    }
}

impl Fault {
    fn with_words(self, name: &str, word: Option<&str>) -> Fault {
        match word {
            Some(word) => self.with(name, word),
            None => self,
        }
    }
}
