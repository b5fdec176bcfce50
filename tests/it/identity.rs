//! The right volume or none: what names a volume must agree with what is found, and a volume has
//! no backing only where that is certain.

use crate::fixture::{MIB, Memory, Scene, VOLUME_ID};
use vmdk_backup::client::Client;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{BackupOptions, RestoreOptions, Summary, backup_volume, restore_backup};
use vmdk_backup::volume::{Placement, Volume};
use vsphere_sim::{Connection, Options, VolumeSpec};

const OTHER_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3342";
const NEW_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3399";
const CINDER_ID: &str = "cinder.volume.id";

/// A scene with a backup of its volume, and another volume beside it.
struct Bench {
    scene: Scene,
    client: Client,
    service: Memory,
    other: String,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(Options::default())
    }

    fn of(options: Options) -> Bench {
        let scene = Scene::new(options);
        let spec = VolumeSpec {
            instance_uuid: Some(OTHER_ID.into()),
            ..VolumeSpec::new("volume-2", 41 * MIB)
        };
        let other = scene.sim.add_volume(&spec).unwrap();
        let bench = Bench {
            client: scene.impatient_client(),
            scene,
            service: Memory::default(),
            other,
        };
        bench.backup("b", &bench.scene.volume()).unwrap();
        bench
    }

    fn backup(&self, id: &str, volume: &Volume) -> Result<Summary, Error> {
        let options = BackupOptions {
            backup_id: id.into(),
            ..BackupOptions::default()
        };
        backup_volume(&self.client, &self.service, volume, options)
    }

    fn restore(&self, volume: &Volume) -> Result<Summary, Error> {
        let options = RestoreOptions {
            backup_id: "b".into(),
            ..RestoreOptions::default()
        };
        restore_backup(&self.client, &self.service, volume, options)
    }

    /// Neither backup nor restore does anything to `volume`; both say all of `words`.
    fn refused(&self, volume: &Volume, kind: Kind, words: &[&str]) {
        self.refuses(kind, words, || self.backup("refused", volume));
        self.refuses(kind, words, || self.restore(volume));
    }

    fn refuses(&self, kind: Kind, words: &[&str], work: impl FnOnce() -> Result<Summary, Error>) {
        let state = self.scene.state();
        let error = work().expect_err(words[0]);
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
        assert!(error.left_behind().is_empty(), "{error}");
        assert_eq!(self.scene.state(), state, "after: {error}");
        assert!(!self.service.kept.borrow().contains_key("refused"));
    }

    fn folder(&self, vm: &str, path: &[&str]) {
        self.scene.sim.move_vm(vm, path).unwrap();
    }

    fn extra(&self, vm: &str, key: &str) -> Option<String> {
        let vm = self.scene.sim.vm(vm).unwrap();
        let mut pairs = vm.extra_config.into_iter();
        pairs
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }
}

fn named(name: &str) -> Volume {
    Volume {
        name: name.into(),
        ..Volume::default()
    }
}

fn with_id(name: &str, id: &str) -> Volume {
    Volume {
        id: Some(id.into()),
        ..named(name)
    }
}

fn at(moref: &str, volume: Volume) -> Volume {
    Volume {
        moref: Some(moref.into()),
        ..volume
    }
}

fn inside(folder: &str, volume: Volume) -> Volume {
    let placement = Placement {
        folder: Some(folder.into()),
        ..Placement::default()
    };
    Volume {
        placement,
        ..volume
    }
}

#[test]
fn a_stale_moref_beside_another_volumes_id_or_name_is_refused_with_both() {
    let bench = Bench::new();
    let moref = &bench.other;
    let words = [&**moref, "volume-1", "volume-2", OTHER_ID];
    for volume in [
        at(moref, bench.scene.volume()),
        at(moref, named("volume-1")),
        at(moref, with_id("volume-1", OTHER_ID)),
    ] {
        bench.refused(&volume, Kind::InvalidArgument, &words);
    }
    let by_id = at(moref, with_id("", VOLUME_ID));
    bench.refused(&by_id, Kind::InvalidArgument, &[moref, VOLUME_ID, OTHER_ID]);
    let all = at(&bench.scene.vm, bench.scene.volume());
    bench.backup("all", &all).unwrap();
    bench.restore(&all).unwrap();
}

#[test]
fn an_id_that_is_not_the_one_of_the_machine_found_by_name_is_refused() {
    let bench = Bench::new();
    let words = [NEW_ID, VOLUME_ID, &bench.scene.vm];
    let mut volume = with_id("volume-1", NEW_ID);
    bench.refused(&volume, Kind::InvalidArgument, &words);
    volume.size_bytes = 8 * MIB;
    bench.refused(&volume, Kind::InvalidArgument, &words);
    let (vm, uuid) = (&bench.scene.vm, "");
    bench
        .scene
        .sim
        .set_extra_config(vm, CINDER_ID, VOLUME_ID)
        .unwrap();
    bench.scene.sim.set_instance_uuid(vm, uuid).unwrap();
    bench.refused(
        &volume,
        Kind::InvalidArgument,
        &[NEW_ID, CINDER_ID, VOLUME_ID],
    );
}

