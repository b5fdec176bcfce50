//! The simulator's own stream-optimized VMDK: what an ESX host writes on export and accepts on import. It shares nothing
//! with the library under test, so that a mistake in one cannot hide in the other.

mod decode;
mod encode;
mod header;
mod pipeline;
mod place;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, StreamFacts};
pub use encode::{EncodeOptions, Layout, Sink, encode};
pub use header::Header;

/// Bytes of a grain before compression: the only grain size that VMware's writers emit.
const GRAIN: u64 = 64 << 10;

/// Entries of a grain table, which thus covers 32 MiB of the disk.
const TABLE_ENTRIES: u64 = 512;

const SECTOR: u64 = crate::disk::SECTOR;

/// Kinds of metadata marker, told apart from a grain by a size of 0.
const END_OF_STREAM: u32 = 0;
const GRAIN_TABLE: u32 = 1;
const GRAIN_DIRECTORY: u32 = 2;
const FOOTER: u32 = 3;
/// Sent by hosts while they skip a hole, with the sector that they have come to at byte 16.
const PROGRESS: u32 = 4;
