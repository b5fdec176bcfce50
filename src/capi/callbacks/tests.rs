//! A service in memory, made of the functions a C program would give.

mod raw;

use super::*;
use crate::service::Format;
use crate::service::LONGEST_METADATA;
use crate::service::conformance;
use bytes::Bytes;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::Mutex;

type Backup = (Vec<u8>, Option<Vec<u8>>);

/// What the functions work on, and which of them fails with which number.
#[derive(Default)]
struct Store {
    kept: Mutex<HashMap<String, Backup>>,
    calls: Mutex<Vec<&'static str>>,
    failing: Option<(&'static str, i32)>,
    freed: Option<std::sync::mpsc::Sender<()>>,
}

struct Writing {
    id: String,
    backup: Backup,
}

struct Reading {
    backup: Backup,
    at: usize,
}

impl Store {
    /// Notes the call; what it is to return.
    fn called(&self, name: &'static str) -> i32 {
        self.calls.lock().unwrap().push(name);
        match self.failing {
            Some((failing, value)) if failing == name => value,
            _ => 0,
        }
    }

    fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }
}

/// # Safety
/// `user_data` is that of [`table`].
unsafe fn store<'a>(user_data: *mut c_void) -> &'a Store {
    // SAFETY: the caller's promise; the store outlives its service in every test.
    unsafe { &*user_data.cast::<Store>() }
}

unsafe extern "C-unwind" fn create(
    user_data: *mut c_void,
    request: *const vmdk_backup_request,
    writer_out: *mut *mut c_void,
) -> i32 {
    // SAFETY: what the library passes to the function is as the header says.
    unsafe {
        let store = store(user_data);
        let id = CStr::from_ptr((*request).backup_id).to_str().unwrap();
        assert_eq!((*request).struct_size, size_of::<vmdk_backup_request>());
        if store.kept.lock().unwrap().contains_key(id) {
            return VMDK_SERVICE_EXISTS;
        }
        let returned = store.called("create");
        if returned == 0 {
            *writer_out = Box::into_raw(Box::new(Writing {
                id: id.to_owned(),
                backup: Backup::default(),
            }))
            .cast();
        }
        returned
    }
}

unsafe extern "C-unwind" fn write(
    user_data: *mut c_void,
    writer: *mut c_void,
    bytes: *const c_void,
    length: usize,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let writing = &mut *writer.cast::<Writing>();
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), length);
        writing.backup.0.extend_from_slice(bytes);
        store(user_data).called("write")
    }
}

unsafe extern "C-unwind" fn set_metadata(
    user_data: *mut c_void,
    writer: *mut c_void,
    metadata: *const c_char,
    length: usize,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let text = CStr::from_ptr(metadata).to_bytes();
        assert_eq!(text.len(), length);
        (*writer.cast::<Writing>()).backup.1 = Some(text.to_owned());
        store(user_data).called("set_metadata")
    }
}

unsafe extern "C-unwind" fn commit(user_data: *mut c_void, writer: *mut c_void) -> i32 {
    // SAFETY: as above.
    unsafe {
        let store = store(user_data);
        let returned = store.called("commit");
        if returned == 0 {
            let writing = Box::from_raw(writer.cast::<Writing>());
            let mut kept = store.kept.lock().unwrap();
            kept.insert(writing.id, writing.backup);
        }
        returned
    }
}

unsafe extern "C-unwind" fn abort(user_data: *mut c_void, writer: *mut c_void) {
    // SAFETY: as above.
    unsafe {
        store(user_data).called("abort");
        drop(Box::from_raw(writer.cast::<Writing>()));
    }
}

unsafe extern "C-unwind" fn open(
    user_data: *mut c_void,
    backup_id: *const c_char,
    length_out: *mut u64,
    reader_out: *mut *mut c_void,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let store = store(user_data);
        let returned = store.called("open");
        if returned != 0 {
            return returned;
        }
        let kept = store.kept.lock().unwrap();
        let Some(backup) = kept.get(CStr::from_ptr(backup_id).to_str().unwrap()) else {
            return VMDK_SERVICE_NOT_FOUND;
        };
        *length_out = backup.0.len() as u64;
        *reader_out = Box::into_raw(Box::new(Reading {
            backup: backup.clone(),
            at: 0,
        }))
        .cast();
        0
    }
}

unsafe extern "C-unwind" fn read(
    user_data: *mut c_void,
    reader: *mut c_void,
    buffer: *mut c_void,
    size: usize,
    length_out: *mut usize,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let reading = &mut *reader.cast::<Reading>();
        let rest = &reading.backup.0[reading.at..];
        let length = rest.len().min(size);
        ptr::copy_nonoverlapping(rest.as_ptr(), buffer.cast(), length);
        reading.at += length;
        *length_out = length;
        store(user_data).called("read")
    }
}

