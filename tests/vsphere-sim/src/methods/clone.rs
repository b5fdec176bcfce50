//! Copies of machines, and machines that change their place.

use std::sync::Arc;

use crate::disk::DiskType;
use crate::options::Mode;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref};
use crate::world::datastore::Entry;
use crate::world::ids::uuid;
use crate::world::inventory::Body;
use crate::world::machine::{Connection, Machine, MachineDisk, Power};
use crate::world::path::{file_name, file_of, folder_of};
use crate::world::{Shared, World};

use super::virtual_disk::copy_file;
use super::{Answer, Context, create, object_argument, reconfigure, reference_argument, text};

/// Where the machine's own files and those of a disk go.
fn target_datastore(location: &Object, current: &Ref, disk_key: Option<i32>) -> Ref {
    let own = location
        .objects("disk")
        .find(|locator| disk_key.is_some() && locator.int("diskId") == disk_key.map(i64::from));
    let own = own.and_then(|locator| locator.reference("datastore"));
    own.or(location.reference("datastore"))
        .unwrap_or(current)
        .clone()
}

/// The type that disks get by the relocation's `transform` and their locators' backings.
fn target_type(location: &Object, disk_key: i32, current: DiskType) -> DiskType {
    let locator = location
        .objects("disk")
        .find(|locator| locator.int("diskId") == Some(disk_key.into()));
    let backing = locator.and_then(|locator| locator.object("diskBackingInfo"));
    match (backing, location.text("transform")) {
        (Some(backing), _) if backing.bool("thinProvisioned") == Some(true) => DiskType::Thin,
        (Some(backing), _) if backing.bool("eagerlyScrub") == Some(true) => {
            DiskType::EagerZeroedThick
        }
        (Some(backing), _) if backing.bool("thinProvisioned") == Some(false) => DiskType::Thick,
        (_, Some("sparse")) => DiskType::Thin,
        (_, Some("flat")) if current == DiskType::Thin => DiskType::Thick,
        _ => current,
    }
}

pub fn clone_vm(context: &Context, call: &Call) -> Answer {
    let arguments = &call.arguments;
    let source = call.this.clone();
    let folder = reference_argument(arguments, "folder")?.clone();
    let name = create::check_name(text(arguments, "name")?)?;
    let spec = object_argument(arguments, "spec")?.clone();
    {
        let world = context.shared.read();
        if world.options.mode == Mode::Esxi {
            return Err(Fault::not_supported("cloning on a host that stands alone"));
        }
        world.machine(&source)?;
        world.folder(&folder)?;
        if spec.bool("powerOn") == Some(true) || spec.object("customization").is_some() {
            return Err(Fault::not_supported(
                "powering on or customizing a clone in this simulator",
            ));
        }
    }
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let clone = copy_machine(shared, &source, &folder, &name, &spec)?;
        Ok(Some(clone.into()))
    };
    context.spawn(
        call,
        "VirtualMachine.clone",
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}

