//! A disk that is made of a stream that somebody put on a datastore.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskType, SECTOR};
use crate::vmdk::{Decoder, Header};
use crate::wire::{Fault, Outcome, Ref};
use crate::world::Shared;
use crate::world::datastore::{DiskFile, Entry};

/// Bytes read at a time.
const PIECE: usize = 256 << 10;

/// Decodes the stream as an import does, to a place that is free, without the world's lock while bytes are moved.
pub fn become_disk(
    shared: &Arc<Shared>,
    stream: &Path,
    to: &(Ref, String),
    disk_type: DiskType,
    adapter_type: &str,
) -> Outcome<()> {
    let fresh = shared.write().fresh_path();
    let disk = decode(stream, &fresh, disk_type)?;
    let file = DiskFile::new(disk, adapter_type)?;
    let mut world = shared.write();
    world.check_space(&to.0, file.space(), &to.1)?;
    let store = world.datastore_mut(&to.0)?;
    store.files.insert(to.1.clone(), Entry::Disk(file));
    Ok(())
}

fn decode(stream: &Path, to: &Path, disk_type: DiskType) -> Outcome<Disk> {
    let refused =
        |why: String| Fault::new("InvalidFormat", format!("Failed to read the disk: {why}"));
    let mut stream = File::open(stream)?;
    let mut head = [0; SECTOR as usize];
    stream.read_exact(&mut head)?;
    let header = Header::parse(&head).map_err(refused)?;
    let disk = Disk::create(to, header.capacity * SECTOR, disk_type)?;
    let mut decoder = Decoder::new(disk);
    let mut piece = vec![0; PIECE];
    let mut read = head.len();
    piece[..read].copy_from_slice(&head);
    while read > 0 {
        decoder.feed(&piece[..read]).map_err(refused)?;
        read = stream.read(&mut piece)?;
    }
    let (disk, _) = decoder.finish().map_err(refused)?;
    Ok(disk)
}
