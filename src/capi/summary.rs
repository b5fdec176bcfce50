//! What an operation that succeeded did.

use super::sized::Growing;
use super::text::inline;
use crate::ops::Summary;
use std::ffi::c_char;

/// What an operation that succeeded did. Set struct_size before the call; everything else is
/// written by it. All strings end with a NUL and are cut where they are too long.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_summary {
    /// sizeof(vmdk_summary).
    pub struct_size: usize,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// The stream's length in bytes.
    pub stream_length: u64,
    /// Bytes of the disk's blocks that are not all zero.
    pub populated: u64,
    /// 1 where the backing was made by this operation, else 0.
    pub backing_created: u32,
    /// How many sentences notices has, before any cut.
    pub notice_count: u32,
    /// The operation's id, which also stands in the server's logs.
    pub operation_id: [c_char; 32],
    /// The backing's managed object reference ("vm-42").
    pub backing: [c_char; 128],
    /// The SHA-256 of the stream, in 64 lower-case hexadecimal digits.
    pub stream_sha256: [c_char; 72],
    /// The digest (BLAKE3) of the disk's contents, which every encoding of the same disk has, in 64
    /// lower-case hexadecimal digits; empty where it was not computed.
    pub content_digest: [c_char; 72],
    /// What succeeded otherwise than asked, or could not be proven: a sentence a line.
    pub notices: [c_char; 2048],
}

// SAFETY: integers of eight bytes or in pairs of four, and arrays of multiples of eight.
unsafe impl Growing for vmdk_summary {
    const NAME: &'static str = "vmdk_summary";
}

impl From<Summary> for vmdk_summary {
    fn from(summary: Summary) -> Self {
        let Summary {
            operation,
            backing,
            backing_created,
            capacity,
            stream_length,
            populated,
            stream_sha256,
            content_digest,
            notices,
        } = summary;
        vmdk_summary {
            struct_size: size_of::<vmdk_summary>(),
            capacity,
            stream_length,
            populated,
            backing_created: backing_created.into(),
            notice_count: u32::try_from(notices.len()).unwrap_or(u32::MAX),
            operation_id: inline(&operation),
            backing: inline(&backing),
            stream_sha256: inline(&hex(&stream_sha256)),
            content_digest: inline(&content_digest.map_or_else(String::new, |digest| hex(&digest))),
            notices: inline(&notices.join("\n")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
