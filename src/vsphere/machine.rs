//! Verbs on virtual machines: create, import, export, reconfigure, destroy.

use super::placement::Site;
use super::task::{self, Repeat};
use super::{Moref, Session, device, fault, property};
use crate::error::{Context, Error, Kind, Result};
use crate::log::Level;
use crate::transport::soap::{Element, Node};
use crate::volume::{AdapterType, DiskType};

/// A virtual machine to be made: powered off, one empty disk, one controller.
#[derive(Clone, Debug)]
pub struct NewMachine {
    /// Its name.
    pub name: String,
    /// The volume's id.
    pub instance_uuid: Option<String>,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// How the disk is allocated.
    pub disk_type: DiskType,
    /// The disk's controller.
    pub adapter: AdapterType,
    /// The id of a storage profile.
    pub profile: Option<String>,
    /// Extra configuration.
    pub extra_config: Vec<(String, String)>,
}

/// Up to here the oldest hardware every supported host runs is enough, and a BusLogic controller.
pub const LARGEST_DISK_OF_VMX_08: u64 = (2 << 40) - 512;

/// The first hardware version with larger disks.
pub const FIRST_WITH_LARGER_DISKS: u32 = 10;

impl NewMachine {
    /// The `VirtualMachineConfigSpec`, in the order of the schema.
    fn config(&self, name: &str, site: &Site) -> Element {
        let version = if self.capacity > LARGEST_DISK_OF_VMX_08 {
            "vmx-10"
        } else {
            "vmx-08"
        };
        let mut config = Element::new(name)
            .with(Element::inventory_name("name", &self.name))
            .with_text("version", version)
            .maybe(
                self.instance_uuid
                    .as_ref()
                    .map(|id| Element::new("instanceUuid").text(id)),
            )
            .with_text("guestId", "otherGuest")
            .with(
                Element::new("files")
                    .with_text("vmPathName", format_args!("[{}]", site.datastore_name)),
            )
            .with_text("numCPUs", 1)
            .with_text("memoryMB", 128);
        let profile_id = self.profile.as_deref();
        for change in device::new_disk(self.capacity, self.disk_type, self.adapter, profile_id) {
            config = config.with(change);
        }
        for (key, value) in &self.extra_config {
            config = config.with(extra_config(key, value));
        }
        config.maybe(profile_id.map(|id| profile("vmProfile", id)))
    }
}

/// A storage profile, as the element `name`.
pub(super) fn profile(name: &str, id: &str) -> Element {
    Element::typed(name, "VirtualMachineDefinedProfileSpec").with_text("profileId", id)
}

fn extra_config(key: &str, value: &str) -> Element {
    Element::new("extraConfig").with_text("key", key).with(
        Element::new("value")
            .attribute("xsi:type", "xsd:string")
            .text(value),
    )
}

/// Makes a virtual machine with an empty disk.
///
/// # Errors
/// [`Kind::Exists`] when the name is taken, [`Kind::NoSpace`], and what else the server answers.
pub async fn create(session: Session, new: NewMachine, site: Site) -> Result<Moref> {
    let what = format!(
        "create virtual machine {:?} on {}",
        new.name, site.datastore_name
    );
    let mut arguments = vec![new.config("config", &site)];
    let method = match site.is_in_vapp() {
        true => "CreateChildVM_Task",
        false => {
            arguments.push(Element::moref("pool", &site.resource_pool));
            "CreateVM_Task"
        }
    };
    let arguments = with_host(arguments, &site);
    let attempt = async {
        let again = Repeat::WhereUndone;
        task::perform(&session, site.parent(), method, arguments, again).await
    };
    attempt
        .await
        .and_then(|result| {
            result
                .as_ref()
                .and_then(Moref::from_node)
                .ok_or_else(|| Error::new(Kind::Fault, "the task names no virtual machine"))
        })
        .context(what)
}

/// Asks for the lease under which a virtual machine with one disk is imported.
///
/// # Errors
/// As [`create`].
pub async fn import(session: Session, new: NewMachine, site: Site) -> Result<Moref> {
    let what = format!(
        "import virtual machine {:?} to {}",
        new.name, site.datastore_name
    );
    let spec = new.config("configSpec", &site);
    let mut arguments = vec![Element::typed("spec", "VirtualMachineImportSpec").with(spec)];
    // What is imported into a vApp is in no folder, and none may be given (govmomi#1956).
    if !site.is_in_vapp() {
        arguments.push(Element::moref("folder", &site.folder));
    }
    session
        .call(
            &site.resource_pool,
            "ImportVApp",
            with_host(arguments, &site),
        )
        .await
        .and_then(|answer| super::returned(&answer))
        .context(what)
}

/// Asks for the lease under which the disks of a virtual machine are exported.
///
/// # Errors
/// [`Kind::InvalidState`] while it runs or is busy, and what else the server answers.
pub async fn export(session: Session, moref: Moref) -> Result<Moref> {
    session
        .call(&moref, "ExportVm", Vec::new())
        .await
        .and_then(|answer| super::returned(&answer))
        .with_context(|| format!("export virtual machine {moref}"))
        .map_err(|error| error.with_object(&moref.value))
}

fn with_host(mut arguments: Vec<Element>, site: &Site) -> Vec<Element> {
    arguments.extend(site.host.as_ref().map(|host| Element::moref("host", host)));
    arguments
}

