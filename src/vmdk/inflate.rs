//! What a worker does with grains: inflate, measure, hash.

use std::io;
use std::sync::Arc;

use libdeflater::{DecompressionError, Decompressor};

use super::SECTOR;
use super::content::{UNIT, is_zero, unit_digest};
use super::decode::DiskSink;
use super::flaw::{Flaw, FlawKind};
use super::header::Header;
use super::walk::Grain;

/// A unit of the disk that is not all zero, with its digest where that is asked for.
pub(crate) type Unit = (u64, [u8; 32]);

/// The outcome of some grains.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) units: Vec<Unit>,
    /// Bytes of the disk in `units`.
    pub(crate) populated: u64,
    /// The last grain of the disk ended at the capacity instead of being padded to a whole grain.
    pub(crate) short_last: bool,
}

/// Bytes that are written at once where grains are neighbours.
const RUN: usize = 1 << 20;

/// Inflates grains into one buffer that is used over and over.
///
/// The buffer is filled cell by cell, a cell being a grain or a unit, whichever is larger. Where the disk is written,
/// neighbouring cells stay in it until they are written together; else each takes the place of the one before.
pub(crate) struct Inflater {
    decompressor: Decompressor,
    capacity: u64,
    grain: usize,
    cell: usize,
    /// The cell that is being filled.
    current: Option<u64>,
    buffer: Vec<u8>,
    /// Bytes of whole cells that wait to be written, and their place on the disk.
    run: usize,
    start: u64,
    sink: Option<Arc<dyn DiskSink>>,
    hash: bool,
}

impl Inflater {
    /// Without `hash` the units it finds have no digest, but zeros.
    pub(crate) fn new(header: &Header, sink: Option<Arc<dyn DiskSink>>, hash: bool) -> Inflater {
        let grain = header.grain_bytes() as usize;
        let cell = grain.max(UNIT as usize);
        let room = if sink.is_some() { cell.max(RUN) } else { cell };
        Inflater {
            decompressor: Decompressor::new(),
            capacity: header.capacity_bytes(),
            grain,
            cell,
            current: None,
            buffer: vec![0; room],
            run: 0,
            start: 0,
            sink,
            hash,
        }
    }

    /// Inflates grains of whole cells; the first that is wrong ends it.
    pub(crate) fn inflate(
        &mut self,
        grains: &[Grain],
        contents: &mut Contents,
    ) -> Result<(), Flaw> {
        self.current = None;
        self.run = 0;
        for grain in grains {
            let position = grain.lba * SECTOR;
            let cell = position / self.cell as u64;
            let written = |e| not_written(grain.offset, &e);
            if self.current != Some(cell) {
                self.end_cell(contents).map_err(written)?;
                self.begin_cell(cell).map_err(written)?;
            }
            contents.short_last |= self.one(grain, (position % self.cell as u64) as usize)?;
        }
        let last = grains.last().map_or(0, |grain| grain.offset);
        self.end_cell(contents)
            .and_then(|()| self.write())
            .map_err(|e| not_written(last, &e))
    }

    fn begin_cell(&mut self, cell: u64) -> io::Result<()> {
        let position = cell * self.cell as u64;
        let neighbour = self.start + self.run as u64 == position;
        if !neighbour || self.run + self.cell > self.buffer.len() {
            self.write()?;
        }
        if self.run == 0 {
            self.start = position;
        }
        if self.grain < self.cell {
            self.buffer[self.run..self.run + self.cell].fill(0);
        }
        self.current = Some(cell);
        Ok(())
    }

    /// Inflates one grain to its place in the cell; true where it ended at the capacity.
    fn one(&mut self, grain: &Grain, at: usize) -> Result<bool, Flaw> {
        let room = (self.capacity - grain.lba * SECTOR).min(self.grain as u64) as usize;
        let flaw = |kind, message: String| Err(Flaw::new(grain.offset, kind, message));
        let at = self.run + at;
        let out = &mut self.buffer[at..at + self.grain];
        let length = match self.decompressor.zlib_decompress(&grain.payload, out) {
            Ok(length) => length,
            Err(DecompressionError::BadData) => {
                let message = format!(
                    "the zlib stream of the grain for sector {} is damaged",
                    grain.lba
                );
                return flaw(FlawKind::BadDeflate, message);
            }
            Err(DecompressionError::InsufficientSpace) => {
                let message = format!(
                    "the grain for sector {} inflates to more than {} bytes, or is cut short",
                    grain.lba, self.grain
                );
                return flaw(FlawKind::GrainSizeMismatch, message);
            }
        };
        // Some writers end the last grain with the disk; where the source was a file of an odd length, even within the
        // last sector. Readers take the rest as zeros.
        let last = room < self.grain || grain.lba * SECTOR + self.grain as u64 == self.capacity;
        let enough = if last {
            room - SECTOR as usize + 1
        } else {
            self.grain
        };
        if length < enough {
            let message = format!(
                "the grain for sector {} inflates to {length} bytes, expected {room}",
                grain.lba
            );
            return flaw(FlawKind::GrainSizeMismatch, message);
        }
        out[length.min(room)..].fill(0);
        Ok(length < self.grain)
    }

    /// Passes on the units of the cell that are not all zero, and keeps them to be written.
    fn end_cell(&mut self, contents: &mut Contents) -> io::Result<()> {
        let Some(cell) = self.current.take() else {
            return Ok(());
        };
        let bytes = &self.buffer[self.run..self.run + self.cell];
        let first = cell * (self.cell as u64 / UNIT);
        let mut zeros = 0;
        for (unit, bytes) in (first..).zip(bytes.chunks_exact(UNIT as usize)) {
            if is_zero(bytes) {
                zeros += bytes.len();
                continue;
            }
            let digest = if self.hash {
                unit_digest(bytes)
            } else {
                [0; 32]
            };
            contents.units.push((unit, digest));
            contents.populated += UNIT.min(self.capacity - unit * UNIT);
        }
        if self.sink.is_none() || zeros == self.cell {
            return Ok(());
        }
        self.run += self.cell;
        if zeros > 0 {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what waits, up to the end of the disk.
    fn write(&mut self) -> io::Result<()> {
        let run = std::mem::take(&mut self.run);
        let Some(sink) = &self.sink else {
            return Ok(());
        };
        let left = self.capacity.saturating_sub(self.start);
        let run = &self.buffer[..left.min(run as u64) as usize];
        let units = run.chunks(UNIT as usize);
        if self.cell == UNIT as usize || units.clone().all(|unit| !is_zero(unit)) {
            if run.is_empty() {
                return Ok(());
            }
            return sink.write_at(self.start, run);
        }
        // Zeros within a larger grain are told as such, not written.
        for (position, unit) in (self.start..).step_by(UNIT as usize).zip(units) {
            if !is_zero(unit) {
                sink.write_at(position, unit)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn not_written(offset: u64, error: &io::Error) -> Flaw {
    let message = format!("the bytes of the disk could not be written: {error}");
    Flaw::new(offset, FlawKind::NotWritten, message)
}
