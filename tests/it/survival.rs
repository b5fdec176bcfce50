//! The restored disk survives whatever is removed beside it, and the old one goes last of all.

use crate::fixture::{MIB, Memory, Scene};
use crate::jobs;
use std::time::Duration;
use vmdk_backup::client::Client;
use vmdk_backup::ops::{Common, Outcome, RecoverOptions, RestoreOptions, recover, restore_backup};
use vmdk_backup::volume::{DiskType, Volume};
use vsphere_sim::{Fault, Gate, Options, Trouble};

/// A server that refuses to move disks, and removes a machine's whole folder with the machine.
fn hostile() -> Options {
    Options {
        destroy_removes_folder: true,
        refuse_disk_moves: true,
        import_disk_type: Some(vsphere_sim::DiskType::Thin),
        ..Options::default()
    }
}

/// A scene with a backup `b`, whose volume was damaged since.
fn damaged(options: Options) -> (Scene, Memory) {
    let scene = Scene::new(options);
    let service = Memory::default();
    jobs::backup(&scene, &service, "b", Common::default()).unwrap();
    scene.damage();
    (scene, service)
}

fn journaling(scene: &Scene) -> Client {
    let directory = scene.dir.path().join("state");
    std::fs::create_dir_all(&directory).unwrap();
    let mut options = scene.connect_options();
    options.state_dir = Some(directory);
    Client::connect(options).unwrap()
}

fn restore_with(
    client: &Client,
    scene: &Scene,
    service: &Memory,
) -> vmdk_backup::error::Result<vmdk_backup::ops::Summary> {
    let options = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    restore_backup(client, service, &scene.volume(), options)
}

fn refuse(scene: &Scene, method: &str, nth: u32) {
    let refused = Trouble::Fault(Fault::planned("NoPermission"));
    scene.sim.faults().on_call(method, nth, refused);
}

/// The calls of these methods, in order.
fn calls(scene: &Scene, methods: &[&str]) -> Vec<String> {
    let requests = scene.sim.requests().into_iter();
    let wanted = requests.filter(|one| methods.contains(&one.method.as_str()));
    wanted.map(|one| one.method).collect()
}

fn assert_clean(scene: &Scene) {
    scene.assert_restored(&scene.vm);
    assert_eq!(scene.sim.vms().len(), 1, "a temporary machine is left");
    assert_eq!(scene.sim.loose_disks(), [""; 0]);
    let vm = scene.sim.vm(&scene.vm).unwrap();
    let tagged = |(key, _): &&(String, String)| key.starts_with("vmdk_backup.");
    assert_eq!(vm.extra_config.iter().find(tagged), None);
}

#[test]
fn a_disk_that_cannot_be_moved_outlives_its_temporary_machine() {
    for disk_type in [None, Some(DiskType::Thick)] {
        let (scene, service) = damaged(hostile());
        let volume = Volume {
            disk_type,
            ..scene.volume()
        };
        let summary = jobs::restore(&scene, &service, &volume, Common::default()).unwrap();
        assert_eq!(summary.notices.len(), 1, "{:?}", summary.notices);
        assert_clean(&scene);
        let files = scene.sim.files("datastore1");
        let machines = files.iter().filter(|file| file.ends_with(".vmx")).count();
        assert_eq!(machines, 1, "the temporary machine's files: {files:?}");
        // The next restore has the disk in a folder that is not the backing's.
        scene.damage();
        jobs::restore(&scene, &service, &volume, Common::default()).unwrap();
        assert_clean(&scene);
    }
}

#[test]
fn the_old_disk_is_deleted_after_everything_else() {
    let (scene, service) = damaged(Options::default());
    scene.sim.clear_requests();
    jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap();
    let wanted = [
        "Destroy_Task",
        "QueryVirtualDiskUuid",
        "DeleteVirtualDisk_Task",
    ];
    assert_eq!(calls(&scene, &wanted), wanted);
    assert_clean(&scene);
}

#[test]
fn a_converted_disk_replaces_the_imported_one_before_that_is_deleted() {
    let (scene, service) = damaged(Options {
        import_disk_type: Some(vsphere_sim::DiskType::Thin),
        ..Options::default()
    });
    scene.sim.clear_requests();
    let volume = Volume {
        disk_type: Some(DiskType::EagerZeroedThick),
        ..scene.volume()
    };
    jobs::restore(&scene, &service, &volume, Common::default()).unwrap();
    let requests = scene.sim.requests();
    let destroying = |body: &str| body.contains("<fileOperation>destroy");
    assert!(!requests.iter().any(|one| destroying(&one.body)));
    let wanted = [
        "CopyVirtualDisk_Task",
        "DeleteVirtualDisk_Task",
        "MoveVirtualDisk_Task",
    ];
    assert_eq!(calls(&scene, &wanted)[..3], wanted);
    assert_clean(&scene);
}

#[test]
fn a_disk_that_went_with_the_temporary_machine_brings_the_old_one_back() {
    let (scene, service) = damaged(Options::default());
    let before = scene.disk();
    let missing = Trouble::Fault(Fault::planned("FileNotFound"));
    scene
        .sim
        .faults()
        .on_call("QueryVirtualDiskUuid", 1, missing);
    let error = jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap_err();
    assert!(error.to_string().contains("still there"), "{error}");
    assert_eq!(scene.disk().file, before.file);
    assert_eq!(scene.disk().cid, before.cid, "the old contents");
}

