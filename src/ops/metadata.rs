//! What a backup knows of itself: versioned JSON, kept by the service beside the stream.

use crate::error::{Error, Kind, Result};
use crate::service::{Format, LONGEST_METADATA, check_metadata};
use crate::transport::tls::unhex;
use crate::vmdk::Facts;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The format's name, in every metadata text.
pub const FORMAT: &str = "vmdk-backup";
/// The newest version this library reads, and the one it writes. A reader refuses a newer one,
/// and ignores fields it does not know.
pub const VERSION: u32 = 1;

/// A backup's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The caller's name of the backup.
    pub backup_id: String,
    /// What was backed up.
    pub volume: VolumeRecord,
    /// The bytes the service keeps.
    pub stream: StreamRecord,
    /// Where they come from.
    pub source: SourceRecord,
    /// When.
    pub times: Times,
}

/// The volume, as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The backing's name.
    pub name: String,
    /// The volume's id.
    #[serde(default)]
    pub id: Option<String>,
    /// The disk's size in bytes.
    pub size_bytes: u64,
    /// `thin`, `thick` or `eagerZeroedThick`.
    pub disk_type: String,
    /// The controller's kind, where a backing can be made with it.
    #[serde(default)]
    pub adapter_type: Option<String>,
    /// The storage profile the caller named.
    #[serde(default)]
    pub storage_profile: Option<String>,
    /// The disk's UUID.
    #[serde(default)]
    pub disk_uuid: Option<String>,
    /// The disk's mode.
    #[serde(default)]
    pub disk_mode: Option<String>,
    /// The backing's instance UUID.
    #[serde(default)]
    pub instance_uuid: Option<String>,
    /// The id that OpenStack's volume service noted in the backing's extra configuration. Nothing
    /// else of that is recorded: a restore uses nothing else, and there may be secrets in it.
    #[serde(default)]
    pub cinder_id: Option<String>,
}

/// The stream, as it was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// `streamOptimized`; `raw` where the service keeps the disk that was decoded from it.
    pub format: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The size in bytes of the disk it decodes to.
    pub capacity: u64,
    /// Its grains.
    pub grains: u64,
    /// Bytes of the disk in grains that are not all zero.
    pub populated: u64,
    /// The digest of the disk's contents in hexadecimal, the same for every encoding; none where
    /// the grains were not inflated.
    #[serde(default)]
    pub content_digest: Option<String>,
}

/// Where a backup comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The server's product name and version.
    pub product: String,
    /// The server's instance UUID, where it has one.
    #[serde(default)]
    pub server_uuid: Option<String>,
    /// The backing's moref there.
    pub backing: String,
    /// The disk's device key.
    pub disk_key: i32,
    /// The disk's datastore path.
    pub disk_file: String,
    /// The operation's id.
    pub operation: String,
    /// This library's version.
    pub library: String,
}

/// When a backup was made; RFC 3339, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The beginning of the operation.
    pub started: String,
    /// The end of the transfer.
    pub finished: String,
}

impl StreamRecord {
    /// The longest record there can be: with it, metadata can be measured before the disk moves.
    pub(super) fn longest(format: Format) -> Self {
        let digest = hex(&[0; 32]);
        StreamRecord {
            format: name_of(format).into(),
            length: u64::MAX,
            sha256: digest.clone(),
            capacity: u64::MAX,
            grains: u64::MAX,
            populated: u64::MAX,
            content_digest: Some(digest),
        }
    }

    /// What `facts` says of a stream.
    pub fn of(facts: &Facts, format: Format) -> Self {
        StreamRecord {
            format: name_of(format).into(),
            length: facts.length,
            sha256: hex(&facts.sha256),
            capacity: facts.capacity,
            grains: facts.grains,
            populated: facts.populated,
            content_digest: facts.content_digest.map(|digest| hex(&digest)),
        }
    }

    /// The content digest, where it is one.
    pub fn contents(&self) -> Option<[u8; 32]> {
        let digest = self.content_digest.as_deref().and_then(unhex)?;
        digest.try_into().ok()
    }

    /// What the service keeps.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a format that this library does not know.
    pub fn format(&self) -> Result<Format> {
        [Format::Stream, Format::Raw]
            .into_iter()
            .find(|format| name_of(*format) == self.format)
            .ok_or_else(|| {
                let message = format!("metadata: the format {:?} is not known", self.format);
                Error::new(Kind::Unsupported, message)
                    .remedy("use the library that made the backup, or a newer one")
            })
    }

    /// Refuses to restore a backup as what it is not.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]; [`Kind::Unsupported`] for an unknown format.
    pub fn require_format(&self, wanted: Format) -> Result<()> {
        require_format(self.format()?, wanted)
    }

    /// Compares the contents of a disk that was read with those that were recorded.
    ///
    /// # Errors
    /// [`Kind::Corrupt`].
    pub fn require_contents(&self, capacity: u64, digest: Option<[u8; 32]>) -> Result<()> {
        let read = digest.map(|digest| hex(&digest));
        let same = match (&self.content_digest, read) {
            (Some(recorded), Some(read)) => recorded.to_lowercase() == read,
            _ => true,
        };
        if same && self.capacity == capacity {
            return Ok(());
        }
        Err(Error::new(
            Kind::Corrupt,
            "the disk is not the one that was backed up: its contents differ",
        ))
    }

