//! The end layout: each table follows its grains, the directory follows the last table.

use super::SECTOR;
use super::flaw::{Flaw, FlawKind};
use super::header::{Header, TABLE_ENTRIES};
use super::tables::{OpenTables, Table, read_entries};

/// A table that was read and found equal to its grains.
struct Sealed {
    index: u64,
    sector: u32,
    empty: bool,
}

/// Tables that were read, by index, and the directory that must name them.
pub(crate) struct EndTables {
    sealed: Vec<Sealed>,
    tables: u64,
    zero_grains: bool,
    directory: Option<u64>,
    known_directory: Option<u64>,
    read: u64,
    next: usize,
}

impl EndTables {
    pub(crate) fn new(header: &Header) -> EndTables {
        EndTables {
            sealed: Vec::new(),
            tables: header.tables(),
            zero_grains: header.zero_grain_entries(),
            directory: None,
            known_directory: header.known_directory(),
            read: 0,
            next: 0,
        }
    }

    /// Whether the table was read already, so that no more of its grains may come.
    pub(crate) fn is_sealed(&self, index: u64) -> bool {
        self.find(index).is_ok()
    }

    fn find(&self, index: u64) -> Result<usize, usize> {
        match self.sealed.last() {
            Some(last) if last.index >= index => {
                self.sealed.binary_search_by_key(&index, |s| s.index)
            }
            _ => Err(self.sealed.len()),
        }
    }

    /// Takes a table that lies at byte `offset`.
    pub(crate) fn table(
        &mut self,
        bytes: &[u8],
        offset: u64,
        open: &mut OpenTables,
    ) -> Result<(), Flaw> {
        let mut table: Table = [0; TABLE_ENTRIES as usize];
        for (slot, entry) in table.iter_mut().zip(read_entries(bytes, self.zero_grains)) {
            *slot = entry;
        }
        let flaw = |message: String| Err(Flaw::new(offset, FlawKind::TableMismatch, message));
        let empty = table.iter().all(|&entry| entry == 0);
        let index = if empty {
            // vmdktool writes tables of holes too, each in its turn.
            self.sealed.last().map_or(0, |s| s.index + 1)
        } else if let Some(index) = open.take_equal(&table) {
            index
        } else {
            return flaw(describe(&table, open));
        };
        let Err(at) = self.find(index) else {
            return flaw(format!("a second grain table {index}"));
        };
        if index >= self.tables {
            return flaw(format!(
                "more grain tables than the {} of the disk",
                self.tables
            ));
        }
        let sector = sector32(offset)?;
        self.sealed.insert(
            at,
            Sealed {
                index,
                sector,
                empty,
            },
        );
        Ok(())
    }

    /// The directory begins at byte `offset`.
    pub(crate) fn begin_directory(&mut self, offset: u64, open: &OpenTables) -> Result<(), Flaw> {
        let flaw = |message: String| Err(Flaw::new(offset, FlawKind::TableMismatch, message));
        if let Some((index, _)) = open.first() {
            return flaw(format!(
                "grain directory without grain table {index}, of which grains came"
            ));
        }
        let sector = offset / SECTOR;
        if self.known_directory.is_some_and(|known| known != sector) {
            return flaw(format!(
                "grain directory at sector {sector}, but not by the header"
            ));
        }
        self.directory = Some(sector);
        Ok(())
    }

    /// Takes the next sector of the directory, at byte `offset`.
    pub(crate) fn directory(&mut self, bytes: &[u8], offset: u64) -> Result<(), Flaw> {
        for entry in read_entries(bytes, false) {
            let index = self.read;
            if index == self.tables {
                break;
            }
            self.read += 1;
            let sealed = self.sealed.get(self.next).filter(|s| s.index == index);
            let expected = sealed.map_or(0, |s| s.sector);
            let hole = entry == 0 && sealed.is_none_or(|s| s.empty);
            if entry != expected && !hole {
                let message = format!(
                    "grain directory entry {index} names sector {entry}, expected {expected}"
                );
                return Err(Flaw::new(offset, FlawKind::TableMismatch, message));
            }
            self.next += usize::from(sealed.is_some());
        }
        Ok(())
    }

    /// Sector of the directory, once it was read.
    pub(crate) fn directory_sector(&self) -> Option<u64> {
        self.directory
    }
}

/// Says how a table differs from the grains that it should list.
fn describe(table: &Table, open: &OpenTables) -> String {
    let Some((index, seen)) = open.first() else {
        return "a grain table of which no grain came".to_owned();
    };
    let at = table
        .iter()
        .zip(seen)
        .position(|(a, b)| a != b)
        .unwrap_or_default();
    format!(
        "grain table {index} has entry {at} name sector {}, expected {}",
        table[at], seen[at]
    )
}

/// A place in the stream as tables name it.
pub(crate) fn sector32(offset: u64) -> Result<u32, Flaw> {
    u32::try_from(offset / SECTOR).map_err(|_| {
        let message = "beyond the 2 TiB that the 32-bit sectors of grain tables can name";
        Flaw::new(offset, FlawKind::StreamTooLong, message)
    })
}
