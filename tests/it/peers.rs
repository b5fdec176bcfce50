//! The library against other people's programs: the VIM schema, and govmomi's simulator.

use crate::fixture::{MIB, Memory, Scene, VOLUME_ID};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::Kind;
use vmdk_backup::log::Log;
use vmdk_backup::ops::{
    BackupOptions, RecoverOptions, RestoreOptions, backup_volume, recover, restore_backup,
};
use vmdk_backup::transport::tls::Trust;
use vmdk_backup::volume::{AdapterType, DiskType, Placement, Volume};
use vsphere_sim::{DiskType as SimType, Options};

/// Where tests/peers/setup.sh has installed them: in the directory of all build results.
fn installed() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let peers = test.ancestors().nth(3).unwrap().join("peers");
    assert!(
        peers.join("setup.done").exists(),
        "run tests/peers/setup.sh first"
    );
    peers
}

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

#[test]
fn every_request_is_valid_by_the_schema_of_the_api() {
    let bodies = tempfile::tempdir().unwrap();
    let mut methods = std::collections::BTreeSet::new();
    for options in [
        Options {
            import_disk_type: Some(SimType::Thin),
            ..Options::default()
        },
        Options::esxi(),
    ] {
        let scene = Scene::new(options);
        let service = Memory::default();
        let client = scene.client();
        backup_volume(&client, &service, &scene.volume(), backup("b")).unwrap();
        restore_backup(&client, &service, &scene.volume(), restore("b")).unwrap();
        let fresh = Volume {
            name: "fresh & <new>".into(),
            id: Some(VOLUME_ID.replace('3', "4")),
            size_bytes: 8 * MIB,
            disk_type: Some(DiskType::EagerZeroedThick),
            adapter_type: Some(AdapterType::ParaVirtual),
            storage_profile: Some("profile-1".into()),
            placement: Placement {
                folder: Some("volumes/gold".into()),
                ..Placement::default()
            },
            extra_config: vec![("agent.key".into(), "value".into())],
            ..Volume::default()
        };
        let created = backup_volume(&client, &service, &fresh, backup("fresh"));
        let larger = Volume {
            name: "larger".into(),
            size_bytes: 100 * MIB,
            disk_type: Some(DiskType::Thick),
            ..fresh.clone()
        };
        let larger = Volume { id: None, ..larger };
        let restored = restore_backup(&client, &service, &larger, restore("b"));
        if scene.options.mode == vsphere_sim::Mode::VCenter {
            created.unwrap();
            restored.unwrap();
        }
        recover(&client, RecoverOptions::default()).unwrap();
        drop(client);
        for (number, request) in scene.sim.requests().iter().enumerate() {
            if request.body.is_empty() {
                continue;
            }
            methods.insert(request.method.clone());
            let name = format!(
                "{:?}-{number:05}-{}.xml",
                scene.options.mode, request.method
            );
            fs::write(bodies.path().join(name), &request.body).unwrap();
        }
    }
    for method in [
        "Login",
        "RetrievePropertiesEx",
        "CreateVM_Task",
        "CreateFolder",
        "ReconfigVM_Task",
        "ExportVm",
        "ImportVApp",
        "HttpNfcLeaseGetManifest",
        "HttpNfcLeaseComplete",
        "CopyVirtualDisk_Task",
        "MoveVirtualDisk_Task",
        "ExtendVirtualDisk_Task",
        "DeleteVirtualDisk_Task",
        "Destroy_Task",
        "Logout",
    ] {
        assert!(methods.contains(method), "no {method} among {methods:?}");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/schema/validate.py");
    let output = crate::stage::program(installed().join("venv/bin/python"))
        .arg("-B")
        .arg(script)
        .arg(bodies.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// govmomi's simulator, ended with its standard input.
struct Vcsim {
    program: Child,
    url: String,
    ca: PathBuf,
    _dir: tempfile::TempDir,
}

impl Vcsim {
    fn start(esx: bool) -> Vcsim {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut program = crate::stage::program(installed().join("vcsim"))
            .args(esx.then_some("-esx"))
            .arg("-cert")
            .arg(&cert)
            .arg("-key")
            .arg(&key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(program.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        Vcsim {
            program,
            url: url.trim().to_owned(),
            ca: cert,
            _dir: dir,
        }
    }

    fn connect(&self) -> Client {
        Client::connect(ConnectOptions {
            server: self.url.clone(),
            username: "user".into(),
            password: "pass".to_owned().into(),
            trust: Trust::CaFile(self.ca.clone()),
            connect_timeout: None,
            request_timeout: None,
            keepalive_interval: None,
            proxy: None,
            allow_plain_http: false,
            retries: crate::fixture::FAST,
            state_dir: None,
            log: Log::default(),
        })
        .unwrap()
    }
}

impl Drop for Vcsim {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        self.program.wait().unwrap();
    }
}

/// A backup made from the own simulator, to be restored into another one.
fn a_backup() -> (Scene, Memory) {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let client = scene.client();
    backup_volume(&client, &service, &scene.volume(), backup("b")).unwrap();
    drop(client);
    (scene, service)
}

#[test]
fn govmomis_vcenter_takes_a_restore_as_far_as_it_goes() {
    let (_scene, service) = a_backup();
    let vcsim = Vcsim::start(false);
    let client = vcsim.connect();
    let volume = Volume {
        name: "restored".into(),
        id: Some(VOLUME_ID.into()),
        placement: Placement {
            compute: Some("DC0_C0".into()),
            resource_pool: Some("DC0_C0_RP2".into()),
            ..Placement::default()
        },
        ..Volume::default()
    };
    // It imports, keeps the SHA-1 of what was uploaded for the manifest, and reconfigures.
    let restored = restore_backup(&client, &service, &volume, restore("b")).unwrap();
    assert!(restored.backing_created);
    // The new backing is found by its instance UUID, and refused with a clear word: ExportVm is
    // not there.
    let by_id = Volume {
        id: Some(VOLUME_ID.into()),
        ..Volume::default()
    };
    let error = backup_volume(&client, &service, &by_id, backup("again")).unwrap_err();
    assert!(error.to_string().contains(&restored.backing), "{error}");
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(!service.kept.borrow().contains_key("again"));
}

#[test]
fn govmomis_vcenter_creates_and_destroys_a_backing() {
    let service = Memory::default();
    let vcsim = Vcsim::start(false);
    let client = vcsim.connect();
    let volume = Volume {
        name: "fresh".into(),
        size_bytes: 8 * MIB,
        placement: Placement {
            folder: Some("volumes/gold".into()),
            ..Placement::default()
        },
        ..Volume::default()
    };
    let error = backup_volume(&client, &service, &volume, backup("b")).unwrap_err();
    // It was created, could not be exported, and was destroyed again.
    assert!(
        error.to_string().contains("export virtual machine"),
        "{error}"
    );
    assert!(error.left_behind().is_empty(), "{error}");
    let gone = Volume {
        size_bytes: 0,
        ..volume
    };
    let error = backup_volume(&client, &service, &gone, backup("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
}

#[test]
fn govmomis_esx_host_lets_itself_be_looked_at() {
    let service = Memory::default();
    let vcsim = Vcsim::start(true);
    let client = vcsim.connect();
    let volume = Volume {
        name: "ha-host_VM0".into(),
        ..Volume::default()
    };
    let error = backup_volume(&client, &service, &volume, backup("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.to_string().contains("poweredOn"), "{error}");
}
