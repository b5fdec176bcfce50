//! Chains of disks: deltas on others, as snapshots and linked clones have them.
//!
//! A delta's contents begin as a copy of its parent's, which nobody writes to any more: what is read is what a read
//! through the chain would give, and a chain that has lost a parent is refused wherever it would be read.

use crate::wire::{Fault, Outcome, Ref};

use super::World;
use super::datastore::DiskFile;
use super::files::Entry;
use super::machine::{BackingKind, MachineDisk};
use super::path::{file_of, folder_of};

/// A datastore and the path of a descriptor there.
pub type Place = (Ref, String);

/// What makes a disk a delta.
#[derive(Clone, Debug)]
pub struct Delta {
    pub parent: Place,
    /// The bytes that lie in the parents.
    pub inherited: u64,
}

pub fn place_of(disk: &MachineDisk) -> Place {
    (disk.datastore.clone(), disk.path.clone())
}

impl World {
    /// The disks below a delta, the nearest first; one that is missing ends the list.
    pub fn parents(&self, datastore: &Ref, path: &str) -> Vec<Place> {
        let mut parents: Vec<Place> = Vec::new();
        let mut next = self.disk_file(datastore, path).ok();
        while let Some(delta) = next.and_then(|file| file.delta.as_ref()) {
            if parents.contains(&delta.parent) {
                break;
            }
            parents.push(delta.parent.clone());
            next = self.disk_file(&delta.parent.0, &delta.parent.1).ok();
        }
        parents
    }

    /// Refuses a delta one of whose parents is not there.
    pub fn check_chain(&self, datastore: &Ref, path: &str) -> Outcome<()> {
        let missing = |place: &&Place| self.disk_file(&place.0, &place.1).is_err();
        match self.parents(datastore, path).iter().find(missing) {
            Some(place) => Err(Fault::file(
                "FileNotFound",
                &self.path_text(&place.0, &place.1),
            )),
            None => Ok(()),
        }
    }

    /// The deltas that lie directly on a disk.
    fn children(&self, place: &Place) -> Vec<Place> {
        let mut children = Vec::new();
        for datastore in self.of_kind("Datastore") {
            let Ok(store) = self.datastore(&datastore) else {
                continue;
            };
            for (path, entry) in store.files.iter() {
                if let Entry::Disk(file) = entry
                    && file
                        .delta
                        .as_ref()
                        .is_some_and(|delta| &delta.parent == place)
                {
                    children.push((datastore.clone(), path.clone()));
                }
            }
        }
        children
    }

    /// Whether a machine, or a snapshot of it, has a disk.
    fn is_named(&self, place: &Place) -> bool {
        self.machines().any(|(_, machine)| {
            let kept = machine
                .snapshots
                .iter()
                .flat_map(|snapshot| &snapshot.disks);
            machine
                .disks
                .iter()
                .chain(kept)
                .any(|disk| &place_of(disk) == place)
        })
    }

    /// A name beside a disk for a delta: `name-000001.vmdk`, and so on.
    pub fn delta_place(&self, base: &Place) -> Outcome<Place> {
        let store = self.datastore(&base.0)?;
        let name = file_of(&base.1).trim_end_matches(".vmdk");
        let name = match name.rsplit_once('-') {
            Some((stem, number))
                if number.len() == 6 && number.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                stem
            }
            _ => name,
        };
        let folder = match folder_of(&base.1) {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let mut names = (1..).map(|number: u32| format!("{folder}{name}-{number:06}.vmdk"));
        let free = names.find(|path| !store.files.contains_key(path));
        free.map(|path| (base.0.clone(), path))
            .ok_or_else(|| Fault::system("no name for a delta"))
    }

    /// Puts a delta on a disk.
    pub fn add_delta(&mut self, base: &Place, to: &Place) -> Outcome<()> {
        self.check_new_file(&to.0, &to.1)?;
        self.check_chain(&base.0, &base.1)?;
        let fresh = self.fresh_path();
        let below = self.disk_file(&base.0, &base.1)?;
        let copy = below.contents.read().copy_to(&fresh, below.disk_type)?;
        let mut file = DiskFile::new(copy, &below.adapter_type)?;
        file.uuid.clone_from(&below.uuid);
        file.delta = Some(Delta {
            parent: base.clone(),
            inherited: file.allocated,
        });
        let store = self.datastore_mut(&to.0)?;
        store.files.insert(to.1.clone(), Entry::Disk(file));
        Ok(())
    }

