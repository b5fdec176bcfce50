//! Reads a stream as an ESX host imports it: strictly, in one pass, ignoring the tables and trusting the grains' own places.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::header::Header;
use super::place::{Packed, Placing};
use super::{
    END_OF_STREAM, FOOTER, GRAIN, GRAIN_DIRECTORY, GRAIN_TABLE, PROGRESS, SECTOR, TABLE_ENTRIES,
};
use crate::disk::{Disk, hex};

/// The most that a host takes for one grain after compression.
const LARGEST_GRAIN: u64 = 3 * GRAIN;

const GRAIN_MARKER: usize = 12;

/// What a host knows about a stream after it took all of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamFacts {
    /// Bytes of the stream.
    pub size: u64,
    /// Of the stream, in hexadecimal; empty where it was not wanted.
    pub sha1: String,
    /// Of the stream, in hexadecimal; empty where it was not wanted.
    pub sha256: String,
    /// Bytes of the disk.
    pub capacity: u64,
    /// Bytes of the disk that the stream had grains for.
    pub populated: u64,
    /// Whether every grain lay behind the one before, as VMware's own writers have it; hosts do not insist.
    pub in_order: bool,
}

enum State {
    Header,
    /// Bytes to pass over before the next marker.
    Skip(u64),
    Marker,
    /// A grain's first sector is in the buffer: its sector on the disk, and the length of its compressed bytes.
    Grain {
        lba: u64,
        size: usize,
    },
    End,
    Failed(String),
}

/// Takes a stream piece by piece and puts it on a disk.
pub struct Decoder {
    placing: Placing,
    state: State,
    /// What was fed and could not be used yet; never more than a grain.
    pending: Vec<u8>,
    size: u64,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
    populated: u64,
    next_lba: u64,
    in_order: bool,
}

impl Decoder {
    pub fn new(disk: Disk) -> Decoder {
        Decoder {
            placing: Placing::new(disk),
            state: State::Header,
            pending: Vec::new(),
            size: 0,
            sha1: Some(Sha1::new()),
            sha256: Some(Sha256::new()),
            populated: 0,
            next_lba: 0,
            in_order: true,
        }
    }

    /// Takes the one digest that a host takes: SHA-256 where it was asked for.
    pub fn with_one_digest(mut self, sha256: bool) -> Decoder {
        self.sha1 = self.sha1.filter(|_| !sha256);
        self.sha256 = self.sha256.filter(|_| sha256);
        self
    }

