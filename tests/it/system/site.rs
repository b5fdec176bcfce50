//! Where an operation may be struck down: server, service and directories, and what must hold after.

use super::agent::{Agent, Ended, LIMIT};
use super::job::{DRY_RUN, Job, LEAST_AGE, NEW_ID, RECOVER, RECOVER_AGED, job};
use crate::fixture::{MIB, Scene, VOLUME_ID, sha256};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vsphere_sim::{Options, VmView, VolumeSpec};

/// A simulator with a volume, a backup of it in the service, and the volume damaged since.
pub struct Site {
    pub scene: Scene,
    /// The volume's contents now, and those of the backup.
    old: String,
    new: String,
    files: BTreeSet<String>,
    numbers: Cell<u32>,
}

type Held = Result<(), String>;

fn holds(truth: bool, what: impl FnOnce() -> String) -> Held {
    if truth { Ok(()) } else { Err(what()) }
}

impl Site {
    pub fn new() -> Site {
        let spec = VolumeSpec::new("volume-1", 5 * MIB + 512 * 1024);
        let scene = Scene::with_volume(Options::default(), spec);
        for directory in ["state", "service", "temp", "said"] {
            fs::create_dir(scene.dir.path().join(directory)).unwrap();
        }
        let mut site = Site {
            new: sha256(&scene.raw),
            old: String::new(),
            files: BTreeSet::new(),
            numbers: Cell::new(0),
            scene,
        };
        site.back_up("kept").unwrap();
        // The same for a service of files, which keeps a stream and nothing else.
        fs::copy(
            site.path("service/kept/disk.vmdk"),
            site.path("service/kept.vmdk"),
        )
        .unwrap();
        site.scene.damage();
        site.old = site.contents().unwrap();
        site.files = site.listed();
        site.scene.sim.clear_requests();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scene.dir.path().join(name)
    }

    /// What programs are told first: the server, who they are, and where everything of theirs is.
    pub fn server(&self) -> [OsString; 5] {
        let options = &self.scene.options;
        [
            self.scene.sim.url().into(),
            options.username.clone().into(),
            options.password.clone().into(),
            self.scene.sim.ca_file().into(),
            self.scene.dir.path().into(),
        ]
    }

