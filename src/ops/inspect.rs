//! What a disk in a file is, for people and programs: JSON.

use super::convert::options;
use super::disk_file::{DiskFile, SourceFormat};
use super::metadata::hex;
use super::watch::{ProgressFn, Watch};
use crate::cancel::Cancel;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::service::Format;
use crate::slab::{SLAB_BYTES, SLABS, SlabPool};
use crate::vmdk::{Check, CheckOptions, DiskSink, DiskSource, Facts, Flaw, Layout};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How a disk in a file is looked at.
pub struct InspectOptions<'a> {
    /// A file or block device.
    pub path: PathBuf,
    /// What it is.
    pub source_format: SourceFormat,
    /// Called on the calling thread at least once a second.
    pub progress: Option<ProgressFn<'a>>,
    /// Ends it when thrown.
    pub cancel: Option<Cancel>,
}

/// In how many parts of equal size the allocation is told.
const PARTS: usize = 256;

/// What was found. Sizes are in bytes, digests in hexadecimal.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// `streamOptimized` or `raw`.
    pub format: &'static str,
    /// Size of the disk.
    pub capacity: u64,
    /// Of each 256th of the disk, how much is not all zero (stream) or not a hole (raw), from 0 to 100.
    pub allocation: Vec<u8>,
    /// Of a stream: what it says and proves of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamInspection>,
}

/// What is told of a stream.
#[derive(Debug, Default, Serialize)]
pub struct StreamInspection {
    /// Of the header.
    pub version: u32,
    /// Of the header.
    pub grain_bytes: u64,
    /// Where the tables are: `end` or `front`.
    pub layout: &'static str,
    /// Of the descriptor.
    pub create_type: String,
    /// Of the descriptor.
    pub cid: Option<String>,
    /// Of the descriptor.
    pub adapter_type: Option<String>,
    /// Of the descriptor.
    pub hardware_version: Option<String>,
    /// Of the descriptor.
    pub uuid: Option<String>,
    /// Length of the stream, as far as it was read.
    pub length: u64,
    /// The flaw nearest to the start; without one, the stream is a whole disk.
    pub flaw: Option<FlawInspection>,
    /// What a stream without a flaw proves.
    #[serde(flatten)]
    pub proven: Option<Proven>,
}

/// Where and what the flaw is.
#[derive(Debug, Serialize)]
pub struct FlawInspection {
    /// Byte of the stream.
    pub offset: u64,
    /// In a word.
    pub kind: String,
    /// In a sentence.
    pub message: String,
}

/// What is known of a whole stream.
#[derive(Debug, Serialize)]
pub struct Proven {
    /// Of the stream.
    pub sha256: String,
    /// Of the stream.
    pub sha1: Option<String>,
    /// Of the disk's contents, the same for every encoding.
    pub content_digest: Option<String>,
    /// Units of 64 KiB that are not all zero.
    pub grains: u64,
    /// Bytes in those.
    pub populated: u64,
    /// Whether the grains come in the order of the disk.
    pub in_order: bool,
    /// Whether ESXi takes the stream as it is.
    pub normal: bool,
}

/// Looks at a disk in a file. A stream that is not whole is no error here, but told.
///
/// # Errors
/// [`Kind::Io`]; [`Kind::Corrupt`] for a file that begins like a VMDK but has no sound header;
/// [`Kind::Unsupported`], by name, for another format; [`Kind::InvalidArgument`] for what may be a
/// stream or a raw disk; [`Kind::Cancelled`].
pub fn inspect(options: InspectOptions<'_>) -> Result<Inspection> {
    let InspectOptions {
        path,
        source_format,
        progress,
        cancel,
    } = options;
    let mut watch = Watch::new(progress, cancel, None);
    let inspected = DiskFile::open(&path, source_format).and_then(|disk| match disk.format {
        Format::Stream => inspect_stream(&mut watch, &disk),
        Format::Raw => inspect_raw(&disk),
    });
    inspected.with_context(|| format!("look at {}", path.display()))
}

