//! Raw disks by callbacks.

use super::*;

const DISK: u64 = 512;

unsafe extern "C-unwind" fn write_at(
    user_data: *mut c_void,
    writer: *mut c_void,
    offset: u64,
    bytes: *const c_void,
    length: usize,
) -> i32 {
    // SAFETY: what the library passes to the function is as the header says.
    unsafe {
        let disk = &mut (*writer.cast::<Writing>()).backup.0;
        disk.resize(DISK as usize, 0xee);
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), length);
        disk[offset as usize..][..length].copy_from_slice(bytes);
        store(user_data).called("write_at")
    }
}

unsafe extern "C-unwind" fn write_zeros(
    user_data: *mut c_void,
    writer: *mut c_void,
    offset: u64,
    length: u64,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let disk = &mut (*writer.cast::<Writing>()).backup.0;
        disk.resize(DISK as usize, 0xee);
        disk[offset as usize..][..length as usize].fill(0);
        store(user_data).called("write_zeros")
    }
}

unsafe extern "C-unwind" fn read_at(
    user_data: *mut c_void,
    _reader: *mut c_void,
    offset: u64,
    buffer: *mut c_void,
    size: usize,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let store = store(user_data);
        let kept = store.kept.lock().unwrap();
        let bytes = &kept["b1"].0[offset as usize..][..size];
        buffer.cast::<u8>().copy_from(bytes.as_ptr(), size);
        drop(kept);
        store.called("read_at")
    }
}

/// The first 16 bytes are data.
unsafe extern "C-unwind" fn next_data(
    user_data: *mut c_void,
    _reader: *mut c_void,
    offset: u64,
    start_out: *mut u64,
    length_out: *mut u64,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        if offset < 16 {
            *start_out = offset;
            *length_out = 16 - offset;
        }
        store(user_data).called("next_data")
    }
}

/// Beyond the end of every disk.
unsafe extern "C-unwind" fn next_data_beyond(
    _user_data: *mut c_void,
    _reader: *mut c_void,
    _offset: u64,
    start_out: *mut u64,
    length_out: *mut u64,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        *start_out = u64::MAX;
        *length_out = 2;
    }
    0
}

fn raw_table(store: &Store) -> vmdk_service_callbacks {
    vmdk_service_callbacks {
        write_at: Some(write_at),
        write_zeros: Some(write_zeros),
        read_at: Some(read_at),
        next_data: Some(next_data),
        ..table(store)
    }
}

fn keep(service: &dyn BackupService) -> Result<()> {
    let request = BackupRequest {
        format: Format::Raw,
        ..REQUEST
    };
    let mut writer = service.create(&request)?;
    writer.zeros(16..DISK)?;
    writer.write_at(0, &Bytes::from_static(b"sixteen bytes!!!"))?;
    writer.commit()
}

#[test]
fn a_raw_disk_is_kept_by_place_and_read_by_place() {
    let store = Store::default();
    let service = CallbackService::new(raw_table(&store)).unwrap();
    keep(&service).unwrap();
    let mut reader = service.open("b1").unwrap();
    assert_eq!(reader.length(), DISK);
    assert_eq!(reader.next_data(3).unwrap(), Some(3..16));
    assert_eq!(reader.next_data(16).unwrap(), None);
    let mut bytes = [1; 8];
    reader.read_at(12, &mut bytes).unwrap();
    assert_eq!(&bytes, b"s!!!\0\0\0\0");
}

#[test]
fn a_failing_callback_is_told_by_its_name() {
    for failing in ["write_at", "write_zeros"] {
        let store = Store {
            failing: Some((failing, 9)),
            ..Store::default()
        };
        let error = keep(&CallbackService::new(raw_table(&store)).unwrap()).unwrap_err();
        assert_eq!((error.kind(), error.callback()), (Kind::Service, Some(9)));
        assert!(error.to_string().contains(failing), "{error}");
        assert_eq!(store.calls().last(), Some(&"abort"));
    }
}

#[test]
fn a_service_without_the_callbacks_keeps_no_raw_disks() {
    let store = Store::default();
    let error = keep(&CallbackService::new(table(&store)).unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}

#[test]
fn data_beyond_the_disk_is_the_services_error() {
    let store = Store::default();
    let service = CallbackService::new(vmdk_service_callbacks {
        next_data: Some(next_data_beyond),
        ..raw_table(&store)
    })
    .unwrap();
    keep(&service).unwrap();
    let error = service.open("b1").unwrap().next_data(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Service, "{error}");
}

#[test]
fn callbacks_for_raw_disks_need_each_other() {
    let store = Store::default();
    let alone = |change: fn(&mut vmdk_service_callbacks)| {
        let mut table = vmdk_service_callbacks {
            free: None,
            ..raw_table(&store)
        };
        change(&mut table);
        CallbackService::new(table)
            .err()
            .map(|error| error.to_string())
    };
    assert!(
        alone(|table| table.write_at = None)
            .unwrap()
            .contains("write_at")
    );
    assert!(
        alone(|table| table.read_at = None)
            .unwrap()
            .contains("read_at")
    );
    assert_eq!(alone(|table| table.write_zeros = None), None);
}
