//! A file with holes that may be longer than the file system lets one file be.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;

/// ext4 ends a file at 16 TiB, a vSphere disk ends at 62 TiB: the contents go on in a further file every 8 TiB.
const SEGMENT: u64 = 8 << 40;

/// Bytes of a fixed length, in one or more files of one directory.
#[derive(Debug)]
pub struct SparseFile {
    path: PathBuf,
    segments: Vec<File>,
    length: u64,
}

impl SparseFile {
    /// Makes a file of `length` bytes that is one hole. Nothing may be at `path` yet.
    pub fn create(path: &Path, length: u64) -> io::Result<SparseFile> {
        let mut file = SparseFile {
            path: path.to_path_buf(),
            segments: Vec::new(),
            length: 0,
        };
        file.grow(length)?;
        Ok(file)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// The ranges of bytes that may hold data, in order; all else reads as zeros.
    pub fn extents(&self) -> io::Result<Vec<Range<u64>>> {
        let mut extents: Vec<Range<u64>> = Vec::new();
        for (file, base) in self.segments.iter().zip((0..).step_by(SEGMENT as usize)) {
            let length = SEGMENT.min(self.length - base);
            let mut at = 0;
            while at < length {
                let Some(start) = next_data(file, at)? else {
                    break;
                };
                let end = hole_after(file, start, length)?;
                match extents.last_mut() {
                    Some(last) if last.end == base + start => last.end = base + end,
                    _ => extents.push(base + start..base + end),
                }
                at = end;
            }
        }
        Ok(extents)
    }

    /// Fills `buffer` from `offset`; a read that leaves the disk is an error.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.check_range(offset, buffer.len())?;
        let mut done = 0;
        for (segment, at, length) in pieces(offset, buffer.len()) {
            self.segments[segment].read_exact_at(&mut buffer[done..done + length], at)?;
            done += length;
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`; a write that leaves the disk is an error and writes nothing.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_range(offset, bytes.len())?;
        let mut done = 0;
        for (segment, at, length) in pieces(offset, bytes.len()) {
            self.segments[segment].write_all_at(&bytes[done..done + length], at)?;
            done += length;
        }
        Ok(())
    }

    /// Turns the whole file into a hole.
    pub fn clear(&mut self) -> io::Result<()> {
        for (file, base) in self.segments.iter().zip((0..).step_by(SEGMENT as usize)) {
            // ext4 flushes a file that was cut once as soon as it is closed.
            if next_data(file, 0)?.is_none() {
                continue;
            }
            file.set_len(0)?;
            file.set_len(SEGMENT.min(self.length - base))?;
        }
        Ok(())
    }

    /// Makes the file longer; the new part is a hole.
    pub fn grow(&mut self, length: u64) -> io::Result<()> {
        let wanted = length.div_ceil(SEGMENT) as usize;
        while self.segments.len() < wanted {
            let path = segment_path(&self.path, self.segments.len());
            self.segments.push(
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(path)?,
            );
        }
        for (file, base) in self.segments.iter().zip((0..).step_by(SEGMENT as usize)) {
            file.set_len(SEGMENT.min(length - base))?;
        }
        self.length = length;
        Ok(())
    }

    /// Moves the files within their file system.
    pub fn rename_to(&mut self, path: &Path) -> io::Result<()> {
        if path.exists() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("{} exists", path.display()),
            ));
        }
        for index in 0..self.segments.len() {
            fs::rename(segment_path(&self.path, index), segment_path(path, index))?;
        }
        self.path = path.to_path_buf();
        Ok(())
    }

    /// Removes the files. Nobody waits until their blocks are free, as at a datastore.
    pub fn delete(self) -> io::Result<()> {
        let removed = (0..self.segments.len())
            .try_for_each(|index| fs::remove_file(segment_path(&self.path, index)));
        // The last one who has them open frees the blocks, which takes a third of a second for a gigabyte.
        thread::spawn(move || drop(self));
        removed
    }

    fn check_range(&self, offset: u64, length: usize) -> io::Result<()> {
        match offset.checked_add(length as u64) {
            Some(end) if end <= self.length => Ok(()),
            _ => {
                let why = format!(
                    "{length} bytes at {offset} leave a file of {} bytes",
                    self.length
                );
                Err(Error::new(ErrorKind::InvalidInput, why))
            }
        }
    }
}

fn segment_path(path: &Path, index: usize) -> PathBuf {
    if index == 0 {
        return path.to_path_buf();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// A range  as (segment, offset in it, length).
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (usize, u64, usize)> {
    let end = offset + length as u64;
    let mut next = offset;
    std::iter::from_fn(move || {
        if next >= end {
            return None;
        }
        let at = next % SEGMENT;
        let count = (SEGMENT - at).min(end - next);
        let piece = ((next / SEGMENT) as usize, at, count as usize);
        next += count;
        Some(piece)
    })
}

/// The first byte at or after `offset` that may hold data; None where a hole goes on to the end.
pub fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    seek(file, offset, libc::SEEK_DATA)
}

/// Where the data at `offset` ends, in a file of `length` bytes.
pub fn hole_after(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    Ok(seek(file, offset, libc::SEEK_HOLE)?.map_or(length, |hole| hole.min(length)))
}

/// The next place of the kind `whence` at or after `offset`; None at the end of the file.
fn seek(file: &File, offset: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    let from = libc::off_t::try_from(offset).map_err(Error::other)?;
    // SAFETY: lseek only takes numbers, and the descriptor is open as long as `file` is borrowed. The file position that
    // it moves is used by nobody, since all reads and writes name their own.
    let found = unsafe { libc::lseek(file.as_raw_fd(), from, whence) };
    match u64::try_from(found) {
        Ok(found) => Ok(Some(found)),
        Err(_) => match Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIB: u64 = 1 << 40;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_of_62_tib_reads_back_across_its_segments() {
        let folder = folder();
        let file = SparseFile::create(&folder.path().join("d"), 62 * TIB).unwrap();
        file.write_at(&[7; 8192], 8 * TIB - 4096).unwrap();
        file.write_at(&[9; 512], 62 * TIB - 512).unwrap();
        let mut back = [0; 8192];
        file.read_at(&mut back, 8 * TIB - 4096).unwrap();
        assert_eq!(back, [7; 8192]);
        let extents = file.extents().unwrap();
        assert_eq!(extents.len(), 2, "{extents:?}");
        assert_eq!(extents[0], 8 * TIB - 4096..8 * TIB + 4096);
        assert_eq!(extents[1].end, 62 * TIB);
    }

    #[test]
    fn a_moved_file_is_read_at_its_new_place_and_deleted_there() {
        let folder = folder();
        let mut file = SparseFile::create(&folder.path().join("a"), 9 * TIB).unwrap();
        file.rename_to(&folder.path().join("b")).unwrap();
        assert!(!folder.path().join("a").exists());
        file.delete().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_write_beyond_the_end_is_refused() {
        let folder = folder();
        let file = SparseFile::create(&folder.path().join("d"), 1024).unwrap();
        assert!(file.write_at(&[1; 513], 512).is_err());
        assert!(file.write_at(&[1; 2], u64::MAX).is_err());
        assert_eq!(file.extents().unwrap(), []);
    }
}
