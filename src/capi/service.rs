//! Backup services: one's own by callbacks, or one that comes with the library.

use super::callbacks::CallbackService;
use super::error::vmdk_error;
use super::guard::{guard, guard_apart, inside_callback, quietly};
use super::handle::{self, Handle};
use super::sized::{self, Growing};
use super::status::vmdk_status;
use super::text::{self, LONGEST_PATH, output, unknown};
use crate::error::Result;
use crate::service::{BackupService, Directory, Format};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::path::Path;

/// How a disk is kept. A later version may add numbers.
pub type vmdk_format = i32;

/// A stream-optimized VMDK.
pub const VMDK_FORMAT_STREAM: vmdk_format = 0;
/// The disk's bytes as they are, in a sparse file or on a block device.
pub const VMDK_FORMAT_RAW: vmdk_format = 1;

/// Something that keeps backups. Any number of operations may use it at once.
pub struct vmdk_service {
    service: Box<dyn BackupService + Send + Sync>,
}

impl Handle for vmdk_service {
    const KIND: usize = 2;
}

/// A service callback may return this where there is no backup of that id: the call then returns
/// VMDK_STATUS_NOT_FOUND instead of VMDK_STATUS_SERVICE. Numbers from -10099 to -10000 are reserved
/// for meanings like these; every other number but 0 means nothing but failure to the library.
pub const VMDK_SERVICE_NOT_FOUND: i32 = -10010;
/// As VMDK_SERVICE_NOT_FOUND, where there is a backup of that id already.
pub const VMDK_SERVICE_EXISTS: i32 = -10011;
/// As VMDK_SERVICE_NOT_FOUND, where the service is full.
pub const VMDK_SERVICE_NO_SPACE: i32 = -10013;

/// What a service is told of a backup that begins. Valid during the call; made by the library, and
/// only as long as struct_size says.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_backup_request {
    /// The structure's size in the library that calls.
    pub struct_size: usize,
    /// The backup's name, as in vmdk_backup_options.
    pub backup_id: *const c_char,
    /// The volume's id, or its name where it has no id.
    pub volume_id: *const c_char,
    /// The volume's size in bytes. The stream is shorter by the disk's empty blocks and by
    /// compression; how much, only its end tells.
    pub capacity: u64,
    /// What is to be kept: VMDK_FORMAT_... A stream comes by write, a raw disk by write_at.
    pub format: vmdk_format,
    /// 0.
    pub reserved: u32,
}

/// A service of one's own. All callbacks but free run on the thread that called the operation, one
/// at a time within an operation; two operations at once on one service may call from two threads.
/// They may block for hours. They return 0, or anything else to end the operation; the number is
/// kept for vmdk_error_callback_value().
///
/// A service works on streams (create, write, commit, abort; open, read, close) or on regular files
/// (backup_file; restore_file). One that works on files is given the disk by way of a temporary
/// file, and may have create, commit and abort, and open and close, around it. A service on streams
/// may also keep raw disks (write_at, write_zeros; read_at, next_data). A service may lack one
/// direction: backups, or restores, are then VMDK_STATUS_UNSUPPORTED.
///
/// Nothing is a backup before commit returned 0: a service keeps what it was given out of sight
/// until then, and forgets it on abort.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_service_callbacks {
    /// sizeof(vmdk_service_callbacks).
    pub struct_size: usize,
    /// Passed to every callback.
    pub user_data: *mut c_void,
    /// Called once with user_data when nothing of the table will be called any more, which is
    /// inside vmdk_service_free(), or at the end of the last operation that uses the service; NULL =
    /// nothing to do. Not called when vmdk_service_new() fails.
    pub free: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void)>,
    /// Begins a backup. *writer_out, NULL until set, is passed to the callbacks below, the last of
    /// which is either a commit that returned 0 or abort. Must refuse the id of a committed backup
    /// (VMDK_SERVICE_EXISTS). After a failure nothing more is called for this backup.
    pub create: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            request: *const vmdk_backup_request,
            writer_out: *mut *mut c_void,
        ) -> i32,
    >,
    /// Appends length bytes, some 64 KiB to 1 MiB at a time, valid during the call; takes all of
    /// them or fails.
    pub write: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer: *mut c_void,
            bytes: *const c_void,
            length: usize,
        ) -> i32,
    >,
    /// Keeps the backup's metadata, a JSON text of some kilobytes, beside the stream. Ends with a
    /// NUL, which length does not count. Called once, before commit. NULL = not kept: a restore
    /// then knows only what the stream and the volume say.
    pub set_metadata: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer: *mut c_void,
            metadata: *const c_char,
            length: usize,
        ) -> i32,
    >,
    /// Makes the backup one: durable, whole, to be found by its id. When it fails, abort follows.
    pub commit:
        Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, writer: *mut c_void) -> i32>,
    /// Forgets the backup: nothing of it stays.
    pub abort: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, writer: *mut c_void)>,
    /// Opens a committed backup. *length_out, 0 until set, is the stream's length in bytes;
    /// *reader_out, NULL until set, is passed to the callbacks below, the last of which is close.
    /// After a failure (VMDK_SERVICE_NOT_FOUND where there is no such backup) none is called.
    pub open: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            backup_id: *const c_char,
            length_out: *mut u64,
            reader_out: *mut *mut c_void,
        ) -> i32,
    >,
    /// Fills the beginning of the buffer, which has size bytes, from where the last read ended.
    /// *length_out, 0 until set, is how many bytes that were; 0 is the end of the stream.
    pub read: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            reader: *mut c_void,
            buffer: *mut c_void,
            size: usize,
            length_out: *mut usize,
        ) -> i32,
    >,
    /// Gives the metadata back. *length_out, 0 until set, is its length without a NUL, and the
    /// buffer is filled where the whole text fits into its size bytes; where it does not, the
    /// callback is called again with a larger one. 0 = there is none. NULL = none was kept.
    pub get_metadata: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            reader: *mut c_void,
            buffer: *mut c_char,
            size: usize,
            length_out: *mut usize,
        ) -> i32,
    >,
    /// Ends the reading.
    pub close: Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, reader: *mut c_void)>,
    /// Takes the whole stream from the regular file at path, which is gone afterwards. writer is
    /// that of create, or NULL where the service has no create; then the backup is one as soon as
    /// this returned 0, and nothing can take it back.
    pub backup_file: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer: *mut c_void,
            backup_id: *const c_char,
            path: *const c_char,
        ) -> i32,
    >,
    /// Fills the empty regular file at path with the whole stream. reader is that of open, or NULL
    /// where the service has no open.
    pub restore_file: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            reader: *mut c_void,
            backup_id: *const c_char,
            path: *const c_char,
        ) -> i32,
    >,
    /// Puts length bytes, at most 1 MiB, at byte offset of a raw disk. Each byte of the disk comes
    /// once, in write_at or write_zeros; in any order.
    pub write_at: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer: *mut c_void,
            offset: u64,
            bytes: *const c_void,
            length: usize,
        ) -> i32,
    >,
    /// All length bytes of a raw disk from byte offset on are zero. NULL = what is not written is
    /// zero anyway.
    pub write_zeros: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            writer: *mut c_void,
            offset: u64,
            length: u64,
        ) -> i32,
    >,
    /// Fills all size bytes of the buffer from byte offset of a raw disk, of which the length that
    /// open told is the size.
    pub read_at: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            reader: *mut c_void,
            offset: u64,
            buffer: *mut c_void,
            size: usize,
        ) -> i32,
    >,
    /// Tells the first range at or after byte offset of a raw disk that may be other than zero, in
    /// bytes; *length_out, 0 until set, stays 0 where there is none. NULL = it may be anywhere.
    pub next_data: Option<
        unsafe extern "C-unwind" fn(
            user_data: *mut c_void,
            reader: *mut c_void,
            offset: u64,
            start_out: *mut u64,
            length_out: *mut u64,
        ) -> i32,
    >,
}

