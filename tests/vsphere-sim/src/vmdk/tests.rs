//! Streams against `qemu-img`, which must be installed, and malformed ones.

mod malformed;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::disk::{Disk, DiskType};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn empty(&self, name: &str, capacity: u64) -> Disk {
        Disk::create(&self.path(name), capacity, DiskType::Thin).unwrap()
    }

    /// A disk with compressible and random data here and there, in its first and its last sector, and holes between.
    fn disk(&self, capacity: u64) -> Disk {
        let disk = self.empty("disk", capacity);
        let mut seed = 1u64;
        for place in
            [0, 1, 30, 31, 32, 33, 50, 99].map(|part| capacity / 100 * part / SECTOR * SECTOR)
        {
            let length = (capacity - place).min(100_000) / SECTOR * SECTOR;
            let bytes: Vec<u8> = (0..length)
                .map(|at| if at < 66_000 { noise(&mut seed) } else { b'c' })
                .collect();
            disk.write_at(&bytes, place).unwrap();
        }
        disk.write_at(&[0xee; SECTOR as usize], capacity - SECTOR)
            .unwrap();
        disk
    }
}

fn noise(seed: &mut u64) -> u8 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 56) as u8
}

fn stream(disk: &Disk, options: &EncodeOptions) -> Vec<u8> {
    let mut stream = Vec::new();
    encode(disk, options, &mut |bytes| {
        stream.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    stream
}

fn take(disk: Disk, stream: &[u8], piece: usize) -> Result<(Disk, StreamFacts), String> {
    let mut decoder = Decoder::new(disk);
    stream
        .chunks(piece)
        .try_for_each(|bytes| decoder.feed(bytes))?;
    decoder.finish()
}

fn qemu_img(arguments: &[&str], paths: &[&Path]) -> String {
    let run = Command::new("qemu-img")
        .args(arguments)
        .args(paths)
        .output();
    let output = run.expect("these tests need qemu-img (Debian package qemu-utils)");
    assert!(
        output.status.success(),
        "qemu-img {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn assert_qemu_img_reads(capacity: u64, options: &EncodeOptions) {
    let bench = Bench::new();
    let disk = bench.disk(capacity);
    let (vmdk, raw) = (bench.path("d.vmdk"), bench.path("d.raw"));
    fs::write(&vmdk, stream(&disk, options)).unwrap();
    qemu_img(&["convert", "-O", "raw"], &[&vmdk, &raw]);
    let mut back = bench.empty("back", capacity);
    back.load_raw(&raw).unwrap();
    assert_eq!(
        back.content_sha256().unwrap(),
        disk.content_sha256().unwrap()
    );
    assert_eq!(fs::metadata(&raw).unwrap().len(), capacity);
}

fn front() -> EncodeOptions {
    EncodeOptions {
        layout: Layout::Front,
        ..EncodeOptions::default()
    }
}

#[test]
fn qemu_img_reads_an_export_of_one_sector() {
    assert_qemu_img_reads(SECTOR, &EncodeOptions::default());
    assert_qemu_img_reads(SECTOR, &front());
}

#[test]
fn qemu_img_reads_an_export_of_one_grain() {
    assert_qemu_img_reads(GRAIN, &EncodeOptions::default());
    assert_qemu_img_reads(GRAIN, &front());
}

#[test]
fn qemu_img_reads_an_export_whose_capacity_is_no_whole_number_of_grains() {
    assert_qemu_img_reads(209_714 * SECTOR, &EncodeOptions::default());
    assert_qemu_img_reads(209_714 * SECTOR, &front());
}

#[test]
fn qemu_img_reads_an_export_with_holes_and_progress_markers() {
    let options = EncodeOptions {
        progress_every: Some(MIB),
        level: 6,
        ..EncodeOptions::default()
    };
    assert_qemu_img_reads(40 * MIB, &options);
    assert_qemu_img_reads(40 * MIB, &front());
}

#[test]
fn qemu_img_reads_an_export_of_9_gib() {
    assert_qemu_img_reads(
        9 * GIB,
        &EncodeOptions {
            threads: 3,
            ..EncodeOptions::default()
        },
    );
    assert_qemu_img_reads(
        9 * GIB,
        &EncodeOptions {
            level: 0,
            ..front()
        },
    );
}

#[test]
fn qemu_img_calls_an_export_stream_optimized() {
    let bench = Bench::new();
    let vmdk = bench.path("d.vmdk");
    fs::write(&vmdk, stream(&bench.disk(MIB), &EncodeOptions::default())).unwrap();
    let info = qemu_img(&["info"], &[&vmdk]);
    assert!(info.contains("create type: streamOptimized"), "{info}");
}

#[test]
fn a_stream_of_qemu_img_is_taken() {
    for capacity in [SECTOR, GRAIN, 209_714 * SECTOR, 40 * MIB] {
        let bench = Bench::new();
        let disk = bench.disk(capacity);
        let (raw, vmdk) = (bench.path("d.raw"), bench.path("d.vmdk"));
        disk.save_raw(&raw).unwrap();
        qemu_img(
            &[
                "convert",
                "-f",
                "raw",
                "-O",
                "vmdk",
                "-o",
                "subformat=streamOptimized",
            ],
            &[&raw, &vmdk],
        );
        let mut stream = fs::read(&vmdk).unwrap();
        // qemu-img ends its file without an end-of-stream marker, or with a row of zero sectors.
        let data = stream.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        stream.resize(data.next_multiple_of(SECTOR as usize) + SECTOR as usize, 0);
        let (back, facts) = take(bench.empty("back", capacity), &stream, 1 << 16).unwrap();
        assert_eq!(
            back.content_sha256().unwrap(),
            disk.content_sha256().unwrap()
        );
        assert!(facts.in_order);
    }
}

#[test]
fn a_decoded_export_is_the_disk_again_however_it_is_cut() {
    let bench = Bench::new();
    let disk = bench.disk(3 * MIB + SECTOR);
    let options = EncodeOptions {
        progress_every: Some(GRAIN),
        ..EncodeOptions::default()
    };
    let stream = stream(&disk, &options);
    for (name, piece) in [("a", 1), ("b", 511), ("c", 4096), ("d", stream.len())] {
        let (back, facts) = take(bench.empty(name, disk.capacity()), &stream, piece).unwrap();
        assert_eq!(
            back.content_sha256().unwrap(),
            disk.content_sha256().unwrap()
        );
        assert_eq!(
            (facts.size, facts.capacity),
            (stream.len() as u64, disk.capacity())
        );
        assert!(facts.in_order);
    }
}

#[test]
fn the_front_layout_decodes_to_the_disk() {
    let bench = Bench::new();
    let disk = bench.disk(70 * MIB);
    let (back, _) = take(
        bench.empty("back", disk.capacity()),
        &stream(&disk, &front()),
        10_000,
    )
    .unwrap();
    assert_eq!(
        back.content_sha256().unwrap(),
        disk.content_sha256().unwrap()
    );
}

#[test]
fn the_facts_hash_the_stream_and_count_its_grains() {
    let bench = Bench::new();
    let disk = bench.empty("disk", 10 * GRAIN + SECTOR);
    disk.write_at(b"grain 2", 2 * GRAIN).unwrap();
    disk.write_at(b"the last sector", 10 * GRAIN).unwrap();
    let stream = stream(&disk, &EncodeOptions::default());
    let (_, facts) = take(bench.empty("back", disk.capacity()), &stream, 1000).unwrap();
    assert_eq!(facts.populated, GRAIN + SECTOR);
    let file = bench.path("stream");
    fs::write(&file, &stream).unwrap();
    for (program, hash) in [("sha1sum", facts.sha1), ("sha256sum", facts.sha256)] {
        let output = Command::new(program).arg(&file).output().unwrap();
        assert!(
            output.stdout.starts_with(hash.as_bytes()),
            "{program}: {hash}"
        );
    }
}

#[test]
fn a_huge_empty_disk_exports_without_being_read() {
    let bench = Bench::new();
    let disk = bench.empty("disk", 62 << 40);
    disk.write_at(b"far out", 61 << 40).unwrap();
    let stream = stream(&disk, &EncodeOptions::default());
    assert!(stream.len() < 10 << 20, "{} bytes", stream.len());
    let (back, facts) = take(bench.empty("back", disk.capacity()), &stream, 1 << 20).unwrap();
    assert_eq!(
        back.content_sha256().unwrap(),
        disk.content_sha256().unwrap()
    );
    assert_eq!(facts.populated, GRAIN);
}

#[test]
fn an_export_is_not_an_echo_of_the_upload() {
    let bench = Bench::new();
    let disk = bench.disk(MIB);
    let uploaded = stream(&disk, &EncodeOptions::default());
    let (back, _) = take(bench.empty("back", MIB), &uploaded, 4096).unwrap();
    assert_ne!(stream(&back, &EncodeOptions::default()), uploaded);
}

#[test]
fn a_sink_that_fails_ends_the_export() {
    let bench = Bench::new();
    let disk = bench.disk(40 * MIB);
    let mut calls = 0;
    let failed = encode(&disk, &EncodeOptions::default(), &mut |_| {
        calls += 1;
        if calls > 5 {
            Err(std::io::Error::other("gone"))
        } else {
            Ok(())
        }
    });
    assert_eq!(failed.unwrap_err().to_string(), "gone");
    assert_eq!(calls, 6);
}

/// Where the first grain's marker is.
const FIRST: usize = GRAIN as usize;

#[test]
fn grains_out_of_order_are_taken_and_told() {
    let bench = Bench::new();
    let disk = bench.empty("disk", 2 * GRAIN);
    disk.write_at(b"first", 0).unwrap();
    disk.write_at(b"second", GRAIN).unwrap();
    let mut stream = stream(
        &disk,
        &EncodeOptions {
            level: 9,
            ..EncodeOptions::default()
        },
    );
    // Each of the two grains fits one sector.
    let (first, second) = stream[FIRST..FIRST + 1024].split_at_mut(SECTOR as usize);
    first.swap_with_slice(second);
    let (back, facts) = take(bench.empty("back", 2 * GRAIN), &stream, 4096).unwrap();
    assert_eq!(
        back.content_sha256().unwrap(),
        disk.content_sha256().unwrap()
    );
    assert!(!facts.in_order);
}

#[test]
fn the_last_grain_is_filled_up_with_zeros() {
    let bench = Bench::new();
    let disk = bench.empty("disk", 16 * GRAIN + SECTOR);
    disk.write_at(&[1; 16 * GRAIN as usize + SECTOR as usize], 0)
        .unwrap();
    let options = EncodeOptions {
        level: 0,
        threads: 1,
        ..EncodeOptions::default()
    };
    let stream = stream(&disk, &options);
    let marker = (16 * GRAIN / SECTOR).to_le_bytes();
    let mut sectors = stream.chunks(SECTOR as usize);
    let at = sectors
        .position(|sector| sector[..8] == marker && sector[8..12] != [0; 4])
        .unwrap()
        * SECTOR as usize;
    let mut grain = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::ZlibDecoder::new(&stream[at + 12..]),
        &mut grain,
    )
    .unwrap();
    let (disk_part, filling) = grain.split_at(SECTOR as usize);
    assert_eq!(disk_part, [1; SECTOR as usize]);
    assert!(filling.len() as u64 == GRAIN - SECTOR && filling.iter().all(|byte| *byte == 0));
}

#[test]
fn a_second_upload_replaces_the_first() {
    let bench = Bench::new();
    let disk = bench.empty("disk", 2 * GRAIN);
    disk.write_at(b"second", GRAIN).unwrap();
    let stream = stream(&disk, &EncodeOptions::default());
    let used = bench.empty("used", 2 * GRAIN);
    used.write_at(b"first", 0).unwrap();
    let (back, _) = take(used, &stream, 4096).unwrap();
    assert_eq!(
        back.content_sha256().unwrap(),
        disk.content_sha256().unwrap()
    );
}
