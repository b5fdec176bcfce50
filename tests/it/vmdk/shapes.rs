//! Streams of every shape that writers give them are taken, and the same disk has the same content digest in each.

use vmdk_backup::vmdk::{CheckOptions, Facts, FlawKind, Layout, Level};

use super::disk::Disk;
use super::writer::{Stream, TABLE_SPAN, Writer};
use super::{check, check_with, verdict};

/// Three tables, the middle one without a grain, and an end within a grain.
fn disk() -> Disk {
    let last = 2 * TABLE_SPAN / 128 + 3;
    Disk::new(last * 128 + 50, &[0, 1, 5, 511, last - 1, last])
}

fn facts(writer: &Writer) -> Facts {
    verdict(&writer.write(&disk()).bytes).expect("a whole stream")
}

fn assert_same_disk(facts: &Facts) {
    assert_eq!(facts.content_digest, Some(disk().content_digest()));
    assert_eq!(facts.capacity, disk().sectors * 512);
    assert_eq!(facts.grains, 6);
    assert_eq!(facts.populated, 5 * 65536 + 50 * 512);
}

#[test]
fn a_stream_of_the_vsphere_profile_is_whole_and_normal() {
    let facts = facts(&Writer::default());
    assert_same_disk(&facts);
    assert!(facts.normal && facts.in_order);
    assert_eq!(facts.layout, Layout::End);
    assert_eq!(facts.trailing, 0);
}

#[test]
fn the_descriptor_is_read() {
    let descriptor = facts(&Writer::default()).descriptor;
    assert_eq!(descriptor.create_type, "streamOptimized");
    assert_eq!(descriptor.cid.as_deref(), Some("0123abcd"));
    assert_eq!(descriptor.adapter_type.as_deref(), Some("lsilogic"));
    assert_eq!(descriptor.extent_bytes, disk().sectors * 512);
    assert_eq!(descriptor.extent_name, "generated-stream.vmdk");
}

#[test]
fn length_and_hashes_are_those_of_all_bytes() {
    use sha1::Sha1;
    use sha2::{Digest, Sha256};
    let stream = Writer::default().write(&disk()).bytes;
    let facts = check(&stream).unwrap();
    assert_eq!(facts.sha1, None);
    let options = CheckOptions {
        sha1: true,
        ..CheckOptions::default()
    };
    let facts = check_with(&options, &stream, 4096).unwrap();
    assert_eq!(facts.length, stream.len() as u64);
    assert_eq!(facts.sha256, <[u8; 32]>::from(Sha256::digest(&stream)));
    assert_eq!(facts.sha1, Some(Sha1::digest(&stream).into()));
}

#[test]
fn tables_in_front_are_taken() {
    let facts = facts(&Writer {
        front: Some(1),
        ..Writer::default()
    });
    assert_same_disk(&facts);
    assert_eq!(facts.layout, Layout::Front);
    assert!(facts.normal);
}

#[test]
fn redundant_tables_in_front_are_taken() {
    assert_same_disk(&facts(&Writer {
        front: Some(2),
        ..Writer::default()
    }));
}

#[test]
fn tables_of_holes_are_taken() {
    assert_same_disk(&facts(&Writer {
        empty_tables: true,
        ..Writer::default()
    }));
}

#[test]
fn progress_markers_are_taken() {
    assert_same_disk(&facts(&Writer {
        progress: true,
        ..Writer::default()
    }));
}

#[test]
fn grains_of_zeros_do_not_change_the_content_digest() {
    assert_same_disk(&facts(&Writer {
        zeros: vec![2, 3, 700],
        ..Writer::default()
    }));
}

#[test]
fn grain_sizes_do_not_change_the_content_digest() {
    for grain_sectors in [8, 16, 64, 256, 2048] {
        for front in [None, Some(1)] {
            let facts = facts(&Writer {
                grain_sectors,
                front,
                ..Writer::default()
            });
            assert_same_disk(&facts);
            assert!(!facts.normal, "grains of {grain_sectors} sectors");
        }
    }
}

#[test]
fn a_last_grain_that_ends_with_the_disk_is_taken_but_not_normal() {
    let facts = facts(&Writer {
        short_last: true,
        ..Writer::default()
    });
    assert_same_disk(&facts);
    assert!(!facts.normal);
}

#[test]
fn grains_out_of_order_are_taken_but_not_normal() {
    let order = [5, 0, 511, 1, 1026, 1027].to_vec();
    for front in [None, Some(1)] {
        let facts = facts(&Writer {
            front,
            order: Some(order.clone()),
            ..Writer::default()
        });
        assert_same_disk(&facts);
        assert!(!facts.in_order && !facts.normal);
    }
}

#[test]
fn versions_1_and_2_are_taken_but_not_normal() {
    for version in [1, 2] {
        let facts = facts(&Writer {
            version,
            ..Writer::default()
        });
        assert_same_disk(&facts);
        assert!(!facts.normal);
    }
}

