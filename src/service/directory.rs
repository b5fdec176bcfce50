//! Backups as directories below a directory: `<path>/<backup id>/disk.vmdk` and `metadata.json`.
//!
//! A raw disk is `disk.raw` in the place of `disk.vmdk`, a sparse file.
//!
//! A backup is written in `<path>/.<random>.partial/` and renamed when it is whole and on stable
//! storage: data and metadata appear together or not at all. While it is written its data file is
//! locked; a partial directory without a lock was left by a process that died, and the next backup
//! removes it.

mod partial;

use super::{
    BackupReader, BackupRequest, BackupService, BackupWriter, Format, LONGEST_BACKUP_ID,
    LONGEST_METADATA,
};
use crate::error::{Error, Kind, Result};
use crate::file::FileWriter;
use crate::storage::{self, Held};
use crate::vmdk::{DiskSource, RawDisk};
use bytes::Bytes;
use nix::fcntl::OFlag;
use partial::Partial;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The stream, in a backup's directory.
const DATA: &str = "disk.vmdk";

/// The raw disk, in its place.
const RAW: &str = "disk.raw";

/// The metadata, beside the stream.
const METADATA: &str = "metadata.json";

/// Keeps each backup in a directory of its own. Any number of processes may share the directory.
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Backups below `path`, which must be a directory.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is nothing; [`Kind::InvalidArgument`] where it is no
    /// directory; [`Kind::Io`].
    pub fn new(path: &Path) -> Result<Self> {
        // An absolute path stays true when the host changes its working directory.
        let path = std::path::absolute(path)
            .map_err(|e| Error::io(format_args!("backup directory {}", path.display()), &e))?;
        let kind = fs::metadata(&path).map_err(|e| {
            let what = format!("backup directory {}", path.display());
            match e.kind() {
                ErrorKind::NotFound => {
                    Error::new(Kind::NotFound, format!("{what}: {e}")).remedy("make it first")
                }
                _ => Error::io(what, &e),
            }
        })?;
        if !kind.is_dir() {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("backup directory {}: it is no directory", path.display()),
            ));
        }
        Ok(Directory { path })
    }

    /// Where the backup `id` is, if its name can be a file's.
    fn backup(&self, id: &str) -> Result<PathBuf> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if id.is_empty()
            || id.len() > LONGEST_BACKUP_ID
            || id.starts_with('.')
            || !id.bytes().all(known)
        {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!("backup id {id:?} is no file name of letters, digits, '.', '_' and '-'"),
            ));
        }
        Ok(self.path.join(id))
    }
}

impl BackupService for Directory {
    fn create<'a>(&'a self, request: &BackupRequest<'_>) -> Result<Box<dyn BackupWriter + 'a>> {
        let path = self.backup(request.backup_id)?;
        partial::sweep(&self.path);
        match fs::symlink_metadata(&path) {
            Ok(_) => return Err(exists(&path)),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(failed("look for", &path, &e)),
        }
        let (partial, lock) = Partial::new(&self.path)?;
        let data = partial.path.join(DATA);
        let file = lock.try_clone().map_err(|e| failed("open", &data, &e))?;
        Ok(Box::new(DirectoryWriter {
            data: FileWriter::new(file, data.display().to_string())?,
            capacity: request.capacity,
            format: request.format,
            partial,
            path,
            lock,
        }))
    }

    fn open<'a>(&'a self, backup_id: &str) -> Result<Box<dyn BackupReader + 'a>> {
        let path = self.backup(backup_id)?;
        let stream = open_regular(&path.join(DATA))?;
        let raw = open_regular(&path.join(RAW))?;
        let (name, format, (file, length)) = match (stream, raw) {
            (Some(stream), None) => (DATA, Format::Stream, stream),
            (None, Some(raw)) => (RAW, Format::Raw, raw),
            (None, None) => {
                let message = format!("there is no backup at {}", path.display());
                return Err(Error::new(Kind::NotFound, message));
            }
            (Some(_), Some(_)) => {
                let message = format!("{} has both {DATA} and {RAW}", path.display());
                return Err(Error::new(Kind::Corrupt, message)
                    .remedy("remove the one that is not the backup"));
            }
        };
        Ok(Box::new(DirectoryReader {
            data: path.join(name),
            path,
            file,
            length,
            format,
        }))
    }
}

struct DirectoryWriter {
    // Dropped in this order: the writing thread ends, the directory goes, the lock after it.
    data: FileWriter,
    partial: Partial,
    lock: Held,
    path: PathBuf,
    capacity: u64,
    format: Format,
}

