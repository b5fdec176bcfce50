//! What was inflated when it was backed up is known by its SHA-256 when it is restored.

use crate::fixture::{Kept, Memory, Scene};
use crate::jobs::{self, level};
use sha2::{Digest, Sha256};
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{Common, Summary};
use vmdk_backup::vmdk::Level;
use vsphere_sim::Options;

fn backed_up(closely: Level) -> (Scene, Memory, Summary) {
    let scene = Scene::new(Options::default());
    let service = Memory::default();
    let made = jobs::backup(&scene, &service, "b", level(closely)).unwrap();
    (scene, service, made)
}

fn restore(scene: &Scene, service: &Memory) -> Result<Summary, Error> {
    jobs::restore(scene, service, &scene.volume(), Common::default())
}

/// Damages a block, of which the record knows nothing.
fn damage(kept: &mut Kept) {
    let middle = kept.stream.len() / 2;
    kept.stream[middle] ^= 4;
}

/// Makes the record agree with whatever is kept.
fn forge(kept: &mut Kept) {
    let metadata = kept.metadata.take().unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let digest = Sha256::digest(&kept.stream);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json["stream"]["sha256"] = digest.into();
    kept.metadata = Some(json.to_string());
}

#[test]
fn a_restore_tells_the_contents_that_were_recorded() {
    let (scene, service, made) = backed_up(Level::Full);
    let brought = restore(&scene, &service).unwrap();
    assert!(brought.content_digest.is_some());
    assert_eq!(brought.content_digest, made.content_digest);
    assert_eq!(brought.populated, made.populated);
}

#[test]
fn a_block_that_changed_in_the_service_is_its_fault_though_the_host_sees_it_first() {
    let (scene, service, _) = backed_up(Level::Full);
    service.spoil("b", damage);
    let state = scene.state();
    let error = restore(&scene, &service).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    let told = error.to_string();
    assert!(told.contains("not the one that was backed up"), "{told}");
    assert_eq!(scene.state(), state);
}

#[test]
fn blocks_that_were_never_inflated_are_when_they_are_restored() {
    let (scene, service, _) = backed_up(Level::Structure);
    service.spoil("b", damage);
    service.spoil("b", forge);
    let state = scene.state();
    let error = restore(&scene, &service).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains("grain"), "{error}");
    assert_eq!(scene.state(), state);
}

#[test]
fn a_forged_record_does_not_get_a_damaged_block_past_the_host() {
    let (scene, service, _) = backed_up(Level::Full);
    service.spoil("b", damage);
    service.spoil("b", forge);
    let state = scene.state();
    let error = restore(&scene, &service).unwrap_err();
    assert_eq!(error.kind(), Kind::Fault, "{error}");
    assert_eq!(scene.state(), state);
}
