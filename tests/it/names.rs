//! Names as servers have them: with escapes, and with bytes that are no text.

use crate::fixture::{MIB, Memory, Scene, VOLUME_ID};
use crate::jobs;
use vmdk_backup::error::Kind;
use vmdk_backup::ops::{BackupOptions, Common, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::volume::{Placement, Volume};
use vsphere_sim::{Options, VolumeSpec};

const NEW_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3399";

/// Plain names that an escape too many or too few would change.
const NAMES: [&str; 6] = ["a/b", "a\\b", "100%", "a%2fb", "%25", "%/5c\\é"];

#[test]
fn a_name_with_slashes_and_percent_signs_goes_out_and_comes_back_in_every_place() {
    for (number, name) in NAMES.iter().enumerate() {
        let escaped = name.replace('%', "%25").replace('/', "%2f");
        let kept = escaped.replace('\\', "%5c");
        let scene = Scene::new(Options {
            datacenters: vec![kept.clone()],
            ..Options::default()
        });
        let (client, service) = (scene.client(), Memory::default());
        jobs::backup(&scene, &service, "b", Common::default()).unwrap();
        let placement = Placement {
            datacenter: Some((*name).to_owned()),
            folder: Some(format!("folders/{escaped}")),
            ..Placement::default()
        };
        let volume = Volume {
            name: (*name).to_owned(),
            id: Some(NEW_ID.into()),
            placement,
            ..Volume::default()
        };
        let made = jobs::restore(&scene, &service, &volume, Common::default()).unwrap();
        assert!(made.backing_created && made.notices.is_empty(), "{made:?}");
        scene.assert_restored(&made.backing);
        let vm = scene.sim.vm(&made.backing).unwrap();
        assert_eq!(vm.name, kept);
        assert_eq!(vm.folder, format!("/{kept}/vm/folders/{kept}"));
        // By name, in the place given, it is found again, and its metadata has the plain name.
        let by_name = Volume {
            id: None,
            size_bytes: MIB,
            ..volume
        };
        let options = BackupOptions {
            backup_id: "c".into(),
            existing_only: true,
            ..BackupOptions::default()
        };
        let again = backup_volume(&client, &service, &by_name, options).unwrap();
        assert_eq!(again.backing, made.backing);
        let metadata = service.kept.borrow()["c"].metadata.clone().unwrap();
        let json: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        assert_eq!(json["volume"]["name"], *name);
        let fresh = Volume {
            name: format!("{name}{number}"),
            ..by_name
        };
        let options = BackupOptions {
            backup_id: "d".into(),
            ..BackupOptions::default()
        };
        let fresh = backup_volume(&client, &service, &fresh, options).unwrap();
        assert!(fresh.backing_created);
    }
}

#[test]
fn a_machine_whose_name_is_no_text_hides_no_other() {
    let scene = Scene::new(Options {
        mangled_text: true,
        ..Options::default()
    });
    let spec = VolumeSpec::new("b\u{fffd}d", MIB);
    let bad = scene.sim.add_volume(&spec).unwrap();
    let note = ("agent.note", "\u{fffd}");
    scene
        .sim
        .set_extra_config(&scene.vm, note.0, note.1)
        .unwrap();
    let (client, service) = (scene.client(), Memory::default());
    let by_name = Volume {
        name: "volume-1".into(),
        ..Volume::default()
    };
    let backup = |id: &str, volume: &Volume| {
        let options = BackupOptions {
            backup_id: id.into(),
            ..BackupOptions::default()
        };
        backup_volume(&client, &service, volume, options)
    };
    let made = backup("b", &by_name).unwrap();
    assert_eq!(made.backing, scene.vm);
    scene.damage();
    let options = RestoreOptions {
        backup_id: "b".into(),
        ..RestoreOptions::default()
    };
    restore_backup(&client, &service, &by_name, options).unwrap();
    scene.assert_restored(&scene.vm);
    // No name that a caller can give is that machine's.
    for name in ["b\u{fffd}d", "bd", "b?d"] {
        let volume = Volume {
            name: name.into(),
            ..Volume::default()
        };
        assert_eq!(backup("n", &volume).unwrap_err().kind(), Kind::NotFound);
    }
    let damaged = Volume {
        name: "b\u{1a}d".into(),
        ..Volume::default()
    };
    let error = backup("n", &damaged).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    // The path of its disk is needed, and is no text either.
    let volume = Volume {
        moref: Some(bad),
        ..Volume::default()
    };
    let error = backup("n", &volume).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    assert!(error.to_string().contains("its path"), "{error}");
    backup(
        "last",
        &Volume {
            id: Some(VOLUME_ID.into()),
            ..Volume::default()
        },
    )
    .unwrap();
}