#[test]
fn a_name_is_looked_for_in_the_folder_given_only() {
    let bench = Bench::new();
    let gold = || inside("volumes/gold", named("volume-1"));
    bench.refuses(Kind::NotFound, &["no backing"], || {
        bench.backup("refused", &gold())
    });
    let made = bench.restore(&gold()).unwrap();
    assert!(made.backing_created);
    let vm = bench.scene.sim.vm(&made.backing).unwrap();
    assert_eq!(
        (&*vm.name, &*vm.folder),
        ("volume-1", "/DC0/vm/volumes/gold")
    );
    bench.scene.assert_restored(&bench.scene.vm);
    // Now there are two of that name: the folder decides, or the id, or nothing does.
    let again = bench.backup("gold", &gold()).unwrap();
    assert_eq!(again.backing, made.backing);
    let by_id = bench.backup("by-id", &bench.scene.volume()).unwrap();
    assert_eq!(by_id.backing, bench.scene.vm);
    let both = [&*made.backing, &*bench.scene.vm, "2 virtual machines"];
    bench.refused(&named("volume-1"), Kind::InvalidArgument, &both);
}

#[test]
fn an_id_or_moref_found_elsewhere_than_in_the_folder_given_is_refused() {
    let bench = Bench::new();
    bench.folder(&bench.other, &["other"]);
    bench.folder(&bench.scene.vm, &["volumes", "gold"]);
    bench
        .backup("in", &inside("/volumes/gold/", bench.scene.volume()))
        .unwrap();
    let moref = &bench.scene.vm;
    for folder in ["other", "volumes", "nowhere"] {
        for volume in [
            bench.scene.volume(),
            with_id("", VOLUME_ID),
            at(moref, named("")),
        ] {
            let volume = inside(folder, volume);
            bench.refused(&volume, Kind::InvalidArgument, &[folder, "\"gold\"", moref]);
        }
    }
}

#[test]
fn a_datacenter_bounds_the_search_too() {
    let bench = Bench::of(Options {
        datacenters: vec!["DC0".into(), "DC1".into()],
        ..Options::default()
    });
    let within = |datacenter: &str, volume: Volume| {
        let placement = Placement {
            datacenter: Some(datacenter.into()),
            ..Placement::default()
        };
        Volume {
            placement,
            ..volume
        }
    };
    bench
        .backup("in", &within("DC0", bench.scene.volume()))
        .unwrap();
    for volume in [bench.scene.volume(), at(&bench.scene.vm, named(""))] {
        let volume = within("DC1", volume);
        bench.refused(&volume, Kind::InvalidArgument, &["\"DC1\"", "\"DC0\""]);
    }
    bench.refuses(Kind::NotFound, &["no backing"], || {
        bench.backup("refused", &within("DC1", named("volume-1")))
    });
    bench.refused(&within("DC7", named("volume-1")), Kind::NotFound, &["DC7"]);
}

#[test]
fn a_renamed_backing_is_known_by_its_id_but_not_by_the_old_name() {
    let bench = Bench::new();
    bench
        .scene
        .sim
        .rename_vm(&bench.scene.vm, "renamed")
        .unwrap();
    let words = ["volume-1", "renamed", &bench.scene.vm];
    bench.refused(&bench.scene.volume(), Kind::InvalidArgument, &words);
    bench.backup("by-id", &with_id("", VOLUME_ID)).unwrap();
    bench
        .backup("by-both", &with_id("renamed", VOLUME_ID))
        .unwrap();
    bench.restore(&with_id("", VOLUME_ID)).unwrap();
}

#[test]
fn an_id_agrees_by_instance_uuid_or_by_cinders_key() {
    let bench = Bench::new();
    let vm = &bench.scene.vm;
    // A volume that was migrated or retyped.
    bench
        .scene
        .sim
        .set_extra_config(vm, CINDER_ID, NEW_ID)
        .unwrap();
    for id in [VOLUME_ID, NEW_ID] {
        for name in ["volume-1", ""] {
            let made = bench
                .backup(&format!("{id}{name}"), &with_id(name, id))
                .unwrap();
            assert_eq!(&made.backing, vm);
        }
        bench.restore(&with_id("", id)).unwrap();
    }
    // A clone made by hand bears the key of the original.
    bench
        .scene
        .sim
        .set_extra_config(vm, CINDER_ID, VOLUME_ID)
        .unwrap();
    bench
        .scene
        .sim
        .set_extra_config(&bench.other, CINDER_ID, VOLUME_ID)
        .unwrap();
    let made = bench.backup("cloned", &with_id("", VOLUME_ID)).unwrap();
    assert_eq!(&made.backing, vm);
    // Two with the key alone are not told from one another.
    bench.scene.sim.set_instance_uuid(vm, NEW_ID).unwrap();
    let both = [&**vm, &*bench.other];
    bench.refused(&with_id("", VOLUME_ID), Kind::InvalidArgument, &both);
}

