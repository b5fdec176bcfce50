//! What fails in passing is tried again, and ends as if nothing had been.

use crate::fixture::{MIB, Memory, Scene};
use crate::jobs::{backup, restore};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use vmdk_backup::cancel::Cancel;
use vmdk_backup::error::Kind;
use vmdk_backup::ops::{BackupOptions, Common, backup_volume};
use vmdk_backup::service::Staging;
use vmdk_backup::volume::Volume;
use vsphere_sim::{At, DataTrouble, Fault, Gate, Options, Rule, Trouble};

const BOTH: [Staging; 2] = [Staging::Stream, Staging::File];

fn staged(staging: Staging) -> Common<'static> {
    Common {
        staging: Some(staging),
        ..Common::default()
    }
}

/// A scene with its volume's backup `b` in the service.
fn backed_up(options: Options) -> (Scene, Memory, u64) {
    let scene = Scene::new(options);
    let service = Memory::default();
    let length = backup(&scene, &service, "b", Common::default())
        .unwrap()
        .stream_length;
    (scene, service, length)
}

fn new_volume(name: &str) -> Volume {
    Volume {
        name: name.into(),
        ..Volume::default()
    }
}

impl Scene {
    fn logged(&self, words: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(words)).count()
    }

    fn called(&self, method: &str) -> usize {
        let requests = self.sim.requests();
        requests.iter().filter(|one| one.method == method).count()
    }
}

#[test]
fn a_broken_export_goes_on_where_the_service_has_its_beginning() {
    let (scene, service, length) = backed_up(Options::default());
    let state = scene.state();
    for (at, trouble) in [
        (length / 2, DataTrouble::Close),
        (length - 1, DataTrouble::Reset),
    ] {
        let fault = Trouble::Data(at, trouble);
        scene.sim.faults().on_export(1, fault);
        let writes = service.calls.get();
        backup(&scene, &service, &format!("b{at}"), staged(Staging::Stream)).unwrap();
        assert_eq!(service.aborted.get(), 0);
        let kept = service.kept.borrow();
        let bytes: usize = kept[&format!("b{at}")].stream.len();
        assert_eq!(bytes as u64, length);
        assert!(kept[&format!("b{at}")].stream == kept["b"].stream);
        assert!(service.calls.get() > writes);
    }
    assert_eq!(scene.sim.faults().fired(), 2);
    assert_eq!(scene.logged("transfer again in"), 2);
    assert_eq!(scene.state(), state);
}

#[test]
fn a_service_forgets_a_damaged_beginning_before_the_disk_comes_again() {
    let (scene, service, length) = backed_up(Options::default());
    for trouble in [DataTrouble::Flip, DataTrouble::End] {
        let aborted = service.aborted.get();
        let fault = Trouble::Data(length / 2, trouble);
        scene.sim.faults().on_export(1, fault);
        backup(&scene, &service, "c", staged(Staging::Stream)).unwrap();
        assert_eq!(service.aborted.get(), aborted + 1);
        let mut kept = service.kept.borrow_mut();
        assert!(kept.remove("c").unwrap().stream == kept["b"].stream);
    }
}

#[test]
fn a_disk_that_changed_between_two_attempts_is_taken_as_it_is_now() {
    taken_as_it_is_after(Scene::damage);
}

#[test]
fn a_disk_whose_whole_stream_is_shorter_than_what_is_kept_of_it_is_taken_as_it_is_now() {
    taken_as_it_is_after(|scene| {
        let (empty, disk) = (scene.dir.path().join("empty.raw"), scene.disk());
        let file = std::fs::File::create(&empty).unwrap();
        file.set_len(disk.capacity).unwrap();
        scene.sim.load_disk(&scene.vm, disk.key, &empty).unwrap();
    });
}

