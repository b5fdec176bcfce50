//! A simulator, a service and directories in which the points of a setting are tried one by one.

use super::fault::{Callback, Cut, Fault};
use super::point::{Place, Point, Rehearsal};
use super::service::{Unreliable, Wrong};
use super::setting::{Setting, Work};
use super::small_disk::SmallDisk;
use super::verdict::{Things, Verdict};
use crate::fixture::{FAST, Kept, MIB, Memory, Scene, sha256, write_disk};
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::{Error, Phase};
use vmdk_backup::ops::{
    BackupOptions, Common, Progress, RecoverOptions, Recovered, RestoreOptions, Summary,
    backup_volume, recover, restore_backup,
};
use vmdk_backup::retry::Retries;
use vmdk_backup::service::Staging;
use vmdk_backup::volume::{DiskType, Volume};
use vsphere_sim::{Options, Thumbprint, VolumeSpec};

const CAPACITY: u64 = 4 * MIB;
const LARGER: u64 = 6 * MIB;
/// The backup that restores take.
const GIVEN: &str = "given";
/// The backup that backups make.
pub const MADE: &str = "made";
/// The backing that an operation makes.
pub const NEW_NAME: &str = "fresh";
pub const NEW_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3377";

/// A backup, and what is in it.
pub struct Original {
    stream: Vec<u8>,
    metadata: Option<String>,
    sha256: String,
    /// That of the disk when it was made larger.
    larger_sha256: String,
    /// Other disks, of both sizes: what is replaced.
    others: [PathBuf; 2],
    _dir: TempDir,
}

impl Original {
    pub fn make() -> Original {
        let scene = Scene::with_volume(Options::default(), VolumeSpec::new("volume-1", CAPACITY));
        let service = Memory::default();
        let options = BackupOptions {
            backup_id: GIVEN.into(),
            ..BackupOptions::default()
        };
        backup_volume(&scene.client(), &service, &scene.volume(), options).unwrap();
        let kept = service.kept.borrow_mut().remove(GIVEN).unwrap();
        let larger = scene.dir.path().join("larger.raw");
        std::fs::copy(&scene.raw, &larger).unwrap();
        let file = OpenOptions::new().write(true).open(&larger).unwrap();
        file.set_len(LARGER).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let others = [CAPACITY, LARGER].map(|capacity| {
            let path = dir.path().join(format!("{capacity}.raw"));
            write_disk(&path, capacity, 99);
            path
        });
        Original {
            stream: kept.stream,
            metadata: kept.metadata,
            sha256: sha256(&scene.raw),
            larger_sha256: sha256(&larger),
            others,
            _dir: dir,
        }
    }
}

/// What became of an attempt.
pub struct Attempt {
    pub outcome: Result<Summary, Error>,
    pub fired: usize,
    /// Whether the service made a commit that it said had failed.
    pub committed_anyway: bool,
}

pub struct Stage {
    pub setting: Setting,
    pub scene: Scene,
    pub service: Memory,
    /// The digests of the volume's disk before and after.
    pub old: String,
    pub new: String,
    /// The stream of a backup.
    pub stream: Vec<u8>,
    old_raw: PathBuf,
    small: Option<SmallDisk>,
    pub temp_dir: PathBuf,
    pub state_dir: PathBuf,
}

impl Stage {
    pub fn new(setting: Setting, original: &Original) -> Stage {
        let mut options = match setting.esxi {
            true => Options::esxi(),
            false => Options::default(),
        };
        let mut spec = VolumeSpec::new("volume-1", CAPACITY);
        if setting.work == Work::RestoreConverted {
            options.import_disk_type = Some(vsphere_sim::DiskType::Thin);
            spec.disk_type = vsphere_sim::DiskType::Thick;
            spec.capacity = LARGER;
        }
        let scene = Scene::with_volume(options, spec);
        let root = scene.dir.path();
        let (temp_dir, state_dir) = (root.join("temporary"), root.join("state"));
        std::fs::create_dir(&temp_dir).unwrap();
        let larger = setting.work == Work::RestoreConverted;
        let old_raw = original.others[usize::from(larger)].clone();
        if setting.replaces_disk() {
            let key = scene.disk().key;
            scene.sim.load_disk(&scene.vm, key, &old_raw).unwrap();
        }
        let service = Memory::default();
        if !setting.is_backup() {
            let kept = Kept {
                stream: original.stream.clone(),
                metadata: original.metadata.clone(),
            };
            service.kept.borrow_mut().insert(GIVEN.into(), kept);
        }
        let small = match setting.staging {
            Staging::File => SmallDisk::mount(root.join("small")),
            Staging::Stream => None,
        };
        let old = scene.sim.disk_sha256(&scene.vm, scene.disk().key).unwrap();
        let new = match setting.work {
            Work::Backup | Work::RestoreNew | Work::RestoreExisting => original.sha256.clone(),
            Work::RestoreConverted => original.larger_sha256.clone(),
            Work::BackupFirst => {
                let empty = root.join("empty.raw");
                File::create(&empty).unwrap().set_len(CAPACITY).unwrap();
                sha256(&empty)
            }
        };
        Stage {
            setting,
            scene,
            service,
            old,
            new,
            stream: original.stream.clone(),
            old_raw,
            small,
            temp_dir,
            state_dir,
        }
    }

