//! The restored disk on its way from the temporary virtual machine to the backing: what a dead
//! process leaves there is found by its tag alone, and a move whose answer was lost is looked after.

use crate::fixture::{Memory, Scene};
use crate::jobs;
use std::time::Duration;
use vmdk_backup::ops::{Common, Outcome, RecoverOptions, recover};
use vmdk_backup::volume::{DiskType, Volume};
use vsphere_sim::{At, Fault, Options, Rule, Trouble};

/// A volume that was damaged after its backup, on a server whose imports make thin disks only.
fn backed_up() -> (Scene, Memory) {
    let options = Options {
        import_disk_type: Some(vsphere_sim::DiskType::Thin),
        ..Options::default()
    };
    let scene = Scene::new(options);
    let service = Memory::default();
    jobs::backup(&scene, &service, "b", Common::default()).unwrap();
    scene.damage();
    (scene, service)
}

fn refused() -> Fault {
    Fault::planned("NoPermission")
}

/// Nothing can be taken away any more, as if the process had died.
fn forbid_undoing(scene: &Scene) {
    for method in ["DeleteVirtualDisk_Task", "Destroy_Task"] {
        scene.sim.faults().add(Rule {
            at: At::Call(Some(method.into())),
            nth: 1,
            times: u32::MAX,
            trouble: Trouble::Fault(refused()),
        });
    }
}

/// A restore is refused at `method`, and all that can be seen of it is on the server.
fn left_by(method: &str, trouble: Trouble, disk_type: Option<DiskType>) {
    let (scene, service) = backed_up();
    let before = scene.state();
    forbid_undoing(&scene);
    scene.sim.faults().on_task(method, 1, trouble);
    let volume = Volume {
        disk_type,
        ..scene.volume()
    };
    let error = jobs::restore(&scene, &service, &volume, Common::default()).unwrap_err();
    assert!(!error.left_behind().is_empty(), "{error}");
    assert_ne!(scene.state(), before);
    assert_eq!(scene.sim.loose_disks().len(), 1, "{error}");

    scene.sim.faults().clear();
    let options = || RecoverOptions {
        min_age: Some(Duration::ZERO),
        ..RecoverOptions::default()
    };
    let told = recover(&scene.client(), options()).unwrap();
    let done = |one: &vmdk_backup::ops::Recovered| one.outcome == Outcome::Done;
    assert!(told.iter().all(done), "{told:?}");
    assert_eq!(scene.sim.loose_disks(), [""; 0], "{told:?}");
    assert_eq!(scene.state(), before);
    assert_eq!(recover(&scene.client(), options()).unwrap(), []);
}

#[test]
fn a_disk_taken_out_of_its_machine_is_found_by_the_tag() {
    left_by("MoveVirtualDisk_Task", Trouble::Fault(refused()), None);
}

#[test]
fn a_disk_moved_beside_the_old_one_is_found_by_the_tag() {
    left_by("MoveVirtualDisk_Task", Trouble::FaultAfter(refused()), None);
}

#[test]
fn a_converted_copy_is_found_by_the_tag() {
    let thick = Some(DiskType::EagerZeroedThick);
    left_by(
        "CopyVirtualDisk_Task",
        Trouble::FaultAfter(refused()),
        thick,
    );
}

#[test]
fn a_move_that_broke_off_is_made_once_whether_it_had_happened_or_not() {
    for trouble in [
        Trouble::Close,
        Trouble::ReplyLost,
        Trouble::StatusAfter(502),
    ] {
        let (scene, service) = backed_up();
        let faults = scene.sim.faults();
        faults.on_call("MoveVirtualDisk_Task", 1, trouble.clone());
        let volume = scene.volume();
        jobs::restore(&scene, &service, &volume, Common::default()).unwrap();
        scene.assert_restored(&scene.vm);
        assert_eq!(scene.sim.loose_disks(), [""; 0], "{trouble:?}");
        assert_eq!(scene.sim.vms().len(), 1, "{trouble:?}");
        let moved = scene.sim.requests();
        let moved = moved
            .iter()
            .filter(|one| one.method == "MoveVirtualDisk_Task");
        assert_eq!(moved.count(), 2, "{trouble:?}");
    }
}
