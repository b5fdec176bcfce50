//! What is wrong with a stream, and where.

use std::fmt;

/// The first thing found wrong with a stream: everything before `offset` was as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Byte of the stream at which the structure that is wrong begins.
    pub offset: u64,
    /// The kind of fault, for a program to decide by.
    pub kind: FlawKind,
    /// What was found and what was expected, for a person to read.
    pub message: String,
    /// It is no damage: the bytes are another format, or another kind of VMDK, and more than one field says so.
    pub foreign: bool,
}

/// The kinds of fault a stream can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlawKind {
    /// The bytes are not a sparse VMDK at all.
    BadMagic,
    /// A header version other than 1, 2 or 3.
    UnsupportedVersion,
    /// The flags or the compression method do not say "stream-optimized".
    BadFlags,
    /// A header field that contradicts the format or exceeds a limit.
    BadHeader,
    /// The embedded text descriptor is not that of one stream-optimized extent.
    BadDescriptor,
    /// The disk depends on a parent: it is only the difference to another disk.
    HasParent,
    /// A marker of unknown type, with a wrong value, or out of its place.
    BadMarker,
    /// A compressed grain longer than any that holds one grain's bytes.
    GrainTooLarge,
    /// A grain at or beyond the capacity of the disk.
    GrainOutOfRange,
    /// A grain whose address is no multiple of the grain size.
    GrainMisaligned,
    /// A second grain for the same address.
    DuplicateGrain,
    /// A grain that comes too late for its order to be restored in bounded memory.
    GrainOutOfOrder,
    /// A grain whose zlib stream is damaged.
    BadDeflate,
    /// A grain that does not inflate to exactly one grain.
    GrainSizeMismatch,
    /// A grain table or the grain directory contradicts the grains.
    TableMismatch,
    /// Grains that must be there never came before the end-of-stream marker.
    MissingGrains,
    /// All is there but the end-of-stream marker.
    MissingEos,
    /// The end-of-stream marker came with the directory but without the footer before it.
    MissingFooter,
    /// The footer contradicts the header or the place of the grain directory.
    FooterMismatch,
    /// The stream stopped in the middle.
    Truncated,
    /// Something other than zeros follows the end-of-stream marker.
    TrailingBytes,
    /// The stream is longer than the format (or the limit given) allows.
    StreamTooLong,
    /// The sink of [`super::Check::decode`] refused the bytes of the disk: no fault of the stream.
    NotWritten,
}

impl Flaw {
    pub(crate) fn new(offset: u64, kind: FlawKind, message: impl Into<String>) -> Flaw {
        Flaw {
            offset,
            kind,
            message: message.into(),
            foreign: false,
        }
    }

    pub(crate) fn foreign(self) -> Flaw {
        Flaw {
            foreign: true,
            ..self
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VMDK stream, byte {}: {}", self.offset, self.message)
    }
}

impl std::error::Error for Flaw {}
