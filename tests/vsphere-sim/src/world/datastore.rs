//! Datastores: their files, their space, and the disks' contents.

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::disk::{Disk, DiskType};
use crate::options::DatastoreKind;
use crate::wire::{Fault, Outcome, Ref};

use super::World;
use super::chain::{Delta, place_of};
pub use super::files::Entry;
use super::files::Files;
use super::ids::uuid;
use super::path::{DatastorePath, folder_of};

pub struct Datastore {
    pub capacity: u64,
    pub kind: DatastoreKind,
    pub accessible: bool,
    pub maintenance_mode: &'static str,
    /// The hosts that mount it, and whether for writing.
    pub mounts: Vec<Mount>,
    pub files: Files,
    pub largest_disk: u64,
}

/// 62 TiB: the largest disk of VMFS.
pub const LARGEST_DISK: u64 = 62 << 40;

pub struct Mount {
    pub host: Ref,
    pub read_write: bool,
    pub accessible: bool,
}

/// A disk's file: the contents, and what the descriptor says about them.
pub struct DiskFile {
    pub contents: Contents,
    pub uuid: String,
    pub adapter_type: String,
    pub capacity: u64,
    pub disk_type: DiskType,
    pub cid: u32,
    pub allocated: u64,
    /// Whoever works on it at the moment (a lease, a task): the file is locked.
    pub busy: Option<String>,
    /// What it lies on, where it is no disk of its own.
    pub delta: Option<Delta>,
}

/// A disk that transfers and tasks may hold longer than the world's lock.
#[derive(Clone)]
pub struct Contents(Arc<RwLock<Disk>>);

