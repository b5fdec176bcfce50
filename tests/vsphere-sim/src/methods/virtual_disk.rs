//! The VirtualDiskManager: disks by datastore path.

use std::sync::Arc;

use crate::disk::DiskType;
use crate::options::DatastoreKind;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref, Value};
use crate::world::datastore::{DiskFile, Entry};
use crate::world::ids::{canonical_uuid, spaced_uuid};
use crate::world::machine::Power;
use crate::world::{Shared, World};

use super::search::datacenter_of_call;
use super::{Answer, Context, object_argument, text, uploaded};

/// The place that two arguments of a call name: a datastore path, and the datacenter that it is in.
pub fn place(
    world: &World,
    arguments: &Object,
    path: &str,
    datacenter: &str,
) -> Outcome<(Ref, String)> {
    let datacenter = datacenter_of_call(world, arguments.reference(datacenter))?;
    world.locate(text(arguments, path)?, datacenter)
}

/// The same for a second place, whose datacenter is that of the first where none is named.
pub fn second_place(world: &World, arguments: &Object, names: [&str; 3]) -> Outcome<(Ref, String)> {
    let [path, datacenter, first] = names;
    let datacenter = arguments
        .reference(datacenter)
        .or(arguments.reference(first));
    let datacenter = datacenter_of_call(world, datacenter)?;
    world.locate(text(arguments, path)?, datacenter)
}

/// The disk type of a VirtualDiskSpec.
fn disk_type(word: &str) -> Outcome<DiskType> {
    match word {
        "thin" => Ok(DiskType::Thin),
        "preallocated" | "thick" => Ok(DiskType::Thick),
        "eagerZeroedThick" => Ok(DiskType::EagerZeroedThick),
        _ => Err(Fault::invalid_argument("spec.diskType")),
    }
}

fn adapter(word: &str) -> Outcome<&'static str> {
    match word {
        "ide" => Ok("ide"),
        "busLogic" => Ok("busLogic"),
        "lsiLogic" => Ok("lsilogic"),
        _ => Err(Fault::invalid_argument("spec.adapterType")),
    }
}

fn wanted(spec: &Object) -> Outcome<(DiskType, &'static str)> {
    Ok((
        disk_type(text(spec, "diskType")?)?,
        adapter(text(spec, "adapterType")?)?,
    ))
}

/// Clears the destination of what `force` allows to overwrite.
fn clear_destination(world: &mut World, datastore: &Ref, path: &str, force: bool) -> Outcome<()> {
    if force && world.disk_file(datastore, path).is_ok() {
        world.check_unlocked(datastore, path)?;
        world.datastore_mut(datastore)?.remove_file(path);
    }
    world.check_new_file(datastore, path)
}

pub fn copy(context: &Context, call: &Call) -> Answer {
    let arguments = &call.arguments;
    let (from, to) = {
        let world = context.shared.read();
        if arguments.get("destSpec").is_some() && !world.options.copy_dest_spec {
            return Err(Fault::not_supported("destSpec"));
        }
        let to = second_place(
            &world,
            arguments,
            ["destName", "destDatacenter", "sourceDatacenter"],
        )?;
        (
            place(&world, arguments, "sourceName", "sourceDatacenter")?,
            to,
        )
    };
    // Without a spec the API promises a preallocated disk for a BusLogic adapter.
    let spec = arguments
        .object("destSpec")
        .map_or(Ok((DiskType::Thick, "busLogic")), wanted)?;
    let force = arguments.bool("force") == Some(true);
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        copy_file(shared, &from, &to, Some(spec), force)?;
        let text = shared.read().path_text(&to.0, &to.1);
        Ok(Some(text.into()))
    };
    context.spawn(
        call,
        "VirtualDiskManager.copyVirtualDisk",
        &[],
        Box::new(work),
    )
}

