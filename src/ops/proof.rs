//! What a transfer must prove before anybody relies on it.

use super::Summary;
use super::metadata::hex;
use crate::error::{Error, Kind, Result};
use crate::log::Log;
use crate::runtime::spawn_thread;
use crate::vmdk::{Check, CheckOptions, Facts, Flaw, Level};
use crate::vsphere::lease::ManifestEntry;

/// A check of a stream, with its workers on threads of the library's own.
pub(super) fn new_check(level: Level) -> Result<Check> {
    check_with(&CheckOptions {
        level,
        spawn: |name, body| spawn_thread(name, body),
        ..CheckOptions::default()
    })
}

/// A check as `options` say.
pub(super) fn check_with(options: &CheckOptions) -> Result<Check> {
    Check::new(options).map_err(|e| Error::io("start the threads of the check", &e))
}

/// A stream that is not whole.
pub(super) fn corrupt(flaw: Flaw) -> Error {
    Error::new(
        Kind::Corrupt,
        format!("the stream is not a whole disk: {flaw}"),
    )
}

/// Compares what the server says of the disk in `slot` with what was seen of it here; what it
/// leaves unsaid becomes a notice.
pub(super) fn compare_manifest(
    manifest: &[ManifestEntry],
    slot: &str,
    facts: &Facts,
    notices: &mut Vec<String>,
    log: &Log,
) -> Result<()> {
    let suffix = format!("/{slot}");
    let named = manifest.iter().find(|entry| entry.key.ends_with(&suffix));
    let entry = match (named, manifest) {
        (Some(entry), _) | (None, [entry]) => entry,
        _ => {
            notices.push("the server gave no manifest: it did not confirm the stream".into());
            return Ok(());
        }
    };
    log.record(crate::log::Level::Debug, || format!("manifest: {entry:?}"));
    let mut differences = Vec::new();
    let mut confirmed = false;
    let mut compare = |what: &str, server: String, ours: String| {
        if server == ours {
            confirmed = true;
        } else {
            differences.push(format!("its {what} is {server}, here it is {ours}"));
        }
    };
    if entry.size > 0 {
        compare("length", entry.size.to_string(), facts.length.to_string());
    }
    if let Some(capacity) = entry.capacity.filter(|capacity| *capacity > 0) {
        compare("capacity", capacity.to_string(), facts.capacity.to_string());
    }
    if let Some(sha1) = &entry.sha1 {
        compare("SHA-1", sha1.to_lowercase(), hex(&facts.sha1));
    }
    if let Some((algorithm, value)) = &entry.checksum {
        match algorithm.to_lowercase().replace('-', "").as_str() {
            "sha1" => compare("SHA-1", value.to_lowercase(), hex(&facts.sha1)),
            "sha256" => compare("SHA-256", value.to_lowercase(), hex(&facts.sha256)),
            _ => {}
        }
    }
    if !differences.is_empty() {
        return Err(Error::new(
            Kind::Corrupt,
            format!(
                "the server's manifest disagrees: {}",
                differences.join("; ")
            ),
        )
        .retryable());
    }
    if !confirmed {
        notices.push("the server's manifest is empty: it did not confirm the stream".into());
    }
    Ok(())
}

impl Summary {
    /// Records what a transfer moved.
    pub(super) fn moved(&mut self, facts: &Facts) {
        self.capacity = facts.capacity;
        self.stream_length = facts.length;
        self.populated = facts.populated;
        self.stream_sha256 = facts.sha256;
        self.content_digest = facts.content_digest;
    }
}