    /// Compares a stream that was read with the one that was recorded.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] naming what differs.
    pub fn require(&self, facts: &Facts) -> Result<()> {
        let read = StreamRecord::of(facts, Format::Stream);
        let differences: Vec<String> = [
            ("length", self.length.to_string(), read.length.to_string()),
            ("SHA-256", self.sha256.to_lowercase(), read.sha256),
            (
                "capacity",
                self.capacity.to_string(),
                read.capacity.to_string(),
            ),
        ]
        .into_iter()
        .chain(
            self.content_digest
                .as_ref()
                .zip(read.content_digest)
                .map(|(recorded, read)| ("content digest", recorded.to_lowercase(), read)),
        )
        .filter(|(_, recorded, read)| recorded != read)
        .map(|(what, recorded, read)| format!("{what} is {read}, recorded was {recorded}"))
        .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Kind::Corrupt,
            format!(
                "the stream is not the one that was backed up: {}",
                differences.join("; ")
            ),
        ))
    }
}

/// Refuses to read a backup that is `kept` in one format as what it is not.
///
/// # Errors
/// [`Kind::InvalidArgument`].
pub fn require_format(kept: Format, wanted: Format) -> Result<()> {
    if kept == wanted {
        return Ok(());
    }
    Err(Error::new(
        Kind::InvalidArgument,
        format!("format: the backup is {kept}, not {wanted}"),
    ))
}

fn name_of(format: Format) -> &'static str {
    match format {
        Format::Stream => "streamOptimized",
        Format::Raw => "raw",
    }
}

impl Metadata {
    /// The JSON text for the service.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for metadata that [`Metadata::from_json`] would not read.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::InvalidArgument, format!("write metadata: {e}")))?;
        check_metadata(&text)?;
        Ok(text)
    }

    /// Reads what a service kept.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for what is no metadata, [`Kind::Unsupported`] for a newer version.
    pub fn from_json(text: &str) -> Result<Metadata> {
        let corrupt = |why: String| Error::new(Kind::Corrupt, format!("metadata: {why}"));
        if text.len() > LONGEST_METADATA {
            return Err(corrupt(format!("{} bytes are too long", text.len())));
        }
        #[derive(Deserialize)]
        struct Envelope {
            format: String,
            version: u32,
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))?;
        if envelope.format != FORMAT {
            return Err(corrupt(format!("the format is {:?}", envelope.format)));
        }
        if envelope.version != VERSION {
            return Err(Error::new(
                Kind::Unsupported,
                format!("metadata: version {} is not known", envelope.version),
            )
            .remedy("use the library that made the backup, or a newer one"));
        }
        serde_json::from_str(text).map_err(|e| corrupt(e.to_string()))
    }
}

/// Now, in RFC 3339 and UTC.
pub fn now() -> String {
    // Only a year beyond 9999 has no RFC 3339 form.
    OffsetDateTime::from(SystemTime::now())
        .format(&Rfc3339)
        .unwrap_or_default()
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        Metadata {
            format: FORMAT.into(),
            version: VERSION,
            backup_id: "b1".into(),
            volume: VolumeRecord {
                name: "v".into(),
                id: None,
                size_bytes: 512,
                disk_type: "thin".into(),
                adapter_type: Some("lsiLogic".into()),
                storage_profile: None,
                disk_uuid: None,
                disk_mode: None,
                instance_uuid: Some("i".into()),
                cinder_id: None,
            },
            stream: StreamRecord {
                format: "streamOptimized".into(),
                length: 1,
                sha256: "aa".into(),
                capacity: 512,
                grains: 1,
                populated: 512,
                content_digest: Some("cc".into()),
            },
            source: SourceRecord {
                product: "p".into(),
                server_uuid: None,
                backing: "vm-1".into(),
                disk_key: 2000,
                disk_file: "[ds] v/v.vmdk".into(),
                operation: "0".into(),
                library: "0".into(),
            },
            times: Times {
                started: now(),
                finished: now(),
            },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let metadata = sample();
        let text = metadata.to_json().unwrap();
        assert_eq!(Metadata::from_json(&text).unwrap(), metadata);
    }

    #[test]
    fn unknown_fields_are_ignored_and_newer_versions_refused() {
        let text = sample().to_json().unwrap();
        let more = text.replacen('{', "{\"more\": [1],", 1);
        assert!(Metadata::from_json(&more).is_ok());
        let newer = text.replace("\"version\": 1", "\"version\": 2");
        assert_eq!(
            Metadata::from_json(&newer).unwrap_err().kind(),
            Kind::Unsupported
        );
    }

    #[test]
    fn metadata_is_written_up_to_the_length_that_is_read() {
        let mut metadata = sample();
        let rest = LONGEST_METADATA - metadata.to_json().unwrap().len();
        metadata.source.product += &"x".repeat(rest);
        let text = metadata.to_json().unwrap();
        assert_eq!(text.len(), LONGEST_METADATA);
        assert_eq!(Metadata::from_json(&text).unwrap(), metadata);
        metadata.source.product.push('x');
        let error = metadata.to_json().unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        let longer = format!("{text} ");
        assert_eq!(
            Metadata::from_json(&longer).unwrap_err().kind(),
            Kind::Corrupt
        );
    }

    #[test]
    fn garbage_is_corrupt() {
        for text in ["", "{}", "[1", "{\"format\":\"x\",\"version\":1}", "\u{0}"] {
            assert_eq!(Metadata::from_json(text).unwrap_err().kind(), Kind::Corrupt);
        }
        let deep = "[".repeat(100_000);
        assert_eq!(
            Metadata::from_json(&deep).unwrap_err().kind(),
            Kind::Corrupt
        );
    }
}
