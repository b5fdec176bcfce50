//! What the server says of itself before anybody logs in.

use crate::error::{Error, Kind, Result};
use crate::transport::soap::Node;
use crate::vsphere::Moref;

/// What the server says of itself, and its singletons.
#[derive(Clone, Debug)]
pub struct ServiceContent {
    /// Product and version.
    pub about: About,
    /// Above everything in the inventory.
    pub root_folder: Moref,
    /// Reads properties.
    pub property_collector: Moref,
    /// Logs in and out.
    pub session_manager: Moref,
    /// Makes container views.
    pub view_manager: Option<Moref>,
    /// Finds by UUID and path.
    pub search_index: Option<Moref>,
    /// Works on virtual disks' files.
    pub virtual_disk_manager: Option<Moref>,
    /// Works on files.
    pub file_manager: Option<Moref>,
}

/// Product and version.
#[derive(Clone, Debug)]
pub struct About {
    /// `VMware vCenter Server`.
    pub name: String,
    /// `8.0.3`.
    pub version: String,
    /// `VirtualCenter` or `HostAgent`.
    pub api_type: String,
    /// `8.0.3.0`.
    pub api_version: String,
    /// A vCenter's own id.
    pub instance_uuid: Option<String>,
}

impl About {
    /// Whether it can be told to digest what a lease moves with SHA-256
    /// (`HttpNfcLeaseSetManifestChecksumType`): since API 6.7.
    pub fn offers_sha256(&self) -> bool {
        numbers(&self.api_version).is_some_and(|version| version.as_slice() >= [6, 7].as_slice())
    }
}

impl ServiceContent {
    /// Reads the result of `RetrieveServiceContent`.
    ///
    /// # Errors
    /// [`Kind::Fault`] when a part is missing that every vSphere server has.
    pub(crate) fn read(content: &Node) -> Result<Self> {
        let missing = |name: &str| {
            let message = format!("the service content has no {name}");
            Error::new(Kind::Fault, message)
        };
        let text = |name: &str| {
            let text = content.text_at(name).unwrap_or_default();
            text.trim().to_owned()
        };
        let object = |name: &str| content.child(name).and_then(Moref::from_node);
        let needed = |name: &str| object(name).ok_or_else(|| missing(name));
        let about = About {
            name: text("about.name"),
            version: text("about.version"),
            api_type: text("about.apiType"),
            api_version: text("about.apiVersion"),
            instance_uuid: Some(text("about.instanceUuid")).filter(|uuid| !uuid.is_empty()),
        };
        if about.api_version.is_empty() {
            return Err(missing("about.apiVersion"));
        }
        Ok(ServiceContent {
            about,
            root_folder: needed("rootFolder")?,
            property_collector: needed("propertyCollector")?,
            session_manager: needed("sessionManager")?,
            view_manager: object("viewManager"),
            search_index: object("searchIndex"),
            virtual_disk_manager: object("virtualDiskManager"),
            file_manager: object("fileManager"),
        })
    }
}

/// The first API with everything that is called here.
const OLDEST_API: [u32; 2] = [5, 5];

/// The newest API that this library was written for; newer servers speak it, too.
const NEWEST_API: [u32; 4] = [8, 0, 3, 0];

/// The versions to ask for before the server has named its own: any supported server knows the
/// first, and those from before 2016 know the second.
pub(super) const FIRST_ACTIONS: [&str; 2] = ["urn:vim25/6.5", "urn:vim25/5.5"];

/// The version to ask a server for that names `api_version` as its own.
///
/// # Errors
/// [`Kind::Unsupported`] for servers that are too old.
pub(super) fn action(api_version: &str) -> Result<String> {
    let unsupported = |why: &str| {
        let message = format!("the server's API version is {api_version:?}, {why}");
        Err(Error::new(Kind::Unsupported, message))
    };
    match numbers(api_version) {
        None => unsupported("which is no version"),
        Some(version) if version.as_slice() < OLDEST_API.as_slice() => {
            unsupported("and 5.5 is the oldest that is supported")
        }
        Some(version) if version.as_slice() > NEWEST_API.as_slice() => {
            let newest = NEWEST_API.map(|number| number.to_string()).join(".");
            Ok(format!("urn:vim25/{newest}"))
        }
        Some(_) => Ok(format!("urn:vim25/{api_version}")),
    }
}

/// The numbers of a version, to be compared with those of another.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_api_version_is_asked_for_within_bounds() {
        assert_eq!(action("8.0.2.0").unwrap(), "urn:vim25/8.0.2.0");
        assert_eq!(action("6.5").unwrap(), "urn:vim25/6.5");
        assert_eq!(action("9.0.0.0").unwrap(), "urn:vim25/8.0.3.0");
        assert_eq!(action("8.0.3.1").unwrap(), "urn:vim25/8.0.3.0");
        for version in ["5.1", "4.1", "", "8.x", "8.0\r\nX: y"] {
            assert_eq!(action(version).unwrap_err().kind(), Kind::Unsupported);
        }
    }
}
