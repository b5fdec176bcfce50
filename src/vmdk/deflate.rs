//! What a worker of an encoder does: read a piece of the disk, leave out the zeros, compress the rest into grains.

use std::io;

use super::SECTOR;
use super::codec::{Codec, STORED_GRAIN};
use super::content::{UNIT, is_zero, unit_digest};
use super::encode::{Compression, DiskSource};
use super::inflate::Unit;
use super::marker::GRAIN_MARKER_BYTES;

/// Grains that are read, compressed and passed on together.
pub(crate) const PIECE_GRAINS: u64 = 16;
/// Bytes of the disk in them.
pub(crate) const PIECE: u64 = PIECE_GRAINS * UNIT;

/// Grains of one piece as they stand in the stream.
#[derive(Default)]
pub(crate) struct Packed {
    /// Only the first `used` bytes count; the rest is there to be overwritten.
    pub(crate) bytes: Vec<u8>,
    pub(crate) used: usize,
    /// Each grain's number, and the sector of its marker from the first one's.
    pub(crate) grains: Vec<(u64, u32)>,
    pub(crate) units: Vec<Unit>,
    pub(crate) populated: u64,
}

/// Reads and compresses with memory of its own, used over and over.
pub(crate) struct Deflater {
    codec: Codec,
    size: u64,
    raw: Vec<u8>,
    hash: bool,
}

impl Deflater {
    /// For a disk of `size` bytes; with `hash`, units have their digest.
    pub(crate) fn new(compression: Compression, size: u64, hash: bool) -> Deflater {
        Deflater {
            codec: Codec::new(compression),
            size,
            hash,
            raw: vec![0; PIECE as usize],
        }
    }

    /// Reads piece `number` of the disk and packs its grains.
    pub(crate) fn pack(
        &mut self,
        source: &dyn DiskSource,
        number: u64,
        packed: &mut Packed,
    ) -> io::Result<()> {
        let start = number * PIECE;
        let length = PIECE.min(self.size - start) as usize;
        source.read_at(start, &mut self.raw[..length])?;
        self.raw[length..].fill(0);
        let most = (GRAIN_MARKER_BYTES + STORED_GRAIN).next_multiple_of(SECTOR as usize);
        packed.bytes.resize(most * PIECE_GRAINS as usize, 0);
        packed.used = 0;
        packed.grains.clear();
        packed.units.clear();
        packed.populated = 0;
        for (unit, raw) in (number * PIECE_GRAINS..).zip(self.raw.chunks_exact(UNIT as usize)) {
            if is_zero(raw) {
                continue;
            }
            let sector = (packed.used / SECTOR as usize) as u32;
            let out = &mut packed.bytes[packed.used..packed.used + most];
            let size = self.codec.compress(raw, &mut out[GRAIN_MARKER_BYTES..]);
            out[..8].copy_from_slice(&(unit * UNIT / SECTOR).to_le_bytes());
            out[8..12].copy_from_slice(&(size as u32).to_le_bytes());
            let end = (GRAIN_MARKER_BYTES + size).next_multiple_of(SECTOR as usize);
            out[GRAIN_MARKER_BYTES + size..end].fill(0);
            packed.used += end;
            packed.grains.push((unit, sector));
            if self.hash {
                packed.units.push((unit, unit_digest(raw)));
            }
            packed.populated += UNIT.min(self.size.next_multiple_of(SECTOR) - unit * UNIT);
        }
        Ok(())
    }
}