    /// Puts a delta on each of a machine's disks that snapshots keep; the machine goes on with the deltas.
    pub fn freeze_disks(&mut self, machine: &Ref) -> Outcome<()> {
        for disk in self.machine(machine)?.disks.clone() {
            if disk.backing != BackingKind::Flat || disk.mode.starts_with("independent") {
                continue;
            }
            let base = place_of(&disk);
            let delta = self.delta_place(&base)?;
            self.add_delta(&base, &delta)?;
            let disks = &mut self.machine_mut(machine)?.disks;
            if let Some(own) = disks.iter_mut().find(|own| own.key == disk.key) {
                (own.datastore, own.path) = delta;
            }
        }
        Ok(())
    }

    /// Lets go of a disk that a snapshot or a machine no longer names: a disk that nothing lies on is removed, and one
    /// with a single delta beside it takes over what the delta holds. One that others lie on stays.
    pub fn release_disk(&mut self, place: &Place) {
        if self.is_named(place) {
            return;
        }
        let Ok(file) = self.disk_file(&place.0, &place.1) else {
            return;
        };
        if file.busy.is_some() {
            return;
        }
        let parent = file.delta.as_ref().map(|delta| delta.parent.clone());
        match self.children(place).as_slice() {
            [] => {
                if let Ok(store) = self.datastore_mut(&place.0) {
                    store.remove_file(&place.1);
                    store.remove_empty_folder(folder_of(&place.1));
                }
                if let Some(parent) = parent {
                    self.release_disk(&parent);
                }
            }
            [child] if child.0 == place.0 && folder_of(&child.1) == folder_of(&place.1) => {
                self.merge(place, &child.clone());
            }
            _ => {}
        }
    }

    /// Gives a disk the contents of the delta on it, whose place it takes everywhere.
    fn merge(&mut self, place: &Place, child: &Place) {
        let Ok(below) = self.disk_file(&place.0, &place.1) else {
            return;
        };
        let (delta, uuid) = (below.delta.clone(), below.uuid.clone());
        let Ok(store) = self.datastore_mut(&place.0) else {
            return;
        };
        let Some(Entry::Disk(mut file)) = store.files.remove(&child.1) else {
            return;
        };
        store.remove_file(&place.1);
        (file.delta, file.uuid) = (delta, uuid);
        store.files.insert(place.1.clone(), Entry::Disk(file));
        for node in self.nodes.values_mut() {
            match &mut node.body {
                super::inventory::Body::Machine(machine) => {
                    let kept = machine
                        .snapshots
                        .iter_mut()
                        .flat_map(|snapshot| &mut snapshot.disks);
                    for disk in machine.disks.iter_mut().chain(kept) {
                        if &place_of(disk) == child {
                            disk.path.clone_from(&place.1);
                        }
                    }
                }
                super::inventory::Body::Datastore(store) => {
                    for entry in store.files.values_mut() {
                        if let Entry::Disk(DiskFile {
                            delta: Some(delta), ..
                        }) = entry
                            && &delta.parent == child
                        {
                            delta.parent = place.clone();
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Removes the files of a machine that has left the inventory: its disks, those of its snapshots, and whatever of
    /// their parents nobody else lies on. What is a linked clone's parent stays, as on a vCenter.
    pub fn remove_disks(&mut self, disks: Vec<MachineDisk>) {
        for disk in disks {
            let place = place_of(&disk);
            if disk.backing != BackingKind::Flat || !self.children(&place).is_empty() {
                continue;
            }
            let parents = self.parents(&place.0, &place.1);
            if let Ok(store) = self.datastore_mut(&place.0) {
                store.remove_file(&place.1);
                store.remove_empty_folder(folder_of(&place.1));
            }
            if let Some(parent) = parents.first() {
                self.release_disk(parent);
            }
        }
    }
}
