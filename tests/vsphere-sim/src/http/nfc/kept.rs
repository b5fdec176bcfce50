//! Exports that were encoded before, for measurements: a host that compresses on the same processors would be measured with.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::Disk;
use crate::vmdk::StreamFacts;

/// Bytes read in one piece.
const PIECE: usize = 256 << 10;

/// Equal for a disk whose contents are the same.
type Key = (PathBuf, u32, u64);

/// The streams of disks, in files without a name.
#[derive(Default)]
pub struct KeptExports(Mutex<HashMap<Key, Arc<Kept>>>);

/// A stream.
pub struct Kept {
    file: File,
    pub facts: StreamFacts,
}

fn key(disk: &Disk) -> Key {
    (disk.path().to_owned(), disk.cid(), disk.capacity())
}

impl KeptExports {
    pub fn find(&self, disk: &Disk) -> Option<Arc<Kept>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&key(disk)).cloned()
    }

    /// Keeps a stream for the next export, and no longer those of disks that are gone.
    pub fn keep(&self, disk: &Disk, file: File, facts: StreamFacts) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(path, ..), _| path.exists());
        kept.insert(key(disk), Arc::new(Kept { file, facts }));
    }
}

impl Kept {
    pub fn play(&self, sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < self.facts.size {
            let read = self.file.read_at(&mut buffer, at)?;
            if read == 0 {
                return Err(io::Error::other("a kept stream is cut short"));
            }
            sink(&buffer[..read])?;
            at += read as u64;
        }
        Ok(())
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

    pub fn end(self, exports: &KeptExports, disk: &Disk, facts: &StreamFacts) {
        if let Some(file) = self.0 {
            exports.keep(disk, file, facts.clone());
        }
    }
}
