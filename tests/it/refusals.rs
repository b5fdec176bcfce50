//! What cannot work ends in a clear error, and leaves server, service and temporary directory alone.

use crate::fixture::{MIB, Memory, Scene};
use std::path::PathBuf;
use vmdk_backup::client::Client;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{
    BackupOptions, Common, RestoreOptions, Summary, backup_volume, restore_backup,
};
use vmdk_backup::service::Staging;
use vmdk_backup::transport::tls::{Fingerprint, Trust};
use vmdk_backup::volume::Volume;
use vsphere_sim::{DataTrouble, Options, Trouble, VolumeSpec};

struct Attempt {
    scene: Scene,
    client: Client,
    service: Memory,
    volume: Volume,
    staging: Staging,
    temp_dir: PathBuf,
    allow_other_volume: bool,
}

impl Attempt {
    fn new() -> Attempt {
        let scene = Scene::new(Options::default());
        let temp_dir = scene.dir.path().join("temporary");
        std::fs::create_dir_all(&temp_dir).unwrap();
        Attempt {
            client: scene.impatient_client(),
            volume: scene.volume(),
            scene,
            service: Memory::default(),
            staging: Staging::Stream,
            temp_dir,
            allow_other_volume: false,
        }
    }

    fn common(&self) -> Common<'static> {
        Common {
            staging: Some(self.staging),
            temp_dir: Some(self.temp_dir.clone()),
            ..Common::default()
        }
    }

    fn backup(&self, id: &str) -> Result<Summary, Error> {
        let options = BackupOptions {
            backup_id: id.into(),
            common: self.common(),
            ..BackupOptions::default()
        };
        backup_volume(&self.client, &self.service, &self.volume, options)
    }

    fn restore(&self, id: &str) -> Result<Summary, Error> {
        let options = RestoreOptions {
            backup_id: id.into(),
            allow_other_volume: self.allow_other_volume,
            common: self.common(),
        };
        restore_backup(&self.client, &self.service, &self.volume, options)
    }

    /// Runs `operation`, which must fail as `kind` and change nothing.
    fn refused(
        &self,
        kind: Kind,
        words: &str,
        operation: impl FnOnce(&Self) -> Result<Summary, Error>,
    ) {
        let state = self.scene.state();
        let kept = self.service.kept.borrow().len();
        let error = operation(self).expect_err(words);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.left_behind().is_empty(), "{error}");
        assert_eq!(self.scene.state(), state, "after: {error}");
        assert_eq!(self.service.kept.borrow().len(), kept, "after: {error}");
        if let Ok(entries) = self.temp_dir.read_dir() {
            let names = entries.map(|entry| entry.unwrap().file_name());
            let ours = |name: &std::ffi::OsString| name.to_string_lossy().contains("vmdk");
            assert_eq!(names.filter(ours).count(), 0, "after: {error}");
        }
    }
}

#[test]
fn a_wrong_password_is_auth() {
    let scene = Scene::new(Options::default());
    let mut options = scene.connect_options();
    options.password = "wrong-pass".to_owned().into();
    let error = Client::connect(options).err().unwrap();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(error.fault(), Some("InvalidLogin"));
    assert!(!error.to_string().contains("wrong-pass"));
    assert_eq!(scene.sim.sessions(), 0);
}

#[test]
fn a_wrong_certificate_is_tls_and_names_the_presented_one() {
    let scene = Scene::new(Options::default());
    let presented = scene.sim.fingerprint_sha256().to_owned();
    for trust in [Trust::Pin(Fingerprint::Sha256([7; 32])), Trust::System] {
        let mut options = scene.connect_options();
        options.trust = trust;
        let error = Client::connect(options).err().unwrap();
        assert_eq!(error.kind(), Kind::Tls, "{error}");
        assert!(error.to_string().contains(&presented), "{error}");
    }
    let recorded = scene.sim.requests();
    assert!(recorded.iter().all(|request| request.method != "Login"));
}

