//! Temporary files: private, checked for room beforehand, gone on every exit.
//!
//! Those of a process that was killed are removed by the next operation that makes one there.

use crate::error::{Error, Kind, Result};
use crate::file::FileWriter;
use crate::storage::{self, Held, Locked};
use nix::fcntl::OFlag;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A temporary file that holds a stream.
pub(super) enum Temporary {
    /// With a path, for services that work on regular files. While its lock is held, nobody takes
    /// it for a leftover; the lock is shared, so that the service may have one, too.
    Named(
        NamedTempFile,
        #[expect(dead_code, reason = "held, not read")] Held,
    ),
    /// Without one: nothing is left even of a killed process.
    Unnamed(File),
}

/// What the names of temporary files begin with; the operation's id follows.
const PREFIX: &str = "vmdk-backup-";

/// What they end with.
const SUFFIX: &str = ".vmdk";

impl Temporary {
    /// A file in `directory` (default: the system's directory for temporary files), mode 0600.
    ///
    /// `needed` is how much the file is expected to grow to.
    ///
    /// # Errors
    /// [`Kind::NoSpace`] when there is less room; [`Kind::Io`] when the directory is none.
    pub(super) fn new(
        directory: Option<&Path>,
        named: bool,
        needed: u64,
        operation: &str,
    ) -> Result<Self> {
        let directory = directory.map_or_else(std::env::temp_dir, PathBuf::from);
        let what = format!("make a temporary file in {}", directory.display());
        sweep(&directory);
        if let Some(free) = storage::free_space(&directory)
            && free < needed
        {
            return Err(Error::new(
                Kind::NoSpace,
                format!("{what}: {needed} bytes may be needed, {free} are free"),
            )
            .remedy("give another temp_dir, or stream instead"));
        }
        let made = if named {
            locked(&directory, operation)
        } else {
            tempfile::tempfile_in(&directory).map(Temporary::Unnamed)
        };
        made.map_err(|e| Error::io(&what, &e))
    }

    /// The file's path, where it has one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Temporary::Named(file, _) => Some(file.path()),
            Temporary::Unnamed(_) => None,
        }
    }

    /// A writer that appends to the file.
    pub(super) fn writer(&self) -> Result<FileWriter> {
        FileWriter::new(self.handle()?, self.name())
    }

    /// The file from its beginning, and its length.
    pub(super) fn reader(&self) -> Result<(impl Read + use<>, u64)> {
        let mut file = self.handle()?;
        let length = file
            .rewind()
            .and_then(|()| file.metadata())
            .map_err(|e| Error::io(format_args!("read {}", self.name()), &e))?
            .len();
        Ok((file, length))
    }

    /// How errors call it.
    pub(super) fn name(&self) -> String {
        match self.path() {
            Some(path) => path.display().to_string(),
            None => "the temporary file".into(),
        }
    }

    fn handle(&self) -> Result<File> {
        let file = match self {
            Temporary::Named(file, _) => file.as_file(),
            Temporary::Unnamed(file) => file,
        };
        file.try_clone()
            .map_err(|e| Error::io(format_args!("open {}", self.name()), &e))
    }
}

/// A named file with its lock.
fn locked(directory: &Path, operation: &str) -> std::io::Result<Temporary> {
    loop {
        let file = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{operation}-"))
            .suffix(SUFFIX)
            .tempfile_in(directory)?;
        let held = match storage::lock(
            file.as_file().try_clone()?,
            FlockOperation::NonBlockingLockShared,
        )? {
            Locked::Yes(lock) => Held::Locked(lock),
            // No sweep takes it away where there are no locks.
            Locked::Unsupported(file) => Held::Open(file),
            Locked::Busy => continue,
        };
        // A sweep may have been quicker than the lock.
        if file.path().exists() {
            return Ok(Temporary::Named(file, held));
        }
    }
}

/// Removes what processes that died left in `directory`. What cannot be removed disturbs nobody.
fn sweep(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_ours) {
            // Neither a pipe nor a symbolic link of that name is followed.
            let opened = File::options()
                .read(true)
                .write(true)
                .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
                .open(entry.path());
            let locked = opened
                .and_then(|file| storage::lock(file, FlockOperation::NonBlockingLockExclusive));
            if let Ok(Locked::Yes(lock)) = locked
                && lock.metadata().is_ok_and(|file| file.is_file())
            {
                // The next sweep tries again.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether a temporary file of ours is called so: by an operation's id and random letters.
fn is_ours(name: &str) -> bool {
    let middle = name
        .strip_prefix(PREFIX)
        .and_then(|name| name.strip_suffix(SUFFIX));
    middle
        .and_then(|middle| middle.split_once('-'))
        .is_some_and(|(id, random)| {
            id.len() == 16
                && id.bytes().all(|byte| byte.is_ascii_hexdigit())
                && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_named_file_is_private_and_gone_after_use() {
        let directory = tempfile::tempdir().unwrap();
        let temporary = Temporary::new(Some(directory.path()), true, 1, "op").unwrap();
        let path = temporary.path().unwrap().to_owned();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut writer = temporary.writer().unwrap();
        writer.write(&Bytes::from_static(b"abc")).unwrap();
        writer.finish().unwrap();
        let (mut reader, length) = temporary.reader().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), length), ("abc", 3));
        drop(temporary);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_left_goes_and_what_is_in_use_or_foreign_stays() {
        let directory = tempfile::tempdir().unwrap();
        let id = "0123456789abcdef";
        let used = Temporary::new(Some(directory.path()), true, 1, id).unwrap();
        let left = directory
            .path()
            .join(format!("{PREFIX}{id}-aBcD12{SUFFIX}"));
        let foreign = directory.path().join(format!("{PREFIX}mine{SUFFIX}"));
        std::fs::write(&left, "left").unwrap();
        std::fs::write(&foreign, "foreign").unwrap();
        Temporary::new(Some(directory.path()), false, 1, id).unwrap();
        assert!(!left.exists());
        assert!(foreign.exists());
        assert!(used.path().unwrap().exists());
    }

    #[test]
    fn too_little_room_is_seen_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        let result = Temporary::new(Some(directory.path()), false, u64::MAX, "op");
        assert_eq!(result.err().unwrap().kind(), Kind::NoSpace);
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let result = Temporary::new(Some(Path::new("/nowhere/at/all")), false, 1, "op");
        assert_eq!(result.err().unwrap().kind(), Kind::Io);
    }
}
