//! What the fuzzers call: the readers of words that come from a server, a service or a dead process, and that no caller
//! of the library reaches without one. Compiled for fuzzing only.

use crate::error::{Error, Kind, Result};
use crate::ops;
use crate::transport::soap::{self, Fault, Node};
use crate::vmdk::{Descriptor, Flaw, Header};
use crate::vsphere::content::ServiceContent;
use crate::vsphere::lease::{self, DeviceUrl};
use crate::vsphere::manifest::{self, ManifestEntry};
use crate::vsphere::property::{self, Properties};
use crate::vsphere::{Moref, data_url, task, updates};
use std::path::Path;
use std::time::Duration;

/// The descriptor in the second sector of a stream.
pub fn descriptor(header: &Header, text: &[u8]) -> std::result::Result<Descriptor, Flaw> {
    Descriptor::parse(text, header, 512)
}

/// The response or fault in an answer to `method`.
pub fn open(
    status: u16,
    body: &[u8],
    method: &str,
) -> Option<Result<std::result::Result<Node, Fault>>> {
    let status = reqwest::StatusCode::from_u16(status).ok()?;
    Some(soap::open_body(status, body, method))
}

/// What a server says of itself.
pub fn service_content(content: &Node) -> Result<ServiceContent> {
    ServiceContent::read(content)
}

/// The objects of a page of properties.
pub fn properties(page: Node) -> Result<Vec<(Moref, Properties)>> {
    property::read_page(page)
}

/// Changes of properties, applied.
pub fn update(
    object: &Moref,
    paths: &[String],
    updates: &Node,
    properties: &mut Properties,
) -> Result<bool> {
    updates::apply(object, paths, updates, properties)
}

/// What came of a task, as its `info` tells it.
pub fn task(properties: &Properties) -> Result<Option<Option<Node>>> {
    task::outcome(properties)?.transpose()
}

/// What a lease says of itself: its life time, its virtual machine, its devices.
pub fn lease(info: &Node) -> Result<(Duration, Moref, Vec<DeviceUrl>)> {
    let info = lease::Info::read(info)?;
    Ok((info.timeout, info.entity, info.urls))
}

/// Why a lease failed.
pub fn lease_error(error: Option<&Node>) -> Error {
    lease::lease_error(error)
}

/// What a server says it moved.
pub fn manifest_entry(entry: &Node) -> ManifestEntry {
    manifest::entry(entry)
}

/// The URL that a lease means.
pub fn device_url(url: &str, endpoint: &str) -> Result<url::Url> {
    let endpoint = url::Url::parse(endpoint)
        .map_err(|error| Error::new(Kind::InvalidArgument, error.to_string()))?;
    data_url::resolve(url, &endpoint, true)
}

/// The notes, in JSON, of each journal that a dead process left in a directory.
pub fn journals(directory: &Path) -> Result<Vec<Vec<String>>> {
    ops::read_journals(directory)
}
