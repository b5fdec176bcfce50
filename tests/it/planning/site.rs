//! Hosts, datastores and vApps: where a disk goes, and why it does not go elsewhere.

use super::{Case, named};
use crate::fixture::{MIB, Memory, Scene};
use crate::jobs;
use vmdk_backup::error::Kind;
use vmdk_backup::ops::Common;
use vmdk_backup::volume::{Placement, Volume};
use vsphere_sim::{Options, Simulator};

type Spoil = fn(&Simulator, usize);

const SPOILS: [(&str, Spoil); 4] = [
    ("in maintenance mode", |sim, host| {
        sim.set_host(host, true, true).unwrap();
    }),
    ("not responding", |sim, host| {
        sim.set_host(host, false, false).unwrap();
    }),
    ("in standby", |sim, host| {
        sim.set_host_power(host, "standBy", false).unwrap();
    }),
    ("powered off", |sim, host| {
        sim.set_host_power(host, "poweredOff", false).unwrap();
    }),
];

fn placed_in_pool(name: &str, pool: &str) -> Volume {
    Volume {
        placement: Placement {
            resource_pool: Some(pool.into()),
            ..Placement::default()
        },
        ..named(name)
    }
}

#[test]
fn a_new_volume_goes_to_a_host_that_can_take_it() {
    let case = Case::new(Options::default());
    for (round, (why, spoil)) in SPOILS.iter().enumerate() {
        for bad in [0, 1] {
            println!("host {bad} {why}");
            spoil(&case.scene.sim, bad);
            let done = case.restored_as(&named(&format!("new-{round}-{bad}")));
            assert_eq!(case.scene.sim.host_of(&done.backing), Some(1 - bad));
            case.scene.sim.set_host(bad, true, false).unwrap();
            case.scene
                .sim
                .set_host_power(bad, "poweredOn", false)
                .unwrap();
        }
    }
}

#[test]
fn a_host_in_quarantine_is_the_last_choice() {
    let case = Case::new(Options::default());
    case.scene.sim.set_host_power(0, "poweredOn", true).unwrap();
    let done = case.restored_as(&named("elsewhere"));
    assert_eq!(case.scene.sim.host_of(&done.backing), Some(1));
    case.scene.sim.set_host(1, true, true).unwrap();
    let done = case.restored_as(&named("none-other"));
    assert_eq!(case.scene.sim.host_of(&done.backing), Some(0));
}

#[test]
fn without_a_usable_host_each_one_is_named_with_its_reason() {
    let case = Case::new(Options::default());
    for (why, spoil) in SPOILS {
        spoil(&case.scene.sim, 0);
        case.scene.sim.set_host(1, true, true).unwrap();
        let words = ["esx1.dc0.sim.test", why, "esx2.dc0.sim.test", "maintenance"];
        case.refused(&named("nowhere"), Kind::InvalidState, &words);
        for host in [0, 1] {
            case.scene.sim.set_host(host, true, false).unwrap();
            case.scene
                .sim
                .set_host_power(host, "poweredOn", false)
                .unwrap();
        }
    }
}

#[test]
fn a_backing_whose_host_is_in_maintenance_is_restored_by_way_of_another_host() {
    let case = Case::new(Options::default());
    let own = case.scene.sim.host_of(&case.scene.vm).unwrap();
    case.scene.sim.set_host(own, true, true).unwrap();
    case.restored();
    assert_eq!(case.scene.sim.host_of(&case.scene.vm), Some(own));
}

#[test]
fn a_backing_whose_host_is_away_is_refused_before_the_disk_moves() {
    let case = Case::new(Options::default());
    let own = case.scene.sim.host_of(&case.scene.vm).unwrap();
    for (why, spoil) in &SPOILS[1..] {
        spoil(&case.scene.sim, own);
        case.refused(&case.scene.volume(), Kind::InvalidState, &["esx", why]);
        case.scene.sim.set_host(own, true, false).unwrap();
        case.scene
            .sim
            .set_host_power(own, "poweredOn", false)
            .unwrap();
    }
    case.restored();
}

