//! A stream of any writer comes out in the profile of ours, with the same disk in it.

use bytes::Bytes;
use vmdk_backup::vmdk::{
    CheckOptions, Facts, FlawKind, Layout, Normalize, NormalizeOptions, normalize,
};

use super::disk::Disk;
use super::peers::{encoded, mixed, qemu_img, vmdkstream};
use super::writer::{TABLE_SPAN, Writer};
use super::{check, check_with};

/// Takes what can be made whole.
pub fn lenient() -> CheckOptions {
    CheckOptions {
        accept_missing_eos: true,
        ..CheckOptions::default()
    }
}

/// What the stream becomes, with the facts of both; it must be normal, hold the same disk and have the length foretold.
#[track_caller]
pub fn normalized(stream: &[u8]) -> (Vec<u8>, Facts, Facts) {
    let before = check_with(&lenient(), stream, 1 << 20).unwrap();
    let reorder = if before.in_order { 0 } else { 16 << 20 };
    let options = NormalizeOptions {
        reorder,
        ..NormalizeOptions::default()
    };
    let mut out = Vec::new();
    let length = normalize(&options, &mut &stream[..], &mut out).unwrap();
    let after = check(&out).unwrap();
    assert!(after.normal && after.layout == Layout::End);
    assert_eq!(after.content_digest, before.content_digest);
    assert_eq!(after.capacity, before.capacity);
    assert_eq!(length, out.len() as u64);
    assert_eq!(before.normalized_length, Some(length), "length foretold");
    (out, before, after)
}

fn disk() -> Disk {
    let last = TABLE_SPAN / 128 + 3;
    Disk::new(last * 128 + 50, &[0, 1, 2, 5, 100, last - 1, last])
}

#[test]
fn old_versions_and_tables_in_front_become_normal() {
    for version in [1, 2, 3] {
        for front in [None, Some(1), Some(2)] {
            let writer = Writer {
                version,
                front,
                ..Writer::default()
            };
            normalized(&writer.write(&disk()).bytes);
        }
    }
}

#[test]
fn a_short_last_grain_becomes_whole() {
    let writer = Writer {
        short_last: true,
        ..Writer::default()
    };
    let disk = disk();
    let (out, before, _) = normalized(&writer.write(&disk).bytes);
    assert!(!before.normal);
    // It is stored, in blocks of 65535 bytes: what it holds, then zeros beyond the end of the disk.
    let last = disk.sectors as usize / 128 * 65536;
    let stored = disk.bytes(last, 65535);
    assert!(out.windows(stored.len()).any(|bytes| bytes == stored));
}

#[test]
fn a_missing_end_and_zeros_after_it_are_mended() {
    let writer = Writer {
        front: Some(1),
        eos: false,
        ..Writer::default()
    };
    let mut stream = writer.write(&disk()).bytes;
    normalized(&stream);
    stream.resize(stream.len() + 48 * 1024, 0);
    normalized(&stream);
}

#[test]
fn grains_out_of_order_are_put_in_order() {
    let order = Some(vec![5, 0, 100, 2, 1, 515, 514]);
    for front in [None, Some(1)] {
        let writer = Writer {
            order: order.clone(),
            front,
            ..Writer::default()
        };
        let (_, before, after) = normalized(&writer.write(&disk()).bytes);
        assert!(!before.in_order && after.in_order);
    }
}

#[test]
fn more_disorder_than_there_is_memory_for_is_an_error() {
    let writer = Writer {
        order: Some(vec![5, 0, 100, 2, 1, 515, 514]),
        front: Some(1),
        ..Writer::default()
    };
    let options = NormalizeOptions {
        reorder: 300,
        ..NormalizeOptions::default()
    };
    let mut rewriting = Normalize::new(&options);
    let stream = Bytes::from(writer.write(&disk()).bytes);
    let flaw = rewriting.feed(stream).and_then(|()| rewriting.finish());
    assert_eq!(flaw.unwrap_err().kind, FlawKind::GrainOutOfOrder);
}

