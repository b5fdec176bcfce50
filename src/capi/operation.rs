//! The two calls everything else is for.

use super::cancel::{self, vmdk_cancel};
use super::client::{milliseconds, vmdk_client};
use super::error::{phase_number, vmdk_error, vmdk_phase};
use super::guard::{guard_apart, outward};
use super::handle;
use super::service::{format_of, vmdk_format, vmdk_service};
use super::sized::{self, Growing, Output};
use super::status::vmdk_status;
use super::summary::vmdk_summary;
use super::text::{self, LONGEST_NAME, LONGEST_PATH, flag, invalid, unknown};
use super::volume::{self, vmdk_volume};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::ops::{self, BackupOptions, Common, Progress, RestoreOptions, Summary};
use crate::service::{BackupService, Staging};
use crate::vmdk::Level;
use crate::volume::Volume;
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

/// How the bytes travel between the server and the service. A later version may add numbers.
pub type vmdk_staging = i32;

/// As the service wants it: by file where it has backup_file or restore_file, else streamed.
pub const VMDK_STAGING_DEFAULT: vmdk_staging = 0;
/// Straight through, in pieces; nothing touches this machine's disks.
pub const VMDK_STAGING_STREAM: vmdk_staging = 1;
/// By way of a temporary regular file in temp_dir, which only its owner may read and which is gone
/// after the call.
pub const VMDK_STAGING_FILE: vmdk_staging = 2;

/// How much of a stream is proven. A later version may add numbers.
pub type vmdk_check_level = i32;

/// Everything: structure, and every block inflated. A restore does not inflate again what, by its
/// recorded SHA-256, is the stream of which every block was inflated when it was backed up.
pub const VMDK_CHECK_FULL: vmdk_check_level = 0;
/// Digests, and the structure from header to end-of-stream marker, but no block is inflated.
pub const VMDK_CHECK_STRUCTURE: vmdk_check_level = 1;
/// Digests, header and descriptor only.
pub const VMDK_CHECK_DIGEST: vmdk_check_level = 2;

/// Told how far an operation is: at least once a second while the library itself is at work, on
/// the thread that called the operation. done and total are bytes in the phases that move bytes;
/// total is 0 where it is not known. Return 0 to go on; anything else cancels the operation, and
/// vmdk_error_callback_value() then tells it. After a cancel it is called, and its value ignored,
/// as long as a task of the server's is waited for or the operation is undone.
pub type vmdk_progress_callback = Option<
    unsafe extern "C-unwind" fn(
        user_data: *mut c_void,
        phase: vmdk_phase,
        done: u64,
        total: u64,
    ) -> i32,
>;

/// How a backup is made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_backup_options {
    /// sizeof(vmdk_backup_options).
    pub struct_size: usize,
    /// Your name of the backup: 1 to 255 bytes of letters, digits, ".", "_" and "-". Needed.
    pub backup_id: *const c_char,
    /// Where a temporary file goes; NULL = the system's directory for them (TMPDIR, else /tmp).
    pub temp_dir: *const c_char,
    /// VMDK_STAGING_...; 0 = as the service wants it.
    pub staging: vmdk_staging,
    /// No byte moved for this long ends a transfer, in milliseconds; 0 = 2 minutes. Time spent in
    /// callbacks does not count. Also ends the wait for a lease to become ready that reports no
    /// progress for so long; 0 = 1 hour: hosts zero large disks before.
    pub stall_timeout_ms: u32,
    /// Told of progress; NULL = not wanted.
    pub progress: vmdk_progress_callback,
    /// Passed to progress.
    pub progress_user_data: *mut c_void,
    /// Ends the operation when thrown; NULL = none.
    pub cancel: *const vmdk_cancel,
    /// The operation ends as VMDK_STATUS_CANCELLED when it takes longer than this, in milliseconds;
    /// 0 = no limit. What must be undone then is.
    pub deadline_ms: u64,
    /// How much of the stream is proven: VMDK_CHECK_...; 0 = all of it.
    pub check_level: vmdk_check_level,
    /// What the service keeps: VMDK_FORMAT_...; 0 = the stream. A raw disk is decoded on its way to
    /// the service and encoded on its way back.
    pub format: vmdk_format,
    /// Not 0: a volume that has no backing is VMDK_STATUS_NOT_FOUND, instead of being given an empty
    /// one.
    pub existing_only: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: pointers, pairs of four-byte integers, and a function that may be NULL.
unsafe impl Growing for vmdk_backup_options {
    const NAME: &'static str = "vmdk_backup_options";
}

