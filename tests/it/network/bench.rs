//! A simulator behind the proxy, the program before it, and what must hold after each job.

use super::point::{Job, KEPT, MADE, NEW_NAME, Numbers, Point, Work, choose};
use super::program::{Program, Told};
use super::proxy::{Fired, Proxy, Record, Seen};
use super::rules::{self, Rule};
use super::things::Things;
use crate::fixture::{MIB, Scene, sha256, write_disk};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vsphere_sim::vmdk::Decoder;
use vsphere_sim::{DiskType, Options, VolumeSpec, disk::Disk};

/// The C interface's numbers of what a network does.
const CONNECTION: i32 = 7;
const STALLED: i32 = 16;
const CAPACITY: u64 = MIB;
/// Jobs after which a simulator is replaced: it forgets nothing, and gets slower.
const JOBS_A_SCENE: u32 = 300;
/// Until what the program left running at the server has ended.
const QUIET: Duration = Duration::from_secs(60);
/// Threads that are about to end, and their descriptors.
const STEADY: u32 = 2;

pub struct Bench {
    scene: Scene,
    proxy: Proxy,
    program: Program,
    root: TempDir,
    old_raw: PathBuf,
    old: String,
    new: String,
    before: Things,
    /// The UUID of the volume's disk before the job.
    uuid: String,
    jobs: u32,
    /// Threads and descriptors after the first job.
    steady: Option<(u32, u32)>,
}

/// What became of a point.
#[derive(Debug)]
pub struct Struck {
    pub rule: Rule,
    pub took: Duration,
}

fn new_scene() -> Scene {
    Scene::with_volume(Options::esxi(), VolumeSpec::new("volume-1", CAPACITY))
}

fn holds(truth: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if truth { Ok(()) } else { Err(what()) }
}

