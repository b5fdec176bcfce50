//! The sparse extent header: 512 bytes at the start of a stream, and again as its footer.

use super::SECTOR;
use super::flaw::{Flaw, FlawKind};
use super::foreign::foreign_by_head;
use super::options::Limits;

const MAGIC: [u8; 4] = *b"KDMV";
/// gdOffset of a header whose directory follows the grains: the footer has the real one.
const GD_AT_END: u64 = u64::MAX;
const FLAG_NEWLINE_TEST: u32 = 1;
const FLAG_REDUNDANT: u32 = 1 << 1;
const FLAG_ZERO_GRAIN: u32 = 1 << 2;
const FLAG_COMPRESSED: u32 = 1 << 16;
const FLAG_MARKERS: u32 = 1 << 17;
const COMPRESSION_DEFLATE: u16 = 1;
/// Entries of one grain table. Other counts are allowed by the format and written by nobody.
pub(crate) const TABLE_ENTRIES: u64 = 512;
/// Sectors of one grain table.
pub(crate) const TABLE_SECTORS: u64 = TABLE_ENTRIES * 4 / SECTOR;
/// Sectors that a writer may leave unused between the metadata and the first grain.
const MAX_SLACK: u64 = 8192;

/// Where a stream has its grain directory and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Before the first grain (qemu-img, VDDK, open-vmdk).
    Front,
    /// Each table after its grains, the directory and a footer at the end (vSphere, and the VMware import code's own writer).
    End,
}

/// A header that was found sound and within the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    version: u32,
    flags: u32,
    capacity: u64,
    grain_sectors: u64,
    descriptor_offset: u64,
    descriptor_sectors: u64,
    rgd_offset: u64,
    gd_offset: u64,
    overhead: u64,
}