#[test]
fn another_volume_than_the_recorded_one_is_replaced_only_where_that_is_permitted() {
    let bench = Bench::new();
    let other = at(&bench.other, named("volume-2"));
    let words = [
        "volume-1",
        "volume-2",
        OTHER_ID,
        VOLUME_ID,
        "allow_other_volume",
    ];
    bench.refuses(Kind::InvalidArgument, &words, || bench.restore(&other));
    // The same name is not the same volume where there are ids.
    bench.scene.sim.rename_vm(&bench.scene.vm, "old").unwrap();
    bench.scene.sim.rename_vm(&bench.other, "volume-1").unwrap();
    bench.refuses(Kind::InvalidArgument, &words[2..], || {
        bench.restore(&named("volume-1"))
    });
    let options = RestoreOptions {
        backup_id: "b".into(),
        allow_other_volume: true,
        ..RestoreOptions::default()
    };
    let volume = at(&bench.other, named("volume-1"));
    let made = restore_backup(&bench.client, &bench.service, &volume, options).unwrap();
    assert_eq!(made.backing, bench.other);
    bench.scene.assert_restored(&bench.other);
}

#[test]
fn a_volume_without_ids_is_known_by_its_recorded_name() {
    let bench = Bench::new();
    bench.service.spoil("b", |kept| {
        let text = kept.metadata.take().unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in ["id", "instance_uuid", "cinder_id"] {
            json["volume"][key] = serde_json::Value::Null;
        }
        kept.metadata = Some(json.to_string());
    });
    bench.refuses(Kind::InvalidArgument, &["without an id"], || {
        bench.restore(&named("volume-2"))
    });
    bench.restore(&named("volume-1")).unwrap();
    bench.service.spoil("b", |kept| kept.metadata = None);
    bench.restore(&named("volume-2")).unwrap();
}

#[test]
fn a_volume_restored_as_new_does_not_carry_the_old_ones_identity() {
    let bench = Bench::new();
    let (sim, vm) = (&bench.scene.sim, &bench.scene.vm);
    for (key, value) in [
        (CINDER_ID, VOLUME_ID),
        ("guestinfo.userdata", "hunter2"),
        ("agent.token", "hunter2"),
    ] {
        sim.set_extra_config(vm, key, value).unwrap();
    }
    bench.service.kept.borrow_mut().clear();
    bench.backup("b", &bench.scene.volume()).unwrap();
    let metadata = bench.service.kept.borrow()["b"].metadata.clone().unwrap();
    assert!(!metadata.contains("hunter2"), "{metadata}");
    let json: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(json["volume"]["instance_uuid"], VOLUME_ID);
    assert_eq!(json["volume"]["cinder_id"], VOLUME_ID);

    let new = with_id("volume-3", NEW_ID);
    let made = bench.restore(&new).unwrap();
    assert_eq!(
        bench.extra(&made.backing, CINDER_ID).as_deref(),
        Some(NEW_ID)
    );
    assert_eq!(bench.extra(&made.backing, "guestinfo.userdata"), None);
    assert_eq!(bench.extra(&made.backing, "agent.token"), None);
    for (number, volume) in [new.clone(), with_id("", NEW_ID)].iter().enumerate() {
        let again = bench.backup(&format!("new-{number}"), volume).unwrap();
        assert_eq!(again.backing, made.backing);
    }
    bench.refused(
        &with_id("volume-3", VOLUME_ID),
        Kind::InvalidArgument,
        &[VOLUME_ID],
    );
    let old = bench.backup("old", &bench.scene.volume()).unwrap();
    assert_eq!(&old.backing, vm);
    // Without an id it bears none.
    let made = bench.restore(&named("volume-4")).unwrap();
    assert_eq!(bench.extra(&made.backing, CINDER_ID), None);
}

/// The names and paths under which a server shows what it has lost sight of.
const LOST_NAMES: [&str; 4] = [
    "volume-1",
    "%2fvmfs%2fvolumes%2f5f-1a%2fvolume-1%2fvolume-1.vmx",
    "[ds] volume-1%2fvolume-1.vmx",
    "Unknown",
];