impl Bench {
    pub fn new() -> Bench {
        let scene = new_scene();
        let root = tempfile::tempdir().unwrap();
        for directory in ["state", "service", "temp"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        let old_raw = root.path().join("old.raw");
        write_disk(&old_raw, CAPACITY, 99);
        let ca = root.path().join("ca.pem");
        fs::copy(scene.sim.ca_file(), &ca).unwrap();
        let proxy = Proxy::start(scene.sim.address());
        let program = Program::start(&scene, proxy.address(), &ca, root.path());
        let mut bench = Bench {
            old: sha256(&old_raw),
            new: sha256(&scene.raw),
            before: Things::of(&scene),
            uuid: scene.disk().uuid,
            scene,
            proxy,
            program,
            root,
            old_raw,
            jobs: 0,
            steady: None,
        };
        let first = Job::all()[0].line().replace(MADE, KEPT);
        let told = bench.program.ask(&first).unwrap();
        assert_eq!(told.status, 0, "{told:?}");
        assert_eq!(bench.kept_sum(KEPT), Some(told.sha256));
        assert_eq!(bench.decoded(KEPT).as_ref(), Ok(&bench.new));
        bench.damage();
        bench
    }

    fn damage(&self) {
        let key = self.scene.disk().key;
        let sim = &self.scene.sim;
        sim.load_disk(&self.scene.vm, key, &self.old_raw).unwrap();
    }

    fn kept_sum(&self, id: &str) -> Option<String> {
        let stream = self.root.path().join("service").join(id).join("disk.vmdk");
        stream.exists().then(|| sha256(&stream))
    }

    /// The digest of the disk that a backup holds, as somebody else's decoder sees it.
    fn decoded(&self, id: &str) -> Result<String, String> {
        let stream = self.root.path().join("service").join(id).join("disk.vmdk");
        let path = self.root.path().join("decoded");
        let disk = Disk::create(&path, CAPACITY, DiskType::Thin).map_err(|e| e.to_string())?;
        let mut decoder = Decoder::new(disk);
        decoder.feed(&fs::read(stream).map_err(|e| e.to_string())?)?;
        let disk = decoder.finish()?.0;
        let sum = disk.sha256().map_err(|e| e.to_string())?;
        disk.delete().map_err(|e| e.to_string())?;
        Ok(sum)
    }

    fn contents(&self, vm: &str) -> Result<String, String> {
        let vm = self.scene.sim.vm(vm).ok_or("there is no machine")?;
        let [disk] = vm.disks.as_slice() else {
            return Err(format!("{} has {} disks", vm.name, vm.disks.len()));
        };
        let sum = self.scene.sim.disk_sha256(&vm.moref, disk.key);
        sum.map_err(|e| e.to_string())
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.path().join(directory)).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// As if no job had been done.
    fn prepare(&mut self) {
        self.jobs += 1;
        if self.jobs.is_multiple_of(JOBS_A_SCENE) {
            self.scene = new_scene();
            self.proxy.set_upstream(self.scene.sim.address());
            fs::copy(self.scene.sim.ca_file(), self.root.path().join("ca.pem")).unwrap();
            self.before = Things::of(&self.scene);
            self.damage();
        }
        if self.contents(&self.scene.vm).as_ref() != Ok(&self.old) {
            self.damage();
        }
        let made = self.root.path().join("service").join(MADE);
        if made.exists() {
            fs::remove_dir_all(made).unwrap();
        }
        self.uuid = self.scene.disk().uuid;
        self.scene.sim.clear_requests();
    }

    /// A job that nothing strikes, and what went through.
    pub fn rehearse(&mut self, job: Job) -> Seen {
        self.prepare();
        self.proxy.arm(None);
        let told = self.program.ask(&job.line()).unwrap();
        assert_eq!(told.status, 0, "{job}: {told:?} {}", self.program.logged());
        let seen = self.proxy.seen();
        let judged = self.judge(job, &told, false);
        judged.unwrap_or_else(|why| panic!("{job} without any fault: {why}"));
        seen
    }

    pub fn points(&mut self, job: Job, count: usize, numbers: &mut Numbers) -> Vec<Point> {
        let seen = self.rehearse(job);
        choose(job, &seen, count, numbers)
    }

    /// Does a job, strikes at a point, and looks at everything. None where it did not strike.
    pub fn strike(&mut self, point: &Point) -> Result<Option<Struck>, String> {
        self.prepare();
        self.proxy.arm(Some(point.strike));
        let told = self.program.ask(&point.job.line())?;
        let log = self.program.logged();
        let fired = self.settled()?;
        let seen = self.proxy.seen();
        let judged = self
            .judge(point.job, &told, fired.is_some())
            .and_then(|()| match fired {
                None => holds(told.status == 0, || {
                    "nothing struck, and yet it failed".into()
                })
                .map(|()| None),
                Some(fired) => rules::explain(point, &told, &seen, fired, &log)
                    .map(Some)
                    .ok_or_else(|| {
                        let near = |one: &&Record| {
                            one.connection == point.strike.connection
                                && one.way == point.strike.way
                                && one.end + 50 > point.strike.at
                        };
                        let near: Vec<&Record> = seen.records.iter().filter(near).take(4).collect();
                        format!("success that nothing explains: {fired:?} {near:?}")
                    }),
            });
        let rule = judged.map_err(|why| format!("{why}\n  told: {told:?}\n{log}"))?;
        Ok(rule.map(|rule| Struck {
            rule,
            took: told.took,
        }))
    }

    /// Waits until all connections are over and the server does nothing more.
    fn settled(&self) -> Result<Option<Fired>, String> {
        let sim = &self.scene.sim;
        let is_over = || {
            let leases = sim.leases();
            let held = leases.iter().filter(|lease| lease.is_open()).count();
            self.proxy.open() == 0
                && leases.iter().all(|lease| lease.state != "initializing")
                && sim.open_tasks().len() <= held
        };
        let end = Instant::now() + QUIET;
        while !is_over() {
            holds(Instant::now() < end, || {
                "the server goes on for ever".into()
            })?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(self.proxy.seen().fired)
    }

    fn judge(&mut self, job: Job, told: &Told, is_struck: bool) -> Result<(), String> {
        self.settled()?;
        self.holds_steady(told)?;
        let is_of_the_network = [CONNECTION, STALLED].contains(&told.status);
        holds(told.retryable || !is_of_the_network, || {
            "another attempt may help, and the error does not say so".into()
        })?;
        let succeeded = told.status == 0;
        let made = self.kept_sum(MADE);
        match (job.work, succeeded) {
            (Work::Backup, true) => {
                holds(made.as_ref() == Some(&told.sha256), || {
                    format!("it said OK, and the backup is {made:?}")
                })?;
                holds(self.decoded(MADE)? == self.old, || {
                    "it said OK, and the backup is of another disk".into()
                })?;
            }
            _ => holds(made.is_none(), || "there is a backup of what failed".into())?,
        }
        let mut names = self.names("service");
        names.retain(|name| name != KEPT && (name != MADE || !succeeded));
        holds(names.is_empty(), || format!("in the service: {names:?}"))?;
        let now = self.contents(&self.scene.vm)?;
        self.holds_contents(job, succeeded, &now)?;
        self.holds_uuid(told)?;
        let journals = self.names("state");
        let is_in_doubt = !succeeded && now != self.old;
        holds(!is_in_doubt || !journals.is_empty(), || {
            "it failed, the disk is the new one, and no journal knows".into()
        })?;
        let is_left = !journals.is_empty() || self.left(job, succeeded) != Things::default();
        let sim = &self.scene.sim;
        let is_quiet = !is_left && sim.open_leases() == 0 && sim.sessions() == 0;
        holds(is_quiet || is_struck, || "left without any fault".into())?;
        if is_left || sim.open_leases() > 0 || sim.sessions() > 0 {
            // What nobody could end any more ends by itself.
            sim.advance_clock(2 * self.scene.options.session_timeout);
        }
        if is_left {
            self.recover()?;
            let now = self.contents(&self.scene.vm)?;
            self.holds_contents(job, succeeded, &now)
                .map_err(|why| format!("after recovery: {why}"))?;
        }
        self.holds_clean(job, succeeded)?;
        if let Some(vm) = self.scene.sim.find_vm(NEW_NAME) {
            self.scene.sim.remove_vm(&vm.moref);
        }
        Ok(())
    }

    fn holds_contents(&self, job: Job, succeeded: bool, now: &str) -> Result<(), String> {
        match (job.work, succeeded) {
            (Work::Restore, true) => holds(now == self.new, || "it is not restored".into()),
            (Work::Restore, false) => holds(now == self.new || now == self.old, || {
                "the disk is neither the old one nor the new".into()
            }),
            (Work::RestoreNew, true) => {
                let vm = self.scene.sim.find_vm(NEW_NAME);
                let moref = vm.ok_or("there is no new backing")?.moref;
                let fresh = self.contents(&moref)?;
                holds(fresh == self.new, || "the new disk is another".into())?;
                holds(now == self.old, || "another disk changed".into())
            }
            _ => holds(now == self.old, || "the disk changed".into()),
        }
    }

    /// The volume's disk has the UUID that it had, or the summary tells that it may not.
    fn holds_uuid(&self, told: &Told) -> Result<(), String> {
        let now = self.scene.disk().uuid;
        let is_known = now == self.uuid || told.status != 0 || told.message.contains("UUID");
        holds(is_known, || {
            format!("the disk's UUID is {now}, not {}", self.uuid)
        })
    }

    fn left(&self, job: Job, succeeded: bool) -> Things {
        let is_made = succeeded && job.work == Work::RestoreNew;
        Things::left(&self.scene, &self.before, is_made.then_some(NEW_NAME))
    }

    fn recover(&mut self) -> Result<(), String> {
        self.proxy.arm(None);
        let told = self.program.ask("recover - patient - - -")?;
        self.settled()?;
        let log = self.program.logged();
        let failed = log.contains("recovery: failed");
        holds(told.status == 0 && !failed, || {
            format!("recovery: {told:?}\n{log}")
        })
    }

    fn holds_clean(&self, job: Job, succeeded: bool) -> Result<(), String> {
        let sim = &self.scene.sim;
        let left = self.left(job, succeeded);
        holds(left == Things::default(), || format!("left: {left:?}"))?;
        let missing: Vec<&String> = (self.before.vms().iter())
            .filter(|name| sim.find_vm(name).is_none())
            .collect();
        holds(missing.is_empty(), || format!("gone: {missing:?}"))?;
        for directory in ["state", "temp"] {
            let names = self.names(directory);
            holds(names.is_empty(), || format!("in {directory}: {names:?}"))?;
        }
        let rest = (sim.open_leases(), sim.sessions(), sim.open_tasks().len());
        holds(rest == (0, 0, 0), || {
            format!("leases, sessions, tasks: {rest:?}")
        })?;
        let locked = sim.vms().into_iter().find(|vm| vm.locked);
        holds(locked.is_none(), || format!("locked: {locked:?}"))
    }

    /// Neither threads nor descriptors become more over the jobs.
    fn holds_steady(&mut self, told: &Told) -> Result<(), String> {
        let (threads, descriptors) = *self.steady.get_or_insert((told.threads, told.descriptors));
        let is_steady =
            told.threads <= threads + STEADY && told.descriptors <= descriptors + STEADY;
        holds(is_steady, || {
            format!(
                "{} threads and {} descriptors, after {threads} and {descriptors}",
                told.threads, told.descriptors
            )
        })
    }
}
