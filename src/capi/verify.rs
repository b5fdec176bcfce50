//! Verification: a backup is proven where it is kept.

use super::cancel::{self, vmdk_cancel};
use super::error::vmdk_error;
use super::guard::guard_apart;
use super::handle;
use super::operation::{
    level, progress_fn, vmdk_check_level, vmdk_progress_callback, with_progress_value,
};
use super::service::{format_of, vmdk_format, vmdk_service};
use super::sized::{self, Growing, Output};
use super::status::vmdk_status;
use super::summary::vmdk_summary;
use super::text::{self, LONGEST_NAME, LONGEST_PATH};
use crate::error::Result;
use crate::ops::{VerifyOptions, verify_backup};
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::time::Duration;

/// How a backup is verified.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_verify_options {
    /// sizeof(vmdk_verify_options).
    pub struct_size: usize,
    /// The name the backup was made under. Needed.
    pub backup_id: *const c_char,
    /// As in vmdk_backup_options; used only where the service works on files.
    pub temp_dir: *const c_char,
    /// As in vmdk_backup_options.
    pub check_level: vmdk_check_level,
    /// What a backup without metadata is, where the service does not know it: VMDK_FORMAT_...;
    /// metadata records it.
    pub format: vmdk_format,
    /// As in vmdk_backup_options.
    pub progress: vmdk_progress_callback,
    /// As in vmdk_backup_options.
    pub progress_user_data: *mut c_void,
    /// As in vmdk_backup_options.
    pub cancel: *const vmdk_cancel,
    /// As in vmdk_backup_options.
    pub deadline_ms: u64,
}

// SAFETY: pointers, a pair of four-byte integers, a function that may be NULL, and eight bytes.
unsafe impl Growing for vmdk_verify_options {
    const NAME: &'static str = "vmdk_verify_options";
}

/// Reads a whole backup from a service and proves that it is a whole disk, and the one that its
/// metadata records. Needs no server and changes nothing.
///
/// Blocks until all is done; the service's callbacks and progress run on the calling thread. On
/// success *summary_out (NULL = not wanted) is written, without what is about a server. A backup
/// that is damaged is VMDK_STATUS_CORRUPT, and the message says where. service is not NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_verify_backup(
    service: *const vmdk_service,
    options: *const vmdk_verify_options,
    summary_out: *mut vmdk_summary,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let service = handle::borrow(service, "service")?;
        let returned = Cell::new(0);
        // SAFETY: the header asks for structures of the size they say, whose strings and functions
        // are valid during the call.
        let (options, summary) = unsafe {
            let summary = Output::new(summary_out)?;
            let options: vmdk_verify_options = sized::read(options)?;
            (options.convert(&returned)?, summary)
        };
        let done = verify_backup(service.service(), options)
            .map_err(|error| with_progress_value(error, returned.get()))?;
        summary.write(&done.into());
        Ok(())
    })
}

impl vmdk_verify_options {
    /// # Safety
    /// Strings, function and switch are valid during the call.
    unsafe fn convert(self, returned: &Cell<i32>) -> Result<VerifyOptions<'_>> {
        let vmdk_verify_options {
            struct_size: _,
            backup_id,
            temp_dir,
            check_level,
            format,
            progress,
            progress_user_data,
            cancel,
            deadline_ms,
        } = self;
        // SAFETY: the caller's promise is the one each of these asks for.
        unsafe {
            Ok(VerifyOptions {
                backup_id: text::required(backup_id, "backup_id", LONGEST_NAME)?.to_owned(),
                level: level(check_level)?,
                format: format_of(format)?,
                temp_dir: text::name(temp_dir, "temp_dir", LONGEST_PATH)?.map(PathBuf::from),
                deadline: (deadline_ms != 0).then(|| Duration::from_millis(deadline_ms)),
                progress: progress_fn(progress, progress_user_data, returned),
                cancel: cancel::switch(cancel)?,
            })
        }
    }
}
