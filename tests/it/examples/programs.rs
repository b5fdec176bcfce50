//! What all programs do alike, and services that fail.

use super::{AUTH, CANCELLED, EXISTS, NOT_FOUND, Program, USAGE};
use super::{built, exit_code, outcome, server, store, told, works};
use crate::fixture::{MIB, Scene};
use crate::stage::{root, stage, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::Duration;
use vsphere_sim::{At, DataTrouble, Gate, Options, Rule, Trouble};

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
    scene.sim.faults().add(Rule {
        at: At::Export,
        nth: 1,
        times: u32::MAX,
        trouble: Trouble::Data(MIB, DataTrouble::Flip),
    });
    let (code, said) = outcome(
        &scene,
        &mut program.command(&scene, "backup", "b1", "volume-1"),
    );
    assert!(code > 10, "{said}");
    assert_eq!(scene.state(), before);
    // The name is free, and a backup of it is whole.
    scene.sim.faults().clear();
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
    let mut command = crate::stage::program("python3");
    command
        .arg("-B")
        .arg(root().join("tests/bindings/failing_service.py"))
        .env("PYTHONPATH", built().join("python"));
    server(&mut command, &scene, &scene.options.password);
    assert!(works(&scene, &mut command).contains("good"));
    assert_eq!(scene.state(), before);
}

/// Ends the interpreter while a backup of another thread's stands still in the midst of the transfer.
fn python_exits(thread: &str, signal: Option<Signal>) {
    let scene = Scene::new(Options::default());
    let before = scene.state();
    let gate = Gate::new();
    let stall = Trouble::Data(MIB, DataTrouble::Stall(gate.clone()));
    scene.sim.faults().on_export(1, stall);
    let mut command = crate::stage::program("python3");
    command
        .arg("-B")
        .arg(root().join("tests/bindings/exiting.py"))
        .arg(thread)
        .env("PYTHONPATH", built().join("python"));
    server(&mut command, &scene, &scene.options.password);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    if let Some(signal) = signal
        && gate.wait_for_arrival(Duration::from_secs(120))
    {
        kill(pid(&child), signal).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    gate.open();
    let said = text(&output);
    match signal {
        // As a shell's programs do, it ends by the signal that it heard.
        Some(signal) => assert_eq!(output.status.signal(), Some(signal as i32), "{said}"),
        None => assert_eq!(output.status.code(), Some(0), "{said}"),
    }
    assert!(said.contains("aborted\n"), "{said}");
    assert_eq!(scene.state(), before);
    assert_eq!(scene.sim.sessions(), 0, "a session is left");
}

#[test]
fn python_that_exits_ends_the_backup_of_a_daemon_thread() {
    python_exits("daemon", None);
}

#[test]
fn ctrl_c_ends_a_backup_of_another_thread_of_python() {
    python_exits("thread", Some(Signal::SIGINT));
}

#[test]
fn errors_and_panics_of_a_go_service_come_back() {
    let scene = Scene::new(Options::default());
    let before = scene.state();
    let name = "failing_service_test.go";
    let test = built().join("go/vmdkbackup").join(name);
    fs::copy(root().join("tests/bindings").join(name), test).unwrap();
    let mut command = crate::stage::program("go");
    command
        .args(["test", "-count=1", "./vmdkbackup"])
        .env("PKG_CONFIG_PATH", stage().join("lib/pkgconfig"))
        .env("GODEBUG", "cgocheck=1")
        .current_dir(built().join("go"));
    server(&mut command, &scene, &scene.options.password);
    works(&scene, &mut command);
    assert_eq!(scene.state(), before);
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
