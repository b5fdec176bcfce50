//! Wrong markers and grains.

use vmdk_backup::vmdk::FlawKind;

use super::{assert_refused, disk, front, stream};
use crate::vmdk::disk::Disk;
use crate::vmdk::verdict;
use crate::vmdk::writer::{SECTOR, Writer, zlib};

#[test]
fn unknown_markers_are_refused() {
    for kind in [5, 6, 0xff, u32::MAX] {
        let mut stream = stream();
        let at = stream.tables[0] - SECTOR;
        assert_refused(&stream.set32(at + 12, kind).bytes, FlawKind::BadMarker, at);
    }
}

#[test]
fn markers_with_other_values_than_theirs_are_refused() {
    let stream = stream();
    for part in [
        stream.tables[0],
        stream.directory,
        stream.footer,
        stream.eos + SECTOR,
    ] {
        for value in [7, 1 << 32, u64::MAX] {
            let at = part - SECTOR;
            assert_refused(
                &stream.clone().set64(at, value).bytes,
                FlawKind::BadMarker,
                at,
            );
        }
    }
}

#[test]
fn tables_after_the_grains_are_refused_where_they_came_before() {
    for kind in 1..=3 {
        let mut stream = front();
        let at = stream.eos;
        assert_refused(
            &stream.set32(at + 12, kind).set64(at, 1).bytes,
            FlawKind::BadMarker,
            at,
        );
    }
}

#[test]
fn a_footer_without_a_directory_is_refused() {
    let mut stream = stream();
    let (from, to) = (stream.directory - SECTOR, stream.footer - SECTOR);
    stream.bytes.drain(from..to);
    assert_refused(&stream.bytes, FlawKind::BadMarker, from);
}

#[test]
fn anything_between_footer_and_end_is_refused() {
    let mut stream = stream();
    let (footer, eos) = (stream.footer - SECTOR, stream.eos);
    let again = stream.bytes[footer..eos].to_vec();
    stream.bytes.splice(eos..eos, again);
    assert_refused(&stream.bytes, FlawKind::BadMarker, eos);
}

#[test]
fn a_grain_after_the_directory_is_refused() {
    let mut stream = stream();
    let at = stream.footer - SECTOR;
    let mut grain = stream.bytes[stream.grains[0]..stream.grains[1]].to_vec();
    grain[..8].copy_from_slice(&(128u64 * 9).to_le_bytes());
    stream.bytes.splice(at..at, grain);
    assert_refused(&stream.bytes, FlawKind::BadMarker, at);
}

#[test]
fn a_grain_longer_than_any_is_refused() {
    for size in [65536 + 32768 + 1025, 1 << 20, u32::MAX] {
        let mut stream = stream();
        let at = stream.grains[1];
        assert_refused(
            &stream.set32(at + 8, size).bytes,
            FlawKind::GrainTooLarge,
            at,
        );
    }
}

#[test]
fn a_grain_beyond_the_disk_is_refused() {
    for lba in [
        disk().sectors,
        disk().sectors + 78,
        1 << 40,
        1 << 63,
        u64::MAX - 127,
    ] {
        let mut stream = stream();
        let at = stream.grains[1];
        assert_refused(&stream.set64(at, lba).bytes, FlawKind::GrainOutOfRange, at);
    }
}

#[test]
fn a_grain_between_two_places_is_refused() {
    let mut stream = stream();
    let at = stream.grains[1];
    assert_refused(&stream.set64(at, 129).bytes, FlawKind::GrainMisaligned, at);
}

#[test]
fn a_second_grain_for_one_place_is_refused() {
    for lba in [0, 128] {
        let mut stream = stream();
        let at = stream.grains[2];
        assert_refused(&stream.set64(at, lba).bytes, FlawKind::DuplicateGrain, at);
    }
}

#[test]
fn a_second_small_grain_for_one_place_is_refused() {
    let mut stream = Writer {
        grain_sectors: 16,
        ..Writer::default()
    }
    .write(&disk());
    let at = stream.grains[3];
    assert_refused(
        &stream.set64(at, 2 * 16).bytes,
        FlawKind::DuplicateGrain,
        at,
    );
}

