//! A disk in a file, opened as the format that the caller states, or as what its bytes prove.

use super::proof::refused;
use crate::error::{Error, Kind, Result};
use crate::service::Format;
use crate::vmdk::{FOREIGN_HEAD, FOREIGN_TAIL, Flaw, RawDisk, foreign_by_head, foreign_by_tail};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a disk in a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceFormat {
    /// What its bytes say: a stream-optimized VMDK, or a raw disk where they say nothing. Other
    /// known formats, and what can be either, are refused.
    #[default]
    Probe,
    /// A stream-optimized VMDK.
    Stream,
    /// A raw disk, whatever its bytes look like.
    Raw,
}

/// Zeros after the end-of-stream marker that writers leave there (qemu-img). After more of them, a
/// file is as likely a raw disk to which a stream was once written.
const MOST_TRAILING: u64 = 64 << 10;

const STATE_IT: &str = "if it is a raw disk, state the source format";

/// An open file or block device, and what is in it.
pub(super) struct DiskFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) length: u64,
    probed: bool,
}

impl DiskFile {
    /// # Errors
    /// [`Kind::InvalidArgument`] for what is neither a file nor a block device, or is empty;
    /// [`Kind::Unsupported`], by name, for another format than a disk is read from; [`Kind::Io`].
    pub(super) fn open(path: &Path, stated: SourceFormat) -> Result<DiskFile> {
        let shown = path.display();
        let opening = |e: io::Error| Error::io(format_args!("open {shown}"), &e);
        let invalid = |what| Err(Error::new(Kind::InvalidArgument, format!("{shown} {what}")));
        let file = OpenOptions::new()
            .read(true)
            // Opening a pipe would otherwise wait for its writer.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(opening)?;
        let kind = file.metadata().map_err(opening)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return invalid("is neither a regular file nor a block device");
        }
        let disk = RawDisk::over(file.try_clone().map_err(opening)?).map_err(opening)?;
        let length = disk.size();
        if length == 0 {
            return invalid("is empty");
        }
        let format = match stated {
            SourceFormat::Probe => probe(&file, length, path)?,
            SourceFormat::Stream => Format::Stream,
            SourceFormat::Raw => Format::Raw,
        };
        Ok(DiskFile {
            file,
            path: path.to_owned(),
            format,
            length,
            probed: stated == SourceFormat::Probe,
        })
    }

    /// The disk of a raw file.
    pub(super) fn raw(&self) -> Result<RawDisk> {
        let file = self.file.try_clone().and_then(RawDisk::over);
        file.map_err(|e| self.reading(&e))
    }

    /// The file, to be read from its start.
    pub(super) fn stream(&self) -> Result<File> {
        use std::io::Seek;
        let file = self.file.try_clone().and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        });
        file.map_err(|e| self.reading(&e))
    }

    pub(super) fn reading(&self, error: &io::Error) -> Error {
        Error::io(format_args!("read {}", self.path.display()), error)
    }

    /// The error that a flaw of the stream is.
    pub(super) fn refused(&self, flaw: Flaw) -> Error {
        let error = refused(flaw);
        match self.probed {
            true => error.remedy(STATE_IT),
            false => error,
        }
    }

    /// Refuses a stream that was only probed to be one when a file that goes on for long after it
    /// may as well be a raw disk.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub(super) fn require_unambiguous(&self, trailing: u64) -> Result<()> {
        if !self.probed || trailing <= MOST_TRAILING {
            return Ok(());
        }
        let message = format!(
            "{} begins with a whole stream of {} bytes, after which {trailing} bytes of zeros \
             follow: it may be a stream or a raw disk",
            self.path.display(),
            self.length - trailing,
        );
        Err(Error::new(Kind::InvalidArgument, message).remedy("state the source format"))
    }

    /// Refuses to write to the file or device that is read.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub(super) fn require_other(&self, target: &Path) -> Result<()> {
        let Ok(target) = target.metadata() else {
            return Ok(());
        };
        let source = self.file.metadata().map_err(|e| self.reading(&e))?;
        let same_file = (source.dev(), source.ino()) == (target.dev(), target.ino());
        let same_device = source.file_type().is_block_device()
            && target.file_type().is_block_device()
            && source.rdev() == target.rdev();
        if same_file || same_device {
            let message = "source and target are the same";
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        Ok(())
    }
}

fn probe(file: &File, length: u64, path: &Path) -> Result<Format> {
    let read = |at: u64, most: usize| {
        let mut bytes = vec![0; usize::try_from(length).map_or(most, |length| most.min(length))];
        match file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes),
            Err(e) => Err(Error::io(format_args!("read {}", path.display()), &e)),
        }
    };
    let head = read(0, FOREIGN_HEAD)?;
    if head.starts_with(b"KDMV") || head.starts_with(b"kdmv") {
        // The stream's reader says what else it may be.
        return Ok(Format::Stream);
    }
    let tail = read(length.saturating_sub(FOREIGN_TAIL as u64), FOREIGN_TAIL)?;
    match foreign_by_head(&head).or(foreign_by_tail(&tail).map(Into::into)) {
        None => Ok(Format::Raw),
        Some(name) => Err(Error::new(
            Kind::Unsupported,
            format!("{} is not a disk that can be read: {name}", path.display()),
        )
        .remedy(format!(
            "unpack it, or convert it with qemu-img; {STATE_IT}"
        ))),
    }
}
