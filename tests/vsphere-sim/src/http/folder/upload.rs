//! A file that is put on a datastore as it is; what it holds only shows when something is made of it.

use std::fs::File;
use std::io::{self, Write};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Request, StatusCode, header};
use tokio::sync::mpsc;

use crate::http::control::{decoded, query};
use crate::http::{Entrance, NoAnswer, Reply, plain};
use crate::world::datastore::{Entry, Uploaded};

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
        let placed = datastore_of(&world, &path, &query).and_then(|(datastore, path)| {
            world.check_new_file(&datastore, &path)?;
            world.check_space(&datastore, length, &path)?;
            Ok((datastore, path))
        });
        placed.map(|place| (place, world.fresh_path()))
    };
    let ((datastore, path), file) = match begun {
        Ok(begun) => begun,
        Err(fault) => return Ok(plain(StatusCode::CONFLICT, &fault.message)),
    };
    let (sender, pieces) = mpsc::channel(AHEAD);
    let place = file.clone();
    let writer = tokio::task::spawn_blocking(move || write(File::create(place)?, pieces));
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
    let mut world = entrance.shared.write();
    let kept = world.datastore_mut(&datastore).map(|store| {
        let uploaded = Uploaded { file, length };
        store.files.insert(path, Entry::Uploaded(uploaded));
    });
    Ok(match kept {
        Ok(()) => plain(StatusCode::CREATED, ""),
        Err(fault) => plain(StatusCode::INTERNAL_SERVER_ERROR, &fault.message),
    })
}

fn write(mut file: File, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<u64> {
    let mut written = 0;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece)?;
        written += piece.len() as u64;
    }
    Ok(written)
}
