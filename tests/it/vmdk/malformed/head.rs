//! Wrong headers and descriptors.

use vmdk_backup::vmdk::FlawKind;

use super::{assert_refused, disk, stream};
use crate::vmdk::disk::Disk;
use crate::vmdk::verdict;
use crate::vmdk::writer::{SECTOR, TABLE_SPAN, Writer, descriptor};

#[track_caller]
fn assert_descriptor_refused(text: &str, kind: FlawKind) {
    let writer = Writer {
        descriptor: Some(text.to_owned()),
        ..Writer::default()
    };
    assert_refused(&writer.write(&disk()).bytes, kind, 512);
}

/// Values that a header field must not have, whatever it is.
const HOSTILE: [u64; 9] = [
    0,
    3,
    127,
    (1 << 31) + 5,
    u32::MAX as u64,
    1 << 40,
    (1 << 55) - 1,
    1 << 63,
    u64::MAX - 1,
];

#[test]
fn other_formats_are_no_vmdk() {
    for start in ["kdmv", "COWD", "# Di", "<htm", "QFI\u{fb}"] {
        let mut stream = stream();
        stream.bytes[..4].copy_from_slice(&start.as_bytes()[..4]);
        assert_refused(&stream.bytes, FlawKind::BadMagic, 0);
    }
}

#[test]
fn a_short_answer_that_is_no_vmdk_is_called_that() {
    assert_refused(
        b"<html>503 Service Unavailable</html>",
        FlawKind::BadMagic,
        0,
    );
}

#[test]
fn nothing_at_all_is_truncated() {
    assert_refused(b"", FlawKind::Truncated, 0);
}

#[test]
fn versions_from_the_future_are_refused() {
    for version in [0, 4, u32::MAX] {
        assert_refused(
            &stream().set32(4, version).bytes,
            FlawKind::UnsupportedVersion,
            4,
        );
    }
}

#[test]
fn flags_of_other_kinds_of_sparse_disks_are_refused() {
    for flags in [0x1, 0x10001, 0x20001, 0x70001, 0x8003_0001] {
        assert_refused(&stream().set32(8, flags).bytes, FlawKind::BadFlags, 8);
    }
}

#[test]
fn other_compression_is_refused() {
    for method in [0, 2, 0xff] {
        let mut stream = stream();
        stream.bytes[77] = method;
        assert_refused(&stream.bytes, FlawKind::BadFlags, 77);
    }
}

#[test]
fn a_text_mode_transfer_is_noticed() {
    let mut stream = stream();
    stream.bytes[75] = b'\n';
    assert_refused(&stream.bytes, FlawKind::BadHeader, 73);
}

#[test]
fn impossible_capacities_are_refused() {
    for capacity in [0, (62 << 31) + 1, 1 << 55, 1 << 63, u64::MAX] {
        assert_refused(&stream().set64(12, capacity).bytes, FlawKind::BadHeader, 12);
    }
}

#[test]
fn impossible_grain_sizes_are_refused() {
    for size in HOSTILE {
        assert_refused(&stream().set64(20, size).bytes, FlawKind::BadHeader, 20);
    }
    for size in [1, 4, 4096] {
        assert_refused(&stream().set64(20, size).bytes, FlawKind::BadHeader, 20);
    }
}

#[test]
fn impossible_descriptor_places_are_refused() {
    for sectors in HOSTILE {
        let offset = verdict(&stream().set64(28, sectors).bytes).expect_err("a flaw");
        assert_eq!(
            (offset.kind, offset.offset),
            (FlawKind::BadHeader, 28),
            "offset {sectors}"
        );
        let size = verdict(&stream().set64(36, sectors).bytes).expect_err("a flaw");
        assert_eq!(size.kind, FlawKind::BadHeader, "size {sectors}");
    }
}

#[test]
fn other_table_sizes_are_refused() {
    for entries in [0, 1, 511, 513, 1024, u32::MAX] {
        assert_refused(&stream().set32(44, entries).bytes, FlawKind::BadHeader, 44);
    }
}