    /// Takes the next bytes. After an error the same error is given again.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        if let State::Failed(why) = &self.state {
            return Err(why.clone());
        }
        self.size += bytes.len() as u64;
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        while !bytes.is_empty() {
            if let Err(why) = self.step(&mut bytes) {
                // What is wrong with a grain came before that.
                let why = self.placing.settle().err().unwrap_or(why);
                self.state = State::Failed(why.clone());
                return Err(why);
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub fn finish(self) -> Result<(Disk, StreamFacts), String> {
        let (mut disk, placed) = self.placing.end();
        match self.state {
            State::Failed(why) => return Err(why),
            // What is wrong with a grain came before the end that is missing.
            State::End => placed?,
            _ => {
                placed?;
                return Err(
                    "Unexpected end of file: the sparse VMDK has no end-of-stream marker"
                        .to_owned(),
                );
            }
        }
        let facts = StreamFacts {
            size: self.size,
            sha1: self
                .sha1
                .map(|sha1| hex(&sha1.finalize()))
                .unwrap_or_default(),
            sha256: self
                .sha256
                .map(|sha256| hex(&sha256.finalize()))
                .unwrap_or_default(),
            capacity: disk.capacity(),
            populated: self.populated,
            in_order: self.in_order,
        };
        disk.renew_cid();
        Ok((disk, facts))
    }

    /// Gives the disk back, with whatever has been written to it.
    pub fn into_disk(self) -> Disk {
        self.placing.end().0
    }

    /// Bytes taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn step(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        match self.state {
            State::Header => {
                if let Some(sector) = self.gather(bytes, SECTOR as usize) {
                    self.header(&sector)?;
                }
            }
            State::Skip(left) => {
                let count = left.min(bytes.len() as u64);
                *bytes = &bytes[count as usize..];
                self.state = if count < left {
                    State::Skip(left - count)
                } else {
                    State::Marker
                };
            }
            State::Marker => {
                if let Some(sector) = self.gather(bytes, SECTOR as usize) {
                    self.marker(sector)?;
                }
            }
            State::Grain { lba, size } => {
                let framed = (GRAIN_MARKER + size).next_multiple_of(SECTOR as usize);
                if let Some(framed) = self.gather(bytes, framed) {
                    self.populated += GRAIN.min(self.placing.capacity() - lba * SECTOR);
                    self.placing.put(Packed {
                        lba,
                        framed,
                        start: GRAIN_MARKER,
                        size,
                    })?;
                    self.state = State::Marker;
                }
            }
            State::End => {
                return Err(format!(
                    "{} bytes after the end-of-stream marker",
                    bytes.len()
                ));
            }
            State::Failed(ref why) => return Err(why.clone()),
        }
        Ok(())
    }

    /// Takes from `bytes` until `count` are pending, and those then.
    fn gather(&mut self, bytes: &mut &[u8], count: usize) -> Option<Vec<u8>> {
        let missing = count - self.pending.len().min(count);
        let (now, later) = bytes.split_at(missing.min(bytes.len()));
        self.pending.extend_from_slice(now);
        *bytes = later;
        (self.pending.len() >= count).then(|| std::mem::take(&mut self.pending))
    }

    fn header(&mut self, sector: &[u8]) -> Result<(), String> {
        let sector = sector
            .try_into()
            .map_err(|_| "Not a supported disk format".to_owned())?;
        let header = Header::parse(sector)?;
        if header.capacity != self.placing.capacity() / SECTOR {
            return Err(format!(
                "Disk size mismatch: the sparse VMDK has {} sectors, the virtual disk {}",
                header.capacity,
                self.placing.capacity() / SECTOR
            ));
        }
        // An upload may be the second one to the same disk; nothing of the first may show.
        self.placing.begin().map_err(|error| error.to_string())?;
        self.skip((header.overhead - 1) * SECTOR);
        Ok(())
    }

    fn skip(&mut self, count: u64) {
        self.state = if count == 0 {
            State::Marker
        } else {
            State::Skip(count)
        };
    }

    fn marker(&mut self, sector: Vec<u8>) -> Result<(), String> {
        let u32_at = |at: usize| {
            u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]])
        };
        let value = u64::from(u32_at(0)) | u64::from(u32_at(4)) << 32;
        let (size, kind) = (u32_at(8), u32_at(12));
        if size != 0 {
            return self.begin_grain(value, size, sector);
        }
        let tables = self.placing.capacity().div_ceil(GRAIN * TABLE_ENTRIES);
        let payload = match kind {
            END_OF_STREAM | PROGRESS => 0,
            GRAIN_TABLE => TABLE_ENTRIES * 4 / SECTOR,
            GRAIN_DIRECTORY => (4 * tables).div_ceil(SECTOR),
            FOOTER => 1,
            _ => return Err(format!("invalid sparse VMDK: unknown marker type {kind}")),
        };
        if value != payload {
            return Err(format!(
                "invalid sparse VMDK: marker of type {kind} with {value} sectors"
            ));
        }
        if kind == END_OF_STREAM {
            self.state = State::End;
        } else {
            self.skip(payload * SECTOR);
        }
        Ok(())
    }

    fn begin_grain(&mut self, lba: u64, size: u32, sector: Vec<u8>) -> Result<(), String> {
        if !lba.is_multiple_of(GRAIN / SECTOR) || lba >= self.placing.capacity() / SECTOR {
            return Err(format!(
                "invalid sparse VMDK: grain at sector {lba} is not on the disk"
            ));
        }
        if u64::from(size) > LARGEST_GRAIN {
            return Err(format!(
                "invalid sparse VMDK: grain at sector {lba} has {size} compressed bytes"
            ));
        }
        self.in_order &= lba >= self.next_lba;
        self.next_lba = lba + GRAIN / SECTOR;
        self.state = State::Grain {
            lba,
            size: size as usize,
        };
        self.pending = sector;
        self.pending.reserve_exact(size as usize);
        // A grain that fits its first sector must not wait for bytes that need not come.
        self.step(&mut [].as_slice())
    }
}
