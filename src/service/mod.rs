//! Where backups are kept: the trait every service implements, and those that come with the library.
//!
//! All methods run on the thread that called the operation, one at a time, and may block for as
//! long as they need: the lease is kept alive elsewhere.

#[cfg(test)]
pub(crate) mod conformance;
mod directory;

pub use directory::Directory;

use crate::error::{Error, Kind, Result};
use bytes::Bytes;
use std::ops::Range;
use std::path::Path;

/// The longest name of a backup, in bytes: what file systems take.
pub const LONGEST_BACKUP_ID: usize = 255;

/// The longest metadata of a backup, in bytes; written and read up to here, and no further.
pub const LONGEST_METADATA: usize = 1 << 20;

/// Refuses metadata that no reader would take.
///
/// # Errors
/// [`Kind::InvalidArgument`].
pub fn check_metadata(text: &str) -> Result<()> {
    if text.len() <= LONGEST_METADATA {
        return Ok(());
    }
    Err(Error::new(
        Kind::InvalidArgument,
        format!(
            "the metadata has {} bytes, {LONGEST_METADATA} at most can be read again",
            text.len()
        ),
    ))
}

/// How the bytes travel between vSphere and a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staging {
    /// Straight through, in pieces.
    Stream,
    /// By way of a temporary regular file that holds the whole stream.
    File,
}

/// How a service keeps a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A stream-optimized VMDK, as vSphere gives and takes it.
    #[default]
    Stream,
    /// The disk's bytes as they are, of which those that are zero need not be kept.
    Raw,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Stream => "a stream-optimized VMDK",
            Format::Raw => "a raw disk",
        })
    }
}

/// What a service is told of a backup that begins.
#[derive(Clone, Debug)]
pub struct BackupRequest<'a> {
    /// The caller's name of the backup.
    pub backup_id: &'a str,
    /// The volume's id, or its name where it has no id.
    pub volume_id: &'a str,
    /// The volume's size in bytes: what the stream decodes to. The stream itself is shorter by
    /// its empty blocks and by compression; how much, only its end tells.
    pub capacity: u64,
    /// What the service will be given: by [`BackupWriter::write`], or by [`BackupWriter::write_at`].
    pub format: Format,
}

/// Something that keeps backups.
pub trait BackupService {
    /// Whether the service wants streams, or a regular file it is shown the path of.
    fn staging(&self) -> Staging {
        Staging::Stream
    }

    /// Begins a backup. Nothing is one before [`BackupWriter::commit`].
    ///
    /// # Errors
    /// [`Kind::Exists`] when there is a committed backup of that id.
    fn create<'a>(&'a self, request: &BackupRequest<'_>) -> Result<Box<dyn BackupWriter + 'a>>;

    /// Opens a committed backup.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none of that id.
    fn open<'a>(&'a self, backup_id: &str) -> Result<Box<dyn BackupReader + 'a>>;
}

/// A backup being written. Dropping it without [`BackupWriter::commit`] aborts it: nothing of it stays.
pub trait BackupWriter {
    /// Appends to the stream. A service that hands the bytes on to a thread clones them at no cost.
    ///
    /// # Errors
    /// Whatever the service says; the operation ends.
    fn write(&mut self, bytes: &Bytes) -> Result<()>;

    /// Puts `bytes` at byte `offset` of a raw disk. Each byte of the disk comes once: by this, or in
    /// [`BackupWriter::zeros`]; in any order.
    ///
    /// # Errors
    /// Whatever the service says; [`Kind::Unsupported`] from one that keeps no raw disks.
    fn write_at(&mut self, offset: u64, bytes: &Bytes) -> Result<()> {
        let (_, _) = (offset, bytes);
        Err(no_raw_disks())
    }

    /// All bytes of a raw disk in this range are zero.
    ///
    /// # Errors
    /// As [`BackupWriter::write_at`].
    fn zeros(&mut self, range: Range<u64>) -> Result<()> {
        let _ = range;
        Err(no_raw_disks())
    }

    /// Takes the whole stream from a regular file (file staging), which is gone after the call.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] from a service that takes streams only.
    fn write_file(&mut self, path: &Path) -> Result<()> {
        Err(Error::new(
            Kind::Unsupported,
            format!("this service takes no file ({})", path.display()),
        ))
    }

    /// Keeps the backup's metadata, a JSON text, beside the stream.
    ///
    /// # Errors
    /// Whatever the service says.
    fn set_metadata(&mut self, metadata: &str) -> Result<()>;

    /// Makes the backup one: durable, whole, to be found by its id.
    ///
    /// # Errors
    /// Whatever the service says; the backup is then aborted.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// A committed backup being read, from its beginning.
pub trait BackupReader {
    /// The stream's length in bytes.
    fn length(&self) -> u64;

    /// What the service keeps, where it knows; `None` where only the metadata records it.
    fn format(&self) -> Option<Format> {
        None
    }

    /// The metadata given to [`BackupWriter::set_metadata`]; `None` where there is none.
    ///
    /// # Errors
    /// Whatever the service says.
    fn metadata(&mut self) -> Result<Option<String>>;

    /// Fills the beginning of `buffer`; 0 is the end of the stream.
    ///
    /// # Errors
    /// Whatever the service says.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Fills all of `buffer` from byte `offset` of a raw disk, of which [`BackupReader::length`] is
    /// the size.
    ///
    /// # Errors
    /// Whatever the service says; [`Kind::Unsupported`] from one that keeps no raw disks.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let (_, _) = (offset, buffer);
        Err(no_raw_disks())
    }

    /// The first range at or after `offset` of a raw disk that may be other than zero; `None` where
    /// there is none. A service that does not know says nothing else but that all may be.
    ///
    /// # Errors
    /// Whatever the service says.
    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>> {
        let end = self.length();
        Ok((offset < end).then_some(offset..end))
    }

    /// Fills the empty regular file at `path` with the whole stream (file staging).
    ///
    /// # Errors
    /// [`Kind::Unsupported`] from a service that gives streams only.
    fn read_file(&mut self, path: &Path) -> Result<()> {
        Err(Error::new(
            Kind::Unsupported,
            format!("this service fills no file ({})", path.display()),
        ))
    }
}

fn no_raw_disks() -> Error {
    Error::new(Kind::Unsupported, "this service keeps no raw disks")
}
