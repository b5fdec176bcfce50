//! The order in which grains come: rising, or nearly so.

use super::SECTOR;
use super::content::UNIT;
use super::flaw::{Flaw, FlawKind};
use super::header::Header;
use super::window::{Arrival, WINDOW, Window};

/// Finds grains that came twice or too late. Grains smaller than the 64 KiB unit of the content digest share a cell with
/// their neighbours: they come one after another, since the unit is digested as a whole.
pub(crate) struct Order {
    window: Window,
    grain_sectors: u64,
    cell_sectors: u64,
    last: Option<u64>,
    highest: u64,
    kept: bool,
}

impl Default for Order {
    fn default() -> Order {
        Order::with_grain(UNIT / SECTOR)
    }
}

impl Order {
    pub(crate) fn new(header: &Header) -> Order {
        Order::with_grain(header.grain_sectors())
    }

    fn with_grain(grain_sectors: u64) -> Order {
        let cell_sectors = grain_sectors.max(UNIT / SECTOR);
        Order {
            window: Window::new(WINDOW * (UNIT / SECTOR) / cell_sectors),
            grain_sectors,
            cell_sectors,
            last: None,
            highest: 0,
            kept: true,
        }
    }

    /// Takes the next grain, at byte `offset`; returns its number.
    pub(crate) fn arrive(&mut self, lba: u64, offset: u64) -> Result<u64, Flaw> {
        let cell = lba / self.cell_sectors;
        let twice = || {
            let message = format!("a second grain for sector {lba}");
            Err(Flaw::new(offset, FlawKind::DuplicateGrain, message))
        };
        let late = |highest: u64| {
            let message = format!(
                "grain for sector {lba} after that for sector {highest}: too late to be put in order"
            );
            Err(Flaw::new(offset, FlawKind::GrainOutOfOrder, message))
        };
        match self.last {
            Some(last) if last == lba => return twice(),
            Some(last) if last / self.cell_sectors == cell && lba > last => {}
            Some(last) if last / self.cell_sectors == cell => return late(self.highest),
            _ => match self.window.insert(cell, |_| ()) {
                Arrival::New => {}
                Arrival::Again if self.cell_sectors == self.grain_sectors => return twice(),
                Arrival::Again | Arrival::TooLate => return late(self.highest),
            },
        }
        self.kept &= lba >= self.highest;
        self.highest = self.highest.max(lba);
        self.last = Some(lba);
        Ok(lba / self.grain_sectors)
    }

    /// Grains below this number can no longer come.
    pub(crate) fn lowest_grain(&self) -> u64 {
        self.window.base() * (self.cell_sectors / self.grain_sectors)
    }

    /// Whether every grain so far came after all grains before it on the disk.
    pub(crate) fn kept(&self) -> bool {
        self.kept
    }
}