/// Copies a disk's contents to a new file, without the world's lock while bytes are moved. Without a spec the copy is
/// of the same type for the same adapter.
pub fn copy_file(
    shared: &Arc<Shared>,
    from: &(Ref, String),
    to: &(Ref, String),
    spec: Option<(DiskType, &'static str)>,
    force: bool,
) -> Outcome<()> {
    let uploaded = match shared.read().datastore(&from.0)?.files.get(&from.1) {
        Some(Entry::Uploaded(uploaded)) => Some(uploaded.file.clone()),
        _ => None,
    };
    if let Some(stream) = uploaded {
        let disk_type = spec.map_or(DiskType::Thick, |(disk_type, _)| disk_type);
        let adapter = spec.map_or("busLogic", |(_, adapter)| adapter);
        clear_destination(&mut shared.write(), &to.0, &to.1, force)?;
        return uploaded::become_disk(shared, &stream, to, disk_type, adapter);
    }
    let (contents, fresh, disk_type, adapter_type) = {
        let mut world = shared.write();
        let source = world.disk_file(&from.0, &from.1)?;
        world.check_chain(&from.0, &from.1)?;
        let text = world.path_text(&from.0, &from.1);
        let running = world
            .attached_to(&from.0, &from.1)
            .and_then(|holder| world.machine(&holder).ok());
        if source.busy.is_some() || running.is_some_and(|machine| machine.power == Power::On) {
            return Err(Fault::file("FileLocked", &text));
        }
        let disk_type = spec.map_or(source.disk_type, |(disk_type, _)| disk_type);
        let disk_type = world.made_type(&to.0, disk_type);
        let adapter_type = spec.map_or(source.adapter_type.clone(), |(_, adapter)| {
            adapter.to_owned()
        });
        let needed = if disk_type == DiskType::Thin {
            source.allocated
        } else {
            source.capacity
        };
        let contents = source.contents.clone();
        clear_destination(&mut world, &to.0, &to.1, force)?;
        world.check_space(&to.0, needed, &to.1)?;
        world
            .datastore_mut(&to.0)?
            .files
            .insert(to.1.clone(), Entry::Reserved(needed));
        (contents, world.fresh_path(), disk_type, adapter_type)
    };
    let copied = contents
        .read()
        .copy_to(&fresh, disk_type)
        .and_then(|disk| DiskFile::new(disk, &adapter_type));
    let mut world = shared.write();
    let store = world.datastore_mut(&to.0)?;
    match copied {
        Ok(file) => {
            store.files.insert(to.1.clone(), Entry::Disk(file));
            Ok(())
        }
        Err(error) => {
            store.files.remove(&to.1);
            Err(error.into())
        }
    }
}

pub fn relocate(context: &Context, call: &Call) -> Answer {
    let arguments = &call.arguments;
    let (from, to) = {
        let world = context.shared.read();
        let to = second_place(
            &world,
            arguments,
            ["destName", "destDatacenter", "sourceDatacenter"],
        )?;
        (
            place(&world, arguments, "sourceName", "sourceDatacenter")?,
            to,
        )
    };
    let force = arguments.bool("force") == Some(true);
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        for (datastore, _) in [&from, &to] {
            let is_vvol = world.datastore(datastore)?.kind == DatastoreKind::Vvol;
            if is_vvol || world.options.refuse_disk_moves {
                return Err(Fault::not_supported("moving a disk of this datastore"));
            }
        }
        world.check_unlocked(&from.0, &from.1)?;
        if from != to {
            clear_destination(&mut world, &to.0, &to.1, force)?;
            if from.0 != to.0 {
                let needed = world.disk_file(&from.0, &from.1)?.space();
                world.check_space(&to.0, needed, &to.1)?;
            }
            if let Some(entry) = world.datastore_mut(&from.0)?.files.remove(&from.1) {
                world
                    .datastore_mut(&to.0)?
                    .files
                    .insert(to.1.clone(), entry);
            }
        }
        Ok(Some(world.path_text(&to.0, &to.1).into()))
    };
    context.spawn(
        call,
        "VirtualDiskManager.moveVirtualDisk",
        &[],
        Box::new(work),
    )
}

pub fn delete(context: &Context, call: &Call) -> Answer {
    let at = place(
        &context.shared.read(),
        &call.arguments,
        "name",
        "datacenter",
    )?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        world.check_unlocked(&at.0, &at.1)?;
        world.datastore_mut(&at.0)?.remove_file(&at.1);
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualDiskManager.deleteVirtualDisk",
        &[],
        Box::new(work),
    )
}