fn inspect_stream(watch: &mut Watch<'_>, disk: &DiskFile) -> Result<Inspection> {
    let mut file = disk.stream()?;
    watch.enter(Phase::Verify, disk.length)?;
    let shares = Arc::new(Shares::default());
    let options = CheckOptions {
        sha1: true,
        ..options()
    };
    let mut check = Check::decode(&options, shares.clone())
        .map_err(|e| Error::io("start the threads of the check", &e))?;
    let pool = SlabPool::new(SLABS);
    let mut read = 0;
    let flaw = loop {
        let mut slab = watch.slab(&pool)?;
        // The header first: before a grain comes, it must be known what it is a part of.
        let most = if read == 0 { HEADER } else { SLAB_BYTES };
        let count = fill(&mut file, &mut slab.space()[..most]).map_err(|e| disk.reading(&e))?;
        slab.truncate(count);
        if count == 0 {
            break None;
        }
        read += count as u64;
        if let Err(flaw) = check.feed(slab.freeze()) {
            break Some(flaw);
        }
        if let Some(header) = check.header() {
            shares
                .capacity
                .store(header.capacity_bytes(), Ordering::Relaxed);
        }
        watch.reach(read)?;
    };
    if flaw.is_none() {
        watch.complete()?;
    }
    let Some(header) = check.header().cloned() else {
        let short = || Error::new(Kind::Corrupt, "it ends within its header");
        return Err(flaw.map_or_else(short, |flaw| disk.refused(flaw)));
    };
    let descriptor = check.descriptor().cloned().unwrap_or_default();
    let outcome = match flaw {
        Some(flaw) => Err(flaw),
        None => check.finish(),
    };
    let (flaw, facts) = match outcome {
        Ok(facts) => {
            disk.require_unambiguous(facts.trailing)?;
            (None, Some(facts))
        }
        Err(flaw) => (Some(flaw), None),
    };
    let capacity = header.capacity_bytes();
    Ok(Inspection {
        format: "streamOptimized",
        capacity,
        allocation: shares.percent(capacity),
        stream: Some(StreamInspection {
            version: header.version(),
            grain_bytes: header.grain_bytes(),
            layout: match header.layout() {
                Layout::End => "end",
                Layout::Front => "front",
            },
            create_type: descriptor.create_type,
            cid: descriptor.cid,
            adapter_type: descriptor.adapter_type,
            hardware_version: descriptor.hardware_version,
            uuid: descriptor.uuid,
            length: read,
            flaw: flaw.map(FlawInspection::from),
            proven: facts.map(Proven::from),
        }),
    })
}

fn inspect_raw(file: &DiskFile) -> Result<Inspection> {
    let reading = |e: io::Error| file.reading(&e);
    let disk = file.raw()?;
    let shares = Shares::default();
    shares.capacity.store(disk.size(), Ordering::Relaxed);
    let mut at = 0;
    while let Some(data) = disk.next_data(at).map_err(reading)? {
        shares.add(data.clone());
        at = data.end;
    }
    Ok(Inspection {
        format: "raw",
        capacity: disk.size(),
        allocation: shares.percent(disk.size()),
        stream: None,
    })
}

const HEADER: usize = 512;

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// How many bytes of each part of the disk are allocated.
struct Shares {
    capacity: AtomicU64,
    parts: [AtomicU64; PARTS],
}

impl Default for Shares {
    fn default() -> Self {
        Shares {
            capacity: AtomicU64::new(0),
            parts: [const { AtomicU64::new(0) }; PARTS],
        }
    }
}

impl Shares {
    /// Counts an allocated range.
    fn add(&self, range: Range<u64>) {
        let capacity = self.capacity.load(Ordering::Relaxed);
        let mut at = range.start;
        while at < range.end.min(capacity) {
            let part = part_of(at, capacity);
            let end = start_of(part + 1, capacity).max(at + 1).min(range.end);
            self.parts[part].fetch_add(end - at, Ordering::Relaxed);
            at = end;
        }
    }

    fn percent(&self, capacity: u64) -> Vec<u8> {
        let share = |part: usize| {
            let size = start_of(part + 1, capacity) - start_of(part, capacity);
            let bytes = self.parts[part].load(Ordering::Relaxed);
            u8::try_from(u128::from(bytes) * 100 / u128::from(size.max(1))).unwrap_or(100)
        };
        (0..PARTS)
            .map(share)
            .map(|percent| percent.min(100))
            .collect()
    }
}

/// Where a part of the disk begins: the first byte that [`part_of`] places in it.
fn start_of(part: usize, capacity: u64) -> u64 {
    let start = (part as u128 * u128::from(capacity)).div_ceil(PARTS as u128);
    u64::try_from(start).unwrap_or(capacity)
}

fn part_of(byte: u64, capacity: u64) -> usize {
    let part = u128::from(byte) * PARTS as u128 / u128::from(capacity.max(1));
    usize::try_from(part).unwrap_or(PARTS).min(PARTS - 1)
}

impl DiskSink for Shares {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.add(offset..offset + bytes.len() as u64);
        Ok(())
    }
}

impl From<Flaw> for FlawInspection {
    fn from(flaw: Flaw) -> Self {
        FlawInspection {
            offset: flaw.offset,
            kind: format!("{:?}", flaw.kind),
            message: flaw.message,
        }
    }
}

impl From<Facts> for Proven {
    fn from(facts: Facts) -> Self {
        Proven {
            sha256: hex(&facts.sha256),
            sha1: facts.sha1.map(|digest| hex(&digest)),
            content_digest: facts.content_digest.map(|digest| hex(&digest)),
            grains: facts.grains,
            populated: facts.populated,
            in_order: facts.in_order,
            normal: facts.normal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_in_one_part() {
        for capacity in [512, 1000, 1 << 20, (62 << 40) - 512] {
            let shares = Shares::default();
            shares.capacity.store(capacity, Ordering::Relaxed);
            let middle = capacity / 3;
            shares.add(0..middle);
            shares.add(middle..capacity);
            let total: u64 = shares
                .parts
                .iter()
                .map(|part| part.load(Ordering::Relaxed))
                .sum();
            assert_eq!(total, capacity);
            let percent = shares.percent(capacity);
            assert!(percent.iter().all(|share| *share == 100), "{percent:?}");
        }
    }
}
