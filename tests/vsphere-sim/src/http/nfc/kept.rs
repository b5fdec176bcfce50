//! Exports that were encoded before, for measurements: a host that compresses on the same processors would be measured with.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use memmap2::Mmap;

use crate::disk::Disk;
use crate::vmdk::StreamFacts;

/// Equal for a disk whose contents are the same.
type Key = (PathBuf, u32, u64);

/// The streams of disks, in files without a name.
#[derive(Default)]
pub struct KeptExports(Mutex<HashMap<Key, Kept>>);

/// A stream, as it was sent and as it is sent again: without being copied.
#[derive(Clone)]
pub struct Kept {
    pub stream: Bytes,
    pub facts: StreamFacts,
}

fn key(disk: &Disk) -> Key {
    (disk.path().to_owned(), disk.cid(), disk.capacity())
}

impl KeptExports {
    pub fn find(&self, disk: &Disk) -> Option<Kept> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&key(disk)).cloned()
    }

    /// Keeps a stream for the next export, and no longer those of disks that are gone.
    pub fn keep(&self, disk: &Disk, kept: Kept) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(path, ..), _| path.exists());
        all.insert(key(disk), kept);
    }
}

/// Where a stream is kept while it is made; nowhere, where streams are not kept.
pub struct Keeping(Option<File>);

impl Keeping {
    pub fn begin(wanted: bool, disk: &Disk) -> io::Result<Keeping> {
        let folder = disk.path().parent().filter(|_| wanted);
        Ok(Keeping(folder.map(tempfile::tempfile_in).transpose()?))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    pub fn end(self, exports: &KeptExports, disk: &Disk, facts: StreamFacts) -> io::Result<()> {
        let Some(file) = self.0 else { return Ok(()) };
        // SAFETY: the file has no name and is not written to from here on.
        let stream = Bytes::from_owner(unsafe { Mmap::map(&file)? });
        exports.keep(disk, Kept { stream, facts });
        Ok(())
    }
}
