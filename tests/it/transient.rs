//! Faults that pass by themselves: waited for once a disk was moved and proven, told at once before.

use crate::fixture::{FAST, MIB, Memory, Scene};
use crate::jobs::backup;
use std::time::Duration;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::Result;
use vmdk_backup::ops::{
    BackupOptions, Common, RestoreOptions, Summary, backup_volume, restore_backup,
};
use vmdk_backup::retry::Retries;
use vmdk_backup::volume::{DiskType, Volume};
use vsphere_sim::{At, Fault, Options, Rule, Trouble, VolumeSpec};

const CAPACITY: u64 = 2 * MIB;

/// What a server says of an object while somebody else is at it, or its host is slow.
const FAULTS: [&str; 12] = [
    "FileLocked",
    "InvalidState",
    "ManagedObjectNotFound",
    "TaskInProgress",
    "VAppTaskInProgress",
    "ResourceInUse",
    "CannotAccessFile",
    "HostNotConnected",
    "HostCommunication",
    "InaccessibleDatastore",
    "InvalidHostConnectionState",
    "DatastoreNotWritableOnHost",
];

fn scene(converted: bool) -> (Scene, Memory) {
    let mut options = Options::default();
    let mut spec = VolumeSpec::new("volume-1", CAPACITY);
    if converted {
        options.import_disk_type = Some(vsphere_sim::DiskType::Thin);
        spec.disk_type = vsphere_sim::DiskType::Thick;
    }
    let scene = Scene::with_volume(options, spec);
    let service = Memory::default();
    backup(&scene, &service, "b", Common::default()).unwrap();
    (scene, service)
}

/// A client with time for busy objects.
fn client(scene: &Scene) -> Client {
    let retries = Retries {
        busy: Duration::from_secs(60),
        ..FAST
    };
    Client::connect(ConnectOptions {
        retries,
        ..scene.connect_options()
    })
    .unwrap()
}

fn restore(scene: &Scene, service: &Memory, new: Option<&str>) -> Result<Summary> {
    let volume = match new {
        Some(name) => Volume {
            name: name.into(),
            ..Volume::default()
        },
        None => Volume {
            disk_type: Some(DiskType::Thick),
            size_bytes: 2 * CAPACITY,
            ..scene.volume()
        },
    };
    let options = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    restore_backup(&client(scene), service, &volume, options)
}

fn called(scene: &Scene, method: &str) -> usize {
    let requests = scene.sim.requests();
    requests.iter().filter(|one| one.method == method).count()
}

/// The calls after the lease was completed, each with its number among all of its method.
fn calls_after_the_import(scene: &Scene) -> Vec<(String, u32)> {
    let requests = scene.sim.requests().into_iter();
    let soap = requests.filter(|one| one.path == "/sdk" && one.method != "Logout");
    let calls: Vec<String> = soap.map(|one| one.method).collect();
    let completed = calls.iter().position(|one| one == "HttpNfcLeaseComplete");
    let numbered = calls.iter().enumerate().map(|(index, method)| {
        let nth = calls[..=index].iter().filter(|one| *one == method).count();
        (method.clone(), nth as u32)
    });
    // Watches of tasks are not called again, and need not be.
    let watches = [
        "CreateFilter",
        "WaitForUpdatesEx",
        "DestroyPropertyCollector",
    ];
    let after = numbered.skip(completed.unwrap() + 1);
    after
        .filter(|(method, _)| !watches.contains(&method.as_str()))
        .collect()
}

/// Strikes each call, and each task, after the import: with another fault each time.
fn strike_all(new: bool) {
    let (rehearsal, service) = scene(!new);
    rehearsal.sim.clear_requests();
    restore(&rehearsal, &service, new.then_some("fresh")).unwrap();
    let calls = calls_after_the_import(&rehearsal);
    assert!(calls.len() > 3, "{calls:?}");
    let all = std::env::var("VMDK_FAULTS").as_deref() == Ok("full");
    for (index, (method, nth)) in calls.iter().enumerate() {
        let exact = ["ReconfigVM_Task", "CopyVirtualDisk_Task"].contains(&method.as_str());
        let faults = match all || (exact && *nth == 1) {
            true => FAULTS.to_vec(),
            false => vec![FAULTS[index % FAULTS.len()]],
        };
        for mut fault in faults {
            if fault == "ManagedObjectNotFound" && method == "RetrievePropertiesEx" {
                // What is read to be taken away may well be gone.
                fault = "HostCommunication";
            }
            for task in [false, true] {
                if task && !method.ends_with("_Task") {
                    continue;
                }
                let (scene, service) = scene(!new);
                scene.damage();
                let at = match task {
                    true => At::Task(Some(method.clone())),
                    false => At::Call(Some(method.clone())),
                };
                scene.sim.clear_requests();
                scene.sim.faults().add(Rule {
                    at,
                    nth: *nth,
                    times: 2,
                    trouble: Trouble::Fault(Fault::planned(fault)),
                });
                let done = restore(&scene, &service, new.then_some("fresh"));
                let what = format!("{method}#{nth} {fault}, task: {task}");
                let done = done.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(done.notices.is_empty(), "{what}: {:?}", done.notices);
                assert_eq!(called(&scene, "ImportVApp"), 1, "{what}");
                assert!(scene.sim.loose_disks().is_empty(), "{what}");
                scene.assert_restored(&done.backing);
            }
        }
    }
}

