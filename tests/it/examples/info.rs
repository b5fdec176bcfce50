//! The tool that shows and converts disks in files.

use super::{EXISTS, USAGE, built, exit_code};
use crate::fixture::{MIB, same, sha256, write_disk};
use crate::stage::{run, stage, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const FLAWED: i32 = 1;
const CORRUPT: i32 = 25;
const IO: i32 = 27;

/// A raw disk and a stream of it, which the tool made.
struct Place {
    dir: TempDir,
    raw: PathBuf,
    stream: PathBuf,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("disk.raw");
        let stream = dir.path().join("disk.vmdk");
        write_disk(&raw, 40 * MIB, 5);
        let place = Place { dir, raw, stream };
        place.converts("stream", &place.raw, &place.stream);
        place
    }

    #[track_caller]
    fn converts(&self, format: &str, source: &Path, target: &Path) -> String {
        let (code, said) = tell(tool().args(["--convert", format]).args([source, target]));
        assert_eq!(code, 0, "{said}");
        said
    }

    /// A file of its own.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn tool() -> Command {
    let mut command = crate::stage::program(built().join("vmdkinfo"));
    command.env("LD_LIBRARY_PATH", stage().join("lib"));
    command
}

/// What it said on stdout; nothing may be on stderr, which is no terminal, but why it failed.
#[track_caller]
fn tell(command: &mut Command) -> (i32, String) {
    let output = run(command);
    let code = exit_code(&output);
    let silent = output.stderr.is_empty();
    assert_eq!(silent, code <= FLAWED, "{}", text(&output));
    (code, String::from_utf8(output.stdout).unwrap())
}

/// The value of a line, whose label is 18 characters wide.
#[track_caller]
fn shown<'a>(said: &'a str, label: &str) -> &'a str {
    said.lines()
        .filter(|line| line.is_char_boundary(18.min(line.len())) && line.len() > 18)
        .map(|line| line.split_at(18))
        .find_map(|(name, value)| (name.trim() == label).then_some(value))
        .unwrap_or_else(|| panic!("no {label} in: {said}"))
}

/// The 256 characters of the picture.
fn picture(said: &str) -> String {
    let (_, from) = said.split_once("allocation").unwrap();
    let lines = from.lines().skip(1).take(4);
    lines.flat_map(|line| line.chars().skip(18)).collect()
}

#[test]
fn a_whole_stream_is_shown_with_its_digests_and_a_picture() {
    let place = Place::new();
    let (code, said) = tell(tool().arg(&place.stream));
    assert_eq!(code, 0, "{said}");
    assert_eq!(shown(&said, "format"), "streamOptimized");
    assert_eq!(shown(&said, "capacity"), "40 MiB (41943040 bytes)");
    assert_eq!(shown(&said, "SHA-256"), sha256(&place.stream));
    assert_eq!(shown(&said, "create type"), "streamOptimized");
    assert_eq!(shown(&said, "adapter type"), "lsilogic");
    assert_eq!(shown(&said, "fit for ESXi"), "yes");
    assert!(shown(&said, "flaws").starts_with("none"), "{said}");
    let drawn = picture(&said);
    assert_eq!(drawn.chars().count(), 256, "{said}");
    // 0 to 3 MiB of 40 are data, the next 4 MiB are none.
    assert!(drawn.chars().take(19).all(|c| c == '█'), "{said}");
    assert!(drawn.chars().skip(20).take(24).all(|c| c == '·'), "{said}");

    let (code, said) = tell(tool().arg("--ascii").arg(&place.stream));
    assert_eq!(code, 0, "{said}");
    assert!(said.is_ascii(), "{said}");
    let plain: String = picture(&said);
    let same = plain.chars().zip(drawn.chars()).all(|(plain, drawn)| {
        let at = "·░▒▓█".chars().position(|c| c == drawn);
        at.is_some() && at == ".-+*#".chars().position(|c| c == plain)
    });
    assert!(same && plain.len() == 256, "{said}");
}

#[test]
fn a_truncated_stream_is_shown_as_far_as_it_goes_and_ends_with_one() {
    let place = Place::new();
    let whole = fs::read(&place.stream).unwrap();
    let half = place.file("half.vmdk", &whole[..whole.len() / 2]);
    let (code, said) = tell(tool().arg(&half));
    assert_eq!(code, FLAWED, "{said}");
    assert_eq!(shown(&said, "kind"), "Truncated");
    assert_eq!(shown(&said, "FLAW at byte"), (whole.len() / 2).to_string());
    assert!(shown(&said, "what it is").contains("ends"), "{said}");
    assert!(
        !said.contains("SHA-256") && !said.contains("whole"),
        "{said}"
    );
    assert_eq!(tell(tool().arg("--json").arg(&half)).0, FLAWED);
}

#[test]
fn a_raw_disk_is_shown() {
    let place = Place::new();
    let (code, said) = tell(tool().arg(&place.raw));
    assert_eq!(code, 0, "{said}");
    assert_eq!(shown(&said, "format"), "raw");
    assert_eq!(shown(&said, "capacity"), "40 MiB (41943040 bytes)");
    assert!(picture(&said).starts_with("███"), "{said}");
    assert!(!said.contains("flaws"), "{said}");
}

