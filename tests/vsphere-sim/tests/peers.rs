//! The simulator against programs of other projects; see tests/peers/README.md. `tests/peers/setup.sh` installs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vsphere_sim::{Options, Simulator};

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers")
}

/// Where setup.sh has installed them: beside this test, in the folder of all build results.
fn installed() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let folder = target.join("peers");
    assert!(
        folder.join("setup.done").exists(),
        "run tests/peers/setup.sh first: {folder:?} is not complete"
    );
    folder
}

fn python(script: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    command.arg("-B").arg(peers().join(script));
    command
}

fn assert_succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}\n{stderr}",
        output.status
    );
}

/// Runs a Python round trip against a simulator of its own.
fn assert_python_agrees(script: &str, options: Options, more: &[&Path]) {
    let password = options.password.clone();
    let user = options.username.clone();
    let simulator = Simulator::start(options).unwrap();
    let address = simulator.address();
    assert_succeeds(
        python(script)
            .args([
                "--host",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
            ])
            .args(["--user", &user, "--ca"])
            .arg(simulator.ca_file())
            .args(more)
            .env("VSPHERE_PASSWORD", password),
    );
    assert_nothing_is_left(&simulator);
}

fn assert_nothing_is_left(simulator: &Simulator) {
    assert_eq!(simulator.sessions(), 0);
}

fn assert_govmomi_agrees(options: Options) {
    let password = options.password.clone();
    let user = options.username.clone();
    let simulator = Simulator::start(options).unwrap();
    assert_succeeds(
        Command::new(installed().join("nfc-round-trip"))
            .args([
                "-url",
                &format!("{}/sdk", simulator.url()),
                "-user",
                &user,
                "-ca",
            ])
            .arg(simulator.ca_file())
            .env("VSPHERE_PASSWORD", password),
    );
    assert_nothing_is_left(&simulator);
}

#[test]
fn pyvmomi_takes_a_disk_through_a_vcenter_and_back() {
    assert_python_agrees("python/vmomi_round_trip.py", Options::default(), &[]);
}

#[test]
fn pyvmomi_takes_a_disk_through_a_lone_host_and_back() {
    assert_python_agrees("python/vmomi_round_trip.py", Options::esxi(), &[]);
}

#[test]
fn oslo_vmware_takes_a_disk_through_a_vcenter_and_back() {
    let wsdl = installed().join("wsdl/vimService.wsdl");
    let more = [Path::new("--wsdl"), &wsdl];
    assert_python_agrees("python/oslo_round_trip.py", Options::default(), &more);
}

#[test]
fn oslo_vmware_takes_a_disk_through_a_lone_host_and_back() {
    let wsdl = installed().join("wsdl/vimService.wsdl");
    let more = [Path::new("--wsdl"), &wsdl];
    assert_python_agrees("python/oslo_round_trip.py", Options::esxi(), &more);
}

#[test]
fn govmomi_takes_a_disk_through_a_vcenter_and_back() {
    assert_govmomi_agrees(Options::default());
}

#[test]
fn govmomi_takes_a_disk_through_a_lone_host_and_back() {
    assert_govmomi_agrees(Options::esxi());
}

#[test]
fn the_tables_of_types_are_those_of_the_api() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/schema");
    let tables = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    assert_succeeds(python("schema/check_tables.py").args(tables));
}

#[test]
fn the_schema_check_finds_mistakes() {
    assert_succeeds(python("schema/test_validate.py").current_dir(peers().join("schema")));
}
