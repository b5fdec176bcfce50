//! A volume goes out and comes back: every combination of staging, backing, disk type and server.

use crate::fixture::{DISK_UUID, MIB, Memory, Scene, VOLUME_ID, same};
use vmdk_backup::ops::{BackupOptions, Common, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::service::{BackupService, Directory, Staging};
use vmdk_backup::volume::{AdapterType, DiskType, Volume};
use vsphere_sim::{Options, VolumeSpec};

fn backup_options(staging: Option<Staging>, scene: &Scene) -> BackupOptions<'static> {
    BackupOptions {
        backup_id: "b1".into(),
        common: common(staging, scene),
        ..BackupOptions::default()
    }
}

fn restore_options(staging: Option<Staging>, scene: &Scene) -> RestoreOptions<'static> {
    RestoreOptions {
        backup_id: "b1".into(),
        common: common(staging, scene),
        ..RestoreOptions::default()
    }
}

fn common(staging: Option<Staging>, scene: &Scene) -> Common<'static> {
    Common {
        staging,
        temp_dir: Some(scene.dir.path().to_owned()),
        ..Common::default()
    }
}

fn sim_type(disk_type: DiskType) -> vsphere_sim::DiskType {
    match disk_type {
        DiskType::Thin => vsphere_sim::DiskType::Thin,
        DiskType::Thick => vsphere_sim::DiskType::Thick,
        DiskType::EagerZeroedThick => vsphere_sim::DiskType::EagerZeroedThick,
    }
}

/// Backs up, damages and restores; into the existing backing or as another volume.
fn round_trip(options: Options, staging: Staging, disk_type: DiskType, existing: bool) {
    let spec = VolumeSpec {
        disk_type: sim_type(disk_type),
        ..VolumeSpec::new("volume-1", 40 * MIB + 512 * 1024)
    };
    let scene = Scene::with_volume(options, spec);
    let store = scene.dir.path().join("backups");
    std::fs::create_dir(&store).unwrap();
    let service = Directory::new(&store).unwrap();
    let client = scene.client();

    let made = backup_volume(
        &client,
        &service,
        &scene.volume(),
        backup_options(Some(staging), &scene),
    )
    .unwrap();
    assert_eq!(made.capacity, scene.disk().capacity);
    assert!(made.notices.is_empty(), "{:?}", made.notices);
    let stream = scene.dir.path().join("stream.vmdk");
    let mut reader = service.open("b1").unwrap();
    let mut bytes = vec![0; usize::try_from(reader.length()).unwrap()];
    let mut at = 0;
    while at < bytes.len() {
        at += reader.read(&mut bytes[at..]).unwrap();
    }
    std::fs::write(&stream, bytes).unwrap();
    assert!(
        same(&scene.raw, "raw", &stream, "vmdk"),
        "the backup differs"
    );

    scene.damage();
    let before = scene.sim.vm(&scene.vm).unwrap();
    let volume = if existing {
        scene.volume()
    } else {
        Volume {
            name: "volume-2".into(),
            id: Some("3f2504e0-4f89-41d3-9a0c-0305e82c3399".into()),
            ..Volume::default()
        }
    };
    let restored = restore_backup(
        &client,
        &service,
        &volume,
        restore_options(Some(staging), &scene),
    )
    .unwrap();
    assert!(restored.notices.is_empty(), "{:?}", restored.notices);
    assert_eq!(restored.content_digest, made.content_digest);
    assert_eq!(restored.backing_created, !existing);
    scene.assert_restored(&restored.backing);

    let after = scene.sim.vm(&restored.backing).unwrap();
    let disk = &after.disks[0];
    assert_eq!(disk.disk_type, sim_type(disk_type));
    assert_eq!(after.disks.len(), 1);
    if existing {
        assert_eq!(restored.backing, scene.vm, "the backing is another object");
        assert_eq!(after.name, before.name);
        assert_eq!(after.instance_uuid, before.instance_uuid);
        assert_eq!(disk.controller_key, before.disks[0].controller_key);
        assert_eq!(disk.unit, before.disks[0].unit);
        assert_eq!(disk.uuid, DISK_UUID);
    } else {
        assert_eq!(after.name, "volume-2");
        assert_eq!(Some(after.instance_uuid.clone()), volume.id);
        assert_eq!(Some(disk.uuid.clone()), volume.id);
        assert!(
            after
                .extra_config
                .iter()
                .all(|(key, _)| key != "vmdk_backup.operation")
        );
    }
    let vms = scene.sim.vms().len();
    assert_eq!(vms, if existing { 1 } else { 2 }, "a temporary VM is left");
    assert_eq!(scene.sim.loose_disks(), [""; 0], "a disk file is left");
    drop(client);
    assert_eq!(scene.sim.sessions(), 0, "a session is left");
    assert!(scene.sim.leases().iter().all(|lease| !lease.is_open()));
}

