//! `/folder/<path>?dcPath=&dsName=`: datastore files over HTTP, to read as a whole or from one range, and to put there.

mod upload;

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;

use crate::wire::{Fault, Outcome, Ref};
use crate::world::World;
use crate::world::datastore::{Contents, DiskFile, Entry};

use super::body::{Body, Ending};
use super::control::{decoded, query};
use super::line::Line;
use super::sdk::session_of;
use super::{Entrance, Reply, plain};

/// Bytes read from a disk at a time.
const PIECE: u64 = 256 << 10;

/// What a file consists of.
enum Source {
    Bytes(Bytes),
    Disk(Contents, u64),
    /// What somebody put there.
    File(File, u64),
}

impl Source {
    fn length(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::Disk(_, length) | Source::File(_, length) => *length,
        }
    }
}

pub async fn answer(request: Request<Incoming>, line: &Arc<Line>, entrance: &Entrance) -> Reply {
    if session_of(&entrance.shared, request.headers()).is_none() {
        return Ok(plain(StatusCode::UNAUTHORIZED, "there is no session"));
    }
    if *request.method() == Method::PUT {
        return upload::receive(request, entrance).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET, HEAD and PUT",
        ));
    }
    let path = decoded(request.uri().path().trim_start_matches("/folder/"));
    let query = query(request.uri().query().unwrap_or_default());
    let source = match find(&entrance.shared.read(), &path, &query) {
        Ok(source) => source,
        Err(fault) => return Ok(plain(StatusCode::NOT_FOUND, &fault.message)),
    };
    let length = source.length();
    let Some((start, end)) = range(request.headers(), length) else {
        return Ok(plain(StatusCode::RANGE_NOT_SATISFIABLE, "no such range"));
    };
    let body = if *request.method() == Method::HEAD {
        Body::full("")
    } else {
        body(source, start, end, line)
    };
    let mut response = Response::new(body);
    let partial = (start, end) != (0, length);
    if partial {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let text = format!("bytes {start}-{}/{length}", end - 1);
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
    }
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, (end - start).into());
    response
        .headers_mut()
        .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// The datastore, and the path on it.
fn datastore_of(
    world: &World,
    path: &str,
    query: &HashMap<String, String>,
) -> Outcome<(Ref, String)> {
    let named = |name: &str| query.get(name).map(String::as_str);
    let datacenters = world.of_kind("Datacenter");
    let wanted = named("dcPath").map(|path| path.trim_start_matches('/'));
    let datacenter = datacenters.iter().find(|datacenter| {
        wanted.is_none_or(|wanted| world.node(datacenter).is_ok_and(|node| node.name == wanted))
    });
    let datacenter = datacenter.ok_or_else(|| Fault::bad_path(path))?;
    let datastore = world.datastore_named(named("dsName").unwrap_or_default(), Some(datacenter))?;
    let path = world.friendly(&datastore, path.to_owned());
    Ok((datastore, path))
}

fn find(world: &World, path: &str, query: &HashMap<String, String>) -> Outcome<Source> {
    let (datastore, path) = datastore_of(world, path, query)?;
    let store = world.datastore(&datastore)?;
    let missing = || Fault::file("FileNotFound", &world.path_text(&datastore, &path));
    if let Some(file) = store
        .disk_of_extent(&path)
        .and_then(|path| store.disk(&path))
    {
        return Ok(Source::Disk(file.contents.clone(), file.capacity));
    }
    match store.files.get(&path) {
        Some(Entry::Text(text)) => Ok(Source::Bytes(text.clone().into())),
        Some(Entry::Uploaded(uploaded)) => {
            // Open, it can be read even if it is removed meanwhile.
            let file = File::open(uploaded.file.as_path())?;
            Ok(Source::File(file, uploaded.length))
        }
        Some(Entry::Disk(file)) => Ok(Source::Bytes(descriptor(file, &path).into())),
        _ => Err(missing()),
    }
}

/// What stands in a disk's `.vmdk` file.
fn descriptor(file: &DiskFile, path: &str) -> String {
    let extent = crate::world::path::file_of(path).trim_end_matches(".vmdk");
    format!(
        "# Disk DescriptorFile\nversion=1\nCID={:08x}\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\n\
         RW {} VMFS \"{extent}-flat.vmdk\"\n\nddb.adapterType = \"{}\"\nddb.uuid = \"{}\"\n",
        file.cid,
        file.capacity / crate::disk::SECTOR,
        file.adapter_type,
        crate::world::ids::spaced_uuid(&file.uuid)
    )
}

/// The bytes that are asked for, from the first to the one behind the last; `None` where there are none such.
fn range(headers: &HeaderMap, length: u64) -> Option<(u64, u64)> {
    let Some(text) = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
    else {
        return Some((0, length));
    };
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) => (first, last.saturating_add(1).min(length)),
        (Some(first), None) => (first, length),
        (None, Some(count)) => (length.saturating_sub(count), length),
        (None, None) => return None,
    };
    (start < end).then_some((start, end))
}

fn body(source: Source, start: u64, end: u64, line: &Arc<Line>) -> Body {
    // The range lies within the bytes, so it fits in memory.
    if let Source::Bytes(bytes) = source {
        return Body::full(bytes.slice(start as usize..end as usize));
    }
    let (sender, pieces) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut at = start;
        while at < end {
            let mut piece = vec![0; PIECE.min(end - at) as usize];
            let read = match &source {
                Source::Bytes(_) => return,
                Source::Disk(contents, _) => contents.read().read_at(&mut piece, at),
                Source::File(file, _) => file.read_exact_at(&mut piece, at),
            };
            at += piece.len() as u64;
            let sent = sender.blocking_send(read.map(|()| piece.into()).map_err(|_| Ending::Close));
            if sent.is_err() {
                return;
            }
        }
    });
    Body::stream(pieces, line.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let asked = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(text));
            range(&headers, 100)
        };
        assert_eq!(asked("bytes=0-9"), Some((0, 10)));
        assert_eq!(asked("bytes=90-"), Some((90, 100)));
        assert_eq!(asked("bytes=-5"), Some((95, 100)));
        assert_eq!(asked("bytes=90-200"), Some((90, 100)));
        assert_eq!(asked("bytes=100-"), None);
        assert_eq!(asked("lines=1-2"), None);
        assert_eq!(range(&HeaderMap::new(), 100), Some((0, 100)));
    }
}
