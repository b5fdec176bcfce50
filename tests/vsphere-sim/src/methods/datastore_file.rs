//! The FileManager.

use std::sync::Arc;

use crate::options::DatastoreKind;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Outcome, Ref};
use crate::world::datastore::Entry;
use crate::world::path::folder_of;
use crate::world::{Shared, World};

use super::virtual_disk::{copy_file, place, second_place};
use super::{Answer, Context};

pub fn make_directory(context: &Context, call: &Call) -> Answer {
    let mut world = context.shared.write();
    let (datastore, path) = place(&world, &call.arguments, "name", "datacenter")?;
    let text = world.path_text(&datastore, &path);
    let parents = call.arguments.bool("createParentDirectories") == Some(true);
    let store = world.datastore_mut(&datastore)?;
    if path.is_empty() || store.files.contains_key(&path) {
        return Err(Fault::file("FileAlreadyExists", &text));
    }
    if matches!(store.kind, DatastoreKind::Vsan | DatastoreKind::Vvol) && !path.contains('/') {
        // There a top folder is an object of its own, made through the DatastoreNamespaceManager.
        return Err(Fault::file("CannotAccessFile", &text));
    }
    if !parents && !store.has_folder(folder_of(&path)) {
        return Err(Fault::file("FileNotFound", &text));
    }
    let ends = path
        .match_indices('/')
        .map(|(index, _)| index)
        .chain([path.len()]);
    for end in ends {
        store.files.add_folder(path[..end].to_owned());
    }
    Ok(None)
}

/// All files at or below a place, none of them locked.
fn unlocked_below(world: &World, datastore: &Ref, path: &str) -> Outcome<Vec<String>> {
    let store = world.datastore(datastore)?;
    if path.is_empty() || !store.files.contains_key(path) {
        return Err(Fault::file(
            "FileNotFound",
            &world.path_text(datastore, path),
        ));
    }
    let mut all = store.below(path);
    all.push(path.to_owned());
    for file in &all {
        if store.disk(file).is_some() {
            world.check_unlocked(datastore, file)?;
        }
    }
    Ok(all)
}

pub fn delete(context: &Context, call: &Call) -> Answer {
    let (datastore, path) = place(
        &context.shared.read(),
        &call.arguments,
        "name",
        "datacenter",
    )?;
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        if let Some(descriptor) = world.datastore(&datastore)?.disk_of_extent(&path) {
            // Without its extent a disk holds nothing until another one is put there.
            world.check_unlocked(&datastore, &descriptor)?;
            let file = world.disk_file_mut(&datastore, &descriptor)?;
            file.contents.write().clear()?;
            file.refresh()?;
            return Ok(None);
        }
        for file in unlocked_below(&world, &datastore, &path)? {
            world.datastore_mut(&datastore)?.remove_file(&file);
        }
        Ok(None)
    };
    context.spawn(call, "FileManager.deleteFile", &[], Box::new(work))
}

type Places = ((Ref, String), (Ref, String));

fn places(world: &World, call: &Call) -> Outcome<Places> {
    let names = [
        "destinationName",
        "destinationDatacenter",
        "sourceDatacenter",
    ];
    let to = second_place(world, &call.arguments, names)?;
    Ok((
        place(world, &call.arguments, "sourceName", "sourceDatacenter")?,
        to,
    ))
}

pub fn relocate(context: &Context, call: &Call) -> Answer {
    let (from, to) = places(&context.shared.read(), call)?;
    let force = call.arguments.bool("force") == Some(true);
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let mut world = shared.write();
        let moved = unlocked_below(&world, &from.0, &from.1)?;
        if force && world.datastore(&to.0)?.files.contains_key(&to.1) {
            for file in unlocked_below(&world, &to.0, &to.1)? {
                world.datastore_mut(&to.0)?.remove_file(&file);
            }
        }
        world.check_new_file(&to.0, &to.1)?;
        for file in moved {
            let target = format!("{}{}", to.1, &file[from.1.len()..]);
            if let Some(entry) = world.datastore_mut(&from.0)?.files.remove(&file) {
                world.datastore_mut(&to.0)?.files.insert(target, entry);
            }
        }
        Ok(None)
    };
    context.spawn(call, "FileManager.move", &[], Box::new(work))
}

pub fn copy(context: &Context, call: &Call) -> Answer {
    let (from, to) = places(&context.shared.read(), call)?;
    let force = call.arguments.bool("force") == Some(true);
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        match plain_copy(&mut shared.write(), &from, &to, force)? {
            Plain::Copied => {}
            Plain::Disk => copy_file(shared, &from, &to, None, force)?,
        }
        Ok(None)
    };
    context.spawn(call, "FileManager.copy", &[], Box::new(work))
}

enum Plain {
    Copied,
    /// The file is a disk, whose bytes are not to be copied under the world's lock.
    Disk,
}

/// Copies what is no disk.
fn plain_copy(
    world: &mut World,
    from: &(Ref, String),
    to: &(Ref, String),
    force: bool,
) -> Outcome<Plain> {
    let missing = || Fault::file("FileNotFound", &world.path_text(&from.0, &from.1));
    let entry = match world.datastore(&from.0)?.files.get(&from.1) {
        Some(Entry::Text(text)) => Entry::Text(text.clone()),
        Some(Entry::Uploaded(uploaded)) => Entry::Uploaded(uploaded.clone()),
        Some(Entry::Disk(_)) => return Ok(Plain::Disk),
        _ => return Err(missing()),
    };
    if from == to {
        return Err(Fault::file(
            "FileAlreadyExists",
            &world.path_text(&to.0, &to.1),
        ));
    }
    if force && world.datastore(&to.0)?.files.contains_key(&to.1) {
        for file in unlocked_below(world, &to.0, &to.1)? {
            world.datastore_mut(&to.0)?.remove_file(&file);
        }
    }
    world.check_new_file(&to.0, &to.1)?;
    let store = world.datastore_mut(&to.0)?;
    store.files.insert(to.1.clone(), entry);
    Ok(Plain::Copied)
}
