//! The C face as C sees it: compiled, linked, installed, and run under tools that see every byte.

use crate::sanitizer;
use crate::stage::{
    C99, STATIC_LIBRARIES, compile, pkg_config, root, run, scratch, stage, succeeds, text, valgrind,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

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
        crate::stage::program("nm")
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
        crate::stage::program("nm")
            .args(["-g", "--defined-only"])
            .arg(archive),
    );
    assert_eq!(global, declared());
}

#[test]
fn the_shared_object_bears_its_abi_and_cannot_be_unloaded() {
    let object = stage().join("lib/libvmdk_backup.so");
    let dynamic = succeeds(crate::stage::program("readelf").arg("-dW").arg(&object));
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
    check_arguments(&mut crate::stage::program(compile(
        "gcc",
        &C99,
        ARGUMENTS,
        &[],
    )));
}

#[test]
fn the_static_archive_does_the_same() {
    let program = scratch().join("arguments-static");
    succeeds(
        crate::stage::program("gcc")
            .args(C99)
            .arg(root().join(ARGUMENTS))
            .args(pkg_config(&["--cflags"]))
            .arg(stage().join("lib/libvmdk_backup.a"))
            .args(STATIC_LIBRARIES)
            .arg("-o")
            .arg(&program),
    );
    check_arguments(&mut crate::stage::program(program));
}

/// Another library that is written in Rust, as an archive.
fn another_rust_archive() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let archive = scratch().join("libanother.a");
        succeeds(
            crate::stage::program("rustc")
                .args(["--edition=2024", "--crate-type=staticlib"])
                .arg(root().join("tests/c/another.rs"))
                .arg("-o")
                .arg(&archive),
        );
        archive
    })
}

/// Links a program with the installed archive and another Rust library's, in both orders, and runs it.
fn link_beside_another(compiler: &str, flags: &[&str]) {
    let own = stage().join("lib/libvmdk_backup.a");
    let other = another_rust_archive().to_owned();
    for (order, archives) in [[&own, &other], [&other, &own]].into_iter().enumerate() {
        let name: String = flags.concat().replace(['-', ',', '='], "");
        let program = scratch().join(format!("beside-{compiler}-{name}-{order}"));
        succeeds(
            crate::stage::program(compiler)
                .args(flags)
                .args(["-Wall", "-Wextra", "-Werror", "-xc"])
                .arg(root().join("tests/c/beside.c"))
                .args(pkg_config(&["--cflags"]))
                .arg("-xnone")
                .args(archives)
                .args(STATIC_LIBRARIES)
                .arg("-o")
                .arg(&program),
        );
        assert_eq!(succeeds(&mut crate::stage::program(&program)), "good\n");
        // Whole, it has more than a hundred megabytes.
        std::fs::remove_file(program).unwrap();
    }
}

#[test]
fn the_archive_links_before_and_after_another_rust_archive() {
    for flags in [&[][..], &["-static"], &["-Wl,--gc-sections"]] {
        link_beside_another("gcc", flags);
    }
    link_beside_another("g++", &["-xc++"]);
    for (compiler, flags) in [
        ("clang", &[][..]),
        ("clang", &["-static"]),
        ("clang", &["-fuse-ld=lld", "-Wl,--gc-sections"]),
    ] {
        let linker = flags.iter().find_map(|flag| flag.strip_prefix("-fuse-ld="));
        if exists(compiler) && linker.is_none_or(|linker| exists(&format!("ld.{linker}"))) {
            link_beside_another(compiler, flags);
        }
    }
}

/// Whether there is such a program here.
fn exists(program: &str) -> bool {
    crate::stage::program(program)
        .arg("--version")
        .output()
        .is_ok()
}

#[test]
fn pkg_config_links_a_wholly_static_program() {
    let program = scratch().join("arguments-wholly-static");
    succeeds(
        crate::stage::program("gcc")
            .arg("-static")
            .args(C99)
            // The C library says that getaddrinfo() loads shared objects all the same.
            .arg("-Wno-error")
            .arg(root().join(ARGUMENTS))
            .args(pkg_config(&["--static", "--cflags", "--libs"]))
            .arg("-o")
            .arg(&program),
    );
    let dynamic = succeeds(crate::stage::program("readelf").arg("-dW").arg(&program));
    assert!(dynamic.contains("no dynamic section"), "{dynamic}");
    check_arguments(&mut crate::stage::program(program));
    let libraries = pkg_config(&["--static", "--libs-only-l"]);
    assert_eq!(libraries[1..], STATIC_LIBRARIES);
}

/// With offsets as the structures have them where pointers have 32 bits; needs no library for them.
#[test]
fn the_header_is_c99_where_pointers_have_32_bits() {
    let source = root().join("tests/c/header.c");
    let include = root().join("include");
    for (compiler, target) in [
        ("gcc", &["-m32", "-Wpadded"][..]),
        (
            "clang",
            &["--target=armv7-linux-gnueabihf", "-ffreestanding"],
        ),
    ] {
        let supported = crate::stage::program(compiler)
            .args(target)
            .args(["-fsyntax-only", "-xc", "-include", "stdint.h", "/dev/null"])
            .output()
            .is_ok_and(|output| output.status.success());
        if supported {
            succeeds(
                crate::stage::program(compiler)
                    .args(target)
                    .args(C99)
                    .arg("-fsyntax-only")
                    .arg("-I")
                    .arg(&include)
                    .arg(&source),
            );
        }
    }
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