impl BackupWriter for DirectoryWriter {
    fn write(&mut self, bytes: &Bytes) -> Result<()> {
        self.data.write(bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &Bytes) -> Result<()> {
        self.data.write_at(offset, bytes)
    }

    /// The file is new, and what is not written in it is a hole.
    fn zeros(&mut self, _range: Range<u64>) -> Result<()> {
        Ok(())
    }

    fn set_metadata(&mut self, metadata: &str) -> Result<()> {
        super::check_metadata(metadata)?;
        let path = self.partial.path.join(METADATA);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("make", &path, &e))?;
        let mut writer = FileWriter::new(file, path.display().to_string())?;
        writer.write(&Bytes::copy_from_slice(metadata.as_bytes()))?;
        sync(&writer.finish()?, &path)
    }

    fn commit(self: Box<Self>) -> Result<()> {
        let DirectoryWriter {
            data,
            mut partial,
            lock: _lock,
            path,
            capacity,
            format,
        } = *self;
        let file = data.finish()?;
        let mut place = partial.path.join(DATA);
        if format == Format::Raw {
            let raw = partial.path.join(RAW);
            storage::set_length(&file, capacity).map_err(|e| failed("extend", &place, &e))?;
            fs::rename(&place, &raw).map_err(|e| failed("rename", &place, &e))?;
            place = raw;
        }
        sync(&file, &place)?;
        sync_directory(&partial.path)?;
        rename(&partial.path, &path)?;
        // Until the new name is on stable storage, too, this is none.
        partial.path = path;
        sync_directory(partial.path.parent().unwrap_or(Path::new("/")))?;
        partial.keep();
        Ok(())
    }
}

/// Renames, but never over something: of two backups of one id the first to commit is the one.
fn rename(from: &Path, to: &Path) -> Result<()> {
    let renamed = storage::rename_new(from, to);
    renamed.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory => {
            exists(to)
        }
        _ => Error::io(
            format_args!("rename {} to {}", from.display(), to.display()),
            &e,
        ),
    })
}

struct DirectoryReader {
    path: PathBuf,
    data: PathBuf,
    file: File,
    length: u64,
    format: Format,
}

impl BackupReader for DirectoryReader {
    fn length(&self) -> u64 {
        self.length
    }

    fn format(&self) -> Option<Format> {
        Some(self.format)
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        let path = self.path.join(METADATA);
        let Some((file, length)) = open_regular(&path)? else {
            return Ok(None);
        };
        if length > LONGEST_METADATA as u64 {
            return Err(Error::new(
                Kind::Corrupt,
                format!("{} has {length} bytes", path.display()),
            ));
        }
        let mut text = Vec::new();
        file.take(LONGEST_METADATA as u64)
            .read_to_end(&mut text)
            .map_err(|e| failed("read", &path, &e))?;
        let text = String::from_utf8(text)
            .map_err(|_| Error::new(Kind::Corrupt, format!("{} is not UTF-8", path.display())))?;
        Ok(Some(text))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        storage::read(&mut self.file, buffer).map_err(|e| failed("read", &self.data, &e))
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.file.read_exact_at(buffer, offset);
        read.map_err(|e| failed("read", &self.data, &e))
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>> {
        let failed = |e: std::io::Error| failed("read", &self.data, &e);
        let file = self.file.try_clone().map_err(failed)?;
        let raw = RawDisk::over(file).map_err(failed)?;
        raw.next_data(offset).map_err(failed)
    }
}

/// A regular file and its length; `None` where there is nothing.
fn open_regular(path: &Path) -> Result<Option<(File, u64)>> {
    // Without O_NONBLOCK a pipe of that name would block for ever.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed("open", path, &e)),
    };
    let kind = file.metadata().map_err(|e| failed("look at", path, &e))?;
    if !kind.is_file() {
        return Err(Error::new(
            Kind::Corrupt,
            format!("{} is no regular file", path.display()),
        ));
    }
    Ok(Some((file, kind.len())))
}

fn sync(file: &File, path: &Path) -> Result<()> {
    storage::sync(file).map_err(|e| failed("sync", path, &e))
}

fn sync_directory(path: &Path) -> Result<()> {
    storage::sync_directory(path).map_err(|e| failed("sync", path, &e))
}

fn exists(path: &Path) -> Error {
    Error::new(
        Kind::Exists,
        format!("there is a backup at {} already", path.display()),
    )
    .remedy("choose another backup id")
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("{what} {}", path.display()), error)
}

#[cfg(test)]
mod tests;