#[test]
fn a_lone_host_in_maintenance_is_refused_with_words() {
    let options = Options {
        data_hosts: 1,
        ..Options::default()
    };
    let case = Case::new(options);
    case.scene.sim.set_host(0, true, true).unwrap();
    let words = ["datastore1", "esx1.dc0.sim.test is in maintenance mode"];
    case.refused(&case.scene.volume(), Kind::InvalidState, &words);
    let words = ["esx1.dc0.sim.test is in maintenance mode"];
    case.refused(&named("new"), Kind::InvalidState, &words);

    let scene = Scene::new(Options::esxi());
    let service = Memory::default();
    jobs::backup(&scene, &service, "b", Common::default()).unwrap();
    scene.sim.set_host(0, true, true).unwrap();
    let error = jobs::restore(&scene, &service, &scene.volume(), Common::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidState, "{error}");
}

#[test]
fn a_datastore_that_the_backings_host_cannot_write_to_is_refused() {
    let case = Case::new(Options::default());
    let own = case.scene.sim.host_of(&case.scene.vm).unwrap();
    for (mount, why) in [
        (None, "does not mount it"),
        (Some((false, true)), "read-only"),
        (Some((true, false)), "cannot reach it"),
    ] {
        case.scene.sim.set_mount("datastore1", own, mount).unwrap();
        case.refused(
            &case.scene.volume(),
            Kind::InvalidState,
            &["datastore1", why],
        );
    }
    case.scene
        .sim
        .set_mount("datastore1", own, Some((true, true)))
        .unwrap();
    case.scene
        .sim
        .set_mount("datastore1", 1 - own, None)
        .unwrap();
    case.restored();
}

#[test]
fn a_datastore_that_is_away_or_in_maintenance_is_refused() {
    let case = Case::new(Options::default());
    let placed = Volume {
        placement: Placement {
            datastore: Some("datastore1".into()),
            ..Placement::default()
        },
        ..named("new")
    };
    for (accessible, maintenance, why) in [
        (false, false, "datastore1 is not accessible"),
        (true, true, "datastore1 is in maintenance"),
    ] {
        let sim = &case.scene.sim;
        sim.set_datastore("datastore1", accessible, maintenance, None)
            .unwrap();
        case.refused(&placed, Kind::InvalidState, &[why]);
        case.refused(&case.scene.volume(), Kind::InvalidState, &[why]);
        // Another one takes a volume that names none.
        let spare = format!("spare-{accessible}");
        case.restore(&named(&spare)).unwrap();
        sim.set_datastore("datastore1", true, false, None).unwrap();
    }
    let full = case
        .scene
        .sim
        .set_datastore("datastore1", true, false, Some(12 * MIB));
    full.unwrap();
    case.refused(
        &case.scene.volume(),
        Kind::NoSpace,
        &["datastore1", "bytes free"],
    );
}

#[test]
fn a_backing_in_a_vapp_is_restored_by_way_of_a_machine_outside_of_it() {
    let case = Case::new(Options::default());
    let vapp = case.scene.sim.add_vapp("app").unwrap();
    case.scene
        .sim
        .move_into_vapp(&case.scene.vm, &vapp)
        .unwrap();
    case.restored();
    case.backup("again").unwrap();
    let left = case.scene.sim.vms().len();
    assert_eq!(left, 1);
}

#[test]
fn a_volume_is_made_in_a_vapp_without_a_folder() {
    let case = Case::new(Options::default());
    let vapp = case.scene.sim.add_vapp("app").unwrap();
    for (name, pool) in [("by-name", "app"), ("by-moref", vapp.as_str())] {
        let done = case.restored_as(&placed_in_pool(name, pool));
        let folder = case.scene.sim.vm(&done.backing).unwrap().folder;
        assert!(folder.contains("/app"), "{folder}");
        case.restored_as(&named(&format!("{name}-outside")));
    }
    let both = Volume {
        placement: Placement {
            folder: Some("a/b".into()),
            ..placed_in_pool("both", "app").placement
        },
        ..named("both")
    };
    case.refused(&both, Kind::InvalidArgument, &["vApp", "a/b"]);
}

#[test]
fn a_backing_is_created_in_a_vapp() {
    let case = Case::new(Options::default());
    case.scene.sim.add_vapp("app").unwrap();
    let volume = Volume {
        size_bytes: 8 * MIB,
        ..placed_in_pool("empty", "app")
    };
    let made = jobs::backup_of(&case.scene, &case.service, "empty", &volume).unwrap();
    assert!(made.backing_created);
    let folder = case.scene.sim.vm(&made.backing).unwrap().folder;
    assert!(folder.contains("/app"), "{folder}");
}
