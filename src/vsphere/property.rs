//! Properties of managed objects, by the PropertyCollector.

use crate::error::{Error, Kind, Result};
use crate::transport::soap::Node;
use crate::vsphere::{Moref, Session};
use std::str::FromStr;

/// What was read of one object.
#[derive(Clone, Debug, Default)]
pub struct Properties(Vec<(String, Node)>);

impl Properties {
    /// The value of the property at `path`, where it has one.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0
            .iter()
            .find(|(known, _)| known == path)
            .map(|(_, value)| value)
    }

    /// The value as text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path).map(|node| node.text.as_str())
    }

    /// The value as a reference.
    pub fn moref(&self, path: &str) -> Option<Moref> {
        self.get(path).and_then(Moref::from_node)
    }

    /// The value as an array of references.
    pub fn morefs(&self, path: &str) -> Vec<Moref> {
        let array = self.get(path).into_iter();
        array
            .flat_map(|node| node.children.iter().filter_map(Moref::from_node))
            .collect()
    }

    /// The value, where it is a `T`.
    pub fn parse<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }
}

/// Reads properties of one object.
pub async fn read(_session: &Session, _object: &Moref, _paths: &[&str]) -> Result<Properties> {
    Err(unwritten())
}

/// Reads the same properties of many objects of one type.
pub async fn read_each(
    _session: &Session,
    _objects: &[Moref],
    _paths: &[&str],
) -> Result<Vec<(Moref, Properties)>> {
    Err(unwritten())
}

/// Reads properties of all objects of type `kind` below `container`.
pub async fn below(
    _session: &Session,
    _container: &Moref,
    _kind: &str,
    _paths: &[&str],
) -> Result<Vec<(Moref, Properties)>> {
    Err(unwritten())
}

/// Waits until `until` finds in an object's properties what it looks for.
pub async fn wait<T>(
    _session: &Session,
    _object: &Moref,
    _paths: &[&str],
    _until: impl Fn(&Properties) -> Result<Option<T>> + Send,
) -> Result<T> {
    Err(unwritten())
}

fn unwritten() -> Error {
    Error::new(Kind::Unsupported, "properties: not there yet")
}
