//! Writes a disk as an ESX host exports it.

use std::io;

use super::header::{DIRECTORY_AT_END, Header};
use super::pipeline::each_grain;
use super::{
    END_OF_STREAM, FOOTER, GRAIN, GRAIN_DIRECTORY, GRAIN_TABLE, PROGRESS, SECTOR, TABLE_ENTRIES,
};
use crate::disk::Disk;

/// Takes the next bytes of the stream.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Where the grain tables stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// After the grains that they cover, the directory and a footer at the end: what exports look like.
    Inline,
    /// All in front of the first grain, without footer: what VDDK writes. Compresses everything twice.
    Front,
}

/// How to export.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// zlib's: 0 stores, 1 is quick, 9 is small.
    pub level: u32,
    pub layout: Layout,
    /// Four progress markers in a row for every so many bytes of a hole, as a host sends when a hole takes it long.
    pub progress_every: Option<u64>,
    /// Leaves stale bytes behind the fields of metadata markers, as VMware's writers do; they are ignored on read.
    pub stale_padding: bool,
    /// Threads that compress.
    pub threads: usize,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            level: 1,
            layout: Layout::Inline,
            progress_every: None,
            stale_padding: true,
            threads: 2,
        }
    }
}

/// Sends the disk as a stream-optimized VMDK to `sink`, in bounded memory and without reading holes.
pub fn encode(disk: &Disk, options: &EncodeOptions, sink: &mut Sink) -> io::Result<()> {
    match options.layout {
        Layout::Inline => inline(disk, options, sink),
        Layout::Front => front(disk, options, sink),
    }
}

fn inline(disk: &Disk, options: &EncodeOptions, sink: &mut Sink) -> io::Result<()> {
    let descriptor = descriptor(disk);
    let header = Header {
        capacity: disk.capacity() / SECTOR,
        descriptor_sectors: descriptor.len() as u64 / SECTOR,
        directory_at: DIRECTORY_AT_END,
        overhead: GRAIN / SECTOR,
    };
    let mut out = Output {
        sink,
        at: 0,
        stale_padding: options.stale_padding,
    };
    out.write(&header.to_bytes())?;
    out.write(&descriptor)?;
    out.pad_to(header.overhead * SECTOR)?;

    let tables = table_count(disk);
    let mut directory = vec![0u32; tables as usize];
    let mut table = Table::default();
    let mut next_grain = 0;
    each_grain(disk, options.level, options.threads, |packed| {
        if packed.grain / TABLE_ENTRIES != table.index {
            table.finish(&mut out, &mut directory)?;
            table.index = packed.grain / TABLE_ENTRIES;
        }
        out.progress(options, next_grain..packed.grain)?;
        next_grain = packed.grain + 1;
        table.entries[(packed.grain % TABLE_ENTRIES) as usize] = out.sector()?;
        table.used = true;
        out.write(&packed.bytes)
    })?;
    table.finish(&mut out, &mut directory)?;
    out.progress(options, next_grain..disk.capacity().div_ceil(GRAIN))?;

    let directory = sectors_of(&directory);
    out.marker(directory.len() as u64 / SECTOR, GRAIN_DIRECTORY, None)?;
    let directory_at = u64::from(out.sector()?);
    out.write(&directory)?;
    out.marker(1, FOOTER, None)?;
    out.write(
        &Header {
            directory_at,
            ..header
        }
        .to_bytes(),
    )?;
    out.marker(0, END_OF_STREAM, None)
}

fn front(disk: &Disk, options: &EncodeOptions, sink: &mut Sink) -> io::Result<()> {
    let descriptor = descriptor(disk);
    let tables = table_count(disk);
    let directory_at = 1 + descriptor.len() as u64 / SECTOR;
    let tables_at = directory_at + (4 * tables).div_ceil(SECTOR);
    let overhead =
        (tables_at + tables * TABLE_ENTRIES * 4 / SECTOR).next_multiple_of(GRAIN / SECTOR);

    let mut places = Vec::new();
    let mut at = overhead * SECTOR;
    each_grain(disk, options.level, options.threads, |packed| {
        places.push((packed.grain, sector_of(at)?));
        at += packed.bytes.len() as u64;
        Ok(())
    })?;

    let header = Header {
        capacity: disk.capacity() / SECTOR,
        descriptor_sectors: descriptor.len() as u64 / SECTOR,
        directory_at,
        overhead,
    };
    let mut out = Output {
        sink,
        at: 0,
        stale_padding: options.stale_padding,
    };
    out.write(&header.to_bytes())?;
    out.write(&descriptor)?;
    let table_sectors = TABLE_ENTRIES * 4 / SECTOR;
    let directory: Vec<u32> = (0..tables)
        .map(|table| (tables_at + table * table_sectors) as u32)
        .collect();
    out.write(&sectors_of(&directory))?;
    let mut places = places.into_iter().peekable();
    for index in 0..tables {
        let mut entries = [0; TABLE_ENTRIES as usize];
        while let Some((grain, sector)) =
            places.next_if(|(grain, _)| grain / TABLE_ENTRIES == index)
        {
            entries[(grain % TABLE_ENTRIES) as usize] = sector;
        }
        out.write(&sectors_of(&entries))?;
    }
    out.pad_to(overhead * SECTOR)?;
    each_grain(disk, options.level, options.threads, |packed| {
        out.write(&packed.bytes)
    })?;
    out.marker(0, END_OF_STREAM, None)
}