    fn volume(&self) -> Volume {
        let new = Volume {
            name: NEW_NAME.into(),
            id: Some(NEW_ID.into()),
            ..Volume::default()
        };
        match self.setting.work {
            Work::Backup | Work::RestoreExisting => self.scene.volume(),
            Work::RestoreConverted => Volume {
                disk_type: Some(DiskType::Thick),
                ..self.scene.volume()
            },
            Work::RestoreNew => new,
            Work::BackupFirst => Volume {
                size_bytes: CAPACITY,
                ..new
            },
        }
    }

    fn connect_options(&self) -> ConnectOptions {
        let count = if self.setting.patient { FAST.count } else { 0 };
        ConnectOptions {
            retries: Retries { count, ..FAST },
            state_dir: Some(self.state_dir.clone()),
            ..self.scene.connect_options()
        }
    }

    /// From connecting to logging out.
    fn operate(
        &self,
        service: &Unreliable<'_>,
        stalls: bool,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
        temp_dir: &Path,
    ) -> Result<Summary, Error> {
        let client = Client::connect(self.connect_options())?;
        let common = Common {
            staging: Some(self.setting.staging),
            temp_dir: Some(temp_dir.to_owned()),
            stall_timeout: stalls.then_some(Duration::from_millis(300)),
            progress: Some(Box::new(&mut progress)),
            ..Common::default()
        };
        let volume = self.volume();
        if self.setting.is_backup() {
            let backup_id = MADE.into();
            let options = BackupOptions {
                backup_id,
                common,
                ..BackupOptions::default()
            };
            return backup_volume(&client, service, &volume, options);
        }
        let backup_id = GIVEN.into();
        let options = RestoreOptions {
            backup_id,
            common,
            ..RestoreOptions::default()
        };
        restore_backup(&client, service, &volume, options)
    }

    /// Everything as it is before an operation.
    fn prepare(&self) {
        self.scene.sim.faults().clear();
        self.scene.sim.clear_requests();
        self.scene.log.lock().unwrap().clear();
        self.service.kept.borrow_mut().remove(MADE);
        if self.setting.replaces_disk() && self.disk_digest() != self.old {
            let key = self.scene.disk().key;
            let sim = &self.scene.sim;
            sim.load_disk(&self.scene.vm, key, &self.old_raw).unwrap();
        }
        if self.state_dir.exists() {
            std::fs::remove_dir_all(&self.state_dir).unwrap();
        }
        std::fs::create_dir(&self.state_dir).unwrap();
    }

    pub fn disk_digest(&self) -> String {
        let key = self.scene.disk().key;
        self.scene.sim.disk_sha256(&self.scene.vm, key).unwrap()
    }

    /// A run without faults, to see what there is to strike.
    pub fn rehearse(&mut self) -> Rehearsal {
        self.prepare();
        let before = Things::of(self);
        let service = Unreliable::new(&self.service, Wrong::Nothing, || {});
        let progress = Cell::new(0);
        let count = |_| {
            progress.set(progress.get() + 1);
            ControlFlow::Continue(())
        };
        let outcome = self.operate(&service, false, count, &self.temp_dir);
        let summary = outcome.unwrap_or_else(|error| panic!("{}: {error}", self.setting));
        let requests = self.scene.sim.requests();
        let soap = requests.into_iter().filter(|one| one.path == "/sdk");
        let rehearsal = Rehearsal {
            calls: soap.map(|one| one.method).collect(),
            callbacks: service.calls.take(),
            progress: progress.get(),
            length: summary.stream_length,
            has_small_disk: self.small.is_some(),
        };
        drop(service);
        if self.setting.is_backup() {
            self.stream = self.service.kept.borrow()[MADE].stream.clone();
        }
        let attempt = Attempt {
            outcome: Ok(summary),
            fired: 0,
            committed_anyway: false,
        };
        let seen = super::verdict::look(self, &before, &attempt, None);
        seen.unwrap_or_else(|why| panic!("{} without any fault: {why}", self.setting));
        rehearsal
    }

