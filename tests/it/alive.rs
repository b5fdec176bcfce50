//! Recovery tells the living from the dead by the server's clock and by signs of life.

use crate::fixture::{Memory, Scene};
use crate::jobs;
use std::time::Duration;
use vmdk_backup::client::Client;
use vmdk_backup::ops::{
    Common, Outcome, RecoverOptions, Recovered, RestoreOptions, recover, restore_backup,
};
use vmdk_backup::volume::{DiskType, Volume};
use vsphere_sim::{At, DataTrouble, Fault, Gate, Options, Rule, Trouble};

const HOUR: u64 = 3600;
const DAY_AND_MORE: Duration = Duration::from_secs(25 * HOUR);
/// Nothing that is waited for here takes that long.
const LIMIT: Duration = Duration::from_secs(60);

/// A server on which nothing ends by itself, with a backup `b` of its volume.
fn patient() -> (Scene, Memory) {
    let scene = Scene::new(Options {
        session_timeout: 100 * DAY_AND_MORE,
        lease_timeout: 100 * DAY_AND_MORE,
        import_disk_type: Some(vsphere_sim::DiskType::Thin),
        ..Options::default()
    });
    let service = Memory::default();
    jobs::backup(&scene, &service, "b", Common::default()).unwrap();
    scene.damage();
    (scene, service)
}

/// A restore that converts the disk, by a client that renews its tag that often.
fn restore(scene: &Scene, service: &Memory, interval: Option<Duration>) {
    let mut options = scene.connect_options();
    options.keepalive_interval = interval;
    let client = Client::connect(options).unwrap();
    let options = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    let volume = Volume {
        disk_type: Some(DiskType::Thick),
        ..scene.volume()
    };
    restore_backup(&client, service, &volume, options).unwrap();
}

/// Recovery on another host, which has no journals.
fn recover_elsewhere(scene: &Scene, min_age: Option<Duration>) -> Vec<Recovered> {
    let options = RecoverOptions {
        min_age,
        ..RecoverOptions::default()
    };
    recover(&scene.client(), options).unwrap()
}

fn assert_spared(scene: &Scene, why: &str) {
    for min_age in [None, Some(Duration::from_secs(1))] {
        let told = recover_elsewhere(scene, min_age);
        let [one] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!(one.outcome, Outcome::Skipped, "{told:?}");
        assert!(one.what.contains(why), "{told:?}");
    }
    assert_eq!(scene.sim.vms().len(), 2, "the temporary machine");
}

/// Holds the restore at `rule`, does `meanwhile`, and lets it come to its end.
fn while_held(
    (scene, service): &(Scene, Memory),
    interval: Option<Duration>,
    rule: Rule,
    gate: &Gate,
    meanwhile: impl FnOnce() + Send,
) {
    scene.sim.faults().add(rule);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| {
            assert!(gate.wait_for_arrival(LIMIT), "it was not held");
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
            gate.open();
            done
        });
        restore(scene, service, interval);
        held.join().unwrap().unwrap();
    });
    scene.assert_restored(&scene.vm);
    assert_eq!(scene.sim.vms().len(), 1);
    assert_eq!(scene.sim.loose_disks(), [""; 0]);
}

fn copying(gate: &Gate) -> Rule {
    Rule {
        at: At::Task(Some("CopyVirtualDisk_Task".into())),
        nth: 1,
        times: 1,
        trouble: Trouble::Hold(gate.clone()),
    }
}

/// The value of a tag of the temporary machine.
fn tag(scene: &Scene, key: &str) -> Option<String> {
    let vms = scene.sim.vms();
    let temporary = vms.iter().find(|vm| vm.moref != scene.vm)?;
    let found = temporary.extra_config.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.clone())
}

#[test]
fn an_operation_that_renews_its_tag_is_alive_however_old_it_is() {
    let (gate, stage) = (Gate::new(), patient());
    let scene = &stage.0;
    let interval = Some(Duration::from_millis(100));
    while_held(&stage, interval, copying(&gate), &gate, || {
        let before = tag(scene, "vmdk_backup.renewed").unwrap();
        scene.sim.advance_clock(DAY_AND_MORE);
        let end = std::time::Instant::now() + LIMIT;
        let day = |text: &str| text[..10].to_owned();
        while day(&tag(scene, "vmdk_backup.renewed").unwrap()) == day(&before) {
            assert!(std::time::Instant::now() < end, "the tag is not renewed");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_spared(scene, "alive");
    });
}

#[test]
fn a_lease_that_is_held_is_a_sign_of_life() {
    let (gate, stage) = (Gate::new(), patient());
    let scene = &stage.0;
    let sending = Rule {
        at: At::Import,
        nth: 1,
        times: 1,
        trouble: Trouble::Data(70_000, DataTrouble::Stall(gate.clone())),
    };
    while_held(&stage, None, sending, &gate, || {
        scene.sim.advance_clock(DAY_AND_MORE);
        assert_spared(scene, "a task or a lease");
    });
}

#[test]
fn a_lease_that_has_just_ended_is_a_sign_of_life() {
    let (gate, stage) = (Gate::new(), patient());
    let scene = &stage.0;
    // The tag cannot be renewed under the lease, and is a day old when that ends.
    let ending = Rule {
        at: At::Call(Some("HttpNfcLeaseComplete".into())),
        nth: 1,
        times: 1,
        trouble: Trouble::Hold(gate.clone()),
    };
    let next = Gate::new();
    scene.sim.faults().add(copying(&next));
    while_held(&stage, None, ending, &gate, || {
        scene.sim.advance_clock(DAY_AND_MORE);
        gate.open();
        assert!(next.wait_for_arrival(LIMIT), "nothing was copied");
        let spared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_spared(scene, "alive");
        }));
        next.open();
        spared.unwrap();
    });
}

