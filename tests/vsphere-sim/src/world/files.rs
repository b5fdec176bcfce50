//! The files of a datastore, and when each was put there.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::datastore::DiskFile;

pub enum Entry {
    Folder,
    Text(String),
    Disk(DiskFile),
    Uploaded(Uploaded),
    /// The place of a disk that is being written.
    Reserved(u64),
}

/// A file that somebody put there, kept on the machine's file system. Its copies share it.
#[derive(Clone)]
pub struct Uploaded {
    pub file: Arc<PathBuf>,
    pub length: u64,
}

impl Uploaded {
    /// Removes the file, unless a copy needs it.
    pub fn delete(self) {
        if let Some(path) = Arc::into_inner(self.file) {
            // As with a disk: what is left until the end does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The files by their paths within the datastore.
#[derive(Default)]
pub struct Files {
    entries: BTreeMap<String, Entry>,
    modified: HashMap<String, Instant>,
}

impl Files {
    pub fn insert(&mut self, path: String, entry: Entry) -> Option<Entry> {
        self.modified.insert(path.clone(), Instant::now());
        self.entries.insert(path, entry)
    }

    /// Makes a folder, unless something is there.
    pub fn add_folder(&mut self, path: String) {
        if !self.entries.contains_key(&path) {
            self.insert(path, Entry::Folder);
        }
    }

    pub fn remove(&mut self, path: &str) -> Option<Entry> {
        self.modified.remove(path);
        self.entries.remove(path)
    }

    pub fn get_mut(&mut self, path: &str) -> Option<&mut Entry> {
        self.entries.get_mut(path)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }

    /// When a file was put there.
    pub fn modified(&self, path: &str) -> Option<Instant> {
        self.modified.get(path).copied()
    }
}

impl Deref for Files {
    type Target = BTreeMap<String, Entry>;

    fn deref(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }
}
