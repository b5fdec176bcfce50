//! A writer of small streams for the tests of the check, simple enough to be believed, and able to write them wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use libdeflater::{CompressionLvl, Compressor};

use super::disk::Disk;

pub const SECTOR: usize = 512;
/// Sectors of the disk that a grain table covers, with the usual grain.
pub const TABLE_SPAN: u64 = 512 * 128;
const AT_END: u64 = u64::MAX;

/// How a stream is written; the default is the profile of vSphere's own exports, with a smaller head.
#[derive(Clone)]
pub struct Writer {
    pub version: u32,
    pub flags: u32,
    pub grain_sectors: u64,
    /// Tables before the grains, one copy or two.
    pub front: Option<usize>,
    /// Sectors before the first grain; more where the tables are there.
    pub overhead: u64,
    pub descriptor: Option<String>,
    /// Grains by number, in this order instead of the disk's.
    pub order: Option<Vec<u64>>,
    /// Grains of zeros that are written nonetheless.
    pub zeros: Vec<u64>,
    /// The last grain ends with the disk.
    pub short_last: bool,
    /// A progress marker before each grain.
    pub progress: bool,
    pub empty_tables: bool,
    pub eos: bool,
    pub level: i32,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer {
            version: 3,
            flags: 0x30001,
            grain_sectors: 128,
            front: None,
            overhead: 3,
            descriptor: None,
            order: None,
            zeros: Vec::new(),
            short_last: false,
            progress: false,
            empty_tables: false,
            eos: true,
            level: 6,
        }
    }
}

/// A stream, and where its parts are.
#[derive(Clone, Default)]
pub struct Stream {
    pub bytes: Vec<u8>,
    /// Marker of each grain, in the order of the stream.
    pub grains: Vec<usize>,
    /// First entry of each grain table.
    pub tables: Vec<usize>,
    /// First entry of the directory.
    pub directory: usize,
    pub footer: usize,
    pub eos: usize,
    /// Bytes that mean nothing for the disk.
    pub free: Vec<Range<usize>>,
}

pub fn descriptor(sectors: u64) -> String {
    format!(
        "# Disk DescriptorFile\nversion=1\nCID=0123abcd\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\
         RDONLY {sectors} SPARSE \"generated-stream.vmdk\"\nddb.adapterType = \"lsilogic\"\n"
    )
}

impl Writer {
    pub fn write(&self, disk: &Disk) -> Stream {
        let mut s = Stream::default();
        let tables = disk.sectors.div_ceil(self.grain_sectors * 512) as usize;
        let directory_sectors = (tables * 4).div_ceil(SECTOR);
        let text = self
            .descriptor
            .clone()
            .unwrap_or_else(|| descriptor(disk.sectors));
        let descriptor_sectors = text.len().div_ceil(SECTOR);
        let copies = self.front.unwrap_or(0);
        let copy_sectors = directory_sectors + tables * 4;
        let metadata = 1 + descriptor_sectors + copies * copy_sectors;
        let overhead = self.overhead.max(metadata as u64) as usize;
        let directories: Vec<usize> = (0..copies)
            .map(|c| 1 + descriptor_sectors + c * copy_sectors)
            .collect();

        s.bytes.extend_from_slice(b"KDMV");
        s.put32(self.version);
        s.put32(self.flags | if copies == 2 { 2 } else { 0 });
        for field in [
            disk.sectors,
            self.grain_sectors,
            1,
            descriptor_sectors as u64,
        ] {
            s.put64(field);
        }
        s.put32(512);
        s.put64(if copies == 2 {
            directories[0] as u64
        } else {
            0
        });
        s.put64(directories.last().map_or(AT_END, |&d| d as u64));
        s.put64(overhead as u64);
        s.bytes.extend_from_slice(b"\0\n \r\n\x01\0");
        s.free.extend([8..9, 48..56, 72..73, 79..512]);
        s.pad();
        s.bytes.extend_from_slice(text.as_bytes());
        s.free.push(512..512 * (1 + descriptor_sectors));
        s.bytes.resize(overhead * SECTOR, 0);
        s.free.push(metadata * SECTOR..overhead * SECTOR);

        let mut entries: BTreeMap<usize, [u32; 512]> = BTreeMap::new();
        let order = self.order.clone().unwrap_or_else(|| self.numbers(disk));
        for (at, &number) in order.iter().enumerate() {
            if self.progress {
                s.marker(0, 4, number * self.grain_sectors);
            }
            let sector = (s.bytes.len() / SECTOR) as u32;
            s.grain(self, disk, number);
            let table = number as usize / 512;
            entries.entry(table).or_insert([0; 512])[number as usize % 512] = sector;
            let next = order.get(at + 1).map_or(tables, |&n| n as usize / 512);
            if self.front.is_none() && next != table {
                s.table(&entries[&table]);
                if self.empty_tables {
                    (table + 1..next).for_each(|_| s.table(&[0; 512]));
                }
            }
        }
        for start in directories {
            s.fill_front(start, directory_sectors, tables, &entries);
        }
        if self.front.is_none() {
            s.end(&entries, directory_sectors, self.empty_tables);
        }
        s.eos = s.bytes.len();
        if self.eos {
            s.marker(0, 0, 0);
        }
        s
    }

