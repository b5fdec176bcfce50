//! The use cases, readable aloud.

mod create;
mod differences;
mod disk_file;
mod export;
mod finish;
mod identity;
mod import;
mod journal;
mod keeper;
mod operation;
mod plan;
mod proof;
mod raw;
mod release;
mod remains;
mod replace;
mod sizes;
mod source;
mod temporary;
mod undo;
mod watch;

#[cfg(fuzzing)]
pub(crate) use journal::read_all as read_journals;

pub mod backup;
pub mod convert;
pub mod inspect;
pub mod metadata;
pub mod recover;
pub mod restore;
pub mod verify;

pub use backup::{BackupOptions, backup_volume};
pub use convert::{ConvertOptions, convert};
pub use disk_file::SourceFormat;
pub use inspect::{InspectOptions, Inspection, inspect};
pub use recover::{Outcome, RecoverOptions, Recovered, recover};
pub use restore::{RestoreOptions, restore_backup};
pub use verify::{VerifyOptions, verify_backup};
pub use watch::{Progress, ProgressFn};

use crate::error::{Error, Kind, Result};
use crate::service::{Format, LONGEST_BACKUP_ID, Staging};
use crate::vmdk::Level;
use std::path::PathBuf;
use std::time::Duration;

/// What backup and restore have in common.
#[derive(Default)]
pub struct Common<'a> {
    /// What the service keeps.
    pub format: Format,
    /// Streamed or by way of a temporary file; `None` = as the service wants it.
    pub staging: Option<Staging>,
    /// Where temporary files go; `None` = the system's directory for them.
    pub temp_dir: Option<PathBuf>,
    /// How much of the stream is proven; `None` = every grain is inflated.
    pub level: Option<Level>,
    /// No byte moved for this long ends a transfer, and no progress for this long the wait for a
    /// lease to become ready; `None` = 120 s and an hour.
    pub stall_timeout: Option<Duration>,
    /// The operation ends as cancelled when it takes longer than this; `None` = no limit.
    pub deadline: Option<Duration>,
    /// Called on the calling thread at least once a second while the library waits.
    pub progress: Option<ProgressFn<'a>>,
    /// Ends the operation when thrown.
    pub cancel: Option<crate::cancel::Cancel>,
}

/// How long a transfer may stand still where the caller does not say. A host that skips empty
/// blocks is silent for up to 45 s between two progress markers.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a lease may show no progress on its way to ready where the caller does not say. Some
/// servers report none, others whole percents, and a host zeroes a large disk for hours.
const LEASE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long what moves may stand still.
#[derive(Clone, Copy)]
struct Limits {
    /// A transfer.
    stall: Duration,
    /// A lease on its way to ready.
    lease: Duration,
}

impl Common<'_> {
    fn limits(&self) -> Limits {
        Limits {
            stall: self.stall_timeout.unwrap_or(STALL_TIMEOUT),
            lease: self.stall_timeout.unwrap_or(LEASE_TIMEOUT),
        }
    }

    /// How the bytes travel, from what the caller and the service want.
    fn staging(&self, service: Staging) -> Result<Staging> {
        if self.format == Format::Raw && service == Staging::File {
            return Err(Error::new(
                Kind::Unsupported,
                "format: a service that works on regular files keeps streams only",
            ));
        }
        match (self.staging, service) {
            (Some(Staging::Stream), Staging::File) => Err(Error::new(
                Kind::InvalidArgument,
                "staging: the service works on regular files and cannot be streamed to",
            )),
            (Some(wanted), _) => Ok(wanted),
            (None, service) => Ok(service),
        }
    }
}

/// Names become file names and object names: nothing that means something there is let in.
fn validate_backup_id(id: &str) -> Result<()> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if id.is_empty()
        || id.len() > LONGEST_BACKUP_ID
        || id.starts_with('.')
        || !id.bytes().all(known)
    {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!(
                "backup id {id:?}: 1 to {LONGEST_BACKUP_ID} letters, digits, '_', '-' and, not first, '.'"
            ),
        ));
    }
    Ok(())
}

/// What an operation that succeeded did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The operation's id, which also stands in the server's logs.
    pub operation: String,
    /// The backing's moref.
    pub backing: String,
    /// Whether the backing was made by this operation.
    pub backing_created: bool,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// The stream's length in bytes.
    pub stream_length: u64,
    /// Bytes of the disk's grains that are not all zero.
    pub populated: u64,
    /// SHA-256 of the stream.
    pub stream_sha256: [u8; 32],
    /// The digest of the disk's contents, the same for every encoding of the same disk; `None`
    /// where the grains were not inflated.
    pub content_digest: Option<[u8; 32]>,
    /// What succeeded otherwise than asked, or could not be proven: a sentence each.
    pub notices: Vec<String>,
}
