//! SIGKILL at every call, task and piece of data of an operation, then recovery in a new process.

use super::agent::{Agent, Ended, LIMIT};
use super::job::{Job, RECOVER, job, jobs};
use super::site::Site;
use super::walk::{Outcome, Point, Struck, replayed, walk};
use std::time::{Duration, Instant};
use vsphere_sim::{At, DataTrouble, Gate, Rule, Trouble};

/// Where the process is when it dies.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The n-th call has reached the server and has no effect.
    Before(u32),
    /// The n-th call has had its effect, of which the process never hears.
    After(u32),
    /// The n-th task runs, and ends only after recovery has been tried.
    Task(u32),
    /// So many parts of 100 of the stream have flowed.
    Data(u64),
}

/// The parts of a stream, in percent, at which a process dies: nothing yet, one byte, ..., all but one.
const FIRST_BYTE: u64 = 1;
const LAST_BYTE: u64 = 99;
const PARTS: [u64; 5] = [0, FIRST_BYTE, 35, 70, LAST_BYTE];

/// How often one looks whether a process has come to the gate or has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// How many recover at once, and whether the journal is lost, by turns.
pub const RECOVERIES: [(usize, bool); 3] = [(1, false), (2, false), (1, true)];

fn rule(at: At, nth: u32, trouble: Trouble) -> Rule {
    Rule {
        at,
        nth,
        times: 1,
        trouble,
    }
}

impl Moment {
    fn rule(self, site: &Site, job: &Job, gate: &Gate) -> Rule {
        let (hold, held) = (
            Trouble::Hold(gate.clone()),
            Trouble::HoldReply(gate.clone()),
        );
        match self {
            Moment::Before(nth) => rule(At::Call(None), nth, hold),
            Moment::After(nth) => rule(At::Call(None), nth, held),
            Moment::Task(nth) => rule(At::Task(None), nth, hold),
            Moment::Data(part) => {
                let length = site.path("service/kept.vmdk").metadata().unwrap().len();
                let offset = match part {
                    FIRST_BYTE => 1,
                    LAST_BYTE => length - 1,
                    part => length / 100 * part,
                };
                let at = match job.operation {
                    "backup" => At::Export,
                    _ => At::Import,
                };
                rule(
                    at,
                    1,
                    Trouble::Data(offset, DataTrouble::Stall(gate.clone())),
                )
            }
        }
    }
}

/// Starts a job and kills it when it has come to the gate. The program's end where it never did.
pub fn die(site: &Site, job: &Job, rule: Rule, gate: &Gate) -> Result<Option<Ended>, String> {
    site.scene.sim.faults().add(rule);
    let mut agent = Agent::start(site, job);
    let begun = Instant::now();
    while !gate.wait_for_arrival(GLANCE) {
        if agent.ended()?.is_some() {
            // Nobody else is to come to the gate.
            site.scene.sim.faults().clear();
            return agent.wait().map(Some);
        }
        if begun.elapsed() > LIMIT {
            return Err("it came neither to the gate nor to its end".into());
        }
    }
    agent.kill();
    site.scene.sim.faults().clear();
    Ok(None)
}

fn strike(job: &Job, moment: Moment, (recoveries, lost_journal): (usize, bool)) -> Outcome {
    let (site, gate) = (Site::new(), Gate::new());
    if let Some(ended) = die(&site, job, moment.rule(&site, job, &gate), &gate)? {
        if !ended.succeeded()? {
            return Err(format!("without a fault: {}", ended.said));
        }
        site.holds_success(job)?;
        site.holds_at_rest(job)?;
        return Ok(Struck::No);
    }
    if matches!(moment, Moment::Task(_)) {
        site.recover(&RECOVER, recoveries)?;
        site.holds_old_or_new(job)?;
        gate.open();
        site.let_tasks_end()?;
    }
    site.holds_old_or_new(job)?;
    site.holds_after_recovery(job, recoveries, lost_journal)?;
    Ok(Struck::Yes)
}

/// A restore dies when its disks are swapped and nothing is cleared away, then the recovery dies.
fn strike_recovery(
    job: &Job,
    moment: Moment,
    (recoveries, lost_journal): (usize, bool),
) -> Outcome {
    let (site, gate) = (Site::new(), Gate::new());
    let swap = At::Call(Some("ReconfigVM_Task".into()));
    let swapped = rule(swap, 2, Trouble::HoldReply(gate.clone()));
    if let Some(ended) = die(&site, job, swapped, &gate)? {
        return Err(format!("it did not swap: {}", ended.said));
    }
    site.let_tasks_end()?;
    let gate = Gate::new();
    if let Some(ended) = die(&site, &RECOVER, moment.rule(&site, &RECOVER, &gate), &gate)? {
        return match ended.succeeded()? {
            true => site.holds_at_rest(job).map(|()| Struck::No),
            false => Err(format!("recovery: {}", ended.said)),
        };
    }
    site.holds_after_recovery(job, recoveries, lost_journal)?;
    site.holds_success(job)?;
    Ok(Struck::Yes)
}

/// How many calls and tasks an operation has when nothing happens.
fn counted(job: &Job) -> (u32, u32) {
    let site = Site::new();
    let ended = Agent::start(&site, job).wait().unwrap();
    assert!(ended.succeeded().unwrap(), "{}", ended.said);
    let requests = site.scene.sim.requests();
    let calls = requests.iter().filter(|one| one.path.starts_with("/sdk"));
    let calls: Vec<_> = calls.filter(|one| one.method != "GET").collect();
    let tasks = calls.iter().filter(|one| one.method.ends_with("_Task"));
    // An import lease's way to ready is a task, too; points too many are not reached, that is all.
    (calls.len() as u32, tasks.count() as u32 + 1)
}

#[test]
fn a_process_killed_at_any_step_leaves_what_recovery_clears() {
    let jobs = jobs();
    let mut points: Vec<Point<'_>> = Vec::new();
    let wanted = |label: &str| replayed().is_none_or(|name| name.contains(label));
    for (label, job) in jobs.iter().filter(|(label, _)| wanted(label)) {
        let (calls, tasks) = counted(job);
        let moments = (1..=calls)
            .flat_map(|nth| [Moment::Before(nth), Moment::After(nth)])
            .chain((1..=tasks).map(Moment::Task))
            .chain(PARTS.map(Moment::Data));
        for (index, moment) in moments.enumerate() {
            // Every kind of recovery comes to every kind of moment.
            let recovery = RECOVERIES[index % RECOVERIES.len()];
            let name = format!("kill/{label}/{moment:?}");
            let strike = Box::new(move || strike(job, moment, recovery));
            points.push(Point { name, strike });
        }
    }
    walk("kills", points, 24);
}

/// More calls than a recovery makes.
const RECOVERY_CALLS: u32 = 40;

#[test]
fn a_recovery_killed_at_any_step_is_finished_by_the_next() {
    let job = &job("restore/stream");
    let moments = (1..=RECOVERY_CALLS).flat_map(|nth| [Moment::Before(nth), Moment::After(nth)]);
    let points = moments.enumerate().map(|(index, moment)| {
        let recovery = RECOVERIES[index % RECOVERIES.len()];
        Point {
            name: format!("recovery/{moment:?}"),
            strike: Box::new(move || strike_recovery(job, moment, recovery)),
        }
    });
    walk("kills of recoveries", points.collect(), 6);
}