#[test]
fn zeros_after_the_end_are_taken_and_counted_but_not_normal() {
    let mut stream = Writer::default().write(&disk()).bytes;
    stream.extend([0; 1000]);
    let facts = verdict(&stream).unwrap();
    assert_same_disk(&facts);
    assert_eq!(facts.trailing, 1000);
    assert!(!facts.normal);
}

#[test]
fn the_capacity_of_the_extent_may_be_less_than_a_grain_below_the_headers() {
    let disk = Disk::new(256, &[0]);
    let descriptor = super::writer::descriptor(129);
    let stream = Writer {
        descriptor: Some(descriptor),
        ..Writer::default()
    }
    .write(&disk);
    let facts = verdict(&stream.bytes).unwrap();
    assert_eq!(
        (facts.capacity, facts.descriptor.extent_bytes),
        (256 * 512, 129 * 512)
    );
}

#[test]
fn descriptors_as_real_writers_leave_them_are_taken() {
    let text = super::writer::descriptor(1000);
    let full = format!("{text}#{}", "x".repeat(1024 - text.len() - 1));
    for text in [
        text.replace('\n', "\r\n"),
        text.replace('\n', " \n"),
        text.replace("\"streamOptimized\"", "streamOptimized"),
        text.replace("\nCID", "\n\n \t CID"),
        text.replace("ffffffff", "FFFFFFFF"),
        text.replace(
            "RDONLY 1000 SPARSE \"generated-stream.vmdk\"",
            "RW 1000 SPARSE \"/etc/passwd\"",
        ),
        format!("{text}\0not = \"read\"\nRW 5 FLAT \"x\" 0\n"),
        full,
    ] {
        let writer = Writer {
            descriptor: Some(text.clone()),
            ..Writer::default()
        };
        let verdict = verdict(&writer.write(&Disk::new(1000, &[0])).bytes);
        assert!(verdict.is_ok(), "{verdict:?}: {text}");
    }
}

#[test]
fn an_empty_disk_is_whole() {
    for front in [None, Some(1), Some(2)] {
        let writer = Writer {
            front,
            ..Writer::default()
        };
        let facts = verdict(&writer.write(&Disk::new(2048, &[])).bytes).unwrap();
        assert_eq!((facts.grains, facts.populated), (0, 0));
        assert_eq!(facts.content_digest, Some(Disk::default().content_digest()));
    }
}

#[test]
fn bytes_of_a_last_grain_beyond_the_capacity_do_not_count() {
    let mut beyond = Disk::new(128, &[0]);
    let short = Disk::new(100, &[0]);
    beyond.sectors = 100;
    let facts = verdict(&Writer::default().write(&beyond).bytes).unwrap();
    assert_eq!(facts.content_digest, Some(short.content_digest()));
    assert_eq!(facts.populated, 100 * 512);
}

#[test]
fn a_missing_end_is_taken_where_asked_and_the_tables_prove_all_grains() {
    let options = CheckOptions {
        accept_missing_eos: true,
        ..CheckOptions::default()
    };
    let writer = Writer {
        front: Some(1),
        eos: false,
        ..Writer::default()
    };
    let Stream { bytes, .. } = writer.write(&disk());
    let facts = check_with(&options, &bytes, 1000).unwrap();
    assert_same_disk(&facts);
    assert!(!facts.normal);
    let cut = check_with(&options, &bytes[..bytes.len() - 512], 1000).unwrap_err();
    assert_eq!(cut.kind, FlawKind::Truncated);
    let end = Writer {
        eos: false,
        ..Writer::default()
    }
    .write(&disk());
    let missing = check_with(&options, &end.bytes, 1000).unwrap_err();
    assert_eq!(
        missing.kind,
        FlawKind::MissingEos,
        "the end layout ends by its marker alone"
    );
}

#[test]
fn the_lower_levels_look_at_no_more_than_they_say() {
    let mut stream = Writer::default().write(&disk());
    stream.payload(1).fill(0xff);
    let options = |level| CheckOptions {
        level,
        ..CheckOptions::default()
    };
    let structure = check_with(&options(Level::Structure), &stream.bytes, 1000).unwrap();
    assert_eq!((structure.content_digest, structure.grains), (None, 6));
    assert!(structure.normal);
    let eos = stream.eos;
    stream.bytes[eos - 512..].fill(0xff);
    let digest = check_with(&options(Level::Digest), &stream.bytes, 1000).unwrap();
    assert_eq!((digest.content_digest, digest.grains), (None, 0));
    assert_eq!(
        digest.sha256,
        check_with(&options(Level::Digest), &stream.bytes, 7)
            .unwrap()
            .sha256
    );
    let flaw = check_with(&options(Level::Structure), &stream.bytes, 1000).unwrap_err();
    assert_eq!(flaw.kind, FlawKind::FooterMismatch);
    assert_eq!(check(&stream.bytes).unwrap_err().kind, FlawKind::BadDeflate);
}
