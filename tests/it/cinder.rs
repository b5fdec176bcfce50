//! The library beside the real cinder driver: each takes over volumes where the other left them.

use crate::fixture::{FAST, Memory};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::Kind;
use vmdk_backup::log::Log;
use vmdk_backup::ops::{BackupOptions, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::transport::tls::Trust;
use vmdk_backup::volume::Volume;
use vsphere_sim::{Options, Simulator};

const GIB: u64 = 1 << 30;

/// Cinder's drivers in a process of their own; see tests/peers/python/cinder_driver.py.
struct Cinder {
    program: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    sim: Simulator,
    client: Client,
    service: Memory,
    folder: tempfile::TempDir,
}

fn installed() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let peers = test.ancestors().nth(3).unwrap().join("peers");
    assert!(
        peers.join("setup.done").exists(),
        "run tests/peers/setup.sh first"
    );
    peers
}

impl Cinder {
    fn start() -> Cinder {
        let options = Options::default();
        let sim = Simulator::start(options.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let peers = installed();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python");
        let mut program = Command::new(peers.join("venv/bin/python"))
            .arg("-B")
            .arg(script.join("cinder_driver.py"))
            .args(["--host", &sim.address().ip().to_string()])
            .args(["--port", &sim.address().port().to_string()])
            .args(["--user", &options.username, "--wsdl"])
            .arg(peers.join("wsdl/vimService.wsdl"))
            .arg("--folder")
            .arg(folder.path())
            .env("VSPHERE_PASSWORD", &options.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let client = Client::connect(ConnectOptions {
            server: sim.url(),
            username: options.username,
            password: options.password.into(),
            trust: Trust::CaFile(sim.ca_file().to_owned()),
            connect_timeout: None,
            request_timeout: None,
            keepalive_interval: None,
            proxy: None,
            allow_plain_http: false,
            retries: FAST,
            state_dir: None,
            log: Log::default(),
        });
        Cinder {
            questions: program.stdin.take(),
            answers: BufReader::new(program.stdout.take().unwrap()),
            program,
            sim,
            client: client.unwrap(),
            service: Memory::default(),
            folder,
        }
    }

    fn ask(&mut self, question: Value) -> Value {
        let questions = self.questions.as_mut().unwrap();
        writeln!(questions, "{question}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).expect("cinder's drivers have ended");
        assert!(answer.get("error").is_none(), "{question}: {answer}");
        answer["ok"].clone()
    }

    /// The same for what answers with the id of something new.
    fn make(&mut self, question: Value) -> String {
        self.ask(question).as_str().unwrap().to_owned()
    }

    fn moref(&mut self, volume: &str) -> String {
        self.make(json!(["backing", volume]))
    }

    fn content(&mut self, volume: &str) -> String {
        let vm = self.moref(volume);
        let key = self.sim.vm(&vm).unwrap().disks[0].key;
        self.sim.disk_content_sha256(&vm, key).unwrap()
    }

    /// Writes something into a volume that is there nowhere else.
    fn write(&mut self, volume: &str, text: &str) {
        let vm = self.moref(volume);
        let key = self.sim.vm(&vm).unwrap().disks[0].key;
        for (number, at) in [0, 700 << 20, GIB - 4096].into_iter().enumerate() {
            let text = format!("{volume} {text} {number}").repeat(20);
            self.sim.write_disk(&vm, key, at, text.as_bytes()).unwrap();
        }
    }

    fn backup(&self, volume: &str, id: &str) {
        let options = BackupOptions {
            backup_id: id.into(),
            ..BackupOptions::default()
        };
        backup_volume(&self.client, &self.service, &known(volume), options).unwrap();
    }

    fn restore(&self, volume: &str, id: &str) -> Result<(), vmdk_backup::error::Error> {
        let options = RestoreOptions {
            backup_id: id.into(),
            ..RestoreOptions::default()
        };
        restore_backup(&self.client, &self.service, &known(volume), options).map(drop)
    }

    /// The library takes a volume through a backup and back, and cinder goes on with it.
    fn assert_round_trip(&mut self, volume: &str, gib: u64) {
        self.write(volume, "kept");
        let kept = self.content(volume);
        self.backup(volume, volume);
        self.write(volume, "lost");
        assert_ne!(self.content(volume), kept);
        self.restore(volume, volume).unwrap();
        assert_eq!(self.content(volume), kept, "{volume}");
        self.ask(json!(["extend", volume, gib + 1]));
        let vm = self.moref(volume);
        assert_eq!(
            self.sim.vm(&vm).unwrap().disks[0].capacity,
            (gib + 1) * GIB,
            "{volume}"
        );
        self.ask(json!(["delete", volume]));
        assert!(self.sim.vm(&vm).is_none());
    }

    /// Ends it; nothing may be left of all the volumes.
    fn end(mut self) {
        self.ask(json!(["end"]));
        drop(self.questions.take());
        assert!(self.program.wait().unwrap().success());
        let left: Vec<_> = self.sim.vms().into_iter().map(|vm| vm.name).collect();
        assert!(left.is_empty(), "{left:?}");
        let files = self.sim.files("datastore1").into_iter();
        let files: Vec<_> = files
            .chain(self.sim.files("datastore2"))
            .filter(|file| file.ends_with(".vmdk") && !file.starts_with("cinder_temp/"))
            .collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

impl Drop for Cinder {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.program.wait();
    }
}

/// The volume as an agent in OpenStack knows it.
fn known(volume: &str) -> Volume {
    Volume {
        name: format!("volume-{volume}"),
        id: Some(volume.to_owned()),
        ..Volume::default()
    }
}

#[test]
fn volumes_of_every_type_are_backed_up_and_restored_and_cinder_goes_on() {
    let mut cinder = Cinder::start();
    for specs in [
        json!({}),
        json!({"vmdk_type": "thick", "adapter_type": "paraVirtual"}),
        json!({"vmdk_type": "eagerZeroedThick", "adapter_type": "busLogic"}),
        json!({"adapter_type": "lsiLogicsas"}),
        json!({"adapter_type": "ide"}),
    ] {
        let volume = cinder.make(json!(["create", 1, specs]));
        cinder.assert_round_trip(&volume, 1);
    }
    let extended = cinder.make(json!(["create", 1, {}]));
    cinder.ask(json!(["extend", extended, 2]));
    cinder.assert_round_trip(&extended, 2);
    let retyped = cinder.make(json!(["create", 1, {"vmdk_type": "thick"}]));
    let specs = json!({"vmdk_type": "thin", "adapter_type": "paraVirtual"});
    cinder.ask(json!(["retype", retyped, specs]));
    cinder.assert_round_trip(&retyped, 1);
    cinder.end();
}

#[test]
fn volumes_from_volumes_snapshots_and_images_are_backed_up_and_restored() {
    let mut cinder = Cinder::start();
    let source = cinder.make(json!(["create", 1, {}]));
    cinder.write(&source, "source");
    let kept = cinder.content(&source);
    let clone = cinder.make(json!(["clone", source, 1, {}]));
    assert_eq!(cinder.content(&clone), kept);
    cinder.assert_round_trip(&clone, 1);
    for kind in ["template", "COW"] {
        let snapshot = cinder.make(json!(["snapshot", source, kind]));
        let volume = cinder.make(json!(["from_snapshot", snapshot, 2, {}]));
        cinder.assert_round_trip(&volume, 2);
        cinder.ask(json!(["delete_snapshot", snapshot]));
        assert_eq!(cinder.content(&source), kept);
    }
    cinder.ask(json!(["to_image", source, "image"]));
    let imported = cinder.make(json!(["from_image", "image", "streamOptimized", 1, {}]));
    assert_eq!(cinder.content(&imported), kept);
    cinder.assert_round_trip(&imported, 1);
    let flat = cinder.folder.path().join("flat");
    std::fs::write(&flat, vec![7; 1 << 20]).unwrap();
    let uploaded = cinder.make(json!(["from_image", "flat", "preallocated", 1, {}]));
    cinder.assert_round_trip(&uploaded, 1);
    cinder.assert_round_trip(&source, 1);
    cinder.end();
}

#[test]
fn a_linked_clone_of_cinder_is_backed_up_and_not_restored_into() {
    let mut cinder = Cinder::start();
    let source = cinder.make(json!(["create", 1, {}]));
    cinder.write(&source, "source");
    let link = cinder.make(json!(["clone", source, 1, {"clone_type": "linked"}]));
    cinder.write(&link, "kept");
    let kept = cinder.content(&link);
    cinder.backup(&link, "b");
    cinder.write(&link, "changed");
    let changed = cinder.content(&link);
    let error = cinder.restore(&link, "b").unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    assert!(error.to_string().contains("delta"), "{error}");
    assert_eq!(cinder.content(&link), changed);
    // A full clone of it is a volume like any other, and takes the backup of its own.
    let full = cinder.make(json!(["clone", link, 1, {}]));
    assert_eq!(cinder.content(&full), changed);
    cinder.assert_round_trip(&full, 1);
    cinder.ask(json!(["delete", link]));
    assert_ne!(kept, changed);
    cinder.ask(json!(["delete", source]));
    cinder.end();
}

#[test]
fn cinders_backups_and_the_librarys_follow_each_other() {
    let mut cinder = Cinder::start();
    let volume = cinder.make(json!(["create", 1, {}]));
    cinder.write(&volume, "kept");
    let kept = cinder.content(&volume);
    cinder.backup(&volume, "b");
    cinder.write(&volume, "lost");
    cinder.restore(&volume, "b").unwrap();
    // What the library restored, cinder backs up, and the other way round.
    let backup = cinder.make(json!(["backup", volume]));
    cinder.write(&volume, "lost again");
    cinder.ask(json!(["restore", backup, volume]));
    assert_eq!(cinder.content(&volume), kept);
    let unmanaged = cinder.moref(&volume);
    cinder.ask(json!(["unmanage", volume]));
    let vm = cinder.sim.vm(&unmanaged).unwrap();
    let machine = format!("{}/{}", vm.folder.trim_start_matches('/'), vm.name);
    let path = format!("{}@{machine}", vm.disks[0].file);
    let managed = cinder.make(json!(["manage", path, 1, {}]));
    assert_eq!(cinder.content(&managed), kept);
    cinder.assert_round_trip(&managed, 1);
    cinder.sim.remove_vm(&unmanaged);
    cinder.end();
}