#[test]
fn progress_markers_and_tables_of_holes_are_left_out() {
    let writer = Writer {
        progress: true,
        empty_tables: true,
        ..Writer::default()
    };
    let (out, ..) = normalized(&writer.write(&disk()).bytes);
    let plain = normalized(&Writer::default().write(&disk()).bytes).0;
    assert!(out == plain);
}

#[test]
fn what_is_normal_already_comes_out_the_same_however_it_is_cut() {
    let (once, ..) = normalized(&Writer::default().write(&disk()).bytes);
    let (twice, ..) = normalized(&once);
    assert!(once == twice);
    for slab in [1, 511, 70_000] {
        let mut rewriting = Normalize::new(&NormalizeOptions::default());
        let mut out = Vec::new();
        let mut take = |rewriting: &mut Normalize| {
            while let Some(slab) = rewriting.next_slab() {
                out.extend_from_slice(&slab);
            }
        };
        for slab in once.chunks(slab) {
            rewriting.feed(Bytes::copy_from_slice(slab)).unwrap();
            take(&mut rewriting);
        }
        rewriting.finish().unwrap();
        take(&mut rewriting);
        assert!(out == once, "slabs of {slab}");
    }
}

#[test]
fn a_stream_that_is_cut_short_never_becomes_whole() {
    let stream = Writer::default().write(&disk()).bytes;
    for length in (0..stream.len() - 1).step_by(509) {
        let cut = &stream[..length];
        let outcome = normalize(
            &NormalizeOptions::default(),
            &mut &cut[..],
            &mut std::io::sink(),
        );
        assert!(outcome.is_err(), "{length} bytes");
    }
}

#[test]
fn the_descriptor_keeps_what_identifies_the_disk() {
    let sectors = disk().sectors;
    let text = format!(
        "version=1\nCID=0123abcd\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n\
         RDONLY {sectors} SPARSE \"x.vmdk\"\nddb.adapterType = \"pvscsi\"\nddb.virtualHWVersion = \"19\"\n\
         ddb.longContentID = \"00112233445566778899aabb0123abcd\"\n"
    );
    let writer = Writer {
        descriptor: Some(text),
        ..Writer::default()
    };
    let (_, _, after) = normalized(&writer.write(&disk()).bytes);
    let descriptor = after.descriptor;
    assert_eq!(descriptor.cid.as_deref(), Some("0123abcd"));
    assert_eq!(
        descriptor.long_content_id.as_deref(),
        Some("00112233445566778899aabb0123abcd")
    );
    assert_eq!(descriptor.adapter_type.as_deref(), Some("pvscsi"));
    assert_eq!(descriptor.hardware_version.as_deref(), Some("19"));
}

#[test]
fn other_grain_sizes_are_refused() {
    let writer = Writer {
        grain_sectors: 64,
        ..Writer::default()
    };
    let stream = writer.write(&disk()).bytes;
    assert_eq!(check(&stream).unwrap().normalized_length, None);
    let mut rewriting = Normalize::new(&NormalizeOptions::default());
    let flaw = rewriting.feed(stream.into()).unwrap_err();
    assert_eq!(flaw.kind, FlawKind::BadHeader);
}

#[test]
fn streams_of_other_tools_become_normal_and_qemu_img_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    for (writer, lengths) in [
        (qemu_img as fn(&_, &_), [512, 70_000 * 512, 2 << 20]),
        (vmdkstream, [512, 70_000 * 512, 2 << 20]),
    ] {
        for length in lengths {
            let raw = mixed(length);
            let (out, ..) = normalized(&encoded(&raw, writer));
            let (vmdk, back) = (
                directory.path().join("n.vmdk"),
                directory.path().join("n.raw"),
            );
            std::fs::write(&vmdk, &out).unwrap();
            assert!(
                super::encode::qemu_img_reads(&vmdk, &back) == raw,
                "{length}"
            );
        }
    }
}
