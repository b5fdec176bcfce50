//! The log callback, behind a gate that closes before its user_data goes.

use super::guard::outward;
use super::text::unknown;
use crate::error::Result;
use crate::log::{Level, Log};
use std::ffi::{CString, c_char, c_void};
use std::sync::{Arc, PoisonError, RwLock};

/// How much a log record matters. A later version may add numbers.
pub type vmdk_log_level = i32;

/// As an option: VMDK_LOG_INFO.
pub const VMDK_LOG_DEFAULT: vmdk_log_level = 0;
/// Something is wrong and somebody should know.
pub const VMDK_LOG_WARN: vmdk_log_level = 1;
/// The steps of an operation: a handful of records each.
pub const VMDK_LOG_INFO: vmdk_log_level = 2;
/// Each request and its outcome.
pub const VMDK_LOG_DEBUG: vmdk_log_level = 3;

/// Receives a record: one line of UTF-8 that is valid during the call and never holds a password
/// or a session cookie. Called from any of the library's threads, several at once, and from the
/// threads that call into the library; it should return soon, since everything waits for it.
pub type vmdk_log_callback = Option<
    unsafe extern "C-unwind" fn(user_data: *mut c_void, level: vmdk_log_level, text: *const c_char),
>;

/// A client's log callback. Closing it waits for records under way; none follows.
pub(super) struct Gate {
    open: RwLock<Option<Callback>>,
}

struct Callback {
    function: unsafe extern "C-unwind" fn(*mut c_void, vmdk_log_level, *const c_char),
    user_data: *mut c_void,
}

// SAFETY: the header asks for a function that may be called from any thread with its user_data.
unsafe impl Send for Callback {}
// SAFETY: the same, several at once.
unsafe impl Sync for Callback {}

impl Gate {
    pub(super) fn new(function: vmdk_log_callback, user_data: *mut c_void) -> Arc<Self> {
        Arc::new(Gate {
            open: RwLock::new(function.map(|function| Callback {
                function,
                user_data,
            })),
        })
    }

    pub(super) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A log that passes records of `level` and above through this gate.
    pub(super) fn log(self: &Arc<Self>, level: vmdk_log_level) -> Result<Log> {
        let level = match level {
            VMDK_LOG_DEFAULT | VMDK_LOG_INFO => Level::Info,
            VMDK_LOG_WARN => Level::Warn,
            VMDK_LOG_DEBUG => Level::Debug,
            _ => return Err(unknown("log_level", level)),
        };
        let gate = Arc::clone(self);
        Ok(Log::new(
            level,
            Arc::new(move |level, text| gate.pass(level, text)),
        ))
    }

    fn pass(&self, level: Level, text: &str) {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let Some(callback) = open.as_ref() else {
            return;
        };
        let level = match level {
            Level::Warn => VMDK_LOG_WARN,
            Level::Info => VMDK_LOG_INFO,
            Level::Debug => VMDK_LOG_DEBUG,
        };
        // A record is one line; what a server said may hold more.
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: the function and its user_data are the caller's until the gate is closed.
        outward(|| unsafe { (callback.function)(callback.user_data, level, text.as_ptr()) });
    }
}