    /// Numbers of the grains that are not all zero, or written nonetheless.
    fn numbers(&self, disk: &Disk) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.zeros.clone();
        for unit in disk.units.keys() {
            let first = unit * 128 / self.grain_sectors;
            numbers.extend(first..(first + 128 / self.grain_sectors).max(first + 1));
        }
        numbers.retain(|number| number * self.grain_sectors < disk.sectors);
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }
}

impl Stream {
    pub fn put32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn put64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn set32(&mut self, at: usize, value: u32) -> &mut Stream {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self
    }

    pub fn set64(&mut self, at: usize, value: u64) -> &mut Stream {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        self
    }

    pub fn get32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// The compressed bytes of a grain.
    pub fn payload(&mut self, grain: usize) -> &mut [u8] {
        let at = self.grains[grain];
        let size = self.get32(at + 8) as usize;
        &mut self.bytes[at + 12..at + 12 + size]
    }

    /// Puts another zlib stream in the place of the one of a grain; it must not need more sectors.
    pub fn replace(&mut self, grain: usize, zlib: &[u8]) {
        let at = self.grains[grain];
        let room = (12 + self.payload(grain).len()).next_multiple_of(SECTOR) - 12;
        assert!(
            zlib.len() <= room,
            "{} bytes do not fit in {room}",
            zlib.len()
        );
        self.set32(at + 8, zlib.len() as u32);
        self.bytes[at + 12..at + 12 + zlib.len()].copy_from_slice(zlib);
    }

    fn pad(&mut self) {
        let from = self.bytes.len();
        self.bytes.resize(from.next_multiple_of(SECTOR), 0);
        self.free.push(from..self.bytes.len());
    }

    pub fn marker(&mut self, value: u64, kind: u32, lba: u64) {
        let at = self.bytes.len();
        self.put64(value);
        self.put32(0);
        self.put32(kind);
        self.put64(lba);
        self.free.push(at + 16..at + 24);
        self.pad();
    }

    fn grain(&mut self, writer: &Writer, disk: &Disk, number: u64) {
        let bytes = writer.grain_sectors as usize * SECTOR;
        let start = number as usize * bytes;
        let mut raw = disk.bytes(start, bytes);
        if writer.short_last {
            raw.truncate(disk.sectors as usize * SECTOR - start);
        }
        let zlib = zlib(&raw, writer.level);
        self.grains.push(self.bytes.len());
        self.put64(number * writer.grain_sectors);
        self.put32(zlib.len() as u32);
        self.bytes.extend_from_slice(&zlib);
        self.pad();
    }

    fn table(&mut self, entries: &[u32; 512]) {
        self.marker(4, 1, 0);
        self.tables.push(self.bytes.len());
        entries.iter().for_each(|&entry| self.put32(entry));
    }

    fn end(
        &mut self,
        entries: &BTreeMap<usize, [u32; 512]>,
        directory_sectors: usize,
        empty_tables: bool,
    ) {
        self.marker(directory_sectors as u64, 2, 0);
        self.directory = self.bytes.len();
        let mut tables = self.tables.iter();
        let last = entries.keys().last().copied().unwrap_or_default();
        let first = entries.keys().next().copied().unwrap_or_default();
        for index in 0..=last {
            let written = entries.contains_key(&index) || empty_tables && index > first;
            let table = if written { tables.next() } else { None };
            self.bytes
                .extend_from_slice(&table.map_or(0, |t| (t / SECTOR) as u32).to_le_bytes());
        }
        self.bytes
            .resize(self.directory + directory_sectors * SECTOR, 0);
        let entries = self.directory + (last + 1) * 4;
        self.marker(1, 3, 0);
        self.footer = self.bytes.len();
        self.bytes.extend_from_within(..SECTOR);
        self.set64(self.footer + 56, (self.directory / SECTOR) as u64);
        self.free.extend([
            self.footer + 48..self.footer + 56,
            self.footer + 72..self.footer + 77,
        ]);
        self.free.extend([
            self.footer + 79..self.footer + 512,
            entries..self.directory + directory_sectors * SECTOR,
        ]);
    }

    fn fill_front(
        &mut self,
        start: usize,
        sectors: usize,
        tables: usize,
        entries: &BTreeMap<usize, [u32; 512]>,
    ) {
        self.directory = start * SECTOR;
        self.free
            .push(self.directory + tables * 4..(start + sectors) * SECTOR);
        for index in 0..tables {
            let table = start + sectors + index * 4;
            self.set32(self.directory + index * 4, table as u32);
            self.tables.push(table * SECTOR);
            for (at, &entry) in entries.get(&index).unwrap_or(&[0; 512]).iter().enumerate() {
                self.set32(table * SECTOR + at * 4, entry);
            }
        }
    }
}

/// A zlib stream of these bytes.
pub fn zlib(raw: &[u8], level: i32) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
    let mut out = vec![0; compressor.zlib_compress_bound(raw.len())];
    let length = compressor.zlib_compress(raw, &mut out).unwrap();
    out.truncate(length);
    out
}
