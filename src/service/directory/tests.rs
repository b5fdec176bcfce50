//! What the directory promises beyond every service.

use super::super::conformance;
use super::*;
use crate::service::Format;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const REQUEST: BackupRequest<'static> = BackupRequest {
    backup_id: "b1",
    volume_id: "v1",
    capacity: 512,
    format: Format::Stream,
};

fn service() -> (TempDir, Directory) {
    let directory = tempfile::tempdir().unwrap();
    let service = Directory::new(directory.path()).unwrap();
    (directory, service)
}

fn names(directory: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn it_is_a_backup_service() {
    let (_directory, service) = service();
    conformance::check(&service);
}

#[test]
fn a_backup_is_a_private_directory_of_two_files() {
    let (directory, service) = service();
    let mut writer = service.create(&REQUEST).unwrap();
    writer.set_metadata("{}").unwrap();
    writer.commit().unwrap();
    let mode = |path: &str| {
        let kind = fs::metadata(directory.path().join(path)).unwrap();
        kind.permissions().mode() & 0o777
    };
    assert_eq!(names(&directory), ["b1"]);
    assert_eq!(mode("b1"), 0o700);
    assert_eq!(mode("b1/disk.vmdk"), 0o600);
    assert_eq!(mode("b1/metadata.json"), 0o600);
}

#[test]
fn an_id_cannot_leave_the_directory() {
    let (_directory, service) = service();
    for id in [
        "", ".", "..", "../x", "a/b", "/etc", ".hidden", "a b", "ä", "a\0b",
    ] {
        let error = service.open(id).err().unwrap();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{id:?}");
        let created = service.create(&BackupRequest {
            backup_id: id,
            ..REQUEST
        });
        assert_eq!(created.err().unwrap().kind(), Kind::InvalidArgument);
    }
}

#[test]
fn of_two_backups_of_one_id_the_first_to_commit_is_the_one() {
    let (directory, service) = service();
    let mut first = service.create(&REQUEST).unwrap();
    let mut second = service.create(&REQUEST).unwrap();
    first.write(&Bytes::from_static(b"first")).unwrap();
    second.write(&Bytes::from_static(b"second")).unwrap();
    first.commit().unwrap();
    assert_eq!(second.commit().unwrap_err().kind(), Kind::Exists);
    let data = fs::read(directory.path().join("b1/disk.vmdk")).unwrap();
    assert_eq!(data, b"first");
    assert_eq!(names(&directory), ["b1"]);
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_live_one_writes_is_not() {
    let (directory, service) = service();
    for (name, file) in [
        (".0000000000000000.partial", Some(DATA)),
        (".0000000000000001.partial", None),
    ] {
        let left = directory.path().join(name);
        fs::create_dir(&left).unwrap();
        if let Some(file) = file {
            fs::write(left.join(file), "half").unwrap();
        }
    }
    let live = service.create(&REQUEST).unwrap();
    assert_eq!(names(&directory).len(), 1);
    let other = service
        .create(&BackupRequest {
            backup_id: "b2",
            ..REQUEST
        })
        .unwrap();
    assert_eq!(names(&directory).len(), 2);
    drop(other);
    live.commit().unwrap();
    assert_eq!(names(&directory), ["b1"]);
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let (directory, service) = service();
    fs::write(directory.path().join("notes.partial"), "mine").unwrap();
    fs::write(directory.path().join(".notes.partial"), "mine").unwrap();
    fs::create_dir(directory.path().join(".cache.partial")).unwrap();
    drop(service.create(&REQUEST).unwrap());
    let expected = [".cache.partial", ".notes.partial", "notes.partial"];
    assert_eq!(names(&directory), expected);
}

#[test]
fn a_file_of_the_ids_name_is_not_replaced() {
    let (directory, service) = service();
    let writer = service.create(&REQUEST).unwrap();
    fs::write(directory.path().join("b1"), "not a backup").unwrap();
    assert_eq!(writer.commit().unwrap_err().kind(), Kind::Exists);
    let text = fs::read_to_string(directory.path().join("b1")).unwrap();
    assert_eq!(text, "not a backup");
    assert_eq!(service.open("b1").err().unwrap().kind(), Kind::NotFound);
}

#[test]
fn data_that_is_no_regular_file_is_not_waited_for() {
    let (directory, service) = service();
    let backup = directory.path().join("b1");
    fs::create_dir(&backup).unwrap();
    nix::unistd::mkfifo(&backup.join(DATA), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(service.open("b1").err().unwrap().kind(), Kind::Corrupt);
}

#[test]
fn metadata_that_is_too_long_or_no_text_is_corrupt() {
    let (directory, service) = service();
    service.create(&REQUEST).unwrap().commit().unwrap();
    let path = directory.path().join("b1").join(METADATA);
    for content in [vec![0xff], vec![b' '; (1 << 20) + 1]] {
        fs::write(&path, content).unwrap();
        let error = service.open("b1").unwrap().metadata().unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}

#[test]
fn the_directory_must_be_one() {
    let (directory, _) = service();
    let missing = Directory::new(&directory.path().join("missing"));
    assert_eq!(missing.err().unwrap().kind(), Kind::NotFound);
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let no_directory = Directory::new(&file);
    assert_eq!(no_directory.err().unwrap().kind(), Kind::InvalidArgument);
}

#[test]
fn an_id_and_metadata_are_kept_up_to_the_length_that_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let service = Directory::new(directory.path()).unwrap();
    let id = "x".repeat(LONGEST_BACKUP_ID);
    let request = |backup_id| BackupRequest {
        backup_id,
        volume_id: "v",
        capacity: 512,
        format: Format::Stream,
    };
    let longest = "m".repeat(LONGEST_METADATA);
    let mut writer = service.create(&request(&id)).unwrap();
    writer.write(&Bytes::from_static(b"stream")).unwrap();
    let refused = writer.set_metadata(&format!("{longest}m")).unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidArgument, "{refused}");
    writer.set_metadata(&longest).unwrap();
    writer.commit().unwrap();
    let kept = service.open(&id).unwrap().metadata().unwrap();
    assert_eq!(kept.as_deref(), Some(longest.as_str()));
    let longer = format!("{id}x");
    assert!(service.create(&request(&longer)).is_err());
    assert!(service.open(&longer).is_err());
}