fn u32_at(b: &[u8; 512], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn u64_at(b: &[u8; 512], at: usize) -> u64 {
    u64::from(u32_at(b, at)) | u64::from(u32_at(b, at + 4)) << 32
}

impl Header {
    /// Reads a header of which every field is within the format and `limits`; offsets in flaws count from `b`.
    pub fn parse(b: &[u8; 512], limits: &Limits) -> Result<Header, Flaw> {
        check_magic(b)?;
        let bad = |at: u64, message: String| Err(Flaw::new(at, FlawKind::BadHeader, message));
        let header = Header {
            version: u32_at(b, 4),
            flags: u32_at(b, 8),
            capacity: u64_at(b, 12),
            grain_sectors: u64_at(b, 20),
            descriptor_offset: u64_at(b, 28),
            descriptor_sectors: u64_at(b, 36),
            rgd_offset: u64_at(b, 48),
            gd_offset: u64_at(b, 56),
            overhead: u64_at(b, 64),
        };
        if !(1..=3).contains(&header.version) {
            let message = format!("header version {}, expected 1, 2 or 3", header.version);
            let flaw = Flaw::new(4, FlawKind::UnsupportedVersion, message);
            // Otherwise it is a header: one of a later version.
            return Err(match header.version > 3 && header.check_flags(b).is_ok() {
                true => flaw.foreign(),
                false => flaw,
            });
        }
        header.check_flags(b)?;
        if header.capacity == 0 || header.capacity > limits.max_capacity / SECTOR {
            return bad(
                12,
                format!(
                    "capacity of {} sectors, expected 1 to {}",
                    header.capacity,
                    limits.max_capacity / SECTOR
                ),
            );
        }
        let grain = header.grain_sectors;
        if !grain.is_power_of_two() || !(8..=limits.max_grain / SECTOR).contains(&grain) {
            return bad(
                20,
                format!(
                    "grain size of {grain} sectors, expected a power of two from 8 to {}",
                    limits.max_grain / SECTOR
                ),
            );
        }
        let entries = u32_at(b, 44);
        if u64::from(entries) != TABLE_ENTRIES {
            return bad(
                44,
                format!("{entries} entries a grain table, expected {TABLE_ENTRIES}"),
            );
        }
        header.check_places(limits)?;
        Ok(header)
    }

    fn check_flags(&self, b: &[u8; 512]) -> Result<(), Flaw> {
        let bad = |at: u64, message: String| Err(Flaw::new(at, FlawKind::BadFlags, message));
        let known =
            FLAG_NEWLINE_TEST | FLAG_REDUNDANT | FLAG_ZERO_GRAIN | FLAG_COMPRESSED | FLAG_MARKERS;
        let wanted = FLAG_COMPRESSED | FLAG_MARKERS;
        let method = u16::from_le_bytes([b[77], b[78]]);
        if self.flags & wanted == 0 && method == 0 {
            // Three fields agree: it was never a stream-optimized disk.
            let kind = match self.descriptor_offset {
                0 => "an extent of a disk in several files (twoGbMaxExtentSparse)",
                _ => "a monolithicSparse VMDK",
            };
            let message = format!(
                "{kind}, not a stream-optimized one (flags {:#x})",
                self.flags
            );
            return Err(Flaw::new(8, FlawKind::BadFlags, message).foreign());
        }
        if self.flags & wanted != wanted {
            return bad(
                8,
                format!(
                    "flags {:#x}: not a stream-optimized disk (compressed grains and markers are {wanted:#x})",
                    self.flags
                ),
            );
        }
        if self.flags & !known & 0xffff_0000 != 0 {
            return bad(
                8,
                format!("flags {:#x}: bits of unknown meaning", self.flags),
            );
        }
        // An FTP transfer in text mode changes exactly these four bytes.
        if self.flags & FLAG_NEWLINE_TEST != 0 && b[73..77] != *b"\n \r\n" {
            return Err(Flaw::new(
                73,
                FlawKind::BadHeader,
                "newline test bytes changed: the stream was altered by a text-mode transfer",
            ));
        }
        if method != COMPRESSION_DEFLATE {
            return bad(
                77,
                format!("compression method {method}, expected 1 (deflate)"),
            );
        }
        Ok(())
    }

    /// The descriptor, the tables of the front layout and the first grain lie one after another, within bounds.
    fn check_places(&self, limits: &Limits) -> Result<(), Flaw> {
        let bad = |at: u64, message: String| Err(Flaw::new(at, FlawKind::BadHeader, message));
        if self.descriptor_offset == 0 || self.descriptor_sectors == 0 {
            return bad(28, "no embedded descriptor".to_owned());
        }
        if self.descriptor_sectors > limits.max_descriptor / SECTOR {
            return bad(
                36,
                format!(
                    "descriptor of {} sectors, expected at most {}",
                    self.descriptor_sectors,
                    limits.max_descriptor / SECTOR
                ),
            );
        }
        let directories = if self.layout() == Layout::End {
            0
        } else if self.redundant() {
            2
        } else {
            1
        };
        let most = 1
            + self.descriptor_sectors
            + MAX_SLACK
            + directories * (self.directory_sectors() + self.tables() * TABLE_SECTORS);
        if self.overhead == 0 || self.overhead > most {
            return bad(
                64,
                format!(
                    "first grain at sector {}, expected 1 to {most}",
                    self.overhead
                ),
            );
        }
        let within = |offset: u64, sectors: u64| {
            offset
                .checked_add(sectors)
                .is_some_and(|end| end <= self.overhead)
        };
        if !within(self.descriptor_offset, self.descriptor_sectors) {
            return bad(
                28,
                format!(
                    "descriptor of {} sectors at sector {} reaches beyond the first grain at sector {}",
                    self.descriptor_sectors, self.descriptor_offset, self.overhead
                ),
            );
        }
        if self.layout() == Layout::Front {
            let redundant = self.redundant().then_some((48, self.rgd_offset));
            for (at, offset) in [(56, self.gd_offset)].into_iter().chain(redundant) {
                if offset == 0 || !within(offset, self.directory_sectors()) {
                    return bad(
                        at,
                        format!(
                            "grain directory at sector {offset} is not before the first grain at sector {}",
                            self.overhead
                        ),
                    );
                }
            }
        }
        Ok(())
    }

    /// Header version: 3 from every current writer; an ESXi host refuses less on import.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Size of the disk in bytes.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity * SECTOR
    }

    /// Size of a grain in bytes before compression.
    pub fn grain_bytes(&self) -> u64 {
        self.grain_sectors * SECTOR
    }

    /// Where the tables are. A directory that lies beyond the first grain is one of the end layout, even when the header
    /// knows its place already (vmdktool).
    pub fn layout(&self) -> Layout {
        if self.gd_offset < self.overhead {
            Layout::Front
        } else {
            Layout::End
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn grain_sectors(&self) -> u64 {
        self.grain_sectors
    }

    /// First byte of the first grain or marker.
    pub(crate) fn overhead_bytes(&self) -> u64 {
        self.overhead * SECTOR
    }

    pub(crate) fn descriptor_sectors(&self) -> std::ops::Range<u64> {
        self.descriptor_offset..self.descriptor_offset + self.descriptor_sectors
    }

    /// Sectors at which the directories of the front layout begin, in the order of the stream.
    pub(crate) fn front_directories(&self) -> Vec<u64> {
        let mut offsets = vec![self.gd_offset];
        if self.redundant() {
            offsets.push(self.rgd_offset);
        }
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// Sector of the directory, where an end-layout header knows it.
    pub(crate) fn known_directory(&self) -> Option<u64> {
        (self.gd_offset != GD_AT_END).then_some(self.gd_offset)
    }

    /// The value 1 in a table means "a grain of zeros", not a sector.
    pub(crate) fn zero_grain_entries(&self) -> bool {
        self.flags & FLAG_ZERO_GRAIN != 0
    }

    fn redundant(&self) -> bool {
        self.flags & FLAG_REDUNDANT != 0 && self.rgd_offset != 0
    }

    /// Grain tables that the disk has.
    pub(crate) fn tables(&self) -> u64 {
        self.capacity.div_ceil(self.grain_sectors * TABLE_ENTRIES)
    }

    /// Sectors of the grain directory.
    pub(crate) fn directory_sectors(&self) -> u64 {
        (self.tables() * 4).div_ceil(SECTOR)
    }

    /// Longest compressed grain that is taken: stored blocks and the worst writers stay well below it.
    pub(crate) fn max_payload(&self) -> u64 {
        self.grain_bytes() + self.grain_bytes() / 2 + 1024
    }

    /// Compares the footer with this header; they may differ in the place of the directory, which must be `directory`.
    pub(crate) fn check_footer(
        &self,
        b: &[u8; 512],
        directory: u64,
        offset: u64,
    ) -> Result<(), Flaw> {
        let bad = |message: String| Err(Flaw::new(offset, FlawKind::FooterMismatch, message));
        if b[..4] != MAGIC {
            return bad("footer without the magic number of a header".to_owned());
        }
        let fields = [
            ("version", u64::from(u32_at(b, 4)), u64::from(self.version)),
            ("flags", u64::from(u32_at(b, 8)), u64::from(self.flags)),
            ("capacity", u64_at(b, 12), self.capacity),
            ("grain size", u64_at(b, 20), self.grain_sectors),
            ("descriptor offset", u64_at(b, 28), self.descriptor_offset),
            ("descriptor size", u64_at(b, 36), self.descriptor_sectors),
            (
                "entries a grain table",
                u64::from(u32_at(b, 44)),
                TABLE_ENTRIES,
            ),
            ("overhead", u64_at(b, 64), self.overhead),
            (
                "compression method",
                u64::from(u16::from_le_bytes([b[77], b[78]])),
                u64::from(COMPRESSION_DEFLATE),
            ),
            ("grain directory offset", u64_at(b, 56), directory),
        ];
        for (name, found, expected) in fields {
            if found != expected {
                return bad(format!("footer has {name} {found}, expected {expected}"));
            }
        }
        Ok(())
    }
}

/// The header at the start of a stream of which the first slab came.
pub(crate) fn read(start: &[u8], limits: &Limits) -> Result<Header, Flaw> {
    if let Some(bytes) = start.first_chunk() {
        return Header::parse(bytes, limits);
    }
    if start.len() >= MAGIC.len() {
        check_magic(start)?;
    }
    let message = "the stream ends before its header is complete";
    Err(Flaw::new(start.len() as u64, FlawKind::Truncated, message))
}

/// Refuses bytes that cannot be a header, saying what they are where that is known.
pub(crate) fn check_magic(start: &[u8]) -> Result<(), Flaw> {
    if start.starts_with(&MAGIC) {
        return Ok(());
    }
    let found = start[..start.len().min(4)].escape_ascii();
    let flaw = |what: &str| {
        let message = format!("starts with \"{found}\", expected \"KDMV\": {what}");
        Flaw::new(0, FlawKind::BadMagic, message)
    };
    if let Some(name) = foreign_by_head(start) {
        return Err(flaw(&name).foreign());
    }
    Err(flaw(match start.get(..4) {
        Some(b"kdmv") => "a stream that its writer (open-vmdk) never finished",
        _ => "not a sparse VMDK",
    }))
}