/// What a reconfiguration changes; the server applies all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The state of the configuration that they are for: in another one the server refuses them
    /// (ConcurrentAccess).
    pub of_version: Option<String>,
    /// The new name.
    pub name: Option<String>,
    /// The new instance UUID.
    pub instance_uuid: Option<String>,
    /// Changes of devices that stay.
    pub edits: Vec<Element>,
    /// Devices that go or come, in order.
    pub moves: Vec<Element>,
    /// Extra configuration; an empty value removes the key.
    pub extra_config: Vec<(String, String)>,
    /// The id of a storage profile.
    pub profile: Option<String>,
}

/// Applies `changes` in one atomic ReconfigVM_Task.
///
/// # Errors
/// What the server answers; nothing is changed then, unless the answer was lost.
pub async fn reconfigure(session: Session, moref: Moref, changes: Changes) -> Result<()> {
    // Devices are edited by their keys, but come and go once only.
    let repeatable = changes.moves.is_empty();
    let mut spec = Element::new("spec")
        .maybe(
            changes
                .of_version
                .map(|version| Element::new("changeVersion").text(version)),
        )
        .maybe(
            changes
                .name
                .map(|name| Element::inventory_name("name", &name)),
        )
        .maybe(
            changes
                .instance_uuid
                .map(|id| Element::new("instanceUuid").text(id)),
        );
    for change in changes.edits.into_iter().chain(changes.moves) {
        spec = spec.with(change);
    }
    for (key, value) in &changes.extra_config {
        spec = spec.with(extra_config(key, value));
    }
    let spec = spec.maybe(changes.profile.map(|id| profile("vmProfile", &id)));
    let attempt = async {
        let again = match repeatable {
            true => Repeat::Always,
            false => Repeat::WhereUndone,
        };
        task::perform(&session, &moref, "ReconfigVM_Task", vec![spec], again).await
    };
    told(attempt.await, "reconfigure", &moref)
}

/// Sets a key of the extra configuration, in one attempt: a virtual machine that is busy, or a
/// server that does not answer, is not waited for.
///
/// # Errors
/// What the server answers.
pub async fn note(session: &Session, moref: &Moref, key: &str, value: &str) -> Result<()> {
    let spec = Element::new("spec").with(extra_config(key, value));
    let answer = session
        .call_once(moref, "ReconfigVM_Task", vec![spec])
        .await?;
    let outcome = task::finish(session, &super::returned(&answer)?).await;
    told(outcome, "reconfigure", moref)
}

/// Waits for changes whose answers were lost: the server makes one after the other, and this one
/// changes nothing. What it cannot wait for, nobody can.
pub async fn come_to_rest(session: &Session, moref: &Moref) {
    let nothing = Changes::default();
    if let Err(error) = reconfigure(session.clone(), moref.clone(), nothing).await {
        session.log().record(Level::Debug, || error.to_string());
    }
}

/// Destroys a virtual machine with the disks attached to it. One that is gone is destroyed.
///
/// # Errors
/// What the server answers.
pub async fn destroy(session: Session, moref: Moref) -> Result<()> {
    let again = Repeat::Always;
    match task::perform(&session, &moref, "Destroy_Task", Vec::new(), again).await {
        Err(error) if fault::is_gone(&error, &moref) => Ok(()),
        Err(error) if error.is_retryable() && error.fault().is_none() => {
            // The task came to nobody knows what: the machine itself tells.
            match property::read(&session, &moref, &["name"]).await {
                Err(gone) if fault::is_gone(&gone, &moref) => Ok(()),
                _ => told(Err(error), "destroy", &moref),
            }
        }
        outcome => told(outcome, "destroy", &moref),
    }
}

/// Takes a virtual machine out of the inventory; all its files stay. One that is gone is taken out.
///
/// # Errors
/// What the server answers.
pub async fn unregister(session: Session, moref: Moref) -> Result<()> {
    let answer = session
        .call_idempotent(&moref, "UnregisterVM", Vec::new())
        .await;
    match answer {
        Err(error) if fault::is_gone(&error, &moref) => Ok(()),
        outcome => told(outcome.map(Some), "unregister", &moref),
    }
}

/// The datastore paths of a virtual machine's own files that are no disks: configuration, NVRAM, logs.
///
/// # Errors
/// Those of the read.
pub async fn plain_files(session: &Session, moref: &Moref) -> Result<Vec<String>> {
    const KINDS: [&str; 7] = [
        "config",
        "extendedConfig",
        "nvram",
        "snapshotList",
        "snapshotManifestList",
        "log",
        "stat",
    ];
    let vm = property::read(session, moref, &["layoutEx.file"]).await?;
    let files = vm.get("layoutEx.file").map_or(&[][..], |all| &all.children);
    let plain = files.iter().filter(|file| {
        let kind = file.text_at("type").unwrap_or_default();
        KINDS.contains(&kind)
    });
    let paths = plain.filter_map(|file| file.text_at("name"));
    Ok(paths.map(str::to_owned).collect())
}

fn told(outcome: Result<Option<Node>>, what: &str, moref: &Moref) -> Result<()> {
    outcome
        .map(drop)
        .with_context(|| format!("{what} virtual machine {moref}"))
        .map_err(|error| error.with_object(&moref.value))
}
