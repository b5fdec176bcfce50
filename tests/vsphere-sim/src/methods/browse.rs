//! Browsing datastores.

use std::sync::Arc;

use crate::disk::DiskType;
use crate::properties::inventory::browsed;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref, object};
use crate::world::datastore::Entry;
use crate::world::path::{file_of, folder_of};
use crate::world::{Shared, World};

use super::{Answer, Context, text};

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
    let details = spec.and_then(|spec| spec.object("details"));
    let told = |what: &str| details.is_some_and(|details| details.bool(what) == Some(true));
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
        let (kind, size) = kind_and_size(name, entry);
        let asked = queries.is_empty()
            || queries
                .iter()
                .any(|query| query.trim_end_matches("Query") == kind.trim_end_matches("Info"));
        if !asked {
            continue;
        }
        let mut info = object(kind).with("path", name);
        if told("fileSize") {
            info.put("fileSize", size);
        }
        if let Some(moment) = store.files.modified(path).filter(|_| told("modification")) {
            info.put("modification", world.clock.text_of(moment));
        }
        if told("fileOwner") {
            info.put("owner", "root");
        }
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

/// The type that a file is listed as, and its length. What somebody has put there counts by its name.
fn kind_and_size(name: &str, entry: &Entry) -> (&'static str, u64) {
    let by_name = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("vmx" | "vmtx") => "VmConfigFileInfo",
        Some("vmdk") => "VmDiskFileInfo",
        Some("vmsd" | "vmsn") => "VmSnapshotFileInfo",
        Some("nvram") => "VmNvramFileInfo",
        Some("log") => "VmLogFileInfo",
        Some("iso") => "IsoImageFileInfo",
        Some("flp") => "FloppyImageFileInfo",
        _ => "FileInfo",
    };
    match entry {
        Entry::Folder => ("FolderFileInfo", 0),
        Entry::Text(text) => (by_name, text.len() as u64),
        Entry::Disk(file) => ("VmDiskFileInfo", file.space()),
        Entry::Uploaded(uploaded) => (by_name, uploaded.length),
        Entry::Reserved(size) => ("VmDiskFileInfo", *size),
    }
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
