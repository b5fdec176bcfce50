//! Walks a stream from its header to its end: slabs go in, grains come out, and everything but the insides of the grains
//! is checked on the way.

use bytes::Bytes;

use super::SECTOR;
use super::carry::Carry;
use super::descriptor::Descriptor;
use super::end::{EndTables, sector32};
use super::flaw::{Flaw, FlawKind};
use super::front::{Declared, FrontTables};
use super::header::{self, Header, Layout, TABLE_ENTRIES, TABLE_SECTORS};
use super::options::{CheckOptions, Level, Limits};
use super::order::Order;
use super::tables::OpenTables;

const SECTOR_BYTES: usize = SECTOR as usize;
/// Bytes of a marker that mean something; with a progress marker's address at the end of them.
const MARKER: usize = 24;
/// Bytes of a grain marker before the zlib stream.
const GRAIN_MARKER: usize = 12;

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
    pub(crate) grains: u64,
    pub(crate) grain_bytes: u64,
    pub(crate) in_order: bool,
    pub(crate) trailing: u64,
    pub(crate) eos: bool,
}

enum State {
    Header,
    /// Sectors before the first grain, this one next.
    Overhead(u64),
    Marker,
    Table,
    Directory(u64),
    Footer,
    Eos,
    Trailing,
    /// `Level::Digest`: nothing more is looked at.
    Unread,
}

/// The tables before the grains or after them.
enum Tables {
    Unread,
    Front(Declared),
    End(EndTables),
}

pub(crate) struct Scanner {
    limits: Limits,
    level: Level,
    accept_missing_eos: bool,
    carry: Carry,
    offset: u64,
    state: State,
    header: Option<Header>,
    front: Option<FrontTables>,
    descriptor_text: Vec<u8>,
    descriptor: Option<Descriptor>,
    open: OpenTables,
    tables: Tables,
    order: Order,
    grains: u64,
    grain_bytes: u64,
    reached: u64,
    footer: bool,
    eos: bool,
    trailing: u64,
}

