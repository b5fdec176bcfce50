//! Disks in files: converted from one format to the other, and looked at.

use crate::fixture::{MIB, same, sha256, write_disk};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{ConvertOptions, InspectOptions, SourceFormat, Summary, convert, inspect};
use vmdk_backup::service::Format;
use vmdk_backup::vmdk::Compression;

struct Place {
    dir: TempDir,
    raw: PathBuf,
    stream: PathBuf,
}

impl Place {
    fn new(capacity: u64) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("disk.raw");
        write_disk(&raw, capacity, 5);
        Place {
            raw,
            stream: dir.path().join("disk.vmdk"),
            dir,
        }
    }

    fn names(&self) -> Vec<String> {
        let entries = self.dir.path().read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn options(source: &Path, target: &Path, format: Format) -> ConvertOptions<'static> {
    ConvertOptions {
        source: source.to_owned(),
        source_format: SourceFormat::Probe,
        target: target.to_owned(),
        format,
        compression: Compression::Fast,
        deadline: None,
        progress: None,
        cancel: None,
    }
}

pub fn run(source: &Path, target: &Path, format: Format) -> Result<Summary, Error> {
    convert(options(source, target, format))
}

fn look(path: &Path) -> serde_json::Value {
    let found = inspect(InspectOptions {
        path: path.to_owned(),
        source_format: SourceFormat::Probe,
        progress: None,
        cancel: None,
    });
    serde_json::to_value(found.unwrap()).unwrap()
}

#[test]
fn a_disk_becomes_a_stream_and_the_same_disk_again() {
    for capacity in [512, 65_536, 10 * MIB + 512, 40 * MIB] {
        let place = Place::new(capacity);
        let there = run(&place.raw, &place.stream, Format::Stream).unwrap();
        assert_eq!(there.capacity, capacity);
        assert_eq!(there.stream_length, place.stream.metadata().unwrap().len());
        assert!(same(&place.raw, "raw", &place.stream, "vmdk"), "{capacity}");
        let back = place.dir.path().join("back.raw");
        let again = run(&place.stream, &back, Format::Raw).unwrap();
        assert_eq!(again.populated, there.populated);
        assert_eq!(sha256(&back), sha256(&place.raw));
    }
}

#[test]
fn a_stream_of_qemu_img_becomes_a_disk() {
    let place = Place::new(40 * MIB);
    let made = crate::stage::program("qemu-img")
        .args(["convert", "-O", "vmdk", "-o", "subformat=streamOptimized"])
        .args([&place.raw, &place.stream])
        .status();
    assert!(made.unwrap().success());
    let back = place.dir.path().join("back.raw");
    run(&place.stream, &back, Format::Raw).unwrap();
    assert_eq!(sha256(&back), sha256(&place.raw));
}

#[test]
fn a_target_that_exists_is_left_alone() {
    let place = Place::new(MIB);
    std::fs::write(&place.stream, "precious").unwrap();
    let error = run(&place.raw, &place.stream, Format::Stream).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    assert_eq!(std::fs::read(&place.stream).unwrap(), b"precious");
}

#[test]
fn what_fails_leaves_no_target() {
    let place = Place::new(40 * MIB);
    run(&place.raw, &place.stream, Format::Stream).unwrap();
    let whole = std::fs::read(&place.stream).unwrap();
    let back = place.dir.path().join("back.raw");
    let before = place.names();
    for damaged in [
        &whole[..whole.len() - 512],
        &whole[..whole.len() / 2],
        &whole[..100],
    ] {
        std::fs::write(&place.stream, damaged).unwrap();
        let error = run(&place.stream, &back, Format::Raw).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert_eq!(place.names(), before);
    }
    std::fs::write(&place.stream, &whole).unwrap();
    let stop = ConvertOptions {
        progress: Some(Box::new(|_| ControlFlow::Break(()))),
        ..options(&place.stream, &back, Format::Raw)
    };
    assert_eq!(convert(stop).unwrap_err().kind(), Kind::Cancelled);
    let missing = run(Path::new("/nowhere/at/all"), &back, Format::Raw).unwrap_err();
    assert_eq!(missing.kind(), Kind::Io, "{missing}");
    let nowhere = run(&place.stream, Path::new("/nowhere/at/all"), Format::Raw).unwrap_err();
    assert_eq!(nowhere.kind(), Kind::Io, "{nowhere}");
    assert_eq!(place.names(), before);
}

#[test]
fn a_full_file_system_is_no_space() {
    let place = Place::new(40 * MIB);
    let device = place.dir.path().join("small");
    std::fs::create_dir(&device).unwrap();
    let mounted = crate::stage::program("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "none"])
        .arg(&device)
        .status();
    if !mounted.unwrap().success() {
        // Only root may mount; the rest is shown by the tests of temporary files.
        assert_ne!(nix_user(), 0, "root could not mount a tmpfs");
        return;
    }
    let target = device.join("disk.raw");
    run(&place.raw, &place.stream, Format::Stream).unwrap();
    let error = run(&place.stream, &target, Format::Raw).unwrap_err();
    let stream = run(&place.raw, &device.join("disk.vmdk"), Format::Stream).unwrap_err();
    assert!(
        crate::stage::program("umount")
            .arg(&device)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    assert_eq!(stream.kind(), Kind::NoSpace, "{stream}");
}

fn nix_user() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn a_stream_is_told_as_it_is() {
    let place = Place::new(40 * MIB);
    let made = run(&place.raw, &place.stream, Format::Stream).unwrap();
    let told = look(&place.stream);
    assert_eq!(told["format"], "streamOptimized");
    assert_eq!(told["capacity"], 40 * MIB);
    assert_eq!(told["stream"]["populated"], made.populated);
    assert_eq!(told["stream"]["sha256"], sha256(&place.stream));
    assert_eq!(told["stream"]["flaw"], serde_json::Value::Null);
    assert_eq!(told["stream"]["normal"], true);
    let shares: Vec<u64> = serde_json::from_value(told["allocation"].clone()).unwrap();
    assert_eq!(shares.len(), 256);
    // 0 to 3 MiB of 40 are data, the next 4 MiB are none.
    assert!(shares[..19].iter().all(|share| *share == 100), "{shares:?}");
    assert!(shares[20..44].iter().all(|share| *share == 0), "{shares:?}");
    let raw = look(&place.raw);
    assert_eq!(raw["format"], "raw");
    assert_eq!(raw["allocation"][0], 100);
    assert!(raw.get("stream").is_none());
}

#[test]
fn a_flaw_is_told_and_where() {
    let place = Place::new(10 * MIB);
    run(&place.raw, &place.stream, Format::Stream).unwrap();
    let whole = std::fs::read(&place.stream).unwrap();
    std::fs::write(&place.stream, &whole[..whole.len() - 512]).unwrap();
    let told = look(&place.stream);
    assert_eq!(told["stream"]["flaw"]["kind"], "MissingEos", "{told}");
    assert!(told["stream"].get("sha256").is_none());
    std::fs::write(&place.stream, &whole[..100]).unwrap();
    let refused = inspect(InspectOptions {
        path: place.stream.clone(),
        source_format: SourceFormat::Probe,
        progress: None,
        cancel: None,
    });
    assert_eq!(refused.unwrap_err().kind(), Kind::Corrupt);
}
