//! Other formats of disks and archives, recognised by their magic numbers and refused by name.
//!
//! File systems, partition tables, LUKS and the like are not here: they are the contents of raw disks.

use std::borrow::Cow;

use super::descriptor::shorten;

/// Bytes at the start of a file in which every magic number lies.
pub const FOREIGN_HEAD: usize = 4096;
/// Bytes at the end of a file in which every trailer begins.
pub const FOREIGN_TAIL: usize = 512;

/// Magic numbers, with the byte that each begins at. Those of fewer than four bytes are enough only because no boot sector,
/// partition table or file system begins so.
const MAGICS: [(usize, &[u8], &str); 41] = [
    (0, b"QFI\xfb\0\0\0\x01", "a qcow image"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"QED\0", "a QED image"),
    (0, b"conectix", "a VHD image"),
    (0, b"vhdxfile", "a VHDX image"),
    (0x40, b"\x7f\x10\xda\xbe", "a VirtualBox VDI image"),
    (0, b"WithoutFreeSpace", "a Parallels image"),
    (0, b"WithouFreSpacExt", "a Parallels image"),
    (0, b"Bochs Virtual HD Image", "a Bochs image"),
    (0, b"COWD", "an ESX sparse disk (COWD)"),
    (0, b"\xbe\xba\xfe\xca\0\0\0\0", "an SEsparse disk"),
    (0, b"EVF\x09\x0d\x0a\xff\0", "an EWF (E01) image"),
    (0, b"LVF\x09\x0d\x0a\xff\0", "an EWF (L01) image"),
    (0, b"EVF2\x0d\x0a\x81\0", "an EWF (Ex01) image"),
    (0, b"LEF2\x0d\x0a\x81\0", "an EWF (Lx01) image"),
    (0, b"AFF10\x0d\x0a\0", "an AFF image"),
    (0, b"encrcdsa", "an encrypted macOS disk image (DMG)"),
    (0, b"cdsaencr", "an encrypted macOS disk image (DMG)"),
    (0, b"sprs", "a macOS sparse image"),
    (0, b"MSWIM\0\0\0", "a WIM image"),
    (0, b"partclone-image", "a partclone image"),
    (0, b"\x3a\xff\x26\xed", "an Android sparse image"),
    (0, b"rbd diff v", "a Ceph RBD export"),
    (0, b"rbd image v", "a Ceph RBD export"),
    (0, b"\x1f\x8b\x08", "gzip-compressed"),
    (0, b"\xfd7zXZ\0", "xz-compressed"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed"),
    (0, b"\x02\x21\x4c\x18", "lz4-compressed"),
    (0, b"\x89LZO\0\x0d\x0a\x1a\x0a", "lzop-compressed"),
    (0, b"LZIP\x01", "lzip-compressed"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar\0", "a tar archive (an OVA?)"),
    (257, b"ustar ", "a tar archive (an OVA?)"),
    (0, b"070701", "a cpio archive"),
    (0, b"070702", "a cpio archive"),
    (0, b"070707", "a cpio archive"),
    (0, b"!<arch>\n", "an ar archive"),
];

/// What a file is of which `head` is the start, where that is a container of another format.
pub fn foreign_by_head(head: &[u8]) -> Option<Cow<'static, str>> {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let known = MAGICS
        .iter()
        .find(|(offset, magic, _)| at(*offset, magic))
        .map(|(_, _, name)| *name);
    if let Some(name) = known {
        return Some(name.into());
    }
    if at(0, b"BZh") && (at(4, b"1AY&SY") || at(4, b"\x17\x72\x45\x38\x50\x90")) {
        return Some("bzip2-compressed".into());
    }
    descriptor(head)
}

/// What a file is of which `tail` is the end, where its format is known by a trailer.
pub fn foreign_by_tail(tail: &[u8]) -> Option<&'static str> {
    // Virtual PC before 2004 wrote a footer of 511 bytes.
    let footer = |length: usize| tail.len().checked_sub(length).map(|at| &tail[at..]);
    let begins = |length, magic: &[u8]| footer(length).is_some_and(|f| f.starts_with(magic));
    if begins(512, b"conectix") || begins(511, b"conectix") {
        return Some("a VHD image (fixed: a raw disk with a footer)");
    }
    begins(512, b"koly\0\0\0\x04").then_some("a macOS disk image (DMG)")
}