impl Scanner {
    pub(crate) fn new(options: &CheckOptions) -> Scanner {
        Scanner {
            limits: options.limits.clone(),
            level: options.level,
            accept_missing_eos: options.accept_missing_eos,
            carry: Carry::default(),
            offset: 0,
            state: State::Header,
            header: None,
            front: None,
            descriptor_text: Vec::new(),
            descriptor: None,
            open: OpenTables::default(),
            tables: Tables::Unread,
            order: Order::default(),
            grains: 0,
            grain_bytes: 0,
            reached: 0,
            footer: false,
            eos: false,
            trailing: 0,
        }
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    /// Byte of the disk up to which the stream has come.
    pub(crate) fn reached(&self) -> u64 {
        self.reached
    }

    /// Takes the next slab; each grain that is complete goes to `out`.
    pub(crate) fn feed(&mut self, slab: Bytes, out: &mut dyn FnMut(Grain)) -> Result<(), Flaw> {
        self.carry.feed(slab);
        while self.step(out)? {}
        Ok(())
    }

    /// One structure, if it has come whole.
    fn step(&mut self, out: &mut dyn FnMut(Grain)) -> Result<bool, Flaw> {
        match self.state {
            State::Header => self.header_step(),
            State::Overhead(sector) => self.overhead_step(sector),
            State::Marker => self.marker_step(out),
            State::Table => self.table_step(),
            State::Directory(left) => self.directory_step(left),
            State::Footer => self.footer_step(),
            State::Eos => self.eos_step(),
            State::Trailing => self.trailing_step(),
            State::Unread => {
                let bytes = self.carry.take_all();
                self.offset += bytes.len() as u64;
                Ok(!bytes.is_empty())
            }
        }
    }

    fn take(&mut self, n: usize) -> Option<Bytes> {
        let bytes = self.carry.take(n)?;
        self.offset += n as u64;
        Some(bytes)
    }

    fn header_step(&mut self) -> Result<bool, Flaw> {
        let Some(bytes) = self.take(SECTOR_BYTES) else {
            return Ok(false);
        };
        let header = Header::parse(sector_array(&bytes), &self.limits)?;
        if self.level > Level::Digest {
            if header.layout() == Layout::Front {
                self.front = Some(FrontTables::new(&header));
            }
            self.order = Order::new(&header);
        }
        self.header = Some(header);
        self.state = State::Overhead(1);
        Ok(true)
    }

    fn overhead_step(&mut self, sector: u64) -> Result<bool, Flaw> {
        let Some(header) = &self.header else {
            return Ok(false);
        };
        if sector * SECTOR == header.overhead_bytes() {
            self.tables = match self.front.take() {
                Some(front) => Tables::Front(front.finish(self.offset)?),
                None => Tables::End(EndTables::new(header)),
            };
            self.state = if self.level > Level::Digest {
                State::Marker
            } else {
                State::Unread
            };
            return Ok(true);
        }
        let Some(bytes) = self.carry.take(SECTOR_BYTES) else {
            return Ok(false);
        };
        self.offset += SECTOR;
        let place = header.descriptor_sectors();
        if place.contains(&sector) {
            self.descriptor_text.extend_from_slice(&bytes);
            if sector + 1 == place.end {
                let text = std::mem::take(&mut self.descriptor_text);
                self.descriptor = Some(Descriptor::parse(&text, header, place.start * SECTOR)?);
            }
        } else if let Some(front) = &mut self.front {
            front.sector(sector, &bytes)?;
        }
        self.state = State::Overhead(sector + 1);
        Ok(true)
    }

    fn marker_step(&mut self, out: &mut dyn FnMut(Grain)) -> Result<bool, Flaw> {
        let Some(header) = &self.header else {
            return Ok(false);
        };
        let Some(bytes) = self.carry.peek(MARKER) else {
            return Ok(false);
        };
        let (value, rest) = (le64(&bytes[..8]), &bytes[8..]);
        let size = u64::from(le32(&rest[..4]));
        if size == 0 {
            let (kind, lba) = (le32(&rest[4..8]), le64(&rest[8..16]));
            return self.metadata_marker(kind, value, lba);
        }
        let grain = header.grain_sectors();
        if size > header.max_payload() {
            let message = format!(
                "grain of {size} compressed bytes, expected at most {}",
                header.max_payload()
            );
            return Err(Flaw::new(self.offset, FlawKind::GrainTooLarge, message));
        }
        if value >= header.capacity() {
            let message = format!(
                "grain for sector {value} of a disk of {} sectors",
                header.capacity()
            );
            return Err(Flaw::new(self.offset, FlawKind::GrainOutOfRange, message));
        }
        if value % grain != 0 {
            let message = format!("grain for sector {value}, expected a multiple of {grain}");
            return Err(Flaw::new(self.offset, FlawKind::GrainMisaligned, message));
        }
        let size = size as usize;
        let reached = (value + grain).min(header.capacity()) * SECTOR;
        let offset = self.offset;
        let Some(bytes) = self.take((GRAIN_MARKER + size).next_multiple_of(SECTOR_BYTES)) else {
            return Ok(false);
        };
        self.place_grain(value, offset)?;
        self.grains += 1;
        self.grain_bytes += reached - value * SECTOR;
        self.reached = self.reached.max(reached);
        out(Grain {
            offset,
            lba: value,
            payload: bytes.slice(GRAIN_MARKER..GRAIN_MARKER + size),
        });
        Ok(true)
    }

    /// Enters a grain into the tables as they should be.
    fn place_grain(&mut self, lba: u64, offset: u64) -> Result<(), Flaw> {
        let number = self.order.arrive(lba, offset)?;
        let (index, at) = (number / TABLE_ENTRIES, (number % TABLE_ENTRIES) as usize);
        match &self.tables {
            Tables::End(end) if end.directory_sector().is_some() => {
                let message = format!("grain for sector {lba} after the grain directory");
                return Err(Flaw::new(offset, FlawKind::BadMarker, message));
            }
            Tables::End(end) if end.is_sealed(index) => {
                let message = format!(
                    "grain for sector {lba} after grain table {index}, which lists its neighbours"
                );
                return Err(Flaw::new(offset, FlawKind::TableMismatch, message));
            }
            _ => {}
        }
        self.open.place(index, at, sector32(offset)?);
        self.close_tables(self.order.lowest_grain() / TABLE_ENTRIES, offset)
    }

    /// No more grains come for tables below `limit`.
    fn close_tables(&mut self, limit: u64, offset: u64) -> Result<(), Flaw> {
        while let Some((index, table)) = self.open.pop_below(limit) {
            match &mut self.tables {
                Tables::Front(declared) => declared.close(index, &table, offset)?,
                _ => {
                    let message = format!("grain table {index} did not follow its grains");
                    return Err(Flaw::new(offset, FlawKind::TableMismatch, message));
                }
            }
        }
        Ok(())
    }

    fn metadata_marker(&mut self, kind: u32, value: u64, lba: u64) -> Result<bool, Flaw> {
        let header = self.header.as_ref();
        let directory_sectors = header.map_or(0, Header::directory_sectors);
        let at_end = matches!(&self.tables, Tables::End(_));
        let directory =
            matches!(&self.tables, Tables::End(end) if end.directory_sector().is_some());
        let (name, expected, allowed, next) = match kind {
            0 => ("end-of-stream", 0, true, State::Eos),
            1 => (
                "grain table",
                TABLE_SECTORS,
                at_end && !directory,
                State::Table,
            ),
            2 => (
                "grain directory",
                directory_sectors,
                at_end && !directory,
                State::Directory(directory_sectors),
            ),
            3 => ("footer", 1, at_end && directory, State::Footer),
            // Undocumented: vSphere sends it while it skips zeros, with the sector reached, often four times in a row.
            4 => ("progress", value, true, State::Marker),
            _ => ("unknown", 0, false, State::Marker),
        };
        let flaw = |message: String| Err(Flaw::new(self.offset, FlawKind::BadMarker, message));
        if kind > 4 {
            return flaw(format!("marker of unknown type {kind}"));
        }
        if !allowed || self.footer && kind != 0 {
            return flaw(format!("{name} marker out of its place"));
        }
        if value != expected {
            return flaw(format!(
                "{name} marker with value {value}, expected {expected}"
            ));
        }
        // The end-of-stream marker is taken by its own step, which knows what must have come before it.
        if kind == 0 {
            self.state = next;
            return Ok(true);
        }
        if self.take(SECTOR_BYTES).is_none() {
            return Ok(false);
        }
        if kind == 4 {
            let capacity = self.header.as_ref().map_or(0, Header::capacity);
            self.reached = self.reached.max(lba.min(capacity) * SECTOR);
        }
        if let (2, Tables::End(end)) = (kind, &mut self.tables) {
            end.begin_directory(self.offset, &self.open)?;
        }
        self.state = next;
        Ok(true)
    }

    fn table_step(&mut self) -> Result<bool, Flaw> {
        let offset = self.offset;
        let Some(bytes) = self.take((TABLE_SECTORS * SECTOR) as usize) else {
            return Ok(false);
        };
        if let Tables::End(end) = &mut self.tables {
            end.table(&bytes, offset, &mut self.open)?;
        }
        self.state = State::Marker;
        Ok(true)
    }

    fn directory_step(&mut self, left: u64) -> Result<bool, Flaw> {
        if left == 0 {
            self.state = State::Marker;
            return Ok(true);
        }
        let offset = self.offset;
        let Some(bytes) = self.take(SECTOR_BYTES) else {
            return Ok(false);
        };
        if let Tables::End(end) = &mut self.tables {
            end.directory(&bytes, offset)?;
        }
        self.state = State::Directory(left - 1);
        Ok(true)
    }

    fn footer_step(&mut self) -> Result<bool, Flaw> {
        let offset = self.offset;
        let Some(bytes) = self.take(SECTOR_BYTES) else {
            return Ok(false);
        };
        if let (Some(header), Tables::End(end)) = (&self.header, &self.tables) {
            let directory = end.directory_sector().unwrap_or_default();
            header.check_footer(sector_array(&bytes), directory, offset)?;
        }
        self.footer = true;
        self.state = State::Marker;
        Ok(true)
    }

    fn eos_step(&mut self) -> Result<bool, Flaw> {
        let offset = self.offset;
        if self.take(SECTOR_BYTES).is_none() {
            return Ok(false);
        }
        self.close_tables(u64::MAX, offset)?;
        match &mut self.tables {
            Tables::Front(declared) => declared.finish(offset)?,
            Tables::End(end) if end.directory_sector().is_none() => {
                // A hole in a damaged file reads as zeros, and so as this marker.
                let message = "end-of-stream marker before the grain directory: grains are missing";
                return Err(Flaw::new(offset, FlawKind::MissingGrains, message));
            }
            Tables::End(_) if !self.footer => {
                let message = "end-of-stream marker without a footer before it";
                return Err(Flaw::new(offset, FlawKind::MissingFooter, message));
            }
            _ => {}
        }
        self.eos = true;
        self.state = State::Trailing;
        Ok(true)
    }

    fn trailing_step(&mut self) -> Result<bool, Flaw> {
        let bytes = self.carry.take_all();
        if let Some(at) = bytes.iter().position(|&b| b != 0) {
            let message = "bytes other than zeros after the end-of-stream marker";
            return Err(Flaw::new(
                self.offset + at as u64,
                FlawKind::TrailingBytes,
                message,
            ));
        }
        self.offset += bytes.len() as u64;
        self.trailing += bytes.len() as u64;
        Ok(!bytes.is_empty())
    }

    /// The stream is over.
    pub(crate) fn finish(&mut self) -> Result<Walk, Flaw> {
        let length = self.offset + self.carry.rest().len() as u64;
        let between = self.carry.rest().is_empty();
        let cut = |what: &str| {
            Err(Flaw::new(
                length,
                FlawKind::Truncated,
                format!("the stream ends {what}"),
            ))
        };
        match self.state {
            State::Trailing | State::Unread => {}
            State::Header => {
                if self.carry.rest().len() >= 4 {
                    header::check_magic(self.carry.rest())?;
                }
                return cut("before its header is complete");
            }
            State::Overhead(_) => return cut("before the first grain"),
            State::Marker if !between => return cut("within a grain or marker"),
            State::Marker => {
                if !self.all_came() {
                    return cut("before its end-of-stream marker");
                }
                if !self.accept_missing_eos || self.footer {
                    let message = "the stream ends without an end-of-stream marker";
                    return Err(Flaw::new(length, FlawKind::MissingEos, message));
                }
            }
            State::Eos => return cut("within its end-of-stream marker"),
            State::Table | State::Directory(_) => return cut("within its grain tables"),
            State::Footer => return cut("before its footer"),
        }
        Ok(Walk {
            grains: self.grains,
            grain_bytes: self.grain_bytes,
            in_order: self.order.kept(),
            trailing: self.trailing,
            eos: self.eos,
        })
    }

    /// Whether nothing is missing but the end-of-stream marker.
    fn all_came(&mut self) -> bool {
        let offset = self.offset;
        let closed = self.close_tables(u64::MAX, offset).is_ok();
        closed
            && match &mut self.tables {
                Tables::Front(declared) => declared.finish(offset).is_ok(),
                _ => self.footer,
            }
    }

    /// What the header and the descriptor say, once the walk is finished.
    pub(crate) fn into_parts(self) -> Option<(Header, Descriptor)> {
        self.header.zip(self.descriptor)
    }
}

fn sector_array(bytes: &Bytes) -> &[u8; SECTOR_BYTES] {
    bytes.first_chunk().expect("a whole sector was taken")
}

fn le32(b: &[u8]) -> u32 {
    b.iter()
        .rev()
        .fold(0, |value, &b| value << 8 | u32::from(b))
}

fn le64(b: &[u8]) -> u64 {
    b.iter()
        .rev()
        .fold(0, |value, &b| value << 8 | u64::from(b))
}