    /// A file that nobody has yet.
    pub fn new_file(&self, name: &str) -> PathBuf {
        self.numbers.set(self.numbers.get() + 1);
        self.path(&format!("said/{name}-{}", self.numbers.get()))
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn back_up(&self, id: &'static str) -> Held {
        let next = Job {
            backup: id,
            ..job("backup/file")
        };
        let ended = Agent::start(self, &next).wait()?;
        holds(ended.succeeded()?, || {
            format!("the next backup: {}", ended.said)
        })
    }

    fn contents(&self) -> Result<String, String> {
        let vm = self.vm(&self.scene.vm)?;
        self.contents_of(&vm)
    }

    fn vm(&self, moref: &str) -> Result<VmView, String> {
        let vm = self.scene.sim.vm(moref);
        vm.ok_or_else(|| format!("{moref} is gone"))
    }

    fn contents_of(&self, vm: &VmView) -> Result<String, String> {
        let [disk] = vm.disks.as_slice() else {
            return Err(format!("{} has {} disks", vm.name, vm.disks.len()));
        };
        let sum = self.scene.sim.disk_sha256(&vm.moref, disk.key);
        sum.map_err(|e| e.to_string())
    }

    fn listed(&self) -> BTreeSet<String> {
        let datastores = self.scene.options.datastores.iter();
        datastores
            .flat_map(|store| {
                let files = self.scene.sim.files(&store.name).into_iter();
                files.map(|file| format!("[{}] {file}", store.name))
            })
            .collect()
    }

    /// Everything that a look must not change.
    pub fn picture(&self) -> String {
        format!(
            "{}\n{:?}\n{:?}\n{:?}\n{:?}",
            self.scene.state(),
            self.scene.sim.vms(),
            self.names("state"),
            self.names("temp"),
            self.names("service"),
        )
    }

    /// Contents are old or new, at any time.
    pub fn holds_old_or_new(&self, job: &Job) -> Held {
        let now = self.contents()?;
        let may_be_new = job.operation == "restore" && job.id == VOLUME_ID;
        holds(now == self.old || (may_be_new && now == self.new), || {
            "the volume has neither its old contents nor the restored ones".into()
        })
    }

    /// What an operation's success means.
    pub fn holds_success(&self, job: &Job) -> Held {
        match (job.operation, job.id == VOLUME_ID) {
            ("backup", _) => holds(self.has_backup(job.backup)?, || {
                "it said OK, and there is no backup".into()
            }),
            ("restore", true) => holds(self.contents()? == self.new, || {
                "it said OK, and the volume is not restored".into()
            }),
            ("restore", false) => holds(self.scene.sim.find_vm(job.name).is_some(), || {
                "it said OK, and there is no volume".into()
            }),
            _ => Ok(()),
        }
    }

    /// Whether the service has that backup, whole.
    fn has_backup(&self, id: &str) -> Result<bool, String> {
        let directory = self.path("service").join(id);
        let file = self.path("service").join(format!("{id}.vmdk"));
        if file.exists() {
            self.is_whole(&file).map(|()| true)
        } else if directory.exists() {
            let metadata = fs::read_to_string(directory.join("metadata.json"))
                .map_err(|e| format!("backup {id} has no metadata: {e}"))?;
            let data = directory.join("disk.vmdk");
            self.is_whole(&data)?;
            holds(metadata.contains(&sha256(&data)), || {
                format!("backup {id} is not what its metadata says")
            })?;
            Ok(true)
        } else {
            Ok(false)
        }
    }

    /// The stream's end marker is there, and the disk it makes has contents that were the volume's.
    fn is_whole(&self, stream: &Path) -> Held {
        let raw = self.new_file("raw");
        let output = crate::stage::program("qemu-img")
            .args(["convert", "-f", "vmdk", "-O", "raw"])
            .args([stream, &raw])
            .output()
            .map_err(|e| format!("qemu-img: {e}"))?;
        holds(output.status.success(), || {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("{} is no disk: {why}", stream.display())
        })?;
        let sum = sha256(&raw);
        holds(sum == self.old || sum == self.new, || {
            format!("{} has other contents than the volume", stream.display())
        })
    }

    /// A dry run reports and changes nothing.
    pub fn holds_after_a_dry_run(&self) -> Held {
        let before = self.picture();
        let ended = Agent::start(self, &DRY_RUN).wait()?;
        holds(ended.succeeded()?, || {
            format!("the dry run failed: {}", ended.said)
        })?;
        holds(self.picture() == before, || {
            format!("the dry run changed something: {}", ended.said)
        })
    }

    /// Recovers in new processes, `count` of them at once.
    pub fn recover(&self, how: &Job, count: usize) -> Result<Vec<Ended>, String> {
        let agents: Vec<Agent> = (0..count).map(|_| Agent::start(self, how)).collect();
        let ended: Result<Vec<Ended>, String> = agents.into_iter().map(Agent::wait).collect();
        let ended = ended?;
        for one in &ended {
            holds(one.succeeded()?, || format!("recovery: {}", one.said))?;
        }
        Ok(ended)
    }

    /// The leases that nobody renews any more run out.
    pub fn let_leases_run_out(&self) {
        self.scene
            .sim
            .advance_clock(2 * self.scene.options.lease_timeout);
    }

    /// Recovery, and what must hold when it is over. The journal may be lost.
    pub fn holds_after_recovery(&self, job: &Job, recoveries: usize, lost_journal: bool) -> Held {
        if lost_journal {
            for name in self.names("state") {
                fs::remove_file(self.path("state").join(name)).unwrap();
            }
        }
        self.let_tasks_end()?;
        self.holds_after_a_dry_run()?;
        // Whoever recovers too early does no harm, and finishes later what could not be done yet.
        let before = self.picture();
        let first = self.recover(&RECOVER, recoveries)?;
        if lost_journal {
            holds(self.picture() == before, || {
                format!(
                    "what is young and has no journal was touched: {}",
                    first[0].said
                )
            })?;
        }
        self.holds_old_or_new(job)?;
        self.let_leases_run_out();
        if lost_journal {
            std::thread::sleep(LEAST_AGE);
        }
        let last = if lost_journal {
            &RECOVER_AGED
        } else {
            &RECOVER
        };
        let ended = self.recover(last, 1)?;
        let failed = ended[0]
            .said
            .lines()
            .find(|line| line.starts_with("failed"));
        holds(failed.is_none(), || format!("recovery: {failed:?}"))?;
        self.holds_at_rest(job)
    }

    /// Waits until the server does nothing more for a client that died; leases stay.
    pub fn let_tasks_end(&self) -> Held {
        let sim = &self.scene.sim;
        let is_over = || {
            let leases = sim.leases();
            let held = leases.iter().filter(|lease| lease.is_open()).count();
            // A lease that is held has a task of its own.
            leases.iter().all(|lease| lease.state != "initializing")
                && sim.open_tasks().len() <= held
        };
        let end = Instant::now() + LIMIT;
        while !is_over() {
            holds(Instant::now() < end, || "a task does not end".into())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Nothing is left of a job that has ended or that was recovered from.
    pub fn holds_at_rest(&self, job: &Job) -> Held {
        self.holds_old_or_new(job)?;
        self.has_backup("made")?;
        // Whatever is left of files is swept by the next operation at the latest.
        self.back_up("next")?;
        let state = self.names("state");
        holds(state.is_empty(), || format!("journals are left: {state:?}"))?;
        let temp = self.names("temp");
        holds(temp.is_empty(), || {
            format!("temporary files are left: {temp:?}")
        })?;
        let odd: Vec<String> = self
            .names("service")
            .into_iter()
            .filter(|name| !name.ends_with(".half"))
            .filter(|name| !["kept", "made", "next"].contains(&name.trim_end_matches(".vmdk")))
            .collect();
        holds(odd.is_empty(), || format!("in the service: {odd:?}"))?;
        self.server_is_clean(job)
    }

    fn server_is_clean(&self, job: &Job) -> Held {
        let sim = &self.scene.sim;
        sim.advance_clock(2 * self.scene.options.session_timeout);
        let (leases, sessions, tasks) = (sim.open_leases(), sim.sessions(), sim.open_tasks());
        holds(leases == 0, || format!("{leases} leases are held"))?;
        holds(sessions == 0, || format!("{sessions} sessions are open"))?;
        holds(tasks.is_empty(), || format!("tasks run: {tasks:?}"))?;
        let loose = sim.loose_disks();
        holds(loose.is_empty(), || format!("loose disks: {loose:?}"))?;
        let mut known = self.files.clone();
        for vm in sim.vms() {
            let (name, contents) = (vm.name.clone(), self.contents_of(&vm)?);
            holds(!vm.locked, || format!("{name} is locked"))?;
            let tagged = |(key, _): &&(String, String)| key.starts_with("vmdk_backup.");
            let tag = vm.extra_config.iter().find(tagged);
            holds(tag.is_none(), || format!("{name} has {tag:?}"))?;
            known.extend(vm.disks.iter().map(|disk| disk.file.clone()));
            if vm.moref == self.scene.vm {
                let id = &vm.instance_uuid;
                holds(name == "volume-1" && id == VOLUME_ID, || {
                    format!("the backing is {name} {id} now")
                })?;
                continue;
            }
            let is_restored = job.operation == "restore"
                && job.id == NEW_ID
                && (&*name, &*vm.instance_uuid) == (job.name, NEW_ID)
                && contents == self.new;
            holds(is_restored, || format!("a machine is left: {vm:?}"))?;
            let (folder, _) = vm.vmx.rsplit_once('/').unwrap_or_default();
            known.extend([folder.to_owned(), vm.vmx.clone()]);
        }
        let left: Vec<String> = self.listed().difference(&known).cloned().collect();
        holds(left.is_empty(), || format!("files are left: {left:?}"))
    }
}
