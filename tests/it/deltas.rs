//! Disks that are deltas on others: linked clones, and volumes with snapshots.

use crate::fixture::{Memory, Scene};
use vmdk_backup::error::Kind;
use vmdk_backup::ops::{BackupOptions, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::volume::Volume;
use vsphere_sim::Options;

fn backup(id: &str) -> BackupOptions<'static> {
    BackupOptions {
        backup_id: id.into(),
        ..BackupOptions::default()
    }
}

fn restore(id: &str) -> RestoreOptions<'static> {
    RestoreOptions {
        backup_id: id.into(),
        ..RestoreOptions::default()
    }
}

fn named(name: &str) -> Volume {
    Volume {
        name: name.into(),
        ..Volume::default()
    }
}

fn sum(scene: &Scene, vm: &str) -> String {
    let key = scene.sim.vm(vm).unwrap().disks[0].key;
    scene.sim.disk_sha256(vm, key).unwrap()
}

fn write(scene: &Scene, vm: &str, text: &[u8]) {
    let key = scene.sim.vm(vm).unwrap().disks[0].key;
    scene.sim.write_disk(vm, key, 4096, text).unwrap();
}

#[test]
fn a_linked_clone_is_backed_up_in_full_and_its_delta_is_not_replaced() {
    let scene = Scene::new(Options::default());
    let clone = scene.sim.add_linked_clone(&scene.vm, "clone").unwrap();
    write(&scene, &clone, b"of the clone only");
    let expected = sum(&scene, &clone);
    let (client, service) = (scene.client(), Memory::default());
    let volume = named("clone");
    backup_volume(&client, &service, &volume, backup("b")).unwrap();

    // To replace the delta would cut the clone off its parent.
    write(&scene, &clone, b"after the backup, this");
    let state = scene.state();
    let error = restore_backup(&client, &service, &volume, restore("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.to_string().contains("delta"), "{error}");
    assert!(error.left_behind().is_empty(), "{error}");
    assert_eq!(scene.state(), state);

    // Without the clone and its parent the backup is still complete.
    scene.sim.remove_vm(&clone);
    scene.sim.remove_vm(&scene.vm);
    restore_backup(&client, &service, &volume, restore("b")).unwrap();
    let restored = scene.sim.find_vm("clone").unwrap();
    assert!(restored.disks[0].parents.is_empty());
    assert_eq!(sum(&scene, &restored.moref), expected);
}

#[test]
fn a_volume_with_a_snapshot_is_backed_up_as_it_is_now() {
    let scene = Scene::new(Options::default());
    scene.sim.add_snapshot(&scene.vm, "before").unwrap();
    write(&scene, &scene.vm, b"since the snapshot");
    let expected = sum(&scene, &scene.vm);
    let (client, service) = (scene.client(), Memory::default());
    backup_volume(&client, &service, &scene.volume(), backup("b")).unwrap();
    let error = restore_backup(&client, &service, &scene.volume(), restore("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.to_string().contains("before"), "{error}");

    let name = scene.sim.vm(&scene.vm).unwrap().name;
    scene.sim.remove_vm(&scene.vm);
    restore_backup(&client, &service, &named(&name), restore("b")).unwrap();
    let restored = scene.sim.find_vm(&name).unwrap();
    assert_eq!(sum(&scene, &restored.moref), expected);
}
