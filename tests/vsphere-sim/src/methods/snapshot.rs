//! Snapshots: they keep the disks as they are, and the machine goes on with deltas on them.

use std::sync::Arc;

use crate::wire::envelope::Call;
use crate::wire::{Fault, Outcome, Ref};
use crate::world::chain::place_of;
use crate::world::machine::{Power, Snapshot};
use crate::world::{Shared, World};

use super::{Answer, Context, text};

/// Takes a snapshot on top of the current one.
pub fn take(world: &mut World, machine: &Ref, name: &str, description: &str) -> Outcome<Ref> {
    world.machine(machine)?;
    let own = world.new_ref("VirtualMachineSnapshot");
    let created = world.clock.text();
    let disks = world.machine(machine)?.disks.clone();
    world.freeze_disks(machine)?;
    let body = world.machine_mut(machine)?;
    let snapshot = Snapshot {
        reference: own.clone(),
        id: body
            .snapshots
            .iter()
            .map(|other| other.id)
            .max()
            .unwrap_or(0)
            + 1,
        name: name.to_owned(),
        description: description.to_owned(),
        created,
        parent: body.current_snapshot.clone(),
        disks,
    };
    body.snapshots.push(snapshot);
    body.current_snapshot = Some(own.clone());
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
        world.snapshot(&snapshot)?;
        let mut doomed = vec![snapshot.clone()];
        if children {
            // Children come after their parents in the list.
            for other in &world.machine(&machine)?.snapshots {
                if other
                    .parent
                    .as_ref()
                    .is_some_and(|parent| doomed.contains(parent))
                {
                    doomed.push(other.reference.clone());
                }
            }
        }
        remove_from(&mut world, &machine, &doomed)?;
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachineSnapshot.remove",
        &locks,
        Box::new(work),
    )
}

/// Removes snapshots of a machine, those on which others lie last, and consolidates their disks.
fn remove_from(world: &mut World, machine: &Ref, doomed: &[Ref]) -> Outcome<()> {
    for reference in doomed.iter().rev() {
        let body = world.machine_mut(machine)?;
        let Some(position) = body
            .snapshots
            .iter()
            .position(|snapshot| &snapshot.reference == reference)
        else {
            continue;
        };
        let gone = body.snapshots.remove(position);
        for other in &mut body.snapshots {
            if other.parent.as_ref() == Some(reference) {
                other.parent.clone_from(&gone.parent);
            }
        }
        if body.current_snapshot.as_ref() == Some(reference) {
            body.current_snapshot.clone_from(&gone.parent);
        }
        for disk in &gone.disks {
            world.release_disk(&place_of(disk));
        }
    }
    Ok(())
}

/// Takes a machine back to a snapshot: what its disks have become since then is dropped.
pub fn revert(context: &Context, call: &Call) -> Answer {
    let snapshot = call.this.clone();
    let machine = context.shared.read().snapshot(&snapshot)?.0;
    let locks = [machine.clone()];
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        go_back(&mut world, &machine, &snapshot)?;
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachine.revertToSnapshot",
        &locks,
        Box::new(work),
    )
}

/// The same for the snapshot that the machine goes on from.
pub fn revert_to_current(context: &Context, call: &Call) -> Answer {
    let machine = call.this.clone();
    let current = context
        .shared
        .read()
        .machine(&machine)?
        .current_snapshot
        .clone();
    let snapshot =
        current.ok_or_else(|| Fault::new("NotFound", "The machine has no current snapshot."))?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        go_back(&mut shared.write(), &machine, &snapshot)?;
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachine.revertToCurrentSnapshot",
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}

fn go_back(world: &mut World, machine: &Ref, snapshot: &Ref) -> Outcome<()> {
    let disks = world.snapshot(snapshot)?.1.disks.clone();
    let body = world.machine_mut(machine)?;
    body.power = Power::Off;
    body.current_snapshot = Some(snapshot.clone());
    let dropped = std::mem::replace(&mut body.disks, disks);
    world.freeze_disks(machine)?;
    for disk in dropped {
        world.release_disk(&place_of(&disk));
    }
    Ok(())
}

pub fn remove_all(context: &Context, call: &Call) -> Answer {
    let machine = call.this.clone();
    context.shared.read().machine(&machine)?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        let snapshots = &world.machine(&machine)?.snapshots;
        let all: Vec<Ref> = snapshots
            .iter()
            .map(|snapshot| snapshot.reference.clone())
            .collect();
        remove_from(&mut world, &machine, &all)?;
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachine.removeAllSnapshots",
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}
