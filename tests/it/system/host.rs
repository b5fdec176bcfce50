//! Signals, forks and limits of the program that the library lives in.

use super::agent::{Agent, Ended};
use super::job::{Job, RECOVER, job};
use super::site::Site;
use crate::stage::{C99, compile};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use vsphere_sim::{DataTrouble, Gate, Trouble};

fn restore() -> Job {
    job("restore/stream")
}

fn host(site: &Site, arguments: &[&str]) -> Agent {
    let program = compile("gcc", &C99, "tests/c/host.c", &["-lpthread"]);
    let mut command = crate::stage::program(program);
    command.args(site.server()).args(arguments);
    Agent::spawn(site, command)
}

/// The calls that change something.
const CHANGING: [&str; 3] = ["ImportVApp", "ReconfigVM_Task", "MoveVirtualDisk_Task"];

#[track_caller]
fn assert_nothing_was_begun(site: &Site, ended: &Ended, before: &str) {
    assert!(!ended.succeeded().unwrap(), "{}", ended.said);
    let requests = site.scene.sim.requests();
    let changing = requests.iter().find(|one| CHANGING.contains(&&*one.method));
    assert_eq!(changing.map(|one| &one.method), None, "{}", ended.said);
    assert_eq!(site.picture(), before, "{}", ended.said);
}

#[test]
fn a_peer_that_resets_raises_no_sigpipe() {
    for offset in [0, 70_000, 1_000_000] {
        let site = Site::new();
        let reset = Trouble::Data(offset, DataTrouble::Reset);
        site.scene.sim.faults().on_import(1, reset);
        let ended = Agent::start(&site, &restore()).wait().unwrap();
        // Whether it was sent again or not: it was no signal that ended the program.
        ended.succeeded().unwrap();
        site.holds_at_rest(&restore()).unwrap();
    }
    for nth in [2, 5, 12, 25] {
        let site = Site::new();
        site.scene.sim.faults().on_any_call(nth, Trouble::Reset);
        let ended = Agent::start(&site, &restore()).wait().unwrap();
        ended.succeeded().unwrap();
        site.let_leases_run_out();
        site.recover(&RECOVER, 1).unwrap();
        site.holds_at_rest(&restore()).unwrap();
    }
}

fn terminate(hold: impl FnOnce(&Site, Gate), is_opened: bool) {
    let site = Site::new();
    let gate = Gate::new();
    hold(&site, gate.clone());
    let agent = host(&site, &["terminated"]);
    assert!(gate.wait_for_arrival(Duration::from_secs(60)));
    let pid = Pid::from_raw(i32::try_from(agent.pid()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    if is_opened {
        gate.open();
    }
    let ended = agent.wait().unwrap();
    assert!(!ended.succeeded().unwrap(), "{}", ended.said);
    assert!(ended.said.contains("CANCELLED"), "{}", ended.said);
    site.holds_at_rest(&restore()).unwrap();
}

#[test]
fn a_host_that_is_terminated_cancels_through_its_own_pipe() {
    let hold_data = |offset| {
        move |site: &Site, gate| {
            let stall = Trouble::Data(offset, DataTrouble::Stall(gate));
            site.scene.sim.faults().on_import(1, stall);
        }
    };
    terminate(hold_data(0), false);
    terminate(hold_data(1_000_000), false);
    // A call that changes something is awaited, then everything is undone.
    terminate(
        |site, gate| {
            let faults = site.scene.sim.faults();
            faults.on_call("ImportVApp", 1, Trouble::HoldReply(gate));
        },
        true,
    );
}

#[test]
fn children_forked_during_an_operation_are_refused_and_harm_nobody() {
    let site = Site::new();
    let ended = host(&site, &["forking"]).wait().unwrap();
    assert!(ended.succeeded().unwrap(), "{}", ended.said);
    site.holds_success(&restore()).unwrap();
    site.holds_at_rest(&restore()).unwrap();
}

#[test]
fn signal_handlers_and_masks_stay_the_hosts() {
    let site = Site::new();
    let ended = host(&site, &["untouched"]).wait().unwrap();
    assert!(ended.succeeded().unwrap(), "{}", ended.said);
    site.holds_at_rest(&restore()).unwrap();
}

#[test]
fn no_room_for_a_journal_ends_a_restore_before_it_begins() {
    for bytes in ["0", "100"] {
        let site = Site::new();
        let before = site.picture();
        let ended = host(&site, &["limited", bytes]).wait().unwrap();
        assert_nothing_was_begun(&site, &ended, &before);
        assert!(ended.said.contains("journal"), "{}", ended.said);
    }
}

#[test]
fn a_journal_that_cannot_grow_any_more_undoes_a_restore() {
    let mut failed = 0;
    for bytes in ["300", "400", "500", "700", "900", "1200"] {
        let site = Site::new();
        let ended = host(&site, &["limited", bytes]).wait().unwrap();
        failed += usize::from(!ended.succeeded().unwrap());
        site.holds_old_or_new(&restore()).unwrap();
        site.holds_at_rest(&restore())
            .unwrap_or_else(|why| panic!("{bytes} bytes: {why}; after {}", ended.said));
    }
    assert!(failed > 1, "the limits were too high");
}

#[test]
fn a_state_directory_that_takes_no_journal_ends_a_restore_before_it_begins() {
    let site = Site::new();
    let file = site.new_file("no-directory");
    std::fs::write(&file, "").unwrap();
    let missing = site.path("missing");
    let before = site.picture();
    for directory in [&file, &missing, std::path::Path::new("/proc")] {
        let directory = directory.to_str().unwrap();
        let ended = host(&site, &["state", directory]).wait().unwrap();
        assert_nothing_was_begun(&site, &ended, &before);
        assert!(ended.said.contains(directory), "{}", ended.said);
    }
}
