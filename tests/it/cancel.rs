//! A cancel at every place where an operation waits: for a busy object, for a server that has too
//! much to do, for a task, a lease, a transfer, a log-in.
//!
//! Pauses are an hour here: what a cancel does not end shows as an operation that does not end.
//! `VMDK_FAULTS=full` walks all points, else each method is struck once.

use crate::fixture::{MIB, Memory, Scene, VOLUME_ID};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use vmdk_backup::cancel::Cancel;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{
    BackupOptions, Common, Outcome, Progress, ProgressFn, RecoverOptions, RestoreOptions,
    backup_volume, recover, restore_backup,
};
use vmdk_backup::retry::Retries;
use vmdk_backup::volume::{DiskType, Volume};
use vsphere_sim::{At, DataTrouble, Fault, Gate, Options, Rule, Trouble, VolumeSpec};

const CAPACITY: u64 = 2 * MIB;

/// Nothing ends by itself.
const ENDLESS: Retries = Retries {
    count: 1000,
    pause: Duration::from_secs(3600),
    busy: Duration::from_secs(36_000),
};

/// Methods that are not called again when they fail: there are other ways to watch a task.
const WATCHES: [&str; 3] = [
    "CreateFilter",
    "WaitForUpdatesEx",
    "DestroyPropertyCollector",
];

/// A point that is not over by then is never.
const HANGS: Duration = Duration::from_secs(150);

/// Progress calls that are waited for, before a cancel and after it.
const CALLS: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Backup,
    BackupFirst,
    RestoreExisting,
    RestoreNew,
    Recover,
}

/// What the operation waits for when it is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The object is busy, for ever.
    Busy,
    /// The server answers 503, for ever.
    Overload,
    /// The session is lost, and the server answers 503 to every log-in.
    LogIn,
    /// A task that does not end before a while after the cancel, and cannot be cancelled.
    Task,
    /// One that can be, and does not end by itself.
    CancelableTask,
    /// A lease does not become ready.
    Lease,
    /// Nothing moves.
    Transfer,
}

/// How the operation is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Callback,
    Switch,
    Deadline,
}

#[derive(Clone, Debug)]
struct Point {
    work: Work,
    wait: Wait,
    method: String,
    nth: u32,
    by: By,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point {
            work,
            wait,
            method,
            nth,
            by,
        } = self;
        write!(f, "{work:?}/{wait:?}/{method}#{nth}/{by:?}")
    }
}

struct Stage {
    scene: Scene,
    service: Memory,
    work: Work,
}

impl Stage {
    fn new(work: Work, cancelable_tasks: bool) -> Stage {
        let mut options = Options {
            cancelable_tasks,
            ..Options::default()
        };
        let mut spec = VolumeSpec::new("volume-1", CAPACITY);
        if work == Work::RestoreExisting {
            // It is converted and made larger, too.
            options.import_disk_type = Some(vsphere_sim::DiskType::Thin);
            spec.disk_type = vsphere_sim::DiskType::Thick;
        }
        let scene = Scene::with_volume(options, spec);
        std::fs::create_dir(scene.dir.path().join("state")).unwrap();
        let service = Memory::default();
        let stage = Stage {
            scene,
            service,
            work,
        };
        let first = stage.backup(&stage.scene.client(), "b", Common::default());
        first.unwrap();
        if work == Work::RestoreExisting {
            stage.scene.damage();
        }
        if work == Work::Recover {
            stage.leave_something();
        }
        stage.scene.sim.clear_requests();
        stage
    }

    /// A restore that could not take away what it had made.
    fn leave_something(&self) {
        let faults = self.scene.sim.faults();
        let refused = |method| {
            let trouble = Trouble::Fault(Fault::planned("NoPermission"));
            faults.on_call(method, 1, trouble);
        };
        refused("MoveVirtualDisk_Task");
        refused("Destroy_Task");
        refused("DeleteVirtualDisk_Task");
        let options = self.scene.connect_options();
        let client = Client::connect(self.journalling(options)).unwrap();
        let failed = self.restore(&client, &self.scene.volume(), Common::default());
        assert!(!failed.unwrap_err().left_behind().is_empty());
        faults.clear();
    }

