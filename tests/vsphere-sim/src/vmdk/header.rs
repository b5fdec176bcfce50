//! The sparse extent header, which is the footer too.

use super::{GRAIN, SECTOR, TABLE_ENTRIES};

/// The place of the grain directory is told by the footer only.
pub const DIRECTORY_AT_END: u64 = u64::MAX;

const FLAG_NEWLINE_TEST: u32 = 1;
const FLAG_COMPRESSED: u32 = 1 << 16;
const FLAG_MARKERS: u32 = 1 << 17;
const COMPRESSION_DEFLATE: u16 = 1;
const NEWLINE_TEST: [u8; 4] = *b"\n \r\n";

/// The fields that matter; all others are constants of the format. Sizes and places in sectors.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub capacity: u64,
    pub descriptor_sectors: u64,
    pub directory_at: u64,
    pub overhead: u64,
}

impl Header {
    pub fn to_bytes(&self) -> [u8; SECTOR as usize] {
        let mut bytes = [0; SECTOR as usize];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"KDMV");
        put(4, &3u32.to_le_bytes());
        put(
            8,
            &(FLAG_NEWLINE_TEST | FLAG_COMPRESSED | FLAG_MARKERS).to_le_bytes(),
        );
        put(12, &self.capacity.to_le_bytes());
        put(20, &(GRAIN / SECTOR).to_le_bytes());
        put(28, &1u64.to_le_bytes());
        put(36, &self.descriptor_sectors.to_le_bytes());
        put(44, &(TABLE_ENTRIES as u32).to_le_bytes());
        put(56, &self.directory_at.to_le_bytes());
        put(64, &self.overhead.to_le_bytes());
        put(73, &NEWLINE_TEST);
        put(77, &COMPRESSION_DEFLATE.to_le_bytes());
        bytes
    }

    /// Reads a header as strictly as a host does; the error is in a host's words.
    pub fn parse(bytes: &[u8; SECTOR as usize]) -> Result<Header, String> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let refuse = |why: &str| Err(format!("Not a supported disk format ({why})"));
        if &bytes[..4] != b"KDMV" {
            return refuse("sparse VMDK magic not found");
        }
        match u32_at(4) {
            3 => {}
            0..3 => return refuse("sparse VMDK version too old"),
            _ => return refuse("sparse VMDK version too new"),
        }
        let flags = u32_at(8);
        if flags & FLAG_COMPRESSED == 0 || flags & FLAG_MARKERS == 0 || flags >> 18 != 0 {
            return refuse("not stream-optimized");
        }
        if flags & FLAG_NEWLINE_TEST != 0 && bytes[73..77] != NEWLINE_TEST {
            return refuse("sparse VMDK was damaged by a text-mode transfer");
        }
        if u16_at(77) != COMPRESSION_DEFLATE {
            return refuse("unknown compression algorithm");
        }
        if u64_at(20) != GRAIN / SECTOR || u64::from(u32_at(44)) != TABLE_ENTRIES {
            return refuse("invalid sparse VMDK header: grain or grain table size");
        }
        let header = Header {
            capacity: u64_at(12),
            descriptor_sectors: u64_at(36),
            directory_at: u64_at(56),
            overhead: u64_at(64),
        };
        let descriptor_at = u64_at(28);
        let descriptor_end = descriptor_at.checked_add(header.descriptor_sectors);
        let described =
            descriptor_at >= 1 && descriptor_end.is_some_and(|end| end <= header.overhead);
        let undescribed = descriptor_at == 0 && header.descriptor_sectors == 0;
        if header.overhead == 0 || !(described || undescribed) {
            return refuse("invalid sparse VMDK header: descriptor or overhead");
        }
        if header.overhead > header.most_overhead() {
            return refuse("invalid sparse VMDK header: overhead");
        }
        Ok(header)
    }

    /// More than any writer puts in front of the first grain: two copies of all tables, and a MiB of descriptor.
    fn most_overhead(&self) -> u64 {
        let tables = self.capacity.div_ceil(TABLE_ENTRIES * GRAIN / SECTOR);
        let table_sectors = TABLE_ENTRIES * 4 / SECTOR;
        let directory_sectors = tables.div_ceil(SECTOR / 4);
        2 * (tables * table_sectors + directory_sectors) + 2048 + 2 * GRAIN / SECTOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            capacity: 209_714,
            descriptor_sectors: 1,
            directory_at: DIRECTORY_AT_END,
            overhead: 128,
        }
    }

    fn refusal(change: impl FnOnce(&mut [u8; 512])) -> String {
        let mut bytes = header().to_bytes();
        change(&mut bytes);
        Header::parse(&bytes).expect_err("the header should be refused")
    }

    #[test]
    fn a_written_header_reads_back() {
        assert_eq!(Header::parse(&header().to_bytes()), Ok(header()));
    }

    #[test]
    fn version_1_is_refused_in_a_hosts_words() {
        let why = refusal(|bytes| bytes[4] = 1);
        assert_eq!(
            why,
            "Not a supported disk format (sparse VMDK version too old)"
        );
    }

    #[test]
    fn a_header_without_one_of_the_stream_flags_is_refused() {
        for flags in [0x10001u32, 0x20001, 1, 0x70001] {
            let why = refusal(|bytes| bytes[8..12].copy_from_slice(&flags.to_le_bytes()));
            assert!(why.contains("not stream-optimized"), "{flags:#x}: {why}");
        }
    }

    #[test]
    fn a_header_without_compression_is_refused() {
        assert!(refusal(|bytes| bytes[77] = 0).contains("compression"));
    }

    #[test]
    fn a_text_mode_transfer_is_noticed() {
        assert!(refusal(|bytes| bytes[75] = b'\n').contains("text-mode"));
    }

    #[test]
    fn an_overhead_out_of_proportion_is_refused() {
        assert!(refusal(|bytes| bytes[69] = 1).contains("overhead"));
    }
}
