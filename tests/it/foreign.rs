//! Files of other formats are refused by name, and what a file is can be stated.

use crate::convert::options;
use crate::fixture::{MIB, Memory, Scene, sha256, write_disk};
use crate::jobs::{backup, restore};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{
    Common, ConvertOptions, InspectOptions, SourceFormat, VerifyOptions, convert, inspect,
    verify_backup,
};
use vmdk_backup::service::Format;
use vsphere_sim::Options;

/// A folder with a raw disk in it.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        write_disk(&place.at("disk.raw"), 3 * MIB, 5);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.at(name), bytes).unwrap();
        self.at(name)
    }

    /// The raw disk in another format of qemu-img's.
    fn image(&self, format: &str, options: &str) -> PathBuf {
        let path = self.at(&format!("disk.{format}.{options}"));
        let mut command = crate::stage::program("qemu-img");
        command.args(["convert", "-f", "raw", "-O", format]);
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        let made = command.arg(self.at("disk.raw")).arg(&path).status();
        assert!(made.unwrap().success(), "{format} {options}");
        path
    }

    /// What becomes of a file as `stated`; nothing else than the target may appear.
    fn convert(&self, from: &Path, stated: SourceFormat, to: Format) -> Result<PathBuf, Error> {
        let target = self.at("target");
        let _ = fs::remove_file(&target);
        let before = fs::read_dir(self.0.path()).unwrap().count();
        let done = convert(ConvertOptions {
            source_format: stated,
            ..options(from, &target, to)
        });
        let after = fs::read_dir(self.0.path()).unwrap().count();
        assert_eq!(after, before + usize::from(done.is_ok()));
        done.map(|_| target)
    }

    /// The error that every call has for a file that is probed.
    #[track_caller]
    fn refused(&self, path: &Path) -> Error {
        let error = look(path, SourceFormat::Probe).unwrap_err();
        for to in [Format::Raw, Format::Stream] {
            let other = self.convert(path, SourceFormat::Probe, to).unwrap_err();
            assert_eq!(other.kind(), error.kind(), "{other}, {error}");
        }
        error
    }
}

fn look(path: &Path, source_format: SourceFormat) -> Result<serde_json::Value, Error> {
    let found = inspect(InspectOptions {
        path: path.to_owned(),
        source_format,
        progress: None,
        cancel: None,
    })?;
    Ok(serde_json::to_value(found).unwrap())
}

#[track_caller]
fn assert_unsupported(error: &Error, name: &str) {
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(error.message().contains(name), "{name}: {error}");
}

#[test]
fn other_images_are_unsupported_by_name() {
    let place = Place::new();
    for (format, options, name) in [
        ("qcow2", "", "qcow2"),
        ("qcow2", "compat=0.10", "qcow2"),
        ("qcow", "", "qcow"),
        ("qed", "", "QED"),
        ("vdi", "", "VDI"),
        ("vhdx", "", "VHDX"),
        ("vpc", "", "VHD"),
        ("vpc", "subformat=fixed", "VHD"),
        ("parallels", "", "Parallels"),
        ("vmdk", "subformat=monolithicSparse", "monolithicSparse"),
        ("vmdk", "subformat=monolithicFlat", "monolithicFlat"),
        ("vmdk", "subformat=twoGbMaxExtentFlat", "twoGbMaxExtentFlat"),
        (
            "vmdk",
            "subformat=twoGbMaxExtentSparse",
            "twoGbMaxExtentSparse",
        ),
    ] {
        let image = place.image(format, options);
        assert_unsupported(&place.refused(&image), name);
    }
    let extents: Vec<_> = fs::read_dir(place.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_str().unwrap();
            name.contains("-s001") && name.ends_with("Sparse")
        })
        .collect();
    assert_eq!(extents.len(), 1, "{:?}", fs::read_dir(place.0.path()));
    assert_unsupported(&place.refused(&extents[0]), "twoGbMaxExtentSparse");
}

#[test]
fn compressed_files_and_archives_are_unsupported_by_name() {
    let place = Place::new();
    let raw = place.at("disk.raw");
    for (program, arguments, name) in [
        ("gzip", &["-kc"][..], "gzip"),
        ("xz", &["-kc", "-0"], "xz"),
        ("bzip2", &["-kc"], "bzip2"),
        ("tar", &["-c"], "tar"),
        ("tar", &["-c", "--format=posix"], "tar"),
    ] {
        let output = crate::stage::program(program)
            .args(arguments)
            .arg(&raw)
            .output();
        let file = place.file(name, &output.unwrap().stdout);
        assert_unsupported(&place.refused(&file), name);
    }
}

