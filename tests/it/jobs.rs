//! The two operations on a scene's server, as most topics need them.

use crate::fixture::Scene;
use vmdk_backup::error::Result;
use vmdk_backup::ops::{
    BackupOptions, Common, RestoreOptions, Summary, backup_volume, restore_backup,
};
use vmdk_backup::service::BackupService;
use vmdk_backup::vmdk::Level;
use vmdk_backup::volume::Volume;

/// Nothing said, but how closely the stream is looked at.
pub fn level(level: Level) -> Common<'static> {
    Common {
        level: Some(level),
        ..Common::default()
    }
}

/// Backs the scene's volume up as `id`.
pub fn backup(
    scene: &Scene,
    service: &dyn BackupService,
    id: &str,
    common: Common<'_>,
) -> Result<Summary> {
    let options = BackupOptions {
        backup_id: id.into(),
        common,
        ..BackupOptions::default()
    };
    backup_volume(&scene.client(), service, &scene.volume(), options)
}

/// Backs `volume` up as `id`.
pub fn backup_of(
    scene: &Scene,
    service: &dyn BackupService,
    id: &str,
    volume: &Volume,
) -> Result<Summary> {
    let options = BackupOptions {
        backup_id: id.into(),
        common: Common::default(),
        ..BackupOptions::default()
    };
    backup_volume(&scene.client(), service, volume, options)
}

/// Restores the backup `b` into `volume`.
pub fn restore(
    scene: &Scene,
    service: &dyn BackupService,
    volume: &Volume,
    common: Common<'_>,
) -> Result<Summary> {
    let options = RestoreOptions {
        backup_id: "b".into(),
        common,
        ..RestoreOptions::default()
    };
    restore_backup(&scene.client(), service, volume, options)
}
