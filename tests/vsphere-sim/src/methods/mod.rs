//! The methods: one function for each, found by its name.

mod browse;
mod clone;
mod create;
mod datastore_file;
mod devices;
mod disk_info;
mod entity;
mod export;
mod import;
mod lease;
mod ovf;
mod privilege;
mod property;
mod reconfigure;
mod register;
mod search;
mod select;
mod service;
mod snapshot;
mod update;
mod uploaded;
mod view;
mod virtual_disk;

use std::sync::Arc;

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref, Value, object};
use crate::world::task::{self, TaskSpec, Work};
use crate::world::{Shared, World};

/// Who calls, and what the answer carries beside the result.
pub struct Context {
    pub shared: Arc<Shared>,
    /// The key of the session, where the request has the cookie of one.
    pub session: Option<String>,
    pub user_agent: String,
    /// The cookie that the answer sets.
    pub new_cookie: Option<String>,
}

/// A method's result: nothing, or the value that it returns.
pub type Answer = Outcome<Option<Value>>;

impl Context {
    pub fn session_key(&self) -> Outcome<&str> {
        self.session.as_deref().ok_or_else(Fault::not_authenticated)
    }

    fn user(&self) -> String {
        let world = self.shared.read();
        let session = self.session.as_deref().and_then(|key| world.session(key));
        session
            .map(|session| session.user.clone())
            .unwrap_or_default()
    }

    /// Begins a task that locks the machines given; the answer is its reference.
    fn spawn(&self, call: &Call, description_id: &str, locks: &[Ref], work: Work) -> Answer {
        let user = self.user();
        let entity = self
            .shared
            .read()
            .nodes
            .contains_key(&call.this.id)
            .then_some(&call.this);
        let spec = TaskSpec {
            method: &call.method.name,
            description_id,
            entity,
            user: &user,
            locks,
        };
        task::spawn(&self.shared, &spec, work).map(|task| Some(task.into()))
    }
}

/// The methods that need no session.
pub fn is_open(method: &str) -> bool {
    matches!(method, "RetrieveServiceContent" | "Login")
}

pub async fn dispatch(context: &mut Context, call: &Call) -> Answer {
    let method = call.method.name.as_str();
    if !is_open(method) {
        context.session_key()?;
        privilege::check(context, call)?;
    }
    if call.this.kind == "HttpNfcLease" {
        let session = context.session_key()?;
        context.shared.read().lease_of(&call.this, session)?;
    }
    match method {
        "WaitForUpdatesEx" | "WaitForUpdates" | "CheckForUpdates" => {
            update::wait(context, call).await
        }
        "HttpNfcLeaseComplete" => lease::complete(context, call).await,
        _ => immediate(context, call),
    }
}

