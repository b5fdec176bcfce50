//! Wrong tables, directories, footers and ends.

use vmdk_backup::vmdk::FlawKind;

use super::{assert_refused, disk, front, stream};
use crate::vmdk::verdict;
use crate::vmdk::writer::{SECTOR, Writer};

#[test]
fn a_table_that_contradicts_its_grains_is_refused() {
    let at = stream().tables[0];
    for (entry, value) in [(0, 0), (1, 5), (2, 9), (511, u32::MAX)] {
        let mut stream = stream();
        assert_refused(
            &stream.set32(at + entry * 4, value).bytes,
            FlawKind::TableMismatch,
            at,
        );
    }
}

#[test]
fn a_missing_table_is_refused() {
    let mut stream = stream();
    let table = stream.tables[0];
    stream.bytes.drain(table - SECTOR..table + 2048);
    let next = stream.tables[1] - SECTOR - 2048;
    let flaw = verdict(&stream.bytes).expect_err("a flaw");
    assert_eq!(flaw.kind, FlawKind::TableMismatch, "{flaw}");
    assert!(flaw.offset >= next as u64, "{flaw}");
}

#[test]
fn a_grain_after_its_table_is_refused() {
    let mut stream = stream();
    let at = stream.grains[3];
    assert_refused(
        &stream.set64(at, 128 * 9).bytes,
        FlawKind::TableMismatch,
        at,
    );
}

#[test]
fn more_tables_than_the_disk_has_are_refused() {
    let mut stream = stream();
    let at = stream.directory - SECTOR;
    let mut empty = stream.bytes[stream.tables[0] - SECTOR..stream.tables[0]].to_vec();
    empty.resize(SECTOR + 2048, 0);
    stream.bytes.splice(at..at, empty);
    assert_refused(&stream.bytes, FlawKind::TableMismatch, at + SECTOR);
}

#[test]
fn a_directory_that_contradicts_its_tables_is_refused() {
    let at = stream().directory;
    for (entry, value) in [(0, 0), (0, 4), (1, 1), (1, u32::MAX)] {
        let mut stream = stream();
        assert_refused(
            &stream.set32(at + entry * 4, value).bytes,
            FlawKind::TableMismatch,
            at,
        );
    }
}

#[test]
fn a_directory_elsewhere_than_the_header_says_is_refused() {
    let mut stream = stream();
    let at = stream.directory;
    assert_refused(&stream.set64(56, 4000).bytes, FlawKind::TableMismatch, at);
}

#[test]
fn a_footer_that_contradicts_the_header_is_refused() {
    let at = stream().footer;
    for (field, value) in [
        (0, 0),
        (4, 2),
        (8, 0x30003),
        (12, 5),
        (20, 64),
        (28, 2),
        (36, 2),
        (44, 5),
        (56, 1),
        (64, 5),
    ] {
        let mut stream = stream();
        assert_refused(
            &stream.set32(at + field, value).bytes,
            FlawKind::FooterMismatch,
            at,
        );
    }
}

#[test]
fn an_end_without_a_footer_is_refused() {
    let mut stream = stream();
    let at = stream.footer - SECTOR;
    stream.bytes.drain(at..at + 2 * SECTOR);
    assert_refused(&stream.bytes, FlawKind::MissingFooter, at);
}

#[test]
fn a_hole_in_the_middle_is_no_end() {
    let mut stream = stream();
    let at = stream.grains[2];
    stream.bytes[at..at + SECTOR].fill(0);
    assert_refused(&stream.bytes, FlawKind::MissingGrains, at);
    let mut stream = front();
    let at = stream.grains[2];
    stream.bytes[at..].fill(0);
    assert_refused(&stream.bytes, FlawKind::MissingGrains, at);
}

#[test]
fn tables_in_front_that_list_more_grains_than_come_are_refused() {
    let mut stream = front();
    let (table, end) = (stream.tables[1], stream.eos);
    assert_refused(
        &stream.set32(table + 80, 99).bytes,
        FlawKind::MissingGrains,
        end,
    );
}

#[test]
fn tables_in_front_that_list_other_grains_than_come_are_refused() {
    let mut stream = front();
    let (table, end) = (stream.tables[0], stream.eos);
    assert_refused(&stream.set32(table, 99).bytes, FlawKind::TableMismatch, end);
    let mut stream = front();
    let table = stream.tables[1];
    let end = stream.eos;
    stream.bytes[table..table + 2048].fill(0);
    assert_refused(&stream.bytes, FlawKind::TableMismatch, end);
}

#[test]
fn a_directory_in_front_that_points_elsewhere_is_refused() {
    let at = front().directory;
    for (entry, value) in [(0, 1), (0, 2), (1, 5), (1, 1 << 20), (1, u32::MAX)] {
        let mut stream = front();
        assert_refused(
            &stream.set32(at + entry * 4, value).bytes,
            FlawKind::TableMismatch,
            at,
        );
    }
}

#[test]
fn redundant_tables_that_differ_are_refused() {
    let mut stream = Writer {
        front: Some(2),
        ..Writer::default()
    }
    .write(&disk());
    let (table, first) = (stream.tables[0], stream.grains[0]);
    assert_refused(
        &stream.set32(table, 77).bytes,
        FlawKind::TableMismatch,
        first,
    );
}

#[test]
fn an_end_that_is_missing_is_told() {
    let stream = Writer {
        eos: false,
        front: Some(1),
        ..Writer::default()
    }
    .write(&disk());
    assert_refused(&stream.bytes, FlawKind::MissingEos, stream.bytes.len());
    let stream = Writer {
        eos: false,
        ..Writer::default()
    }
    .write(&disk());
    assert_refused(&stream.bytes, FlawKind::MissingEos, stream.bytes.len());
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut stream = stream();
    let end = stream.bytes.len();
    stream.bytes.extend([0; 700]);
    stream.bytes.push(1);
    assert_refused(&stream.bytes, FlawKind::TrailingBytes, end + 700);
}

#[test]
fn grains_without_padding_are_refused() {
    let mut stream = stream();
    let at = stream.grains[0];
    let size = stream.get32(at + 8) as usize;
    stream.bytes.drain(at + 12 + size..stream.grains[1]);
    assert!(verdict(&stream.bytes).is_err());
}
