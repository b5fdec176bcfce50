//! The properties of the service instance, of sessions' objects, and of leases.

use crate::options::Mode;
use crate::wire::{Fault, Object, Outcome, Ref, Value, object, schema};
use crate::world::World;
use crate::world::lease::{Lease, LeaseKind, LeaseState};
use crate::world::session::View;

/// The content of the service instance.
pub fn content(world: &World) -> Object {
    let names = &world.names;
    let mut content = object("ServiceContent")
        .with("rootFolder", &names.root)
        .with("propertyCollector", &names.property_collector)
        .with("viewManager", &names.view_manager)
        .with("about", about(world))
        .with("sessionManager", &names.session_manager)
        .with("authorizationManager", &names.authorization_manager)
        .with("taskManager", &names.task_manager)
        .with("searchIndex", &names.search_index)
        .with("fileManager", &names.file_manager)
        .with("virtualDiskManager", &names.virtual_disk_manager);
    for (name, reference) in &names.others {
        content.put(name, reference);
    }
    content
}

pub fn about(world: &World) -> Object {
    let about = match world.options.mode {
        Mode::VCenter => object("AboutInfo")
            .with("name", "VMware vCenter Server")
            .with(
                "fullName",
                "VMware vCenter Server 8.0.2 build-22385739 (simulated)",
            )
            .with("osType", "linux-x64")
            .with("productLineId", "vpx")
            .with("apiType", "VirtualCenter")
            .with("instanceUuid", "1f9dcd3e-0000-4000-8000-73696d756c61"),
        Mode::Esxi => object("AboutInfo")
            .with("name", "VMware ESXi")
            .with("fullName", "VMware ESXi 8.0.2 build-22380479 (simulated)")
            .with("osType", "vmnix-x86")
            .with("productLineId", "embeddedEsx")
            .with("apiType", "HostAgent"),
    };
    about
        .with("vendor", "VMware, Inc.")
        .with("version", "8.0.2")
        .with("build", "22385739")
        .with("apiVersion", &world.options.api_version)
}

impl World {
    pub fn is_singleton(&self, target: &Ref) -> bool {
        let names = &self.names;
        let known = [
            &names.property_collector,
            &names.view_manager,
            &names.session_manager,
            &names.authorization_manager,
            &names.task_manager,
            &names.search_index,
            &names.file_manager,
            &names.virtual_disk_manager,
            &names.service_instance,
        ];
        known.contains(&target)
            || names
                .others
                .iter()
                .any(|(_, reference)| reference == target)
    }
}

pub fn singleton(world: &World, session: &str, target: &Ref, name: &str) -> Outcome<Option<Value>> {
    if !world.is_singleton(target) {
        return Err(Fault::not_found(target));
    }
    Ok(match (target.kind.as_str(), name) {
        ("ServiceInstance", "content") => Some(content(world).into()),
        ("ServiceInstance", "serverClock") => Some(world.clock.text().into()),
        ("SessionManager", "currentSession") => world
            .session(session)
            .map(|session| session.describe(&world.clock).into()),
        ("SessionManager", "sessionList") if world.denies("Sessions.TerminateSession") => {
            return Err(Fault::no_permission(target, "Sessions.TerminateSession"));
        }
        ("SessionManager", "sessionList") => Some(
            world
                .sessions
                .iter()
                .map(|session| session.describe(&world.clock))
                .collect::<Vec<Object>>()
                .into(),
        ),
        ("SessionManager", "defaultLocale") => Some("en".into()),
        ("AuthorizationManager", "roleList") => Some(crate::methods::roles(world).into()),
        ("TaskManager", "recentTask") => Some(Value::refs(
            world.tasks.values().map(|task| task.reference.clone()),
        )),
        ("TaskManager", "maxCollector") => Some(32.into()),
        _ => None,
    })
}

pub fn lease(world: &World, lease: &Lease, name: &str) -> Option<Value> {
    Some(match name {
        "state" => lease.state.word().into(),
        "info" if lease.state == LeaseState::Ready => world.lease_info(lease).into(),
        "error" => return lease.error.as_ref().map(|fault| fault.localized().into()),
        "initializeProgress" if lease.state == LeaseState::Initializing => {
            return lease.initialized.map(Value::from);
        }
        "initializeProgress" => 100.into(),
        "transferProgress" => lease.percent.into(),
        "mode" => "pushOrGet".into(),
        "capabilities" => object("HttpNfcLeaseCapabilities")
            .with("pullModeSupported", lease.kind == LeaseKind::Import)
            .with("corsSupported", false)
            .into(),
        _ => return None,
    })
}

/// What a view shows.
pub fn shown(world: &World, view: &View) -> Vec<Ref> {
    match view {
        View::List(references) => references.clone(),
        View::Container {
            container,
            kinds,
            recursive,
        } => {
            let wanted = |reference: &Ref| {
                kinds.is_empty()
                    || kinds
                        .iter()
                        .any(|kind| schema().managed_is_a(&reference.kind, kind))
            };
            let inside = world.nodes.values().filter(|node| {
                if *recursive {
                    &node.reference != container && world.is_below(&node.reference, container)
                } else {
                    node.parent.as_ref() == Some(container)
                }
            });
            inside
                .map(|node| node.reference.clone())
                .filter(wanted)
                .collect()
        }
    }
}

pub fn view(world: &World, session: &str, target: &Ref, name: &str) -> Outcome<Option<Value>> {
    let view = world
        .session(session)
        .and_then(|session| session.views.get(&target.id));
    let view = view.ok_or_else(|| Fault::not_found(target))?;
    Ok(match (name, view) {
        ("view", _) => Some(Value::refs(shown(world, view))),
        ("container", View::Container { container, .. }) => Some(Value::from(container)),
        ("type", View::Container { kinds, .. }) => {
            Some(kinds.iter().map(Value::from).collect::<Vec<Value>>().into())
        }
        ("recursive", View::Container { recursive, .. }) => Some((*recursive).into()),
        _ => None,
    })
}
