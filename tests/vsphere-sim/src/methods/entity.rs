//! Folders, pools, names, power, and the end of things.

use std::sync::Arc;

use crate::options::Mode;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Ref, reference};
use crate::world::Shared;
use crate::world::inventory::{Body, Folder, Pool};
use crate::world::machine::Power;

use super::{Answer, Context, create, text};

pub fn create_folder(context: &Context, call: &Call) -> Answer {
    let name = create::check_name(text(&call.arguments, "name")?)?;
    let mut world = context.shared.write();
    if world.options.mode == Mode::Esxi {
        return Err(Fault::not_supported("folders on a host that stands alone"));
    }
    let child_types = world.folder(&call.this)?.child_types.clone();
    world.check_free_name(&call.this, &name)?;
    let letter = call
        .this
        .id
        .trim_start_matches("group-")
        .chars()
        .next()
        .unwrap_or('v');
    let own = world.new_folder_ref(letter);
    world.insert(
        own.clone(),
        &name,
        Some(&call.this),
        Body::Folder(Folder {
            child_types,
            children: Vec::new(),
        }),
    );
    Ok(Some(own.into()))
}

pub fn create_pool(context: &Context, call: &Call) -> Answer {
    let name = create::check_name(text(&call.arguments, "name")?)?;
    let mut world = context.shared.write();
    let owner = world.compute_of_pool(&call.this)?.0.clone();
    world.check_free_name(&call.this, &name)?;
    let own = if world.options.mode == Mode::Esxi {
        let number = world.next("pool");
        reference("ResourcePool", &format!("pool{number}"))
    } else {
        world.new_ref("ResourcePool")
    };
    world.insert(
        own.clone(),
        &name,
        Some(&call.this),
        Body::Pool(Pool {
            owner,
            pools: Vec::new(),
        }),
    );
    if let Body::Pool(parent) = &mut world.node_mut(&call.this)?.body {
        parent.pools.push(own.clone());
    }
    Ok(Some(own.into()))
}

pub fn move_into_folder(context: &Context, call: &Call) -> Answer {
    let folder = call.this.clone();
    let all: Vec<Ref> = call.arguments.references("list").cloned().collect();
    {
        let world = context.shared.read();
        world.folder(&folder)?;
        all.iter()
            .try_for_each(|target| world.node(target).map(drop))?;
    }
    let locks: Vec<Ref> = all
        .iter()
        .filter(|target| target.kind == "VirtualMachine")
        .cloned()
        .collect();
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        for target in &all {
            if world.is_below(&folder, target) {
                return Err(
                    Fault::new("InvalidFolder", "The folder is below what is moved.")
                        .with("target", &folder),
                );
            }
            let node = world.node(target)?;
            if node.parent.as_ref() != Some(&folder) {
                world.check_free_name(&folder, &node.name)?;
            }
        }
        for target in &all {
            if let Some(node) = world.remove(target) {
                world.insert(target.clone(), &node.name, Some(&folder), node.body);
            }
        }
        Ok(None)
    };
    context.spawn(call, "Folder.moveInto", &locks, Box::new(work))
}

fn machine_locks(target: &Ref) -> Vec<Ref> {
    if target.kind == "VirtualMachine" {
        vec![target.clone()]
    } else {
        Vec::new()
    }
}

pub fn rename(context: &Context, call: &Call) -> Answer {
    let name = text(&call.arguments, "newName")?.to_owned();
    let target = call.this.clone();
    context.shared.read().node(&target)?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let name = create::check_name(&name)?;
        let mut world = shared.write();
        let node = world.node(&target)?;
        if node.name != name
            && let Some(parent) = node.parent.clone()
        {
            world.check_free_name(&parent, &name)?;
        }
        world.node_mut(&target)?.name = name;
        Ok(None)
    };
    context.spawn(
        call,
        &format!("{}.rename", call.this.kind),
        &machine_locks(&call.this),
        Box::new(work),
    )
}

pub fn destroy(context: &Context, call: &Call) -> Answer {
    let target = call.this.clone();
    {
        let world = context.shared.read();
        match &world.node(&target)?.body {
            Body::Machine(machine) if machine.power != Power::Off => {
                return Err(Fault::power_state(machine.power.word(), Some("poweredOff")));
            }
            Body::Machine(_) | Body::Folder(_) => {}
            // The pool that belongs to a compute resource stays.
            Body::Pool(pool) if world.node(&target)?.parent.as_ref() != Some(&pool.owner) => {}
            _ => return Err(Fault::not_supported("destroying this kind of object")),
        }
    }
    let work = move |shared: &Arc<Shared>, task: &Ref| {
        let mut world = shared.write();
        if target.kind == "ResourcePool" {
            world.dissolve_pool(&target)?;
            return Ok(None);
        }
        let mut inside: Vec<Ref> = world
            .nodes
            .values()
            .map(|node| node.reference.clone())
            .filter(|node| world.is_below(node, &target))
            .collect();
        for machine in inside.iter().filter(|node| node.kind == "VirtualMachine") {
            world.check_machine_free(machine, Some(task))?;
        }
        // Machines first, so that no folder goes before what is in it.
        inside.sort_by_key(|node| node.kind != "VirtualMachine");
        for node in inside {
            if node.kind == "VirtualMachine" {
                world.destroy_machine(&node);
            } else {
                world.remove(&node);
            }
        }
        Ok(None)
    };
    context.spawn(
        call,
        &format!("{}.destroy", call.this.kind),
        &machine_locks(&call.this),
        Box::new(work),
    )
}

pub fn unregister(context: &Context, call: &Call) -> Answer {
    let mut world = context.shared.write();
    let machine = world.machine(&call.this)?;
    if machine.power != Power::Off {
        return Err(Fault::power_state(machine.power.word(), Some("poweredOff")));
    }
    world.check_machine_free(&call.this, None)?;
    world.unregister_machine(&call.this);
    Ok(None)
}

pub fn power(context: &Context, call: &Call, on: bool) -> Answer {
    let target = call.this.clone();
    context.shared.read().machine(&target)?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        let wanted = if on { Power::On } else { Power::Off };
        let machine = world.machine_mut(&target)?;
        if machine.power == wanted {
            return Err(Fault::power_state(wanted.word(), Some(wanted.word())));
        }
        machine.power = wanted;
        Ok(None)
    };
    let description_id = if on {
        "VirtualMachine.powerOn"
    } else {
        "VirtualMachine.powerOff"
    };
    context.spawn(
        call,
        description_id,
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}
