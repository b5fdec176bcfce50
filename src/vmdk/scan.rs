//! Reads a stream from its header to its end: slabs go in, grains come out.

use bytes::Bytes;

use super::SECTOR;
use super::carry::Carry;
use super::descriptor::Descriptor;
use super::flaw::Flaw;
use super::header::Header;
use super::options::CheckOptions;
use super::walk::{Grain, Walk, Walker};

/// Reads the header, then walks the stream that it heads.
pub(crate) struct Scanner {
    options: CheckOptions,
    carry: Carry,
    walker: Option<Walker>,
}

impl Scanner {
    pub(crate) fn new(options: &CheckOptions) -> Scanner {
        Scanner {
            options: options.clone(),
            carry: Carry::default(),
            walker: None,
        }
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        self.walker.as_ref().map(Walker::header)
    }

    pub(crate) fn descriptor(&self) -> Option<&Descriptor> {
        self.walker.as_ref().and_then(Walker::descriptor)
    }

    /// Byte of the disk up to which the stream has come.
    pub(crate) fn reached(&self) -> u64 {
        self.walker.as_ref().map_or(0, Walker::reached)
    }

    /// Takes the next slab; each grain that is complete goes to `out`.
    pub(crate) fn feed(&mut self, slab: Bytes, out: &mut dyn FnMut(Grain)) -> Result<(), Flaw> {
        self.carry.feed(slab);
        if self.walker.is_none() {
            let Some(bytes) = self.carry.take(SECTOR as usize) else {
                return Ok(());
            };
            let header = Header::parse(sector_array(&bytes), &self.options.limits)?;
            self.walker = Some(Walker::new(header, &self.options));
        }
        if let Some(walker) = &mut self.walker {
            while walker.step(&mut self.carry, out)? {}
        }
        Ok(())
    }

    /// The stream is over.
    pub(crate) fn finish(self) -> Result<Walk, Flaw> {
        if let Some(walker) = self.walker {
            return walker.finish(&self.carry);
        }
        let short = super::header::read(self.carry.rest(), &self.options.limits);
        Err(short.expect_err("a whole header makes a walker"))
    }
}

/// The bytes of a sector that was taken.
pub(crate) fn sector_array(bytes: &Bytes) -> &[u8; SECTOR as usize] {
    bytes.first_chunk().expect("a whole sector was taken")
}
