//! The datacenter and the folder that a volume's backing is looked for in.

use super::names::is_named;
use super::{Moref, Session, backing, folder, placement, property};
use crate::error::{Context, Result};
use crate::volume::Placement;

/// Where the backing must be; `None` = anywhere.
pub(super) struct Bounds {
    datacenters: Option<Vec<Moref>>,
    /// The folders at the path given, one in each datacenter at most.
    folders: Option<Vec<Moref>>,
}

impl Bounds {
    pub(super) async fn resolve(session: &Session, placement: &Placement) -> Result<Bounds> {
        let (datacenter, path) = (placement.datacenter.as_deref(), placement.folder.as_deref());
        let mut bounds = Bounds {
            datacenters: None,
            folders: None,
        };
        if datacenter.is_none() && path.is_none() {
            return Ok(bounds);
        }
        let root = &session.content().root_folder;
        let mut all = property::below(session, root, "Datacenter", &["name", "vmFolder"])
            .await
            .context("list the datacenters")?;
        if let Some(text) = datacenter {
            all.retain(|(moref, o)| is_named(moref, &o.name(), text));
            if all.is_empty() {
                let condition = "visible to this user";
                return Err(placement::missing("datacenter", datacenter, condition));
            }
            bounds.datacenters = Some(all.iter().map(|(moref, _)| moref.clone()).collect());
        }
        if let Some(path) = path {
            let mut folders = Vec::new();
            for vm_folder in all.iter().filter_map(|(_, o)| o.moref("vmFolder")) {
                let (folder, missing) = folder::find(session, vm_folder, path).await?;
                if missing.is_empty() {
                    folders.push(folder);
                }
            }
            bounds.folders = Some(folders);
        }
        Ok(bounds)
    }

    /// Where the machine is, if that is out of bounds.
    pub(super) async fn exclude(&self, session: &Session, vm: &Moref) -> Result<Option<String>> {
        if let Some(place) = self.exclude_by_datacenter(session, vm).await? {
            return Ok(Some(place));
        }
        let Some(folders) = &self.folders else {
            return Ok(None);
        };
        match folder_of(session, vm).await? {
            Some(folder) if folders.contains(&folder) => Ok(None),
            Some(folder) => {
                let name = property::read(session, &folder, &["name"]).await?.name();
                Ok(Some(format!("folder {name:?} ({folder})")))
            }
            None => Ok(Some("no folder".into())),
        }
    }

    /// As [`Bounds::exclude`], whatever the folder.
    pub(super) async fn exclude_by_datacenter(
        &self,
        session: &Session,
        vm: &Moref,
    ) -> Result<Option<String>> {
        let Some(datacenters) = &self.datacenters else {
            return Ok(None);
        };
        let datacenter = backing::datacenter_of(session.clone(), vm.clone()).await?;
        if datacenters.contains(&datacenter) {
            return Ok(None);
        }
        let name = property::read(session, &datacenter, &["name"])
            .await?
            .name();
        Ok(Some(format!("datacenter {name:?} ({datacenter})")))
    }
}

/// No vApps are nested as deep; a server that says so is not followed for ever.
const DEEPEST: usize = 32;

/// The folder of a virtual machine; of one in a vApp, that of the vApp.
async fn folder_of(session: &Session, vm: &Moref) -> Result<Option<Moref>> {
    let own = property::read(session, vm, &["parent", "parentVApp"]).await?;
    if let Some(folder) = own.moref("parent") {
        return Ok(Some(folder));
    }
    let mut at = own.moref("parentVApp");
    for _ in 0..DEEPEST {
        let Some(app) = at else { break };
        let above = property::read(session, &app, &["parentFolder", "parentVApp"]).await?;
        if let Some(folder) = above.moref("parentFolder") {
            return Ok(Some(folder));
        }
        at = above.moref("parentVApp");
    }
    Ok(None)
}
