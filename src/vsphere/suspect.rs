//! Machines that may be a volume's backing although no identifier leads to them.
//!
//! A server that cannot reach a machine or read its configuration does not find it by UUID and shows
//! the path of its configuration file instead of its name. A volume that has such a machine has a
//! backing: giving it a new, empty one would make the next backup one of zeros.

use super::backing::{self, CONNECTED};
use super::bounds::Bounds;
use super::find::Candidate;
use super::{Moref, Session, fault, names, property, task};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;
use crate::volume::Volume;

/// Refuses a search that found nothing while one of `others` may be what is looked for.
pub(super) async fn refuse(
    session: &Session,
    volume: &Volume,
    bounds: &Bounds,
    others: Vec<Candidate>,
) -> Result<()> {
    for machine in others.iter().filter(|machine| machine.state != CONNECTED) {
        if volume
            .id
            .as_deref()
            .is_some_and(|id| machine.contradicts(id))
        {
            continue;
        }
        let paths = [&machine.name, &machine.vmx, &names::unescape(&machine.vmx)];
        let may_be = paths.into_iter().any(|path| may_be_of(volume, path));
        if may_be
            && bounds
                .exclude_by_datacenter(session, &machine.moref)
                .await?
                .is_none()
        {
            backing::require_connected(&machine.moref, &machine.name, &machine.state)?;
        }
    }
    Ok(())
}

/// The disks and configuration files in a folder of a datastore that no machine of the inventory
/// has there.
///
/// # Errors
/// [`Kind::Auth`] where the user may not look; what else the server answers.
pub async fn unowned_files(
    session: Session,
    datastore: Option<Moref>,
    folder: String,
) -> Result<Vec<String>> {
    let Some(datastore) = datastore else {
        return Ok(Vec::new());
    };
    let found = property::read(&session, &datastore, &["browser"]).await?;
    let Some(browser) = found.moref("browser") else {
        return Err(Error::new(
            Kind::Unsupported,
            format!("datastore {datastore} has no browser"),
        ));
    };
    let files = match listed(&session, &browser, &folder).await {
        Err(error) if fault::is_file_gone(&error) => return Ok(Vec::new()),
        files => files.with_context(|| format!("look into {folder}"))?,
    };
    if files.is_empty() || is_owned(&session, &folder).await? {
        return Ok(Vec::new());
    }
    Ok(files)
}

async fn listed(session: &Session, browser: &Moref, folder: &str) -> Result<Vec<String>> {
    let specification = Element::new("searchSpec")
        .with_text("matchPattern", "*.vmx")
        .with_text("matchPattern", "*.vmdk");
    let arguments = vec![Element::new("datastorePath").text(folder), specification];
    let answer = session
        .call_idempotent(browser, "SearchDatastore_Task", arguments)
        .await?;
    let found = task::finish(session, &super::returned(&answer)?).await?;
    let files = found.iter().flat_map(|found| found.children_named("file"));
    let paths = files.filter_map(|file| file.text_at("path"));
    Ok(paths.map(str::to_owned).collect())
}

/// Whether a machine of the inventory lies in `folder`: one that was renamed, since.
async fn is_owned(session: &Session, folder: &str) -> Result<bool> {
    let root = &session.content().root_folder;
    let path = "summary.config.vmPathName";
    let all = property::below(session, root, "VirtualMachine", &[path]).await?;
    let is_in = |vmx: &str| vmx.rsplit_once('/').is_some_and(|(own, _)| own == folder);
    Ok(all.iter().any(|(_, vm)| vm.text(path).is_some_and(is_in)))
}

/// Whether a configuration file at `path` may be that of the volume's backing.
fn may_be_of(volume: &Volume, path: &str) -> bool {
    if !path.contains('/') {
        return false;
    }
    let inside = path
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or(path, |(_, inside)| inside.trim_start());
    let mut parts = inside.rsplit('/');
    let file = parts.next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let folder = parts.next().unwrap_or_default();
    [stem, folder]
        .into_iter()
        .any(|part| is_named_after(volume, part))
}

/// Whether a file or folder on a datastore is named after the volume.
fn is_named_after(volume: &Volume, part: &str) -> bool {
    let part = part.to_lowercase();
    if let Some(id) = &volume.id
        && part.contains(&id.to_lowercase())
    {
        return true;
    }
    if volume.name.is_empty() {
        return false;
    }
    let name = file_name(&volume.name).to_lowercase();
    let Some(rest) = part.strip_prefix(&name) else {
        return false;
    };
    // A folder that was there already makes the server count: `volume-1_1`.
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_counted = rest.strip_prefix('_').is_some_and(is_number);
    // What was restored as a new volume keeps the folder of the temporary machine.
    rest.is_empty() || is_counted || rest.starts_with("-restore-")
}

/// A machine's name as that of its files, which cannot have every character.
pub fn file_name(name: &str) -> String {
    name.replace(['/', '\\', '%'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_by_the_volumes_name_or_id() {
        let id = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
        let volume = Volume {
            name: "volume-1".into(),
            id: Some(id.into()),
            ..Volume::default()
        };
        for path in [
            "/vmfs/volumes/5f-6/volume-1/volume-1.vmx",
            "[ds 1] volume-1/other.vmx",
            "[ds 1] volume-1_2/volume-1.vmx",
            "[] /vmfs/volumes/x/other/Volume-1.vmtx",
            "[ds] volume-1-restore-0123456789abcdef/x.vmx",
            "[ds] a/volume-3F2504E0-4f89-41d3-9a0c-0305e82c3301.vmx",
        ] {
            assert!(may_be_of(&volume, path), "{path}");
        }
        for path in [
            "volume-1",
            "[ds] volume-10/volume-10.vmx",
            "[ds] volume-1x/a.vmx",
            "",
        ] {
            assert!(!may_be_of(&volume, path), "{path}");
        }
    }
}
