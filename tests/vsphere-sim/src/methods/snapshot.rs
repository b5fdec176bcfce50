//! Snapshots: kept as names in a tree; the disks' contents stay as they are.

use std::sync::Arc;

use crate::wire::envelope::Call;
use crate::wire::{Outcome, Ref};
use crate::world::machine::Snapshot;
use crate::world::{Shared, World};

use super::{Answer, Context, text};

/// Takes a snapshot on top of the current one.
pub fn take(world: &mut World, machine: &Ref, name: &str, description: &str) -> Outcome<Ref> {
    world.machine(machine)?;
    let own = world.new_ref("VirtualMachineSnapshot");
    let created = world.clock.text();
    let body = world.machine_mut(machine)?;
    let snapshot = Snapshot {
        reference: own.clone(),
        id: body.snapshots.len() as i32 + 1,
        name: name.to_owned(),
        description: description.to_owned(),
        created,
        parent: body.snapshots.last().map(|last| last.reference.clone()),
    };
    body.snapshots.push(snapshot);
    Ok(own)
}

pub fn create(context: &Context, call: &Call) -> Answer {
    let machine = call.this.clone();
    context.shared.read().machine(&machine)?;
    let name = text(&call.arguments, "name")?.to_owned();
    let description = call
        .arguments
        .text("description")
        .unwrap_or_default()
        .to_owned();
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let own = take(&mut shared.write(), &machine, &name, &description)?;
        Ok(Some(own.into()))
    };
    context.spawn(
        call,
        "VirtualMachine.createSnapshot",
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}

pub fn remove(context: &Context, call: &Call) -> Answer {
    let snapshot = call.this.clone();
    let machine = context.shared.read().snapshot(&snapshot)?.0;
    let children = call.arguments.bool("removeChildren") == Some(true);
    let locks = [machine.clone()];
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        let parent = world.snapshot(&snapshot)?.1.parent.clone();
        let body = world.machine_mut(&machine)?;
        let mut doomed = vec![snapshot.clone()];
        if children {
            // Children come after their parents in the list.
            for other in &body.snapshots {
                if other
                    .parent
                    .as_ref()
                    .is_some_and(|parent| doomed.contains(parent))
                {
                    doomed.push(other.reference.clone());
                }
            }
        }
        body.snapshots
            .retain(|other| !doomed.contains(&other.reference));
        for other in &mut body.snapshots {
            if other.parent.as_ref() == Some(&snapshot) {
                other.parent = parent.clone();
            }
        }
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachineSnapshot.remove",
        &locks,
        Box::new(work),
    )
}

pub fn remove_all(context: &Context, call: &Call) -> Answer {
    let machine = call.this.clone();
    context.shared.read().machine(&machine)?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        shared.write().machine_mut(&machine)?.snapshots.clear();
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachine.removeAllSnapshots",
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}