const LOST: [(Connection, &str); 4] = [
    (Connection::Disconnected, "disconnected"),
    (Connection::Orphaned, "orphaned"),
    (Connection::Inaccessible, "inaccessible"),
    (Connection::Invalid, "invalid"),
];

#[test]
fn a_backing_that_the_server_lost_sight_of_is_not_replaced_by_an_empty_one() {
    let bench = Bench::new();
    let volume = Volume {
        size_bytes: 8 * MIB,
        ..bench.scene.volume()
    };
    let named = Volume {
        id: None,
        ..volume.clone()
    };
    let (sim, vm) = (&bench.scene.sim, &bench.scene.vm);
    for (state, word) in LOST {
        sim.set_connection(vm, state).unwrap();
        for name in LOST_NAMES {
            sim.rename_vm(vm, name).unwrap();
            // A disconnected machine still has its UUID, which contradicts a changed name.
            let kind = match state {
                Connection::Disconnected if name != "volume-1" => Kind::InvalidArgument,
                _ => Kind::InvalidState,
            };
            let words = if kind == Kind::InvalidState { word } else { vm };
            bench.refused(&volume, kind, &[words]);
            bench.refused(&named, Kind::InvalidState, &[word]);
            bench.refused(&at(vm, self::named("")), Kind::InvalidState, &[word]);
        }
    }
    sim.set_connection(vm, Connection::Connected).unwrap();
    sim.rename_vm(vm, "volume-1").unwrap();
    bench.backup("again", &volume).unwrap();
}

#[test]
fn machines_that_cannot_be_the_volumes_are_no_obstacle() {
    let bench = Bench::new();
    let (sim, other) = (&bench.scene.sim, &bench.other);
    sim.set_connection(other, Connection::Orphaned).unwrap();
    sim.rename_vm(other, "%2fvmfs%2fvolumes%2f5f-1a%2fvolume-2%2fvolume-2.vmx")
        .unwrap();
    bench.backup("one", &bench.scene.volume()).unwrap();
    bench.restore(&with_id("volume-20", NEW_ID)).unwrap();
    let fresh = Volume {
        size_bytes: MIB,
        ..named("volume-21")
    };
    bench.backup("fresh", &fresh).unwrap();
}

#[test]
fn a_recorded_backing_that_was_lost_is_not_given_a_second_one() {
    let bench = Bench::new();
    let (sim, vm) = (&bench.scene.sim, &bench.scene.vm);
    // Nothing of its name or path tells that it is the volume's.
    bench.service.spoil("b", |kept| {
        kept.metadata = Some(kept.metadata.take().unwrap().replace("volume-1", "v"));
    });
    sim.set_connection(vm, Connection::Inaccessible).unwrap();
    sim.rename_vm(vm, "Unknown").unwrap();
    for volume in [named("v"), with_id("elsewhere", VOLUME_ID)] {
        bench.refuses(Kind::InvalidState, &["inaccessible", vm], || {
            bench.restore(&volume)
        });
    }
    bench.restore(&with_id("another", NEW_ID)).unwrap();
}

#[test]
fn files_of_a_machine_that_is_not_registered_forbid_an_empty_backing() {
    let bench = Bench::new();
    let volume = Volume {
        size_bytes: 8 * MIB,
        ..bench.scene.volume()
    };
    bench.scene.sim.unregister_vm(&bench.scene.vm);
    bench.refuses(
        Kind::InvalidState,
        &["[datastore1] volume-1", "volume-1.vmx"],
        || bench.backup("refused", &volume),
    );
    // The folder of a machine that has another name by now is that machine's.
    bench.scene.sim.rename_vm(&bench.other, "renamed").unwrap();
    let fresh = Volume {
        size_bytes: MIB,
        ..named("volume-2")
    };
    bench.backup("fresh", &fresh).unwrap();
}

#[test]
fn a_created_backing_is_a_warning_and_can_be_forbidden() {
    let bench = Bench::new();
    let fresh = Volume {
        size_bytes: MIB,
        ..with_id("fresh", NEW_ID)
    };
    bench.refuses(Kind::NotFound, &["existing_only"], || {
        let options = BackupOptions {
            backup_id: "refused".into(),
            existing_only: true,
            ..BackupOptions::default()
        };
        backup_volume(&bench.client, &bench.service, &fresh, options)
    });
    let made = bench.backup("fresh", &fresh).unwrap();
    assert!(made.backing_created);
    let warned = |notice: &String| notice.contains("zeros") && notice.contains(&made.backing);
    assert!(made.notices.iter().any(warned), "{:?}", made.notices);
    let options = BackupOptions {
        backup_id: "again".into(),
        existing_only: true,
        ..BackupOptions::default()
    };
    let again = backup_volume(&bench.client, &bench.service, &fresh, options).unwrap();
    assert!(!again.backing_created && again.notices.is_empty());
}
