//! Where the bytes of a disk go while its stream is checked.

use std::io;
use std::ops::Range;

use super::content::UNIT;
use super::window::{WINDOW, Window};

/// Takes a disk, each byte of it once: as bytes, or as part of a range of zeros.
///
/// Worker threads call it, several at a time, in any order, each for another place.
pub trait DiskSink: Send + Sync {
    /// Writes all of `bytes`, at most 1 MiB, at byte `offset` of the disk.
    ///
    /// # Errors
    /// Any error ends the check with [`super::FlawKind::NotWritten`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// The disk has nothing but zeros in this range of bytes. There is nothing to do for a sink that begins as zeros,
    /// such as a new sparse file.
    ///
    /// # Errors
    /// Any error ends the check with [`super::FlawKind::NotWritten`].
    fn zeros(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        Ok(())
    }

    /// All of the disk came, and its stream was found whole. Called once, last, and never after an error.
    ///
    /// # Errors
    /// Any error ends the check with [`super::FlawKind::NotWritten`].
    fn finish(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Finds the ranges of zeros between units that come nearly in order.
pub(crate) struct Gaps {
    window: Window,
    /// Byte up to which all is written or told.
    reached: u64,
    found: Vec<Range<u64>>,
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps {
            window: Window::new(WINDOW),
            reached: 0,
            found: Vec::new(),
        }
    }
}

impl Gaps {
    /// A unit that is not all zero came.
    pub(crate) fn unit(&mut self, unit: u64) {
        let Gaps {
            window,
            reached,
            found,
        } = self;
        window.insert(unit, |left| pass(reached, found, left));
    }

    /// The ranges in which no unit can come any more, each told once.
    pub(crate) fn take(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.found)
    }

    /// The ranges that are left on a disk of so many bytes.
    pub(crate) fn finish(mut self, capacity: u64) -> Vec<Range<u64>> {
        let Gaps {
            window,
            reached,
            found,
        } = &mut self;
        window.drain(|left| pass(reached, found, left));
        if *reached < capacity {
            found.push(*reached..capacity);
        }
        self.found
    }
}

fn pass(reached: &mut u64, found: &mut Vec<Range<u64>>, unit: u64) {
    if *reached < unit * UNIT {
        found.push(*reached..unit * UNIT);
    }
    *reached = (unit + 1) * UNIT;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_all_that_is_not_a_unit_each_once() {
        let mut gaps = Gaps::default();
        let mut found = Vec::new();
        for unit in [3, 1, 2, 20_000, 19_999] {
            gaps.unit(unit);
            found.append(&mut gaps.take());
        }
        found.append(&mut gaps.finish(20_001 * UNIT + 512));
        let end = 20_001 * UNIT;
        assert_eq!(found, [0..UNIT, 4 * UNIT..19_999 * UNIT, end..end + 512]);
    }
}
