//! Writes a disk as a stream of the profile that every reader takes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::SECTOR;
use super::assembly::Assembly;
use super::compose::Words;
use super::content::ContentDigest;
use super::options::Spawn;
use super::packer::Packer;

/// A disk to read.
///
/// Worker threads call it, several at a time.
pub trait DiskSource: Send + Sync {
    /// Fills all of `bytes` from byte `offset` of the disk.
    ///
    /// # Errors
    /// Any error ends the encoding.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// The first range at or after `offset` that may be other than zero; None where there is none. It is a hint that spares
    /// reading holes: a source that knows nothing says `offset` to the end.
    ///
    /// # Errors
    /// Any error ends the encoding.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>>;
}

/// How hard to compress. On one machine, the bytes of a stream depend on it and on the disk alone, not on the threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// As fast as it goes. With the feature `igzip` (ISA-L), machines whose processors differ may write other bytes.
    #[default]
    Fast,
    /// Some per cent smaller, for half again the time.
    Balanced,
    /// As small as other tools make it.
    Small,
}

/// How a stream is written.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// How hard to compress.
    pub compression: Compression,
    /// Worker threads; at least one is started.
    pub threads: usize,
    /// Also make the content digest; a tenth of the time of [`Compression::Fast`].
    pub content_digest: bool,
    /// How a worker thread is started.
    pub spawn: Spawn,
    /// `ddb.adapterType`; letters and digits.
    pub adapter_type: String,
    /// `ddb.longContentID`, whose last four bytes are the CID.
    pub content_id: [u8; 16],
    /// `ddb.virtualHWVersion`.
    pub hardware_version: u32,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            compression: Compression::default(),
            threads: 2,
            content_digest: false,
            spawn: |name, body| {
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(body)
            },
            adapter_type: "lsilogic".to_owned(),
            content_id: *b"stream-optimized",
            hardware_version: 10,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of the stream.
    pub length: u64,
    /// Size of the disk in bytes, in whole sectors.
    pub capacity: u64,
    /// Units of 64 KiB of the disk that are not all zero.
    pub grains: u64,
    /// Bytes of the disk in those.
    pub populated: u64,
    /// The content digest ([`super::ContentDigest`]), if it was asked for.
    pub content_digest: Option<[u8; 32]>,
}

/// Encodes one disk on worker threads of its own. The stream is taken from it slab by slab, in order; the workers are never
/// more than a few slabs ahead.
///
/// Dropping it ends the threads.
pub struct Encode {
    packer: Packer,
    assembly: Assembly,
    failed: bool,
    digest: Option<ContentDigest>,
    grains: u64,
    populated: u64,
}

impl Encode {
    /// Starts to encode the disk of `size` bytes that `source` has.
    ///
    /// # Errors
    /// A size of zero, an adapter type that is no word, or a thread that could not be started.
    pub fn new(
        options: &EncodeOptions,
        source: Arc<dyn DiskSource>,
        size: u64,
    ) -> io::Result<Encode> {
        let adapter_type = options.adapter_type.as_str();
        if size == 0
            || adapter_type.is_empty()
            || !adapter_type.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            let message =
                format!("cannot encode {size} bytes for an adapter of type {adapter_type:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let words = Words {
            adapter_type,
            content_id: options.content_id,
            hardware_version: options.hardware_version,
        };
        Ok(Encode {
            packer: Packer::new(options, source, size)?,
            assembly: Assembly::new(size.div_ceil(SECTOR), &words),
            failed: false,
            digest: options.content_digest.then(ContentDigest::new),
            grains: 0,
            populated: 0,
        })
    }

    /// The next bytes of the stream; None at its end. Waits for the workers.
    ///
    /// # Errors
    /// The source failed, or the stream would be longer than 2 TiB, which its tables cannot express.
    pub fn next_slab(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(slab) = self.assembly.pop() {
                return Ok(Some(slab));
            }
            if self.assembly.is_done() {
                return Ok(None);
            }
            if self.failed {
                return Err(io::Error::other("the disk could not be encoded"));
            }
            if let Err(error) = self.advance() {
                self.failed = true;
                return Err(error);
            }
        }
    }

    /// What was written, once `next_slab` has given None.
    pub fn finish(self) -> Option<Encoded> {
        self.assembly.is_done().then(|| Encoded {
            length: self.assembly.written(),
            capacity: self.assembly.capacity(),
            grains: self.grains,
            populated: self.populated,
            content_digest: self.digest.map(ContentDigest::finish),
        })
    }

    /// The grains of the next piece of the disk.
    fn advance(&mut self) -> io::Result<()> {
        let Some(piece) = self.packer.next()? else {
            return self.assembly.end();
        };
        let packed = piece.packed();
        if let Some(digest) = &mut self.digest {
            for &(unit, unit_digest) in &packed.units {
                let new = digest.push(unit, unit_digest);
                debug_assert!(new, "pieces come in order");
            }
        }
        self.grains += packed.grains.len() as u64;
        self.populated += packed.populated;
        // A piece lies within one table.
        let (slab, grains) = piece.into_slab();
        self.assembly.grains(slab, &grains)
    }
}
