//! Backups are proven where they are kept.

use crate::fixture::{Memory, Scene};
use crate::jobs::{backup, level};
use vmdk_backup::error::{Kind, Phase};
use vmdk_backup::ops::{VerifyOptions, verify_backup};
use vmdk_backup::service::Directory;
use vmdk_backup::vmdk::Level;
use vsphere_sim::Options;

fn named(id: &str) -> VerifyOptions<'static> {
    VerifyOptions {
        backup_id: id.into(),
        ..VerifyOptions::default()
    }
}

fn backed_up(closely: Level) -> Memory {
    let service = Memory::default();
    backup(
        &Scene::new(Options::default()),
        &service,
        "b",
        level(closely),
    )
    .unwrap();
    service
}

#[test]
fn a_good_backup_is_good_without_a_server() {
    for level in [Level::Full, Level::Structure, Level::Digest] {
        let service = backed_up(level);
        let proven = verify_backup(&service, named("b")).unwrap();
        let kept = service.kept.borrow()["b"].clone();
        assert_eq!(proven.stream_length, kept.stream.len() as u64);
        assert!(proven.content_digest.is_some());
        assert!(proven.notices.is_empty(), "{:?}", proven.notices);
        let metadata = kept.metadata.unwrap().replace(' ', "");
        let without = metadata.contains("\"content_digest\":null");
        assert_eq!(without, level != Level::Full, "{metadata}");
    }
}

#[test]
fn a_damaged_backup_is_corrupt_wherever_it_is_damaged() {
    let service = backed_up(Level::Full);
    let length = service.kept.borrow()["b"].stream.len();
    for at in [0, 600, length / 2, length - 600] {
        service.spoil("b", |kept| kept.stream[at] ^= 4);
        let error = verify_backup(&service, named("b")).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{at}: {error}");
        service.spoil("b", |kept| kept.stream[at] ^= 4);
    }
    service.spoil("b", |kept| kept.stream.truncate(length - 512));
    let error = verify_backup(&service, named("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(error.phase(), Some(Phase::Verify));
}

#[test]
fn a_backup_in_another_place_than_its_own_is_corrupt() {
    let service = backed_up(Level::Full);
    let other = backed_up(Level::Full).kept.borrow()["b"].clone();
    service.spoil("b", |kept| {
        kept.metadata = other
            .metadata
            .map(|text| text.replace("\"length\":", "\"length\":1"));
    });
    let error = verify_backup(&service, named("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[test]
fn a_backup_that_is_not_there_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let service = Directory::new(directory.path()).unwrap();
    let error = verify_backup(&service, named("b")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    let error = verify_backup(&service, named("../b")).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[test]
fn a_cancel_ends_a_verification() {
    let service = backed_up(Level::Full);
    let options = VerifyOptions {
        progress: Some(Box::new(|_| std::ops::ControlFlow::Break(()))),
        ..named("b")
    };
    let error = verify_backup(&service, options).unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
}
