//! Writes a disk as a stream of the profile that every reader takes.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::SECTOR;
use super::compose::{self, Words};
use super::content::ContentDigest;
use super::header::{TABLE_ENTRIES, TABLE_SECTORS};
use super::options::Spawn;
use super::packer::Packer;
use super::tables::Table;

/// Bytes of the directory in one slab.
const DIRECTORY_SLAB: u64 = 128 * SECTOR;

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

/// How hard to compress. The bytes of a stream depend on it and on the disk alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// As fast as it goes.
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
    /// Also make the content digest; it costs about a quarter of the time of [`Compression::Fast`].
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

enum Stage {
    Grains,
    /// Sectors of the directory; so many are written.
    Directory(u64),
    Done,
    Failed,
}

/// Encodes one disk on worker threads of its own. The stream is taken from it slab by slab, in order; the workers are never
/// more than a few slabs ahead.
///
/// Dropping it ends the threads.
pub struct Encode {
    packer: Packer,
    sectors: u64,
    descriptor_sectors: u64,
    ready: VecDeque<Bytes>,
    stage: Stage,
    written: u64,
    table: Option<(u64, Box<Table>)>,
    /// Index and sector of each table that was written.
    tables: Vec<(u64, u32)>,
    directory: u64,
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
        let sectors = size.div_ceil(SECTOR);
        let head = compose::head(sectors, &words);
        let descriptor_sectors = u64::from(head[36]);
        Ok(Encode {
            packer: Packer::new(options, source, size)?,
            sectors,
            descriptor_sectors,
            written: head.len() as u64,
            ready: VecDeque::from([Bytes::from(head)]),
            stage: Stage::Grains,
            table: None,
            tables: Vec::new(),
            directory: 0,
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
            if let Some(slab) = self.ready.pop_front() {
                return Ok(Some(slab));
            }
            match self.stage {
                Stage::Grains => {
                    if let Err(error) = self.grains() {
                        self.stage = Stage::Failed;
                        return Err(error);
                    }
                }
                Stage::Directory(sector) => self.directory(sector),
                Stage::Done => return Ok(None),
                Stage::Failed => return Err(io::Error::other("the disk could not be encoded")),
            }
        }
    }

    /// What was written, once `next_slab` has given None.
    pub fn finish(self) -> Option<Encoded> {
        matches!(self.stage, Stage::Done).then(|| Encoded {
            length: self.written,
            capacity: self.sectors * SECTOR,
            grains: self.grains,
            populated: self.populated,
            content_digest: self.digest.map(ContentDigest::finish),
        })
    }

    fn push(&mut self, slab: impl Into<Bytes>) {
        let slab = slab.into();
        self.written += slab.len() as u64;
        self.ready.push_back(slab);
    }

    /// The grains of the next piece of the disk.
    fn grains(&mut self) -> io::Result<()> {
        let Some(piece) = self.packer.next()? else {
            return self.end_grains();
        };
        let packed = piece.packed();
        let Some(&(first, _)) = packed.grains.first() else {
            return Ok(());
        };
        // A piece lies within one table.
        let index = first / TABLE_ENTRIES;
        if self.table.as_ref().is_some_and(|(open, _)| *open != index) {
            self.end_table()?;
        }
        let base =
            sector32(self.written + packed.used as u64)? - (packed.used as u64 / SECTOR) as u32;
        let (_, table) = self
            .table
            .get_or_insert_with(|| (index, Box::new([0; TABLE_ENTRIES as usize])));
        for &(number, sector) in &packed.grains {
            table[(number % TABLE_ENTRIES) as usize] = base + sector;
        }
        if let Some(digest) = &mut self.digest {
            for &(unit, sha256) in &packed.units {
                let new = digest.push(unit, sha256);
                debug_assert!(new, "pieces come in order");
            }
        }
        self.grains += packed.grains.len() as u64;
        self.populated += packed.populated;
        self.push(piece.into_bytes());
        Ok(())
    }

    /// The table of the grains that were written last.
    fn end_table(&mut self) -> io::Result<()> {
        let Some((index, table)) = self.table.take() else {
            return Ok(());
        };
        self.tables.push((index, sector32(self.written + SECTOR)?));
        let mut bytes = compose::marker(TABLE_SECTORS, 1).to_vec();
        bytes.extend(table.iter().flat_map(|entry| entry.to_le_bytes()));
        self.push(bytes);
        Ok(())
    }

    fn end_grains(&mut self) -> io::Result<()> {
        self.end_table()?;
        self.push(compose::marker(self.directory_sectors(), 2).to_vec());
        self.directory = self.written / SECTOR;
        self.stage = Stage::Directory(0);
        Ok(())
    }

    fn directory_sectors(&self) -> u64 {
        let tables = self
            .sectors
            .div_ceil(compose::GRAIN_SECTORS * TABLE_ENTRIES);
        (tables * 4).div_ceil(SECTOR)
    }

    /// The directory from one of its sectors on; after its last, the end of the stream.
    fn directory(&mut self, sector: u64) {
        let left = self.directory_sectors() - sector;
        if left == 0 {
            let mut end = compose::marker(1, 3).to_vec();
            end.extend(compose::header(
                self.sectors,
                self.descriptor_sectors,
                self.directory,
            ));
            end.extend(compose::marker(0, 0));
            self.push(end);
            self.stage = Stage::Done;
            return;
        }
        let bytes = (left * SECTOR).min(DIRECTORY_SLAB);
        let first = sector * SECTOR / 4;
        let entries = first..first + bytes / 4;
        let mut slab = vec![0; bytes as usize];
        let from = self
            .tables
            .partition_point(|&(index, _)| index < entries.start);
        for &(index, table) in self.tables[from..]
            .iter()
            .take_while(|(index, _)| entries.contains(index))
        {
            let at = (index - first) as usize * 4;
            slab[at..at + 4].copy_from_slice(&table.to_le_bytes());
        }
        self.push(slab);
        self.stage = Stage::Directory(sector + bytes / SECTOR);
    }
}

/// A place in the stream as tables name it.
fn sector32(offset: u64) -> io::Result<u32> {
    u32::try_from(offset / SECTOR).map_err(|_| {
        let message = "the stream would be longer than the 2 TiB that its grain tables can name";
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    })
}
