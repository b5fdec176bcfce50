//! The two tools: their options, their password prompt, and what a killed one leaves.

use super::{Program, TLS, USAGE};
use super::{assert_secret_kept, built, outcome, server, store, told, works};
use crate::fixture::{MIB, Scene, VOLUME_ID};
use crate::stage::{stage, succeeds};
use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;
use vsphere_sim::{Gate, Options, Trouble};

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
        let mut command = crate::stage::program(built().join(job));
        server(&mut command, &scene, "");
        let (code, said) = outcome(&scene, &mut command);
        assert_eq!(code, USAGE, "{said}");
        assert!(said.contains("--directory is needed"), "{said}");
    }
}

#[test]
fn tools_explain_themselves() {
    for job in ["backup", "restore"] {
        let mut command = crate::stage::program(built().join(job));
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
    let mut command = crate::stage::program(built().join("backup"));
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
    let mut command = crate::stage::program("script");
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
