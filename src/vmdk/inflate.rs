//! What a worker does with grains: inflate, measure, hash.

use std::io;
use std::sync::Arc;

use libdeflater::{DecompressionError, Decompressor};
use sha2::{Digest, Sha256};

use super::SECTOR;
use super::content::{UNIT, is_zero};
use super::decode::{DiskSink, Run};
use super::flaw::{Flaw, FlawKind};
use super::header::Header;
use super::walk::Grain;

/// A unit of the disk that is not all zero, with its SHA-256.
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

/// Inflates grains into one buffer that is used over and over.
pub(crate) struct Inflater {
    decompressor: Decompressor,
    capacity: u64,
    grain: usize,
    cell: Vec<u8>,
    current: Option<u64>,
    /// Where the disk is written, if it is.
    run: Option<Run>,
}

impl Inflater {
    pub(crate) fn new(header: &Header, sink: Option<&Arc<dyn DiskSink>>) -> Inflater {
        let grain = header.grain_bytes() as usize;
        Inflater {
            decompressor: Decompressor::new(),
            capacity: header.capacity_bytes(),
            grain,
            cell: vec![0; grain.max(UNIT as usize)],
            current: None,
            run: sink.map(|sink| Run::new(Arc::clone(sink), header.capacity_bytes())),
        }
    }

    /// Inflates grains of whole cells; the first that is wrong ends it.
    pub(crate) fn inflate(
        &mut self,
        grains: &[Grain],
        contents: &mut Contents,
    ) -> Result<(), Flaw> {
        self.current = None;
        if let Some(run) = &mut self.run {
            run.clear();
        }
        for grain in grains {
            let position = grain.lba * SECTOR;
            let cell = position / self.cell.len() as u64;
            if self.current != Some(cell) {
                self.flush(grain.offset, contents)?;
                if self.grain < self.cell.len() {
                    self.cell.fill(0);
                }
                self.current = Some(cell);
            }
            contents.short_last |= self.one(grain, (position % self.cell.len() as u64) as usize)?;
        }
        let last = grains.last().map_or(0, |grain| grain.offset);
        self.flush(last, contents)?;
        self.run
            .as_mut()
            .map_or(Ok(()), Run::flush)
            .map_err(|e| not_written(last, &e))
    }

    /// Inflates one grain to its place in the cell; true where it ended at the capacity.
    fn one(&mut self, grain: &Grain, at: usize) -> Result<bool, Flaw> {
        let room = (self.capacity - grain.lba * SECTOR).min(self.grain as u64) as usize;
        let flaw = |kind, message: String| Err(Flaw::new(grain.offset, kind, message));
        let out = &mut self.cell[at..at + self.grain];
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

    /// Hashes the units of the cell that are not all zero, and passes them on; `offset` is where the stream is.
    fn flush(&mut self, offset: u64, contents: &mut Contents) -> Result<(), Flaw> {
        let Some(cell) = self.current.take() else {
            return Ok(());
        };
        let first = cell * (self.cell.len() as u64 / UNIT);
        for (unit, bytes) in (first..).zip(self.cell.chunks_exact(UNIT as usize)) {
            if !is_zero(bytes) {
                contents.units.push((unit, Sha256::digest(bytes).into()));
                contents.populated += UNIT.min(self.capacity - unit * UNIT);
                if let Some(run) = &mut self.run {
                    run.push(unit, bytes).map_err(|e| not_written(offset, &e))?;
                }
            }
        }
        Ok(())
    }
}

fn not_written(offset: u64, error: &io::Error) -> Flaw {
    let message = format!("the bytes of the disk could not be written: {error}");
    Flaw::new(offset, FlawKind::NotWritten, message)
}
