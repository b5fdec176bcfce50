//! The walk over a stream after its header, one structure after the other. Everything but the insides of the grains is
//! checked on the way.

use bytes::Bytes;

use super::SECTOR;
use super::allocation::Allocation;
use super::carry::Carry;
use super::descriptor::Descriptor;
use super::flaw::{Flaw, FlawKind};
use super::header::{Header, TABLE_SECTORS};
use super::marker::{GRAIN_MARKER_BYTES, MARKER_BYTES, Marker};
use super::options::{CheckOptions, Level};
use super::scan::sector_array;

const SECTOR_BYTES: usize = SECTOR as usize;

/// A compressed grain of the stream.
#[derive(Debug)]
pub(crate) struct Grain {
    /// Byte of the stream at which its marker begins.
    pub(crate) offset: u64,
    /// First sector of the disk that it holds.
    pub(crate) lba: u64,
    /// The zlib stream.
    pub(crate) payload: Bytes,
}

/// What the whole walk found out.
#[derive(Debug)]
pub(crate) struct Walk {
    pub(crate) header: Header,
    pub(crate) descriptor: Descriptor,
    pub(crate) grains: u64,
    /// Bytes of the disk that the grains hold.
    pub(crate) grain_bytes: u64,
    /// Bytes of the stream in grains, with their markers and padding.
    pub(crate) grain_stream: u64,
    /// Those of the grain that ends the disk, if it came.
    pub(crate) last_grain: Option<u64>,
    /// Grain tables that have a grain.
    pub(crate) tables: u64,
    pub(crate) in_order: bool,
    pub(crate) eos: bool,
    /// Bytes after the end-of-stream marker.
    pub(crate) trailing: u64,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// This sector, before the first grain.
    Overhead(u64),
    Marker,
    Table,
    /// So many sectors of the directory.
    Directory(u64),
    Footer,
    Trailing,
    /// `Level::Digest`: whatever it is, it is not looked at.
    Unread,
}

pub(crate) struct Walker {
    level: Level,
    accept_missing_eos: bool,
    header: Header,
    descriptor_text: Vec<u8>,
    descriptor: Option<Descriptor>,
    allocation: Allocation,
    state: State,
    grains: u64,
    grain_bytes: u64,
    grain_stream: u64,
    last_grain: Option<u64>,
    reached: u64,
    footer: bool,
    eos: bool,
    trailing: u64,
}

