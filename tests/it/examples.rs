//! The example programs, built as their README says against the installed library, at work.

use crate::fixture::{MIB, Scene, VOLUME_ID};
use crate::stage::{root, run, scratch, stage, succeeds, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use vsphere_sim::{DataTrouble, Gate, Options, Trouble};

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
            Command::new("cp")
                .arg("-R")
                .arg(root().join("examples"))
                .arg(&copy),
        );
        let strict = "cc() { command cc -std=c99 -Wall -Wextra -Wpedantic -Werror \"$@\"; }\n";
        succeeds(
            Command::new("sh")
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
            Program::Tools => Command::new(built().join(job)),
            Program::CustomService => Command::new(built().join("custom_service")),
            Program::Go => Command::new(built().join("vmdkbackup")),
            Program::Python => {
                let mut command = Command::new("python3");
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

fn round_trip(program: Program) {
    let scene = Scene::new(Options::default());
    let backup = works(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-1"),
    );
    assert_eq!(told(&backup, "backing"), scene.vm);

    scene.damage();
    let onto = works(
        &scene,
        &mut program.command(&scene, "restore", "b1", "volume-1"),
    );
    assert_eq!(told(&onto, "backing"), scene.vm);
    scene.assert_restored(&scene.vm);

    let anew = works(
        &scene,
        &mut program.command(&scene, "restore", "b1", "volume-2"),
    );
    let made = told(&anew, "backing");
    assert_ne!(made, scene.vm);
    assert_eq!(scene.sim.vm(&made).unwrap().name, "volume-2");
    scene.assert_restored(&made);
    assert_eq!(scene.sim.sessions(), 0, "a session is left");
}

fn names_are_looked_up(program: Program) {
    let scene = Scene::new(Options::default());
    let (code, said) = outcome(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-9"),
    );
    assert_eq!(code, NOT_FOUND, "{said}");
    works(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-1"),
    );
    let before = scene.state();
    let (code, said) = outcome(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-1"),
    );
    assert_eq!(code, EXISTS, "{said}");
    let (code, said) = outcome(
        &scene,
        &mut program.command(&scene, "restore", "b2", "volume-1"),
    );
    assert_eq!(code, NOT_FOUND, "{said}");
    assert_eq!(scene.state(), before);
}

fn a_wrong_password_has_its_exit_code(program: Program) {
    let scene = Scene::new(Options::default());
    let wrong = "wr0ng-and-secret";
    let mut command = program.command(&scene, "backup", "b1", "volume-1");
    command.env("VSPHERE_PASSWORD", wrong);
    let (code, said) = outcome(&scene, &mut command);
    assert_eq!(code, AUTH, "{said}");
    assert!(!said.contains(wrong), "{said}");
}

fn what_broke_off_leaves_nothing(program: Program) {
    let scene = Scene::new(Options::default());
    let before = scene.state();
    let cut = Trouble::Data(MIB, DataTrouble::Flip);
    scene.sim.faults().on_export(1, cut);
    let (code, said) = outcome(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-1"),
    );
    assert!(code > 10, "{said}");
    assert_eq!(scene.state(), before);
    // The name is free, and a backup of it is whole.
    works(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-1"),
    );
    scene.damage();
    works(
        &scene,
        &mut program.command(&scene, "restore", "b1", "volume-1"),
    );
    scene.assert_restored(&scene.vm);
}

/// Runs until the export stands still, sends the signal of Ctrl-C, and waits for the end.
fn interrupt(program: Program) {
    let scene = Scene::new(Options::default());
    let gate = Gate::new();
    let stall = Trouble::Data(MIB, DataTrouble::Stall(gate.clone()));
    scene.sim.faults().on_export(1, stall);
    let before = scene.state();
    let child = program
        .command(&scene, "backup", "b1", "volume-1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if !gate.wait_for_arrival(Duration::from_secs(120)) {
        let output = child.wait_with_output().unwrap();
        panic!("no transfer: {}", text(&output));
    }
    kill(pid(&child), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    gate.open();
    assert_eq!(exit_code(&output), CANCELLED, "{}", text(&output));
    assert_eq!(scene.state(), before);
    assert_eq!(fs::read_dir(store(&scene)).unwrap().count(), 0);
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

macro_rules! for_each_program {
    ($($name:ident: $work:ident($program:ident);)+) => {
        $(#[test] fn $name() {
            $work(Program::$program);
        })+
    };
}

for_each_program! {
    the_tools_back_up_and_restore: round_trip(Tools);
    the_custom_service_backs_up_and_restores: round_trip(CustomService);
    go_backs_up_and_restores: round_trip(Go);
    python_backs_up_and_restores: round_trip(Python);

    the_tools_tell_absent_from_present: names_are_looked_up(Tools);
    the_custom_service_tells_absent_from_present: names_are_looked_up(CustomService);
    go_tells_absent_from_present: names_are_looked_up(Go);
    python_tells_absent_from_present: names_are_looked_up(Python);

    the_tools_tell_a_wrong_password: a_wrong_password_has_its_exit_code(Tools);
    the_custom_service_tells_a_wrong_password: a_wrong_password_has_its_exit_code(CustomService);
    go_tells_a_wrong_password: a_wrong_password_has_its_exit_code(Go);
    python_tells_a_wrong_password: a_wrong_password_has_its_exit_code(Python);

    the_tools_leave_nothing_of_a_broken_backup: what_broke_off_leaves_nothing(Tools);
    the_custom_service_leaves_nothing_of_a_broken_backup: what_broke_off_leaves_nothing(CustomService);
    go_leaves_nothing_of_a_broken_backup: what_broke_off_leaves_nothing(Go);
    python_leaves_nothing_of_a_broken_backup: what_broke_off_leaves_nothing(Python);

    ctrl_c_cancels_the_tools: interrupt(Tools);
    ctrl_c_cancels_go: interrupt(Go);
    ctrl_c_cancels_python: interrupt(Python);
}

#[test]
fn what_a_python_service_raises_is_the_cause_of_the_error() {
    let scene = Scene::new(Options::default());
    let before = scene.state();
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(root().join("tests/bindings/failing_service.py"))
        .env("PYTHONPATH", built().join("python"));
    server(&mut command, &scene, &scene.options.password);
    assert!(works(&scene, &mut command).contains("good"));
    assert_eq!(scene.state(), before);
}

#[test]
fn errors_and_panics_of_a_go_service_come_back() {
    let scene = Scene::new(Options::default());
    let before = scene.state();
    let name = "failing_service_test.go";
    let test = built().join("go/vmdkbackup").join(name);
    fs::copy(root().join("tests/bindings").join(name), test).unwrap();
    let mut command = Command::new("go");
    command
        .args(["test", "-count=1", "./vmdkbackup"])
        .env("PKG_CONFIG_PATH", stage().join("lib/pkgconfig"))
        .env("GODEBUG", "cgocheck=1")
        .current_dir(built().join("go"));
    server(&mut command, &scene, &scene.options.password);
    works(&scene, &mut command);
    assert_eq!(scene.state(), before);
}

/// Kills a restore that has imported the disk; the next one finds what that left.
#[test]
fn tools_undo_what_a_killed_one_left() {
    let scene = Scene::new(Options::default());
    let state_dir = scene.dir.path().join("state");
    fs::create_dir(&state_dir).unwrap();
    works(
        &scene,
        &mut Program::Tools.command(&scene, "backup", "b1", "volume-1"),
    );
    let before = scene.state();
    let restore = || {
        let mut command = Program::Tools.command(&scene, "restore", "b1", "volume-1");
        command.arg("--state-dir").arg(&state_dir);
        command
    };
    // Stays closed: what waits there never comes to be.
    let gate = Gate::new();
    let hold = Trouble::Hold(gate.clone());
    scene.sim.faults().on_call("ReconfigVM_Task", 2, hold);
    let mut killed = restore().spawn().unwrap();
    assert!(gate.wait_for_arrival(Duration::from_secs(120)), "no call");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_ne!(
        scene.state(),
        before,
        "nothing was left, so nothing is shown"
    );

    scene.damage();
    let said = works(&scene, &mut restore());
    assert!(said.contains("left by operation"), "{said}");
    scene.assert_restored(&scene.vm);
    assert_eq!(scene.sim.vms().len(), 1, "{said}");
    assert_eq!(fs::read_dir(&state_dir).unwrap().count(), 0);
}

#[test]
fn services_take_a_job_a_place_a_backup_and_a_volume() {
    let scene = Scene::new(Options::default());
    for program in [Program::CustomService, Program::Go, Program::Python] {
        for job in ["", "--help", "remove"] {
            let mut command = program.command(&scene, job, "b1", "volume-1");
            let (code, said) = outcome(&scene, &mut command);
            assert_eq!(code, USAGE, "{said}");
            assert!(said.contains("usage: "), "{said}");
        }
        let mut command = program.command(&scene, "backup", "b1", "volume-1");
        let (code, said) = outcome(&scene, command.env_remove("VSPHERE_PASSWORD"));
        assert_eq!(code, USAGE, "{said}");
    }
}

#[test]
fn tools_name_the_argument_that_is_wrong() {
    let scene = Scene::new(Options::default());
    let wrong: [(&[&str], &str); 9] = [
        (&["--size", "12Q"], "--size"),
        (&["--size", "-1"], "--size"),
        (&["--size", "16777216T"], "--size"),
        (&["--disk-type", "fat"], "--disk-type"),
        (&["--adapter", "scsi"], "--adapter"),
        (&["--staging", "tape"], "--staging"),
        (&["--disk-key", "disk"], "--disk-key"),
        (&["--pin", "aa", "--insecure"], "--insecure"),
        (&["surplus"], "surplus"),
    ];
    for job in ["backup", "restore"] {
        for (arguments, named) in wrong {
            let mut command = Program::Tools.command(&scene, job, "b1", "volume-1");
            let (code, said) = outcome(&scene, command.args(arguments));
            assert_eq!(code, USAGE, "{arguments:?}: {said}");
            assert!(said.lines().nth(1).unwrap().contains(named), "{said}");
            assert!(said.contains("usage: "), "{said}");
        }
        let mut command = Command::new(built().join(job));
        server(&mut command, &scene, "");
        let (code, said) = outcome(&scene, &mut command);
        assert_eq!(code, USAGE, "{said}");
        assert!(said.contains("--directory is needed"), "{said}");
    }
}

#[test]
fn tools_explain_themselves() {
    for job in ["backup", "restore"] {
        let mut command = Command::new(built().join(job));
        let said = succeeds(
            command
                .arg("--help")
                .env("LD_LIBRARY_PATH", stage().join("lib")),
        );
        for option in ["--server", "--password-file", "--moref", "--temp-dir"] {
            assert!(said.contains(option), "{said}");
        }
    }
}

#[test]
fn tools_read_the_password_from_a_file_and_trust_a_pin() {
    let scene = Scene::new(Options::default());
    let file = scene.dir.path().join("password");
    fs::write(&file, format!("{}\r\nnot this\n", scene.options.password)).unwrap();
    let mut command = Program::Tools.command(&scene, "backup", "b1", "volume-1");
    command
        .env_remove("VSPHERE_PASSWORD")
        .env_remove("VSPHERE_CA_FILE")
        .arg("--password-file")
        .arg(&file)
        .args(["--pin", scene.sim.fingerprint_sha256()]);
    works(&scene, &mut command);
}

#[test]
fn tools_trust_nobody_by_themselves() {
    let scene = Scene::new(Options::default());
    let mut command = Program::Tools.command(&scene, "backup", "b1", "volume-1");
    let (code, said) = outcome(&scene, command.env_remove("VSPHERE_CA_FILE"));
    assert_eq!(code, TLS, "{said}");
}

#[test]
fn tools_place_and_shape_a_new_volume() {
    let scene = Scene::new(Options::default());
    works(
        &scene,
        &mut Program::Tools.command(&scene, "backup", "b1", "volume-1"),
    );
    let mut command = Program::Tools.command(&scene, "restore", "b1", "volume-2");
    command
        .args(["--size", "64M", "--disk-type", "thick"])
        .args(["--datastore", "datastore2", "--datacenter", "DC0"])
        .args(["--folder", "volumes/gold", "--staging", "file"])
        .args(["--id", "3f2504e0-4f89-41d3-9a0c-0305e82c3399", "--temp-dir"])
        .arg(scene.dir.path());
    let said = works(&scene, &mut command);
    let made = scene.sim.vm(&told(&said, "backing")).unwrap();
    let disk = &made.disks[0];
    assert_eq!(disk.capacity, 64 * MIB);
    assert_eq!(disk.disk_type, vsphere_sim::DiskType::Thick);
    assert!(disk.file.starts_with("[datastore2]"), "{}", disk.file);
    scene.assert_restored(&made.moref);
}

#[test]
fn tools_find_a_volume_by_its_id() {
    let scene = Scene::new(Options::default());
    let mut command = Command::new(built().join("backup"));
    server(&mut command, &scene, &scene.options.password);
    command
        .args(["--id", VOLUME_ID, "--backup-id", "b1", "--directory"])
        .arg(store(&scene));
    let said = works(&scene, &mut command);
    assert_eq!(told(&said, "backing"), scene.vm);
}

#[test]
fn a_person_is_asked_without_echo_and_sees_a_bar() {
    let scene = Scene::new(Options::default());
    let tool = Program::Tools.command(&scene, "backup", "b1", "volume-1");
    let words = std::iter::once(tool.get_program()).chain(tool.get_args());
    let line: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    // script(1) gives the program a terminal and copies it.
    let mut command = Command::new("script");
    server(&mut command, &scene, "");
    let mut child = command
        .args(["-q", "-e", "-c", &line.join(" "), "/dev/null"])
        .env_remove("VSPHERE_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut screen = child.stdout.take().unwrap();
    let mut said = String::new();
    let mut byte = [0];
    while !said.contains("Password of") && screen.read(&mut byte).unwrap() == 1 {
        said.push(char::from(byte[0]));
    }
    let mut keyboard = child.stdin.take().unwrap();
    writeln!(keyboard, "{}", scene.options.password).unwrap();
    let mut rest = Vec::new();
    screen.read_to_end(&mut rest).unwrap();
    said.push_str(&String::from_utf8_lossy(&rest));
    drop(keyboard);
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
    assert_secret_kept(&scene, &said);
    assert!(
        said.contains("transfer [") && said.contains(" MiB"),
        "{said}"
    );
    // The bar is wiped, but a copy of the terminal has everything.
    assert!(
        said.contains(&format!("\u{1b}[Kbacking={}\r\n", scene.vm)),
        "{said}"
    );
}