/// The descriptor as an export has it, whatever was uploaded: the host knows the virtual disk, not the file it came from.
fn descriptor(disk: &Disk) -> Vec<u8> {
    let sectors = disk.capacity() / SECTOR;
    let cid = disk.cid();
    // Small disks have the geometry of old SCSI adapters.
    let (heads, per_track) = if disk.capacity() < 1 << 30 {
        (64, 32)
    } else {
        (255, 63)
    };
    let cylinders = (sectors / (heads * per_track)).clamp(1, 65_535);
    let content = u128::from(cid).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut text = format!(
        "# Disk DescriptorFile\nversion=1 \nCID={cid:08x} \nparentCID=ffffffff \n\
         createType=\"streamOptimized\" \n\n# Extent description\nRDONLY {sectors} SPARSE \"generated-stream.vmdk\"\n\n\
         # The Disk Data Base \n#DDB\n\nddb.adapterType = \"lsilogic\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{per_track}\"\nddb.longContentID = \"{content:032x}\"\n\
         ddb.virtualHWVersion = \"10\"\n"
    )
    .into_bytes();
    text.resize(text.len().next_multiple_of(SECTOR as usize), 0);
    text
}

fn table_count(disk: &Disk) -> u64 {
    disk.capacity().div_ceil(GRAIN * TABLE_ENTRIES)
}

fn sectors_of(entries: &[u32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    bytes
}

/// Table entries are 32 bits wide, which ends a stream at 2 TiB.
fn sector_of(at: u64) -> io::Result<u32> {
    u32::try_from(at / SECTOR)
        .map_err(|_| io::Error::other("the stream is longer than its grain tables can tell"))
}

/// The grain table under construction; one that would be empty is not written.
struct Table {
    index: u64,
    entries: [u32; TABLE_ENTRIES as usize],
    used: bool,
}

impl Default for Table {
    fn default() -> Table {
        Table {
            index: 0,
            entries: [0; TABLE_ENTRIES as usize],
            used: false,
        }
    }
}

impl Table {
    fn finish(&mut self, out: &mut Output, directory: &mut [u32]) -> io::Result<()> {
        if self.used {
            let bytes = sectors_of(&self.entries);
            out.marker(bytes.len() as u64 / SECTOR, GRAIN_TABLE, None)?;
            directory[self.index as usize] = out.sector()?;
            out.write(&bytes)?;
        }
        *self = Table::default();
        Ok(())
    }
}

struct Output<'a, 'b> {
    sink: &'a mut Sink<'b>,
    at: u64,
    stale_padding: bool,
}

impl Output<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        (self.sink)(bytes)
    }

    fn pad_to(&mut self, place: u64) -> io::Result<()> {
        self.write(&vec![0; (place - self.at) as usize])
    }

    fn sector(&self) -> io::Result<u32> {
        sector_of(self.at)
    }

    fn marker(&mut self, value: u64, kind: u32, lba: Option<u64>) -> io::Result<()> {
        let filler = if self.stale_padding { b'~' } else { 0 };
        let mut bytes = [filler; SECTOR as usize];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        bytes[8..12].fill(0);
        bytes[12..16].copy_from_slice(&kind.to_le_bytes());
        if let Some(lba) = lba {
            bytes[16..24].copy_from_slice(&lba.to_le_bytes());
        }
        self.write(&bytes)
    }

    /// The progress markers for a hole of `grains`.
    fn progress(
        &mut self,
        options: &EncodeOptions,
        grains: std::ops::Range<u64>,
    ) -> io::Result<()> {
        let Some(every) = options.progress_every else {
            return Ok(());
        };
        let step = (every / GRAIN).max(1);
        for grain in grains.clone().step_by(step as usize).skip(1) {
            for _ in 0..4 {
                self.marker(0, PROGRESS, Some(grain * GRAIN / SECTOR))?;
            }
        }
        Ok(())
    }
}
