//! Making a virtual machine.

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref};
use crate::world::World;
use crate::world::datastore::Entry;
use crate::world::ids::uuid;
use crate::world::inventory::Body;
use crate::world::machine::{Connection, Machine, Power};
use crate::world::path::{escaped_name, file_name, file_of, folder_of};
use crate::world::setup::default_controllers;

use super::{Answer, Context, devices, object_argument, reconfigure, reference_argument};

/// The longest name of a virtual machine.
const LONGEST_NAME: usize = 80;

pub fn create_vm(context: &Context, call: &Call) -> Answer {
    let config = object_argument(&call.arguments, "config")?.clone();
    let pool = reference_argument(&call.arguments, "pool")?.clone();
    let host = call.arguments.reference("host").cloned();
    let folder = call.this.clone();
    {
        let world = context.shared.read();
        world.folder(&folder)?;
        world.compute_of_pool(&pool)?;
        if pool.kind == "VirtualApp" {
            return Err(Fault::not_supported("a vApp makes its own machines"));
        }
    }
    let work = move |shared: &std::sync::Arc<crate::world::Shared>, _: &Ref| {
        let machine = create(&mut shared.write(), &folder, &config, &pool, host.as_ref())?;
        Ok(Some(machine.into()))
    };
    context.spawn(call, "Folder.createVm", &[], Box::new(work))
}

/// A machine in a vApp, which is in no folder.
pub fn create_child(context: &Context, call: &Call) -> Answer {
    let config = object_argument(&call.arguments, "config")?.clone();
    let host = call.arguments.reference("host").cloned();
    let vapp = call.this.clone();
    context.shared.read().compute_of_pool(&vapp)?;
    if vapp.kind != "VirtualApp" {
        return Err(Fault::not_supported("this is no vApp"));
    }
    let work = move |shared: &std::sync::Arc<crate::world::Shared>, _: &Ref| {
        let machine = create(&mut shared.write(), &vapp, &config, &vapp, host.as_ref())?;
        Ok(Some(machine.into()))
    };
    context.spawn(call, "VirtualApp.createVm", &[], Box::new(work))
}

pub fn check_name(name: &str) -> Outcome<String> {
    let escapes = ["%2f", "%5c", "%25"];
    let lower = name.to_lowercase();
    let escaped: usize = escapes.map(|one| lower.matches(one).count()).iter().sum();
    if name.is_empty() || name.chars().count() - 2 * escaped > LONGEST_NAME {
        return Err(
            Fault::new("InvalidName", format!("The name '{name}' is invalid.")).with("name", name),
        );
    }
    Ok(escaped_name(name))
}

/// A host of the pool's compute resource that can take a machine.
pub fn choose_host(world: &World, pool: &Ref, asked: Option<&Ref>) -> Outcome<Ref> {
    let (_, compute) = world.compute_of_pool(pool)?;
    if let Some(host) = asked {
        world.node(host)?;
        if !compute.hosts.contains(host) {
            return Err(Fault::invalid_argument("host"));
        }
    }
    let usable = |host: &&Ref| match world.node(host).map(|node| &node.body) {
        Ok(Body::Host(body)) => {
            body.connection_state == "connected"
                && body.power_state == "poweredOn"
                && !body.in_maintenance_mode
        }
        _ => false,
    };
    let candidates: Vec<&Ref> = match asked {
        Some(host) => vec![host],
        None => compute.hosts.iter().collect(),
    };
    let found = candidates.into_iter().find(usable).cloned();
    found.ok_or_else(|| {
        Fault::new(
            "InvalidHostState",
            "The operation is not allowed in the current state of the host.",
        )
    })
}

/// Refuses a datastore that the host cannot write to.
pub fn check_datastore(world: &World, datastore: &Ref, host: &Ref) -> Outcome<()> {
    let name = &world.node(datastore)?.name;
    let store = world.datastore(datastore)?;
    let mounted = store
        .mounts
        .iter()
        .any(|mount| &mount.host == host && mount.accessible);
    if !mounted {
        return Err(Fault::new(
            "InvalidDatastore",
            format!("Datastore '{name}' is not valid on the host."),
        )
        .with("datastore", datastore)
        .with("name", name));
    }
    if store.maintenance_mode != "normal" {
        let text =
            format!("The operation is not allowed in the current state of the datastore '{name}'.");
        return Err(Fault::new("InvalidDatastoreState", text).with("datastoreName", name));
    }
    if !store
        .mounts
        .iter()
        .any(|mount| &mount.host == host && mount.read_write)
    {
        return Err(Fault::file(
            "CannotAccessFile",
            &world.path_text(datastore, ""),
        ));
    }
    Ok(())
}

