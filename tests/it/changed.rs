//! A backing that others change before or during a restore keeps its disk.

use crate::fixture::{Memory, Scene};
use crate::jobs;
use std::time::{Duration, Instant};
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{Common, RestoreOptions, restore_backup};
use vsphere_sim::{Fault, Gate, Options, Trouble};

const PATIENT: Duration = Duration::from_secs(60);

fn backed_up() -> (Scene, Memory) {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    jobs::backup(&scene, &service, "b", Common::default()).unwrap();
    scene.damage();
    (scene, service)
}

/// A restore that is held at the n-th call of `method` while somebody changes the backing.
fn refused_after(method: &str, nth: u32, change: impl FnOnce(&Scene) + Send) -> Error {
    let (scene, service) = backed_up();
    let disk = scene.disk();
    let digest = scene.sim.disk_sha256(&scene.vm, disk.key).unwrap();
    let gate = Gate::new();
    scene
        .sim
        .faults()
        .on_call(method, nth, Trouble::Hold(gate.clone()));
    let error = std::thread::scope(|scope| {
        let (scene, gate) = (&scene, &gate);
        scope.spawn(move || {
            let arrived = gate.wait_for_arrival(PATIENT);
            if arrived {
                change(scene);
            }
            gate.open();
            assert!(arrived, "the restore never came to {method}");
        });
        jobs::restore(scene, &service, &scene.volume(), Common::default()).unwrap_err()
    });
    let now = scene.disk();
    assert_eq!(now.key, disk.key, "{error}");
    assert_eq!(scene.sim.disk_sha256(&scene.vm, now.key).unwrap(), digest);
    assert_eq!(scene.sim.vms().len(), 1, "{error}");
    assert_eq!(scene.sim.loose_disks(), [""; 0], "{error}");
    assert_eq!(error.left_behind(), [""; 0]);
    error
}

#[test]
fn a_template_is_refused_before_anything_is_made() {
    let (scene, service) = backed_up();
    scene.sim.set_template(&scene.vm, true).unwrap();
    let before = scene.state();
    let error = jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.to_string().contains("template"), "{error}");
    assert_eq!(scene.state(), before);
    let requests = scene.sim.requests();
    let imported = |method: &str| requests.iter().any(|one| one.method == method);
    assert!(!imported("ImportVApp"), "{error}");
}

#[test]
fn a_snapshot_made_during_a_restore_keeps_its_disk() {
    let error = refused_after("MoveVirtualDisk_Task", 1, |scene| {
        scene.sim.add_snapshot(&scene.vm, "meanwhile").unwrap();
    });
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(
        error.to_string().contains("changed during the restore"),
        "{error}"
    );
}

#[test]
fn a_machine_powered_on_during_a_restore_keeps_its_disk() {
    let error = refused_after("MoveVirtualDisk_Task", 1, |scene| {
        scene.sim.set_power(&scene.vm, true).unwrap();
    });
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.to_string().contains("poweredOn"), "{error}");
    assert!(error.is_retryable(), "{error}");
}

#[test]
fn a_disk_exchanged_between_the_last_look_and_the_swap_is_seen_by_the_server() {
    // The first reconfiguration takes the disk out of the temporary machine, the second swaps.
    let error = refused_after("ReconfigVM_Task", 2, |scene| {
        let key = scene.disk().key;
        let other = "volume-1/somebody-elses.vmdk";
        scene.sim.move_disk(&scene.vm, key, other).unwrap();
    });
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.is_retryable(), "{error}");
}

#[test]
fn a_swap_that_the_server_refused_because_of_a_change_leaves_nothing() {
    let (scene, service) = backed_up();
    let (key, before) = (scene.disk().key, scene.disk().file);
    let gate = Gate::new();
    let faults = scene.sim.faults();
    faults.on_call("ReconfigVM_Task", 2, Trouble::Hold(gate.clone()));
    let changed = Fault::planned("ConcurrentAccess");
    faults.on_call("ReconfigVM_Task", 2, Trouble::Fault(changed));
    let client = scene.impatient_client();
    let error = std::thread::scope(|scope| {
        let (scene, gate) = (&scene, &gate);
        scope.spawn(move || {
            gate.wait_for_arrival(PATIENT);
            let other = "volume-1/somebody-elses.vmdk";
            scene.sim.move_disk(&scene.vm, key, other).unwrap();
            gate.open();
        });
        let how = RestoreOptions {
            backup_id: "b".into(),
            ..RestoreOptions::default()
        };
        restore_backup(&client, &service, &scene.volume(), how).unwrap_err()
    });
    assert_ne!(scene.disk().file, before);
    assert_eq!(error.fault(), Some("ConcurrentAccess"), "{error}");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(error.left_behind(), [""; 0], "{error}");
    assert_eq!(scene.sim.vms().len(), 1, "{error}");
    assert_eq!(scene.sim.loose_disks(), [""; 0], "{error}");
}

#[test]
fn a_restored_disk_that_is_attached_in_another_mode_gives_way_to_the_old_one() {
    let (scene, service) = backed_up();
    let old = scene.disk();
    let digest = scene.sim.disk_sha256(&scene.vm, old.key).unwrap();
    let gate = Gate::new();
    let faults = scene.sim.faults();
    faults.on_call("ReconfigVM_Task", 2, Trouble::HoldReply(gate.clone()));
    let error = std::thread::scope(|scope| {
        let (scene, gate, old) = (&scene, &gate, &old);
        scope.spawn(move || {
            gate.wait_for_arrival(PATIENT);
            // The task may still be at work.
            let end = Instant::now() + PATIENT;
            while scene.disk().file == old.file && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            let new = scene.disk();
            let mode = "independent_persistent";
            scene.sim.set_disk_mode(&scene.vm, new.key, mode).unwrap();
            gate.open();
        });
        jobs::restore(scene, &service, &scene.volume(), Common::default()).unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(
        error.to_string().contains("independent_persistent"),
        "{error}"
    );
    let now = scene.disk();
    assert_eq!((&now.file, &now.mode), (&old.file, &old.mode), "{error}");
    assert_eq!(scene.sim.disk_sha256(&scene.vm, now.key).unwrap(), digest);
    assert_eq!(error.left_behind(), [""; 0], "{error}");
    assert_eq!(scene.sim.vms().len(), 1, "{error}");
    assert_eq!(scene.sim.loose_disks(), [""; 0], "{error}");
}