    fn journalling(&self, options: ConnectOptions) -> ConnectOptions {
        ConnectOptions {
            state_dir: Some(self.scene.dir.path().join("state")),
            ..options
        }
    }

    fn backup(&self, client: &Client, id: &str, common: Common<'_>) -> Result<(), Error> {
        let volume = match self.work {
            Work::BackupFirst if id != "b" => Volume {
                size_bytes: CAPACITY,
                ..fresh()
            },
            _ => self.scene.volume(),
        };
        let options = BackupOptions {
            backup_id: id.into(),
            common,
            ..BackupOptions::default()
        };
        backup_volume(client, &self.service, &volume, options).map(drop)
    }

    fn restore(&self, client: &Client, to: &Volume, common: Common<'_>) -> Result<(), Error> {
        let options = RestoreOptions {
            backup_id: "b".into(),
            common,
            ..RestoreOptions::default()
        };
        restore_backup(client, &self.service, to, options).map(drop)
    }

    /// The operation, with a client that is patient without end.
    fn run(
        &self,
        progress: ProgressFn<'_>,
        cancel: Cancel,
        deadline: Option<Duration>,
    ) -> Result<(), Error> {
        let options = ConnectOptions {
            retries: ENDLESS,
            ..self.journalling(self.scene.connect_options())
        };
        let client = Client::connect(options).unwrap();
        self.scene.sim.clear_requests();
        let common = Common {
            progress: Some(progress),
            cancel: Some(cancel.clone()),
            deadline,
            ..Common::default()
        };
        match self.work {
            Work::Backup | Work::BackupFirst => self.backup(&client, "made", common),
            Work::RestoreExisting => {
                let volume = Volume {
                    disk_type: Some(DiskType::Thick),
                    size_bytes: 2 * CAPACITY,
                    ..self.scene.volume()
                };
                self.restore(&client, &volume, common)
            }
            Work::RestoreNew => self.restore(&client, &fresh(), common),
            Work::Recover => {
                let options = RecoverOptions {
                    min_age: Some(Duration::ZERO),
                    progress: common.progress,
                    cancel: Some(cancel),
                    ..RecoverOptions::default()
                };
                recover(&client, options).map(drop)
            }
        }
    }

    /// The methods that an operation without faults calls, in turn.
    fn rehearse(work: Work) -> Vec<String> {
        let stage = Stage::new(work, false);
        let go_on = Box::new(|_: Progress| ControlFlow::Continue(()));
        stage.run(go_on, Cancel::new(), None).unwrap();
        let requests = stage.scene.sim.requests().into_iter();
        let soap = requests.filter(|one| one.path == "/sdk" && one.method != "Logout");
        soap.map(|one| one.method).collect()
    }

