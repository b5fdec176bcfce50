//! A backup comes back: as a new backing, or into the existing one in place of its disk.

use super::{Common, Summary};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::service::BackupService;
use crate::volume::Volume;

/// How a backup is restored.
#[derive(Default)]
pub struct RestoreOptions<'a> {
    /// The name the backup was made under.
    pub backup_id: String,
    /// What every operation has.
    pub common: Common<'a>,
}

/// Restores a backup from `service` into `volume`.
///
/// Where the volume has a backing, its disk is replaced and the backing stays the same object;
/// else a backing is made. The old disk is deleted only after the new one is attached and proven;
/// on any error the volume is as it was.
///
/// # Errors
/// Every [`Kind`]; see the README's table.
pub fn restore_backup(
    _client: &Client,
    _service: &dyn BackupService,
    _volume: &Volume,
    _options: RestoreOptions<'_>,
) -> Result<Summary> {
    Err(Error::new(Kind::Unsupported, "restore: not there yet"))
}