#[test]
fn impossible_overheads_are_refused() {
    for sectors in [0, 1 << 20, 1 << 40, 1 << 55, u64::MAX] {
        assert_refused(&stream().set64(64, sectors).bytes, FlawKind::BadHeader, 64);
    }
}

#[test]
fn metadata_across_the_first_grain_is_refused() {
    assert_refused(&stream().set64(64, 1).bytes, FlawKind::BadHeader, 28);
    let large = Disk::new(TABLE_SPAN * 200, &[]);
    let front = Writer {
        front: Some(1),
        ..Writer::default()
    }
    .write(&large);
    let directory = (front.directory / SECTOR) as u64;
    assert_refused(
        &front.clone().set64(64, directory + 1).bytes,
        FlawKind::BadHeader,
        56,
    );
    assert_refused(&front.clone().set64(56, 0).bytes, FlawKind::BadHeader, 56);
}

#[test]
fn a_redundant_directory_out_of_place_is_refused() {
    let mut stream = Writer {
        front: Some(2),
        ..Writer::default()
    }
    .write(&disk());
    assert_refused(&stream.set64(48, 1 << 40).bytes, FlawKind::BadHeader, 48);
}

#[test]
fn other_create_types_are_refused() {
    for kind in [
        "monolithicSparse",
        "vmfs",
        "streamoptimized",
        "",
        "twoGbMaxExtentSparse",
    ] {
        let text = descriptor(disk().sectors).replace("streamOptimized", kind);
        assert_descriptor_refused(&text, FlawKind::BadDescriptor);
    }
}

#[test]
fn a_flat_extent_that_names_a_file_of_the_host_is_refused() {
    let sectors = disk().sectors;
    for line in [
        format!("RW {sectors} FLAT \"/etc/shadow\" 0"),
        format!("RW {sectors} VMFS \"x-flat.vmdk\""),
        format!("RW {sectors} ZERO"),
        format!("RW {sectors}"),
        format!("RW {sectors} sparse \"x\""),
    ] {
        let sparse = format!("RDONLY {sectors} SPARSE \"generated-stream.vmdk\"");
        assert_descriptor_refused(
            &descriptor(sectors).replace(&sparse, &line),
            FlawKind::BadDescriptor,
        );
    }
}

#[test]
fn any_number_of_extents_but_one_is_refused() {
    let text = descriptor(disk().sectors);
    assert_descriptor_refused(
        &format!("{text}RW {} SPARSE \"other.vmdk\"\n", disk().sectors),
        FlawKind::BadDescriptor,
    );
    assert_descriptor_refused(&text.replace("RDONLY", "#"), FlawKind::BadDescriptor);
}

#[test]
fn extents_of_another_size_than_the_header_says_are_refused() {
    let sectors = disk().sectors;
    for size in [sectors - 1, sectors + 1, 0, 1 << 40, u64::MAX] {
        assert_descriptor_refused(&descriptor(size), FlawKind::BadDescriptor);
    }
    assert_descriptor_refused(
        &descriptor(7).replace(" 7 ", " -7 "),
        FlawKind::BadDescriptor,
    );
}

#[test]
fn a_disk_with_a_parent_is_refused() {
    let text = descriptor(disk().sectors);
    assert_descriptor_refused(&text.replace("ffffffff", "12345678"), FlawKind::HasParent);
    let hint = format!("{text}parentFileNameHint=\"/vmfs/base.vmdk\"\n");
    assert_descriptor_refused(&hint, FlawKind::HasParent);
}

#[test]
fn a_descriptor_line_of_60_kilobytes_is_refused() {
    let text = descriptor(disk().sectors);
    assert_descriptor_refused(
        &format!("{text}x={}\n", "y".repeat(60_000)),
        FlawKind::BadDescriptor,
    );
}

#[test]
fn a_descriptor_of_garbage_is_refused() {
    assert_descriptor_refused("\u{1}\u{2}garbage", FlawKind::BadDescriptor);
    assert_descriptor_refused("\0", FlawKind::BadDescriptor);
}
