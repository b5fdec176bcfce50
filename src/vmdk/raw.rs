//! Raw disks: files with holes, and block devices.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek64};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno as Unable;

use super::decode::DiskSink;
use super::encode::DiskSource;

/// Zeros that are written at once where a range cannot be made zero in another way.
const ZEROS: usize = 1 << 20;

/// A raw disk in a file or on a block device, to encode from or to decode to.
#[derive(Debug)]
pub struct RawDisk {
    file: File,
    size: u64,
    /// What was not written is zero already.
    blank: bool,
    /// Ranges can be made zero by the file system or the device.
    punches: AtomicBool,
}

impl RawDisk {
    /// A raw disk to read: a regular file or a block device.
    ///
    /// # Errors
    /// It cannot be opened, or is something else.
    pub fn open(path: &Path) -> io::Result<RawDisk> {
        RawDisk::over(File::open(path)?)
    }

    /// A sparse file of `size` bytes to write; what was in it is gone. On a block device, that is what [`RawDisk::over`]
    /// is: it keeps its size.
    ///
    /// # Errors
    /// It cannot be opened or made so large, or is a block device smaller than `size`.
    pub fn create(path: &Path, size: u64) -> io::Result<RawDisk> {
        let mut options = OpenOptions::new();
        // Not truncated here: that would lose a file which is then found to be too large for its file system.
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut disk = RawDisk::over(options.open(path)?)?;
        if disk.file.metadata()?.is_file() {
            disk.file.set_len(size)?;
            // ext4 flushes a file that was once cut to nothing as soon as it is closed: not where nothing is to be cut.
            if disk.size > 0 {
                disk.file.set_len(0)?;
                disk.file.set_len(size)?;
            }
            disk.blank = true;
        } else if disk.size < size {
            let message = format!(
                "the device {} has {} bytes, the disk {size}",
                path.display(),
                disk.size
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        disk.size = size;
        Ok(disk)
    }

    /// The raw disk in an open file or block device, whose size and place stay as they are: what is all zero in the disk
    /// that is written to it is made zero there.
    ///
    /// # Errors
    /// It is neither a regular file nor a block device, or its size cannot be found out.
    pub fn over(mut file: File) -> io::Result<RawDisk> {
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            let message = "neither a regular file nor a block device";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let size = file.seek(SeekFrom::End(0))?;
        Ok(RawDisk {
            file,
            size,
            blank: false,
            punches: AtomicBool::new(true),
        })
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Waits until all that was written is on the storage.
    ///
    /// # Errors
    /// Storage that failed late.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn within(&self, offset: u64, length: usize) -> io::Result<()> {
        if offset
            .checked_add(length as u64)
            .is_some_and(|end| end <= self.size)
        {
            return Ok(());
        }
        let message = format!(
            "{length} bytes at byte {offset} lie beyond the {} bytes of the disk",
            self.size
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }

    /// Where the next byte of a kind is, from `offset` on; None where there is none.
    fn seek(&self, offset: u64, whence: Whence) -> io::Result<Option<u64>> {
        let from = i64::try_from(offset).map_err(io::Error::other)?;
        match lseek64(&self.file, from, whence) {
            Ok(position) => Ok(Some(position.unsigned_abs())),
            Err(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the file system does not know where holes are.
fn cannot_tell(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(
        errno,
        Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY)
    )
}

impl DiskSource for RawDisk {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    /// By the file system; a block device and a file system that cannot tell have data all over.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        if offset >= self.size {
            return Ok(None);
        }
        let start = match self.seek(offset, Whence::SeekData) {
            Ok(Some(start)) => start,
            Ok(None) => return Ok(None),
            Err(error) if cannot_tell(&error) => {
                return Ok(Some(offset..self.size));
            }
            Err(error) => return Err(error),
        };
        // Where an end is found that is none, everything is data.
        let end = match self.seek(start, Whence::SeekHole) {
            Ok(Some(end)) if end > start => end,
            Err(error) if !cannot_tell(&error) => return Err(error),
            _ => self.size,
        };
        Ok(Some(start..end))
    }
}

impl DiskSink for RawDisk {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.within(offset, bytes.len())?;
        self.file.write_all_at(bytes, offset)
    }

    fn zeros(&self, range: Range<u64>) -> io::Result<()> {
        if self.blank || range.is_empty() {
            return Ok(());
        }
        // A file's last sector may not be whole.
        let end = range.end.min(self.size);
        if self.punches.load(Ordering::Relaxed) {
            let keep = FallocateFlags::KEEP_SIZE;
            for how in [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE] {
                match fallocate(&self.file, how | keep, range.start, end - range.start) {
                    Ok(()) => return Ok(()),
                    Err(Unable::OPNOTSUPP | Unable::NOSYS | Unable::INVAL | Unable::NODEV) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.punches.store(false, Ordering::Relaxed);
        }
        let zeros = vec![0; ZEROS.min((end - range.start) as usize)];
        let mut offset = range.start;
        while offset < end {
            let length = (end - offset).min(ZEROS as u64) as usize;
            self.write_at(offset, &zeros[..length])?;
            offset += length as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    #[test]
    fn zeros_replace_what_was_there_whether_punched_or_written() {
        for punches in [true, false] {
            let disk = RawDisk::over(file_of(&[7; 3 << 20])).unwrap();
            disk.punches.store(punches, Ordering::Relaxed);
            disk.zeros(100..(2 << 20) + 5).unwrap();
            let mut bytes = vec![1; 3 << 20];
            disk.read_at(0, &mut bytes).unwrap();
            let zeros = 100..(2 << 20) + 5;
            for (at, &byte) in bytes.iter().enumerate() {
                assert_eq!(byte == 0, zeros.contains(&at), "byte {at}");
            }
            assert_eq!(disk.file.metadata().unwrap().len(), 3 << 20);
        }
    }

    #[test]
    fn holes_of_a_file_are_known() {
        let disk = RawDisk::over(file_of(&[7; 65536])).unwrap();
        disk.file.write_all_at(&[1], 10 << 20).unwrap();
        let disk = RawDisk::over(disk.file).unwrap();
        let first = disk.next_data(0).unwrap().unwrap();
        assert_eq!(first, 0..65536);
        let second = disk.next_data(first.end).unwrap().unwrap();
        assert!(second.contains(&(10 << 20)) && second.start > first.end);
        assert_eq!(disk.next_data(second.end).unwrap(), None);
    }

    #[test]
    fn nothing_is_written_beyond_the_disk() {
        let disk = RawDisk::over(file_of(&[7; 1000])).unwrap();
        assert!(disk.write_at(990, &[1; 11]).is_err());
        assert!(disk.write_at(u64::MAX, &[1; 11]).is_err());
        disk.zeros(500..2000).unwrap();
        assert_eq!(disk.file.metadata().unwrap().len(), 1000);
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        assert!(RawDisk::open(Path::new("/dev/null")).is_err());
        assert!(RawDisk::open(Path::new("/")).is_err());
    }
}
