//! What a killed process held on the server is ended by recovery, or by the next operation.

use super::job::{Job, RECOVER, job};
use super::kills::die;
use super::site::Site;
use crate::fixture::Memory;
use std::fs;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::Kind;
use vmdk_backup::ops::{BackupOptions, Outcome, RecoverOptions, backup_volume, recover};
use vsphere_sim::{At, DataTrouble, Gate, Rule, Trouble};

/// A site on which the job's process was killed in the middle of its data.
fn killed(job: &Job) -> Site {
    let (site, gate) = (Site::new(), Gate::new());
    let sim = &site.scene.sim;
    sim.change_options(|options| options.private_leases = true);
    let at = match job.operation {
        "backup" => At::Export,
        _ => At::Import,
    };
    let rule = Rule {
        at,
        nth: 1,
        times: 1,
        trouble: Trouble::Data(100_000, DataTrouble::Stall(gate.clone())),
    };
    let ended = die(&site, job, rule, &gate).unwrap();
    assert!(ended.is_none(), "it was not killed");
    assert_eq!(sim.open_leases(), 1);
    site
}

fn journal(site: &Site) -> String {
    let mut files = fs::read_dir(site.path("state")).unwrap();
    let file = files.next().expect("there is a journal").unwrap();
    fs::read_to_string(file.path()).unwrap()
}

/// Options of a client of this process that uses the dead one's journals.
fn options(site: &Site) -> ConnectOptions {
    ConnectOptions {
        state_dir: Some(site.path("state")),
        ..site.scene.connect_options()
    }
}

#[test]
fn recovery_ends_the_lease_of_a_killed_process_at_once() {
    for label in ["backup/stream", "restore/stream", "restore-new/stream"] {
        let job = job(label);
        let site = killed(&job);
        let ended = site.recover(&RECOVER, 1).unwrap();
        let said = &ended[0].said;
        assert!(said.contains("ended the dead process's session"), "{said}");
        assert!(!said.contains("failed"), "{said}");
        assert_eq!(site.scene.sim.open_leases(), 0, "{label}");
        site.holds_at_rest(&job).unwrap();
    }
}

#[test]
fn the_next_backup_ends_the_lease_of_a_killed_one() {
    let job = job("backup/stream");
    let site = killed(&job);
    site.holds_at_rest(&job).unwrap();
}

#[test]
fn a_journal_names_no_session() {
    let site = killed(&job("backup/stream"));
    let text = journal(&site);
    let leases = site.scene.sim.leases();
    let open = leases.iter().find(|lease| lease.is_open()).unwrap();
    let key = open.id.split(['[', ']']).nth(1).unwrap();
    assert!(key.len() > 30, "{}", open.id);
    assert!(text.contains("\"made\":\"lease\""), "{text}");
    assert!(!text.contains(key), "{text}");
    for request in site.scene.sim.requests() {
        let cookie = request.header("cookie").unwrap_or_default();
        let value = cookie.split('"').nth(1).unwrap_or("no cookie");
        assert!(!text.contains(value), "{text}");
    }
}

#[test]
fn without_the_privilege_it_is_told_when_the_lease_ends_by_itself() {
    let site = killed(&job("backup/stream"));
    let sim = &site.scene.sim;
    let denied = vec!["Sessions.TerminateSession".to_owned()];
    sim.change_options(|options| options.denied_privileges = denied);
    let client = Client::connect(options(&site)).unwrap();
    let how = BackupOptions {
        backup_id: "next".into(),
        ..BackupOptions::default()
    };
    let volume = site.scene.volume();
    let error = backup_volume(&client, &Memory::default(), &volume, how).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
    let hint = "of a dead process ends by itself within 300 s";
    assert!(error.to_string().contains(hint), "{error}");
    assert!(
        error.to_string().contains("Sessions.TerminateSession"),
        "{error}"
    );

    let told = recover(&client, RecoverOptions::default()).unwrap();
    let lease = told.iter().find(|one| one.what.contains(hint));
    assert_eq!(lease.unwrap().outcome, Outcome::Skipped, "{told:?}");
    assert_eq!(sim.open_leases(), 1);
    site.let_leases_run_out();
    drop(client);
    site.holds_at_rest(&job("backup/stream")).unwrap();
}

#[test]
fn the_lease_and_session_of_a_living_process_are_left_alone() {
    let (site, gate) = (Site::new(), Gate::new());
    let sim = &site.scene.sim;
    let stall = Trouble::Data(100_000, DataTrouble::Stall(gate.clone()));
    sim.faults().on_export(1, stall);
    let (one, other) = (options(&site), options(&site));
    let service = Memory::default();
    std::thread::scope(|scope| {
        let gate = &gate;
        let looked = scope.spawn(move || {
            assert!(gate.wait_for_arrival(super::agent::LIMIT));
            let told = recover(&Client::connect(other).unwrap(), RecoverOptions::default());
            let held = sim.open_leases();
            gate.open();
            (told.unwrap(), held)
        });
        let how = BackupOptions {
            backup_id: "b".into(),
            ..BackupOptions::default()
        };
        let client = Client::connect(one).unwrap();
        backup_volume(&client, &service, &site.scene.volume(), how).unwrap();
        let (told, held) = looked.join().unwrap();
        // It has made nothing but the lease, and that is its own.
        assert_eq!((told, held), (vec![], 1));
    });
}