#[test]
fn a_stream_of_a_later_version_is_unsupported() {
    let place = Place::new();
    let stream = place.convert(&place.at("disk.raw"), SourceFormat::Probe, Format::Stream);
    let mut bytes = fs::read(stream.unwrap()).unwrap();
    bytes[4] = 4;
    let file = place.file("later.vmdk", &bytes);
    assert_unsupported(&place.refused(&file), "version 4");
}

#[test]
fn a_raw_disk_with_the_contents_of_a_disk_is_probed_as_one() {
    let place = Place::new();
    let path = place.at("boot.raw");
    write_disk(&path, 2 * MIB, 9);
    let file = File::options().write(true).open(&path).unwrap();
    for (at, magic) in [
        (510, &b"\x55\xaa"[..]),
        (512, b"EFI PART"),
        (32_769, b"CD001"),
    ] {
        file.write_all_at(magic, at).unwrap();
    }
    let stream = place.convert(&path, SourceFormat::Probe, Format::Stream);
    fs::rename(stream.unwrap(), place.at("boot.vmdk")).unwrap();
    let back = place.convert(&place.at("boot.vmdk"), SourceFormat::Probe, Format::Raw);
    assert_eq!(sha256(&back.unwrap()), sha256(&path));
}

#[test]
fn a_raw_disk_that_looks_like_another_format_is_converted_where_it_is_stated() {
    let place = Place::new();
    for magic in [
        &b"KDMV"[..],
        b"KDMV\x03\0\0\0",
        b"kdmv",
        b"QFI\xfb\0\0\0\x03",
        b"\x1f\x8b\x08",
    ] {
        let path = place.at("guest.raw");
        write_disk(&path, 2 * MIB, 9);
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(magic, 0).unwrap();
        let error = place.refused(&path);
        assert!(
            error.message().contains("state the source format"),
            "{error}"
        );
        assert_eq!(look(&path, SourceFormat::Raw).unwrap()["format"], "raw");
        let stream = place.convert(&path, SourceFormat::Raw, Format::Stream);
        fs::rename(stream.unwrap(), place.at("guest.vmdk")).unwrap();
        let back = place.convert(&place.at("guest.vmdk"), SourceFormat::Stream, Format::Raw);
        assert_eq!(sha256(&back.unwrap()), sha256(&path));
    }
}

/// A volume to which somebody wrote a stream, as a file to a device.
#[test]
fn a_raw_disk_that_begins_with_a_stream_is_taken_whole_where_it_is_stated() {
    let place = Place::new();
    let stream = place.convert(&place.at("disk.raw"), SourceFormat::Probe, Format::Stream);
    let stream = fs::read(stream.unwrap()).unwrap();
    for rest in [&b""[..], b"contents of the volume"] {
        let path = place.file("volume.raw", &stream);
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(8 * MIB).unwrap();
        file.write_all_at(rest, 6 * MIB).unwrap();
        for to in [Format::Raw, Format::Stream] {
            let error = place.convert(&path, SourceFormat::Probe, to).unwrap_err();
            let remedy = "state the source format";
            assert!(error.message().contains(remedy), "{error}");
        }
        match look(&path, SourceFormat::Probe) {
            Ok(found) => assert_eq!(found["stream"]["flaw"]["kind"], "TrailingBytes"),
            Err(error) => assert_eq!(error.kind(), Kind::InvalidArgument, "{error}"),
        }
        assert_eq!(look(&path, SourceFormat::Raw).unwrap()["capacity"], 8 * MIB);
        let whole = place.convert(&path, SourceFormat::Raw, Format::Stream);
        fs::rename(whole.unwrap(), place.at("volume.vmdk")).unwrap();
        let back = place.convert(&place.at("volume.vmdk"), SourceFormat::Probe, Format::Raw);
        assert_eq!(sha256(&back.unwrap()), sha256(&path));
        // As the stream that it may be, where nothing but zeros follows.
        let decoded = place.convert(&path, SourceFormat::Stream, Format::Raw);
        match rest.is_empty() {
            true => assert_eq!(sha256(&decoded.unwrap()), sha256(&place.at("disk.raw"))),
            false => assert_eq!(decoded.unwrap_err().kind(), Kind::Corrupt),
        }
    }
}

#[test]
fn a_stated_stream_is_never_read_as_a_raw_disk() {
    let place = Place::new();
    let error = place.convert(&place.at("disk.raw"), SourceFormat::Stream, Format::Raw);
    assert_eq!(error.unwrap_err().kind(), Kind::Corrupt);
    let image = place.image("qcow2", "");
    let error = place.convert(&image, SourceFormat::Stream, Format::Raw);
    assert_unsupported(&error.unwrap_err(), "qcow2");
}

