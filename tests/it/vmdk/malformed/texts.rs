//! Whoever reads a flaw can tell from its words alone which one it is.

use std::collections::BTreeMap;

use vmdk_backup::vmdk::CheckOptions;

use super::{disk, front, stream};
use crate::vmdk::check_with;
use crate::vmdk::disk::Disk;
use crate::vmdk::writer::{SECTOR, Stream, Writer, descriptor, zlib};

/// The usual stream, changed.
fn changed(change: impl FnOnce(&mut Stream)) -> Vec<u8> {
    let mut stream = stream();
    change(&mut stream);
    stream.bytes
}

/// The stream with its tables in front, changed.
fn front_changed(change: impl FnOnce(&mut Stream)) -> Vec<u8> {
    let mut stream = front();
    change(&mut stream);
    stream.bytes
}

fn redundant_changed(change: impl FnOnce(&mut Stream)) -> Vec<u8> {
    let writer = Writer {
        front: Some(2),
        ..Writer::default()
    };
    let mut stream = writer.write(&disk());
    change(&mut stream);
    stream.bytes
}

fn described(from: &str, to: &str) -> Vec<u8> {
    let text = descriptor(disk().sectors);
    assert!(text.contains(from), "{from}");
    let writer = Writer {
        descriptor: Some(text.replace(from, to)),
        ..Writer::default()
    };
    writer.write(&disk()).bytes
}

fn heads() -> Vec<(&'static str, Vec<u8>)> {
    let extent = format!("RDONLY {} SPARSE \"generated-stream.vmdk\"", disk().sectors);
    let long = format!("x={}", "y".repeat(60_000));
    vec![
        ("magic", changed(|s| s.bytes[0] = b'k')),
        ("version", changed(|s| s.bytes[4] = 4)),
        ("flags", changed(|s| s.bytes[10] = 1)),
        ("unknown flags", changed(|s| s.bytes[10] = 7)),
        ("newline test", changed(|s| s.bytes[75] = b'\n')),
        ("compression", changed(|s| s.bytes[77] = 2)),
        (
            "capacity",
            changed(|s| {
                s.set64(12, 1 << 63);
            }),
        ),
        (
            "grain size",
            changed(|s| {
                s.set64(20, 127);
            }),
        ),
        (
            "table size",
            changed(|s| {
                s.set32(44, 511);
            }),
        ),
        (
            "no descriptor",
            changed(|s| {
                s.set64(36, 0);
            }),
        ),
        (
            "long descriptor",
            changed(|s| {
                s.set64(36, 1 << 31);
            }),
        ),
        (
            "overhead",
            changed(|s| {
                s.set64(64, u64::MAX);
            }),
        ),
        (
            "descriptor's place",
            changed(|s| {
                s.set64(28, 99);
            }),
        ),
        (
            "directory's place",
            front_changed(|s| {
                s.set64(56, 0);
            }),
        ),
        ("create type", described("streamOptimized", "vmfs")),
        ("a file of the host", described("SPARSE", "FLAT")),
        ("no extent", described(&extent, "")),
        ("an extent of no size", described("RDONLY", "RDONLY x")),
        ("size of the extent", {
            let sectors = format!(" {} ", disk().sectors);
            described(&sectors, &format!(" {} ", 1u64 << 40))
        }),
        ("parent", described("ffffffff", "12345678")),
        (
            "parent's name",
            described("CID=0123abcd", "parentFileNameHint=\"x\""),
        ),
        ("long line", described("CID=0123abcd", &long)),
        ("garbage", described("CID=0123abcd", "CID")),
    ]
}

