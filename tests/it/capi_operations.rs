//! Operations as a C program sees them, against the simulator.

use crate::fixture::Scene;
use crate::sanitizer;
use crate::stage::{C99, compile, run, text, valgrind};
use std::process::Command;
use vsphere_sim::Options;

const OPERATIONS: &str = "tests/c/operations.c";

/// All but the forked child, which for the tools is a process of its own with everything leaked.
const WATCHED: [&str; 9] = [
    "a_volume_goes_out_and_comes_back",
    "a_failing_callback_is_told_by_its_number",
    "progress_that_is_not_zero_cancels",
    "another_thread_cancels",
    "a_call_from_a_callback_is_refused",
    "a_service_of_files_is_shown_a_private_file",
    "an_older_callers_structures_will_do",
    "garbage_is_refused_by_name",
    "threads_share_a_client_and_a_service",
];

fn check(program: &mut Command, options: Options, tests: &[&str]) {
    let scene = Scene::new(options);
    let before = scene.sim.vms().len();
    let directory = scene.dir.path().join("c");
    std::fs::create_dir(&directory).unwrap();
    let options = &scene.options;
    program.args([&scene.sim.url(), &options.username, &options.password]);
    match options.tls {
        true => program.arg(scene.sim.ca_file()),
        false => program.arg("-"),
    };
    let output = run(program.arg(directory).args(tests));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good\n");

    scene.assert_restored(&scene.vm);
    let made = tests.iter().filter(|test| test.contains("threads")).count() * 3;
    assert_eq!(scene.sim.vms().len(), before + made, "something was left");
    assert!(scene.sim.leases().iter().all(|lease| !lease.is_open()));
}

fn check_one(test: &str) {
    let program = compile("gcc", &C99, OPERATIONS, &["-lpthread"]);
    check(
        &mut crate::stage::program(program),
        Options::default(),
        &[test],
    );
}

#[test]
fn a_volume_goes_out_and_comes_back() {
    check_one("a_volume_goes_out_and_comes_back");
}

#[test]
fn a_failing_callback_is_told_by_its_number() {
    check_one("a_failing_callback_is_told_by_its_number");
}

#[test]
fn progress_that_is_not_zero_cancels() {
    check_one("progress_that_is_not_zero_cancels");
}

#[test]
fn another_thread_cancels() {
    check_one("another_thread_cancels");
}

#[test]
fn a_call_from_a_callback_is_refused() {
    check_one("a_call_from_a_callback_is_refused");
}

#[test]
fn a_service_of_files_is_shown_a_private_file() {
    check_one("a_service_of_files_is_shown_a_private_file");
}

#[test]
fn an_older_callers_structures_will_do() {
    check_one("an_older_callers_structures_will_do");
}

#[test]
fn garbage_is_refused_by_name() {
    check_one("garbage_is_refused_by_name");
}

#[test]
fn threads_share_a_client_and_a_service() {
    check_one("threads_share_a_client_and_a_service");
}

#[test]
fn a_forked_child_is_refused_and_the_parent_is_not() {
    check_one("a_forked_child_is_refused_and_the_parent_is_not");
}

#[test]
fn signals_stay_the_hosts() {
    check_one("signals_stay_the_hosts");
}

/// Runs the program that misuses handles; afterwards nobody is logged in.
fn check_handles(program: &mut Command, options: Options, more: &[&str]) {
    let scene = Scene::new(options);
    let directory = scene.dir.path().join("c");
    std::fs::create_dir(&directory).unwrap();
    let options = &scene.options;
    program.args([&scene.sim.url(), &options.username, &options.password]);
    match options.tls {
        true => program.arg(scene.sim.ca_file()),
        false => program.arg("-"),
    };
    let output = run(program.arg(directory).args(more));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good\n");
    assert_eq!(scene.sim.sessions(), 0, "a session is left");
    assert!(scene.sim.leases().iter().all(|lease| !lease.is_open()));
}

const HANDLES: &str = "tests/c/handles.c";

#[test]
fn misused_handles_are_refused_and_used_ones_go_with_their_last_user() {
    let program = compile("gcc", &C99, HANDLES, &["-lpthread"]);
    check_handles(&mut crate::stage::program(program), Options::default(), &[]);
}

#[test]
fn valgrind_sees_no_error_and_no_leak_in_misused_handles() {
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let program = compile("gcc", &C99, HANDLES, &["-lpthread"]);
    // A forked child is a process of its own for it, with everything leaked.
    check_handles(valgrind().arg(program), options, &["no-fork"]);
}

#[test]
fn valgrind_sees_no_error_and_no_leak_in_operations() {
    // Valgrind takes ring's assembly for errors, so this goes without TLS.
    let options = Options {
        tls: false,
        ..Options::default()
    };
    let program = compile("gcc", &C99, OPERATIONS, &["-lpthread"]);
    check(valgrind().arg(program), options, &WATCHED);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn address_sanitizer_sees_no_error_and_no_leak_in_operations() {
    let mut program = sanitizer::command(OPERATIONS);
    check(&mut program, Options::default(), &WATCHED);
}