// SAFETY: pointers, and functions that may be NULL.
unsafe impl Growing for vmdk_service_callbacks {
    const NAME: &'static str = "vmdk_service_callbacks";
}

/// Makes a service of one's own. The table is copied. On success *service_out is a new service, to
/// be freed with vmdk_service_free(); on failure it is untouched, and free is not called. Calls
/// nothing back and never blocks.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_service_new(
    callbacks: *const vmdk_service_callbacks,
    service_out: Option<&mut MaybeUninit<*mut vmdk_service>>,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard(error_out, || {
        let out = output(service_out, "service_out")?;
        // SAFETY: the header asks for NULL or as many bytes as struct_size says.
        let callbacks = unsafe { sized::read(callbacks) }?;
        out.write(vmdk_service::handle(CallbackService::new(callbacks)?));
        Ok(())
    })
}

/// Makes a service that keeps each backup in a directory of its own below path, which must exist:
/// <path>/<backup_id>/disk.vmdk and metadata.json. A backup appears there, whole and on stable
/// storage, when it is committed; what a process that died left is removed by the next backup. On
/// success *service_out is a new service, to be freed with vmdk_service_free(); on failure it is
/// untouched.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_service_directory(
    path: *const c_char,
    service_out: Option<&mut MaybeUninit<*mut vmdk_service>>,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let out = output(service_out, "service_out")?;
        // SAFETY: the header asks for NULL or a string that is valid during the call.
        let path = unsafe { text::required(path, "path", LONGEST_PATH) }?;
        out.write(vmdk_service::handle(Directory::new(Path::new(path))?));
        Ok(())
    })
}

/// Frees a service and calls its free callback. NULL is permitted, and a handle that is no service,
/// or was freed before, is left alone. Operations that use the service go on: the last of them then
/// calls free, on the thread that called the operation. Not to be called from a callback, where it
/// does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_service_free(service: *mut vmdk_service) {
    quietly(|| {
        if !inside_callback() {
            drop(handle::retire(service));
        }
    });
}

impl vmdk_service {
    fn handle(service: impl BackupService + Send + Sync + 'static) -> *mut vmdk_service {
        handle::make(vmdk_service {
            service: Box::new(service),
        })
    }

    pub(super) fn service(&self) -> &dyn BackupService {
        &*self.service
    }
}

pub(super) fn format_of(number: vmdk_format) -> Result<Format> {
    match number {
        VMDK_FORMAT_STREAM => Ok(Format::Stream),
        VMDK_FORMAT_RAW => Ok(Format::Raw),
        other => Err(unknown("format", other)),
    }
}
