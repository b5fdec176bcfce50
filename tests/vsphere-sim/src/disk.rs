//! A virtual disk's contents, kept as sparse files on the machine's file system.

mod sparse;

use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use sparse::{SparseFile, hole_after, next_data};

/// Bytes in a sector; a disk's capacity is a whole number of them.
pub const SECTOR: u64 = 512;

/// Bytes moved at a time.
const CHUNK: usize = 1 << 20;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// How the datastore keeps the disk; the simulator's file is sparse whatever the type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskType {
    Thin,
    Thick,
    EagerZeroedThick,
}

/// A disk of a fixed capacity. Dropping it keeps its files; [`Disk::delete`] removes them.
#[derive(Debug)]
pub struct Disk {
    file: SparseFile,
    disk_type: DiskType,
    cid: u32,
}

impl Disk {
    /// Makes an empty disk of `capacity` bytes. Nothing may be at `path` yet.
    pub fn create(path: &Path, capacity: u64, disk_type: DiskType) -> io::Result<Disk> {
        check_capacity(capacity)?;
        Ok(Disk {
            file: SparseFile::create(path, capacity)?,
            disk_type,
            cid: next_cid(),
        })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes.
    pub fn capacity(&self) -> u64 {
        self.file.length()
    }

    pub fn disk_type(&self) -> DiskType {
        self.disk_type
    }

    /// Another type for the same contents, as inflating or eager zeroing gives it.
    pub fn set_disk_type(&mut self, disk_type: DiskType) {
        self.disk_type = disk_type;
    }

    /// The content id of the descriptor: another one after every write session.
    pub fn cid(&self) -> u32 {
        self.cid
    }

    /// Ends a write session, such as a virtual machine's power-on: the contents count as new ones.
    pub fn renew_cid(&mut self) {
        self.cid = next_cid();
    }

    /// Bytes that the file system holds data for.
    pub fn allocated(&self) -> io::Result<u64> {
        Ok(self
            .extents()?
            .iter()
            .map(|extent| extent.end - extent.start)
            .sum())
    }

    /// The ranges of bytes that may hold data, in order; all else reads as zeros.
    pub fn extents(&self) -> io::Result<Vec<Range<u64>>> {
        self.file.extents()
    }

    /// Fills `buffer` from `offset`; a read that leaves the disk is an error.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    /// Writes all of `bytes` at `offset`; a write that leaves the disk is an error and writes nothing.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    /// Turns the whole disk into a hole.
    pub fn clear(&mut self) -> io::Result<()> {
        self.renew_cid();
        self.file.clear()
    }

    /// Moves the files within their file system.
    pub fn rename_to(&mut self, path: &Path) -> io::Result<()> {
        self.file.rename_to(path)
    }

    /// Removes the disk's files.
    pub fn delete(self) -> io::Result<()> {
        self.file.delete()
    }

    /// Replaces the contents by those of a raw image; a shorter one is followed by zeros.
    pub fn load_raw(&mut self, raw: &Path) -> io::Result<()> {
        let image = File::open(raw)?;
        let length = image.metadata()?.len();
        if length > self.capacity() {
            let why = format!(
                "{} holds {length} bytes, the disk only {}",
                raw.display(),
                self.capacity()
            );
            return Err(Error::new(ErrorKind::InvalidInput, why));
        }
        self.clear()?;
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        while let Some(start) = next_data(&image, at)? {
            let end = hole_after(&image, start, length)?;
            for (from, count) in chunks(start..end) {
                image.read_exact_at(&mut buffer[..count], from)?;
                if !is_zero(&buffer[..count]) {
                    self.write_at(&buffer[..count], from)?;
                }
            }
            at = end;
        }
        Ok(())
    }

    /// Writes the contents as a sparse raw image, in place of what was at `raw`.
    pub fn save_raw(&self, raw: &Path) -> io::Result<()> {
        let image = File::create(raw)?;
        image.set_len(self.capacity())?;
        self.each_written(|bytes, offset| image.write_all_at(bytes, offset))
    }

    /// SHA-256 of the raw disk, holes and all, in hexadecimal. Takes a minute for every 100 GiB of capacity;
    /// [`Disk::content_sha256`] does not.
    pub fn sha256(&self) -> io::Result<String> {
        let mut hash = Sha256::new();
        let mut hashed = 0;
        self.each_written(|bytes, offset| {
            hash_zeros(&mut hash, offset - hashed);
            hash.update(bytes);
            hashed = offset + bytes.len() as u64;
            Ok(())
        })?;
        hash_zeros(&mut hash, self.capacity() - hashed);
        Ok(hex(&hash.finalize()))
    }

    /// SHA-256 of the capacity and of each 4 KiB that is not all zeros with its offset: equal for equal disks however
    /// they are allocated, and quick for a huge disk that holds little.
    pub fn content_sha256(&self) -> io::Result<String> {
        const BLOCK: usize = 4096;
        let mut hash = Sha256::new();
        hash.update(self.capacity().to_le_bytes());
        self.each_written(|bytes, offset| {
            for (block, at) in bytes.chunks(BLOCK).zip((offset..).step_by(BLOCK)) {
                if !is_zero(block) {
                    hash.update(at.to_le_bytes());
                    hash.update(block);
                }
            }
            Ok(())
        })?;
        Ok(hex(&hash.finalize()))
    }

    /// A new disk at `path` with the same contents.
    pub fn copy_to(&self, path: &Path, disk_type: DiskType) -> io::Result<Disk> {
        let copy = Disk::create(path, self.capacity(), disk_type)?;
        let copied = self.each_written(|bytes, offset| copy.write_at(bytes, offset));
        if let Err(error) = copied {
            copy.delete()?;
            return Err(error);
        }
        Ok(copy)
    }

    /// Grows the disk to `capacity` bytes; the new part reads as zeros.
    pub fn extend(&mut self, capacity: u64) -> io::Result<()> {
        check_capacity(capacity)?;
        if capacity < self.capacity() {
            let why = format!(
                "a disk of {} bytes cannot shrink to {capacity}",
                self.capacity()
            );
            return Err(Error::new(ErrorKind::InvalidInput, why));
        }
        self.file.grow(capacity)
    }

    /// Calls `visit` with each chunk of the extents that is not all zeros, in order.
    fn each_written(&self, mut visit: impl FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        for extent in self.extents()? {
            for (offset, count) in chunks(extent) {
                self.read_at(&mut buffer[..count], offset)?;
                if !is_zero(&buffer[..count]) {
                    visit(&buffer[..count], offset)?;
                }
            }
        }
        Ok(())
    }
}

fn check_capacity(capacity: u64) -> io::Result<()> {
    if capacity == 0 || !capacity.is_multiple_of(SECTOR) {
        let why =
            format!("a capacity of {capacity} bytes is not a whole number of sectors above 0");
        return Err(Error::new(ErrorKind::InvalidInput, why));
    }
    Ok(())
}

/// A range as (offset, length), each within one chunk counted from the disk's start.
fn chunks(range: Range<u64>) -> impl Iterator<Item = (u64, usize)> {
    let mut next = range.start;
    std::iter::from_fn(move || {
        let count = (CHUNK as u64 - next % CHUNK as u64).min(range.end.saturating_sub(next));
        let chunk = (next, count as usize);
        next += count;
        (count > 0).then_some(chunk)
    })
}

/// True where all bytes are 0; compared in pieces, since comparing slices is quick in a debug build too.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(CHUNK)
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

fn hash_zeros(hash: &mut Sha256, mut count: u64) {
    while count > 0 {
        let step = count.min(CHUNK as u64);
        hash.update(&ZEROS[..step as usize]);
        count -= step;
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Content ids that differ within a process and look random; 0xffffffff and 0xfffffffe are reserved by the format.
fn next_cid() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    // An odd multiplier is a bijection of u32, so no id comes back soon.
    COUNT
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x9e37_79b1)
        .min(0xffff_fffd)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_hash_is_that_of_the_raw_image() {
        let folder = folder();
        let disk = Disk::create(&folder.path().join("d"), 3 * MIB + 512, DiskType::Thin).unwrap();
        disk.write_at(b"in the middle", MIB + 3).unwrap();
        let raw = folder.path().join("raw");
        disk.save_raw(&raw).unwrap();
        assert_eq!(
            disk.sha256().unwrap(),
            hex(&Sha256::digest(fs::read(&raw).unwrap()))
        );
    }

    #[test]
    fn a_raw_image_loads_with_its_holes_and_replaces_what_was_there() {
        let folder = folder();
        let raw = folder.path().join("raw");
        let image = File::create(&raw).unwrap();
        image.write_all_at(b"end", 40 * MIB - 3).unwrap();
        let mut disk = Disk::create(&folder.path().join("d"), 64 * MIB, DiskType::Thin).unwrap();
        disk.write_at(&[1; 4096], 0).unwrap();
        let before = disk.cid();
        disk.load_raw(&raw).unwrap();
        let mut end = [0; 4];
        disk.read_at(&mut end, 40 * MIB - 3).unwrap();
        assert_eq!(&end, b"end\0");
        assert!(disk.allocated().unwrap() <= MIB, "{:?}", disk.extents());
        assert_ne!(disk.cid(), before);
    }

    #[test]
    fn a_raw_image_longer_than_the_disk_is_refused() {
        let folder = folder();
        let raw = folder.path().join("raw");
        fs::write(&raw, [0; 1024]).unwrap();
        let mut disk = Disk::create(&folder.path().join("d"), 512, DiskType::Thin).unwrap();
        assert_eq!(
            disk.load_raw(&raw).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }

    #[test]
    fn a_copy_has_the_contents_and_its_own_type_and_cid() {
        let folder = folder();
        let disk = Disk::create(&folder.path().join("a"), 5 * MIB, DiskType::Thin).unwrap();
        disk.write_at(&[3; 70_000], 2 * MIB - 5).unwrap();
        let copy = disk
            .copy_to(&folder.path().join("b"), DiskType::Thick)
            .unwrap();
        assert_eq!(
            copy.content_sha256().unwrap(),
            disk.content_sha256().unwrap()
        );
        assert_eq!(copy.disk_type(), DiskType::Thick);
        assert_ne!(copy.cid(), disk.cid());
    }

    #[test]
    fn an_extended_disk_keeps_its_contents_and_ends_in_zeros() {
        let folder = folder();
        let mut disk = Disk::create(&folder.path().join("d"), MIB, DiskType::Thin).unwrap();
        disk.write_at(&[5; 512], MIB - 512).unwrap();
        disk.extend(17 * TIB).unwrap();
        let mut around = [1; 1024];
        disk.read_at(&mut around, MIB - 512).unwrap();
        assert_eq!(
            (&around[..512], &around[512..]),
            (&[5; 512][..], &[0; 512][..])
        );
        assert_eq!(
            disk.extend(MIB).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }

    #[test]
    fn a_capacity_that_is_not_in_sectors_is_refused() {
        let folder = folder();
        assert!(Disk::create(&folder.path().join("d"), 513, DiskType::Thin).is_err());
        assert!(Disk::create(&folder.path().join("d"), 0, DiskType::Thin).is_err());
    }
}
