//! The SearchIndex.

use crate::wire::envelope::Call;
use crate::wire::{Fault, Outcome, Ref, Value};
use crate::world::World;
use crate::world::ids::canonical_uuid;

use super::{Answer, Context, reference_argument, text};

fn by_uuid(world: &World, call: &Call) -> Outcome<Vec<Ref>> {
    let arguments = &call.arguments;
    if arguments.bool("vmSearch") != Some(true) {
        return Ok(Vec::new());
    }
    let within = arguments.reference("datacenter");
    if let Some(datacenter) = within {
        world.datacenter(datacenter)?;
    }
    // A text that is no UUID finds nothing.
    let Some(wanted) = canonical_uuid(text(arguments, "uuid")?) else {
        return Ok(Vec::new());
    };
    let by_instance = arguments.bool("instanceUuid") == Some(true);
    let found = world.machines().filter(|(node, machine)| {
        let uuid = if by_instance {
            &machine.instance_uuid
        } else {
            &machine.uuid
        };
        let placed = within.is_none_or(|datacenter| world.is_below(&node.reference, datacenter));
        let readable = machine.connection.has_config();
        placed && readable && canonical_uuid(uuid).as_ref() == Some(&wanted)
    });
    Ok(found.map(|(node, _)| node.reference.clone()).collect())
}

pub fn find_by_uuid(context: &Context, call: &Call) -> Answer {
    Ok(by_uuid(&context.shared.read(), call)?
        .into_iter()
        .next()
        .map(Value::from))
}

pub fn find_all_by_uuid(context: &Context, call: &Call) -> Answer {
    Ok(Some(Value::refs(by_uuid(&context.shared.read(), call)?)))
}

pub fn find_by_inventory_path(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let mut place = world.names.root.clone();
    for part in text(&call.arguments, "inventoryPath")?
        .split('/')
        .filter(|part| !part.is_empty())
    {
        match world.child(&place, part) {
            Some(child) => place = child,
            None => return Ok(None),
        }
    }
    Ok(Some(place.into()))
}

pub fn find_child(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let entity = reference_argument(&call.arguments, "entity")?;
    world.node(entity)?;
    // As the inventory keeps names: with their escapes.
    Ok(world
        .child(entity, text(&call.arguments, "name")?)
        .map(Value::from))
}

pub fn find_by_datastore_path(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let datacenter = reference_argument(&call.arguments, "datacenter")?;
    world.datacenter(datacenter)?;
    let (datastore, path) = world.locate(text(&call.arguments, "path")?, Some(datacenter))?;
    let found = world
        .machines()
        .find(|(_, machine)| machine.datastore == datastore && machine.vmx == path);
    Ok(found.map(|(node, _)| Value::from(&node.reference)))
}

/// A datacenter that a call may name; a server of many insists on it.
pub fn datacenter_of_call<'c>(world: &World, given: Option<&'c Ref>) -> Outcome<Option<&'c Ref>> {
    if let Some(datacenter) = given {
        world.datacenter(datacenter)?;
    } else if world.of_kind("Datacenter").len() > 1 {
        return Err(Fault::invalid_argument("datacenter"));
    }
    Ok(given)
}
