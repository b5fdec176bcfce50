//! Whole conversions between raw disks and streams, with files as they are used.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use vmdk_backup::vmdk::{
    Check, CheckOptions, Compression, DiskSink, DiskSource, Encode, EncodeOptions, Encoded, Flaw,
    FlawKind, RawDisk, decode, encode,
};

use super::peers::noise;

const LEVELS: [Compression; 3] = [Compression::Fast, Compression::Balanced, Compression::Small];

/// A reproducible sequence of choices.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Puts text, noise or zeros at some places of the file.
fn scatter(file: &File, size: u64, extents: u64, random: &mut Random) {
    for _ in 0..extents {
        let length = (1 + random.below(200_000)).min(size);
        let offset = random.below(size - length + 1);
        let bytes = match random.below(3) {
            0 => noise(random.0, length as usize),
            1 => vec![0; length as usize],
            _ => format!("extent at {offset}\n")
                .bytes()
                .cycle()
                .take(length as usize)
                .collect(),
        };
        file.write_all_at(&bytes, offset).unwrap();
    }
}

fn encode_file(raw: &Path, vmdk: &Path, compression: Compression, threads: usize) -> Encoded {
    let disk = RawDisk::open(raw).unwrap();
    let size = disk.size();
    let options = EncodeOptions {
        compression,
        threads,
        ..EncodeOptions::default()
    };
    let mut out = File::create(vmdk).unwrap();
    encode(&options, Arc::new(disk), size, &mut out).unwrap()
}

fn decode_to(vmdk: &Path, sink: Arc<dyn DiskSink>) {
    let mut from = File::open(vmdk).unwrap();
    decode(&CheckOptions::default(), &mut from, |_| Ok(sink)).unwrap();
}

fn qemu_img(arguments: &[&str], paths: &[&Path]) {
    let output = crate::stage::program("qemu-img")
        .args(arguments)
        .args(paths)
        .output()
        .unwrap_or_else(|e| panic!("qemu-img: {e}: apt-get install qemu-utils"));
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{errors}");
}

#[test]
fn qemu_img_finds_every_size_at_every_level_sound_and_equal() {
    let directory = tempfile::tempdir().unwrap();
    let (raw, vmdk) = (
        directory.path().join("a.raw"),
        directory.path().join("a.vmdk"),
    );
    let mut random = Random(1);
    for size in [
        512,
        1024,
        65_024,
        65_536,
        66_048,
        1 << 20,
        (1 << 20) + 512,
        (32 << 20) - 512,
        32 << 20,
        (32 << 20) + 512,
        (1 << 30) + 7 * 512,
        9 << 30,
    ] {
        for compression in LEVELS {
            let file = File::create(&raw).unwrap();
            file.set_len(size).unwrap();
            scatter(&file, size, 5, &mut random);
            // The first and the last sector are where an encoder is most easily wrong.
            file.write_all_at(b"first", 0).unwrap();
            file.write_all_at(b"last", size - 4).unwrap();
            encode_file(&raw, &vmdk, compression, 2);
            qemu_img(&["check", "-f", "vmdk"], &[&vmdk]);
            qemu_img(&["compare", "-f", "raw", "-F", "vmdk"], &[&raw, &vmdk]);
        }
    }
}

#[test]
fn random_disks_come_back_from_their_streams_whatever_they_are_written_over() {
    let seed = std::env::var("SEED").map_or(20_261_123, |seed| seed.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (raw, vmdk, fresh, over) = (
        path("a.raw"),
        path("a.vmdk"),
        path("new.raw"),
        path("old.raw"),
    );
    for case in 0..24 {
        println!("SEED={} (case {case} of seed {seed})", seed + case);
        let mut random = Random(seed + case);
        let size = 512 * (1 + random.below(12_000));
        let file = File::create(&raw).unwrap();
        file.set_len(size).unwrap();
        let extents = random.below(12);
        scatter(&file, size, extents, &mut random);
        let level = LEVELS[random.below(3) as usize];
        encode_file(&raw, &vmdk, level, 1 + random.below(4) as usize);
        let expected = fs::read(&raw).unwrap();

        fs::write(&fresh, noise(case, 1 + random.below(100_000) as usize)).unwrap();
        decode_to(&vmdk, Arc::new(RawDisk::create(&fresh, size).unwrap()));
        assert!(fs::read(&fresh).unwrap() == expected, "a file made anew");

        fs::write(&over, vec![0xff; size as usize]).unwrap();
        let file = File::options().read(true).write(true).open(&over).unwrap();
        decode_to(&vmdk, Arc::new(RawDisk::over(file).unwrap()));
        assert!(fs::read(&over).unwrap() == expected, "a file written over");
    }
}

#[test]
fn holes_stay_holes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (raw, vmdk, back) = (path("a.raw"), path("a.vmdk"), path("b.raw"));
    let file = File::create(&raw).unwrap();
    file.set_len(4 << 30).unwrap();
    file.write_all_at(&noise(1, 100_000), 3 << 30).unwrap();
    encode_file(&raw, &vmdk, Compression::Fast, 2);
    decode_to(&vmdk, Arc::new(RawDisk::create(&back, 4 << 30).unwrap()));
    let metadata = fs::metadata(&back).unwrap();
    assert_eq!(metadata.len(), 4 << 30);
    assert!(
        metadata.blocks() * 512 < 1 << 20,
        "{} blocks",
        metadata.blocks()
    );
}

