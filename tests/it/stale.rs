//! Journals that are out of date: what they name may be somebody else's by now.

use crate::fixture::{Memory, Scene};
use crate::jobs;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use vmdk_backup::client::Client;
use vmdk_backup::ops::{
    Common, Outcome, RecoverOptions, Recovered, RestoreOptions, recover, restore_backup,
};
use vsphere_sim::{Fault, Options, Trouble};

struct Stale {
    scene: Scene,
    client: Client,
    journal: PathBuf,
    text: String,
}

/// A restore that was finished by recovery, and its journal as it was before that.
fn finished() -> Stale {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    jobs::backup(&scene, &service, "b", Common::default()).unwrap();
    scene.damage();
    let state = scene.dir.path().join("state");
    fs::create_dir_all(&state).unwrap();
    let mut options = scene.connect_options();
    options.state_dir = Some(state.clone());
    let client = Client::connect(options).unwrap();
    let refused = Trouble::Fault(Fault::planned("NoPermission"));
    let faults = scene.sim.faults();
    faults.on_call("DeleteVirtualDisk_Task", 1, refused);
    let how = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    restore_backup(&client, &service, &scene.volume(), how).unwrap();
    let journal = fs::read_dir(&state)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let text = fs::read_to_string(&journal).unwrap();
    let stale = Stale {
        scene,
        client,
        journal,
        text,
    };
    assert!(!stale.failed(&stale.recover()));
    assert!(!stale.journal.exists());
    stale
}

impl Stale {
    fn recover(&self) -> Vec<Recovered> {
        let options = RecoverOptions {
            min_age: Some(Duration::ZERO),
            ..RecoverOptions::default()
        };
        recover(&self.client, options).unwrap()
    }

    fn failed(&self, told: &[Recovered]) -> bool {
        told.iter().any(|one| one.outcome == Outcome::Failed)
    }
}

#[test]
fn a_journal_of_a_restore_that_is_finished_is_only_removed() {
    let stale = finished();
    let before = stale.scene.state();
    fs::write(&stale.journal, &stale.text).unwrap();
    let told = stale.recover();
    assert!(!stale.failed(&told), "{told:?}");
    assert!(!stale.journal.exists());
    assert_eq!(stale.scene.state(), before);
}

#[test]
fn a_backing_that_has_another_disk_since_keeps_everything() {
    let stale = finished();
    let (vm, key) = (&stale.scene.vm, stale.scene.disk().key);
    let other = "volume-1/somebody-elses.vmdk";
    stale.scene.sim.move_disk(vm, key, other).unwrap();
    let before = stale.scene.state();
    fs::write(&stale.journal, &stale.text).unwrap();
    let told = stale.recover();
    assert!(stale.failed(&told), "{told:?}");
    assert!(stale.journal.exists());
    assert_eq!(stale.scene.state(), before);
}

#[test]
fn a_machine_without_the_operations_tag_is_not_destroyed_whatever_a_journal_says() {
    let stale = finished();
    let before = stale.scene.state();
    let heading = stale.text.lines().next().unwrap();
    let vm = &stale.scene.vm;
    for moref in [
        "null".to_owned(),
        format!("{{\"kind\":\"VirtualMachine\",\"value\":\"{vm}\"}}"),
    ] {
        let made = format!("{{\"made\":\"temporary_vm\",\"name\":\"volume-1\",\"moref\":{moref}}}");
        fs::write(&stale.journal, format!("{heading}\n{made}\n")).unwrap();
        let told = stale.recover();
        assert_eq!(stale.scene.state(), before, "{told:?}");
        let done = |one: &Recovered| one.outcome == Outcome::Done;
        assert!(!told.iter().any(done), "{told:?}");
    }
}
