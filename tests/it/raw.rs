//! Services that keep raw disks, and backups of other tools: vSphere gets and gives streams all the same.

use crate::fixture::{MIB, Memory, Scene, same, sha256};
use crate::jobs::{backup, restore};
use std::path::Path;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{
    Common, RestoreOptions, Summary, VerifyOptions, restore_backup, verify_backup,
};
use vmdk_backup::service::{BackupService, Directory, Format, Staging};
use vmdk_backup::volume::Volume;
use vsphere_sim::{DataTrouble, Options, Trouble};

fn common(format: Format) -> Common<'static> {
    Common {
        format,
        ..Common::default()
    }
}

fn verify(service: &dyn BackupService) -> Result<Summary, Error> {
    let options = VerifyOptions {
        backup_id: "b".into(),
        ..VerifyOptions::default()
    };
    verify_backup(service, options)
}

fn spoil(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn a_volume_leaves_vsphere_as_a_raw_disk_and_comes_back() {
    let scene = Scene::new(Options::default());
    let service = Directory::new(scene.dir.path()).unwrap();
    let made = backup(&scene, &service, "b", common(Format::Raw)).unwrap();
    let disk = scene.dir.path().join("b/disk.raw");
    assert_eq!(sha256(&disk), sha256(&scene.raw));
    assert_eq!(
        verify(&service).unwrap().content_digest,
        made.content_digest
    );
    scene.damage();
    let brought = restore(&scene, &service, &scene.volume(), common(Format::Raw)).unwrap();
    assert_eq!(brought.content_digest, made.content_digest);
    scene.assert_restored(&scene.vm);
    let volume = Volume {
        name: "new".into(),
        ..Volume::default()
    };
    let new = restore(&scene, &service, &volume, common(Format::Raw)).unwrap();
    scene.assert_restored(&new.backing);
}

#[test]
fn a_broken_export_of_a_raw_disk_begins_again() {
    let scene = Scene::new(Options::default());
    let service = Directory::new(scene.dir.path()).unwrap();
    for trouble in [DataTrouble::Close, DataTrouble::Flip] {
        scene.sim.faults().on_export(1, Trouble::Data(MIB, trouble));
    }
    backup(&scene, &service, "b", common(Format::Raw)).unwrap();
    assert_eq!(
        sha256(&scene.dir.path().join("b/disk.raw")),
        sha256(&scene.raw)
    );
}

#[test]
fn a_raw_disk_that_was_changed_is_corrupt() {
    let scene = Scene::new(Options::default());
    let service = Directory::new(scene.dir.path()).unwrap();
    backup(&scene, &service, "b", common(Format::Raw)).unwrap();
    let disk = scene.dir.path().join("b/disk.raw");
    let state = scene.state();
    for at in [0, 5 * MIB, 40 * MIB] {
        spoil(&disk, at);
        assert_eq!(verify(&service).unwrap_err().kind(), Kind::Corrupt, "{at}");
        let error = restore(&scene, &service, &scene.volume(), common(Format::Raw)).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert_eq!(scene.state(), state);
        spoil(&disk, at);
    }
    verify(&service).unwrap();
}

#[test]
fn a_backup_is_restored_as_what_it_is() {
    let scene = Scene::new(Options::default());
    let service = Directory::new(scene.dir.path()).unwrap();
    backup(&scene, &service, "b", common(Format::Raw)).unwrap();
    let error = restore(&scene, &service, &scene.volume(), common(Format::Stream)).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[test]
fn a_backup_without_metadata_is_taken_for_nothing_else_than_it_is() {
    let scene = Scene::new(Options::default());
    let service = Directory::new(scene.dir.path()).unwrap();
    let state = scene.state();
    for (id, format, other) in [
        ("b", Format::Raw, Format::Stream),
        ("c", Format::Stream, Format::Raw),
    ] {
        let made = backup(&scene, &service, id, common(format)).unwrap();
        std::fs::remove_file(scene.dir.path().join(id).join("metadata.json")).unwrap();
        let verify = |format| {
            let options = VerifyOptions {
                backup_id: id.into(),
                format,
                ..VerifyOptions::default()
            };
            verify_backup(&service, options)
        };
        let verified = verify(format).unwrap();
        assert_eq!(verified.content_digest, made.content_digest);
        assert!(verified.notices[0].contains("no metadata"));
        let wrong = RestoreOptions {
            backup_id: id.into(),
            common: common(other),
            ..RestoreOptions::default()
        };
        let error = restore_backup(&scene.client(), &service, &scene.volume(), wrong).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        // The default says nothing; a raw disk has to be one.
        match other {
            Format::Stream => drop(verify(other).unwrap()),
            Format::Raw => assert_eq!(verify(other).unwrap_err().kind(), Kind::InvalidArgument),
        }
    }
    let both = scene.dir.path().join("b/disk.vmdk");
    std::fs::copy(scene.dir.path().join("c/disk.vmdk"), both).unwrap();
    let error = verify(&service).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(scene.state(), state);
}

#[test]
fn a_service_without_raw_disks_is_refused_before_anything_is_made() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let state = scene.state();
    let error = backup(&scene, &service, "b", common(Format::Raw)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert_eq!(service.aborted.get(), 1);
    assert_eq!(scene.state(), state);
}

#[test]
fn a_stream_of_another_tool_is_rewritten_on_its_way_in() {
    let scene = Scene::new(Options::default());
    let service = Directory::new(scene.dir.path()).unwrap();
    let backup = scene.dir.path().join("b");
    std::fs::create_dir(&backup).unwrap();
    let stream = backup.join("disk.vmdk");
    let made = crate::stage::program("qemu-img")
        .args(["convert", "-O", "vmdk", "-o", "subformat=streamOptimized"])
        .args([&scene.raw, &stream])
        .status();
    assert!(made.unwrap().success());
    assert!(same(&scene.raw, "raw", &stream, "vmdk"));
    for staging in [Staging::Stream, Staging::File] {
        scene.damage();
        let common = Common {
            staging: Some(staging),
            ..Common::default()
        };
        restore(&scene, &service, &scene.volume(), common).unwrap();
        scene.assert_restored(&scene.vm);
    }
}
