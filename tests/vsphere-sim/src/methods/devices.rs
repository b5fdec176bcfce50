//! `deviceChange`: controllers and disks that are added, edited and removed, all of them or none.

use std::collections::HashMap;

use crate::disk::DiskType;
use crate::wire::{Fault, Object, Outcome, Ref, schema};
use crate::world::World;
use crate::world::datastore::{DiskFile, Entry};
use crate::world::ids::canonical_uuid;
use crate::world::machine::{
    BackingKind, Controller, MachineDisk, descriptor_adapter, first_disk_key, first_key, is_scsi,
    units,
};
use crate::world::path::{DatastorePath, file_name, folder_of};

/// What must be done to files once all changes are known to be good.
enum FileStep {
    Create {
        datastore: Ref,
        path: String,
        capacity: u64,
        disk_type: DiskType,
        adapter: &'static str,
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
    /// The keys that new controllers really get, by the (negative) ones in the spec.
    keys: HashMap<i32, i32>,
    steps: Vec<FileStep>,
    removed: Vec<(Ref, String)>,
}

/// A draft that can be applied.
pub struct Plan {
    controllers: Vec<Controller>,
    disks: Vec<MachineDisk>,
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

    fn find_disk(&self, index: usize, device: &Object) -> Outcome<usize> {
        let found = self.disks.iter().position(|disk| disk.key == key(device));
        found.ok_or_else(|| bad_spec(index, "the machine has no device of that key"))
    }

    fn remove_disk(&mut self, index: usize, change: &Object, device: &Object) -> Outcome<()> {
        let position = self.find_disk(index, device)?;
        let disk = self.disks.remove(position);
        if change.text("fileOperation") == Some("destroy") {
            self.steps.push(FileStep::Delete {
                datastore: disk.datastore.clone(),
                path: disk.path.clone(),
            });
        }
        self.removed.push((disk.datastore, disk.path));
        Ok(())
    }

    fn edit_disk(&mut self, index: usize, device: &Object) -> Outcome<()> {
        let position = self.find_disk(index, device)?;
        let disk = self.disks[position].clone();
        let file = self.world.disk_file(&disk.datastore, &disk.path)?;
        let asked = capacity(device);
        if asked > 0 && asked < file.capacity {
            return Err(bad_spec(index, "a disk cannot shrink"));
        }
        if asked > file.capacity {
            if !self.world.machine(&self.machine)?.snapshots.is_empty() {
                return Err(bad_spec(
                    index,
                    "a disk of a machine with snapshots cannot grow",
                ));
            }
            let (datastore, path) = (disk.datastore.clone(), disk.path.clone());
            let eager = device
                .object("backing")
                .and_then(|backing| backing.bool("eagerlyScrub"))
                == Some(true);
            self.steps.push(FileStep::Extend {
                datastore,
                path,
                capacity: asked,
                eager,
            });
        }
        if let Some(backing) = device.object("backing") {
            let text = self.world.path_text(&disk.datastore, &disk.path);
            if backing
                .text("fileName")
                .is_some_and(|name| !name.is_empty() && name != text)
            {
                return Err(bad_spec(index, "the file of a disk cannot be changed"));
            }
            if let Some(uuid) = backing.text("uuid") {
                let uuid =
                    canonical_uuid(uuid).ok_or_else(|| bad_spec(index, "that is no UUID"))?;
                let (datastore, path) = (disk.datastore.clone(), disk.path.clone());
                self.steps.push(FileStep::SetUuid {
                    datastore,
                    path,
                    uuid,
                });
            }
            if let Some(mode) = backing.text("diskMode") {
                self.disks[position].mode = mode.to_owned();
            }
        }
        let controller = device
            .int("controllerKey")
            .map_or(disk.controller_key, narrow);
        let unit = device.int("unitNumber").map_or(disk.unit_number, narrow);
        if (controller, unit) != (disk.controller_key, disk.unit_number) {
            let controller = self.find_controller(index, controller)?;
            let unit = self.place(index, &controller, Some(unit))?;
            self.disks[position].controller_key = controller.key;
            self.disks[position].unit_number = unit;
        }
        Ok(())
    }

    /// The unit that a disk gets on a controller.
    fn place(&self, index: usize, controller: &Controller, asked: Option<i32>) -> Outcome<i32> {
        let taken = |unit: &i32| {
            let own = is_scsi(&controller.kind) && *unit == 7;
            own || self
                .disks
                .iter()
                .any(|disk| disk.controller_key == controller.key && disk.unit_number == *unit)
        };
        match asked.filter(|unit| *unit >= 0) {
            Some(unit) if unit >= units(&controller.kind) => {
                Err(bad_spec(index, "the controller has no such unit"))
            }
            Some(unit) if taken(&unit) => {
                Err(bad_spec(index, "the unit of the controller is taken"))
            }
            Some(unit) => Ok(unit),
            None => {
                let free = (0..units(&controller.kind)).find(|unit| !taken(unit));
                free.ok_or_else(|| bad_spec(index, "the controller is full"))
            }
        }
    }