    /// Everything but folders: an empty one may be left.
    fn state(&self) -> String {
        let state = self.scene.state();
        let lines = state.lines().filter(|line| line.contains(['/', ' ']));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Everything that recovery does not take away.
    fn recovered_state(&self) -> Result<String, String> {
        // Leases that could not be given up end by themselves.
        self.scene.sim.advance_clock(Duration::from_secs(600));
        let options = self.journalling(self.scene.connect_options());
        let client = Client::connect(options).map_err(|e| e.to_string())?;
        let options = RecoverOptions {
            min_age: Some(Duration::ZERO),
            ..RecoverOptions::default()
        };
        let told = recover(&client, options).map_err(|e| e.to_string())?;
        match told.iter().find(|one| one.outcome != Outcome::Done) {
            Some(failed) => Err(format!("recovery: {failed:?}")),
            None => Ok(self.state()),
        }
    }
}

fn fresh() -> Volume {
    Volume {
        name: "fresh".into(),
        id: Some(VOLUME_ID.replace('3', "7")),
        ..Volume::default()
    }
}

fn derive(work: Work, calls: &[String], full: bool) -> Vec<Point> {
    let mut points = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |wait, method: &str, nth| {
        let by = match points.len() % 3 {
            0 => By::Callback,
            1 => By::Switch,
            // Recovery has no deadline, and what is not waited for ends before it.
            _ if work == Work::Recover || WATCHES.contains(&method) => By::Switch,
            // Its end is made by a progress call after the cancel.
            _ if matches!(wait, Wait::Task | Wait::CancelableTask) => By::Switch,
            _ => By::Deadline,
        };
        points.push(Point {
            work,
            wait,
            method: method.to_owned(),
            nth,
            by,
        });
    };
    for (index, method) in calls.iter().enumerate() {
        let nth = calls[..=index].iter().filter(|one| *one == method).count() as u32;
        if !seen.insert(method) && !full {
            continue;
        }
        add(Wait::Busy, method, nth);
        add(Wait::Overload, method, nth);
        add(Wait::LogIn, method, nth);
        // A search changes nothing: it is not waited for.
        if method.ends_with("_Task") && method != "SearchDatastore_Task" {
            add(Wait::Task, method, nth);
            add(Wait::CancelableTask, method, nth);
        }
    }
    if calls
        .iter()
        .any(|method| method == "ExportVm" || method == "ImportVApp")
    {
        add(Wait::Lease, "HttpNfcLease", 1);
        add(Wait::Transfer, "transfer", 1);
    }
    points
}

/// Runs a point; an invariant that does not hold is an error.
fn try_point(point: &Point) -> Result<(), String> {
    let stage = Stage::new(point.work, point.wait == Wait::CancelableTask);
    let before = match point.work {
        Work::Recover => None,
        _ => Some(stage.state()),
    };
    let faults = stage.scene.sim.faults();
    let fired_before = faults.fired();
    let gate = Gate::new();
    let for_ever = |at, trouble| {
        faults.add(Rule {
            at,
            nth: point.nth,
            times: u32::MAX,
            trouble,
        });
    };
    let call = || At::Call(Some(point.method.clone()));
    let task = At::Task(Some(point.method.clone()));
    match point.wait {
        Wait::Busy => for_ever(call(), Trouble::Fault(Fault::planned("TaskInProgress"))),
        Wait::Overload => for_ever(call(), Trouble::Status(503)),
        Wait::LogIn => {
            for_ever(call(), Trouble::LoseSession);
            faults.add(Rule {
                at: At::Call(Some("Login".into())),
                // The first is that of the client.
                nth: 2,
                times: u32::MAX,
                trouble: Trouble::Status(503),
            });
        }
        Wait::Task | Wait::CancelableTask => faults.add(Rule {
            at: task,
            nth: point.nth,
            times: 1,
            trouble: Trouble::Hold(gate.clone()),
        }),
        Wait::Lease => for_ever(task, Trouble::Hold(gate.clone())),
        Wait::Transfer => {
            let stall = || Trouble::Data(1000, DataTrouble::Stall(gate.clone()));
            for_ever(At::Export, stall());
            for_ever(At::Import, stall());
        }
    }
    let struck = || faults.fired() - fired_before;
    let (cancel, before_it, after_it) = (Cancel::new(), Cell::new(0), Cell::new(0));
    let fired_then = Cell::new(0);
    let progress = |_: Progress| {
        if struck() == 0 {
            return ControlFlow::Continue(());
        }
        before_it.set(before_it.get() + 1);
        match before_it.get() {
            CALLS => fired_then.set(struck()),
            call if call < CALLS => return ControlFlow::Continue(()),
            _ => after_it.set(after_it.get() + 1),
        }
        if after_it.get() == CALLS && point.ends_by_itself() {
            gate.open();
        }
        match point.by {
            By::Callback => return ControlFlow::Break(()),
            By::Switch => cancel.throw(),
            By::Deadline => {}
        }
        ControlFlow::Continue(())
    };
    let deadline = (point.by == By::Deadline).then(|| Duration::from_millis(2500));
    let outcome = stage.run(Box::new(progress), cancel.clone(), deadline);
    let (called, fired) = (before_it.get(), struck());
    faults.clear();
    gate.open();
    if fired == 0 {
        return Ok(());
    }
    match &outcome {
        Err(error) if error.kind() == Kind::Cancelled => {}
        // Nothing waited for it.
        Ok(()) if WATCHES.contains(&point.method.as_str()) => return Ok(()),
        // The volume was restored already: what is left is a notice.
        Ok(()) if point.is_late() => {}
        Ok(()) => return Err("it succeeded".into()),
        Err(error) => return Err(format!("{:?}: {error}", error.kind())),
    }
    if called < CALLS {
        return Err(format!("{called} progress calls while it waited"));
    }
    if point.wait == Wait::Task && after_it.get() < CALLS {
        return Err("no progress calls after the cancel".into());
    }
    // Each thing that is undone is tried once or twice.
    let more = fired.saturating_sub(fired_then.get());
    if point.by != By::Deadline && more > 24 {
        return Err(format!("{more} requests more after the cancel"));
    }
    let Some(before) = before else { return Ok(()) };
    // Where its tag was off already, no recovery takes it away: the error names it.
    let made_backing = matches!(point.work, Work::BackupFirst | Work::RestoreNew);
    let named = |error: &Error| !error.left_behind().is_empty();
    if made_backing && outcome.as_ref().is_err_and(named) {
        return Ok(());
    }
    let after = stage.recovered_state()?;
    if outcome.is_err() && after != before {
        return Err(format!(
            "{outcome:?} left\n{after}\nwhere there was\n{before}"
        ));
    }
    Ok(())
}

impl Point {
    /// Whether the task that it waits for goes on after the cancel: it cannot be cancelled, or it
    /// undoes or completes something.
    fn ends_by_itself(&self) -> bool {
        match self.wait {
            Wait::Task => true,
            Wait::CancelableTask => {
                let removes = ["DeleteVirtualDisk_Task", "Destroy_Task"];
                self.work == Work::Recover || removes.contains(&self.method.as_str())
            }
            _ => false,
        }
    }

