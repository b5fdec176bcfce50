//! Leases that take their time, and what a lease's own calls may answer.

use crate::fixture::{Memory, Scene};
use crate::jobs::{backup, restore};
use std::time::{Duration, Instant};
use vmdk_backup::error::Kind;
use vmdk_backup::ops::Common;
use vsphere_sim::{At, Gate, Options, Rule, Trouble};

fn patience(limit: Duration) -> Common<'static> {
    Common {
        stall_timeout: Some(limit),
        ..Common::default()
    }
}

/// The next leases of `scene`, so many, do not become ready before the gate is open.
fn hold_leases(scene: &Scene, times: u32) -> Gate {
    let gate = Gate::new();
    scene.sim.faults().add(Rule {
        at: At::Task(Some("HttpNfcLease".into())),
        nth: 1,
        times,
        trouble: Trouble::Hold(gate.clone()),
    });
    gate
}

#[test]
fn a_lease_that_makes_progress_is_waited_for_beyond_the_stall_timeout() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    backup(&scene, &service, "b", Common::default()).unwrap();
    let limit = Duration::from_secs(2);
    for import in [false, true] {
        let gate = hold_leases(&scene, 1);
        let since = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(gate.wait_for_arrival(Duration::from_secs(60)), "no lease");
                for percent in 1.. {
                    scene.sim.set_initialized(Some(percent));
                    std::thread::sleep(Duration::from_millis(100));
                    if since.elapsed() > limit + limit / 2 {
                        break;
                    }
                }
                gate.open();
            });
            match import {
                false => backup(&scene, &service, "slow", patience(limit)).unwrap(),
                true => restore(&scene, &service, &scene.volume(), patience(limit)).unwrap(),
            };
        });
        assert!(since.elapsed() > limit);
    }
}

#[test]
fn a_lease_without_progress_is_stalled_whether_it_tells_it_or_not() {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let state = scene.state();
    for (initialized, words) in [(Some(7), "stays at 7 %"), (None, "reports no progress")] {
        scene
            .sim
            .change_options(|options| options.initialized = initialized);
        let gate = hold_leases(&scene, u32::MAX);
        let limit = patience(Duration::from_millis(500));
        let error = backup(&scene, &service, "b", limit).unwrap_err();
        gate.open();
        assert_eq!(error.kind(), Kind::Stalled, "{error}");
        assert!(error.is_retryable(), "{error}");
        assert!(error.message().contains(words), "{error}");
        assert_eq!(scene.state(), state);
    }
}
