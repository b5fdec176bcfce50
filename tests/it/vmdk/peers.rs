//! Streams by writers that have nothing to do with this library, of disks that this library has not seen.

use std::path::Path;

use vmdk_backup::vmdk::{CheckOptions, Facts, FlawKind};

use super::disk::Disk;
use super::{check, check_with};

/// Runs a program of another package; its absence is a failure that names the package.
fn run(package: &str, program: &str, arguments: &[&str]) {
    let output = crate::stage::program(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}: apt-get install {package}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?} (of {package}): {errors}"
    );
}

pub fn qemu_img(raw: &Path, vmdk: &Path) {
    let format = [
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=streamOptimized",
    ];
    let paths = [raw.to_str().unwrap(), vmdk.to_str().unwrap()];
    run(
        "qemu-utils",
        "qemu-img",
        &[&format[..], &paths[..]].concat(),
    );
}

pub fn vmdkstream(raw: &Path, vmdk: &Path) {
    let script = "import sys; from VMDKstream import convert_to_stream; convert_to_stream(sys.argv[1], sys.argv[2])";
    let paths = [raw.to_str().unwrap(), vmdk.to_str().unwrap()];
    run(
        "python3-vmdkstream",
        "/usr/bin/python3",
        &["-c", script, paths[0], paths[1]],
    );
}

/// Bytes that look random and are the same on every run.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| next().to_le_bytes())
        .flatten()
        .take(length)
        .collect()
}

/// Text, noise and holes, over several grain tables.
pub fn mixed(length: usize) -> Vec<u8> {
    let mut raw = vec![0; length];
    for (at, piece) in raw.chunks_mut(50_000).enumerate() {
        match at % 7 {
            0 => piece.copy_from_slice(&noise(at as u64, piece.len())),
            1 | 2 => piece
                .iter_mut()
                .zip(format!("line {at}\n").bytes().cycle())
                .for_each(|(b, c)| *b = c),
            _ => {}
        }
        if at % 100 > 60 {
            piece.fill(0);
        }
    }
    raw
}

/// Has a raw image encoded by `writer`, and checks what it wrote.
pub fn encoded(raw: &[u8], writer: fn(&Path, &Path)) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (image, vmdk) = (
        directory.path().join("disk.raw"),
        directory.path().join("disk.vmdk"),
    );
    std::fs::write(&image, raw).unwrap();
    writer(&image, &vmdk);
    std::fs::read(&vmdk).unwrap()
}

#[track_caller]
fn assert_holds(facts: &Facts, raw: &[u8]) {
    let disk = Disk::from_raw(raw);
    assert_eq!(facts.content_digest, Some(disk.content_digest()));
    assert_eq!(facts.grains, disk.units.len() as u64);
    assert_eq!(facts.capacity, raw.len().next_multiple_of(512) as u64);
}

#[test]
fn what_qemu_img_writes_holds_the_disk() {
    let options = CheckOptions {
        accept_missing_eos: true,
        ..CheckOptions::default()
    };
    for length in [512, 65536, 70_000 * 512, 5_268_480, 100 << 20] {
        let raw = mixed(length);
        let facts = check_with(&options, &encoded(&raw, qemu_img), 1 << 20).unwrap();
        assert_holds(&facts, &raw);
    }
}

#[test]
fn what_vmdkstream_writes_holds_the_disk() {
    for length in [512, 65536, 70_000 * 512, 5_268_480] {
        let raw = mixed(length);
        let facts = check(&encoded(&raw, vmdkstream)).unwrap();
        assert_holds(&facts, &raw);
    }
}

#[test]
fn two_writers_of_one_disk_agree_on_its_content_digest() {
    let raw = mixed(40 << 20);
    let options = CheckOptions {
        accept_missing_eos: true,
        ..CheckOptions::default()
    };
    let qemu = check_with(&options, &encoded(&raw, qemu_img), 1 << 20).unwrap();
    let other = check(&encoded(&raw, vmdkstream)).unwrap();
    assert_eq!(qemu.content_digest, other.content_digest);
    assert_ne!(qemu.sha256, other.sha256);
}

#[test]
fn a_qemu_img_stream_without_an_end_is_found_out() {
    // Incompressible to its end, so that no zeros happen to stand where the marker belongs (qemu issue 1357).
    let flaw = check(&encoded(&noise(1, 2 << 20), qemu_img)).unwrap_err();
    assert_eq!(flaw.kind, FlawKind::MissingEos);
}
