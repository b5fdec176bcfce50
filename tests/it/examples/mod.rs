//! The example programs, built as their README says against the installed library, at work.

mod info;
mod programs;
mod tools;

use crate::fixture::Scene;
use crate::stage::{root, run, scratch, stage, succeeds, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const USAGE: i32 = 2;
const CANCELLED: i32 = 15;
const TLS: i32 = 18;
const AUTH: i32 = 19;
const NOT_FOUND: i32 = 20;
const EXISTS: i32 = 21;

/// The shell commands of the README's section on building.
fn building() -> String {
    let readme = fs::read_to_string(root().join("examples/README.md")).unwrap();
    let (_, block) = readme.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// The directory of the examples, copied and built by the first test that asks.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let copy = scratch().join("examples");
        if copy.exists() {
            fs::remove_dir_all(&copy).unwrap();
        }
        succeeds(
            crate::stage::program("cp")
                .arg("-R")
                .arg(root().join("examples"))
                .arg(&copy),
        );
        let strict = "cc() { command cc -std=c99 -Wall -Wextra -Wpedantic -Werror \"$@\"; }\n";
        succeeds(
            crate::stage::program("sh")
                .args(["-e", "-c", &format!("{strict}{}", building())])
                .env("PKG_CONFIG_PATH", stage().join("lib/pkgconfig"))
                // The copy is not what the repository around it holds.
                .env("GOFLAGS", "-buildvcs=false")
                .current_dir(&copy),
        );
        copy
    })
}

/// A program that backs up and restores.
#[derive(Clone, Copy)]
enum Program {
    Tools,
    CustomService,
    Go,
    Python,
}

impl Program {
    /// The program with what it is to do as arguments, and the server in its environment.
    fn command(self, scene: &Scene, job: &str, id: &str, volume: &str) -> Command {
        let mut command = match self {
            Program::Tools => crate::stage::program(built().join(job)),
            Program::CustomService => crate::stage::program(built().join("custom_service")),
            Program::Go => crate::stage::program(built().join("vmdkbackup")),
            Program::Python => {
                let mut command = crate::stage::program("python3");
                // The bytecode would be a file more in the copy.
                command.arg("-B").arg(built().join("python/main.py"));
                command
            }
        };
        match self {
            Program::Tools => command
                .args(["--backup-id", id, "--volume", volume, "--directory"])
                .arg(store(scene)),
            Program::CustomService => {
                let database = store(scene).join("backups.db");
                command.arg(job).arg(database).args([id, volume])
            }
            Program::Go | Program::Python => command.arg(job).arg(store(scene)).args([id, volume]),
        };
        server(&mut command, scene, &scene.options.password);
        command
    }
}

/// Where the backups of a test are kept.
fn store(scene: &Scene) -> PathBuf {
    let store = scene.dir.path().join("backups");
    fs::create_dir_all(&store).unwrap();
    store
}

fn server(command: &mut Command, scene: &Scene, password: &str) {
    command
        .env("LD_LIBRARY_PATH", stage().join("lib"))
        .env("VSPHERE_SERVER", scene.sim.url())
        .env("VSPHERE_USER", &scene.options.username)
        .env("VSPHERE_PASSWORD", password)
        .env("VSPHERE_CA_FILE", scene.sim.ca_file())
        .stdin(Stdio::null());
}

/// Runs a program that must not tell the password; returns its exit code and all that it said.
#[track_caller]
fn outcome(scene: &Scene, command: &mut Command) -> (i32, String) {
    let output = run(command);
    let said = text(&output);
    assert_secret_kept(scene, &said);
    (exit_code(&output), said)
}

#[track_caller]
fn assert_secret_kept(scene: &Scene, said: &str) {
    let password = &scene.options.password;
    let escaped = password.replace('&', "&amp;").replace('<', "&lt;");
    for secret in [password.as_str(), &escaped, &password[..8]] {
        assert!(!said.contains(secret), "the password is in: {said}");
    }
}

#[track_caller]
fn exit_code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("ended by a signal: {}", text(output)))
}

#[track_caller]
fn works(scene: &Scene, command: &mut Command) -> String {
    let (code, said) = outcome(scene, command);
    assert_eq!(code, 0, "{said}");
    said
}

/// The value of a line `key=value`.
#[track_caller]
fn told(said: &str, key: &str) -> String {
    said.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {key} in: {said}"))
        .to_owned()
}