macro_rules! round_trips {
    ($($name:ident: $options:expr, $staging:ident, $disk_type:ident, $existing:expr;)+) => {
        $(#[test] fn $name() {
            round_trip($options, Staging::$staging, DiskType::$disk_type, $existing);
        })+
    };
}

round_trips! {
    vcenter_stream_existing_thin: Options::default(), Stream, Thin, true;
    vcenter_stream_existing_thick: Options::default(), Stream, Thick, true;
    vcenter_stream_new_thin: Options::default(), Stream, Thin, false;
    vcenter_stream_new_thick: Options::default(), Stream, Thick, false;
    vcenter_file_existing_thin: Options::default(), File, Thin, true;
    vcenter_file_existing_thick: Options::default(), File, Thick, true;
    vcenter_file_new_thin: Options::default(), File, Thin, false;
    vcenter_file_new_thick: Options::default(), File, Thick, false;
    vcenter_stream_existing_eager: Options::default(), Stream, EagerZeroedThick, true;
    vcenter_stream_new_eager: Options::default(), Stream, EagerZeroedThick, false;
    esxi_stream_existing_thin: Options::esxi(), Stream, Thin, true;
    esxi_stream_existing_thick: Options::esxi(), Stream, Thick, true;
    esxi_stream_new_thin: Options::esxi(), Stream, Thin, false;
    esxi_stream_new_thick: Options::esxi(), Stream, Thick, false;
    esxi_file_existing_thin: Options::esxi(), File, Thin, true;
    esxi_file_existing_thick: Options::esxi(), File, Thick, true;
    esxi_file_new_thin: Options::esxi(), File, Thin, false;
    esxi_file_new_thick: Options::esxi(), File, Thick, false;
}

#[test]
fn a_volume_without_a_backing_gets_one_and_its_backup_is_empty() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let client = scene.client();
    let volume = Volume {
        name: "fresh".into(),
        id: Some("3f2504e0-4f89-41d3-9a0c-0305e82c3377".into()),
        size_bytes: 8 * MIB,
        disk_type: Some(DiskType::Thick),
        adapter_type: Some(AdapterType::ParaVirtual),
        extra_config: vec![("cinder.volume.id".into(), "x".into())],
        ..Volume::default()
    };
    let summary = backup_volume(&client, &service, &volume, backup_options(None, &scene)).unwrap();
    assert!(summary.backing_created);
    assert_eq!((summary.capacity, summary.populated), (8 * MIB, 0));
    let vm = scene.sim.vm(&summary.backing).unwrap();
    assert_eq!(vm.name, "fresh");
    assert_eq!(Some(vm.instance_uuid.clone()), volume.id);
    assert_eq!(Some(vm.disks[0].uuid.clone()), volume.id);
    assert_eq!(vm.disks[0].capacity, 8 * MIB);
    assert_eq!(vm.disks[0].disk_type, vsphere_sim::DiskType::Thick);
    assert!(
        vm.extra_config
            .contains(&("cinder.volume.id".into(), "x".into()))
    );
    assert!(service.kept.borrow().contains_key("b1"));
}