#[test]
fn what_is_no_file_is_an_invalid_argument() {
    let place = Place::new();
    let pipe = place.at("pipe");
    assert!(
        crate::stage::program("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let empty = place.file("empty", b"");
    for path in [&pipe, &empty, place.0.path(), Path::new("/dev/zero")] {
        for stated in [SourceFormat::Probe, SourceFormat::Stream, SourceFormat::Raw] {
            let error = look(path, stated).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
            for to in [Format::Raw, Format::Stream] {
                let error = place.convert(path, stated, to).unwrap_err();
                assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
            }
        }
    }
}

#[test]
fn a_source_is_not_its_own_target() {
    let place = Place::new();
    let raw = place.at("disk.raw");
    let before = sha256(&raw);
    std::os::unix::fs::symlink(&raw, place.at("link")).unwrap();
    for target in [raw.clone(), place.at("link")] {
        let error = convert(options(&raw, &target, Format::Stream)).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    }
    assert_eq!(sha256(&raw), before);
}

/// A service that gives `bytes` as backup b, with or without the metadata of another backup.
fn giving(scene: &Scene, bytes: &[u8], recorded: bool) -> Memory {
    let service = Memory::default();
    backup(scene, &service, "b", Common::default()).unwrap();
    service.spoil("b", |kept| {
        kept.stream = bytes.to_vec();
        if !recorded {
            kept.metadata = None;
        }
    });
    service
}

#[test]
fn a_service_that_gives_another_format_is_refused_by_name() {
    let place = Place::new();
    let scene = Scene::new(Options::default());
    let before = scene.state();
    let mut later = fs::read(place.image("vmdk", "subformat=streamOptimized")).unwrap();
    later[4] = 4;
    let images = [
        (fs::read(place.image("qcow2", "")).unwrap(), "qcow2", true),
        (
            fs::read(place.image("vmdk", "subformat=monolithicSparse")).unwrap(),
            "monolithicSparse",
            true,
        ),
        (
            fs::read(place.image("vmdk", "subformat=monolithicFlat")).unwrap(),
            "monolithicFlat",
            true,
        ),
        // Of what was recorded it is damage.
        (later, "version 4", false),
    ];
    for (image, name, always) in images {
        for recorded in [true, false] {
            let service = giving(&scene, &image, recorded);
            let verify = VerifyOptions {
                backup_id: "b".into(),
                ..VerifyOptions::default()
            };
            let restored = restore(&scene, &service, &scene.volume(), Common::default()).map(drop);
            for outcome in [restored, verify_backup(&service, verify).map(drop)] {
                let error = outcome.unwrap_err();
                match always || !recorded {
                    true => assert_unsupported(&error, name),
                    false => assert_eq!(error.kind(), Kind::Corrupt, "{error}"),
                }
            }
        }
    }
    assert_eq!(scene.state(), before);
}

#[test]
fn a_recorded_format_that_is_unknown_is_not_taken_for_a_stream() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    backup(&scene, &service, "b", Common::default()).unwrap();
    service.spoil("b", |kept| {
        let text = kept.metadata.take().unwrap();
        assert!(text.contains("\"streamOptimized\""));
        kept.metadata = Some(text.replace("\"streamOptimized\"", "\"seekable-zstd\""));
    });
    let verify = VerifyOptions {
        backup_id: "b".into(),
        ..VerifyOptions::default()
    };
    assert_unsupported(
        &verify_backup(&service, verify).unwrap_err(),
        "seekable-zstd",
    );
    let restored = restore(&scene, &service, &scene.volume(), Common::default()).unwrap_err();
    assert_unsupported(&restored, "seekable-zstd");
}

#[test]
fn a_trailer_is_found_however_long_the_file_is() {
    let place = Place::new();
    let path = place.at("disk.dmg");
    fs::copy(place.at("disk.raw"), &path).unwrap();
    let mut file = File::options().append(true).open(&path).unwrap();
    let mut trailer = vec![0; 512];
    trailer[..8].copy_from_slice(b"koly\0\0\0\x04");
    file.write_all(&trailer).unwrap();
    assert_unsupported(&place.refused(&path), "DMG");
    let mut whole = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut whole).unwrap();
    let short = place.file("short.dmg", &whole[whole.len() - 512..]);
    assert_unsupported(&place.refused(&short), "DMG");
}
