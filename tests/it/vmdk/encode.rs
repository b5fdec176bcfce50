//! What the encoder writes is what every reader takes, and holds the disk.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use vmdk_backup::vmdk::{
    CheckOptions, Compression, DiskSource, Encode, EncodeOptions, Encoded, Layout,
};

use super::decode::decode;
use super::disk::Disk;
use super::peers::mixed;
use super::{check, verdict};

const LEVELS: [Compression; 3] = [Compression::Fast, Compression::Balanced, Compression::Small];

/// A disk in memory that knows nothing of its holes.
struct Memory(Vec<u8>);

impl DiskSource for Memory {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        bytes.copy_from_slice(&self.0[from..from + bytes.len()]);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(Some(offset..self.0.len() as u64))
    }
}

fn encode_from(
    options: &EncodeOptions,
    source: impl DiskSource + 'static,
    size: u64,
) -> (Vec<u8>, Encoded) {
    let mut encode = Encode::new(options, Arc::new(source), size).unwrap();
    let mut stream = Vec::new();
    while let Some(slab) = encode.next_slab().unwrap() {
        stream.extend_from_slice(&slab);
    }
    (stream, encode.finish().expect("all of it was taken"))
}

fn encode(options: &EncodeOptions, raw: &[u8]) -> (Vec<u8>, Encoded) {
    encode_from(options, Memory(raw.to_vec()), raw.len() as u64)
}

fn digested() -> EncodeOptions {
    EncodeOptions {
        content_digest: true,
        ..EncodeOptions::default()
    }
}

#[test]
fn what_is_encoded_is_whole_and_normal_and_holds_the_disk() {
    for length in [1, 512, 513, 65536, 65537, 1 << 20, 5_268_480, 40 << 20] {
        let raw = mixed(length);
        let (stream, encoded) = encode(&digested(), &raw);
        let facts = check(&stream).unwrap();
        assert!(facts.normal, "{length} bytes");
        assert_eq!(facts.layout, Layout::End);
        assert_eq!(
            facts.content_digest,
            Some(Disk::from_raw(&raw).content_digest())
        );
        assert_eq!(encoded.content_digest, facts.content_digest);
        assert_eq!(
            (encoded.length, encoded.capacity),
            (facts.length, facts.capacity)
        );
        assert_eq!(
            (encoded.grains, encoded.populated),
            (facts.grains, facts.populated)
        );
    }
}

#[test]
fn what_is_encoded_decodes_to_the_disk() {
    for compression in LEVELS {
        let raw = mixed(3_000_320);
        let options = EncodeOptions {
            compression,
            ..EncodeOptions::default()
        };
        let (decoded, _) = decode(&CheckOptions::default(), &encode(&options, &raw).0).unwrap();
        assert!(decoded == raw, "{compression:?}");
    }
}

#[test]
fn the_stream_does_not_depend_on_the_number_of_threads() {
    let raw = mixed(20 << 20);
    for compression in LEVELS {
        let with = |threads| {
            encode(
                &EncodeOptions {
                    compression,
                    threads,
                    ..EncodeOptions::default()
                },
                &raw,
            )
            .0
        };
        assert!(with(1) == with(5), "{compression:?}");
    }
}

#[test]
fn a_disk_of_zeros_has_no_grains() {
    let (stream, encoded) = encode(&EncodeOptions::default(), &vec![0; 100 << 20]);
    let facts = verdict(&stream).unwrap();
    assert_eq!((facts.grains, encoded.grains), (0, 0));
    assert!(facts.normal);
}

/// Data at two places of a disk that is far larger than memory; reading its holes is an error.
struct Sparse([u64; 2]);

impl DiskSource for Sparse {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0);
        let end = offset + bytes.len() as u64;
        let Some(place) = self.0.iter().find(|p| (offset..end).contains(p)) else {
            return Err(io::Error::other(format!("read of a hole at {offset}")));
        };
        bytes[(place - offset) as usize] = 7;
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let next = self.0.iter().find(|&&place| place >= offset);
        Ok(next.map(|&place| place..place + 1))
    }
}

