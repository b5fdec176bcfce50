//! Error objects: what went wrong, behind accessors.

use super::guard::quietly;
use super::handle::{self, Handle, Use, Wrong};
use super::status::{VMDK_STATUS_INVALID_ARGUMENT, VMDK_STATUS_OK, status_of, vmdk_status};
use crate::error::{Error, Phase};
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// What went wrong, told once from the outermost attempt to the innermost cause. Handed out
/// through a vmdk_error ** argument, owned by the caller, independent of every handle and thread,
/// and never changing: any number of threads may read it.
pub struct vmdk_error {
    status: vmdk_status,
    phase: vmdk_phase,
    message: CString,
    fault: Option<CString>,
    object: Option<CString>,
    operation: Option<CString>,
    left_behind: Vec<CString>,
    callback: i64,
    retryable: bool,
}

impl Handle for vmdk_error {
    const KIND: usize = 4;
}

/// A part of an operation, in progress callbacks and errors. A later version may add numbers.
pub type vmdk_phase = i32;

/// Not inside an operation.
pub const VMDK_PHASE_NONE: vmdk_phase = 0;
/// Reaching the server and logging in.
pub const VMDK_PHASE_CONNECT: vmdk_phase = 1;
/// Finding the volume's backing and looking whether the operation can work.
pub const VMDK_PHASE_PREPARE: vmdk_phase = 2;
/// Making a backing, or a temporary virtual machine.
pub const VMDK_PHASE_CREATE: vmdk_phase = 3;
/// Moving the disk between the server and this machine; done and total are bytes.
pub const VMDK_PHASE_TRANSFER: vmdk_phase = 4;
/// Moving the temporary file between this machine and the service; done and total are bytes.
pub const VMDK_PHASE_SERVICE: vmdk_phase = 5;
/// Proving what was moved.
pub const VMDK_PHASE_VERIFY: vmdk_phase = 6;
/// Converting or extending the imported disk.
pub const VMDK_PHASE_CONVERT: vmdk_phase = 7;
/// Putting the restored disk into the backing.
pub const VMDK_PHASE_REPLACE: vmdk_phase = 8;
/// Committing the backup, or removing what was only needed on the way.
pub const VMDK_PHASE_FINISH: vmdk_phase = 9;

pub(super) fn phase_number(phase: Phase) -> vmdk_phase {
    match phase {
        Phase::Connect => VMDK_PHASE_CONNECT,
        Phase::Prepare => VMDK_PHASE_PREPARE,
        Phase::Create => VMDK_PHASE_CREATE,
        Phase::Transfer => VMDK_PHASE_TRANSFER,
        Phase::Service => VMDK_PHASE_SERVICE,
        Phase::Verify => VMDK_PHASE_VERIFY,
        Phase::Convert => VMDK_PHASE_CONVERT,
        Phase::Replace => VMDK_PHASE_REPLACE,
        Phase::Finish => VMDK_PHASE_FINISH,
    }
}

/// The name of a phase in lower case ("transfer"), for people; "none" for VMDK_PHASE_NONE and
/// "unknown" for a number that this version does not know. The string is static: never free it.
/// Callable from any thread and from callbacks.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_phase_name(phase: vmdk_phase) -> *const c_char {
    let name: &'static CStr = match phase {
        VMDK_PHASE_NONE => c"none",
        VMDK_PHASE_CONNECT => c"connect",
        VMDK_PHASE_PREPARE => c"prepare",
        VMDK_PHASE_CREATE => c"create",
        VMDK_PHASE_TRANSFER => c"transfer",
        VMDK_PHASE_SERVICE => c"service",
        VMDK_PHASE_VERIFY => c"verify",
        VMDK_PHASE_CONVERT => c"convert",
        VMDK_PHASE_REPLACE => c"replace",
        VMDK_PHASE_FINISH => c"finish",
        _ => c"unknown",
    };
    name.as_ptr()
}

impl vmdk_error {
    pub(super) fn new(error: &Error) -> Self {
        vmdk_error {
            status: status_of(error.kind()),
            phase: error.phase().map_or(VMDK_PHASE_NONE, phase_number),
            message: c_text(&error.message()),
            fault: error.fault().map(c_text),
            object: error.object().map(c_text),
            operation: error.operation().map(c_text),
            left_behind: error
                .left_behind()
                .iter()
                .map(|what| c_text(what))
                .collect(),
            callback: error.callback().unwrap_or(0),
            retryable: error.is_retryable(),
        }
    }
}

