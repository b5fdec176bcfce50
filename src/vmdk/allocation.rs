//! Which grains came, and whether the tables before them or after them say the same.

use super::end::{EndTables, sector32};
use super::flaw::{Flaw, FlawKind};
use super::front::{Declared, FrontTables};
use super::header::{Header, Layout, TABLE_ENTRIES};
use super::order::Order;
use super::tables::OpenTables;

/// The tables that the stream itself has.
enum Tables {
    /// Being read, before the first grain.
    Before(FrontTables),
    Front(Declared),
    End(EndTables),
}

/// The grains that came, against the tables of the stream.
pub(crate) struct Allocation {
    order: Order,
    open: OpenTables,
    tables: Tables,
}

impl Allocation {
    pub(crate) fn new(header: &Header) -> Allocation {
        Allocation {
            order: Order::new(header),
            open: OpenTables::default(),
            tables: match header.layout() {
                Layout::Front => Tables::Before(FrontTables::new(header)),
                Layout::End => Tables::End(EndTables::new(header)),
            },
        }
    }

    /// Takes a sector that lies before the first grain and is not the descriptor's.
    pub(crate) fn overhead(&mut self, sector: u64, bytes: &[u8]) -> Result<(), Flaw> {
        match &mut self.tables {
            Tables::Before(front) => front.sector(sector, bytes),
            Tables::Front(_) | Tables::End(_) => Ok(()),
        }
    }

    /// The first grain or marker comes next, at byte `offset`.
    pub(crate) fn begin(&mut self, offset: u64) -> Result<(), Flaw> {
        if let Tables::Before(front) = &mut self.tables {
            self.tables = Tables::Front(front.finish(offset)?);
        }
        Ok(())
    }

    /// Takes the grain at byte `offset`.
    pub(crate) fn grain(&mut self, lba: u64, offset: u64) -> Result<(), Flaw> {
        let number = self.order.arrive(lba, offset)?;
        let (index, at) = (number / TABLE_ENTRIES, (number % TABLE_ENTRIES) as usize);
        if let Tables::End(end) = &self.tables
            && end.is_sealed(index)
        {
            let message = format!(
                "grain for sector {lba} after grain table {index}, which lists its neighbours"
            );
            return Err(Flaw::new(offset, FlawKind::TableMismatch, message));
        }
        self.open.place(index, at, sector32(offset)?);
        self.close(self.order.lowest_grain() / TABLE_ENTRIES, offset)
    }

    /// No more grains come for tables below `limit`.
    fn close(&mut self, limit: u64, offset: u64) -> Result<(), Flaw> {
        while let Some((index, table)) = self.open.pop_below(limit) {
            match &mut self.tables {
                Tables::Front(declared) => declared.close(index, &table, offset)?,
                Tables::Before(_) | Tables::End(_) => {
                    let message = format!("grain table {index} did not follow its grains");
                    return Err(Flaw::new(offset, FlawKind::TableMismatch, message));
                }
            }
        }
        Ok(())
    }

    /// Whether a grain table or the directory may come here.
    pub(crate) fn takes_tables(&self) -> bool {
        matches!(&self.tables, Tables::End(end) if end.directory_sector().is_none())
    }

    /// Sector of the directory after the grains, once it came.
    pub(crate) fn directory_sector(&self) -> Option<u64> {
        match &self.tables {
            Tables::End(end) => end.directory_sector(),
            Tables::Before(_) | Tables::Front(_) => None,
        }
    }

    /// Takes the grain table at byte `offset`.
    pub(crate) fn table(&mut self, bytes: &[u8], offset: u64) -> Result<(), Flaw> {
        match &mut self.tables {
            Tables::End(end) => end.table(bytes, offset, &mut self.open),
            Tables::Before(_) | Tables::Front(_) => Ok(()),
        }
    }

    /// The directory begins at byte `offset`.
    pub(crate) fn begin_directory(&mut self, offset: u64) -> Result<(), Flaw> {
        match &mut self.tables {
            Tables::End(end) => end.begin_directory(offset, &self.open),
            Tables::Before(_) | Tables::Front(_) => Ok(()),
        }
    }

    /// Takes the sector of the directory at byte `offset`.
    pub(crate) fn directory(&mut self, bytes: &[u8], offset: u64) -> Result<(), Flaw> {
        match &mut self.tables {
            Tables::End(end) => end.directory(bytes, offset),
            Tables::Before(_) | Tables::Front(_) => Ok(()),
        }
    }

    /// The end-of-stream marker, or the end of the bytes, is at byte `offset`: is anything missing?
    pub(crate) fn finish(&mut self, footer: bool, offset: u64) -> Result<(), Flaw> {
        let flaw = |kind, message: &str| Err(Flaw::new(offset, kind, message));
        if self.takes_tables() {
            // A hole in a damaged file reads as zeros, and so as an end-of-stream marker.
            let message = "end-of-stream marker before the grain directory: grains are missing";
            return flaw(FlawKind::MissingGrains, message);
        }
        self.close(u64::MAX, offset)?;
        match &mut self.tables {
            Tables::Front(declared) => declared.finish(offset),
            Tables::End(_) if !footer => flaw(
                FlawKind::MissingFooter,
                "end-of-stream marker without a footer before it",
            ),
            Tables::Before(_) | Tables::End(_) => Ok(()),
        }
    }

    /// Grain tables that have a grain.
    pub(crate) fn tables(&self) -> u64 {
        self.open.opened()
    }

    /// Whether every grain came after all that are before it on the disk.
    pub(crate) fn in_order(&self) -> bool {
        self.order.kept()
    }
}
