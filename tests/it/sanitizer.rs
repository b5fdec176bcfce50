//! C programs with AddressSanitizer and its leak check in them and in the library.

use crate::stage::{C99, STATIC_LIBRARIES, pkg_config, root, scratch, succeeds};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The archive, built once for all tests that ask.
fn archive() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let built = scratch().with_file_name("asan");
        succeeds(
            crate::stage::program(env!("CARGO"))
                .args(["rustc", "--quiet", "--lib", "--crate-type", "staticlib"])
                .args(["--target", TARGET])
                // Compiling is most of the time, and optimising the sanitizer's code most of that.
                .args(["--config", "profile.dev.package.'*'.opt-level=0"])
                .env("CARGO_TARGET_DIR", &built)
                // The sanitizer is an unstable flag of a stable compiler.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTFLAGS", "-Zsanitizer=address")
                .current_dir(root()),
        );
        built.join(TARGET).join("debug/libvmdk_backup.a")
    })
}

/// The program of one C source, ready to be given arguments.
pub fn command(source: &str) -> Command {
    let source = root().join(source);
    let program = scratch().join(format!("{}-asan", source.file_stem().unwrap().display()));
    let object = program.with_extension("o");
    succeeds(
        crate::stage::program("gcc")
            .args(C99)
            .args(["-g", "-fsanitize=address", "-c"])
            .arg(&source)
            .args(pkg_config(&["--cflags"]))
            .arg("-o")
            .arg(&object),
    );
    let sysroot = succeeds(crate::stage::program("rustc").args(["--print", "sysroot"]));
    // The compiler's own: another version of the sanitizer would refuse to start.
    let runtime = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib/librustc-stable_rt.asan.a");
    succeeds(
        crate::stage::program("gcc")
            .arg("-rdynamic")
            .arg(&object)
            .arg(archive())
            .arg("-Wl,--whole-archive")
            .arg(runtime)
            .arg("-Wl,--no-whole-archive")
            .args(STATIC_LIBRARIES)
            .arg("-o")
            .arg(&program),
    );
    let inside = succeeds(crate::stage::program("nm").arg(&program));
    assert!(inside.contains("__asan_report_load"), "no sanitizer in it");
    let mut command = crate::stage::program(program);
    command.env("ASAN_OPTIONS", "detect_leaks=1");
    command
}