pub fn create(context: &Context, call: &Call) -> Answer {
    let at = place(
        &context.shared.read(),
        &call.arguments,
        "name",
        "datacenter",
    )?;
    let spec = object_argument(&call.arguments, "spec")?;
    let (disk_type, adapter_type) = wanted(spec)?;
    let kilobytes = spec
        .int("capacityKb")
        .and_then(|size| u64::try_from(size).ok())
        .filter(|size| *size > 0);
    let capacity = kilobytes.ok_or_else(|| Fault::invalid_argument("spec.capacityKb"))? * 1024;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        world.check_new_file(&at.0, &at.1)?;
        let fresh = world.fresh_path();
        if disk_type != DiskType::Thin {
            world.check_space(&at.0, capacity, &at.1)?;
        }
        let file = DiskFile::create(&fresh, capacity, disk_type, adapter_type)?;
        world
            .datastore_mut(&at.0)?
            .files
            .insert(at.1.clone(), Entry::Disk(file));
        Ok(Some(world.path_text(&at.0, &at.1).into()))
    };
    context.spawn(
        call,
        "VirtualDiskManager.createVirtualDisk",
        &[],
        Box::new(work),
    )
}

/// Refuses a disk that is in use at this moment; one of a machine that is off may be changed.
fn check_idle(world: &World, datastore: &Ref, path: &str) -> Outcome<()> {
    let file = world.disk_file(datastore, path)?;
    let holder = world
        .attached_to(datastore, path)
        .and_then(|holder| world.machine(&holder).ok());
    if file.busy.is_some() || holder.is_some_and(|machine| machine.power != Power::Off) {
        return Err(Fault::file("FileLocked", &world.path_text(datastore, path)));
    }
    Ok(())
}

pub fn extend(context: &Context, call: &Call) -> Answer {
    let at = place(
        &context.shared.read(),
        &call.arguments,
        "name",
        "datacenter",
    )?;
    let kilobytes = call
        .arguments
        .int("newCapacityKb")
        .and_then(|size| u64::try_from(size).ok());
    let capacity = kilobytes
        .ok_or_else(|| Fault::invalid_argument("newCapacityKb"))?
        .saturating_mul(1024);
    let eager = call.arguments.bool("eagerZero") == Some(true);
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        check_idle(&world, &at.0, &at.1)?;
        let file = world.disk_file(&at.0, &at.1)?;
        if file.delta.is_some() {
            return Err(Fault::not_supported("extending a delta on another disk"));
        }
        if capacity <= file.capacity {
            return Err(Fault::invalid_argument("newCapacityKb"));
        }
        world.check_size(&at.0, capacity)?;
        if file.disk_type != DiskType::Thin {
            world.check_space(&at.0, capacity - file.capacity, &at.1)?;
        }
        let capacity = world.made_capacity(capacity);
        let file = world.disk_file_mut(&at.0, &at.1)?;
        file.extend(capacity, eager)?;
        Ok(None)
    };
    context.spawn(
        call,
        "VirtualDiskManager.extendVirtualDisk",
        &[],
        Box::new(work),
    )
}

fn retype(context: &Context, call: &Call, description_id: &str, from: DiskType) -> Answer {
    let at = place(
        &context.shared.read(),
        &call.arguments,
        "name",
        "datacenter",
    )?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        check_idle(&world, &at.0, &at.1)?;
        let file = world.disk_file(&at.0, &at.1)?;
        if file.disk_type == from {
            world.check_space(&at.0, file.capacity - file.space(), &at.1)?;
            let file = world.disk_file_mut(&at.0, &at.1)?;
            file.contents
                .write()
                .set_disk_type(DiskType::EagerZeroedThick);
            file.refresh()?;
        }
        Ok(None)
    };
    context.spawn(call, description_id, &[], Box::new(work))
}

pub fn inflate(context: &Context, call: &Call) -> Answer {
    retype(
        context,
        call,
        "VirtualDiskManager.inflateVirtualDisk",
        DiskType::Thin,
    )
}

pub fn eager_zero(context: &Context, call: &Call) -> Answer {
    retype(
        context,
        call,
        "VirtualDiskManager.eagerZeroVirtualDisk",
        DiskType::Thick,
    )
}

pub fn query_uuid(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let at = place(&world, &call.arguments, "name", "datacenter")?;
    let uuid = &world.disk_file(&at.0, &at.1)?.uuid;
    Ok(Some(Value::from(spaced_uuid(uuid))))
}

pub fn set_uuid(context: &Context, call: &Call) -> Answer {
    let mut world = context.shared.write();
    let at = place(&world, &call.arguments, "name", "datacenter")?;
    let uuid = canonical_uuid(text(&call.arguments, "uuid")?)
        .ok_or_else(|| Fault::invalid_argument("uuid"))?;
    check_idle(&world, &at.0, &at.1)?;
    world.disk_file_mut(&at.0, &at.1)?.uuid = uuid;
    Ok(None)
}
