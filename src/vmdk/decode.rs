//! Where the bytes of a disk go while its stream is checked.

use std::io;
use std::sync::Arc;

use super::content::UNIT;

/// Bytes that are written at once where grains are neighbours.
const RUN: usize = 1 << 20;

/// Takes the bytes of a disk that are not zero, at their place.
///
/// Worker threads call it, several at a time, in any order, each for another place. What is never written is zero on the
/// disk, so it begins as zeros: an empty sparse file, a device that was discarded.
pub trait DiskSink: Send + Sync {
    /// Writes all of `bytes` at byte `offset` of the disk.
    ///
    /// # Errors
    /// Any error ends the check with [`super::FlawKind::NotWritten`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// Collects neighbouring units and writes them together.
pub(crate) struct Run {
    sink: Arc<dyn DiskSink>,
    capacity: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Run {
    pub(crate) fn new(sink: Arc<dyn DiskSink>, capacity: u64) -> Run {
        Run {
            sink,
            capacity,
            start: 0,
            bytes: Vec::with_capacity(RUN),
        }
    }

    /// Adds a unit of the disk that is not all zero.
    pub(crate) fn push(&mut self, unit: u64, bytes: &[u8]) -> io::Result<()> {
        let position = unit * UNIT;
        if self.start + self.bytes.len() as u64 != position || self.bytes.len() + bytes.len() > RUN
        {
            self.flush()?;
        }
        if self.bytes.is_empty() {
            self.start = position;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Forgets what was collected.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Writes what was collected, up to the end of the disk.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let room = (self.capacity - self.start).min(self.bytes.len() as u64) as usize;
        if room > 0 {
            self.sink.write_at(self.start, &self.bytes[..room])?;
        }
        self.bytes.clear();
        Ok(())
    }
}
