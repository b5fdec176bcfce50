//! Where the stream of a restore comes from: the service itself, or a temporary file filled from it.

use super::convert::options;
use super::proof::{check_with, corrupt, refused};
use super::raw;
use super::temporary::Temporary;
use super::watch::Watch;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::service::{BackupReader, Staging};
use crate::slab::{SLABS, SlabPool};
use crate::storage;
use crate::vmdk::{CheckOptions, Encoded, Facts, Level, Normalize, NormalizeOptions};
use bytes::Bytes;
use std::io::Read;
use std::path::Path;

/// A stream of known length, read in slabs.
pub(super) struct Source<'a> {
    from: From<'a>,
    length: u64,
    read: u64,
}

enum From<'a> {
    Service(Box<dyn BackupReader + 'a>),
    File(Temporary, Box<dyn Read>),
}

impl<'a> Source<'a> {
    /// Straight from the service.
    pub(super) fn stream(reader: Box<dyn BackupReader + 'a>) -> Self {
        let length = reader.length();
        Source {
            from: From::Service(reader),
            length,
            read: 0,
        }
    }

    /// By way of a temporary file.
    pub(super) fn staged(
        watch: &mut Watch<'_>,
        mut reader: Box<dyn BackupReader + 'a>,
        service: Staging,
        temp_dir: Option<&Path>,
        operation: &str,
    ) -> Result<Self> {
        watch.enter(Phase::Service, reader.length())?;
        let named = service == Staging::File;
        let temporary = Temporary::new(temp_dir, named, reader.length(), operation)?;
        match temporary.path() {
            Some(path) => reader
                .read_file(path)
                .context("have the service fill the file")?,
            None => copy(watch, Source::stream(reader), &temporary)?,
        }
        watch.complete()?;
        Source::file(temporary)
    }

    /// A raw disk of the service's, encoded into a temporary file; with what it was found to hold.
    pub(super) fn encoded(
        watch: &mut Watch<'_>,
        mut reader: Box<dyn BackupReader + 'a>,
        temp_dir: Option<&Path>,
        operation: &str,
    ) -> Result<(Self, Encoded)> {
        watch.enter(Phase::Service, reader.length())?;
        // How small it gets, only its end tells.
        let temporary = Temporary::new(temp_dir, false, 0, operation)?;
        let encoded = raw::encode(watch, reader.as_mut(), temporary.writer()?)?;
        watch.complete()?;
        Ok((Source::file(temporary)?, encoded))
    }

    /// The same disk as a stream that every host takes, in another temporary file.
    pub(super) fn normalized(
        mut self,
        watch: &mut Watch<'_>,
        temp_dir: Option<&Path>,
        operation: &str,
    ) -> Result<Self> {
        watch.enter(Phase::Convert, self.length)?;
        let temporary = Temporary::new(temp_dir, false, self.length, operation)?;
        let mut file = temporary.writer()?;
        let pool = SlabPool::new(SLABS);
        let mut rewriting = Normalize::new(&NormalizeOptions::default());
        while let Some(slab) = self.next(watch, &pool)? {
            rewriting.feed(slab).map_err(corrupt)?;
            while let Some(slab) = rewriting.next_slab() {
                file.write(&slab)?;
            }
            watch.reach(self.read)?;
        }
        rewriting.finish().map_err(corrupt)?;
        while let Some(slab) = rewriting.next_slab() {
            file.write(&slab)?;
        }
        file.finish()?;
        watch.complete()?;
        Source::file(temporary)
    }

    fn file(temporary: Temporary) -> Result<Self> {
        let (file, length) = temporary.reader()?;
        Ok(Source {
            from: From::File(temporary, Box::new(file)),
            length,
            read: 0,
        })
    }

    /// Reads it all, and proves it whole. Takes what other tools write, too: that is to be
    /// [`Source::normalized`] then.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for a stream that is not; [`Kind::Unsupported`] for another format, which
    /// an unknown version is only where the stream was not `recorded`.
    pub(super) fn prove(
        &mut self,
        watch: &mut Watch<'_>,
        phase: Phase,
        level: Level,
        recorded: bool,
    ) -> Result<Facts> {
        let flawed = if recorded { corrupt } else { refused };
        watch.enter(phase, self.length)?;
        let pool = SlabPool::new(SLABS);
        let mut check = check_with(&CheckOptions { level, ..options() })?;
        while let Some(slab) = self.next(watch, &pool)? {
            check.feed(slab).map_err(flawed)?;
            watch.reach(self.read)?;
        }
        let facts = check.finish().map_err(flawed)?;
        watch.complete()?;
        Ok(facts)
    }

    /// The stream's length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The next slab; `None` at the end.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] for a stream that is shorter or longer than its length.
    pub(super) fn next(&mut self, watch: &mut Watch<'_>, pool: &SlabPool) -> Result<Option<Bytes>> {
        let mut slab = watch.slab(pool)?;
        let mut filled = 0;
        let space = slab.space();
        while filled < space.len() {
            let room = &mut space[filled..];
            let read = match &mut self.from {
                From::Service(reader) => {
                    let most = room.len();
                    let read = reader.read(room).context("read from the service")?;
                    if read > most {
                        return Err(Error::new(
                            Kind::Service,
                            format!("the service read {read} bytes into room for {most}"),
                        ));
                    }
                    read
                }
                From::File(temporary, file) => storage::read(file, room)
                    .map_err(|e| Error::io(format_args!("read {}", temporary.name()), &e))?,
            };
            if read == 0 {
                break;
            }
            filled += read;
            watch.tick()?;
        }
        self.read += filled as u64;
        let at_end = filled < space.len();
        if self.read > self.length || (at_end && self.read < self.length) {
            return Err(Error::new(
                Kind::Corrupt,
                format!(
                    "the service announced {} bytes and gave {}{}",
                    self.length,
                    self.read,
                    if at_end { "" } else { " or more" }
                ),
            ));
        }
        if filled == 0 {
            return Ok(None);
        }
        slab.truncate(filled);
        Ok(Some(slab.freeze()))
    }

    /// Back to the beginning; a service is made to open the backup again by `reopen`.
    ///
    /// # Errors
    /// [`Kind::Corrupt`] when the service gives another backup than before.
    pub(super) fn rewind(
        &mut self,
        reopen: impl FnOnce() -> Result<Box<dyn BackupReader + 'a>>,
    ) -> Result<()> {
        if let From::Service(reader) = &mut self.from {
            *reader = reopen()?;
            if reader.length() != self.length {
                return Err(Error::new(
                    Kind::Corrupt,
                    format!(
                        "the service announced {} bytes at first, now {}",
                        self.length,
                        reader.length()
                    ),
                ));
            }
            self.read = 0;
        }
        self.back_to_file()
    }

    pub(super) fn back_to_file(&mut self) -> Result<()> {
        if let From::File(temporary, file) = &mut self.from {
            *file = Box::new(temporary.reader()?.0);
            self.read = 0;
        }
        Ok(())
    }
}

fn copy(watch: &mut Watch<'_>, mut source: Source<'_>, temporary: &Temporary) -> Result<()> {
    let pool = SlabPool::new(SLABS);
    let mut file = temporary.writer()?;
    while let Some(slab) = source.next(watch, &pool)? {
        file.write(&slab)?;
        watch.reach(source.read)?;
    }
    file.finish().map(drop)
}
