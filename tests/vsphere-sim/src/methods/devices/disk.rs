//! Disks of a draft: added, edited, removed.

use crate::wire::{Fault, Object, Outcome, Ref};
use crate::world::ids::canonical_uuid;
use crate::world::machine::{
    BackingKind, Controller, MachineDisk, descriptor_adapter, first_disk_key, is_scsi, units,
};
use crate::world::path::{DatastorePath, file_name};

use super::{Draft, FileStep, bad_controller, bad_spec, capacity, disk_type, key, narrow};

impl Draft<'_> {
    fn find_disk(&self, index: usize, device: &Object) -> Outcome<usize> {
        let found = self.disks.iter().position(|disk| disk.key == key(device));
        found.ok_or_else(|| bad_spec(index, "the machine has no device of that key"))
    }

    pub(super) fn remove_disk(
        &mut self,
        index: usize,
        change: &Object,
        device: &Object,
    ) -> Outcome<()> {
        let position = self.find_disk(index, device)?;
        let disk = self.disks.remove(position);
        if change.text("fileOperation") == Some("destroy") {
            let snapshots = &self.world.machine(&self.machine)?.snapshots;
            if snapshots
                .iter()
                .flat_map(|snapshot| &snapshot.disks)
                .any(|kept| kept.key == disk.key)
            {
                return Err(bad_spec(index, "the disk is part of a snapshot"));
            }
            self.steps.push(FileStep::Delete {
                datastore: disk.datastore.clone(),
                path: disk.path.clone(),
            });
        }
        self.removed.push((disk.datastore, disk.path));
        Ok(())
    }

    pub(super) fn edit_disk(&mut self, index: usize, device: &Object) -> Outcome<()> {
        let position = self.find_disk(index, device)?;
        let disk = self.disks[position].clone();
        let file = self.world.disk_file(&disk.datastore, &disk.path)?;
        let asked = match (capacity(device), device.int("capacityInBytes")) {
            // In KiB, a size of half a one more is the same.
            (asked, None) if asked / 1024 == file.capacity / 1024 => file.capacity,
            (asked, _) => asked,
        };
        if asked > 0 && asked < file.capacity {
            return Err(bad_spec(index, "a disk cannot shrink"));
        }
        if asked > file.capacity {
            if file.delta.is_some() {
                return Err(bad_spec(index, "a delta on another disk cannot grow"));
            }
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
            let place = (disk.datastore.clone(), disk.path.clone());
            let told = backing.text("fileName").filter(|name| !name.is_empty());
            if told.is_some_and(|told| self.world.locate(told, None).ok().as_ref() != Some(&place))
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

    pub(super) fn add_disk(
        &mut self,
        index: usize,
        change: &Object,
        device: &Object,
    ) -> Outcome<()> {
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
            write_through: backing.bool("writeThrough") == Some(true),
            io_allocation: device.object("storageIOAllocation").cloned(),
            format: None,
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
        let parent = backing
            .object("parent")
            .and_then(|parent| parent.text("fileName"));
        let parent = parent.map(|parent| {
            let datacenter = self.world.datacenter_of(&self.machine);
            let place = self.world.locate(parent, datacenter.as_ref())?;
            self.world.disk_file(&place.0, &place.1)?;
            Ok::<_, Fault>(place)
        });
        let parent = parent.transpose()?;
        let capacity = capacity(device);
        if parent.is_some() {
            // A delta has its parent's capacity, whatever is asked for.
        } else if capacity == 0 || !capacity.is_multiple_of(512) {
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
        if let Some(parent) = parent {
            self.steps.push(FileStep::Delta {
                parent,
                datastore: datastore.clone(),
                path: path.clone(),
            });
            return Ok((datastore, path));
        }
        self.world.check_size(&datastore, capacity)?;
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
                matches!(step, FileStep::Create { datastore: other, path: taken, .. } | FileStep::Delta { datastore: other, path: taken, .. } if other == datastore && taken == path)
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
}
