//! The backing of a volume: found, and described.

use super::device::{self, Disk};
use super::virtual_disk::folder_of;
use super::{Moref, Session, property};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;
use crate::volume::Volume;

/// The key under which OpenStack's volume service notes a volume's id.
const CINDER_VOLUME_ID: &str = "cinder.volume.id";

/// A virtual machine that holds a volume.
#[derive(Clone, Debug)]
pub struct Backing {
    /// Its managed object reference.
    pub moref: Moref,
    /// What the server calls this state of its configuration.
    pub change_version: Option<String>,
    /// Its name, unescaped.
    pub name: String,
    /// What the volume's id is kept as.
    pub instance_uuid: Option<String>,
    /// `poweredOff`, `poweredOn` or `suspended`.
    pub power_state: String,
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
}

const DESCRIPTION: [&str; 13] = [
    "name",
    "config.changeVersion",
    "config.instanceUuid",
    "config.template",
    "config.hardware.device",
    "config.extraConfig",
    "config.files.vmPathName",
    "runtime.powerState",
    "runtime.host",
    "snapshot",
    "parent",
    "resourcePool",
    "summary.storage.committed",
];

/// The backing of `volume`, looked for by moref, then by id, then by exact name.
///
/// # Errors
/// [`Kind::NotFound`] for a moref that is none; [`Kind::InvalidArgument`] for an ambiguous name.
pub async fn find(session: Session, volume: Volume) -> Result<Option<Backing>> {
    let found = match (&volume.moref, &volume.id) {
        (Some(moref), _) => Some(Moref::new("VirtualMachine", moref)),
        (None, Some(id)) => match by_instance_uuid(&session, id).await? {
            Some(moref) => Some(moref),
            None => by_name(&session, &volume).await?,
        },
        (None, None) => by_name(&session, &volume).await?,
    };
    match found {
        Some(moref) => Ok(Some(describe(session, moref).await?)),
        None => Ok(None),
    }
}

async fn by_instance_uuid(session: &Session, id: &str) -> Result<Option<Moref>> {
    let Some(index) = session.content().search_index.clone() else {
        return Ok(None);
    };
    let answer = session
        .call_idempotent(
            &index,
            "FindAllByUuid",
            vec![
                Element::new("uuid").text(id),
                Element::new("vmSearch").text(true),
                Element::new("instanceUuid").text(true),
            ],
        )
        .await
        .with_context(|| format!("look up instance UUID {id}"))?;
    let found: Vec<Moref> = answer
        .children_named("returnval")
        .filter_map(Moref::from_node)
        .collect();
    one(found, || format!("instance UUID {id}"))
}

async fn by_name(session: &Session, volume: &Volume) -> Result<Option<Moref>> {
    if volume.name.is_empty() {
        return Ok(None);
    }
    let cinder_id = format!("config.extraConfig[\"{CINDER_VOLUME_ID}\"]");
    let all = property::below(
        session,
        &session.content().root_folder,
        "VirtualMachine",
        &["name"],
    )
    .await
    .context("list the virtual machines")?;
    let named: Vec<Moref> = all
        .into_iter()
        .filter(|(_, vm)| vm.text("name").map(unescape).as_deref() == Some(&*volume.name))
        .map(|(moref, _)| moref)
        .collect();
    let mut found = Vec::new();
    for moref in named {
        let vm = property::read(session, &moref, &[&cinder_id]).await?;
        // Another volume's backing that happens to bear the name is not this volume's.
        let noted = vm
            .get(&cinder_id)
            .and_then(|option| option.text_at("value"));
        match (&volume.id, noted) {
            (Some(id), Some(other)) if !id.eq_ignore_ascii_case(other) => {}
            _ => found.push(moref),
        }
    }
    one(found, || format!("name {:?}", volume.name))
}

fn one(mut found: Vec<Moref>, what: impl Fn() -> String) -> Result<Option<Moref>> {
    if found.len() > 1 {
        let morefs: Vec<&str> = found.iter().map(|m| m.value.as_str()).collect();
        return Err(Error::new(
            Kind::InvalidArgument,
            format!(
                "{} virtual machines have {}: {}",
                found.len(),
                what(),
                morefs.join(", ")
            ),
        )
        .remedy("name the backing by its moref"));
    }
    Ok(found.pop())
}

/// Inventory names come with `%`, `/` and `\` escaped.
fn unescape(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let known = match escape.get(1..3).map(str::to_ascii_lowercase).as_deref() {
            Some("2f") => Some('/'),
            Some("5c") => Some('\\'),
            Some("25") => Some('%'),
            _ => None,
        };
        plain.push(known.unwrap_or('%'));
        rest = &escape[if known.is_some() { 3 } else { 1 }..];
    }
    plain.push_str(rest);
    plain
}

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
    Ok(Backing {
        name: vm.text("name").map(unescape).unwrap_or_default(),
        change_version: vm.text("config.changeVersion").map(str::to_owned),
        instance_uuid: vm.text("config.instanceUuid").map(str::to_owned),
        power_state: vm
            .text("runtime.powerState")
            .unwrap_or("poweredOff")
            .to_owned(),
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
        moref,
    })
}

impl Backing {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_names_are_unescaped() {
        assert_eq!(unescape("a%2fb%5Cc%25d"), "a/b\\c%d");
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%é"), "%zz%é");
    }
}
