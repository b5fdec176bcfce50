//! Files on file systems that cannot do everything: CIFS, FUSE, NFS, FAT.
//!
//! What a file system does not offer is replaced by what it does. An error that means lost data
//! (EIO, ENOSPC, ESTALE) is always an error.

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Whether the file system, and not the file, is why something could not be done.
fn is_unsupported(error: &io::Error) -> bool {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    matches!(
        errno,
        Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENOTTY
    )
}

/// Brings a file's contents and length to stable storage.
///
/// # Errors
/// Those of the storage.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if is_unsupported(&error) => {}
        synced => return synced,
    }
    match file.sync_data() {
        Err(error) if is_unsupported(&error) => {}
        synced => return synced,
    }
    // Slower, and never refused: everything that its file system holds back.
    rustix::fs::syncfs(file).map_err(io::Error::from)
}

/// Brings a directory's entries to stable storage. CIFS and many FUSE file systems refuse it: their
/// servers have an entry when the call that made it returns.
///
/// # Errors
/// Those of the storage.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Err(error) if is_unsupported(&error) || is_no_file(&error) => Ok(()),
        synced => synced,
    }
}

/// Some file systems give no descriptor of a directory that could be synced.
fn is_no_file(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EISDIR | libc::EBADF))
}

/// What is locked while it is used, where the file system knows locks.
pub(crate) enum Held {
    /// Nobody else has it.
    Locked(File),
    /// On a file system without locks.
    Open(File),
}

impl Deref for Held {
    type Target = File;

    fn deref(&self) -> &File {
        match self {
            Held::Locked(lock) => lock,
            Held::Open(file) => file,
        }
    }
}

/// What became of an attempt to lock a file.
pub(crate) enum Locked {
    /// It is locked as long as this lives.
    Yes(File),
    /// Somebody else holds the lock.
    Busy,
    /// The file system knows no locks.
    Unsupported(File),
}

/// Locks a file until it is closed. NFS locks exclusively only what is open for writing.
///
/// # Errors
/// Those of the system.
pub(crate) fn lock(file: File, how: FlockOperation) -> io::Result<Locked> {
    loop {
        let Err(errno) = flock(&file, how) else {
            return Ok(Locked::Yes(file));
        };
        let error = io::Error::from(errno);
        match error.kind() {
            ErrorKind::WouldBlock => return Ok(Locked::Busy),
            ErrorKind::Interrupted => {}
            _ if is_unsupported(&error) || error.raw_os_error() == Some(libc::ENOLCK) => {
                return Ok(Locked::Unsupported(file));
            }
            _ => return Err(error),
        }
    }
}

/// Locks a file alone, as soon as it can.
///
/// # Errors
/// Those of the system.
pub(crate) fn lock_patiently(file: File) -> io::Result<Locked> {
    lock(file, FlockOperation::LockExclusive)
}

/// Renames, but never over something.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] and the like where there is something; those of the system.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    loop {
        let renamed = renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
        match renamed.map_err(io::Error::from) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_unsupported(&error) => break,
            Err(error) => return Err(error),
        }
    }
    if fs::symlink_metadata(from)?.is_dir() {
        // It replaces nothing but an empty directory.
        return fs::rename(from, to);
    }
    match fs::hard_link(from, to) {
        // The second name is what matters; the first goes with the temporary file.
        Ok(()) => return fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        // No file system but that of the target is asked: it has no links.
        Err(_) => {}
    }
    // Whoever makes the name owns it.
    OpenOptions::new().write(true).create_new(true).open(to)?;
    fs::rename(from, to).inspect_err(|_| {
        let _ = fs::remove_file(to);
    })
}

/// Makes a file `length` bytes long, also where the file system can only make files longer by
/// writing to them.
///
/// # Errors
/// Those of the storage.
pub(crate) fn set_length(file: &File, length: u64) -> io::Result<()> {
    let Err(error) = file.set_len(length) else {
        return Ok(());
    };
    let refused = is_unsupported(&error) || error.kind() == ErrorKind::PermissionDenied;
    match length.checked_sub(1) {
        Some(last) if refused && file.metadata()?.len() < length => file.write_all_at(&[0], last),
        _ => Err(error),
    }
}

/// Bytes that are free in a directory's file system; `None` where it does not say.
pub(crate) fn free_space(directory: &Path) -> Option<u64> {
    let space = statvfs(directory).ok()?;
    // Both are of a width of the platform's own choice.
    #[allow(clippy::useless_conversion)]
    let (blocks, available) = (
        u64::from(space.blocks()),
        u64::from(space.blocks_available()),
    );
    #[allow(clippy::useless_conversion)]
    let size = match u64::from(space.fragment_size()) {
        0 => u64::from(space.block_size()),
        size => size,
    };
    // FUSE file systems that do not count say 0 of everything.
    (blocks > 0 && size > 0).then(|| available.saturating_mul(size))
}

/// Reads once, whatever signals come.
///
/// # Errors
/// Those of the storage.
pub(crate) fn read(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_file_system_cannot_do_is_replaced() {
        for errno in [libc::EINVAL, libc::ENOSYS, libc::EOPNOTSUPP] {
            assert!(is_unsupported(&io::Error::from_raw_os_error(errno)));
        }
        for errno in [
            libc::EIO,
            libc::ENOSPC,
            libc::ESTALE,
            libc::EDQUOT,
            libc::EROFS,
        ] {
            assert!(!is_unsupported(&io::Error::from_raw_os_error(errno)));
        }
    }

    #[test]
    fn nothing_is_replaced_by_a_rename() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        let error = rename_new(&from, &to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(!from.exists());
    }

    #[test]
    fn a_read_goes_on_after_a_signal() {
        struct Interrupted(bool);
        impl Read for Interrupted {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                match std::mem::replace(&mut self.0, true) {
                    false => Err(ErrorKind::Interrupted.into()),
                    true => Ok(7),
                }
            }
        }
        assert_eq!(read(&mut Interrupted(false), &mut [0; 9]).unwrap(), 7);
    }
}