#[test]
fn the_old_disk_is_kept_while_the_temporary_machine_or_the_proof_is_owed() {
    for method in ["Destroy_Task", "QueryVirtualDiskUuid"] {
        let (scene, service) = damaged(Options::default());
        let client = journaling(&scene);
        let old = scene.disk().file;
        refuse(&scene, method, 1);
        let summary = restore_with(&client, &scene, &service).unwrap();
        let named = |notice: &&String| notice.contains(&old);
        assert_eq!(summary.notices.iter().filter(named).count(), 1, "{method}");
        assert_eq!(scene.sim.loose_disks(), [old], "{method}");
        let told = recover(&client, RecoverOptions::default()).unwrap();
        let done = told.iter().all(|one| one.outcome == Outcome::Done);
        assert!(done, "{method}: {told:?}");
        assert_clean(&scene);
    }
}

#[test]
fn recovery_takes_apart_the_machine_in_whose_folder_the_restored_disk_lies() {
    for journal_is_lost in [false, true] {
        let (scene, service) = damaged(hostile());
        let client = journaling(&scene);
        refuse(&scene, "UnregisterVM", 1);
        restore_with(&client, &scene, &service).unwrap();
        assert_eq!(scene.sim.vms().len(), 2, "the temporary machine");
        if journal_is_lost {
            let state = scene.dir.path().join("state");
            std::fs::remove_dir_all(&state).unwrap();
            std::fs::create_dir(&state).unwrap();
        }
        let options = RecoverOptions {
            min_age: Some(Duration::ZERO),
            ..RecoverOptions::default()
        };
        let told = recover(&client, options).unwrap();
        let done = told.iter().all(|one| one.outcome == Outcome::Done);
        assert!(done, "{told:?}");
        assert_clean(&scene);
    }
}

#[test]
fn recovery_keeps_the_old_disk_when_the_restored_one_is_gone() {
    let (scene, service) = damaged(Options::default());
    let client = journaling(&scene);
    let old = scene.disk().file;
    refuse(&scene, "Destroy_Task", 1);
    restore_with(&client, &scene, &service).unwrap();
    let missing = Trouble::Fault(Fault::planned("FileNotFound"));
    scene
        .sim
        .faults()
        .on_call("QueryVirtualDiskUuid", 1, missing);
    let told = recover(&client, RecoverOptions::default()).unwrap();
    let failed = told.iter().find(|one| one.outcome == Outcome::Failed);
    assert!(
        failed.is_some_and(|one| one.what.contains(&old)),
        "{told:?}"
    );
    assert_eq!(scene.sim.loose_disks(), [old]);
}

/// Nobody knows which disk the backing has: both survive, also where a folder goes as a whole.
#[test]
fn disks_that_are_kept_on_failure_outlive_the_temporary_machine() {
    let (scene, service) = damaged(hostile());
    let (old, gate) = (scene.disk().file, Gate::new());
    // The swap succeeds, and before its answer arrives somebody takes the new disk out.
    let held = Trouble::HoldReply(gate.clone());
    scene.sim.faults().on_call("ReconfigVM_Task", 2, held);
    let volume = scene.volume();
    let (sim, vm) = (&scene.sim, &scene.vm);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(gate.wait_for_arrival(Duration::from_secs(60)));
            while sim
                .vm(vm)
                .unwrap()
                .disks
                .iter()
                .any(|disk| disk.file == old)
            {
                std::thread::yield_now();
            }
            let key = sim.vm(vm).unwrap().disks[0].key;
            sim.remove_disk(vm, key).unwrap();
            gate.open();
        });
        jobs::restore(&scene, &service, &volume, Common::default()).unwrap_err()
    });
    assert_eq!(scene.sim.vms().len(), 1, "{error}");
    let left = scene.sim.loose_disks();
    assert_eq!(left.len(), 2, "{left:?}: {error}");
    assert!(left.contains(&old), "{left:?}");
    for disk in &left {
        assert!(error.to_string().contains(disk.as_str()), "{error}");
    }
}

#[test]
fn the_restored_disk_lies_in_the_backings_folder_and_not_in_another_machines() {
    let (scene, service) = damaged(Options::default());
    // The volume's disk lies in the folder of a machine that is still there.
    let other = vsphere_sim::VolumeSpec::new("other", 4 * MIB);
    let other = scene.sim.add_volume(&other).unwrap();
    scene
        .sim
        .move_disk(&scene.vm, scene.disk().key, "other/lent.vmdk")
        .unwrap();
    scene
        .sim
        .change_options(|options| options.destroy_removes_folder = true);
    jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap();
    let file = scene.disk().file;
    assert!(file.starts_with("[datastore1] volume-1/"), "{file}");
    scene.sim.remove_vm(&other);
    assert_clean(&scene);
}

#[test]
fn a_swap_carries_over_what_it_can_and_tells_what_it_cannot() {
    let (scene, service) = damaged(Options::default());
    let plain = jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap();
    assert_eq!(plain.notices, [""; 0]);
    let key = scene.disk().key;
    scene
        .sim
        .tune_disk(&scene.vm, key, 500, "native_4k")
        .unwrap();
    scene.sim.clear_requests();
    let summary = jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap();
    let expected = "the swap did not carry over the disk's property virtualDiskFormat: it was \
                    native_4k, and is unset";
    assert_eq!(summary.notices, [expected]);
    let requests = scene.sim.requests();
    let carried = [
        "<limit>500</limit>",
        "<shares>3000</shares>",
        "<reservation>7</reservation>",
        "<writeThrough>true</writeThrough>",
    ];
    let swaps = requests.iter().filter(|one| {
        let body = &one.body;
        one.method == "ReconfigVM_Task" && carried.iter().all(|part| body.contains(part))
    });
    assert_eq!(swaps.count(), 1);
    assert_clean(&scene);
}
