//! Managed objects and what is done with them.

mod address;
mod content;
mod endpoint;
pub mod fault;
mod login;
pub mod property;
pub mod session;
pub mod task;
mod updates;

pub use session::Session;

use crate::transport::soap::{Element, Node};
use std::fmt;

/// A managed object reference: names an object of one server while that object lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
        (!value.is_empty()).then(|| Moref::new(kind, value))
    }
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
