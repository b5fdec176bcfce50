//! What a disk is and what it lies on, by its datastore path.

use std::sync::Arc;

use crate::disk::DiskType;
use crate::wire::envelope::Call;
use crate::wire::{Object, Outcome, Value, object};
use crate::world::{Shared, World};

use super::virtual_disk::place;
use super::{Answer, Context};

pub fn query(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let at = place(&world, &call.arguments, "name", "datacenter")?;
    drop(world);
    let with_parents = call.arguments.bool("includeParents") == Some(true);
    let work = move |shared: &Arc<Shared>, _: &crate::wire::Ref| {
        let world = shared.read();
        let mut chain = vec![at.clone()];
        if with_parents {
            chain.extend(world.parents(&at.0, &at.1));
        }
        let all = chain
            .iter()
            .map(|(datastore, path)| about(&world, datastore, path));
        let all = Value::from(all.collect::<Outcome<Vec<Object>>>()?);
        Ok(Some(Value::Typed(
            "VirtualDiskInfo[]".to_owned(),
            Box::new(all),
        )))
    };
    context.spawn(
        call,
        "VirtualDiskManager.queryVirtualDiskInfo",
        &[],
        Box::new(work),
    )
}

fn about(world: &World, datastore: &crate::wire::Ref, path: &str) -> Outcome<Object> {
    let file = world.disk_file(datastore, path)?;
    let kind = match (&file.delta, file.disk_type) {
        (Some(_), _) => "delta",
        (None, DiskType::Thin) => "thin",
        (None, DiskType::Thick) => "preallocated",
        (None, DiskType::EagerZeroedThick) => "eagerZeroedThick",
    };
    let parent = file
        .delta
        .as_ref()
        .map(|delta| world.path_text(&delta.parent.0, &delta.parent.1));
    let unit = object("VirtualDiskUnitInfo").with("name", world.path_text(datastore, path));
    Ok(object("VirtualDiskInfo")
        .with("unit", unit)
        .with("diskType", kind)
        .with_some("parent", parent))
}
