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
fn a_server_that_takes_no_wish_for_a_digest_confirms_none_and_that_is_said() {
    let (scene, service) = of_api("8.0.2.0");
    let refuse = Fault::new("NotSupported", "not by this server");
    scene.sim.faults().on_call(ASK, 1, Trouble::Fault(refuse));
    let made = backup(&scene, &service, "b").unwrap();
    let said = "the server's manifest has no digest: it did not confirm the stream";
    assert_eq!(made.notices, [said]);
}
