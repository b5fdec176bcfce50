//! The backing of a volume, described.

use super::device::{self, Disk};
use super::virtual_disk::folder_of;
use super::{Moref, Session, property};
use crate::error::{Context, Error, Kind, Result};

/// The key under which OpenStack's volume service notes a volume's id.
pub const CINDER_VOLUME_ID: &str = "cinder.volume.id";

/// A virtual machine that holds a volume.
#[derive(Clone, Debug)]
pub struct Backing {
    /// Its managed object reference.
    pub moref: Moref,
    /// What the server calls this state of its configuration.
    pub change_version: Option<String>,
    /// Its name, unescaped.
    pub name: String,
    /// `connected`, or why the server cannot vouch for it: `disconnected`, `orphaned`,
    /// `inaccessible` or `invalid`, which is also the word for one without a configuration.
    pub connection_state: String,
    /// What the volume's id is kept as.
    pub instance_uuid: Option<String>,
    /// `poweredOff`, `poweredOn` or `suspended`.
    pub power_state: String,
    /// The version of its virtual hardware (`vmx-08`).
    pub hardware: Option<String>,
    /// Whether it is a template, which cannot be reconfigured.
    pub is_template: bool,
    /// Its disks, in order of their keys.
    pub disks: Vec<Disk>,
    /// The names of its snapshots, parents first.
    pub snapshots: Vec<String>,
    /// Its extra configuration.
    pub extra_config: Vec<(String, String)>,
    /// The folder it is in; none inside a vApp.
    pub folder: Option<Moref>,
    /// The resource pool it belongs to; none for a template.
    pub resource_pool: Option<Moref>,
    /// The host it is registered on.
    pub host: Option<Moref>,
    /// Bytes its files take on datastores, where the server knows.
    pub committed: Option<u64>,
    /// The datastore path of its configuration file, in the folder that is its own.
    pub vmx: Option<String>,
    /// Whether changed blocks are tracked, as the server says it.
    pub change_tracking: Option<String>,
}

const DESCRIPTION: [&str; 16] = [
    "name",
    "config.changeVersion",
    "config.instanceUuid",
    "config.template",
    "config.version",
    "config.hardware.device",
    "config.extraConfig",
    "config.files.vmPathName",
    "runtime.connectionState",
    "config.changeTrackingEnabled",
    "runtime.powerState",
    "runtime.host",
    "snapshot",
    "parent",
    "resourcePool",
    "summary.storage.committed",
];

/// Reads what the library needs to know of a virtual machine.
///
/// # Errors
/// [`Kind::NotFound`] when it does not exist.
pub async fn describe(session: Session, moref: Moref) -> Result<Backing> {
    let vm = property::read(&session, &moref, &DESCRIPTION)
        .await
        .with_context(|| format!("read virtual machine {moref}"))?;
    let extra_config = vm
        .get("config.extraConfig")
        .into_iter()
        .flat_map(|options| options.children_named("OptionValue"))
        .filter_map(|option| {
            let value = option.text_at("value")?;
            Some((option.text_at("key")?.to_owned(), value.to_owned()))
        })
        .collect();
    let mut snapshots = Vec::new();
    if let Some(tree) = vm.get("snapshot") {
        let mut below: Vec<_> = tree.children_named("rootSnapshotList").collect();
        while let Some(snapshot) = below.pop() {
            snapshots.push(snapshot.text_at("name").unwrap_or("?").to_owned());
            below.extend(snapshot.children_named("childSnapshotList"));
        }
    }
    // The server has a configuration to show, or none of it.
    let readable = vm.get("config.template").is_some();
    let connection_state = vm.text("runtime.connectionState").unwrap_or(CONNECTED);
    Ok(Backing {
        connection_state: known_state(connection_state, readable).to_owned(),
        name: vm.name(),
        change_version: vm.text("config.changeVersion").map(str::to_owned),
        instance_uuid: vm.text("config.instanceUuid").map(str::to_owned),
        power_state: vm
            .text("runtime.powerState")
            .unwrap_or("poweredOff")
            .to_owned(),
        hardware: vm.text("config.version").map(str::to_owned),
        is_template: vm.text("config.template") == Some("true"),
        disks: vm
            .get("config.hardware.device")
            .map(device::disks)
            .unwrap_or_default(),
        snapshots,
        extra_config,
        folder: vm.moref("parent"),
        resource_pool: vm.moref("resourcePool"),
        host: vm.moref("runtime.host"),
        committed: vm.parse("summary.storage.committed"),
        vmx: vm.text("config.files.vmPathName").map(str::to_owned),
        change_tracking: vm.text("config.changeTrackingEnabled").map(str::to_owned),
        moref,
    })
}

