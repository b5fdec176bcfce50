//! A backing that others change before or during a restore keeps its disk.

use crate::fixture::{Memory, Scene};
use crate::jobs;
use std::time::Duration;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::Common;
use vsphere_sim::{Gate, Options, Trouble};

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
