//! The grain tables as the grains that came would have them.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::header::TABLE_ENTRIES;

pub(crate) type Table = [u32; TABLE_ENTRIES as usize];

/// Entry that says "a grain of zeros" where the header's flags allow it.
const ZERO_GRAIN: u32 = 1;

/// What is kept of a table: enough to tell it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Entries that name a grain.
    pub(crate) grains: u16,
    /// First bytes of the SHA-256 of the table.
    hash: u64,
}

impl Summary {
    pub(crate) fn of(table: &Table) -> Summary {
        let grains = table.iter().filter(|&&entry| entry != 0).count() as u16;
        let mut sha = Sha256::new();
        if grains > 0 {
            for entry in table {
                sha.update(entry.to_le_bytes());
            }
        }
        let digest: [u8; 32] = sha.finalize().into();
        let hash = digest[..8]
            .iter()
            .fold(0, |hash, &b| hash << 8 | u64::from(b));
        Summary { grains, hash }
    }
}

/// Reads entries of a table from bytes of the stream; with `zero_grains`, "grain of zeros" reads as "no grain".
pub(crate) fn read_entries(bytes: &[u8], zero_grains: bool) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(move |b| {
        let entry = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        if zero_grains && entry == ZERO_GRAIN {
            0
        } else {
            entry
        }
    })
}

/// Tables of which more grains may come, by index.
#[derive(Default)]
pub(crate) struct OpenTables {
    tables: BTreeMap<u64, Box<Table>>,
    opened: u64,
}

impl OpenTables {
    /// Notes that the grain of entry `at` in table `index` lies at `sector`.
    pub(crate) fn place(&mut self, index: u64, at: usize, sector: u32) {
        let OpenTables { tables, opened } = self;
        let table = tables.entry(index).or_insert_with(|| {
            *opened += 1;
            Box::new([0; TABLE_ENTRIES as usize])
        });
        table[at] = sector;
    }

    /// Takes the lowest table if it is below `limit`.
    pub(crate) fn pop_below(&mut self, limit: u64) -> Option<(u64, Box<Table>)> {
        let entry = self.tables.first_entry().filter(|e| *e.key() < limit)?;
        Some(entry.remove_entry())
    }

    /// Takes the table equal to `table`.
    pub(crate) fn take_equal(&mut self, table: &Table) -> Option<u64> {
        let index = *self.tables.iter().find(|(_, open)| ***open == *table)?.0;
        self.tables.remove(&index);
        Some(index)
    }

    /// Tables that had a grain, closed ones too.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// The lowest table.
    pub(crate) fn first(&self) -> Option<(u64, &Table)> {
        self.tables
            .first_key_value()
            .map(|(&index, table)| (index, &**table))
    }
}
