//! The library as a C program finds it installed, and programs built against it.

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
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
        let made = run(program("make").args(["-s", "stage"]).current_dir(root()));
        assert!(made.status.success(), "make stage: {}", text(&made));
        scratch().with_file_name("stage")
    })
}

/// What would change how a program reports, whom it trusts, or where it connects.
const SURROUNDINGS: [&str; 12] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "LD_PRELOAD",
    "LANGUAGE",
    "PYTHONPATH",
    "PYTHONHOME",
];

/// A program to be run in usual surroundings, whatever those of the tests are: no signal ignored or blocked, as nohup, cron
/// and many CI systems do and as children inherit it; English, and the usual permissions of new files.
#[expect(
    unsafe_code,
    reason = "there is no other way to act between fork and exec"
)]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for variable in SURROUNDINGS {
        command.env_remove(variable);
    }
    command.env("LC_ALL", "C");
    let usual = || {
        for number in Signal::iterator() {
            // SAFETY: no handler is set. KILL and STOP cannot be changed, nor need they.
            let _ = unsafe { signal(number, SigHandler::SigDfl) };
        }
        SigSet::empty().thread_set_mask()?;
        umask(Mode::from_bits_truncate(0o022));
        Ok(())
    };
    // SAFETY: system calls only, which are safe between fork and exec.
    unsafe { command.pre_exec(usual) };
    command
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
        program("pkg-config")
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
        self::program(compiler)
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
    let mut valgrind = program("valgrind");
    valgrind
        .args(["--quiet", "--error-exitcode=99", "--leak-check=full"])
        .args([
            "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect",
        ]);
    valgrind
}
