//! The network between library and server failing at any byte: reset, ended, silent, a bit flipped.
//!
//! A proxy that only sees bytes strikes once in each job of a program in C; then everything is looked
//! at. `cargo test` strikes some hundred times, `make test-network` 20,000 times. One alone:
//!
//! ```text
//! VMDK_NETWORK=backup/stream/patient/1/to-client/517/reset cargo test --test it -- network --nocapture
//! ```
//!
//! How often tasks are watched depends on time, and shifts what comes later on a connection: a place
//! is the same byte, and mostly, not always, of the same call.

mod bench;
mod point;
mod program;
mod proxy;
mod rules;
mod things;

use bench::Bench;
use point::{Job, Numbers, Point};
use rules::Rule;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Faults that `cargo test` strikes with, and `make test-network`.
const SAMPLE: usize = 200;
const FULL: usize = 20_000;
/// Most of a job is waiting.
const WALKERS: usize = 4;
const SEED: u64 = 1;
/// The stall time-out and a second. A request's own time-out is longer.
const SOON: Duration = Duration::from_millis(1400);

#[derive(Default)]
struct Tally {
    struck: usize,
    missed: usize,
    outcomes: BTreeMap<(&'static str, &'static str, Rule), usize>,
    violations: Vec<String>,
    longest: Option<(Duration, String)>,
    /// How many took longer than [`SOON`].
    long: usize,
}

impl Tally {
    fn add(&mut self, point: &Point, outcome: Result<Option<bench::Struck>, String>) {
        match outcome {
            Ok(None) => {
                self.missed += 1;
                return;
            }
            Ok(Some(struck)) => {
                let strike = point.strike;
                let key = (strike.kind.word(), strike.way.word(), struck.rule);
                *self.outcomes.entry(key).or_default() += 1;
                self.long += usize::from(struck.took > SOON);
                if self
                    .longest
                    .as_ref()
                    .is_none_or(|(took, _)| *took < struck.took)
                {
                    self.longest = Some((struck.took, point.to_string()));
                }
            }
            Err(why) => {
                println!("VIOLATION {point}: {why}");
                self.violations.push(point.to_string());
            }
        }
        self.struck += 1;
        if self.struck.is_multiple_of(500) {
            println!(
                "so far {}, violations {}",
                self.struck,
                self.violations.len()
            );
        }
    }

    fn print(&self) {
        for ((kind, way, rule), count) in &self.outcomes {
            println!("{kind:6} {way}: {count:6} {rule:?}");
        }
        println!("the connection or byte was not there: {}", self.missed);
        println!(
            "longer than {SOON:?}: {}; the longest: {:?}",
            self.long, self.longest
        );
        let violations = self.violations.len();
        println!("network faults: {}, violations: {violations}", self.struck);
    }
}

fn chosen() -> (Vec<Point>, usize) {
    let wanted = std::env::var("VMDK_NETWORK").unwrap_or_default();
    let count = match wanted.as_str() {
        "" => SAMPLE,
        "full" => FULL,
        name if name.contains('/') => {
            let point = Point::parse(name);
            return (
                vec![point.unwrap_or_else(|| panic!("no point is {name}"))],
                1,
            );
        }
        count => count.parse().unwrap(),
    };
    let seed = std::env::var("VMDK_NETWORK_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("VMDK_NETWORK_SEED={seed}");
    let mut numbers = Numbers::new(seed);
    let mut bench = Bench::new();
    let jobs = Job::all();
    // Some are not reached: connections are made as they are needed.
    let each = (count + count / 8).div_ceil(jobs.len());
    let mut points: Vec<Point> = jobs
        .into_iter()
        .flat_map(|job| bench.points(job, each, &mut numbers))
        .collect();
    // A walk that is ended early has seen of everything.
    points.sort_by_cached_key(|_| numbers.below(u64::MAX));
    (points, count)
}

#[test]
fn a_network_that_fails_at_any_byte_costs_no_disk_and_leaves_nothing() {
    let (points, wanted) = chosen();
    let next = AtomicUsize::new(0);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..WALKERS.min(points.len()) {
            scope.spawn(|| {
                let mut bench = Bench::new();
                while tally.lock().unwrap().struck < wanted {
                    let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let outcome = bench.strike(point);
                    if wanted == 1 {
                        println!("{point}: {outcome:?}");
                    }
                    let spoiled = outcome.is_err();
                    tally.lock().unwrap().add(point, outcome);
                    if spoiled {
                        bench = Bench::new();
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    tally.print();
    assert_eq!(tally.violations, [""; 0]);
    assert!(tally.struck * 10 >= wanted * 9, "only {}", tally.struck);
}