/// A VMDK's text descriptor, whose disk is in other files, or another text.
fn descriptor(head: &[u8]) -> Option<Cow<'static, str>> {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = head.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = text.trim_ascii_start();
    let begins = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    let entry = text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok()?.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("createType"));
    if begins(b"# Disk DescriptorFile") || (entry.is_some() && text.iter().all(printable)) {
        let kind = entry.map_or(String::new(), |(_, value)| {
            format!(" of a {} disk", shorten(value.trim().trim_matches('"')))
        });
        return Some(
            format!("a VMDK's text descriptor{kind}: the disk is in the files that it names")
                .into(),
        );
    }
    [&b"<?xml"[..], b"<html", b"<!doctype"]
        .iter()
        .any(|word| begins(word))
        .then_some("a web page or XML (an OVF?), not a disk".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headed(offset: usize, magic: &[u8]) -> Vec<u8> {
        let mut head = vec![0; FOREIGN_HEAD];
        head[offset..offset + magic.len()].copy_from_slice(magic);
        head
    }

    #[test]
    fn each_magic_number_has_its_own_name_and_no_other_hides_it() {
        for (offset, magic, name) in MAGICS {
            let head = headed(offset, magic);
            assert_eq!(foreign_by_head(&head).as_deref(), Some(name));
            let cut = &head[..offset + magic.len()];
            assert_eq!(foreign_by_head(cut).as_deref(), Some(name));
            assert_ne!(
                foreign_by_head(&cut[..cut.len() - 1]).as_deref(),
                Some(name)
            );
        }
    }

    #[test]
    fn a_descriptor_is_told_by_its_kind() {
        for (text, kind) in [
            (
                "# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\n",
                "monolithicFlat",
            ),
            (
                "\u{feff}# disk descriptorFILE\r\ncreateType=\"vmfs\"\r\n",
                "vmfs",
            ),
            (
                "version=1\ncreateType = twoGbMaxExtentSparse\nRW 4 SPARSE \"a\"\n",
                "twoGbMaxExtentSparse",
            ),
        ] {
            let name = foreign_by_head(text.as_bytes()).unwrap();
            assert!(name.contains(&format!("of a {kind} disk")), "{name}");
        }
        let bare = foreign_by_head(b"# Disk DescriptorFile").unwrap();
        assert!(bare.starts_with("a VMDK's text descriptor:"), "{bare}");
        let hostile = format!(
            "# Disk DescriptorFile\ncreateType=\"\x1b[2J{}\"",
            "x".repeat(900)
        );
        let name = foreign_by_head(hostile.as_bytes()).unwrap();
        assert!(name.len() < 250 && !name.contains('\x1b'), "{name}");
    }

    #[test]
    fn the_contents_of_raw_disks_are_not_foreign() {
        let boot = {
            let mut head = headed(510, b"\x55\xaa");
            head[..3].copy_from_slice(b"\xeb\x63\x90");
            head
        };
        for head in [
            boot,
            headed(512, b"EFI PART"),
            headed(1080, b"\x53\xef"),
            headed(0, b"XFSB"),
            headed(0, b"LUKS\xba\xbe"),
            headed(0, b"hsqs"),
            headed(512, b"LABELONE"),
            headed(3, b"NTFS    "),
            headed(3, b"-FVE-FS-"),
            headed(0, b"a text that mentions createType= in passing"),
            vec![0; FOREIGN_HEAD],
            Vec::new(),
        ] {
            assert_eq!(foreign_by_head(&head), None);
        }
    }

    #[test]
    fn trailers_are_found_at_the_very_end_only() {
        for (length, magic) in [
            (512, &b"conectix"[..]),
            (511, b"conectix"),
            (512, b"koly\0\0\0\x04"),
        ] {
            let mut tail = vec![0; 512];
            let at = 512 - length;
            tail[at..at + magic.len()].copy_from_slice(magic);
            assert!(foreign_by_tail(&tail).is_some());
            assert!(foreign_by_tail(&tail[2..]).is_none());
        }
        assert_eq!(foreign_by_tail(b"conectix"), None);
    }
}
