//! The properties of managed objects: what a property path leads to.

pub mod inventory;
pub mod machine;
pub mod path;
pub mod service;

use crate::wire::schema::Type;
use crate::wire::{Fault, Outcome, Ref, Value, schema};
use crate::world::World;
use crate::world::inventory::Body;

use path::Segment;

/// A property's top level. `None`: it is not set; a fault: it cannot be read.
fn top(world: &World, session: &str, target: &Ref, name: &str) -> Outcome<Option<Value>> {
    match target.kind.as_str() {
        "Task" => world
            .task(target)
            .map(|task| (name == "info").then(|| Value::from(task.info(world)))),
        "HttpNfcLease" => world
            .lease_of(target, session)
            .map(|lease| service::lease(world, lease, name)),
        "VirtualMachineSnapshot" => machine::snapshot(world, target, name),
        "ContainerView" | "ListView" => service::view(world, session, target, name),
        "HostDatastoreBrowser" => inventory::browser(world, target, name),
        kind if schema().managed_is_a(kind, "ManagedEntity") => entity(world, target, name),
        _ => service::singleton(world, session, target, name),
    }
}

fn entity(world: &World, target: &Ref, name: &str) -> Outcome<Option<Value>> {
    let node = world.node(target)?;
    let common = match name {
        "name" => Some(Value::from(&node.name)),
        "parent" | "parentVApp" if target.kind == "VirtualMachine" => {
            // A machine in a vApp is in no folder.
            let kind = if name == "parent" {
                "Folder"
            } else {
                "VirtualApp"
            };
            let parent = node.parent.as_ref().filter(|parent| parent.kind == kind);
            return Ok(parent.map(Value::from));
        }
        "parent" => return Ok(node.parent.as_ref().map(Value::from)),
        "overallStatus" | "configStatus" => Some(Value::from("green")),
        "alarmActionsEnabled" => Some(Value::from(true)),
        "effectiveRole" => Some(Value::from(vec![-1])),
        "recentTask" => Some(Value::refs(world.recent_tasks(target))),
        "disabledMethod"
        | "permission"
        | "configIssue"
        | "value"
        | "availableField"
        | "tag"
        | "customValue"
        | "declaredAlarmState"
        | "triggeredAlarmState" => Some(Value::List(Vec::new())),
        _ => None,
    };
    if common.is_some() {
        return Ok(common);
    }
    Ok(match &node.body {
        Body::Folder(folder) => inventory::folder(folder, name),
        Body::Datacenter(datacenter) => inventory::datacenter(world, target, datacenter, name),
        Body::Compute(compute) => inventory::compute(world, target, compute, name),
        Body::Pool(pool) => inventory::pool(world, target, pool, name),
        Body::Host(host) => inventory::host(world, target, host, name),
        Body::Network => inventory::network(world, target, name),
        Body::Datastore(store) => inventory::datastore(world, target, store, name),
        Body::Machine(machine) => machine::property(world, target, machine, name),
    })
}

/// Whether an object is (still) there.
pub fn exists(world: &World, session: &str, target: &Ref) -> Outcome<()> {
    match target.kind.as_str() {
        "Task" => world.task(target).map(drop),
        "HttpNfcLease" => world.lease_of(target, session).map(drop),
        "VirtualMachineSnapshot" => world.snapshot(target).map(drop),
        "HostDatastoreBrowser" => inventory::browsed(world, target).map(drop),
        "ContainerView" | "ListView" => {
            let found = world
                .session(session)
                .is_some_and(|session| session.views.contains_key(&target.id));
            found.then_some(()).ok_or_else(|| Fault::not_found(target))
        }
        kind if schema().managed_is_a(kind, "ManagedEntity") => world.node(target).map(drop),
        _ if world.is_singleton(target) => Ok(()),
        _ => Err(Fault::not_found(target)),
    }
}

/// What a property path of an object leads to, as a value of any type.
pub fn get(world: &World, session: &str, target: &Ref, path: &str) -> Outcome<Option<Value>> {
    let segments = path::parse(&target.kind, path)?;
    if is_forbidden(world, target, path) {
        return Err(Fault::no_permission(target, "System.Read"));
    }
    let Some((first, rest)) = segments.split_first() else {
        return Ok(None);
    };
    let Some(mut value) = top(world, session, target, &first.name)? else {
        return Ok(None);
    };
    let declared = schema()
        .property(&target.kind, &first.name)
        .map(|field| field.of.clone());
    let mut of = declared.ok_or_else(|| path::invalid(path))?;
    if !select(&mut value, &mut of, first) {
        return Ok(None);
    }
    for segment in rest {
        let Value::Object(object) = value else {
            return Ok(None);
        };
        let Some(field) = schema().field(&object.kind, &segment.name) else {
            return Ok(None);
        };
        of = field.of.clone();
        value = match object.get(&segment.name) {
            Some(inner) => inner.clone(),
            None => return Ok(None),
        };
        if !select(&mut value, &mut of, segment) {
            return Ok(None);
        }
    }
    if of.base == "anyType" {
        return Ok(Some(value));
    }
    let mark = if of.reference { "&" } else { "" };
    let list = if of.list { "[]" } else { "" };
    Ok(Some(Value::Typed(
        format!("{mark}{}{list}", of.base),
        Box::new(value),
    )))
}

fn is_forbidden(world: &World, target: &Ref, path: &str) -> bool {
    let full = format!("{}.{path}", target.kind);
    world.options.forbidden_paths.iter().any(|forbidden| {
        let rest = full.strip_prefix(forbidden.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Narrows a list to the element that the segment's key names.
fn select(value: &mut Value, of: &mut Type, segment: &Segment) -> bool {
    let Some(key) = &segment.key else { return true };
    let Value::List(values) = value else {
        return false;
    };
    let found = values.drain(..).find(|candidate| match candidate {
        Value::Object(object) => match object.get("key") {
            Some(Value::Text(text)) => text == key,
            Some(Value::Int(number)) => &number.to_string() == key,
            Some(Value::Ref(reference)) => &reference.id == key,
            _ => false,
        },
        Value::Ref(reference) => &reference.id == key,
        _ => false,
    });
    match found {
        Some(element) => {
            *value = element;
            *of = of.element();
            true
        }
        None => false,
    }
}

/// The names of all properties of a type.
pub fn all_names(kind: &str) -> Vec<String> {
    schema()
        .properties(kind)
        .into_iter()
        .map(|field| field.name.clone())
        .collect()
}