/// Text from a server may hold a NUL; C would see its end there.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

fn look(error: *const vmdk_error) -> Option<Use<vmdk_error>> {
    handle::look(error).ok()
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.as_ptr())
}

/// The status that the failed call returned; VMDK_STATUS_OK for NULL, VMDK_STATUS_INVALID_ARGUMENT
/// for an error that was freed and for a pointer that is no error. This and all accessors below
/// never block and may be called from any thread and from callbacks.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_status(error: *const vmdk_error) -> vmdk_status {
    match handle::look(error) {
        Ok(error) => error.status,
        Err(Wrong::Null) => VMDK_STATUS_OK,
        Err(_) => VMDK_STATUS_INVALID_ARGUMENT,
    }
}

/// The whole story in one line of UTF-8: what was attempted on what, what the server said, what to
/// do about it, and what was left behind. No password or session cookie is ever in it. Never NULL;
/// empty for NULL. Valid until the error is freed, as all strings below.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_message(error: *const vmdk_error) -> *const c_char {
    let message = match handle::look(error) {
        Ok(error) => return error.message.as_ptr(),
        Err(Wrong::Null) => c"",
        Err(Wrong::Freed) => c"this vmdk_error was freed",
        Err(Wrong::Kind(_) | Wrong::Foreign) => c"this is not a vmdk_error",
    };
    message.as_ptr()
}

/// The part of the operation in which it failed; VMDK_PHASE_NONE outside an operation.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_phase(error: *const vmdk_error) -> vmdk_phase {
    look(error).map_or(VMDK_PHASE_NONE, |error| error.phase)
}

/// The vSphere fault type that the server answered with ("DuplicateName"); NULL where it did not.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_fault(error: *const vmdk_error) -> *const c_char {
    look(error).map_or(ptr::null(), |error| pointer(error.fault.as_ref()))
}

/// The managed object reference of the object concerned ("vm-42"); NULL where there is none.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_object(error: *const vmdk_error) -> *const c_char {
    look(error).map_or(ptr::null(), |error| pointer(error.object.as_ref()))
}

/// The operation's id, which also stands in the server's logs; NULL outside an operation.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_operation_id(error: *const vmdk_error) -> *const c_char {
    look(error).map_or(ptr::null(), |error| pointer(error.operation.as_ref()))
}

/// Whether the same call may succeed later without anything being changed.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_retryable(error: *const vmdk_error) -> bool {
    look(error).is_some_and(|error| error.retryable)
}

/// What the caller's own callback returned, where that ended the operation; else 0.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_callback_value(error: *const vmdk_error) -> i64 {
    look(error).map_or(0, |error| error.callback)
}

/// The index-th thing (from 0) that could not be removed and is still there ("temporary VM vm-9");
/// NULL when there are no more. The message names them, too.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_left_behind(error: *const vmdk_error, index: usize) -> *const c_char {
    look(error).map_or(ptr::null(), |error| pointer(error.left_behind.get(index)))
}

/// Frees an error. NULL is permitted, and what is no error, or was freed before, is left alone. May
/// be called from any thread and from callbacks.
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_error_free(error: *mut vmdk_error) {
    quietly(|| drop(handle::retire(error)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_nul_in_a_message_does_not_hide_its_end() {
        let error = vmdk_error::new(&Error::new(Kind::Fault, "before\0after"));
        assert_eq!(error.message.to_str(), Ok("before\u{fffd}after"));
    }

    #[test]
    fn every_phase_has_the_name_the_messages_use() {
        for phase in [
            Phase::Connect,
            Phase::Prepare,
            Phase::Create,
            Phase::Transfer,
            Phase::Service,
            Phase::Verify,
            Phase::Convert,
            Phase::Replace,
            Phase::Finish,
        ] {
            // SAFETY: the function returns static strings.
            let name = unsafe { CStr::from_ptr(vmdk_phase_name(phase_number(phase))) };
            assert_eq!(name.to_str(), Ok(phase.name()));
        }
    }
}
