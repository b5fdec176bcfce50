//! One client and one service used for long, and by many threads at once. `make soak` runs all of
//! it; the tests by default a small part.

use crate::fixture::{MIB, Memory, Scene, sha256, write_disk};
use crate::stage::{C99, compile};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use vmdk_backup::error::Kind;
use vmdk_backup::ops::{BackupOptions, Common, RestoreOptions, backup_volume, restore_backup};
use vsphere_sim::{Gate, Options, Simulator, Trouble, VolumeSpec};

const THREADS: usize = 32;

/// The first backups of a row pay for what is made once: pools, tables, allocator's arenas.
const WARM: usize = 20;

/// How much more memory may be in use at the end of a row, in KiB.
const GROWTH: i64 = 2048;

fn full() -> bool {
    std::env::var_os("VMDK_SOAK").is_some_and(|wanted| wanted == "full")
}

/// A simulator with volumes that differ, and a directory of backups.
struct Yard {
    sim: Simulator,
    options: Options,
    dir: TempDir,
}

impl Yard {
    fn new(volumes: usize, capacity: u64) -> Yard {
        let options = Options::default();
        let yard = Yard {
            sim: Simulator::start(options.clone()).unwrap(),
            options,
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(yard.dir.path().join("backups")).unwrap();
        for number in 0..volumes {
            let name = format!("volume-{number}");
            yard.sim
                .add_volume(&VolumeSpec::new(&name, capacity))
                .unwrap();
            yard.fill(&name, number);
        }
        yard
    }

    /// Gives a volume contents that belong to a number; returns their SHA-256.
    fn fill(&self, name: &str, number: usize) -> String {
        let vm = self.sim.find_vm(name).unwrap();
        let raw = self.dir.path().join("contents.raw");
        write_disk(&raw, vm.disks[0].capacity, number as u64 + 1);
        self.sim
            .load_disk(&vm.moref, vm.disks[0].key, &raw)
            .unwrap();
        sha256(&raw)
    }

    /// The SHA-256 of a volume's only disk.
    #[track_caller]
    fn contents(&self, name: &str) -> String {
        let vm = self.sim.find_vm(name).unwrap();
        assert_eq!(vm.disks.len(), 1, "{name}");
        self.sim.disk_sha256(&vm.moref, vm.disks[0].key).unwrap()
    }

    /// Runs the program; returns what it said. As long as its client is connected there is one
    /// session; afterwards there is nothing.
    #[track_caller]
    fn run(&self, job: &[&str]) -> Vec<String> {
        let program = compile("gcc", &C99, "tests/c/soak.c", &["-lpthread"]);
        let mut child = crate::stage::program(program)
            .args([
                &self.sim.url(),
                &self.options.username,
                &self.options.password,
            ])
            .arg(self.sim.ca_file())
            .arg(self.dir.path().join("backups"))
            .args(job)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let said: Vec<String> = said
            .map(Result::unwrap)
            .take_while(|line| line != "waiting")
            .collect();
        let connected = self.sim.sessions();
        // One that failed does not read it.
        let _ = child.stdin.take().unwrap().write_all(b"\n");
        let status = child.wait().unwrap();
        assert!(status.success(), "{job:?}: {status}: {said:#?}");
        assert_eq!(connected, 1, "sessions of one client");
        assert_eq!(self.sim.sessions(), 0, "a session is left");
        assert_eq!(self.sim.open_leases(), 0, "a lease is left");
        assert!(self.sim.open_tasks().is_empty(), "a task is left");
        said
    }

    /// All machines, files on datastores and backups, by name.
    fn names(&self) -> BTreeSet<String> {
        let machines = self.sim.vms().into_iter().map(|vm| vm.name);
        let datastores = self.options.datastores.iter();
        let files = datastores.flat_map(|datastore| self.sim.files(&datastore.name));
        machines.chain(files).collect()
    }

    fn backups(&self) -> usize {
        let entries = fs::read_dir(self.dir.path().join("backups")).unwrap();
        entries.count()
    }
}

/// The lines that begin with a word, without it.
fn told<'a>(said: &'a [String], word: &str) -> Vec<&'a str> {
    said.iter()
        .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
        .collect()
}

#[test]
fn many_threads_back_up_and_restore_volumes_of_their_own() {
    let (capacity, rounds) = if full() { (6 * MIB, 10) } else { (MIB, 1) };
    let yard = Yard::new(THREADS, capacity);
    let volumes = (0..THREADS).map(|number| format!("volume-{number}"));
    let before: Vec<String> = volumes.clone().map(|name| yard.contents(&name)).collect();
    assert_eq!(BTreeSet::from_iter(&before).len(), THREADS);
    let said = yard.run(&["threads", &THREADS.to_string(), &rounds.to_string()]);
    assert_eq!(said, [format!("OK={}", THREADS * rounds * 3)]);
    for (number, before) in before.iter().enumerate() {
        assert_eq!(&yard.contents(&format!("volume-{number}")), before);
        assert_eq!(&yard.contents(&format!("copy-{number}")), before);
    }
    assert_eq!(yard.sim.vms().len(), 2 * THREADS, "a machine is left");
    assert!(yard.sim.loose_disks().is_empty(), "a disk is left");
    assert_eq!(yard.backups(), 0, "half a backup is left");
}