/// Makes a machine as a ConfigSpec says, disks included.
pub fn create(
    world: &mut World,
    folder: &Ref,
    config: &Object,
    pool: &Ref,
    host: Option<&Ref>,
) -> Outcome<Ref> {
    let takes_machines = folder.kind == "VirtualApp"
        || world
            .folder(folder)?
            .child_types
            .contains(&"VirtualMachine");
    if !takes_machines {
        return Err(Fault::not_supported("no machines in this folder"));
    }
    let name = check_name(
        config
            .text("name")
            .ok_or_else(|| Fault::invalid_argument("configSpec.name"))?,
    )?;
    world.check_free_name(folder, &name)?;
    let host = choose_host(world, pool, host)?;
    let place = config
        .object("files")
        .and_then(|files| files.text("vmPathName"));
    let place = place.ok_or_else(|| Fault::invalid_argument("configSpec.files.vmPathName"))?;
    let datacenter = world.datacenter_of(folder);
    let (datastore, path) = world.locate(place, datacenter.as_ref())?;
    check_datastore(world, &datastore, &host)?;
    let (made_folder, vmx) = choose_place(world, &datastore, &path, &name)?;
    if config
        .int("memoryMB")
        .is_some_and(|memory| memory < 4 || memory % 4 != 0)
    {
        return Err(Fault::invalid_argument("configSpec.memoryMB"));
    }
    let machine = world.new_machine_ref();
    let body = Machine {
        uuid: uuid("4215"),
        instance_uuid: uuid("5015"),
        version: "vmx-21".to_owned(),
        guest_id: "otherGuest".to_owned(),
        annotation: String::new(),
        memory_mb: 32,
        cpus: 1,
        extra_config: Vec::new(),
        managed_by: None,
        profile: None,
        controllers: default_controllers(),
        disks: Vec::new(),
        cards: Vec::new(),
        power: Power::Off,
        connection: Connection::Connected,
        snapshots: Vec::new(),
        current_snapshot: None,
        pool: pool.clone(),
        host,
        datastore: datastore.clone(),
        vmx: vmx.clone(),
        template: false,
        change_version: 1,
        lock: None,
    };
    let store = world.datastore_mut(&datastore)?;
    if let Some(folder) = &made_folder {
        store.files.insert(folder.clone(), Entry::Folder);
    }
    store
        .files
        .insert(vmx, Entry::Text(format!("displayName = \"{name}\"\n")));
    world.insert(
        machine.clone(),
        &name,
        Some(folder),
        Body::Machine(Box::new(body)),
    );
    let changes: Vec<&Object> = config.objects("deviceChange").collect();
    let furnished = devices::plan(world, &machine, &changes)
        .and_then(|plan| plan.apply(world, &machine))
        .and_then(|()| reconfigure::settings(world, &machine, config));
    if let Err(fault) = furnished {
        world.destroy_machine(&machine);
        return Err(fault);
    }
    Ok(machine)
}

/// Where the configuration file goes, and the folder that has to be made for it.
fn choose_place(
    world: &World,
    datastore: &Ref,
    path: &str,
    name: &str,
) -> Outcome<(Option<String>, String)> {
    let store = world.datastore(datastore)?;
    if path.ends_with(".vmx") {
        if store.files.contains_key(path) {
            return Err(Fault::file(
                "FileAlreadyExists",
                &world.path_text(datastore, path),
            ));
        }
        let folder = folder_of(path);
        let missing = !store.has_folder(folder);
        return Ok((missing.then(|| folder.to_owned()), path.to_owned()));
    }
    let wanted = if path.is_empty() {
        store.free_folder(&file_name(name))
    } else {
        path.to_owned()
    };
    let file = if path.is_empty() {
        file_name(name)
    } else {
        file_of(path).to_owned()
    };
    let vmx = format!("{wanted}/{file}.vmx");
    if store.files.contains_key(&vmx) {
        return Err(Fault::file(
            "FileAlreadyExists",
            &world.path_text(datastore, &vmx),
        ));
    }
    let missing = !store.has_folder(&wanted);
    Ok((missing.then_some(wanted), vmx))
}