/// Notes which bytes of a disk it got, as bytes or as zeros.
#[derive(Default)]
struct Ledger {
    ranges: Mutex<Vec<Range<u64>>>,
    finished: Mutex<u32>,
}

impl DiskSink for Ledger {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.zeros(offset..offset + bytes.len() as u64)
    }

    fn zeros(&self, range: Range<u64>) -> io::Result<()> {
        self.ranges.lock().unwrap().push(range);
        Ok(())
    }

    fn finish(&self) -> io::Result<()> {
        *self.finished.lock().unwrap() += 1;
        Ok(())
    }
}

/// A disk of 62 TiB with a few bytes at some places.
struct Vast(Vec<u64>);

impl DiskSource for Vast {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.fill(0);
        for &place in &self.0 {
            if (offset..offset + bytes.len() as u64).contains(&place) {
                bytes[(place - offset) as usize] = 7;
            }
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let next = self.0.iter().find(|&&place| place >= offset);
        Ok(next.map(|&place| place..place + 1))
    }
}

#[test]
fn every_byte_of_62_tib_is_told_to_the_sink_once() {
    let size = 62 << 40;
    let places: Vec<u64> = (0..600).map(|n| n * (size / 600) + n * 777).collect();
    let sink = Arc::new(Ledger::default());
    let mut encode = Encode::new(&EncodeOptions::default(), Arc::new(Vast(places)), size).unwrap();
    let mut check = Check::decode(
        &CheckOptions::default(),
        Arc::clone(&sink) as Arc<dyn DiskSink>,
    )
    .unwrap();
    while let Some(slab) = encode.next_slab().unwrap() {
        check.feed(slab).unwrap();
    }
    let facts = check.finish().unwrap();
    assert_eq!((facts.capacity, facts.grains), (size, 600));
    let mut ranges = std::mem::take(&mut *sink.ranges.lock().unwrap());
    ranges.sort_by_key(|range| range.start);
    let mut reached = 0;
    for range in &ranges {
        assert_eq!(range.start, reached);
        reached = range.end;
    }
    assert_eq!(reached, size);
    assert!(ranges.len() < 1300, "{} calls", ranges.len());
    assert_eq!(*sink.finished.lock().unwrap(), 1);
}

fn flaw_of(error: io::Error) -> FlawKind {
    let inner = error.into_inner().expect("an inner error");
    inner.downcast::<Flaw>().expect("a flaw").kind
}

#[test]
fn a_stream_that_is_cut_off_is_not_finished() {
    let directory = tempfile::tempdir().unwrap();
    let (raw, vmdk) = (
        directory.path().join("a.raw"),
        directory.path().join("a.vmdk"),
    );
    fs::write(&raw, noise(1, 3 << 20)).unwrap();
    encode_file(&raw, &vmdk, Compression::Fast, 2);
    let stream = fs::read(&vmdk).unwrap();
    let sink = Arc::new(Ledger::default());
    let shared = Arc::clone(&sink) as Arc<dyn DiskSink>;
    let cut = &stream[..stream.len() - 512];
    let error = decode(&CheckOptions::default(), &mut &cut[..], |_| Ok(shared)).unwrap_err();
    assert_eq!(flaw_of(error), FlawKind::MissingEos);
    assert_eq!(*sink.finished.lock().unwrap(), 0);
}

#[test]
fn nothing_is_opened_for_what_is_no_stream() {
    for bytes in [&b""[..], b"KDMV", &[0; 4096], b"<html>"] {
        let mut from = bytes;
        let outcome = decode(&CheckOptions::default(), &mut from, |_| panic!("opened"));
        assert!(outcome.is_err());
    }
}

#[test]
fn a_sink_that_refuses_zeros_ends_the_decoding() {
    struct Full;
    impl DiskSink for Full {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn zeros(&self, _: Range<u64>) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (raw, vmdk) = (
        directory.path().join("a.raw"),
        directory.path().join("a.vmdk"),
    );
    File::create(&raw).unwrap().set_len(1 << 20).unwrap();
    encode_file(&raw, &vmdk, Compression::Fast, 2);
    let mut from = File::open(&vmdk).unwrap();
    let error = decode(&CheckOptions::default(), &mut from, |_| Ok(Arc::new(Full))).unwrap_err();
    assert_eq!(flaw_of(error), FlawKind::NotWritten);
}