/// Each is done or refused, and in whatever order they came: the volume is one of the two disks and
/// whole, and so is what was backed up of it.
#[test]
fn many_threads_at_one_volume_leave_it_whole() {
    for _ in 0..if full() { 10 } else { 1 } {
        let yard = Yard::new(1, MIB);
        let first = yard.contents("volume-0");
        let mut digests = told(&yard.run(&["keep", "volume-0", "kept-a"]), "kept")
            .concat()
            .to_owned();
        let second = yard.fill("volume-0", 7);
        digests.push(' ');
        digests.push_str(&told(&yard.run(&["keep", "volume-0", "kept-b"]), "kept").concat());
        let machine = yard.sim.vms().remove(0);
        let files = yard.names().len();

        let said = yard.run(&["same", &THREADS.to_string()]);
        let contents = yard.contents("volume-0");
        assert!([first, second].contains(&contents), "{said:#?}");
        let after = yard.sim.vms();
        assert_eq!(after.len(), 1, "a machine is left: {said:#?}");
        assert_eq!(after[0].moref, machine.moref);
        assert!(yard.sim.loose_disks().is_empty(), "a disk is left");
        assert_eq!(yard.names().len(), files, "{:#?}", yard.names());
        assert!(told(&said, "left").is_empty(), "{said:#?}");
        let backed_up = told(&said, "backed-up");
        let restored = told(&said, "restored");
        let refused = told(&said, "refused");
        assert_eq!(
            backed_up.len() + restored.len() + refused.len(),
            THREADS,
            "{said:#?}"
        );
        assert!(
            backed_up
                .iter()
                .chain(&restored)
                .all(|digest| digests.contains(digest)),
            "{said:#?}"
        );
        assert!(!restored.is_empty(), "nobody got through: {said:#?}");
        assert_eq!(yard.backups(), 2 + backed_up.len());
        // The refused ones left nothing that stands in the way of the next.
        yard.run(&["keep", "volume-0", "afterwards"]);
    }
}

#[test]
fn backups_in_a_row_take_no_more_memory_threads_or_descriptors() {
    let count = if full() { 200 } else { 30 };
    let yard = Yard::new(1, 2 * MIB);
    let said = yard.run(&["row", &WARM.to_string(), &count.to_string()]);
    let figures = |when: &str| -> [i64; 3] {
        let line = told(&said, when).concat();
        let figures: Vec<i64> = line.split(' ').map(|f| f.parse().unwrap()).collect();
        figures.try_into().unwrap()
    };
    println!("{said:?}");
    let [warm_memory, warm_threads, warm_descriptors] = figures("warm");
    let [memory, threads, descriptors] = figures("end");
    assert!(memory - warm_memory <= GROWTH, "{said:?}");
    assert!(threads <= warm_threads, "{said:?}");
    assert!(descriptors <= warm_descriptors, "{said:?}");
    assert_eq!(yard.backups(), 0);
}

/// The worst order of two restores: one has looked at the volume for the last time when the other
/// swaps its disk.
#[test]
fn a_restore_that_comes_second_is_refused_and_takes_nothing_away() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let client = scene.impatient_client();
    let options = |id: &str| BackupOptions {
        backup_id: id.into(),
        common: Common::default(),
        ..BackupOptions::default()
    };
    backup_volume(&client, &service, &scene.volume(), options("b1")).unwrap();
    scene.damage();
    let kept = service.kept.take();
    let restore = || {
        let service = Memory::default();
        service.kept.replace(kept.clone());
        let options = RestoreOptions {
            backup_id: "b1".into(),
            common: Common::default(),
            ..RestoreOptions::default()
        };
        restore_backup(&client, &service, &scene.volume(), options)
    };
    let gate = Gate::new();
    // The first takes the disk out of the temporary machine.
    let hold = Trouble::Hold(gate.clone());
    scene.sim.faults().on_call("ReconfigVM_Task", 2, hold);
    let refused = std::thread::scope(|scope| {
        let held = scope.spawn(restore);
        assert!(gate.wait_for_arrival(Duration::from_secs(120)), "no swap");
        let winner = restore();
        gate.open();
        let refused = held.join().unwrap();
        winner.unwrap();
        refused.unwrap_err()
    });
    assert_eq!(refused.kind(), Kind::InvalidState, "{refused}");
    assert!(refused.is_retryable(), "{refused}");
    assert!(refused.left_behind().is_empty(), "{refused}");
    scene.assert_restored(&scene.vm);
    assert_eq!(scene.sim.vms().len(), 1);
    assert!(scene.sim.loose_disks().is_empty(), "a disk is left");
}
