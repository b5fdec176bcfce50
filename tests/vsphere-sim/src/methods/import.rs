//! ResourcePool.ImportVApp: a new machine, and the lease to fill its disks.

use crate::wire::envelope::Call;
use crate::wire::{Fault, Outcome, Ref};
use crate::world::World;
use crate::world::lease::LeaseKind;

use super::{Answer, Context, create, export, object_argument};

pub fn import_vapp(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let spec = object_argument(&call.arguments, "spec")?;
    if spec.kind != "VirtualMachineImportSpec" {
        return Err(Fault::not_supported(
            "importing anything but a virtual machine",
        ));
    }
    let config = object_argument(spec, "configSpec")?;
    let mut world = context.shared.write();
    let folder = folder(&world, call)?;
    let host = call.arguments.reference("host");
    if config.objects("deviceChange").any(|change| {
        let device = change.object("device");
        device.is_some_and(|device| device.kind == "VirtualDisk")
            && change.text("fileOperation") != Some("create")
    }) {
        return Err(Fault::invalid_argument("spec.configSpec.deviceChange"));
    }
    let machine = create::create(&mut world, &folder, config, &call.this, host)?;
    let name = world.node(&machine)?.name.clone();
    let disks = world.machine(&machine)?.disks.clone();
    let opened = export::lease_files(&world, &machine, &disks, &name)
        .and_then(|files| world.open_lease(LeaseKind::Import, &machine, session, files));
    match opened {
        Ok(lease) => {
            export::make_ready(&context.shared, &lease);
            Ok(Some(lease.into()))
        }
        Err(fault) => {
            world.destroy_machine(&machine);
            Err(fault)
        }
    }
}

/// The folder that is asked for; a host that stands alone has only one.
fn folder(world: &World, call: &Call) -> Outcome<Ref> {
    world.compute_of_pool(&call.this)?;
    match call.arguments.reference("folder") {
        // Machines of a vApp are in no folder.
        Some(_) if call.this.kind == "VirtualApp" => Err(Fault::invalid_argument("folder")),
        None if call.this.kind == "VirtualApp" => Ok(call.this.clone()),
        Some(folder) => world.folder(folder).map(|_| folder.clone()),
        None if world.options.mode == crate::options::Mode::Esxi => Ok(world.home()?.1),
        None => Err(Fault::invalid_argument("folder")),
    }
}
