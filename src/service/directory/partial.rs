//! Directories of backups that are being written, and what is left of them.

use super::{DATA, failed};
use crate::error::{Error, Kind, Result};
use crate::storage::{self, Held, Locked};
use rustix::fs::FlockOperation;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the name of a backup that is being written ends with.
const PARTIAL: &str = ".partial";

/// How often a partial directory is made anew when a sweep of another process took it for a
/// leftover between its making and its locking.
const ATTEMPTS: usize = 16;

/// The directory of a backup that is none yet; dropping it removes it.
pub(super) struct Partial {
    pub(super) path: PathBuf,
}

impl Partial {
    /// Makes one in the `directory` of all backups, with a locked, empty data file in it.
    pub(super) fn new(directory: &Path) -> Result<(Partial, Held)> {
        for _ in 0..ATTEMPTS {
            let mut random = [0; 8];
            getrandom::fill(&mut random)
                .map_err(|e| Error::new(Kind::Io, format!("get random bytes: {e}")))?;
            let name = format!(".{:016x}{PARTIAL}", u64::from_ne_bytes(random));
            let path = directory.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(failed("make", &path, &e)),
            }
            let partial = Partial { path };
            if let Some(lock) = partial.claim()? {
                return Ok((partial, lock));
            }
        }
        Err(Error::new(
            Kind::Io,
            format!("cannot begin a backup in {}", directory.display()),
        ))
    }

    /// The directory is a backup now, and stays.
    pub(super) fn keep(mut self) {
        self.path = PathBuf::new();
    }

    /// Makes and locks the data file; `None` when a sweep was quicker.
    fn claim(&self) -> Result<Option<Held>> {
        let path = self.path.join(DATA);
        let file = match new_file(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed("make", &path, &e)),
        };
        let held = match storage::lock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(Locked::Yes(lock)) => Held::Locked(lock),
            // No sweep takes it away where there are no locks.
            Ok(Locked::Unsupported(file)) => Held::Open(file),
            Ok(Locked::Busy) => return Ok(None),
            Err(e) => return Err(failed("lock", &path, &e)),
        };
        // The name is random: what is there under it is this file, unless a sweep was quicker.
        Ok(fs::symlink_metadata(&path).is_ok().then_some(held))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Where this fails, a later sweep succeeds: the lock goes with this process at the latest.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Removes what processes that died left behind. What cannot be removed disturbs nobody.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_partial(name) {
            sweep_one(&entry.path());
        }
    }
}

/// Whether a partial directory of ours is called so.
fn is_partial(name: &str) -> bool {
    name.strip_prefix('.')
        .and_then(|name| name.strip_suffix(PARTIAL))
        .is_some_and(|random| {
            random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

fn sweep_one(partial: &Path) {
    let data = File::options().write(true).open(partial.join(DATA));
    let gone = match data {
        Ok(file) => match storage::lock(file, FlockOperation::NonBlockingLockExclusive) {
            // Removed under the lock, so that nobody claims it meanwhile.
            Ok(Locked::Yes(_lock)) => fs::remove_dir_all(partial),
            Ok(Locked::Busy | Locked::Unsupported(_)) | Err(_) => Ok(()),
        },
        // Just made, or never got further: only an empty directory can be removed by this.
        Err(e) if e.kind() == ErrorKind::NotFound => fs::remove_dir(partial),
        Err(e) => Err(e),
    };
    // The next sweep tries again.
    let _ = gone;
}