#[test]
fn small_grains_out_of_order_are_refused() {
    let mut stream = Writer {
        grain_sectors: 16,
        ..Writer::default()
    }
    .write(&disk());
    let at = stream.grains[3];
    assert_refused(&stream.set64(at, 16).bytes, FlawKind::GrainOutOfOrder, at);
}

#[test]
fn a_grain_that_comes_much_too_late_is_refused() {
    let order = vec![20_000, 100];
    let disk = Disk::new(30_000 * 128, &[100, 20_000]);
    let stream = Writer {
        front: Some(1),
        order: Some(order),
        ..Writer::default()
    }
    .write(&disk);
    assert_refused(&stream.bytes, FlawKind::GrainOutOfOrder, stream.grains[1]);
}

#[test]
fn a_damaged_zlib_stream_is_refused() {
    let at = stream().grains[1];
    for (byte, change) in [(0, 0x10), (1, 1), (2, 6), (20, 0xff)] {
        let mut stream = stream();
        stream.payload(1)[byte] ^= change;
        assert_refused(&stream.bytes, FlawKind::BadDeflate, at);
    }
}

#[test]
fn a_zlib_stream_with_another_checksum_is_refused() {
    let mut stream = stream();
    *stream.payload(1).last_mut().unwrap() ^= 1;
    assert_refused(&stream.bytes, FlawKind::BadDeflate, stream.grains[1]);
}

#[test]
fn a_shortened_zlib_stream_is_refused() {
    let mut stream = stream();
    let at = stream.grains[1];
    let size = stream.get32(at + 8);
    for size in [1, 2, size / 2, size - 1] {
        let flaw = verdict(&stream.set32(at + 8, size).bytes).expect_err("a flaw");
        // Beyond its end libdeflate reads zeros, which may stand for more bytes than there is room for.
        let kinds = [FlawKind::BadDeflate, FlawKind::GrainSizeMismatch];
        assert!(
            kinds.contains(&flaw.kind) && flaw.offset == at as u64,
            "{flaw}"
        );
    }
}

#[test]
fn a_zip_bomb_is_refused() {
    let mut noise = disk();
    let bytes = (0..65536u64)
        .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect();
    noise.units.insert(1, bytes);
    let mut stream = Writer {
        level: 0,
        ..Writer::default()
    }
    .write(&noise);
    stream.replace(1, &zlib(&vec![0; 50 << 20], 12));
    assert_refused(&stream.bytes, FlawKind::GrainSizeMismatch, stream.grains[1]);
}

#[test]
fn a_raw_deflate_stream_is_refused() {
    let mut stream = stream();
    let zlib = zlib(&[7; 65536], 6);
    stream.replace(1, &zlib[2..zlib.len() - 4]);
    assert_refused(&stream.bytes, FlawKind::BadDeflate, stream.grains[1]);
}

#[test]
fn grains_of_other_sizes_are_refused() {
    for length in [0, 1, 512, 65535, 65537, 400_000] {
        let mut stream = stream();
        stream.replace(1, &zlib(&vec![7; length], 12));
        assert_refused(&stream.bytes, FlawKind::GrainSizeMismatch, stream.grains[1]);
    }
}

#[test]
fn two_zlib_streams_in_one_grain_are_refused() {
    let mut stream = stream();
    let half = zlib(&[7; 32768], 6);
    stream.replace(1, &[&half[..], &half[..]].concat());
    assert_refused(&stream.bytes, FlawKind::GrainSizeMismatch, stream.grains[1]);
}

#[test]
fn a_last_grain_shorter_than_the_disk_is_refused() {
    let mut stream = stream();
    stream.replace(3, &zlib(&[7; 49 * SECTOR], 6));
    assert_refused(&stream.bytes, FlawKind::GrainSizeMismatch, stream.grains[3]);
}

#[test]
fn the_flaw_nearest_to_the_start_is_told() {
    let mut stream = stream();
    stream.payload(0).fill(0);
    stream.payload(1).fill(0);
    let at = stream.grains[2];
    stream.set64(at, 1);
    assert_refused(&stream.bytes, FlawKind::BadDeflate, stream.grains[0]);
}