/// How a backup is restored.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_restore_options {
    /// sizeof(vmdk_restore_options).
    pub struct_size: usize,
    /// The name the backup was made under. Needed.
    pub backup_id: *const c_char,
    /// As in vmdk_backup_options.
    pub temp_dir: *const c_char,
    /// As in vmdk_backup_options.
    pub staging: vmdk_staging,
    /// As in vmdk_backup_options.
    pub stall_timeout_ms: u32,
    /// As in vmdk_backup_options.
    pub progress: vmdk_progress_callback,
    /// As in vmdk_backup_options.
    pub progress_user_data: *mut c_void,
    /// As in vmdk_backup_options.
    pub cancel: *const vmdk_cancel,
    /// As in vmdk_backup_options.
    pub deadline_ms: u64,
    /// As in vmdk_backup_options.
    pub check_level: vmdk_check_level,
    /// As in vmdk_backup_options; what the backup was made as.
    pub format: vmdk_format,
    /// Not 0: the disk of a volume that is not the one that was backed up may be replaced, too. Else
    /// that is VMDK_STATUS_INVALID_ARGUMENT. The recorded ids say which volume was backed up, or the
    /// recorded name where there are none. A volume that the restore makes needs no
    /// permission.
    pub allow_other_volume: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: as vmdk_backup_options.
unsafe impl Growing for vmdk_restore_options {
    const NAME: &'static str = "vmdk_restore_options";
}

/// Backs up a volume's disk into a service, as a stream-optimized VMDK. A volume that has no
/// backing is given an empty one of size_bytes first.
///
/// Blocks until all is done. The service's callbacks and progress run on the calling thread; they
/// may take hours. On success the backup is committed, and *summary_out (NULL = not wanted) is
/// written. On failure the service was told to abort, *summary_out is untouched, and the server is
/// as it was; what could not be removed is named by vmdk_error_left_behind(). client, service and
/// volume are not NULL; any number of operations may share them.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_backup_volume(
    client: *const vmdk_client,
    service: *const vmdk_service,
    volume: *const vmdk_volume,
    options: *const vmdk_backup_options,
    summary_out: *mut vmdk_summary,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    // SAFETY: what the header asks for is what this does.
    unsafe {
        run(
            (client, service, volume),
            options,
            summary_out,
            error_out,
            |client, service, volume, (backup_id, existing_only, common)| {
                let options = BackupOptions {
                    backup_id,
                    existing_only,
                    common,
                };
                ops::backup_volume(client, service, volume, options)
            },
        )
    }
}

/// Restores a backup from a service. Where the volume has a backing, the restored disk takes the
/// place of its disk, and the backing stays the same object: managed object reference, name, UUIDs
/// and configuration. Where it has none, one is made.
///
/// Blocks until all is done. The service's callbacks and progress run on the calling thread; they
/// may take hours. The old disk is deleted only after the new one was proven and attached. Of
/// several restores into one volume at once, those that come too late for the state of the backing
/// that they looked at fail as VMDK_STATUS_INVALID_STATE, and may be called again. On success
/// *summary_out (NULL = not wanted) is written. On failure *summary_out is untouched, and the
/// volume is as it was; what could not be removed is named by vmdk_error_left_behind(). client,
/// service and volume are not NULL; any number of operations may share them.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_restore_backup(
    client: *const vmdk_client,
    service: *const vmdk_service,
    volume: *const vmdk_volume,
    options: *const vmdk_restore_options,
    summary_out: *mut vmdk_summary,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    // SAFETY: what the header asks for is what this does.
    unsafe {
        run(
            (client, service, volume),
            options,
            summary_out,
            error_out,
            |client, service, volume, (backup_id, allow_other_volume, common)| {
                let options = RestoreOptions {
                    backup_id,
                    allow_other_volume,
                    common,
                };
                ops::restore_backup(client, service, volume, options)
            },
        )
    }
}

/// One of the two, from C and back.
///
/// # Safety
/// As the header asks: structures are of the size they say, whose strings and functions are valid during the call.
unsafe fn run<O: Asking>(
    (client, service, volume): (*const vmdk_client, *const vmdk_service, *const vmdk_volume),
    options: *const O,
    summary_out: *mut vmdk_summary,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
    operation: impl FnOnce(&Client, &dyn BackupService, &Volume, Converted<'_>) -> Result<Summary>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let client = handle::borrow(client, "client")?;
        let service = handle::borrow(service, "service")?;
        let returned = Cell::new(0);
        // SAFETY: the caller's promise.
        let (volume, request, summary) = unsafe {
            let summary = Output::new(summary_out)?;
            let options = sized::read(options)?;
            (volume::read(volume)?, options.request(), summary)
        };
        // SAFETY: the same.
        let converted = unsafe { request.convert(&returned) }?;
        let (client, service) = (client.client()?, service.service());
        let done = operation(client, service, &volume, converted)
            .map_err(|error| with_progress_value(error, returned.get()))?;
        summary.write(&done.into());
        Ok(())
    })
}

