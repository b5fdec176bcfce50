//! The library as a C program finds it installed, and programs built against it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What every C source of the project has to be clean under.
pub const C99: [&str; 6] = [
    "-std=c99",
    "-D_POSIX_C_SOURCE=200809L",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
];

/// What a C program that has nothing but the static archive links besides.
pub const STATIC_LIBRARIES: [&str; 5] = ["-lutil", "-lrt", "-lpthread", "-lm", "-ldl"];

/// The project's directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where tests put what they build.
pub fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The installed library, built and installed by the first test that asks.
pub fn stage() -> &'static Path {
    static STAGE: OnceLock<PathBuf> = OnceLock::new();
    STAGE.get_or_init(|| {
        let made = run(Command::new("make")
            .args(["-s", "stage"])
            .current_dir(root()));
        assert!(made.status.success(), "make stage: {}", text(&made));
        scratch().with_file_name("stage")
    })
}

/// Runs a program and waits for its end.
pub fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()))
}

/// All that a program said.
pub fn text(output: &Output) -> String {
    let mut text = format!("{}\n", output.status);
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// Checks that a program ended well.
#[track_caller]
pub fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{:?}: {}",
        command.get_program(),
        text(&output)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What pkg-config says of the installed library.
pub fn pkg_config(wanted: &[&str]) -> Vec<String> {
    succeeds(
        Command::new("pkg-config")
            .env("PKG_CONFIG_PATH", stage().join("lib/pkgconfig"))
            .args(wanted)
            .arg("vmdk_backup"),
    )
    .split_whitespace()
    .map(str::to_owned)
    .collect()
}

/// Compiles one source against the installed library, once for all tests that ask.
#[track_caller]
pub fn compile(compiler: &str, flags: &[&str], source: &str, libraries: &[&str]) -> PathBuf {
    let source = root().join(source);
    let program = scratch().join(format!(
        "{}-{compiler}",
        source.file_stem().unwrap().display()
    ));
    // Another test may be about to run it.
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.contains(&program) {
        return program;
    }
    succeeds(
        Command::new(compiler)
            .args(flags)
            .arg("-g")
            .arg(&source)
            .args(pkg_config(&["--cflags", "--libs"]))
            .arg(format!("-Wl,-rpath,{}", stage().join("lib").display()))
            .args(libraries)
            .arg("-o")
            .arg(&program),
    );
    built.insert(program.clone());
    program
}

/// Valgrind, before the program it is to run: an error or a leak ends it with 99.
pub fn valgrind() -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full"])
        .args([
            "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect",
        ]);
    valgrind
}
