//! Puts a stream of the writer's profile together: grains go in, in the order of the disk, slabs come out, with the grain
//! table after each 32 MiB of disk that has grains, and the directory, the footer and the end-of-stream marker at the end.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use super::SECTOR;
use super::compose::{self, Words};
use super::header::{TABLE_ENTRIES, TABLE_SECTORS};
use super::tables::Table;

/// Bytes of the directory in one slab.
const DIRECTORY_SLAB: u64 = 128 * SECTOR;

enum Stage {
    Grains,
    /// Sectors of the directory; so many are written.
    Directory(u64),
    Done,
}

pub(crate) struct Assembly {
    sectors: u64,
    descriptor_sectors: u64,
    ready: VecDeque<Bytes>,
    stage: Stage,
    written: u64,
    table: Option<(u64, Box<Table>)>,
    /// Index and sector of each table that was written.
    tables: Vec<(u64, u32)>,
    directory: u64,
}

impl Assembly {
    /// For a disk of so many sectors; the header and the descriptor are ready.
    pub(crate) fn new(sectors: u64, words: &Words) -> Assembly {
        let head = compose::head(sectors, words);
        Assembly {
            sectors,
            descriptor_sectors: u64::from(head[36]),
            written: head.len() as u64,
            ready: VecDeque::from([Bytes::from(head)]),
            stage: Stage::Grains,
            table: None,
            tables: Vec::new(),
            directory: 0,
        }
    }

    /// Bytes of the stream so far; the next ones are not among them before they were taken or asked for.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Whether all was taken.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done) && self.ready.is_empty()
    }

    /// The next slab that is ready.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        if self.ready.is_empty()
            && let Stage::Directory(sector) = self.stage
        {
            self.directory(sector);
        }
        self.ready.pop_front()
    }

    /// Adds grains of one table as they stand in the stream: each one's number, and the sector of its marker from the start
    /// of `slab`.
    pub(crate) fn grains(&mut self, slab: Bytes, grains: &[(u64, u32)]) -> io::Result<()> {
        let Some(&(first, _)) = grains.first() else {
            return Ok(());
        };
        let index = first / TABLE_ENTRIES;
        if self.table.as_ref().is_some_and(|(open, _)| *open != index) {
            self.end_table()?;
        }
        let sectors = slab.len() as u64 / SECTOR;
        let base = sector32(self.written + slab.len() as u64)? - sectors as u32;
        let (_, table) = self
            .table
            .get_or_insert_with(|| (index, Box::new([0; TABLE_ENTRIES as usize])));
        for &(number, sector) in grains {
            table[(number % TABLE_ENTRIES) as usize] = base + sector;
        }
        self.push(slab);
        Ok(())
    }

    /// No more grains come.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.end_table()?;
        self.push(compose::marker(self.directory_sectors(), 2).to_vec());
        self.directory = self.written / SECTOR;
        self.stage = Stage::Directory(0);
        Ok(())
    }

    fn push(&mut self, slab: impl Into<Bytes>) {
        let slab = slab.into();
        self.written += slab.len() as u64;
        self.ready.push_back(slab);
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

    fn directory_sectors(&self) -> u64 {
        directory_sectors(self.sectors)
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

/// Bytes of the stream of a disk of so many sectors that has so many non-empty tables, and so many bytes in grains.
pub(crate) fn length(sectors: u64, tables: u64, grain_bytes: u64) -> u64 {
    let tables = tables * (1 + TABLE_SECTORS);
    // The directory's marker, then the footer's, the footer and the end-of-stream marker.
    let end = 1 + directory_sectors(sectors) + 3;
    (compose::OVERHEAD + tables + end) * SECTOR + grain_bytes
}

fn directory_sectors(sectors: u64) -> u64 {
    let tables = sectors.div_ceil(compose::GRAIN_SECTORS * TABLE_ENTRIES);
    (tables * 4).div_ceil(SECTOR)
}

/// A place in the stream as tables name it.
fn sector32(offset: u64) -> io::Result<u32> {
    u32::try_from(offset / SECTOR).map_err(|_| {
        let message = "the stream would be longer than the 2 TiB that its grain tables can name";
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    })
}
