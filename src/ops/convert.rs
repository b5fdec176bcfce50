//! Disks in files: from raw to stream-optimized and back.

use super::Summary;
use super::disk_file::{DiskFile, SourceFormat};
use super::proof::check_with;
use super::watch::{ProgressFn, Watch};
use crate::cancel::Cancel;
use crate::error::{Error, Kind, Phase, Result};
use crate::file::FileWriter;
use crate::runtime::spawn_thread;
use crate::service::Format;
use crate::slab::{SLABS, SlabPool};
use crate::storage;
use crate::vmdk::{
    self, CheckOptions, Compression, DiskSink, Encode, EncodeOptions, Flaw, Normalize,
    NormalizeOptions, RawDisk,
};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::NamedTempFile;

/// How a disk is converted.
pub struct ConvertOptions<'a> {
    /// A file or block device.
    pub source: PathBuf,
    /// What the source is.
    pub source_format: SourceFormat,
    /// A file that does not exist, or, for a raw disk, a block device at least as large.
    pub target: PathBuf,
    /// What the target is to be.
    pub format: Format,
    /// How hard to compress a stream.
    pub compression: Compression,
    /// It ends as cancelled when it takes longer than this; `None` = no limit.
    pub deadline: Option<Duration>,
    /// Called on the calling thread at least once a second.
    pub progress: Option<ProgressFn<'a>>,
    /// Ends it when thrown.
    pub cancel: Option<Cancel>,
}

/// Converts a disk in a file: raw to a stream, a stream to raw, or another writer's stream to one
/// that every reader takes. The target appears, whole and on stable
/// storage, when all is done; what a stream proves of itself is proven on the way.
///
/// # Errors
/// [`Kind::Corrupt`] for a stream that is not whole; [`Kind::Unsupported`] for a source of another
/// format, or that is a raw disk and is to be one; [`Kind::InvalidArgument`] for a source that may be
/// a stream or a raw disk, where that is not stated; [`Kind::Exists`] when there is a target;
/// [`Kind::NoSpace`]; [`Kind::Io`]. There is no target then; a block device is in any state.
pub fn convert(options: ConvertOptions<'_>) -> Result<Summary> {
    let ConvertOptions {
        source,
        source_format,
        target,
        format,
        compression,
        deadline,
        progress,
        cancel,
    } = options;
    let mut watch = Watch::new(progress, cancel, deadline);
    let converted = DiskFile::open(&source, source_format).and_then(|from| {
        from.require_other(&target)?;
        match (from.format, format) {
            (Format::Raw, Format::Stream) => encode(&mut watch, &from, &target, compression),
            (Format::Stream, Format::Raw) => decode(&mut watch, &from, &target),
            (Format::Stream, Format::Stream) => normalize(&mut watch, &from, &target),
            (Format::Raw, Format::Raw) => Err(Error::new(
                Kind::Unsupported,
                format!("{} is a raw disk already", source.display()),
            )),
        }
    });
    converted.map_err(|error| {
        error
            .context(format_args!(
                "convert {} to {}",
                source.display(),
                target.display()
            ))
            .in_phase(watch.phase())
    })
}

fn encode(
    watch: &mut Watch<'_>,
    from: &DiskFile,
    to: &Path,
    compression: Compression,
) -> Result<Summary> {
    let disk = from.raw()?;
    let size = disk.size();
    let options = EncodeOptions {
        compression,
        threads: threads(),
        spawn: |name, body| spawn_thread(name, body),
        ..EncodeOptions::default()
    };
    watch.enter(Phase::Transfer, 0)?;
    let target = Target::beside(to)?;
    let mut file = target.writer()?;
    let reading = |e: io::Error| from.reading(&e);
    let mut encode = Encode::new(&options, Arc::new(disk), size).map_err(reading)?;
    let mut written = 0;
    while let Some(slab) = encode.next_slab().map_err(reading)? {
        file.write(&slab)?;
        written += slab.len() as u64;
        watch.reach(written)?;
    }
    let encoded = encode
        .finish()
        .ok_or_else(|| Error::new(Kind::Io, "the encoder ended before the disk"))?;
    file.finish()?;
    target.appear()?;
    Ok(Summary {
        capacity: encoded.capacity,
        stream_length: encoded.length,
        populated: encoded.populated,
        content_digest: encoded.content_digest,
        ..Summary::default()
    })
}

fn decode(watch: &mut Watch<'_>, from: &DiskFile, to: &Path) -> Result<Summary> {
    let file = from.stream()?;
    watch.enter(Phase::Transfer, from.length)?;
    let device = is_block_device(to);
    let target = match device {
        true => None,
        false => Some(Target::beside(to)?),
    };
    let place = target.as_ref().map_or(to, Target::path).to_owned();
    let failed = Arc::new(Mutex::new(None));
    let mut paced = Paced {
        from: file,
        read: 0,
        watch,
        stopped: None,
    };
    let mut disk = None;
    let decoded = vmdk::decode(&options(), &mut paced, |size| {
        let raw = Arc::new(RawDisk::create(&place, size)?);
        disk = Some(raw.clone());
        Ok(Arc::new(Noted {
            disk: raw,
            failed: failed.clone(),
        }))
    });
    if let Some(stopped) = paced.stopped {
        return Err(stopped);
    }
    let written = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    let writing = |e: &io::Error| Error::io(format_args!("write {}", to.display()), e);
    if let Some(error) = written {
        return Err(writing(&error));
    }
    let decoded = decoded.map_err(|e| match disk {
        // Before the disk is open, what fails is the making of it; a flaw is the stream's own.
        None => not_decoded(e, from, writing),
        Some(_) => not_decoded(e, from, |e| from.reading(e)),
    })?;
    from.require_unambiguous(decoded.trailing)?;
    watch.complete()?;
    if let Some(disk) = &disk {
        disk.sync().map_err(|e| writing(&e))?;
    }
    if let Some(target) = target {
        target.appear()?;
    }
    Ok(Summary {
        capacity: decoded.capacity,
        stream_length: decoded.length,
        populated: decoded.populated,
        ..Summary::default()
    })
}