pub fn copy_machine(
    shared: &Arc<Shared>,
    source: &Ref,
    folder: &Ref,
    name: &str,
    spec: &Object,
) -> Outcome<Ref> {
    let location = object_argument(spec, "location")?;
    let (clone, copies) = {
        let mut world = shared.write();
        world.check_free_name(folder, name)?;
        let machine = world.machine(source)?;
        let pool = location.reference("pool").unwrap_or(&machine.pool).clone();
        let host = create::choose_host(&world, &pool, location.reference("host"))?;
        let datastore = target_datastore(location, &machine.datastore, None);
        create::check_datastore(&world, &datastore, &host)?;
        let place = world.datastore(&datastore)?.free_folder(&file_name(name));
        let snapshot = spec.reference("snapshot");
        let disks = match snapshot {
            Some(snapshot) => {
                let (owner, snapshot) = world.snapshot(snapshot)?;
                if &owner != source {
                    return Err(Fault::invalid_argument("spec.snapshot"));
                }
                snapshot.disks.clone()
            }
            None => machine.disks.clone(),
        };
        let source = Source {
            machine: source,
            disks,
            frozen: snapshot.is_some() || machine.template,
        };
        let (body, copies) = blueprint(&world, source, &place, &datastore, location, (pool, host))?;
        let clone = world.new_machine_ref();
        let vmx = body.vmx.clone();
        let mut made = vec![(datastore.clone(), place.clone())];
        made.extend(copies.iter().map(|copy| (copy.to.0.clone(), place.clone())));
        for (datastore, place) in made {
            world.datastore_mut(&datastore)?.files.add_folder(place);
        }
        world
            .datastore_mut(&datastore)?
            .files
            .insert(vmx, Entry::Text(format!("displayName = \"{name}\"\n")));
        world.insert(
            clone.clone(),
            name,
            Some(folder),
            Body::Machine(Box::new(body)),
        );
        (clone, copies)
    };
    let filled = copies.iter().try_for_each(|copy| match copy.linked {
        true => shared.write().add_delta(&copy.from, &copy.to),
        false => {
            let spec = Some((copy.disk_type, copy.adapter));
            copy_file(shared, &copy.from, &copy.to, spec, false)
        }
    });
    let mut world = shared.write();
    let finished = filled.and_then(|()| match spec.object("config") {
        Some(config) => reconfigure::apply(&mut world, &clone, config),
        None => Ok(()),
    });
    match finished {
        Ok(()) => Ok(clone),
        Err(fault) => {
            world.destroy_machine(&clone);
            Err(fault)
        }
    }
}

/// What a clone is made of.
struct Source<'s> {
    machine: &'s Ref,
    disks: Vec<MachineDisk>,
    /// Whether nobody writes to the disks any more, so that a clone may lie on them.
    frozen: bool,
}

struct DiskCopy {
    from: (Ref, String),
    to: (Ref, String),
    disk_type: DiskType,
    adapter: &'static str,
    /// Whether it is a delta on the source's disk.
    linked: bool,
}

/// Whether a disk becomes a delta on the source's.
fn is_linked(location: &Object, disk_key: i32) -> bool {
    let own = location
        .objects("disk")
        .find(|locator| locator.int("diskId") == Some(disk_key.into()));
    let own = own.and_then(|locator| locator.text("diskMoveType"));
    own.or(location.text("diskMoveType")) == Some("createNewChildDiskBacking")
}

/// The clone's configuration, and what is to be copied to which new file.
fn blueprint(
    world: &World,
    source: Source<'_>,
    place: &str,
    datastore: &Ref,
    location: &Object,
    (pool, host): (Ref, Ref),
) -> Outcome<(Machine, Vec<DiskCopy>)> {
    let machine = world.machine(source.machine)?;
    let mut disks = source.disks;
    let mut copies = Vec::new();
    for (number, disk) in disks.iter_mut().enumerate() {
        let file = world.disk_file(&disk.datastore, &disk.path)?;
        let suffix = if number == 0 {
            String::new()
        } else {
            format!("_{number}")
        };
        let to = (
            target_datastore(location, datastore, Some(disk.key)),
            format!("{place}/{place}{suffix}.vmdk"),
        );
        let from = (disk.datastore.clone(), disk.path.clone());
        let disk_type = target_type(location, disk.key, file.disk_type);
        let adapter = match file.adapter_type.as_str() {
            "ide" => "ide",
            "busLogic" => "busLogic",
            _ => "lsilogic",
        };
        let linked = is_linked(location, disk.key);
        if linked && !source.frozen {
            return Err(Fault::invalid_argument("spec.snapshot"));
        }
        copies.push(DiskCopy {
            from,
            to: to.clone(),
            disk_type,
            adapter,
            linked,
        });
        (disk.datastore, disk.path) = to;
    }
    let body = Machine {
        uuid: uuid("4215"),
        instance_uuid: uuid("5015"),
        version: machine.version.clone(),
        guest_id: machine.guest_id.clone(),
        annotation: machine.annotation.clone(),
        memory_mb: machine.memory_mb,
        cpus: machine.cpus,
        extra_config: machine.extra_config.clone(),
        managed_by: machine.managed_by.clone(),
        profile: machine.profile.clone(),
        controllers: machine.controllers.clone(),
        disks,
        cards: machine.cards.clone(),
        power: Power::Off,
        connection: Connection::Connected,
        snapshots: Vec::new(),
        current_snapshot: None,
        pool,
        host,
        datastore: datastore.clone(),
        vmx: format!("{place}/{}", file_of(&format!("{place}.vmx"))),
        template: false,
        change_version: 1,
        lock: None,
    };
    Ok((body, copies))
}

