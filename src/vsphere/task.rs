//! Tasks: what the server does for longer than a call.

use crate::error::Result;
use crate::transport::soap::Node;
use crate::vsphere::{Moref, Session, property};

/// Waits until the task is done and returns its result.
pub async fn finish(session: &Session, task: &Moref) -> Result<Option<Node>> {
    property::wait(session, task, &["info"], |_| Ok(None)).await
}
