//! What the tests have in common: a simulator with a volume, a client, a service in memory, a disk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::{Error, Kind, Result};
use vmdk_backup::log::{Level, Log};
use vmdk_backup::retry::Retries;
use vmdk_backup::service::{BackupReader, BackupRequest, BackupService, BackupWriter};
use vmdk_backup::transport::tls::Trust;
use vmdk_backup::volume::Volume;
use vsphere_sim::{DataHostCookie, Options, Simulator, VolumeSpec};

/// The id of the volume that [`Scene::new`] makes.
pub const VOLUME_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
pub const DISK_UUID: &str = "6000c29f-4f89-41d3-9a0c-0305e82c3302";
pub const MIB: u64 = 1 << 20;

/// As patient as usual, only faster.
pub const FAST: Retries = Retries {
    count: 3,
    pause: Duration::from_millis(2),
    busy: Duration::from_millis(100),
};

/// A simulator with one volume whose disk has contents, and where everything of a test is kept.
pub struct Scene {
    pub sim: Simulator,
    pub options: Options,
    pub dir: TempDir,
    pub vm: String,
    /// The volume's contents, as a raw file.
    pub raw: PathBuf,
    pub log: Arc<Mutex<Vec<String>>>,
}

impl Scene {
    pub fn new(options: Options) -> Scene {
        Self::with_volume(options, VolumeSpec::new("volume-1", 40 * MIB + 512 * 1024))
    }

    pub fn with_volume(mut options: Options, spec: VolumeSpec) -> Scene {
        // Whatever a test is about: no data host gets to see the session's cookie.
        if options.data_host_cookie == DataHostCookie::Ignored {
            options.data_host_cookie = DataHostCookie::Refused;
        }
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("original.raw");
        write_disk(&raw, spec.capacity, 1);
        let sim = Simulator::start(options.clone()).unwrap();
        let spec = VolumeSpec {
            instance_uuid: Some(VOLUME_ID.into()),
            disk_uuid: Some(DISK_UUID.into()),
            ..spec
        };
        let vm = sim.add_volume(&spec).unwrap();
        let scene = Scene {
            sim,
            options,
            dir,
            vm,
            raw,
            log: Arc::default(),
        };
        let key = scene.disk().key;
        scene.sim.load_disk(&scene.vm, key, &scene.raw).unwrap();
        scene
    }

    pub fn client(&self) -> Client {
        Client::connect(self.connect_options()).unwrap()
    }

    /// A client that tries nothing again.
    pub fn impatient_client(&self) -> Client {
        Client::connect(self.impatient_options()).unwrap()
    }

    pub fn impatient_options(&self) -> ConnectOptions {
        let retries = Retries { count: 0, ..FAST };
        ConnectOptions {
            retries,
            ..self.connect_options()
        }
    }

    pub fn connect_options(&self) -> ConnectOptions {
        let log = self.log.clone();
        let options = &self.options;
        ConnectOptions {
            server: self.sim.url(),
            username: options.username.clone(),
            password: options.password.clone().into(),
            trust: Trust::CaFile(self.sim.ca_file().to_owned()),
            connect_timeout: None,
            request_timeout: None,
            keepalive_interval: None,
            proxy: None,
            allow_plain_http: false,
            retries: FAST,
            state_dir: None,
            log: Log::new(
                Level::Debug,
                Arc::new(move |_, text: &str| log.lock().unwrap().push(text.to_owned())),
            ),
        }
    }

    pub fn volume(&self) -> Volume {
        Volume {
            name: "volume-1".into(),
            id: Some(VOLUME_ID.into()),
            ..Volume::default()
        }
    }

    /// The only disk of the volume's backing.
    pub fn disk(&self) -> vsphere_sim::DiskView {
        self.sim.vm(&self.vm).unwrap().disks.remove(0)
    }

    /// Makes the volume's disk another one: as an accident would.
    pub fn damage(&self) {
        let other = self.dir.path().join("damaged.raw");
        write_disk(&other, self.disk().capacity, 99);
        self.sim
            .load_disk(&self.vm, self.disk().key, &other)
            .unwrap();
    }

    /// Whether the disk of `vm` has exactly the original contents: by digest, and for qemu-img.
    pub fn assert_restored(&self, vm: &str) {
        let disk = self.sim.vm(vm).unwrap().disks.remove(0);
        let saved = self.dir.path().join(format!("saved-{vm}.raw"));
        self.sim.save_disk(vm, disk.key, &saved).unwrap();
        assert!(
            same(&self.raw, "raw", &saved, "raw"),
            "{vm}: contents differ"
        );
        if disk.capacity == self.raw.metadata().unwrap().len() {
            assert_eq!(
                self.sim.disk_sha256(vm, disk.key).unwrap(),
                sha256(&self.raw)
            );
        }
    }

    /// Everything that could be left behind, to be compared before and after.
    pub fn state(&self) -> String {
        let mut lines = Vec::new();
        for vm in self.sim.vms() {
            for disk in &vm.disks {
                lines.push(format!(
                    "{} {} {:?} {} {} {} {} {:?} {} {}",
                    vm.moref,
                    vm.name,
                    vm.instance_uuid,
                    disk.key,
                    disk.controller_key,
                    disk.unit,
                    disk.file,
                    disk.uuid,
                    disk.capacity,
                    self.sim.disk_sha256(&vm.moref, disk.key).unwrap(),
                ));
            }
        }
        for datastore in &self.options.datastores {
            lines.extend(self.sim.files(&datastore.name));
        }
        let leases = self
            .sim
            .leases()
            .into_iter()
            .filter(|lease| lease.is_open());
        lines.extend(leases.map(|lease| format!("{lease:?}")));
        lines.sort();
        lines.join("\n")
    }
}

