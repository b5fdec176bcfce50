//! The service instance, logging in and out, privileges.

use crate::properties::service as properties;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Value, object};

use super::{Answer, Context, text};

/// Everything that a storage administrator may do here.
const PRIVILEGES: [&str; 24] = [
    "Datastore.AllocateSpace",
    "Datastore.Browse",
    "Datastore.DeleteFile",
    "Datastore.FileManagement",
    "Folder.Create",
    "Folder.Delete",
    "Resource.AssignVMToPool",
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

pub fn content(context: &Context) -> Answer {
    Ok(Some(properties::content(&context.shared.read()).into()))
}

pub fn current_time(context: &Context) -> Answer {
    Ok(Some(context.shared.read().clock.text().into()))
}

pub fn login(context: &mut Context, call: &Call) -> Answer {
    let (user, password) = (
        text(&call.arguments, "userName")?,
        text(&call.arguments, "password")?,
    );
    let mut world = context.shared.write();
    let right = user == world.options.username && password == world.options.password;
    // Who has logged in already cannot do it again on the same session.
    if !right || context.session.is_some() {
        return Err(Fault::new(
            "InvalidLogin",
            "Cannot complete login due to an incorrect user name or password.",
        ));
    }
    if world.sessions.len() >= world.options.session_limit {
        // vCenter answers 503 on the connection beyond its limit of sessions, hostd with this fault.
        return Err(Fault::new(
            "ResourceNotAvailable",
            "The maximum number of sessions has been exceeded.",
        )
        .with("containerType", "SessionManager")
        .with("type", "Session"));
    }
    let key = world.open_session(user, &context.user_agent);
    let session = world.session(&key).ok_or_else(Fault::not_authenticated)?;
    context.new_cookie = Some(session.cookie.clone());
    Ok(Some(session.describe().into()))
}

pub fn logout(context: &mut Context) -> Answer {
    let key = context.session_key()?.to_owned();
    context.shared.write().close_session(&key);
    Ok(None)
}

pub fn session_is_active(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let (key, user) = (
        text(&call.arguments, "sessionID")?,
        text(&call.arguments, "userName")?,
    );
    Ok(Some(
        world
            .session(key)
            .is_some_and(|session| session.user == user)
            .into(),
    ))
}

pub fn terminate_session(context: &Context, call: &Call) -> Answer {
    let own = context.session_key()?;
    let mut world = context.shared.write();
    for key in call.arguments.texts("sessionId") {
        if key == own {
            return Err(Fault::invalid_argument("sessionId"));
        }
        if world.session(key).is_none() {
            return Err(Fault::new("NotFound", "The session was not found."));
        }
        world.close_session(key);
    }
    Ok(None)
}

pub fn has_privilege(call: &Call) -> Answer {
    let entities = call
        .arguments
        .references("entity")
        .chain(call.arguments.references("entities"));
    let answer = entities.map(|entity| {
        let each = call.arguments.texts("privId").map(|id| {
            object("PrivilegeAvailability")
                .with("privId", id)
                .with("isGranted", PRIVILEGES.contains(&id))
        });
        object("EntityPrivilege")
            .with("entity", entity)
            .with("privAvailability", each.collect::<Vec<Object>>())
    });
    Ok(Some(answer.collect::<Vec<Object>>().into()))
}

pub fn fetch_privileges(call: &Call) -> Answer {
    let answer = call.arguments.references("entities").map(|entity| {
        let all: Vec<Value> = PRIVILEGES.iter().map(|id| Value::from(*id)).collect();
        object("UserPrivilegeResult")
            .with("entity", entity)
            .with("privileges", all)
    });
    Ok(Some(answer.collect::<Vec<Object>>().into()))
}