/// An export breaks off in its middle, and the disk is another one when it is tried again.
fn taken_as_it_is_after(change: impl FnOnce(&Scene) + Send) {
    let (scene, service, length) = backed_up(Options::default());
    let gate = Gate::new();
    let faults = scene.sim.faults();
    faults.on_export(1, Trouble::Data(length / 2, DataTrouble::Close));
    faults.on_call("ExportVm", 2, Trouble::Hold(gate.clone()));
    std::thread::scope(|scope| {
        let (scene, gate) = (&scene, &gate);
        let other = scope.spawn(move || {
            assert!(gate.wait_for_arrival(Duration::from_secs(60)), "no call");
            change(scene);
            gate.open();
        });
        backup(scene, &service, "c", staged(Staging::Stream)).unwrap();
        other.join().unwrap();
    });
    assert_eq!(service.aborted.get(), 1);
    assert_eq!(scene.logged("otherwise than in the attempt before"), 1);
    service.kept.borrow_mut().remove("b");
    let kept = service.kept.borrow_mut().remove("c").unwrap();
    service.kept.borrow_mut().insert("b".into(), kept);
    let damaged = scene.disk();
    let expected = scene.sim.disk_sha256(&scene.vm, damaged.key).unwrap();
    let made = restore(&scene, &service, &new_volume("n"), Common::default()).unwrap();
    let disk = scene.sim.vm(&made.backing).unwrap().disks.remove(0);
    assert_eq!(
        scene.sim.disk_sha256(&made.backing, disk.key).unwrap(),
        expected
    );
}

#[test]
fn a_broken_export_into_a_file_begins_again() {
    let (scene, service, length) = backed_up(Options::default());
    for trouble in [
        DataTrouble::Close,
        DataTrouble::Flip,
        DataTrouble::LoseSession,
    ] {
        let fault = Trouble::Data(length / 2, trouble);
        scene.sim.faults().on_export(1, fault);
        backup(&scene, &service, "c", staged(Staging::File)).unwrap();
        let mut kept = service.kept.borrow_mut();
        assert!(kept.remove("c").unwrap().stream == kept["b"].stream);
    }
    assert_eq!(service.aborted.get(), 0);
}

#[test]
fn a_broken_import_is_sent_again() {
    let (scene, service, length) = backed_up(Options::default());
    for staging in BOTH {
        for trouble in [
            Trouble::Data(length / 2, DataTrouble::Close),
            Trouble::Data(length - 1, DataTrouble::Reset),
            Trouble::Data(MIB, DataTrouble::Flip),
            Trouble::Status(503),
            Trouble::ReplyLost,
        ] {
            scene.damage();
            let fired = scene.sim.faults().fired();
            scene.sim.faults().on_import(1, trouble.clone());
            let done = restore(&scene, &service, &scene.volume(), staged(staging));
            let done = done.unwrap_or_else(|error| panic!("{staging:?} {trouble:?}: {error}"));
            let fired = scene.sim.faults().fired() - fired;
            assert_eq!(fired, 1, "{staging:?} {trouble:?}");
            assert!(done.notices.is_empty(), "{:?}", done.notices);
            scene.assert_restored(&scene.vm);
            assert_eq!(scene.sim.vms().len(), 1);
            assert!(scene.sim.loose_disks().is_empty());
        }
    }
}

#[test]
fn a_vcenter_that_restarts_under_an_export_is_waited_for() {
    let scene = Rc::new(Scene::new(Options::default()));
    let service = Memory::default();
    backup(&scene, &service, "b", Common::default()).unwrap();
    let (seen, restarted) = (scene.clone(), Cell::new(false));
    *service.before_write.borrow_mut() = Some(Box::new(move || {
        if restarted.replace(true) {
            return;
        }
        // Its proxy is up before it is; sessions and leases it has forgotten.
        seen.sim.expire_sessions();
        let faults = seen.sim.faults();
        (1..=3).for_each(|nth| faults.on_any_call(nth, Trouble::Status(503)));
        let leases = seen.sim.leases().into_iter();
        for lease in leases.filter(|lease| lease.is_open()) {
            let gone = Fault::planned("ManagedObjectNotFound");
            seen.sim.fail_lease(&lease.id, gone);
        }
    }));
    let trouble = Trouble::Data(2 * MIB, DataTrouble::Reset);
    scene.sim.faults().on_export(1, trouble);
    backup(&scene, &service, "c", Common::default()).unwrap();
    let kept = service.kept.borrow();
    assert!(kept["c"].stream == kept["b"].stream);
    assert_eq!(scene.logged("logging in again"), 1);
    assert!(scene.logged("503") >= 1);
}

