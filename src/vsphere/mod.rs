//! Managed objects and what is done with them.

pub(crate) mod address;
pub mod backing;
mod below;
pub mod beside;
mod bounds;
pub mod cleanup;
pub mod clock;
pub(crate) mod content;
pub(crate) mod data_url;
pub mod datastore;
pub mod device;
mod endpoint;
pub mod fault;
pub mod file_manager;
pub mod find;
mod folder;
mod host;
pub mod lease;
mod login;
pub mod machine;
pub mod manifest;
mod names;
pub mod nfc;
pub mod placement;
pub mod property;
pub mod session;
pub mod sessions;
pub(crate) mod suspect;
pub mod tag;
pub mod task;
pub(crate) mod updates;
pub mod virtual_disk;

pub use session::Session;

use crate::error::{Error, Kind, Result};
use crate::transport::soap::{Element, Node};
use crate::volume::is_expressible;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A managed object reference: names an object of one server while that object lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Moref {
    /// The object's type (`VirtualMachine`).
    pub kind: String,
    /// The server's name for it (`vm-42`).
    pub value: String,
}

impl Moref {
    /// A reference to an object of type `kind`.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        Moref {
            kind: kind.into(),
            value: value.into(),
        }
    }

    /// The reference in an element of an answer (`<obj type="VirtualMachine">vm-42</obj>`).
    pub fn from_node(node: &Node) -> Option<Self> {
        let kind = node.attribute("type")?;
        let value = node.text.trim();
        // A damaged reference would come back to the server as another one.
        let usable = !value.is_empty() && is_expressible(value) && is_expressible(kind);
        usable.then(|| Moref::new(kind, value))
    }
}

/// The object that a call returned.
///
/// # Errors
/// [`Kind::Fault`] when it returned none.
pub fn returned(answer: &Node) -> Result<Moref> {
    answer
        .child("returnval")
        .and_then(Moref::from_node)
        .ok_or_else(|| Error::new(Kind::Fault, format!("{} names no object", answer.name)))
}

impl fmt::Display for Moref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

impl Element {
    /// An element that refers to a managed object.
    pub fn moref(name: &str, object: &Moref) -> Self {
        Element::new(name)
            .attribute("type", &object.kind)
            .text(&object.value)
    }
}
