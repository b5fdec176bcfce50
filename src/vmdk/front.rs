//! The front layout: directory and tables come before the grains, and are compared with them as they come.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::SECTOR;
use super::flaw::{Flaw, FlawKind};
use super::header::{Header, TABLE_ENTRIES, TABLE_SECTORS};
use super::tables::{Summary, Table, read_entries};

/// Breaks in the order of the tables that are taken. All known writers put them one after another.
const MAX_RUNS: usize = 1 << 16;

/// Tables that lie one after another.
struct Run {
    index: u64,
    sector: u64,
    tables: u64,
}

/// One directory with its tables (there may be a redundant second one), read as its sectors pass by.
struct Directory {
    start: u64,
    sectors: u64,
    tables: u64,
    first_grain: u64,
    read: u64,
    runs: Vec<Run>,
    current: usize,
    table: Box<Table>,
    summaries: Vec<(u64, Summary)>,
}

impl Directory {
    fn new(header: &Header, start: u64) -> Directory {
        Directory {
            start,
            sectors: header.directory_sectors(),
            tables: header.tables(),
            first_grain: header.overhead_bytes() / SECTOR,
            read: 0,
            runs: Vec::new(),
            current: 0,
            table: Box::new([0; TABLE_ENTRIES as usize]),
            summaries: Vec::new(),
        }
    }

    fn sector(&mut self, sector: u64, bytes: &[u8], zero_grains: bool) -> Result<(), String> {
        if (self.start..self.start + self.sectors).contains(&sector) {
            return self.read_directory(sector, bytes);
        }
        while let Some(run) = self.runs.get(self.current) {
            let end = run.sector + run.tables * TABLE_SECTORS;
            if sector < run.sector {
                break;
            }
            if sector >= end {
                self.current += 1;
                continue;
            }
            let index = run.index + (sector - run.sector) / TABLE_SECTORS;
            let quarter = ((sector - run.sector) % TABLE_SECTORS) as usize * bytes.len() / 4;
            for (slot, entry) in self.table[quarter..]
                .iter_mut()
                .zip(read_entries(bytes, zero_grains))
            {
                *slot = entry;
            }
            if (sector - run.sector) % TABLE_SECTORS == TABLE_SECTORS - 1
                && self.table.iter().any(|&e| e != 0)
            {
                self.summaries.push((index, Summary::of(&self.table)));
            }
            break;
        }
        Ok(())
    }

    fn read_directory(&mut self, sector: u64, bytes: &[u8]) -> Result<(), String> {
        for entry in read_entries(bytes, false).map(u64::from) {
            let index = self.read;
            if index == self.tables {
                break;
            }
            self.read += 1;
            if entry == 0 {
                continue;
            }
            let lowest = match self.runs.last() {
                Some(run) => run.sector + run.tables * TABLE_SECTORS,
                None => self.start + self.sectors,
            };
            if entry < lowest || entry <= sector || entry + TABLE_SECTORS > self.first_grain {
                return Err(format!(
                    "grain directory entry {index} names sector {entry}, expected one from {lowest} before the first grain at {}",
                    self.first_grain
                ));
            }
            let full = self.runs.len() == MAX_RUNS;
            match self.runs.last_mut() {
                Some(run) if run.index + run.tables == index && entry == lowest => run.tables += 1,
                _ if full => {
                    return Err(
                        "grain tables are scattered over more places than any writer leaves"
                            .to_owned(),
                    );
                }
                _ => self.runs.push(Run {
                    index,
                    sector: entry,
                    tables: 1,
                }),
            }
        }
        Ok(())
    }
}

/// Reads the tables in front of the grains.
pub(crate) struct FrontTables {
    directories: Vec<Directory>,
    zero_grains: bool,
}

impl FrontTables {
    pub(crate) fn new(header: &Header) -> FrontTables {
        FrontTables {
            directories: header
                .front_directories()
                .into_iter()
                .map(|start| Directory::new(header, start))
                .collect(),
            zero_grains: header.zero_grain_entries(),
        }
    }

    /// Takes the next sector before the first grain.
    pub(crate) fn sector(&mut self, sector: u64, bytes: &[u8]) -> Result<(), Flaw> {
        for directory in &mut self.directories {
            directory
                .sector(sector, bytes, self.zero_grains)
                .map_err(|message| Flaw::new(sector * SECTOR, FlawKind::TableMismatch, message))?;
        }
        Ok(())
    }

    /// All tables were read; `offset` is that of the first grain.
    pub(crate) fn finish(&mut self, offset: u64) -> Result<Declared, Flaw> {
        let declared = self
            .directories
            .pop()
            .map(|d| d.summaries)
            .unwrap_or_default();
        if self.directories.iter().any(|d| d.summaries != declared) {
            let message = "the grain tables and their redundant copy differ";
            return Err(Flaw::new(offset, FlawKind::TableMismatch, message));
        }
        Ok(Declared(declared.into_iter().peekable()))
    }
}

/// The non-empty tables that were declared, to be compared with those of the grains that came, in order of index.
pub(crate) struct Declared(Peekable<IntoIter<(u64, Summary)>>);

impl Declared {
    /// Compares the table of which no more grains can come. `offset` is where the stream is now.
    pub(crate) fn close(&mut self, index: u64, table: &Table, offset: u64) -> Result<(), Flaw> {
        self.skip_to(index, offset)?;
        let seen = Summary::of(table);
        let flaw = |kind, message: String| Err(Flaw::new(offset, kind, message));
        match self.0.next_if(|(declared, _)| *declared == index) {
            None => flaw(
                FlawKind::TableMismatch,
                format!(
                    "{} grains came for grain table {index}, which lists none",
                    seen.grains
                ),
            ),
            Some((_, declared)) if declared.grains > seen.grains => flaw(
                FlawKind::MissingGrains,
                format!(
                    "grain table {index} lists {} grains, {} came",
                    declared.grains, seen.grains
                ),
            ),
            Some((_, declared)) if declared != seen => flaw(
                FlawKind::TableMismatch,
                format!(
                    "grain table {index} lists {} grains at other places than the {} that came",
                    declared.grains, seen.grains
                ),
            ),
            Some(_) => Ok(()),
        }
    }

    /// No more grains come at all.
    pub(crate) fn finish(&mut self, offset: u64) -> Result<(), Flaw> {
        self.skip_to(u64::MAX, offset)
    }

    fn skip_to(&mut self, index: u64, offset: u64) -> Result<(), Flaw> {
        match self.0.peek() {
            Some((declared, summary)) if *declared < index => Err(Flaw::new(
                offset,
                FlawKind::MissingGrains,
                format!(
                    "grain table {declared} lists {} grains, none came",
                    summary.grains
                ),
            )),
            _ => Ok(()),
        }
    }
}