#[test]
fn a_pin_of_either_kind_is_enough() {
    let scene = Scene::new(Options::default());
    for pin in [scene.sim.fingerprint_sha256(), scene.sim.fingerprint_sha1()] {
        let mut options = scene.connect_options();
        options.trust = Trust::Pin(pin.parse().unwrap());
        Client::connect(options).unwrap();
    }
}

#[test]
fn an_unknown_backing_is_not_found() {
    let mut attempt = Attempt::new();
    attempt.volume = Volume {
        moref: Some("vm-4711".into()),
        ..Volume::default()
    };
    attempt.refused(Kind::NotFound, "vm-4711", |a| a.backup("b"));
    attempt.volume = Volume {
        name: "nobody".into(),
        ..Volume::default()
    };
    attempt.refused(Kind::NotFound, "nobody", |a| a.backup("b"));
}

#[test]
fn an_unknown_backup_is_not_found() {
    let attempt = Attempt::new();
    attempt.refused(Kind::NotFound, "there is none", |a| a.restore("b"));
}

#[test]
fn a_backup_id_that_is_taken_is_exists() {
    let attempt = Attempt::new();
    attempt.backup("b").unwrap();
    attempt.refused(Kind::Exists, "there is one", |a| a.backup("b"));
}

#[test]
fn a_backup_id_is_no_path() {
    let attempt = Attempt::new();
    for id in ["", "../b", "a/b", ".b", "a b", &"x".repeat(256)] {
        attempt.refused(Kind::InvalidArgument, "backup id", |a| a.backup(id));
        attempt.refused(Kind::InvalidArgument, "backup id", |a| a.restore(id));
    }
}

#[test]
fn a_backing_without_a_disk_is_not_found() {
    let mut attempt = Attempt::new();
    let spec = VolumeSpec::new("diskless", MIB);
    let vm = attempt.scene.sim.add_volume(&spec).unwrap();
    let key = attempt.scene.sim.vm(&vm).unwrap().disks[0].key;
    attempt.scene.sim.remove_disk(&vm, key).unwrap();
    attempt.volume = Volume {
        moref: Some(vm),
        ..Volume::default()
    };
    attempt.refused(Kind::NotFound, "no disk", |a| a.backup("b"));
}

#[test]
fn two_disks_need_a_choice() {
    let mut attempt = Attempt::new();
    let spec = VolumeSpec::new("second", 2 * MIB);
    let second = attempt
        .scene
        .sim
        .add_disk(&attempt.scene.vm, &spec)
        .unwrap();
    attempt.refused(Kind::InvalidArgument, "2 disks", |a| a.backup("b"));
    attempt.volume.disk_key = Some(second);
    assert_eq!(attempt.backup("second").unwrap().capacity, 2 * MIB);
    attempt.volume.disk_key = Some(4711);
    attempt.refused(Kind::NotFound, "4711", |a| a.backup("b"));
}

#[test]
fn snapshots_forbid_a_restore_and_are_named() {
    let attempt = Attempt::new();
    attempt.backup("b").unwrap();
    attempt
        .scene
        .sim
        .add_snapshot(&attempt.scene.vm, "before-upgrade")
        .unwrap();
    attempt.refused(Kind::InvalidState, "before-upgrade", |a| a.restore("b"));
}

#[test]
fn a_running_backing_is_refused() {
    let attempt = Attempt::new();
    attempt.backup("b").unwrap();
    attempt
        .scene
        .sim
        .set_power(&attempt.scene.vm, true)
        .unwrap();
    attempt.refused(Kind::InvalidState, "poweredOn", |a| a.backup("c"));
    attempt.refused(Kind::InvalidState, "poweredOn", |a| a.restore("b"));
}