pub fn relocate(context: &Context, call: &Call) -> Answer {
    let target = call.this.clone();
    let spec = object_argument(&call.arguments, "spec")?.clone();
    context.shared.read().machine(&target)?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        move_machine(shared, &target, &spec)?;
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualMachine.relocate",
        std::slice::from_ref(&call.this),
        Box::new(work),
    )
}

fn move_machine(shared: &Arc<Shared>, target: &Ref, spec: &Object) -> Outcome<()> {
    let disks = {
        let world = shared.read();
        let machine = world.machine(target)?;
        let pool = spec.reference("pool").unwrap_or(&machine.pool);
        let host = create::choose_host(&world, pool, spec.reference("host"))?;
        create::check_datastore(
            &world,
            &target_datastore(spec, &machine.datastore, None),
            &host,
        )?;
        machine.disks.clone()
    };
    for disk in disks {
        let (from, to, plan) = {
            let mut world = shared.write();
            let file = world.disk_file(&disk.datastore, &disk.path)?;
            let disk_type = target_type(spec, disk.key, file.disk_type);
            let datastore = target_datastore(spec, &disk.datastore, Some(disk.key));
            if datastore == disk.datastore && disk_type == file.disk_type {
                continue;
            }
            let (uuid, adapter) = (file.uuid.clone(), file.adapter_type.clone());
            let folder = folder_of(&disk.path).to_owned();
            let store = world.datastore_mut(&datastore)?;
            store.files.add_folder(folder.clone());
            let path = store.free_disk(&folder, file_of(&disk.path).trim_end_matches(".vmdk"));
            (
                (disk.datastore.clone(), disk.path.clone()),
                (datastore, path),
                (disk_type, uuid, adapter),
            )
        };
        let (disk_type, uuid, adapter) = plan;
        let adapter = if adapter == "ide" {
            "ide"
        } else if adapter == "busLogic" {
            "busLogic"
        } else {
            "lsilogic"
        };
        copy_file(shared, &from, &to, Some((disk_type, adapter)), false)?;
        let mut world = shared.write();
        world.disk_file_mut(&to.0, &to.1)?.uuid = uuid;
        let machine = world.machine_mut(target)?;
        if let Some(moved) = machine.disks.iter_mut().find(|other| other.key == disk.key) {
            (moved.datastore, moved.path) = to;
        }
        let parents = world.parents(&from.0, &from.1);
        world.datastore_mut(&from.0)?.remove_file(&from.1);
        if let Some(parent) = parents.first() {
            world.release_disk(parent);
        }
    }
    let mut world = shared.write();
    let machine = world.machine(target)?;
    let (old, vmx) = (machine.datastore.clone(), machine.vmx.clone());
    let datastore = target_datastore(spec, &old, None);
    if datastore != old {
        let entry = world.datastore_mut(&old)?.files.remove(&vmx);
        world
            .datastore_mut(&old)?
            .remove_empty_folder(folder_of(&vmx));
        let store = world.datastore_mut(&datastore)?;
        store.files.add_folder(folder_of(&vmx).to_owned());
        if let Some(entry) = entry {
            store.files.insert(vmx, entry);
        }
        world.machine_mut(target)?.datastore = datastore;
    }
    if let Some(pool) = spec.reference("pool").cloned() {
        let host = create::choose_host(&world, &pool, spec.reference("host"))?;
        let machine = world.machine_mut(target)?;
        (machine.pool, machine.host) = (pool, host);
    }
    Ok(())
}