#[test]
fn a_larger_volume_is_extended() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let client = scene.client();
    backup_volume(
        &client,
        &service,
        &scene.volume(),
        backup_options(None, &scene),
    )
    .unwrap();
    for disk_type in [DiskType::Thin, DiskType::EagerZeroedThick] {
        let volume = Volume {
            name: format!("larger-{disk_type}"),
            size_bytes: 100 * MIB,
            disk_type: Some(disk_type),
            ..Volume::default()
        };
        let summary =
            restore_backup(&client, &service, &volume, restore_options(None, &scene)).unwrap();
        let vm = scene.sim.vm(&summary.backing).unwrap();
        assert_eq!(vm.disks[0].capacity, 100 * MIB);
        assert_eq!(vm.disks[0].disk_type, sim_type(disk_type));
        scene.assert_restored(&summary.backing);
    }
}

#[test]
fn a_host_that_imports_another_type_is_made_to_convert() {
    let scene = Scene::new(Options {
        import_disk_type: Some(vsphere_sim::DiskType::Thick),
        ..Options::default()
    });
    let service = Memory::default();
    let client = scene.client();
    backup_volume(
        &client,
        &service,
        &scene.volume(),
        backup_options(None, &scene),
    )
    .unwrap();
    scene.damage();
    let summary = restore_backup(
        &client,
        &service,
        &scene.volume(),
        restore_options(None, &scene),
    )
    .unwrap();
    assert_eq!(scene.disk().disk_type, vsphere_sim::DiskType::Thin);
    scene.assert_restored(&summary.backing);
}

#[test]
fn a_backing_is_found_by_moref_by_id_and_by_name() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let client = scene.client();
    let by = [
        Volume {
            moref: Some(scene.vm.clone()),
            ..Volume::default()
        },
        Volume {
            id: Some(VOLUME_ID.to_uppercase()),
            ..Volume::default()
        },
        Volume {
            name: "volume-1".into(),
            ..Volume::default()
        },
    ];
    for (number, volume) in by.iter().enumerate() {
        let options = BackupOptions {
            backup_id: format!("by-{number}"),
            ..BackupOptions::default()
        };
        let summary = backup_volume(&client, &service, volume, options).unwrap();
        assert_eq!(summary.backing, scene.vm);
    }
}

#[test]
fn the_metadata_tells_of_volume_stream_and_source() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let client = scene.client();
    backup_volume(
        &client,
        &service,
        &scene.volume(),
        backup_options(None, &scene),
    )
    .unwrap();
    let kept = service.kept.borrow()["b1"].clone();
    let json: serde_json::Value = serde_json::from_str(&kept.metadata.unwrap()).unwrap();
    assert_eq!(json["format"], "vmdk-backup");
    assert_eq!(json["version"], 1);
    assert_eq!(json["volume"]["name"], "volume-1");
    assert_eq!(json["volume"]["id"], VOLUME_ID);
    assert_eq!(json["volume"]["disk_type"], "thin");
    assert_eq!(json["volume"]["adapter_type"], "lsiLogic");
    assert_eq!(json["volume"]["disk_uuid"], DISK_UUID);
    assert_eq!(json["stream"]["length"], kept.stream.len());
    let stream = scene.dir.path().join("stream");
    std::fs::write(&stream, &kept.stream).unwrap();
    assert_eq!(json["stream"]["sha256"], crate::fixture::sha256(&stream));
    assert_eq!(json["stream"]["capacity"], scene.disk().capacity);
    assert_eq!(json["source"]["backing"], scene.vm);
}

#[test]
fn a_service_that_blocks_for_longer_than_the_lease_lives_loses_nothing() {
    let scene = std::rc::Rc::new(Scene::new(Options {
        lease_timeout: std::time::Duration::from_secs(3),
        ..Options::default()
    }));
    let service = Memory::default();
    let seen = scene.clone();
    *service.before_write.borrow_mut() = Some(Box::new(move || {
        // Six renewals at a quarter of the life time each: without them it would be dead by now.
        let renewals = || {
            let lease = seen.sim.leases().into_iter().find(|lease| lease.is_open());
            lease.expect("the lease is alive").progress_calls.len()
        };
        while renewals() < 6 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }));
    let client = scene.client();
    backup_volume(
        &client,
        &service,
        &scene.volume(),
        backup_options(None, &scene),
    )
    .unwrap();
    assert!(service.kept.borrow().contains_key("b1"));
}