#[test]
fn a_smaller_volume_is_refused() {
    let mut attempt = Attempt::new();
    attempt.backup("b").unwrap();
    attempt.volume = Volume {
        name: "smaller".into(),
        size_bytes: 8 * MIB,
        ..Volume::default()
    };
    attempt.refused(Kind::InvalidArgument, "only 8388608", |a| a.restore("b"));
    let small = VolumeSpec::new("small", 8 * MIB);
    attempt.allow_other_volume = true;
    attempt.volume = Volume {
        moref: Some(attempt.scene.sim.add_volume(&small).unwrap()),
        ..Volume::default()
    };
    attempt.refused(Kind::InvalidArgument, "only 8388608", |a| a.restore("b"));
}

#[test]
fn a_name_that_is_another_ones_is_exists() {
    let mut attempt = Attempt::new();
    attempt.backup("b").unwrap();
    let spec = VolumeSpec::new("inside", 8 * MIB);
    let vm = attempt.scene.sim.add_volume(&spec).unwrap();
    attempt.scene.sim.move_vm(&vm, &["taken"]).unwrap();
    attempt.volume = Volume {
        name: "taken".into(),
        id: Some("3f2504e0-4f89-41d3-9a0c-0305e82c3355".into()),
        ..Volume::default()
    };
    attempt.refused(Kind::Exists, "taken", |a| a.restore("b"));
}

#[test]
fn a_spoiled_backup_is_corrupt_before_the_old_disk_is_touched() {
    let mut attempt = Attempt::new();
    attempt.backup("b").unwrap();
    let good = attempt.service.kept.borrow()["b"].clone();
    let length = good.stream.len();
    type Spoil = Box<dyn Fn(&mut Vec<u8>)>;
    let spoils: [(&str, Spoil); 6] = [
        ("empty", Box::new(Vec::clear)),
        ("no VMDK", Box::new(|s| s.fill(0x55))),
        ("cut in the header", Box::new(|s| s.truncate(100))),
        (
            "cut in the middle",
            Box::new(move |s| s.truncate(length / 2)),
        ),
        (
            "without its end",
            Box::new(move |s| s.truncate(length - 512)),
        ),
        ("one bit flipped", Box::new(move |s| s[length / 2] ^= 4)),
    ];
    for staging in [Staging::Stream, Staging::File] {
        attempt.staging = staging;
        for (name, spoil) in &spoils {
            // With and without metadata: the stream alone gives it away, too.
            for metadata in [true, false] {
                attempt.service.spoil("b", |kept| {
                    *kept = good.clone();
                    spoil(&mut kept.stream);
                    if !metadata {
                        kept.metadata = None;
                    }
                });
                println!("{name}, {staging:?}, metadata {metadata}");
                attempt.refused(Kind::Corrupt, "restore of backup b", |a| a.restore("b"));
            }
        }
    }
}

#[test]
fn metadata_of_another_stream_is_corrupt() {
    let attempt = Attempt::new();
    attempt.backup("b").unwrap();
    let digest = |text: &str| -> String {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        json["stream"]["sha256"].as_str().unwrap().to_owned()
    };
    attempt.service.spoil("b", |kept| {
        let text = kept.metadata.take().unwrap();
        kept.metadata = Some(text.replace(&digest(&text), &"0".repeat(64)));
    });
    attempt.refused(Kind::Corrupt, "SHA-256", |a| a.restore("b"));
}

#[test]
fn a_service_that_fails_at_any_call_ends_the_operation_cleanly() {
    let mut attempt = Attempt::new();
    for staging in [Staging::Stream, Staging::File] {
        attempt.staging = staging;
        attempt.service.calls.set(0);
        attempt.service.fail_at.set(0);
        let id = format!("good-{staging:?}");
        attempt.backup(&id).unwrap();
        let calls = attempt.service.calls.get();
        assert!(calls >= 4, "create, write, set_metadata, commit");
        for call in 1..=calls {
            attempt.service.calls.set(0);
            attempt.service.fail_at.set(call);
            attempt.refused(Kind::Service, "failed on purpose", |a| a.backup("b"));
        }
        attempt.service.calls.set(0);
        attempt.service.fail_at.set(0);
        attempt.restore(&id).unwrap();
        for call in 1..=attempt.service.calls.get() {
            attempt.service.calls.set(0);
            attempt.service.fail_at.set(call);
            attempt.refused(Kind::Service, "failed on purpose", |a| a.restore(&id));
        }
    }
}