fn grains() -> Vec<(&'static str, Vec<u8>)> {
    let late = Writer {
        front: Some(1),
        order: Some(vec![20_000, 100]),
        ..Writer::default()
    };
    let late = late.write(&Disk::new(30_000 * 128, &[100, 20_000]));
    vec![
        (
            "marker's type",
            changed(|s| {
                s.set32(s.tables[0] - SECTOR + 12, 5);
            }),
        ),
        (
            "table's value",
            changed(|s| {
                s.set64(s.tables[0] - SECTOR, 5);
            }),
        ),
        (
            "directory's value",
            changed(|s| {
                s.set64(s.directory - SECTOR, 5);
            }),
        ),
        (
            "footer's value",
            changed(|s| {
                s.set64(s.footer - SECTOR, 5);
            }),
        ),
        (
            "end's value",
            changed(|s| {
                s.set64(s.eos, 5);
            }),
        ),
        (
            "table's turn",
            front_changed(|s| {
                let eos = s.eos;
                s.set32(eos + 12, 1).set64(eos, 4);
            }),
        ),
        (
            "footer's turn",
            front_changed(|s| {
                let eos = s.eos;
                s.set32(eos + 12, 3).set64(eos, 1);
            }),
        ),
        (
            "grain's size",
            changed(|s| {
                s.set32(s.grains[1] + 8, 1 << 20);
            }),
        ),
        (
            "grain beyond the disk",
            changed(|s| {
                s.set64(s.grains[1], 1 << 63);
            }),
        ),
        (
            "grain between two",
            changed(|s| {
                s.set64(s.grains[1], 129);
            }),
        ),
        (
            "grain twice",
            changed(|s| {
                s.set64(s.grains[1], 0);
            }),
        ),
        ("grain too late", late.bytes),
        ("broken zlib", changed(|s| s.payload(1)[20] ^= 0xff)),
        ("short zlib", changed(|s| s.replace(1, &zlib(&[7; 512], 6)))),
        (
            "bombed zlib",
            changed(|s| s.replace(1, &zlib(&[7; 400_000], 12))),
        ),
    ]
}

fn tables() -> Vec<(&'static str, Vec<u8>)> {
    let cut = |at: fn(&Stream) -> usize| changed(|s| s.bytes.truncate(at(s)));
    vec![
        (
            "grain after its table",
            changed(|s| {
                s.set64(s.grains[3], 128 * 9);
            }),
        ),
        (
            "table's entry",
            changed(|s| {
                s.set32(s.tables[0], 9);
            }),
        ),
        (
            "directory's entry",
            changed(|s| {
                s.set32(s.directory, 9);
            }),
        ),
        (
            "directory elsewhere",
            changed(|s| {
                s.set64(56, 4000);
            }),
        ),
        (
            "footer's field",
            changed(|s| {
                s.set64(s.footer + 12, 5);
            }),
        ),
        (
            "no footer",
            changed(|s| {
                s.bytes.drain(s.footer - SECTOR..s.eos);
            }),
        ),
        (
            "early end",
            changed(|s| s.bytes[s.grains[2]..][..SECTOR].fill(0)),
        ),
        (
            "early end, tables in front",
            front_changed(|s| s.bytes[s.grains[3]..].fill(0)),
        ),
        (
            "grain listed, not there",
            front_changed(|s| {
                s.set32(s.tables[0] + 80, 99);
            }),
        ),
        (
            "grain listed elsewhere",
            front_changed(|s| {
                s.set32(s.tables[0], 99);
            }),
        ),
        (
            "grains of no table",
            front_changed(|s| s.bytes[s.tables[1]..][..2048].fill(0)),
        ),
        (
            "directory in front",
            front_changed(|s| {
                s.set32(s.directory, 1);
            }),
        ),
        (
            "redundant tables",
            redundant_changed(|s| {
                s.set32(s.tables[0], 77);
            }),
        ),
        ("cut in the header", cut(|_| 100)),
        ("cut in the descriptor", cut(|_| 600)),
        ("cut in a grain", cut(|s| s.grains[1] + 40)),
        ("cut in a table", cut(|s| s.tables[0] + 40)),
        ("cut in the footer", cut(|s| s.footer + 40)),
        ("cut between two grains", cut(|s| s.grains[1])),
        ("no end", cut(|s| s.eos)),
        ("bytes after the end", changed(|s| s.bytes.push(1))),
    ]
}

#[test]
fn every_way_to_be_malformed_is_told_in_words_of_its_own() {
    let items = heads().into_iter().chain(grains()).chain(tables());
    let mut told: BTreeMap<String, &str> = BTreeMap::new();
    for (item, stream) in items {
        let flaw = check_with(&CheckOptions::default(), &stream, 1 << 20).expect_err(item);
        // Another number alone does not tell two flaws apart.
        let words: String = flaw
            .message
            .chars()
            .filter(|char| !char.is_ascii_digit())
            .collect();
        eprintln!("{item}: {flaw}");
        if let Some(other) = told.insert(words, item) {
            panic!("{item} and {other} are told in the same words: {flaw}");
        }
    }
}
