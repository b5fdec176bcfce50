//! One client for very many operations: many at once, and many in a row. `VMDK_SOAK=full` for long.

use crate::fixture::{MIB, Scene, sha256, write_disk};
use crate::stage::{C99, compile, run, text};
use std::process::Command;
use vsphere_sim::{Options, VolumeSpec};

fn is_long() -> bool {
    std::env::var_os("VMDK_SOAK").is_some()
}

/// A scene with so many volumes `soak-0` and up, whose disks differ, and the digest of each.
fn with_volumes(count: u64) -> (Scene, Vec<(String, String)>) {
    let scene = Scene::new(Options::default());
    let raw = scene.dir.path().join("soak.raw");
    let mut volumes = Vec::new();
    for at in 0..count {
        let vm = scene
            .sim
            .add_volume(&VolumeSpec::new(&format!("soak-{at}"), 2 * MIB))
            .unwrap();
        write_disk(&raw, 2 * MIB, 100 + at);
        let disk = scene.sim.vm(&vm).unwrap().disks.remove(0);
        scene.sim.load_disk(&vm, disk.key, &raw).unwrap();
        volumes.push((vm, sha256(&raw)));
    }
    (scene, volumes)
}

fn soak(scene: &Scene, arguments: &[String]) -> String {
    let program = compile("gcc", &C99, "tests/c/soak.c", &["-lpthread"]);
    let directory = scene.dir.path().join("kept");
    std::fs::create_dir(&directory).unwrap();
    let options = &scene.options;
    let output = run(Command::new(program)
        .args([&scene.sim.url(), &options.username, &options.password])
        .arg(scene.sim.ca_file())
        .arg(directory)
        .args(arguments));
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(scene.sim.sessions(), 0);
    assert!(scene.sim.leases().iter().all(|lease| !lease.is_open()));
    assert!(scene.sim.loose_disks().is_empty());
    said
}

#[test]
fn thirty_two_threads_share_a_client_and_a_service() {
    let (scene, volumes) = with_volumes(31);
    let vms = scene.sim.vms().len();
    let rounds = if is_long() { "10" } else { "1" };
    let arguments = ["threads", "32", rounds].map(str::to_owned);
    println!("{}", soak(&scene, &arguments));
    assert_eq!(scene.sim.vms().len(), vms, "a temporary machine is left");
    for (vm, digest) in volumes {
        let disk = scene.sim.vm(&vm).unwrap().disks.remove(0);
        assert_eq!(
            scene.sim.disk_sha256(&vm, disk.key).unwrap(),
            digest,
            "{vm}"
        );
    }
}

#[test]
fn backups_in_a_row_take_no_more_and_no_more() {
    let (scene, _) = with_volumes(1);
    let count = if is_long() { "200" } else { "40" };
    let said = soak(&scene, &["serial", count].map(str::to_owned));
    println!("{said}");
    let numbers: Vec<Vec<u64>> = said
        .lines()
        .filter(|line| line.starts_with("after "))
        .map(|line| {
            let words = line.split(|c: char| !c.is_ascii_digit());
            words.filter_map(|word| word.parse().ok()).collect()
        })
        .collect();
    let [early, late] = numbers.as_slice() else {
        panic!("{said}");
    };
    assert!(late[1] <= early[1] + 2048, "memory: {said}");
    assert!(late[2..] <= early[2..], "threads and descriptors: {said}");
}