#[test]
fn a_fault_that_passes_undoes_no_proven_restore() {
    strike_all(false);
}

#[test]
fn a_fault_that_passes_undoes_no_proven_new_volume() {
    strike_all(true);
}

#[test]
fn a_fault_that_passes_undoes_no_first_backup() {
    for fault in FAULTS {
        let (scene, service) = scene(false);
        // The tag comes off the new backing after the backup was proven.
        scene
            .sim
            .faults()
            .on_call("ReconfigVM_Task", 2, Trouble::Fault(Fault::planned(fault)));
        let volume = Volume {
            name: "fresh".into(),
            id: Some("7f2504e0-4f89-41d7-9a0c-0705e82c7701".into()),
            size_bytes: CAPACITY,
            ..Volume::default()
        };
        let options = BackupOptions {
            backup_id: "first".into(),
            ..BackupOptions::default()
        };
        let fired = scene.sim.faults().fired();
        let made = backup_volume(&client(&scene), &service, &volume, options);
        made.unwrap_or_else(|error| panic!("{fault}: {error}"));
        assert_eq!(scene.sim.faults().fired(), fired + 1);
    }
}

#[test]
fn before_anything_was_moved_only_a_busy_object_is_waited_for() {
    for (fault, waits) in [
        ("FileLocked", false),
        ("InvalidState", false),
        ("ResourceInUse", false),
        ("TaskInProgress", true),
        ("VAppTaskInProgress", true),
    ] {
        let (scene, service) = scene(false);
        let trouble = Trouble::Fault(Fault::planned(fault));
        scene.sim.faults().on_call("ExportVm", 1, trouble);
        let before = called(&scene, "ExportVm");
        let options = BackupOptions {
            backup_id: "c".into(),
            ..BackupOptions::default()
        };
        let made = backup_volume(&client(&scene), &service, &scene.volume(), options);
        assert_eq!(made.is_ok(), waits, "{fault}: {made:?}");
        assert_eq!(called(&scene, "ExportVm") - before, 1 + usize::from(waits));
    }
}

#[test]
fn a_session_lost_at_a_call_of_the_lease_costs_another_transfer_only() {
    for import in [false, true] {
        for method in [
            "HttpNfcLeaseSetManifestChecksumType",
            "HttpNfcLeaseGetManifest",
            "HttpNfcLeaseComplete",
        ] {
            let (scene, service) = scene(false);
            let state = scene.state();
            scene.sim.clear_requests();
            scene.sim.faults().on_call(method, 1, Trouble::LoseSession);
            let (done, granting) = match import {
                false => {
                    let options = BackupOptions {
                        backup_id: "c".into(),
                        ..BackupOptions::default()
                    };
                    let volume = scene.volume();
                    let made = backup_volume(&client(&scene), &service, &volume, options);
                    (made, "ExportVm")
                }
                true => (restore(&scene, &service, Some("fresh")), "ImportVApp"),
            };
            let done = done.unwrap_or_else(|error| panic!("{method}: {error}"));
            assert_eq!(called(&scene, granting), 2, "{method}");
            match import {
                false => assert_eq!(scene.state(), state, "{method}"),
                true => scene.assert_restored(&done.backing),
            }
        }
    }
}

#[test]
fn an_object_is_believed_gone_only_where_the_server_names_it() {
    // Of the temporary machine, which stays: the fault names no object.
    let (scene, service) = scene(false);
    scene.sim.faults().add(Rule {
        at: At::Call(Some("Destroy_Task".into())),
        nth: 1,
        times: u32::MAX,
        trouble: Trouble::Fault(Fault::planned("ManagedObjectNotFound")),
    });
    let done = impatient_restore(&scene, &service);
    scene.sim.faults().clear();
    let told = |one: &String| one.contains("temporary virtual machine");
    assert!(done.notices.iter().any(told), "{:?}", done.notices);
}

/// A restore by a client that waits for nothing.
fn impatient_restore(scene: &Scene, service: &Memory) -> Summary {
    let options = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    restore_backup(&scene.client(), service, &scene.volume(), options).unwrap()
}
