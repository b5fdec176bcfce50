//! What a user may do: everything that a storage administrator needs, less what the options take away.

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Value, object};
use crate::world::World;

use super::{Answer, Context};

const PRIVILEGES: [&str; 27] = [
    "Datastore.AllocateSpace",
    "Datastore.Browse",
    "Datastore.DeleteFile",
    "Datastore.FileManagement",
    "Folder.Create",
    "Folder.Delete",
    "Resource.AssignVMToPool",
    "Sessions.TerminateSession",
    "Sessions.ValidateSession",
    "StorageProfile.View",
    "System.Anonymous",
    "System.Read",
    "System.View",
    "VApp.Export",
    "VApp.Import",
    "VirtualMachine.Config.AddExistingDisk",
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.RemoveDisk",
    "VirtualMachine.Config.Rename",
    "VirtualMachine.Config.Settings",
    "VirtualMachine.Inventory.Create",
    "VirtualMachine.Inventory.Delete",
    "VirtualMachine.Inventory.Move",
    "VirtualMachine.Provisioning.GetVmFiles",
];

/// The privilege that a method needs on the object that it is called on.
fn needed(method: &str) -> &'static str {
    match method {
        "CreateFolder" => "Folder.Create",
        "CreateVM_Task" => "VirtualMachine.Inventory.Create",
        "Destroy_Task" => "VirtualMachine.Inventory.Delete",
        "MoveIntoFolder_Task" => "VirtualMachine.Inventory.Move",
        "Rename_Task" => "VirtualMachine.Config.Rename",
        "ReconfigVM_Task" => "VirtualMachine.Config.Settings",
        "ExportVm" | "ExportSnapshot" => "VApp.Export",
        "ImportVApp" => "VApp.Import",
        "TerminateSession" => "Sessions.TerminateSession",
        "CopyVirtualDisk_Task"
        | "MoveVirtualDisk_Task"
        | "DeleteVirtualDisk_Task"
        | "ExtendVirtualDisk_Task"
        | "SetVirtualDiskUuid"
        | "MakeDirectory"
        | "DeleteDatastoreFile_Task"
        | "MoveDatastoreFile_Task" => "Datastore.FileManagement",
        "SearchDatastore_Task" | "SearchDatastoreSubFolders_Task" => "Datastore.Browse",
        _ => "System.View",
    }
}

fn is_granted(world: &World, privilege: &str) -> bool {
    PRIVILEGES.contains(&privilege)
        && !world
            .options
            .denied_privileges
            .iter()
            .any(|denied| denied == privilege)
}

/// Refuses a call that the user has no right to make.
pub fn check(context: &Context, call: &Call) -> Outcome<()> {
    let privilege = needed(&call.method.name);
    if is_granted(&context.shared.read(), privilege) {
        return Ok(());
    }
    Err(Fault::no_permission(&call.this, privilege))
}

pub fn has_privilege(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let arguments = &call.arguments;
    let entities = arguments
        .references("entity")
        .chain(arguments.references("entities"));
    let answer = entities.map(|entity| {
        let each = arguments.texts("privId").map(|id| {
            object("PrivilegeAvailability")
                .with("privId", id)
                .with("isGranted", is_granted(&world, id))
        });
        object("EntityPrivilege")
            .with("entity", entity)
            .with("privAvailability", each.collect::<Vec<Object>>())
    });
    Ok(Some(answer.collect::<Vec<Object>>().into()))
}

pub fn fetch_privileges(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let answer = call.arguments.references("entities").map(|entity| {
        let all = PRIVILEGES.iter().filter(|id| is_granted(&world, id));
        let all: Vec<Value> = all.map(|id| Value::from(*id)).collect();
        object("UserPrivilegeResult")
            .with("entity", entity)
            .with("privileges", all)
    });
    Ok(Some(answer.collect::<Vec<Object>>().into()))
}

/// The one role that there is: the only user's, at the root.
const ROLE: i64 = -1;

pub fn permissions(context: &Context) -> Answer {
    let world = context.shared.read();
    let permission = object("Permission")
        .with("entity", &world.names.root)
        .with("principal", &world.options.username)
        .with("group", false)
        .with("roleId", ROLE)
        .with("propagate", true);
    Ok(Some(vec![permission].into()))
}

pub fn roles(world: &World) -> Vec<Object> {
    let granted = PRIVILEGES.iter().filter(|id| is_granted(world, id));
    let granted: Vec<Value> = granted.map(|id| Value::from(*id)).collect();
    let about = object("Description")
        .with("label", "Administrator")
        .with("summary", "Full access rights");
    let role = object("AuthorizationRole")
        .with("roleId", ROLE)
        .with("system", true)
        .with("name", "Admin")
        .with("info", about)
        .with("privilege", granted);
    vec![role]
}