/// A stream of another writer's becomes one that every reader takes; no block is compressed again.
fn normalize(watch: &mut Watch<'_>, from: &DiskFile, to: &Path) -> Result<Summary> {
    let mut file = from.stream()?;
    let flawed = |flaw| from.refused(flaw);
    watch.enter(Phase::Transfer, from.length)?;
    let target = Target::beside(to)?;
    let mut writer = target.writer()?;
    let pool = SlabPool::new(SLABS);
    let mut check = check_with(&options())?;
    let mut rewriting = Normalize::new(&NormalizeOptions::default());
    let mut read = 0;
    loop {
        let mut slab = watch.slab(&pool)?;
        let count = storage::read(&mut file, slab.space()).map_err(|e| from.reading(&e))?;
        if count == 0 {
            break;
        }
        slab.truncate(count);
        let slab = slab.freeze();
        read += count as u64;
        check.feed(slab.clone()).map_err(flawed)?;
        rewriting.feed(slab).map_err(flawed)?;
        while let Some(slab) = rewriting.next_slab() {
            writer.write(&slab)?;
        }
        watch.reach(read)?;
    }
    let facts = check.finish().map_err(flawed)?;
    watch.complete()?;
    from.require_unambiguous(facts.trailing)?;
    rewriting.finish().map_err(flawed)?;
    while let Some(slab) = rewriting.next_slab() {
        writer.write(&slab)?;
    }
    let file = writer.finish()?;
    let written = file
        .metadata()
        .map_err(|e| Error::io(to.display(), &e))?
        .len();
    target.appear()?;
    Ok(Summary {
        capacity: facts.capacity,
        stream_length: written,
        populated: facts.populated,
        content_digest: facts.content_digest,
        ..Summary::default()
    })
}

fn not_decoded(
    error: io::Error,
    from: &DiskFile,
    other: impl FnOnce(&io::Error) -> Error,
) -> Error {
    match error.downcast::<Flaw>() {
        Ok(flaw) => from.refused(flaw),
        Err(error) => other(&error),
    }
}

pub(super) fn options() -> CheckOptions {
    CheckOptions {
        threads: threads(),
        spawn: |name, body| spawn_thread(name, body),
        // Written by qemu-img, whose tables prove as much.
        accept_missing_eos: true,
        ..CheckOptions::default()
    }
}

pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn is_block_device(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.file_type().is_block_device())
}

/// A file that gets its name when it is whole.
struct Target {
    file: NamedTempFile,
    path: PathBuf,
}

impl Target {
    fn beside(path: &Path) -> Result<Target> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::new(
                Kind::Exists,
                format!("{} exists", path.display()),
            ));
        }
        let directory = directory_of(path);
        let file = tempfile::Builder::new()
            .prefix(".vmdk-backup-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .map_err(|e| Error::io(format_args!("make a file in {}", directory.display()), &e))?;
        Ok(Target {
            file,
            path: path.to_owned(),
        })
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    fn writer(&self) -> Result<FileWriter> {
        let file = self.file.as_file().try_clone();
        let name = self.path.display().to_string();
        FileWriter::new(file.map_err(|e| Error::io(&name, &e))?, name)
    }

    fn appear(mut self) -> Result<()> {
        let what = format!("write {}", self.path.display());
        storage::sync(self.file.as_file()).map_err(|e| Error::io(&what, &e))?;
        match storage::rename_new(self.file.path(), &self.path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::new(
                    Kind::Exists,
                    format!("{} exists", self.path.display()),
                ));
            }
            Err(e) => return Err(Error::io(&what, &e)),
        }
        let directory = directory_of(&self.path);
        // Its name is another now: there is nothing to remove.
        self.file.disable_cleanup(true);
        storage::sync_directory(directory).map_err(|e| Error::io(&what, &e))
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Reads while the caller is told of it, and stops when the caller wants that.
struct Paced<'w, 'a> {
    from: File,
    read: u64,
    watch: &'w mut Watch<'a>,
    stopped: Option<Error>,
}

impl Read for Paced<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = storage::read(&mut self.from, buffer)?;
        self.read += read as u64;
        if let Err(error) = self.watch.reach(self.read) {
            self.stopped = Some(error);
            return Err(io::Error::other("stopped"));
        }
        Ok(read)
    }
}

/// Keeps the error that a flaw tells in words only.
struct Noted {
    disk: Arc<RawDisk>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Noted {
    fn note(&self, outcome: io::Result<()>) -> io::Result<()> {
        outcome.map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
            told
        })
    }
}

impl DiskSink for Noted {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.note(self.disk.write_at(offset, bytes))
    }

    fn zeros(&self, range: Range<u64>) -> io::Result<()> {
        self.note(self.disk.zeros(range))
    }

    fn finish(&self) -> io::Result<()> {
        self.note(self.disk.finish())
    }
}
