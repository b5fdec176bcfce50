//! What a server says of the bytes it sent or took is held against those that were seen here.

use crate::fixture::{Memory, Scene};
use crate::jobs::{self, level};
use vmdk_backup::error::Error;
use vmdk_backup::ops::{Common, Summary};
use vmdk_backup::vmdk::Level;
use vmdk_backup::volume::Volume;
use vsphere_sim::{DataTrouble, Fault, Options, Trouble};

const ASK: &str = "HttpNfcLeaseSetManifestChecksumType";

/// Of a server that has SHA-256, and of one that has only SHA-1.
const APIS: [(&str, &str); 2] = [("8.0.2.0", "SHA-256"), ("6.5", "SHA-1")];

fn of_api(version: &str) -> (Scene, Memory) {
    let scene = Scene::new(Options {
        api_version: version.into(),
        ..Options::default()
    });
    (scene, Memory::default())
}

/// Nothing within the stream is looked at: what is noticed then, the manifest tells.
fn blind() -> Common<'static> {
    level(Level::Digest)
}

fn backup(scene: &Scene, service: &Memory, id: &str) -> Result<Summary, Error> {
    jobs::backup(scene, service, id, blind())
}

fn restore(scene: &Scene, service: &Memory) -> Result<Summary, Error> {
    let volume = Volume {
        name: "brought-back".into(),
        ..Volume::default()
    };
    jobs::restore(scene, service, &volume, blind())
}

fn asked(scene: &Scene) -> usize {
    let requests = scene.sim.requests();
    requests.iter().filter(|one| one.method == ASK).count()
}

fn logged(scene: &Scene, words: &str) -> bool {
    let log = scene.log.lock().unwrap();
    log.iter().any(|line| line.contains(words))
}

#[test]
fn a_byte_that_changed_on_its_way_is_seen_by_the_servers_digest_of_old_and_new() {
    for (api, digest) in APIS {
        let (scene, service) = of_api(api);
        let length = backup(&scene, &service, "b").unwrap().stream_length;
        // The last byte is padding, which nothing but a digest has in it.
        let flip = || Trouble::Data(length - 1, DataTrouble::Flip);
        let noticed = format!("the server's manifest disagrees: its {digest} is");

        scene.sim.faults().on_export(1, flip());
        backup(&scene, &service, "c").unwrap();
        assert!(logged(&scene, &noticed), "export, API {api}");
        let kept = service.kept.borrow();
        assert!(kept["b"].stream == kept["c"].stream);
        drop(kept);

        scene.log.lock().unwrap().clear();
        scene.sim.faults().on_import(1, flip());
        restore(&scene, &service).unwrap();
        assert!(logged(&scene, &noticed), "import, API {api}");
        assert_eq!(asked(&scene) > 0, digest == "SHA-256");
    }
}

#[test]
fn nothing_is_said_of_a_server_that_confirms_by_either_digest() {
    for (api, _) in APIS {
        let (scene, service) = of_api(api);
        let made = backup(&scene, &service, "b").unwrap();
        let brought = restore(&scene, &service).unwrap();
        for summary in [made, brought] {
            assert!(summary.notices.is_empty(), "{:?}", summary.notices);
        }
    }
}

#[test]
fn a_digest_that_is_optional_never_ends_a_transfer() {
    const READ: &str = "HttpNfcLeaseGetManifest";
    let faults = [
        "NotSupported",
        "MethodNotFound",
        "InvalidArgument",
        "InvalidState",
        "RuntimeFault",
        "NoPermission",
        "FileLocked",
    ];
    let answers = faults.map(|name| Trouble::Fault(Fault::planned(name)));
    let broken = [500, 404, 401].map(Trouble::Status);
    let answers = answers.into_iter().chain(broken).chain([Trouble::Html]);
    let (scene, service) = of_api("8.0.2.0");
    backup(&scene, &service, "b").unwrap();
    for (number, answer) in answers.enumerate() {
        for method in [ASK, READ] {
            let what = format!("{method}: {answer:?}");
            let strike = || {
                // Whatever is tried again gets the same answer.
                scene.sim.faults().add(vsphere_sim::Rule {
                    at: vsphere_sim::At::Call(Some(method.into())),
                    nth: 1,
                    times: 5,
                    trouble: answer.clone(),
                });
            };
            strike();
            let id = format!("{number}-{}", method.len());
            let made = backup(&scene, &service, &id);
            let made = made.unwrap_or_else(|error| panic!("{what}: {error}"));
            scene.sim.faults().clear();
            strike();
            let brought = restore(&scene, &service);
            let brought = brought.unwrap_or_else(|error| panic!("{what}: {error}"));
            scene.sim.faults().clear();
            scene.sim.remove_vm(&brought.backing);
            // Its SHA-1 is compared then; without a manifest nothing is.
            let told = usize::from(method == READ);
            assert_eq!(made.notices.len(), told, "{what}: {:?}", made.notices);
            assert_eq!(brought.notices.len(), told, "{what}: {:?}", brought.notices);
        }
    }
}

#[test]
fn a_sha1_that_a_server_gives_instead_is_computed_and_compared() {
    for wrong in [false, true] {
        let (scene, service) = of_api("8.0.2.0");
        let good = backup(&scene, &service, "b").unwrap();
        scene
            .sim
            .change_options(|options| options.sha1_instead = true);
        let client = scene.impatient_client();
        for (number, exports) in [(1, 2), (2, 1)] {
            let before = called(&scene, "ExportVm");
            let id = format!("c{number}");
            let options = vmdk_backup::ops::BackupOptions {
                backup_id: id.clone(),
                common: blind(),
                ..Default::default()
            };
            if wrong {
                let flip = Trouble::Data(good.stream_length - 1, DataTrouble::Flip);
                scene.sim.faults().on_export(exports, flip);
            }
            let made = vmdk_backup::ops::backup_volume(&client, &service, &scene.volume(), options);
            if wrong {
                let error = made.unwrap_err();
                assert!(error.message().contains("its SHA-1 is"), "{error}");
            } else {
                assert_eq!(made.unwrap().notices, [""; 0]);
                let kept = service.kept.borrow();
                assert!(kept[&id].stream == kept["b"].stream);
            }
            // What the server has is known from then on.
            assert_eq!(called(&scene, "ExportVm") - before, exports as usize);
        }
        let restored = restore(&scene, &service).unwrap();
        assert_eq!(restored.notices, [""; 0]);
    }
}

fn called(scene: &Scene, method: &str) -> usize {
    let requests = scene.sim.requests();
    requests.iter().filter(|one| one.method == method).count()
}
