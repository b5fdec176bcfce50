//! Changing a virtual machine: all of a spec or nothing of it.

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref, Value};
use crate::world::World;
use crate::world::ids::{canonical_uuid, uuid};

use super::{Answer, Context, create, devices, object_argument};

pub fn reconfigure(context: &Context, call: &Call) -> Answer {
    let spec = object_argument(&call.arguments, "spec")?.clone();
    let target = call.this.clone();
    context.shared.read().machine(&target)?;
    let locks = [target.clone()];
    let work = move |shared: &std::sync::Arc<crate::world::Shared>, _: &Ref| {
        let mut world = shared.write();
        apply(&mut world, &target, &spec)?;
        Ok(None)
    };
    context.spawn(call, "VirtualMachine.reconfigure", &locks, Box::new(work))
}

pub fn apply(world: &mut World, target: &Ref, spec: &Object) -> Outcome<()> {
    let machine = world.machine(target)?;
    if let Some(version) = spec.text("changeVersion")
        && version != machine.change_version.to_string()
    {
        return Err(Fault::new(
            "ConcurrentAccess",
            "The object has changed since it was read.",
        ));
    }
    check_settings(world, target, spec)?;
    let changes: Vec<&Object> = spec.objects("deviceChange").collect();
    let plan = devices::plan(world, target, &changes)?;
    plan.apply(world, target)?;
    settings(world, target, spec)
}

fn check_settings(world: &World, target: &Ref, spec: &Object) -> Outcome<()> {
    if let Some(name) = spec.text("name") {
        let name = create::check_name(name)?;
        let node = world.node(target)?;
        if node.name != name
            && let Some(parent) = &node.parent
        {
            world.check_free_name(parent, &name)?;
        }
    }
    for field in ["uuid", "instanceUuid"] {
        if let Some(uuid) = spec.text(field)
            && !uuid.is_empty()
            && canonical_uuid(uuid).is_none()
        {
            return Err(Fault::invalid_argument(&format!("configSpec.{field}")));
        }
    }
    let power_needed = ["version"];
    let machine = world.machine(target)?;
    if machine.power == crate::world::machine::Power::On
        && power_needed.iter().any(|field| spec.get(field).is_some())
    {
        return Err(Fault::power_state("poweredOn", Some("poweredOff")));
    }
    Ok(())
}

/// Applies everything of a spec but its devices.
pub fn settings(world: &mut World, target: &Ref, spec: &Object) -> Outcome<()> {
    check_settings(world, target, spec)?;
    if let Some(name) = spec.text("name") {
        let name = create::check_name(name)?;
        world.node_mut(target)?.name = name;
    }
    let machine = world.machine_mut(target)?;
    machine.change_version += 1;
    if let Some(uuid) = spec.text("uuid").and_then(canonical_uuid) {
        machine.uuid = uuid;
    }
    if let Some(asked) = spec.text("instanceUuid") {
        // Without one that is asked for the server chooses: cinder's unmanage relies on that.
        machine.instance_uuid = canonical_uuid(asked).unwrap_or_else(|| uuid("5015"));
    }
    let texts = [
        ("version", &mut machine.version),
        ("guestId", &mut machine.guest_id),
        ("annotation", &mut machine.annotation),
    ];
    for (field, place) in texts {
        if let Some(text) = spec.text(field) {
            *place = text.to_owned();
        }
    }
    if let Some(memory) = spec.int("memoryMB") {
        machine.memory_mb = memory;
    }
    if let Some(cpus) = spec.int("numCPUs") {
        machine.cpus = cpus;
    }
    for option in spec.objects("extraConfig") {
        let value = option
            .get("value")
            .and_then(Value::text)
            .unwrap_or_default();
        machine.set_extra(option.text("key").unwrap_or_default(), value);
    }
    if let Some(managed_by) = spec.object("managedBy") {
        // An extension key that is empty takes the mark away.
        let keep = managed_by
            .text("extensionKey")
            .is_some_and(|key| !key.is_empty());
        machine.managed_by = keep.then(|| managed_by.clone());
    }
    for profile in spec.objects("vmProfile") {
        machine.profile = profile.text("profileId").map(str::to_owned);
    }
    Ok(())
}
