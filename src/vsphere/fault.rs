//! What the server's faults mean.

use crate::error::{Error, Kind};
use crate::transport::soap::Node;

/// The error a LocalizedMethodFault (`info.error`, `missingSet.fault`, `lease.error`) stands for.
pub fn localized(node: &Node) -> Error {
    Error::new(
        Kind::Fault,
        node.text_at("localizedMessage").unwrap_or_default(),
    )
}