/// What the options of backup and restore have in common.
struct Request {
    backup_id: *const c_char,
    temp_dir: *const c_char,
    staging: vmdk_staging,
    stall_timeout_ms: u32,
    progress: vmdk_progress_callback,
    progress_user_data: *mut c_void,
    cancel: *const vmdk_cancel,
    deadline_ms: u64,
    check_level: vmdk_check_level,
    format: vmdk_format,
    /// The permission that only one of the two knows.
    own_flag: u32,
    reserved: u32,
}

/// The backup's id, the permission, and what both have in common.
type Converted<'a> = (String, bool, Common<'a>);

/// Options that make a request.
trait Asking: Growing {
    fn request(self) -> Request;
}

macro_rules! asking {
    ($($options:ident: $own_flag:ident),*) => {$(
        impl Asking for $options {
            fn request(self) -> Request {
                let $options {
                    struct_size: _,
                    backup_id,
                    temp_dir,
                    staging,
                    stall_timeout_ms,
                    progress,
                    progress_user_data,
                    cancel,
                    deadline_ms,
                    check_level,
                    format,
                    $own_flag: own_flag,
                    reserved,
                } = self;
                Request {
                    backup_id,
                    temp_dir,
                    staging,
                    stall_timeout_ms,
                    progress,
                    progress_user_data,
                    cancel,
                    deadline_ms,
                    check_level,
                    format,
                    own_flag,
                    reserved,
                }
            }
        }
    )*};
}

asking!(
    vmdk_backup_options: existing_only,
    vmdk_restore_options: allow_other_volume
);

impl Request {
    /// The backup's id and the options; what the progress callback returns is kept in `returned`.
    ///
    /// # Safety
    /// Strings, function and switch are valid during the call of the operation.
    unsafe fn convert(self, returned: &Cell<i32>) -> Result<Converted<'_>> {
        if self.reserved != 0 {
            return Err(invalid("reserved is not 0"));
        }
        // SAFETY: the caller's promise is the one each of these asks for.
        let (backup_id, temp_dir) = unsafe {
            (
                text::required(self.backup_id, "backup_id", LONGEST_NAME)?.to_owned(),
                text::name(self.temp_dir, "temp_dir", LONGEST_PATH)?,
            )
        };
        let common = Common {
            staging: match self.staging {
                VMDK_STAGING_DEFAULT => None,
                VMDK_STAGING_STREAM => Some(Staging::Stream),
                VMDK_STAGING_FILE => Some(Staging::File),
                other => return Err(unknown("staging", other)),
            },
            temp_dir: temp_dir.map(PathBuf::from),
            stall_timeout: milliseconds(self.stall_timeout_ms),
            // SAFETY: the same.
            progress: unsafe { progress_fn(self.progress, self.progress_user_data, returned) },
            level: Some(level(self.check_level)?),
            format: format_of(self.format)?,
            cancel: cancel::switch(self.cancel)?,
            deadline: (self.deadline_ms != 0).then(|| Duration::from_millis(self.deadline_ms)),
        };
        Ok((backup_id, flag(self.own_flag), common))
    }
}

/// What calls a progress callback, and keeps what it returns in `returned`.
///
/// # Safety
/// The function may be called with `user_data` as long as the result lives.
pub(super) unsafe fn progress_fn(
    callback: vmdk_progress_callback,
    user_data: *mut c_void,
    returned: &Cell<i32>,
) -> Option<ops::ProgressFn<'_>> {
    let function = callback?;
    let report = move |progress: Progress| {
        let Progress { phase, done, total } = progress;
        // SAFETY: the header asks for a function that takes these on this thread.
        let value = outward(|| unsafe { function(user_data, phase_number(phase), done, total) });
        if value == 0 {
            return ControlFlow::Continue(());
        }
        // The first is the one that ends the operation.
        if returned.get() == 0 {
            returned.set(value);
        }
        ControlFlow::Break(())
    };
    Some(Box::new(report))
}

pub(super) fn level(number: vmdk_check_level) -> Result<Level> {
    match number {
        VMDK_CHECK_FULL => Ok(Level::Full),
        VMDK_CHECK_STRUCTURE => Ok(Level::Structure),
        VMDK_CHECK_DIGEST => Ok(Level::Digest),
        other => Err(unknown("check_level", other)),
    }
}

pub(super) fn with_progress_value(error: Error, returned: i32) -> Error {
    if error.kind() == Kind::Cancelled && returned != 0 {
        return error.with_callback(returned.into());
    }
    error
}

#[cfg(test)]
mod tests;
