//! Raw disks on block devices. They are loop devices, which only root can make: `make test-system` runs these.

use crate::convert::run;
use crate::fixture::{MIB, sha256, write_disk};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use vmdk_backup::error::Kind;
use vmdk_backup::service::Format;

const CAPACITY: u64 = 40 * MIB + 512;
/// What was on a device before.
const OLD: u8 = 0xa5;

/// A device whose bytes are a file's.
struct Loop(PathBuf);

impl Loop {
    fn over(file: &Path) -> Loop {
        let made = crate::stage::program("losetup")
            .args(["--find", "--show"])
            .arg(file)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        Loop(String::from_utf8(made.stdout).unwrap().trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = crate::stage::program("losetup")
            .arg("--detach")
            .arg(&self.0)
            .status();
    }
}

/// A file of so many old bytes.
fn used(path: &Path, length: u64) {
    std::fs::write(path, vec![OLD; length as usize]).unwrap();
}

fn read(path: &Path, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    let file = File::open(path).unwrap();
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

#[test]
#[ignore = "needs root, for loop devices"]
fn a_stream_replaces_whatever_was_on_a_device_up_to_the_disks_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (raw, stream, below) = (path("disk.raw"), path("disk.vmdk"), path("device"));
    write_disk(&raw, CAPACITY, 5);
    run(&raw, &stream, Format::Stream).unwrap();
    let length = CAPACITY + 8 * MIB - 512;
    used(&below, length);
    let device = Loop::over(&below);
    run(&stream, &device.0, Format::Raw).unwrap();
    assert!(read(&device.0, 0, CAPACITY) == read(&raw, 0, CAPACITY));
    let after = read(&device.0, CAPACITY, length - CAPACITY);
    assert!(after.iter().all(|byte| *byte == OLD), "beyond the disk");
}

#[test]
#[ignore = "needs root, for loop devices"]
fn a_device_becomes_the_stream_that_a_file_becomes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (raw, one, other) = (path("disk.raw"), path("one.vmdk"), path("other.vmdk"));
    write_disk(&raw, CAPACITY, 5);
    run(&raw, &one, Format::Stream).unwrap();
    let device = Loop::over(&raw);
    run(&device.0, &other, Format::Stream).unwrap();
    assert_eq!(sha256(&one), sha256(&other));
}

#[test]
#[ignore = "needs root, for loop devices"]
fn a_device_that_is_too_small_is_refused_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (raw, stream, below) = (path("disk.raw"), path("disk.vmdk"), path("device"));
    write_disk(&raw, CAPACITY, 5);
    run(&raw, &stream, Format::Stream).unwrap();
    used(&below, 8 * MIB);
    let device = Loop::over(&below);
    let error = run(&stream, &device.0, Format::Raw).unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    assert!(read(&device.0, 0, 8 * MIB).iter().all(|byte| *byte == OLD));
}