impl Walker {
    pub(crate) fn new(header: Header, options: &CheckOptions) -> Walker {
        Walker {
            level: options.level,
            accept_missing_eos: options.accept_missing_eos,
            allocation: Allocation::new(&header),
            header,
            descriptor_text: Vec::new(),
            descriptor: None,
            state: State::Overhead(1),
            grains: 0,
            grain_bytes: 0,
            grain_stream: 0,
            last_grain: None,
            reached: 0,
            footer: false,
            eos: false,
            trailing: 0,
        }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    /// Byte of the disk up to which the stream has come.
    pub(crate) fn reached(&self) -> u64 {
        self.reached
    }

    /// Passes one structure, if it has come whole; false where it has not.
    pub(crate) fn step(
        &mut self,
        carry: &mut Carry,
        out: &mut dyn FnMut(Grain),
    ) -> Result<bool, Flaw> {
        let offset = carry.offset();
        let bytes = match self.state {
            State::Overhead(sector) if sector * SECTOR == self.header.overhead_bytes() => {
                self.state = self.begin(offset)?;
                return Ok(true);
            }
            State::Directory(0) => {
                self.state = State::Marker;
                return Ok(true);
            }
            State::Marker => return self.marker(carry, out),
            State::Table => carry.take((TABLE_SECTORS * SECTOR) as usize),
            State::Overhead(_) | State::Directory(_) | State::Footer => carry.take(SECTOR_BYTES),
            State::Trailing | State::Unread => carry.take_all(),
        };
        let Some(bytes) = bytes else {
            return Ok(false);
        };
        match self.state {
            State::Overhead(sector) => self.overhead(sector, &bytes)?,
            State::Directory(left) => {
                self.allocation.directory(&bytes, offset)?;
                self.state = State::Directory(left - 1);
            }
            State::Table => {
                self.allocation.table(&bytes, offset)?;
                self.state = State::Marker;
            }
            State::Footer => {
                let directory = self.allocation.directory_sector().unwrap_or_default();
                self.header
                    .check_footer(sector_array(&bytes), directory, offset)?;
                self.footer = true;
                self.state = State::Marker;
            }
            State::Trailing => self.trailing(&bytes, offset)?,
            State::Marker | State::Unread => {}
        }
        Ok(true)
    }

    fn overhead(&mut self, sector: u64, bytes: &[u8]) -> Result<(), Flaw> {
        let place = self.header.descriptor_sectors();
        if place.contains(&sector) {
            self.descriptor_text.extend_from_slice(bytes);
            if sector + 1 == place.end {
                let text = std::mem::take(&mut self.descriptor_text);
                self.descriptor = Some(Descriptor::parse(
                    &text,
                    &self.header,
                    place.start * SECTOR,
                )?);
            }
        } else if self.level > Level::Digest {
            self.allocation.overhead(sector, bytes)?;
        }
        self.state = State::Overhead(sector + 1);
        Ok(())
    }

    /// The first grain or marker is at byte `offset`.
    fn begin(&mut self, offset: u64) -> Result<State, Flaw> {
        if self.level == Level::Digest {
            return Ok(State::Unread);
        }
        self.allocation.begin(offset)?;
        Ok(State::Marker)
    }

    fn marker(&mut self, carry: &mut Carry, out: &mut dyn FnMut(Grain)) -> Result<bool, Flaw> {
        let offset = carry.offset();
        let Some(bytes) = carry.peek(MARKER_BYTES) else {
            return Ok(false);
        };
        let bytes = bytes.first_chunk().expect("so many bytes were peeked at");
        let flaw = |(kind, message)| Flaw::new(offset, kind, message);
        let marker = Marker::parse(bytes, &self.header).map_err(flaw)?;
        let tables = self.allocation.takes_tables();
        let directory = self.allocation.directory_sector().is_some();
        let in_place = match marker {
            Marker::EndOfStream => true,
            Marker::Grain { .. } => !directory,
            Marker::Progress { .. } => !self.footer,
            Marker::Table | Marker::Directory => tables,
            Marker::Footer => directory && !self.footer,
        };
        if !in_place {
            let message = format!("{} out of its place", marker.name());
            return Err(flaw((FlawKind::BadMarker, message)));
        }
        let length = match marker {
            Marker::Grain { size, .. } => {
                (GRAIN_MARKER_BYTES + size).next_multiple_of(SECTOR_BYTES)
            }
            _ => SECTOR_BYTES,
        };
        let Some(bytes) = carry.take(length) else {
            return Ok(false);
        };
        match marker {
            Marker::Grain { lba, size } => {
                self.grain(lba, offset, length as u64)?;
                let payload = bytes.slice(GRAIN_MARKER_BYTES..GRAIN_MARKER_BYTES + size);
                out(Grain {
                    offset,
                    lba,
                    payload,
                });
            }
            Marker::EndOfStream => {
                self.allocation.finish(self.footer, offset)?;
                self.eos = true;
                self.state = State::Trailing;
            }
            Marker::Table => self.state = State::Table,
            Marker::Directory => {
                self.allocation.begin_directory(carry.offset())?;
                self.state = State::Directory(self.header.directory_sectors());
            }
            Marker::Footer => self.state = State::Footer,
            Marker::Progress { lba } => self.reach(lba),
        }
        Ok(true)
    }

    fn grain(&mut self, lba: u64, offset: u64, length: u64) -> Result<(), Flaw> {
        self.allocation.grain(lba, offset)?;
        let end = (lba + self.header.grain_sectors()).min(self.header.capacity());
        self.grains += 1;
        self.grain_bytes += (end - lba) * SECTOR;
        self.grain_stream += length;
        if end == self.header.capacity() {
            self.last_grain = Some(length);
        }
        self.reach(end);
        Ok(())
    }

    fn reach(&mut self, lba: u64) {
        self.reached = self.reached.max(lba.min(self.header.capacity()) * SECTOR);
    }

    fn trailing(&mut self, bytes: &[u8], offset: u64) -> Result<(), Flaw> {
        if let Some(at) = bytes.iter().position(|&b| b != 0) {
            let message = "bytes other than zeros after the end-of-stream marker";
            return Err(Flaw::new(
                offset + at as u64,
                FlawKind::TrailingBytes,
                message,
            ));
        }
        self.trailing += bytes.len() as u64;
        Ok(())
    }

    /// The stream is over; `carry` has what is left of it.
    pub(crate) fn finish(mut self, carry: &Carry) -> Result<Walk, Flaw> {
        let between = carry.rest().is_empty();
        let length = carry.offset() + carry.rest().len() as u64;
        let cut = |what: &str| {
            Err(Flaw::new(
                length,
                FlawKind::Truncated,
                format!("the stream ends {what}"),
            ))
        };
        match self.state {
            State::Trailing | State::Unread => {}
            State::Overhead(_) => return cut("before the first grain"),
            State::Table | State::Directory(_) => return cut("within its grain tables"),
            State::Footer => return cut("within its footer"),
            State::Marker if !between => return cut("within a grain or marker"),
            State::Marker if self.allocation.finish(self.footer, length).is_err() => {
                return cut("before its end-of-stream marker");
            }
            State::Marker if !self.accept_missing_eos || self.footer => {
                let message = "the stream ends without an end-of-stream marker";
                return Err(Flaw::new(length, FlawKind::MissingEos, message));
            }
            State::Marker => {}
        }
        let Some(descriptor) = self.descriptor else {
            return cut("before its descriptor");
        };
        Ok(Walk {
            header: self.header,
            descriptor,
            grains: self.grains,
            grain_bytes: self.grain_bytes,
            grain_stream: self.grain_stream,
            last_grain: self.last_grain,
            tables: self.allocation.tables(),
            in_order: self.allocation.in_order(),
            eos: self.eos,
            trailing: self.trailing,
        })
    }
}
