//! A walk over many points at each of which something strikes: all of them, a spread sample, or the
//! one that is named.
//!
//! `VMDK_SYSTEM=full` walks all points, `VMDK_SYSTEM=<name of a point>` replays one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether a point was struck, or an invariant that does not hold.
pub type Outcome = Result<Struck, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Struck {
    /// The process died, or a call failed, and all invariants hold.
    Yes,
    /// The operation was over before.
    No,
}

pub struct Point<'a> {
    pub name: String,
    pub strike: Box<dyn Fn() -> Outcome + Send + Sync + 'a>,
}

/// Threads that walk; what they walk waits for processes, mostly.
const WALKERS: usize = 2;

/// The name of the point that is to be replayed.
pub fn replayed() -> Option<String> {
    Some(wanted()).filter(|wanted| wanted.contains('/'))
}

fn wanted() -> String {
    std::env::var("VMDK_SYSTEM").unwrap_or_default()
}

/// Strikes at all points, or at some `sample` of them, and panics where an invariant does not hold.
pub fn walk(what: &str, points: Vec<Point<'_>>, sample: usize) {
    let all = points.len();
    if all == 0 && replayed().is_some() {
        // The point belongs to another walk.
        return;
    }
    let chosen: Vec<Point<'_>> = match replayed() {
        Some(name) => points.into_iter().filter(|one| one.name == name).collect(),
        None if wanted() == "full" => points,
        None => points
            .into_iter()
            .enumerate()
            .filter(|(index, _)| (index * sample) / all != ((index + 1) * sample) / all)
            .map(|(_, point)| point)
            .collect(),
    };
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..WALKERS {
            scope.spawn(|| {
                while let Some(point) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = catch_unwind(AssertUnwindSafe(&point.strike))
                        .unwrap_or_else(|_| Err("the test itself panicked, see above".into()));
                    match &outcome {
                        Ok(Struck::Yes) => println!("{}: held", point.name),
                        Ok(Struck::No) => println!("{}: not reached", point.name),
                        Err(why) => println!("{}: VIOLATION: {why}", point.name),
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(point.name.clone(), outcome);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let struck = |one: &&Outcome| !matches!(one, Ok(Struck::No));
    let struck = results.values().filter(struck).count();
    let violations: Vec<String> = results
        .iter()
        .filter_map(|(name, outcome)| Some(format!("{name}: {}", outcome.as_ref().err()?)))
        .collect();
    println!("{what}: {struck}, violations: {}", violations.len());
    assert!(
        violations.is_empty(),
        "replay one by VMDK_SYSTEM=<its name>:\n{}",
        violations.join("\n")
    );
    let few = struck == 0 && replayed().is_none();
    assert!(!few, "of {all} points none was reached");
}
