//! The two names of a folder on a vSAN datastore: the friendly one, and that of the object which it is.

use sha1::{Digest, Sha1};

use crate::disk::hex;
use crate::options::DatastoreKind;
use crate::wire::Ref;

use super::World;

/// The internal name of a top folder; the friendly one always has the same.
fn internal_name(folder: &str) -> String {
    let digits = hex(&Sha1::digest(folder.as_bytes()));
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..32]
    )
}

impl World {
    fn has_internal_names(&self, datastore: &Ref) -> bool {
        let vsan = self
            .datastore(datastore)
            .is_ok_and(|store| store.kind == DatastoreKind::Vsan);
        vsan && self.options.vsan_internal_paths
    }

    /// How a machine's configuration tells where a file is: on vSAN by the internal name.
    pub fn told_path(&self, datastore: &Ref, path: &str) -> String {
        let told = match path.split_once('/') {
            Some((top, rest)) if self.has_internal_names(datastore) => {
                format!("{}/{rest}", internal_name(top))
            }
            _ => path.to_owned(),
        };
        self.path_text(datastore, &told)
    }

    /// The path by its friendly name, whichever of the two is given.
    pub fn friendly(&self, datastore: &Ref, path: String) -> String {
        if !self.has_internal_names(datastore) {
            return path;
        }
        let (top, rest) = path.split_once('/').unwrap_or((&path, ""));
        let Ok(store) = self.datastore(datastore) else {
            return path;
        };
        let mut folders = store.files.keys().filter(|file| !file.contains('/'));
        match folders.find(|folder| internal_name(folder) == top) {
            Some(folder) if rest.is_empty() => folder.clone(),
            Some(folder) => format!("{folder}/{rest}"),
            None => path,
        }
    }
}
