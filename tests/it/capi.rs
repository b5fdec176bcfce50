//! The C face as C sees it: compiled, linked, installed, and run under tools that see every byte.

use crate::sanitizer;
use crate::stage::{
    C99, STATIC_LIBRARIES, compile, pkg_config, root, run, scratch, stage, succeeds, text, valgrind,
};
use std::collections::BTreeSet;
use std::process::Command;

const ARGUMENTS: &str = "tests/c/arguments.c";

#[test]
fn the_header_is_c99_without_holes() {
    let flags = [&C99[..], &["-Wpadded"]].concat();
    compile("gcc", &flags, "tests/c/header.c", &[]);
}

#[test]
fn the_header_is_cpp11() {
    let flags = [
        "-xc++",
        "-std=c++11",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
    ];
    compile("g++", &flags, "tests/c/header.c", &[]);
}

fn symbols(command: &mut Command) -> BTreeSet<String> {
    succeeds(command)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().rev();
            let name = words.next()?;
            // Weak ones could clash as well as strong ones.
            let kind = words.next()?;
            ("ABCDGRSTVW".contains(kind) && kind.len() == 1).then(|| name.to_owned())
        })
        .collect()
}

fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(root().join("include/vmdk_backup.h")).unwrap();
    header
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && line.contains('('))
        .filter_map(|line| {
            let name = line.split('(').next()?;
            let name = name.rsplit([' ', '*']).next()?;
            // The contract speaks of vmdk_..._free().
            (name.starts_with("vmdk_") && !name.contains('.')).then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn the_shared_object_exports_what_the_header_declares() {
    let object = stage().join("lib/libvmdk_backup.so");
    let exported = symbols(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(object),
    );
    assert!(exported.len() > 20, "{exported:?}");
    assert_eq!(exported, declared());
}

#[test]
fn the_archive_has_no_other_global_symbol() {
    let archive = stage().join("lib/libvmdk_backup.a");
    let global = symbols(
        Command::new("nm")
            .args(["-g", "--defined-only"])
            .arg(archive),
    );
    assert_eq!(global, declared());
}

#[test]
fn the_shared_object_bears_its_abi_and_cannot_be_unloaded() {
    let object = stage().join("lib/libvmdk_backup.so");
    let dynamic = succeeds(Command::new("readelf").arg("-dW").arg(&object));
    let (major, minor) = (
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
    );
    let abi = match major {
        "0" => format!("0.{minor}"),
        _ => major.to_owned(),
    };
    let soname = format!("[libvmdk_backup.so.{abi}]");
    assert!(dynamic.contains(&soname), "{soname}: {dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    let file = std::fs::canonicalize(object).unwrap();
    let name = format!("libvmdk_backup.so.{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(file.file_name().unwrap(), name.as_str());
}

#[test]
fn pkg_config_knows_the_version() {
    assert_eq!(pkg_config(&["--modversion"]), [env!("CARGO_PKG_VERSION")]);
}

fn check_arguments(program: &mut Command) {
    let directory = tempfile::tempdir().unwrap();
    let output = run(program.arg(directory.path()));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good\n");
}

#[test]
fn arguments_that_cannot_be_meant_are_refused_by_name() {
    check_arguments(&mut Command::new(compile("gcc", &C99, ARGUMENTS, &[])));
}

#[test]
fn the_static_archive_does_the_same() {
    let program = scratch().join("arguments-static");
    succeeds(
        Command::new("gcc")
            .args(C99)
            .arg(root().join(ARGUMENTS))
            .args(pkg_config(&["--cflags"]))
            .arg(stage().join("lib/libvmdk_backup.a"))
            .args(STATIC_LIBRARIES)
            .arg("-o")
            .arg(&program),
    );
    check_arguments(&mut Command::new(program));
}

#[test]
fn valgrind_sees_no_error_and_no_leak() {
    let program = compile("gcc", &C99, ARGUMENTS, &[]);
    check_arguments(valgrind().arg(program));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn address_sanitizer_sees_no_error_and_no_leak() {
    check_arguments(&mut sanitizer::command(ARGUMENTS));
}