unsafe extern "C-unwind" fn get_metadata(
    user_data: *mut c_void,
    reader: *mut c_void,
    buffer: *mut c_char,
    size: usize,
    length_out: *mut usize,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        if let Some(text) = &(*reader.cast::<Reading>()).backup.1 {
            *length_out = text.len();
            if text.len() <= size {
                ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), text.len());
            }
        }
        store(user_data).called("get_metadata")
    }
}

unsafe extern "C-unwind" fn close(user_data: *mut c_void, reader: *mut c_void) {
    // SAFETY: as above.
    unsafe {
        store(user_data).called("close");
        drop(Box::from_raw(reader.cast::<Reading>()));
    }
}

unsafe extern "C-unwind" fn backup_file(
    user_data: *mut c_void,
    writer: *mut c_void,
    backup_id: *const c_char,
    path: *const c_char,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        assert!(writer.is_null());
        let store = store(user_data);
        let id = CStr::from_ptr(backup_id).to_str().unwrap().to_owned();
        let stream = std::fs::read(CStr::from_ptr(path).to_str().unwrap()).unwrap();
        store.kept.lock().unwrap().insert(id, (stream, None));
        store.called("backup_file")
    }
}

unsafe extern "C-unwind" fn restore_file(
    user_data: *mut c_void,
    reader: *mut c_void,
    backup_id: *const c_char,
    path: *const c_char,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        assert!(reader.is_null());
        let store = store(user_data);
        let id = CStr::from_ptr(backup_id).to_str().unwrap();
        let stream = store.kept.lock().unwrap()[id].0.clone();
        std::fs::write(CStr::from_ptr(path).to_str().unwrap(), stream).unwrap();
        store.called("restore_file")
    }
}

unsafe extern "C-unwind" fn free(user_data: *mut c_void) {
    // SAFETY: as above.
    if let Some(freed) = unsafe { &store(user_data).freed } {
        freed.send(()).unwrap();
    }
}

fn empty(store: &Store) -> vmdk_service_callbacks {
    vmdk_service_callbacks {
        struct_size: size_of::<vmdk_service_callbacks>(),
        user_data: ptr::from_ref(store).cast_mut().cast(),
        free: Some(free),
        create: None,
        write: None,
        set_metadata: None,
        commit: None,
        abort: None,
        open: None,
        read: None,
        get_metadata: None,
        close: None,
        backup_file: None,
        restore_file: None,
        write_at: None,
        write_zeros: None,
        read_at: None,
        next_data: None,
    }
}

fn table(store: &Store) -> vmdk_service_callbacks {
    vmdk_service_callbacks {
        create: Some(create),
        write: Some(write),
        set_metadata: Some(set_metadata),
        commit: Some(commit),
        abort: Some(abort),
        open: Some(open),
        read: Some(read),
        get_metadata: Some(get_metadata),
        close: Some(close),
        ..empty(store)
    }
}

const REQUEST: BackupRequest<'static> = BackupRequest {
    backup_id: "b1",
    volume_id: "v1",
    capacity: 512,
    format: Format::Stream,
};

fn back_up(service: &dyn BackupService) -> Result<()> {
    let mut writer = service.create(&REQUEST)?;
    writer.write(&Bytes::from_static(b"abc"))?;
    writer.set_metadata("{}")?;
    writer.commit()
}

fn give_back(service: &dyn BackupService) -> Result<()> {
    let mut reader = service.open("b1")?;
    reader.metadata()?;
    reader.read(&mut [0; 8]).map(drop)
}

#[test]
fn it_is_a_backup_service() {
    let store = Store::default();
    conformance::check(&CallbackService::new(table(&store)).unwrap());
}

#[test]
fn a_failing_callback_ends_the_backup_with_its_number_and_an_abort() {
    for (failing, calls) in [
        ("create", &["create"][..]),
        ("write", &["create", "write", "abort"]),
        (
            "set_metadata",
            &["create", "write", "set_metadata", "abort"],
        ),
        (
            "commit",
            &["create", "write", "set_metadata", "commit", "abort"],
        ),
    ] {
        let store = Store {
            failing: Some((failing, 77)),
            ..Store::default()
        };
        let service = CallbackService::new(table(&store)).unwrap();
        let error = back_up(&service).unwrap_err();
        assert_eq!((error.kind(), error.callback()), (Kind::Service, Some(77)));
        assert!(error.to_string().contains(failing), "{error}");
        assert_eq!(store.calls(), calls);
    }
}

#[test]
fn a_failing_callback_ends_the_reading_with_its_number_and_a_close() {
    for (failing, calls) in [
        ("open", &["open"][..]),
        ("get_metadata", &["open", "get_metadata", "close"]),
        ("read", &["open", "get_metadata", "read", "close"]),
    ] {
        let store = Store {
            failing: Some((failing, -5)),
            ..Store::default()
        };
        let backup = (b"abc".to_vec(), Some(b"{}".to_vec()));
        store.kept.lock().unwrap().insert("b1".into(), backup);
        let service = CallbackService::new(table(&store)).unwrap();
        let error = give_back(&service).unwrap_err();
        assert_eq!((error.kind(), error.callback()), (Kind::Service, Some(-5)));
        assert_eq!(store.calls(), calls);
    }
}