#[test]
fn a_transfer_is_not_tried_for_ever() {
    let (scene, service, length) = backed_up(Options::default());
    let state = scene.state();
    let always = |at| Rule {
        at,
        nth: 1,
        times: u32::MAX,
        trouble: Trouble::Data(length / 2, DataTrouble::Close),
    };
    scene.sim.faults().add(always(At::Export));
    scene.sim.faults().add(always(At::Import));
    let exports = scene.called("ExportVm");
    let error = backup(&scene, &service, "c", Common::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(scene.called("ExportVm") - exports, 4);
    let error = restore(&scene, &service, &scene.volume(), Common::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Connection, "{error}");
    assert_eq!(scene.called("ImportVApp"), 4);
    assert_eq!(scene.state(), state);
}

#[test]
fn a_full_datastore_is_told_at_once() {
    let (scene, service, length) = backed_up(Options::default());
    let full = Fault::planned("NoDiskSpace");
    let trouble = Trouble::Data(length / 2, DataTrouble::LeaseError(full));
    scene.sim.faults().on_import(1, trouble);
    let error = restore(&scene, &service, &scene.volume(), Common::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
    assert_eq!(error.fault(), Some("NoDiskSpace"));
    assert_eq!(scene.called("ImportVApp"), 1);
}

#[test]
fn a_call_whose_reply_is_lost_is_looked_after() {
    for (existing, methods) in [
        (false, &["CreateVM_Task", "HttpNfcLeaseComplete"][..]),
        (
            true,
            &[
                "HttpNfcLeaseComplete",
                "ReconfigVM_Task",
                "MoveVirtualDisk_Task",
                "DeleteVirtualDisk_Task",
                "Destroy_Task",
            ],
        ),
    ] {
        let (scene, service, _) = backed_up(Options::default());
        for method in methods {
            scene.sim.faults().on_call(method, 1, Trouble::ReplyLost);
        }
        if existing {
            scene.damage();
            let done = restore(&scene, &service, &scene.volume(), Common::default()).unwrap();
            assert!(done.notices.is_empty(), "{:?}", done.notices);
            scene.assert_restored(&scene.vm);
        } else {
            let volume = Volume {
                size_bytes: 4 * MIB,
                ..new_volume("fresh")
            };
            let options = BackupOptions {
                backup_id: "f".into(),
                ..BackupOptions::default()
            };
            let done = backup_volume(&scene.client(), &service, &volume, options).unwrap();
            assert!(done.backing_created);
            let made = scene.sim.vm(&done.backing).unwrap();
            assert_eq!(made.name, "fresh");
        }
        assert_eq!(scene.sim.faults().fired(), methods.len());
        assert!(scene.sim.loose_disks().is_empty());
    }
}

#[test]
fn an_import_whose_lease_is_unknown_is_made_under_another_name() {
    let (scene, service, _) = backed_up(Options::default());
    scene.damage();
    let lost = Trouble::ReplyLost;
    scene.sim.faults().on_call("ImportVApp", 1, lost);
    let done = restore(&scene, &service, &scene.volume(), Common::default()).unwrap();
    scene.assert_restored(&scene.vm);
    // The first is locked by a lease that nobody knows, until that times out.
    assert_eq!(done.notices.len(), 1, "{:?}", done.notices);
    assert!(done.notices[0].contains("temporary virtual machine"));
}

#[test]
fn a_cancel_between_two_attempts_is_heard() {
    let (scene, service, length) = backed_up(Options::default());
    let state = scene.state();
    let gate = Gate::new();
    let faults = scene.sim.faults();
    faults.on_export(1, Trouble::Data(length / 2, DataTrouble::Close));
    faults.on_call("HttpNfcLeaseAbort", 1, Trouble::Hold(gate.clone()));
    let cancel = Cancel::new();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(gate.wait_for_arrival(Duration::from_secs(60)), "no call");
            cancel.throw();
            gate.open();
        });
        let common = Common {
            cancel: Some(cancel.clone()),
            ..Common::default()
        };
        backup(&scene, &service, "c", common).unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    assert_eq!(scene.state(), state);
}

#[test]
fn an_operation_ends_at_its_deadline() {
    let (scene, service, length) = backed_up(Options::default());
    let state = scene.state();
    // Never opened: without a deadline the stall time-out would end it, in two minutes.
    let stall = DataTrouble::Stall(Gate::new());
    scene
        .sim
        .faults()
        .on_export(1, Trouble::Data(length / 2, stall));
    let common = Common {
        deadline: Some(Duration::from_millis(500)),
        ..Common::default()
    };
    let error = backup(&scene, &service, "c", common).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    assert!(error.message().contains("deadline of 0.5 s"), "{error}");
    assert_eq!(scene.state(), state);
}
