//! Sessions of the server's, also those of other processes.
//!
//! A session's key ends it, and on some servers the key is the very cookie that stands for the
//! session: outside of this file it is known by its digest only.

use super::{Session, property};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;
use sha2::{Digest, Sha256};

/// By what a session may be known in files.
pub(super) fn digest(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the server has the session with this digest.
///
/// # Errors
/// [`Kind::Auth`] without the privilege `Sessions.TerminateSession`, which listing needs, too.
pub async fn exists(session: &Session, wanted: &str) -> Result<bool> {
    Ok(key_of(session, wanted).await?.is_some())
}

/// Ends the session with this digest, and with it what it holds; whether there was one.
///
/// # Errors
/// As [`exists`], and what else the server answers.
pub async fn terminate(session: &Session, wanted: &str) -> Result<bool> {
    let Some(key) = key_of(session, wanted).await? else {
        return Ok(false);
    };
    let manager = &session.content().session_manager;
    let arguments = vec![Element::new("sessionId").text(&key)];
    let answer = session
        .call_idempotent(manager, "TerminateSession", arguments)
        .await;
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn key_of(session: &Session, wanted: &str) -> Result<Option<String>> {
    let manager = &session.content().session_manager;
    let read = property::read(session, manager, &["sessionList"])
        .await
        .context("list the server's sessions")?;
    let Some(list) = read.get("sessionList") else {
        return Err(Error::new(
            Kind::Auth,
            "the server does not list its sessions",
        ));
    };
    let mut keys = list.children.iter().filter_map(|one| one.text_at("key"));
    let found = keys.find(|key| digest(key) == wanted);
    Ok(found.map(str::to_owned))
}