fn immediate(context: &mut Context, call: &Call) -> Answer {
    match call.method.name.as_str() {
        "RetrieveServiceContent" => service::content(context),
        "CurrentTime" => service::current_time(context),
        "Login" => service::login(context, call),
        "Logout" => service::logout(context),
        "SessionIsActive" => service::session_is_active(context, call),
        "TerminateSession" => service::terminate_session(context, call),
        "HasPrivilegeOnEntities" | "HasUserPrivilegeOnEntities" => {
            privilege::has_privilege(context, call)
        }
        "RetrieveEntityPermissions" | "RetrieveAllPermissions" => privilege::permissions(context),
        "FetchUserPrivilegeOnEntities" => privilege::fetch_privileges(context, call),
        "Fetch" => property::fetch(context, call),
        "RetrieveProperties" => property::retrieve(context, call),
        "RetrievePropertiesEx" => property::retrieve_ex(context, call),
        "ContinueRetrievePropertiesEx" => property::continue_ex(context, call),
        "CancelRetrievePropertiesEx" => property::cancel_ex(context, call),
        "CreateFilter" => update::create_filter(context, call),
        "DestroyPropertyFilter" => update::destroy_filter(context, call),
        "CreatePropertyCollector" => update::create_collector(context),
        "DestroyPropertyCollector" => update::destroy_collector(context, call),
        "CancelWaitForUpdates" => update::cancel_wait(context),
        "CreateContainerView" => view::container(context, call),
        "CreateListView" => view::list(context, call),
        "ModifyListView" => view::modify(context, call),
        "ResetListView" => view::reset(context, call),
        "DestroyView" => view::destroy(context, call),
        "FindByUuid" => search::find_by_uuid(context, call),
        "FindAllByUuid" => search::find_all_by_uuid(context, call),
        "FindByInventoryPath" => search::find_by_inventory_path(context, call),
        "FindByDatastorePath" => search::find_by_datastore_path(context, call),
        "FindChild" => search::find_child(context, call),
        "CreateFolder" => entity::create_folder(context, call),
        "CreateResourcePool" => entity::create_pool(context, call),
        "MoveIntoFolder_Task" => entity::move_into_folder(context, call),
        "Rename_Task" => entity::rename(context, call),
        "Destroy_Task" => entity::destroy(context, call),
        "UnregisterVM" => entity::unregister(context, call),
        "RegisterVM_Task" => register::register(context, call),
        "MarkAsTemplate" => register::mark_as_template(context, call),
        "MarkAsVirtualMachine" => register::mark_as_machine(context, call),
        "UpgradeVM_Task" => register::upgrade(context, call),
        "CreateDescriptor" => ovf::create_descriptor(context, call),
        "CreateImportSpec" => ovf::create_import_spec(context, call),
        "PowerOnVM_Task" => entity::power(context, call, true),
        "PowerOffVM_Task" => entity::power(context, call, false),
        "CancelTask" => context
            .shared
            .write()
            .cancel_task(&call.this)
            .map(|()| None),
        "CreateVM_Task" => create::create_vm(context, call),
        "CreateChildVM_Task" => create::create_child(context, call),
        "ReconfigVM_Task" => reconfigure::reconfigure(context, call),
        "CloneVM_Task" => clone::clone_vm(context, call),
        "RelocateVM_Task" => clone::relocate(context, call),
        "CreateSnapshot_Task" => snapshot::create(context, call),
        "RemoveSnapshot_Task" => snapshot::remove(context, call),
        "RemoveAllSnapshots_Task" => snapshot::remove_all(context, call),
        "RevertToSnapshot_Task" => snapshot::revert(context, call),
        "RevertToCurrentSnapshot_Task" => snapshot::revert_to_current(context, call),
        "ConsolidateVMDisks_Task" => context.spawn(
            call,
            "VirtualMachine.consolidateDisks",
            &[],
            Box::new(|_, _| Ok(None)),
        ),
        "ExportVm" => export::export_vm(context, call),
        "ExportSnapshot" => export::export_snapshot(context, call),
        "ImportVApp" => import::import_vapp(context, call),
        "HttpNfcLeaseProgress" => lease::progress(context, call),
        "HttpNfcLeaseAbort" => lease::abort(context, call),
        "HttpNfcLeaseGetManifest" => lease::manifest(context, call),
        "HttpNfcLeaseSetManifestChecksumType" => lease::set_checksum_type(context, call),
        "CopyVirtualDisk_Task" => virtual_disk::copy(context, call),
        "MoveVirtualDisk_Task" => virtual_disk::relocate(context, call),
        "DeleteVirtualDisk_Task" => virtual_disk::delete(context, call),
        "CreateVirtualDisk_Task" => virtual_disk::create(context, call),
        "ExtendVirtualDisk_Task" => virtual_disk::extend(context, call),
        "InflateVirtualDisk_Task" => virtual_disk::inflate(context, call),
        "EagerZeroVirtualDisk_Task" => virtual_disk::eager_zero(context, call),
        "QueryVirtualDiskInfo_Task" => disk_info::query(context, call),
        "QueryVirtualDiskUuid" => virtual_disk::query_uuid(context, call),
        "SetVirtualDiskUuid" => virtual_disk::set_uuid(context, call),
        "MakeDirectory" => datastore_file::make_directory(context, call),
        "DeleteDatastoreFile_Task" => datastore_file::delete(context, call),
        "MoveDatastoreFile_Task" => datastore_file::relocate(context, call),
        "CopyDatastoreFile_Task" => datastore_file::copy(context, call),
        "SearchDatastore_Task" => browse::search(context, call, false),
        "SearchDatastoreSubFolders_Task" => browse::search(context, call, true),
        method => Err(Fault::not_supported(&format!(
            "this simulator has no {method}"
        ))),
    }
}

/// Takes a snapshot from behind the endpoint.
pub fn take_snapshot(world: &mut World, machine: &Ref, name: &str) -> Outcome<Ref> {
    snapshot::take(world, machine, name, "")
}

/// Makes a linked clone from behind the endpoint, beside its source.
pub fn linked_clone(shared: &Arc<Shared>, source: &Ref, name: &str) -> Outcome<Ref> {
    let (folder, snapshot) = {
        let mut world = shared.write();
        let parent = world.node(source)?.parent.clone();
        let folder = parent.ok_or_else(|| Fault::not_found(source))?;
        (folder, snapshot::take(&mut world, source, name, "")?)
    };
    let location =
        object("VirtualMachineRelocateSpec").with("diskMoveType", "createNewChildDiskBacking");
    let spec = object("VirtualMachineCloneSpec")
        .with("location", location)
        .with("snapshot", &snapshot);
    clone::copy_machine(shared, source, &folder, name, &spec)
}

pub use privilege::roles;

/// A required text argument: the tables have seen to it that it is there.
fn text<'c>(arguments: &'c Object, name: &str) -> Outcome<&'c str> {
    arguments
        .text(name)
        .ok_or_else(|| Fault::invalid_argument(name))
}

fn object_argument<'c>(arguments: &'c Object, name: &str) -> Outcome<&'c Object> {
    arguments
        .object(name)
        .ok_or_else(|| Fault::invalid_argument(name))
}

fn reference_argument<'c>(arguments: &'c Object, name: &str) -> Outcome<&'c Ref> {
    arguments
        .reference(name)
        .ok_or_else(|| Fault::invalid_argument(name))
}
