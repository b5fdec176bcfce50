//! The text descriptor embedded in a stream. Words in it are facts about the disk; a file named in it is never opened.

use super::SECTOR;
use super::flaw::{Flaw, FlawKind};
use super::header::Header;

/// Longest line that is taken: real ones stay below 200 bytes.
const MAX_LINE: usize = 4096;
/// CID that stands for "no parent".
const NO_PARENT: &str = "ffffffff";

/// What the descriptor of a stream says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Always `streamOptimized`.
    pub create_type: String,
    /// Content id, as written (hexadecimal from most writers).
    pub cid: Option<String>,
    /// Nominal size in bytes by the extent line. VirtualBox rounds the header's capacity up to the grain, not this.
    pub extent_bytes: u64,
    /// Name in the extent line; it means nothing.
    pub extent_name: String,
    /// `ddb.adapterType`: `lsilogic`, `buslogic`, `ide`, ...
    pub adapter_type: Option<String>,
    /// `ddb.virtualHWVersion`.
    pub hardware_version: Option<String>,
    /// `ddb.uuid`.
    pub uuid: Option<String>,
    /// `ddb.longContentID`.
    pub long_content_id: Option<String>,
    /// `ddb.thinProvisioned`, where it is said.
    pub thin_provisioned: Option<bool>,
}

impl Descriptor {
    /// Reads the descriptor, which begins at byte `offset` of the stream that `header` heads.
    pub(crate) fn parse(text: &[u8], header: &Header, offset: u64) -> Result<Descriptor, Flaw> {
        let flaw = |kind, message: String| Flaw::new(offset, kind, message);
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        let mut descriptor = Descriptor::default();
        let mut extents = 0;
        for line in text.split(|&b| b == b'\n') {
            if line.len() > MAX_LINE {
                let message = format!(
                    "descriptor line of {} bytes, expected at most {MAX_LINE}",
                    line.len()
                );
                return Err(flaw(FlawKind::BadDescriptor, message));
            }
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let first = line.split_ascii_whitespace().next().unwrap_or_default();
            if ["RW", "RDONLY", "NOACCESS"].contains(&first) {
                extents += 1;
                descriptor
                    .take_extent(line)
                    .map_err(|message| flaw(FlawKind::BadDescriptor, message))?;
            } else if let Some((key, value)) = line.split_once('=') {
                let value = value.trim();
                let value = value
                    .strip_prefix('"')
                    .and_then(|v| v.strip_suffix('"'))
                    .unwrap_or(value);
                descriptor
                    .take_entry(key.trim(), value)
                    .map_err(|message| flaw(FlawKind::HasParent, message))?;
            } else {
                let message = format!(
                    "descriptor line \"{}\" is neither an extent nor an entry",
                    shorten(line)
                );
                return Err(flaw(FlawKind::BadDescriptor, message));
            }
        }
        if descriptor.create_type != "streamOptimized" {
            let message = format!(
                "createType \"{}\", expected \"streamOptimized\"",
                shorten(&descriptor.create_type)
            );
            return Err(flaw(FlawKind::BadDescriptor, message));
        }
        if extents != 1 {
            return Err(flaw(
                FlawKind::BadDescriptor,
                format!("{extents} extents in the descriptor, expected one"),
            ));
        }
        let nominal = descriptor.extent_bytes;
        let rounded = nominal.checked_next_multiple_of(header.grain_bytes());
        if header.capacity_bytes() != nominal && Some(header.capacity_bytes()) != rounded {
            let message = format!(
                "extent of {nominal} bytes in the descriptor, but a capacity of {} bytes in the header",
                header.capacity_bytes()
            );
            return Err(flaw(FlawKind::BadDescriptor, message));
        }
        Ok(descriptor)
    }

    fn take_extent(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.splitn(4, char::is_whitespace).skip(1);
        let sectors = words.next().and_then(|s| s.parse::<u64>().ok());
        let bytes = sectors
            .and_then(|s| s.checked_mul(SECTOR))
            .filter(|&b| b > 0);
        let Some(bytes) = bytes else {
            return Err(format!("extent line \"{}\" without a size", shorten(line)));
        };
        match words.next() {
            Some("SPARSE") => {}
            other => {
                return Err(format!(
                    "extent of type \"{}\", expected \"SPARSE\": nothing outside the stream is ever opened",
                    shorten(other.unwrap_or_default())
                ));
            }
        }
        self.extent_bytes = bytes;
        self.extent_name = words
            .next()
            .unwrap_or_default()
            .trim()
            .trim_matches('"')
            .to_owned();
        Ok(())
    }

    fn take_entry(&mut self, key: &str, value: &str) -> Result<(), String> {
        let some = || Some(value.to_owned());
        match key {
            "createType" => self.create_type = value.to_owned(),
            "CID" => self.cid = some(),
            "parentCID" if !value.eq_ignore_ascii_case(NO_PARENT) => {
                return Err(format!(
                    "parentCID {}, expected {NO_PARENT}: the disk is a difference to another",
                    shorten(value)
                ));
            }
            "parentFileNameHint" => {
                return Err("parentFileNameHint: the disk is a difference to another".to_owned());
            }
            "ddb.adapterType" => self.adapter_type = some(),
            "ddb.virtualHWVersion" => self.hardware_version = some(),
            "ddb.uuid" => self.uuid = some(),
            "ddb.longContentID" => self.long_content_id = some(),
            "ddb.thinProvisioned" => self.thin_provisioned = Some(value == "1"),
            _ => {}
        }
        Ok(())
    }
}

/// Enough of a hostile word to recognise it in a message.
pub(super) fn shorten(word: &str) -> String {
    let short: String = word.chars().take(60).collect();
    short.escape_debug().to_string()
}
