//! What a caller says of the volume an operation is about.

use crate::error::{Error, Kind, Result};
use std::fmt;

/// How a virtual disk's blocks are allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskType {
    /// Blocks are allocated when first written.
    Thin,
    /// All blocks are allocated at creation and zeroed when first written (`preallocated`).
    Thick,
    /// All blocks are allocated and zeroed at creation.
    EagerZeroedThick,
}

/// The virtual controller a disk hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterType {
    /// LSI Logic parallel SCSI.
    LsiLogic,
    /// BusLogic parallel SCSI.
    BusLogic,
    /// LSI Logic SAS.
    LsiLogicSas,
    /// VMware paravirtual SCSI.
    ParaVirtual,
    /// IDE.
    Ide,
}

macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// The name used in metadata and messages.
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some($type::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named!(DiskType { Thin = "thin", Thick = "thick", EagerZeroedThick = "eagerZeroedThick" });
named!(AdapterType {
    LsiLogic = "lsiLogic",
    BusLogic = "busLogic",
    LsiLogicSas = "lsiLogicsas",
    ParaVirtual = "paraVirtual",
    Ide = "ide",
});

/// A virtual disk owned by a storage agent, and the backing that holds it.
///
/// Everything given of `moref`, `id` and `name` must agree with the virtual machine that is found: an
/// id with its instance UUID or with the key `cinder.volume.id` of its extra configuration. The
/// placement's datacenter and folder, where given, bound the search.
#[derive(Clone, Debug, Default)]
pub struct Volume {
    /// The backing's name in the inventory.
    pub name: String,
    /// The volume's UUID, which the backing bears as its instance UUID and the disk as its UUID.
    pub id: Option<String>,
    /// The backing's managed object reference (`vm-42`), where the caller knows it.
    pub moref: Option<String>,
    /// The disk's device key, needed where the backing has more than one disk.
    pub disk_key: Option<i32>,
    /// The volume's size in bytes; 0 = as it is, or as recorded in the backup.
    pub size_bytes: u64,
    /// How a new disk is allocated; `None` = as recorded, or thin.
    pub disk_type: Option<DiskType>,
    /// The controller of a new backing; `None` = as recorded, or LSI Logic.
    pub adapter_type: Option<AdapterType>,
    /// The id of the storage profile (SPBM) of a new backing.
    pub storage_profile: Option<String>,
    /// Where a new backing goes.
    pub placement: Placement,
    /// Keys and values for the `extraConfig` of a new backing.
    pub extra_config: Vec<(String, String)>,
}

/// Where a new backing goes. Each part is a name or a moref; what is not given is chosen.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// The datacenter; default: the only one.
    pub datacenter: Option<String>,
    /// The cluster or host; default: any whose hosts reach the datastore.
    pub compute: Option<String>,
    /// The resource pool; default: the root pool of the cluster or host.
    pub resource_pool: Option<String>,
    /// The datastore; default: an accessible one with room, the one most hosts mount, then the emptiest.
    pub datastore: Option<String>,
    /// The path below the datacenter's VM folder, created where it does not exist; default: the VM
    /// folder. Within one name of the path, `%2f`, `%5c` and `%25` are `/`, `\` and `%`.
    pub folder: Option<String>,
}

/// The longest name vSphere takes for a virtual machine.
const LONGEST_NAME: usize = 80;

/// Whether a text can be sent to the server as it is: XML has no form for some characters, among
/// them what stands for damage in an answer.
pub fn is_expressible(text: &str) -> bool {
    !text.chars().any(|char| {
        matches!(char, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
    })
}

impl Volume {
    /// Refuses what cannot be meant, before anything is asked of a server.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] with the field and the reason.
    pub fn validate(&self) -> Result<()> {
        let invalid = |message: String| Err(Error::new(Kind::InvalidArgument, message));
        if self.name.is_empty() && self.id.is_none() && self.moref.is_none() {
            return invalid("volume: name, id and moref are all empty".into());
        }
        if self.name.chars().count() > LONGEST_NAME {
            return invalid(format!(
                "volume: the name is over {LONGEST_NAME} characters"
            ));
        }
        if self.name.chars().any(char::is_control) {
            return invalid("volume: the name contains a control character".into());
        }
        let placement = &self.placement;
        let texts = [
            ("moref", self.moref.as_deref()),
            ("storage profile", self.storage_profile.as_deref()),
            ("datacenter", placement.datacenter.as_deref()),
            ("compute", placement.compute.as_deref()),
            ("resource pool", placement.resource_pool.as_deref()),
            ("datastore", placement.datastore.as_deref()),
            ("folder", placement.folder.as_deref()),
            ("name", Some(self.name.as_str())),
        ];
        let pairs = self.extra_config.iter();
        let pairs = pairs.flat_map(|(key, value)| [key.as_str(), value.as_str()]);
        let texts = texts
            .into_iter()
            .filter_map(|(what, text)| Some((what, text?)));
        for (what, text) in texts.chain(pairs.map(|text| ("extra config", text))) {
            if !is_expressible(text) {
                return invalid(format!(
                    "volume: {what} {text:?} has a character that XML forbids"
                ));
            }
        }
        if let Some(id) = &self.id
            && !is_uuid(id)
        {
            return invalid(format!("volume: the id {id:?} is not a UUID"));
        }
        if !self.size_bytes.is_multiple_of(512) {
            return invalid(format!(
                "volume: size {} is not a multiple of 512 bytes",
                self.size_bytes
            ));
        }
        if self.extra_config.iter().any(|(key, _)| key.is_empty()) {
            return invalid("volume: an extra config key is empty".into());
        }
        Ok(())
    }

    /// The name to use in messages: the volume's name, id or moref, the first there is.
    pub fn label(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        self.id.as_deref().or(self.moref.as_deref()).unwrap_or("?")
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_needs_a_name_an_id_or_a_moref() {
        assert!(Volume::default().validate().is_err());
        let named = |name: &str| Volume {
            name: name.into(),
            ..Volume::default()
        };
        assert!(named("v1").validate().is_ok());
        assert!(named("a\nb").validate().is_err());
        assert!(named(&"x".repeat(81)).validate().is_err());
    }

    #[test]
    fn an_id_is_a_uuid() {
        let with = |id: &str| Volume {
            id: Some(id.into()),
            ..Volume::default()
        };
        assert!(
            with("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
                .validate()
                .is_ok()
        );
        assert!(with("3f2504e04f8941d39a0c0305e82c3301").validate().is_err());
        assert!(with("").validate().is_err());
    }
}