/// The state of a virtual machine that the server reaches.
pub(super) const CONNECTED: &str = "connected";

/// A machine without a configuration is not as it should be, whatever the server says.
pub(super) fn known_state(state: &str, has_config: bool) -> &str {
    match state {
        CONNECTED if !has_config => "invalid",
        state => state,
    }
}

/// Refuses a machine of which the server knows too little: neither its disk nor whether it is the
/// volume's can be relied on.
pub(super) fn require_connected(moref: &Moref, name: &str, state: &str) -> Result<()> {
    if state == CONNECTED {
        return Ok(());
    }
    Err(Error::new(
        Kind::InvalidState,
        format!("virtual machine {name:?} ({moref}) is {state}, and may be the volume's backing"),
    )
    .with_object(&moref.value)
    .remedy("reconnect its host, register it anew, or remove it from the inventory"))
}

impl Backing {
    /// Refuses a virtual machine that the server does not reach or cannot read.
    ///
    /// # Errors
    /// [`Kind::InvalidState`] with the state.
    pub fn require_connected(&self) -> Result<()> {
        require_connected(&self.moref, &self.name, &self.connection_state)
    }

    /// The id that OpenStack's volume service gave it.
    pub fn cinder_id(&self) -> Option<&str> {
        self.extra(CINDER_VOLUME_ID).filter(|id| !id.is_empty())
    }

    /// Refuses a virtual machine that runs: its disk changes while it is read, or is locked.
    ///
    /// # Errors
    /// [`Kind::InvalidState`].
    pub fn require_powered_off(&self) -> Result<()> {
        if self.power_state == "poweredOff" {
            return Ok(());
        }
        Err(Error::new(
            Kind::InvalidState,
            format!("{} ({}) is {}", self.name, self.moref, self.power_state),
        )
        .with_object(&self.moref.value)
        .with_fault("InvalidPowerState")
        .remedy("power it off first"))
    }

    /// The folder of its own (`[ds1] volume-1/`), where the server says which that is.
    pub fn home(&self) -> Option<&str> {
        let folder = folder_of(self.vmx.as_deref()?);
        // The root of a datastore belongs to nobody.
        folder.ends_with('/').then_some(folder)
    }

    /// The value of a key of its extra configuration.
    pub fn extra(&self, key: &str) -> Option<&str> {
        self.extra_config
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }
}

/// The datacenter an object is in, found by going up its parents.
///
/// # Errors
/// [`Kind::NotFound`] when there is none above.
pub async fn datacenter_of(session: Session, moref: Moref) -> Result<Moref> {
    /// No inventory is this deep; a server that says so is not followed for ever.
    const DEEPEST: usize = 64;
    let mut at = moref.clone();
    for _ in 0..DEEPEST {
        if at.kind == "Datacenter" {
            return Ok(at);
        }
        // In a vApp, a virtual machine has no parent but the vApp.
        let paths: &[&str] = match at.kind.as_str() {
            "VirtualMachine" => &["parent", "parentVApp"],
            _ => &["parent"],
        };
        let above = property::read(&session, &at, paths).await?;
        match above.moref("parent").or_else(|| above.moref("parentVApp")) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    Err(Error::new(
        Kind::NotFound,
        format!("{moref} is in no datacenter"),
    ))
}
