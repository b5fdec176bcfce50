//! Whether the volume of a backup is the volume that it is restored into.

use super::metadata::{Metadata, SourceRecord, VolumeRecord};
use crate::error::{Error, Kind, Result};
use crate::volume::Volume;
use crate::vsphere::backing::{self, Backing, CINDER_VOLUME_ID};
use crate::vsphere::{Moref, Session};

/// Refuses a backing that is another volume's than the recorded one: by their ids, or by their
/// names where one of them has no id. Any id in common makes them the same: services that migrate
/// or retype a volume give it another backing, whose instance UUID or key is that of the volume.
pub(super) fn require_same(recorded: &VolumeRecord, backing: &Backing) -> Result<()> {
    let ids = recorded_ids(recorded);
    let own: Vec<&str> = [backing.instance_uuid.as_deref(), backing.cinder_id()]
        .into_iter()
        .flatten()
        .collect();
    let same = if ids.is_empty() || own.is_empty() {
        recorded.name.is_empty() || recorded.name == backing.name
    } else {
        own.iter().any(|own| contains(&ids, own))
    };
    if same {
        return Ok(());
    }
    let describe = |name: &str, ids: &[&str]| match ids {
        [] => format!("{name:?} without an id"),
        ids => format!("{name:?} ({})", ids.join(", ")),
    };
    Err(Error::new(
        Kind::InvalidArgument,
        format!(
            "the backup is of volume {}, but {} is volume {}",
            describe(&recorded.name, &ids),
            backing.moref,
            describe(&backing.name, &own)
        ),
    )
    .with_object(&backing.moref.value)
    .remedy("set allow_other_volume to replace the disk of that volume all the same"))
}

/// Whether the volume that is to be made is the recorded one.
pub(super) fn is_asked_for(volume: &Volume, recorded: &VolumeRecord) -> bool {
    let ids = recorded_ids(recorded);
    match &volume.id {
        Some(id) if !ids.is_empty() => contains(&ids, id),
        _ => volume.name == recorded.name,
    }
}

/// Refuses to make a volume while the virtual machine it was backed up from is there, but cannot be
/// reached or read: it may be found again.
pub(super) async fn require_absent(session: Session, source: SourceRecord) -> Result<()> {
    let server = session.content().about.instance_uuid.as_deref();
    let same_server = source.server_uuid.as_deref().zip(server);
    if !same_server.is_some_and(|(recorded, now)| recorded.eq_ignore_ascii_case(now)) {
        return Ok(());
    }
    let moref = Moref::new("VirtualMachine", source.backing);
    match backing::describe(session, moref).await {
        Ok(backing) => backing.require_connected(),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The extra configuration of a volume that a restore makes: what the caller gives. Of the source
/// it has nothing, since that would make it findable as the source; but a volume of OpenStack's is
/// marked by its own id again.
pub(super) fn extra_config(volume: &Volume, metadata: Option<&Metadata>) -> Vec<(String, String)> {
    let mut pairs = volume.extra_config.clone();
    let was_marked = metadata.is_some_and(|metadata| metadata.volume.cinder_id.is_some());
    let is_given = pairs.iter().any(|(key, _)| key == CINDER_VOLUME_ID);
    if let (Some(id), true, false) = (&volume.id, was_marked, is_given) {
        pairs.push((CINDER_VOLUME_ID.to_owned(), id.clone()));
    }
    pairs
}

fn recorded_ids(recorded: &VolumeRecord) -> Vec<&str> {
    let all = [&recorded.id, &recorded.instance_uuid, &recorded.cinder_id];
    let mut ids: Vec<&str> = Vec::new();
    for id in all.into_iter().flatten() {
        if !id.is_empty() && !contains(&ids, id) {
            ids.push(id);
        }
    }
    ids
}

fn contains(ids: &[&str], id: &str) -> bool {
    ids.iter().any(|known| known.eq_ignore_ascii_case(id))
}
