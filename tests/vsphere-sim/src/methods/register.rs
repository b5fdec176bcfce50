//! Machines that come back into the inventory by their files, and templates.

use std::sync::Arc;

use crate::wire::envelope::Call;
use crate::wire::{Fault, Outcome, Ref};
use crate::world::inventory::Body;
use crate::world::machine::Power;
use crate::world::{Shared, World};

use super::{Answer, Context, create, reference_argument, text};

pub fn register(context: &Context, call: &Call) -> Answer {
    let arguments = &call.arguments;
    let folder = call.this.clone();
    let path = text(arguments, "path")?.to_owned();
    let name = arguments.text("name").map(str::to_owned);
    let template = arguments.bool("asTemplate") == Some(true);
    let pool = arguments.reference("pool").cloned();
    let host = arguments.reference("host").cloned();
    context.shared.read().folder(&folder)?;
    if pool.is_none() && !template {
        return Err(Fault::invalid_argument("pool"));
    }
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        let datacenter = world.datacenter_of(&folder);
        let (datastore, vmx) = world.locate(&path, datacenter.as_ref())?;
        if world
            .machines()
            .any(|(_, machine)| machine.datastore == datastore && machine.vmx == vmx)
        {
            return Err(Fault::new(
                "AlreadyExists",
                "The specified key, name, or identifier already exists.",
            )
            .with("name", path.as_str()));
        }
        let (old_name, mut machine) = world
            .unregistered_at(&datastore, &vmx)
            .ok_or_else(|| Fault::file("FileNotFound", &path))?;
        let name = name.map_or(Ok(old_name), |name| create::check_name(&name))?;
        world.check_free_name(&folder, &name)?;
        if let Some(pool) = pool {
            machine.host = create::choose_host(&world, &pool, host.as_ref())?;
            machine.pool = pool;
        }
        (machine.template, machine.lock) = (template, None);
        let own = world.new_machine_ref();
        let body = Body::Machine(Box::new(machine));
        world.insert(own.clone(), &name, Some(&folder), body);
        Ok(Some(own.into()))
    };
    context.spawn(call, "Folder.registerVm", &[], Box::new(work))
}

fn idle<'w>(world: &'w mut World, target: &Ref) -> Outcome<&'w mut crate::world::machine::Machine> {
    world.check_machine_free(target, None)?;
    let machine = world.machine_mut(target)?;
    if machine.power == Power::On {
        return Err(Fault::power_state("poweredOn", Some("poweredOff")));
    }
    Ok(machine)
}

pub fn mark_as_template(context: &Context, call: &Call) -> Answer {
    idle(&mut context.shared.write(), &call.this)?.template = true;
    Ok(None)
}

pub fn mark_as_machine(context: &Context, call: &Call) -> Answer {
    let pool = reference_argument(&call.arguments, "pool")?.clone();
    let mut world = context.shared.write();
    let host = create::choose_host(&world, &pool, call.arguments.reference("host"))?;
    let machine = idle(&mut world, &call.this)?;
    (machine.template, machine.pool, machine.host) = (false, pool, host);
    Ok(None)
}

pub fn upgrade(context: &Context, call: &Call) -> Answer {
    let version = call
        .arguments
        .text("version")
        .unwrap_or("vmx-21")
        .to_owned();
    let target = call.this.clone();
    context.shared.read().machine(&target)?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        let machine = world.machine_mut(&target)?;
        if machine.power == Power::On {
            return Err(Fault::power_state("poweredOn", Some("poweredOff")));
        }
        if machine.version == version {
            return Err(Fault::new(
                "AlreadyUpgraded",
                "The virtual machine is already up-to-date.",
            ));
        }
        machine.version = version;
        Ok(None)
    };
    let locks = std::slice::from_ref(&call.this);
    context.spawn(
        call,
        "VirtualMachine.upgradeVirtualHardware",
        locks,
        Box::new(work),
    )
}
