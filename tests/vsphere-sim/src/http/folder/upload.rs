//! A file that is put on a datastore as it is, in place of one that is there already unless that is a disk; what it holds
//! only shows when something is made of it. A disk's extent is replaced by what is put in its place.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, StatusCode, header};
use tokio::sync::mpsc;

use crate::http::control::{decoded, query};
use crate::http::{Entrance, NoAnswer, Reply, plain};
use crate::wire::{Fault, Outcome, Ref};
use crate::world::datastore::Entry;
use crate::world::files::Uploaded;
use crate::world::{Shared, World};

use super::datastore_of;

/// Pieces that may wait for the file.
const AHEAD: usize = 8;

pub async fn receive(mut request: Request<Incoming>, entrance: &Entrance) -> Reply {
    let path = decoded(request.uri().path().trim_start_matches("/folder/"));
    let query = query(request.uri().query().unwrap_or_default());
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|text| text.to_str().ok()?.parse().ok());
    let Some(length) = length else {
        return Ok(plain(
            StatusCode::LENGTH_REQUIRED,
            "the length must be told",
        ));
    };
    let begun = {
        let mut world = entrance.shared.write();
        let begun = datastore_of(&world, &path, &query).and_then(|(datastore, path)| {
            match target(&world, &datastore, &path)? {
                Target::File => world.check_space(&datastore, length, &path)?,
                Target::Extent(_) => {}
            }
            Ok((datastore, path))
        });
        begun.map(|place| (place, world.fresh_path()))
    };
    let ((datastore, path), file) = match begun {
        Ok(begun) => begun,
        Err(fault) => return Ok(plain(StatusCode::CONFLICT, &fault.message)),
    };
    let (sender, pieces) = mpsc::channel(AHEAD);
    let to = file.clone();
    let writer = tokio::task::spawn_blocking(move || write(File::create(to)?, pieces));
    while let Some(frame) = request.body_mut().frame().await {
        let Some(bytes) = frame.ok().and_then(|frame| frame.into_data().ok()) else {
            break;
        };
        if sender.send(bytes).await.is_err() {
            break;
        }
    }
    drop(sender);
    match writer.await {
        Ok(Ok(written)) if written == length => {}
        // The file goes with the directory.
        _ => return Err(NoAnswer),
    }
    let shared = entrance.shared.clone();
    let uploaded = Uploaded {
        file: Arc::new(file),
        length,
    };
    let kept = tokio::task::spawn_blocking(move || keep(&shared, &datastore, path, uploaded)).await;
    Ok(match kept {
        Ok(Ok(true)) => plain(StatusCode::OK, ""),
        Ok(Ok(false)) => plain(StatusCode::CREATED, ""),
        Ok(Err(fault)) => plain(StatusCode::CONFLICT, &fault.message),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the simulator panicked"),
    })
}

/// What a file is put in the place of.
enum Target {
    File,
    /// The extent of the disk whose descriptor is at that path.
    Extent(String),
}

fn target(world: &World, datastore: &Ref, path: &str) -> Outcome<Target> {
    let store = world.datastore(datastore)?;
    if let Some(descriptor) = store.disk_of_extent(path) {
        world.check_unlocked(datastore, &descriptor)?;
        return Ok(Target::Extent(descriptor));
    }
    if !matches!(
        store.files.get(path),
        Some(Entry::Text(_) | Entry::Uploaded(_))
    ) {
        world.check_new_file(datastore, path)?;
    }
    Ok(Target::File)
}

/// Puts what was uploaded in its place; whether something was there.
fn keep(shared: &Shared, datastore: &Ref, path: String, uploaded: Uploaded) -> Outcome<bool> {
    let mut world = shared.write();
    match target(&world, datastore, &path)? {
        Target::File => {
            let store = world.datastore_mut(datastore)?;
            let replaced = store.files.contains_key(&path);
            store.remove_file(&path);
            store.files.insert(path, Entry::Uploaded(uploaded));
            Ok(replaced)
        }
        Target::Extent(descriptor) => {
            let file = world.disk_file_mut(datastore, &descriptor)?;
            if uploaded.length != file.capacity {
                return Err(Fault::file("CannotAccessFile", &path));
            }
            file.contents.write().load_raw(&uploaded.file)?;
            file.refresh()?;
            uploaded.delete();
            Ok(true)
        }
    }
}

fn write(mut file: File, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<u64> {
    let mut written = 0;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
        written += piece.len() as u64;
    }
    Ok(written)
}
