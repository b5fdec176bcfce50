//! Statuses: 0 is good, and a program can act on the others.

use crate::error::Kind;
use std::ffi::{CStr, c_char};

/// What a call returns: 0 (VMDK_STATUS_OK) or why it failed. Numbers are never reused; a later
/// version may add some, so treat a number you do not know as a failure without a remedy.
pub type vmdk_status = i32;

/// The call did what it says.
pub const VMDK_STATUS_OK: vmdk_status = 0;
/// An argument cannot be meant: NULL, empty, not UTF-8, too long, out of range or contradictory.
/// The message names it. Nothing was done.
pub const VMDK_STATUS_INVALID_ARGUMENT: vmdk_status = 1;
/// Well-formed, but this library, this server or this disk cannot do it. A structure or number of
/// a newer version of this header gives this, too.
pub const VMDK_STATUS_UNSUPPORTED: vmdk_status = 2;
/// The call was made from inside a callback. Nothing was done.
pub const VMDK_STATUS_REENTRANT: vmdk_status = 3;
/// A defect of this library was stopped at its border. Free the handles and report it.
pub const VMDK_STATUS_PANIC: vmdk_status = 4;
/// The progress callback or the cancel switch asked for the end, or the deadline has passed.
pub const VMDK_STATUS_CANCELLED: vmdk_status = 5;
/// A callback of the backup service failed; vmdk_error_callback_value() tells what it returned.
pub const VMDK_STATUS_SERVICE: vmdk_status = 6;
/// There is no connection, or it broke.
pub const VMDK_STATUS_CONNECTION: vmdk_status = 7;
/// The server could not prove who it is. The message has the fingerprint it presented.
pub const VMDK_STATUS_TLS: vmdk_status = 8;
/// The server refused the user, or the user lacks a privilege, which the message names.
pub const VMDK_STATUS_AUTH: vmdk_status = 9;
/// The volume, backup, datastore or other object named does not exist.
pub const VMDK_STATUS_NOT_FOUND: vmdk_status = 10;
/// Something of that name or id exists already.
pub const VMDK_STATUS_EXISTS: vmdk_status = 11;
/// It exists, but in a state that forbids this: powered on, with snapshots, locked, forked.
pub const VMDK_STATUS_INVALID_STATE: vmdk_status = 12;
/// A datastore, the temporary directory or the service is full.
pub const VMDK_STATUS_NO_SPACE: vmdk_status = 13;
/// The server answered with a fault that has no status of its own; see vmdk_error_fault().
pub const VMDK_STATUS_FAULT: vmdk_status = 14;
/// Bytes that are not what they must be: a truncated, damaged or foreign stream.
pub const VMDK_STATUS_CORRUPT: vmdk_status = 15;
/// No byte moved for the stall time-out.
pub const VMDK_STATUS_STALLED: vmdk_status = 16;
/// The operating system refused a file, a thread or a descriptor.
pub const VMDK_STATUS_IO: vmdk_status = 17;

/// The name of a status without its prefix ("NOT_FOUND"), for logs; "UNKNOWN" for a number that
/// this version does not know. The string is static: never free it. Callable from any thread and
/// from callbacks.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_status_name(status: vmdk_status) -> *const c_char {
    let name: &'static CStr = match status {
        VMDK_STATUS_OK => c"OK",
        VMDK_STATUS_INVALID_ARGUMENT => c"INVALID_ARGUMENT",
        VMDK_STATUS_UNSUPPORTED => c"UNSUPPORTED",
        VMDK_STATUS_REENTRANT => c"REENTRANT",
        VMDK_STATUS_PANIC => c"PANIC",
        VMDK_STATUS_CANCELLED => c"CANCELLED",
        VMDK_STATUS_SERVICE => c"SERVICE",
        VMDK_STATUS_CONNECTION => c"CONNECTION",
        VMDK_STATUS_TLS => c"TLS",
        VMDK_STATUS_AUTH => c"AUTH",
        VMDK_STATUS_NOT_FOUND => c"NOT_FOUND",
        VMDK_STATUS_EXISTS => c"EXISTS",
        VMDK_STATUS_INVALID_STATE => c"INVALID_STATE",
        VMDK_STATUS_NO_SPACE => c"NO_SPACE",
        VMDK_STATUS_FAULT => c"FAULT",
        VMDK_STATUS_CORRUPT => c"CORRUPT",
        VMDK_STATUS_STALLED => c"STALLED",
        VMDK_STATUS_IO => c"IO",
        _ => c"UNKNOWN",
    };
    name.as_ptr()
}

pub(super) fn status_of(kind: Kind) -> vmdk_status {
    match kind {
        Kind::InvalidArgument => VMDK_STATUS_INVALID_ARGUMENT,
        Kind::Unsupported => VMDK_STATUS_UNSUPPORTED,
        Kind::Reentrant => VMDK_STATUS_REENTRANT,
        Kind::Panic => VMDK_STATUS_PANIC,
        Kind::Cancelled => VMDK_STATUS_CANCELLED,
        Kind::Service => VMDK_STATUS_SERVICE,
        Kind::Connection => VMDK_STATUS_CONNECTION,
        Kind::Tls => VMDK_STATUS_TLS,
        Kind::Auth => VMDK_STATUS_AUTH,
        Kind::NotFound => VMDK_STATUS_NOT_FOUND,
        Kind::Exists => VMDK_STATUS_EXISTS,
        Kind::InvalidState => VMDK_STATUS_INVALID_STATE,
        Kind::NoSpace => VMDK_STATUS_NO_SPACE,
        Kind::Fault => VMDK_STATUS_FAULT,
        Kind::Corrupt => VMDK_STATUS_CORRUPT,
        Kind::Stalled => VMDK_STATUS_STALLED,
        Kind::Io => VMDK_STATUS_IO,
    }
}
