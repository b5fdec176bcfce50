//! What every [`BackupService`] must do, whoever wrote it.

use super::{BackupRequest, BackupService, BackupWriter, Format};
use crate::error::Kind;
use bytes::Bytes;

const METADATA: &str = r#"{"format":"trial","text":"ä"}"#;

fn request(backup_id: &str) -> BackupRequest<'_> {
    BackupRequest {
        backup_id,
        volume_id: "v1",
        capacity: 1 << 30,
        format: Format::Stream,
    }
}

fn begin<'a>(
    service: &'a dyn BackupService,
    id: &str,
    pieces: &[Bytes],
) -> Box<dyn BackupWriter + 'a> {
    let mut writer = service.create(&request(id)).unwrap();
    for piece in pieces {
        writer.write(piece).unwrap();
    }
    writer
}

fn keep(service: &dyn BackupService, id: &str, pieces: &[Bytes]) {
    let mut writer = begin(service, id, pieces);
    writer.set_metadata(METADATA).unwrap();
    writer.commit().unwrap();
}

fn stream(service: &dyn BackupService, id: &str) -> Vec<u8> {
    let mut reader = service.open(id).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        let read = reader.read(&mut buffer).unwrap();
        if read == 0 {
            assert_eq!(reader.length(), all.len() as u64);
            return all;
        }
        all.extend_from_slice(&buffer[..read]);
    }
}

fn open_error(service: &dyn BackupService, id: &str) -> Kind {
    service.open(id).err().expect("no such backup").kind()
}

/// Runs a service that streams, and has none of the ids used here, through all of it.
pub(crate) fn check(service: &dyn BackupService) {
    a_committed_backup_comes_back(service);
    an_aborted_backup_leaves_nothing(service);
    an_uncommitted_backup_is_none(service);
    a_backup_is_never_replaced(service);
    backups_under_way_do_not_mix(service);
    metadata_may_be_absent(service);
}

fn a_committed_backup_comes_back(service: &dyn BackupService) {
    let pieces = [
        Bytes::from(vec![1; 5]),
        Bytes::from(vec![2; 1 << 20]),
        Bytes::from(vec![3; 1]),
    ];
    keep(service, "whole", &pieces);
    assert!(stream(service, "whole") == pieces.concat());
    let mut reader = service.open("whole").unwrap();
    assert_eq!(reader.metadata().unwrap().as_deref(), Some(METADATA));
}

fn an_aborted_backup_leaves_nothing(service: &dyn BackupService) {
    drop(begin(service, "aborted", &[Bytes::from_static(b"abc")]));
    assert_eq!(open_error(service, "aborted"), Kind::NotFound);
    keep(service, "aborted", &[Bytes::from_static(b"anew")]);
    assert_eq!(stream(service, "aborted"), b"anew");
}

fn an_uncommitted_backup_is_none(service: &dyn BackupService) {
    let mut writer = begin(service, "early", &[Bytes::from_static(b"abc")]);
    writer.set_metadata(METADATA).unwrap();
    assert_eq!(open_error(service, "early"), Kind::NotFound);
    writer.commit().unwrap();
    assert_eq!(stream(service, "early"), b"abc");
}

fn a_backup_is_never_replaced(service: &dyn BackupService) {
    keep(service, "first", &[Bytes::from_static(b"first")]);
    let again = service.create(&request("first"));
    assert_eq!(again.err().expect("refused").kind(), Kind::Exists);
    assert_eq!(stream(service, "first"), b"first");
}

fn backups_under_way_do_not_mix(service: &dyn BackupService) {
    let mut one = begin(service, "one", &[Bytes::from_static(b"1")]);
    let two = begin(service, "two", &[Bytes::from_static(b"2")]);
    one.write(&Bytes::from_static(b"1")).unwrap();
    two.commit().unwrap();
    one.commit().unwrap();
    assert_eq!(stream(service, "one"), b"11");
    assert_eq!(stream(service, "two"), b"2");
}

fn metadata_may_be_absent(service: &dyn BackupService) {
    begin(service, "bare", &[]).commit().unwrap();
    assert_eq!(service.open("bare").unwrap().metadata().unwrap(), None);
    assert_eq!(stream(service, "bare"), b"");
}
