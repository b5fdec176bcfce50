//! Whole conversions over readers and writers: what the parts of the engine do when nothing comes between them.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::check::{Check, Facts};
use super::decode::DiskSink;
use super::descriptor::Descriptor;
use super::encode::{DiskSource, Encode, EncodeOptions, Encoded};
use super::flaw::Flaw;
use super::normalize::{Normalize, NormalizeOptions};
use super::options::{CheckOptions, Level};
use super::slabs::Slabs;

/// What was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the stream.
    pub length: u64,
    /// Size of the disk in bytes.
    pub capacity: u64,
    /// Units of 64 KiB of the disk that are not all zero.
    pub grains: u64,
    /// Bytes of the disk in those.
    pub populated: u64,
    /// What the descriptor says.
    pub descriptor: Descriptor,
    /// Zeros after the end-of-stream marker.
    pub trailing: u64,
}

/// Checks the stream `from`.
///
/// # Errors
/// Reading failed, or ([`io::ErrorKind::InvalidData`], with a [`Flaw`] inside) the stream is not whole.
pub fn check(options: &CheckOptions, from: &mut impl Read) -> io::Result<Facts> {
    let slabs = Slabs::default();
    let mut check = Check::new(options)?;
    while let Some(slab) = slabs.read(from)? {
        check.feed(slab).map_err(invalid)?;
    }
    check.finish().map_err(invalid)
}

/// Writes the disk that the stream `from` has to the sink that `open` makes once the size of the disk is known. Everything
/// that [`Check`] proves at [`Level::Full`] is proven here too, but no digest is made, which saves a third of the work.
///
/// # Errors
/// Reading failed, `open` failed, or ([`io::ErrorKind::InvalidData`], with a [`Flaw`] inside) the stream is not whole or
/// the sink refused bytes. What was written then is not the disk.
pub fn decode(
    options: &CheckOptions,
    from: &mut impl Read,
    open: impl FnOnce(u64) -> io::Result<Arc<dyn DiskSink>>,
) -> io::Result<Decoded> {
    let options = CheckOptions {
        level: Level::Full,
        ..options.clone()
    };
    let slabs = Slabs::default();
    let first = slabs.read(from)?.unwrap_or_default();
    let header = super::header::read(&first, &options.limits).map_err(invalid)?;
    let sink = open(header.capacity_bytes())?;
    let mut check = Check::start(&options, Some(sink), false)?;
    let mut next = Some(first);
    while let Some(slab) = next {
        check.feed(slab).map_err(invalid)?;
        next = slabs.read(from)?;
    }
    let length = check.progress().bytes;
    let (walk, found) = check.conclude().map_err(invalid)?;
    Ok(Decoded {
        length,
        capacity: walk.header.capacity_bytes(),
        grains: found.whole.units,
        populated: found.whole.populated,
        trailing: walk.trailing,
        descriptor: walk.descriptor,
    })
}

/// Writes the disk of `size` bytes that `source` has as a stream.
///
/// # Errors
/// Those of [`Encode`], and those of `to`.
pub fn encode(
    options: &EncodeOptions,
    source: Arc<dyn DiskSource>,
    size: u64,
    to: &mut impl Write,
) -> io::Result<Encoded> {
    let mut encode = Encode::new(options, source, size)?;
    while let Some(slab) = encode.next_slab()? {
        to.write_all(&slab)?;
    }
    to.flush()?;
    encode
        .finish()
        .ok_or_else(|| io::Error::other("the encoder ended before the disk"))
}

/// Rewrites the stream `from` in the profile that every reader takes; returns the length of what was written. On an error
/// it is not whole and must not be used.
///
/// # Errors
/// Those of `from` and `to`, and ([`io::ErrorKind::InvalidData`], with a [`Flaw`] inside) those of [`Normalize`].
pub fn normalize(
    options: &NormalizeOptions,
    from: &mut impl Read,
    to: &mut impl Write,
) -> io::Result<u64> {
    let slabs = Slabs::default();
    let mut normalize = Normalize::new(options);
    let mut length = 0;
    let mut write = |normalize: &mut Normalize| -> io::Result<()> {
        while let Some(slab) = normalize.next_slab() {
            to.write_all(&slab)?;
            length += slab.len() as u64;
        }
        Ok(())
    };
    while let Some(slab) = slabs.read(from)? {
        normalize.feed(slab).map_err(invalid)?;
        write(&mut normalize)?;
    }
    normalize.finish().map_err(invalid)?;
    write(&mut normalize)?;
    to.flush()?;
    Ok(length)
}

fn invalid(flaw: Flaw) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, flaw)
}
