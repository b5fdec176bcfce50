//! Markers: the first bytes of every structure after the metadata in front.

use super::flaw::FlawKind;
use super::header::{Header, TABLE_SECTORS};

/// Bytes of a marker that mean something, a progress marker's address included.
pub(crate) const MARKER_BYTES: usize = 24;
/// Bytes of a grain's marker before its zlib stream.
pub(crate) const GRAIN_MARKER_BYTES: usize = 12;

/// What comes next in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// A grain for sector `lba` of the disk, compressed to `size` bytes.
    Grain {
        lba: u64,
        size: usize,
    },
    EndOfStream,
    Table,
    Directory,
    Footer,
    /// Undocumented: vSphere sends it while it skips zeros, with the sector reached, often four times in a row.
    Progress {
        lba: u64,
    },
}

impl Marker {
    /// Reads a marker of a stream with this header. Its bytes after the type mean nothing (VMware's Java writer leaves
    /// those of earlier grains there), so a sector of zeros is an end-of-stream marker, but not the other way round.
    pub(crate) fn parse(
        b: &[u8; MARKER_BYTES],
        header: &Header,
    ) -> Result<Marker, (FlawKind, String)> {
        let (value, size, kind) = (le(&b[..8]), le(&b[8..12]), le(&b[12..16]));
        if size > 0 {
            return grain(value, size, header);
        }
        let (marker, expected) = match kind {
            0 => (Marker::EndOfStream, 0),
            1 => (Marker::Table, TABLE_SECTORS),
            2 => (Marker::Directory, header.directory_sectors()),
            3 => (Marker::Footer, 1),
            4 => (Marker::Progress { lba: le(&b[16..]) }, value),
            _ => {
                let message = format!("marker of unknown type {kind}");
                return Err((FlawKind::BadMarker, message));
            }
        };
        if value != expected {
            let message = format!("{} with value {value}, expected {expected}", marker.name());
            return Err((FlawKind::BadMarker, message));
        }
        Ok(marker)
    }

    /// What it is called in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Marker::Grain { .. } => "grain",
            Marker::EndOfStream => "end-of-stream marker",
            Marker::Table => "grain table marker",
            Marker::Directory => "grain directory marker",
            Marker::Footer => "footer marker",
            Marker::Progress { .. } => "progress marker",
        }
    }
}

fn grain(lba: u64, size: u64, header: &Header) -> Result<Marker, (FlawKind, String)> {
    let (capacity, grain) = (header.capacity(), header.grain_sectors());
    if size > header.max_payload() {
        let message = format!(
            "grain of {size} compressed bytes, expected at most {}",
            header.max_payload()
        );
        return Err((FlawKind::GrainTooLarge, message));
    }
    if lba >= capacity {
        let message = format!("grain for sector {lba} of a disk of {capacity} sectors");
        return Err((FlawKind::GrainOutOfRange, message));
    }
    if !lba.is_multiple_of(grain) {
        let message = format!("grain for sector {lba}, expected a multiple of {grain}");
        return Err((FlawKind::GrainMisaligned, message));
    }
    let size = size as usize;
    Ok(Marker::Grain { lba, size })
}

fn le(b: &[u8]) -> u64 {
    b.iter()
        .rev()
        .fold(0, |value, &b| value << 8 | u64::from(b))
}
