//! A lease's manifest: what the server counted and digested of the disks that it sent or took.

use super::lease::is_disk;
use super::{Moref, Session};
use crate::log::Level;
use crate::transport::soap::{Element, Node};

/// What the server says it sent or received for one disk.
#[derive(Clone, Debug, Default)]
pub struct ManifestEntry {
    /// The device.
    pub key: String,
    /// SHA-1 of the stream in hexadecimal, where the server computed one.
    pub sha1: Option<String>,
    /// SHA-256 of the stream in hexadecimal, where the server computed one.
    pub sha256: Option<String>,
    /// The stream's length in bytes; 0 where the server does not say.
    pub size: u64,
    /// The disk's size in bytes, where given.
    pub capacity: Option<u64>,
}

/// Has the server digest the disks with SHA-256, which is to be said before the first byte moves:
/// otherwise it takes their SHA-1. Whether it does; no answer ends a transfer.
pub(super) async fn ask_for_sha256<'a>(
    session: &Session,
    moref: &Moref,
    disks: impl Iterator<Item = &'a str>,
) -> bool {
    let wishes = disks.map(|key| {
        Element::new("deviceUrlsToChecksumTypes")
            .with_text("key", key)
            .with_text("value", "sha256")
    });
    let method = "HttpNfcLeaseSetManifestChecksumType";
    let asked = session.call_idempotent(moref, method, wishes.collect());
    match asked.await {
        Ok(_) => true,
        Err(error) => {
            session.log().record(Level::Warn, || {
                format!("the server is not to take SHA-256, and takes SHA-1: {error}")
            });
            false
        }
    }
}

/// What the server says of the disks that a lease moved; empty where it does not say, for whatever
/// reason.
pub(super) async fn read(session: Session, moref: Moref) -> Vec<ManifestEntry> {
    let answer = session
        .call_idempotent(&moref, "HttpNfcLeaseGetManifest", Vec::new())
        .await;
    match answer {
        Ok(answer) => answer
            .children_named("returnval")
            .filter(|node| is_disk(node))
            .map(entry)
            .collect(),
        Err(error) => {
            session
                .log()
                .record(Level::Warn, || format!("no manifest of {moref}: {error}"));
            Vec::new()
        }
    }
}

pub(crate) fn entry(node: &Node) -> ManifestEntry {
    let text = |name: &str| {
        node.text_at(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    // The older field holds a SHA-1, the newer pair whichever was asked for.
    let digest = |algorithm: &str| {
        text("checksum").filter(|_| {
            node.text_at("checksumType")
                .is_some_and(|told| told.eq_ignore_ascii_case(algorithm))
        })
    };
    ManifestEntry {
        key: text("key").unwrap_or_default(),
        sha1: text("sha1").or_else(|| digest("sha1")),
        sha256: digest("sha256"),
        size: node.parse_at("size").unwrap_or(0),
        capacity: node.parse_at("capacity"),
    }
}