    fn add_disk(&mut self, index: usize, change: &Object, device: &Object) -> Outcome<()> {
        let asked = device
            .int("controllerKey")
            .ok_or_else(|| bad_controller(index, 0))?;
        let controller = self.find_controller(index, narrow(asked))?;
        let unit_number = self.place(index, &controller, device.int("unitNumber").map(narrow))?;
        let backing = device
            .object("backing")
            .ok_or_else(|| bad_spec(index, "there is no backing"))?;
        if backing.kind != "VirtualDiskFlatVer2BackingInfo" {
            return Err(Fault::new(
                "InvalidDeviceBacking",
                format!("Invalid backing for device '{index}'."),
            )
            .with("deviceIndex", index as i64));
        }
        let file_path = backing.text("fileName").unwrap_or_default();
        let (datastore, path) = if change.text("fileOperation") == Some("create") {
            self.new_file(
                index,
                device,
                backing,
                file_path,
                descriptor_adapter(&controller.kind),
            )?
        } else {
            self.existing_file(file_path)?
        };
        if let Some(uuid) = backing.text("uuid") {
            let uuid = canonical_uuid(uuid).ok_or_else(|| bad_spec(index, "that is no UUID"))?;
            self.steps.push(FileStep::SetUuid {
                datastore: datastore.clone(),
                path: path.clone(),
                uuid,
            });
        }
        let first = first_disk_key(&controller.kind) + controller.bus_number * 16 + unit_number;
        let key = (first..)
            .find(|key| !self.disks.iter().any(|disk| disk.key == *key))
            .unwrap_or(first);
        let label = (1..).map(|number| format!("Hard disk {number}"));
        let mut label =
            label.skip_while(|label| self.disks.iter().any(|disk| &disk.label == label));
        self.disks.push(MachineDisk {
            key,
            controller_key: controller.key,
            unit_number,
            datastore,
            path,
            mode: backing.text("diskMode").unwrap_or("persistent").to_owned(),
            backing: BackingKind::Flat,
            encrypted: false,
            label: label.next().unwrap_or_default(),
        });
        Ok(())
    }

    fn new_file(
        &mut self,
        index: usize,
        device: &Object,
        backing: &Object,
        file_path: &str,
        adapter: &'static str,
    ) -> Outcome<(Ref, String)> {
        let capacity = capacity(device);
        if capacity == 0 || !capacity.is_multiple_of(512) {
            return Err(bad_spec(
                index,
                "the capacity is no whole number of sectors",
            ));
        }
        let (datastore, path) = match file_path {
            "" => (self.home.0.clone(), String::new()),
            path => self
                .world
                .locate(path, self.world.datacenter_of(&self.machine).as_ref())?,
        };
        let path = if path.is_empty() {
            self.free_name(&datastore)?
        } else {
            path
        };
        self.world.check_new_file(&datastore, &path)?;
        let disk_type = disk_type(backing);
        let (store, at) = (datastore.clone(), path.clone());
        self.steps.push(FileStep::Create {
            datastore: store,
            path: at,
            capacity,
            disk_type,
            adapter,
        });
        Ok((datastore, path))
    }

    fn free_name(&self, datastore: &Ref) -> Outcome<String> {
        let store = self.world.datastore(datastore)?;
        let folder = if datastore == &self.home.0 || store.has_folder(&self.home.1) {
            &self.home.1
        } else {
            ""
        };
        let planned = |path: &String| {
            self.steps.iter().any(|step| {
                matches!(step, FileStep::Create { datastore: other, path: taken, .. } if other == datastore && taken == path)
            })
        };
        let base = file_name(&self.name);
        let names = (0..).map(|number| {
            if number == 0 {
                base.clone()
            } else {
                format!("{base}_{number}")
            }
        });
        let mut free = names
            .map(|name| store.free_disk(folder, &name))
            .filter(|path| !planned(path));
        free.next()
            .ok_or_else(|| Fault::bad_path(&DatastorePath::text(&base, "")))
    }

    fn existing_file(&self, file_path: &str) -> Outcome<(Ref, String)> {
        let (datastore, path) = self
            .world
            .locate(file_path, self.world.datacenter_of(&self.machine).as_ref())?;
        self.world.disk_file(&datastore, &path)?;
        let place = (datastore, path);
        let twice = self
            .disks
            .iter()
            .any(|disk| disk.datastore == place.0 && disk.path == place.1);
        if twice {
            return Err(Fault::file("FileLocked", file_path));
        }
        if !self.removed.contains(&place) {
            self.world.check_unlocked(&place.0, &place.1)?;
        }
        Ok(place)
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
                    let file = DiskFile::create(&place, capacity, disk_type, adapter)?;
                    world
                        .datastore_mut(&datastore)?
                        .files
                        .insert(path, Entry::Disk(file));
                }
                FileStep::Delete { datastore, path } => {
                    world.datastore_mut(&datastore)?.remove_file(&path)
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
                    world
                        .disk_file_mut(&datastore, &path)?
                        .extend(capacity, eager)?;
                }
            }
        }
        let body = world.machine_mut(machine)?;
        body.controllers = self.controllers;
        body.disks = self.disks;
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
