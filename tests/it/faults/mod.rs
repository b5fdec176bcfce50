//! The fault matrix: every fault at every point of every operation where it can strike.
//!
//! A run without faults lists the calls, tasks, transfers and callbacks of a setting; from that the
//! points are derived. Each point is run by itself, and then `verdict` looks at everything.
//! `cargo test` walks a sample that is spread evenly, `make test-faults` all of them. One alone:
//!
//! ```text
//! VMDK_FAULT='restore-existing/vcenter/stream/once/Logout#1/reset' cargo test --test it -- faults
//! ```

mod fault;
mod point;
mod rules;
mod service;
mod setting;
mod small_disk;
mod stage;
mod verdict;

use point::Point;
use setting::Setting;
use stage::Stage;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use verdict::Verdict;

/// Points that `cargo test` walks.
const SAMPLE: usize = 400;
/// Points after which a simulator is replaced: it forgets nothing, and gets slower.
const POINTS_A_STAGE: usize = 150;
const THREADS: usize = 2;

/// What the walk has seen.
#[derive(Default)]
struct Tally {
    points: usize,
    unreached: Vec<String>,
    violations: Vec<String>,
    /// By what was expected of the point: how many succeeded, failed, left something to recovery.
    outcomes: BTreeMap<String, [usize; 3]>,
}

impl Tally {
    fn add(&mut self, point: &Point, verdict: Result<Verdict, String>) {
        let row = self.outcomes.entry(point.fault.name()).or_default();
        match verdict {
            Ok(Verdict::Unreached) => {
                self.unreached.push(point.to_string());
                return;
            }
            Ok(Verdict::Held { succeeded, left }) => {
                row[usize::from(!succeeded)] += 1;
                row[2] += usize::from(left);
            }
            Err(why) => {
                println!("VIOLATION {point}: {why}");
                self.violations.push(point.to_string());
            }
        }
        self.points += 1;
    }
}

/// Which of all points are run.
enum Choice {
    All,
    /// So many, from all over.
    Sample(usize),
    Only(String),
}

impl Choice {
    fn from_environment() -> Choice {
        match std::env::var("VMDK_FAULT") {
            Ok(name) if !name.is_empty() => Choice::Only(name),
            _ => match std::env::var("VMDK_FAULTS").as_deref() {
                Ok("full") => Choice::All,
                Ok(count) => Choice::Sample(count.parse().unwrap()),
                Err(_) => Choice::Sample(SAMPLE),
            },
        }
    }

    fn of(&self, points: Vec<Point>) -> Vec<Point> {
        match self {
            Choice::All => points,
            Choice::Only(name) => {
                let exact = points.iter().any(|point| point.to_string() == *name);
                let wanted = |point: &Point| match exact {
                    true => point.to_string() == *name,
                    false => point.to_string().contains(name),
                };
                points.into_iter().filter(wanted).collect()
            }
            Choice::Sample(count) => {
                let mut points = points;
                points.retain(|point| !point.fault.is_slow());
                // The same each time, and from all over: ordered by a digest of the name.
                points.sort_by_cached_key(|point| spread(&point.to_string()));
                points.truncate(*count);
                points.sort_by_cached_key(|point| point.setting.to_string());
                points
            }
        }
    }
}

/// FNV-1a.
fn spread(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Runs `work` on each of `jobs`, on as many threads as there are to be.
fn on_threads<J: Send, T: Send>(jobs: Vec<J>, work: impl Fn(J) -> T + Sync) -> Vec<T> {
    let jobs = Mutex::new(jobs.into_iter().rev().collect::<Vec<J>>());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else {
                        return;
                    };
                    let result = work(job);
                    done.lock().unwrap().push(result);
                }
            });
        }
    });
    done.into_inner().unwrap()
}

fn walk(choice: &Choice) -> Tally {
    let original = Arc::new(stage::Original::make());
    let mut settings = Setting::all();
    if let Choice::Only(name) = choice {
        let about = |setting: &Setting| name.starts_with(&setting.to_string());
        if settings.iter().any(about) {
            settings.retain(about);
        }
    }
    let derived = on_threads(settings, |setting| {
        let mut stage = Stage::new(setting, &original);
        point::derive(setting, &stage.rehearse())
    });
    let mut points: Vec<Point> = derived.into_iter().flatten().collect();
    points.sort_by_cached_key(ToString::to_string);
    println!("fault points that there are: {}", points.len());
    let mut jobs: Vec<Vec<Point>> = Vec::new();
    for point in choice.of(points) {
        match jobs.last_mut() {
            Some(job) if job[0].setting == point.setting && job.len() < POINTS_A_STAGE => {
                job.push(point);
            }
            _ => jobs.push(vec![point]),
        }
    }
    let tally = Mutex::new(Tally::default());
    on_threads(jobs, |job| {
        let mut stage = Stage::new(job[0].setting, &original);
        for point in job {
            let verdict = stage.try_point(&point);
            if matches!(choice, Choice::Only(_)) {
                println!("{point}: {verdict:?}\n{}", stage.account());
            }
            let spoiled = verdict.is_err();
            tally.lock().unwrap().add(&point, verdict);
            if spoiled {
                stage = Stage::new(point.setting, &original);
            }
        }
    });
    tally.into_inner().unwrap()
}

#[test]
fn every_fault_at_every_point_ends_in_old_or_new_and_leaves_nothing() {
    let choice = Choice::from_environment();
    let tally = walk(&choice);
    for (fault, [succeeded, failed, left]) in &tally.outcomes {
        println!("{fault}: {succeeded} absorbed, {failed} failed, {left} recovered");
    }
    println!(
        "watches that were not needed this time, not counted: {}",
        tally.unreached.len()
    );
    println!(
        "fault points: {}, violations: {}",
        tally.points,
        tally.violations.len()
    );
    assert_eq!(tally.violations, [""; 0]);
    match choice {
        Choice::Only(name) => assert!(tally.points > 0, "there is no point {name}"),
        Choice::Sample(count) => assert!(tally.points * 10 > count * 9, "{} points", tally.points),
        Choice::All => assert!(tally.points > 3000, "only {} points", tally.points),
    }
}
