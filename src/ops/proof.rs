//! What a transfer must prove before anybody relies on it.

use super::Summary;
use super::metadata::{StreamRecord, hex};
use super::operation::Operation;
use crate::error::{Error, Kind, Result};
use crate::runtime::spawn_thread;
use crate::vmdk::{Check, CheckOptions, Facts, Flaw, FlawKind, Level};
use crate::vsphere::manifest::ManifestEntry;

/// A check of a stream on its way from or to the server, with its workers on threads of the
/// library's own.
pub(super) fn new_check(level: Level, sha1: bool) -> Result<Check> {
    check_with(&CheckOptions {
        level,
        sha1,
        spawn: |name, body| spawn_thread(name, body),
        ..CheckOptions::default()
    })
}

/// A check as `options` say.
pub(super) fn check_with(options: &CheckOptions) -> Result<Check> {
    Check::new(options).map_err(|e| Error::io("start the threads of the check", &e))
}

/// A stream that nobody recorded and that is not whole: damaged, unless its bytes are those of
/// another format.
pub(super) fn refused(flaw: Flaw) -> Error {
    if flaw.foreign {
        return Error::new(
            Kind::Unsupported,
            format!("not a stream-optimized VMDK: {flaw}"),
        );
    }
    Error::new(
        Kind::Corrupt,
        format!("the stream is not a whole disk: {flaw}"),
    )
}

/// The same of a stream that this library recorded, whose version it knew: another is damage.
pub(super) fn corrupt(flaw: Flaw) -> Error {
    refused(Flaw {
        foreign: flaw.foreign && flaw.kind != FlawKind::UnsupportedVersion,
        ..flaw
    })
}

/// A stream that a server sent and that is not whole: it was damaged on its way, whatever it looks
/// like, and may be whole the next time.
pub(super) fn damaged(flaw: Flaw) -> Error {
    refused(Flaw {
        foreign: false,
        ..flaw
    })
    .retryable()
}

/// Compares what the server says of the disk in `slot` with what was seen of it here; what it
/// leaves unsaid becomes a notice.
///
/// # Errors
/// Retryable where they differ, and once where the server has only the digest that was not computed.
pub(super) fn compare_manifest(
    op: &mut Operation<'_>,
    manifest: &[ManifestEntry],
    slot: &str,
    facts: &Facts,
    notices: &mut Vec<String>,
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
    op.log()
        .record(crate::log::Level::Debug, || format!("manifest: {entry:?}"));
    let mut differences = Vec::new();
    let mut compare = |what: &str, server: String, ours: String| {
        if server != ours {
            differences.push(format!("its {what} is {server}, here it is {ours}"));
        }
    };
    if entry.size > 0 {
        compare("length", entry.size.to_string(), facts.length.to_string());
    }
    if let Some(capacity) = entry.capacity.filter(|capacity| *capacity > 0) {
        compare("capacity", capacity.to_string(), facts.capacity.to_string());
    }
    let sha1 = entry.sha1.as_ref().zip(facts.sha1);
    if let Some((server, ours)) = sha1 {
        compare("SHA-1", server.to_lowercase(), hex(&ours));
    }
    if let Some(server) = &entry.sha256 {
        compare("SHA-256", server.to_lowercase(), hex(&facts.sha256));
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
    if entry.sha1.is_some() && sha1.is_none() && entry.sha256.is_none() {
        return Err(op.want_sha1());
    }
    if sha1.is_none() && entry.sha256.is_none() {
        notices.push("the server's manifest has no digest: it did not confirm the stream".into());
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

    /// Adds what was found of the same stream when it was recorded, and was not looked for again.
    pub(super) fn known(&mut self, recorded: &StreamRecord) {
        if self.content_digest.is_none() {
            self.content_digest = recorded.contents();
            self.populated = recorded.populated;
        }
    }
}