#[test]
fn a_temporary_directory_that_is_missing_or_takes_no_files_is_named() {
    let mut attempt = Attempt::new();
    attempt.staging = Staging::File;
    attempt.backup("b").unwrap();
    attempt.temp_dir = "/nowhere/at/all".into();
    attempt.refused(Kind::Io, "/nowhere/at/all", |a| a.backup("c"));
    attempt.refused(Kind::Io, "/nowhere/at/all", |a| a.restore("b"));
    // A pseudo file system does not say how much room it has, and takes no files.
    attempt.temp_dir = "/proc/self".into();
    attempt.refused(Kind::Io, "/proc/self", |a| a.backup("c"));
    attempt.refused(Kind::Io, "/proc/self", |a| a.restore("b"));
}

#[test]
fn a_stream_that_breaks_between_server_and_library_is_no_backup_and_no_restore() {
    let mut attempt = Attempt::new();
    let length = attempt.backup("b").unwrap().stream_length;
    for staging in [Staging::Stream, Staging::File] {
        attempt.staging = staging;
        for at in [0, 1, length / 2, length - 1] {
            for (trouble, kinds) in [
                (DataTrouble::Close, [Kind::Connection, Kind::Corrupt]),
                (DataTrouble::Reset, [Kind::Connection, Kind::Corrupt]),
                (DataTrouble::End, [Kind::Corrupt, Kind::Corrupt]),
                (DataTrouble::Flip, [Kind::Corrupt, Kind::Corrupt]),
            ] {
                let is_harmless = at == length - 1 && matches!(trouble, DataTrouble::Flip);
                if is_harmless {
                    // The last byte of the end marker's padding: nothing there means anything.
                    continue;
                }
                let state = attempt.scene.state();
                attempt.scene.sim.faults().clear();
                attempt
                    .scene
                    .sim
                    .faults()
                    .on_export(1, Trouble::Data(at, trouble.clone()));
                let error = attempt.backup("c").expect_err("the fault fires");
                assert!(
                    kinds.contains(&error.kind()),
                    "{trouble:?} at {at}: {error}"
                );
                assert_eq!(attempt.scene.state(), state, "{trouble:?} at {at}");
                assert!(!attempt.service.kept.borrow().contains_key("c"));
            }
            for trouble in [DataTrouble::Close, DataTrouble::Reset, DataTrouble::Flip] {
                if at == length - 1 && matches!(trouble, DataTrouble::Flip) {
                    continue;
                }
                let state = attempt.scene.state();
                attempt.scene.sim.faults().clear();
                attempt
                    .scene
                    .sim
                    .faults()
                    .on_import(1, Trouble::Data(at, trouble.clone()));
                let error = attempt.restore("b").expect_err("the fault fires");
                println!("import, {trouble:?} at {at}: {error}");
                assert!(error.left_behind().is_empty(), "{error}");
                assert_eq!(attempt.scene.state(), state, "{trouble:?} at {at}: {error}");
            }
        }
    }
}

#[test]
fn metadata_that_could_not_be_read_again_is_refused_before_the_disk_moves() {
    let mut attempt = Attempt::new();
    attempt.volume.storage_profile = Some("x".repeat(1 << 20));
    attempt.scene.sim.clear_requests();
    attempt.refused(Kind::InvalidArgument, "the metadata has", |a| a.backup("b"));
    let requests = attempt.scene.sim.requests();
    assert!(requests.iter().all(|request| request.method != "ExportVm"));
    attempt.volume.storage_profile = Some("x".repeat((1 << 20) - 4096));
    attempt.backup("b").unwrap();
    attempt.restore("b").unwrap();
}