/// A disk as disks are: text that compresses, noise that does not, and much that is empty.
pub fn write_disk(path: &Path, capacity: u64, seed: u64) {
    let file = File::create(path).unwrap();
    file.set_len(capacity).unwrap();
    let mut noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    };
    let extents = [(0, 3 * MIB), (7 * MIB + 4096, 200_000), (33 * MIB, 5 * MIB)];
    let tail = capacity.saturating_sub(70_000);
    for (start, length) in extents.into_iter().chain([(tail, 70_000)]) {
        let end = (start + length).min(capacity);
        let mut at = start;
        while at < end {
            let mut block = vec![0; 4096.min((end - at) as usize)];
            if next() % 3 == 0 {
                block.iter_mut().for_each(|byte| *byte = next() as u8);
            } else {
                let words = format!("{seed} block {at} ");
                block
                    .iter_mut()
                    .zip(words.bytes().cycle())
                    .for_each(|(byte, text)| *byte = text);
            }
            file.write_all_at(&block, at).unwrap();
            at += block.len() as u64;
        }
    }
}

/// Whether qemu-img sees the same disk in both; the longer may end in zeros.
pub fn same(one: &Path, one_format: &str, other: &Path, other_format: &str) -> bool {
    let output = crate::stage::program("qemu-img")
        .args(["compare", "-f", one_format, "-F", other_format])
        .args([one, other])
        .output()
        .expect("qemu-img runs");
    match output.status.code() {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("qemu-img: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

pub fn sha256(path: &Path) -> String {
    let output = crate::stage::program("sha256sum")
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// A backup in memory: the stream and its metadata.
#[derive(Clone, Default)]
pub struct Kept {
    pub stream: Vec<u8>,
    pub metadata: Option<String>,
}

/// A service in memory that counts its calls and fails at the one it is told to.
#[derive(Default)]
pub struct Memory {
    pub kept: RefCell<BTreeMap<String, Kept>>,
    pub aborted: Cell<u32>,
    pub calls: Cell<u32>,
    /// Runs before each write, as a slow service would.
    pub before_write: RefCell<Option<Box<dyn Fn()>>>,
    /// The number of the call that fails, counted from 1; 0 = none.
    pub fail_at: Cell<u32>,
}

impl Memory {
    fn call(&self, what: &str) -> Result<()> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() == self.fail_at.get() {
            return Err(Error::new(
                Kind::Service,
                format!("{what} failed on purpose"),
            ));
        }
        Ok(())
    }

    /// Changes a kept stream, as a bad store would.
    pub fn spoil(&self, id: &str, change: impl FnOnce(&mut Kept)) {
        change(self.kept.borrow_mut().get_mut(id).unwrap());
    }
}

impl BackupService for Memory {
    fn create<'a>(&'a self, request: &BackupRequest<'_>) -> Result<Box<dyn BackupWriter + 'a>> {
        self.call("create")?;
        if self.kept.borrow().contains_key(request.backup_id) {
            return Err(Error::new(Kind::Exists, "there is one of that id"));
        }
        Ok(Box::new(Writer {
            service: self,
            id: request.backup_id.to_owned(),
            kept: Kept::default(),
            committed: false,
        }))
    }

    fn open<'a>(&'a self, backup_id: &str) -> Result<Box<dyn BackupReader + 'a>> {
        self.call("open")?;
        match self.kept.borrow().get(backup_id) {
            Some(kept) => Ok(Box::new(Reader {
                service: self,
                kept: kept.clone(),
                at: 0,
            })),
            None => Err(Error::new(Kind::NotFound, "there is none of that id")),
        }
    }
}

struct Writer<'a> {
    service: &'a Memory,
    id: String,
    kept: Kept,
    committed: bool,
}

impl BackupWriter for Writer<'_> {
    fn write(&mut self, bytes: &bytes::Bytes) -> Result<()> {
        self.service.call("write")?;
        if let Some(before_write) = &*self.service.before_write.borrow() {
            before_write();
        }
        self.kept.stream.extend_from_slice(bytes);
        Ok(())
    }

    fn set_metadata(&mut self, metadata: &str) -> Result<()> {
        self.service.call("set_metadata")?;
        self.kept.metadata = Some(metadata.to_owned());
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        self.service.call("commit")?;
        self.committed = true;
        let kept = std::mem::take(&mut self.kept);
        self.service.kept.borrow_mut().insert(self.id.clone(), kept);
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if !self.committed {
            self.service.aborted.set(self.service.aborted.get() + 1);
        }
    }
}

struct Reader<'a> {
    service: &'a Memory,
    kept: Kept,
    at: usize,
}

impl BackupReader for Reader<'_> {
    fn length(&self) -> u64 {
        self.kept.stream.len() as u64
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        self.service.call("metadata")?;
        Ok(self.kept.metadata.clone())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.service.call("read")?;
        let rest = &self.kept.stream[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}
