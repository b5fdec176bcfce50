//! The fixed parts of a stream that is written: header, descriptor, markers, footer.
//!
//! They follow the one profile that every known reader takes, an ESXi host's import among them: version 3, the descriptor
//! at sector 1, the first grain at sector 128, the directory at the end.

use super::SECTOR;

const SECTOR_BYTES: usize = SECTOR as usize;
/// Sector of the first grain.
pub(crate) const OVERHEAD: u64 = 128;
/// Sectors of a grain.
pub(crate) const GRAIN_SECTORS: u64 = 128;
const FLAGS: u32 = 0x3_0001;
const GD_AT_END: u64 = u64::MAX;
const HEADS: u64 = 255;
const TRACK: u64 = 63;

/// What a descriptor says of a disk.
pub(crate) struct Words<'a> {
    pub(crate) adapter_type: &'a str,
    pub(crate) content_id: [u8; 16],
    pub(crate) hardware_version: u32,
}

/// Everything before the first grain.
pub(crate) fn head(sectors: u64, words: &Words) -> Vec<u8> {
    let text = descriptor(sectors, words);
    let descriptor_sectors = text.len().div_ceil(SECTOR_BYTES) as u64;
    let mut head = header(sectors, descriptor_sectors, GD_AT_END).to_vec();
    head.extend_from_slice(text.as_bytes());
    head.resize((OVERHEAD * SECTOR) as usize, 0);
    head
}

/// The header; as a footer, with the sector of the directory.
pub(crate) fn header(sectors: u64, descriptor_sectors: u64, directory: u64) -> [u8; SECTOR_BYTES] {
    let mut b = [0; SECTOR_BYTES];
    let mut put = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"KDMV");
    put(4, &3u32.to_le_bytes());
    put(8, &FLAGS.to_le_bytes());
    put(12, &sectors.to_le_bytes());
    put(20, &GRAIN_SECTORS.to_le_bytes());
    put(28, &1u64.to_le_bytes());
    put(36, &descriptor_sectors.to_le_bytes());
    put(44, &512u32.to_le_bytes());
    put(56, &directory.to_le_bytes());
    put(64, &OVERHEAD.to_le_bytes());
    put(73, b"\n \r\n");
    put(77, &1u16.to_le_bytes());
    b
}

/// A marker without a payload of its own: `value` is that of the structure it announces.
pub(crate) fn marker(value: u64, kind: u32) -> [u8; SECTOR_BYTES] {
    let mut b = [0; SECTOR_BYTES];
    b[..8].copy_from_slice(&value.to_le_bytes());
    b[12..16].copy_from_slice(&kind.to_le_bytes());
    b
}

fn descriptor(sectors: u64, words: &Words) -> String {
    let long: String = words
        .content_id
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let (adapter, version) = (words.adapter_type, words.hardware_version);
    let cylinders = sectors.div_ceil(HEADS * TRACK).min(65535);
    // The CID is the end of the long one.
    let cid = &long[24..];
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={cid}\n\
         parentCID=ffffffff\n\
         createType=\"streamOptimized\"\n\
         \n\
         # Extent description\n\
         RDONLY {sectors} SPARSE \"generated-stream.vmdk\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.adapterType = \"{adapter}\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{HEADS}\"\n\
         ddb.geometry.sectors = \"{TRACK}\"\n\
         ddb.longContentID = \"{long}\"\n\
         ddb.virtualHWVersion = \"{version}\"\n"
    )
}
