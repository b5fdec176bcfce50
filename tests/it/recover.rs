//! What recovery makes of what operations leave.

use crate::fixture::{MIB, Memory, Scene};
use crate::jobs;
use std::path::PathBuf;
use std::time::Duration;
use vmdk_backup::client::Client;
use vmdk_backup::ops::{
    BackupOptions, Common, Outcome, RecoverOptions, Recovered, RestoreOptions, backup_volume,
    recover, restore_backup,
};
use vmdk_backup::volume::Volume;
use vsphere_sim::{Fault, Options, Trouble};

fn backup(scene: &Scene, service: &Memory) {
    jobs::backup(scene, service, "b", Common::default()).unwrap();
}

fn restore(
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

/// A client that keeps journals, and their directory.
fn journaling(scene: &Scene) -> (Client, PathBuf) {
    let directory = scene.dir.path().join("state");
    std::fs::create_dir_all(&directory).unwrap();
    let mut options = scene.connect_options();
    options.state_dir = Some(directory.clone());
    (Client::connect(options).unwrap(), directory)
}

fn recover_now(client: &Client) -> Vec<Recovered> {
    let options = RecoverOptions {
        min_age: Some(Duration::ZERO),
        ..RecoverOptions::default()
    };
    recover(client, options).unwrap()
}

fn assert_nothing_is_left(scene: &Scene) {
    assert_eq!(scene.sim.vms().len(), 1, "a temporary machine is left");
    assert_eq!(scene.sim.loose_disks(), [""; 0]);
    let vm = scene.sim.vm(&scene.vm).unwrap();
    let tagged = |(key, _): &&(String, String)| key.starts_with("vmdk_backup.");
    assert_eq!(vm.extra_config.iter().find(tagged), None);
}

#[test]
fn a_finished_restore_whose_old_disk_stayed_is_cleared_by_journal_or_tag() {
    for journal_is_lost in [false, true] {
        let scene = Scene::new(Options::default());
        let service = Memory::default();
        backup(&scene, &service);
        scene.damage();
        let (client, state) = journaling(&scene);
        let refused = Trouble::Fault(Fault::planned("NoPermission"));
        scene
            .sim
            .faults()
            .on_call("DeleteVirtualDisk_Task", 1, refused);
        let summary = restore(&client, &scene, &service).unwrap();
        assert_eq!(summary.notices.len(), 1, "{:?}", summary.notices);
        assert_eq!(scene.sim.loose_disks().len(), 1, "the old disk");
        assert_eq!(state.read_dir().unwrap().count(), 1, "the journal");
        if journal_is_lost {
            std::fs::remove_dir_all(&state).unwrap();
            std::fs::create_dir(&state).unwrap();
        }
        let dry = RecoverOptions {
            dry_run: true,
            min_age: Some(Duration::ZERO),
            ..RecoverOptions::default()
        };
        assert!(!recover(&client, dry).unwrap().is_empty());
        assert_eq!(
            scene.sim.loose_disks().len(),
            1,
            "a dry run deletes nothing"
        );
        let told = recover_now(&client);
        assert!(
            told.iter().all(|one| one.outcome == Outcome::Done),
            "{told:?}"
        );
        assert_nothing_is_left(&scene);
        scene.assert_restored(&scene.vm);
        assert_eq!(state.read_dir().unwrap().count(), 0);
        assert_eq!(recover_now(&client), []);
    }
}

#[test]
fn a_young_operation_of_another_host_is_left_alone() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    backup(&scene, &service);
    let refused = Trouble::Fault(Fault::planned("NoPermission"));
    scene
        .sim
        .faults()
        .on_call("DeleteVirtualDisk_Task", 1, refused);
    restore(&scene.client(), &scene, &service).unwrap();
    let told = recover(&scene.client(), RecoverOptions::default()).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].outcome, Outcome::Skipped);
    assert_eq!(scene.sim.loose_disks().len(), 1);
}

/// Begins a backup of a volume that has no backing, fails in its transfer and cannot clear away.
fn half_made_backing(client: &Client, scene: &Scene, service: &Memory) {
    let faults = scene.sim.faults();
    let refused = || Trouble::Fault(Fault::planned("NoPermission"));
    faults.on_call("ExportVm", 1, refused());
    faults.on_call("Destroy_Task", 1, refused());
    let error = first_backup(client, service).unwrap_err();
    assert_eq!(error.left_behind().len(), 1, "{error}");
    assert_eq!(scene.sim.vms().len(), 2, "the new backing");
}

fn first_backup(
    client: &Client,
    service: &Memory,
) -> vmdk_backup::error::Result<vmdk_backup::ops::Summary> {
    let volume = Volume {
        name: "fresh".into(),
        size_bytes: 4 * MIB,
        ..Volume::default()
    };
    let options = BackupOptions {
        backup_id: "first".into(),
        ..BackupOptions::default()
    };
    backup_volume(client, service, &volume, options)
}

#[test]
fn a_backing_that_was_made_for_a_backup_that_failed_is_cleared_away() {
    let scene = Scene::new(Options::default());
    let (client, state) = journaling(&scene);
    half_made_backing(&client, &scene, &Memory::default());
    assert_eq!(state.read_dir().unwrap().count(), 1, "the journal");
    let told = recover_now(&client);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_nothing_is_left(&scene);
    assert_eq!(state.read_dir().unwrap().count(), 0);
}

#[test]
fn a_backing_that_another_backup_took_over_is_no_leftover_any_more() {
    let scene = Scene::new(Options::default());
    let (client, state) = journaling(&scene);
    let service = Memory::default();
    half_made_backing(&client, &scene, &service);
    let done = first_backup(&client, &service).unwrap();
    assert!(!done.backing_created);
    let told = recover_now(&client);
    assert!(
        told.iter().all(|one| one.outcome != Outcome::Failed),
        "{told:?}"
    );
    assert_eq!(scene.sim.vm(&done.backing).unwrap().name, "fresh");
    assert_eq!(state.read_dir().unwrap().count(), 0);
}

#[test]
fn a_journal_that_cannot_be_read_keeps_no_other_from_being_recovered() {
    let scene = Scene::new(Options::default());
    let (client, state) = journaling(&scene);
    half_made_backing(&client, &scene, &Memory::default());
    let strange = state.join("0123456789abcdef.journal");
    std::fs::write(&strange, "{\"version\":2}\n").unwrap();
    let told = recover_now(&client);
    let failed = told.iter().filter(|one| one.outcome == Outcome::Failed);
    assert_eq!(failed.count(), 1, "{told:?}");
    assert_nothing_is_left(&scene);
    assert!(strange.exists());
}
