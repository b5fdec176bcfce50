//! A volume's disk goes out of vSphere into a backup service.

use super::{Common, Summary};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::service::BackupService;
use crate::volume::Volume;

/// How a backup is made.
#[derive(Default)]
pub struct BackupOptions<'a> {
    /// The caller's name of the backup: 1 to 255 bytes of letters, digits, `.`, `_` and `-`.
    pub backup_id: String,
    /// What every operation has.
    pub common: Common<'a>,
}

/// Backs up the disk of `volume` into `service`.
///
/// A backing is created where the volume has none. The backup is committed only after the stream
/// was proven whole; on any error the service's writer is aborted and the server is left as it was.
///
/// # Errors
/// Every [`Kind`]; see the README's table.
pub fn backup_volume(
    _client: &Client,
    _service: &dyn BackupService,
    _volume: &Volume,
    _options: BackupOptions<'_>,
) -> Result<Summary> {
    Err(Error::new(Kind::Unsupported, "backup: not there yet"))
}
