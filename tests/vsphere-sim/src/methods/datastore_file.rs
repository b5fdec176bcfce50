//! The FileManager, and browsing datastores.

use std::sync::Arc;

use crate::disk::DiskType;
use crate::options::DatastoreKind;
use crate::properties::inventory::browsed;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref, object};
use crate::world::datastore::Entry;
use crate::world::path::{file_of, folder_of};
use crate::world::{Shared, World};

use super::virtual_disk::{copy_file, place, second_place};
use super::{Answer, Context, text};

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
        store
            .files
            .entry(path[..end].to_owned())
            .or_insert(Entry::Folder);
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
        let plain = match shared.read().datastore(&from.0)?.files.get(&from.1) {
            Some(Entry::Text(text)) => Some(text.clone()),
            Some(Entry::Disk(_)) => None,
            _ => {
                return Err(Fault::file(
                    "FileNotFound",
                    &shared.read().path_text(&from.0, &from.1),
                ));
            }
        };
        match plain {
            None => copy_file(shared, &from, &to, None, force)?,
            Some(text) => {
                let mut world = shared.write();
                world.check_new_file(&to.0, &to.1)?;
                world
                    .datastore_mut(&to.0)?
                    .files
                    .insert(to.1.clone(), Entry::Text(text));
            }
        }
        Ok(None)
    };
    context.spawn(call, "FileManager.copy", &[], Box::new(work))
}

pub fn search(context: &Context, call: &Call, deep: bool) -> Answer {
    let spec = call.arguments.object("searchSpec").cloned();
    let (datastore, path) = {
        let world = context.shared.read();
        let browsed = browsed(&world, &call.this)?;
        let (datastore, path) = world.locate(text(&call.arguments, "datastorePath")?, None)?;
        if !browsed.contains(&datastore) {
            return Err(Fault::invalid_argument("datastorePath"));
        }
        (datastore, path)
    };
    let work = move |shared: &Arc<Shared>, _: &Ref| {
        let world = shared.read();
        let store = world.datastore(&datastore)?;
        if !store.has_folder(&path) {
            return Err(Fault::file(
                "FileNotFound",
                &world.path_text(&datastore, &path),
            ));
        }
        let mut folders = vec![path.clone()];
        if deep {
            let below = store.files.iter().filter(|(file, entry)| {
                let inside = path.is_empty() || file.starts_with(&format!("{path}/"));
                inside && matches!(entry, Entry::Folder)
            });
            folders.extend(below.map(|(file, _)| file.clone()));
        }
        let results = folders
            .iter()
            .map(|folder| listing(&world, &datastore, folder, spec.as_ref()));
        let results = results.collect::<Outcome<Vec<Object>>>()?;
        Ok(if deep {
            let typed = crate::wire::Value::from(results);
            Some(crate::wire::Value::Typed(
                "HostDatastoreBrowserSearchResults[]".to_owned(),
                Box::new(typed),
            ))
        } else {
            results.into_iter().next().map(Into::into)
        })
    };
    let description_id = if deep {
        "HostDatastoreBrowser.searchSubFolders"
    } else {
        "HostDatastoreBrowser.search"
    };
    context.spawn(call, description_id, &[], Box::new(work))
}

fn listing(world: &World, datastore: &Ref, folder: &str, spec: Option<&Object>) -> Outcome<Object> {
    let store = world.datastore(datastore)?;
    let patterns: Vec<&str> = spec
        .map(|spec| spec.texts("matchPattern").collect())
        .unwrap_or_default();
    let queries: Vec<&str> = spec
        .map(|spec| {
            spec.objects("query")
                .map(|query| query.kind.as_str())
                .collect()
        })
        .unwrap_or_default();
    let here = store
        .files
        .iter()
        .filter(|(path, _)| folder_of(path) == folder);
    let mut files = Vec::new();
    for (path, entry) in here {
        let name = file_of(path);
        if !patterns.is_empty()
            && !patterns
                .iter()
                .any(|pattern| matches_pattern(pattern, name))
        {
            continue;
        }
        let (kind, size) = match entry {
            Entry::Folder => ("FolderFileInfo", 0),
            Entry::Text(text) if name.ends_with(".vmx") => ("VmConfigFileInfo", text.len() as u64),
            Entry::Text(text) => ("FileInfo", text.len() as u64),
            Entry::Disk(file) => ("VmDiskFileInfo", file.space()),
            Entry::Uploaded(uploaded) => ("FileInfo", uploaded.length),
            Entry::Reserved(size) => ("VmDiskFileInfo", *size),
        };
        let asked = queries.is_empty()
            || queries
                .iter()
                .any(|query| query.trim_end_matches("Query") == kind.trim_end_matches("Info"));
        if !asked {
            continue;
        }
        let mut info = object(kind).with("path", name).with("fileSize", size);
        if let Entry::Disk(file) = entry {
            info.put("capacityKb", file.capacity / 1024);
            info.put("thin", file.disk_type == DiskType::Thin);
        }
        files.push(info);
    }
    Ok(object("HostDatastoreBrowserSearchResults")
        .with("datastore", datastore)
        .with("folderPath", world.path_text(datastore, folder))
        .with("file", files))
}

/// Whether a name is matched by a pattern of `*` and `?`.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    match (pattern.chars().next(), name.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            name.char_indices()
                .any(|(index, _)| matches_pattern(rest, &name[index..]))
                || matches_pattern(rest, "")
        }
        (Some('?'), Some(letter)) => matches_pattern(&pattern[1..], &name[letter.len_utf8()..]),
        (Some(wanted), Some(letter)) if wanted == letter => {
            matches_pattern(&pattern[wanted.len_utf8()..], &name[letter.len_utf8()..])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_shells_do() {
        for (pattern, name, expected) in [
            ("*.vmdk", "a.vmdk", true),
            ("a?c*", "abc", true),
            ("*", "", true),
            ("a", "ab", false),
            ("*b", "abab", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }
}