    /// Runs a point and judges what became of it.
    pub fn try_point(&mut self, point: &Point) -> Result<Verdict, String> {
        if self.setting.is_backup() && self.stream.len() as u64 != point.length {
            self.rehearse();
        }
        self.prepare();
        let before = Things::of(self);
        let attempt = self.strike(point);
        self.scene.sim.faults().clear();
        super::verdict::look(self, &before, &attempt, Some(point))
    }

    fn strike(&self, point: &Point) -> Attempt {
        let sim = &self.scene.sim;
        let faults = sim.faults();
        let (mut wrong, mut temp_dir, mut end_at) = (Wrong::Nothing, &self.temp_dir, None);
        let mut opener = None;
        let byte = match point.place {
            Place::Export(byte) | Place::Import(byte) | Place::TempDir(byte) => {
                byte.of(point.length)
            }
            _ => 0,
        };
        if let Some((trouble, thread)) = point.fault.trouble(byte, point.length) {
            opener = thread;
            match &point.place {
                Place::Call(method, nth) => faults.on_call(method, *nth, trouble),
                Place::Task(method, nth) => faults.on_task(method, *nth, trouble),
                Place::Export(_) => faults.on_export(1, trouble),
                Place::Import(_) => faults.on_import(1, trouble),
                other => unreachable!("{other:?} is not on the server"),
            }
        }
        let mut fills = false;
        match (&point.place, point.fault) {
            (_, Fault::OtherCertificate) => {
                sim.change_options(|options| options.thumbprint = Thumbprint::Wrong);
            }
            (Place::Service(nth, _), Fault::Service(callback)) => {
                wrong = Wrong::Nth(*nth, callback);
            }
            (Place::Progress(nth), _) => end_at = Some(*nth),
            (Place::Journal, _) => std::fs::remove_dir(&self.state_dir).unwrap(),
            (Place::TempDir(_), _) => {
                fills = true;
                wrong = Wrong::FirstRead;
            }
            _ => {}
        }
        let small = self.small.as_ref().filter(|_| fills);
        if let Some(small) = small {
            temp_dir = &small.path;
        }
        let acted = Cell::new(0);
        let fill = || {
            // Once: to fill it up anew would make room meanwhile.
            if let Some(small) = small
                && acted.get() == 0
            {
                small.leave(byte);
                acted.set(1);
            }
        };
        let blocked = || match point.fault {
            Fault::Service(Callback::Blocks) => {
                sim.advance_clock(2 * self.scene.options.lease_timeout);
            }
            _ => fill(),
        };
        let service = Unreliable::new(&self.service, wrong, blocked);
        let calls = Cell::new(0);
        let progress = |progress: Progress| {
            calls.set(calls.get() + 1);
            if self.setting.is_backup() && progress.phase == Phase::Transfer {
                fill();
            }
            if end_at == Some(calls.get()) {
                acted.set(1);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let fired = faults.fired();
        let stalls = point.fault == Fault::Data(Cut::Stall);
        let outcome = self.operate(&service, stalls, progress, temp_dir);
        let mut fired = faults.fired() - fired + acted.get();
        if !fills {
            fired += service.fired.get();
        }
        match point.fault {
            Fault::OtherCertificate => {
                fired += self
                    .called("ExportVm")
                    .max(self.called("ImportVApp"))
                    .min(1);
                let usual = self.scene.options.thumbprint;
                sim.change_options(|options| options.thumbprint = usual);
            }
            // It is no directory all the time.
            Fault::NoJournal => fired += 1,
            _ => {}
        }
        if let Some(small) = small {
            small.empty();
        }
        if let Some(opener) = opener.filter(|_| fired > 0) {
            opener.join().unwrap();
        }
        let committed_anyway = service.committed.get() && outcome.is_err();
        drop(service);
        Attempt {
            outcome,
            fired,
            committed_anyway,
        }
    }

    /// How many times a method was called since the operation began.
    pub fn called(&self, method: &str) -> usize {
        let requests = self.scene.sim.requests();
        requests.iter().filter(|one| one.method == method).count()
    }

    /// What recovery finds and does, with another client and no faults.
    pub fn recover(&self) -> Result<Vec<Recovered>, Error> {
        let client = Client::connect(self.connect_options())?;
        let options = RecoverOptions {
            min_age: Some(Duration::ZERO),
            ..RecoverOptions::default()
        };
        recover(&client, options)
    }

    /// What was asked and logged, for whoever looks into one point.
    pub fn account(&self) -> String {
        let requests = self.scene.sim.requests();
        let asked = requests.iter().map(|one| format!("  {}", one.method));
        let log = self.scene.log.lock().unwrap();
        let logged = log.iter().map(|line| format!("  {line}"));
        let lines: Vec<String> = asked.chain(logged).collect();
        lines.join("\n")
    }
}