    /// Whether the operation may have been past its point of no return.
    fn is_late(&self) -> bool {
        let after = [
            "DeleteVirtualDisk_Task",
            "Destroy_Task",
            "ReconfigVM_Task",
            "CurrentTime",
            "CreatePropertyCollector",
            "QueryVirtualDiskUuid",
        ];
        self.work == Work::Recover || self.nth > 1 || after.contains(&self.method.as_str())
    }
}

#[test]
fn a_cancel_ends_every_wait_of_every_operation() {
    let full = std::env::var("VMDK_FAULTS").as_deref() == Ok("full");
    let only = std::env::var("VMDK_CANCEL").ok();
    let works = [
        Work::Backup,
        Work::BackupFirst,
        Work::RestoreExisting,
        Work::RestoreNew,
        Work::Recover,
    ];
    let mut points: Vec<Point> = Vec::new();
    for work in works {
        points.extend(derive(work, &Stage::rehearse(work), full || only.is_some()));
    }
    if let Some(only) = &only {
        points.retain(|point| point.to_string().contains(only));
    }
    let count = points.len();
    let points = Mutex::new(points);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let Some(point) = points.lock().unwrap().pop() else {
                        return;
                    };
                    if let Err(why) = in_time(&point) {
                        println!("VIOLATION {point}: {why}");
                        failures.lock().unwrap().push(point.to_string());
                    }
                }
            });
        }
    });
    println!("waits that were cancelled: {count}");
    assert!(count > 0, "there is no such point");
    assert_eq!(failures.into_inner().unwrap(), [""; 0]);
}

/// The point's outcome, or that it hangs.
fn in_time(point: &Point) -> Result<(), String> {
    let (done, outcome) = channel();
    let one = point.clone();
    std::thread::spawn(move || {
        // Nobody listens any more where it hung.
        let _ = done.send(try_point(&one));
    });
    match outcome.recv_timeout(HANGS) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => Err("it does not end".into()),
        Err(RecvTimeoutError::Disconnected) => Err("the test itself panicked, see above".into()),
    }
}