impl Contents {
    pub fn new(disk: Disk) -> Contents {
        Contents(Arc::new(RwLock::new(disk)))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Disk> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Disk> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile {
    pub fn new(disk: Disk, adapter_type: &str) -> io::Result<DiskFile> {
        let contents = Contents::new(disk);
        let mut file = DiskFile {
            contents,
            uuid: uuid("6000C29"),
            adapter_type: adapter_type.to_owned(),
            capacity: 0,
            disk_type: DiskType::Thin,
            cid: 0,
            allocated: 0,
            busy: None,
            delta: None,
        };
        file.refresh()?;
        Ok(file)
    }

    pub fn create(
        path: &Path,
        capacity: u64,
        disk_type: DiskType,
        adapter_type: &str,
    ) -> io::Result<DiskFile> {
        DiskFile::new(Disk::create(path, capacity, disk_type)?, adapter_type)
    }

    /// Reads again what is known about the contents.
    pub fn refresh(&mut self) -> io::Result<()> {
        let disk = self.contents.read();
        let (capacity, disk_type, cid) = (disk.capacity(), disk.disk_type(), disk.cid());
        let allocated = disk.allocated()?;
        drop(disk);
        (self.capacity, self.disk_type, self.cid, self.allocated) =
            (capacity, disk_type, cid, allocated);
        Ok(())
    }

    /// Grows the disk. What is added to an eager zeroed one is lazily zeroed unless that is asked for, and the disk as a
    /// whole no longer counts as eager zeroed then.
    pub fn extend(&mut self, capacity: u64, eager: bool) -> io::Result<()> {
        let mut disk = self.contents.write();
        disk.extend(capacity)?;
        if disk.disk_type() == DiskType::EagerZeroedThick && !eager {
            disk.set_disk_type(DiskType::Thick);
        }
        drop(disk);
        self.refresh()
    }

    pub fn space(&self) -> u64 {
        match (&self.delta, self.disk_type) {
            (Some(delta), _) => self.allocated.saturating_sub(delta.inherited),
            (None, DiskType::Thin) => self.allocated,
            (None, DiskType::Thick | DiskType::EagerZeroedThick) => self.capacity,
        }
    }

    /// Removes the contents from the machine; whoever still holds them keeps reading the open file.
    pub fn delete(self) {
        let path = self.contents.read().path().to_owned();
        // The directory as a whole is removed at the end; a file that is left until then does no harm.
        if let Some(lock) = Arc::into_inner(self.contents.0) {
            let _ = lock
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .delete();
        } else {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Datastore {
    pub fn new(capacity: u64, kind: DatastoreKind) -> Datastore {
        Datastore {
            capacity,
            kind,
            accessible: true,
            maintenance_mode: "normal",
            mounts: Vec::new(),
            files: Files::default(),
            largest_disk: LARGEST_DISK,
        }
    }

    pub fn used(&self) -> u64 {
        let sizes = self.files.values().map(|entry| match entry {
            Entry::Folder => 0,
            Entry::Text(text) => text.len() as u64,
            Entry::Disk(file) => file.space(),
            Entry::Uploaded(uploaded) => uploaded.length,
            Entry::Reserved(size) => *size,
        });
        sizes.sum()
    }

    pub fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used())
    }

    pub fn type_name(&self) -> &'static str {
        match self.kind {
            DatastoreKind::Vmfs => "VMFS",
            DatastoreKind::Nfs => "NFS",
            DatastoreKind::Vsan => "vsan",
            DatastoreKind::Vvol => "VVOL",
        }
    }

    pub fn disk(&self, path: &str) -> Option<&DiskFile> {
        match self.files.get(path) {
            Some(Entry::Disk(file)) => Some(file),
            _ => None,
        }
    }

    pub fn disk_mut(&mut self, path: &str) -> Option<&mut DiskFile> {
        match self.files.get_mut(path) {
            Some(Entry::Disk(file)) => Some(file),
            _ => None,
        }
    }

    /// The descriptor of the disk whose extent is at a path; it has no entry of its own.
    pub fn disk_of_extent(&self, path: &str) -> Option<String> {
        let descriptor = format!("{}.vmdk", path.strip_suffix("-flat.vmdk")?);
        let extent = !self.files.contains_key(path) && self.disk(&descriptor).is_some();
        extent.then_some(descriptor)
    }

    /// Whether there is such a folder; the root always is.
    pub fn has_folder(&self, path: &str) -> bool {
        path.is_empty() || matches!(self.files.get(path), Some(Entry::Folder))
    }

    /// What lies below a folder, at any depth.
    pub fn below(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        self.files
            .keys()
            .filter(|path| path.starts_with(&prefix))
            .cloned()
            .collect()
    }

    /// A name in the root that nothing has: `name`, `name_1`, ...
    pub fn free_folder(&self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut number = 0;
        while self.files.contains_key(&candidate) {
            number += 1;
            candidate = format!("{name}_{number}");
        }
        candidate
    }

    /// A name for a disk in a folder that nothing has: `name.vmdk`, `name_1.vmdk`, ...
    pub fn free_disk(&self, folder: &str, name: &str) -> String {
        let place = |suffix: &str| match folder {
            "" => format!("{name}{suffix}.vmdk"),
            folder => format!("{folder}/{name}{suffix}.vmdk"),
        };
        let mut candidate = place("");
        let mut number = 0;
        while self.files.contains_key(&candidate) {
            number += 1;
            candidate = place(&format!("_{number}"));
        }
        candidate
    }

    pub fn remove_file(&mut self, path: &str) {
        match self.files.remove(path) {
            Some(Entry::Disk(file)) => file.delete(),
            Some(Entry::Uploaded(uploaded)) => uploaded.delete(),
            _ => {}
        }
    }

    /// Removes a folder that nothing lies in.
    pub fn remove_empty_folder(&mut self, folder: &str) {
        if !folder.is_empty() && self.below(folder).is_empty() {
            self.files.remove(folder);
        }
    }
}

impl World {
    /// The datastore of that name in a datacenter; in the only one where none is given.
    pub fn datastore_named(&self, name: &str, datacenter: Option<&Ref>) -> Outcome<Ref> {
        let found = self.of_kind("Datastore").into_iter().find(|datastore| {
            let placed = datacenter.is_none_or(|datacenter| self.is_below(datastore, datacenter));
            placed && self.node(datastore).is_ok_and(|node| node.name == name)
        });
        found.ok_or_else(|| {
            Fault::new(
                "InvalidDatastore",
                format!("Datastore '{name}' is not valid."),
            )
            .with("name", name)
        })
    }

    /// The datastore and the path within it that a datastore path names.
    pub fn locate(&self, text: &str, datacenter: Option<&Ref>) -> Outcome<(Ref, String)> {
        let parsed = DatastorePath::parse(text)?;
        let datastore = self
            .datastore_named(&parsed.datastore, datacenter)
            .map_err(|_| Fault::bad_path(text))?;
        if !self.datastore(&datastore)?.accessible {
            return Err(Fault::new(
                "InaccessibleDatastore",
                format!("Datastore '{}' is not accessible.", parsed.datastore),
            )
            .with("datastore", &datastore)
            .with("name", parsed.datastore));
        }
        let path = self.friendly(&datastore, parsed.path);
        Ok((datastore, path))
    }

    pub fn path_text(&self, datastore: &Ref, path: &str) -> String {
        let name = self.node(datastore).map_or("?", |node| node.name.as_str());
        DatastorePath::text(name, path)
    }

    /// What a disk becomes on a datastore.
    pub fn made_type(&self, datastore: &Ref, asked: DiskType) -> DiskType {
        let name = self.node(datastore).map_or("", |node| node.name.as_str());
        let mut forced = self.options.datastore_disk_types.iter();
        let forced = forced.find(|(known, _)| known == name);
        forced.map_or(asked, |(_, disk_type)| *disk_type)
    }

    /// The size that a disk gets.
    pub fn made_capacity(&self, asked: u64) -> u64 {
        asked.next_multiple_of(self.options.disk_granularity)
    }

    /// Refuses a disk that is larger than the datastore can hold.
    pub fn check_size(&self, datastore: &Ref, capacity: u64) -> Outcome<()> {
        if capacity <= self.datastore(datastore)?.largest_disk {
            return Ok(());
        }
        Err(Fault::invalid_argument("capacity"))
    }

    pub fn check_space(&self, datastore: &Ref, needed: u64, path: &str) -> Outcome<()> {
        let node = self.node(datastore)?;
        if self.datastore(datastore)?.free() < needed {
            return Err(Fault::no_disk_space(
                &self.path_text(datastore, path),
                &node.name,
            ));
        }
        Ok(())
    }

    /// Refuses a place for a new file: something is there already, or the folder is not.
    pub fn check_new_file(&self, datastore: &Ref, path: &str) -> Outcome<()> {
        let text = self.path_text(datastore, path);
        let store = self.datastore(datastore)?;
        if path.is_empty() {
            return Err(Fault::bad_path(&text));
        }
        if store.files.contains_key(path) {
            return Err(Fault::file("FileAlreadyExists", &text));
        }
        if !store.has_folder(folder_of(path)) {
            return Err(Fault::file(
                "FileNotFound",
                &self.path_text(datastore, folder_of(path)),
            ));
        }
        Ok(())
    }

    pub fn disk_file(&self, datastore: &Ref, path: &str) -> Outcome<&DiskFile> {
        let store = self.datastore(datastore)?;
        store
            .disk(path)
            .ok_or_else(|| Fault::file("FileNotFound", &self.path_text(datastore, path)))
    }

    pub fn disk_file_mut(&mut self, datastore: &Ref, path: &str) -> Outcome<&mut DiskFile> {
        let text = self.path_text(datastore, path);
        let store = self.datastore_mut(datastore)?;
        store
            .disk_mut(path)
            .ok_or_else(|| Fault::file("FileNotFound", &text))
    }

    /// The machine that a disk is attached to, by itself, in a snapshot, or below a delta.
    pub fn attached_to(&self, datastore: &Ref, path: &str) -> Option<Ref> {
        let is_it = |other: &Ref, file: &str| other == datastore && file == path;
        let holder = self.machines().find(|(_, machine)| {
            let kept = machine
                .snapshots
                .iter()
                .flat_map(|snapshot| &snapshot.disks);
            machine.disks().chain(kept).any(|disk| {
                let (own, file) = place_of(disk);
                is_it(&own, &file)
                    || self
                        .parents(&own, &file)
                        .iter()
                        .any(|(below, file)| is_it(below, file))
            })
        });
        holder.map(|(node, _)| node.reference.clone())
    }

    /// Refuses a disk that a machine has attached or that somebody works on.
    pub fn check_unlocked(&self, datastore: &Ref, path: &str) -> Outcome<()> {
        let busy = self.disk_file(datastore, path)?.busy.is_some();
        if busy || self.attached_to(datastore, path).is_some() {
            return Err(Fault::file("FileLocked", &self.path_text(datastore, path)));
        }
        Ok(())
    }
}
