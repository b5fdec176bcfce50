//! Stream-optimized VMDK: slabs of bytes go in, facts come out.
//!
//! [`Check`] reads a stream once, from its first byte to its last, and tells whether it is whole and what it holds, or the
//! [`Flaw`] nearest to its start; [`Check::decode`] also writes the disk to a [`DiskSink`]. [`Encode`] makes a stream of a
//! [`DiskSource`]. [`Normalize`] rewrites a stream that an ESXi host
//! would refuse. Of files, [`RawDisk`] alone knows.

mod allocation;
mod assembly;
mod carry;
mod check;
mod codec;
mod compose;
mod content;
mod convert;
mod decode;
mod deflate;
mod descriptor;
mod encode;
mod end;
mod flaw;
mod fold;
mod foreign;
mod front;
mod header;
#[cfg(feature = "igzip")]
mod igzip;
mod inflate;
mod lane;
mod marker;
mod normalize;
mod options;
mod order;
mod packer;
mod pool;
mod raw;
mod scan;
mod slabs;
mod tables;
mod walk;
mod window;
mod worker;

pub use check::{Check, Facts, Progress};
pub use codec::CODEC;
pub use content::{ContentDigest, UNIT, unit_digest};
pub use convert::{Decoded, check, decode, encode, normalize};
pub use decode::DiskSink;
pub use descriptor::Descriptor;
pub use encode::{Compression, DiskSource, Encode, EncodeOptions, Encoded};
pub use flaw::{Flaw, FlawKind};
pub use foreign::{FOREIGN_HEAD, FOREIGN_TAIL, foreign_by_head, foreign_by_tail};
pub use header::{Header, Layout};
pub use normalize::{Normalize, NormalizeOptions};
pub use options::{CheckOptions, Level, Limits, Spawn};
pub use raw::RawDisk;

/// Bytes of a sector, in which the format counts.
pub(crate) const SECTOR: u64 = 512;
