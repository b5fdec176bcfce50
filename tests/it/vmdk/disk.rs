//! The disks that the streams of the tests hold.

use std::collections::BTreeMap;

use super::writer::SECTOR;

/// A disk: its size in sectors, and the 64 KiB units of it that are not all zero.
#[derive(Clone, Default)]
pub struct Disk {
    pub sectors: u64,
    pub units: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    /// A disk with something in each of these units.
    pub fn new(sectors: u64, units: &[u64]) -> Disk {
        let units = units.iter().map(|&unit| (unit, pattern(unit))).collect();
        let mut disk = Disk { sectors, units };
        disk.clip();
        disk
    }

    /// The disk that a raw image holds.
    pub fn from_raw(raw: &[u8]) -> Disk {
        let mut disk = Disk {
            sectors: raw.len().div_ceil(SECTOR) as u64,
            units: BTreeMap::new(),
        };
        for (unit, bytes) in raw.chunks(65536).enumerate() {
            if bytes.iter().any(|&b| b != 0) {
                let mut bytes = bytes.to_vec();
                bytes.resize(65536, 0);
                disk.units.insert(unit as u64, bytes);
            }
        }
        disk
    }

    /// Nothing of a unit lies beyond the end of the disk.
    fn clip(&mut self) {
        for (unit, bytes) in &mut self.units {
            let room = (self.sectors as usize * SECTOR).saturating_sub(*unit as usize * 65536);
            bytes[room.min(65536)..].fill(0);
        }
    }

    /// The content digest, by its definition.
    pub fn content_digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (unit, bytes) in &self.units {
            hasher.update(&unit.to_le_bytes());
            hasher.update(blake3::hash(bytes).as_bytes());
        }
        hasher.finalize().into()
    }

    /// Bytes of the disk; zeros beyond its end.
    pub fn bytes(&self, start: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        for (unit, content) in &self.units {
            let at = *unit as usize * 65536;
            let from = start.max(at);
            let to = (start + length).min(at + 65536);
            if from < to {
                bytes[from - start..to - start].copy_from_slice(&content[from - at..to - at]);
            }
        }
        bytes
    }
}

/// Something that compresses well and is another thing in each unit.
fn pattern(unit: u64) -> Vec<u8> {
    let line = format!("unit {unit} of a disk\n");
    line.bytes().cycle().take(65536).collect()
}