#[test]
fn what_is_no_disk_has_its_exit_code() {
    let place = Place::new();
    let whole = fs::read(&place.stream).unwrap();
    // The magic of a VMDK, and then anything: without it every file is a raw disk.
    let garbage: Vec<u8> = whole[..4].iter().copied().chain(5..200).collect();
    for garbage in [
        &garbage[..],
        &whole[..100],
        &[&whole[..4], &[0xff; 9000]].concat(),
    ] {
        let path = place.file("garbage", garbage);
        let (code, said) = tell(tool().arg(&path));
        assert_eq!((code, said.as_str()), (CORRUPT, ""));
        let back = place.dir.path().join("back.raw");
        let (code, _) = tell(tool().args(["--convert", "raw"]).args([&path, &back]));
        assert_eq!(code, CORRUPT);
        assert!(!back.exists());
    }
    let (code, _) = tell(tool().arg(place.dir.path().join("none")));
    assert_eq!(code, IO);
}

#[test]
fn what_the_file_is_can_be_stated() {
    const UNSUPPORTED: i32 = 12;
    let place = Place::new();
    let bytes = [&b"QFI\xfb\0\0\0\x03"[..], &[7; 5000]].concat();
    let path = place.file("guest.raw", &bytes);
    assert_eq!(tell(tool().arg(&path)).0, UNSUPPORTED);
    let stated = ["--source", "raw"];
    let (code, said) = tell(tool().args(stated).arg(&path));
    assert_eq!((code, shown(&said, "format")), (0, "raw"));
    let to = place.dir.path().join("guest.vmdk");
    let convert = ["--convert", "stream"];
    let (code, said) = tell(tool().args(stated).args(convert).args([&path, &to]));
    assert_eq!(code, 0, "{said}");
    let (code, _) = tell(tool().args(["--source", "stream"]).arg(&place.raw));
    assert_eq!(code, CORRUPT);
}

#[test]
fn json_comes_as_the_library_made_it() {
    let place = Place::new();
    let (code, said) = tell(tool().arg("--json").arg(&place.stream));
    assert_eq!(code, 0, "{said}");
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["capacity"], 40 * MIB);
    assert_eq!(found["allocation"].as_array().unwrap().len(), 256);
    assert_eq!(found["stream"]["sha256"], sha256(&place.stream));
    assert_eq!(found["stream"]["flaw"], Value::Null);
}

#[test]
fn a_disk_becomes_a_stream_and_the_same_disk_again() {
    let place = Place::new();
    assert!(same(&place.raw, "raw", &place.stream, "vmdk"));
    let back = place.dir.path().join("back.raw");
    let said = place.converts("raw", &place.stream, &back);
    assert!(said.contains("capacity=41943040\n"), "{said}");
    assert!(same(&place.raw, "raw", &back, "raw"));
    let (code, _) = tell(
        tool()
            .args(["--convert", "raw"])
            .args([&place.stream, &back]),
    );
    assert_eq!(code, EXISTS);
}

/// Words that would move the cursor, ring the bell or swallow the line, were they printed.
#[test]
fn words_of_a_hostile_descriptor_are_shown_escaped() {
    let place = Place::new();
    let mut bytes = fs::read(&place.stream).unwrap();
    let word = b"\"lsilogic\"";
    let at = bytes.windows(word.len()).position(|w| w == word).unwrap();
    bytes[at + 1..at + 9].copy_from_slice(b"\x1b]0;\x07\x7f\xc2\x9b");
    let path = place.file("hostile.vmdk", &bytes);
    let (code, said) = tell(tool().arg("--ascii").arg(&path));
    assert_eq!(code, 0, "{said}");
    assert_eq!(shown(&said, "adapter type"), r"\u001b]0;\u0007\x7f\xc2\x9b");
    assert!(
        said.bytes()
            .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
        "{said}"
    );

    // The same in a word that makes it a flaw, and that the library tells in a sentence.
    let word = b"createType=\"streamOptimized\"";
    let at = bytes.windows(word.len()).position(|w| w == word).unwrap();
    bytes[at + 12..at + 20].copy_from_slice(b"\x1b]0;\x07\x7f\xc2\x9b");
    let path = place.file("hostile.vmdk", &bytes);
    let (code, said) = tell(tool().arg("--ascii").arg(&path));
    assert_eq!(code, FLAWED, "{said}");
    assert_eq!(shown(&said, "kind"), "BadDescriptor");
    assert!(
        said.bytes()
            .all(|b| b == b'\n' || (b' '..=b'~').contains(&b)),
        "{said}"
    );
}

#[test]
fn arguments_that_do_not_fit_are_refused_with_the_usage() {
    let place = Place::new();
    let stream = place.stream.to_str().unwrap();
    let wrong: [&[&str]; 7] = [
        &["--source", "qcow2", stream],
        &[],
        &[stream, stream],
        &["--convert", "raw", stream],
        &["--convert", "qcow2", stream, "x"],
        &["--json", "--convert", "raw", stream, "x"],
        &["--surplus", stream],
    ];
    for arguments in wrong {
        let output = run(tool().args(arguments));
        assert_eq!(exit_code(&output), USAGE, "{}", text(&output));
        assert!(text(&output).contains("usage: "), "{}", text(&output));
    }
    let output = run(tool().arg("--help"));
    assert_eq!(exit_code(&output), 0);
    assert!(text(&output).contains("--convert"));
}