#[test]
fn holes_are_not_read() {
    let size = 62 << 40;
    let places = [5 << 40, size - 1];
    let (stream, encoded) = encode_from(&digested(), Sparse(places), size);
    let facts = check(&stream).unwrap();
    assert_eq!((facts.grains, facts.capacity), (2, size));
    assert_eq!(encoded.content_digest, facts.content_digest);
}

#[test]
fn a_source_that_fails_ends_the_stream() {
    struct Broken;
    impl DiskSource for Broken {
        fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
            bytes.fill(1);
            if offset < 8 << 20 {
                Ok(())
            } else {
                Err(io::Error::other("bad sector"))
            }
        }
        fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
            Ok(Some(offset..u64::MAX))
        }
    }
    let mut encode = Encode::new(&EncodeOptions::default(), Arc::new(Broken), 100 << 20).unwrap();
    let mut slabs = 0;
    let error = loop {
        match encode.next_slab() {
            Ok(Some(_)) => slabs += 1,
            Ok(None) => panic!("a stream without its end"),
            Err(error) => break error,
        }
    };
    assert_eq!((slabs, error.to_string().as_str()), (9, "bad sector"));
    assert!(encode.next_slab().is_err());
    assert!(encode.finish().is_none());
}

#[test]
fn an_encoder_that_is_dropped_half_way_ends_its_threads() {
    let mut encode = Encode::new(
        &EncodeOptions::default(),
        Arc::new(Memory(mixed(20 << 20))),
        20 << 20,
    )
    .unwrap();
    let head = encode.next_slab().unwrap();
    let first = encode.next_slab().unwrap();
    drop(encode);
    assert_eq!(head.unwrap().len(), 65536);
    assert!(!first.unwrap().is_empty());
}

#[test]
fn words_that_would_break_the_descriptor_are_refused() {
    for adapter_type in ["", "ide\"\nRW 1 FLAT \"/etc/passwd\" 0", "a b"] {
        let adapter_type = adapter_type.to_owned();
        let options = EncodeOptions {
            adapter_type,
            ..EncodeOptions::default()
        };
        assert!(Encode::new(&options, Arc::new(Memory(vec![1; 512])), 512).is_err());
    }
}

#[test]
fn the_descriptor_says_what_it_was_told() {
    let options = EncodeOptions {
        adapter_type: "pvscsi".to_owned(),
        content_id: *b"0123456789abcdef",
        ..EncodeOptions::default()
    };
    let descriptor = check(&encode(&options, &[1; 512]).0).unwrap().descriptor;
    assert_eq!(descriptor.adapter_type.as_deref(), Some("pvscsi"));
    assert_eq!(descriptor.cid.as_deref(), Some("63646566"));
    assert_eq!(
        descriptor.long_content_id.as_deref(),
        Some("30313233343536373839616263646566")
    );
}

pub fn qemu_img_reads(vmdk: &Path, raw: &Path) -> Vec<u8> {
    let output = crate::stage::program("qemu-img")
        .args(["convert", "-f", "vmdk", "-O", "raw"])
        .args([vmdk, raw])
        .output()
        .unwrap_or_else(|e| panic!("qemu-img: {e}: apt-get install qemu-utils"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(raw).unwrap()
}

#[test]
fn qemu_img_reads_what_is_encoded() {
    let directory = tempfile::tempdir().unwrap();
    let (vmdk, out) = (
        directory.path().join("a.vmdk"),
        directory.path().join("a.raw"),
    );
    for (length, compression) in [
        (512, LEVELS[0]),
        (70_000 * 512, LEVELS[0]),
        (3_000_320, LEVELS[1]),
        (3_000_320, LEVELS[2]),
    ] {
        let raw = mixed(length);
        let options = EncodeOptions {
            compression,
            ..EncodeOptions::default()
        };
        std::fs::write(&vmdk, encode(&options, &raw).0).unwrap();
        assert!(
            qemu_img_reads(&vmdk, &out) == raw,
            "{length} bytes, {compression:?}"
        );
    }
}
