//! govmomi's command line against the simulator, and the library with the volumes that it makes.

use crate::fixture::{FAST, MIB, Memory, write_disk};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::log::Log;
use vmdk_backup::ops::{BackupOptions, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::transport::tls::Trust;
use vmdk_backup::volume::Volume;
use vsphere_sim::{Options, Simulator, VolumeSpec};

struct Site {
    sim: Simulator,
    options: Options,
    folder: tempfile::TempDir,
    vm: String,
}

fn govc() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let peers = test.ancestors().nth(3).unwrap().join("peers");
    assert!(
        peers.join("setup.done").exists(),
        "run tests/peers/setup.sh first"
    );
    peers.join("govc")
}

impl Site {
    fn new() -> Site {
        let options = Options::default();
        let sim = Simulator::start(options.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let vm = sim.add_volume(&VolumeSpec::new("vol", 8 * MIB)).unwrap();
        let raw = folder.path().join("vol.raw");
        write_disk(&raw, 8 * MIB, 5);
        let key = sim.vm(&vm).unwrap().disks[0].key;
        sim.load_disk(&vm, key, &raw).unwrap();
        Site {
            sim,
            options,
            folder,
            vm,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn output(&self, arguments: &[&str]) -> Output {
        Command::new(govc())
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GOVC_URL", format!("{}/sdk", self.sim.url()))
            .env("GOVC_USERNAME", &self.options.username)
            .env("GOVC_PASSWORD", &self.options.password)
            .env("GOVC_TLS_CA_CERTS", self.sim.ca_file())
            .env("GOVC_DATASTORE", "datastore1")
            .env("GOVMOMI_HOME", self.path("home"))
            .output()
            .unwrap()
    }

    /// Runs a command, with its arguments in one text, and returns what it prints.
    fn run(&self, command: &str) -> String {
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = self.output(&arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "govc {command}\n{stdout}\n{stderr}"
        );
        stdout
    }

    fn content(&self, name: &str) -> String {
        let vm = self.sim.find_vm(name).unwrap();
        self.sim
            .disk_content_sha256(&vm.moref, vm.disks[0].key)
            .unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        let vm = self.sim.find_vm(name).unwrap();
        self.sim
            .write_disk(&vm.moref, vm.disks[0].key, MIB, text.as_bytes())
            .unwrap();
    }

    fn client(&self) -> Client {
        Client::connect(ConnectOptions {
            server: self.sim.url(),
            username: self.options.username.clone(),
            password: self.options.password.clone().into(),
            trust: Trust::CaFile(self.sim.ca_file().to_owned()),
            connect_timeout: None,
            request_timeout: None,
            keepalive_interval: None,
            proxy: None,
            allow_plain_http: false,
            retries: FAST,
            state_dir: None,
            log: Log::default(),
        })
        .unwrap()
    }
}

#[test]
fn govc_reads_what_there_is() {
    let site = Site::new();
    site.sim
        .set_extra_config(&site.vm, "cinder.volume.id", "1234")
        .unwrap();
    for (command, words) in [
        ("about", "VMware vCenter Server"),
        ("ls /DC0/vm", "/DC0/vm/vol"),
        ("find / -type m", "/DC0/vm/vol"),
        ("tree", "vol"),
        ("datacenter.info", "Clusters:"),
        ("vm.info -r -e vol", "cinder.volume.id"),
        ("vm.info -json vol", "guestToolsNotRunning"),
        ("device.ls -vm vol", "disk-"),
        ("device.info -vm vol disk-*", "[datastore1] vol/vol.vmdk"),
        ("datastore.info", "datastore2"),
        ("datastore.ls -l -R -p -a", "vol.vmdk"),
        ("datastore.tail vol/vol.vmx", "displayName"),
        ("cluster.usage DC0_C0", "Memory usage:"),
        ("pool.info */Resources", "Resources"),
        ("folder.info /DC0/vm", "vm"),
        ("snapshot.tree -vm vol", ""),
        ("events", ""),
        ("session.ls", "administrator"),
        ("permissions.ls", "Admin"),
        ("role.ls", "Admin"),
        ("collect -s vm/vol runtime.powerState", "poweredOff"),
    ] {
        let printed = site.run(command);
        assert!(printed.contains(words), "govc {command}: {printed}");
    }
    let host = site.run("find / -type h");
    let host = host.lines().next().unwrap();
    let about = site.run(&format!("host.info {host}"));
    assert!(about.contains("Processor type:"), "{about}");
    site.run("snapshot.create -vm vol one");
    assert!(site.run("snapshot.tree -vm vol").contains("one"));
    assert!(site.run("tasks").contains("CreateSnapshot"), "tasks");
    site.run("session.logout");
}

#[test]
fn govc_changes_machines() {
    let site = Site::new();
    let first = site.content("vol");
    site.run("vm.change -vm vol -e foo.bar=baz -m 256 -c 2 -annotation note");
    let changed = site.sim.vm(&site.vm).unwrap();
    assert!(
        changed
            .extra_config
            .contains(&("foo.bar".into(), "baz".into()))
    );
    site.run("vm.clone -vm vol -on=false full");
    site.run("snapshot.create -vm vol one");
    site.write("vol", "later");
    let second = site.content("vol");
    site.run("vm.clone -vm vol -on=false -link -snapshot one link");
    site.run("vm.clone -vm vol -on=false -snapshot one snap");
    for name in ["full", "link", "snap"] {
        assert_eq!(site.content(name), first, "{name}");
    }
    let parents = |name: &str| site.sim.find_vm(name).unwrap().disks[0].parents.clone();
    assert_eq!(parents("link"), ["[datastore1] vol/vol.vmdk"]);
    assert!(parents("snap").is_empty());
    site.run("snapshot.revert -vm vol one");
    assert_eq!(site.content("vol"), first);
    assert_ne!(site.content("vol"), second);
    site.run("snapshot.remove -vm vol *");
    site.run("vm.power -on full");
    site.run("vm.power -off -force full");
    site.run("vm.markastemplate full");
    let inside = |kind: &str| site.run(&format!("find / -type {kind}"));
    let (hosts, pools) = (inside("h"), inside("p"));
    let (host, pool) = (hosts.lines().next().unwrap(), pools.lines().next().unwrap());
    site.run(&format!("vm.markasvm -host {host} -pool {pool} full"));
    site.run("vm.unregister full");
    assert!(site.sim.find_vm("full").is_none());
    site.run("vm.register full/full.vmx");
    assert_eq!(site.content("full"), first);
    site.run("folder.create /DC0/vm/inner");
    site.run("object.mv /DC0/vm/full /DC0/vm/inner");
    site.run("object.rename /DC0/vm/inner/full renamed");
    site.run("pool.create */Resources/pool");
    site.run("pool.destroy */Resources/pool");
    site.run("vm.migrate -ds datastore2 renamed");
    let moved = site.sim.find_vm("renamed").unwrap();
    assert!(moved.disks[0].file.starts_with("[datastore2]"));
    assert_eq!(site.content("renamed"), first);
    for name in ["link", "snap", "renamed", "vol"] {
        site.run(&format!("vm.destroy {name}"));
    }
    assert!(site.sim.vms().is_empty());
    assert!(site.sim.loose_disks().is_empty());
}

#[test]
fn govc_changes_files_and_disks() {
    let site = Site::new();
    let original = site.content("vol");
    let data: Vec<u8> = (0..3 * MIB).map(|byte| (byte % 251) as u8).collect();
    std::fs::write(site.path("data"), &data).unwrap();
    site.run("datastore.mkdir dir");
    site.run("datastore.upload data dir/data");
    site.run("datastore.cp dir/data dir/copy");
    site.run("datastore.mv dir/copy dir/moved");
    site.run("datastore.download dir/moved back");
    assert_eq!(std::fs::read(site.path("back")).unwrap(), data);
    site.run("datastore.rm dir/moved");
    assert!(!site.run("datastore.ls dir").contains("moved"));
    site.run("datastore.disk.create -size 8M dir/disk.vmdk");
    site.run("datastore.disk.extend -size 16M dir/disk.vmdk");
    site.run("datastore.disk.inflate dir/disk.vmdk");
    let about = site.run("datastore.disk.info dir/disk.vmdk");
    assert!(about.contains("eagerZeroedThick"), "{about}");
    site.run("datastore.cp vol/vol.vmdk dir/second.vmdk");
    site.run("vm.clone -vm vol -on=false copy");
    site.run("vm.disk.attach -vm copy -disk dir/disk.vmdk -link=false");
    site.run("vm.disk.create -vm copy -name copy/extra -size 8M");
    let disks = |name: &str| site.sim.find_vm(name).unwrap().disks;
    let capacities: Vec<u64> = disks("copy").iter().map(|disk| disk.capacity).collect();
    assert_eq!(capacities, [8 * MIB, 16 * MIB, 8 * MIB]);
    let devices = site.run("device.ls -vm copy");
    let mut lines = devices.lines().rev();
    let last = lines.find(|line| line.starts_with("disk-")).unwrap();
    let last = last.split(' ').next().unwrap();
    site.run(&format!("device.remove -vm copy -keep {last}"));
    assert_eq!(disks("copy").len(), 2);
    site.run("device.scsi.add -vm copy");
    site.run("vm.disk.attach -vm copy -disk dir/second.vmdk -link=true");
    let delta = &disks("copy")[2];
    assert_eq!(delta.parents, ["[datastore1] dir/second.vmdk"]);
    let vm = site.sim.find_vm("copy").unwrap().moref;
    let sum = site.sim.disk_content_sha256(&vm, delta.key).unwrap();
    assert_eq!(sum, original);
    let path = delta.file.trim_start_matches("[datastore1] ");
    let about = site.run(&format!("datastore.disk.info -p {path}"));
    assert!(
        about.contains("delta") && about.contains("dir/second.vmdk"),
        "{about}"
    );
}

/// The library backs a volume up and restores it.
fn assert_round_trip(site: &Site, client: &Client, name: &str) {
    let service = Memory::default();
    let volume = Volume {
        name: name.into(),
        ..Volume::default()
    };
    let kept = site.content(name);
    let options = BackupOptions {
        backup_id: "b".into(),
        ..BackupOptions::default()
    };
    backup_volume(client, &service, &volume, options).unwrap();
    site.write(name, "lost");
    let options = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    restore_backup(client, &service, &volume, options).unwrap();
    assert_eq!(site.content(name), kept, "{name}");
}

#[test]
fn volumes_that_govc_imports_are_backed_up_and_restored_and_exported_again() {
    let site = Site::new();
    let original = site.content("vol");
    site.run("export.ovf -vm vol exported");
    let ovf = Path::new("exported/vol/vol.ovf");
    assert!(site.path("exported/vol/vol.ovf").exists());
    site.run(&format!("import.ovf -name imported {}", ovf.display()));
    assert_eq!(site.content("imported"), original);
    site.run("vm.clone -vm imported -on=false cloned");
    site.run("vm.create -on=false -m 128 -g otherGuest -disk 8M -disk.controller pvscsi created");
    assert!(site.run("device.ls -vm created").contains("VM Network"));
    site.write("created", "something");
    let client = site.client();
    for name in ["vol", "imported", "cloned", "created"] {
        assert_round_trip(&site, &client, name);
    }
    // What the library restored, govc exports and imports as a disk for a machine.
    site.run("export.ovf -vm imported again");
    site.run("import.vmdk again/imported/imported-disk-0.vmdk dir/disk.vmdk");
    assert!(
        site.sim
            .files("datastore1")
            .contains(&"dir/disk.vmdk".to_owned())
    );
    site.run("vm.disk.attach -vm cloned -disk dir/disk.vmdk -link=false");
    let cloned = site.sim.find_vm("cloned").unwrap();
    let sum = site
        .sim
        .disk_content_sha256(&cloned.moref, cloned.disks[1].key)
        .unwrap();
    assert_eq!(sum, original);
    site.run("snapshot.create -vm vol one");
    std::fs::create_dir(site.path("snapshot")).unwrap();
    site.run("snapshot.export -vm vol -d snapshot one");
    assert!(site.sim.open_leases() == 0);
}