#[test]
fn tags_tell_the_servers_time_and_not_the_hosts() {
    for skew in [
        -26 * HOUR as i64,
        26 * HOUR as i64,
        20 * 365 * 24 * HOUR as i64,
    ] {
        let (gate, stage) = (Gate::new(), patient());
        let scene = &stage.0;
        scene.sim.set_clock_skew(skew);
        while_held(&stage, None, copying(&gate), &gate, || {
            let server = time::OffsetDateTime::now_utc() + time::Duration::seconds(skew);
            for key in ["vmdk_backup.started", "vmdk_backup.renewed"] {
                let text = tag(scene, key).unwrap();
                let told = time::OffsetDateTime::parse(
                    &text,
                    &time::format_description::well_known::Rfc3339,
                );
                let off = (server - told.unwrap()).whole_seconds();
                assert!((0..300).contains(&off), "{key} {text}: {off} s");
            }
            assert_spared(scene, "alive");
        });
    }
}

/// Leaves the temporary machine of a restore that could not remove it.
fn leave_temporary(scene: &Scene, service: &Memory) {
    let refused = || Trouble::Fault(Fault::planned("NoPermission"));
    scene
        .sim
        .faults()
        .on_call("CopyVirtualDisk_Task", 1, refused());
    scene.sim.faults().on_call("Destroy_Task", 1, refused());
    let volume = Volume {
        disk_type: Some(DiskType::Thick),
        ..scene.volume()
    };
    jobs::restore(scene, service, &volume, Common::default()).unwrap_err();
    assert_eq!(scene.sim.vms().len(), 2, "the temporary machine");
}

#[test]
fn an_operation_that_misses_its_renewals_is_dead_by_the_servers_clock() {
    for (min_age, passes) in [
        (None, DAY_AND_MORE),
        (Some(Duration::from_secs(1)), Duration::from_secs(400)),
        (Some(Duration::from_secs(HOUR)), Duration::from_secs(HOUR)),
    ] {
        let (scene, service) = patient();
        leave_temporary(&scene, &service);
        assert_spared(&scene, "alive");
        scene.sim.advance_clock(passes);
        let told = recover_elsewhere(&scene, min_age);
        assert!(!told.is_empty());
        let done = told.iter().all(|one| one.outcome == Outcome::Done);
        assert!(done, "{told:?}");
        assert_eq!(scene.sim.vms().len(), 1);
    }
}

#[test]
fn a_tag_without_a_time_or_of_the_future_is_given_up_only_on_demand() {
    let keys = ["vmdk_backup.renewed", "vmdk_backup.started"];
    for (value, why) in [
        ("", "does not say"),
        ("yesterday", "does not say"),
        ("2999-01-01T00:00:00Z", "ahead of the server's clock"),
    ] {
        let (scene, service) = patient();
        leave_temporary(&scene, &service);
        let vms = scene.sim.vms();
        let left = vms.iter().find(|vm| vm.moref != scene.vm).unwrap();
        for key in keys {
            scene.sim.set_extra_config(&left.moref, key, value).unwrap();
        }
        // The server remembers its tasks for some minutes.
        scene.sim.advance_clock(2 * DAY_AND_MORE);
        assert_spared(&scene, why);
        let told = recover_elsewhere(&scene, Some(Duration::ZERO));
        assert!(told.iter().all(|one| one.outcome == Outcome::Done));
        assert_eq!(scene.sim.vms().len(), 1);
    }
}

#[test]
fn a_clock_that_was_set_back_spares_what_it_makes_look_young() {
    let (scene, service) = patient();
    leave_temporary(&scene, &service);
    scene.sim.set_clock_skew(-48 * HOUR as i64);
    assert_spared(&scene, "ahead of the server's clock");
}