#[test]
fn a_reserved_number_has_its_own_kind() {
    let store = Store {
        failing: Some(("write", VMDK_SERVICE_NO_SPACE)),
        ..Store::default()
    };
    let service = CallbackService::new(table(&store)).unwrap();
    let error = back_up(&service).unwrap_err();
    assert_eq!(error.kind(), Kind::NoSpace);
}

#[test]
fn metadata_of_any_permitted_length_comes_back() {
    let store = Store::default();
    let service = CallbackService::new(table(&store)).unwrap();
    for (length, known) in [
        (METADATA_BUFFER, true),
        (METADATA_BUFFER + 1, true),
        (LONGEST_METADATA, true),
        (LONGEST_METADATA + 1, false),
    ] {
        let backup = (Vec::new(), Some(vec![b'x'; length]));
        store.kept.lock().unwrap().insert("b1".into(), backup);
        let metadata = service.open("b1").unwrap().metadata();
        match metadata {
            Ok(text) => assert!(known && text.map(|text| text.len()) == Some(length)),
            Err(error) => assert!(!known && error.kind() == Kind::Corrupt, "{error}"),
        }
    }
}

#[test]
fn a_read_beyond_the_buffer_is_not_believed() {
    unsafe extern "C-unwind" fn boast(
        _: *mut c_void,
        _: *mut c_void,
        _: *mut c_void,
        size: usize,
        length_out: *mut usize,
    ) -> i32 {
        // SAFETY: as above.
        unsafe { *length_out = size + 1 };
        0
    }
    let store = Store::default();
    let backup = (b"abc".to_vec(), None);
    store.kept.lock().unwrap().insert("b1".into(), backup);
    let boasting = vmdk_service_callbacks {
        read: Some(boast),
        ..table(&store)
    };
    let service = CallbackService::new(boasting).unwrap();
    assert_eq!(give_back(&service).unwrap_err().kind(), Kind::Service);
}

#[test]
fn a_service_of_two_functions_works_by_file() {
    let store = Store::default();
    let service = CallbackService::new(vmdk_service_callbacks {
        backup_file: Some(backup_file),
        restore_file: Some(restore_file),
        ..empty(&store)
    })
    .unwrap();
    assert_eq!(service.staging(), Staging::File);
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, "stream").unwrap();
    let mut writer = service.create(&REQUEST).unwrap();
    writer.write_file(&from).unwrap();
    writer.set_metadata("{}").unwrap();
    writer.commit().unwrap();
    let mut reader = service.open("b1").unwrap();
    assert_eq!(reader.metadata().unwrap(), None);
    reader.read_file(&to).unwrap();
    assert_eq!(std::fs::read(to).unwrap(), b"stream");
}

#[test]
fn functions_that_do_not_go_together_are_refused() {
    let store = Store::default();
    let whole = || table(&store);
    for incomplete in [
        empty(&store),
        vmdk_service_callbacks {
            create: None,
            ..whole()
        },
        vmdk_service_callbacks {
            write: None,
            ..whole()
        },
        vmdk_service_callbacks {
            commit: None,
            ..whole()
        },
        vmdk_service_callbacks {
            abort: None,
            ..whole()
        },
        vmdk_service_callbacks {
            open: None,
            ..whole()
        },
        vmdk_service_callbacks {
            read: None,
            ..whole()
        },
        vmdk_service_callbacks {
            close: None,
            ..whole()
        },
        vmdk_service_callbacks {
            backup_file: Some(backup_file),
            ..whole()
        },
        vmdk_service_callbacks {
            set_metadata: Some(set_metadata),
            backup_file: Some(backup_file),
            ..empty(&store)
        },
    ] {
        let error = CallbackService::new(incomplete).err().expect("refused");
        assert_eq!(error.kind(), Kind::InvalidArgument);
    }
}

#[test]
fn a_service_that_only_keeps_cannot_give_back() {
    let store = Store::default();
    let service = CallbackService::new(vmdk_service_callbacks {
        open: None,
        read: None,
        get_metadata: None,
        close: None,
        ..table(&store)
    })
    .unwrap();
    back_up(&service).unwrap();
    let error = service.open("b1").err().expect("refused");
    assert_eq!(error.kind(), Kind::Unsupported);
}

#[test]
fn freeing_the_service_frees_its_user_data_once() {
    let (freed, frees) = std::sync::mpsc::channel();
    let store = Store {
        freed: Some(freed),
        ..Store::default()
    };
    let service = CallbackService::new(table(&store)).unwrap();
    assert!(frees.try_recv().is_err());
    drop(service);
    assert!(frees.try_recv().is_ok() && frees.try_recv().is_err());
}
